"""Classes: their bases, their methods, and how they are constructed."""

from __future__ import annotations

import ast
from functools import cached_property
from typing import TYPE_CHECKING, Final

from archcheck.python.names.resolve import resolve
from archcheck.python.names.scope import Function, Scope
from archcheck.python.names.signature import Parameter, Signature, torch_signature
from archcheck.python.names.torch_names import CONTAINERS, SIGNATURES
from archcheck.python.names.unknown import UNKNOWN, Unknown

if TYPE_CHECKING:
    from archcheck.python.modules.module_class import ModuleClass

# Outside torch.nn: known to be modules, but not which attributes they bring.
_OPAQUE_MODULES: Final = frozenset({
    "torch.jit.ScriptModule", "lightning.LightningModule", "transformers.PreTrainedModel",
    "transformers.modeling_utils.PreTrainedModel", "torch.fx.GraphModule",
})  # fmt: skip
# Bases that add nothing that matters to an instance.
_HARMLESS: Final = frozenset({
    "object", "abc.ABC", "typing.Generic", "typing.Protocol", "typing_extensions.Generic",
    "typing_extensions.Protocol",
})  # fmt: skip
_HARMLESS_DECORATORS: Final = frozenset({
    "typing.final", "typing.no_type_check", "abc.ABC", "typing_extensions.final",
    "typing.runtime_checkable", "torch.jit.script",
})  # fmt: skip


class ClassDefinition(Scope):
    """A class of the project; its own statements are those of a scope."""

    kind = "class"
    node: ast.ClassDef

    @property
    def line(self) -> int:
        return self.node.lineno

    @cached_property
    def bases(self) -> tuple[ClassDefinition | str | Unknown, ...]:
        """Its bases: a class of the project, a dotted name outside it, or unknown."""
        found: list[ClassDefinition | str | Unknown] = []
        for expression in self.node.bases:
            base = resolve(expression, self.statement) if self.statement else UNKNOWN
            known = isinstance(base, str) or (
                isinstance(base, ClassDefinition) and base is not self
            )
            found.append(base if known else UNKNOWN)  # type: ignore[arg-type]
        return tuple(found)

    @cached_property
    def ancestors(self) -> tuple[ClassDefinition, ...]:
        """The project's classes that it derives from, nearest first, itself not among them."""
        found: dict[ClassDefinition, None] = {}
        waiting = [base for base in self.bases if isinstance(base, ClassDefinition)]
        while waiting:
            base = waiting.pop(0)
            if base is not self and base not in found:
                found[base] = None
                waiting[:0] = [b for b in base.bases if isinstance(b, ClassDefinition)]
        return tuple(found)

    @property
    def lineage(self) -> tuple[ClassDefinition, ...]:
        """The class itself and its ancestors."""
        return (self, *self.ancestors)

    @cached_property
    def outside_bases(self) -> tuple[str | Unknown, ...]:
        """The bases outside the project, of itself and of its ancestors; unknown ones too."""
        return tuple(
            base
            for definition in self.lineage
            for base in definition.bases
            if not isinstance(base, ClassDefinition)
        )

    @cached_property
    def is_module(self) -> bool:
        """Whether it certainly derives from nn.Module."""
        return self._derives(frozenset())

    def _derives(self, above: frozenset[ClassDefinition]) -> bool:
        for base in self.bases:
            if isinstance(base, str):
                if is_torch_module(base) or base in _OPAQUE_MODULES:
                    return True
            elif isinstance(base, ClassDefinition) and base not in above:
                inside = above | {self}
                if base._derives(inside):
                    return True
        return False

    @cached_property
    def is_certain(self) -> bool:
        """Whether every base is known, up to nn.Module and the like, with what it brings."""
        return (
            all(
                isinstance(base, str)
                and (base in _HARMLESS or (is_torch_module(base) and base in _PLAIN_BASES))
                for base in self.outside_bases
            )
            and not any(definition.node.keywords for definition in self.lineage)
            and not any(definition._is_changed for definition in self.lineage)
        )

    @cached_property
    def _is_changed(self) -> bool:
        """Whether a decorator may change what the class is."""
        for name in self.decorators:
            if name is UNKNOWN or not (name in _HARMLESS_DECORATORS or _is_dataclass(name)):
                return True
        return False

    @cached_property
    def decorators(self) -> tuple[str | Unknown, ...]:
        """The dotted names of its decorators."""
        found: list[str | Unknown] = []
        for decorator in self.node.decorator_list:
            expression = decorator.func if isinstance(decorator, ast.Call) else decorator
            name = resolve(expression, self.statement) if self.statement else UNKNOWN
            found.append(name if isinstance(name, str) else UNKNOWN)
        return tuple(found)

    @cached_property
    def is_dataclass(self) -> bool:
        return any(isinstance(name, str) and _is_dataclass(name) for name in self.decorators)

    @cached_property
    def module(self) -> ModuleClass | None:
        """The class as an nn.Module; None if it is not certain to be one."""
        from archcheck.python.modules.module_class import ModuleClass

        return ModuleClass(self) if self.is_module else None

    @cached_property
    def methods(self) -> dict[str, Function]:
        """The methods that its own body defines; of several of one name, the last."""
        return {function.name: function for function in self.functions}

    def find_method(self, name: str) -> Function | None:
        """The method of this name, its own or the nearest ancestor's.

        None does not say that there is none, unless `is_certain`.
        """
        for definition in self.lineage:
            if name in definition.methods:
                return definition.methods[name]
        return None

    @cached_property
    def names_read(self) -> frozenset[str]:
        """The attributes of `self` that its own methods read, augmented assignments included."""
        found: set[str] = set()
        for method in self.functions:
            name = method.self_name or (method.parameters[0] if method.parameters else "")
            for scope in method.walk():
                for reference in scope.references:
                    parts = reference.parts
                    reads = len(parts) > 2 or reference.kind in ("load", "call")
                    if reads and parts[0] == name and len(parts) > 1:
                        found.add(parts[1])
                for node, _ in scope.nodes(ast.AugAssign):
                    target = node.target  # type: ignore[attr-defined]
                    if isinstance(target, ast.Attribute):
                        found.add(target.attr)
        return frozenset(found)

    @cached_property
    def constructor(self) -> Signature | None:
        """What calling the class takes, `self` left out; None if it is not certain."""
        seen: list[ClassDefinition] = []
        for definition in self.lineage:
            if (
                definition._is_changed
                or definition.node.keywords
                or "__new__" in definition.methods
            ):
                return None
            if definition.is_dataclass:
                return definition._fields()
            initializer = definition.methods.get("__init__")
            if initializer is not None:
                same_name = [f for f in definition.functions if f.name == "__init__"]
                if initializer.decorators or len(same_name) > 1 or initializer.is_static:
                    return None
                if "__init__" in definition.bindings and len(definition.bindings["__init__"]) > 1:
                    return None
                return initializer.signature.without_first()
            if "__init__" in definition.bindings:
                return None
            seen.append(definition)
            # What stands to the right of an unknown base may not be what is called.
            for base in definition.bases:
                if isinstance(base, ClassDefinition):
                    break
                if not isinstance(base, str):
                    return None
                if base == "torch.nn.Module":
                    return Signature.parse("") if len(definition.bases) == 1 else None
                if is_torch_module(base):
                    return torch_signature(base)
                if base not in _HARMLESS:
                    return None
        return None

    def _fields(self) -> Signature | None:
        """The constructor that `@dataclass` makes, where the class has no other base with one."""
        if any(base.is_dataclass or "__init__" in base.methods for base in self.ancestors):
            return None
        found = []
        for statement in self.statements:
            node = statement.node
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                if isinstance(node.value, ast.Call):
                    return None
                found.append(Parameter(node.target.id, "either", node.value))
        if "__init__" in self.methods:
            return self.methods["__init__"].signature.without_first()
        return Signature(found)


_PLAIN_BASES: Final = frozenset({"torch.nn.Module", *CONTAINERS})


def is_torch_module(dotted: str) -> bool:
    """Whether a dotted name is nn.Module or one of the layers, containers and losses of torch."""
    name = dotted.removeprefix("torch.nn.")
    return dotted == "torch.nn.Module" or (name != dotted and name in SIGNATURES)


def _is_dataclass(name: str) -> bool:
    return name in ("dataclasses.dataclass", "dataclass")
