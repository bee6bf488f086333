"""`archcheck explain` and `archcheck rules`: the catalogue of rules."""

from __future__ import annotations

from typing import Annotated

import typer

from archcheck.frontends.terminal import show, wants_color
from archcheck.target import UsageError


def explain(code: Annotated[str, typer.Argument(help="A rule's code or name.")]) -> None:
    """Explain one rule: what, why, example, fix."""
    from archcheck.config import nearest
    from archcheck.output.catalogue import render_rule
    from archcheck.rule import load_rules

    rules = {key: rule for rule in load_rules() for key in (rule.code, rule.name)}
    rule = rules.get(code) or rules.get(code.upper())
    if rule is None:
        raise UsageError(f"no rule {code!r}{nearest(code.upper(), rules)} (see `archcheck rules`)")
    show(render_rule(rule, color=wants_color()))


def rules() -> None:
    """List every rule."""
    from archcheck.output.catalogue import render_rules
    from archcheck.rule import load_rules

    show(render_rules(load_rules(), color=wants_color()))
