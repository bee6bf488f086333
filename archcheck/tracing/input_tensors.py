"""What a traced pass is given: shapes and dtypes as plain data, bound to forward's parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, TypeAlias

import torch

from archcheck.core.target import UsageError
from archcheck.tracing.signatures import signature_of

INTEGRAL = {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool}

_SMALL = 1 << 16


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor to make: its shape, and its dtype's name (None: torch's default)."""

    shape: tuple[int, ...]
    dtype: str | None = None


# A TensorSpec, a list, tuple or dict of nests, or plain data that is handed over as it is.
InputNest: TypeAlias = Any

# What made-up indices and lengths are: `parts` of the first input's rows add up to them all.
Values: TypeAlias = Literal["zeros", "parts", "ones"]


@dataclass(frozen=True, slots=True)
class NamedInput:
    """One argument of forward: by name where the user gave one, else in the order of the call."""

    value: InputNest
    name: str | None = None


def as_inputs(inputs: Sequence[Any]) -> tuple[NamedInput, ...]:
    """Reads `(name, nest)` pairs, `NamedInput`s and bare nests alike."""
    read: list[NamedInput] = []
    for item in inputs:
        if isinstance(item, NamedInput):
            read.append(item)
        elif (
            isinstance(item, tuple)
            and len(item) == 2
            and (item[0] is None or isinstance(item[0], str))
        ):
            read.append(NamedInput(item[1], item[0]))
        else:
            read.append(NamedInput(item))
    return tuple(read)


def map_nest(nest: Any, change: Callable[[Any], Any]) -> Any:
    """The same nest of lists, tuples and mappings with every leaf changed."""
    if isinstance(nest, Mapping):
        return {key: map_nest(value, change) for key, value in nest.items()}
    if isinstance(nest, tuple) and hasattr(nest, "_fields"):
        return type(nest)(*(map_nest(value, change) for value in nest))
    if isinstance(nest, list | tuple):
        changed = [map_nest(value, change) for value in nest]
        return changed if isinstance(nest, list) else tuple(changed)
    return change(nest)


def leaves(nest: Any) -> Iterator[Any]:
    """Every leaf of a nest, in order."""
    if isinstance(nest, Mapping):
        for value in nest.values():
            yield from leaves(value)
    elif isinstance(nest, list | tuple):
        for value in nest:
            yield from leaves(value)
    else:
        yield nest


def dtype_named(name: str | None) -> torch.dtype:
    """The dtype of this name, torch's default for None.

    Raises:
        UsageError: torch has no such dtype.
    """
    if name is None:
        return torch.get_default_dtype()
    dtype = getattr(torch, name.removeprefix("torch."), None)
    if not isinstance(dtype, torch.dtype):
        raise UsageError(f"{name!r} is no dtype of torch; write one such as float32 or int64")
    return dtype


def make_tensor(
    spec: TensorSpec,
    device: str,
    name: str = "",
    steps: int = 1,
    rows: int = 1,
    values: Values = "zeros",
) -> torch.Tensor:
    """A tensor of this kind; on a real device, values that most layers take.

    Whole numbers and truth values are real on the meta device too while they are few: they are
    indices, lengths and masks, which code reads. Indices are zeros, which any embedding has;
    lengths are full, masks let everything pass, edges lead from each node to the next. Floats are
    drawn from a normal distribution.

    Args:
        name: The parameter that it is for.
        steps: How long a full sequence is.
        rows: How many rows the first input of numbers has.
        values: What indices and lengths are.
    """
    dtype = dtype_named(spec.dtype)
    if dtype in INTEGRAL and (device != "meta" or prod(spec.shape) <= _SMALL):
        name = name.lower()
        if values == "ones" and dtype is not torch.bool:
            return torch.ones(spec.shape, dtype=dtype)
        if values == "parts" and len(spec.shape) == 1 and 0 < spec.shape[0] <= rows:
            return _parts(rows, spec.shape[0]).to(dtype)
        if "edge" in name and len(spec.shape) == 2 and spec.shape[0] == 2:
            return _edges(spec.shape[1], rows).to(dtype)
        if "mask" in name:
            ignores = dtype is torch.bool and ("padding" in name or "src_mask" in name)
            return torch.full(spec.shape, not ignores, dtype=dtype)
        if "len" in name and len(spec.shape) < 2:
            return torch.full(spec.shape, steps, dtype=dtype)
        return torch.zeros(spec.shape, dtype=dtype)
    if device == "meta":
        return torch.empty(spec.shape, dtype=dtype, device="meta")
    if dtype.is_floating_point and dtype.itemsize < 2:
        return torch.zeros(spec.shape).to(dtype)
    return torch.randn(spec.shape, dtype=dtype)


def _parts(whole: int, count: int) -> torch.Tensor:
    """Return sizes of so many parts of a whole."""
    ends = torch.arange(1, count + 1, device="cpu") * whole // count
    return torch.diff(ends, prepend=torch.zeros(1, dtype=ends.dtype, device="cpu"))


def _edges(count: int, nodes: int) -> torch.Tensor:
    """Return edges of which none leads back to its own node, where there are two nodes."""
    places = torch.arange(count, device="cpu")
    ahead = 1 + (places // nodes) % max(nodes - 1, 1)
    return torch.stack((places % nodes, (places + ahead) % nodes))


def make_inputs(
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    names: Sequence[str],
    device: str,
    values: Values = "zeros",
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a pass, every `TensorSpec` in them a tensor."""
    given = dict(zip(names, (*args, *kwargs.values()), strict=True))
    specs = [leaf for leaf in leaves(given) if isinstance(leaf, TensorSpec)]
    # The longest second dimension: batches of sequences are [B, T] or [B, T, E].
    steps = max((spec.shape[1] for spec in specs if len(spec.shape) > 1), default=1)
    numbers = (spec for spec in specs if spec.shape and dtype_named(spec.dtype) not in INTEGRAL)
    rows = max(1, next((spec.shape[0] for spec in numbers), 1))

    def made(name: str, nest: Any) -> Any:
        return map_nest(
            nest,
            lambda leaf: (
                make_tensor(leaf, device, name, steps, rows, values)
                if isinstance(leaf, TensorSpec)
                else leaf
            ),
        )

    made_up = [made(name, nest) for name, nest in given.items()]
    return made_up[: len(args)], dict(zip(kwargs, made_up[len(args) :], strict=True))


def filled_lengths(args: Sequence[Any]) -> Sequence[Any]:
    """The arguments of `_pack_padded_sequence`, its lengths full where they are made up.

    Made-up inputs hold zeros, and a sequence of no length cannot be packed.
    """
    data, lengths, batch_first = args
    if lengths.is_meta or lengths.numel() == 0 or int(lengths.min()) > 0:
        return args
    return data, torch.full_like(lengths, data.shape[1 if batch_first else 0]), batch_first


def forward_parameters(forward: Callable[..., Any]) -> inspect.Signature | None:
    """The signature of a bound forward; None where Python cannot tell it, or the instance lands in
    an input: the call itself says then that something is missing."""
    try:
        signature = signature_of(forward)
        own = list(signature_of(getattr(forward, "__func__", forward)).parameters)
    except (TypeError, ValueError):
        return None
    return signature if signature.parameters or own in ([], ["self"]) else None


def bind(
    inputs: Sequence[NamedInput], signature: inspect.Signature | None, model: str
) -> tuple[list[Any], dict[str, Any], list[str]]:
    """Sorts inputs into positional and keyword arguments, and names each of them.

    Raises:
        UsageError: There are too few or too many, or a name that forward doesn't have.
    """
    positional = [item.value for item in inputs if item.name is None]
    named = {item.name: item.value for item in inputs if item.name is not None}
    if signature is None:
        return positional, named, [*map(str, range(len(positional))), *named]
    known = signature.parameters
    takes_any_name = any(p.kind is p.VAR_KEYWORD for p in known.values())
    wanted = ", ".join(
        name if p.default is p.empty else f"{name} (optional)"
        for name, p in known.items()
        if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    )
    takes = f"{model}.forward takes {wanted or 'no arguments'}"
    for name in named:
        if name not in known and not takes_any_name:
            raise UsageError(f"{name!r} is no parameter of forward: {takes}")
    # A named input that is an ordinary parameter leaves its place to no positional one.
    slots = [
        name
        for name, p in known.items()
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and name not in named
    ]
    star = next((name for name, p in known.items() if p.kind is p.VAR_POSITIONAL), None)
    if len(positional) > len(slots) and star is None:
        given = f"{len(inputs)} input{'s' if len(inputs) != 1 else ''}"
        raise UsageError(f"{given} given, but {takes}")
    missing = [
        name
        for name, p in known.items()
        if p.default is p.empty
        and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        and name not in named
        and name not in slots[: len(positional)]
    ]
    if missing:
        raise UsageError(
            f"no input for {', '.join(missing)}: {takes}; give one --input for each, in order"
        )
    arguments: list[Any] = []
    names: list[str] = []
    keywords: dict[str, Any] = {}
    for place, value in enumerate(positional):
        if place >= len(slots):
            names.append(f"{star}[{place - len(slots)}]")
            arguments.append(value)
        elif list(known).index(slots[place]) == place and not keywords:
            names.append(slots[place])
            arguments.append(value)
        else:  # a parameter before it was given by name
            keywords[slots[place]] = value
    keywords.update(named)
    return arguments, keywords, [*names, *keywords]
