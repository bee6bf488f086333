"""Training scripts: what a name is an instance of, the loops, and the calls of losses."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

from archcheck.core.finding import Location
from archcheck.python.flow.flow import Flow, flow_of
from archcheck.python.flow.steps import Step
from archcheck.python.modules.classes import ClassDefinition
from archcheck.python.modules.layers import RETURN_SELF, build
from archcheck.python.modules.writes import attribute_writes
from archcheck.python.names.resolve import reaching, resolve
from archcheck.python.names.scope import Call, Function, Scope
from archcheck.python.names.sites import Binding, LoopNode, Statement
from archcheck.python.names.unknown import UNKNOWN, Unknown

if TYPE_CHECKING:
    from archcheck.python.file import SourceFile

# The losses by one name each: their class and their function.
LOSSES: Final = {
    "torch.nn.CrossEntropyLoss": "cross_entropy",
    "torch.nn.functional.cross_entropy": "cross_entropy",
    "torch.nn.NLLLoss": "nll_loss",
    "torch.nn.NLLLoss2d": "nll_loss",
    "torch.nn.functional.nll_loss": "nll_loss",
    "torch.nn.CTCLoss": "ctc_loss",
    "torch.nn.functional.ctc_loss": "ctc_loss",
    "torch.nn.BCELoss": "binary_cross_entropy",
    "torch.nn.functional.binary_cross_entropy": "binary_cross_entropy",
    "torch.nn.BCEWithLogitsLoss": "binary_cross_entropy_with_logits",
    "torch.nn.functional.binary_cross_entropy_with_logits": "binary_cross_entropy_with_logits",
    "torch.nn.MSELoss": "mse_loss",
    "torch.nn.functional.mse_loss": "mse_loss",
    "torch.nn.KLDivLoss": "kl_div",
    "torch.nn.functional.kl_div": "kl_div",
}
_WORDS: Final = ("loss", "Loss", "criterion", "cross_entropy", "kl_div")
_Class: TypeAlias = ClassDefinition | str | Unknown


class Loop:
    """A `for` or `while` statement.

    Attributes:
        node: The statement.
        statement: The same, with its scope and suite.
    """

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self.node: LoopNode = statement.node  # type: ignore[assignment]

    @property
    def scope(self) -> Scope:
        """The function (or the file) that it stands in."""
        return self.statement.scope

    @property
    def outer(self) -> LoopNode | None:
        """The loop around it in the same function."""
        return self.statement.suite.loop

    @cached_property
    def statements(self) -> tuple[Statement, ...]:
        """Every statement in its body, inner loops included."""
        return tuple(s for s in self.scope.statements if s.is_in(self.node))

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """Every call in its body (not in its `else`, nor in functions defined there)."""
        return tuple(c for c in self.scope.calls if c.statement.is_in(self.node))

    def calls_named(self, *names: str) -> tuple[Call, ...]:
        """The calls in its body whose callee's last name is one of these."""
        return tuple(call for call in self.calls if call.name in names)

    @property
    def location(self) -> Location:
        """The line that opens it."""
        file = self.scope.file
        start = file.location(self.node)
        end = len(file.lines[start.line - 1].rstrip()) + 1
        return Location(start.path, start.line, start.column, start.line, end)


def loops_of(file: SourceFile) -> Iterator[Loop]:
    """See `SourceFile.loops`."""
    for scope in file.scopes:
        for _, statement in scope.nodes(ast.For, ast.AsyncFor, ast.While):
            yield Loop(statement)


class LossCall:
    """A call of a loss.

    Attributes:
        loss: Its functional name: `cross_entropy`, `nll_loss`, `ctc_loss`,
            `binary_cross_entropy`, `binary_cross_entropy_with_logits`, `mse_loss`, `kl_div`.
        call: The call.
        flow: The steps of the function around it.
    """

    def __init__(self, loss: str, call: Call, flow: Flow) -> None:
        self.loss = loss
        self.call = call
        self.flow = flow

    @property
    def location(self) -> Location:
        return self.call.scope.file.location(self.call.node)

    @cached_property
    def prediction(self) -> Step | None:
        """What goes in first: a step of `flow`, such as the model's output. None if unknown."""
        name = "log_probs" if self.loss == "ctc_loss" else "input"
        given = self.call.argument(name, 0)
        return self.flow.argument(self.call.node, given) if given is not None else None


def losses_of(file: SourceFile) -> Iterator[LossCall]:
    """See `SourceFile.losses`."""
    if not any(word in file.code for word in _WORDS):
        return
    for call in file.calls:
        dotted = call.dotted
        if dotted is None and call.parts[-1] and call.node.func.__class__ is not ast.Call:
            if not call.node.args and not call.node.keywords:
                continue
            found = instance_of(call.node.func, call.statement) if _may_be_loss(call) else UNKNOWN
            dotted = found if isinstance(found, str) else None
        elif isinstance(call.node.func, ast.Call):
            # nn.CrossEntropyLoss()(output, target)
            target = resolve(call.node.func.func, call.statement)
            dotted = target if isinstance(target, str) else None
        elif dotted in LOSSES and dotted.startswith("torch.nn.") and dotted.endswith("Loss"):
            continue
        if dotted in LOSSES:
            owner = call.scope.function.owner if call.scope.function else None
            module = owner.module if owner is not None else None
            yield LossCall(LOSSES[dotted], call, flow_of(call.scope, module))


def _may_be_loss(call: Call) -> bool:
    """Losses are called by a name, or an attribute of self, with at least two arguments."""
    return len(call.parts) <= 2 and len(call.node.args) + len(call.node.keywords) >= 2


def instance_of(expression: ast.expr, at: Statement, depth: int = 0) -> _Class:
    """The class that the value of an expression is certainly an instance of: a dotted name
    outside the project, a class of it, or unknown.

    A parameter is what every call of the function in the same file gives.
    """
    if depth > 6:
        return UNKNOWN
    match expression:
        case ast.Call():
            target = resolve(expression.func, at)
            if target == "functools.partial" and expression.args:
                return _function(expression.args[0], at)
            if isinstance(target, str | ClassDefinition):
                return target
            method = expression.func
            if isinstance(method, ast.Attribute) and method.attr in RETURN_SELF:
                return instance_of(method.value, at, depth + 1)
            if isinstance(target, Function):
                layers = build(expression, at)
                if len(layers) == 1:
                    kind = layers[0].type
                    return kind if isinstance(kind, str) else kind.definition
            return UNKNOWN
        case ast.Name():
            bindings = reaching(expression.id, at)
            return _same(_bound_instance(binding, depth) for binding in bindings)
        case ast.Attribute(value=ast.Name(id=name)):
            function = at.scope.function
            owner = function.owner if function is not None else None
            if function is None or owner is None or name != function.self_name:
                return UNKNOWN
            if owner.module is None:
                return _same(_held_by(owner, expression.attr, depth))
            layers_found = owner.module.layers_of(expression.attr)
            if layers_found is not UNKNOWN and len(layers_found) == 1:
                kind = layers_found[0].type
                return kind if isinstance(kind, str) else kind.definition
            return _same(
                _function(write.value, write.statement) if write.value is not None else UNKNOWN
                for write in owner.module.attributes.get(expression.attr, ())
            )
    return UNKNOWN


def _held_by(owner: ClassDefinition, attribute: str, depth: int) -> Iterator[_Class]:
    """What each assignment to an attribute of an ordinary class, such as a trainer, gives it."""
    for definition in owner.lineage if owner.is_certain else ():
        for write in attribute_writes(definition):
            if write.name != attribute or _is_nothing(write.value):
                continue
            if write.kind == "assign" and write.value is not None:
                yield instance_of(write.value, write.statement, depth + 1)
            else:
                yield UNKNOWN


def _is_nothing(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is None


def _function(expression: ast.expr, at: Statement) -> _Class:
    """The function outside the project that an expression names, as if it were a class."""
    target = resolve(expression, at)
    return target if isinstance(target, str) else UNKNOWN


def _same(classes: Iterable[_Class]) -> _Class:
    """The class that all of them are."""
    found: _Class = UNKNOWN
    for one in classes:
        if one is UNKNOWN or (found is not UNKNOWN and one != found):
            return UNKNOWN
        found = one
    return found


def _bound_instance(binding: Binding, depth: int) -> _Class:
    if binding.instance is None:
        # A name that is bound in terms of itself is nothing certain.
        binding.instance = UNKNOWN
        found = _instance_bound(binding, depth)
        # Not knowing may only say how far the question had come already.
        binding.instance = None if found is UNKNOWN and depth > 2 else found
        return found
    return binding.instance  # type: ignore[no-any-return]


def _instance_bound(binding: Binding, depth: int) -> _Class:
    if binding.kind in ("assign", "with") and binding.value is not None and not binding.path:
        return instance_of(binding.value, binding.statement, depth + 1)
    function = binding.statement.scope.function
    if binding.kind != "parameter" or binding.within is not None or function is None:
        return UNKNOWN
    if function.owner is not None:
        return UNKNOWN
    calls = function.file.calls_of(function)
    given = [(function.signature.bind(call.node).values.get(binding.name), call) for call in calls]
    return _same(
        instance_of(value, call.statement, depth + 1) if value is not None else UNKNOWN
        for value, call in given
    )
