"""Fixes are tried together, in parts, and one by one, and no longer than there is time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

import archcheck.engine.fix.offer as offer
from archcheck.core.config import Config, Model
from archcheck.core.finding import Edit, Finding, Fix, Location
from archcheck.core.rule import load_rules
from archcheck.engine.checker import Checker, CheckResult
from archcheck.engine.fix.apply_edits import Patch, patches
from archcheck.engine.fix.prove import Looks, Proof
from archcheck.engine.pipeline import run
from archcheck.engine.selection import Selection
from archcheck.worker.process.client import Workers

BLOCK = """\
class Block{n}(nn.Module):
    def __init__(self):
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        return self.fc(x)


"""
COUNT = 8
WRONG = 5


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[CheckResult, Checker]:
    """A file of classes that all lack their base's constructor."""
    monkeypatch.chdir(tmp_path)
    text = "from torch import nn\n\n\n" + "".join(BLOCK.format(n=n) for n in range(COUNT))
    Path("net.py").write_text(text)
    config = Config(select=("AC101",))
    checker = Checker([Path("net.py")], [], config, Workers(), Path())
    return checker.examine(Selection.of(load_rules(), config), {}), checker


def with_a_wrong_one(examined: CheckResult) -> list[Patch]:
    """Their fixes; one of them writes something else that parses."""
    findings = sorted(examined.findings, key=lambda finding: finding.location)
    edits = findings[WRONG].fix.edits  # type: ignore[union-attr]
    wrong = Fix("safe", (Edit(edits[0].location, "pass\n        "),))
    findings[WRONG] = Finding(
        findings[WRONG].message, findings[WRONG].location, fix=wrong, code="AC101"
    )
    return patches(findings, examined.project)


class Counted:
    """Looks again, and counts."""

    def __init__(self, checker: Checker) -> None:
        self.checker = checker
        self.count = 0

    def __call__(self, before: CheckResult, buffers: Mapping[str, bytes]) -> CheckResult:
        self.count += 1
        return self.checker.again(before, buffers)


def test_what_holds_together_takes_one_look(seen: tuple[CheckResult, Checker]) -> None:
    examined, checker = seen
    again = Counted(checker)
    proof = Proof(examined, Looks(again))
    proof.add(patches(examined.findings, examined.project))
    assert (len(proof.held), proof.refuted, again.count) == (COUNT, [], 1)
    assert proof.known.findings == ()


def test_one_that_does_not_hold_is_found_by_halves(seen: tuple[CheckResult, Checker]) -> None:
    examined, checker = seen
    again = Counted(checker)
    proof = Proof(examined, Looks(again))
    group = with_a_wrong_one(examined)
    proof.add(group)
    assert proof.refuted == [group[WRONG]]
    assert proof.held == [patch for patch in group if patch is not group[WRONG]]
    # Eight, four, four, two, one, one, two.
    assert again.count == 7
    assert len(proof.known.findings) == 1


@pytest.mark.parametrize(("looks", "held"), [(0, 0), (1, 0), (2, 4), (3, 4), (5, 5)])
def test_what_there_is_no_time_for_is_neither(
    seen: tuple[CheckResult, Checker], looks: int, held: int
) -> None:
    examined, checker = seen
    again = Counted(checker)
    proof = Proof(examined, Looks(again, looks))
    proof.add(with_a_wrong_one(examined))
    assert again.count == looks
    assert len(proof.held) == held


def test_what_was_not_tried_is_offered_as_unsafe(
    seen: tuple[CheckResult, Checker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offer, "_MOST_READINGS", 0)
    report = run(["net.py"], Config(), Model(""), root=Path())
    fixes = [finding.fix for finding in report.findings]
    assert [(fix.safety, fix.verified) for fix in fixes if fix] == [("unsafe", False)] * COUNT


def test_positions_are_those_of_the_text(seen: tuple[CheckResult, Checker]) -> None:
    examined, _ = seen
    first = patches(examined.findings, examined.project)[0]
    assert first.made[0].location == Location("net.py", 6, 9, 6, 9)
