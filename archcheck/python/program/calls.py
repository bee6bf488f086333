"""What a call does: methods by their names, functions of the project by following them."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from archcheck.python.modules.classes import ClassDefinition
from archcheck.python.modules.writes import attribute_writes
from archcheck.python.names.resolve import parts_of, resolve_parts
from archcheck.python.names.scope import Function
from archcheck.python.names.unknown import UNKNOWN
from archcheck.python.program import libraries
from archcheck.python.program.events import EventKind
from archcheck.python.program.things import Thing, ThingKind, choice

if TYPE_CHECKING:
    from archcheck.python.program.interpreter import Frame, Interpreter

# Methods that give the object that they are called on.
_SAME: Final = frozenset({
    "bfloat16", "contiguous", "cpu", "cuda", "double", "float", "half", "share_memory", "to",
    "to_empty", "type", "xpu", "npu", "compile",
})  # fmt: skip
# Methods that leave the graph of a tensor behind.
_DETACHING: Final = frozenset({
    "detach", "detach_", "argmax", "argmin", "argsort", "bool", "byte", "dim", "eq", "ge", "gt",
    "int", "le", "long", "lt", "ne", "nelement", "numel", "size", "topk_indices",
})  # fmt: skip
# Methods that compute number by number, and leave the shape as it is.
_BY_NUMBER: Final = frozenset({
    "abs", "clamp", "contiguous", "exp", "log", "neg", "pow", "relu", "sigmoid", "sqrt", "square",
    "tanh",
})  # fmt: skip
_SHAPING: Final = frozenset({"squeeze", "unsqueeze", "view", "reshape"})
_NUMBERS: Final = frozenset({"item", "tolist", "numpy"})
_PLAIN: Final[dict[str, EventKind]] = {
    "zero_grad": "zero_grad", "load_state_dict": "load", "set_epoch": "set_epoch",
    "add_param_group": "add_parameters", "unscale_": "unscale",
}  # fmt: skip
_PARAMETERS: Final = frozenset({"parameters", "named_parameters", "trainable_parameters"})
_VISITS: Final = frozenset({"modules", "named_modules", "children", "named_children"})


class Arguments(NamedTuple):
    """What a call is given. `open`: `*` or `**` may carry more."""

    positional: tuple[Thing, ...] = ()
    named: dict[str, Thing] = {}  # noqa: RUF012
    open: bool = False

    @property
    def all(self) -> tuple[Thing, ...]:
        return (*self.positional, *self.named.values())

    def get(self, name: str, position: int | None = None) -> Thing | None:
        """The argument of this name, or at this position."""
        if name in self.named:
            return self.named[name]
        if position is not None and position < len(self.positional):
            return self.positional[position]
        return None


class Calls:
    """Follows the calls of an interpreter's run."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter

    # Calls --------------------------------------------------------------------------------

    def call(self, node: ast.Call) -> Thing:
        """What a call gives, once what it does is taken down."""
        interpreter = self.interpreter
        function = node.func
        if isinstance(function, ast.Attribute):
            parts = parts_of(function)
            if parts[0] and interpreter.local(parts[0]) is None:
                target = interpreter.entity(resolve_parts(parts, interpreter.at), function.attr)
                if target is not None:
                    return self.invoke(target, node, self.arguments(node))
            if _is_super(function.value):
                return self._super(node, function.attr)
            receiver = interpreter.value(function.value)
            return self.method(receiver, function.attr, node, self.arguments(node))
        return self.invoke(interpreter.value(function), node, self.arguments(node))

    def arguments(self, node: ast.Call) -> Arguments:
        """The things that a call is given."""
        interpreter = self.interpreter
        positional: list[Thing] = []
        named: dict[str, Thing] = {}
        is_open = False
        for item in node.args:
            if isinstance(item, ast.Starred):
                several = interpreter.value(item.value)
                if several.kind in ("tuple", "list") and not is_open:
                    positional += several.items
                else:
                    positional.append(several)
                    is_open = True
            else:
                positional.append(interpreter.value(item))
        for keyword in node.keywords:
            value = interpreter.value(keyword.value)
            if keyword.arg is not None:
                named[keyword.arg] = value
            elif value.kind == "dict":
                named.update(value.fields)
            else:
                positional.append(value)
                is_open = True
        return Arguments(tuple(positional), named, is_open)

    def invoke(self, callee: Thing, node: ast.Call, given: Arguments) -> Thing:
        """What calling a thing gives."""
        if callee.kind == "choice" and len(callee.items) <= 4:
            return choice(*(self.invoke(one, node, given) for one in callee.items))
        if callee.kind in ("function", "bound"):
            return self._function(callee, node, given)
        if callee.kind == "partial":
            assert callee.bound is not None
            named = {**callee.fields, **given.named}
            joined = Arguments((*callee.items, *given.positional), named, given.open)
            return self.invoke(callee.bound, node, joined)
        if callee.kind == "class":
            assert isinstance(callee.type, ClassDefinition)
            return self.construct(callee.type, node, given)
        if callee.kind == "outside":
            return libraries.called(self, callee.dotted, node, given)
        if callee.kind == "instance":
            found = self.field(callee, "__call__")
            if found.kind == "bound":
                return self.invoke(found, node, given)
        if callee.role in ("module", "loss", "unknown", "tensor") or callee.kind == "unknown":
            return self.compute(callee, node, given)
        return self.unknown(node, given, callee)

    def compute(
        self, subject: Thing, node: ast.Call, given: Arguments, kind: EventKind = "call"
    ) -> Thing:
        """What a model, a loss, or something of which nothing is known computes."""
        interpreter = self.interpreter
        answers = kind == "call" and subject.role == "module"
        marks = frozenset({"answer"} if answers else ())
        result = interpreter.tensor(node, *given.all, marks=marks)
        graph = interpreter.builds_graphs
        if graph and subject.role != "loss":
            result.modules |= {subject}
        result.graph = graph
        interpreter.emit(kind, node, subject, given.all, result)
        return result

    def unknown(self, node: ast.Call, given: Arguments, *others: Thing) -> Thing:
        """What code that cannot be looked into gives."""
        interpreter = self.interpreter
        if given.all or others:
            name = others[0] if others else Thing("unknown")
            interpreter.emit("opaque", node, name, (*others, *given.all))
        result = Thing("unknown", node=node, statement=interpreter.at)
        tensors = [one for one in given.all if one.graph]
        if tensors:
            result = interpreter.tensor(node, *tensors)
        return result

    # Methods ------------------------------------------------------------------------------

    def method(self, receiver: Thing, name: str, node: ast.Call, given: Arguments) -> Thing:
        """What a method does, by its name and by what it is called on."""
        role = receiver.role
        if role == "choice":
            role = next(receiver.alternatives()).role
        own = self._own_method(receiver, name)
        if own is not None:
            return self.invoke(own, node, given)
        event = _EVENTS.get(name)
        if event is not None:
            found = event(self, receiver, role, name, node, given)
            if found is not None:
                return found
        if name in _SAME and role not in ("optimizer", "scheduler"):
            return receiver
        if (
            role in ("tensor", "number")
            or (receiver.kind == "unknown" and receiver.graph)
            or (role == "unknown" and name in _SHAPING)
        ):
            return self._of_tensor(receiver, name, node, given)
        if role in ("list", "tuple", "dict", "parameters"):
            return self._of_container(receiver, name, node, given)
        if role == "accelerator":
            return libraries.of_accelerator(self, receiver, name, node, given)
        if role in ("module", "loss"):
            kind: EventKind = "call" if name in ("forward", "__call__") else "method"
            return self.compute(receiver, node, given, kind)
        known = receiver.fields.get(name)
        if known is not None and known.kind in ("function", "bound", "partial", "module", "class"):
            return self.invoke(known, node, given)
        if name in _DETACHING or name in _NUMBERS:
            return Thing("unknown", node=node, statement=self.interpreter.at)
        field = self.field(receiver, name)
        if field.role in ("module", "loss") and field.kind == "unknown":
            return self.compute(field, node, given)
        return self.unknown(node, given, receiver)

    def _own_method(self, receiver: Thing, name: str) -> Thing | None:
        """The method of a class of the project that a call certainly runs."""
        if receiver.kind not in ("instance", "module", "class", "loader") or name == "forward":
            return None
        if name in receiver.fields:
            field = receiver.fields[name]
            return None if receiver.kind == "module" and name in ("train", "eval") else field
        if not isinstance(receiver.type, ClassDefinition):
            return None
        found = receiver.type.find_method(name)
        if found is None:
            return None
        if receiver.kind == "class" and not (found.is_static or found.is_classmethod):
            return Thing("function", function=found, name=name)
        return Thing("bound", function=found, bound=receiver, name=name)

    def _super(self, node: ast.Call, name: str) -> Thing:
        given = self.arguments(node)
        frame: Frame | None = self.interpreter.frame
        while frame is not None and frame.instance is None:
            frame = frame.closure
        function = frame.scope.function if frame is not None else None
        owner = function.owner if function is not None else None
        if frame is None or owner is None or frame.instance is None:
            return Thing("unknown")
        for base in owner.ancestors:
            if name in base.methods:
                method = Thing("bound", function=base.methods[name], bound=frame.instance)
                return self._function(method, node, given)
        if name == "__init__" and not any(base is UNKNOWN for base in owner.outside_bases):
            return Thing("number", value=None)
        if name in ("train", "eval"):
            self.interpreter.emit("train" if name == "train" else "eval", node, frame.instance)
            return frame.instance
        return self.unknown(node, given, frame.instance)

    def _of_tensor(self, receiver: Thing, name: str, node: ast.Call, given: Arguments) -> Thing:
        if name in _NUMBERS:
            return Thing("number", name=receiver.name, marks=frozenset({"from-tensor"}))
        if name in _DETACHING:
            return Thing("tensor", node=node, statement=self.interpreter.at)
        marks = receiver.marks & {"divided"}
        if name in ("div", "div_"):
            marks |= {"divided"}
        elif name in _SHAPING:
            marks |= _rank(name, node)
        elif name.removesuffix("_") in _BY_NUMBER:
            marks = receiver.marks
        result = self.interpreter.tensor(node, receiver, *given.all, marks=marks)
        if name.endswith("_") and receiver.kind == "tensor":
            receiver.marks = marks
            return receiver
        return result

    def _of_container(self, receiver: Thing, name: str, node: ast.Call, given: Arguments) -> Thing:
        if name in ("append", "add", "extend", "insert", "appendleft") and given.positional:
            added = given.positional[-1]
            self.interpreter.emit("keep", node, receiver, (), added)
            several = added.items if name == "extend" and added.kind == "list" else (added,)
            receiver.items = (*receiver.items, *several)[:16]
            receiver.modules |= added.modules
            receiver.graph |= added.graph
            return Thing("number", value=None)
        if name in ("values", "copy"):
            return Thing("list", items=tuple(receiver.fields.values()) or receiver.items)
        if name == "items":
            pairs = (
                Thing("tuple", items=(Thing("number"), one)) for one in receiver.fields.values()
            )
            return Thing("list", items=tuple(pairs))
        if name in ("get", "pop", "setdefault") and given.positional:
            key = given.positional[0].value
            if receiver.kind == "dict" and isinstance(key, str):
                return self.interpreter.unpacked(receiver, key)
            return self.interpreter.element(receiver)
        if receiver.kind == "parameters":
            return receiver
        return self.unknown(node, given, receiver) if given.all else Thing("unknown")

    # Events -------------------------------------------------------------------------------

    def _backward(
        self, receiver: Thing, role: str, name: str, node: ast.Call, given: Arguments
    ) -> Thing | None:
        if (role == "accelerator" or name == "manual_backward") and given.positional:
            self.interpreter.emit("backward", node, given.positional[0], (receiver,))
            return Thing("number", value=None)
        if given.positional and role not in ("tensor", "choice", "loss"):
            return self.unknown(node, given, receiver)
        receiver.graph = True
        self.interpreter.emit("backward", node, receiver, given.all)
        return Thing("number", value=None)

    def _step(
        self, receiver: Thing, role: str, name: str, node: ast.Call, given: Arguments
    ) -> Thing | None:
        emit = self.interpreter.emit
        if role == "scheduler":
            emit("schedule", node, receiver, given.all)
        elif role == "scaler" and given.positional:
            emit("step", node, given.positional[0], (receiver,))
        elif role == "optimizer":
            closure = given.get("closure", 0)
            if closure is not None and closure.kind in ("function", "bound", "partial"):
                self.invoke(closure, node, Arguments())
            emit("step", node, receiver, given.all)
        else:
            return self.unknown(node, given, receiver)
        return Thing("number", value=None)

    def _plain(
        self, receiver: Thing, role: str, name: str, node: ast.Call, given: Arguments
    ) -> Thing | None:
        self.interpreter.emit(_PLAIN[name], node, receiver, given.all)
        return Thing("number", value=None)

    def _mode(
        self, receiver: Thing, role: str, name: str, node: ast.Call, given: Arguments
    ) -> Thing | None:
        if role not in ("module", "unknown") or len(given.all) > 1:
            return None
        wanted = given.all[0] if given.all else None
        if wanted is not None and wanted.kind not in ("number", "unknown"):
            return None
        kind: EventKind = "train"
        if name == "eval" or (wanted is not None and wanted.value is False):
            kind = "eval"
        if receiver.kind == "unknown":
            receiver.marks |= {"switched"}
        self.interpreter.emit(kind, node, receiver, given.all)
        return receiver

    def _parameters(
        self, receiver: Thing, role: str, name: str, node: ast.Call, given: Arguments
    ) -> Thing | None:
        if role in ("list", "dict", "tuple", "optimizer"):
            return None
        items = (Thing("number"), receiver) if name.startswith("named") else ()
        return Thing("parameters", name=name, modules=frozenset({receiver}), items=items)

    def _visits(
        self, receiver: Thing, role: str, name: str, node: ast.Call, given: Arguments
    ) -> Thing | None:
        part = Thing("unknown", name="module", holder=receiver)
        pair = Thing("tuple", items=(Thing("number"), part))
        items = (pair if name.startswith("named") else part,)
        return Thing("list", items=items, holder=receiver, marks=frozenset({"parts"}))

    def _apply(
        self, receiver: Thing, role: str, name: str, node: ast.Call, given: Arguments
    ) -> Thing | None:
        if role != "module" and not receiver.marks & {"switched"}:
            return None
        self.interpreter.emit("reset", node, receiver, given.all)
        return receiver

    def _freeze(
        self, receiver: Thing, role: str, name: str, node: ast.Call, given: Arguments
    ) -> Thing | None:
        self.interpreter.emit("freeze", node, receiver, given.all)
        return receiver

    def _scale(
        self, receiver: Thing, role: str, name: str, node: ast.Call, given: Arguments
    ) -> Thing | None:
        if role != "scaler" or not given.positional:
            return None
        self.interpreter.emit("scale", node, receiver, given.all)
        loss = given.positional[0]
        return self.interpreter.tensor(node, loss, marks=loss.marks)

    def _update(
        self, receiver: Thing, role: str, name: str, node: ast.Call, given: Arguments
    ) -> Thing | None:
        if role != "scaler":
            return None
        self.interpreter.emit("update", node, receiver, given.all)
        return Thing("number", value=None)

    # Attributes ---------------------------------------------------------------------------

    def field(self, base: Thing, name: str) -> Thing:
        """An attribute of a thing."""
        if base.kind == "choice":
            return choice(*(self.field(one, name) for one in base.items))
        if name in base.fields:
            return base.fields[name]
        if base.kind == "tensor":
            return self._of_result(base, name)
        method = self._own_method(base, name)
        if method is not None:
            if method.function is not None and method.function.is_property:
                return self._property(method)
            return method
        if base.kind in ("parameters", "list", "tuple") and name in ("data", "grad"):
            return base
        if name == "module" and base.kind == "module" and base.holder is not None:
            return base.holder
        made = self._class_value(base, name) or self._part(base, name)
        base.fields[name] = made
        return made

    def _of_result(self, base: Thing, name: str) -> Thing:
        """`.loss` of what a model returned; `.data` and `.shape` of a tensor."""
        keeps = name not in ("data", "shape", "device", "dtype", "grad", "grad_fn", "ndim")
        found = Thing(
            "tensor", name=name, node=base.node, statement=base.statement, holder=base,
            modules=base.modules if keeps else frozenset(), graph=base.graph and keeps,
        )  # fmt: skip
        base.fields[name] = found
        return found

    def _property(self, method: Thing) -> Thing:
        node = ast.Call(ast.Name("property"), [], [])
        ast.copy_location(node, self.interpreter.at.node)
        return self._function(method, node, Arguments())

    def _class_value(self, base: Thing, name: str) -> Thing | None:
        """What the class or a method of it that did not run assigns to an attribute."""
        if base.kind != "instance" or not isinstance(base.type, ClassDefinition):
            return None
        for definition in base.type.lineage:
            writes = [one for one in attribute_writes(definition) if one.name == name]
            if len(writes) == 1 and writes[0].kind == "class" and writes[0].value is not None:
                interpreter = self.interpreter
                frame = interpreter.file_frame(definition.file.scope)
                with interpreter.elsewhere(frame, writes[0].statement):
                    return interpreter.value(writes[0].value)
        return None

    def _part(self, base: Thing, name: str) -> Thing:
        if base.kind == "module" and isinstance(base.type, ClassDefinition):
            module = base.type.module
            layers = module.layers_of(name) if module is not None else UNKNOWN
            if layers is not UNKNOWN:
                kind = layers[0].type
                is_loss = isinstance(kind, str) and kind.endswith("Loss")
                type_ = kind if isinstance(kind, str) else kind.definition
                return Thing(
                    "loss" if is_loss else "module", type=type_, name=name, holder=base,
                    node=layers[0].node, statement=layers[0].statement,
                )  # fmt: skip
        return Thing("unknown", name=name, holder=base)

    def store(
        self, node: ast.Attribute, base: Thing, name: str, value: Thing, quietly: bool
    ) -> None:
        """Set an attribute."""
        emit = self.interpreter.emit
        if name == "grad":
            emit("gradient", node, base, (value,))
            return
        if name == "requires_grad":
            emit("freeze", node, base, (value,))
            return
        value.name = value.name or name
        if not quietly and base.kind in ("module", "unknown"):
            emit("replace", node, base, (base.fields.get(name, value),), value)
        if base.kind == "choice":
            for one in base.items:
                one.fields[name] = value
            return
        branches = [region for region in self.interpreter.around if region.kind == "branch"]
        before = base.fields.get(name)
        base.fields[name] = choice(before, value) if branches and before is not None else value

    def store_item(self, node: ast.Subscript, base: Thing, value: Thing, quietly: bool) -> None:
        """Set an element."""
        interpreter = self.interpreter
        if not quietly:
            interpreter.emit("keep", node, base, (), value)
        if isinstance(node.slice, ast.Constant):
            base.fields[str(node.slice.value)] = value
            if base.role == "module":
                interpreter.emit("replace", node, base, (), value)
        else:
            before = base.fields.get("[]")
            base.fields["[]"] = value if before is None else choice(before, value)

    # Functions and classes of the project -------------------------------------------------

    def start(self, function: Function) -> None:
        """Run a function that anybody may call, with whatever they give."""
        given: dict[str, Thing] = {}
        instance = None
        if function.owner is not None and function.self_name is not None:
            instance = self._anybody(function.owner)
        callee = Thing("bound" if instance else "function", function=function, bound=instance)
        node = ast.Call(ast.Name(function.name), [], [])
        self.run(callee, function, node, Arguments((), given, True))

    def _anybody(self, definition: ClassDefinition) -> Thing:
        """An instance of a class of which it is not known how it was made."""
        kind: ThingKind = "module" if definition.module is not None else "instance"
        instance = Thing(kind, type=definition, name="self")
        initializer = definition.find_method("__init__")
        if initializer is not None:
            callee = Thing("bound", function=initializer, bound=instance)
            node = ast.Call(ast.Name("__init__"), [], [])
            self.run(callee, initializer, node, Arguments((), {}, True))
        return instance

    def _function(self, callee: Thing, node: ast.Call, given: Arguments) -> Thing:
        interpreter = self.interpreter
        function = callee.function
        if function is None:
            body = interpreter.lambdas.get(callee)
            if body is None or len(interpreter.stack) >= 12:
                return self.unknown(node, given, callee)
            return self._lambda(*body, given)
        if function in interpreter.stack or function.is_generator or function.is_abstract:
            return self.unknown(node, given, *([callee.bound] if callee.bound else []))
        return self.run(callee, function, node, given)

    def _lambda(self, node: ast.Lambda, frame: Frame, given: Arguments) -> Thing:
        interpreter = self.interpreter
        names = [argument.arg for argument in node.args.args]
        before = dict(frame.names)
        frame.names.update(zip(names, given.positional, strict=False))
        depth = len(interpreter.stack)
        try:
            with interpreter.elsewhere(frame, interpreter.at):
                return interpreter.value(node.body) if depth < 12 else Thing("unknown")
        finally:
            frame.names = before

    def run(self, callee: Thing, function: Function, node: ast.Call, given: Arguments) -> Thing:
        """Follow a function with what it is given."""
        from archcheck.python.program.interpreter import DEEPEST, NO_GRAD, Frame

        interpreter = self.interpreter
        if len(interpreter.stack) >= DEEPEST or interpreter.left_of_run <= 0:
            interpreter.run.complete = False
            return self.unknown(node, given, callee)
        frame = Frame(function, interpreter.closures.get(callee), callee.bound)
        self.bind_parameters(frame, function, callee.bound, given)
        interpreter.stack.append(function)
        before, interpreter.frame = (interpreter.frame, interpreter.at), frame
        depth = len(interpreter.around)
        with interpreter.inside("call", node, function=function):
            quiet = any(name in NO_GRAD for name in function.decorators)
            if quiet:
                with interpreter.inside("no_grad", node):
                    interpreter.suite(function.node.body)
            else:
                interpreter.suite(function.node.body)
        del interpreter.around[depth:]
        interpreter.frame, interpreter.at = before
        interpreter.stack.pop()
        interpreter.visited.add(function)
        return choice(*frame.returns) if frame.returns else Thing("number", value=None)

    def bind_parameters(
        self, frame: Frame, function: Function, instance: Thing | None, given: Arguments
    ) -> None:
        """Have the parameters of a function stand for what it is given."""
        positional = list(given.positional)
        if instance is not None and not function.is_static:
            positional.insert(0, instance)
        named = dict(given.named)
        for parameter in function.signature.parameters:
            name = parameter.name
            if parameter.kind == "star":
                value = Thing("tuple", name=name, items=tuple(positional))
                positional = []
            elif parameter.kind == "stars":
                value = Thing("dict", name=name)
                value.fields.update(named)
                if given.open:
                    value = Thing("unknown", name=name)
            elif positional and parameter.kind != "named":
                value = positional.pop(0)
            elif name in named:
                value = named.pop(name)
            elif parameter.default is not None and not given.open:
                default = parameter.default
                value = Thing("unknown", name=name)
                if isinstance(default, ast.Constant):
                    value = Thing("number", value=default.value)
            else:
                value = Thing("unknown", name=name)
            if value is not instance:
                value.name = value.name or name
            frame.names[name] = value

    def construct(self, definition: ClassDefinition, node: ast.Call, given: Arguments) -> Thing:
        """A new instance of a class of the project."""
        interpreter = self.interpreter
        made = libraries.instance_of(self, definition, node, given)
        if made is None:
            made = Thing("instance", type=definition, node=node, statement=interpreter.at)
            initializer = definition.find_method("__init__")
            if definition.is_dataclass and initializer is None:
                self._fill(made, definition, given)
            elif initializer is not None and initializer not in interpreter.stack:
                callee = Thing("bound", function=initializer, bound=made)
                self.run(callee, initializer, node, given)
            elif any(base is UNKNOWN for base in definition.outside_bases):
                self.unknown(node, given, made)
        interpreter.emit("build", node, made, given.all, made)
        return made

    def _fill(self, made: Thing, definition: ClassDefinition, given: Arguments) -> None:
        signature = definition.constructor
        names = [one.name for one in signature.parameters] if signature is not None else []
        made.fields.update(zip(names, given.positional, strict=False))
        made.fields.update(given.named)


def _is_super(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "super"
    )


def _rank(name: str, node: ast.Call) -> frozenset[str]:
    """The shape that a method certainly gives a batch of numbers: `flat` (B,), `column` (B, 1)."""
    match name, [ast.unparse(one) for one in node.args[:3]]:
        case ("squeeze", ["-1" | "1"]) | ("view" | "reshape", ["-1"]):
            return frozenset({"flat"})
        case ("view" | "reshape", ["-1", "1"]) | ("unsqueeze", ["-1" | "1"]):
            return frozenset({"column"})
    return frozenset()


def several(things: Sequence[Thing]) -> frozenset[Thing]:
    """The models whose parameters are among some things."""
    found: set[Thing] = set()
    for thing in things:
        found |= thing.modules
        if thing.kind in ("list", "tuple", "dict", "choice"):
            found |= several((*thing.items, *thing.fields.values()))
    return frozenset(found)


_EVENTS: Final = {
    "backward": Calls._backward, "manual_backward": Calls._backward, "step": Calls._step,
    "eval": Calls._mode, "train": Calls._mode, "apply": Calls._apply, "scale": Calls._scale,
    "update": Calls._update, "requires_grad_": Calls._freeze,
    **dict.fromkeys(_PLAIN, Calls._plain), **dict.fromkeys(_PARAMETERS, Calls._parameters),
    **dict.fromkeys(_VISITS, Calls._visits),
}  # fmt: skip
