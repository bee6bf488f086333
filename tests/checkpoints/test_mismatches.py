"""Mismatches that people report: the cause is named, and the mapping loads strictly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from archcheck.analysis.state_dicts.compare import Signature
from archcheck.analysis.state_dicts.diagnose import Diagnosis, diagnose
from archcheck.analysis.state_dicts.key_causes import key_causes
from archcheck.analysis.state_dicts.shape_causes import shape_causes
from archcheck.checkpoints import read_checkpoint
from archcheck.tracing.record.describe_state import renaming_modules, state_dict_of

State = dict[str, torch.Tensor]


class Block(nn.Module):
    def __init__(self, width: int, *, fused: bool = True, norm: str = "norm") -> None:
        super().__init__()
        setattr(self, norm, nn.LayerNorm(width))
        if fused:
            self.qkv = nn.Linear(width, 3 * width)
        else:
            self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.proj = nn.Linear(width, width)


class Net(nn.Module):
    """A small vision transformer with a stem, positions, a head."""

    def __init__(
        self,
        width: int = 8,
        depth: int = 3,
        classes: int = 10,
        tokens: int = 17,
        channels: int = 3,
        kernel: tuple[int, ...] = (4, 4),
        head: str = "head",
        first: int = 0,
        **block: Any,
    ) -> None:
        super().__init__()
        conv = nn.Conv2d if len(kernel) == 2 else nn.Conv3d
        self.stem = conv(channels, width, kernel)
        self.bn = nn.BatchNorm2d(width)
        self.pos_embed = nn.Parameter(torch.zeros(1, tokens, width))
        self.blocks = nn.ModuleDict({str(first + i): Block(width, **block) for i in range(depth)})
        setattr(self, head, nn.Linear(width, classes))


class Language(nn.Module):
    """An embedding that is tied to the output layer."""

    def __init__(self, words: int = 100, tie: bool = True) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, 8)
        self.lm_head = nn.Linear(8, words, bias=False)
        if tie:
            self.lm_head.weight = self.embed.weight
        self.register_buffer("position_ids", torch.arange(4), persistent=False)


def under(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def replaced(old: str, new: str, state: State) -> State:
    return {name.replace(old, new): tensor for name, tensor in state.items()}


def net(**options: Any) -> State:
    return Net(**options).state_dict()


def wrapped(model: nn.Module, name: str) -> nn.Module:
    outer = nn.Module()
    setattr(outer, name, model)
    return outer


class Case(NamedTuple):
    """A model, what the file holds, and words of the cause; `loads` where a mapping mends it."""

    model: Callable[[], nn.Module]
    saved: Callable[[], Any]
    cause: str
    loads: bool = True


def old_norm(state: bool = True) -> nn.Module:
    return nn.Sequential(nn.utils.weight_norm(nn.Linear(4, 3)))


def flat() -> Any:
    return {"_fsdp_wrapped_module._flat_param": torch.zeros(99)}


def quantized() -> State:
    state = {"0.weight": torch.zeros(3, 4, dtype=torch.int8), "0.bias": torch.zeros(3)}
    return {**state, "0.SCB": torch.zeros(3), "0.weight_format": torch.zeros(())}


def conv1d(state: State) -> State:
    return {k: v.T.contiguous() if v.dim() == 2 else v for k, v in state.items()}


def split_qkv(state: State) -> State:
    new = {}
    for name, tensor in state.items():
        if ".qkv." in name:
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                new[name.replace("qkv", letter)] = part.clone()
        else:
            new[name] = tensor
    return new


CASES = {
    "compiled": Case(Net, lambda: under("_orig_mod.", net()), "`_orig_mod.` (torch.compile)"),
    "compiled DDP": Case(
        Net,
        lambda: under("_orig_mod.module.", net()),
        "`_orig_mod.` (torch.compile) and `module.` (DataParallel or DDP)",
    ),
    "DDP of a compiled model": Case(
        Net, lambda: under("module._orig_mod.", net()), "`module.` (DataParallel or DDP) and"
    ),
    "a compiled part": Case(
        Net, lambda: replaced("stem.", "stem._orig_mod.", net()), "from inside `_orig_mod.`"
    ),
    "a wrapped model": Case(
        lambda: nn.DataParallel(Net()), net, "load it into `model.module`"
    ),
    "a Lightning checkpoint": Case(
        Net,
        lambda: {"epoch": 1, "state_dict": under("model.", net()), "loops": {}},
        "every name begins with `model.`",
    ),
    "a part of a training state": Case(
        Net,
        lambda: {
            "m": {**under("net.", net()), **under("teacher.", net()), "loss.w": torch.ones(3)}
        },
        "names stand under `net.`; 29 others (`teacher`, `loss`) belong to something else",
    ),
    "flat parameters": Case(Net, flat, "flattened parameters of FSDP", False),
    "another size": Case(
        Net,
        lambda: net(width=16, depth=5),
        "another member of the family: 26 of 28 keys are of width 16 in the file and 8 in the "
        "model; `blocks.…` has 5 blocks in the file and 3 in the model",
        False,
    ),
    "another depth": Case(
        Net, lambda: net(depth=5), "`blocks.…` has 5 blocks in the file, 3", False
    ),
    "another number of classes": Case(
        Net, lambda: net(classes=17), "`head` has 17 in the file, 10 in the model", False
    ),
    "another stem": Case(
        lambda: Net(kernel=(3, 3)),
        lambda: net(kernel=(7, 7)),
        "a stem for ImageNet against one for small images",
        False,
    ),
    "another temporal patch": Case(
        lambda: Net(kernel=(4, 4, 4)),
        lambda: net(kernel=(2, 4, 4)),
        "a kernel of 2 × 4 × 4 in the file, 4 × 4 × 4 in the model",
        False,
    ),
    "other channels": Case(
        lambda: Net(channels=1), net, "`stem.weight` takes 3 channels in the file, 1", False
    ),
    "positions with a class token": Case(
        lambda: Net(tokens=577),
        lambda: net(tokens=1025),
        "32 × 32 + 1 against 24 × 24 + 1 patches",
        False,
    ),
    "positions without one": Case(
        lambda: Net(tokens=16), lambda: net(tokens=64), "8 × 8 against 4 × 4 patches", False
    ),
    "two more words": Case(
        lambda: Language(32000),
        lambda: Language(32002).state_dict(),
        "another vocabulary: `embed.weight` has 32,002 entries in the file, 32,000 in the model "
        "(2 more in the file)",
        False,
    ),
    "a padded vocabulary": Case(
        lambda: Language(50257),
        lambda: Language(50304).state_dict(),
        "50,304 is padded to 128",
        False,
    ),
    "a tied head": Case(
        Language,
        lambda: {"embed.weight": torch.zeros(100, 8)},
        "the model ties `lm_head.weight` to `embed.weight`",
    ),
    "new weight norm into the old one": Case(
        old_norm,
        lambda: nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
        ).state_dict(),
        "the file has weight norm as a parametrization, the model the older one",
    ),
    "old spectral norm into the new one": Case(
        lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3))),
        lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(4, 3))).state_dict(),
        "the file has the older spectral norm",
    ),
    "quantized": Case(
        lambda: nn.Sequential(nn.Linear(4, 3)), quantized, "the file is quantized", False
    ),
    "a buffer that is no longer saved": Case(
        lambda: Language(tie=False),
        lambda: {**Language(tie=False).state_dict(), "position_ids": torch.arange(4)},
        "the file has `position_ids`, which the model computes and doesn't save",
        False,
    ),
    "a renamed layer": Case(
        Net, lambda: net(head="classifier"), "`classifier.` is `head.` in the model"
    ),
    "a renamed block": Case(Net, lambda: net(norm="ln"), "`blocks.0.ln.` is `blocks.0.norm.`"),
    "a renamed container": Case(
        Net, lambda: replaced("blocks.", "encoder.layer.", net()), "`encoder.layer.` is `blocks.`"
    ),
    "shifted numbers": Case(Net, lambda: net(first=1), "`blocks.…` has numbers shifted by -1"),
    "a layer less in a Sequential": Case(
        lambda: nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 6), nn.Linear(6, 7)),
        lambda: nn.Sequential(
            nn.Linear(4, 5), nn.ReLU(), nn.Dropout(), nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 7)
        ).state_dict(),
        "a layer without weights came or went",
    ),
    "Conv1D": Case(
        lambda: nn.Sequential(nn.Linear(4, 12), nn.Linear(12, 4)),
        lambda: conv1d(nn.Sequential(nn.Linear(4, 12), nn.Linear(12, 4)).state_dict()),
        "2 matrices are transposed, as Conv1D keeps them",
    ),
    "fused into split": Case(
        lambda: Net(fused=False), net, "query, key and value in one tensor, the model in three"
    ),
    "split into fused": Case(
        Net, lambda: split_qkv(net()), "query, key and value apart, the model in one tensor"
    ),
    "gamma and beta": Case(
        lambda: nn.Sequential(nn.LayerNorm(4), nn.LayerNorm(4)),
        lambda: {f"{i}.{n}": torch.ones(4) for i in (0, 1) for n in ("gamma", "beta")},
        "`weight` and `bias` by `gamma` and `beta`",
    ),
    "GRU into LSTM": Case(
        lambda: nn.ModuleDict({"rnn": nn.LSTM(4, 5)}),
        lambda: nn.ModuleDict({"rnn": nn.GRU(4, 5)}).state_dict(),
        "`rnn` is of GRU in the file (15 rows), LSTM in the model (20)",
        False,
    ),
    "bidirectional": Case(
        lambda: nn.ModuleDict({"rnn": nn.LSTM(4, 5)}),
        lambda: nn.ModuleDict({"rnn": nn.LSTM(4, 5, bidirectional=True)}).state_dict(),
        "the file's recurrent layer is bidirectional, the model's is not",
        False,
    ),
    "an adapter": Case(
        lambda: nn.Sequential(nn.Linear(4, 3)),
        lambda: {
            "base_model.model.0.lora_A.weight": torch.zeros(2, 4),
            "base_model.model.0.lora_B.weight": torch.zeros(3, 2),
        },
        "the file is an adapter without its base",
        False,
    ),
    "a part that is new": Case(
        lambda: nn.ModuleDict({"net": Net(), "motion": Net()}),
        lambda: under("net.", net()),
        "the file has nothing of `motion.` (28 keys)",
        False,
    ),
    "a convolution of one pixel": Case(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 1)),
        lambda: nn.Sequential(nn.Linear(3, 4)).state_dict(),
        "differ by sizes of one: `0.weight` is [4, 3] in the file, [4, 3, 1, 1] in the model",
    ),
    "other names in the same order": Case(
        lambda: nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 6)),
        lambda: {
            "w1": torch.zeros(5, 4),
            "b1": torch.zeros(5),
            "w2": torch.zeros(6, 5),
            "b2": torch.zeros(6),
        },
        "4 names differ and the shapes agree in order (by order only: look)",
    ),
}  # fmt: skip


def diagnosed(model: nn.Module, path: Path, **options: Any) -> Diagnosis:
    signature = Signature.of(state_dict_of(model), renaming_modules(model))
    return diagnose(signature, read_checkpoint(str(path)), **options)


def told(diagnosis: Diagnosis) -> list[str]:
    causes = [*key_causes(diagnosis), *shape_causes(diagnosis)]
    steps = [*diagnosis.steps, *((diagnosis.ties,) if diagnosis.ties else ())]
    return [*(step.cause for step in steps), *(cause.message for cause in causes)]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_the_cause_is_named_and_its_mapping_loads(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    path = tmp_path / "x.pt"
    model = case.model()
    torch.save(case.saved(), path)
    with pytest.raises((RuntimeError, AttributeError, TypeError)):
        model.load_state_dict(torch.load(path, weights_only=False))
    diagnosis = diagnosed(case.model(), path)
    sentences = told(diagnosis)
    assert any(case.cause in sentence for sentence in sentences), sentences
    if case.loads:
        assert diagnosis.after.loads and len(sentences) <= 2
        namespace: dict[str, Any] = {
            "checkpoint": torch.load(path, weights_only=False),
            "model": model,
        }
        exec(diagnosis.mapping, namespace)
        model.load_state_dict(namespace["state"])
    else:
        assert not diagnosis.after.loads
        assert len(sentences) <= 2, "one cause, one finding"


def test_what_loads_as_it_is_has_no_cause(tmp_path: Path) -> None:
    for model in (Net(), Language(), old_norm()):
        torch.save(model.state_dict(), tmp_path / "x.pt")
        diagnosis = diagnosed(model, tmp_path / "x.pt")
        assert not told(diagnosis) and not diagnosis.mapping and diagnosis.after.loads


def test_keys_that_may_be_missing_are_no_fault(tmp_path: Path) -> None:
    torch.save(under("net.", net()), tmp_path / "x.pt")
    model = nn.ModuleDict({"net": Net(), "motion": Net()})
    diagnosis = diagnosed(model, tmp_path / "x.pt", allow_missing=("motion.*",))
    assert diagnosis.after.loads and not told(diagnosis)


class Renames(nn.Module):
    """Renames its keys on loading, by its own code."""

    def __init__(self) -> None:
        super().__init__()
        self.new = nn.Linear(2, 3)

    def _load_from_state_dict(self, state: State, prefix: str, *rest: Any) -> None:
        for name in ("weight", "bias"):
            if f"{prefix}old.{name}" in state:
                state[f"{prefix}new.{name}"] = state.pop(f"{prefix}old.{name}")
        super()._load_from_state_dict(state, prefix, *rest)


def test_a_module_that_renames_its_keys_is_seen() -> None:
    assert renaming_modules(nn.Sequential(nn.Linear(2, 2), Renames())) == ("1",)
    assert renaming_modules(nn.Sequential(nn.BatchNorm2d(3), old_norm())) == ()
    hooked = nn.Linear(2, 2)
    hooked.register_load_state_dict_pre_hook(lambda *rest: None)
    assert renaming_modules(hooked) == ("",)


def test_ties_and_unsaved_buffers_are_recorded() -> None:
    entries = {entry.name: entry for entry in state_dict_of(Language())}
    assert entries["embed.weight"].tie == entries["lm_head.weight"].tie != 0
    assert entries["position_ids"].kind == "unsaved"
    assert state_dict_of(Net())[0].tie == 0


def test_a_file_that_sorts_its_names_is_matched_too(tmp_path: Path) -> None:
    save = pytest.importorskip("safetensors.torch")
    path = tmp_path / "x.safetensors"
    for saved in (
        net(head="classifier"),
        net(norm="ln"),
        replaced("blocks.", "encoder.layer.", net(depth=12)),
        net(depth=12, first=1),
    ):
        save.save_file(saved, path)
        model = Net(depth=12 if len(saved) > 40 else 3)
        diagnosis = diagnosed(model, path)
        assert diagnosis.after.loads
        namespace: dict[str, Any] = {"checkpoint": save.load_file(path), "model": model}
        exec(diagnosis.mapping, namespace)
        model.load_state_dict(namespace["state"])


def test_nothing_is_guessed_from_the_order_of_sorted_names(tmp_path: Path) -> None:
    """Two layers of one shape: sorted, the file's order is not the model's."""
    save = pytest.importorskip("safetensors.torch")
    save.save_file({"b.weight": torch.zeros(2, 2), "a.weight": torch.ones(2, 2)}, tmp_path / "x")
    model = nn.ModuleDict({name: nn.Linear(2, 2, bias=False) for name in ("second", "first")})
    diagnosis = diagnosed(model, tmp_path / "x")
    assert not diagnosis.steps and not diagnosis.after.loads


def test_many_parts_are_told_in_one_sentence(tmp_path: Path) -> None:
    parts = {name: nn.Linear(2, i + 2) for i, name in enumerate("abcdefg")}
    torch.save(nn.ModuleDict({"a": parts["a"]}).state_dict(), tmp_path / "x.pt")
    sentences = told(diagnosed(nn.ModuleDict(parts), tmp_path / "x.pt"))
    assert sentences == ["the file lacks 12 keys, of `b.`, `c.`, `d.` and 3 more"]


def test_an_adapter_in_its_model_wants_no_base(tmp_path: Path) -> None:
    """What the file leaves out is the base, which the model has from elsewhere."""
    model = nn.ModuleDict({"base": nn.Linear(4, 4), "lora_A": nn.Linear(4, 2, bias=False)})
    torch.save({"lora_A.weight": torch.zeros(2, 4)}, tmp_path / "x.pt")
    (cause,) = key_causes(diagnosed(model, tmp_path / "x.pt"))
    assert cause.harmless and set(cause.names) == {"base.weight", "base.bias"}
