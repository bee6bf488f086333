"""Tensors that a constructor keeps as plain attributes, neither parameters nor buffers."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from archcheck.analysis.module_classes import class_called
from archcheck.analysis.shapes.failures import node_at, source_file
from archcheck.analysis.source.weights import has_weights
from archcheck.python import AttributeWrite, ModuleClass, Project, SourceFile, Statement, Step

if TYPE_CHECKING:
    from archcheck.evidence.records import Op
    from archcheck.evidence.trace import Trace

# Functions that make a tensor of one or more dimensions on the CPU.
_MAKE = frozenset({
    f"torch.{name}"
    for name in ("tensor", "zeros", "ones", "full", "rand", "randn", "empty", "eye", "linspace",
                 "logspace", "arange", "tril", "triu", "hamming_window", "hann_window",
                 "blackman_window", "bartlett_window", "kaiser_window", "tril_indices",
                 "triu_indices", "from_numpy", "as_tensor",
                 "randint", "randperm", "Tensor", "FloatTensor", "LongTensor")
})  # fmt: skip
# Those that take over what they are given, which may have no dimensions.
_TAKE = frozenset({"torch.tensor", "torch.Tensor", "torch.FloatTensor", "torch.LongTensor",
                   "torch.as_tensor"})  # fmt: skip
_TAKE_TENSORS = frozenset({"torch.tril", "torch.triu", "torch.from_numpy"})
# Functions and methods of a tensor that give a tensor in the same place.
_DERIVE = frozenset({
    "abs", "add", "bool", "clamp", "clone", "contiguous", "cos", "cumprod", "cumsum", "diag",
    "div", "double", "exp", "expand", "flatten", "flip", "float", "half", "int", "log", "log2",
    "long", "movedim", "mul", "neg", "outer", "permute", "pow", "reciprocal", "repeat",
    "repeat_interleave", "reshape", "roll", "rsqrt", "sigmoid", "sin", "softmax", "sqrt",
    "square", "squeeze", "sub", "t", "tanh", "transpose", "type", "unsqueeze", "view",
})  # fmt: skip
_NAMES = _DERIVE | {name.rpartition(".")[2] for name in _MAKE}
# Methods of a parameter that give a tensor which is none.
_UNMAKE = frozenset({
    "clone", "cuda", "detach", "expand", "permute", "repeat", "reshape", "squeeze", "t",
    "transpose", "unsqueeze", "view", "mul", "div", "half", "double", "bfloat16",
})  # fmt: skip
_OWN_WAYS = frozenset({"_apply", "to", "cuda", "__setattr__", "__getattr__", "state_dict"})
_SHAPING = frozenset({"view", "reshape", "unsqueeze", "expand", "flatten", "repeat"})
_ARITHMETIC = frozenset({"+", "-", "*", "/", "@", "**"})
_COMBINE = frozenset({
    "add", "addmm", "bmm", "cat", "conv1d", "conv2d", "conv3d", "conv_transpose1d",
    "conv_transpose2d", "conv_transpose3d", "div", "einsum", "embedding", "linear", "matmul", "mm",
    "mul", "stack", "sub", "where",
})  # fmt: skip
# Ops that want all their tensors on one device.
_MEET = frozenset({*_COMBINE, "rsub", "pow", "true_divide", "embedding"})


class PlainTensor(NamedTuple):
    """A tensor in an attribute that nothing registers.

    Attributes:
        write: Where the constructor sets it.
        was_parameter: An `nn.Parameter` was made, and then turned into something else.
        is_learned: It is meant to be trained.
    """

    module: ModuleClass
    write: AttributeWrite
    was_parameter: bool = False
    is_learned: bool = False


def plain_tensors(module: ModuleClass) -> Iterator[PlainTensor]:
    """The tensors that certainly stay behind when the module moves, and that forward needs; and
    the parameters that are none any more."""
    file = module.file
    for write in module.own_writes:
        if write.kind != "assign" or write.function is None or write.value is None:
            continue
        is_lost = _lost_parameter(file, write.value, write.statement)
        made = is_lost or _is_made_here(file, write.value, write.statement)
        if not made or write.function not in module.initializing:
            continue
        if not _is_the_only_way(module, write):
            continue
        if is_lost:
            yield PlainTensor(module, write, was_parameter=True, is_learned=True)
        elif _is_computed_with(module, write.name):
            yield PlainTensor(module, write, is_learned=_wants_gradient(write.value))


def tensors_on_the_cpu(trace: Trace, project: Project) -> Iterator[PlainTensor]:
    """The same, seen in a pass: tensors that meet those of the model, and lie on the CPU."""
    seen: set[ast.AST] = set()
    for op in trace.ops:
        if op.name not in _MEET or op.location is None or op.call is None:
            continue
        values = [trace.values[index] for index in op.inputs]
        here = [
            v for v in values
            if v.kind == "constant" and v.producer is None and v.device == "cpu" and v.shape
        ]  # fmt: skip
        if not here or not any(value.device != "cpu" for value in values):
            continue
        module = class_called(trace.calls[op.call], trace, project)
        write = _attribute_read(module, op, project) if module is not None else None
        if module is None or write is None or write.node in seen:
            continue
        seen.add(write.node)
        yield PlainTensor(module, write, is_learned=here[0].requires_grad)


def _attribute_read(module: ModuleClass, op: Op, project: Project) -> AttributeWrite | None:
    """The one attribute of plain value that an op's expression reads, where it is set."""
    assert op.location is not None
    file = source_file(project, op.location)
    node = node_at(file, op.location) if file is not None else None
    if node is None:
        return None
    names = {
        part.attr
        for part in ast.walk(node)
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name)
        and part.value.id == "self"
    }  # fmt: skip
    starting = module.initializing
    found = [
        writes[0]
        for name in names
        if (writes := module.attributes.get(name, ()))
        and len(writes) == 1
        and writes[0].kind == "assign"
        and writes[0].function in starting
        and module.layer(name) is None
        and (
            writes[0].value is None
            or not _is_parameter(module.file, writes[0].value, writes[0].statement)
        )
    ]
    if len(found) != 1 or not _is_the_only_way(module, found[0]):
        return None
    value = found[0].value
    made = value is not None and file is not None and isinstance(value, ast.Call)
    return found[0] if made else None


def _is_the_only_way(module: ModuleClass, write: AttributeWrite) -> bool:
    """Whether nothing else registers, replaces or moves the tensor."""
    if module.has_dynamic_attributes or any(_OWN_WAYS & d.methods.keys() for d in module.lineage):
        return False
    if write.owner.is_certain is False and module.definition.is_certain is False:
        return False
    return all(
        other is write or other.kind == "annotation" or _goes_on_from_itself(other)
        for other in module.attributes[write.name]
    ) and not any(
        write.name in subclass.definition.bindings
        or write.name in {other.name for other in subclass.own_writes}
        for subclass in module.subclasses
    )


def _goes_on_from_itself(write: AttributeWrite) -> bool:
    """Whether a running value is updated: `self.mean = 0.9 * self.mean + 0.1 * …`."""
    if write.kind != "assign" or not isinstance(write.value, ast.BinOp):
        return False
    read = {part.attr for part in ast.walk(write.value) if isinstance(part, ast.Attribute)}
    return write.name in read and not read & {"to", "cuda", "cpu", "type_as", "device"}


def _is_made_here(file: SourceFile, value: ast.expr, at: Statement, depth: int = 0) -> bool:
    """Whether an expression certainly is a tensor with dimensions, made on the CPU."""
    if depth > 8:
        return False
    match value:
        case ast.Name():
            bindings = [b for b in at.scope.bindings.get(value.id, []) if b.kind != "augmented"]
            if len(bindings) != 1 or bindings[0].kind != "assign" or bindings[0].path:
                return False
            inner = bindings[0].value
            return inner is not None and _is_made_here(
                file, inner, bindings[0].statement, depth + 1
            )
        case ast.BinOp():
            return any(
                _is_made_here(file, side, at, depth + 1) for side in (value.left, value.right)
            ) and not any(isinstance(side, ast.Attribute) for side in (value.left, value.right))
        case ast.UnaryOp(op=ast.USub() | ast.Invert()):
            return _is_made_here(file, value.operand, at, depth + 1)
        case ast.Subscript():
            # `table[0]` may have no dimensions left.
            return _keeps_a_dimension(value.slice) and _is_made_here(
                file, value.value, at, depth + 1
            )
        case ast.Compare(left=left, comparators=[right]):
            return any(_is_made_here(file, side, at, depth + 1) for side in (left, right))
        case ast.Attribute(attr="T" | "mT"):
            return _is_made_here(file, value.value, at, depth + 1)
        case ast.Call():
            return _call_makes(file, value, at, depth)
    return False


def _keeps_a_dimension(index: ast.expr) -> bool:
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    return any(
        isinstance(part, ast.Slice)
        or (isinstance(part, ast.Constant) and part.value in (None, Ellipsis))
        for part in parts
    )


def _call_makes(file: SourceFile, call: ast.Call, at: Statement, depth: int) -> bool:
    if any(keyword.arg in ("device", None) for keyword in call.keywords):
        return False
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name not in _NAMES:
        return False
    dotted = file.dotted(call.func, at)
    if dotted in _MAKE:
        return _has_dimensions(dotted, call)
    if dotted is not None:
        # `float(table)` is Python's own, and a number.
        derives = dotted.startswith("torch.") and dotted.removeprefix("torch.") in _DERIVE
        return derives and bool(call.args) and _is_made_here(file, call.args[0], at, depth + 1)
    if isinstance(call.func, ast.Attribute) and call.func.attr in _DERIVE:
        return _is_made_here(file, call.func.value, at, depth + 1)
    return False


def _has_dimensions(dotted: str, call: ast.Call) -> bool:
    """A tensor without dimensions works on every device."""
    given = call.args or [keyword.value for keyword in call.keywords]
    if not given:
        return False
    if dotted in _TAKE:
        return isinstance(given[0], ast.List | ast.Tuple | ast.ListComp)
    if dotted in _TAKE_TENSORS:
        return True
    return not (isinstance(given[0], ast.Tuple | ast.List) and not given[0].elts)


def _lost_parameter(file: SourceFile, value: ast.expr, at: Statement) -> bool:
    """Whether an `nn.Parameter` is made and then turned into something else."""
    match value:
        case ast.Call(func=ast.Attribute(value=inner, attr=name)):
            if name in _UNMAKE:
                return _is_parameter(file, inner, at)
            if name == "to":
                given = [*value.args, *(keyword.value for keyword in value.keywords)]
                stays = any(isinstance(v, ast.Constant) and v.value == "cpu" for v in given)
                return _is_parameter(file, inner, at) and not stays
        case ast.BinOp():
            return _is_parameter(file, value.left, at) or _is_parameter(file, value.right, at)
    return False


def _is_parameter(file: SourceFile, value: ast.expr, at: Statement) -> bool:
    return isinstance(value, ast.Call) and file.dotted(value.func, at) == "torch.nn.Parameter"


def _wants_gradient(value: ast.expr) -> bool:
    return any(
        keyword.arg == "requires_grad"
        and isinstance(keyword.value, ast.Constant)
        and keyword.value.value is True
        for part in ast.walk(value)
        if isinstance(part, ast.Call)
        for keyword in part.keywords
    )


def _is_computed_with(module: ModuleClass, name: str) -> bool:
    """Whether forward computes with the tensor and its input, and never moves it."""
    uses = [
        use
        for definition in module.lineage
        if definition.module is not None
        for use in definition.module.uses
        if use.name == name and use.kind != "store"
    ]
    computing = set(module.computing)
    if any(use.rest and use.rest[0] not in _DERIVE for use in uses):
        return False
    found = False
    for method in {use.function for use in uses} & computing:
        flow = module.flow(method)
        if flow is None:
            return False
        for step in flow.steps:
            if step.kind == "constant" and step.name == f"self.{name}":
                for user in _reached(step):
                    if user.kind == "unknown" or user.operation in ("to", "type_as", "cuda"):
                        return False
                    found = found or _combines(user)
    return found


def _reached(step: Step) -> Iterator[Step]:
    """What is made from the tensor, up to where it meets another."""
    seen: set[Step] = set()
    waiting = list(step.users)
    while waiting:
        user = waiting.pop()
        if user in seen:
            continue
        seen.add(user)
        yield user
        if user.kind == "item" and not _surely_keeps_a_dimension(user):
            continue
        if user.kind in ("item", "attribute", "merge") or user.operation in _DERIVE:
            waiting += user.users


def _surely_keeps_a_dimension(item: Step) -> bool:
    """Whether what is taken out of a table is no single number, which works on every device."""
    node = item.node
    if not isinstance(node, ast.Subscript) or _keeps_a_dimension(node.slice):
        return True
    # A number cannot be viewed or indexed any further.
    return any(user.kind == "item" or user.operation in _SHAPING for user in item.users)


def _combines(step: Step) -> bool:
    """Whether an operation takes the tensor together with weights, or with something made from
    forward's input."""
    if step.kind == "layer" and step.layer is not None:
        return has_weights(step.layer)
    if not (
        (step.kind == "operator" and step.name in _ARITHMETIC)
        or (step.kind in ("function", "method") and step.operation in _COMBINE)
    ):
        return False
    return any(
        other.kind == "input" or any(before.kind == "input" for before in other.before())
        for inner in step.inputs
        for other in (inner.inputs if inner.kind == "tuple" else (inner,))
    )
