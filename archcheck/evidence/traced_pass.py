"""`TracedPass`: the records of one forward pass, and the way from one of them to another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from archcheck.core.dependencies import Dependencies
from archcheck.core.target import Shape
from archcheck.evidence.probe import Probe
from archcheck.evidence.records import (
    Failure,
    LineValue,
    Module,
    ModuleCall,
    Op,
    Parameter,
    Rung,
    SizeAnswer,
    SizeName,
    Sizes,
    StateEntry,
    TracedInput,
    Value,
)
from archcheck.evidence.symbolic import SymbolicShapes
from archcheck.evidence.training_step import TrainingStep


@dataclass(frozen=True)
class TracedPass:
    """All that one forward pass showed.

    Attributes:
        target: As the user wrote it.
        path: The file that the target was loaded from.
        mode: `train` or `eval`.
        rung: What the tensors were; None where the pass never started.
        steps: Why each rung before that one was left, in sentences.
        inferred_input: The sentence that says where the input came from, if the user gave none.
        outputs: What forward returned, nested, `ValueIndex` for tensors.
        complete: The pass reached its end (over recovered failures, perhaps).
        decided_by_values: The inputs whose values, which archcheck made up, decided a size or were
            read by the code: what it did with them holds for those values.
        state_dict: The entries of `state_dict()`, in order, and the buffers that it leaves out.
        renaming_modules: The paths of modules that rename keys by code of their own on loading.
        peak_activation_bytes: In train mode with all that autograd keeps, in eval mode what is
            alive at once.
        uncounted_ops: Ops with work that no formula covers, and how often they ran.
        valid_input_sizes: Per dimension that the model limits.
        size_answers: Per dimension that may vary, what kind of answer there is.
        files: The files of the project that were read while loading.
        versions: Of python and torch.
        defects: Tracebacks of what went wrong in archcheck itself; a pass that is `complete` all
            the same was made on another rung, or lacks only its valid sizes.
        dependencies: What it depends on besides the request; None where that is not known, or where
            the next attempt may well end otherwise (a limit was reached, a process crashed).
        step: A training step, where costs were asked for.
        symbolic: The sizes of its values over those of its inputs, where they were asked for.
        probe: What real numbers showed, where that was asked for.
    """

    target: str
    path: str
    mode: Literal["train", "eval"] = "train"
    rung: Rung | None = None
    steps: tuple[str, ...] = ()
    inferred_input: str | None = None
    inputs: tuple[TracedInput, ...] = ()
    outputs: Any = None
    complete: bool = False
    modules: tuple[Module, ...] = ()
    calls: tuple[ModuleCall, ...] = ()
    ops: tuple[Op, ...] = ()
    values: tuple[Value, ...] = ()
    lines: tuple[LineValue, ...] = ()
    size_names: tuple[SizeName, ...] = ()
    failures: tuple[Failure, ...] = ()
    decided_by_values: tuple[str, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    state_dict: tuple[StateEntry, ...] = ()
    renaming_modules: tuple[str, ...] = ()
    macs: int = 0
    flops: int = 0
    peak_activation_bytes: int = 0
    uncounted_ops: Mapping[str, int] = field(default_factory=dict)
    valid_input_sizes: tuple[Sizes, ...] = ()
    size_answers: Mapping[str, SizeAnswer] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    printed: str = ""
    defects: tuple[str, ...] = ()
    dependencies: Dependencies | None = None
    step: TrainingStep | None = None
    symbolic: SymbolicShapes | None = None
    probe: Probe | None = None

    @property
    def shows_nothing(self) -> bool:
        """Whether archcheck itself failed before the model was seen to work or to fail."""
        return bool(self.defects) and not self.complete and not self.failures

    def module(self, path: str) -> Module | None:
        """The module at this path, by any of its names."""
        return self._by_path.get(path)

    def module_of(self, op: Op) -> Module | None:
        """The module whose call the op ran in."""
        return None if op.call is None else self.module(self.calls[op.call].path)

    @cached_property
    def _by_path(self) -> Mapping[str, Module]:
        return {path: module for module in self.modules for path in (module.path, *module.aliases)}

    def shape(self, index: int) -> Shape:
        return self.values[index].shape
