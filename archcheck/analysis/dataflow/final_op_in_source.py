"""Endings: the operation that a prediction comes out of, read from the source.

Whether a loss is fed logits, probabilities or log-probabilities depends on the last thing that
happened to its input: in the same function, in the `forward` of a model, in a Sequential, in the
file of another class. `endings(step)` follows a value back to there; where that is not certain,
one of the endings is `UNKNOWN_ENDING`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from archcheck.analysis.dataflow.dropped_values import flow_around
from archcheck.python.flow.chains import Link
from archcheck.python.flow.steps import operation_of
from archcheck.python.names.scope import Function
from archcheck.python.names.unknown import UNKNOWN

if TYPE_CHECKING:
    from archcheck.core.finding import Location
    from archcheck.python import Call, Flow, Layer, ModuleClass, SourceFile, Step

# Operations that leave a distribution what it is: they move, copy or cast it.
_MOVES: Final = frozenset(
    "view reshape flatten unflatten squeeze unsqueeze permute transpose contiguous movedim t "
    "float double half type to cpu cuda clone detach identity requires_grad".split()
)
AFFINE: Final = frozenset(
    "linear bilinear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d "
    "lazylinear".split()
)
_DEEPEST: Final = 12

# Methods of a tensor that apply an activation.
_METHODS: Final = frozenset({"softmax", "log_softmax", "sigmoid", "relu"})

Path: TypeAlias = tuple[int, ...]


class FinalOp(NamedTuple):
    """An operation that a value comes out of.

    Attributes:
        operation: Its name, as `Step.operation` has it; "" where it is not known.
        link: The layer or call.
        source: What went into it: a step, or the layers before it in its Sequential.
    """

    operation: str
    link: Link | None = None
    source: _Place | None = None

    @property
    def location(self) -> Location:
        """Where it is written: the call, or the constructor in a container."""
        assert self.link is not None
        return self.link.location

    @property
    def node(self) -> ast.AST:
        """The expression at `location`."""
        assert self.link is not None
        layer, step = self.link.layer, self.link.step
        if layer is not None and (self.link.contained or step is None):
            return layer.node
        assert step is not None
        return step.node

    @property
    def file(self) -> SourceFile:
        """The file that it is written in."""
        assert self.link is not None
        layer, step = self.link.layer, self.link.step
        if layer is not None and (self.link.contained or step is None):
            return layer.file
        assert step is not None
        return step.statement.scope.file

    def argument(self, name: str, position: int) -> Any:
        """A folded argument of the layer or call; None if it is not given (or None)."""
        if self.link is None:
            return UNKNOWN
        step = self.link.step
        method = self.link.layer is None and step is not None and step.kind == "method"
        return self.link.argument(name, position - method)

    def before(self) -> tuple[FinalOp, ...]:
        """The endings of what went into it."""
        return tuple(_endings(self.source, 0)) if self.source is not None else (UNKNOWN_ENDING,)


UNKNOWN_ENDING: Final = FinalOp("")


class _Place(NamedTuple):
    """A value to follow back: a step, after which the first `layers` of a Sequential were applied.

    `path` are the elements of nested tuples that are looked for in it.
    """

    step: Step
    path: Path = ()
    layers: tuple[Layer, ...] = ()


def endings(step: Step) -> tuple[FinalOp, ...]:
    """Every operation that a value may come out of; at least one."""
    return _unique(_endings(_Place(step), 0))


def endings_of(module: ModuleClass) -> tuple[FinalOp, ...]:
    """Every operation that what a module returns may come out of."""
    return _unique(_module(module, (), 0))


def applied(file: SourceFile, *operations: str) -> Iterator[tuple[FinalOp, tuple[FinalOp, ...]]]:
    """Every place of a file that applies one of these operations to a value, with the endings of
    that value: in Sequentials, in the methods of modules, in scripts."""
    if not any(name.lstrip("_")[1:] in file.code for name in operations):
        return
    seen: set[ast.AST] = set()
    for chain in file.chains:
        for earlier, later in chain.pairs():
            if later.contained and later.operation in operations:
                ending = FinalOp(later.operation, later)
                if ending.node not in seen:
                    seen.add(ending.node)
                    yield ending, (FinalOp(earlier.operation, earlier),)
    for flow in _flows(file, operations):
        for step in flow.steps:
            if step.operation in operations and step.source is not None and step.node not in seen:
                seen.add(step.node)
                yield FinalOp(step.operation, Link(step.layer, step)), endings(step.source)


def _flows(file: SourceFile, operations: tuple[str, ...]) -> Iterator[Flow]:
    for module in file.modules:
        for method in module.own_methods:
            if any(_may_apply(call, module, operations) for call in method.calls):
                flow = module.flow(method)
                if flow is not None:
                    yield flow
    for scope in file.scopes:
        owner = scope.function.owner if scope.function is not None else None
        if scope.kind == "class" or (owner is not None and owner.module is not None):
            continue
        if any(call.name.rstrip("_") in operations for call in scope.calls):
            yield file.flow(scope)


def _may_apply(call: Call, module: ModuleClass, operations: tuple[str, ...]) -> bool:
    """Whether a call in a method may be one of these operations: quicker to tell than to follow
    the method."""
    if call.name.rstrip("_") in operations:
        return True
    own = call.scope.function.self_name if call.scope.function is not None else None
    if len(call.parts) == 2 and call.parts[0] == own:
        layers = module.layers_of(call.name)
        return layers is not UNKNOWN and any(operation_of(one) in operations for one in layers)
    target = call.target
    if isinstance(target, str):
        return target.rpartition(".")[2].rstrip("_") in operations
    if target is not UNKNOWN or len(call.parts) > 1:
        return False
    built = call.scope.file.layers(call.node.func, call.statement)
    return any(operation_of(layer) in operations for layer in built)


def surely(found: Iterable[FinalOp], *operations: str) -> bool:
    """Whether every one of these endings is one of the operations, and there is one."""
    known = [ending.operation in operations for ending in found]
    return bool(known) and all(known)


def link_before(file: SourceFile, node: ast.AST) -> Link | None:
    """What a layer's or a call's only input comes from, where a chain or its function shows it."""
    for chain in file.chains:
        for before, after in chain.pairs():
            if (after.layer is not None and after.layer.node is node) or (
                after.step is not None and after.step.node is node
            ):
                return before
    scope = file.statement_at(node).scope
    function = scope.function
    owner = function.owner if function is not None else None
    if function is None or owner is None or owner.module is None:
        return None
    flow = owner.module.flow(function)
    step = flow.step_of(node) if flow is not None else None
    source = step.source if step is not None else None
    return Link(source.layer, source) if source is not None and source.operation else None


def _unique(found: Iterable[FinalOp]) -> tuple[FinalOp, ...]:
    # The same call reached by two branches is one ending.
    return tuple({id(e.node) if e.link else 0: e for e in found}.values()) or (UNKNOWN_ENDING,)


def _endings(place: _Place, depth: int) -> Iterator[FinalOp]:
    if depth > _DEEPEST:
        yield UNKNOWN_ENDING
        return
    if place.layers:
        yield from _container(place, depth + 1)
        return
    step, path = place.step, place.path
    if _is_replaced_outside(step):
        yield UNKNOWN_ENDING
    elif step.kind == "merge" and step.inputs:
        for item in step.inputs:
            yield from _endings(_Place(item, path), depth + 1)
    elif step.kind == "tuple":
        if path and -len(step.inputs) <= path[0] < len(step.inputs):
            yield from _endings(_Place(step.inputs[path[0]], path[1:]), depth + 1)
        else:
            yield UNKNOWN_ENDING
    elif step.kind == "item" and step.inputs:
        yield from _item(step, path, depth)
    elif step.operation in _MOVES and step.source is not None:
        yield from _endings(_Place(step.source, path), depth + 1)
    elif step.kind == "layer" and step.layer is not None and not step.layer.is_torch:
        module = step.layer.module_class
        yield from _module(module, path, depth) if module is not None else (UNKNOWN_ENDING,)
    elif step.kind == "layer" and step.layer is not None and step.layer.is_sequential:
        children = step.layer.children
        if children is UNKNOWN or len(step.inputs) != 1:
            yield UNKNOWN_ENDING
        else:
            yield from _endings(_Place(step.inputs[0], path, _flat(children)), depth + 1)
    elif step.operation and step.kind != "operator":
        source = _Place(step.source) if step.source is not None else None
        yield FinalOp(step.operation, Link(step.layer, step), source)
    elif step.kind == "input":
        yield from _given(step, path, depth)
    elif step.kind in ("unknown", "function") and isinstance(step.node, ast.Call):
        yield from _called(step, step.node, path, depth)
    else:
        yield UNKNOWN_ENDING


def _given(step: Step, path: Path, depth: int) -> Iterator[FinalOp]:
    """What every call of a plain function in its own file gives for a parameter."""
    function = step.statement.scope.function
    if function is None or function.owner is not None or not function.file.calls_of(function):
        yield UNKNOWN_ENDING
        return
    for call in function.file.calls_of(function):
        value = function.signature.bind(call.node).values.get(step.name)
        flow = flow_around(function.file, call.node)
        given = flow.argument(call.node, value) if value is not None else None
        if given is None or flow.scope is function:
            yield UNKNOWN_ENDING
        else:
            yield from _endings(_Place(given, path), depth + 1)


def _item(step: Step, path: Path, depth: int) -> Iterator[FinalOp]:
    """An element of a tuple, or a part of a tensor."""
    index: Path = ()
    try:
        index = (int(step.name),)
    except ValueError:
        if step.name or step.inputs[0].kind in ("tuple", "unknown"):
            yield UNKNOWN_ENDING
            return
    yield from _endings(_Place(step.inputs[0], index + path), depth + 1)


def _flat(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """The layers of a Sequential with those of the Sequentials in it."""
    found: list[Layer] = []
    for layer in layers:
        nested = layer.is_sequential and layer.children is not UNKNOWN
        found += _flat(layer.children) if nested else (layer,)  # type: ignore[arg-type]
    return tuple(found)


def _container(place: _Place, depth: int) -> Iterator[FinalOp]:
    *before, last = place.layers
    source = _Place(place.step, (), tuple(before))
    operation = Link(last, None).operation
    if not last.is_torch:
        module = last.module_class
        yield from _module(module, place.path, depth) if module else (UNKNOWN_ENDING,)
    elif operation in _MOVES:
        yield from _endings(source, depth)
    else:
        yield FinalOp(operation, Link(last, place.step, True), source)


def _module(module: ModuleClass, path: Path, depth: int) -> Iterator[FinalOp]:
    forward = module.find_method("forward")
    if forward is None or forward.owner is None or depth > _DEEPEST or _is_altered(module, forward):
        yield UNKNOWN_ENDING
        return
    yield from _function(forward, path, depth)


def _is_replaced_outside(step: Step) -> bool:
    """Whether who holds the model may have put another layer in this one's place."""
    function = step.statement.scope.function
    owner = function.owner if function is not None else None
    if not step.attribute or owner is None:
        return False
    files = owner.file.project.files_naming(owner.name, owner.file)
    return any(step.attribute in file.names_set_on_others for file in files)


def _is_altered(module: ModuleClass, forward: Function) -> bool:
    """Whether a module may give something else than its `forward` says.

    A class puts other layers into the place of those that an inherited `forward` calls; a hook
    changes what one gives.
    """
    if module.file.calls_named("register_forward_hook"):
        return True
    owner = forward.owner.module if forward.owner is not None else None
    flow = owner.flow(forward) if owner is not None and owner is not module else None
    if flow is None or forward.owner is None:
        return False
    below = module.lineage[: module.lineage.index(forward.owner)]
    modules = [definition.module for definition in below if definition.module is not None]
    names = {write.name for one in modules for write in one.own_writes}
    return any(step.attribute in names for step in flow.steps)


def _function(function: Function, path: Path, depth: int) -> Iterator[FinalOp]:
    owner = function.owner.module if function.owner is not None else None
    flow: Flow | None = owner.flow(function) if owner else function.file.flow(function)
    if flow is None or not flow.returns or function.is_generator or function.can_fall_off_end:
        yield UNKNOWN_ENDING
        return
    for step, _ in flow.returns:
        yield from _endings(_Place(step, path), depth + 1)


def _called(step: Step, node: ast.Call, path: Path, depth: int) -> Iterator[FinalOp]:
    """What `model(x)`, `self(x)`, `self.step(x)` or a function of the project returns."""
    at = step.statement
    around = at.scope.function
    owner = around.owner if around is not None else None
    own = around.self_name if around is not None and owner is not None else None
    function = node.func
    if isinstance(function, ast.Name) and function.id == own and owner is not None:
        yield from _module(owner.module, path, depth) if owner.module else (UNKNOWN_ENDING,)
        return
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        if function.value.id == own and owner is not None:
            method = owner.find_method(function.attr)
            yield from _function(method, path, depth + 1) if method else (UNKNOWN_ENDING,)
            return
        if function.attr == "forward":
            function = function.value
    file = at.scope.file
    target = file.resolve(function, at)
    if isinstance(target, Function):
        yield from _function(target, path, depth + 1)
        return
    layers = file.layers(function, at)
    if len(layers) == 1 and layers[0].is_sequential:
        children = layers[0].children
        if children is not UNKNOWN and len(step.inputs):
            yield from _endings(_Place(step.inputs[-1], path, _flat(children)), depth + 1)
            return
    module = layers[0].module_class if len(layers) == 1 else None
    if module is None and not layers:
        module = getattr(file.instance_of(function, at), "module", None)
    yield from _module(module, path, depth) if module is not None else (UNKNOWN_ENDING,)
