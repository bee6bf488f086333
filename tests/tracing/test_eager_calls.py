"""Single calls, legal and illegal: what eager torch rejects, a trace rejects, and nothing else.

benchmarks/eager_calls.py makes the variants; here are a few of each kind of function.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from eager_calls import Call, compared, parsed, variants  # noqa: E402

LINES = (
    "torch.sub | t(3, 4), t(3, 4)",
    "operator.and_ | b(3, 4), b(3, 4)",
    "Tensor.masked_fill | t(3, 4), b(4), -1e9",
    "torch.mm | t(3, 4), t(4, 5)",
    "torch.addmm | t(5), t(3, 4), t(4, 5)",
    "F.conv1d | t(2, 4, 9), t(6, 2, 3), t(6), 2, 1, 1, 2",
    "F.conv_transpose2d | t(2, 4, 8, 9), t(4, 3, 3, 3), t(6), 2, 1, 1, 2",
    "F.scaled_dot_product_attention | t(2, 2, 5, 4), t(2, 2, 5, 4), t(2, 2, 5, 4), b(5, 5)",
    "F.embedding | i(2, 5), t(7, 4)",
    "F.cross_entropy | t(3, 4, 5), i(3, 5), t(4)",
    "torch.addmv | t(3), t(3, 4), t(4)",
    "torch.gather | t(3, 4), 1, i(3, 2)",
    "torch.index_select | t(3, 4), 1, i(2)",
    "Tensor.index_add_ | t(3, 4), 0, i(2), t(2, 4)",
    "operator.setitem | t(3, 4), b(3, 4), 0.0",
    "nn.GRU | 4, 5 | t(6, 2, 4), t(1, 2, 5)",
    "nn.GroupNorm | 2, 4 | t(2, 4, 5)",
    "nn.BatchNorm2d | 4 | t(2, 4, 5, 5)",
)


def some(line: str) -> list[Call]:
    """Every fourth variant of a line, its constants and layouts always."""
    found = list(variants(parsed(line)))
    told = ("constant", "layout", "dtype of 1")
    return [c for i, c in enumerate(found) if i % 4 == 0 or c.what.startswith(told)]


@pytest.mark.parametrize("line", LINES)
def test_what_eager_rejects_is_reported_and_nothing_else(line: str) -> None:
    outcomes = [compared(call) for call in some(line)]
    verdicts = {outcome.verdict for outcome in outcomes}
    wrong = [
        (o.verdict, o.call.what, o.note)
        for o in outcomes
        if o.verdict in _WRONG and not _is_of_the_first(line, o.call.what)
    ]
    assert not wrong
    assert {"rejected", "same"} <= {verdict.split()[0] for verdict in verdicts}


def _is_of_the_first(line: str, what: str) -> bool:
    """Torch 2.6 promotes the vector that `addmv` adds in its meta kernel, and not in eager."""
    is_old = torch.__version__ < torch.torch_version.TorchVersion("2.8")
    return is_old and line.startswith("torch.addmv") and what == "dtype of 0: complex64"


_WRONG = ("silent", "false", "differs")


def test_every_line_of_the_table_is_a_call() -> None:
    """Each legal call is taken by eager itself, or its answer depends on the values."""
    from eager_calls import in_eager, table

    errors = {line: in_eager(parsed(line))[0] for line in table()}
    of_values = {None, "_LinAlgError"}  # a matrix of equal numbers has no inverse
    kinds = {line: type(error).__name__ if error else None for line, error in errors.items()}
    assert not {line: errors[line] for line, kind in kinds.items() if kind not in of_values}
