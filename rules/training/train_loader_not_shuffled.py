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
from archcheck.python.program.libraries import LOADERS
from archcheck.python.program.things import Thing

from ._loaders import loaders_that_teach
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
    for call in file.calls_to(*LOADERS):
        shuffle = call.argument("shuffle", 2)
        if shuffle is None or file.value(shuffle, call.statement) is not False:
            continue
        if call.has_star or _samples(call) or not _is_for_training(file, call):
            continue
        data = call.argument("dataset", 0)
        if data is None or not _can_be_shuffled(file, data, call.statement):
            continue
        yield _finding(file, call.node, shuffle, name_of(call))


@rule.on_source
def same_order_in_the_loop_that_learns(file: SourceFile) -> Iterator[Finding]:
    for loader in loaders_that_teach(file):
        node, shuffle = loader.node, loader.fields.get("shuffle")
        if not isinstance(node, ast.Call) or loader.statement is None or shuffle is None:
            continue
        given = next((k.value for k in node.keywords if k.arg == "shuffle"), None)
        if given is None or shuffle.value is not False or re.search(_NOT_TRAIN, loader.name):
            continue
        if not _has_sampler(loader) and _is_map_style(loader):
            yield _finding(loader.statement.scope.file, node, given, loader.name)


def _finding(file: SourceFile, node: ast.Call, shuffle: ast.expr, name: str | None) -> Finding:
    keyword = next((keyword for keyword in node.keywords if keyword.value is shuffle), None)
    return Finding(
        f"`{name or 'the training loader'}` is not shuffled: every epoch repeats the same batches",
        file.location(keyword or shuffle),
        label="the same order every epoch",
        help="shuffle=True",
        fix=_fix(file, shuffle),
    )


def _has_sampler(loader: Thing) -> bool:
    given = (loader.fields.get(name) for name in ("sampler", "batch_sampler"))
    return "open" in loader.marks or any(one is not None and one.value is not None for one in given)


def _is_map_style(loader: Thing) -> bool:
    """Whether the data set of a loader certainly has an order of its own and no other one."""
    data = loader.fields.get("dataset")
    if data is None or any(re.search(_NOT_TRAIN, one.name) for one in data.alternatives()):
        return False
    if loader.dotted.startswith("torch_geometric."):
        # Its data sets are lists of graphs.
        return data.kind in ("unknown", "dataset", "list")
    return all(_has_items(one) for one in data.alternatives())


def _has_items(data: Thing) -> bool:
    if data.kind == "list":
        return True
    if isinstance(data.type, ClassDefinition):
        return _is_indexed(data.type)
    return data.kind == "dataset"


def _is_indexed(definition: ClassDefinition) -> bool:
    outside = definition.outside_bases
    return (
        "torch.utils.data.Dataset" in outside
        and "torch.utils.data.IterableDataset" not in outside
        and definition.find_method("__getitem__") is not None
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
    return isinstance(target, ClassDefinition) and _is_indexed(target)
