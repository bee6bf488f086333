"""What changed from one version of torch or Python to the next, and must not change an answer.

The matrix of docs/compatibility.md runs this file with each pair of versions.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

import archcheck  # noqa: E402

ROOT = Path(__file__).parents[2]


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        return grad * 2


class Applied(nn.Module):
    """Its `apply` is Python until torch 2.13, and C from 2.14 on."""

    def __init__(self, extra: int = 0) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.extra = extra

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Double.apply(self.layer(x), *range(self.extra))


def test_a_custom_autograd_function_is_called_as_this_torch_calls_it() -> None:
    report = archcheck.check(Applied(), input=(2, 4))
    assert report.findings == () and report.outputs is not None
    assert report.outputs[0].shape == (2, 4)


def test_what_an_autograd_function_refuses_is_the_model_s_own_fault() -> None:
    report = archcheck.check(Applied(extra=2), input=(2, 4))
    assert [(finding.code, report.defects) for finding in report.findings] == [("AC004", ())]
    assert "TypeError" in report.findings[0].message


@torch.library.custom_op("archcheck_versions::scaled", mutates_args=())
def scaled(x: torch.Tensor, factor: float) -> torch.Tensor:
    return x * factor


@scaled.register_fake
def _(x: torch.Tensor, factor: float) -> torch.Tensor:
    return torch.empty_like(x)


def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
    return grad * ctx.factor, None


def keep_factor(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.factor = inputs[1]


scaled.register_autograd(backward, setup_context=keep_factor)


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return scaled(self.layer(x), 2.0)


def test_a_custom_operator_with_its_own_backward() -> None:
    report = archcheck.check(Scaled(), input=(2, 4))
    assert report.findings == ()


def test_a_softmax_over_a_dimension_that_is_not_there_raises_and_mixes_no_samples() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Softmax(dim=2))
    report = archcheck.check(model, input=(2, 4))
    (finding,) = [one for one in report.findings if one.severity.name == "ERROR"]
    assert finding.code == "AC218" and "AC403" not in {one.code for one in report.findings}


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x).relu()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", ["script", "trace"])
def test_torchscript_that_somebody_holds(way: str) -> None:
    model = Small()
    try:
        compiled = (
            torch.jit.script(model) if way == "script" else torch.jit.trace(model, torch.ones(2, 4))
        )
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        pytest.skip(f"this torch makes no TorchScript here: {error}")
    report = archcheck.check(compiled, input=(2, 4))
    assert (report.findings, report.params, report.macs) == ((), 15, 24)
    assert next(compiled.parameters()).device.type == "cpu"


DEFERRED = """
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from nowhere import Config, Tensor


def doubled(x: Tensor) -> Tensor:
    return x * 2


class Net(nn.Module):
    def __init__(self, config: Config | None = None, width: int = 4) -> None:
        super().__init__()
        self.layer = nn.Linear(4, width)

    def forward(self, x: Tensor, *, scale: Config | None = None) -> Tensor:
        return doubled(self.layer(x))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("head", "least"), [("from __future__ import annotations\n", (3, 11)), ("", (3, 14))]
)
def test_annotations_need_not_be_anything_that_exists(
    head: str, least: tuple[int, int], tmp_path: Path
) -> None:
    if sys.version_info < least:
        pytest.skip("this Python evaluates annotations at once")
    (tmp_path / "net.py").write_text(head + DEFERRED, encoding="utf-8")
    for options in (["net.py:Net", "--input", "2,4"], ["net.py:Net(width=2)"], ["net.py"]):
        run = subprocess.run(
            [sys.executable, "-m", "archcheck", *options, "--format", "concise"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert run.returncode == 0, run.stdout + run.stderr


def test_torch_without_fvcore_is_a_wrong_call(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'fvcore' else found(name, *more)\n",
        encoding="utf-8",
    )
    net = ROOT / "fixtures" / "models" / "resnet32.py"
    run = subprocess.run(
        [sys.executable, "-m", "archcheck", f"{net}:ResNet32", "--no-cache"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )
    assert run.returncode == 2, run.stdout + run.stderr
    assert "fvcore is not installed" in run.stderr
    assert "pip install 'archcheck-torch[trace]'" in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("shape", [(2,), (2, 3), (2, 1, 3)])
def test_fractions_are_no_indices(shape: tuple[int, ...]) -> None:
    """Until torch 2.10 at least, the meta kernel takes them: a single row, or any number."""
    report = archcheck.check(nn.Embedding(8, 2), input=shape)
    assert [finding.code for finding in report.findings] == ["AC215"]


class BothMasks(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mask = torch.ones(x.shape[-2], x.shape[-2], dtype=torch.bool, device=x.device)
        return nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=mask, is_causal=True)


@pytest.mark.parametrize("shape", [(2, 5, 8), (2, 4, 5, 8)])
def test_two_masks_are_refused_where_eager_refuses_them(shape: tuple[int, ...]) -> None:
    """With four dimensions torch 2.15 does, and torch 2.13 does not."""
    try:
        BothMasks()(torch.ones(shape))
        said = None
    except RuntimeError as error:
        said = str(error)
    report = archcheck.check(BothMasks(), input=shape)
    assert [finding.code for finding in report.findings] == (["AC004"] if said else [])
    assert said is None or said in report.findings[0].message


def test_a_spread_kernel_within_the_input_and_beyond_it() -> None:
    """Torch 2.8 and 2.10 take a kernel on meta that is larger than the input by one."""
    layer = nn.Conv2d(1, 1, 2, dilation=2)
    assert archcheck.check(layer, input=(1, 1, 3, 3)).findings == ()
    assert archcheck.check(layer, input=(1, 1, 2, 3)).findings != ()
