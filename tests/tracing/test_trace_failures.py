"""Failures: where they are, how the pass goes on, and whose fault they are."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from archcheck.analysis.exception_text import raised_text
from archcheck.core.target import UsageError
from archcheck.evidence.records import Failure
from archcheck.evidence.trace import Trace

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
import traced_models as models  # noqa: E402
from torch import nn  # noqa: E402

from archcheck.tracing.ladder import BuildFailed, TensorSpec, trace_module  # noqa: E402


def traced(build: Callable[[], Any], *shapes: tuple[int, ...], **options: Any) -> Trace:
    inputs = [TensorSpec(shape) for shape in shapes]
    return trace_module(build, inputs, target="model", path=__file__, **options)


def module(forward: Callable[..., Any], **layers: nn.Module) -> Callable[[], nn.Module]:
    """A factory of modules with these layers and this forward, which gets them by name."""

    class Written(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, layer in layers.items():
                setattr(self, name, layer)

        def forward(self, x: torch.Tensor) -> Any:
            return forward(self, x)

    return Written


def causes(trace: Trace) -> list[Failure]:
    return [failure for failure in trace.failures if failure.consequence_of is None]


def test_three_mismatches_are_three_failures_in_one_run() -> None:
    trace = traced(models.Residual, (2, 3, 8, 8))
    assert trace.complete
    assert [trace.ops[f.op].name for f in causes(trace) if f.op is not None] == [
        "conv2d",
        "batch_norm",
        "linear",
    ]
    lines = Path(models.__file__).read_text(encoding="utf-8").splitlines()
    seen = []
    for failure in trace.failures:
        assert failure.recovered
        at = failure.location
        assert at is not None
        seen.append(lines[at.line - 1][at.column - 1 : at.end_column - 1])
    assert seen == ["self.wrong_channels(x)", "self.wrong_norm(x)", "self.head(x)"]
    output = trace.values[trace.outputs.index]
    assert output.shape == (2, 10)
    assert not output.guessed


def test_what_follows_from_a_guess_is_a_consequence() -> None:
    def forward(self: Any, x: Any) -> Any:
        x = self.one(x) + self.two(x)  # 8 channels or 16
        return self.three(x)  # takes 16

    build = module(
        forward, one=nn.Conv2d(3, 8, 1), two=nn.Conv2d(3, 16, 1), three=nn.Conv2d(16, 4, 1)
    )
    trace = traced(build, (2, 3, 4, 4))
    assert [f.consequence_of for f in trace.failures] == [None, 0]


def test_what_no_guess_explains_is_a_cause() -> None:
    def forward(self: Any, x: Any) -> Any:
        x = self.one(x) + self.two(x)
        return self.three(x)  # takes 5: neither 8 nor 16

    build = module(
        forward, one=nn.Conv2d(3, 8, 1), two=nn.Conv2d(3, 16, 1), three=nn.Conv2d(5, 4, 1)
    )
    assert len(causes(traced(build, (2, 3, 4, 4)))) == 2


def test_a_block_fed_with_the_wrong_width_fails_once() -> None:
    def forward(self: Any, x: Any) -> Any:
        x = self.stem(x)
        return x + self.inner(x)

    build = module(forward, stem=nn.Conv2d(3, 16, 1), inner=nn.Conv2d(8, 8, 3, padding=1))
    trace = traced(build, (2, 3, 4, 4))
    assert len(causes(trace)) == 1
    assert [f.consequence_of for f in trace.failures] == [None, 0]


def test_spatial_collapse_and_what_comes_after() -> None:
    def forward(self: Any, x: Any) -> Any:
        x = F.max_pool2d(x, 8)
        return self.head(x.flatten(1))

    trace = traced(module(forward, head=nn.Linear(3 * 49, 10)), (2, 3, 4, 4))
    assert trace.complete
    assert [f.consequence_of for f in trace.failures] == [None, 0]


RECOVERED: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "cat": (lambda x: torch.cat([x, x[:, :2, :3]], 1), (2, 6, 4)),
    "stack": (lambda x: torch.stack([x, x[:, :2]]), (2, 2, 4, 4)),
    "matmul": (lambda x: x @ x[:, :3], (2, 4, 4)),
    "view": (lambda x: x.view(2, 5, 4), (2, 5, 4)),
    "reshape": (lambda x: x.reshape(-1, 24), (2, 24)),
    "add": (lambda x: x + x[:, :, :3], (2, 4, 4)),
    "softmax": (lambda x: x.softmax(5), (2, 4, 4)),
    "layer_norm": (lambda x: F.layer_norm(x, (5,)), (2, 4, 4)),
    "avg_pool2d": (lambda x: F.avg_pool2d(x, 5), (2, 1, 1)),
    "embedding": (lambda x: F.embedding(x, torch.ones(9, 7)), (2, 4, 4, 7)),
}


@pytest.mark.parametrize("name", RECOVERED)
def test_an_output_takes_the_failed_ones_place(name: str) -> None:
    call, shape = RECOVERED[name]
    trace = traced(module(lambda self, x: call(x) * 1), (2, 4, 4))
    assert trace.complete
    (failure,) = trace.failures
    assert failure.op is not None
    assert failure.recovered
    assert trace.ops[failure.op].name == name
    assert trace.values[trace.ops[failure.op].outputs[0]].shape == shape


def test_layers_that_check_in_python_are_recovered_too() -> None:
    build = module(
        lambda self, x: self.act(self.norm(x)), norm=nn.BatchNorm1d(3), act=nn.ReLU(inplace=True)
    )
    trace = traced(build, (2, 3, 4, 4))
    (failure,) = trace.failures
    assert failure.error == "ValueError"
    assert failure.recovered
    assert failure.op is not None and failure.call is not None
    assert trace.ops[failure.op].name == "batch_norm"
    assert trace.calls[failure.call].path == "norm"
    assert trace.values[trace.outputs.index].shape == (2, 3, 4, 4)


def test_an_error_that_the_code_handles_is_none() -> None:
    def forward(self: Any, x: Any) -> Any:
        try:
            return x.view(7)
        except RuntimeError:
            return x.flatten()

    trace = traced(module(forward), (2, 4))
    assert not trace.failures
    assert trace.complete
    assert [op.name for op in trace.ops] == ["flatten"]
    assert (trace.calls[0].first_op, trace.calls[0].end_op) == (0, 1)


def test_an_error_that_a_library_handles_is_none() -> None:
    def forward(self: Any, x: Any) -> Any:
        with contextlib.suppress(RuntimeError):
            x = self.inner(x)
        return x + 1

    inner = module(lambda self, x: x.permute(0, 1, 2))()
    trace = traced(module(forward, inner=inner), (2, 4))
    assert not trace.failures
    assert [op.name for op in trace.ops] == ["add"]
    assert [(call.first_op, call.end_op) for call in trace.calls] == [(0, 1), (0, 0)]
    assert trace.values[0].users == (0,)


def test_a_typing_error_is_no_consequence_of_a_guess() -> None:
    def forward(self: Any, x: Any) -> Any:
        x = self.one(x) + self.two(x)
        return self.nothing(x)

    trace = traced(module(forward, one=nn.Conv2d(3, 8, 1), two=nn.Conv2d(3, 16, 1)), (2, 3, 4, 4))
    assert [f.error for f in causes(trace)] == ["RuntimeError", "AttributeError"]


def test_where_nothing_can_be_guessed_the_pass_stops() -> None:
    def forward(self: Any, x: Any) -> Any:
        x = x.relu()
        x = x.permute(0, 1, 2, 3)
        return x.tanh()

    trace = traced(module(forward), (2, 4))
    assert not trace.complete
    assert [op.name for op in trace.ops] == ["relu", "permute"]
    (failure,) = trace.failures
    assert not failure.recovered
    assert failure.op == 1
    assert trace.ops[1].failure == 0
    assert trace.calls[0].failure == 0
    assert trace.outputs is None


def test_frames_are_the_users_own() -> None:
    def helper(x: Any) -> Any:
        return x.nonsense

    trace = traced(module(lambda self, x: helper(x)), (2, 4))
    (failure,) = trace.failures
    assert failure.error == "AttributeError"
    assert [frame.function.rpartition(".")[2] for frame in failure.frames] == [
        "forward",
        "<lambda>",
        "helper",
    ]
    assert failure.location == failure.frames[-1].location


@pytest.mark.parametrize("kind", ["value", "item", "numpy", "mask"])
def test_code_that_reads_values_runs_on_real_tensors(kind: str) -> None:
    reads: dict[str, Callable[[Any], Any]] = {
        "value": lambda x: x if x.sum() > 0 else x + 1,
        "item": lambda x: x * x.max().item(),
        "numpy": lambda x: torch.from_numpy(x.detach().numpy()),
        "mask": lambda x: x[x > 0],
    }
    trace = traced(module(lambda self, x: reads[kind](x)), (2, 4))
    assert trace.rung == "real"
    assert trace.complete
    assert not trace.failures
    assert all(": " in step for step in trace.steps)


def test_code_that_handles_what_only_a_rung_raises_takes_its_real_way() -> None:
    def reads(self: Any, x: Any) -> Any:
        try:
            return x * float(x.max())
        except RuntimeError:
            return x.flatten()

    def counts(self: Any, x: Any) -> Any:
        try:
            return torch.unique(x)[:1]
        except:  # noqa: E722
            return x.flatten()

    for forward in (reads, counts):
        trace = traced(module(forward), (2, 4))
        assert trace.rung == "real"
        assert "flatten" not in [op.name for op in trace.ops]


def test_an_endless_recursion_and_an_exit_are_failures() -> None:
    endless = traced(module(lambda self, x: self(x + 1)), (2, 4))
    assert endless.failures[-1].error == "RecursionError"
    assert not endless.complete

    def leave(self: Any, x: Any) -> Any:
        raise SystemExit(3)

    trace = traced(module(leave), (2, 4))
    assert trace.failures[-1].error == "SystemExit"


def test_a_forward_that_returns_nothing_is_complete() -> None:
    trace = traced(module(lambda self, x: None), (2, 4))
    assert trace.complete
    assert trace.outputs is None


def test_a_constructor_that_raises() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4)  # type: ignore[call-arg]

    trace = traced(Broken, (2, 4))
    (failure,) = trace.failures
    assert (failure.stage, failure.error) == ("construct", "TypeError")
    assert trace.rung is None
    assert failure.frames[-1].function.endswith("Broken.__init__")


def test_a_constructor_that_needs_its_weights_is_built_for_real() -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)
            self.scale = self.layer.weight.abs().max().item()

        def forward(self, x: Any) -> Any:
            return self.layer(x) * self.scale

    trace = traced(Reads, (2, 4))
    assert trace.complete
    assert trace.rung == "meta"
    assert not trace.failures


def test_a_factory_may_tell_its_own_failure() -> None:
    told = Failure("import", "ModuleNotFoundError", "no module", missing="nothing")

    def build() -> nn.Module:
        raise BuildFailed(told)

    assert trace_module(build, [], path=__file__).failures == (told,)


def test_inputs_that_do_not_fit_name_the_parameters() -> None:
    class Two(nn.Module):
        def forward(self, query: Any, key: Any, mask: Any = None) -> Any:
            return query

    with pytest.raises(UsageError, match=r"no input for key: .*query, key, mask \(optional\)"):
        traced(Two, (2, 4))
    with pytest.raises(UsageError, match=r"4 inputs given, but Two\.forward takes query"):
        traced(Two, *[(2, 4)] * 4)
    with pytest.raises(UsageError, match="'keys' is no parameter"):
        trace_module(Two, [("keys", TensorSpec((2,)))], path=__file__)
    trace = trace_module(Two, [("key", TensorSpec((3,))), (None, TensorSpec((2,)))], path=__file__)
    assert {entry.name: entry.value.index for entry in trace.inputs} == {"query": 0, "key": 1}


def test_what_is_no_module_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="'int', which is no"):
        trace_module(lambda: 3, [], path=__file__)  # type: ignore[arg-type, return-value]


def test_a_forward_that_lacks_self_is_the_models_failure() -> None:
    class Inner(nn.Module):
        def forward(x: Any) -> Any:
            return x

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Inner()

        def forward(self, x: Any) -> Any:
            return self.inner(x)

    (failure,) = traced(Outer, (2, 4)).failures
    assert failure.error == "TypeError"
    assert "takes 1 positional argument but 2 were given" in failure.message


def test_no_tensor_of_our_own_making_is_named() -> None:
    trace = traced(module(lambda self, x: torch.cat(x, x)), (2, 4))
    (failure,) = trace.failures
    text = raised_text(failure)
    # Torch 2.6 lists what it takes; newer ones say what is wrong.
    assert text.endswith("must be tuple of Tensors, not Tensor") or "got (Tensor, Tensor)" in text
