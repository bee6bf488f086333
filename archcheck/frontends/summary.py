"""`archcheck.summary(model, …)`: torchinfo's call and torchinfo's table, from a trace."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archcheck.core.target import UsageError
from archcheck.evidence.target_summary import TargetReport

if TYPE_CHECKING:
    from archcheck.output.terminal.torchinfo_table import ModelStatistics


def summary(
    model: Any,
    input_size: Sequence[Any] | None = None,
    input_data: Any = None,
    batch_dim: int | None = None,
    cache_forward_pass: bool | None = None,
    col_names: Iterable[str] | None = None,
    col_width: int = 25,
    depth: int = 3,
    device: Any = None,
    dtypes: Sequence[Any] | None = None,
    mode: str | None = None,
    row_settings: Iterable[str] | None = None,
    verbose: int | None = None,
    **kwargs: Any,
) -> ModelStatistics:
    """Print torchinfo's table of a model, and return its statistics.

    The arguments are those of `torchinfo.summary` 1.8. The model runs on tensors without data, so a
    model of any size is answered, its weights and statistics stay as they were, and where its pass
    breaks, the table has all rows up to there and the reason below them. Totals count each
    parameter once, and the multiply-adds of every operator, in and between the layers.

    Args:
        model: A `torch.nn.Module`, a class or a factory without arguments.
        input_size: One shape as a tuple, or a list of shapes for several arguments.
        input_data: Tensors in place of shapes: one, a list of them, or a dict by parameter.
        batch_dim: Where a batch dimension of 1 is put into each `input_size`.
        cache_forward_pass: Of no use here: a pass costs less than what would be remembered.
        device: Of no use here: the pass computes no data. A model on a device stays there.
        verbose: 0 prints nothing, 2 shows the weights of each layer; 1 is the default, 0 in an
            interactive session.
        **kwargs: Further arguments of `forward`.

    Raises:
        UsageError: An argument is wrong; the text names it.
    """
    from archcheck.output.terminal.torchinfo_table import (
        COLUMNS,
        ROWS,
        TableOptions,
        statistics,
        without_a_pass,
    )

    if verbose is None:
        verbose = 0 if getattr(sys, "ps1", None) else 1
    if verbose not in (0, 1, 2):
        raise UsageError(f"verbose: {verbose!r} is none of 0 (quiet), 1 and 2 (weights too)")
    if col_width <= 0:
        raise UsageError(f"col_width: must be at least 1, not {col_width}")
    if mode not in (None, "train", "eval"):
        raise UsageError(f"mode: {mode!r} is neither 'train' nor 'eval'")
    for name, given in (("cache_forward_pass", cache_forward_pass), ("device", device)):
        if given:
            warnings.warn(f"archcheck.summary: {name} does nothing here", stacklevel=2)
    table = TableOptions(
        COLUMNS if col_names is None else tuple(col_names),
        col_width,
        depth,
        ROWS if row_settings is None else tuple(row_settings),
        verbose,
        batch_dim,
    )
    if input_size is None and input_data is None and not kwargs:
        found = without_a_pass(model, table)
    else:
        # Tracing an object needs torch in this process, and whoever made the object has loaded it.
        from archcheck.worker.live import trace_object

        arguments = _arguments(input_size, input_data, batch_dim, dtypes, kwargs)
        trace = trace_object(model, arguments, "train" if mode == "train" else "eval")
        found = statistics(TargetReport(trace), table)
    if verbose:
        print(found)
    return found


def _arguments(
    input_size: Sequence[Any] | None,
    input_data: Any,
    batch_dim: int | None,
    dtypes: Sequence[Any] | None,
    kwargs: Mapping[str, Any],
) -> list[Any]:
    """The arguments of forward, in their order and by their names.

    Raises:
        UsageError: Shapes and tensors are given both, or do not go together.
    """
    from archcheck.tracing.input_tensors import NamedInput

    if input_size is not None and input_data is not None:
        raise UsageError("give input_size or input_data, not both")
    positional: list[Any] = []
    named = dict(kwargs)
    if input_size is not None:
        positional = _from_sizes(input_size, batch_dim, dtypes)
    elif isinstance(input_data, Mapping):
        named = {**input_data, **kwargs}
    elif input_data is not None:
        positional = [input_data] if hasattr(input_data, "shape") else list(input_data)
    return [*positional, *(NamedInput(value, name) for name, value in named.items())]


def _from_sizes(
    input_size: Sequence[Any], batch_dim: int | None, dtypes: Sequence[Any] | None
) -> list[Any]:
    """The tensors of one shape, or of each of a list of them."""
    from archcheck.tracing.input_tensors import TensorSpec

    if not isinstance(input_size, Sequence):
        raise UsageError(f"input_size: {input_size!r} is no shape such as (8, 3, 224, 224)")
    single = all(isinstance(size, int) for size in input_size)
    shapes = [tuple(input_size)] if single else [tuple(shape) for shape in input_size]
    kinds = [None] * len(shapes) if dtypes is None else list(dtypes)
    if len(kinds) != len(shapes):
        raise UsageError(f"dtypes: {len(kinds)} given for {len(shapes)} shapes in input_size")
    tensors = []
    for shape, dtype in zip(shapes, kinds, strict=True):
        if not shape or not all(isinstance(size, int) and size > 0 for size in shape):
            raise UsageError(f"input_size: {shape} is no shape; every size must be at least 1")
        if batch_dim is not None:
            shape = (*shape[:batch_dim], 1, *shape[batch_dim:])
        tensors.append(
            TensorSpec(shape, None if dtype is None else str(dtype).removeprefix("torch."))
        )
    return tensors
