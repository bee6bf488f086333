"""What operators cost: MACs as fvcore counts them, FLOPs as torch's FlopCounterMode counts them.

Two views, because the two libraries look from two heights. torch counts *kernels*, what a
`TorchDispatchMode` sees; fvcore counts *functions*, what a JIT trace sees (`matmul`, `einsum`,
`adaptive_avg_pool2d`). Mostly the sum over the kernels below a function is the function's count.
Where it is not, `function_macs` knows:

- `einsum`: fvcore takes numpy's optimal contraction (four digits of it), kernels run torch's;
- `matmul` with broadcast batch dimensions: fvcore counts the first operand once;
- `adaptive_avg_pool2d` to 1 x 1 runs as a plain `mean`, `adaptive_avg_pool1d` as its 2-D sister,
  which fvcore counts while it does not count the 1-D one;
- `instance_norm` with running statistics runs as a batch norm in eval mode, which is cheaper.

A recorder adds up the kernels below a recorded function, and for the MACs (not for the FLOPs)
takes `function_macs(...)` in their place wherever that is not None; what the kernels said was
uncounted is then counted. `UNCOUNTED_FUNCTIONS` are functions whose kernels all look elementwise
on some devices and are one fused, uncountable kernel on others.

What neither library counts stays 0 and is named in `KernelCost.uncounted` if it multiplies and
adds (or sorts, or is a custom operator); by fvcore's convention (its `_IGNORED_OPS`) elementwise
functions, reductions such as sums, means, maxima and softmax, pooling, losses, indexing, copies,
comparisons, random numbers and views have no MACs. Counted although fvcore skips them: attention
kernels (`baddbmm` is one: multi-head attention adds its mask with it), recurrent kernels, and
whatever ends in a kernel that both libraries know (`tensordot` in an `mm`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy
import torch
from torch.utils import flop_counter

from archcheck.core.target import Shape
from archcheck.tracing.costs.fvcore_formulas import by_fvcore
from archcheck.tracing.costs.uncounted import works

Arguments: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KernelCost:
    """What one kernel costs: `macs` by fvcore's rules, `flops` by torch's.

    `uncounted` is the kernel's name (`aten::_fft_r2c`) if it does work that no formula covers.
    """

    macs: int
    flops: int
    uncounted: str | None = None


FREE = KernelCost(0, 0)

UNCOUNTED_FUNCTIONS = frozenset({"rms_norm"})


def kernel_costs(
    func: torch._ops.OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any
) -> KernelCost:
    """The cost of one kernel that ran with these arguments; tensors of any device, `out` too.

    Composite operators, which a dispatch mode meets below `torch.inference_mode()` only, have
    the cost of what they are made of.
    """
    always = constant_cost(func)
    if always is not None:
        return always
    name = _name(func)
    formula = _KERNELS.get(name)
    torch_formula = flop_counter.flop_registry.get(getattr(func, "overloadpacket", func))
    try:
        if formula is not None:
            return formula(args, kwargs, out)
        assert torch_formula is not None
        # Both libraries count the same products, torch a multiply-add as two.
        plain = getattr(torch_formula, "__wrapped__", None)
        if plain is None:
            flops = int(torch_formula(*args, **kwargs, out_val=out))
        else:
            # torch's wrapper walks through all arguments to do the same, ten times as slowly.
            named = {name: _shape(value) for name, value in kwargs.items()}
            flops = int(plain(*map(_shape, args), **named, out_shape=_shape(out)))
        return KernelCost(flops // 2, flops)
    except Exception:
        # A formula that cannot read these arguments (nested tensors, another torch's order of
        # parameters) must not end the pass.
        return KernelCost(0, 0, name)


def constant_cost(func: torch._ops.OpOverload) -> KernelCost | None:
    """What the kernel costs whatever it is given; None where the arguments decide."""
    name = _name(func)
    registry = flop_counter.flop_registry
    if name in _KERNELS or getattr(func, "overloadpacket", func) in registry:
        return None
    return KernelCost(0, 0, name) if works(func, name) else FREE


def function_macs(
    name: str,
    input_shapes: Sequence[Shape],
    arguments: Arguments,
    output_shapes: Sequence[Shape],
) -> int | None:
    """The MACs of a function where they can differ from the sum over its kernels; else None.

    Args:
        name: Canonical, as in `Op.name`.
        input_shapes: Of the tensors among its arguments, in order, those in lists included.
        arguments: By parameter name, or by position ("0", "1"...) where that is not known. A
            tensor may stand as anything but None.
        output_shapes: Of the tensors that it returned.
    """
    formula = _FUNCTIONS.get(name)
    if formula is None or not input_shapes:
        return None
    try:
        return formula(input_shapes, arguments, output_shapes)
    except Exception:
        return None


# --- kernels ------------------------------------------------------------------------------------

_Kernel: TypeAlias = Callable[[Sequence[Any], Mapping[str, Any], Any], KernelCost]


def _name(func: Any) -> str:
    schema = getattr(func, "_schema", None)
    return str(schema.name) if schema is not None else f"higher_order::{func}"


def _argument(
    args: Sequence[Any], kwargs: Mapping[str, Any], place: int, name: str, default: Any = None
) -> Any:
    return args[place] if place < len(args) else kwargs.get(name, default)


def _shape(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.shape
    return tuple(map(_shape, value)) if isinstance(value, tuple) else value


def _first(out: Any) -> Any:
    return out[0] if isinstance(out, tuple | list) else out


def _product(macs: int) -> KernelCost:
    return KernelCost(macs, 2 * macs)


def _batch_norm(training: bool | None, place: int = 5) -> _Kernel:
    """`training` is fixed by the kernel, or else the argument at `place`."""

    def cost(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> KernelCost:
        weight = _argument(args, kwargs, 1, "weight")
        mode = _argument(args, kwargs, place, "training") if training is None else training
        return KernelCost(
            by_fvcore("batch_norm", [args[0], weight, None, None, None, bool(mode)], None), 0
        )

    return cost


def _norm(operator: str, weight_place: int, fvcore_place: int) -> _Kernel:
    def cost(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> KernelCost:
        inputs = [args[0], *[None] * fvcore_place]
        inputs[fvcore_place] = _argument(args, kwargs, weight_place, "weight")
        return KernelCost(by_fvcore(operator, inputs, None), 0)

    return cost


def _elementwise(operator: str) -> _Kernel:
    def cost(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> KernelCost:
        return KernelCost(by_fvcore(operator, [args[0]], _first(out)), 0)

    return cost


def _attention(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> KernelCost:
    query, key, value = (
        tuple(_argument(args, kwargs, place, name).shape)
        for place, name in enumerate(("query", "key", "value"))
    )
    return _product(attention_macs(query, key, value))


def _attention_backward(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> KernelCost:
    """The scores again, and a product each for the gradients of weights, value, query and key."""
    query, key, value = (tuple(args[place].shape) for place in (1, 2, 3))
    return _product(prod(query[:-1]) * key[-2] * (3 * query[-1] + 2 * value[-1]))


def attention_macs(query: Shape, key: Shape, value: Shape) -> int:
    """Scores and weighted values: (..., heads, length, width) each.

    With fewer heads in key and value than in query, each of them serves several.
    """
    return prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


def _recurrent(weights_of: Callable[[Sequence[Any]], Sequence[torch.Tensor]]) -> _Kernel:
    """Each matrix of weights meets every step of every sequence once."""

    def cost(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> KernelCost:
        steps = prod(args[0].shape[:-1])
        matrices = [weight for weight in weights_of(args) if weight.dim() == 2]
        return _product(steps * sum(weight.numel() for weight in matrices))

    return cost


def _multi_head_attention(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> KernelCost:
    query, key = (tuple(tensor.shape) for tensor in args[:2])
    return _product(_multi_head_attention_macs(query, key))


def _multi_head_attention_macs(query: Shape, key: Shape) -> int:
    """(batch, length, width): projections of query, key, value and output, and the attention."""
    batch, length, width = query
    projections = 2 * batch * (length + key[1]) * width * width
    return projections + 2 * batch * length * key[1] * width


def _encoder_layer(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> KernelCost:
    source, feed_forward = tuple(args[0].shape), args[14]
    products = _multi_head_attention_macs(source, source)
    products += 2 * prod(source[:-1]) * feed_forward.numel()
    norms = 2 * by_fvcore("layer_norm", [source, None, args[10]], None)
    return KernelCost(products + norms, 2 * products)


def _linear(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> KernelCost:
    return _product(by_fvcore("linear", args[:2], None))


def _composite(name: str) -> _Kernel:
    """A function that arrives whole; its products, if any, are its FLOPs."""

    def cost(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> KernelCost:
        tensors = [item for item in args if isinstance(item, torch.Tensor)]
        for item in args:
            if isinstance(item, list | tuple):
                tensors += [member for member in item if isinstance(member, torch.Tensor)]
        arguments = {**{str(place): item for place, item in enumerate(args)}, **kwargs}
        shapes = [tuple(tensor.shape) for tensor in tensors]
        macs = function_macs(name, shapes, arguments, [tuple(_first(out).shape)])
        if macs is None:
            raise ValueError(name)
        return _product(macs) if name in ("matmul", "einsum") else KernelCost(macs, 0)

    return cost


def _convolution(transposed: bool) -> _Kernel:
    def cost(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> KernelCost:
        source, weight = args[:2]
        places = weight.dim() - 2
        positions = prod((source if transposed else out).shape[-places:])
        batch = source.shape[0] if source.dim() == weight.dim() else 1
        return _product(batch * weight.numel() * positions)

    return cost


_BATCH_NORM = _batch_norm(None)
_KERNELS: Mapping[str, _Kernel] = MappingProxyType(
    {
        "aten::native_batch_norm": _BATCH_NORM,
        "aten::cudnn_batch_norm": _BATCH_NORM,
        "aten::miopen_batch_norm": _BATCH_NORM,
        "aten::batch_norm": _BATCH_NORM,
        "aten::_native_batch_norm_legit_functional": _BATCH_NORM,
        "aten::_native_batch_norm_legit_no_training": _batch_norm(False),
        "aten::_batch_norm_with_update": _batch_norm(True),
        "aten::_batch_norm_with_update_functional": _batch_norm(True),
        "aten::_batch_norm_no_update": _batch_norm(False),
        "aten::native_layer_norm": _norm("layer_norm", 2, 2),
        "aten::layer_norm": _norm("layer_norm", 2, 2),
        "aten::native_group_norm": _norm("group_norm", 1, 2),
        "aten::group_norm": _norm("group_norm", 2, 2),
        "aten::instance_norm": _norm("instance_norm", 1, 1),
        "aten::upsample_nearest2d": _elementwise("upsample_nearest2d"),
        "aten::upsample_bilinear2d": _elementwise("upsample_bilinear2d"),
        "aten::_adaptive_avg_pool2d": _elementwise("adaptive_avg_pool2d"),
        "aten::mkldnn_adaptive_avg_pool2d": _elementwise("adaptive_avg_pool2d"),
        "aten::adaptive_avg_pool2d": _elementwise("adaptive_avg_pool2d"),
        "aten::grid_sampler_2d": _elementwise("grid_sampler"),
        "aten::grid_sampler_3d": _elementwise("grid_sampler"),
        "aten::cudnn_grid_sampler": _elementwise("grid_sampler"),
        "aten::grid_sampler": _elementwise("grid_sampler"),
        "aten::_scaled_dot_product_flash_attention_for_cpu": _attention,
        "aten::_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
        "aten::_scaled_dot_product_flash_attention": _attention,
        "aten::_scaled_dot_product_efficient_attention": _attention,
        "aten::_scaled_dot_product_cudnn_attention": _attention,
        "aten::_scaled_dot_product_fused_attention_overrideable": _attention,
        "aten::_scaled_dot_product_attention_math_for_mps": _attention,
        "aten::scaled_dot_product_attention": _attention,
        "aten::_native_multi_head_attention": _multi_head_attention,
        "aten::_transformer_encoder_layer_fwd": _encoder_layer,
        "aten::mkldnn_rnn_layer": _recurrent(lambda args: args[1:5]),
        "aten::_cudnn_rnn": _recurrent(lambda args: args[1]),
        "aten::miopen_rnn": _recurrent(lambda args: args[1]),
        "aten::linear": _linear,
        "aten::matmul": _composite("matmul"),
        "aten::einsum": _composite("einsum"),
        "aten::conv1d": _convolution(transposed=False),
        "aten::conv2d": _convolution(transposed=False),
        "aten::conv3d": _convolution(transposed=False),
        "aten::conv_transpose1d": _convolution(transposed=True),
        "aten::conv_transpose2d": _convolution(transposed=True),
        "aten::conv_transpose3d": _convolution(transposed=True),
    }
)

# --- functions ----------------------------------------------------------------------------------

_Function: TypeAlias = Callable[[Sequence[Shape], Arguments, Sequence[Shape]], int | None]


def _matmul(inputs: Sequence[Shape], arguments: Arguments, outputs: Sequence[Shape]) -> int | None:
    left, right = inputs[:2]
    if len(left) < 2 or len(right) < 2:
        return None  # fvcore cannot read these; the kernels can
    return by_fvcore("matmul", [left, right], None)


def _einsum(inputs: Sequence[Shape], arguments: Arguments, outputs: Sequence[Shape]) -> int | None:
    """fvcore's rule, on arrays that take no memory: half of numpy's optimal FLOP count."""
    equation = _text_in(arguments)
    if equation is None:
        return None
    return einsum_macs(equation, inputs)


def _text_in(nest: Any) -> str | None:
    """The first string among arguments, however they were bound to names."""
    if isinstance(nest, str):
        return nest
    items = nest.values() if isinstance(nest, Mapping) else nest
    if not isinstance(items, Iterable):
        return None
    found = (_text_in(item) for item in items)
    return next((text for text in found if text is not None), None)


def einsum_macs(equation: str, shapes: Sequence[Shape]) -> int:
    """What fvcore counts for an einsum.

    Two equations, up to the choice of letters, it counts exactly; the others by the text of
    `numpy.einsum_path`, which has four digits.
    """
    equation = equation.replace(" ", "")
    letters = list(dict.fromkeys(letter for letter in equation if letter.isalpha()))
    plain = equation.translate({ord(old): 97 + place for place, old in enumerate(letters)})
    if plain == "abc,abd->acd":
        return prod(shapes[0]) * shapes[1][-1]
    if plain == "abc,adc->adb":
        return prod(shapes[0]) * shapes[1][1]
    arrays = [numpy.broadcast_to(numpy.zeros(()), shape) for shape in shapes]
    _, text = numpy.einsum_path(plain, *arrays, optimize="optimal")
    line = next(line for line in text.split("\n") if "optimized flop" in line.lower())
    return int(numpy.floor(float(line.split(":")[-1]) / 2))


def _instance_norm(
    inputs: Sequence[Shape], arguments: Arguments, outputs: Sequence[Shape]
) -> int | None:
    if "weight" not in arguments:
        return None
    weight = () if arguments["weight"] is not None else None
    return by_fvcore("instance_norm", [inputs[0], weight], None)


def _pool_2d(inputs: Sequence[Shape], arguments: Arguments, outputs: Sequence[Shape]) -> int:
    return by_fvcore("adaptive_avg_pool2d", [inputs[0]], None)


def _pool_1d(inputs: Sequence[Shape], arguments: Arguments, outputs: Sequence[Shape]) -> int:
    return 0


_FUNCTIONS: Mapping[str, _Function] = MappingProxyType(
    {
        "matmul": _matmul,
        "einsum": _einsum,
        "instance_norm": _instance_norm,
        "adaptive_avg_pool2d": _pool_2d,
        "adaptive_avg_pool1d": _pool_1d,
    }
)
