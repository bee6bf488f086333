"""The shape arithmetic over space: convolution, pooling, padding, resizing, pixel shuffling.

Each rule gives the shapes that come out and notes what the operator demands. The formulas are
those of the operators' pages in torch's documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from archcheck.evidence.sizes import Size, number, pooled_up, scaled
from archcheck.tracing.sizes.replay import Dims, Rule, Step, Unknown


def _space(step: Step, places: int) -> tuple[Dims, Dims]:
    """The input's shape before and from its dimensions of space."""
    shape = step.shape("input")
    if len(shape) < places + 1:
        raise Unknown
    return shape[:-places], shape[-places:]


def convolution(places: int) -> Rule:
    def rule(step: Step) -> list[Dims]:
        head, space = _space(step, places)
        weight = step.shape("weight")
        groups = step.argument("groups", default=1)
        stride = step.integers(step.argument("stride", default=1), places)
        dilation = step.integers(step.argument("dilation", default=1), places)
        step.equal(head[-1], weight[1] * groups, width=True)
        padding = step.argument("padding", default=0)
        result = []
        for place, size in enumerate(space):
            kernel = _fixed(weight[2 + place])
            reach = dilation[place] * (kernel - 1)
            if padding == "same":
                result.append(size)
                continue
            around = 0 if padding == "valid" else step.integers(padding, places)[place]
            step.at_least(size + 2 * around, reach + 1)
            result.append((size + (2 * around - reach - 1)) // stride[place] + 1)
        return [(*head[:-1], weight[0], *result)]

    return rule


def transposed_convolution(places: int) -> Rule:
    def rule(step: Step) -> list[Dims]:
        head, space = _space(step, places)
        weight = step.shape("weight")
        stride, padding, extra, dilation = (
            step.integers(step.argument(name, default=default), places)
            for name, default in (
                ("stride", 1),
                ("padding", 0),
                ("output_padding", 0),
                ("dilation", 1),
            )
        )
        step.equal(head[-1], weight[0], width=True)
        result = []
        for place, size in enumerate(space):
            reach = dilation[place] * (_fixed(weight[2 + place]) - 1)
            grown = (size - 1) * stride[place] - 2 * padding[place] + reach + extra[place] + 1
            step.at_least(grown, 1)
            result.append(grown)
        return [(*head[:-1], weight[1] * step.argument("groups", default=1), *result)]

    return rule


def pooling(places: int) -> Rule:
    def rule(step: Step) -> list[Dims]:
        head, space = _space(step, places)
        kernel = _window(step, step.argument("kernel_size"), space)
        stride_argument = step.argument("stride")
        stride = kernel
        if stride_argument is not None and stride_argument != ():
            stride = _window(step, stride_argument, space)
        padding = step.integers(step.argument("padding", default=0), places)
        dilation = step.integers(step.argument("dilation", default=1), places)
        result = []
        for place, size in enumerate(space):
            if kernel[place] == size and padding[place] == 0:
                result.append(number(1))  # the kernel was read from the map: a global pooling
                continue
            window, jump = _fixed(kernel[place]), _fixed(stride[place])
            around, gap = padding[place], dilation[place]
            if step.flag("ceil_mode"):
                out = pooled_up(size, window, jump, around, gap)
            else:
                out = (size + (2 * around - gap * (window - 1) - 1)) // jump + 1
            step.at_least(out, 1)
            result.append(out)
        shape = (*head, *result)
        return [shape] * len(step.op.outputs)

    return rule


def _window(step: Step, value: Any, space: Dims) -> list[Size]:
    """A window's sizes; a functional pooling may have read them from the map (global pooling)."""
    sizes = step.integers(value, len(space))
    now = step.replay.now
    same = all(now(have) == size for have, size in zip(space, sizes, strict=True))
    if same and not step.is_layers("Pool"):
        return [
            step.follow(size, [have]) if have.constant is None else number(size)
            for have, size in zip(space, sizes, strict=True)
        ]
    return [number(size) for size in sizes]


def adaptive_pooling(places: int) -> Rule:
    def rule(step: Step) -> list[Dims]:
        head, space = _space(step, places)
        wanted = step.argument("output_size")
        if not isinstance(wanted, tuple | list):
            wanted = (wanted,) * places
        result = []
        for size, target in zip(space, wanted, strict=True):
            step.at_least(size, 1)
            if target is None:
                result.append(size)
            else:
                result.append(number(target) if step.is_layers("Pool") else step.follow(target))
        return [(*head, *result)] * len(step.op.outputs)

    return rule


def interpolate(step: Step) -> list[Dims]:
    shape = step.shape("input")
    places = len(shape) - 2
    size, factor = step.argument("size"), step.argument("scale_factor")
    if size is not None:
        if isinstance(size, int):
            size = (size,) * places
        target = []
        for place, value in enumerate(size):
            near = _at_this_place(step, place - places, value)
            fixed = step.is_layers("Upsampl")
            target.append(number(value) if fixed else step.follow(value, near))
    elif factor is not None:
        factors = factor if isinstance(factor, tuple | list) else (factor,) * places
        target = [scaled(have, by) for have, by in zip(shape[2:], factors, strict=True)]
    else:
        raise Unknown
    for have in (*shape[2:], *target):
        step.at_least(have, 1)
    return [(*shape[:2], *target)]


def _at_this_place(step: Step, place: int, size: int) -> Iterable[Size]:
    """Sizes of earlier values that stand at the same place from the end, the latest first."""
    step.looked_around = True
    replay = step.replay
    for value in reversed(replay.trace.values[: step.op.outputs[0]]):
        if len(value.shape) >= -place and value.shape[place] == size:
            try:
                found = replay.shape(value.index)[place]
            except Unknown:
                continue
            if found.constant is None:
                yield found
                return


def pad(step: Step) -> list[Dims]:
    shape = list(step.shape("input"))
    amounts = step.argument("pad")
    mode = step.argument("mode", default="constant")
    if not isinstance(amounts, tuple | list) or len(amounts) % 2:
        raise Unknown
    for place in range(len(amounts) // 2):
        before, after = amounts[2 * place : 2 * place + 2]
        size = shape[-1 - place]
        if mode == "reflect":
            step.at_least(size, max(before, after) + 1)
        elif mode == "circular":
            step.at_least(size, max(before, after))
        shape[-1 - place] = size + (before + after)
        step.at_least(shape[-1 - place], 0 if mode == "constant" else 1)
    return [tuple(shape)]


def pixel_shuffle(step: Step) -> list[Dims]:
    *head, channels, height, width = step.shape("input")
    factor = step.argument("upscale_factor")
    step.divisible(channels, factor * factor)
    return [(*head, channels // (factor * factor), height * factor, width * factor)]


def pixel_unshuffle(step: Step) -> list[Dims]:
    *head, channels, height, width = step.shape("input")
    factor = step.argument("downscale_factor")
    step.divisible(height, factor)
    step.divisible(width, factor)
    return [(*head, channels * (factor * factor), height // factor, width // factor)]


def grid_sample(step: Step) -> list[Dims]:
    shape, grid = step.shape("input"), step.shape("grid")
    return [(*shape[:2], *grid[1:-1])]


def _fixed(size: Size) -> int:
    if size.constant is None:
        raise Unknown
    return size.constant


WINDOWS: Mapping[str, Rule] = MappingProxyType(
    {
        **{f"conv{n}d": convolution(n) for n in (1, 2, 3)},
        **{f"conv_transpose{n}d": transposed_convolution(n) for n in (1, 2, 3)},
        **{f"{kind}_pool{n}d": pooling(n) for kind in ("max", "avg") for n in (1, 2, 3)},
        **{f"max_pool{n}d_with_indices": pooling(n) for n in (1, 2, 3)},
        **{
            f"adaptive_{kind}_pool{n}d": adaptive_pooling(n)
            for kind in ("max", "avg")
            for n in (1, 2, 3)
        },
        **{f"adaptive_max_pool{n}d_with_indices": adaptive_pooling(n) for n in (1, 2, 3)},
        **dict.fromkeys(("interpolate", "upsample"), interpolate),
        "pad": pad,
        "pixel_shuffle": pixel_shuffle,
        "pixel_unshuffle": pixel_unshuffle,
        "grid_sample": grid_sample,
    }
)
