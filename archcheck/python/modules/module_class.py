"""ModuleClass: an nn.Module of the project, its attributes and its submodules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Final

from archcheck.core.finding import Location
from archcheck.python.modules.dynamic import reads_dynamically, sets_dynamically
from archcheck.python.modules.uses import AttributeWrite, SelfUse, Submodule, SuperCall
from archcheck.python.names.torch_names import CONTAINER_ATTRIBUTES, CONTAINERS, MODULE_ATTRIBUTES
from archcheck.python.names.unknown import UNKNOWN, Unknown

if TYPE_CHECKING:
    from archcheck.python.file import SourceFile
    from archcheck.python.flow.flow import Flow
    from archcheck.python.modules.classes import ClassDefinition
    from archcheck.python.modules.layer import Layer
    from archcheck.python.names.scope import Call, Function
    from archcheck.python.names.signature import Signature

_NO_MODULE: Final = frozenset({"register_buffer", "register_parameter", "augmented", "delete"})


class ModuleClass:
    """A class that certainly is an nn.Module.

    Attributes:
        definition: The class itself: bases, ancestors, methods, constructor.
    """

    def __init__(self, definition: ClassDefinition) -> None:
        self.definition = definition
        self.name = definition.name
        self.node = definition.node
        self.file: SourceFile = definition.file
        self._uses: dict[Function, tuple[SelfUse, ...]] = {}
        self._super_calls: dict[Function, tuple[SuperCall, ...]] = {}
        self._built_layers: dict[AttributeWrite, tuple[Layer, ...]] = {}
        self._layers: dict[str, tuple[Layer, ...] | Unknown] = {}

    def __repr__(self) -> str:
        return f"ModuleClass({self.name})"

    # The class ----------------------------------------------------------------------------

    @property
    def is_certain(self) -> bool:
        """Whether every base is known, so that nothing comes from where nobody can look."""
        return self.definition.is_certain

    @property
    def bases(self) -> tuple[ClassDefinition | str | Unknown, ...]:
        return self.definition.bases

    @property
    def lineage(self) -> tuple[ClassDefinition, ...]:
        """The class and its ancestors in the project, nearest first."""
        return self.definition.lineage

    @property
    def methods(self) -> dict[str, Function]:
        """Its own methods."""
        return self.definition.methods

    @property
    def constructor(self) -> Signature | None:
        """What its constructor takes, `self` left out; None if it is not certain."""
        return self.definition.constructor

    def find_method(self, name: str) -> Function | None:
        """See `ClassDefinition.find_method`."""
        return self.definition.find_method(name)

    def derives_from(self, *dotted: str) -> bool:
        """Whether one of these dotted names is among its bases, near or far."""
        return any(base in dotted for base in self.definition.outside_bases)

    @property
    def location(self) -> Location:
        """The name in its `class` statement."""
        return self.file.name_location(self.node)

    @cached_property
    def subclasses(self) -> tuple[ModuleClass, ...]:
        """The classes that derive from it, in this file and in those around it that name it."""
        subclasses = [
            found
            for file in self.file.project.files_naming(self.name, self.file)
            for found in file.modules
            if self.definition in found.definition.ancestors
        ]
        for found in subclasses:
            found.file.is_referred = found.file.is_referred or found.file is not self.file
        return tuple(subclasses)

    # Attributes ---------------------------------------------------------------------------

    @cached_property
    def own_methods(self) -> tuple[Function, ...]:
        """The functions of its body that take an instance, setters and duplicates included."""
        return tuple(f for f in self.definition.functions if f.self_name is not None)

    @cached_property
    def uses(self) -> tuple[SelfUse, ...]:
        """Every use of an attribute of `self` in its own methods, in source order."""
        return tuple(use for method in self.own_methods for use in self.uses_in(method))

    def uses_in(self, method: Function) -> tuple[SelfUse, ...]:
        """The uses of `self` in one method, functions nested in it included."""
        known = self._uses.get(method)
        if known is None:
            known = self._uses[method] = tuple(_uses_in(method))
        return known

    @cached_property
    def own_writes(self) -> tuple[AttributeWrite, ...]:
        """Every place in its own body that sets an attribute, in source order."""
        from archcheck.python.modules.writes import attribute_writes

        return attribute_writes(self.definition)

    @cached_property
    def writes(self) -> tuple[AttributeWrite, ...]:
        """Those of its ancestors in the project too, its own first."""
        from archcheck.python.modules.writes import attribute_writes

        return tuple(
            write
            for definition in self.lineage
            for write in (
                self.own_writes if definition is self.definition else attribute_writes(definition)
            )
        )

    @cached_property
    def attributes(self) -> dict[str, tuple[AttributeWrite, ...]]:
        """Every attribute that it or an ancestor in the project sets or declares, by name."""
        found: dict[str, list[AttributeWrite]] = {}
        for write in self.writes:
            found.setdefault(write.name, []).append(write)
        return {name: tuple(writes) for name, writes in found.items()}

    def surely_lacks(self, name: str) -> bool:
        """Whether no instance can have this attribute: every base is known, nothing sets
        attributes by computed names, no subclass and nobody outside sets it."""
        return not (
            name in MODULE_ATTRIBUTES
            or (name in CONTAINER_ATTRIBUTES and self.derives_from(*CONTAINERS))
            or name in self.attributes
            or (name.startswith("__") and name.endswith("__"))
            or not self.is_certain
            or self.has_dynamic_attributes
            or name in self.file.names_set_on_others
            or any(name in sub.attributes or not sub.is_certain for sub in self.subclasses)
            or self.file.project.sets_on_others(name, self.file)
        )

    @cached_property
    def has_dynamic_attributes(self) -> bool:
        """Whether attributes may be set whose names cannot be read: `setattr` with a computed
        name, `__getattr__`, `self.__dict__`, `self` handed to a function that may set them."""
        return any(sets_dynamically(definition) for definition in self.lineage)

    @cached_property
    def has_dynamic_reads(self) -> bool:
        """Whether attributes may be read without being named: `getattr` with a computed name,
        `self.children()`, `self.__dict__`, `self` handed on, a container as base."""
        return (
            not self.is_certain
            or self.derives_from(
                "torch.nn.Sequential", "torch.nn.ModuleList", "torch.nn.ModuleDict"
            )
            or any(reads_dynamically(definition) for definition in self.lineage)
        )

    def surely_never_reads(self, name: str) -> bool:
        """Whether nothing reads this attribute: no method of the class, its ancestors and its
        subclasses, and no code in files that speak of the class; neither by its name nor by
        computed names."""
        if name in self.definition.names_read or name in self.file.names_read_of_others:
            return False
        if self.has_dynamic_reads:
            return False
        if any(name in definition.names_read for definition in self.lineage):
            return False
        if any(
            sub.has_dynamic_reads or any(name in d.names_read for d in sub.lineage)
            for sub in self.subclasses
        ):
            return False
        files = self.file.project.files_naming(self.name, self.file)
        return not any(name in file.names_read_of_others for file in files)

    # Submodules ---------------------------------------------------------------------------

    @cached_property
    def submodules(self) -> tuple[Submodule, ...]:
        """What its own methods assign to attributes and certainly is a module, in source order;
        an attribute that is assigned twice is here twice."""
        found: list[Submodule] = []
        for write in self.own_writes:
            if write.function is None or write.kind in _NO_MODULE:
                continue
            layers = self._built(write)
            if layers:
                found.append(Submodule(write.name, layers[0], write, layers))
        return tuple(found)

    def _built(self, write: AttributeWrite) -> tuple[Layer, ...]:
        from archcheck.python.modules.containers import with_added
        from archcheck.python.modules.layers import Place

        value = write.value
        if not isinstance(value, ast.Call | ast.Name | ast.IfExp | ast.NamedExpr):
            return ()
        known = self._built_layers.get(write)
        if known is None:
            place = Place(write.statement)
            known = place.build(value)
            own = write.function.self_name if write.function is not None else None
            if own and len(known) == 1 and known[0].type in CONTAINERS:
                known = (with_added(known[0], (own, write.name), place),)
            self._built_layers[write] = known
        return known

    def layers_of(self, attribute: str) -> tuple[Layer, ...] | Unknown:
        """Every layer that an attribute may hold, whichever assignment wins (None aside);
        UNKNOWN if it may hold something else."""
        known = self._layers.get(attribute)
        if known is None:
            known = self._layers[attribute] = self._layers_of(attribute)
        return known

    def _layers_of(self, attribute: str) -> tuple[Layer, ...] | Unknown:
        found: list[Layer] = []
        for write in self.attributes.get(attribute, ()):
            if write.kind in ("annotation", "slots") or _is_none(write.value):
                continue
            layers = self._built(write)
            if not layers or write.kind not in ("assign", "add_module", "setattr", "unpack"):
                return UNKNOWN
            found += layers
        return tuple(found) if found else UNKNOWN

    def layer(self, attribute: str) -> Layer | None:
        """The layer that an attribute certainly holds, None where it is not certain."""
        layers = self.layers_of(attribute)
        return layers[0] if layers is not UNKNOWN and len(layers) == 1 else None

    def all_layers(self, depth: int = 6) -> tuple[Layer, ...]:
        """Every layer in it, those in containers and in submodules of the project included."""
        found: list[Layer] = []
        for definition in self.lineage:
            module = self if definition is self.definition else definition.module
            for submodule in module.submodules if module else ():
                for layer in submodule.alternatives:
                    found += layer.walk(depth)
        return tuple(found)

    # Methods ------------------------------------------------------------------------------

    @property
    def initializer(self) -> Function | None:
        """Its own `__init__`."""
        return self.methods.get("__init__")

    @property
    def forward(self) -> Function | None:
        """Its own `forward`."""
        return self.methods.get("forward")

    def super_calls(self, method: Function) -> tuple[SuperCall, ...]:
        """Every use of a base class in a method, in source order."""
        from archcheck.python.modules.writes import super_calls

        known = self._super_calls.get(method)
        if known is None:
            known = self._super_calls[method] = super_calls(method)
        return known

    def self_calls(self, method: Function) -> tuple[tuple[Function, Call], ...]:
        """The calls of the class's own methods in a method: `self._make_layer(…)`."""
        found: list[tuple[Function, Call]] = []
        for use in self.uses_in(method):
            called = self.find_method(use.name) if use.kind == "call" else None
            if called is not None:
                found.append((called, use.reference))  # type: ignore[arg-type]
        return tuple(found)

    @cached_property
    def initializing(self) -> tuple[Function, ...]:
        """`__init__` (its own or the nearest ancestor's) and the methods that it calls on self."""
        return self.reached_from("__init__")

    @cached_property
    def computing(self) -> tuple[Function, ...]:
        """`forward` and the methods that it calls on self, straight or through others."""
        return self.reached_from("forward")

    def reached_from(self, *names: str) -> tuple[Function, ...]:
        """These methods, as far as there are any, and those that they call on self."""
        found: dict[Function, None] = {}
        waiting = [start for name in names if (start := self.find_method(name)) is not None]
        while waiting:
            method = waiting.pop()
            if method not in found:
                found[method] = None
                waiting += [called for called, _ in self.self_calls(method)]
        return tuple(found)

    def flow(self, method: Function | None = None) -> Flow | None:
        """What a method (by default its own `forward`) does with its inputs, step by step."""
        from archcheck.python.flow.flow import flow_of

        chosen = method or self.forward
        return flow_of(chosen, self) if chosen is not None else None


def _uses_in(method: Function) -> Iterator[SelfUse]:
    name = method.self_name
    for scope in method.walk():
        # A nested function may have an instance of its own.
        if scope is not method and name in getattr(scope, "parameters", ()):
            continue
        for reference in scope.references:
            parts = reference.parts
            if parts[0] == name and len(parts) > 1:
                kind = reference.kind if len(parts) == 2 else "load"
                yield SelfUse(parts[1], parts[2:], kind, reference, method)


def _is_none(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is None
