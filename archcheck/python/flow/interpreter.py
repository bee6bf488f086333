"""Following the statements of a function with its values.

They are followed once, in order, with a table of what each name holds. Where branches meet, a name
that they bind differently holds a `merge` of both; what a loop rebinds is uncertain in the loop
and after it. So the answer to "what was this made from" is either certain, or says that it is not.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from archcheck.python.flow.steps import Step, StepKind
from archcheck.python.modules.layer import Layer
from archcheck.python.modules.layers import build
from archcheck.python.names.resolve import resolve
from archcheck.python.names.scan import names_in
from archcheck.python.names.scope import Function
from archcheck.python.names.sites import FunctionNode, Statement
from archcheck.python.names.unknown import UNKNOWN, Unknown

if TYPE_CHECKING:
    from archcheck.python.flow.flow import Flow

_OPERATORS: Final = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.MatMult: "@", ast.Pow: "**",
    ast.FloorDiv: "//", ast.Mod: "%", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^",
    ast.LShift: "<<", ast.RShift: ">>",
}  # fmt: skip

_Names: TypeAlias = dict[str, Step]


def follow(flow: Flow) -> None:
    """Fill a flow with the steps of its scope."""
    _Follower(flow).run()


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
                for suite in binding.statement.suite.outward():
                    if suite.kind == "loop":
                        self.rebound.setdefault(suite.owner, {})[name] = None

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
        """Follow a statement; whether control reaches what stands after it."""
        handler = _STATEMENTS.get(node.__class__)
        if handler is None:
            return node.__class__ not in _LEAVING
        return handler(self, node)

    def _assignment(self, node: ast.Assign) -> bool:
        step = self.value(node.value)
        for target in node.targets:
            self.bind(target, step)
        return True

    def _annotated(self, node: ast.AnnAssign) -> bool:
        if node.value is not None:
            self.bind(node.target, self.value(node.value))
        return True

    def _augmented(self, node: ast.AugAssign) -> bool:
        before = self.value(node.target)
        sign = _OPERATORS.get(type(node.op), "?")
        step = self.make("operator", sign, (before, self.value(node.value)), node)
        self.bind(node.target, step)
        return True

    def _expression(self, node: ast.Expr) -> bool:
        self.value(node.value)
        return True

    def _return(self, node: ast.Return) -> bool:
        given = node.value
        step = self.make("constant", "None", (), node) if given is None else self.value(given)
        self.flow.returns.append((step, node))
        return False

    def _if(self, node: ast.If) -> bool:
        self.value(node.test)
        return self.branches([node.body, node.orelse])

    def _for(self, node: ast.For | ast.AsyncFor) -> bool:
        source = self.value(node.iter)
        self.loop(node, [node.target], source)
        return True

    def _while(self, node: ast.While) -> bool:
        self.loop(node, [], None)
        return True

    def _with(self, node: ast.With | ast.AsyncWith) -> bool:
        for item in node.items:
            step = self.value(item.context_expr)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, step)
        return self.suite(node.body)

    def _try(self, node: ast.Try | ast.TryStar) -> bool:
        suites = [[*node.body, *node.orelse], *(handler.body for handler in node.handlers)]
        alive = self.branches(suites)
        return (self.suite(node.finalbody) if node.finalbody else True) and alive

    def _match(self, node: ast.Match) -> bool:
        self.value(node.subject)
        return self.branches([*(case.body for case in node.cases), []])

    def _definition(self, node: FunctionNode | ast.ClassDef) -> bool:
        self.names[node.name] = self.escape(node)
        return True

    def _assert(self, node: ast.Assert) -> bool:
        self.value(node.test)
        return True

    def _delete(self, node: ast.Delete) -> bool:
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
        changed = {
            name: None for end in ends for name, step in end.items() if start.get(name) is not step
        }
        for name in changed:
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
        """The step that an expression makes, or that a name stands for."""
        if node.__class__ is ast.Name:
            known = self.names.get(node.id)
            return known or self.make("constant", node.id, (), node)
        handler = _EXPRESSIONS.get(node.__class__)
        return handler(self, node) if handler is not None else self.escape(node)

    def _constant(self, node: ast.Constant) -> Step:
        return self.make("constant", repr(node.value), (), node)

    def _binary(self, node: ast.BinOp) -> Step:
        inputs = (self.value(node.left), self.value(node.right))
        return self.make("operator", _OPERATORS.get(type(node.op), "?"), inputs, node)

    def _unary(self, node: ast.UnaryOp) -> Step:
        if not isinstance(node.op, ast.USub):
            return self.escape(node)
        return self.make("operator", "negative", (self.value(node.operand),), node)

    def _elements(self, node: ast.Tuple | ast.List) -> Step:
        return self.make("tuple", "", tuple([self.value(item) for item in node.elts]), node)

    def _inner(self, node: ast.Starred | ast.Await) -> Step:
        return self.value(node.value)

    def _attribute(self, node: ast.Attribute) -> Step:
        if isinstance(node.value, ast.Name) and node.value.id == self.self_name:
            return self.make("constant", f"self.{node.attr}", (), node)
        return self.make("attribute", node.attr, (self.value(node.value),), node)

    def _choice(self, node: ast.IfExp) -> Step:
        self.value(node.test)
        steps = (self.value(node.body), self.value(node.orelse))
        return self.make("merge", "", steps, node)

    def _walrus(self, node: ast.NamedExpr) -> Step:
        step = self.value(node.value)
        self.bind(node.target, step)
        return step

    def _subscript(self, node: ast.Subscript) -> Step:
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

    def _call(self, node: ast.Call) -> Step:
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
            if layers is not UNKNOWN and len({_kind(layer) for layer in layers}) == 1:
                layer = layers[0]
                return self.make("layer", _type_name(layer), inputs, node, layer, attribute)
        return self.make("unknown", f"self.{attribute}", inputs, node)


def _type_name(layer: Layer) -> str:
    return layer.type if isinstance(layer.type, str) else layer.type.name


def _kind(layer: Layer) -> tuple[str, ...]:
    """The type of a layer, of a Sequential with those of its layers."""
    if not layer.is_sequential:
        return (_type_name(layer),)
    if layer.children is UNKNOWN:
        return (_type_name(layer), "")
    return (_type_name(layer), *(name for child in layer.children for name in _kind(child)))


def _operands(target: ast.expr) -> Iterator[ast.expr]:
    if isinstance(target, ast.Attribute):
        yield target.value
    elif isinstance(target, ast.Subscript):
        yield target.value
        yield target.slice


def _names_below(node: ast.AST) -> list[str]:
    return [part.id for part in ast.walk(node) if isinstance(part, ast.Name)]


_StatementHandler: TypeAlias = Callable[[_Follower, Any], bool]
_ExpressionHandler: TypeAlias = Callable[[_Follower, Any], Step]
# Told apart by class, not by `match`, which takes twice as long.
_STATEMENTS: Final[dict[type[ast.AST], _StatementHandler]] = {
    ast.Assign: _Follower._assignment, ast.AnnAssign: _Follower._annotated,
    ast.AugAssign: _Follower._augmented, ast.Expr: _Follower._expression,
    ast.Return: _Follower._return, ast.If: _Follower._if, ast.For: _Follower._for,
    ast.AsyncFor: _Follower._for, ast.While: _Follower._while, ast.With: _Follower._with,
    ast.AsyncWith: _Follower._with, ast.Try: _Follower._try, ast.TryStar: _Follower._try,
    ast.Match: _Follower._match, ast.FunctionDef: _Follower._definition,
    ast.AsyncFunctionDef: _Follower._definition, ast.ClassDef: _Follower._definition,
    ast.Assert: _Follower._assert, ast.Delete: _Follower._delete,
}  # fmt: skip
_LEAVING: Final = frozenset({ast.Raise, ast.Continue, ast.Break})
_EXPRESSIONS: Final[dict[type[ast.AST], _ExpressionHandler]] = {
    ast.Constant: _Follower._constant, ast.Call: _Follower._call, ast.BinOp: _Follower._binary,
    ast.UnaryOp: _Follower._unary, ast.Tuple: _Follower._elements, ast.List: _Follower._elements,
    ast.Starred: _Follower._inner, ast.Await: _Follower._inner,
    ast.Subscript: _Follower._subscript, ast.Attribute: _Follower._attribute,
    ast.IfExp: _Follower._choice, ast.NamedExpr: _Follower._walrus,
}  # fmt: skip
