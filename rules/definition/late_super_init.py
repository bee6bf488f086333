"""A submodule, parameter or buffer is assigned before the base's constructor has run.

What it does
------------
Looks for modules, parameters and buffers that `__init__` assigns to `self` above its call of
`super().__init__()`. Plain values may stand there.

Why it is bad
-------------
The tables that `nn.Module` keeps them in do not exist yet: the assignment raises "cannot assign
module before Module.__init__() call".

Example
-------
    class Net(nn.Module):
        def __init__(self, width):
            self.fc = nn.Linear(width, width)
            super().__init__()

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

from archcheck.analysis.edits.syntax_edits import first_statement, without_line
from archcheck.analysis.source.templates import is_template
from archcheck.core.finding import Finding, Fix, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import AttributeWrite, Function, ModuleClass, SourceFile, SuperCall

rule = Rule("AC102", "late-super-init", Severity.ERROR, fix="safe")


@rule.on_source
def assigned_before_the_base(file: SourceFile) -> Iterator[Finding]:
    for module in () if is_template(file) else file.modules:
        constructor = module.initializer
        if constructor is None or any("__new__" in d.methods for d in module.lineage):
            continue
        if not _touches_itself_first(constructor):
            continue
        first = _first_call(module, constructor)
        if first is None:
            continue
        early = [
            write
            for write in module.own_writes
            if write.function is constructor
            and write.statement.scope is constructor
            and write.statement.index < first.statement.index
        ]
        fix = _fix(file, constructor, first)
        for write in early:
            kind = _registered(file, write)
            if kind is None:
                continue
            yield Finding(
                f"`{module.name}.__init__` assigns the {kind} `self.{write.name}` before "
                "`super().__init__()`, which raises an AttributeError",
                write.location,
                label=f"a {kind}",
                related=(Related(file.location(first.node), "nn.Module is initialised here"),),
                help="move super().__init__() to the top",
                fix=fix,
                explains=file.location(write.statement.node),
            )
            # Python stops at the first one, and one fix mends all of them.
            fix = None


def _touches_itself_first(constructor: Function) -> bool:
    """Whether anything is done with `self` above the call of the base."""
    for reference in constructor.references:
        if reference.parts[-1] == "__init__":
            return False
        if reference.parts[0] == constructor.self_name:
            return True
    return False


def _first_call(module: ModuleClass, constructor: Function) -> SuperCall | None:
    """The one call that initialises the base; None if it is not certain which."""
    calls = [
        call
        for call in module.super_calls(constructor)
        if call.name in ("__init__", "") and call.statement.scope is constructor
    ]
    if not calls or not calls[0].called or calls[0].statement.suite.conditional:
        return None
    helpers = [
        method
        for method, call in module.self_calls(constructor)
        if call.statement.index < calls[0].statement.index
    ]
    # A helper may have initialised it already.
    if any(module.super_calls(method) for method in helpers):
        return None
    return calls[0]


def _registered(file: SourceFile, write: AttributeWrite) -> str | None:
    """What nn.Module has to keep: a module, a parameter or a buffer."""
    if write.kind == "register_buffer":
        return "buffer"
    if write.kind in ("register_parameter", "add_module"):
        return {"register_parameter": "parameter", "add_module": "module"}[write.kind]
    if write.value is None or write.kind not in ("assign", "unpack", "setattr"):
        return None
    if file.layers(write.value, write.statement):
        return "module"
    made = file.instance_of(write.value, write.statement)
    if made == "torch.nn.Parameter" and isinstance(write.value, ast.Call):
        return "parameter"
    return None


def _fix(file: SourceFile, constructor: Function, call: SuperCall) -> Fix | None:
    """Move the call to the top, where its arguments mean the same."""
    node = call.node
    statement = call.statement.node
    if not (isinstance(statement, ast.Expr) and statement.value is node):
        return None
    assert isinstance(node, ast.Call)
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and part.id != "super":
            bindings = constructor.bindings.get(part.id, [])
            if any(binding.kind != "parameter" for binding in bindings):
                return None
        if isinstance(part, ast.Attribute) and part.attr != "__init__":
            return None
    removal = without_line(file, statement)
    insertion = first_statement(file, constructor.node, file.text(node))
    if removal is None or insertion is None or "\n" in file.text(node):
        return None
    return Fix("safe", (insertion, removal))
