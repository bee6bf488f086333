"""The architecture that a trace shows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from archcheck.core.target import UsageError, parse_input
from archcheck.evidence.architecture import Architecture, ArchitectureLayer
from archcheck.evidence.records import Module, ValueIndex
from archcheck.evidence.target_summary import Layer, TargetReport, Tensor
from archcheck.evidence.trace import Trace

# What torch's layers are built with, in the order that their constructors have it, and the value
# that goes without saying. A fixed list, so that a newer torch with more attributes shows no drift.
SETTINGS: Mapping[str, Any] = {
    **dict.fromkeys(("in_channels", "out_channels", "in_features", "out_features")),
    **dict.fromkeys(("num_embeddings", "embedding_dim", "num_groups", "num_channels")),
    **dict.fromkeys(("num_features", "normalized_shape", "embed_dim", "num_heads")),
    **dict.fromkeys(("input_size", "hidden_size", "output_size", "kernel_size")),
    "stride": 1,
    "padding": 0,
    "output_padding": 0,
    "dilation": 1,
    "groups": 1,
    "bias": True,
    "padding_mode": "zeros",
    "ceil_mode": False,
    "num_layers": 1,
    "bidirectional": False,
    "batch_first": False,
    "norm_first": False,
    "p": 0.0,
    "dropout": 0.0,
    "eps": 1e-05,
    "momentum": 0.1,
    "negative_slope": 0.01,
    "alpha": 1.0,
    "approximate": "none",
    **dict.fromkeys(("dim", "size", "scale_factor", "mode", "align_corners", "upscale_factor")),
    "start_dim": 1,
    "end_dim": -1,
}

# The operators in a user's own forward that make an architecture: what computes and what joins,
# not what views, indexes or moves.
_OPERATORS = frozenset(
    (
        *("add", "sub", "mul", "div", "cat", "stack", "matmul", "bmm", "baddbmm", "einsum"),
        *("linear", "bilinear", "embedding", "conv1d", "conv2d", "conv3d", "conv_transpose1d"),
        *("conv_transpose2d", "conv_transpose3d", "scaled_dot_product_attention", "softmax"),
        *("log_softmax", "sigmoid", "logsigmoid", "tanh", "relu", "relu6", "leaky_relu", "prelu"),
        *("elu", "selu", "celu", "gelu", "silu", "mish", "softplus", "hardswish", "hardtanh"),
        *("hardsigmoid", "glu", "dropout", "dropout2d", "dropout3d", "batch_norm", "layer_norm"),
        *("group_norm", "instance_norm", "rms_norm", "normalize", "max_pool1d", "max_pool2d"),
        *("max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d"),
        *("adaptive_avg_pool2d", "adaptive_max_pool2d", "interpolate", "pixel_shuffle", "pad"),
        *("mean", "sum", "max", "amax", "cumsum"),
    )
)


def architecture_of(trace: Trace) -> Architecture:
    """The architecture that a trace shows.

    Raises:
        ValueError: The pass did not reach its end.
    """
    target = TargetReport(trace)
    params = target.params
    if not trace.complete or params is None:
        raise ValueError(f"{trace.target}: the forward pass did not reach its end")
    operators = _operators(trace)
    modules = {module.path: module for module in trace.modules}
    return Architecture(
        target=trace.target,
        mode=trace.mode,
        inputs=inputs_of(trace),
        outputs=tuple(map(_tensor_text, target.outputs or ())),
        parameters=params.total,
        trainable=params.trainable,
        macs=trace.macs,
        flops=trace.flops,
        peak_activation_bytes=trace.peak_activation_bytes,
        layers=tuple(
            _layer(layer, modules[layer.path], operators.get(layer.path, ""))
            for layer in target.modules
        ),
    )


def inputs_of(trace: Trace) -> tuple[str, ...]:
    """What a pass was given, in the notation of `--input`."""
    return tuple(
        f"{given.name}={_notation(trace, given.value)}"
        if given.name
        else _notation(trace, given.value)
        for given in trace.inputs
    )


def replayable(inputs: tuple[str, ...]) -> tuple[str, ...]:
    """Inputs as `--input` takes them; none where that notation cannot say them all."""
    if len(inputs) == 1:
        # A single argument needs no name, which another version of the model may have changed.
        inputs = (re.sub(r"^\w+=", "", inputs[0]),)
    try:
        for text in inputs:
            parse_input(text)
    except UsageError:
        return ()
    return inputs


def _layer(layer: Layer, module: Module, operators: str) -> ArchitectureLayer:
    of_torch = _is_of_torch(module)
    return ArchitectureLayer(
        path=layer.path,
        type=layer.type,
        settings=", ".join(_settings(module)) if of_torch else "",
        output=", ".join(map(_tensor_text, layer.outputs)),
        parameters=layer.own_params,
        macs=layer.own_macs,
        operators="" if of_torch else operators,
        calls=layer.calls,
    )


def _is_of_torch(module: Module) -> bool:
    return module.qualified_type.startswith("torch.nn.")


def _settings(module: Module) -> Iterator[str]:
    for name, usual in SETTINGS.items():
        value = _has_bias(module) if name == "bias" else module.attributes.get(name)
        if value is None:
            continue
        if isinstance(value, list | tuple) and value and value.count(value[0]) == len(value):
            # A square kernel is written as its author wrote it.
            value = value[0] if name != "normalized_shape" or len(value) == 1 else value
        if value != usual:
            yield f"{name}={value!r}"


def _has_bias(module: Module) -> bool | None:
    """Whether a linear layer or a convolution has one; no attribute of it says so."""
    if not {"in_features", "in_channels"} & module.attributes.keys():
        return None
    return any(name.rpartition(".")[2] == "bias" for name in module.parameters)


def _operators(trace: Trace) -> dict[str, str]:
    """What ran in each module and in none below it, in alphabetical order."""
    counts: dict[str, Counter[str]] = {}
    for op in trace.ops:
        if op.name in _OPERATORS:
            module = trace.module_of(op)
            counts.setdefault(module.path if module else "", Counter())[op.name] += 1
    return {
        path: ", ".join(
            name if times == 1 else f"{name} ×{times}" for name, times in sorted(found.items())
        )
        for path, found in counts.items()
    }


def _tensor_text(tensor: Tensor) -> str:
    """`[8, 64, 56, 56]`, with the dtype where it is not float32."""
    text = f"[{', '.join(map(str, tensor.shape))}]"
    return text if tensor.dtype == "float32" else f"{text} {tensor.dtype}"


def _notation(trace: Trace, nest: Any) -> str:
    """An argument of forward in the notation of `--input`; what has none, as Python shows it."""
    if isinstance(nest, ValueIndex):
        value = trace.values[nest.index]
        sizes = ",".join(map(str, value.shape)) or "()"
        return sizes if value.dtype == "float32" else f"{sizes}:{value.dtype}"
    if isinstance(nest, Mapping):
        members = (f"{key}={_notation(trace, member)}" for key, member in nest.items())
        return f"{{{';'.join(members)}}}"
    if isinstance(nest, list | tuple):
        return f"[{';'.join(_notation(trace, member) for member in nest)}]"
    return repr(nest)
