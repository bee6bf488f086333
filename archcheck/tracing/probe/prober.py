"""Runs a model on small real tensors, and says what its numbers showed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from archcheck.evidence.probe import BatchLeak, NonFinite, Probe, Series
from archcheck.evidence.trace import Trace
from archcheck.evidence.training_step import DTYPE_BYTES
from archcheck.tracing.attempt import raise_own, set_mode
from archcheck.tracing.input_tensors import NamedInput, bind, forward_parameters
from archcheck.tracing.patching.patches import without_slow_imports
from archcheck.tracing.patching.snapshot import seeded
from archcheck.tracing.probe.activity import ActivityWatch, SignalHooks
from archcheck.tracing.probe.gradients import (
    GradientWatch,
    ZeroBarriers,
    cotangents,
    described,
    differentiable,
    nudge,
    without_gradient,
)
from archcheck.tracing.probe.non_finite import (
    FiniteWatch,
    first_non_finite,
    non_finite_kind,
    origin_in_backward,
    with_end,
)
from archcheck.tracing.probe.sample_inputs import SampleInputs, inputs_to_try
from archcheck.tracing.probe.samples import meeting_place, sample_changes
from archcheck.tracing.probe.watch import Watch, watched
from archcheck.tracing.record.recorder import tensors_in
from archcheck.tracing.record.spans import Spans

# Two passes more than a zero-initialised gate behind a zero-initialised last layer needs.
_PASSES = 5
# The pass in eval mode: random depth and dropout leave nothing out of it.
_EVAL_PASS = 2


@dataclass
class _Trained:
    """What the training passes over one build of the model showed."""

    model: nn.Module
    activity: ActivityWatch
    series: tuple[Series, ...] = ()
    end: NonFinite | None = None
    survivors: dict[str, bool] = field(default_factory=dict)
    passes: int = 0
    outputs: int = 0


class Prober:
    """Probes one model.

    Args:
        build: Makes the model for real; the same again each time for one that somebody holds.
        inputs: As the trace was given them.
        anew: Whether `build` initialises the model anew, by the seed.
        limit: The bytes that the passes may take.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        inputs: Sequence[NamedInput],
        trace: Trace,
        spans: Spans,
        *,
        anew: bool,
        limit: int,
    ) -> None:
        self._build = build
        self._inputs = inputs
        self._trace = trace
        self._spans = spans
        self._anew = anew
        self._limit = limit
        self._skipped: list[str] = []
        # Whether the last call drew random numbers of its own.
        self._draws = False

    def probe(self) -> Probe:
        """Return what the passes showed; what the model raises only leaves something out."""
        too_large = self._too_large()
        if too_large is not None:
            return Probe(skipped=(too_large,))
        try:
            with without_slow_imports():
                return self._probe()
        except (Exception, SystemExit) as error:
            raise_own(error)
            return Probe(skipped=(*self._skipped, f"a pass on real tensors raised {_text(error)}"))

    def _probe(self) -> Probe:
        model = self._built(0)
        unfilled = self._unfilled(model)
        if unfilled:
            return Probe(non_finite=unfilled)
        given, trained = self._first_pass(model)
        found = Probe(
            inputs=given.described(),
            smaller=given.smaller,
            parameters=sum(p.requires_grad for p in model.parameters()),
        )
        if trained.end is not None:
            origin = self._origin(given)
            given = replace(given, positive=origin is not None)
            # What only wants positive inputs gets them.
            if origin is not None and self._origin(given) is not None:
                self._skipped.append("gradients and samples, because its numbers are not finite")
                return replace(
                    found,
                    non_finite=(with_end(origin, trained.end),),
                    skipped=tuple(self._skipped),
                )
            trained = self._train(self._built(0), given, 0, infinite=True)
        found = replace(found, series=trained.series)
        if trained.outputs:
            found = self._with_gradients(found, given, trained)
        else:
            self._skipped.append("gradients, because no output takes a gradient")
        found = self._with_samples(found, given, trained.model)
        return replace(found, skipped=tuple(self._skipped))

    # Building

    def _built(self, seed: int) -> nn.Module:
        seeded(seed)
        with _memory_filled() if self._anew else nullcontext():
            return self._build().cpu()

    def _too_large(self) -> str | None:
        """Why the model is not built for real, in a sentence."""
        weights = sum(
            parameter.count * DTYPE_BYTES.get(parameter.dtype, 4) * (1 + parameter.trainable)
            for parameter in self._trace.parameters
        )
        if weights <= self._limit:
            return None
        return (
            f"weights and gradients would take {weights / 2**30:.1f} GiB, the limit is "
            f"{self._limit / 2**30:.1f} GiB; raise it with --memory-limit, or probe a smaller "
            "configuration"
        )

    def _unfilled(self, model: nn.Module) -> tuple[NonFinite, ...]:
        """The parameters that hold a NaN before anything ran: memory that nobody filled."""
        found = [
            NonFinite(kind, "parameter", name)
            for name, parameter in model.named_parameters()
            if not is_lazy(parameter) and (kind := non_finite_kind(parameter)) is not None
        ]
        later = [name for one in found for name in _initialisers(model, one.name)]
        if found and later:
            self._skipped.append(
                f"`{found[0].name}` is filled by `{later[0]}`, which nothing calls"
            )
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    if any(one.name == name for one in found):
                        parameter.normal_(std=0.02)
            return ()
        return tuple(found)

    # Training passes

    def _first_pass(self, model: nn.Module) -> tuple[SampleInputs, _Trained]:
        """The first training pass, with the smallest inputs that the model takes."""
        bound = bind(self._inputs, forward_parameters(model.forward), type(model).__name__)
        candidates = list(inputs_to_try(*bound, self._trace))
        for given in candidates[:-1]:
            try:
                return given, self._train(model, given, 0)
            except (Exception, SystemExit) as error:
                raise_own(error)
                model = self._built(0)
        return candidates[-1], self._train(model, candidates[-1], 0)

    def _train(
        self, model: nn.Module, given: SampleInputs, seed: int, *, infinite: bool = False
    ) -> _Trained:
        """One forward and backward pass, and as many more as parameters go without a gradient.

        Args:
            infinite: The outputs hold infinities that are meant.
        """
        activity = ActivityWatch(self._spans)
        trained = _Trained(model, activity)
        with SignalHooks(model) as signal:
            outputs = self._forward(model, given, activity, seed)
            ends = differentiable(outputs)
            trained.outputs = len(ends)
            if ends:
                torch.autograd.backward(ends, cotangents(ends, seed))
        trained.series = signal.series()
        trained.end = first_non_finite(outputs, model)
        if not ends or (trained.end is not None and not infinite):
            return trained
        trained.passes, trained.survivors = 1, without_gradient(model)
        generator = torch.Generator().manual_seed(seed)
        while trained.survivors and trained.passes < _PASSES:
            nudge(model, generator)
            self._train_again(trained, given, seed + trained.passes)
        return trained

    def _train_again(self, trained: _Trained, given: SampleInputs, seed: int) -> None:
        model, training = trained.model, trained.passes != _EVAL_PASS
        trained.activity.begin()
        model.zero_grad(set_to_none=True)
        watch = trained.activity if training else Watch(self._spans)
        outputs = self._forward(model, given, watch, seed, training=training)
        ends = differentiable(outputs)
        if ends:
            torch.autograd.backward(ends, cotangents(ends, seed))
        now = without_gradient(model)
        trained.survivors = {
            name: missing and now[name]
            for name, missing in trained.survivors.items()
            if name in now
        }
        trained.passes += 1

    def _forward(
        self,
        model: nn.Module,
        given: SampleInputs,
        watch: Watch,
        seed: int,
        *,
        training: bool = True,
        changed: int | None = None,
        draw: int | None = None,
    ) -> list[torch.Tensor]:
        """Return the tensors that one call of the model gives.

        Args:
            changed: The sample that gets other values.
            draw: The seed of what the model draws by itself; by default that of the inputs.
        """
        set_mode(model, training)
        args, kwargs = given.make(seed, changed)
        seeded(seed if draw is None else draw)
        before = torch.default_generator.get_state(), random.getstate()
        with watched(model, watch):
            result = model(*args, **kwargs)
        self._draws = not torch.equal(before[0], torch.default_generator.get_state())
        self._draws = self._draws or before[1] != random.getstate()
        return list(tensors_in(result))

    # Judging

    def _with_gradients(self, found: Probe, given: SampleInputs, trained: _Trained) -> Probe:
        """Add the parameters without a gradient and the dead units, as far as another
        initialisation shows the same."""
        dead = trained.activity.dead()
        survivors = trained.survivors
        if self._anew and (survivors or dead):
            other = self._train(self._built(1), given, 10)
            survivors = {n: m and other.survivors[n] for n, m in survivors.items()
                         if n in other.survivors}  # fmt: skip
            known = {(d.op.module, d.op.location): d.dead for d in other.activity.dead()}
            dead = tuple(
                replace(one, dead=min(one.dead, known[(one.op.module, one.op.location)]))
                for one in dead
                if (one.op.module, one.op.location) in known
            )
        found = replace(found, passes=trained.passes, dead_units=dead)
        if not survivors:
            return found
        parameters = dict(trained.model.named_parameters())
        watch = GradientWatch(self._spans, {name: parameters[name] for name in survivors})
        trained.model.zero_grad(set_to_none=True)
        outputs = self._forward(trained.model, given, watch, 1)
        ends = differentiable(outputs)
        with ZeroBarriers(ends) as barriers:
            torch.autograd.backward(ends, cotangents(ends, 1))
        behind: dict[int, Any] = {}
        for parameter, place in barriers.of(watch.nodes):
            behind.setdefault(id(parameter), place)
        return replace(found, no_gradient=described(survivors, watch, outputs, behind, parameters))

    def _origin(self, given: SampleInputs) -> NonFinite | None:
        """Where numbers that are not finite begin; None where they are meant."""
        model = self._built(0)
        watch = FiniteWatch(self._spans)
        outputs = self._forward(model, given, watch, 0)
        origin = watch.origin(outputs)
        ends = differentiable(outputs)
        if origin is not None or not ends:
            return origin
        return origin_in_backward(ends, cotangents(ends, 0), watch.nodes)

    # Samples

    def _with_samples(self, found: Probe, given: SampleInputs, model: nn.Module) -> Probe:
        """Add what happens to the other samples when one is changed, in eval mode."""
        samples = given.batch
        if samples is None or samples < 2:
            self._skipped.append("samples, because no dimension counts them in all inputs")
            return found
        sample = samples // 2

        def run(watch: Watch, changed: bool, draw: int = 5) -> list[torch.Tensor]:
            place = sample if changed else None
            with torch.no_grad():
                return self._forward(
                    model, given, watch, 5, training=False, changed=place, draw=draw
                )

        before = run(Watch(self._spans), False)
        again = run(Watch(self._spans), False, 6) if self._draws else before
        if max(sample_changes(before, again, samples) or [0.0]) > 0:
            self._skipped.append(
                "samples, because two equal calls in eval mode differ: it is random by design"
            )
            return replace(found, deterministic=False)
        after = run(Watch(self._spans), True)
        changes = sample_changes(before, after, samples)
        if changes is None:
            self._skipped.append("samples, because no output is theirs one by one")
            return found
        others = tuple(
            place for place, change in enumerate(changes) if place != sample and change > _TOLERANCE
        )
        if not others:
            return found
        again = run(Watch(self._spans), False)
        if max(sample_changes(before, again, samples) or [0.0]) > 0:
            self._skipped.append("samples, because a second equal call in eval mode gives others")
            return replace(found, deterministic=False)
        leak = BatchLeak(
            sample,
            samples,
            tuple(one.name for one in given.described()),
            others,
            max(changes[place] for place in others),
            meeting_place(run, self._spans, samples),
        )
        return replace(found, batch_leak=leak, deterministic=True)


# As a share of the greatest output: what kernels of other sizes may differ by is far less.
_TOLERANCE = 1e-4
# Methods by which a class has its parameters filled from outside.
_INITIALISERS = (
    "init_weights initialize_weights init_parameters initialize reset_parameters".split()
)


def _initialisers(model: nn.Module, parameter: str) -> Iterator[str]:
    """The methods of the user's classes around a parameter that fill it from outside."""
    path = parameter
    while path:
        path = path.rpartition(".")[0]
        module = model.get_submodule(path)
        if not type(module).__module__.startswith("torch."):
            yield from (name for name in _INITIALISERS if hasattr(module, name))


class _memory_filled:
    """Memory that is taken and not filled holds NaN in this block, not whatever was there."""

    def __enter__(self) -> None:
        self._before = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        # Not by the public function, which imports the compiler.
        torch._C._set_deterministic_algorithms(True, warn_only=True)

    def __exit__(self, *_: object) -> None:
        torch._C._set_deterministic_algorithms(self._before[0], warn_only=self._before[1])


def _text(error: BaseException) -> str:
    first = (str(error).strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {first}"
