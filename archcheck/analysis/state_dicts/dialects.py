"""Names of other programs for the same layers: llama.cpp's (GGUF), kohya's of LoRA adapters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from archcheck.analysis.state_dicts.compare import Comparison, Signature, Table
from archcheck.analysis.state_dicts.steps import Step, quoted, renamed

# llama.cpp's names, and what transformers calls these layers: the first that the model has counts.
_OF_BLOCKS: Mapping[str, Sequence[str]] = {
    "attn_norm": ("input_layernorm",),
    "attn_q": ("self_attn.q_proj",),
    "attn_k": ("self_attn.k_proj",),
    "attn_v": ("self_attn.v_proj",),
    "attn_qkv": ("self_attn.qkv_proj",),
    "attn_output": ("self_attn.o_proj", "self_attn.dense", "self_attn.out_proj"),
    "attn_q_norm": ("self_attn.q_norm", "self_attn.q_layernorm"),
    "attn_k_norm": ("self_attn.k_norm", "self_attn.k_layernorm"),
    "post_attention_norm": ("post_attention_layernorm",),
    "ffn_norm": ("pre_feedforward_layernorm", "post_attention_layernorm"),
    "post_ffw_norm": ("post_feedforward_layernorm",),
    "ffn_gate": ("mlp.gate_proj",),
    "ffn_up": ("mlp.up_proj", "mlp.gate_up_proj", "mlp.fc1"),
    "ffn_down": ("mlp.down_proj", "mlp.fc2"),
    "ffn_gate_inp": ("mlp.gate", "block_sparse_moe.gate"),
    "ffn_gate_exps": ("mlp.experts.gate_proj",),
    "ffn_up_exps": ("mlp.experts.up_proj",),
    "ffn_down_exps": ("mlp.experts.down_proj",),
}
_BLOCK = re.compile(r"^blk\.(\d+)\.(\w+)(\.\w+)?$")
_LORA = re.compile(r"^(lora_[a-z]+\d?_)?(.+)\.(lora_down|lora_up)\.weight$")


def gguf_names(signature: Signature, table: Table, now: Comparison) -> Iterator[Step]:
    """Give the layers of llama.cpp the names that transformers has for them."""
    embedding = next((n for n in signature.entries if n.endswith("embed_tokens.weight")), None)
    if embedding is None or not any(_BLOCK.match(name) for name in now.unexpected):
        return
    root = embedding.removesuffix("embed_tokens.weight")
    words = _words(signature, table, root)
    tops = {
        "token_embd.": f"{root}embed_tokens.",
        "output_norm.": f"{root}norm.",
        "output.": "lm_head.",
    }

    def rename(name: str) -> str:
        match = _BLOCK.match(name)
        if match is not None:
            return f"{root}layers.{match[1]}.{words.get(match[2], match[2])}{match[3] or ''}"
        return next(
            (new + name[len(old) :] for old, new in tops.items() if name.startswith(old)), name
        )

    new = renamed(table, rename)
    if new is None:
        return
    turned = ""
    if any(f"{root}layers.0.self_attn.q_proj.weight" == name for name in signature.entries):
        turned = (
            "; for Llama and Mistral, llama.cpp puts the rows of q and k in another order, which "
            "transformers' from_pretrained(…, gguf_file=…) undoes and a renaming does not"
        )
    yield Step(f"the file has the names of llama.cpp{turned}", new, _gguf_code(root, words, tops))


def _words(signature: Signature, table: Table, root: str) -> dict[str, str]:
    """Return the parts of blocks that the file has, with the model's names of them."""
    used = dict.fromkeys(m[2] for name in table if (m := _BLOCK.match(name)) is not None)
    parents = {name.rpartition(".")[0] for name in signature.entries}
    return {
        word: next(
            (n for n in _OF_BLOCKS[word] if f"{root}layers.0.{n}" in parents), _OF_BLOCKS[word][0]
        )
        for word in used
        if word in _OF_BLOCKS
    }


def _gguf_code(root: str, words: Mapping[str, str], tops: Mapping[str, str]) -> str:
    rows = [f"    {quoted(old)}: {quoted(new)}," for old, new in words.items()]
    lines = ["parts = {", *rows, "}"]
    lines += [
        f'state = {{re.sub(r"^{re.escape(old)}", {quoted(new)}, k): v for k, v in state.items()}}'
        for old, new in tops.items()
    ]
    block = f'lambda m: f"{root}layers.{{m[1]}}.{{parts.get(m[2], m[2])}}"'
    lines += [
        "state = {",
        f'    re.sub(r"^blk\\.(\\d+)\\.(\\w+)", {block}, k): v for k, v in state.items()',
        "}",
    ]
    return "\n".join(lines)


def kohya_names(signature: Signature, table: Table, now: Comparison) -> Iterator[Step]:
    """Find the layers of an adapter whose names are written with underscores alone."""
    flat = {
        name.replace(".lora_A.default.", ".lora_down.")
        .replace(".lora_B.default.", ".lora_up.")
        .removeprefix("base_model.model.")
        .replace(".", "_"): name
        for name in signature.entries
        if ".lora_" in name
    }
    found = {}
    prefixes: dict[str, None] = {}
    for name in now.unexpected:
        match = _LORA.match(name)
        if match is not None and (new := flat.get(_flattened(name, match[1] or ""))) is not None:
            found[name] = new
            prefixes[match[1] or ""] = None
    if not found or len(prefixes) > 1:
        return
    scales = [name for name in table if name.endswith(".alpha")]
    new_table = renamed(
        {name: tensor for name, tensor in table.items() if name not in scales},
        lambda name: found.get(name, name),
    )
    if new_table is None:
        return
    (prefix,) = prefixes
    yield Step(
        "the adapter has kohya's names: underscores for dots, lora_down and lora_up"
        + (
            f"; its {len(scales):,} `alpha` are no weights: give them to LoraConfig(lora_alpha=…)"
            if scales
            else ""
        ),
        new_table,
        _kohya_code(prefix),
    )


def _flattened(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).replace(".", "_")


def _kohya_code(prefix: str) -> str:
    return "\n".join(
        [
            "names = {",
            '    k.replace(".lora_A.default.", ".lora_down.")',
            '    .replace(".lora_B.default.", ".lora_up.")',
            '    .removeprefix("base_model.model.")',
            '    .replace(".", "_"): k',
            "    for k in model.state_dict()",
            "}",
            "state = {",
            f'    names.get(k.removeprefix({quoted(prefix)}).replace(".", "_"), k): v',
            '    for k, v in state.items() if not k.endswith(".alpha")',
            "}",
        ]
    )
