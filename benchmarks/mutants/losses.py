"""AC4: mutants of outputs and losses."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import replace

from mutants.clean import (
    Clean,
    Mutant,
    Mutation,
    after,
    answer,
    calls,
    constructor,
    is_single,
    mutant,
    returns,
)

_FUNCTIONS = ("F", "torch", "nn.functional", "torch.nn.functional")


def _appended(clean: Clean, form: str, *losses: str) -> Iterator[Mutant]:
    """The model's answer goes through one more operation."""
    for _, value in answer(clean, *losses):
        if is_single(value):
            yield mutant(clean, value, form.format(clean.source(value)))


def _module(clean: Clean, built: str, *losses: str) -> Iterator[Mutant]:
    """The same by a module that the constructor builds."""
    for owner, value in answer(clean, *losses):
        if is_single(value):
            last = constructor(clean, owner).body[-1]
            made = after(clean, last, f"self.last = {built}")
            text = clean.edited((last, made), (value, f"self.last({clean.source(value)})"))
            yield Mutant(text, f"line {value.lineno}: self.last = {built}")


def _in_script(clean: Clean, name: str, form: str) -> Iterator[Mutant]:
    """The same in a model that a training script in the same file uses."""
    for owner, _, value in returns(clean) if clean.name == "script" else ():
        if owner.name == name:
            yield mutant(clean, value, form.format(clean.source(value)))


def softmax_before_cross_entropy(clean: Clean) -> Iterator[Mutant]:
    yield from _appended(clean, "{}.softmax(dim=1)", "cross_entropy")
    yield from _appended(clean, "nn.functional.softmax({}, dim=-1)", "cross_entropy")
    yield from _module(clean, "nn.Softmax(dim=-1)", "cross_entropy")
    yield from _in_script(clean, "Classifier", "F.softmax({}, dim=1)")


def softmax_without_dim(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "softmax", "log_softmax"):
        assert isinstance(node.func, ast.Attribute)
        owner, name = clean.source(node.func.value), node.func.attr
        # Only the functions of `functional` do without a dim.
        given = owner if owner not in _FUNCTIONS else clean.source(node.args[0])
        yield mutant(clean, node, f"nn.functional.{name}({given})")
    yield from _module(clean, "nn.LogSoftmax()", "nll")


def softmax_over_the_batch(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "softmax", "log_softmax"):
        # A gate over the batch may be meant: weights for a sum over a set.
        if clean.model is not None and clean.name != "experts":
            for keyword in node.keywords:
                yield mutant(clean, keyword, "dim=0")
    # With a loss that takes logits, any softmax would be a defect of its own.
    for appended in (
        *_appended(clean, "{}.softmax(dim=0)", "cross_entropy"),
        *_module(clean, "nn.Softmax(0)", "cross_entropy"),
    ):
        yield replace(appended, options={"loss": None})


def wrong_for_nll(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "log_softmax"):
        yield mutant(clean, node, clean.source(node.args[0]))
        yield mutant(clean, node.func, "F.softmax")
    yield from _appended(clean, "{}.log_softmax(dim=1)", "cross_entropy")
    yield from _module(clean, "nn.LogSoftmax(dim=1)", "cross_entropy")
    for node in calls(clean, "CrossEntropyLoss"):
        yield mutant(clean, node.func, "nn.NLLLoss")


def wrong_for_bce(clean: Clean) -> Iterator[Mutant]:
    yield from _appended(clean, "torch.sigmoid({})", "bce_with_logits")
    yield from _module(clean, "nn.Sigmoid()", "bce_with_logits")
    yield from _in_script(clean, "Detector", "torch.sigmoid({})")
    if clean.model is not None and clean.model.loss == "bce_with_logits":
        yield Mutant(clean.text, "--loss bce", options={"loss": "bce"})
    for node in calls(clean, "binary_cross_entropy_with_logits"):
        yield mutant(clean, node.func, "F.binary_cross_entropy")


def activated_scores(clean: Clean) -> Iterator[Mutant]:
    losses = ("cross_entropy", "bce_with_logits")
    yield from _appended(clean, "nn.functional.relu({})", *losses)
    yield from _appended(clean, "nn.functional.dropout({}, training=self.training)", *losses)
    yield from _module(clean, "nn.ReLU()", *losses)
    yield from _module(clean, "nn.Dropout(0.5)", *losses)
    yield from _in_script(clean, "Classifier", "torch.relu({})")
    yield from _in_script(clean, "Detector", "torch.relu({})")


def softmax_twice(clean: Clean) -> Iterator[Mutant]:
    for node in calls(clean, "softmax"):
        keywords = ", ".join(clean.source(keyword) for keyword in node.keywords)
        yield mutant(clean, node, f"torch.softmax({clean.source(node)}, {keywords})")
    for node in calls(clean, "log_softmax"):
        given = clean.source(node.args[0])
        yield mutant(clean, node.args[0], f"F.softmax({given}, dim=-1)")


def softmax_of_one(clean: Clean) -> Iterator[Mutant]:
    for node in ast.walk(clean.tree) if clean.name in ("tabular", "critic") else ():
        match node:
            case ast.Assign(value=ast.Call(func=ast.Attribute(attr="squeeze", value=scores))):
                yield mutant(clean, scores, f"{clean.source(scores)}.softmax(dim=-1)")
                yield mutant(clean, scores, f"torch.softmax({clean.source(scores)}, 1)")


LOSSES: dict[str, Mutation] = {
    "AC401": softmax_before_cross_entropy, "AC402": softmax_without_dim,
    "AC403": softmax_over_the_batch, "AC404": wrong_for_nll, "AC405": wrong_for_bce,
    "AC406": activated_scores, "AC407": softmax_twice, "AC408": softmax_of_one,
}  # fmt: skip
