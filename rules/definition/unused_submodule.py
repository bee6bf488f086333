"""A submodule is built and never used.

What it does
------------
Looks for modules that a constructor assigns to `self` and that nothing in sight reads: no method
of the class, of its bases or of its subclasses, nor any other code in the file. Losses and
`nn.Identity` placeholders are left alone, and so are classes that reach their submodules without
naming them (`self.children()`, `getattr`), that hand themselves over, or whose base is unknown.

Why it is bad
-------------
The network lacks a layer that its author wrote down: most often another one is called twice in
its place. Unused parameters are saved, loaded and moved, never trained, and make
`DistributedDataParallel` stop.

Example
-------
    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.fc1 = nn.Linear(width, width)
            self.fc2 = nn.Linear(width, 10)

        def forward(self, x):
            return self.fc1(x).relu()

Use instead
-----------
    class Net(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.fc1 = nn.Linear(width, width)
            self.fc2 = nn.Linear(width, 10)

        def forward(self, x):
            return self.fc2(self.fc1(x).relu())
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from archcheck.finding import Finding, Severity
from archcheck.rule import Rule
from archcheck.source import Layer, ModuleClass, SourceFile, Submodule

rule = Rule("AC108", "unused-submodule", Severity.WARNING)

# The author knows.
_SAYS_SO = re.compile(r"#.*\b(unused|(not|never) (actually )?used)\b", re.IGNORECASE)


@rule.on_source
def never_read(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules:
        forward = module.find_method("forward")
        if forward is None or forward.is_abstract or forward.always_raises:
            continue
        seen: set[str] = set()
        for submodule in module.submodules:
            name = submodule.attribute
            if name in seen or _is_a_placeholder(submodule) or _has_another_name(submodule):
                continue
            if module.surely_never_reads(name) and not _SAYS_SO.search(_line(file, submodule)):
                seen.add(name)
                yield _finding(module, submodule)


def _line(file: SourceFile, submodule: Submodule) -> str:
    return file.lines[submodule.write.location.line - 1]


def _finding(module: ModuleClass, submodule: Submodule) -> Finding:
    return Finding(
        f"`{submodule.attribute}` is built, and nothing in `{module.name}` ever uses it",
        submodule.write.location,
        label=f"an unused {submodule.layer.class_name}",
        module=submodule.attribute,
        help="call it in forward, or remove it",
    )


def _is_a_placeholder(submodule: Submodule) -> bool:
    return all(
        layer.is_a("Identity") or layer.class_name.lower().endswith(("loss", "criterion"))
        for layer in submodule.alternatives
    )


def _has_another_name(submodule: Submodule) -> bool:
    """Whether the module, or what it holds, can be reached in another way than by the attribute."""
    if any(_only_registers(layer) for layer in submodule.alternatives):
        return True
    write = submodule.write
    node = write.statement.node
    if isinstance(node, ast.Assign) and len(node.targets) > 1:
        return True
    if isinstance(write.value, ast.Name) and write.function is not None:
        return len(write.function.name_reads.get(write.value.id, ())) > 1
    return isinstance(write.value, ast.NamedExpr)


def _only_registers(layer: Layer) -> bool:
    """Whether a container holds modules that were made before it, perhaps only to register them."""
    if not layer.is_torch or not layer.is_a("ModuleList", "ModuleDict", "Sequential"):
        return False
    if layer.is_a("Sequential"):
        return any(
            isinstance(part, ast.Attribute)
            and isinstance(part.value, ast.Name)
            and part.value.id == "self"
            for item in layer.node.args
            for part in ast.walk(item)
        )
    if not isinstance(layer.children, tuple) or not layer.children:
        return True
    inside = set(ast.walk(layer.node))
    return any(child.node not in inside for child in layer.children)
