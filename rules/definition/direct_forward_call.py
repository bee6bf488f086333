"""The `forward` of a module is called in place of the module.

What it does
------------
Looks for `self.block.forward(x)`, and for `.forward(x)` on anything else that certainly is a
module. `super().forward(x)` and `self.forward(x)` are left alone, and so is a method that is only
mentioned.

Why it is bad
-------------
Calling the module runs its hooks; calling `forward` skips them: feature extraction, pruning,
spectral norm, quantisation, profilers and FLOP counters silently miss the layer.

Example
-------
    def forward(self, x):
        return self.block.forward(x)

Use instead
-----------
    def forward(self, x):
        return self.block(x)
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from archcheck.analysis.edits.syntax_edits import between
from archcheck.core.finding import Finding, Fix, Severity
from archcheck.core.rule import Rule
from archcheck.python import UNKNOWN, Call, ClassDefinition, ModuleClass, SourceFile
from archcheck.python.modules.classes import is_torch_module
from archcheck.python.names.resolve import reaching

rule = Rule("AC115", "direct-forward-call", Severity.WARNING, fix="safe")


@rule.on_source
def hooks_are_skipped(file: SourceFile) -> Iterator[Finding]:
    for call in file.calls_named("forward"):
        receiver = call.receiver
        if receiver is None or not _is_a_module(file, call, receiver):
            continue
        text = file.text(receiver)
        yield Finding(
            f"`{text}.forward(…)` skips the hooks of the module",
            file.location(call.node.func),
            label="forward itself is called",
            help=f"call the module: {text}(…)",
            fix=Fix("safe", (between(file, receiver, call.node.func),)),
        )


def _is_a_module(file: SourceFile, call: Call, receiver: ast.expr) -> bool:
    """Whether an expression certainly is a module, and not the instance itself."""
    match receiver:
        case ast.Name():
            bindings = reaching(receiver.id, call.statement)
            if len(bindings) == 1 and bindings[0].kind == "for" and bindings[0].value is not None:
                return not bindings[0].path and _is_list_of_modules(call, bindings[0].value)
            made = file.instance_of(receiver, call.statement)
            if isinstance(made, ClassDefinition):
                return made.is_module
            return isinstance(made, str) and is_torch_module(made)
        case ast.Attribute():
            return _attribute_is_a_module(call, receiver)
        case ast.Subscript():
            return _is_list_of_modules(call, receiver.value)
    return False


def _owner(call: Call, node: ast.expr) -> ModuleClass | None:
    """The class whose attribute `self.name` is."""
    function = call.scope.function
    owner = function.owner if function is not None else None
    if (
        owner is None
        or function is None
        or not isinstance(node, ast.Attribute)
        or not isinstance(node.value, ast.Name)
        or node.value.id != function.self_name
    ):
        return None
    return owner.module


def _attribute_is_a_module(call: Call, node: ast.Attribute) -> bool:
    module = _owner(call, node)
    if module is None or node.attr not in module.attributes:
        return False
    if module.layers_of(node.attr) is not UNKNOWN:
        return True
    # Several assignments: certain where each of them is a module.
    writes = [w for w in module.attributes[node.attr] if w.kind != "annotation"]
    built = {s.write.node for d in module.lineage if d.module for s in d.module.submodules}
    return bool(writes) and all(
        w.node in built or (isinstance(w.value, ast.Constant) and w.value.value is None)
        for w in writes
    )


def _is_list_of_modules(call: Call, node: ast.expr) -> bool:
    module = _owner(call, node)
    if module is None or not isinstance(node, ast.Attribute):
        return False
    layer = module.layer(node.attr)
    return layer is not None and layer.is_a("ModuleList", "Sequential")
