"""Evaluation loops that build graphs which nothing differentiates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from archcheck.python import SourceFile
from archcheck.python.program.events import Event, Region, Run

from ._things import is_loop, is_or_holds

# What stands around code and lets graphs be.
_KNOWN_MANAGERS = ("torch.autocast", "torch.cuda.", "torch.amp.", "torch.profiler", "tqdm", "open",
                   "torch.set_grad_enabled", "torch.enable_grad", "rich.", "warnings.")  # fmt: skip
_KNOWN_DECORATORS = frozenset({
    "staticmethod", "classmethod", "property", "functools.wraps", "functools.lru_cache",
    "torch.enable_grad", "override", "typing.override",
})  # fmt: skip


class Unused(NamedTuple):
    """An evaluation loop that builds graphs.

    Attributes:
        switch: Where the model goes into eval mode.
        call: Where it computes, with a graph.
    """

    loop: Region
    switch: Event
    call: Event


def graphs_of_evaluations(file: SourceFile) -> Iterator[Unused]:
    """The loops that only evaluate a model which is in eval mode, with a graph each turn."""
    for run in file.runs:
        if not run.of("eval") or _is_switched_for_all(run):
            continue
        for call in run.of("call"):
            loop = next((one for one in call.loops if is_loop(one)), None)
            if loop is not None and not call.is_without_gradients and _is_model(call):
                switch = _in_eval_mode(run, call)
                if switch is not None and _only_evaluates(run, call, loop):
                    yield Unused(loop, switch, call)


def _is_switched_for_all(run: Run) -> bool:
    """Whether a file of the run switches gradients off by a statement of its own."""
    files = {event.file for event in run.events}
    return any("set_grad_enabled(" in one.code or "set_grad_mode" in one.code for one in files)


def _is_model(call: Event) -> bool:
    return call.subject.role == "module" or "switched" in call.subject.marks


def _in_eval_mode(run: Run, call: Event) -> Event | None:
    """The last switch before a call, where that is to eval mode, of the very model."""
    model = call.subject
    switches = [
        one
        for one in run.of("eval", "train")
        if one.index < call.index and is_or_holds(one.subject, model) and not one.excludes(call)
    ]
    last = switches[-1] if switches else None
    return last if last is not None and last.kind == "eval" else None


def _only_evaluates(run: Run, call: Event, loop: Region) -> bool:
    """Whether nothing differentiates what a loop computes, and nothing may."""
    if not run.complete or _is_managed(call):
        return False
    if any(run.inside(loop, "backward", "grad", "step", "schedule", "gradient")):
        return False
    if any(is_or_holds(one.subject, call.subject) or one.subject.modules
           for one in run.of("freeze")):  # fmt: skip
        return False
    result = call.result
    learned = (*run.of("backward"), *run.of("grad"))
    return result is not None and not any(one.subject.reaches(result, 8) for one in learned)


def _is_managed(call: Event) -> bool:
    """Whether a context manager or a decorator around may switch gradients off."""
    for region in call.around:
        over = region.over
        if region.kind == "with" and not (over is not None and over.dotted.startswith(
            _KNOWN_MANAGERS
        )):  # fmt: skip
            return True
        function = region.function
        if function is not None and not _KNOWN_DECORATORS.issuperset(map(str, function.decorators)):
            return True
    return False
