"""`archcheck explain` and `archcheck rules`: the catalogue of rules."""

from __future__ import annotations

from typing import Annotated

import typer

from archcheck.core.target import UsageError
from archcheck.frontends.cli.terminal import show, wants_color


def explain(code: Annotated[str, typer.Argument(help="A rule's code or name.")]) -> None:
    """Explain one rule: what, why, example, fix."""
    from archcheck.core.rule import load_rules
    from archcheck.core.wording import nearest
    from archcheck.output.catalogue import render_rule

    rules = {key: rule for rule in load_rules() for key in (rule.code, rule.name)}
    rule = rules.get(code) or rules.get(code.upper())
    if rule is None:
        raise UsageError(f"no rule {code!r}{nearest(code.upper(), rules)} (see `archcheck rules`)")
    show(render_rule(rule, color=wants_color()))


def rules(
    next_code: Annotated[
        str | None,
        typer.Option("--next-code", metavar="FAMILY", help="Print the next free code: AC2."),
    ] = None,
) -> None:
    """List every rule, or say the next free code of a family."""
    from archcheck.core.codes import next_free_code
    from archcheck.core.rule import load_rules
    from archcheck.output.catalogue import render_rules

    if next_code is not None:
        show(next_free_code(next_code, [rule.code for rule in load_rules()]) + "\n")
        return
    show(render_rules(load_rules(), color=wants_color()))
