"""What a name means where it stands: through imports, aliases, and files of the project."""

from __future__ import annotations

import ast
import builtins
import sys
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from archcheck.python.names.sites import Binding, Statement
from archcheck.python.names.torch_names import SIGNATURES
from archcheck.python.names.unknown import UNKNOWN, Unknown

if TYPE_CHECKING:
    from archcheck.python.file import SourceFile
    from archcheck.python.modules.classes import ClassDefinition
    from archcheck.python.names.scope import Function, Scope

# A dotted name outside the project, a definition or a file of the project, or unknown.
Resolved: TypeAlias = "str | ClassDefinition | Function | SourceFile | Unknown"

_BUILTINS: Final = frozenset(dir(builtins))
# Roots of dotted names that are never a file of the project.
_OUTSIDE: Final = frozenset(
    {*sys.stdlib_module_names, "torch", "numpy", "torchvision", "torchaudio", "einops"}
)
_LIGHTNING: Final = ("pytorch_lightning", "lightning.pytorch", "lightning")
_DEEPEST: Final = 12
_SHALLOW: Final = 3
_MEANINGFUL: Final = frozenset({"import", "class", "function", "assign"})


def canonical(dotted: str) -> str:
    """One name for what torch offers under several: `torch.nn.modules.conv.Conv2d` is
    `torch.nn.Conv2d`, `lightning.pytorch.core.module.LightningModule` is
    `lightning.LightningModule`."""
    if dotted.startswith("torch."):
        if dotted.startswith(("torch.nn.modules.", "torch.nn.parameter.")):
            last = dotted.rpartition(".")[2]
            return f"torch.nn.{last}" if last[:1].isupper() else dotted
        if dotted.startswith("torch.optim.") and dotted.count(".") > 2:
            last = dotted.rpartition(".")[2]
            if last[:1].isupper() and not dotted.startswith("torch.optim.lr_scheduler."):
                return f"torch.optim.{last}"
        if dotted.startswith("torch.utils.data."):
            return f"torch.utils.data.{dotted.rpartition('.')[2]}"
        if dotted.startswith("torch.autograd.variable."):
            return f"torch.autograd.{dotted.rpartition('.')[2]}"
        return dotted
    if dotted.startswith(_LIGHTNING) and dotted.endswith((".LightningModule", ".Trainer")):
        return f"lightning.{dotted.rpartition('.')[2]}"
    return dotted


def reaching(name: str, at: Statement) -> tuple[Binding, ...]:
    """The bindings of a name that may be in force at a statement, the nearest first.

    Empty where no scope binds it. A name that a function reads from around it means, of several
    definitions, the last one above the function; but any later plain assignment may be in force
    when it runs, so those are in the answer too.
    """
    scope: Scope | None = at.scope
    statement = at
    inner = False
    while scope is not None:
        if not (inner and scope.kind == "class"):
            bindings = scope.bindings.get(name)
            if bindings is not None:
                found = _choose(bindings, statement, inner)
                if found and found[0].kind == "global":
                    return _global_bindings(name, at)
                if found:
                    return found
        if scope.statement is None:
            return ()
        statement = scope.statement
        scope = scope.parent
        inner = True
    return ()


def _global_bindings(name: str, at: Statement) -> tuple[Binding, ...]:
    return tuple(at.scope.file.scope.bindings.get(name, ()))


def _choose(bindings: list[Binding], at: Statement, inner: bool) -> tuple[Binding, ...]:
    if len(bindings) == 1:
        binding = bindings[0]
        if binding.within is not None and not _holds(binding.within, at):
            return ()
        return (binding,)
    visible = [b for b in bindings if b.within is None or _holds(b.within, at)]
    found: list[Binding] = []
    settled = False
    for binding in reversed(visible):
        place = binding.statement
        if place.index > at.index or (
            place.index == at.index
            and not inner
            and binding.kind not in ("walrus", "for", "parameter", "with", "except", "match")
        ):
            continue
        if binding.kind in ("annotation", "delete"):
            continue
        found.append(binding)
        if at.suite.is_within(place.suite.solid):
            settled = True
            break
    if not found:
        # Read above every definition: inside a function that runs later.
        return tuple(visible[:1]) if inner else tuple(visible)
    if inner:
        if found[0].kind in ("assign", "augmented"):
            found += [b for b in visible if b.statement.index > at.index]
    elif at.suite.loop is not None:
        # The end of a loop's body comes before its beginning.
        found += [
            b
            for b in visible
            if b.statement.index > at.index and b.statement.suite.loop is at.suite.loop
        ]
    if not settled and not inner and visible[0] not in found and visible[0].kind == "parameter":
        found.append(visible[0])
    return tuple(found)


def _holds(owner: ast.AST, at: Statement) -> bool:
    """Whether the statement is inside a comprehension or lambda."""
    return any(suite.owner is owner for suite in at.suite.outward())


def parts_of(expression: ast.expr) -> tuple[str, ...]:
    """The names of a dotted expression; the first is "" where its root is no name."""
    names: list[str] = []
    while isinstance(expression, ast.Attribute):
        names.append(expression.attr)
        expression = expression.value
    names.append(expression.id if isinstance(expression, ast.Name) else "")
    names.reverse()
    return tuple(names)


def resolve(expression: ast.expr, at: Statement, depth: int = 0) -> Resolved:
    """What a name or dotted expression means at a statement."""
    if isinstance(expression, ast.Name | ast.Attribute):
        return resolve_parts(parts_of(expression), at, depth)
    if isinstance(expression, ast.Subscript):
        # Generic[T], Base[int]
        return resolve(expression.value, at, depth + 1)
    return UNKNOWN


def dotted_of(expression: ast.expr, at: Statement) -> str | None:
    """The dotted name outside the project that an expression means, None if it means none."""
    if not isinstance(expression, ast.Name | ast.Attribute):
        return None
    found = resolve_parts(parts_of(expression), at)
    return found if isinstance(found, str) else None


def resolve_parts(parts: tuple[str, ...], at: Statement, depth: int = 0) -> Resolved:
    """See `resolve`; the expression is given by its names."""
    root = parts[0]
    if not root or depth > _DEEPEST:
        return UNKNOWN
    scope = at.scope
    if root not in scope.settled:
        scope.settled[root] = _settled(root, scope)
    only = scope.settled[root]
    if only is not None:
        if only.meanings is None:
            if only.kind not in _MEANINGFUL:
                return UNKNOWN
        elif parts in only.meanings:
            return only.meanings[parts]  # type: ignore[no-any-return]
        bindings: tuple[Binding, ...] = (only,)
    else:
        bindings = reaching(root, at)
    if not bindings:
        found = _unbound(root, at.scope.file)
        return _attributes(found, parts[1:], at.scope.file, depth)
    if len(bindings) > 1:
        return _attributes(_meaning(bindings, depth), parts[1:], at.scope.file, depth)
    binding = bindings[0]
    if binding.meanings is not None and parts in binding.meanings:
        return binding.meanings[parts]  # type: ignore[no-any-return]
    found = _attributes(_entity(binding, depth), parts[1:], at.scope.file, depth)
    if binding.meanings is not None and (found is not UNKNOWN or depth <= _SHALLOW):
        binding.meanings[parts] = found
    return found


def _settled(name: str, scope: Scope) -> Binding | None:
    """The one binding of a name around a scope, where `reaching` could find no other."""
    around: Scope | None = scope
    while around is not None:
        if around is scope or around.kind != "class":
            bindings = around.bindings.get(name)
            if bindings is not None:
                only = bindings[0]
                if len(bindings) > 1 or only.within is not None or only.kind == "global":
                    return None
                return only
        around = around.parent
    return None


def _meaning(bindings: tuple[Binding, ...], depth: int) -> Resolved:
    meanings: list[Resolved] = []
    for binding in bindings:
        if isinstance(binding.value, ast.Constant) and binding.value.value is None:
            # `torch = None` where an import failed: no model is built on that path.
            continue
        meaning = _entity(binding, depth)
        if meaning is UNKNOWN:
            return UNKNOWN
        if meaning not in meanings:
            meanings.append(meaning)
    return meanings[0] if len(meanings) == 1 else UNKNOWN


def _entity(binding: Binding, depth: int) -> Resolved:
    """What a binding alone makes its name mean."""
    if binding.meanings is None:
        if binding.kind not in _MEANINGFUL:
            return UNKNOWN
        binding.meanings = {}
    known = binding.meanings.get(())
    if known is None:
        # A name that is bound in terms of itself means nothing.
        binding.meanings[()] = UNKNOWN
        known = _looked_up(binding, depth)
        if known is UNKNOWN and depth > _SHALLOW:
            # Perhaps only because of how far the question had come already.
            del binding.meanings[()]
        else:
            binding.meanings[()] = known
    return known


def _looked_up(binding: Binding, depth: int) -> Resolved:
    file = binding.statement.scope.file
    match binding.kind:
        case "import":
            return _imported(binding, file, depth)
        case "class" | "function":
            found: Any = binding.statement.scope.children.get(binding.node, UNKNOWN)
            return found  # type: ignore[no-any-return]
        case "assign" if not binding.path and isinstance(binding.value, ast.Name | ast.Attribute):
            return resolve(binding.value, binding.statement, depth + 1)
    return UNKNOWN


def _imported(binding: Binding, file: SourceFile, depth: int) -> Resolved:
    dotted = binding.dotted
    if not binding.level:
        root = dotted.partition(".")[0]
        if root in _OUTSIDE:
            return canonical(dotted)
        if isinstance(binding.statement.node, ast.Import):
            # `import a.b` binds `a`; what stands after it is looked up as a whole.
            return dotted
    found = file.project.find(dotted, file, binding.level)
    if found is None:
        return canonical(dotted) if not binding.level else UNKNOWN
    target, rest = found
    return _attributes(target, rest, file, depth + 1)


def _attributes(found: Resolved, names: tuple[str, ...], file: SourceFile, depth: int) -> Resolved:
    """What `found.a.b` means."""
    for position, name in enumerate(names):
        if isinstance(found, str):
            dotted = ".".join((found, *names[position:]))
            if found.partition(".")[0] in _OUTSIDE:
                return canonical(dotted)
            place = file.project.find(dotted, file, 0)
            if place is None:
                return canonical(dotted)
            return _attributes(place[0], place[1], file, depth + 1)
        # Told apart by `kind`: this module is below those that define the classes.
        if found is UNKNOWN:
            return UNKNOWN
        inside: Any = found
        if inside.kind == "file":
            found = inside.exported(name, depth + 1)
        elif inside.kind == "class":
            bindings = inside.bindings.get(name)
            found = _entity(bindings[-1], depth + 1) if bindings else UNKNOWN
        else:
            return UNKNOWN
    return found


def _unbound(name: str, file: SourceFile) -> Resolved:
    """A name that no scope binds: from a star import, or a built-in."""
    if name in _BUILTINS:
        return name
    # The later of two wins. What an unknown one brings is not known to hide the others.
    for star in reversed(file.star_imports):
        found = _from_star(star, name, file)
        if found is not UNKNOWN:
            return found
    return UNKNOWN


def _from_star(star: Binding, name: str, file: SourceFile) -> Resolved:
    """What a star import makes a name mean."""
    if star.level == 0 and star.dotted in ("torch.nn", "torch.nn.modules"):
        is_torch = name in SIGNATURES or name in ("Module", "Parameter", "functional", "init")
        return f"torch.nn.{name}" if is_torch else UNKNOWN
    if star.level == 0 and star.dotted.partition(".")[0] in _OUTSIDE:
        return UNKNOWN
    imported = file.project.find_star(star.dotted, file, star.level, name)
    if imported is None or not imported[1]:
        return UNKNOWN
    return imported[0].exported(name, 1)
