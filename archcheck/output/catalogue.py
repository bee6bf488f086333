"""`archcheck explain` and `archcheck rules`: what the rules' own files say about them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from archcheck.core.rule import HEADINGS, Rule
from archcheck.output import page_width
from archcheck.output.terminal.cells import wrap
from archcheck.output.terminal.console import paint
from archcheck.output.terminal.excerpt import SEVERITY_STYLE
from archcheck.output.terminal.styled import Styled

# Prose wider than this is hard to read, however wide the terminal is.
_PROSE = 88


def render_rule(rule: Rule, *, color: bool = False, width: int | None = None) -> str:
    """One rule: what it does, why it is bad, an example, what to use instead."""
    return paint(_page(rule, min(page_width(width), _PROSE)), color)


def render_rules(rules: Sequence[Rule], *, color: bool = False, width: int | None = None) -> str:
    """The catalogue, a line for each rule, by family."""
    return paint(_catalogue(rules, page_width(width)), color)


def _page(rule: Rule, width: int) -> Iterator[Styled]:
    sections = rule.sections
    yield Styled.of((rule.code, SEVERITY_STYLE[rule.severity]), (f" {rule.name}", "bold"))
    yield from _prose(sections[""], width)
    yield Styled()
    yield from _prose(", ".join(_facts(rule)), width)
    for heading in HEADINGS:
        if text := sections.get(heading):
            yield Styled()
            yield Styled(heading, "bold")
            yield from _prose(text, width)


def _facts(rule: Rule) -> Iterator[str]:
    yield f"Severity: {rule.severity}"
    sources = {
        "source": "read from the source",
        "trace": "read from a traced forward pass",
        "both": "read from the source and from a traced forward pass",
        "probe": "read from passes on real tensors, with --probe",
    }
    yield sources[rule.evidence]
    if rule.fix:
        yield "fixed by --fix" if rule.fix == "safe" else "fixed by --unsafe-fixes"
    if not rule.runs_by_default:
        yield f"off unless selected (--extend-select {rule.code})"


def _prose(text: str, width: int) -> Iterator[Styled]:
    """Paragraphs wrapped anew, code as it stands."""
    for is_code, block in _blocks(text):
        if is_code:
            yield from (Styled(line, "cyan") for line in block)
        else:
            for line in wrap(" ".join(block), width, width):
                yield Styled.quoting(line, "cyan")


def _blocks(text: str) -> Iterator[tuple[bool, list[str]]]:
    """Runs of lines that belong together: indented code, list items, paragraphs, empty lines."""
    number = 0
    keyed: list[tuple[tuple[int, bool], str]] = []
    before = ""
    for line in text.splitlines():
        code = line.startswith("    ") or not line.strip()
        if code != (before.startswith("    ") or not before.strip()) or re.match(r"[-*] ", line):
            number += 1
        keyed.append(((number, code), line))
        before = line
    for (_number, is_code), group in groupby(keyed, key=lambda item: item[0]):
        yield is_code, [line for _key, line in group]


def _catalogue(rules: Sequence[Rule], width: int) -> Iterator[Styled]:
    if not rules:
        yield Styled("No rules are installed.")
        return
    longest = max(len(rule.name) for rule in rules)
    for family, members in groupby(rules, key=_family):
        yield Styled(family, "bold")
        for rule in members:
            start = Styled.of(
                "  ",
                (rule.code, SEVERITY_STYLE[rule.severity]),
                f" {rule.name:<{longest}}  {rule.severity:<7}  {rule.evidence:<6}",
                f"  {rule.fix or '':<6}",
            )
            if not rule.runs_by_default:
                start.append("  off")
            start.rstrip()
            yield start
            for line in wrap(rule.sections[""], width - 8, width - 8):
                yield Styled(f"        {line}", "dim")
        yield Styled()
    yield Styled(
        "`archcheck explain CODE` tells more. Rules marked off run when they are selected."
    )


def _family(rule: Rule) -> str:
    return rule.path.parent.name if rule.path else ""
