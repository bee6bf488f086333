"""A difference for a person at a terminal: what changed, what that costs, what it costs in all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from archcheck.analysis.architectures.difference import Difference, Kind, ModelDifference
from archcheck.analysis.architectures.difference_text import (
    THE_MODEL,
    borders,
    change_text,
    places_text,
    totals,
)
from archcheck.output import Options
from archcheck.output.diff.formatting import (
    causes,
    consequences,
    effect,
    state_text,
    summary,
    total_texts,
)
from archcheck.output.terminal.cells import fit_left, wrap
from archcheck.output.terminal.console import paint
from archcheck.output.terminal.styled import Styled
from archcheck.output.wording import one_line, plural

_SIGNS: dict[Kind, tuple[str, str]] = {
    "added": ("+", "green"),
    "removed": ("-", "red"),
    "replaced": ("~", "yellow"),
    "resized": ("~", "yellow"),
    "rewired": ("~", "yellow"),
    "moved": (">", "cyan"),
    "follows": ("·", "dim"),
}
_MOST_LABEL = 36
_LEAST_TEXT = 24


def render(difference: Difference, options: Options) -> str:
    """The difference as a terminal shows it."""
    return paint(_lines(difference, options.width), options.color)


def _lines(difference: Difference, width: int) -> Iterator[Styled]:
    yield Styled(one_line(f"{difference.before} → {difference.after}"), "bold")
    yield Styled()
    for model in difference.models:
        yield from _heading(model, width)
        if model.state == "changed":
            yield from _changes(model, width)
            yield from _totals(model, width)
        yield Styled()
    calm = "bold green" if difference.exit_code == 0 else "bold"
    yield Styled(summary(difference), calm)


def _heading(model: ModelDifference, width: int) -> Iterator[Styled]:
    name = one_line(model.target)
    lines = wrap(f"{name}: {state_text(model)}", width, width - 2)
    calm = "dim" if model.state == "same" else ""
    yield Styled.of((lines[0][: len(name)], f"bold {calm}"), (lines[0][len(name) :], calm))
    for line in lines[1:]:
        yield Styled(f"  {line}")


@dataclass(frozen=True, slots=True)
class _Row:
    """A line of the list of changes, and what it adds to the totals."""

    sign: str
    style: str
    label: str
    text: str
    parameters: str
    macs: str


def _changes(model: ModelDifference, width: int) -> Iterator[Styled]:
    rows = list(_rows(model))
    if not rows:
        return
    yield Styled()
    rows.insert(0, _Row(" ", "bold", "", "", "Parameters", "MACs"))
    labels = min(max(len(row.label) for row in rows), _MOST_LABEL)
    parameters = max(len(row.parameters) for row in rows)
    macs = max(len(row.macs) for row in rows)
    spare = width - labels - parameters - macs - 8
    texts = max(min(max(len(row.text) for row in rows), spare), _LEAST_TEXT)
    for row in rows:
        first, *rest = wrap(row.text, texts, texts)
        line = Styled.of(
            (f"{row.sign} {fit_left(row.label, labels):<{labels}}  ", row.style),
            f"{first:<{texts}}",
            (f"  {row.parameters:>{parameters}}  {row.macs:>{macs}}", "bold" * (row.sign == " ")),
        )
        line.rstrip()
        yield line
        for more in rest:
            yield Styled(f"{'':{labels + 4}}{more}")


def _rows(model: ModelDifference) -> Iterator[_Row]:
    for change in causes(model):
        label = one_line(places_text(change.places)) or THE_MODEL
        added = effect(change.parameters), effect(change.macs)
        yield _Row(*_SIGNS[change.kind], label, one_line(change_text(change)), *added)
    affected = consequences(model)
    if affected is not None:
        label = plural(affected.layers, "other layer")
        yield _Row(*_SIGNS["follows"], label, "affected", "", effect(affected.macs))


def _totals(model: ModelDifference, width: int) -> Iterator[Styled]:
    yield Styled()
    for name, was, now in borders(model):
        room = width - 18
        for number, line in enumerate(wrap(f"{was} → {now}", room, room)):
            yield Styled.of((f"{'' if number else name:<18}", "bold"), line)
    rows = [(total.name, *total_texts(total)) for total in totals(model)]
    widths = [max((len(row[place]) for row in rows), default=0) for place in (1, 2, 3)]
    for name, was, now, share in rows:
        yield Styled.of(
            (f"{name:<18}", "bold"),
            f"{was:>{widths[0]}} → {now:>{widths[1]}}  {share:>{widths[2]}}".rstrip(),
        )
