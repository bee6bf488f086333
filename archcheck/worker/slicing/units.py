"""The statements of a module as a slicer sees them: who binds a name, who changes its object."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from archcheck.worker.slicing.name_sets import Body, Call, ChangeKind, Uses, dotted_name
from archcheck.worker.slicing.statement_names import uses

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
IMPORTS = (ast.Import, ast.ImportFrom)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
# Their statements can be needed one by one; all other statements are needed whole or not at all.
# A `try` is whole: which of its branches runs tells whether a package is there.
_DIVISIBLE = (ast.If, ast.With, ast.AsyncWith, *_LOOPS)

# Calls and assignments that what follows may depend on, whatever names it uses.
_SETTING_CALLS = (
    *("sys.path.append", "sys.path.insert", "sys.path.extend", "site.addsitedir"),
    *("os.environ.setdefault", "os.environ.update"),
    *("torch.set_default_dtype", "torch.set_default_tensor_type"),
)
_SETTING_TARGETS = ("sys.path", "os.environ")
# What gives torch an operator, which code then reaches by `torch.ops` and no name of the module.
_OPERATOR_DECORATORS = frozenset(
    ("custom_op", "triton_op", "impl_abstract", "register_fake", "register_kernel")
)
_LIBRARY_METHODS = frozenset(("define", "impl", "fallback", "_register_fake"))


@dataclass(eq=False, slots=True)
class Unit:
    """A statement of a module, or of a block at the level of the module.

    Attributes:
        position: Its place in the order of all units.
        end: The last position of the units in it.
        parent: The compound statement that it stands in.
        loop: The outermost loop that it stands in, or is.
        uses: What it does with the module's names; of a compound statement, its head.
        definite: It runs whenever the module does.
        in_main: It runs only when the file is run as a script.
        children: The units of a compound statement, by the field that they stand in.
        setting: It sets up the process rather than names, such as `sys.path`.
    """

    node: ast.stmt
    position: int
    parent: Unit | None
    loop: Unit | None
    uses: Uses
    definite: bool
    in_main: bool
    end: int = 0
    children: dict[str, list[Unit]] = field(default_factory=dict)
    setting: bool = False

    @property
    def line(self) -> int:
        """The first line, decorators included."""
        decorators: list[ast.expr] = getattr(self.node, "decorator_list", [])
        return min((self.node.lineno, *(decorator.lineno for decorator in decorators)))

    @property
    def is_definition(self) -> bool:
        """It makes classes or functions, or imports them."""
        if isinstance(self.node, ast.Try):
            return any(isinstance(part, (*DEFINITIONS, *IMPORTS)) for part in ast.walk(self.node))
        return isinstance(self.node, (*DEFINITIONS, *IMPORTS))

    @property
    def inside(self) -> Iterator[Unit]:
        for units in self.children.values():
            for unit in units:
                yield unit
                yield from unit.inside


class ModuleUnits:
    """All units of a module, and who binds and changes which name."""

    def __init__(self, tree: ast.Module) -> None:
        self.all: list[Unit] = []
        self.binders: defaultdict[str, list[Unit]] = defaultdict(list)
        self.changers: defaultdict[str, list[tuple[Unit, ChangeKind]]] = defaultdict(list)
        self.functions: defaultdict[str, list[Body]] = defaultdict(list)
        self.lazy_annotations = any(
            isinstance(node, ast.ImportFrom)
            and node.module == "__future__"
            and any(alias.name == "annotations" for alias in node.names)
            for node in tree.body
        )
        self.top = self._units(tree.body, None, definite=True, in_main=False)
        self._aliases: dict[str, str] = {}
        for unit in self.all:
            self._aliases.update(unit.uses.aliases)
            if isinstance(unit.node, ast.FunctionDef | ast.AsyncFunctionDef):
                self.functions[unit.node.name] += unit.uses.functions.get(unit.node.name, [])
        for unit in self.all:
            self._index(unit)

    @property
    def names_read(self) -> set[str]:
        """Every module name that anything in the module reads."""
        found: set[str] = set()
        for unit in self.all:
            found |= unit.uses.reads
            for bodies in unit.uses.functions.values():
                for body in bodies:
                    found |= body.reads
        return found

    @property
    def stars(self) -> list[Unit]:
        return [unit for unit in self.all if unit.uses.star]

    @property
    def settings(self) -> list[Unit]:
        return [unit for unit in self.all if unit.setting]

    def _units(
        self, body: Sequence[ast.stmt], parent: Unit | None, *, definite: bool, in_main: bool
    ) -> list[Unit]:
        return [self._unit(node, parent, definite=definite, in_main=in_main) for node in body]

    def _unit(self, node: ast.stmt, parent: Unit | None, *, definite: bool, in_main: bool) -> Unit:
        divisible = isinstance(node, _DIVISIBLE)
        parts = _head(node) if divisible else [node]
        unit = Unit(
            node,
            len(self.all),
            parent,
            parent.loop if parent is not None else None,
            uses(parts, lazy_annotations=self.lazy_annotations),
            definite,
            in_main,
            setting=not in_main and _is_setting(node),
        )
        if isinstance(node, _LOOPS) and unit.loop is None:
            unit.loop = unit
        self.all.append(unit)
        main = is_main_guard(node)
        if main:
            # Its test is never evaluated.
            unit.uses = Uses()
        if divisible:
            for name in ("body", "orelse"):
                block = getattr(node, name, None)
                if block:
                    unit.children[name] = self._units(
                        block,
                        unit,
                        definite=definite and (main or isinstance(node, ast.With | ast.AsyncWith)),
                        in_main=in_main or (main and name == "body"),
                    )
        unit.end = len(self.all) - 1
        return unit

    def _index(self, unit: Unit) -> None:
        for name in unit.uses.binds:
            self.binders[name].append(unit)
        for name, kind in unit.uses.changes.items():
            self._note_change(unit, name, kind)
        for call in unit.uses.calls:
            for body in self.functions.get(call.function, ()):
                self._index_call(unit, call, body)

    def _index_call(self, unit: Unit, call: Call, body: Body) -> None:
        """A call of a function of the module does what the function's code does."""
        kind: ChangeKind = "decorator" if call.decorates else "call"
        for name in body.changes:
            self._note_change(unit, name, kind)
        if call.decorates:
            return
        for name in body.binds:
            self.binders[name].append(unit)
        given = dict(call.keywords)
        given.update(
            (parameter, argument)
            for parameter, argument in zip(body.parameters, call.arguments, strict=False)
            if argument is not None
        )
        for parameter in body.changed_parameters & set(given):
            self._note_change(unit, given[parameter], kind)

    def _note_change(self, unit: Unit, name: str, kind: ChangeKind) -> None:
        noted: set[str] = set()
        while name not in noted:
            noted.add(name)
            self.changers[name].append((unit, kind))
            name = self._aliases.get(name, name)

    def binds_definitely(self, unit: Unit, name: str) -> bool:
        """Whether nothing remains of the name's earlier value once the unit has run."""
        if not unit.definite or name not in unit.uses.binds:
            return False
        if isinstance(unit.node, ast.Import):
            # `import a.b` adds to what `import a` bound.
            return not any(
                alias.asname is None and alias.name.startswith(f"{name}.")
                for alias in unit.node.names
            )
        return isinstance(
            unit.node, (ast.Assign, ast.AnnAssign, ast.ImportFrom, ast.Try, *DEFINITIONS)
        )

    def is_import(self, name: str) -> bool:
        """Whether nothing but imports binds the name."""
        units = self.binders.get(name, [])
        return bool(units) and all(isinstance(unit.node, IMPORTS) for unit in units)


def is_main_guard(node: ast.stmt) -> bool:
    """`if __name__ == "__main__":`"""
    if not isinstance(node, ast.If):
        return False
    match node.test:
        case ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]):
            sides = [left, right]
            return any(isinstance(s, ast.Name) and s.id == "__name__" for s in sides) and any(
                isinstance(s, ast.Constant) and s.value == "__main__" for s in sides
            )
        case _:
            return False


def _head(node: ast.stmt) -> list[ast.AST]:
    """The parts of a compound statement that are no statements."""
    return [child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.stmt)]


def _is_setting(node: ast.stmt) -> bool:
    match node:
        case ast.Expr(value=ast.Call(func=function)):
            name = dotted_name(function) or ""
            registers = "regist" in name.rpartition(".")[2] and not name.startswith("atexit.")
            return registers or name in _SETTING_CALLS or _makes_operator(node.value)
        case ast.FunctionDef(decorator_list=decorators):
            return any(_makes_operator(decorator) for decorator in decorators)
        case ast.Assign(targets=[target]) | ast.AugAssign(target=target):
            place = target.value if isinstance(target, ast.Subscript) else target
            return dotted_name(place) in _SETTING_TARGETS
        case _:
            return False


def _makes_operator(node: ast.expr) -> bool:
    """Whether a call, or a decorator, gives torch an operator or a kernel."""
    match node:
        case ast.Call(func=function, args=[ast.Constant(value=str()), *_]):
            name = dotted_name(function) or ""
            last = name.rpartition(".")[2]
            of_library = last in _LIBRARY_METHODS and "." in name
            return of_library or last in _OPERATOR_DECORATORS or name == "torch.ops.load_library"
        case _:
            return False
