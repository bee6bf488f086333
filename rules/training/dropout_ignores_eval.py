"""A dropout that stays active in eval mode.

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
from collections.abc import Iterator

from archcheck.analysis.edits.syntax_edits import after, replacement
from archcheck.core.finding import Edit, Finding, Fix, Severity
from archcheck.core.rule import Rule
from archcheck.python import Call, SourceFile

from ._dropout import dropping_method, is_applied_at_once

rule = Rule("AC507", "dropout-ignores-eval", Severity.ERROR, fix="safe")

_FUNCTIONS = tuple(
    f"torch.nn.functional.{name}" for name in ("dropout", "dropout1d", "dropout2d", "dropout3d")
)
_ATTENTION = "torch.nn.functional.scaled_dot_product_attention"
_LAYERS = tuple(f"torch.nn.{name}" for name in ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d"))


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
        if is_applied_at_once(call):
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
    method = dropping_method(file, call, rate)
    if method is None:
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
