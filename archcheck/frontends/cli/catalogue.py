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


def rules() -> None:
    """List every rule."""
    from archcheck.core.rule import load_rules
    from archcheck.output.catalogue import render_rules

    show(render_rules(load_rules(), color=wants_color()))
