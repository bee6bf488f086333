"""A difference as a page: both architectures side by side, what changed in colour.

It is plain HTML with a style of its own: no script runs, nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from string import Template

from archcheck.analysis.architectures.difference import Difference, ModelDifference
from archcheck.analysis.architectures.difference_text import borders, totals
from archcheck.evidence.architecture import ArchitectureLayer
from archcheck.output import Options
from archcheck.output.diff.formatting import effect, state_text, summary, total_texts
from archcheck.output.diff.pairs import Pair, effects, numbered, one_sided, pairs, shown
from archcheck.output.html.page import digest, page_file, text
from archcheck.output.wording import plural

_SIGNS = {
    "added": "+",
    "removed": "−",  # noqa: RUF001
    "replaced": "≠",
    "resized": "≠",
    "rewired": "≠",
    "moved": "→",
    "gone": "→",
    "follows": "·",
}
_DEEPEST = 9


def render(difference: Difference, _options: Options) -> str:
    """The page."""
    style = page_file("page.css") + page_file("diff.css")
    policy = f"default-src 'none'; style-src '{digest(style)}'; img-src data:"
    return Template(page_file("diff.html")).substitute(
        policy=text(policy),
        style=style,
        title=text(f"{difference.before} → {difference.after}"),
        summary=text(summary(difference)),
        state="passing" if difference.is_empty else "changed",
        models="".join("".join(_model(model, difference)) for model in difference.models),
        unknown="".join(_unknown((*difference.unknown, *difference.usage_errors))),
    )


def _unknown(sentences: tuple[str, ...]) -> Iterator[str]:
    if sentences:
        items = "".join(f"<li>{text(sentence)}</li>" for sentence in sentences)
        yield f"<section><h2>Not compared</h2><ul>{items}</ul></section>"


def _model(model: ModelDifference, difference: Difference) -> Iterator[str]:
    yield f'<section class="compared" aria-label="{text(model.target)}">'
    yield f"<h2>{text(model.target)}</h2><p>{text(state_text(model))}</p>"
    if model.state != "same":
        yield from _totals(model)
        yield from _sides(model, difference)
    yield "</section>"


def _totals(model: ModelDifference) -> Iterator[str]:
    rows = [(total.name, *total_texts(total)) for total in totals(model)]
    rows += [(*border, "") for border in borders(model)]
    yield '<dl class="totals">'
    for name, before, after, change in rows:
        was = f'<span class="was">{text(before)}</span> → ' if before else ""
        yield f"<div><dt>{text(name)}</dt><dd>{was}{text(after or 'none')}"
        yield f' <span class="rule">{text(change)}</span></dd></div>'
    yield "</dl>"


def _sides(model: ModelDifference, difference: Difference) -> Iterator[str]:
    heads = (difference.before, "", difference.after, "Parameters", "MACs")
    yield '<label class="only"><input type="checkbox"> Only what changed</label>'
    yield '<div class="scroll" tabindex="0" role="region" aria-label="Layers"><table class="sides">'
    cells = "".join(f'<th scope="col">{text(head)}</th>' for head in heads)
    yield f"<thead><tr>{cells}</tr></thead><tbody>"
    for depth, times, pair in shown(_root(model)):
        yield from _row(depth, times, pair)
    yield "</tbody></table></div>"


def _root(model: ModelDifference) -> Pair:
    if model.before is not None and model.after is not None:
        return pairs(model.before, model.after)
    if model.after is not None:
        return one_sided(model.after, "added")
    assert model.before is not None, "a difference has at least one side"
    return one_sided(model.before, "removed")


def _row(depth: int, times: int, pair: Pair) -> Iterator[str]:
    indent = f"indent-{min(depth, _DEEPEST)}"
    yield f'<tr class="{pair.fate}">'
    for side, other in ((pair.before, pair.after), (pair.after, pair.before)):
        if side is pair.after:
            yield f'<td class="sign">{_sign(pair)}</td>'
        if side is None:
            yield '<td class="side none"></td>'
        else:
            yield f'<td class="side {indent}">{_layer(pair, side, other)}</td>'
    for number in effects(pair):
        yield f'<td class="number">{effect(number * times)}</td>'
    yield "</tr>"


def _sign(pair: Pair) -> str:
    if pair.fate == "same":
        return ""
    return (
        f'<span role="img" aria-label="{pair.fate}" title="{pair.fate}">{_SIGNS[pair.fate]}</span>'
    )


def _layer(pair: Pair, side: ArchitectureLayer, other: ArchitectureLayer | None) -> str:
    """A layer as one side has it; marked is what the other side has not."""
    name = text(numbered(pair, side)) if side.path else ""
    times = f' <span class="count">×{pair.times}</span>' if pair.times > 1 else ""
    kind = _marked(side.type, other.type if other else side.type)
    # Where the rows above are hidden, a name alone would not say where the layer is.
    holder = f'<span class="holder">{text(side.parent)}.</span>' if side.parent else ""
    parts = [f"{holder}<b>{name}</b>{times} {kind}".strip()]
    if pair.untouched and pair.layers > 1 and side.path:
        parts.append(f"<small>with {plural(pair.layers - 1, 'layer')} below, as before</small>")
        return "".join(parts)
    settings = side.settings.split(", ") if side.settings else []
    theirs = other.settings.split(", ") if other else settings
    said = ", ".join(
        escape(one) if one in theirs else f"<mark>{escape(one)}</mark>" for one in settings
    )
    if side.operators:
        own = _marked(side.operators, other.operators if other else side.operators)
        said = f"{said}, {own}" if said else own
    if side.output:
        arrow = _marked(side.output, other.output if other else side.output)
        said = f"{said} → {arrow}" if said else f"→ {arrow}"
    if said:
        parts.append(f"<small>{said}</small>")
    return "".join(parts)


def _marked(one: str, other: str) -> str:
    return text(one) if one == other else f"<mark>{text(one)}</mark>"
