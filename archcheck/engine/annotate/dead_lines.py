"""Lines of a forward that certainly never ran, told from what the pass left behind.

A trace has no record of every line. It has one of every tensor function, every call of a module,
and every exception: a statement that must leave one of these behind and left none never ran, and
neither did what shares its branch. Where that is not certain, a line counts as run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from archcheck.evidence.dataflow import AFFINE, JOINS, LINEAR, STEPS, indices
from archcheck.evidence.records import ModuleCall
from archcheck.evidence.trace import Trace

if TYPE_CHECKING:
    from archcheck.python import SourceFile

# Tensor functions by name, without those that may give back the tensor itself.
_RECORDED = (JOINS | LINEAR | AFFINE | STEPS) - {
    *("to", "type", "float", "double", "half", "copy", "contiguous", "type_as", "cuda", "cpu"),
} | frozenset(
    "relu sigmoid tanh softmax log_softmax gelu exp log sqrt rsqrt sin cos abs square clamp erf "
    "norm argmax argmin sort topk cumsum cumprod var std prod amax amin logsumexp sigmoid_ relu_ "
    "tanh_ add_ sub_ mul_ div_ clamp_ masked_fill_ batch_norm layer_norm group_norm max_pool1d "
    "max_pool2d max_pool3d diff triu tril eq ne lt gt le ge logical_not".split()
)
_EXITS = (ast.Return, ast.Raise, ast.Break, ast.Continue)
_COMPOUND = (ast.If, ast.For, ast.While, ast.With, ast.Try, ast.Match)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


def lines_that_never_ran(
    trace: Trace,
    file: SourceFile,
    node: ast.FunctionDef | ast.AsyncFunctionDef,
    calls: Sequence[ModuleCall],
) -> frozenset[int]:
    """The numbers of the lines of a function's body that no call ran.

    Args:
        calls: The calls of the forward that the function is; empty for a helper.
    """
    if not calls:
        return frozenset()
    return frozenset(_Coverage(trace, file, node, calls).dead(node.body, is_branch=False))


class _Coverage:
    def __init__(
        self,
        trace: Trace,
        file: SourceFile,
        node: ast.FunctionDef | ast.AsyncFunctionDef,
        calls: Sequence[ModuleCall],
    ) -> None:
        first, last = node.lineno, node.end_lineno or node.lineno
        self._file = file
        self._trace = trace
        self._calls = calls
        bound = [one for one in trace.lines if one.location.path == file.path]
        bound = [one for one in bound if first <= one.location.line <= last]
        frames = [frame for failure in trace.failures for frame in failure.frames]
        places = [
            *(one.location for one in bound),
            *(op.location for op in trace.ops),
            *(call.location for call in trace.calls),
            *(failure.location for failure in trace.failures),
            *(frame.location for frame in frames),
        ]
        self._seen = {
            place.line
            for place in places
            if place is not None and place.path == file.path and first <= place.line <= last
        }
        given = [
            name
            for call in calls
            for name, nest in call.inputs.items()
            if next(indices(nest), None) is not None
        ]
        self._tensors = {one.name for one in bound} | set(given)
        # A pass that stops in the middle leaves the rest of the function out.
        self._returns = sum(one.name == "return" for one in bound)
        arguments = node.args
        self._self = next((one.arg for one in (*arguments.posonlyargs, *arguments.args)), None)

    def dead(self, suite: Sequence[ast.stmt], *, is_branch: bool) -> Iterator[int]:
        """The lines of these statements, and of those in them, that never ran."""
        place = next((i for i, one in enumerate(suite) if self._is_dead(one)), None)
        if place is None or any(self._has_run(one) for one in suite[place:]):
            for statement in suite:
                yield from self._inside(statement)
            return
        begin = place
        while begin and not self._has_run(suite[begin - 1]) and not _leaves(suite[begin - 1]):
            begin -= 1
        if begin == 0 and not is_branch:
            begin = place  # a function that is called runs its first statement
        for statement in suite[:begin]:
            yield from self._inside(statement)
        for statement in suite[begin:]:
            yield from _lines(statement)

    def _inside(self, statement: ast.stmt) -> Iterator[int]:
        if isinstance(statement, ast.Match):
            for case in statement.cases:
                yield from self.dead(case.body, is_branch=True)
            return
        # What raises in a `try` may have stopped anywhere in it.
        if not isinstance(statement, ast.If | ast.For | ast.While | ast.With):
            return
        body: Sequence[ast.stmt] = statement.body
        yield from self.dead(body, is_branch=True)
        orelse: Sequence[ast.stmt] = getattr(statement, "orelse", ())
        if not orelse:
            return
        lines = sorted(self.dead(orelse, is_branch=True))
        if lines and lines[0] == orelse[0].lineno and self._is_else(body, orelse):
            yield from range((body[-1].end_lineno or 0) + 1, orelse[0].lineno)
        yield from lines

    def _is_else(self, body: Sequence[ast.stmt], orelse: Sequence[ast.stmt]) -> bool:
        """Whether the branch begins after a line `else:`, and is no `elif`."""
        between = range((body[-1].end_lineno or 0) + 1, orelse[0].lineno)
        return any(self._file.lines[n - 1].lstrip().startswith("else") for n in between)

    def _has_run(self, statement: ast.stmt) -> bool:
        return not self._seen.isdisjoint(_lines(statement))

    def _is_dead(self, statement: ast.stmt) -> bool:
        """Whether the statement would have left something behind, and did not."""
        if self._has_run(statement) or isinstance(statement, (*_COMPOUND, *_FUNCTIONS)):
            return False
        if isinstance(statement, ast.Raise):
            return True
        if isinstance(statement, ast.Return) and statement.value is not None:
            return 0 < self._returns == len(self._calls) or self._must_show(statement.value)
        values = [one for one in ast.iter_child_nodes(statement) if isinstance(one, ast.expr)]
        return any(self._must_show(value) for value in values)

    def _must_show(self, expression: ast.expr) -> bool:
        """Whether to compute this runs a tensor function or a module, whatever its values."""
        match expression:
            case ast.BinOp(left=left, right=right):
                return any(self._is_tensor(one) or self._must_show(one) for one in (left, right))
            case ast.Call(func=function, args=arguments):
                if any(self._must_show(one) for one in arguments):
                    return True
                if isinstance(function, ast.Attribute):
                    return self._runs(function, arguments) or self._must_show(function.value)
        return False

    def _runs(self, function: ast.Attribute, arguments: Sequence[ast.expr]) -> bool:
        if self._is_tensor(function.value):
            return function.attr in _RECORDED
        given = any(self._is_tensor(one) for one in _flat(arguments))
        if isinstance(function.value, ast.Name) and function.value.id == self._self:
            return given and self._is_module(function.attr)
        dotted = self._file.dotted(function) or ""
        return given and (
            dotted.startswith("torch.nn.functional.")
            or (dotted.startswith("torch.") and dotted.removeprefix("torch.") in _RECORDED)
        )

    def _is_module(self, attribute: str) -> bool:
        """Whether an attribute is a module, or None, in every object that was called."""
        kinds = set()
        for call in self._calls:
            owner = self._trace.module(call.path)
            path = f"{call.path}.{attribute}" if call.path else attribute
            if self._trace.module(path) is not None:
                kinds.add("module")
            elif owner is not None and owner.attributes.get(attribute, "") is None:
                kinds.add("none")
            else:
                return False
        return bool(kinds)

    def _is_tensor(self, expression: ast.expr) -> bool:
        return isinstance(expression, ast.Name) and expression.id in self._tensors


def _flat(arguments: Iterable[ast.expr]) -> Iterator[ast.expr]:
    for argument in arguments:
        if isinstance(argument, ast.List | ast.Tuple):
            yield from argument.elts
        else:
            yield argument


def _lines(statement: ast.stmt) -> range:
    return range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)


def _leaves(statement: ast.stmt) -> bool:
    """Whether what comes after a statement may not run although it has."""
    return any(isinstance(one, _EXITS) for one in ast.walk(statement))
