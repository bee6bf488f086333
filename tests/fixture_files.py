"""The fixtures: a folder per rule with bad and good files, and how their heads have them traced."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

from archcheck.core.config import LOSSES, Model, parse_bytes, parse_count, parse_shape
from archcheck.core.rule import load_rules

ROOT = Path(__file__).parents[1]
FIXTURES = ROOT / "fixtures"
CODES = {rule.name.replace("-", "_"): rule.code for rule in load_rules()}
FILES = sorted(
    path
    for path in FIXTURES.glob("*/*")
    if path.parent.name in CODES and re.match(r"(bad|good).*\.(py|md|ipynb)$", path.name)
)
TRACE = re.compile(r"^(?:# |<!-- )trace: (.*?)(?: -->)?$", re.MULTILINE)


def models(path: Path) -> list[Model]:
    """What the heads of a fixture ask to be traced."""
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--input", dest="inputs", action="append", default=[])
    parser.add_argument("--eval", dest="mode", action="store_const", const="eval", default="train")
    parser.add_argument("--loss", choices=LOSSES)
    parser.add_argument("--expect-output", type=parse_shape)
    parser.add_argument("--timeout", type=float)
    parser.add_argument("--max-params", type=parse_count)
    parser.add_argument("--max-macs", type=parse_count)
    parser.add_argument("--max-memory", type=parse_bytes)
    parser.add_argument("--weights")
    parser.add_argument("--allow-missing", action="append", default=[])
    parser.add_argument("--max-training-memory", type=parse_bytes)
    parser.add_argument("--optimizer")
    parser.add_argument("--precision")
    parser.add_argument("--device")
    parser.add_argument("--generate", type=int)
    found = []
    for head in TRACE.findall(path.read_text(encoding="utf-8")):
        options = vars(parser.parse_args(shlex.split(head)))
        target = f"{path.relative_to(ROOT).as_posix()}:{options.pop('name')}"
        lists = {name: tuple(options[name]) for name in ("inputs", "allow_missing")}
        if options["weights"]:
            options["weights"] = str(path.with_name(options["weights"]).relative_to(ROOT))
        found.append(Model(**{**options, **lists, "target": target}))
    return found
