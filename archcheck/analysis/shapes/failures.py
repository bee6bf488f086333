"""Faults: failed operators that nothing earlier explains, and what a finding says about them.

A rule of shapes asks for the faults of the operators that it knows (`faults(trace, project,
"linear")`), looks at the shapes that arrived, and lets the fault write the finding: where it is,
which lines led there, where the layer was declared.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from archcheck.analysis.shapes.arithmetic import text
from archcheck.core.finding import Finding, Fix, Location, Related, ShapeNote
from archcheck.evidence.dataflow import indices
from archcheck.python.names.scope import argument_of
from archcheck.python.text.document import DocumentError

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.records import Failure, Module, ModuleCall, Op, Value
    from archcheck.evidence.trace import Trace
    from archcheck.python import Project, SourceFile

# What a layer of torch does, for failures that its own Python code raises before any operator.
_KINDS = (
    ("BatchNorm", "batch_norm"),
    ("InstanceNorm", "instance_norm"),
    ("GroupNorm", "group_norm"),
    ("LayerNorm", "layer_norm"),
    ("RMSNorm", "rms_norm"),
    ("ConvTranspose", "conv_transpose"),
    ("Conv", "conv"),
    ("Linear", "linear"),
    ("Embedding", "embedding"),
    ("MultiheadAttention", "multi_head_attention_forward"),
    ("MaxPool", "max_pool"),
    ("AvgPool", "avg_pool"),
    ("LSTM", "lstm"),
    ("GRU", "gru"),
    ("RNN", "rnn"),
)
_LINES_SHOWN = 3


class Declared(NamedTuple):
    """Where a number was declared: the argument, or else the whole constructor."""

    location: Location
    constructor: Location


@dataclass(frozen=True)
class ShapeError:
    """A failure of an operator, or of a layer before it reached one.

    Attributes:
        kind: The operator's canonical name.
        values: The tensors that it was given, in order.
    """

    trace: Trace
    project: Project
    failure: Failure
    kind: str
    op: Op | None
    call: ModuleCall | None
    values: tuple[Value, ...]

    @classmethod
    def of(cls, trace: Trace, project: Project, op: Op) -> ShapeError:
        """An operator that did not fail, seen as one that did: for silent defects."""
        from archcheck.evidence.records import Failure

        failure = Failure("forward", "", "", op.location, op=op.index, call=op.call)
        call = trace.calls[op.call] if op.call is not None else None
        values = tuple(trace.values[index] for index in op.inputs)
        return cls(trace, project, failure, op.name, op, call, values)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        return tuple(value.shape for value in self.values)

    @property
    def got(self) -> Shape:
        """The shape of the data that arrived."""
        return self.values[0].shape if self.values else ()

    @cached_property
    def layer(self) -> Module | None:
        """The layer of torch that the operator ran in; None where user code called it."""
        if self.call is None:
            return None
        module = self.trace.module(self.call.path)
        return module if module is not None and is_torch_layer(module) else None

    @property
    def module_path(self) -> str | None:
        module = self.layer
        if module is not None:
            return module.path or None
        return (self.call.path or None) if self.call is not None else None

    @cached_property
    def location(self) -> Location:
        """The sub-expression of the user's code that failed."""
        found = self.failure.location or (self.op.location if self.op else None)
        if found is None and self.layer is not None:
            found = self.layer.constructed
        return found or Location(self.trace.path, 1)

    @cached_property
    def subject(self) -> str:
        """The layer's path, or the expression, in backticks."""
        if self.layer is not None:
            return named(self.layer)
        written = self.text(self.location)
        return f"`{shortened(written)}`" if written else f"`{self.kind}`"

    def attribute(self, name: str) -> object:
        """A plain attribute of the layer, such as `kernel_size`."""
        return self.layer.attributes.get(name) if self.layer is not None else None

    def text(self, location: Location) -> str:
        """The source text of a span, "" where the file cannot be read."""
        file = source_file(self.project, location)
        return text_at(file, location) if file is not None else ""

    def operands(self) -> tuple[str, ...]:
        """The source of the two operands of an operator, of a call's arguments otherwise.

        Empty where user code did not write them: in a layer of torch, or of a container.
        """
        parent = self.call.parent if self.call is not None else None
        if parent is not None and self.trace.calls[parent].location == self.location:
            return ()
        file = source_file(self.project, self.location)
        node = node_at(file, self.location) if file is not None else None
        if file is None or node is None:
            return ()
        parts: Sequence[ast.expr] = ()
        if isinstance(node, ast.BinOp):
            parts = (node.left, node.right)
        elif isinstance(node, ast.AugAssign):
            parts = (node.target, node.value)
        elif isinstance(node, ast.Compare):
            parts = (node.left, *node.comparators)
        elif isinstance(node, ast.Call):
            parts = node.args
            is_method = self.op is not None and self.op.function.startswith("torch.Tensor.")
            if isinstance(node.func, ast.Attribute) and is_method:
                parts = (node.func.value, *parts)
        return tuple(shortened(file.text(part)) for part in parts)

    def declared(self, parameter: str, position: int | None = None) -> Declared | None:
        """Where the layer got a parameter of its constructor."""
        return self._declared(lambda call: argument_of(call, parameter, position))

    def is_constant(self, parameter: str, position: int | None = None) -> bool:
        """Whether the file itself fixes a parameter of the layer's constructor to one number."""
        declared = self.declared(parameter, position)
        file = source_file(self.project, declared.location) if declared is not None else None
        if declared is None or file is None or declared.location == declared.constructor:
            return False
        node = node_at(file, declared.location)
        return isinstance(node, ast.expr) and type(file.value(node)) is int

    def declared_type(self) -> Declared | None:
        """Where the layer's class was chosen: the callee of its constructor."""
        return self._declared(lambda call: call.func)

    def _declared(self, part_of: Callable[[ast.Call], ast.expr | None]) -> Declared | None:
        """The part of the layer's constructor that decides something, or else all of it."""
        if self.layer is None or self.layer.constructed is None:
            return None
        at = self.layer.constructed
        file = source_file(self.project, at)
        node = node_at(file, at) if file is not None else None
        part = part_of(node) if isinstance(node, ast.Call) else None
        return Declared(at if file is None or part is None else file.location(part), at)

    @cached_property
    def trail(self) -> tuple[ShapeNote, ...]:
        """The last lines before that bound what arrived, with the shapes that they bound."""
        return trail(self.trace, self.location, self.call, [value.index for value in self.values])

    def finding(
        self,
        message: str,
        *,
        label: str,
        declared: Declared | None = None,
        at_constructor: bool = False,
        notes: Sequence[str] = (),
        help: str | None = None,
        fix: Fix | None = None,
        also: Sequence[Related] = (),
    ) -> Finding:
        """The finding, with all that the fault knows.

        Args:
            declared: Where the number that does not fit was declared.
            at_constructor: The defect lies there, so that the same defect read from the source
                is reported once.
        """
        related = list(also)
        if declared is not None:
            related.insert(0, Related(declared.location, "declared here"))
        related = [place for place in related if place.location != self.location]
        return Finding(
            message,
            self.location,
            label=label,
            module=self.module_path,
            trail=self.trail,
            related=tuple(related),
            notes=tuple(notes),
            help=help,
            fix=fix,
            defect=declared.constructor if declared is not None and at_constructor else None,
            explains=self.location,
        )


def faults(trace: Trace, project: Project, *kinds: str) -> Iterator[ShapeError]:
    """The failures of these operators in the pass; what follows from an earlier one is left out."""
    for failure in trace.failures:
        if failure.stage != "forward" or failure.consequence_of is not None:
            continue
        fault = _fault(trace, project, failure)
        if fault is not None and (not kinds or fault.kind in kinds):
            yield fault


def _fault(trace: Trace, project: Project, failure: Failure) -> ShapeError | None:
    op = trace.ops[failure.op] if failure.op is not None else None
    place = failure.call if failure.call is not None else op.call if op is not None else None
    call = trace.calls[place] if place is not None else None
    if op is not None:
        values = tuple(trace.values[index] for index in op.inputs)
        return ShapeError(trace, project, failure, op.name, op, call, values)
    module = trace.module(call.path) if call is not None else None
    if call is None or module is None or not is_torch_layer(module):
        return None
    kind = kind_of(module)
    values = tuple(trace.values[index] for index in indices(call.inputs))
    return ShapeError(trace, project, failure, kind, None, call, values) if kind else None


def is_built_once(trace: Trace, constructor: Location | None) -> bool:
    """Whether one module alone was built there, so that another argument changes no other."""
    return sum(module.constructed == constructor for module in trace.modules) == 1


def named(module: Module) -> str:
    """What a message calls a layer: its path, and its type where the path is but a number."""
    if not module.path:
        return f"`{module.type}`"
    numbered = module.path.rpartition(".")[2].isdigit()
    return f"`{module.path}`{f' ({module.type})' if numbered else ''}"


def is_torch_layer(module: Module) -> bool:
    """Whether its forward is torch's own."""
    return module.forward is None and kind_of(module) is not None


def kind_of(module: Module) -> str | None:
    """The operator that a layer of torch consists of, without its dimensions."""
    names = (module.type, *(base.rpartition(".")[2] for base in module.bases))
    for name in names:
        for part, kind in _KINDS:
            if part in name:
                return kind
    return None


def trail(
    trace: Trace, location: Location, call: ModuleCall | None, values: Sequence[int]
) -> tuple[ShapeNote, ...]:
    """The lines of the same forward, before a place, that these values were computed on."""
    wanted = trace.dataflow.before(values)
    place = call.index if call is not None else None
    while place is not None:
        lines: dict[int, ShapeNote] = {}
        for line in trace.lines:
            at = line.location
            if line.call != place or at.path != location.path or at.line >= location.line:
                continue
            bound = [index for index in indices(line.value) if index in wanted]
            if bound and trace.values[bound[0]].kind not in ("parameter", "buffer"):
                note = f"{line.name}: {text(trace.values[bound[0]].shape)}"
                lines.pop(at.line, None)
                lines[at.line] = ShapeNote(at, note)
        if lines:
            return tuple(lines[number] for number in sorted(lines)[-_LINES_SHOWN:])
        place = trace.calls[place].parent
    return ()


def source_file(project: Project, location: Location) -> SourceFile | None:
    """The file of a location, None where it cannot be read."""
    try:
        return project.file(location.path)
    except (DocumentError, OSError):
        return None


def text_at(file: SourceFile, location: Location) -> str:
    """The text of a span of a file's code, on one line."""
    lines = file.lines[location.line - 1 : max(location.line, location.end_line)]
    if not lines or not location.end_column:
        return ""
    if len(lines) == 1:
        return lines[0][location.column - 1 : location.end_column - 1]
    rows = (lines[0][location.column - 1 :], *lines[1:-1], lines[-1][: location.end_column - 1])
    return " ".join(" ".join(rows).split())


def node_at(file: SourceFile, location: Location) -> ast.AST | None:
    """The expression (or augmented assignment) that spans exactly these characters."""
    for node in ast.walk(file.tree):
        if getattr(node, "lineno", None) != location.line:
            continue
        if isinstance(node, ast.expr | ast.AugAssign) and file.location(node) == location:
            return node
    return None


def shortened(written: str, limit: int = 48) -> str:
    """Source text that is not longer than a line of a message can bear."""
    flat = " ".join(written.split())
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"
