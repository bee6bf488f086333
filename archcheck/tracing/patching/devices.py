"""What a meta tensor says of its device and its legacy type: what the CPU's tensor says.

Models read them to make other tensors (`torch.zeros(3, device=x.device)`, `y.type(x.type())`),
which stay where the pass makes them, and to choose a way, which must be the CPU's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import CodeType, MappingProxyType
from typing import Any

import torch

# An object of its own, so that where it is handed back it is told from the user's own "cpu".
AS_CPU = torch.device("cpu")

QUESTIONS: Mapping[str, Any] = MappingProxyType(
    {"device": AS_CPU, "is_cpu": True, "is_meta": False}
)


_LEGACY = type(torch.FloatTensor)


def on_meta(value: Any) -> Any:
    """Return the meta device where a tensor's own device is handed back."""
    return torch.device("meta") if value is AS_CPU else value


def legacy_type(
    args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]] | None:
    """Return the call that answers `Tensor.type(...)` on any device; None for torch's own.

    The types' names hold a device: `torch.FloatTensor`, `torch.cuda.FloatTensor`.
    """
    wanted = args[1] if len(args) > 1 else kwargs.get("dtype")
    if wanted is None:
        return _type_on_cpu, args[:1], {}
    dtype = _dtype_of(wanted)
    return None if dtype is None else (torch.Tensor.to, (args[0], dtype), {})


def _type_on_cpu(tensor: torch.Tensor) -> str:
    return tensor.type().replace("torch.meta.", "torch.")


def _dtype_of(wanted: Any) -> torch.dtype | None:
    """Return the dtype of a legacy type, or of its name."""
    if isinstance(wanted, torch.dtype):
        return None
    name = wanted if isinstance(wanted, str) else f"{wanted.__module__}.{wanted.__name__}"
    name = name.rpartition(".")[2]
    found = getattr(getattr(torch, name, None), "dtype", None)
    return found if isinstance(found, torch.dtype) else None


def asks_for_legacy_type(code: CodeType) -> bool:
    """Return whether code tells tensors apart by types such as `torch.FloatTensor`."""
    names = code.co_names
    return "isinstance" in names and any(
        name.endswith("Tensor") and isinstance(getattr(torch, name, None), _LEGACY)
        for name in names
    )
