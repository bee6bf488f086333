"""The precisions that a training step can run in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from archcheck.core.known_names import known


@dataclass(frozen=True, slots=True)
class Precision:
    """How weights are kept, and what products compute in.

    Attributes:
        weights: The dtype that the model is cast to; None leaves it as it is built.
        autocast: The dtype that autocast computes in.
        rate: The dtype whose peak rate of a device holds for its products.
    """

    weights: str | None
    autocast: str | None
    rate: str


PRECISIONS: Mapping[str, Precision] = MappingProxyType(
    {
        "fp32": Precision(None, None, "fp32"),
        "bf16": Precision("bfloat16", None, "bf16"),
        "fp16": Precision("float16", None, "fp16"),
        "amp-bf16": Precision(None, "bfloat16", "bf16"),
        "amp-fp16": Precision(None, "float16", "fp16"),
    }
)

_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "half": "fp16",
        "bf16-mixed": "amp-bf16", "16-mixed": "amp-fp16", "bf16-true": "bf16", "16-true": "fp16",
    }
)  # fmt: skip


def precision(name: str) -> Precision:
    """The precision of a name.

    Raises:
        ValueError: There is none; the text names the nearest ones.
    """
    aliases = {alias: PRECISIONS[key] for alias, key in _ALIASES.items()}
    return known(name, {**PRECISIONS, **aliases}, "precision")


def precision_name(name: str) -> str:
    """The name under which a precision is known.

    Raises:
        ValueError: As `precision` does.
    """
    return next(key for key, value in PRECISIONS.items() if value is precision(name))
