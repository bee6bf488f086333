"""The fixtures: a folder per rule with bad and good files, and how their heads have them traced."""

from __future__ import annotations

import re
from pathlib import Path

from archcheck.core.config import Model
from archcheck.core.rule import load_rules
from archcheck.engine.pack_tests import fixture_models

ROOT = Path(__file__).parents[1]
FIXTURES = ROOT / "fixtures"
CODES = {rule.name.replace("-", "_"): rule.code for rule in load_rules()}
FILES = sorted(
    path
    for path in FIXTURES.glob("*/*")
    if path.parent.name in CODES and re.match(r"(bad|good).*\.(py|md|ipynb)$", path.name)
)


def models(path: Path) -> list[Model]:
    """What the heads of a fixture ask to be traced."""
    return fixture_models(path, ROOT)
