"""The whole answer: which state dict of the file is meant, and the steps to the model's names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from archcheck.analysis.state_dicts.compare import Comparison, Signature, Table, compare, table_of
from archcheck.analysis.state_dicts.dialects import gguf_names, kohya_names
from archcheck.analysis.state_dicts.experts import split_to_stacked, stacked_to_split
from archcheck.analysis.state_dicts.renames import by_order, renumbered, subtrees
from archcheck.analysis.state_dicts.reshaped import (
    fused_to_split,
    sides_of_one,
    split_to_fused,
    transposed,
)
from archcheck.analysis.state_dicts.steps import (
    Proposer,
    Step,
    improved,
    prefix_added,
    prefix_removed,
    spellings,
    tied_names,
    wrappers_removed,
)
from archcheck.evidence.checkpoint import Checkpoint, StateDict

MOST_STEPS = 12
MOST_CANDIDATES = 6

# In the order in which they are tried: what explains the most, first.
_PROPOSERS: Sequence[Proposer] = (
    wrappers_removed,
    prefix_removed,
    prefix_added,
    spellings,
    kohya_names,
    gguf_names,
    renumbered,
    subtrees,
    fused_to_split,
    split_to_fused,
    split_to_stacked,
    stacked_to_split,
    transposed,
    sides_of_one,
    by_order,
)
# What gguf's `dequantize` gives, which the code for such a file calls.
_DEQUANTIZED = "float32"


@dataclass(frozen=True)
class Diagnosis:
    """What a checkpoint is to a model.

    Attributes:
        state: The state dict of the file that is meant.
        before: As the file's names are, from the root object of the file.
        after: With the steps' names.
        steps: How to get from one to the other; `ties` is the last of them where names are tied.
    """

    signature: Signature
    state: StateDict
    before: Comparison
    after: Comparison
    steps: tuple[Step, ...]
    ties: Step | None
    table: Table

    @property
    def mapping(self) -> str:
        """The Python that makes a state dict of `checkpoint`, "" where none is needed."""
        steps = [step.code for step in (*self.steps, *((self.ties,) if self.ties else ()))]
        if not steps and not self.state.keys and not self.state.module:
            return ""
        method = ".state_dict()" if self.state.module else ""
        lines = [f"state = dict(checkpoint{self.state.expression}{method})", *steps]
        text = "\n".join(lines)
        imports = [name for name in ("re", "torch") if f"{name}." in text.replace("torch.load", "")]
        return "\n".join([*(f"import {name}" for name in imports), text])


def diagnose(
    signature: Signature, checkpoint: Checkpoint, allow_missing: Sequence[str] = ()
) -> Diagnosis:
    """Find the state dict that is meant, and the steps that make the most of it load."""
    root = checkpoint.state_dicts[0] if checkpoint.state_dicts else StateDict((), ())
    candidates = list(_candidates(checkpoint)) or [root]
    found = [_solve(signature, candidate, allow_missing) for candidate in candidates]
    # `max` takes the first of equals: the order of the file's state dicts stands.
    best = max(found, key=lambda diagnosis: diagnosis.after.score[:2])
    if best.state.keys:
        at_root = next((one for one in checkpoint.state_dicts if not one.keys), StateDict((), ()))
        best = replace(best, before=compare(signature, table_of(at_root), allow_missing))
    return best


def diagnose_state(
    signature: Signature, state: StateDict, allow_missing: Sequence[str] = ()
) -> Diagnosis:
    """Find the steps that make the most of one state dict load."""
    return _solve(signature, state, allow_missing)


def _candidates(checkpoint: Checkpoint) -> Iterator[StateDict]:
    for state in checkpoint.state_dicts[:MOST_CANDIDATES]:
        yield _dequantized(state) if checkpoint.form == "GGUF" else state


def _dequantized(state: StateDict) -> StateDict:
    return replace(
        state,
        tensors=tuple(
            replace(tensor, dtype=_DEQUANTIZED, layout="strided")
            if tensor.layout == "quantized"
            else tensor
            for tensor in state.tensors
        ),
    )


def _solve(signature: Signature, state: StateDict, allow_missing: Sequence[str]) -> Diagnosis:
    table = table_of(state)
    before = now = compare(signature, table, allow_missing)
    steps: list[Step] = []
    while len(steps) < MOST_STEPS and not now.loads:
        step = _next_step(signature, table, now, allow_missing)
        if step is None:
            break
        steps.append(step)
        table, now = step.table, compare(signature, step.table, allow_missing)
    ties = next(tied_names(signature, table, now), None)
    if ties is not None:
        table = ties.table
    return Diagnosis(signature, state, before, now, tuple(steps), ties, table)


def _next_step(
    signature: Signature, table: Table, now: Comparison, allow_missing: Sequence[str]
) -> Step | None:
    """Return the first kind of step that helps, and of its proposals the one that helps most."""
    for propose in _PROPOSERS:
        helping = [
            (after.score, -number, step)
            for number, step in enumerate(propose(signature, table, now))
            if (after := improved(signature, step, now, allow_missing)) is not None
        ]
        if helping:
            return max(helping, key=lambda one: one[:2])[2]
    return None
