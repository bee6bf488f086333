"""A difference as a comment on a pull request: totals first, the layers below them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from archcheck.analysis.architectures.difference import Change, Difference, ModelDifference
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
from archcheck.output.markdown import code, prose, table
from archcheck.output.wording import plural

# A comment holds 65,536 characters: so many entries of each model are shown, or so few.
_MOST_CHARACTERS = 60_000
_ATTEMPTS = (100, 20, 5, 0)
_SIGNS = {"added": "➕", "removed": "➖", "moved": "➡️"}  # noqa: RUF001


def render(difference: Difference, _options: Options) -> str:
    """GitHub-flavoured Markdown, short enough for one comment."""
    text = ""
    for most in _ATTEMPTS:
        text = "".join(f"{line}\n" for line in _lines(difference, most))
        if len(text) <= _MOST_CHARACTERS:
            break
    return text


def _lines(difference: Difference, most: int) -> Iterator[str]:
    yield f"### Architecture: {prose(summary(difference))}"
    yield ""
    yield f"{code(difference.before)} → {code(difference.after)}"
    for model in difference.models:
        yield ""
        yield f"**{code(model.target)}**: {prose(state_text(model))}"
        if model.state == "changed":
            yield from _model(model, most)
    sentences = (*difference.unknown, *difference.usage_errors)
    if sentences:
        yield from ("", "Not compared:", "")
        for sentence in sentences:
            yield f"- {prose(sentence)}"


def _model(model: ModelDifference, most: int) -> Iterator[str]:
    rows = [(total.name, *total_texts(total)) for total in totals(model)]
    rows += [(*border, "") for border in borders(model)]
    if rows:
        yield ""
        yield from table(("", "Before", "After", ""), "lrrr", ([*map(prose, row)] for row in rows))
    shown = causes(model)
    if not shown or not most:
        return
    yield ""
    yield f"<details><summary>{len(shown):,} {'change' if len(shown) == 1 else 'changes'}</summary>"
    yield ""
    titles = ("", "Layer", "Change", "Parameters", "MACs")
    yield from table(titles, "lllrr", map(_change, shown[:most]))
    rest = [f"and {len(shown) - most:,} more"] if len(shown) > most else []
    affected = consequences(model)
    if affected is not None:
        rest.append(f"{plural(affected.layers, 'other layer')} affected")
    if rest:
        yield from ("", "; ".join(rest))
    yield from ("", "</details>")


def _change(change: Change) -> Sequence[str]:
    return (
        _SIGNS.get(change.kind, "✏️"),
        code(places_text(change.places)) if any(change.places) else THE_MODEL,
        prose(change_text(change)),
        effect(change.parameters),
        effect(change.macs),
    )
