"""How a file spells names of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from archcheck.python import SourceFile


def spelled(file: SourceFile, dotted: str) -> str | None:
    """How a name such as `torch.nn.ModuleList` is written in a file, by its own imports: as
    `nn.ModuleList`, `torch.nn.ModuleList` or `ModuleList`; None where it imports none of these."""
    meanings = {meaning: name for name, meaning in file.imports.items()}
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        name = meanings.get(".".join(parts[:length]))
        if name is not None:
            return ".".join((name, *parts[length:]))
    return None
