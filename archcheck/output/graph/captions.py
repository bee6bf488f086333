"""What a layer was built with, or an operator called with, in the few words of a caption."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archcheck.evidence.records import Module, Op

# What a layer makes of what: two attributes, joined by an arrow.
_WIDTHS = (
    ("in_channels", "out_channels"),
    ("in_features", "out_features"),
    ("num_embeddings", "embedding_dim"),
    ("input_size", "hidden_size"),
)
# A single attribute that says how wide a layer is.
_WIDTH = ("num_features", "num_channels", "normalized_shape", "embed_dim", "output_size")
# Further attributes by the word before their value, with what goes without saying.
_FURTHER: Mapping[str, tuple[str, Any]] = {
    "num_heads": ("heads", None),
    "num_groups": ("groups", None),
    "stride": ("stride", 1),
    "padding": ("padding", 0),
    "dilation": ("dilation", 1),
    "groups": ("groups", 1),
    "p": ("p", 0.0),
    "num_layers": ("layers", 1),
}
_MOST_ARGUMENTS = 4


def layer_settings(module: Module) -> str:
    """Such as `64 → 128, 3 × 3, stride 2`; nothing for layers that are not torch's own."""
    if not module.qualified_type.startswith("torch.nn."):
        return ""
    return ", ".join(_settings(module.attributes))


def _settings(attributes: Mapping[str, Any]) -> Iterator[str]:
    for first, second in _WIDTHS:
        if first in attributes and second in attributes:
            yield f"{attributes[first]} → {attributes[second]}"
    for name in _WIDTH:
        if attributes.get(name) is not None:
            yield _sizes(attributes[name])
    kernel = attributes.get("kernel_size")
    if kernel is not None:
        yield _sizes(kernel) if isinstance(kernel, tuple) else f"kernel {kernel}"
    for name, (word, usual) in _FURTHER.items():
        value = attributes.get(name)
        alike = isinstance(value, tuple) and len(set(value)) == 1
        value = value[0] if alike and isinstance(value, tuple) else value
        # A pooling layer's stride is its window unless it says otherwise.
        if value not in (None, usual) and not (name == "stride" and attributes[name] == kernel):
            yield f"{word} {_sizes(value)}"


def operator_settings(op: Op) -> str:
    """The plain arguments that the caller gave, such as `dim=1`."""
    given = [
        f"{name}={_sizes(value)}"
        for name, value in op.arguments.items()
        if not name.startswith("_")
        and value not in (None, False, ())
        and (name, value) != ("alpha", 1)
        and _is_plain(value)
    ]
    return ", ".join(given[:_MOST_ARGUMENTS]) + (", …" if len(given) > _MOST_ARGUMENTS else "")


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_is_plain(one) for one in value)
    return isinstance(value, int | float | str)


def _sizes(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " × ".join(map(str, value))
    return str(value)
