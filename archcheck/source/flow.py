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
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from archcheck.finding import Location
from archcheck.source.fold import fold
from archcheck.source.layer import Layer
from archcheck.source.layers import build
from archcheck.source.resolve import resolve
from archcheck.source.scan import Statement, Suite, names_in
from archcheck.source.scope import Function, Scope, argument_of
from archcheck.source.unknown import UNKNOWN, Unknown

if TYPE_CHECKING:
    from archcheck.source.modules import ModuleClass

StepKind: TypeAlias = Literal[
    "input", "layer", "function", "method", "operator", "tuple", "item", "attribute", "constant",
    "merge", "unknown",
]  # fmt: skip
_OPERATORS: Final = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.MatMult: "@", ast.Pow: "**",
    ast.FloorDiv: "//", ast.Mod: "%", ast.BitAnd: "&", ast.BitOr: "|", ast.BitXor: "^",
    ast.LShift: "<<", ast.RShift: ">>",
}  # fmt: skip
# Layers whose functional form has a name of its own.
_FUNCTIONAL: Final = {
    "LogSoftmax": "log_softmax", "LogSigmoid": "logsigmoid", "LeakyReLU": "leaky_relu",
    "AdaptiveAvgPool1d": "adaptive_avg_pool1d", "AdaptiveAvgPool2d": "adaptive_avg_pool2d",
    "AdaptiveAvgPool3d": "adaptive_avg_pool3d", "AvgPool1d": "avg_pool1d",
    "AvgPool2d": "avg_pool2d", "AvgPool3d": "avg_pool3d", "MaxPool1d": "max_pool1d",
    "MaxPool2d": "max_pool2d", "MaxPool3d": "max_pool3d", "BatchNorm1d": "batch_norm",
    "BatchNorm2d": "batch_norm", "BatchNorm3d": "batch_norm", "LayerNorm": "layer_norm",
    "GroupNorm": "group_norm", "ConvTranspose1d": "conv_transpose1d",
    "ConvTranspose2d": "conv_transpose2d", "ConvTranspose3d": "conv_transpose3d",
    "Softmax2d": "softmax", "AlphaDropout": "alpha_dropout",
}  # fmt: skip
# What is asked of a tensor without using its elements.
_DESCRIPTIONS: Final = frozenset({
    "shape", "size", "dim", "ndim", "ndimension", "numel", "nelement", "device", "dtype",
    "is_cuda", "requires_grad", "get_device", "type", "element_size", "stride", "is_contiguous",
})  # fmt: skip
_TORCH_FUNCTIONS: Final = ("torch.", "torch.nn.functional.", "torch.special.", "torch.Tensor.")


class Step:
    """One value, and what made it.

    Attributes:
        kind: `input` (a parameter of the function), `layer` (a module is called), `function`,
            `method` (of a value), `operator` (of Python), `tuple`, `item` (a subscript or an
            element of a tuple), `attribute`, `constant`, `merge` (one of its inputs, by a
            branch), `unknown`.
        name: The parameter; the layer's dotted name or class; the function's dotted name; the
            method; the operator's sign; the attribute.
        inputs: The steps that it was made from: the receiver of a method first, then the
            arguments in order.
        users: The steps made from it; see also `readers`.
        node: The expression.
        statement: Where it stands.
        layer: Of a `layer`, which.
        attribute: Of a `layer` called as `self.attribute(…)`, its name.
        names: The local names that it was bound to.
        conditional: Whether a branch or a loop decides if it runs.
    """

    __slots__ = (
        "attribute", "conditional", "inputs", "kind", "layer", "name", "names", "node",
        "statement", "users",
    )  # fmt: skip

    def __init__(
        self,
        kind: StepKind,
        name: str,
        inputs: tuple[Step, ...],
        node: ast.AST,
        statement: Statement,
        layer: Layer | None = None,
        attribute: str = "",
    ) -> None:
        self.kind: StepKind = kind
        self.name = name
        self.inputs = inputs
        self.node = node
        self.statement = statement
        self.layer = layer
        self.attribute = attribute
        self.conditional = statement.suite.conditional
        self.users: list[Step] = []
        self.names: list[str] = []
        for step in inputs:
            step.users.append(self)

    def __repr__(self) -> str:
        return f"Step({self.kind} {self.name})"

    @property
    def location(self) -> Location:
        return self.statement.scope.file.location(self.node)

    @property
    def operation(self) -> str:
        """What it computes, one name for the layer, the function and the method: `softmax`,
        `relu`, `linear`, `conv2d`, `batch_norm`, `flatten`, `+`; "" where torch does not say."""
        if self.kind == "layer":
            return operation_of(self.layer) if self.layer is not None else ""
        if self.kind == "function":
            head, _, last = self.name.rpartition(".")
            return last.rstrip("_") if f"{head}." in _TORCH_FUNCTIONS else ""
        if self.kind == "method":
            return self.name.rstrip("_")
        return self.name if self.kind == "operator" else ""

    @property
    def in_place(self) -> bool:
        """Whether it certainly writes into its first input."""
        if isinstance(self.node, ast.AugAssign):
            return True
        if self.kind in ("function", "method") and self.name.endswith("_"):
            return not self.name.endswith("__")
        if self.kind == "layer" and self.layer is not None and self.layer.is_torch:
            return self.layer.argument("inplace") is True
        return self.kind == "function" and self.argument("inplace") is True

    @property
    def describes(self) -> bool:
        """Whether it only asks a tensor for its shape, dtype or device."""
        return self.kind in ("attribute", "method") and self.name in _DESCRIPTIONS

    @property
    def readers(self) -> list[Step]:
        """The users that read its elements: all but those that ask for its shape and the like."""
        return [step for step in self.users if not step.describes]

    @property
    def source(self) -> Step | None:
        """The one value that it transforms, where there is exactly one: the input of a layer
        or of an activation, the receiver of `view`. None for a sum, a merge, several tensors."""
        if self.kind not in ("layer", "function", "method") or self.describes:
            return None
        tensors = [step for step in self.inputs if step.kind not in ("constant", "attribute")]
        if self.kind == "method" or self.operation in ("view", "reshape", "flatten"):
            return self.inputs[0] if self.inputs else None
        return tensors[0] if len(tensors) == 1 else None

    def expression(self, name: str, position: int | None = None) -> ast.expr | None:
        """The expression given for an argument of the call; the receiver has no position."""
        if not isinstance(self.node, ast.Call):
            return None
        return argument_of(self.node, name, position)

    def argument(self, name: str, position: int | None = None) -> Any | Unknown | None:
        """The folded value of an argument of the call; None if it is not given (or None)."""
        found = self.expression(name, position)
        return None if found is None else fold(found, self.statement)

    def before(self) -> Iterator[Step]:
        """Every step that it was made from, near and far, nearest first."""
        seen = {self}
        waiting = list(self.inputs)
        while waiting:
            step = waiting.pop(0)
            if step not in seen:
                seen.add(step)
                yield step
                waiting += step.inputs

    def after(self) -> Iterator[Step]:
        """Every step made from it, near and far, nearest first."""
        seen = {self}
        waiting = list(self.users)
        while waiting:
            step = waiting.pop(0)
            if step not in seen:
                seen.add(step)
                yield step
                waiting += step.users


def operation_of(layer: Layer) -> str:
    """The functional name of a torch layer (`relu` of ReLU), "" for the project's classes."""
    if not layer.is_torch:
        return ""
    name = layer.class_name
    return _FUNCTIONAL.get(name, name.lower())


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
