"""The `forward` of a module has no `self`.

What it does
------------
Looks for `def forward(x)` in an `nn.Module`: a method whose first parameter is used as the
input. Static methods are left alone, and so is a first parameter with another name that is used
as the instance.

Why it is bad
-------------
Python hands the instance over first: `net(x)` raises "forward() takes 1 positional argument but 2
were given", or the instance lands in `x`.

Example
-------
    class Net(nn.Module):
        def forward(x):
            return x.relu()

Use instead
-----------
    class Net(nn.Module):
        def forward(self, x):
            return x.relu()
"""

from __future__ import annotations

from collections.abc import Iterator

from archcheck.analysis.edits.syntax_edits import before, insertion
from archcheck.analysis.source.templates import is_template
from archcheck.core.finding import Edit, Finding, Fix, Location, Severity
from archcheck.core.rule import Rule
from archcheck.python import Function, ModuleClass, SourceFile

rule = Rule("AC103", "forward-without-self", Severity.ERROR, fix="safe")

_INSTANCES = frozenset({"self", "this", "me", "s", "_", "__", "_self", "self_", "cls", "module"})


@rule.on_source
def instance_lands_in_the_input(file: SourceFile) -> Iterator[Finding]:
    for module in () if is_template(file) else file.modules:
        forward = module.forward
        if forward is None or not _is_a_plain_method(forward):
            continue
        arguments = forward.node.args
        positional = (*arguments.posonlyargs, *arguments.args)
        if positional:
            first = positional[0]
            if not _is_an_input(module, forward, first.arg):
                continue
            message = f"the instance lands in `{first.arg}`"
            location = file.location(first)
            label = "receives the instance"
            moved = "self" in forward.parameters
            edit = None if moved else before(file, first, "self, ")
        elif arguments.vararg is None:
            message = "calling the module raises a TypeError"
            location = file.name_location(forward.node)
            label = "takes nothing"
            edit = _into_parentheses(file, location)
        else:
            continue
        yield Finding(
            f"`{module.name}.forward` has no `self`: {message}",
            location,
            label=label,
            help="make self the first parameter",
            fix=Fix("safe", (edit,), reveals=True) if edit is not None else None,
            explains=file.location(forward.node),
        )


def _is_a_plain_method(forward: Function) -> bool:
    if forward.is_static or forward.is_classmethod or forward.is_property:
        return False
    return all(
        isinstance(name, str) and name.startswith(("torch.", "typing."))
        for name in forward.decorators
    )


def _is_an_input(module: ModuleClass, forward: Function, name: str) -> bool:
    """Whether the first parameter cannot be meant to be the instance."""
    if name in _INSTANCES:
        return False
    if "self" in forward.name_reads and "self" not in forward.bindings:
        return True
    read = {
        reference.parts[1]
        for reference in forward.references
        if reference.parts[0] == name and len(reference.parts) > 1
    }
    if not read.isdisjoint(module.attributes):
        return False
    if any(module.surely_lacks(attribute) for attribute in read):
        return True
    others = {method.self_name for method in module.own_methods if method.name not in ("forward",)}
    rebound = any(binding.kind != "parameter" for binding in forward.bindings.get(name, ()))
    through_dots = sum(reference.parts[0] == name for reference in forward.references)
    used_bare = len(forward.name_reads.get(name, ())) > through_dots
    return name not in others and (rebound or used_bare or bool(others))


def _into_parentheses(file: SourceFile, name: Location) -> Edit | None:
    line = file.lines[name.line - 1]
    opening = line.find("(", name.end_column - 1)
    return insertion(name.path, name.line, opening + 2, "self") if opening >= 0 else None
