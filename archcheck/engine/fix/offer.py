"""Fixes that are offered, and not made: each is tried in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from archcheck.core.finding import Finding, Fix
from archcheck.engine.checker import CheckResult
from archcheck.engine.fix.apply_edits import Patch, compatible, patches
from archcheck.engine.fix.prove import Again, Looks, Proof
from archcheck.python import Project

Chosen: TypeAlias = Callable[[Finding, Project], bool]

# How often a check that only offers fixes looks again: every model may be traced again each time.
_MOST_TRACES = 12
_MOST_READINGS = 100


def tried(examined: CheckResult, chosen: Chosen, again: Again) -> dict[Finding, Fix | None]:
    """The fix of each finding that has one, verified, or None where it does not hold.

    Left out is what would take too long to try.
    """
    verdicts: dict[Finding, Fix | None] = {}
    looks = Looks(again, _MOST_TRACES if examined.traces else _MOST_READINGS)
    for waiting in by_safety(chosen_patches(examined, chosen)):
        while waiting:
            group, waiting = compatible(waiting)
            proof = Proof(examined, looks)
            proof.add(group)
            verdicts.update(dict.fromkeys((f for one in proof.refuted for f in one.findings), None))
            for patch in proof.held:
                for finding in patch.findings:
                    if finding.fix is not None:
                        fix = replace(finding.fix, edits=patch.made, verified=True)
                        verdicts[finding] = fix
    return verdicts


def by_safety(candidates: Sequence[Patch]) -> tuple[list[Patch], list[Patch]]:
    """The safe fixes, and those that are not."""
    return [one for one in candidates if one.is_safe], [o for o in candidates if not o.is_safe]


def chosen_patches(examined: CheckResult, chosen: Chosen) -> list[Patch]:
    """The fixes of the findings that are to be fixed."""
    wanted = [one for one in examined.findings if chosen(one, examined.project)]
    return patches(wanted, examined.project)
