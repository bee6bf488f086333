"""The constructor of a module never calls that of its base class.

What it does
------------
Looks for an `__init__` of an `nn.Module` subclass that calls neither `super().__init__()` nor the
base's `__init__` by name, itself or through the methods that it calls; likewise a dataclass
whose `__post_init__` does not. A constructor that only raises is left alone.

Why it is bad
-------------
`nn.Module.__init__` makes the tables that parameters, submodules and hooks are kept in. Without
them the first `self.layer = nn.Linear(…)` raises "cannot assign module before Module.__init__()
call", and a module that assigns none raises when it is called.

Example
-------
    class Net(nn.Module):
        def __init__(self, width):
            self.fc = nn.Linear(width, width)

Use instead
-----------
    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.fc = nn.Linear(width, width)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from archcheck.analysis.edits.syntax_edits import first_statement
from archcheck.analysis.source.elision import is_elided
from archcheck.core.finding import Finding, Fix, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import ClassDefinition, Function, ModuleClass, SourceFile

rule = Rule("AC101", "missing-super-init", Severity.ERROR, fix="safe")


@rule.on_source
def constructor_without_its_base(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules:
        constructor = _constructor(module)
        if constructor is None or _asks_a_base(module, constructor):
            continue
        if constructor.always_raises or _works_without(module):
            continue
        if is_elided(file, constructor.node):
            continue
        if any(_asks_a_base(module, method) for method in _methods_run(module, constructor)):
            continue
        assigned = next((s for s in module.submodules if s.write.function is constructor), None)
        if _is_a_mixin(module, needs_its_tables=assigned is not None):
            continue
        called = module.find_method("forward") is not None
        if assigned is not None:
            consequence = f"assigning `self.{assigned.attribute}` raises an AttributeError"
        elif called:
            consequence = "calling the module raises an AttributeError"
        else:
            consequence = "parameters(), to() and state_dict() raise an AttributeError"
        yield Finding(
            f"`{module.name}.{constructor.name}` never calls `super().__init__()`: {consequence}",
            file.name_location(constructor.node),
            label="does not initialise nn.Module",
            related=(
                (Related(assigned.write.location, "this assignment raises"),) if assigned else ()
            ),
            help="call super().__init__() before anything else",
            fix=_fix(file, module, constructor),
            explains=file.location(module.node),
            # Without layers and a forward, it works until somebody treats it as a module.
            severity=None if assigned is not None or called else Severity.WARNING,
        )


def _constructor(module: ModuleClass) -> Function | None:
    """The method that has to call the base's constructor."""
    if module.initializer is None and module.definition.is_dataclass:
        takes_over = any(
            isinstance(decorator, ast.Call) and any(k.arg == "init" for k in decorator.keywords)
            for decorator in module.node.decorator_list
        )
        return None if takes_over else module.methods.get("__post_init__")
    return module.initializer


def _works_without(module: ModuleClass) -> bool:
    """Whether something else may do what the constructor does not."""
    return any(
        definition.node.keywords
        or "__new__" in definition.methods
        # Only nn.Module's own __call__ needs its tables.
        or "__call__" in definition.methods
        for definition in module.lineage
    )


def _is_a_mixin(module: ModuleClass, *, needs_its_tables: bool) -> bool:
    """Whether nobody builds the class itself, and each class that derives from it asks another
    base by name, and earlier where the constructor needs what nn.Module makes."""
    if not module.subclasses or module.file.calls_of(module.definition):
        return False
    return all(
        _initialises_another_base(subclass, module, first=needs_its_tables)
        for subclass in module.subclasses
    )


def _initialises_another_base(subclass: ModuleClass, mixin: ModuleClass, *, first: bool) -> bool:
    constructor = subclass.find_method("__init__")
    if constructor is None or constructor.owner is mixin.definition:
        return False
    asked = [
        subclass.file.resolve(call.node.func.value, call.statement)
        for call in subclass.super_calls(constructor)
        if call.name == "__init__" and call.super_node is None
        and isinstance(call.node, ast.Call) and isinstance(call.node.func, ast.Attribute)
    ]  # fmt: skip
    if mixin.definition not in asked:
        return False
    before = asked[: asked.index(mixin.definition)]
    return bool(before) if first else len(asked) > 1


def _methods_run(module: ModuleClass, constructor: Function) -> tuple[Function, ...]:
    found = {constructor: None}
    waiting = [constructor]
    while waiting:
        for called, _ in module.self_calls(waiting.pop()):
            if called not in found:
                found[called] = None
                waiting.append(called)
    return tuple(found)


def _asks_a_base(module: ModuleClass, method: Function) -> bool:
    # Any use of super() counts: one that is written wrong has a rule of its own.
    return bool(module.super_calls(method)) or any(
        "__init__" in reference.parts[1:] or "__dict__" in reference.parts[1:]
        for scope in method.walk()
        for reference in scope.references
    )


def _fix(file: SourceFile, module: ModuleClass, constructor: Function) -> Fix | None:
    call = _base_call(module.bases, constructor)
    edit = first_statement(file, constructor.node, call) if call is not None else None
    return Fix("safe", (edit,)) if edit is not None else None


def _base_call(bases: tuple[object, ...], constructor: Function) -> str | None:
    """The call that fits the first base: what it needs goes on under its own name."""
    base = bases[0] if bases else None
    if not isinstance(base, ClassDefinition):
        plain = base in ("torch.nn.Module", "torch.nn.Sequential", "torch.nn.ModuleList")
        return "super().__init__()" if plain else None
    if base.constructor is None:
        return None
    needed = [
        parameter
        for parameter in base.constructor.parameters
        if parameter.default is None and parameter.kind not in ("star", "stars")
    ]
    own = constructor.signature.without_first().by_name
    if constructor.name != "__init__" and needed:
        return None
    if any(one.name not in own or own[one.name].kind in ("star", "stars") for one in needed):
        return None
    given = (f"{one.name}={one.name}" if one.kind == "named" else one.name for one in needed)
    return f"super().__init__({', '.join(given)})"
