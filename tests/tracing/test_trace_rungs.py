"""The rungs against eager: what one kind of tensor says about a call, the others must say too."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archcheck.evidence.records import ValueIndex
from archcheck.evidence.trace import Trace

torch = pytest.importorskip("torch")

import traced_models as models  # noqa: E402
from torch import nn  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from archcheck.tracing import ladder as engine  # noqa: E402
from archcheck.tracing.input_tensors import make_tensor  # noqa: E402
from archcheck.tracing.ladder import TensorSpec, trace_module  # noqa: E402
from archcheck.tracing.patching import patches  # noqa: E402
from archcheck.tracing.patching.attention import attention_as_on_cpu  # noqa: E402
from archcheck.tracing.record import kernels  # noqa: E402

Case = tuple[Callable[[], nn.Module], tuple[TensorSpec, ...]]

VERSION = tuple(map(int, torch.__version__.split(".")[:2]))


def shapes_of(trace: Trace, nest: Any) -> Any:
    if isinstance(nest, ValueIndex):
        return trace.values[nest.index].shape
    return tuple(shapes_of(trace, item) for item in nest) if isinstance(nest, tuple) else nest


def real_shapes(nest: Any) -> Any:
    if isinstance(nest, torch.Tensor):
        return tuple(nest.shape)
    return tuple(map(real_shapes, nest)) if isinstance(nest, list | tuple) else nest


sizes = st.integers(1, 7)
few = st.integers(1, 3)


@st.composite
def shapes(draw: Any, channels: int, spatial: int) -> tuple[int, ...]:
    """A batch, channels that may be wrong, and spatial sizes; sometimes of another rank."""
    shape = [draw(few), draw(st.sampled_from([channels] * 4 + [channels + 1]))]
    shape += [draw(sizes) for _ in range(spatial)]
    change = draw(st.sampled_from(["no"] * 6 + ["unbatched", "flat", "deep"]))
    if change == "unbatched":
        shape = shape[1:]
    elif change == "flat":
        shape = shape[:-1]
    elif change == "deep":
        shape = [*shape, 2]
    return tuple(shape)


@st.composite
def convolutions(draw: Any) -> Case:
    rank, transposed = draw(few), draw(st.booleans())
    groups = draw(st.sampled_from([1, 1, 2]))
    channels = draw(few) * groups
    options: dict[str, Any] = {
        "kernel_size": draw(st.integers(1, 4)),
        "stride": draw(few),
        "padding": draw(st.integers(0, 2)),
        "dilation": draw(st.integers(1, 2)),
        "groups": groups,
        "bias": draw(st.booleans()),
    }
    if transposed:
        options["output_padding"] = draw(st.sampled_from([0, 0, 1, 2]))
    else:
        options["padding_mode"] = draw(st.sampled_from(["zeros", "reflect", "circular"]))
    kind = getattr(nn, f"Conv{'Transpose' if transposed else ''}{rank}d")
    out = draw(few) * groups
    return lambda: kind(channels, out, **options), (TensorSpec(draw(shapes(channels, rank))),)


@st.composite
def norms(draw: Any) -> Case:
    rank, channels = draw(few), draw(st.sampled_from([2, 4, 6]))
    shape = draw(shapes(channels, rank))
    kind = draw(st.sampled_from(["BatchNorm", "InstanceNorm", "GroupNorm", "LayerNorm"]))
    affine = draw(st.booleans())
    if kind == "GroupNorm":
        groups = draw(few)
        return lambda: nn.GroupNorm(groups, channels), (TensorSpec(shape),)
    if kind == "LayerNorm":
        sized = shape[-draw(st.integers(1, 2)) :] if draw(st.integers(0, 3)) else (5,)
        return lambda: nn.LayerNorm(sized), (TensorSpec(shape),)
    layer = getattr(nn, f"{kind}{rank}d")
    return lambda: layer(channels, affine=affine), (TensorSpec(shape),)


@st.composite
def poolings(draw: Any) -> Case:
    rank, spec = draw(few), None
    spec = TensorSpec(draw(shapes(3, rank)))
    kind = draw(st.sampled_from(["Max", "Avg", "AdaptiveAvg", "AdaptiveMax"]))
    layer = getattr(nn, f"{kind}Pool{rank}d")
    if kind.startswith("Adaptive"):
        size = draw(few)
        return lambda: layer(size), (spec,)
    options = {
        "kernel_size": draw(st.integers(1, 4)),
        "stride": draw(st.sampled_from([None, 1, 2])),
        "padding": draw(st.integers(0, 2)),
        "ceil_mode": draw(st.booleans()),
    }
    return lambda: layer(**options), (spec,)


@st.composite
def products(draw: Any) -> Case:
    width = draw(st.sampled_from([2, 4]))
    lead = tuple(draw(st.lists(few, max_size=3)))
    last = draw(st.sampled_from([width] * 3 + [width + 1]))
    dtype = draw(st.sampled_from(["float32"] * 4 + ["float64", "int64", "bool"]))
    spec = TensorSpec((*lead, last), dtype)
    kind = draw(st.sampled_from(["linear", "bilinear", "embedding", "attention", "lstm", "gru"]))
    if kind == "linear":
        return lambda: nn.Linear(width, 3), (spec,)
    if kind == "bilinear":
        return lambda: nn.Bilinear(width, width, 3), (spec, spec)
    if kind == "embedding":
        return lambda: nn.Embedding(8, width), (spec,)
    if kind == "attention":
        first = draw(st.booleans())
        return lambda: nn.MultiheadAttention(width, 2, batch_first=first), (spec, spec, spec)
    first, ways = draw(st.booleans()), draw(st.booleans())
    layer = nn.LSTM if kind == "lstm" else nn.GRU
    return lambda: layer(width, 3, batch_first=first, bidirectional=ways), (spec,)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(convolutions(), norms(), poolings(), products()), st.sampled_from(["train", "eval"])
)
def test_small_calls_of_every_layer(case: Case, mode: Any) -> None:
    build, specs = case
    try:
        model = build().train(mode == "train")
    except (ValueError, RuntimeError):
        return  # no such layer
    error: Exception | None = None
    shape: Any = None
    with torch.no_grad():
        try:
            shape = real_shapes(model(*(make_tensor(spec, "cpu") for spec in specs)))
        except Exception as raised:
            error = raised
    trace = trace_module(build, list(specs), path=__file__, mode=mode)
    assert bool(trace.failures) is (error is not None), (model, specs, error, trace.failures)
    if error is None:
        assert shapes_of(trace, trace.outputs) == shape, (model, specs)
    else:
        assert trace.failures[0].consequence_of is None


class Arithmetic(nn.Module):
    def forward(self, x: Any) -> Any:
        column, row = x[:, :1].contiguous(), x[:1].contiguous()
        y = (column + row) * x / 2 - x.pow(2) + x**0.5
        z = -(y.sigmoid() * 3 + row.exp().sqrt()).rsqrt().cos().sin().abs()
        return (z.t() + z.tanh().t() * 2) @ (z + x.double()).float()


CASES: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (models.Twice, (2, 4)),
    (models.Lazy, (2, 3, 8, 8)),
    (models.Constants, (2, 6, 4)),
    (models.Residual, (2, 3, 8, 8)),
    (Arithmetic, (4, 4)),
    (models.Reparametrised, (2, 4)),
    (lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8)),
    (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.GELU()), (2, 3, 8, 8)),
]


@pytest.mark.parametrize("build, shape", CASES)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_shortcuts_change_nothing(
    build: Callable[[], nn.Module], shape: tuple[int, ...], mode: Any, monkeypatch: Any
) -> None:
    inputs = [TensorSpec(shape)]
    quick = trace_module(build, inputs, path=__file__, mode=mode)
    monkeypatch.setattr(kernels, "answer", lambda func, args, kwargs: None)
    assert trace_module(build, inputs, path=__file__, mode=mode) == quick


SAME = """
import sys
import traced_models as models
from archcheck.tracing import ladder as engine
from archcheck.tracing import attempt
from contextlib import nullcontext
from torch import nn

if sys.argv[1] == "ordinary":
    import sympy, torch._dynamo
    attempt.without_slow_imports = engine.without_slow_imports = nullcontext
for build, shape in (
    (models.Lazy, (2, 3, 8, 8)),
    (models.Constants, (2, 6, 4)),
    (models.Residual, (2, 3, 8, 8)),
    (lambda: nn.Sequential(nn.ConvTranspose2d(3, 8, 3), nn.InstanceNorm2d(8)), (2, 3, 8, 8)),
    (lambda: nn.TransformerEncoderLayer(8, 2, 16), (2, 5, 8)),
    (lambda: nn.Sequential(nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(3), nn.Upsample(scale_factor=2)),
     (2, 3, 8, 8)),
):
    print(engine.trace_module(build, [engine.TensorSpec(shape)], user_files=[models.__file__]))
print([name for name in ("torch._dynamo", "sympy") if name in sys.modules], file=sys.stderr)
"""


@pytest.mark.slow
def test_a_pass_imports_neither_compiler_nor_sympy_and_says_the_same() -> None:
    paths = str(Path(models.__file__).parent)
    runs = {}
    for kind in ("quick", "ordinary"):
        runs[kind] = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SAME, kind],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONPATH": paths},
        )
    assert runs["quick"].stdout == runs["ordinary"].stdout
    # The kernels of torch 2.10 and before it ask sympy for more than a stand-in has.
    imported = "[]" if VERSION >= (2, 13) else "['sympy']"
    assert runs["quick"].stderr.strip() == imported
    assert "torch._dynamo" in runs["ordinary"].stderr


def test_patches_are_gone_after_their_block() -> None:
    """Attributes are put back as they were, those that a class inherited included."""

    class Base:
        value = 1

    class Derived(Base):
        pass

    with pytest.raises(KeyError), patches.replaced((Derived, "value", 2), (Base, "value", 3)):
        assert (Derived.value, Base.value) == (2, 3)
        raise KeyError
    assert "value" not in vars(Derived)
    assert Base.value == 1


@pytest.mark.parametrize("rung", ["fake", "real"])
def test_every_rung_shows_the_same_shapes(rung: str, monkeypatch: Any) -> None:
    """Ops, shapes and costs of a pass do not depend on the kind of tensors."""

    def build() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Flatten(),
            nn.Linear(8 * 36, 16), nn.Unflatten(1, (4, 4)), nn.MultiheadAttention(4, 2),
        )[:6]  # fmt: skip

    inputs = [TensorSpec((2, 3, 8, 8))]
    meta = trace_module(build, inputs, path=__file__)
    assert meta.rung == "meta"
    ladder = {"meta": rung}

    original = engine.Ladder.attempt

    def attempt(self: Any, model: Any, at: Any, *more: Any, **options: Any) -> Any:
        if at == "meta" and rung == "real":
            model = build()
        return original(self, model, ladder.get(at, at), *more, **options)

    monkeypatch.setattr(engine.Ladder, "attempt", attempt)
    other = trace_module(build, inputs, path=__file__)
    assert other.rung == rung
    assert [op.name for op in other.ops] == [op.name for op in meta.ops]
    assert [v.shape for v in other.values] == [v.shape for v in meta.values]
    assert (other.macs, other.flops) == (meta.macs, meta.flops)
    assert other.outputs == meta.outputs


def attention_cases() -> dict[str, tuple[tuple[Any, ...], dict[str, Any]]]:
    def make(heads: int, steps: int = 6, width: int = 4, **options: Any) -> Any:
        return torch.zeros(2, heads, steps, width, **options)

    q, k = make(4), make(4)
    return {
        "plain": ((q, k, k), {}),
        "causal": ((q, k, k), {"is_causal": True}),
        "groups": ((q, make(2), make(2)), {"enable_gqa": True}),
        "truth mask": ((q, k, k), {"attn_mask": torch.ones(6, 6, dtype=torch.bool)}),
        "float mask": ((q, k, k), {"attn_mask": torch.zeros(2, 1, 1, 6)}),
        "mask of three": ((q, k, k), {"attn_mask": torch.zeros(4, 6, 6)}),
        "learned mask": ((q, k, k), {"attn_mask": torch.zeros(6, 6, requires_grad=True)}),
        "both masks": ((q, k, k), {"attn_mask": torch.zeros(6, 6), "is_causal": True}),
        "dropout": ((q, k, k), {"dropout_p": 0.1}),
        "three dimensions": ((q[0], k[0], k[0]), {}),
        "another width of values": ((q, k, make(4, 6, 8)), {}),
        "another length": ((make(4, 3), k, k), {}),
        "one head for all": ((q, make(1), make(1)), {}),
        "strided": ((make(4, 4, 6).transpose(2, 3), k, k), {}),
        "nothing": ((make(4, 0), k, k), {}),
        "half": ((q.bfloat16(), k.bfloat16(), k.bfloat16()), {}),
        "float half mask": ((q, k, k), {"attn_mask": torch.zeros(6, 6).half()}),
    }


@pytest.mark.parametrize("name", attention_cases())
def test_attention_runs_the_kernel_that_the_cpu_chooses(name: str) -> None:
    args, options = attention_cases()[name]

    class Kernels(TorchDispatchMode):
        fused = False

        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False

        def __torch_dispatch__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            self.fused = self.fused or "flash" in str(func)
            return func(*args, **(kwargs or {}))

    def run(call: Any, device: str) -> tuple[bool, Any]:
        def moved(value: Any) -> Any:
            return value.to(device) if isinstance(value, torch.Tensor) else value

        given = [value.to(device) for value in args]
        with Kernels() as seen:
            try:
                out = call(*given, **{key: moved(value) for key, value in options.items()})
            except RuntimeError:
                return seen.fused, None
        return seen.fused, (out.shape, out.dtype)

    real = run(nn.functional.scaled_dot_product_attention, "cpu")
    assert run(attention_as_on_cpu, "meta") == real
