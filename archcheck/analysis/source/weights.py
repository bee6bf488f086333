"""Which layers have weights, or buffers: what a layer would share, lose or leave untrained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from archcheck.python import Layer, ModuleClass

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


# Those that keep running statistics unless an argument says otherwise.
_RUNNING: Final = frozenset({
    "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm", "InstanceNorm1d",
    "InstanceNorm2d", "InstanceNorm3d",
})  # fmt: skip
# Packages whose classes are modules with state, and functions that build such modules.
_STATEFUL: Final = ("torchmetrics.", "torchvision.models.", "timm.create_model")


def holds_state(layer: Layer) -> bool:
    """Whether a layer certainly has something to save and to move: parameters or buffers."""
    if has_weights(layer):
        return True
    if layer.module_class is not None:
        return any(
            write.kind == "register_buffer" and not write.conditional
            for definition in layer.module_class.lineage
            if definition.module is not None
            for write in definition.module.own_writes
        )
    name = layer.class_name
    return name in _RUNNING and layer.argument("track_running_stats") is True


def builds_state(dotted: str) -> bool:
    """Whether what is called outside the project certainly gives a module with state."""
    return dotted.startswith(_STATEFUL) and not dotted.startswith("torchmetrics.functional")
