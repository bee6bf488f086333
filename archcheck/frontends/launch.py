"""Where both commands begin: look whether the package is whole, then hand over to the command line.

PyPI's `archcheck` is a program for C and C++ firmware by other authors. It installs a package and a
command of the same names, so that in one environment the files of the two overwrite each other:
`__init__.py`, `__main__.py` and `report.py` belong to whoever was installed last. This file imports
nothing else of the package until it knows that they are ours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

_USAGE_EXIT = 2
# What our own distribution announces, under this name and under the one that it had before.
_OUR_ENTRY_POINTS = b"[archcheck.rules]"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code; with 2 where a foreign `archcheck` is installed."""
    foreign = foreign_distribution(sys.path)
    if foreign is not None:
        print(f"archcheck: {explanation(foreign)}", file=sys.stderr)
        sys.exit(_USAGE_EXIT)
    from archcheck.frontends.cli.main import main as command_line

    command_line(arguments)


def foreign_distribution(folders: Iterable[str]) -> str | None:
    """Return the folder name of an installed `archcheck` that is another program, or None."""
    for folder in folders:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            installed = name.startswith("archcheck-") and name.endswith((".dist-info", ".egg-info"))
            if installed and not _is_ours(os.path.join(folder, name)):
                return name
    return None


def _is_ours(metadata: str) -> bool:
    try:
        with open(os.path.join(metadata, "entry_points.txt"), "rb") as file:
            return _OUR_ENTRY_POINTS in file.read()
    except OSError:
        return False


def explanation(foreign: str) -> str:
    """Return one line: what stands in the environment, and how to mend that."""
    version = foreign.rpartition(".")[0].split("-")[1]
    return (
        f"the distribution archcheck {version} in this environment is another program, whose files "
        "overwrite those of archcheck-torch: pip uninstall archcheck, then pip install "
        "--force-reinstall --no-deps archcheck-torch"
    )
