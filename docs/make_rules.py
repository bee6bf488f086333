"""Write docs/rules.md from the rules' docstrings; with --check, only say whether it is stale."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from archcheck.core.rule import HEADINGS, Rule, load_rules

PAGE = Path(__file__).with_name("rules.md")


def page() -> str:
    """The catalogue in Markdown: a table, then a section for each rule."""
    return "\n".join(_lines(load_rules())) + "\n"


def _lines(rules: tuple[Rule, ...]) -> Iterator[str]:
    yield "# Rules"
    yield ""
    yield "Written by `python docs/make_rules.py` from the rules themselves; do not edit."
    yield ""
    yield "| code | name | severity | evidence | fix |"
    yield "| --- | --- | --- | --- | --- |"
    for rule in rules:
        link = f"[{rule.code}](#{rule.code.lower()}-{rule.name})"
        yield f"| {link} | {rule.name} | {rule.severity} | {rule.evidence} | {rule.fix or ''} |"
    for family, members in groupby(rules, lambda rule: rule.path and rule.path.parent.name):
        yield ""
        yield f"# {str(family).capitalize()}"
        for rule in members:
            yield from _section(rule)


def _section(rule: Rule) -> Iterator[str]:
    sections = rule.sections
    yield ""
    yield f"## {rule.code} {rule.name}"
    yield ""
    yield sections[""]
    for heading in HEADINGS:
        yield ""
        yield f"**{heading}**"
        yield ""
        yield sections[heading]


def main(arguments: list[str]) -> int:
    text = page()
    if "--check" in arguments:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
            return 0
        print(f"{PAGE.name} is stale: run `python docs/make_rules.py`", file=sys.stderr)
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
