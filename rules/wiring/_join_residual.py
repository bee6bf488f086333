"""The fix of a residual block that adds nothing: its input, or what it kept of it, is added.

Where the block changes the channels or the resolution, a 1 x 1 convolution brings the input into
shape, written with the names that the block's own layers have for their sizes.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from archcheck.analysis.edits.syntax_edits import after, before, first_statement
from archcheck.core.finding import Edit, Fix
from archcheck.python.flow.steps import operation_of
from archcheck.python.names.unknown import UNKNOWN

from ._skips import projections

if TYPE_CHECKING:
    from archcheck.python import Flow, Function, Layer, ModuleClass, Step, Submodule

_ACTIVATIONS = frozenset(
    {"relu", "relu6", "gelu", "silu", "leaky_relu", "elu", "mish", "hardswish"}
)
_CONVOLUTIONS = frozenset({"Conv1d", "Conv2d", "Conv3d"})
_KEEP_SHAPE = _ACTIVATIONS | frozenset(
    "batch_norm layer_norm group_norm instancenorm1d instancenorm2d instancenorm3d dropout "
    "dropout1d dropout2d dropout3d identity sigmoid tanh".split()
)
_NAMES = ("identity", "shortcut", "residual")
_ATTRIBUTES = ("shortcut", "projection", "skip_projection")


def added(flow: Flow, name: str) -> Fix | None:
    """The fix that adds a kept value to what a function returns, before the last activation.

    None where the text leaves open how.
    """
    edit = _addition(flow, name)
    return Fix("unsafe", (edit,)) if edit is not None else None


def joined(module: ModuleClass) -> Fix | None:
    """The fix that adds the input of `forward` to its output, brought into shape if need be.

    None where the text leaves open how: several returns, several inputs, sizes without names.
    """
    flow = module.flow()
    function = flow.function if flow is not None else None
    if flow is None or function is None or module.initializer is None:
        return None
    given = [p for p in function.signature.without_first().parameters if p.default is None]
    if len(given) != 1:
        return None
    kept = given[0].name
    edits: list[Edit] = []
    if len(function.bindings.get(kept, ())) > 1:
        # The name means the result by the time that it is added.
        name = next((name for name in _NAMES if name not in function.bindings), None)
        edit = first_statement(module.file, function.node, f"{name} = {kept}")
        if name is None or edit is None:
            return None
        edits.append(edit)
        kept = name
    bridge = _bridge(module, flow, kept)
    edit = _addition(flow, bridge[0]) if bridge is not None else None
    if bridge is None or edit is None:
        return None
    return Fix("unsafe", (*edits, *bridge[1], edit))


def _addition(flow: Flow, term: str) -> Edit | None:
    """Add a term to what is returned, before the last activation."""
    file, body = flow.scope.file, getattr(flow.scope.node, "body", [])
    if len(flow.returns) != 1:
        return None
    returned = flow.returns[0][1]
    if not body or body[-1] is not returned or returned.value is None:
        return None
    value, place = returned.value, body[-1]
    if isinstance(value, ast.Name) and len(body) > 1:
        activated = _activated(flow, body[-2], value.id)
        if activated is not None:
            place, value = body[-2], activated
    elif isinstance(value, ast.Call):
        value = _operand(flow, value) or value
    if isinstance(value, ast.Name):
        if value.id == term:
            return None
        indent = file.lines[place.lineno - 1][: file.location(place).column - 1]
        if indent.strip():
            return None
        return before(file, place, f"{value.id} = {value.id} + {term}\n{indent}")
    return after(file, value, f" + {term}") if isinstance(value, ast.Call) else None


def _activated(flow: Flow, statement: ast.stmt, name: str) -> ast.expr | None:
    """What a statement `out = relu(…)` gives to its activation."""
    if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
        return None
    match statement.targets:
        case [ast.Name(id=target)] if target == name:
            return _operand(flow, statement.value)
    return None


def _operand(flow: Flow, call: ast.Call) -> ast.expr | None:
    """What an activation is applied to; None where the call is none."""
    step = flow.step_of(call)
    if step is None or step.operation not in _ACTIVATIONS:
        return None
    if step.kind == "method" and isinstance(call.func, ast.Attribute):
        return call.func.value
    return call.args[0] if call.args else None


def _bridge(module: ModuleClass, flow: Flow, kept: str) -> tuple[str, list[Edit]] | None:
    """What brings the kept input into the shape of the output, and the edits that build it."""
    unused = projections(module)
    if unused:
        return _through(unused[0], kept, module), []
    layers = _shaping(flow)
    if layers is None or not layers:
        return None
    sizes = _sizes(layers, module.initializer)
    if sizes is None:
        return None
    if sizes.is_kept:
        return kept, []
    attribute = next((name for name in _ATTRIBUTES if module.surely_lacks(name)), None)
    if attribute is None:
        return None
    edit = _projection(module, layers[0].layer, sizes, attribute)
    own = flow.function.self_name if flow.function is not None else "self"
    return (f"{own}.{attribute}({kept})", [edit]) if edit is not None else None


def _through(projection: Submodule, kept: str, module: ModuleClass) -> str:
    name = f"self.{projection.attribute}"
    writes = module.attributes.get(projection.attribute, ())
    if any(isinstance(w.value, ast.Constant) and w.value.value is None for w in writes):
        return f"({kept} if {name} is None else {name}({kept}))"
    return f"{name}({kept})"


# The sizes of a block -------------------------------------------------------------------------


class _Placed(NamedTuple):
    """A layer on the way from a block's input to its output.

    Attributes:
        owners: The layers of the project's own classes that it is in, the innermost last.
    """

    layer: Layer
    owners: tuple[Layer, ...]


class _Sizes(NamedTuple):
    """The expressions of what goes into a block, what comes out, and how it is strided."""

    inputs: str
    outputs: str
    strides: tuple[str, ...]

    @property
    def is_kept(self) -> bool:
        return self.inputs == self.outputs and not self.strides


def _shaping(flow: Flow) -> list[_Placed] | None:
    """The layers that change the shape on the only way through a function, in order; None where
    something else may change it."""
    return _on_the_way(flow, (), 3)


def _on_the_way(flow: Flow, owners: tuple[Layer, ...], depth: int) -> list[_Placed] | None:
    if len(flow.returns) != 1 or depth < 0:
        return None
    steps: list[Step] = []
    step: Step | None = flow.returns[0][0]
    while step is not None and step.kind != "input":
        steps.append(step)
        step = step.source
    if step is None:
        return None
    found: list[_Placed] = []
    for one in reversed(steps):
        if one.kind == "layer" and one.layer is not None:
            inner = _in_layer(one.layer, owners, depth)
            if inner is None:
                return None
            found += inner
        elif one.operation not in _KEEP_SHAPE:
            return None
    return found


def _in_layer(layer: Layer, owners: tuple[Layer, ...], depth: int) -> list[_Placed] | None:
    if layer.is_sequential:
        if layer.children is UNKNOWN or any(child.repeated for child in layer.children):
            return None
        found: list[_Placed] = []
        for child in layer.children:
            inner = _in_layer(child, owners, depth)
            if inner is None:
                return None
            found += inner
        return found
    if layer.class_name in _CONVOLUTIONS or layer.class_name == "Linear":
        return [_Placed(layer, owners)] if layer.is_torch else None
    module = layer.module_class
    if module is None:
        return [] if layer.is_torch and operation_of(layer) in _KEEP_SHAPE else None
    flow = module.flow()
    return _on_the_way(flow, (*owners, layer), depth - 1) if flow is not None else None


def _sizes(layers: Sequence[_Placed], initializer: Function | None) -> _Sizes | None:
    if initializer is None or len({placed.layer.class_name for placed in layers}) > 1:
        return None
    is_linear = layers[0].layer.class_name == "Linear"
    first, last = ("in_features", "out_features") if is_linear else ("in_channels", "out_channels")
    inputs = _named(layers[0].layer.expression(first), layers[0], initializer)
    outputs = _named(layers[-1].layer.expression(last), layers[-1], initializer)
    strides = []
    for placed in () if is_linear else layers:
        if not _keeps_grid(placed.layer):
            return None
        stride = placed.layer.expression("stride")
        if stride is not None:
            text = _named(stride, placed, initializer)
            if text is None:
                return None
            if text != "1":
                strides.append(text)
    if inputs is None or outputs is None:
        return None
    return _Sizes(inputs, outputs, tuple(strides))


def _keeps_grid(layer: Layer) -> bool:
    """Whether a convolution changes the spatial sizes by its stride alone."""
    kernel, padding = layer.argument("kernel_size"), layer.argument("padding")
    dilation = layer.argument("dilation")
    if padding == "same":
        return True
    if not isinstance(kernel, int) or not isinstance(padding, int) or not isinstance(dilation, int):
        return False
    return 2 * padding == dilation * (kernel - 1)


def _named(expression: ast.expr | None, placed: _Placed, initializer: Function) -> str | None:
    """An expression of a layer's constructor as the block's own `__init__` would write it."""
    layer, owners = placed.layer, placed.owners
    at, given = layer.statement, layer.given
    for _ in range(8):
        if expression is None:
            return None
        if isinstance(expression, ast.Constant):
            return repr(expression.value)
        if at.scope is initializer:
            return _text(expression, initializer)
        if not isinstance(expression, ast.Name):
            return None
        if given is not None and expression.id in given:
            found = given[expression.id]
            expression, at, given = found.expression, found.statement, found.arguments
            continue
        if not owners or at.scope.function is None:
            return None
        *rest, owner = owners
        parameter = owner.signature.by_name.get(expression.id) if owner.signature else None
        default = parameter.default if parameter is not None else None
        expression = owner.expression(expression.id) or default
        owners, at, given = tuple(rest), owner.statement, owner.given
    return None


def _text(expression: ast.expr, initializer: Function) -> str | None:
    """The text of a name, where it means the same all through the constructor."""
    if isinstance(expression, ast.Name):
        bound = initializer.bindings.get(expression.id, ())
        return expression.id if len(bound) == 1 else None
    if isinstance(expression, ast.Attribute) and isinstance(expression.value, ast.Name):
        own = expression.value.id == initializer.self_name
        return initializer.file.text(expression) if own else None
    return None


def _projection(module: ModuleClass, model: Layer, sizes: _Sizes, attribute: str) -> Edit | None:
    """The statements at the end of `__init__` that build a projection, like one of its layers."""
    initializer = module.initializer
    if initializer is None or not isinstance(model.node, ast.Call):
        return None
    maker = model.file.text(model.node.func)
    package, dot, kind = maker.rpartition(".")
    if not dot or kind != model.class_name or model.file is not module.file:
        return None
    stride = " * ".join(sizes.strides)
    size = "" if kind == "Linear" else ", kernel_size=1"
    strided = f", stride={stride}" if stride else ""
    made = f"{maker}({sizes.inputs}, {sizes.outputs}{size}{strided}, bias=False)"
    conditions = [f"{text} != 1" for text in sizes.strides if not text.isdigit()]
    if sizes.inputs != sizes.outputs:
        conditions.append(f"{sizes.inputs} != {sizes.outputs}")
    numbers = [sizes.inputs, sizes.outputs, *sizes.strides]
    last = initializer.node.body[-1]
    at = module.file.location(last)
    indent = module.file.lines[at.line - 1][: module.file.location(last).column - 1]
    if indent.strip():
        return None
    own = initializer.self_name
    if all(text.isdigit() for text in numbers) or any(t.isdigit() for t in sizes.strides):
        return after(module.file, last, f"\n{indent}{own}.{attribute} = {made}")
    step = " " * 4 if "\t" not in indent else "\t"
    lines = (
        f"{own}.{attribute} = {package}.Identity()",
        f"if {' or '.join(conditions)}:",
        f"{step}{own}.{attribute} = {made}",
    )
    return after(module.file, last, "".join(f"\n{indent}{line}" for line in lines))
