"""A module that insists on CUDA.

What it does
------------
Looks in the methods of a module for `.cuda()`, `.to("cuda")`, `device="cuda"` and
`torch.device("cuda")`. Code that asks whether CUDA is there, and the module's own `cuda()`, are
left alone, and so are scripts: there the device is chosen.

Why it is bad
-------------
The model cannot run on a CPU, on another GPU or on another accelerator, and `.to(device)` does not
change that.

Example
-------
    def forward(self, x):
        noise = torch.randn(x.shape).cuda()
        return x + noise

Use instead
-----------
    def forward(self, x):
        noise = torch.randn(x.shape, device=x.device)
        return x + noise
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Call, SourceFile

from ._scripts import is_under

rule = Rule("AC508", "hardcoded-device", Severity.NOTE)


@rule.on_source
def insists_on_cuda(file: SourceFile) -> Iterator[Finding]:
    for call in file.calls:
        node = _device(call)
        if node is None or not _is_in_a_module(call):
            continue
        if is_under(call.statement, "device", "is_cuda"):
            continue  # it follows where a tensor is
        if is_under(call.statement, "cuda") and not is_under(call.statement, "is_available"):
            continue  # the user's own choice
        yield Finding(
            f"the device is fixed: `{file.text(node)}`",
            file.location(node),
            label="CUDA only",
            help="take the device of the input or of a parameter: x.device",
        )


def _device(call: Call) -> ast.AST | None:
    """What names the device, if it is CUDA whatever happens."""
    receiver = call.receiver
    if call.name == "cuda" and receiver is not None and call.parts[0] != "torch":
        if isinstance(receiver, ast.Call) and isinstance(receiver.func, ast.Name):
            # super().cuda() is how a module moves itself.
            return None if receiver.func.id == "super" else call.node
        return call.node if not call.node.args and not call.node.keywords else None
    for keyword in call.node.keywords:
        if keyword.arg == "device" and _is_cuda(keyword.value):
            return keyword
    if not call.node.args or not _is_cuda(call.node.args[0]):
        return None
    if call.dotted == "torch.device":
        return call.node
    return call.node.args[0] if call.name == "to" else None


def _is_cuda(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.partition(":")[0] == "cuda"
    )


def _is_in_a_module(call: Call) -> bool:
    function = call.scope.function
    while function is not None:
        owner = function.owner
        if owner is not None:
            return owner.module is not None and function.name not in ("cuda", "to", "_apply")
        function = function.parent.function if function.parent is not None else None
    return False
