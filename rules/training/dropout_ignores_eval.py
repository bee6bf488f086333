"""A dropout that goes on in eval mode.

What it does
------------
Looks in the methods of a module for `F.dropout(x, p)` without `training=`, whose default is True;
for `nn.Dropout(p)(x)`, built on the spot and so always in train mode; and for
`F.scaled_dot_product_attention(…, dropout_p=p)`, which drops whenever `p` is not zero. Silent
where the code asks for `self.training`, passes a mode, or gets its rate from the caller, and in
classes that say that they sample on purpose (Monte Carlo dropout).

Why it is bad
-------------
`model.eval()` has no effect on it: predictions are random, and worse than they should be.

Example
-------
    def forward(self, x):
        x = F.dropout(x, 0.5)
        return self.out(x)

Use instead
-----------
    def forward(self, x):
        x = F.dropout(x, 0.5, training=self.training)
        return self.out(x)
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from archcheck.finding import Edit, Finding, Fix, Severity
from archcheck.rule import Rule
from archcheck.source import Call, Function, ModuleClass, SourceFile, Statement
from archcheck.source.edits import after, replacement
from archcheck.source.training import is_under, names_of

rule = Rule("AC507", "dropout-ignores-eval", Severity.ERROR, fix="safe")

_FUNCTIONS = tuple(
    f"torch.nn.functional.{name}" for name in ("dropout", "dropout1d", "dropout2d", "dropout3d")
)
_ATTENTION = "torch.nn.functional.scaled_dot_product_attention"
_LAYERS = tuple(f"torch.nn.{name}" for name in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d"))
_SAMPLES = re.compile(r"monte.?carlo|\bmc\b|MC|bayes|uncertain|stochastic|ensembl", re.IGNORECASE)


@rule.on_source
def drops_in_both_modes(file: SourceFile) -> Iterator[Finding]:
    for call in file.calls_to(*_FUNCTIONS):
        if call.argument("training", 2) is None and not call.has_star:
            yield from _finding(
                file, call, call.argument("p", 1), f"`{_name(call)}` drops in eval mode too",
                "training is True by default", "training=self.training",
            )  # fmt: skip
    for call in file.calls_to(_ATTENTION):
        rate = call.argument("dropout_p", 4)
        if rate is not None:
            yield from _finding(
                file, call, rate, f"`{_name(call)}` drops in eval mode too",
                "never asks for the mode", "dropout_p=… if self.training else 0.0",
            )  # fmt: skip
    for call in file.calls_to(*_LAYERS):
        if _is_applied_at_once(call):
            yield from _finding(
                file, call, call.argument("p", 0),
                f"`nn.{call.name}` is built on the spot, in train mode: it drops in eval mode too",
                "always in train mode", "build it once, in __init__",
            )  # fmt: skip


def _name(call: Call) -> str:
    return ".".join(call.parts)


def _finding(
    file: SourceFile, call: Call, rate: ast.expr | None, message: str, label: str, help: str
) -> Iterator[Finding]:
    method = call.scope.function
    while method is not None and method.owner is None:
        method = method.parent.function if method.parent is not None else None
    owner = method.owner if method is not None else None
    if method is None or owner is None or owner.module is None or method.name == "__init__":
        return
    if _says_so(owner.module) or _asks_for_the_mode(file, method, call, rate):
        return
    if method is not owner.module.find_method("forward") and not _always_runs(owner.module, method):
        return
    edit = _edit(file, call, rate, method.self_name) if method.self_name else None
    yield Finding(
        message,
        file.location(call.node),
        label=label,
        help=help,
        fix=Fix("safe", (edit,)) if edit is not None else None,
    )


def _edit(file: SourceFile, call: Call, rate: ast.expr | None, own: str) -> Edit | None:
    """Have a call ask for the mode."""
    if call.dotted == _ATTENTION:
        if rate is None:
            return None
        return replacement(file, rate, f"{file.text(rate)} if {own}.training else 0.0")
    if call.dotted in _LAYERS:
        return after(file, call.node, f".train({own}.training)")
    arguments = (*call.node.args, *(keyword.value for keyword in call.node.keywords))
    if not arguments:
        return None
    last = max(arguments, key=lambda argument: (argument.end_lineno, argument.end_col_offset))
    return after(file, last, f", training={own}.training")


def _says_so(module: ModuleClass) -> bool:
    docstring = ast.get_docstring(module.node, clean=False) or ""
    return _SAMPLES.search(module.name) is not None or _SAMPLES.search(docstring) is not None


def _asks_for_the_mode(
    file: SourceFile, method: Function, call: Call, rate: ast.expr | None
) -> bool:
    if rate is not None:
        value = file.value(rate, call.statement)
        if isinstance(value, int | float) and value == 0:
            return True
        if not _is_known_rate(rate, call.statement, method):
            return True
    if is_under(call.statement, "training", "train"):
        return True
    # `if not self.training: return x` above it.
    for node, at in method.nodes(ast.If):
        assert isinstance(node, ast.If)
        asks = any("train" in name for name in names_of(node.test))
        if asks and at.index < call.statement.index:
            return True
    return False


def _is_known_rate(rate: ast.expr, at: Statement, method: Function) -> bool:
    """Whether the rate is a number or an attribute, and not something the mode may decide."""
    if any("train" in name for name in names_of(rate)):
        return False
    for part in ast.walk(rate):
        if isinstance(part, ast.Call | ast.IfExp):
            return False
        if isinstance(part, ast.Name) and part.id != method.self_name:
            bindings = at.scope.reaching(part.id, at)
            if not bindings:
                return False
            for binding in bindings:
                constant = binding.kind == "assign" and isinstance(binding.value, ast.Constant)
                if not constant:
                    return False
    return not _is_set_by_the_mode(rate, method)


def _is_set_by_the_mode(rate: ast.expr, method: Function) -> bool:
    """Whether a method such as `train` writes the attribute that holds the rate."""
    owner = method.owner
    if owner is None or owner.module is None:
        return True
    names = {part.attr for part in ast.walk(rate) if isinstance(part, ast.Attribute)}
    return any(
        write.name in names
        and write.function is not None
        and write.function not in owner.module.initializing
        for write in owner.module.writes
    )


def _always_runs(module: ModuleClass, method: Function) -> bool:
    """Whether forward reaches a helper without asking for the mode on the way."""
    if method not in module.computing:
        return False
    for definition in module.lineage:
        for other in definition.functions:
            for use in definition.module.uses_in(other) if definition.module else ():
                if use.name == method.name and is_under(use.reference.statement, "train"):
                    return False
    return True


def _is_applied_at_once(call: Call) -> bool:
    if any(other.node.func is call.node for other in call.scope.calls):
        return True
    node = call.statement.node
    if not (isinstance(node, ast.Assign) and node.value is call.node and len(node.targets) == 1):
        return False
    target = node.targets[0]
    function = call.scope.function
    if not isinstance(target, ast.Name) or function is not call.scope:
        return False
    applied = sum(other.parts == (target.id,) for other in call.scope.calls)
    return 0 < applied == len(function.name_reads.get(target.id, ()))
