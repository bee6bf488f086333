"""Reports made by hand, without torch: what the tests of the output formats draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from archcheck.core.finding import Edit, Finding, Fix, Location, Related, Severity, ShapeNote
from archcheck.core.report import Report
from archcheck.core.target import Shape
from archcheck.evidence.records import (
    Failure,
    Module,
    ModuleCall,
    Op,
    Parameter,
    Sizes,
    TracedInput,
    Value,
    ValueIndex,
)
from archcheck.evidence.target_summary import TargetReport
from archcheck.evidence.trace import Trace


@dataclass
class TraceMaker:
    """Writes a `Trace` call by call, as a pass would."""

    modules: dict[str, Module] = field(default_factory=dict)
    calls: list[ModuleCall] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    parameters: list[Parameter] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    open: list[int] = field(default_factory=list)

    def value(self, *shape: int, guessed: bool = False, **more: Any) -> ValueIndex:
        kind = more.pop("kind", "computed")
        dtype = more.pop("dtype", "float32")
        index = len(self.values)
        more.setdefault("storage", index)
        self.values.append(Value(index, tuple(shape), dtype, kind, guessed=guessed, **more))
        return ValueIndex(index)

    def module(self, path: str, type: str, line: int | None = None, **shapes: Shape) -> None:
        """A module, its parameters by name; its parent is known already."""
        names = []
        for name, shape in shapes.items():
            full = f"{path}.{name}".lstrip(".")
            buffer = name.startswith("running")
            self.parameters.append(Parameter(full, shape, "float32", not buffer, buffer))
            self.value(*shape, kind="buffer" if buffer else "parameter", name=full)
            names.append(full)
        place = Location("net.py", line, 9, line, 20) if line else None
        self.modules[path] = Module(
            path, type, f"torch.nn.{type}", parameters=tuple(names), constructed=place
        )
        if path:
            parent = path.rpartition(".")[0]
            known = self.modules[parent]
            self.modules[parent] = replace(known, children=(*known.children, path))

    def begin(self, path: str, **inputs: Any) -> None:
        index = len(self.calls)
        parent = self.open[-1] if self.open else None
        self.calls.append(ModuleCall(index, path, parent, inputs, None, len(self.ops), 0))
        self.open.append(index)
        module = self.modules[path]
        self.modules[path] = replace(module, calls=(*module.calls, index))

    def op(
        self,
        name: str,
        macs: int,
        inputs: tuple[ValueIndex, ...] = (),
        result: ValueIndex | None = None,
    ) -> None:
        index = len(self.ops)
        outputs: tuple[int, ...] = ()
        if result is not None:
            outputs = (result.index,)
            made = self.values[result.index]
            self.values[result.index] = replace(made, producer=index)
        for one in inputs:
            value = self.values[one.index]
            self.values[one.index] = replace(value, users=(*value.users, index))
        call = self.open[-1] if self.open else None
        numbers = tuple(one.index for one in inputs)
        self.ops.append(
            Op(index, name, name, numbers, outputs, call=call, macs=macs, flops=2 * macs)
        )
        for opened in self.open:
            path = self.calls[opened].path
            module = self.modules[path]
            self.modules[path] = replace(
                module, macs=module.macs + macs, flops=module.flops + 2 * macs
            )

    def end(self, outputs: Any, failure: Failure | None = None) -> Any:
        index = self.open.pop()
        number = None
        if failure is not None:
            number = len(self.failures)
            self.failures.append(replace(failure, call=index))
        self.calls[index] = replace(
            self.calls[index], outputs=outputs, end_op=len(self.ops), failure=number
        )
        return outputs

    def leaf(self, path: str, given: ValueIndex, *shape: int, op: str, macs: int = 0) -> ValueIndex:
        """Call a layer that runs one operator on its own parameters."""
        self.begin(path, input=given)
        weights = tuple(
            ValueIndex(value.index)
            for value in self.values
            if value.name in self.modules[path].parameters
        )
        result = self.value(*shape)
        self.op(op, macs, (given, *weights), result)
        self.end(result)
        return result

    def trace(self, target: str, outputs: Any, inputs: Mapping[str, Any], **more: Any) -> Trace:
        return Trace(
            target=target,
            path=target.partition(":")[0],
            rung=more.pop("rung", "meta"),
            inputs=tuple(TracedInput(name, value) for name, value in inputs.items()),
            outputs=outputs,
            complete=more.pop("complete", True),
            modules=tuple(self.modules.values()),
            calls=tuple(self.calls),
            ops=tuple(self.ops),
            values=tuple(self.values),
            failures=tuple(self.failures),
            parameters=tuple(self.parameters),
            macs=sum(op.macs for op in self.ops),
            flops=sum(op.flops for op in self.ops),
            versions=more.pop("versions", {"python": "3.12.1", "torch": "2.13.0"}),
            **more,
        )


def residual_trace(blocks: int = 6) -> Trace:
    """A small residual net: a stem, a stage of equal blocks, a head, one layer never called."""
    make = TraceMaker()
    make.module("", "Net")
    make.module("stem", "Conv2d", 10, weight=(16, 3, 3, 3), bias=(16,))
    make.module("stage", "Sequential", 11)
    for number in range(blocks):
        block = f"stage.{number}"
        make.module(block, "Block", 11)
        make.module(f"{block}.conv1", "Conv2d", 30, weight=(16, 16, 3, 3))
        make.module(f"{block}.bn1", "BatchNorm2d", 31, weight=(16,), bias=(16,), running_mean=(16,))
        make.module(f"{block}.conv2", "Conv2d", 32, weight=(16, 16, 3, 3))
    make.module("pool", "AdaptiveAvgPool2d", 12)
    make.module("fc", "Linear", 13, weight=(10, 16), bias=(10,))
    make.module("spare", "Linear", 14, weight=(16, 16), bias=(16,))

    x = make.value(8, 3, 32, 32, kind="input", name="x")
    plane = (8, 16, 32, 32)
    make.begin("", x=x)
    y = make.leaf("stem", x, *plane, op="conv2d", macs=prod(plane) * 27)
    make.begin("stage", input=y)
    for number in range(blocks):
        block = f"stage.{number}"
        make.begin(block, x=y)
        z = make.leaf(f"{block}.conv1", y, *plane, op="conv2d", macs=prod(plane) * 144)
        z = make.leaf(f"{block}.bn1", z, *plane, op="batch_norm", macs=prod(plane) * 2)
        z = make.leaf(f"{block}.conv2", z, *plane, op="conv2d", macs=prod(plane) * 144)
        result = make.value(*plane)
        make.op("einsum", prod(plane), (y, z), result)
        y = make.end(result)
    y = make.end(y)
    y = make.leaf("pool", y, 8, 16, 1, 1, op="adaptive_avg_pool2d", macs=prod(plane))
    y = make.leaf("fc", y, 8, 10, op="linear", macs=8 * 160)
    make.end(y)
    return make.trace(
        "net.py:Net",
        y,
        {"x": x},
        peak_activation_bytes=411_041_792,
        valid_input_sizes=(Sizes("H", 32, 16, 47), Sizes("W", 32, 16, 47)),
        uncounted_ops={"fft_fft2": 2},
        steps=("meta was left: `numpy` reads values",),
    )


PATH = "mymodel.py"

SOURCE = (
    *("# 中文注释",) * 41,
    "        self.classifier = nn.Linear(4608, self.num_classes)",
    *("",) * 13,
    "        x = self.avgpooling(x)",
    "        x = x.view(x.shape[0], -1)",
    "        x = self.classifier(x)",
)

STYLE_FINDING = Finding(
    message="`classifier` expects 4608 features, got 2048",
    location=Location(PATH, 58, 13, 58, 31),
    label="got [8, 2048], expects [*, 4608]",
    scope="ResNet32.forward",
    module="classifier",
    trail=(
        ShapeNote(Location(PATH, 56, 9, 56, 31), "x: [8, 512, 2, 2]"),
        ShapeNote(Location(PATH, 57, 9, 57, 35), "x: [8, 2048]"),
    ),
    related=(Related(Location(PATH, 42, 37, 42, 41), "declared here"),),
    notes=(
        "2048 is 512 channels of 2 x 2; 4608 would be 512 of 3 x 3, an input of 163 to 226 pixels",
    ),
    help="nn.Linear(2048, …), or nn.AdaptiveAvgPool2d(1) and nn.Linear(512, …) for any input size",
    fix=Fix("safe", (Edit(Location(PATH, 42, 37, 42, 41), "2048"),), verified=True),
    severity=Severity.ERROR,
    code="AC201",
    name="linear-in-features",
    target=f"{PATH}:ResNet32",
)

NOTEBOOK_FINDING = Finding(
    message="`stage.4.conv2` keeps a bias that <`bn`> & the next layer cancel | 50% of it",
    location=Location("book 1.ipynb", 3, 5, 4, 6, cell=2),
    label="this bias",
    module="stage.4.conv2",
    related=(Related(Location("other.py", 1, 1), "cancelled here"),),
    severity=Severity.WARNING,
    code="AC306",
    name="bias-before-norm",
    target="net.py:Net",
)


def sample_report(**changes: Any) -> Report:
    """An error, a warning, one traced model, something unchecked, something suppressed."""
    report = Report(
        findings=(NOTEBOOK_FINDING, STYLE_FINDING),
        targets=(TargetReport(residual_trace()),),
        files=3,
        suppressed=2,
        unchecked=("notes.md: 2 blocks that are not code were passed over",),
        sources={
            PATH: SOURCE,
            "book 1.ipynb:cell 2": ("", "", "net = build(", ")"),
        },
    )
    return replace(report, **changes)
