"""What a pass records: calls, ops, values, costs, whatever way the code goes."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import pytest

from archcheck.evidence.records import ValueIndex
from archcheck.evidence.trace import Trace

torch = pytest.importorskip("torch")

import traced_models as models  # noqa: E402
from torch import nn  # noqa: E402

from archcheck.tracing.ladder import TensorSpec, trace_module  # noqa: E402

VERSION = tuple(map(int, torch.__version__.split(".")[:2]))


def traced(build: Callable[[], Any], *shapes: tuple[int, ...], **options: Any) -> Trace:
    inputs = [TensorSpec(shape) for shape in shapes]
    trace = trace_module(build, inputs, target="model", path=__file__, **options)
    assert not trace.failures
    assert trace.complete
    return trace


def names(trace: Trace) -> list[str]:
    return [op.name for op in trace.ops]


def shape_of(trace: Trace, value: Any) -> Any:
    if isinstance(value, ValueIndex):
        return trace.values[value.index].shape
    if isinstance(value, tuple):
        return tuple(shape_of(trace, item) for item in value)
    if isinstance(value, dict):
        return {key: shape_of(trace, item) for key, item in value.items()}
    return value


def test_a_layer_called_twice() -> None:
    trace = traced(models.Twice, (2, 4))
    assert [call.path for call in trace.calls] == ["", "layer", "layer"]
    assert [call.parent for call in trace.calls] == [None, 0, 0]
    layer = trace.module("layer")
    assert layer is not None
    assert layer.calls == (1, 2)
    assert layer.macs == 2 * 32
    assert layer.flops == 2 * 64
    assert trace.macs == 64
    assert names(trace) == ["linear", "relu", "linear"]
    assert trace.calls[0].first_op == 0
    assert trace.calls[0].end_op == 3
    assert (trace.calls[2].first_op, trace.calls[2].end_op) == (2, 3)


def test_values_know_their_makers_and_users() -> None:
    trace = traced(models.Twice, (2, 4))
    x = trace.inputs[0].value.index
    weight = next(v for v in trace.values if v.name == "layer.weight")
    assert trace.values[x].kind == "input"
    assert trace.values[x].users == (0,)
    assert weight.kind == "parameter"
    assert weight.users == (0, 2)
    assert weight.requires_grad
    hidden = trace.ops[0].outputs[0]
    assert trace.values[hidden].producer == 0
    assert trace.ops[1].inputs == (hidden,)
    assert trace.outputs == ValueIndex(trace.ops[2].outputs[0])


def test_a_layer_shared_by_two_parents_counts_once_in_parameters() -> None:
    trace = traced(models.Parents, (2, 4))
    shared = trace.module("left.0")
    assert shared is not None
    assert shared.aliases == ("right.0",)
    assert trace.module("right.0") is shared
    assert len(shared.calls) == 2
    assert sum(p.count for p in trace.parameters) == 4 * 4 + 4
    assert next(p for p in trace.parameters).aliases == ("right.0.weight",)
    assert trace.macs == 2 * 32
    left, right = trace.module("left"), trace.module("right")
    assert left is not None and right is not None
    assert (left.macs, right.macs) == (32, 32)


def test_a_module_that_calls_itself() -> None:
    trace = traced(models.Recursive, (2, 4))
    own = [call for call in trace.calls if call.path == ""]
    assert [call.inputs.get("depth") for call in own] == [None, 2, 1]
    assert [call.direct for call in own] == [False] * 3
    assert trace.macs == 3 * 32


def test_forward_called_directly_is_a_call() -> None:
    trace = traced(models.Direct, (2, 4))
    assert [(c.path, c.direct) for c in trace.calls] == [
        ("", False),
        ("inner", True),
        ("inner.0", False),
    ]


def test_super_forward_is_no_call() -> None:
    trace = traced(models.Derived, (2, 4))
    assert [(c.path, c.direct) for c in trace.calls] == [("", False), ("layer", False)]


def test_nested_inputs_and_outputs() -> None:
    spec = TensorSpec((2, 4))
    trace = trace_module(
        models.Nested, [[spec, spec], ("scale", TensorSpec((1,))), ("flag", False)], path=__file__
    )
    assert [entry.name for entry in trace.inputs] == ["images", "scale", "flag"]
    assert [v.name for v in trace.values if v.kind == "input"] == [
        "images[0]",
        "images[1]",
        "scale",
    ]
    assert trace.calls[0].inputs["flag"] is False
    answer, sums, nothing = trace.outputs
    assert shape_of(trace, answer) == {"logits": (2, 4), "states": ((2, 4),)}
    assert shape_of(trace, sums) == {"sum": (2, 4)}
    assert nothing is None


def test_packed_sequences_need_real_tensors() -> None:
    inputs = [TensorSpec((2, 5, 4)), TensorSpec((2,), "int64")]
    trace = trace_module(models.Packed, inputs, path=__file__)
    assert trace.complete
    assert not trace.failures
    assert trace.rung == "real"
    assert len(trace.steps) == 2
    assert shape_of(trace, trace.outputs) == (2, 5, 3)


@pytest.mark.parametrize("reentrant", [True, False])
def test_what_a_checkpoint_runs_is_recorded_with_gradients(reentrant: bool) -> None:
    trace = traced(lambda: models.Checkpointed(reentrant), (2, 4))
    # Until torch 2.10 at least, a checkpoint keeps its inputs by a function of its own.
    linear = next(op for op in trace.ops if op.name == "linear")
    others = set(names(trace)) - {"linear"}
    assert not others or (VERSION < (2, 13) and others == {"empty", "_NoopSaveInputs"})
    assert linear.grad_enabled
    assert trace.values[trace.outputs.index].requires_grad
    assert trace.macs == 32


def test_a_custom_autograd_function_is_an_op_around_its_own() -> None:
    trace = traced(models.Custom, (2, 4))
    assert names(trace) == ["linear", "mul", "Square", "sum"]
    linear, product, square, _ = trace.ops
    assert not product.grad_enabled
    assert square.function == "traced_models.Square"
    assert set(square.inputs) == {linear.outputs[0], product.outputs[0]}
    assert trace.values[square.outputs[0]].requires_grad


def test_a_script_module_is_recorded_kernel_by_kernel() -> None:
    trace = traced(models.Scripted, (2, 4))
    inner = trace.module("inner")
    assert inner is not None
    assert [trace.calls[op.call].path for op in trace.ops if op.call is not None] == (
        ["inner"] * len(trace.ops)
    )
    assert "addmm" in names(trace)
    assert trace.macs == 32


def test_parametrisations_and_spectral_norm() -> None:
    trace = traced(models.Reparametrised, (2, 4))
    assert names(trace).count("linear") == 2
    calls = {call.path for call in trace.calls}
    assert "weighted.parametrizations.weight.0" in calls
    assert shape_of(trace, trace.outputs) == (2, 4)


def test_lazy_modules_are_what_they_became() -> None:
    trace = traced(models.Lazy, (2, 3, 8, 8))
    # 8 channels of 6 x 6 from 3 of 3 x 3; the head takes 8 * 36 = 288 features.
    assert [m.type for m in trace.modules] == ["Lazy", "Conv2d", "BatchNorm2d", "Linear"]
    shapes = {p.name: p.shape for p in trace.parameters}
    assert shapes["conv.weight"] == (8, 3, 3, 3)
    assert shapes["head.weight"] == (5, 288)
    weight = next(v for v in trace.values if v.name == "conv.weight")
    assert weight.kind == "parameter"
    assert names(trace) == ["conv2d", "add", "batch_norm", "flatten", "linear"]


def test_an_in_place_write_shows_through_its_views() -> None:
    trace = traced(models.InPlace, (2, 4))
    view, write, add = trace.ops
    assert write.in_place
    assert not view.in_place
    before, seen = trace.values[view.inputs[0]], trace.values[add.inputs[0]]
    assert before.storage == seen.storage == trace.values[write.outputs[0]].storage
    assert (before.version, seen.version) == (0, 1)
    assert seen.producer == write.index
    assert add.inputs[0] in write.outputs


def test_tensors_made_on_the_way() -> None:
    trace = traced(models.Constants, (2, 6, 4))
    assert trace.rung == "meta"
    assert shape_of(trace, trace.outputs) == (2, 6, 4)
    devices = {op.name: trace.values[op.outputs[0]].device for op in trace.ops}
    assert devices["triu"] == "cpu"  # it would stay behind when the model moves
    assert devices["softmax"] == "model"
    loose = next(v for v in trace.values if v.kind == "constant")
    assert (loose.shape, loose.device) == ((4,), "cpu")


MULTI_HEAD = 3 * 2 * 5 * 8 * 8 + 2 * 2 * 2 * 5 * 5 * 4 + 2 * 5 * 8 * 8


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_attention_is_counted(mode: Any) -> None:
    """Three projections, scores and sums of 2 heads of 4 over 5 x 5 steps, one projection."""
    trace = traced(
        lambda: nn.MultiheadAttention(8, 2, batch_first=True), *[(2, 5, 8)] * 3, mode=mode
    )
    assert names(trace) == ["transpose"] * 3 + ["multi_head_attention_forward", "transpose"]
    assert trace.macs == MULTI_HEAD
    assert shape_of(trace, trace.outputs) == ((2, 5, 8), (2, 5, 5))


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_transformer_in_both_modes(mode: Any) -> None:
    def build() -> Any:
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        return nn.TransformerEncoder(layer, 2)

    trace = traced(build, (2, 5, 8), mode=mode)
    block = MULTI_HEAD + 2 * (2 * 5 * 8 * 16)
    norms = sum(op.macs for op in trace.ops if op.name == "layer_norm")
    assert trace.macs == 2 * block + norms
    assert names(trace).count("multi_head_attention_forward") == 2


def test_peak_memory_of_both_modes() -> None:
    """2 x 1024 floats are 8192 bytes. Training keeps every result that a backward pass reads."""

    def build() -> Any:
        return nn.Sequential(*[nn.Sequential(nn.Linear(1024, 1024), nn.Tanh()) for _ in range(8)])

    train = traced(build, (2, 1024)).peak_activation_bytes
    test = traced(build, (2, 1024), mode="eval").peak_activation_bytes
    # The input and each tanh's result are kept; the last linear's is alive beside its tanh's.
    assert train == (1 + 8 + 1) * 8192
    # The caller holds the input, the outer chain what the block got, the inner one what its tanh
    # gets, and the tanh gives its result.
    assert test == 4 * 8192


def test_plain_attributes_and_places_of_modules() -> None:
    trace = traced(models.Twice, (2, 4))
    layer = trace.module("layer")
    assert layer is not None
    assert layer.attributes["in_features"] == 4
    assert layer.qualified_type == "torch.nn.modules.linear.Linear"
    assert layer.parameters == ("layer.weight", "layer.bias")
    assert layer.constructed is not None
    lines = Path(models.__file__).read_text(encoding="utf-8").splitlines()
    text = lines[layer.constructed.line - 1]
    constructed = text[layer.constructed.column - 1 : layer.constructed.end_column - 1]
    assert constructed == "nn.Linear(4, 4)"
    root = trace.modules[0]
    assert root.defined is not None and root.forward is not None
    assert lines[root.defined.line - 1].startswith("class Twice")
    assert lines[root.forward.line - 1].strip().startswith("def forward")


def test_totals_are_sums_of_ops() -> None:
    trace = traced(models.Lazy, (2, 3, 8, 8))
    assert trace.macs == sum(op.macs for op in trace.ops)
    assert trace.flops == sum(op.flops for op in trace.ops)
    # The convolution: 8 channels of 6 x 6, 27 products each, two samples.
    assert trace.ops[0].macs == 2 * 8 * 36 * 27
    assert trace.modules[0].macs == trace.macs
    for value in trace.values:
        assert prod(value.shape) >= 0
        for user in value.users:
            assert value.index in trace.ops[user].inputs
