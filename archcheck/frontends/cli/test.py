"""`archcheck test`: the fixtures of a rule pack."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from archcheck.frontends.cli.terminal import show


def test(
    pack: Annotated[str, typer.Argument(help="The folder of a rule pack, or its package.")],
) -> None:
    """Run the fixtures of a rule pack."""
    from archcheck.engine.pack_tests import check_pack

    result = check_pack(pack, Path.cwd())
    for problem in result.problems:
        show(problem)
    counted = f"{result.rules} rules, {result.fixtures} fixtures"
    show(f"{counted}: {len(result.problems) or 'no'} problems")
    raise typer.Exit(int(bool(result.problems)))
