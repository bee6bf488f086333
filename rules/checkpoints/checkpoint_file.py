"""The checkpoint's file is none, or is damaged.

What it does
------------
Reads the head of the file that `--weights` names, or that `torch.load` in the code opens where it
is there: a pointer of Git LFS, a web page, a file that is cut short, tensors that overlap, an index
that names files which are missing, a pickled module or TorchScript archive in the place of a state
dict. No tensor is read and no pickle is run.

Why it is bad
-------------
The loading library says "invalid load key" or "header too large", long after the job has begun.

Example
-------
    # best.pt has 133 bytes: "version https://git-lfs.github.com/spec/v1 …"
    model.load_state_dict(torch.load("best.pt"))

Use instead
-----------
    # git lfs pull
    model.load_state_dict(torch.load("best.pt"))
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.analysis.module_classes import model_location
from archcheck.core.finding import Finding, Severity
from archcheck.core.rule import Rule
from archcheck.python import Project

if TYPE_CHECKING:
    from archcheck.evidence.checkpoint import Checkpoint
    from archcheck.evidence.trace import Trace

rule = Rule("AC804", "checkpoint-file", Severity.ERROR)


@rule.on_trace
def no_checkpoint(trace: Trace, project: Project) -> Iterator[Finding]:
    request = trace.request
    if request.checkpoint_error is not None:
        yield Finding(request.checkpoint_error, model_location(trace, project))
    for load in request.loads:
        if load.error is not None:
            yield Finding(load.error, load.location)
        elif load.checkpoint is not None:
            for problem in load.checkpoint.problems:
                yield Finding(f"{load.checkpoint.path}: {problem}", load.location)
    if request.checkpoint is None:
        return
    for message in _problems(request.checkpoint):
        yield Finding(f"{request.checkpoint.path}: {message}", model_location(trace, project))


def _problems(checkpoint: Checkpoint) -> Iterator[str]:
    yield from checkpoint.problems
    if checkpoint.form == "TorchScript archive":
        yield (
            "it is a TorchScript archive, which torch.load does not open as a state dict: take "
            "torch.jit.load(…).state_dict()"
        )
    elif checkpoint.form == "exported program":
        yield (
            "it is an exported program, which torch.load does not open as a state dict: take "
            "torch.export.load(…).state_dict"
        )
    elif not checkpoint.state_dicts:
        keys = (
            f": its keys are {', '.join(checkpoint.root_keys[:5])}" if checkpoint.root_keys else ""
        )
        yield f"it holds no tensor{keys}"
    elif checkpoint.state_dict.module:
        yield (
            f"it is a pickled module: torch.load has to import {checkpoint.state_dict.module} as "
            "it was; save model.state_dict() in its place"
        )
