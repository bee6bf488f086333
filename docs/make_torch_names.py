"""Write the constructors of torch_names.py, in archcheck/python/names, from the installed torch.

With --check, only say whether it is stale. The table is that of one version, which its page names:
another torch is not compared, unless it is to become the one (`python docs/make_torch_names.py`).
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import get_overloads

import torch
from torch import nn

TABLE = Path(__file__).parents[1] / "archcheck" / "python" / "names" / "torch_names.py"
_BEGIN = "SIGNATURES: Final[Mapping[str, str]] = {\n"
_END = "\n}\n"
_VERSION = re.compile(r"those of torch (\d+\.\d+\.\d+)")
# Classes that others derive from, and that nobody builds.
_BASES = {"Module", "Container"}


def constructors() -> dict[str, str]:
    """The parameters of every module class of torch.nn, as a `def` would write them."""
    found = {
        name: value
        for name, value in vars(nn).items()
        if isinstance(value, type) and issubclass(value, nn.Module) and name not in _BASES
    }
    return {name: _written(found[name]) for name in sorted(found)}


def _written(layer: type[nn.Module]) -> str:
    if layer.__init__ is nn.Module.__init__:
        # It takes anything, and refuses it.
        return ""
    # A constructor of `*args, **kwargs` may say in overloads what it takes.
    declared = next(iter(get_overloads(layer.__init__)), layer.__init__)
    parameters = list(inspect.signature(declared).parameters.values())[1:]
    return ", ".join(_parts(parameters))


def _parts(parameters: list[inspect.Parameter]) -> Iterator[str]:
    starred = False
    for one in parameters:
        if one.kind is one.VAR_POSITIONAL:
            starred = True
            yield f"*{one.name}"
        elif one.kind is one.VAR_KEYWORD:
            yield f"**{one.name}"
        else:
            if one.kind is one.KEYWORD_ONLY and not starred:
                starred = True
                yield "*"
            yield one.name if one.default is one.empty else f"{one.name}={_literal(one.default)}"


def _literal(default: object) -> str:
    """The default as source; `...` where it is no literal."""
    try:
        return repr(default) if ast.literal_eval(repr(default)) == default else "..."
    except (ValueError, SyntaxError):
        return "..."


def _rows(table: dict[str, str]) -> Iterator[str]:
    for name, text in table.items():
        row = f'    "{name}": "{text}",'
        if len(row) <= 100:
            yield row
            continue
        pieces = [text] if len(text) <= 90 else textwrap.wrap(text, 88, break_long_words=False)
        yield f'    "{name}": ('
        yield from (f'        "{piece} "' for piece in pieces[:-1])
        yield f'        "{pieces[-1]}"'
        yield "    ),"


def page(text: str) -> str:
    """The module's text with the table of the installed torch."""
    version = torch.__version__.partition("+")[0]
    before, _, rest = text.partition(_BEGIN)
    rows = "\n".join(_rows(constructors()))
    before = _VERSION.sub(f"those of torch {version}", before)
    return before + _BEGIN + rows + _END + rest.partition(_END)[2]


def main(arguments: list[str]) -> int:
    text = TABLE.read_text(encoding="utf-8")
    stated = _VERSION.search(text)
    if "--check" in arguments:
        installed = torch.__version__.partition("+")[0]
        if stated is None or stated[1] != installed:
            print(f"not compared: the table is that of torch {stated and stated[1]}")
            return 0
        if text == page(text):
            return 0
        print(f"{TABLE.name} is stale: run `python docs/make_torch_names.py`", file=sys.stderr)
        return 1
    TABLE.write_text(page(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
