"""The training data comes in the same order every epoch.

What it does
------------
Looks for a training `DataLoader(…, shuffle=False)` without a sampler, over a data set that
certainly can be shuffled. A loader is for training where its name or its data set's says so, or
where a loop over it calls `backward()`; one that is only read in order, without learning, is left
alone.

Why it is bad
-------------
Batches are the same ones in the same order each time, often sorted by class as the files are: the
gradient swings from class to class, batch norm sees lopsided batches, and the result is worse.

Example
-------
    train_loader = DataLoader(train_set, batch_size=64, shuffle=False)

Use instead
-----------
    train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from archcheck.analysis.edits.syntax_edits import replacement
from archcheck.core.finding import Finding, Fix, Severity
from archcheck.core.rule import Rule
from archcheck.python import Call, ClassDefinition, SourceFile, Statement

from ._scripts import calls_in, name_of, names_of, text_of

rule = Rule("AC504", "train-loader-not-shuffled", Severity.WARNING, fix="unsafe")

_TRAIN = r"(?i)train"
_NOT_TRAIN = r"(?i)eval|calib|valid|val_|_val|test|order|ordered|untrain|noshuff|no_shuff"
_MAP_STYLE = frozenset({
    "torch.utils.data.TensorDataset", "torch.utils.data.Subset", "torch.utils.data.ConcatDataset",
    "torch.utils.data.random_split", "torch.utils.data.StackDataset",
})  # fmt: skip


@rule.on_source
def same_order_each_epoch(file: SourceFile) -> Iterator[Finding]:
    for call in file.calls_to("torch.utils.data.DataLoader"):
        shuffle = call.argument("shuffle", 2)
        if shuffle is None or file.value(shuffle, call.statement) is not False:
            continue
        if call.has_star or _samples(call) or not _is_for_training(file, call):
            continue
        data = call.argument("dataset", 0)
        if data is None or not _can_be_shuffled(file, data, call.statement):
            continue
        keyword = next((k for k in call.node.keywords if k.value is shuffle), None)
        yield Finding(
            f"`{name_of(call) or 'the training loader'}` is not shuffled: every epoch repeats the "
            "same batches",
            file.location(keyword or shuffle),
            label="the same order every epoch",
            help="shuffle=True",
            fix=_fix(file, shuffle),
        )


def _fix(file: SourceFile, shuffle: ast.expr) -> Fix | None:
    """An order was asked for, whether it was meant or not."""
    if not isinstance(shuffle, ast.Constant):
        return None
    return Fix("unsafe", (replacement(file, shuffle, "True"),))


def _samples(call: Call) -> bool:
    given = (call.argument("sampler", 3), call.argument("batch_sampler", 4))
    return any(
        value is not None and not (isinstance(value, ast.Constant) and value.value is None)
        for value in given
    )


def _is_for_training(file: SourceFile, call: Call) -> bool:
    name = name_of(call)
    data = call.argument("dataset", 0)
    names = [name or "", text_of(data) or ""]
    if any(re.search(_NOT_TRAIN, text) for text in names):
        return False
    learns = _loops_learn(file, name.rpartition(".")[2]) if name else None
    if learns is not None:
        return learns
    return any(re.search(_TRAIN, text) for text in names)


def _loops_learn(file: SourceFile, name: str) -> bool | None:
    """Whether some loop over the loader calls `backward`; None if no loop goes over it."""
    found: bool | None = None
    for loop in file.loops:
        if isinstance(loop.node, ast.For | ast.AsyncFor) and name in names_of(loop.node.iter):
            if any(call.name == "backward" for call in calls_in(loop.scope, loop.node)):
                return True
            # What steps in a helper of its own may learn.
            helps = any("train" in call.name or "step" in call.name for call in loop.calls)
            found = found or helps
    for node, _ in file.nodes(ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp):
        generators = node.generators  # type: ignore[attr-defined]
        if any(name in names_of(generator.iter) for generator in generators):
            found = found or False
    return found


def _can_be_shuffled(file: SourceFile, data: ast.expr, at: Statement, depth: int = 0) -> bool:
    """Whether a data set certainly has an order of its own and no other one."""
    if depth > 4:
        return False
    if isinstance(data, ast.Name):
        bindings = at.scope.reaching(data.id, at)
        return bool(bindings) and all(
            binding.kind == "assign"
            and binding.value is not None
            and _can_be_shuffled(file, binding.value, binding.statement, depth + 1)
            for binding in bindings
        )
    if not isinstance(data, ast.Call):
        return False
    target = file.resolve(data.func, at)
    if isinstance(target, str):
        return target in _MAP_STYLE or target.startswith("torchvision.datasets.")
    if isinstance(target, ClassDefinition):
        outside = target.outside_bases
        return (
            "torch.utils.data.Dataset" in outside
            and "torch.utils.data.IterableDataset" not in outside
            and target.find_method("__getitem__") is not None
        )
    return False
