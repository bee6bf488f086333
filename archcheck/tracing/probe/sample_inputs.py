"""Small real inputs for a model that a trace has shown: how large, and which values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from archcheck.evidence.dataflow import MOVES
from archcheck.evidence.probe import ProbedInput
from archcheck.evidence.records import Sizes
from archcheck.evidence.trace import Trace
from archcheck.tracing.input_tensors import TensorSpec, leaves, make_inputs, map_nest
from archcheck.tracing.patching.snapshot import seeded

# Three samples are few, and no other dimension is often three.
SAMPLES = 3
# A pass with more multiply-adds is made with smaller images or shorter sequences.
_MACS = 10_000_000_000
_ASKS_ONLY = frozenset(("eq", "ne", "lt", "le", "gt", "ge"))


@dataclass(frozen=True)
class SampleInputs:
    """Makes the arguments of a pass, the same for the same seed.

    Attributes:
        args, kwargs, names: As `bind` gives them, with a `TensorSpec` for each tensor.
        tables: For each tensor of whole numbers that are looked up in tables alone, the rows of
            the smallest; by its place among the tensors.
        smaller: Why this is less than what the user asked for.
        positive: Draw numbers between 0 and 1, in place of a normal distribution.
    """

    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    names: Sequence[str]
    tables: Mapping[int, int]
    smaller: str | None = None
    positive: bool = False

    @property
    def specs(self) -> list[TensorSpec]:
        given = [*self.args, *self.kwargs.values()]
        return [leaf for leaf in leaves(given) if isinstance(leaf, TensorSpec)]

    @property
    def batch(self) -> int | None:
        """How many samples the inputs hold: the first dimension that they all share."""
        sizes = {spec.shape[0] for spec in self.specs if spec.shape}
        return next(iter(sizes)) if len(sizes) == 1 else None

    def described(self) -> tuple[ProbedInput, ...]:
        """Return the tensors, as evidence."""
        found = []
        given = [*self.args, *self.kwargs.values()]
        for name, value in zip(self.names, given, strict=False):
            tensors = [leaf for leaf in leaves(value) if isinstance(leaf, TensorSpec)]
            for place, spec in enumerate(tensors):
                inner = name if isinstance(value, TensorSpec) else f"{name}[{place}]"
                found.append(ProbedInput(inner, spec.shape, spec.dtype or "float32"))
        return tuple(found)

    def make(self, seed: int, changed: int | None = None) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments of a pass.

        Args:
            changed: Give this sample other values.
        """
        seeded(seed)
        args, kwargs = make_inputs(self.args, self.kwargs, self.names, "cpu")
        # Not the seeds that the weights are drawn with: inputs would look like them.
        generator = torch.Generator().manual_seed(seed + 4_000)
        other = torch.Generator().manual_seed(seed + 8_000)
        batch, places = self.batch, iter(range(1 << 30))

        def filled(leaf: Any) -> Any:
            if not isinstance(leaf, torch.Tensor):
                return leaf
            place = next(places)
            tensor = self._filled(leaf, place, generator)
            if changed is not None and tensor.shape[:1] == (batch,):
                new = self._filled(leaf, place, other)
                if new is not leaf:
                    tensor = tensor.clone()
                    # Far from what it was, so that what depends on it shows.
                    wide = 3 * new if new.is_floating_point() and not self.positive else new
                    tensor[changed] = wide[changed]
            return tensor

        return map_nest(args, filled), map_nest(kwargs, filled)

    def _filled(self, leaf: torch.Tensor, place: int, generator: torch.Generator) -> torch.Tensor:
        if leaf.is_floating_point() and leaf.dtype.itemsize > 1:
            draw = torch.rand if self.positive else torch.randn
            return draw(leaf.shape, generator=generator).to(leaf.dtype)
        rows = self.tables.get(place)
        if rows is None or rows < 2:
            return leaf
        return torch.randint(rows, leaf.shape, generator=generator).to(leaf.dtype)


def inputs_to_try(
    args: Sequence[Any], kwargs: Mapping[str, Any], names: Sequence[str], trace: Trace
) -> Iterator[SampleInputs]:
    """Yield inputs to probe with: small ones first, at last what the user asked for."""
    asked = SampleInputs(args, kwargs, names, _tables(trace))
    fewer = _with_batch(asked, SAMPLES)
    smaller = _with_smaller_sizes(fewer, trace)
    for candidate in dict.fromkeys(map(id, (smaller, fewer, asked))):
        yield next(one for one in (smaller, fewer, asked) if id(one) == candidate)


def _tables(trace: Trace) -> dict[int, int]:
    """For each input of whole numbers that only tables read, the rows of the smallest of them."""
    given = [value for value in trace.values if value.kind == "input"]
    found = {}
    for place, value in enumerate(given):
        rows = _rows(trace, value.index) if value.dtype.startswith(("int", "uint")) else None
        if rows:
            found[place] = min(rows)
    return found


def _rows(trace: Trace, value: int) -> list[int] | None:
    """The rows of the tables that a value is looked up in; None where something else reads it."""
    rows: list[int] = []
    for user in (trace.ops[index] for index in trace.values[value].users):
        if user.name == "embedding":
            rows.append(max(trace.shape(index)[0] for index in user.inputs if index != value))
        elif user.name in MOVES or user.name in ("to", "long", "int", "clone", "contiguous"):
            for output in user.outputs:
                below = _rows(trace, output)
                if below is None:
                    return None
                rows += below
        elif user.name not in _ASKS_ONLY:
            return None
    return rows


def _with_batch(given: SampleInputs, samples: int) -> SampleInputs:
    """The same with so many samples, where the first dimension of all inputs is as large."""
    batch = given.batch
    if batch is None or batch == samples or any(not spec.shape for spec in given.specs):
        return given

    def resized(leaf: Any) -> Any:
        is_tensor = isinstance(leaf, TensorSpec)
        return replace(leaf, shape=(samples, *leaf.shape[1:])) if is_tensor else leaf

    return replace(
        given,
        args=map_nest(list(given.args), resized),
        kwargs=map_nest(dict(given.kwargs), resized),
        smaller=f"{samples} samples in place of {batch}" if samples < batch else None,
    )


def _with_smaller_sizes(given: SampleInputs, trace: Trace) -> SampleInputs:
    """The same with smaller images or shorter sequences, where a pass would take long."""
    asked = next((v.shape[0] for v in trace.values if v.kind == "input" and v.shape), 1)
    macs = trace.macs * (given.batch or asked) / max(asked, 1)
    inputs = [value.index for value in trace.values if value.kind == "input"]
    changes: dict[tuple[int, int], int] = {}
    told: list[str] = []
    for sizes in trace.valid_input_sizes:
        if macs <= _MACS:
            break
        size = _halved(sizes, macs / _MACS)
        if size is None or any(dim == 0 for _, dim in sizes.axes):
            continue
        changes |= {(inputs.index(value), dim): size for value, dim in sizes.axes}
        told.append(f"{sizes.dimension} {size} in place of {sizes.traced}")
        macs *= size / sizes.traced
    if not changes:
        return given
    places = iter(range(1 << 30))

    def resized(leaf: Any) -> Any:
        if not isinstance(leaf, TensorSpec):
            return leaf
        place = next(places)
        shape = tuple(changes.get((place, dim), size) for dim, size in enumerate(leaf.shape))
        return replace(leaf, shape=shape)

    return replace(
        given,
        args=map_nest(list(given.args), resized),
        kwargs=map_nest(dict(given.kwargs), resized),
        smaller="; ".join(filter(None, (given.smaller, *told))),
    )


def _halved(sizes: Sizes, excess: float) -> int | None:
    """A size that takes so much work off, as far as the model accepts it."""
    least = max(sizes.low, 32)
    wanted = max(least, int(sizes.traced / min(excess, 4.0)))
    step = max(sizes.multiple_of, 1)
    size = sizes.traced - (sizes.traced - wanted) // step * step
    return size if least <= size < sizes.traced else None
