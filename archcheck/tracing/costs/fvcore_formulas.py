"""fvcore's formulas, applied to shapes in the place of a JIT graph's values."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch


class _Traced:
    """Stands for a JIT value where fvcore asks only for a shape, a plain value or list members."""

    def __init__(self, item: Any) -> None:
        self._item = item

    def isCompleteTensor(self) -> bool:
        return isinstance(self._item, torch.Tensor | tuple)

    def type(self) -> _Traced:
        return self

    def sizes(self) -> list[int]:
        return list(self._item if isinstance(self._item, tuple) else self._item.shape)

    def toIValue(self) -> Any:
        return self._item


def _fvcore_formulas() -> Mapping[str, Callable[[list[Any], list[Any]], Any]]:
    """fvcore's handlers, as its `FlopCountAnalysis` maps them to operators of the JIT.

    The file that holds them is loaded by itself: the package around it imports half a dozen
    others, which takes longer than all formulas of a pass.
    """
    package = importlib.util.find_spec("fvcore")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("fvcore is not installed", name="fvcore")
    path = Path(package.submodule_search_locations[0]) / "nn" / "jit_handles.py"
    spec = importlib.util.spec_from_file_location("fvcore.nn.jit_handles", path)
    assert spec is not None and spec.loader is not None
    handles: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(handles)
    return {
        "linear": handles.linear_flop_jit,
        "matmul": handles.matmul_flop_jit,
        "batch_norm": handles.batchnorm_flop_jit,
        "layer_norm": handles.norm_flop_counter(2),
        "group_norm": handles.norm_flop_counter(2),
        "instance_norm": handles.norm_flop_counter(1),
        "upsample_nearest2d": handles.elementwise_flop_counter(0, 1),
        "upsample_bilinear2d": handles.elementwise_flop_counter(0, 4),
        "adaptive_avg_pool2d": handles.elementwise_flop_counter(1, 0),
        "grid_sampler": handles.elementwise_flop_counter(0, 4),
    }


_FVCORE = MappingProxyType(_fvcore_formulas())


def by_fvcore(operator: str, inputs: Sequence[Any], output: Any) -> int:
    """What fvcore counts for an operator of the JIT. A shape is a tuple or a tensor."""
    return int(_FVCORE[operator]([_Traced(item) for item in inputs], [_Traced(output)]))
