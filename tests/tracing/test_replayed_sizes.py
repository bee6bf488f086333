"""Valid input sizes from records written by hand: plain data, no torch."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archcheck.evidence.records import Failure, Op, Sizes, TracedInput, Value, ValueIndex
from archcheck.evidence.sizes import (
    FUNCTIONS,
    Size,
    Tables,
    ceiling,
    free,
    greatest,
    least,
    number,
    pooled_up,
    scaled,
)
from archcheck.evidence.trace import Trace
from archcheck.tracing.sizes.solve import answered_sizes, valid_sizes


class Record:
    """Writes a trace down, op by op."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self.ops: list[Op] = []
        self.inputs: list[TracedInput] = []
        self.failures: list[Failure] = []

    def input(
        self, *shape: int, dtype: str = "float32", letters: Mapping[str, int] | None = None
    ) -> int:
        name = "xyz"[len(self.inputs)]
        index = self._value(shape, "input", dtype=dtype, name=name)
        self.inputs.append(
            TracedInput(
                name, ValueIndex(index), {dim: letter for letter, dim in (letters or {}).items()}
            )
        )
        return index

    def parameter(self, *shape: int) -> int:
        return self._value(shape, "parameter", name=f"parameter{len(self.values)}")

    def op(
        self,
        name: str,
        inputs: tuple[int, ...],
        *shapes: tuple[int, ...],
        fails: bool = False,
        **arguments: Any,
    ) -> int:
        """One op; `arguments` are the plain ones, tensors are given as `ValueIndex`."""
        index = len(self.ops)
        arguments.setdefault("input", ValueIndex(inputs[0]) if inputs else None)
        outputs = tuple(
            self._value(shape, "computed", producer=index, guessed=fails) for shape in shapes
        )
        failure = None
        if fails:
            failure = len(self.failures)
            self.failures.append(Failure("forward", "RuntimeError", "", op=index, recovered=True))
        self.ops.append(Op(index, name, name, inputs, outputs, arguments, failure=failure))
        return outputs[0]

    def conv(self, x: int, out: tuple[int, ...], kernel: int, stride: int = 1, pad: int = 0) -> int:
        weight = self.parameter(out[1], self.values[x].shape[1], kernel, kernel)
        both = {"input": ValueIndex(x), "weight": ValueIndex(weight)}
        return self.op("conv2d", (x, weight), out, **both, stride=stride, padding=pad)

    def linear(self, x: int, in_features: int, out: tuple[int, ...], fails: bool = False) -> int:
        weight = self.parameter(out[-1], in_features)
        both = {"input": ValueIndex(x), "weight": ValueIndex(weight)}
        return self.op("linear", (x, weight), out, fails=fails, **both)

    def _value(self, shape: tuple[int, ...], kind: Any, dtype: str = "float32", **more: Any) -> int:
        index = len(self.values)
        self.values.append(Value(index, shape, dtype, kind, storage=index, **more))
        return index

    def trace(self) -> Trace:
        return Trace(
            "model.py:Net",
            "model.py",
            rung="meta",
            inputs=tuple(self.inputs),
            complete=True,
            ops=tuple(self.ops),
            values=tuple(self.values),
            failures=tuple(self.failures),
        )


def found(record: Record, confirm: Any = None) -> dict[str, tuple[int, int, int]]:
    sizes = valid_sizes(record.trace(), confirm)
    return {size.dimension: (size.low, size.high, size.multiple_of) for size in sizes}


def classifier(side: int = 32, fails: bool = False) -> Record:
    """A 5 x 5 convolution, a pooling by two, and a Linear that wants 8 x 14 x 14."""
    record = Record()
    x = record.conv(record.input(4, 3, side, side), (4, 8, side - 4, side - 4), 5)
    half = (side - 4) // 2
    x = record.op("max_pool2d", (x,), (4, 8, half, half), kernel_size=2)
    x = record.op("flatten", (x,), (4, 8 * half * half), start_dim=1)
    record.linear(x, 8 * 14 * 14, (4, 10), fails)
    return record


def test_a_flatten_ties_height_and_width() -> None:
    # 14 = (size - 4) // 2, so 32 and 33
    assert found(classifier()) == {"H": (32, 33, 1), "W": (32, 33, 1)}
    sizes = valid_sizes(classifier().trace())
    assert [size.limited_by for size in sizes] == [3, 3]
    assert [size.axes for size in sizes] == [((0, 2),), ((0, 3),)]


def test_after_a_failure_height_and_width_go_together() -> None:
    sizes = valid_sizes(classifier(64, fails=True).trace())
    assert [(s.dimension, s.traced, s.low, s.high, s.tied) for s in sizes] == [
        ("H", 64, 32, 33, ("W",)),
        ("W", 64, 32, 33, ("H",)),
    ]


def test_a_failure_that_no_size_mends_leaves_nothing_to_say() -> None:
    record = Record()
    x = record.conv(record.input(4, 3, 32, 32), (4, 8, 30, 30), 3)
    weight = record.parameter(8, 7, 3, 3)
    both = {"input": ValueIndex(x), "weight": ValueIndex(weight)}
    x = record.op("conv2d", (x, weight), (4, 8, 28, 28), fails=True, **both)
    x = record.op("flatten", (x,), (4, 8 * 28 * 28), start_dim=1)
    record.linear(x, 8 * 28 * 28, (4, 10))
    assert found(record) == {}


def test_nothing_limits_what_is_pooled_to_one() -> None:
    record = Record()
    x = record.conv(record.input(4, 3, 32, 32), (4, 8, 32, 32), 3, pad=1)
    x = record.op("adaptive_avg_pool2d", (x,), (4, 8, 1, 1), output_size=1)
    x = record.op("flatten", (x,), (4, 8), start_dim=1)
    record.linear(x, 8, (4, 10))
    assert found(record) == {}


def test_a_smallest_size() -> None:
    record = Record()
    x = record.conv(record.input(4, 3, 32, 48), (4, 8, 26, 42), 7)
    x = record.op("max_pool2d", (x,), (4, 8, 13, 21), kernel_size=2)
    record.op("adaptive_avg_pool2d", (x,), (4, 8, 1, 1), output_size=1)
    # the pooling needs two places, the convolution leaves six fewer than it gets
    assert found(record) == {"H": (8, 1024, 1), "W": (8, 1024, 1)}


def skip_connection(**size: Any) -> Record:
    record = Record()
    skip = record.conv(record.input(2, 3, 64, 64), (2, 4, 64, 64), 3, pad=1)
    x = skip
    for side in (32, 16):
        x = record.op("max_pool2d", (x,), (2, 4, side, side), kernel_size=2)
    x = record.op("interpolate", (x,), (2, 4, 64, 64), **size)
    record.op("cat", (x, skip), (2, 8, 64, 64), tensors=(ValueIndex(x), ValueIndex(skip)), dim=1)
    return record


def test_a_multiple() -> None:
    record = skip_connection(scale_factor=4)
    assert found(record) == {"H": (4, 1024, 4), "W": (4, 1024, 4)}
    assert [size.limited_by for size in valid_sizes(record.trace())] == [4, 4]


def test_a_size_that_was_read_or_written_is_settled_by_a_pass() -> None:
    record = skip_connection(size=(64, 64))
    assert found(record) == {}  # nobody to ask

    def reads(sizes: Mapping[tuple[int, int], int]) -> bool:
        return all(size >= 4 for size in sizes.values())

    def writes(sizes: Mapping[tuple[int, int], int]) -> bool:
        return all(size == 64 for size in sizes.values())

    assert found(record, reads) == {"H": (4, 1024, 1), "W": (4, 1024, 1)}
    assert found(record, writes) == {"H": (64, 64, 1), "W": (64, 64, 1)}


def test_windows_divide_the_map() -> None:
    record = Record()
    x = record.conv(record.input(2, 3, 56, 56), (2, 8, 56, 56), 3, pad=1)
    record.op("view", (x,), (2, 8, 8, 7, 8, 7), size=(2, 8, 8, 7, 8, 7))

    def divisible_by_seven(sizes: Mapping[tuple[int, int], int]) -> bool:
        return all(size % 7 == 0 for size in sizes.values())

    assert found(record, divisible_by_seven) == {"H": (7, 1022, 7), "W": (7, 1022, 7)}


@pytest.mark.parametrize("reason", ["contradicted", "silent"])
def test_what_no_pass_confirms_is_not_said(reason: str) -> None:
    answer = {"contradicted": True, "silent": None}[reason]
    assert found(classifier(), lambda sizes: answer) == {}


def test_passes_are_few() -> None:
    asked = []

    def confirm(sizes: Mapping[tuple[int, int], int]) -> bool:
        asked.append(dict(sizes))
        return all(32 <= size <= 33 for size in sizes.values())

    assert found(classifier(), confirm) == {"H": (32, 33, 1), "W": (32, 33, 1)}
    # both ends and both neighbours, height and width in one pass
    assert asked == [{(0, 2): size, (0, 3): size} for size in (32, 33, 34, 31)]


def test_channels_last() -> None:
    record = Record()
    x = record.input(4, 32, 32, 3)
    x = record.op("permute", (x,), (4, 3, 32, 32), dims=(0, 3, 1, 2))
    x = record.conv(x, (4, 8, 30, 30), 3)
    x = record.op("view", (x,), (4, 7200), size=(4, -1))
    record.linear(x, 7200, (4, 10))
    sizes = valid_sizes(record.trace())
    assert [(size.dimension, size.axes) for size in sizes] == [("H", ((0, 1),)), ("W", ((0, 2),))]


def tokens(inputs: int) -> Record:
    """Embedded tokens, and positions of at most 64 cut to their length."""
    record = Record()
    total = None
    for _ in range(inputs):
        x = record.input(2, 16, dtype="int64")
        table = record.parameter(100, 8)
        arguments = {"input": ValueIndex(x), "weight": ValueIndex(table)}
        x = record.op("embedding", (x, table), (2, 16, 8), **arguments)
        total = x if total is None else record.op("add", (total, x), (2, 16, 8))
    assert total is not None
    positions = record.parameter(1, 64, 8)
    index = (slice(None), slice(None, 16))
    cut = record.op("getitem", (positions,), (1, 16, 8), index=index)
    record.op("add", (total, cut), (2, 16, 8))
    return record


def up_to_64(sizes: Mapping[tuple[int, int], int]) -> bool:
    return len(set(sizes.values())) == 1 and max(sizes.values()) <= 64


def test_positions_limit_a_sequence() -> None:
    assert found(tokens(1), up_to_64) == {"T": (1, 64, 1)}


def test_inputs_of_one_length_are_tied() -> None:
    record = tokens(2)
    sizes = valid_sizes(record.trace(), up_to_64)
    assert [(s.dimension, s.low, s.high, s.tied) for s in sizes] == [
        ("T", 1, 64, ("y.T",)),
        ("y.T", 1, 64, ("T",)),
    ]


def test_rows_of_a_table_limit_positions_though_no_pass_without_values_shows_it() -> None:
    record = Record()
    total = None
    for rows in (100, 64):
        index = record.input(2, 16, dtype="int64") if rows == 100 else None
        if index is None:
            index = record.op("arange", (), (16,), end=16)
            index = record.op("add", (index,), (16,), other=2)
            index = record.op("unsqueeze", (index,), (1, 16), dim=0)
        table = record.parameter(rows, 8)
        arguments = {"input": ValueIndex(index), "weight": ValueIndex(table)}
        shape = (*record.values[index].shape, 8)
        x = record.op("embedding", (index, table), shape, **arguments)
        total = x if total is None else record.op("add", (total, x), (2, 16, 8))
    # two rows are skipped, as for a padding token
    assert found(record, lambda sizes: True) == {"T": (1, 62, 1)}


def test_letters_are_reported_even_if_free() -> None:
    record = Record()
    x = record.input(2, 16, 8, letters={"B": 0, "T": 1})
    record.linear(x, 8, (2, 16, 4))
    assert valid_sizes(record.trace()) == (
        Sizes("B", 2, 1, 1024, axes=((0, 0),)),
        Sizes("T", 16, 1, 1024, axes=((0, 1),)),
    )


def test_a_letter_in_two_inputs_is_one_size() -> None:
    record = Record()
    one = record.input(2, 16, dtype="int64", letters={"T": 1})
    other = record.input(2, 16, dtype="int64", letters={"T": 1})
    record.op("add", (one, other), (2, 16))
    (sizes,) = valid_sizes(record.trace())
    assert (sizes.dimension, sizes.low, sizes.high) == ("T", 1, 1024)
    assert sizes.axes == ((0, 1), (1, 1))


def test_an_unknown_op_makes_what_follows_unknown() -> None:
    record = Record()
    x = record.conv(record.input(4, 3, 32, 32), (4, 8, 30, 30), 3)
    x = record.op("mystery", (x,), (4, 99))
    record.linear(x, 99, (4, 10))
    assert found(record) == {"H": (3, 1024, 1), "W": (3, 1024, 1)}
    # passes know better: only the traced size, if no other does, and else silence
    exact = {"H": (32, 32, 1), "W": (32, 32, 1)}
    assert found(record, lambda sizes: set(sizes.values()) == {32}) == exact
    assert found(record, lambda sizes: all(size % 32 == 0 for size in sizes.values())) == {}


def test_a_rule_that_does_not_give_what_was_recorded_is_not_heard() -> None:
    record = Record()
    x = record.conv(record.input(4, 3, 32, 32), (4, 8, 31, 31), 3)  # it gives 30
    x = record.op("flatten", (x,), (4, 8 * 31 * 31), start_dim=1)
    record.linear(x, 8 * 31 * 31, (4, 10))
    assert found(record) == {}


def test_a_flatten_by_a_fixed_width_must_leave_the_batch_alone() -> None:
    record = Record()
    x = record.conv(record.input(4, 3, 32, 32), (4, 8, 30, 30), 3)
    x = record.op("max_pool2d", (x,), (4, 8, 15, 15), kernel_size=2)
    x = record.op("view", (x,), (4, 1800), size=(-1, 1800))
    record.linear(x, 1800, (4, 10))
    fits = {"H": (32, 33, 1), "W": (32, 33, 1)}
    assert found(record, lambda sizes: set(sizes.values()) <= {32, 33}) == fits


def test_the_replay_needs_no_torch() -> None:
    code = (
        "import sys; import archcheck.tracing.sizes.solve; "
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- symbols --------------------------------------------------------------------------------------

small = st.integers(1, 9)


@st.composite
def expressions(draw: st.DrawFn) -> tuple[Size, Any]:
    """A size made of steps that layers take, and a plain function that takes the same."""
    x = free("x")
    plain: list[Any] = []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(
            st.sampled_from(["add", "times", "floor", "ceil", "min", "max", "scaled", "up"])
        )
        n = draw(small)
        if kind == "add":
            x, step = x + n - 5, lambda v, n=n: v + n - 5
        elif kind == "times":
            x, step = x * n, lambda v, n=n: v * n
        elif kind == "floor":
            x, step = x // n, lambda v, n=n: v // n
        elif kind == "ceil":
            x, step = ceiling(x, n), lambda v, n=n: -(-v // n)
        elif kind == "min":
            x, step = least(x, number(10 * n)), lambda v, n=n: min(v, 10 * n)
        elif kind == "max":
            x, step = greatest(x, number(n)), lambda v, n=n: max(v, n)
        elif kind == "scaled":
            x, step = scaled(x, n / 4), lambda v, n=n: FUNCTIONS["scaled"](v, n / 4)
        else:
            x = pooled_up(x, n, 2, n // 2, 1)
            step = lambda v, n=n: FUNCTIONS["pooled_up"](v, n, 2, n // 2, 1)  # noqa: E731
        plain.append(step)

    def evaluate(value: int) -> int:
        for step in plain:
            value = step(value)
        return value

    return x, evaluate


@given(expressions())
def test_sizes_are_what_integers_would_be(pair: tuple[Size, Any]) -> None:
    size, evaluate = pair
    candidates = list(range(1, 60))
    assert Tables({"x": candidates}).of(size) == [evaluate(value) for value in candidates]


def test_equal_sizes_have_equal_keys() -> None:
    x, y = free("x"), free("y")
    assert (x + 2 - 2) == x
    assert (2 * x + 1) // 2 == x
    assert (x // 2) // 3 == x // 6
    assert ((x // 2) + 1) // 2 == (x + 2) // 4
    assert x * y == y * x
    assert (x + 1) * (y + 1) == x * y + x + y + 1
    assert x - x == number(0)
    assert (x * 2 // 2).symbol == "x"
    assert number(7).constant == 7
    assert x.constant is None


def test_pooling_in_ceil_mode_starts_no_window_in_the_padding() -> None:
    # torch.nn.MaxPool2d(3, 2, ceil_mode=True): 6 -> 3, 7 -> 3; with padding 1: 6 -> 4 would start
    # its last window at 7, in the padding, so 3
    assert pooled_up(number(6), 3, 2, 0, 1).constant == 3
    assert pooled_up(number(7), 3, 2, 0, 1).constant == 3
    assert pooled_up(number(5), 2, 2, 1, 1).constant == 3


def test_what_is_known_of_a_size_is_said() -> None:
    record = Record()
    x = record.input(2, 16, 8, letters={"B": 0, "T": 1})
    record.linear(x, 8, (2, 16, 4))
    _, answers = answered_sizes(record.trace())
    assert answers == {"B": "any", "T": "any"}
    _, answers = answered_sizes(classifier().trace())
    assert set(answers.values()) <= {"range", "only", "bands"}
    # Where no pass can confirm anything, nothing is known.
    _, answers = answered_sizes(classifier().trace(), lambda sizes: None)
    assert set(answers.values()) == {"unknown"}
