"""Flow: what a function does with its values, step by step, as far as its text tells.

The statements are followed once, in order, with a table of what each name holds. Where branches
meet, a name that they bind differently holds a `merge` of both; what a loop rebinds is uncertain
in the loop and after it. So the answer to "what was this made from" is either certain, or says
that it is not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final, TypeAlias

from archcheck.source.layer import Layer
from archcheck.source.layers import build
from archcheck.source.resolve import resolve
from archcheck.source.scan import names_in
from archcheck.source.scope import Function, Scope
from archcheck.source.sites import Statement, Suite
from archcheck.source.steps import Step, StepKind
from archcheck.source.unknown import UNKNOWN, Unknown

if TYPE_CHECKING:
    from archcheck.source.modules import ModuleClass

_OPERATORS: Final = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.MatMult: "@", ast.Pow: "**",
    ast.FloorDiv: "//", ast.Mod: "%", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^",
    ast.LShift: "<<", ast.RShift: ">>",
}  # fmt: skip


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
        _Follower(self).run()

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

    def step_of(self, node: ast.AST) -> Step | None:
        """The step that an expression makes."""
        return next((step for step in self.steps if step.node is node), None)


def flow_of(scope: Scope, module: ModuleClass | None = None) -> Flow:
    """The flow of a function, or of a file's own statements; made once."""
    known = scope.__dict__.get("_flow")
    if known is None:
        known = Flow(scope, module)
        scope.__dict__["_flow"] = known
    return known


_Names: TypeAlias = dict[str, Step]


class _Follower:
    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        self.scope = flow.scope
        self.statements = {statement.node: statement for statement in flow.scope.statements}
        self.self_name = flow.function.self_name if flow.function is not None else None
        self.names: _Names = {}
        self.at: Statement | None = None
        # Which names each loop binds in its body.
        self.rebound: dict[ast.AST, dict[str, None]] = {}
        for name, bindings in flow.scope.bindings.items():
            for binding in bindings:
                suite: Suite | None = binding.statement.suite
                while suite is not None and suite.loop is not None:
                    if suite.kind == "loop":
                        self.rebound.setdefault(suite.owner, {})[name] = None
                    suite = suite.parent

    def run(self) -> None:
        scope = self.scope
        if not scope.statements:
            return
        self.at = scope.statements[0]
        if isinstance(scope, Function):
            entry = Statement(scope.node, self.at.suite, scope, -1)
            for parameter in scope.parameters:
                if parameter != self.self_name:
                    step = Step("input", parameter, (), scope.node, entry)
                    self.names[parameter] = step
                    self.flow.inputs.append(step)
                    self.flow.steps.append(step)
        self.suite(scope.node.body)

    # Statements ---------------------------------------------------------------------------

    def suite(self, body: Sequence[ast.stmt]) -> bool:
        """Follow a suite; whether control reaches its end."""
        for node in body:
            self.at = self.statements.get(node, self.at)
            if not self.statement(node):
                return False
        return True

    def statement(self, node: ast.stmt) -> bool:
        match node:
            case ast.Assign():
                step = self.value(node.value)
                for target in node.targets:
                    self.bind(target, step)
            case ast.AnnAssign() if node.value is not None:
                self.bind(node.target, self.value(node.value))
            case ast.AugAssign():
                before = self.value(_as_load(node.target))
                sign = _OPERATORS.get(type(node.op), "?")
                step = self.make("operator", sign, (before, self.value(node.value)), node)
                self.bind(node.target, step)
            case ast.Expr():
                self.value(node.value)
            case ast.Return():
                result = (
                    self.value(node.value)
                    if node.value
                    else self.make("constant", "None", (), node)
                )
                self.flow.returns.append((result, node))
                return False
            case ast.If():
                self.value(node.test)
                return self.branches([node.body, node.orelse])
            case ast.For() | ast.AsyncFor():
                source = self.value(node.iter)
                self.loop(node, [node.target], source)
            case ast.While():
                self.loop(node, [], None)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    step = self.value(item.context_expr)
                    if item.optional_vars is not None:
                        self.bind(item.optional_vars, step)
                return self.suite(node.body)
            case ast.Try() | ast.TryStar():
                suites = [[*node.body, *node.orelse], *(h.body for h in node.handlers)]
                alive = self.branches(suites)
                return (self.suite(node.finalbody) if node.finalbody else True) and alive
            case ast.Match():
                self.value(node.subject)
                return self.branches([*(case.body for case in node.cases), []])
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                self.names[node.name] = self.escape(node)
            case ast.Raise() | ast.Continue() | ast.Break():
                return False
            case ast.Assert():
                self.value(node.test)
            case ast.Delete():
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        self.names.pop(target.id, None)
        return True

    def branches(self, suites: Sequence[Sequence[ast.stmt]]) -> bool:
        """Follow alternatives, and merge what they leave behind."""
        start = self.names
        at = self.at
        ends: list[_Names] = []
        for body in suites:
            self.names, self.at = dict(start), at
            if self.suite(body):
                ends.append(self.names)
        self.at = at
        self.names = dict(start)
        if not ends:
            return False
        for name in dict.fromkeys(name for end in ends for name in end):
            steps = tuple(dict.fromkeys(end[name] for end in ends if name in end))
            if len(steps) == 1:
                self.names[name] = steps[0]
            else:
                merged = self.make("merge", name, steps, self.at.node if self.at else steps[0].node)
                merged.names.append(name)
                self.names[name] = merged
        return True

    def loop(
        self, node: ast.For | ast.AsyncFor | ast.While, targets: list[ast.expr], source: Step | None
    ) -> None:
        start = dict(self.names)
        for name in self.rebound.get(node, ()):
            if name in self.names:
                # On the second turn it holds what the first one left.
                self.names[name] = self.make("merge", name, (self.names[name],), node)
        if isinstance(node, ast.While):
            self.value(node.test)
        for target in targets:
            self.bind(target, self.make("item", "", (source,) if source else (), node))
        self.suite(node.body)
        after = self.names
        self.names = start
        for name in dict.fromkeys((*start, *after)):
            first, last = start.get(name), after.get(name)
            if first is None or last is None or first is last:
                self.names[name] = last or first  # type: ignore[assignment]
            else:
                self.names[name] = self.make("merge", name, (first, last), node)
        self.suite(node.orelse)

    # Values -------------------------------------------------------------------------------

    def make(
        self,
        kind: StepKind,
        name: str,
        inputs: tuple[Step, ...],
        node: ast.AST,
        layer: Layer | None = None,
        attribute: str = "",
    ) -> Step:
        assert self.at is not None
        step = Step(kind, name, inputs, node, self.at, layer, attribute)
        self.flow.steps.append(step)
        return step

    def bind(self, target: ast.expr, step: Step) -> None:
        if isinstance(target, ast.Name):
            self.names[target.id] = step
            step.names.append(target.id)
            self.flow.bindings.append((target.id, step, target))
        elif isinstance(target, ast.Tuple | ast.List):
            elements = target.elts
            direct = step.kind == "tuple" and len(step.inputs) == len(elements)
            for position, element in enumerate(elements):
                if direct and not isinstance(element, ast.Starred):
                    self.bind(element, step.inputs[position])
                else:
                    item = self.make("item", str(position), (step,), target)
                    self.bind(element, item)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, step)
        else:
            # Kept in an object: what happens to it there is not followed.
            inner = [self.value(part) for part in _operands(target)]
            self.make("unknown", "store", (step, *inner), target)

    def value(self, node: ast.expr) -> Step:
        match node:
            case ast.Name():
                known = self.names.get(node.id)
                return known if known is not None else self.make("constant", node.id, (), node)
            case ast.Constant():
                return self.make("constant", repr(node.value), (), node)
            case ast.Call():
                return self.call(node)
            case ast.BinOp():
                inputs = (self.value(node.left), self.value(node.right))
                return self.make("operator", _OPERATORS.get(type(node.op), "?"), inputs, node)
            case ast.UnaryOp(op=ast.USub()):
                return self.make("operator", "negative", (self.value(node.operand),), node)
            case ast.Tuple() | ast.List():
                return self.make("tuple", "", tuple(self.value(item) for item in node.elts), node)
            case ast.Starred():
                return self.value(node.value)
            case ast.Subscript():
                return self.subscript(node)
            case ast.Attribute():
                if isinstance(node.value, ast.Name) and node.value.id == self.self_name:
                    return self.make("constant", f"self.{node.attr}", (), node)
                return self.make("attribute", node.attr, (self.value(node.value),), node)
            case ast.IfExp():
                self.value(node.test)
                steps = (self.value(node.body), self.value(node.orelse))
                return self.make("merge", "", steps, node)
            case ast.NamedExpr():
                step = self.value(node.value)
                self.bind(node.target, step)
                return step
            case ast.Await():
                return self.value(node.value)
        return self.escape(node)

    def subscript(self, node: ast.Subscript) -> Step:
        base = self.value(node.value)
        index = node.slice
        if base.kind == "tuple" and isinstance(index, ast.Constant):
            position = index.value
            if isinstance(position, int) and -len(base.inputs) <= position < len(base.inputs):
                return base.inputs[position]
        if not isinstance(index, ast.Constant):
            return self.make("item", "", (base, self.escape(index)), node)
        return self.make("item", repr(index.value), (base,), node)

    def escape(self, node: ast.AST) -> Step:
        """An expression (or a nested definition) that is not followed, with all that it reads."""
        names = names_in(node) if isinstance(node, ast.expr) else _names_below(node)
        read = [self.names[name] for name in names if name in self.names]
        return self.make("unknown", type(node).__name__, tuple(dict.fromkeys(read)), node)

    def call(self, node: ast.Call) -> Step:
        function = node.func
        arguments = [self.value(item) for item in node.args]
        arguments += [self.value(keyword.value) for keyword in node.keywords]
        inputs = tuple(arguments)
        assert self.at is not None
        if isinstance(function, ast.Attribute):
            root = function.value
            if isinstance(root, ast.Name) and root.id == self.self_name:
                return self.own(node, function.attr, inputs)
            target = resolve(function, self.at)
            if isinstance(target, str):
                return self.make("function", target, inputs, node)
            if not isinstance(target, Unknown):
                return self.make("function", getattr(target, "name", ""), inputs, node)
            receiver = self.value(root)
            return self.make("method", function.attr, (receiver, *inputs), node)
        if isinstance(function, ast.Name):
            target = resolve(function, self.at)
            if isinstance(target, str):
                return self.make("function", target, inputs, node)
            layers = build(function, self.at)
            if len(layers) == 1:
                return self.make("layer", _type_name(layers[0]), inputs, node, layers[0])
            if not isinstance(target, Unknown):
                return self.make("function", getattr(target, "name", ""), inputs, node)
            known = self.names.get(function.id)
            before = (known,) if known is not None else ()
            return self.make("unknown", function.id, (*before, *inputs), node)
        layers = build(function, self.at)
        if len(layers) == 1:
            return self.make("layer", _type_name(layers[0]), inputs, node, layers[0])
        return self.make("unknown", "", (self.value(function), *inputs), node)

    def own(self, node: ast.Call, attribute: str, inputs: tuple[Step, ...]) -> Step:
        """`self.attribute(…)`: a layer, a method of the class, or unknown."""
        module = self.flow.module
        if module is not None:
            layers = module.layers_of(attribute)
            if layers is not UNKNOWN and len({_type_name(layer) for layer in layers}) == 1:
                layer = layers[0]
                return self.make("layer", _type_name(layer), inputs, node, layer, attribute)
        return self.make("unknown", f"self.{attribute}", inputs, node)


def _type_name(layer: Layer) -> str:
    return layer.type if isinstance(layer.type, str) else layer.type.name


def _as_load(target: ast.expr) -> ast.expr:
    return target


def _operands(target: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, ast.Attribute):
        yield target.value
    elif isinstance(target, ast.Subscript):
        yield target.value
        yield target.slice


def _names_below(node: ast.AST) -> list[str]:
    return [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]
