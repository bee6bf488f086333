"""Samplers of distributed training, and the loops over their loaders."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from archcheck.python import SourceFile
from archcheck.python.program.events import Event, Run
from archcheck.python.program.things import Thing

from ._things import build_of, certain_loaders, is_loop, learns

_DISTRIBUTED = frozenset({
    "torch.utils.data.distributed.DistributedSampler", "torch.utils.data.DistributedSampler",
})  # fmt: skip
_PARALLEL = ("torch.nn.parallel.DistributedDataParallel", "apex.parallel.")


class Epochs(NamedTuple):
    """A training over a loader, epoch after epoch.

    Attributes:
        made: Where the sampler, or the loader without one, is built.
        loop: Where its batches are read.
        wrapper: Where the model is wrapped for several processes, if that matters.
    """

    made: Event
    loop: Event
    wrapper: Event | None = None


def samplers_without_epoch(file: SourceFile) -> Iterator[Epochs]:
    """The distributed samplers that training reads in each epoch, and whose epoch is never set."""
    for run, event, loader in _trainings(file):
        if run.of("set_epoch") or "set_epoch" in event.file.code:
            continue
        sampler = loader.fields.get("sampler")
        for one in sampler.alternatives() if sampler is not None else ():
            build = build_of(run, one)
            if one.dotted not in _DISTRIBUTED or build is None or not _shuffles(one):
                continue
            if not run.hands_over(one) and not run.hands_over(loader):
                yield Epochs(build, event)


def loaders_without_sampler(file: SourceFile) -> Iterator[Epochs]:
    """The loaders that give each process of a distributed training all of the data."""
    for run, event, loader in _trainings(file):
        wrapper = next((build for build in run.of("build") if build.result is not None
                        and build.result.dotted.startswith(_PARALLEL)), None)  # fmt: skip
        build = build_of(run, loader)
        if wrapper is None or build is None or not isinstance(loader.type, str):
            continue
        if loader.fields.keys() & {"sampler", "batch_sampler"} or "open" in loader.marks:
            continue
        data = loader.fields.get("dataset")
        if data is None or data.kind != "dataset" or not isinstance(data.type, str):
            continue
        if "Sampler" not in event.file.code and not _is_sharded(data):
            yield Epochs(build, event, wrapper)


def _trainings(file: SourceFile) -> Iterator[tuple[Run, Event, Thing]]:
    """The loops over batches that learn, in a loop over epochs, with their loaders."""
    if "accelerat" in file.code or "Fabric" in file.code or "lightning" in file.code:
        return
    for run in file.runs:
        for event in run.of("iterate") if run.complete else ():
            outer = [region for region in event.around[:-1] if is_loop(region)]
            if is_loop(event.around[-1]) and outer and learns(run, event.around[-1]):
                for loader in certain_loaders(event.subject):
                    if not any(build.is_in(outer[-1]) for build in run.of("build")
                               if build.result is loader):  # fmt: skip
                        yield run, event, loader


def _shuffles(sampler: Thing) -> bool:
    shuffle = sampler.fields.get("shuffle")
    return shuffle is None or shuffle.value is True


def _is_sharded(data: Thing) -> bool:
    """Whether the text that makes a data set speaks of the process that it is for."""
    statement = data.statement
    text = statement.scope.file.text(statement.node) if statement is not None else "rank"
    return any(word in text for word in ("rank", "shard", "world", "worker"))
