"""From a factory or a live model to a `Trace`: the ladder meta, fake, real.

    trace_module(build, inputs, *, target, path, mode, user_files) -> Trace
    trace_live(model, inputs, *, mode, target, user_files) -> Trace

`build()` makes the model anew; it is called once per rung (and once more where the constructor
needs real memory). It may raise `BuildFailed(failure)` to tell of a failure in its own words, and
`UsageError`; whatever else it raises becomes a failure of the stage `construct`.

`inputs` is a sequence of `NamedInput(value, name)`, of `(name or None, value)` pairs, or of bare
values. A value is a `TensorSpec(shape, dtype name or None)`, a list, tuple or dict of values, or
plain data that is handed to forward as it is. They are bound to forward's parameters in order,
named ones by name; `UsageError` names the parameters where they don't fit.

`user_files(path)` tells whether a code object's file counts as the user's own; a collection of
paths does too.
"""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from archcheck.core.cost_request import StepRequest
from archcheck.core.probe_request import DEFAULT_LIMIT, ProbeRequest
from archcheck.core.target import UsageError
from archcheck.evidence.probe import Probe
from archcheck.evidence.records import Failure, Rung
from archcheck.evidence.trace import Trace
from archcheck.tracing.attempt import Attempt, versions
from archcheck.tracing.input_tensors import (
    NamedInput,
    TensorSpec,
    Values,
    as_inputs,
    bind,
    forward_parameters,
    make_inputs,
)
from archcheck.tracing.patching.patches import without_slow_imports
from archcheck.tracing.patching.snapshot import preserved_settings, seeded, without_collections
from archcheck.tracing.record.build import (
    Origins,
    convert,
    may_stay,
    noted_origins,
    parameters_on_meta,
    placed_on_cpu,
    turned_meta,
)
from archcheck.tracing.record.copies import copied
from archcheck.tracing.record.placement import LeaveRung
from archcheck.tracing.record.spans import Spans
from archcheck.tracing.record.substitutes import compiled_as_written
from archcheck.tracing.recover.errors import describe_error
from archcheck.tracing.sizes.passes import Sizing
from archcheck.tracing.step.casting import cast_inputs, cast_model

UserFiles: TypeAlias = Callable[[str], bool] | Collection[str]
Mode: TypeAlias = Literal["train", "eval"]

__all__ = [
    "BuildFailed",
    "NamedInput",
    "TensorSpec",
    "trace_live",
    "trace_module",
]


class BuildFailed(Exception):
    """Raised by a factory that knows best what went wrong."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def trace_module(
    build: Callable[[], nn.Module],
    inputs: Sequence[Any],
    *,
    target: str = "",
    path: str = "",
    mode: Mode = "train",
    user_files: UserFiles | None = None,
    find_sizes: bool = False,
    free: Sequence[Mapping[int, str]] = (),
    training: StepRequest | None = None,
    symbolic: bool = False,
    probe: ProbeRequest | None = None,
) -> Trace:
    """Traces one forward pass of the model that `build` makes.

    Args:
        find_sizes: Find the input sizes that the model accepts, too.
        free: For each input its free dimensions, with their letters.
        training: Record a training step, too; only in train mode.
        symbolic: Find every size as a function of the input's, too.
        probe: Run the model on real tensors, too.

    Raises:
        UsageError: The inputs don't fit forward's parameters.
    """
    spans = Spans(_predicate(user_files), _BOUNDARIES)
    ladder = Ladder(
        spans,
        as_inputs(inputs),
        mode,
        meta=lambda origins: _build_on_meta(build, origins),
        real=lambda origins: _build_for_real(build, origins),
        sizes=Sizing(free, find_sizes, symbolic),
        training=training,
        probe=probe,
    )
    return ladder.climb(target, path)


def trace_live(
    model: nn.Module,
    inputs: Sequence[Any],
    *,
    mode: Mode | None = None,
    target: str | None = None,
    path: str = "",
    user_files: UserFiles | None = None,
    find_sizes: bool = False,
    free: Sequence[Mapping[int, str]] = (),
    training: StepRequest | None = None,
    symbolic: bool = False,
    probe: ProbeRequest | None = None,
) -> Trace:
    """Traces a model that somebody holds; nothing of it changes, whatever is raised.

    The passes run on copies: on meta and fake tensors the copy has no weights, on real ones it
    has its own.

    Raises:
        UsageError: The inputs don't fit forward's parameters.
    """
    model = _checked(model)
    spans = Spans(_predicate(user_files, model), _BOUNDARIES)
    ladder = Ladder(
        spans,
        as_inputs(inputs),
        mode or ("train" if model.training else "eval"),
        meta=lambda origins: copied(model, on_meta=True),
        real=lambda origins: copied(model, on_meta=False),
        sizes=Sizing(free, find_sizes, symbolic),
        only_real=_is_scripted(model),
        training=training,
        probe=probe,
        anew=False,
    )
    return ladder.climb(target if target is not None else type(model).__name__, path)


class Ladder:
    """Climbs from the cheapest rung to the first that can answer.

    A failure that tensors without memory show is confirmed before it is reported: by torch
    itself, asked with real tensors for the one call, or else by the next rung.
    """

    def __init__(
        self,
        spans: Spans,
        inputs: Sequence[NamedInput],
        mode: Mode,
        meta: Callable[[Origins], nn.Module],
        real: Callable[[Origins], nn.Module],
        sizes: Sizing,
        only_real: bool = False,
        training: StepRequest | None = None,
        probe: ProbeRequest | None = None,
        anew: bool = True,
    ) -> None:
        self._spans = spans
        self._probe = probe
        self._anew = anew
        self._sizes = sizes
        self._training = training if mode == "train" else None
        self._inputs = inputs
        self._mode: Mode = mode
        self._meta = meta
        self._real = real
        self._only_real = only_real
        self._defects: list[str] = []

    def climb(self, target: str, path: str) -> Trace:
        steps: list[str] = []
        before: Attempt | None = None
        rung: Rung | None = "meta"
        if self._only_real:
            steps.append("meta: TorchScript keeps its weights where only real tensors reach them")
            rung = "real"
        with preserved_settings():
            while rung is not None:
                origins = Origins(self._spans)
                seeded()
                try:
                    model = self._real(origins) if rung == "real" else self._meta(origins)
                except BuildFailed as failed:
                    return self._unbuilt(failed.failure, target, path, steps)
                except UsageError:
                    raise
                except (Exception, SystemExit) as error:
                    failure = describe_error("construct", error, self._spans)
                    return self._unbuilt(failure, target, path, steps)
                attempt: Attempt | None = None
                try:
                    attempt = self._attempted(model, rung, origins)
                    reason = self._reason_to_climb(attempt, before)
                    if reason is None:
                        attempt, certain = self._with_other_values(attempt, rung)
                        trace = attempt.trace(target, path, steps)
                        trace = self._with_step(before_failure(trace, certain), rung)
                        return self._probed(self._sized(attempt, trace))
                except UsageError:
                    raise
                except Exception:
                    # The pass answers for what the model raises: this is a defect of archcheck.
                    self._defects.append(f"{target}, {rung}: {traceback.format_exc()}")
                    reason, attempt = "archcheck itself failed on this rung", None
                steps.append(f"{rung}: {reason}")
                rung = _next(rung, attempt)
                if rung == "real" and not _fits(model):
                    steps.append("real: not tried, the weights would fill most of the memory")
                    rung = None
                before = attempt or before
        return self._best_of(before, target, path, steps)

    def _attempted(
        self, model: nn.Module, rung: Rung, origins: Origins, values: Values = "zeros"
    ) -> Attempt:
        training = self._training_alongside
        with nullcontext() if rung == "real" else without_collections():
            attempt = self.attempt(model, rung, origins, training=training, values=values)
            if attempt.needs_saved:
                attempt = self.attempt(model, rung, origins, keep_saved=True, values=values)
        return attempt

    def _with_other_values(self, attempt: Attempt, rung: Rung) -> tuple[Attempt, int]:
        """Return a pass that does not fail for its made-up values, and how many failures are sure.

        What fails with other values in the same words is the model's own fault.
        """
        found = attempt.failures.found
        sure = len(found)
        if not found or not attempt.recorder.invented.decided:
            return attempt, sure
        for values in _OTHER_VALUES:
            origins = Origins(self._spans)
            seeded()
            model = self._real(origins) if rung == "real" else self._meta(origins)
            other = self._attempted(model, rung, origins, values)
            again = other.failures.found
            if other.leave is None and other.complete and not again:
                return other, 0
            words = {(one.location, one.error, one.message) for one in again}
            told = [(one.location, one.error, one.message) in words for one in found]
            sure = min(sure, told.index(False) if False in told else len(found))
        if attempt.failures.is_by_values(found[-1]):
            sure = min(sure, len(found) - 1)
        return attempt, sure

    def _best_of(
        self, attempt: Attempt | None, target: str, path: str, steps: Sequence[str]
    ) -> Trace:
        """What the last rung that could be tried has shown, though another was to confirm it."""
        if attempt is None:
            return self._unseen(target, path, steps)
        try:
            return self._sized(attempt, attempt.trace(target, path, steps))
        except Exception:
            self._defects.append(f"{target}, {attempt.rung}: {traceback.format_exc()}")
            return self._unseen(target, path, steps)

    @property
    def _training_alongside(self) -> StepRequest | None:
        """The step that is recorded in the pass that rules see."""
        training = self._training
        return training if training is not None and training.precision == "fp32" else None

    def _with_step(self, trace: Trace, rung: Rung) -> Trace:
        """The trace with its step in another precision than the model is built in.

        The step has a pass of its own, so that no finding depends on the precision.
        """
        training = self._training
        if training is None or training.precision == "fp32":
            return trace
        origins = Origins(self._spans)
        seeded()
        model = self._real(origins) if rung == "real" else self._meta(origins)
        cast_model(model, training)
        step = self.attempt(model, rung, origins, training=training).step(trace.ops)
        return replace(trace, step=step)

    def _probed(self, trace: Trace) -> Trace:
        """The trace with what real tensors show, if that is asked for."""
        if self._probe is None:
            return trace
        if not trace.complete or trace.failures:
            return replace(trace, probe=Probe(skipped=("the pass has mistakes to mend first",)))
        # Imported only now: few ask for it.
        from archcheck.tracing.probe.prober import Prober

        prober = Prober(
            lambda: self._real(Origins(self._spans)),
            self._inputs,
            trace,
            self._spans,
            anew=self._anew,
            limit=self._probe.limit or DEFAULT_LIMIT,
        )
        try:
            return replace(trace, probe=prober.probe())
        except Exception:
            defect = f"{trace.target}, probe: {traceback.format_exc()}"
            return replace(trace, defects=(*trace.defects, defect))

    def _sized(self, attempt: Attempt, trace: Trace) -> Trace:
        try:
            trace = self._sizes.found(attempt, trace)
        except Exception:
            self._defects.append(f"{trace.target}, valid sizes: {traceback.format_exc()}")
        return replace(trace, defects=tuple(self._defects))

    def attempt(
        self,
        model: nn.Module,
        rung: Rung,
        origins: Origins,
        keep_saved: bool = False,
        training: StepRequest | None = None,
        values: Values = "zeros",
    ) -> Attempt:
        fake_mode: Any = None
        signature = forward_parameters(model.forward)
        args, kwargs, names = bind(self._inputs, signature, type(model).__name__)
        if rung == "fake" and any(map(is_lazy, model.parameters())):
            attempt = Attempt(model, rung, self._mode, self._spans, origins)
            attempt.leave = "lazy modules make their weights in the pass, which must be real ones"
            return attempt
        if rung == "fake":
            from torch._subclasses.fake_tensor import FakeTensorMode

            fake_mode = FakeTensorMode(allow_non_fake_inputs=True)
            convert(model, lambda tensor: _as_fake(tensor, fake_mode))
        attempt = Attempt(
            model,
            rung,
            self._mode,
            self._spans,
            origins,
            fake_mode or nullcontext(),
            keep_saved,
            training,
        )

        with fake_mode or nullcontext():
            given = make_inputs(args, kwargs, names, "meta" if rung == "meta" else "cpu", values)
            if training is not None:
                given = cast_inputs(given, training)
        seeded()
        attempt.run(*given, names)
        return attempt

    def _reason_to_climb(self, attempt: Attempt, before: Attempt | None) -> str | None:
        if attempt.leave is not None:
            return attempt.leave
        if not attempt.failures.uncertain:
            return None
        found = attempt.failures.found
        if before is not None and before.leave is None:
            seen = {(failure.location, failure.error) for failure in before.failures.found}
            if all((found[i].location, found[i].error) in seen for i in attempt.failures.uncertain):
                return None
        first = found[min(attempt.failures.uncertain)]
        return f"it raised {first.error}, which another kind of tensor must confirm"

    def _unbuilt(self, failure: Failure, target: str, path: str, steps: Sequence[str]) -> Trace:
        return replace(self._unseen(target, path, steps), failures=(failure,))

    def _unseen(self, target: str, path: str, steps: Sequence[str]) -> Trace:
        """The trace of a model that no pass has shown."""
        return Trace(
            target=target,
            path=path,
            mode=self._mode,
            steps=tuple(steps),
            versions=versions(),
            defects=tuple(self._defects),
        )


def before_failure(trace: Trace, sure: int) -> Trace:
    """Return a trace without the failures after the first ones, which made-up values may explain.

    It ends there: what came after them is no fact of the model.
    """
    if sure >= len(trace.failures):
        return trace

    def kept(failure: int | None) -> int | None:
        return failure if failure is not None and failure < sure else None

    return replace(
        trace,
        failures=trace.failures[:sure],
        ops=tuple(replace(op, failure=kept(op.failure)) for op in trace.ops),
        calls=tuple(replace(call, failure=kept(call.failure)) for call in trace.calls),
        outputs=None,
        complete=False,
    )


_OTHER_VALUES: tuple[Values, ...] = ("parts", "ones")


def _next(rung: Rung, attempt: Attempt | None) -> Rung | None:
    if rung == "meta" and (attempt is None or not attempt.reads_values):
        return "fake"
    return None if rung == "real" else "real"


def _fits(model: nn.Module) -> bool:
    """Whether the model's own tensors leave room in this machine's memory."""
    size = sum(
        tensor.numel() * tensor.element_size()
        for tensor in (*model.parameters(), *model.buffers())
        if not is_lazy(tensor)
    )
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not told on this system
        return True
    return size < memory * 0.6


_BOUNDARIES = (Attempt.run, trace_module, trace_live)


def _build_on_meta(build: Callable[[], nn.Module], origins: Origins) -> nn.Module:
    try:
        with (
            without_slow_imports(),
            compiled_as_written(),
            noted_origins(origins),
            parameters_on_meta(),
        ):
            model = _checked(build())
    except (BuildFailed, UsageError):
        raise
    except (Exception, LeaveRung):
        # The constructor needs the values of its parameters, or fails by itself: a real one says.
        origins.forget()
        model = _build_for_real(build, origins)
    convert(model, lambda tensor: tensor if may_stay(tensor) else turned_meta(tensor))
    return model


def _is_scripted(model: nn.Module) -> bool:
    """Whether a part of the model is TorchScript, whose weights Python cannot exchange."""
    return any(isinstance(module, torch.jit.ScriptModule) for module in model.modules())


def _build_for_real(build: Callable[[], nn.Module], origins: Origins) -> nn.Module:
    with compiled_as_written(), noted_origins(origins), placed_on_cpu():
        return _checked(build())


def _checked(model: Any) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"the target gives {type(model).__name__!r}, which is no torch.nn.Module; name a "
            "module class, a function that returns a module, or a module"
        )
    # torch.compile wraps the module that the user wrote.
    inner = getattr(model, "_orig_mod", None)
    return inner if isinstance(inner, nn.Module) else model


def _as_fake(tensor: torch.Tensor, fake_mode: Any) -> torch.Tensor:
    from torch._subclasses.fake_tensor import FakeTensor

    if isinstance(tensor, FakeTensor) or not tensor.is_meta:
        return tensor
    if is_lazy(tensor):
        return tensor
    with torch.no_grad():
        fake = FakeTensor(fake_mode, tensor.detach(), torch.device("cpu"))
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(fake, requires_grad=tensor.requires_grad)
    return fake


def _predicate(
    user_files: UserFiles | None, model: nn.Module | None = None
) -> Callable[[str], bool]:
    if callable(user_files):
        return user_files
    if user_files is not None:
        known = {str(Path(file)) for file in user_files} | set(user_files)
        return known.__contains__
    home = Path(torch.__file__).parent
    mine = Path(__file__).parent.parent
    outside = [str(home), str(mine), sysconfig.get_path("stdlib")]
    packages = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    own: str | None = None
    if model is not None:
        # A model of an installed package: that package is what the user asks about.
        module = sys.modules.get(type(model).__module__.partition(".")[0])
        file = getattr(module, "__file__", None)
        own = str(Path(file).parent) if file and not file.startswith(str(home)) else None

    def is_user(file: str) -> bool:
        if file.startswith("<") and not file.startswith(("<ipython", "<stdin")):
            return False
        if own is not None and file.startswith(own):
            return True
        return not file.startswith((*outside, *packages))

    return is_user
