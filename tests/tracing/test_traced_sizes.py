"""Sizes that the model's code reads: what the record keeps of them, and that nothing changes."""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import nn

from archcheck.evidence.records import SizeRead
from archcheck.evidence.trace import Trace
from archcheck.tracing.ladder import TensorSpec, trace_module
from archcheck.worker.process.wire import EvidencePickler, EvidenceUnpickler


def traced(model: type[nn.Module], *shapes: Sequence[int]) -> Trace:
    inputs = [TensorSpec(tuple(shape)) for shape in shapes]
    trace = trace_module(model, inputs, path=__file__, user_files=[__file__])
    assert trace.complete, trace.failures
    return trace


def sources(nest: Any) -> Any:
    """The nest with the source of each size in its place."""
    if isinstance(nest, SizeRead):
        return nest.source
    if isinstance(nest, tuple | list):
        return tuple(map(sources, nest))
    return nest


def argument(trace: Trace, op: str, name: str) -> Any:
    return sources(next(o.arguments[name] for o in trace.ops if o.name == op))


class Reads(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, time, features = x.shape
        x = x.view(batch * time, features // 2, -1)
        x = x.transpose(0, 1).reshape(x.size(1), 2 * batch, math.ceil(time / 2), -1)
        return x[:, :batch].flatten(2)


def test_arguments_tell_the_sizes_that_they_were_read_from() -> None:
    trace = traced(Reads, (4, 6, 8))
    batch, time, features = (("dim", 0, dim) for dim in range(3))
    assert argument(trace, "view", "size") == (
        ("mul", batch, time),
        ("floordiv", features, 2),
        -1,
    )
    given = argument(trace, "reshape", "shape")
    assert given[0][0] == "dim" and given[0][2] == 1
    assert given[1:3] == (("mul", 2, batch), ("ceil", ("truediv", time, 2)))
    index = next(o.arguments["index"] for o in trace.ops if o.name == "getitem")
    assert index[1].stop.source == batch


def test_names_of_sizes_are_recorded_where_they_are_bound() -> None:
    trace = traced(Reads, (4, 6, 8))
    names = {name.name: (name.value, name.dimension) for name in trace.size_names}
    assert names == {"batch": (0, 0), "time": (0, 1), "features": (0, 2)}
    first = Reads.forward.__code__.co_firstlineno
    assert {name.location.line for name in trace.size_names} == {first + 1}


def test_sizes_go_over_the_wire() -> None:
    trace = traced(Reads, (4, 6, 8))
    file = io.BytesIO()
    EvidencePickler(file, 5).dump(trace)
    back = EvidenceUnpickler(io.BytesIO(file.getvalue())).load()
    assert back == trace
    assert argument(back, "view", "size") == argument(trace, "view", "size")


class Plain(nn.Module):
    """Uses its sizes as people do who never think of subclasses."""

    seen: ClassVar[dict[str, Any]] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h, w = x.shape[-2:]
        Plain.seen = {
            "hash": {h: 1}[5],
            "text": f"{h}x{w:03d} {h!r}",
            "bool": (h == 5, h > w, bool(h)),
            "range": list(range(h)),
            "float": h / 2 + 0.5,
            "divmod": divmod(h, 2),
            "power": (h**2, h**-1, 2**h),
            "pickle": type(pickle.loads(pickle.dumps(h))),
            "mixed": h * 1.5,
            "list": [0] * h,
            "product": math.prod(x.shape),
            "sum": sum(x.shape),
        }
        return x.repeat(1, 1, h, w)[:, :, :h, :w]


def test_sizes_are_integers_like_any_other() -> None:
    traced(Plain, (2, 3, 5, 7))
    assert Plain.seen == {
        "hash": 1,
        "text": "5x007 5",
        "bool": (True, False, True),
        "range": [0, 1, 2, 3, 4],
        "float": 3.0,
        "divmod": (2, 1),
        "power": (25, 0.2, 32),
        "pickle": int,
        "mixed": 7.5,
        "list": [0] * 5,
        "product": 210,
        "sum": 17,
    }


class Counts(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n = x.shape[0]
        for _ in range(5000):
            n = n + 1
        return torch.zeros(n) + x.sum()


def test_a_number_that_was_counted_up_is_only_a_number() -> None:
    trace = traced(Counts, (4, 6))
    size = trace.ops[0].arguments["size"][0]
    assert size == 5004 and not isinstance(size, SizeRead)


class Scripted(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return _rows(x, x.shape[0])


@torch.jit.script  # type: ignore[untyped-decorator]
def _rows(x: torch.Tensor, rows: int) -> torch.Tensor:
    return x.reshape(rows, -1)


def test_scripted_functions_take_them() -> None:
    assert traced(Scripted, (4, 6, 2)).values[-1].shape == (4, 12)


def test_patterns_of_einops_keep_no_sizes_of_other_tensors() -> None:
    einops = pytest.importorskip("einops")

    class Patterns(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            first = einops.rearrange(x, "b h w -> b (h w)")
            turned = x.permute(1, 0, 2)  # the same numbers, other sizes
            return first + einops.rearrange(turned, "b h w -> b (h w)")

    trace = traced(Patterns, (4, 4, 4))
    shapes = [op.arguments["shape"] for op in trace.ops if op.name == "reshape"]
    origins = [{source[1] for source in _dims(sources(shape))} for shape in shapes]
    assert origins[0].isdisjoint(origins[1])


def _dims(nest: Any) -> list[tuple[Any, ...]]:
    if isinstance(nest, tuple) and nest and nest[0] == "dim":
        return [nest]
    return [found for item in nest for found in _dims(item)] if isinstance(nest, tuple) else []
