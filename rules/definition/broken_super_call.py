"""The base class's constructor is called in a way that does not work.

What it does
------------
Looks for `super().__init__` without parentheses, for `super(Other, self)` with a class that is
neither the class itself nor one of its bases, for `super(Net).__init__()` without the instance,
for `super().__init__(self)`, and for a misspelled `__init__` behind `super()`.

Why it is bad
-------------
Without parentheses nothing is called, and the first layer that is assigned raises "cannot assign
module before Module.__init__() call". With the wrong class, `super` raises "obj must be an
instance or subtype of type", or a NameError.

Example
-------
    class Decoder(nn.Module):
        def __init__(self, width):
            super(Encoder, self).__init__()
            self.fc = nn.Linear(width, width)

Use instead
-----------
    class Decoder(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.fc = nn.Linear(width, width)
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

from archcheck.analysis.edits.syntax_edits import after, replacement
from archcheck.analysis.source.templates import is_template
from archcheck.core.finding import Edit, Finding, Fix, Severity
from archcheck.core.rule import Rule
from archcheck.python import (
    ClassDefinition,
    Function,
    ModuleClass,
    Reference,
    SourceFile,
    SuperCall,
    Unknown,
)

rule = Rule("AC110", "broken-super-call", Severity.ERROR, fix="safe")

_MISSPELLED = frozenset({
    "init", "_init", "__init", "_init_", "__init_", "_init__", "___init___", "__init___",
    "___init__", "__int__", "__inti__", "__ini__",
})  # fmt: skip


@rule.on_source
def base_asked_in_the_wrong_way(file: SourceFile) -> Iterator[Finding]:
    for module in () if is_template(file) else file.modules:
        for method in module.own_methods:
            for call in module.super_calls(method):
                found = _finding(file, module, method, call)
                if found is not None:
                    yield found
                    break
            for reference in method.references:
                if reference.parts == ("super", "__init__"):
                    yield _not_called(file, module, reference)


def _finding(
    file: SourceFile, module: ModuleClass, method: Function, call: SuperCall
) -> Finding | None:
    name = module.name
    if call.super_node is not None and call.arguments:
        wrong = _wrong_class(module, call)
        if wrong is not None:
            return _made(
                file, module, call.super_node, wrong, "the wrong class", "super()",
                replacement(file, call.super_node, "super()"),
            )  # fmt: skip
        if len(call.arguments) == 1 and call.called and method.name == call.name == "__init__":
            return _made(
                file, module, call.super_node,
                f"`super({file.text(call.arguments[0])})` without the instance initialises nothing",
                "no instance", "super()", replacement(file, call.super_node, "super()"),
            )  # fmt: skip
    if method.name != "__init__" or call.super_node is None:
        return None
    if not call.called and call.name == "__init__":
        statement = call.statement.node
        if isinstance(statement, ast.Expr) and statement.value is call.node:
            return _made(
                file, module, call.node,
                f"`{name}.__init__` mentions `{file.text(call.node)}` and does not call it",
                "not called", "add the parentheses: super().__init__()",
                after(file, call.node, "()"),
            )  # fmt: skip
    elif call.called and call.name == "__init__":
        return _extra_self(file, module, method, call)
    elif call.called and call.name in _MISSPELLED and _is_nowhere(module, call.name):
        return _made(
            file, module, call.node,
            f"`{name}.__init__` calls `super().{call.name}()`, which does not exist",
            "misspelled __init__", "super().__init__()", *_renamed(file, call.node),
        )  # fmt: skip
    return None


def _renamed(file: SourceFile, call: ast.expr) -> list[Edit]:
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
        return []
    base = file.text(call.func.value)
    return [replacement(file, call.func, f"{base}.__init__")]


def _made(
    file: SourceFile,
    module: ModuleClass,
    node: ast.expr,
    message: str,
    label: str,
    help: str,
    *edits: Edit,
) -> Finding:
    return Finding(
        message,
        file.location(node),
        label=label,
        help=help,
        fix=Fix("safe", edits) if edits else None,
        explains=file.location(module.node),
    )


def _not_called(file: SourceFile, module: ModuleClass, reference: Reference) -> Finding:
    root = reference.node.func if isinstance(reference.node, ast.Call) else reference.node
    assert isinstance(root, ast.Attribute)
    return _made(
        file, module, root.value,
        f"`{module.name}` asks the class `super` itself, not the base: `super` is not called",
        "not called", "super().__init__()", after(file, root.value, "()"),
    )  # fmt: skip


def _wrong_class(module: ModuleClass, call: SuperCall) -> str | None:
    """What is wrong with the class that is given to `super`; None if nothing certainly is."""
    given = call.arguments[0]
    if not isinstance(given, ast.Name | ast.Attribute):
        return None
    name = module.file.text(given)
    meaning = module.file.resolve(given, call.statement)
    definition = module.definition
    stranger = f"`{module.name}` calls `super({name}, …)`, and does not derive from {name}"
    if isinstance(meaning, ClassDefinition):
        if meaning in definition.lineage or definition in meaning.lineage:
            return None
        # Two definitions of one name (in an `if`, or in another block) replace each other.
        if meaning.name == definition.name:
            return None
        if any(isinstance(base, Unknown) for base in definition.outside_bases):
            return None
        return stranger
    if _is_imported_stranger(module, meaning, given, call):
        return stranger
    if not isinstance(given, ast.Name):
        return None
    if call.statement.scope.reaching(given.id, call.statement):
        return None
    if given.id == "__class__" or hasattr(builtins, given.id) or module.file.star_imports:
        return None
    return f"`{module.name}` calls `super({given.id}, …)`, and no {given.id} is defined there"


def _is_imported_stranger(
    module: ModuleClass, meaning: object, given: ast.Name | ast.Attribute, call: SuperCall
) -> bool:
    """Whether a class from a file that is not there is given, and all bases are torch's."""
    bases = module.definition.outside_bases
    if not module.is_certain or _last_name(given) == module.name:
        return False
    if isinstance(meaning, str):
        if meaning == "torch.nn.Module" or meaning in bases or hasattr(builtins, meaning):
            return False
        return not meaning.startswith("torch.") or set(bases) == {"torch.nn.Module"}
    if not (isinstance(meaning, Unknown) and isinstance(given, ast.Name)):
        return False
    bound = call.statement.scope.reaching(given.id, call.statement)
    return bool(bound) and all(binding.kind == "import" for binding in bound)


def _last_name(given: ast.Name | ast.Attribute) -> str:
    return given.attr if isinstance(given, ast.Attribute) else given.id


def _extra_self(
    file: SourceFile, module: ModuleClass, method: Function, call: SuperCall
) -> Finding | None:
    """`super().__init__(self)` where the base takes nothing."""
    node = call.node
    assert isinstance(node, ast.Call)
    if module.bases != ("torch.nn.Module",) or len(node.args) != 1 or node.keywords:
        return None
    given = node.args[0]
    if not (isinstance(given, ast.Name) and given.id == method.self_name):
        return None
    return _made(
        file, module, node,
        f"`{module.name}` hands `{given.id}` to `super().__init__`, which adds it by itself",
        "one argument too many", "super().__init__()", replacement(file, given, ""),
    )  # fmt: skip


def _is_nowhere(module: ModuleClass, name: str) -> bool:
    return module.is_certain and all(
        name not in definition.methods for definition in module.definition.ancestors
    )
