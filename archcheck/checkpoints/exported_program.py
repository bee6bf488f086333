"""The weights of a `torch.export` archive (`.pt2`), from its own table of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from archcheck.checkpoints.bounded_json import parse_object, sizes_of
from archcheck.evidence.checkpoint import CheckpointError, StateDict, Tensor

# The numbers of torch._export.serde.schema.ScalarType.
_DTYPES: Mapping[int, str] = {
    1: "uint8",
    2: "int8",
    3: "int16",
    4: "int32",
    5: "int64",
    6: "float16",
    7: "float32",
    8: "float64",
    9: "complex32",
    10: "complex64",
    11: "complex128",
    12: "bool",
    13: "bfloat16",
    28: "uint16",
    29: "float8_e4m3fn",
    30: "float8_e5m2",
    31: "float8_e4m3fnuz",
    32: "float8_e5m2fnuz",
    33: "float8_e8m0fnu",
    34: "uint32",
    35: "uint64",
}


def exported_state(texts: Mapping[str, bytes], path: str) -> tuple[StateDict, ...]:
    """Return the state dict of each model of an archive, by the texts of their tables.

    Raises:
        CheckpointError: A table is damaged, or the archive has none.
    """
    if not texts:
        raise CheckpointError(
            f"{path} is an exported program without a table of its weights (of torch 2.7 or "
            "older): save `program.state_dict` with torch.save, or export it again"
        )
    return tuple(
        StateDict((), tuple(_tensors(parse_object(data, f"{path}: {name}").value)))
        for name, data in texts.items()
    )


def _tensors(table: Mapping[str, Any]) -> Iterator[Tensor]:
    config = table.get("config")
    for name, entry in config.items() if isinstance(config, dict) else ():
        meta = entry.get("tensor_meta") if isinstance(entry, dict) else None
        if not isinstance(meta, dict):
            continue
        storage = entry.get("path_name")
        yield Tensor(
            name,
            _sizes(meta.get("sizes")),
            _DTYPES.get(meta.get("dtype", 0), "unknown"),
            storage=storage if isinstance(storage, str) else "",
        )


def _sizes(value: Any) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return None
    return sizes_of([size.get("as_int") if isinstance(size, dict) else None for size in value])
