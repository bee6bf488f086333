"""Loaders, and the loops that learn from them."""

from __future__ import annotations

from collections.abc import Iterator

from archcheck.python import SourceFile
from archcheck.python.program.things import Thing

from ._things import certain_loaders, is_loop, learns


def loaders_that_teach(file: SourceFile) -> Iterator[Thing]:
    """The loaders of which each epoch of a training reads all, each once.

    Only where a loop around goes over them again and again, and where no other loop reads them in
    order without learning: its order may be needed there.
    """
    for run in file.runs:
        taught: dict[Thing, bool] = {}
        for event in run.of("iterate"):
            loop = event.around[-1]
            repeats = any(is_loop(outer) for outer in event.around[:-1])
            for loader in certain_loaders(event.subject):
                good = is_loop(loop) and repeats and learns(run, loop)
                taught[loader] = taught.get(loader, True) and good
        yield from (loader for loader, good in taught.items() if good)
