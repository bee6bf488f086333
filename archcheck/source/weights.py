"""Which layers have weights: what a layer would share, lose or leave untrained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from archcheck.source import Layer, ModuleClass

# The layers of torch.nn that have parameters whatever their arguments.
_ALWAYS: Final = frozenset({
    "AdaptiveLogSoftmaxWithLoss", "Bilinear", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d",
    "ConvTranspose2d", "ConvTranspose3d", "Embedding", "EmbeddingBag", "GRU", "GRUCell", "LSTM",
    "LSTMCell", "LazyConv1d", "LazyConv2d", "LazyConv3d", "LazyConvTranspose1d",
    "LazyConvTranspose2d", "LazyConvTranspose3d", "LazyLinear", "Linear", "MultiheadAttention",
    "PReLU", "RNN", "RNNCell", "Transformer", "TransformerDecoder", "TransformerDecoderLayer",
    "TransformerEncoder", "TransformerEncoderLayer",
})  # fmt: skip
# Those that have them unless an argument says otherwise, and which argument.
_AFFINE: Final = {
    "BatchNorm1d": "affine", "BatchNorm2d": "affine", "BatchNorm3d": "affine",
    "SyncBatchNorm": "affine", "GroupNorm": "affine", "InstanceNorm1d": "affine",
    "InstanceNorm2d": "affine", "InstanceNorm3d": "affine", "LayerNorm": "elementwise_affine",
    "RMSNorm": "elementwise_affine",
}  # fmt: skip
_CONTAINERS: Final = frozenset({"Sequential", "ModuleList", "ModuleDict"})
_DEEPEST: Final = 6


def has_weights(layer: Layer, depth: int = _DEEPEST) -> bool:
    """Whether a layer certainly has parameters, its own or those of a layer in it."""
    if depth <= 0:
        return False
    if layer.module_class is not None:
        return class_has_weights(layer.module_class, depth - 1)
    name = layer.class_name
    if name in _CONTAINERS:
        children = layer.children if isinstance(layer.children, tuple) else ()
        return any(has_weights(child, depth - 1) for child in children)
    return name in _ALWAYS or (name in _AFFINE and layer.argument(_AFFINE[name]) is True)


def class_has_weights(module: ModuleClass, depth: int = _DEEPEST) -> bool:
    """Whether every instance of a class certainly has parameters."""
    for definition in module.lineage:
        if definition.module is None:
            continue
        for submodule in definition.module.submodules:
            if not submodule.conditional and all(
                has_weights(layer, depth) for layer in submodule.alternatives
            ):
                return True
        for write in definition.module.own_writes:
            if not write.conditional and write.value is not None and write.function is not None:
                made = definition.file.instance_of(write.value, write.statement)
                if made == "torch.nn.Parameter":
                    return True
    return False
