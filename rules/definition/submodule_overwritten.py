"""An attribute gets two modules in a row, and the first is never used.

What it does
------------
Looks for two assignments of a module to the same attribute of `self`, both of which always run,
with nothing between them that could use the first. A default that a branch replaces is left
alone, and so is a module that is wrapped (`self.body = nn.Sequential(self.body, …)`).

Why it is bad
-------------
The first module is thrown away. Mostly the second was meant to have a name of its own: the
network is one stage shorter than it reads, and what should follow gets the wrong input.

Example
-------
    self.layer3 = make_stage(128, 256)
    self.layer3 = make_stage(256, 512)

Use instead
-----------
    self.layer3 = make_stage(128, 256)
    self.layer4 = make_stage(256, 512)
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from archcheck.core.finding import Finding, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import Call, Function, ModuleClass, SourceFile, Submodule
from archcheck.python.names.torch_names import MODULE_ATTRIBUTES

rule = Rule("AC106", "submodule-overwritten", Severity.WARNING, fades=True)

_REGISTER = frozenset({"add_module", "register_module", "register_buffer", "register_parameter"})
_GO_OVER_ALL = frozenset({
    "modules", "children", "named_modules", "named_children", "apply", "parameters",
    "named_parameters", "state_dict", "_modules", "__dict__",
})  # fmt: skip


@rule.on_source
def assigned_twice(file: SourceFile) -> Iterator[Finding]:
    for module in (*file.modules, *file.fragments):
        written = Counter((w.name, w.function) for w in module.own_writes if w.value is not None)
        if all(count < 2 for count in written.values()):
            continue
        by_name: dict[str, list[Submodule]] = {}
        for submodule in module.submodules:
            by_name.setdefault(submodule.attribute, []).append(submodule)
        for name, submodules in by_name.items():
            for first, second in pairwise(submodules):
                if _is_empty(first) or not _both_run(first, second):
                    continue
                if not _used_between(module, first, second):
                    yield Finding(
                        f"`self.{name}` is assigned twice: the first module is thrown away unused",
                        second.write.location,
                        label="assigned again",
                        module=name,
                        related=(Related(first.write.location, "the first one"),),
                        help="give one of them another name, or remove the first",
                    )


def _is_empty(submodule: Submodule) -> bool:
    """An empty container, or a layer that does nothing, is a placeholder."""
    layer = submodule.layer
    return layer.is_a("Identity") or (
        layer.is_a("Sequential", "ModuleList", "ModuleDict") and layer.children == ()
    )


def _both_run(first: Submodule, second: Submodule) -> bool:
    before, after = first.write.statement, second.write.statement
    return (
        before.scope is after.scope
        and before.node is not after.node
        and before.suite.solid is after.suite.solid
        # In a `try`, the first may be what is left when the second fails.
        and "try" not in (before.suite.kind, after.suite.kind)
    )


def _used_between(module: ModuleClass, first: Submodule, second: Submodule) -> bool:
    """Whether anything from the first assignment up to the second may look at the attribute."""
    function = first.write.function
    if function is None:
        return True
    name = first.attribute
    start, end = first.write.statement.index, second.write.statement.index
    for use in module.uses_in(function):
        if use.reference.statement.scope is not function:
            return True
        if not start < use.reference.statement.index <= end:
            continue
        if use.name == name and use.node is not second.write.node:
            return True
        if use.kind == "call" and _may_use(module, use.name, name):
            return True
    return any(
        isinstance(part, ast.Name) and part.id == function.self_name and part not in dotted
        for statement in function.statements[start + 1 : end + 1]
        for dotted in (_roots(statement.node),)
        for part in ast.walk(statement.node)
    )


def _roots(node: ast.AST) -> frozenset[ast.AST]:
    """The names that a dot follows."""
    return frozenset(part.value for part in ast.walk(node) if isinstance(part, ast.Attribute))


def _may_use(
    module: ModuleClass, called: str, name: str, above: frozenset[str] = frozenset()
) -> bool:
    """Whether calling a method of the instance may read the attribute."""
    if called in above:
        return False
    method = module.find_method(called)
    if method is None:
        # nn.Module's own methods (apply, modules, state_dict…) go over all submodules; an
        # attribute that is called is a submodule, which does not know its parent.
        return called in MODULE_ATTRIBUTES and called not in _REGISTER
    return any(
        use.name == name
        or use.name in _GO_OVER_ALL
        or (use.kind == "call" and _may_use(module, use.name, name, above | {called}))
        for use in module.uses_in(method)
    ) or any(_hands_itself_over(call, method) for call in method.calls)


def _hands_itself_over(call: Call, method: Function) -> bool:
    given = [*call.node.args, *(keyword.value for keyword in call.node.keywords)]
    return any(isinstance(item, ast.Name) and item.id == method.self_name for item in given)
