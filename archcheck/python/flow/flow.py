"""Flow: what a function does with its values, step by step, as far as its text tells."""

from __future__ import annotations

import ast
from functools import cached_property
from typing import TYPE_CHECKING

from archcheck.python.flow.interpreter import follow
from archcheck.python.flow.steps import Step
from archcheck.python.names.scope import Function, Scope

if TYPE_CHECKING:
    from archcheck.python.modules.module_class import ModuleClass


class Flow:
    """The steps of a function, in the order in which they run.

    Attributes:
        function: The function; None for the statements of a file or class outside functions.
        scope: Its scope.
        steps: Every step.
        inputs: The parameters, `self` left out.
        returns: What each `return` returns (one step each), with the statement.
        bindings: Every assignment to a local name: name, step, target node.
    """

    def __init__(self, scope: Scope, module: ModuleClass | None = None) -> None:
        self.scope = scope
        self.function = scope if isinstance(scope, Function) else None
        self.module = module
        self.steps: list[Step] = []
        self.inputs: list[Step] = []
        self.returns: list[tuple[Step, ast.Return]] = []
        self.bindings: list[tuple[str, Step, ast.AST]] = []
        follow(self)

    @property
    def is_straight(self) -> bool:
        """Whether one `return` ends it and no branch or loop binds anything on the way."""
        return len(self.returns) == 1 and not any(step.conditional for step in self.steps)

    @cached_property
    def outputs(self) -> tuple[Step, ...]:
        """The values that may be returned: elements of tuples and alternatives taken apart."""
        found: dict[Step, None] = {}
        waiting = [step for step, _ in self.returns]
        while waiting:
            step = waiting.pop(0)
            if step.kind in ("tuple", "merge"):
                waiting += [item for item in step.inputs if item not in found]
            else:
                found[step] = None
        return tuple(found)

    @cached_property
    def derived(self) -> frozenset[Step]:
        """The steps that hold something of what the function was given."""
        found = set(self.inputs)
        for step in self.steps:
            if not found.isdisjoint(step.inputs) and not step.describes:
                found.add(step)
        return frozenset(found)

    def step_of(self, node: ast.AST) -> Step | None:
        """The step that an expression makes."""
        return next((step for step in self.steps if step.node is node), None)

    def argument(self, call: ast.Call, value: ast.expr) -> Step | None:
        """The step whose value a call is given by one of its arguments."""
        found = self.step_of(value)
        step = self.step_of(call)
        if found is not None or step is None:
            return found
        # A bare name makes no step of its own; a method's first input is its receiver.
        given = [*call.args, *(keyword.value for keyword in call.keywords)]
        place = len(step.inputs) - len(given) + given.index(value)
        return step.inputs[place] if 0 <= place < len(step.inputs) else None


def flow_of(scope: Scope, module: ModuleClass | None = None) -> Flow:
    """The flow of a function, or of a file's own statements; made once."""
    known = scope.__dict__.get("_flow")
    if known is None:
        known = Flow(scope, module)
        scope.__dict__["_flow"] = known
    return known
