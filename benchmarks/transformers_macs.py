"""Ten families of the `transformers` package: our costs on meta beside torch's on real tensors.

    python benchmarks/transformers_macs.py

Small configurations, each traced in both modes, and run for real under torch's FlopCounterMode
with a formula for the attention kernel of the CPU, which torch counts as nothing. FLOPs and
parameters must be equal to the last digit; MACs are fvcore's count, so they differ from half of
the FLOPs by what only fvcore counts (norms in eval mode) and are only shown.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
import transformers
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from archcheck.tracing.ladder import TensorSpec, trace_module

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
WORDS = {"vocab_size": 100, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def families() -> Iterator[tuple[str, Callable[[], nn.Module], list[Any]]]:
    t = transformers
    ids, short = TensorSpec((2, 16), "int64"), TensorSpec((2, 8), "int64")
    image = TensorSpec((2, 3, 32, 32))
    wide = SMALL | {"intermediate_size": 64}
    patches = wide | {"image_size": 32, "patch_size": 8}
    yield "BERT", lambda: t.BertModel(t.BertConfig(**wide, **WORDS)), [ids]
    gpt = {"n_embd": 32, "n_layer": 2, "n_head": 4}
    yield "GPT-2", lambda: t.GPT2LMHeadModel(t.GPT2Config(**gpt, **WORDS)), [ids]
    grouped = wide | WORDS | {"num_key_value_heads": 2}
    yield "Llama", lambda: t.LlamaForCausalLM(t.LlamaConfig(**grouped)), [ids]
    window = grouped | {"sliding_window": 8}
    yield "Mistral", lambda: t.MistralForCausalLM(t.MistralConfig(**window)), [ids]
    t5 = {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 100}
    both = [("input_ids", ids), ("decoder_input_ids", short)]
    yield "T5", lambda: t.T5Model(t.T5Config(**t5)), both
    yield "ViT", lambda: t.ViTModel(t.ViTConfig(**patches)), [image]
    swin = {"image_size": 32, "patch_size": 2, "embed_dim": 16, "window_size": 4}
    stages = {"depths": [2, 2], "num_heads": [2, 4]}
    yield "Swin", lambda: t.SwinModel(t.SwinConfig(**swin, **stages)), [image]
    sides = {
        f"{side}_{name}": size
        for side in ("encoder", "decoder")
        for name, size in (("layers", 2), ("attention_heads", 4), ("ffn_dim", 64))
    }
    speech = {"d_model": 32, "num_mel_bins": 8, "max_source_positions": 20}
    limits = {"max_target_positions": 20, "decoder_start_token_id": 1}
    config = sides | speech | limits | WORDS
    heard = [("input_features", TensorSpec((2, 8, 40))), ("decoder_input_ids", short)]
    yield "Whisper", lambda: t.WhisperModel(t.WhisperConfig(**config)), heard
    states = {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "vocab_size": 100}
    yield "Mamba", lambda: t.MambaModel(t.MambaConfig(**states)), [ids]
    clip = {
        "text_config": wide | WORDS | {"max_position_embeddings": 20},
        "vision_config": patches,
        "projection_dim": 16,
    }
    seen = [("input_ids", ids), ("pixel_values", image)]
    yield "CLIP", lambda: t.CLIPModel(t.CLIPConfig(**clip)), seen


def attention_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Scores and weighted sums, each a product of [queries, keys] by the width, twice a MAC."""
    batch, heads, queries, width = query
    return 2 * batch * heads * queries * key[2] * (width + value[3])


def real_flops(model: nn.Module, inputs: list[Any]) -> int:
    """What torch counts in one forward pass on real tensors."""
    args: list[torch.Tensor] = []
    named: dict[str, torch.Tensor] = {}
    for item in inputs:
        name, spec = item if isinstance(item, tuple) else (None, item)
        made = torch.randn(spec.shape) if spec.dtype is None else torch.zeros(spec.shape).long()
        if name is None:
            args.append(made)
        else:
            named[name] = made
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with FlopCounterMode(display=False, custom_mapping={kernel: attention_flops}) as counter:
        model(*args, **named)
    return counter.get_total_flops()


def main() -> None:
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    print("| family  | mode  | parameters |       MACs |      FLOPs | torch's | ops | seconds |")
    print("| ------- | ----- | ---------: | ---------: | ---------: | ------- | --: | ------: |")
    for name, build, inputs in families():
        for mode in ("train", "eval"):
            begin = time.perf_counter()
            trace = trace_module(
                build, inputs, mode=mode, user_files=lambda file: "transformers" in file
            )
            seconds = time.perf_counter() - begin
            assert trace.rung == "meta" and trace.complete and not trace.failures, trace.failures
            model = build().train(mode == "train")
            counted = sum(p.count for p in trace.parameters if not p.buffer)
            assert counted == model.num_parameters(), (name, counted)
            flops = real_flops(model, inputs)
            agrees = "equal" if flops == trace.flops else f"{flops:,}"
            print(
                f"| {name:7} | {mode:5} | {counted:10,} | {trace.macs:10,} | {trace.flops:10,} "
                f"| {agrees:7} | {len(trace.ops):3} | {seconds:7.2f} |"
            )


if __name__ == "__main__":
    main()
