"""Following the statements of a script with the things that its names stand for.

Each function is followed where it is called, with what it is given there; the body of a loop once,
both sides of a branch. Where control cannot be told, both ways are taken and their names joined.
The work is bounded: by the depth of calls, by the statements of one run and of one file. What is
beyond is unknown, and the run says that it is not complete.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from archcheck.python.modules.classes import ClassDefinition
from archcheck.python.names.resolve import parts_of, resolve_parts
from archcheck.python.names.scope import Function, Scope
from archcheck.python.names.sites import Statement
from archcheck.python.names.unknown import UNKNOWN
from archcheck.python.program.events import Event, EventKind, Region, RegionKind, Run
from archcheck.python.program.things import Thing, ThingKind, choice

DEEPEST: Final = 12
STATEMENTS_OF_A_RUN: Final = 4000
STATEMENTS_OF_A_FILE: Final = 16000

NO_GRAD: Final = frozenset({
    "torch.no_grad", "torch.inference_mode", "torch.autograd.no_grad",
    "torch.autograd.inference_mode", "torch.autograd.grad_mode.no_grad",
    "torch.autograd.grad_mode.inference_mode",
})  # fmt: skip
_LEAVING: Final = (ast.Return, ast.Raise, ast.Break, ast.Continue)


class Frame:
    """The names of a function that is running, or of a file."""

    __slots__ = ("closure", "instance", "names", "returns", "scope", "statements")

    def __init__(
        self, scope: Scope, closure: Frame | None = None, instance: Thing | None = None
    ) -> None:
        self.scope = scope
        self.closure = closure
        self.instance = instance
        self.names: dict[str, Thing] = {}
        self.returns: list[Thing] = []
        self.statements = {statement.node: statement for statement in scope.statements}


class Interpreter:
    """Follows the code of one file, and what it calls elsewhere.

    Attributes:
        run: The run that events go to.
        frame: The function that is running.
        at: The statement that is running.
        visited: The functions that were followed to their ends.
    """

    def __init__(self) -> None:
        from archcheck.python.program.calls import Calls

        self.run = Run(None)
        self.around: list[Region] = []
        self.stack: list[Function] = []
        self.visited: set[Function] = set()
        self.files: dict[Scope, Frame] = {}
        self.entities: dict[object, Thing] = {}
        self.closures: dict[Thing, Frame] = {}
        self.lambdas: dict[Thing, tuple[ast.Lambda, Frame]] = {}
        self.switch: Region | None = None
        self.left_of_run = 0
        self.left_of_file = STATEMENTS_OF_A_FILE
        self.calls = Calls(self)
        self.frame: Frame = None  # type: ignore[assignment]
        self.at: Statement = None  # type: ignore[assignment]

    # Runs ---------------------------------------------------------------------------------

    def start(self, function: Function | None, file_scope: Scope) -> Run:
        """Follow the statements of a file, or a function that anybody may call."""
        self.run = Run(function)
        self.around, self.stack, self.switch = [], [], None
        self.left_of_run = min(STATEMENTS_OF_A_RUN, self.left_of_file)
        before = self.left_of_run
        self.frame = self.file_frame(file_scope)
        if file_scope.statements:
            self.at = file_scope.statements[0]
            if function is None:
                self.suite(file_scope.node.body)
            else:
                self.calls.start(function)
        self.left_of_file -= before - self.left_of_run
        return self.run

    def file_frame(self, scope: Scope) -> Frame:
        if scope not in self.files:
            self.files[scope] = Frame(scope)
        return self.files[scope]

    def emit(
        self,
        kind: EventKind,
        node: ast.AST,
        subject: Thing,
        arguments: Sequence[Thing] = (),
        result: Thing | None = None,
    ) -> Event:
        """Take down what happens."""
        around = (*self.around, self.switch) if self.switch is not None else tuple(self.around)
        event = Event(
            kind, node, self.at, subject, around, len(self.run.events), tuple(arguments), result
        )
        self.run.events.append(event)
        return event

    @property
    def builds_graphs(self) -> bool:
        """Whether what is computed now has a graph."""
        if self.switch is not None:
            return self.switch.kind == "grad"
        kinds = [region.kind for region in self.around if region.kind in ("no_grad", "grad")]
        return kinds[-1:] != ["no_grad"]

    @contextmanager
    def inside(self, kind: RegionKind, node: ast.AST, **more: Any) -> Iterator[Region]:
        """Put a region around the events to come."""
        region = Region(kind, node, self.at, **more)
        self.around.append(region)
        try:
            yield region
        finally:
            self.around.pop()

    # Statements ---------------------------------------------------------------------------

    def suite(self, body: Sequence[ast.stmt]) -> bool:
        """Follow a suite; whether control reaches its end."""
        for node in body:
            if self.left_of_run <= 0:
                self.run.complete = False
                return False
            self.left_of_run -= 1
            self.at = self.frame.statements.get(node, self.at)
            handler = _STATEMENTS.get(node.__class__)
            if handler is not None:
                if handler(self, node) is False:
                    return False
            elif isinstance(node, _LEAVING):
                return False
        return True

    def _assignment(self, node: ast.Assign) -> None:
        given = node.value
        if isinstance(given, ast.BinOp) and isinstance(given.op, ast.Add):
            left, right = self.value(given.left), self.value(given.right)
            value = self.combined(given.op, left, right, given)
            self._summed(node, given, (left, right), value)
        else:
            value = self.value(given)
        for target in node.targets:
            self.bind(target, value)

    def _summed(
        self, node: ast.Assign, sum_: ast.BinOp, sides: tuple[Thing, Thing], after: Thing
    ) -> None:
        """Take down that something is added to a total: `total = total + loss`."""
        target, (left, right) = node.targets[0], sides
        if isinstance(target, ast.Name | ast.Attribute):
            if _same(target, sum_.left):
                self.emit("keep", node, left, (after,), right)
            elif _same(target, sum_.right):
                self.emit("keep", node, right, (after,), left)

    def _annotated(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.bind(node.target, self.value(node.value))

    def _augmented(self, node: ast.AugAssign) -> None:
        before = self.value(node.target)
        value = self.value(node.value)
        after = self.combined(node.op, before, value, node)
        if isinstance(node.op, ast.Add):
            added = value.items[0] if value.kind in ("list", "tuple") and value.items else value
            self.emit("keep", node, before, (after,), added)
        if before.kind == "list":
            before.items = (*before.items, *value.items)[:16]
            after = before
        elif before.kind in ("parameters", "optimizer"):
            after = before
        after.name = after.name or before.name
        self.bind(node.target, after, quietly=True)

    def _expression(self, node: ast.Expr) -> None:
        if node.value.__class__ is not ast.Constant:
            self.value(node.value)

    def _return(self, node: ast.Return) -> bool:
        none = Thing("number", value=None)
        self.frame.returns.append(self.value(node.value) if node.value is not None else none)
        return False

    def _if(self, node: ast.If) -> bool:
        decided = self.decide(node.test)
        self.value(node.test)
        if decided is not None:
            return self.suite(node.body if decided else node.orelse)
        return self.branches(node, (("if", node.body), ("else", node.orelse)))

    def branches(self, node: ast.AST, sides: Sequence[tuple[str, Sequence[ast.stmt]]]) -> bool:
        """Follow alternatives, and join what their names stand for."""
        start, at = self.frame.names, self.at
        ends: list[dict[str, Thing]] = []
        for side, body in sides:
            self.frame.names, self.at = dict(start), at
            leaves = bool(body) and isinstance(body[-1], ast.Return | ast.Break | ast.Raise)
            with self.inside("branch", node, side=side, leaves=leaves):
                if self.suite(body):
                    ends.append(self.frame.names)
        self.frame.names, self.at = _joined(start, ends), at
        return bool(ends)

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        over = self.value(node.iter)
        start = dict(self.frame.names)
        with self.inside("loop", node, over=over):
            self.emit("iterate", node.iter, over)
            self.bind(node.target, self.element(over))
            self.suite(node.body)
        self.frame.names = _joined(start, [start, self.frame.names])
        self.suite(node.orelse)

    def _while(self, node: ast.While) -> None:
        start = dict(self.frame.names)
        with self.inside("loop", node):
            self.value(node.test)
            self.suite(node.body)
        self.frame.names = _joined(start, [start, self.frame.names])

    def _with(self, node: ast.With | ast.AsyncWith) -> bool:
        depth = len(self.around)
        for item in node.items:
            entered = self.value(item.context_expr)
            self.around.append(self._region_of(item.context_expr, entered))
            if item.optional_vars is not None:
                self.bind(item.optional_vars, entered)
        reached = self.suite(node.body)
        del self.around[depth:]
        return reached

    def _region_of(self, node: ast.expr, entered: Thing) -> Region:
        """The region that a context manager makes."""
        called = node.func if isinstance(node, ast.Call) else node
        dotted = entered.dotted
        kind: RegionKind = "with"
        if dotted in NO_GRAD:
            kind = "no_grad"
        elif dotted in ("torch.enable_grad", "torch.autograd.enable_grad"):
            kind = "grad"
        elif dotted == "torch.set_grad_enabled" and isinstance(node, ast.Call) and node.args:
            wanted = self.decide(node.args[0])
            kind = "no_grad" if wanted is False else "grad"
            # The call was no statement of its own.
            self.switch = None
        return Region(kind, called, self.at, over=entered)

    def _try(self, node: ast.Try | ast.TryStar) -> bool:
        start = dict(self.frame.names)
        reached = self.suite([*node.body, *node.orelse])
        ends = [self.frame.names] if reached else []
        for handler in node.handlers:
            self.frame.names = dict(start)
            leaves = isinstance(handler.body[-1], ast.Return | ast.Break | ast.Raise)
            with self.inside("branch", handler, side="handler", leaves=leaves):
                if self.suite(handler.body):
                    ends.append(self.frame.names)
        self.frame.names = _joined(start, ends)
        return self.suite(node.finalbody) and bool(ends)

    def _match(self, node: ast.Match) -> bool:
        self.value(node.subject)
        sides = [(str(index), case.body) for index, case in enumerate(node.cases)]
        return self.branches(node, [*sides, ("", [])])

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        function = self.frame.scope.children.get(node)
        if isinstance(function, Function) and self.frame.scope.kind == "function":
            thing = Thing("function", function=function, name=node.name)
            self.closures[thing] = self.frame
            self.frame.names[node.name] = thing

    def _delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.frame.names.pop(target.id, None)

    # Names --------------------------------------------------------------------------------

    def bind(self, target: ast.expr, value: Thing, *, quietly: bool = False) -> None:
        """Have a name, an attribute, an element or several of them stand for a thing."""
        if isinstance(target, ast.Name):
            value.name = value.name or target.id
            self.frame.names[target.id] = value
        elif isinstance(target, ast.Tuple | ast.List):
            for index, element in enumerate(target.elts):
                inner = element.value if isinstance(element, ast.Starred) else element
                self.bind(inner, self.unpacked(value, index), quietly=quietly)
        elif isinstance(target, ast.Attribute):
            self.calls.store(target, self.value(target.value), target.attr, value, quietly)
        elif isinstance(target, ast.Subscript):
            self.calls.store_item(target, self.value(target.value), value, quietly)

    def local(self, name: str) -> Thing | None:
        """What a name stands for in the functions that are running and in the file."""
        frame: Frame | None = self.frame
        while frame is not None:
            if name in frame.names:
                return frame.names[name]
            frame = frame.closure
        return self.file_frame(self.frame.scope.file.scope).names.get(name)

    def _name(self, node: ast.Name) -> Thing:
        found = self.local(node.id)
        if found is not None:
            return found
        return self.entity(resolve_parts((node.id,), self.at), node.id) or self._global(node.id)

    def entity(self, target: object, name: str = "") -> Thing | None:
        """The thing that stands for a class, a function or a name outside the project."""
        if target is UNKNOWN:
            return None
        if target not in self.entities:
            if isinstance(target, str):
                thing = Thing("outside", type=target, name=name)
            elif isinstance(target, ClassDefinition):
                thing = Thing("class", type=target, name=name)
            elif isinstance(target, Function):
                thing = Thing("function", function=target, name=name)
            else:
                return None
            self.entities[target] = thing
        return self.entities[target]

    def _global(self, name: str) -> Thing:
        """What the statements of a file outside functions make of a name that nothing ran yet."""
        frame = self.file_frame(self.frame.scope.file.scope)
        thing = Thing("unknown", name=name)
        frame.names[name] = thing
        bindings = frame.scope.bindings.get(name, ())
        if len(bindings) == 1 and bindings[0].kind == "assign" and not bindings[0].path:
            value = bindings[0].value
            if value is not None:
                with self.elsewhere(frame, bindings[0].statement):
                    thing = self.value(value)
                thing.name = thing.name or name
                frame.names[name] = thing
        return thing

    @contextmanager
    def elsewhere(self, frame: Frame, at: Statement) -> Iterator[None]:
        """Evaluate something in another frame."""
        before = self.frame, self.at
        self.frame, self.at = frame, at
        try:
            yield
        finally:
            self.frame, self.at = before

    # Values -------------------------------------------------------------------------------

    def value(self, node: ast.expr) -> Thing:
        """The thing that an expression gives."""
        handler = _EXPRESSIONS.get(node.__class__)
        return handler(self, node) if handler is not None else self._other(node)

    def _constant(self, node: ast.Constant) -> Thing:
        return Thing("number", value=node.value)

    def _attribute(self, node: ast.Attribute) -> Thing:
        parts = parts_of(node)
        if parts[0] and self.local(parts[0]) is None:
            found = self.entity(resolve_parts(parts, self.at), node.attr)
            if found is not None:
                return found
        return self.calls.field(self.value(node.value), node.attr)

    def _call(self, node: ast.Call) -> Thing:
        return self.calls.call(node)

    def _binary(self, node: ast.BinOp) -> Thing:
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(node.op, ast.Sub) and (left.marks | right.marks) & {"column", "flat"}:
            self.emit("difference", node, left, (left, right))
        return self.combined(node.op, left, right, node)

    def combined(self, op: ast.operator, left: Thing, right: Thing, node: ast.AST) -> Thing:
        """What arithmetic gives: a tensor with the graphs of both sides, a joined list."""
        kinds = {left.kind, right.kind}
        if kinds <= {"number"}:
            marks = {"divided"} if isinstance(op, ast.Div) else left.marks | right.marks
            return Thing("number", marks=frozenset(marks))
        if kinds & {"list", "tuple"} and kinds <= {"list", "tuple", "unknown", "parameters"}:
            return Thing("list", items=(*left.items, *right.items), modules=_modules(left, right))
        if "parameters" in kinds:
            return Thing("parameters", modules=_modules(left, right))
        marks = frozenset({"divided"}) & (left.marks | right.marks)
        if isinstance(op, ast.Div):
            marks |= {"divided"}
        return self.tensor(node, left, right, marks=marks)

    def tensor(self, node: ast.AST, *sources: Thing, marks: frozenset[str] = frozenset()) -> Thing:
        """A tensor that is computed from others."""
        graph = self.builds_graphs
        return Thing(
            "tensor",
            node=node,
            statement=self.at,
            modules=_modules(*sources) if graph else frozenset(),
            graph=graph and any(source.graph for source in sources),
            marks=marks,
            items=tuple(source for source in sources if source.graph)[:8],
        )

    def _unary(self, node: ast.UnaryOp) -> Thing:
        return self.value(node.operand)

    def _either(self, node: ast.IfExp) -> Thing:
        self.value(node.test)
        decided = self.decide(node.test)
        if decided is not None:
            return self.value(node.body if decided else node.orelse)
        return choice(self.value(node.body), self.value(node.orelse))

    def _any(self, node: ast.BoolOp) -> Thing:
        return choice(*(self.value(item) for item in node.values))

    def _elements(self, node: ast.Tuple | ast.List | ast.Set) -> Thing:
        items = tuple(
            self.value(item.value if isinstance(item, ast.Starred) else item)
            for item in node.elts[:64]
        )
        kind: ThingKind = "tuple" if isinstance(node, ast.Tuple) else "list"
        return Thing(kind, node=node, statement=self.at, items=items)

    def _dict(self, node: ast.Dict) -> Thing:
        thing = Thing("dict", node=node, statement=self.at)
        for key, item in zip(node.keys[:64], node.values[:64], strict=False):
            value = self.value(item)
            if isinstance(key, ast.Constant):
                thing.fields[str(key.value)] = value
            elif key is None:
                thing.fields.update(value.fields)
        return thing

    def _subscript(self, node: ast.Subscript) -> Thing:
        base = self.value(node.value)
        if not isinstance(node.slice, ast.Constant):
            self.value(node.slice)
            if isinstance(node.slice, ast.Slice):
                return base
            return self.element(base)
        return self.unpacked(base, node.slice.value)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Thing:
        depth, names = len(self.around), dict(self.frame.names)
        for generator in node.generators:
            over = self.value(generator.iter)
            self.around.append(Region("loop", node, self.at, over=over))
            self.emit("iterate", generator.iter, over)
            self.bind(generator.target, self.element(over))
            for test in generator.ifs:
                self.value(test)
        element = self.value(node.elt)
        del self.around[depth:]
        self.frame.names = names
        kind: ThingKind = "parameters" if element.kind == "parameters" else "list"
        return Thing(kind, node=node, statement=self.at, items=(element,), modules=element.modules)

    def _lambda(self, node: ast.Lambda) -> Thing:
        thing = Thing("function", node=node, statement=self.at)
        self.lambdas[thing] = node, self.frame
        return thing

    def _walrus(self, node: ast.NamedExpr) -> Thing:
        value = self.value(node.value)
        self.bind(node.target, value)
        return value

    def _inner(self, node: ast.Starred | ast.Await) -> Thing:
        return self.value(node.value)

    def _comparison(self, node: ast.Compare) -> Thing:
        for item in (node.left, *node.comparators):
            self.value(item)
        return Thing("number")

    def _other(self, node: ast.expr) -> Thing:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.value(child)
        return Thing("unknown")

    def element(self, over: Thing) -> Thing:
        """What a loop over a thing, or a subscript that is not known, gives."""
        if over.kind == "choice":
            return choice(*(self.element(one) for one in over.items))
        if over.kind == "parameters":
            return over
        if over.kind in ("list", "tuple") and over.items:
            return choice(*over.items)
        if over.kind == "dict" and over.fields:
            return choice(*over.fields.values())
        if over.kind == "tensor":
            return over
        if "[]" not in over.fields:
            over.fields["[]"] = Thing("unknown", name="0", holder=over)
        return over.fields["[]"]

    def unpacked(self, thing: Thing, key: object) -> Thing:
        """An element of a thing, by its place or name."""
        if thing.kind == "choice":
            return choice(*(self.unpacked(one, key) for one in thing.items))
        size = len(thing.items)
        if thing.kind in ("list", "tuple") and isinstance(key, int) and -size <= key < size:
            return thing.items[key]
        if thing.kind in ("parameters", "optimizer"):
            return thing
        name = str(key)
        if name not in thing.fields:
            if thing.kind == "tensor":
                thing.fields[name] = Thing(
                    "tensor", modules=thing.modules, graph=thing.graph, node=thing.node,
                    statement=thing.statement, holder=thing,
                )  # fmt: skip
            else:
                thing.fields[name] = Thing("unknown", name=name, holder=thing)
        return thing.fields[name]

    # Conditions ---------------------------------------------------------------------------

    def decide(self, test: ast.expr) -> bool | None:
        """Whether a condition certainly holds, or certainly does not."""
        match test:
            case ast.Constant(value=value):
                return bool(value)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self.decide(operand)
                return None if inner is None else not inner
            case ast.Compare(left=ast.Name(id="__name__"), ops=[ast.Eq()]):
                return True
            case ast.Compare(left=left, ops=[op], comparators=[ast.Constant(value=None)]):
                if isinstance(op, ast.Is | ast.IsNot) and isinstance(
                    left, ast.Name | ast.Attribute
                ):
                    known = _is_none(self.value(left))
                    return known if known is None or isinstance(op, ast.Is) else not known
            case ast.Compare(
                left=ast.Name() as left, ops=[ast.Eq() | ast.NotEq() as op],
                comparators=[ast.Constant(value=wanted)],
            ):  # fmt: skip
                actual = self.value(left).value
                if actual is not UNKNOWN:
                    return (actual == wanted) == isinstance(op, ast.Eq)
            case ast.Name():
                thing = self.value(test)
                if thing.kind == "number" and thing.value is not UNKNOWN:
                    return bool(thing.value)
        return None


def _same(first: ast.expr, second: ast.expr) -> bool:
    """Whether two expressions are the same name or attribute."""
    parts = parts_of(first)
    return bool(parts[0]) and parts == parts_of(second) and type(first) is type(second)


def _is_none(thing: Thing) -> bool | None:
    if thing.kind == "number" and thing.value is not UNKNOWN:
        return thing.value is None
    return None if thing.kind in ("unknown", "choice", "number") else False


def _modules(*things: Thing) -> frozenset[Thing]:
    return frozenset().union(*(thing.modules for thing in things))


def _joined(start: dict[str, Thing], ends: Sequence[dict[str, Thing]]) -> dict[str, Thing]:
    """What names stand for after one of several ways was taken."""
    if len(ends) < 2:
        return ends[0] if ends else start
    found: dict[str, Thing] = {}
    for name in dict.fromkeys(name for end in ends for name in end):
        things = list(dict.fromkeys(end[name] for end in ends if name in end))
        found[name] = things[0] if len(things) == 1 else choice(*things)
    return found


_STATEMENTS: Final[dict[type[ast.AST], Callable[[Interpreter, Any], bool | None]]] = {
    ast.Assign: Interpreter._assignment, ast.AnnAssign: Interpreter._annotated,
    ast.AugAssign: Interpreter._augmented, ast.Expr: Interpreter._expression,
    ast.Return: Interpreter._return, ast.If: Interpreter._if, ast.For: Interpreter._for,
    ast.AsyncFor: Interpreter._for, ast.While: Interpreter._while, ast.With: Interpreter._with,
    ast.AsyncWith: Interpreter._with, ast.Try: Interpreter._try, ast.TryStar: Interpreter._try,
    ast.Match: Interpreter._match, ast.FunctionDef: Interpreter._definition,
    ast.AsyncFunctionDef: Interpreter._definition, ast.Delete: Interpreter._delete,
}  # fmt: skip
_EXPRESSIONS: Final[dict[type[ast.AST], Callable[[Interpreter, Any], Thing]]] = {
    ast.Constant: Interpreter._constant, ast.Name: Interpreter._name,
    ast.Attribute: Interpreter._attribute, ast.Call: Interpreter._call,
    ast.BinOp: Interpreter._binary, ast.UnaryOp: Interpreter._unary,
    ast.IfExp: Interpreter._either, ast.BoolOp: Interpreter._any,
    ast.Tuple: Interpreter._elements, ast.List: Interpreter._elements,
    ast.Set: Interpreter._elements, ast.Dict: Interpreter._dict,
    ast.Subscript: Interpreter._subscript, ast.ListComp: Interpreter._comprehension,
    ast.SetComp: Interpreter._comprehension, ast.GeneratorExp: Interpreter._comprehension,
    ast.Lambda: Interpreter._lambda, ast.NamedExpr: Interpreter._walrus,
    ast.Starred: Interpreter._inner, ast.Await: Interpreter._inner,
    ast.Compare: Interpreter._comparison,
}  # fmt: skip
