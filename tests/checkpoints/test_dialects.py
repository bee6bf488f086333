"""Names of other programs: llama.cpp's, kohya's; and experts in one tensor or one by one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from archcheck.analysis.state_dicts.compare import Signature
from archcheck.analysis.state_dicts.diagnose import Diagnosis, diagnose
from archcheck.analysis.state_dicts.loading_code import loading_code
from archcheck.checkpoints import read_checkpoint
from archcheck.tracing.record.describe_state import renaming_modules, state_dict_of

State = dict[str, torch.Tensor]


def loads_strictly(model: nn.Module, path: Path) -> tuple[Diagnosis, nn.Module]:
    """Run the whole of the code that is shown, on the real file."""
    checkpoint = read_checkpoint(str(path))
    signature = Signature.of(state_dict_of(model), renaming_modules(model))
    diagnosis = diagnose(signature, checkpoint)
    code = [*loading_code(checkpoint), diagnosis.mapping, "model.load_state_dict(state)"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec("\n".join(code), {"model": model})
    return diagnosis, model


# Experts ------------------------------------------------------------------------------------------


class One(nn.Module):
    def __init__(self, words: tuple[str, ...]) -> None:
        super().__init__()
        gate, up, down = words
        self.add_module(gate, nn.Linear(4, 6, bias=False))
        self.add_module(up, nn.Linear(4, 6, bias=False))
        self.add_module(down, nn.Linear(6, 4, bias=False))


class Apart(nn.Module):
    """Two layers of three experts, each a module of its own."""

    def __init__(self, words: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleDict({"experts": nn.ModuleList(One(words) for _ in range(3))})
            for _ in range(2)
        )


class Stacked(nn.Module):
    """The same with one tensor for all experts of a layer."""

    def __init__(self, *, fused: bool = False, turned: bool = False) -> None:
        super().__init__()
        shapes = {"gate_proj": (6, 4), "up_proj": (6, 4), "down_proj": (4, 6)}
        if fused:
            shapes = {"gate_up_proj": (12, 4), "down_proj": (4, 6)}
        self.layers = nn.ModuleList(nn.Module() for _ in range(2))
        for layer in self.layers:
            layer.experts = nn.Module()
            for name, shape in shapes.items():
                sizes = shape[::-1] if turned else shape
                layer.experts.register_parameter(name, nn.Parameter(torch.randn(3, *sizes)))


PAIRS: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "stacked": (Apart, Stacked),
    "gate and up in one": (Apart, lambda: Stacked(fused=True)),
    "rows and columns changed": (Apart, lambda: Stacked(fused=True, turned=True)),
    "Mixtral's names": (lambda: Apart(("w1", "w3", "w2")), lambda: Stacked(fused=True)),
}


@pytest.mark.parametrize("name", PAIRS)
def test_experts_are_stacked_and_taken_apart(name: str, tmp_path: Path) -> None:
    apart, stacked = PAIRS[name]
    torch.save(apart().state_dict(), tmp_path / "apart.pt")
    torch.save(stacked().state_dict(), tmp_path / "stacked.pt")
    one_by_one = torch.load(tmp_path / "apart.pt")
    diagnosis, model = loads_strictly(stacked(), tmp_path / "apart.pt")
    assert "the experts are one by one in the file, stacked in the model" in (
        diagnosis.steps[-1].cause
    )
    # Taken apart again, the values are what they were.
    torch.save(model.state_dict(), tmp_path / "again.pt")
    diagnosis, again = loads_strictly(apart(), tmp_path / "again.pt")
    assert "stacked in the file, one by one in the model" in diagnosis.steps[-1].cause
    assert all(torch.equal(one_by_one[k], v) for k, v in again.state_dict().items())


def test_experts_that_are_no_stack_are_left_alone(tmp_path: Path) -> None:
    """Another number of experts, or one that is missing between others, fits nowhere."""
    for keep in (lambda k: ".experts.2." not in k, lambda k: ".experts.1." not in k):
        torch.save({k: v for k, v in Apart().state_dict().items() if keep(k)}, tmp_path / "x.pt")
        signature = Signature.of(state_dict_of(Stacked()))
        assert not diagnose(signature, read_checkpoint(str(tmp_path / "x.pt"))).steps


# kohya --------------------------------------------------------------------------------------------


class Layer(nn.Module):
    def __init__(self, rank: int = 2) -> None:
        super().__init__()
        self.base_layer = nn.Linear(4, 4)
        self.lora_A = nn.ModuleDict({"default": nn.Linear(4, rank, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(rank, 4, bias=False)})


def adapted() -> nn.Module:
    """A model as PEFT wraps it, names with underscores of their own among them."""
    inside = nn.ModuleDict(
        {"down_blocks": nn.ModuleList([nn.ModuleDict({"to_q": Layer(), "to_k": Layer()})])}
    )
    outer = nn.Module()
    outer.base_model = nn.Module()
    outer.base_model.model = inside
    return outer


def kohya(model: nn.Module) -> State:
    state: State = {}
    for name, tensor in model.state_dict().items():
        layer, found, which = name.removeprefix("base_model.model.").partition(".lora_")
        if found:
            flat = "lora_unet_" + layer.replace(".", "_")
            state[f"{flat}.lora_{'down' if which[0] == 'A' else 'up'}.weight"] = tensor
            state[f"{flat}.alpha"] = torch.tensor(2.0)
    return state


def test_names_of_kohya_are_found_again(tmp_path: Path) -> None:
    saved = kohya(adapted())
    torch.save(saved, tmp_path / "x.pt")
    signature = Signature.of(state_dict_of(model := adapted()))
    diagnosis = diagnose(signature, read_checkpoint(str(tmp_path / "x.pt")))
    (step,) = diagnosis.steps
    assert "the adapter has kohya's names" in step.cause and "its 2 `alpha` are no" in step.cause
    assert not diagnosis.after.unexpected
    namespace: dict[str, Any] = {"checkpoint": saved, "model": model}
    exec(diagnosis.mapping, namespace)
    result = model.load_state_dict(namespace["state"], strict=False)
    assert not result.unexpected_keys
    assert all(".base_layer." in name for name in result.missing_keys)
    assert torch.equal(
        model.state_dict()["base_model.model.down_blocks.0.to_q.lora_B.default.weight"],
        saved["lora_unet_down_blocks_0_to_q.lora_up.weight"],
    )


# GGUF ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["Llama", "Qwen3", "Gemma2"])
def test_names_of_llama_cpp_are_those_of_its_own_map(architecture: str, tmp_path: Path) -> None:
    """gguf's map goes from transformers' names to its own; ours has to go back, quantized too."""
    gguf = pytest.importorskip("gguf")
    transformers = pytest.importorskip("transformers")
    sizes = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "vocab_size": 160,
        "tie_word_embeddings": architecture == "Gemma2",
    }
    config = getattr(transformers, f"{architecture}Config")(**sizes)
    try:
        build = getattr(transformers, f"{architecture}ForCausalLM")
    except ModuleNotFoundError as error:  # a torchvision of another torch breaks its import
        pytest.skip(f"transformers cannot be imported: {error}")
    model = build(config)
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, architecture.upper()), 2)
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(str(path), architecture.lower())
    kind = gguf.GGMLQuantizationType.Q8_0
    for name, tensor in model.state_dict().items():
        values = tensor.numpy()
        new = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if new is None and name == "lm_head.weight" and architecture == "Gemma2":
            continue
        assert new is not None, name
        if values.ndim == 2:
            writer.add_tensor(new, gguf.quants.quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(new, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    fresh = type(model)(config)
    diagnosis, fresh = loads_strictly(fresh, path)
    assert diagnosis.steps[0].cause.startswith("the file has the names of llama.cpp")
    assert len(diagnosis.steps) == 1
    for name, tensor in fresh.state_dict().items():
        torch.testing.assert_close(tensor, model.state_dict()[name], atol=1e-2, rtol=0)
