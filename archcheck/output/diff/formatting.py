"""The words and numbers that the formats of a difference share."""

from __future__ import annotations

from dataclasses import dataclass

from archcheck.analysis.architectures.difference import Change, Difference, ModelDifference
from archcheck.analysis.architectures.difference_text import Total, headline
from archcheck.evidence.architecture import Architecture
from archcheck.output.wording import byte_text, plural, scaled


def causes(model: ModelDifference) -> tuple[Change, ...]:
    """The entries that are shown one by one: what only follows from them is not, unless nothing
    else is there."""
    found = tuple(change for change in model.changes if change.kind != "follows")
    return found or model.changes


@dataclass(frozen=True, slots=True)
class Consequences:
    """The layers that are only affected, in one."""

    layers: int
    macs: int


def consequences(model: ModelDifference) -> Consequences | None:
    """What is not shown one by one; None where all is."""
    shown = causes(model)
    rest = [change for change in model.changes if change not in shown]
    if not rest:
        return None
    return Consequences(sum(one.layers for one in rest), sum(one.macs for one in rest))


def state_text(model: ModelDifference) -> str:
    """What became of a model, in a few words."""
    match model.state:
        case "same":
            return "as it was"
        case "added":
            return f"new: {_size(model.after)}"
        case "removed":
            return f"gone: {_size(model.before)}"
        case _:
            return headline(model) or "the same layers"


def _size(architecture: Architecture | None) -> str:
    assert architecture is not None, "this side is there"
    return (
        f"{plural(len(architecture.layers), 'layer')}, {scaled(architecture.parameters)} "
        f"parameters, {scaled(architecture.macs)} MACs"
    )


def effect(number: int) -> str:
    """`+4.46 M`, `-16.2 k`; nothing for 0."""
    if not number:
        return ""
    return f"{'+' if number > 0 else '-'}{scaled(abs(number))}"


def total_texts(total: Total) -> tuple[str, str, str]:
    """A total before and after, and how much that is."""
    write = byte_text if total.name == "Peak activations" else "{:,}".format
    before, after = ("" if one is None else write(one) for one in (total.before, total.after))
    return before, after, total.percent


def summary(difference: Difference) -> str:
    """`2 of 3 models differ`, `No difference (3 models)`."""
    differing = sum(model.state != "same" for model in difference.models)
    models = plural(len(difference.models), "model")
    if differing:
        text = f"{differing:,} of {models} differ{'s' if differing == 1 else ''}"
    else:
        text = f"No difference ({models})"
    unknown = len(difference.unknown) + len(difference.usage_errors)
    return f"{text}; {unknown:,} not compared" if unknown else text
