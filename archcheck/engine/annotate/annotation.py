"""The source of the forwards that a pass went through, with the shape of every value beside it.

Plain data: `archcheck.output.annotated_source` draws it, and `write_comments` beside this file puts
it into files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from archcheck.analysis.axes.names import NamedShapes
from archcheck.analysis.exception_text import raised_text
from archcheck.analysis.shapes.arithmetic import text as shape_text
from archcheck.core.finding import Finding, Location
from archcheck.engine.annotate.dead_lines import lines_that_never_ran
from archcheck.engine.annotate.functions import FunctionNode, first_line, function_at
from archcheck.evidence.dataflow import indices
from archcheck.evidence.records import Failure, ModuleCall, ValueIndex
from archcheck.evidence.trace import Trace
from archcheck.python.text.document import DocumentError

if TYPE_CHECKING:
    from archcheck.python import Project, SourceFile

_MOST_SHOWN = 4  # tensors of one nest
# Rules that repeat an exception in a sentence; the exception itself is shorter.
_LOADING = "AC0"


@dataclass(frozen=True, slots=True)
class Bound:
    """What a line bound to a name, in the order of the calls.

    Attributes:
        name: `return` for what the function gave back.
        shapes: Each as it is shown: `[8, 64]`, `[8] int64`, `([8, 4], [8, 5])`.
    """

    name: str
    shapes: tuple[str, ...]

    @property
    def text(self) -> str:
        """`x: [8, 64]`, `x ×3: [8, 16, 32, 32] … [8, 64, 8, 8]`."""
        distinct = list(dict.fromkeys(self.shapes))
        times = f" ×{len(self.shapes)}" if len(self.shapes) > 1 else ""
        gap = ", " if len(distinct) == 2 else " … "
        shown = distinct if len(distinct) < 3 else [distinct[0], distinct[-1]]
        return f"{self.name}{times}: {gap.join(shown)}"


@dataclass(frozen=True, slots=True)
class Line:
    """A line of source.

    Attributes:
        number: In the author's document.
        bound: What it bound.
        ran: False where it is certain that it never ran.
        failure: What it raised and what it expected, if it failed.
    """

    number: int
    code: str
    bound: tuple[Bound, ...] = ()
    ran: bool = True
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Method:
    """A function of the user's that the pass went through.

    Attributes:
        name: `Net.forward`.
        location: Its `def`, in the author's document.
        paths: The modules whose calls ran it; "" is the model.
        calls: How often it ran.
    """

    name: str
    location: Location
    paths: tuple[str, ...]
    calls: int
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Annotation:
    """A traced model's source with its shapes.

    Attributes:
        notes: What could not be shown and why, and where the input came from.
        failures: What was raised outside every line that is shown.
    """

    target: str
    mode: Literal["train", "eval"]
    methods: tuple[Method, ...] = ()
    notes: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    failed: bool = False


def annotate(
    trace: Trace, project: Project, findings: Sequence[Finding] = (), depth: int | None = None
) -> Annotation:
    """Lay the shapes of a trace beside the source that it ran.

    Args:
        findings: They say what a line that failed expected; in positions of the code.
        depth: How many forwards deep to go; 0 is the model's own. None: those of its file.
    """
    return _Annotator(trace, project, findings, depth).annotation()


def shown_calls(trace: Trace, depth: int | None) -> dict[int, Location]:
    """The calls of the forwards that are shown, with the `def` of each."""
    found: dict[int, Location] = {}
    levels: dict[int, int] = {}
    for call in trace.calls:
        module = trace.module(call.path)
        level = 0 if call.parent is None else levels[call.parent]
        levels[call.index] = level
        forward = module.forward if module is not None else None
        if forward is None:
            continue
        levels[call.index] = level + 1
        near = call.parent is None or forward.path == trace.path
        if near if depth is None else level <= depth:
            found[call.index] = forward
    return found


def nest_text(trace: Trace, nest: Any) -> str:
    """`[8, 64]`, with the dtype where it is not float32 and a `?` where it is a guess.

    Where the trace has symbols, `[B, 64]`.
    """
    if isinstance(nest, ValueIndex):
        value = trace.values[nest.index]
        dtype = "" if value.dtype == "float32" else f" {value.dtype}"
        shape = trace.analysed(NamedShapes).shape(nest.index)
        return shape_text(shape) + "?" * value.guessed + dtype
    if isinstance(nest, Mapping):
        parts = [f"{key}: {nest_text(trace, item)}" for key, item in nest.items()]
        return f"{{{_some(parts)}}}"
    if isinstance(nest, list | tuple):
        return f"({_some([nest_text(trace, item) for item in nest])})"
    return "-" if nest is None else str(nest)


def _some(parts: list[str]) -> str:
    more = [f"and {len(parts) - _MOST_SHOWN} more"] if len(parts) > _MOST_SHOWN else []
    return ", ".join(parts[:_MOST_SHOWN] + more)


def holds_tensor(nest: Any) -> bool:
    return next(indices(nest), None) is not None


class _Annotator:
    def __init__(
        self, trace: Trace, project: Project, findings: Sequence[Finding], depth: int | None
    ) -> None:
        self.trace = trace
        self.project = project
        self.findings = findings
        self.calls = shown_calls(trace, depth)
        self.told: set[int] = set()
        self.notes: list[str] = []

    def annotation(self) -> Annotation:
        trace = self.trace
        if trace.inferred_input is not None:
            self.notes.append(trace.inferred_input)
        if trace.symbolic is not None:
            self.notes += trace.analysed(NamedShapes).legend()
        methods = list(self._methods())
        self.notes += self._hidden(methods)
        failures = tuple(
            self._placed(failure)
            for number, failure in enumerate(trace.failures)
            if number not in self.told and failure.consequence_of is None
        )
        notes = tuple(dict.fromkeys(self.notes))
        return Annotation(
            trace.target,
            trace.mode,
            tuple(methods),
            notes,
            failures,
            bool(trace.failures) or not trace.complete,
        )

    def _methods(self) -> Iterator[Method]:
        """The forwards in the order of the pass, then the helpers that they called."""
        trace = self.trace
        forwards: dict[tuple[str, int], list[ModuleCall]] = {}
        places = list(self.calls.items())
        root = trace.module("")
        if not places and root is not None and root.forward is not None:
            # Nothing was called: the pass never started.
            forwards[root.forward.path, root.forward.line] = []
        for index, place in places:
            forwards.setdefault((place.path, place.line), []).append(trace.calls[index])
        shown: set[tuple[str, int]] = set()
        helpers: dict[tuple[str, int], list[ModuleCall]] = {}
        for (path, line), calls in forwards.items():
            file = self._file(path)
            found = function_at(file, line) if file is not None else None
            if file is not None and found is not None:
                shown.add((path, found[1].lineno))
                yield self._method(file, *found, calls, is_forward=True)
            elif file is not None:
                place = self._origin(Location(path, line))
                self.notes.append(
                    f"{place.path}:{place.line}: a forward that is no `def`, such as a lambda, "
                    "has no lines to show"
                )
        for one in trace.lines:
            if one.call not in self.calls:
                continue
            file = self._file(one.location.path)
            found = function_at(file, one.location.line) if file is not None else None
            if found is not None and (one.location.path, found[1].lineno) not in shown:
                group = helpers.setdefault((one.location.path, one.location.line), [])
                group.append(trace.calls[one.call or 0])
        for (path, line), calls in helpers.items():
            file = self._file(path)
            found = function_at(file, line) if file is not None else None
            if file is not None and found is not None and (path, found[1].lineno) not in shown:
                shown.add((path, found[1].lineno))
                yield self._method(file, *found, calls, is_forward=False)

    def _method(
        self,
        file: SourceFile,
        name: str,
        node: FunctionNode,
        calls: Sequence[ModuleCall],
        *,
        is_forward: bool,
    ) -> Method:
        first, last = first_line(node), node.end_lineno or node.lineno
        bound = self._bound(file.path, first, last)
        if is_forward:
            given = {
                parameter: tuple(
                    nest_text(self.trace, call.inputs[parameter])
                    for call in calls
                    if parameter in call.inputs
                )
                for parameter in dict.fromkeys(name for call in calls for name in call.inputs)
                if any(holds_tensor(call.inputs.get(parameter)) for call in calls)
            }
            header = [Bound(parameter, shapes) for parameter, shapes in given.items()]
            bound[node.lineno] = header + bound.get(node.lineno, [])
        failures = self._failures(file.path, first, last)
        never = lines_that_never_ran(self.trace, file, node, calls if is_forward else ())
        document = file.document
        lines = tuple(
            Line(
                document.origin(Location(file.path, number)).line,
                document.lines[number - 1],
                tuple(bound.get(number, ())),
                number not in never,
                failures.get(number),
            )
            for number in range(first, last + 1)
        )
        if is_forward and node.name != "forward":
            self.notes.append(
                f"the forward of {self._types(calls)} is wrapped: what runs first is `{name}`"
            )
        elif is_forward and calls and node.decorator_list and len(bound) < 2:
            self.notes.append(f"`{name}` is wrapped by a decorator: nothing was seen of its lines")
        return Method(
            name,
            document.origin(Location(file.path, node.lineno)),
            tuple(dict.fromkeys(call.path for call in calls)),
            len(calls) if is_forward else 1,
            lines,
        )

    def _types(self, calls: Sequence[ModuleCall]) -> str:
        modules = [self.trace.module(call.path) for call in calls]
        names = dict.fromkeys(f"`{module.type}`" for module in modules if module is not None)
        return ", ".join(names) or "the model"

    def _bound(self, path: str, first: int, last: int) -> dict[int, list[Bound]]:
        found: dict[int, dict[str, list[str]]] = {}
        lines = [
            one
            for one in self.trace.lines
            if one.call in self.calls
            and one.location.path == path
            and first <= one.location.line <= last
        ]
        columns = {
            (one.location.line, one.name): one.location.column
            for one in sorted(lines, key=lambda one: one.location.column, reverse=True)
        }
        for one in lines:
            names = found.setdefault(one.location.line, {})
            names.setdefault(one.name, []).append(nest_text(self.trace, one.value))
        return {
            line: [
                # In the order of the text.
                Bound(name, tuple(names[name]))
                for name in sorted(names, key=lambda name: columns[line, name])
            ]
            for line, names in found.items()
        }

    def _failures(self, path: str, first: int, last: int) -> dict[int, str]:
        found: dict[int, str] = {}
        for number, failure in enumerate(self.trace.failures):
            places = [frame.location for frame in reversed(failure.frames)]
            if failure.location is not None:
                places.insert(0, failure.location)
            own = [place for place in places if place.path == path and first <= place.line <= last]
            if not own or failure.consequence_of is not None:
                continue
            self.told.add(number)
            innermost = own[0] == places[0]
            said = self._expected(failure) if innermost else raised_text(failure)
            found.setdefault(own[0].line, said)
        return found

    def _expected(self, failure: Failure) -> str:
        """What a rule says of the place that failed, or else the exception."""
        place = failure.location
        for finding in self.findings:
            at = finding.explains or finding.location
            if place is None or at.path != place.path or finding.code.startswith(_LOADING):
                continue
            if at.covers(place) or place.covers(at) or at.line == place.line:
                return finding.label if "expect" in finding.label else finding.message
        return raised_text(failure)

    def _placed(self, failure: Failure) -> str:
        place = failure.location
        text = self._expected(failure)
        if place is None:
            return text
        place = self._origin(place)
        return f"{place.path}:{place.line}: {text}"

    def _hidden(self, methods: Sequence[Method]) -> Iterator[str]:
        """Why the model's own forward is not among what is shown, and whose else is not."""
        trace = self.trace
        own = {
            module.qualified_type.partition(".")[0]
            for module in trace.modules
            if module.defined is not None
        }
        # The names that the loaded file's own module may go by.
        own |= {part.removesuffix(".py") for part in trace.path.split("/")}
        for module in trace.modules:
            if module.forward is not None or not (module.calls or not module.path):
                continue
            package = module.qualified_type.partition(".")[0]
            if module.defined is not None and not methods:
                yield f"the forward of `{module.type}` is no `def` in its class that can be shown"
            elif package in own or (not module.path and "." not in module.qualified_type):
                yield f"`{module.type}` has no Python source that can be shown"
            elif not module.path:
                yield f"`{module.type}` is a class of {package}: its forward is not shown"

    def _origin(self, place: Location) -> Location:
        file = self._file(place.path)
        return file.document.origin(place) if file is not None else place

    def _file(self, path: str) -> SourceFile | None:
        try:
            return self.project.file(path)
        except (DocumentError, OSError):
            self.notes.append(f"{path} cannot be read")
            return None
