"""Steps: one value in a function, what made it, and what it computes."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from archcheck.core.finding import Location
from archcheck.python.names.fold import fold
from archcheck.python.names.scope import argument_of
from archcheck.python.names.sites import Statement
from archcheck.python.names.unknown import Unknown

if TYPE_CHECKING:
    from archcheck.python.modules.layer import Layer

StepKind: TypeAlias = Literal[
    "input", "layer", "function", "method", "operator", "tuple", "item", "attribute", "constant",
    "merge", "unknown",
]  # fmt: skip
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


def operation_of(layer: Layer) -> str:
    """The functional name of a torch layer (`relu` of ReLU), "" for the project's classes."""
    if not layer.is_torch:
        return ""
    name = layer.class_name
    return _FUNCTIONAL.get(name, name.lower())
