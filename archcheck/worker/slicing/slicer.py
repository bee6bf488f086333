"""What a model depends on: the statements of its module that it needs, and no others.

Statements are followed from name to name: a statement that runs needs what it reads to be bound
before it; a function that may be called needs what its code reads by the time it is called.
Methods that nothing mentions are taken to be uncalled, so that a `fit` that reads a data loader
does not load the data; a name that turns out to be missing is added with `also`.
"""

from __future__ import annotations

import ast
import builtins
import copy
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from archcheck.worker.slicing.name_sets import Body, ChangeKind
from archcheck.worker.slicing.units import (
    DEFINITIONS,
    ModuleUnits,
    Unit,
    is_main_guard,
)

# Methods that torch, or a framework's base class, calls without the user's code mentioning them.
_ALWAYS_CALLED = frozenset(
    (
        *("forward", "reset_parameters", "train", "eval", "extra_repr", "setup", "build"),
        *("init_weights", "_init_weights", "_apply", "configure_model", "compute_output_shape"),
    )
)
# Names through which code can reach any other.
_REACHES_ALL = frozenset(("globals", "eval", "exec"))
# Built-in functions that a star import is likely to replace.
_OFTEN_REPLACED = frozenset(("abs", "all", "any", "max", "min", "pow", "round", "sum", "range"))
_BUILTINS = frozenset(dir(builtins)) | {"__file__", "__name__", "__doc__", "__spec__", "__path__"}


@dataclass(frozen=True, slots=True)
class Slice:
    """The statements that a name needs, in order.

    Attributes:
        statements: All of them, pruned, at their places in the file.
        values: Which of them (by their place) make values rather than definitions: running
            these again makes the values anew.
        settings: Which of them only set up the process.
        makes_value: What makes the name's own object is among the values.
        found: Whether anything binds the name.
        lines: Where the name is bound.
    """

    statements: tuple[ast.stmt, ...]
    values: frozenset[int]
    found: bool
    lines: tuple[int, ...] = ()
    settings: frozenset[int] = frozenset()
    makes_value: bool = False


def slice_for(
    units: ModuleUnits,
    name: str,
    *,
    line: int | None = None,
    step_by_step: bool = False,
    also: Collection[str] = (),
) -> Slice:
    """The statements that `name` needs.

    Args:
        line: Take the binding at or after this line instead of the last.
        step_by_step: The module is a document, read from its start: what the name needs is
            what stands above it, whatever is defined again below.
        also: Further names that are needed.
    """
    return _Slicer(units).run(name, line, step_by_step, also)


class _Slicer:
    def __init__(self, units: ModuleUnits) -> None:
        self.units = units
        self.included: set[Unit] = set()
        # What each unit needs at the moment that it runs.
        self.needs: defaultdict[Unit, set[Unit]] = defaultdict(set)
        self.attributes: set[str] = set()
        self.classes: list[Unit] = []
        self.called: set[int] = set()
        # Where the module ends for what is called later.
        self.horizon: int | None = None
        self._waiting: list[tuple[str, int | None]] = []
        self._asked: set[tuple[str, int | None]] = set()

    def run(self, name: str, line: int | None, step_by_step: bool, also: Collection[str]) -> Slice:
        places, horizon = self._target(name, line)
        if not places:
            return Slice((), frozenset(), found=False, lines=self._lines(name))
        if line is not None or step_by_step:
            self.horizon = horizon
        for unit in places:
            self._include(unit)
        for unit in self.units.all:
            if unit.setting and (self.horizon is None or unit.position < self.horizon):
                self._include(unit)
        for extra in also:
            self._want(extra, None)
        self._settle()
        values = self._values()
        statements: list[ast.stmt] = []
        value_places: set[int] = set()
        setting_places: set[int] = set()
        for unit in self.units.top:
            for statement in self._pruned(unit):
                if unit in values:
                    value_places.add(len(statements))
                if unit.setting:
                    setting_places.add(len(statements))
                statements.append(statement)
        return Slice(
            tuple(statements),
            frozenset(value_places),
            found=True,
            lines=self._lines(name),
            settings=frozenset(setting_places),
            makes_value=any(_outermost(unit) in values for unit in places),
        )

    def _lines(self, name: str) -> tuple[int, ...]:
        return tuple(unit.line for unit in self.units.binders.get(name, []))

    def _target(self, name: str, line: int | None) -> tuple[list[Unit], int]:
        """The units that make the target, and the position after which nothing matters to it."""
        units = self.units
        binders = [unit for unit in units.binders.get(name, []) if not unit.in_main]
        if line is not None:
            binders = [unit for unit in units.binders.get(name, []) if unit.line >= line][:1]
            if not binders:
                return [], 0
            start = binders[0].position
            end = next(
                (
                    unit.position
                    for unit in units.binders[name]
                    if unit.position > start and units.binds_definitely(unit, name)
                ),
                len(units.all),
            )
        else:
            if not binders:
                binders = list(units.binders.get(name, []))
            if not binders:
                stars = units.stars
                return stars, len(units.all)
            binders = self._living(binders, name)
            start, end = binders[0].position, len(units.all)
        changers = [
            unit
            for unit, kind in units.changers.get(name, [])
            if start < unit.position < end
            and self._counts(unit, name, kind)
            and (not unit.in_main or binders[-1].in_main)
        ]
        places = [*binders, *changers]
        return places, max(unit.end for unit in places)

    def _living(self, binders: list[Unit], name: str) -> list[Unit]:
        """Those whose value is not replaced for certain by a later one."""
        for place in range(len(binders) - 1, 0, -1):
            if self.units.binds_definitely(binders[place], name):
                return binders[place:]
        return binders

    def _counts(self, unit: Unit, name: str, kind: ChangeKind) -> bool:
        """Whether a change of a name's object matters."""
        if not self.units.is_import(name):
            return True
        if kind == "assign":
            # `np.float = float` mends a library; `optim.state = train()` is no such thing.
            value = getattr(unit.node, "value", None)
            return value is not None and not any(
                isinstance(part, ast.Call) for part in ast.walk(value)
            )
        # A registry's decorators fill it; other calls of imported things are what a slice is
        # there to leave out.
        return kind == "call" and isinstance(unit.node, DEFINITIONS)

    def _want(self, name: str, before: int | None, by: Unit | None = None) -> None:
        """Ask for a name: its value before a position, or (None) whenever code is called."""
        if by is not None:
            self.needs[by].update(self._state(name, before))
        if (name, before) not in self._asked:
            self._asked.add((name, before))
            self._waiting.append((name, before))

    def _settle(self) -> None:
        while self._waiting:
            name, before = self._waiting.pop()
            for unit in self._state(name, before):
                self._include(unit)
            if name in _REACHES_ALL and name not in self.units.binders:
                for unit in self.units.all:
                    if not unit.in_main and (unit.is_definition or _is_plain(unit.node)):
                        self._include(unit)

    def _state(self, name: str, before: int | None) -> list[Unit]:
        """The units that make a name's value."""
        units = self.units
        known = units.binders.get(name, [])
        if not known:
            if name in _BUILTINS and name not in _OFTEN_REPLACED:
                return []
            return [unit for unit in units.stars if not unit.in_main]
        limit = before
        if limit is None and self.horizon is not None:
            limit = self.horizon + 1
        outside = [unit for unit in known if not unit.in_main]
        usable = [unit for unit in outside if limit is None or unit.position < limit]
        in_time = bool(usable)
        usable = usable or outside or known
        if before is not None and in_time:
            usable = self._living(usable, name)
        elif before is None:
            usable = self._living_definitions(usable)
        first = usable[0].position
        found = list(usable)
        for unit, kind in units.changers.get(name, []):
            if (
                unit.position > first
                and (limit is None or not in_time or unit.position < limit)
                and (not unit.in_main or usable[-1].in_main)
                and self._counts(unit, name, kind)
            ):
                found.append(unit)
        return found

    def _living_definitions(self, binders: list[Unit]) -> list[Unit]:
        """Like `_living`, but a value stays: the code that reads it may run in between."""
        for place in range(len(binders) - 1, 0, -1):
            if isinstance(binders[place].node, DEFINITIONS) and binders[place].definite:
                earlier = [u for u in binders[:place] if not isinstance(u.node, DEFINITIONS)]
                return [*earlier, *binders[place:]]
        return binders

    def _include(self, unit: Unit) -> None:
        if unit in self.included:
            return
        self.included.add(unit)
        if unit.parent is not None:
            self._include(unit.parent)
            self.needs[unit].add(unit.parent)
        before = unit.position if unit.loop is None else unit.loop.end + 1
        for name in unit.uses.reads:
            self._want(name, before, by=unit)
        self._mention(unit.uses.attributes)
        if unit.uses.is_class:
            self.classes.append(unit)
            self._reach_methods(unit)
        else:
            for bodies in unit.uses.functions.values():
                self._call(bodies)
        if unit.loop is unit:
            for inner in unit.inside:
                if isinstance(inner.node, ast.Break | ast.Continue):
                    self._include(inner)

    def _mention(self, names: Iterable[str]) -> None:
        new = set(names) - self.attributes
        if not new:
            return
        self.attributes |= new
        for unit in list(self.classes):
            self._reach_methods(unit)

    def _reach_methods(self, unit: Unit) -> None:
        for method, bodies in unit.uses.functions.items():
            if (
                not method
                or (method.startswith("__") and method.endswith("__"))
                or method in _ALWAYS_CALLED
                or method in self.attributes
            ):
                self._call(bodies)
        if "__init_subclass__" in unit.uses.functions and isinstance(unit.node, ast.ClassDef):
            for other in self.units.all:
                if isinstance(other.node, ast.ClassDef) and any(
                    isinstance(base, ast.Name) and base.id == unit.node.name
                    for base in other.node.bases
                ):
                    self._include(other)

    def _call(self, bodies: Iterable[Body]) -> None:
        for body in bodies:
            if id(body) in self.called:
                continue
            self.called.add(id(body))
            for name in body.reads:
                self._want(name, None)
            self._mention(body.attributes)

    def _values(self) -> set[Unit]:
        """The top-level units that no definition needs in order to be made."""
        fixed: set[Unit] = set()
        waiting = [unit for unit in self.included if unit.is_definition or unit.setting]
        while waiting:
            unit = waiting.pop()
            if unit in fixed:
                continue
            fixed.add(unit)
            waiting += (needed for needed in self.needs[unit] if needed in self.included)
            if unit.parent is None:
                waiting += (inner for inner in unit.inside if inner in self.included)
        return {unit for unit in self.units.top if unit in self.included and unit not in fixed}

    def _pruned(self, unit: Unit) -> Iterator[ast.stmt]:
        """The statement with nothing in it that isn't needed."""
        if unit not in self.included:
            return
        if is_main_guard(unit.node):
            for name in ("body", "orelse"):
                for inner in unit.children.get(name, []):
                    yield from self._pruned(inner)
            return
        if not unit.children:
            yield unit.node
            return
        node = copy.copy(unit.node)
        for name, inside in unit.children.items():
            block = [statement for inner in inside for statement in self._pruned(inner)]
            if not block and name == "body":
                block = [ast.copy_location(ast.Pass(), inside[0].node)]
            setattr(node, name, block)
        yield node


def _outermost(unit: Unit) -> Unit:
    while unit.parent is not None:
        unit = unit.parent
    return unit


def _is_plain(node: ast.stmt) -> bool:
    """An assignment of literals, which runs nothing."""
    return isinstance(node, ast.Assign | ast.AnnAssign) and all(
        isinstance(
            part,
            ast.Constant
            | ast.List
            | ast.Tuple
            | ast.Dict
            | ast.Name
            | ast.expr_context
            | ast.UnaryOp
            | ast.unaryop
            | ast.Assign
            | ast.AnnAssign,
        )
        for part in ast.walk(node)
    )
