"""Write the pictures in docs/ from real runs; with --check, only say whether they are stale."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import archcheck
from archcheck.output import Options
from archcheck.output.terminal.console import svg
from archcheck.output.terminal.styled import Styled
from archcheck.output.text import report_text

FOLDER = Path(__file__).parent
WIDTH = 110

_FONT = re.compile(r"\s*@font-face \{[^}]*\}")


MODEL = "fixtures/models/resnet32.py:ResNet32"


def traced() -> Iterator[Styled]:
    """The main command."""
    yield _prompt(f"archcheck {MODEL} --input 8,3,224,224")
    yield from report_text(archcheck.check(MODEL, input="8,3,224,224"), Options(width=WIDTH))


def crashed() -> Iterator[Styled]:
    """The same model on a size that it cannot take."""
    yield _prompt(f"archcheck {MODEL} --input 8,3,128,128 --depth 1")
    report = archcheck.check(MODEL, input="8,3,128,128")
    yield from report_text(report, Options(width=WIDTH, depth=1))


def from_source() -> Iterator[Styled]:
    """A check that runs nothing."""
    target = "fixtures/missing_super_init"
    yield _prompt(f"archcheck {target}")
    yield from report_text(archcheck.lint(target), Options(width=WIDTH))


PICTURES: Mapping[str, Callable[[], Iterator[Styled]]] = {
    "trace.svg": traced,
    "shapes.svg": crashed,
    "source.svg": from_source,
}


def _prompt(command: str) -> Styled:
    return Styled.of(("$ ", "green"), (command, "bold"))


def picture(name: str) -> str:
    """One picture; it loads no font from elsewhere, so that it can stand in a README."""
    text = svg(PICTURES[name](), WIDTH, "archcheck", name.removesuffix(".svg"))
    return without_fonts(text)


def without_fonts(picture: str) -> str:
    """A picture that loads no font from elsewhere."""
    return _FONT.sub("", picture).replace("Fira Code", "ui-monospace")


def main(arguments: list[str]) -> int:
    # Paths in a report are relative to the working directory.
    os.chdir(FOLDER.parent)
    stale = []
    for name in PICTURES:
        path, text = FOLDER / name, picture(name)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in arguments:
                path.write_text(text, encoding="utf-8")
    if stale and "--check" in arguments:
        print(f"{', '.join(stale)}: stale, run `python docs/pictures.py`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
