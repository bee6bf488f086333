"""Processes of a distributed training that read the data in the wrong order, or all of it each.

What it does
------------
Follows the run of a script and looks for a `DistributedSampler` whose loader is read in every epoch
while nothing calls `set_epoch()`; and for a model in `DistributedDataParallel` that trains on a
plain loader. Accelerate, Fabric and Lightning see to both, and are left alone.

Why it is bad
-------------
The sampler shuffles by a seed that depends on the epoch alone: without `set_epoch` all epochs have
the same order. Without a distributed sampler every process goes through all of the data: an epoch
takes as long as on one device, and batches overlap.

Example
-------
    sampler = DistributedSampler(data)
    loader = DataLoader(data, sampler=sampler)
    for epoch in range(epochs):
        for x, y in loader:
            …

Use instead
-----------
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for x, y in loader:
            …
"""

from __future__ import annotations

from collections.abc import Iterator

from archcheck.core.finding import Finding, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import SourceFile

from ._samplers import loaders_without_sampler, samplers_without_epoch

rule = Rule("AC513", "sampler-epoch-missing", Severity.WARNING)


@rule.on_source
def same_order_in_each_epoch(file: SourceFile) -> Iterator[Finding]:
    for found in {one.made.node: one for one in samplers_without_epoch(file)}.values():
        name = found.made.result.name if found.made.result is not None else ""
        yield Finding(
            "nothing calls `set_epoch()` of this sampler: all epochs have the same order",
            found.made.location,
            label="shuffles by the epoch, which is never set",
            related=(Related(found.loop.location, "read in every epoch"),),
            help=f"call {name or 'sampler'}.set_epoch(epoch) at the start of each epoch",
        )


@rule.on_source
def all_data_in_each_process(file: SourceFile) -> Iterator[Finding]:
    for found in {one.made.node: one for one in loaders_without_sampler(file)}.values():
        assert found.wrapper is not None
        yield Finding(
            "every process of the distributed training reads all of the data: this loader has no "
            "DistributedSampler",
            found.made.location,
            label="the same data in each process",
            related=(Related(found.wrapper.location, "trains in several processes"),),
            help="sampler=DistributedSampler(dataset), and sampler.set_epoch(epoch) in each epoch",
        )
