"""Calls that meta and fake kernels let pass and eager may reject: those are put to eager itself.

Found by comparing legal and illegal calls of every layer and of hundreds of functions on all three
kinds of tensors (benchmarks/eager_calls.py). Two things are not checked without memory: dtypes, by
most kernels, and a few arguments, by those that are listed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch

Arguments = Mapping[str, Any]

# They rearrange what they are given, or make anew: no dtype is wrong for them.
_ANY_DTYPE = frozenset(
    "view reshape flatten unflatten squeeze unsqueeze transpose permute movedim t contiguous clone "
    "detach expand expand_as repeat chunk split unbind narrow select to float double half bfloat16 "
    "long int bool type type_as size zeros_like ones_like empty_like rand_like randn_like "
    "full_like new_zeros new_ones new_empty new_full new_tensor tensor as_tensor requires_grad_ "
    "T mT H mH istft data real imag broadcast_to view_as reshape_as ravel tile stack cat "
    "copy".split()
)
_RECURRENT = frozenset("lstm gru rnn_tanh rnn_relu".split())

# Every number dtype holds these, so that it does not matter which one it is.
_SMALL = 128
# Calls of so few elements take eager no longer than anything else.
_FEW = 1 << 14


class Doubt(NamedTuple):
    """A call that only eager can judge.

    Attributes:
        key: Calls with the same key get the same answer.
        only_dtypes: Its dtypes are in doubt, so that smaller tensors tell as much.
    """

    key: object
    only_dtypes: bool = False


def doubt(name: str, arguments: Arguments) -> Doubt | None:
    """Why eager must say whether it takes these arguments; None where it need not."""
    careless = _CARELESS.get(name)
    if careless is not None and careless(arguments):
        return Doubt((name, *_description(arguments.values(), sizes=True)))
    x, dim = arguments.get("input"), arguments.get("dim")
    if type(dim) is int and isinstance(x, torch.Tensor) and not -x.dim() <= dim < x.dim():
        return Doubt((name, *_description(arguments.values(), sizes=True)))
    for value in arguments.values():
        if isinstance(value, torch.Tensor):
            if value.dtype is not torch.float32:
                break
        elif type(value) in (list, tuple) and any(
            isinstance(item, torch.Tensor) and item.dtype is not torch.float32 for item in value
        ):
            break
    else:
        # Until torch 2.10 at least, fractions may pass for indices on meta.
        if name != "embedding":
            return None
    if name in _ANY_DTYPE or not all(map(_is_plain, _tensors(arguments.values()))):
        return None
    sizes = name in _RECURRENT  # their kernels cannot do with smaller tensors
    return Doubt((name, *_description(arguments.values(), sizes)), only_dtypes=True)


def _is_plain(tensor: torch.Tensor) -> bool:
    return (
        type(tensor) in (torch.Tensor, torch.nn.Parameter)
        and tensor.layout is torch.strided
        and not tensor.is_quantized
    )


def _tensors(values: Iterator[Any] | Sequence[Any] | Any) -> Iterator[torch.Tensor]:
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _description(values: Any, sizes: bool) -> Iterator[object]:
    """What of the arguments decides: dtypes and ranks, or shapes, and what is no tensor."""
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value.dtype, (tuple(value.shape) if sizes else value.dim()), value.is_meta
            if sizes and not value.is_meta and value.numel() and _is_index(value):
                yield int(value.min()), int(value.max())
        elif isinstance(value, list | tuple):
            yield tuple(_description(value, sizes))
        elif isinstance(value, int | float | complex | str | bool | torch.dtype | type(None)):
            small = isinstance(value, int) and -_SMALL < value < _SMALL
            yield type(value), None if small and not sizes else value
        else:
            yield type(value)


# Functions whose kernels do not look at some of their arguments


def _linear(arguments: Arguments) -> bool:
    bias, weight = arguments.get("bias"), arguments.get("weight")
    if not isinstance(bias, torch.Tensor) or not isinstance(weight, torch.Tensor):
        return False
    return tuple(bias.shape) != tuple(weight.shape[:-1])


def _convolution(arguments: Arguments) -> bool:
    weight, bias = arguments.get("weight"), arguments.get("bias")
    groups = arguments.get("groups", 1)
    if not isinstance(weight, torch.Tensor) or type(groups) is not int or groups < 1:
        return True
    if bias is not None and tuple(bias.shape) != tuple(weight.shape[:1]):
        return True
    if weight.dim() < 1 or not weight.shape[0] or weight.shape[0] % groups:
        return True
    return 0 in weight.shape or not _are_positive(arguments) or not _kernel_fits(arguments, weight)


def _kernel_fits(arguments: Arguments, weight: torch.Tensor) -> bool:
    """Return whether the spread kernel is within the padded input.

    Torch 2.8 and 2.10 take one on meta that is larger by a step: a result without elements.
    """
    x, padding = arguments.get("input"), arguments.get("padding", 0)
    rank = weight.dim() - 2
    if not isinstance(x, torch.Tensor) or isinstance(padding, str) or x.dim() < rank:
        return True
    sizes = zip(
        x.shape[x.dim() - rank :],
        weight.shape[2:],
        _each(arguments.get("dilation", 1), rank),
        _each(padding, rank),
        strict=False,
    )
    return all(size + 2 * pad > spread * (width - 1) for size, width, spread, pad in sizes)


def _are_positive(arguments: Arguments) -> bool:
    """Whether stride and dilation are positive, and paddings not negative."""
    for name, least in (("stride", 1), ("dilation", 1), ("padding", 0), ("output_padding", 0)):
        for number in _each(arguments.get(name, least), 1):
            if type(number) is int and number < least:
                return False
    return True


def _transposed(arguments: Arguments) -> bool:
    x, weight, bias = (arguments.get(name) for name in ("input", "weight", "bias"))
    if not isinstance(x, torch.Tensor) or not isinstance(weight, torch.Tensor):
        return False
    rank = weight.dim() - 2
    place = x.dim() - rank - 1
    groups = arguments.get("groups", 1)
    if not 0 <= place < x.dim() or x.shape[place] != weight.shape[0] or groups < 1:
        return True
    if bias is not None and tuple(bias.shape) != (weight.shape[1] * groups,):
        return True
    if weight.shape[0] % groups or not weight.shape[1] or not _are_positive(arguments):
        return True
    return not all(_transposed_sizes(arguments, x, weight, rank, place))


def _transposed_sizes(
    arguments: Arguments, x: torch.Tensor, weight: torch.Tensor, rank: int, place: int
) -> Iterator[bool]:
    """Whether each spatial size comes out, and by a padding that is allowed."""
    extra = _each(arguments.get("output_padding", 0), rank)
    stride = _each(arguments.get("stride", 1), rank)
    dilation = _each(arguments.get("dilation", 1), rank)
    padding = _each(arguments.get("padding", 0), rank)
    for dim in range(rank):
        reach = dilation[dim] * (weight.shape[2 + dim] - 1)
        size = x.shape[place + 1 + dim]
        out = (size - 1) * stride[dim] - 2 * padding[dim] + reach + extra[dim] + 1
        yield out >= 1 and extra[dim] < max(stride[dim], dilation[dim])


def _each(value: Any, rank: int) -> list[int]:
    if isinstance(value, list | tuple):
        return list(value) * rank if len(value) == 1 else list(value)
    return [value] * rank


def _matrices(one: str, two: str) -> Callable[[Arguments], bool]:
    """A product of two matrices only; the kernel of `mm` takes batches, and one of them."""

    def is_careless(arguments: Arguments) -> bool:
        left, right = arguments.get(one), arguments.get(two, arguments.get("other"))
        return (
            not isinstance(left, torch.Tensor)
            or not isinstance(right, torch.Tensor)
            or left.dim() != 2
            or right.dim() not in (1, 2)
        )

    return is_careless


def _if_small(arguments: Arguments) -> bool:
    """Functions that look at little; larger calls are taken for right."""
    return sum(tensor.numel() for tensor in _tensors(arguments.values())) <= _FEW


def _weighted(arguments: Arguments) -> bool:
    """Losses whose weights, or whose target, nothing compares with the prediction."""
    x, target = arguments.get("input"), arguments.get("target")
    if not isinstance(x, torch.Tensor) or not isinstance(target, torch.Tensor):
        return False
    if arguments.get("weight") is not None or target.dim() > 1:
        return _if_small(arguments)
    return _out_of_range(arguments)


def _setitem(arguments: Arguments) -> bool:
    index = arguments.get("index")
    return any(True for _ in _tensors([index])) and _if_small(arguments)


def _looked_up(arguments: Arguments) -> bool:
    """Constant indices that a table does not have; a table may be too large to make."""
    table = arguments.get("weight")
    index = arguments.get("input")
    if not isinstance(table, torch.Tensor) or not isinstance(index, torch.Tensor):
        return False
    if index.is_meta or not index.numel() or index.is_floating_point() or not table.dim():
        return not table.numel()
    return int(index.min()) < 0 or int(index.max()) >= table.shape[0]


def _out_of_range(arguments: Arguments) -> bool:
    """Whether some of the arguments are integer constants, which eager must look at."""
    return _if_small(arguments) and any(map(_is_index, _tensors(arguments.values())))


def _is_index(tensor: torch.Tensor) -> bool:
    whole = not (tensor.is_floating_point() or tensor.is_complex())
    return whole and not tensor.is_meta and tensor.dtype is not torch.bool


def _attention(arguments: Arguments) -> bool:
    query, key, mask = (arguments.get(name) for name in ("query", "key", "attn_mask"))
    if mask is None or not isinstance(query, torch.Tensor) or not isinstance(key, torch.Tensor):
        return False
    if not 1 < mask.dim() <= query.dim() or key.dim() < 2:
        return True
    weights = (*query.shape[:-1], key.shape[-2])
    pairs = zip(reversed(mask.shape), reversed(weights), strict=False)
    return any(size not in (1, wanted) for size, wanted in pairs)


def _normalised(arguments: Arguments) -> bool:
    """Statistics and weights that are no rows."""
    names = ("running_mean", "running_var", "weight", "bias")
    given = [arguments.get(name) for name in names]
    return any(isinstance(tensor, torch.Tensor) and tensor.dim() != 1 for tensor in given)


def _windows(arguments: Arguments) -> bool:
    return not _are_positive(arguments)


_CARELESS: Mapping[str, Callable[[Arguments], bool]] = MappingProxyType(
    {
        "linear": _linear,
        **{f"conv{n}d": _convolution for n in (1, 2, 3)},
        **{f"conv_transpose{n}d": _transposed for n in (1, 2, 3)},
        "mm": _matrices("input", "mat2"),
        "mv": _matrices("input", "vec"),
        **dict.fromkeys(
            (
                "addmm",
                "addmv",
                "addbmm",
                "baddbmm",
                "soft_margin_loss",
                "searchsorted",
                "bucketize",
                "index_add",
                "index_copy",
                "index_reduce",
                "index_put",
                "index_select",
                "as_strided",
                "gumbel_softmax",
                "multinomial",
                "binary_cross_entropy",
                "randint_like",
            ),
            _if_small,
        ),
        **dict.fromkeys(
            (
                "gather",
                "scatter",
                "scatter_add",
                "scatter_reduce",
                "index_fill",
                "take",
                "getitem",
                "take_along_dim",
                "max_unpool1d",
                "max_unpool2d",
                "max_unpool3d",
                "embedding_bag",
                "multi_margin_loss",
                "multilabel_margin_loss",
                "one_hot",
            ),
            _out_of_range,
        ),
        **dict.fromkeys(("nll_loss", "cross_entropy"), _weighted),
        "embedding": _looked_up,
        "setitem": _setitem,
        "scaled_dot_product_attention": _attention,
        "batch_norm": _normalised,
        "instance_norm": _normalised,
        "unfold": _windows,
        "fold": _windows,
    }
)
