"""The layer table: what is folded, what is marked, and that its columns add up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from output_samples import TraceMaker, residual_trace, sample_report

from archcheck.core.finding import Finding, Location, Severity
from archcheck.core.report import Report
from archcheck.evidence.records import Failure, Parameter
from archcheck.evidence.target_summary import TargetReport
from archcheck.evidence.trace import Trace
from archcheck.output import render
from archcheck.output.layer_rows import Row, table_rows
from archcheck.output.wording import byte_text, scaled


def rows_of(trace: Trace, depth: int | None = None, *findings: Finding) -> list[Row]:
    target = TargetReport(trace)
    return table_rows(target, Report(findings=findings, targets=(target,)), depth)


def own_sum(rows: list[Row], what: str) -> int:
    """The column without the rows that others break down."""
    return sum(getattr(row, what) for row in rows if not row.parts)


def mark(module: str, severity: Severity = Severity.WARNING) -> Finding:
    return Finding("m", Location("net.py", 1), module=module, severity=severity, code="AC304")


@pytest.mark.parametrize("depth", [None, 0, 1, 2, 3, 9])
def test_the_columns_add_up_to_the_totals(depth: int | None) -> None:
    trace = residual_trace()
    rows = rows_of(trace, depth, mark("stage.2.conv1"))
    assert own_sum(rows, "macs") == trace.macs == rows[0].macs
    assert own_sum(rows, "params") == 28_730 == rows[0].params


@given(blocks=st.integers(1, 12), depth=st.integers(0, 4), marked=st.integers(0, 11))
def test_the_columns_add_up_however_rows_are_folded(blocks: int, depth: int, marked: int) -> None:
    trace = residual_trace(blocks)
    rows = rows_of(trace, depth, mark(f"stage.{marked}.bn1"))
    assert own_sum(rows, "macs") == trace.macs
    params = TargetReport(trace).params
    assert params is not None and own_sum(rows, "params") == params.total


def test_equal_blocks_are_folded() -> None:
    rows = rows_of(residual_trace(6), 3)
    labels = [row.label for row in rows]
    assert labels == [
        "Net",
        "stem",
        "stage",
        "stage.0–5 (×6)",
        "conv1",
        "bn1",
        "conv2",
        "einsum",
        "pool",
        "fc",
        "spare",
    ]


def test_a_block_that_differs_is_not_folded() -> None:
    trace = residual_trace(5)
    wider = [
        replace(one, shape=(16, 16, 5, 5)) if one.name == "stage.2.conv1.weight" else one
        for one in trace.parameters
    ]
    labels = [row.label for row in rows_of(replace(trace, parameters=tuple(wider)), 2)]
    assert labels[3:6] == ["stage.0–1 (×2)", "stage.2", "stage.3–4 (×2)"]


def test_a_list_of_layers_has_no_row_of_its_own() -> None:
    make = TraceMaker()
    make.module("", "Net")
    make.module("heads", "ModuleDict")
    make.module("heads.boxes", "ModuleList")
    for number in range(2):
        make.module(f"heads.boxes.{number}", "Linear", weight=(4, 4))
    make.module("heads.spare", "ModuleList")
    make.module("heads.spare.0", "Linear", weight=(4, 4))
    x = make.value(2, 4, kind="input", name="x")
    make.begin("", x=x)
    y = x
    for number in range(2):
        y = make.leaf(f"heads.boxes.{number}", y, 2, 4, op="linear", macs=32)
    make.end(y)
    trace = make.trace("net.py:Net", {"boxes": [y], "scores": y}, {"x": x})
    rows = rows_of(trace)
    assert [(row.depth, row.label, row.remarks) for row in rows] == [
        (0, "Net", ()),
        (1, "heads.boxes.0–1 (×2)", ()),
        (1, "heads.spare", ("unused",)),
    ]
    assert own_sum(rows, "params") == 48 and own_sum(rows, "macs") == 64
    flat = rows_of(trace, 1)
    assert [row.label for row in flat] == ["Net", "heads"]
    outputs = TargetReport(trace).outputs
    assert outputs is not None and [one.name for one in outputs] == ["boxes[0]", "scores"]


def test_a_finding_marks_its_row_or_the_row_that_hides_it() -> None:
    deep = rows_of(residual_trace(), 3, mark("stage.4.conv2"))
    assert [row.label for row in deep if row.codes] == ["conv2"]
    flat = rows_of(residual_trace(), 1, mark("stage.4.conv2"), mark("fc", Severity.ERROR))
    assert [(row.label, [code for _, code in row.codes]) for row in flat if row.codes] == [
        ("stage", ["AC304"]),
        ("fc", ["AC304"]),
    ]


def test_blocks_with_the_same_finding_stay_folded() -> None:
    findings = [mark(f"stage.{number}.conv1") for number in range(6)]
    rows = rows_of(residual_trace(), 2, *findings)
    assert [row.label for row in rows if row.codes] == ["stage.0–5 (×6)"]


def test_findings_of_another_target_mark_nothing() -> None:
    other = replace(mark("fc"), target="net.py:Other")
    assert not any(row.codes for row in rows_of(residual_trace(), 1, other))


def test_without_a_depth_the_table_stays_short() -> None:
    rows = rows_of(residual_trace(6))
    assert max(row.depth for row in rows) == 3
    marked = rows_of(residual_trace(12), None, *(mark(f"stage.{n}.bn1") for n in range(0, 12, 2)))
    assert max(row.depth for row in marked) == 2


def test_an_unused_layer_is_marked_and_a_used_one_is_not() -> None:
    remarks = {row.label: row.remarks for row in rows_of(residual_trace())}
    assert remarks["spare"] == ("unused",)
    assert remarks["fc"] == ()


def test_a_layer_whose_weight_is_read_elsewhere_is_not_unused() -> None:
    make = TraceMaker()
    make.module("", "Net")
    make.module("projection", "Linear", weight=(4, 4))
    x = make.value(2, 4, kind="input", name="x")
    make.begin("", x=x)
    weight = next(value for value in make.values if value.name == "projection.weight")
    make.op("linear", 32, (x, type(x)(weight.index)))
    y = make.end(make.value(2, 4))
    rows = rows_of(make.trace("net.py:Net", y, {"x": x}))
    assert [row.remarks for row in rows] == [(), (), ()]
    assert rows[-1].label == "linear" and rows[-1].macs == 32


def test_a_shared_layer_counts_once_in_parameters_and_each_time_in_macs() -> None:
    make = TraceMaker()
    make.module("", "Net")
    make.module("fc", "Linear", weight=(4, 4))
    x = make.value(2, 4, kind="input", name="x")
    make.begin("", x=x)
    y = make.leaf("fc", x, 2, 4, op="linear", macs=32)
    y = make.leaf("fc", y, 2, 4, op="linear", macs=32)
    make.end(y)
    rows = rows_of(make.trace("net.py:Net", y, {"x": x}))
    assert [(row.params, row.macs) for row in rows] == [(16, 64), (16, 64)]
    assert rows[1].remarks == ("2 calls",)


def test_tied_parameters_stand_where_they_are_named_first() -> None:
    trace = residual_trace(1)
    tied = [
        replace(one, aliases=("spare.weight",)) if one.name == "stage.0.conv1.weight" else one
        for one in trace.parameters
        if not one.name.startswith("spare")
    ]
    modules = [
        replace(one, parameters=("spare.weight",)) if one.path == "spare" else one
        for one in trace.modules
    ]
    rows = rows_of(replace(trace, parameters=tuple(tied), modules=tuple(modules)))
    spare = rows[-1]
    assert spare.params == 0 and "shared parameters" in spare.remarks
    assert spare.layer is not None and spare.layer.params == 16 * 16 * 9
    assert own_sum(rows, "params") == sum(one.count for one in tied if not one.buffer)


def test_the_layer_that_raised_is_marked_and_its_guessed_output_too() -> None:
    make = TraceMaker()
    make.module("", "Net")
    make.module("fc", "Linear", weight=(4, 8))
    x = make.value(2, 4, kind="input", name="x")
    make.begin("", x=x)
    make.begin("fc", input=x)
    y = make.end(make.value(2, 4, guessed=True), Failure("forward", "RuntimeError", "mat1…"))
    make.end(y)
    report = Report(targets=(TargetReport(make.trace("net.py:Net", y, {"x": x})),))
    line = next(one for one in render(report, "text").splitlines() if one.startswith("  fc"))
    assert "[2,4]?" in line and line.endswith("raised RuntimeError")


def test_parameters_of_the_model_itself_are_not_lost() -> None:
    make = TraceMaker()
    make.module("", "Net", scale=(7,))
    make.module("fc", "Linear", weight=(4, 4))
    x = make.value(2, 4, kind="input", name="x")
    make.begin("", x=x)
    y = make.leaf("fc", x, 2, 4, op="linear", macs=32)
    make.end(y)
    trace = make.trace("net.py:Net", y, {"x": x})
    assert TargetReport(trace).params is not None
    rows = rows_of(trace, 1)
    assert rows[0].params == 23
    assert own_sum(rows, "params") == 23


def test_the_report_answers_for_its_first_target() -> None:
    report = sample_report()
    assert report.params == 28_730
    assert report.macs == sum(op.macs for op in residual_trace().ops)
    assert report.flops == 2 * report.macs
    assert report.outputs is not None and report.outputs[0].shape == (8, 10)
    paths = [layer.path for layer in report.modules]
    assert paths[:3] == ["", "stem", "stage"]
    nothing = Report()
    assert (nothing.params, nothing.macs, nothing.outputs, nothing.modules) == (
        None,
        None,
        None,
        (),
    )


def test_frozen_parameters_are_told_apart() -> None:
    trace = residual_trace(1)
    frozen = tuple(
        Parameter(one.name, one.shape, one.dtype, False, one.buffer) for one in trace.parameters
    )
    params = TargetReport(replace(trace, parameters=frozen)).params
    assert params is not None and params.trainable == 0 < params.total


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1.00 k"),
        (29_262_315_520, "29.26 G"),
        (999_949, "999.9 k"),
        (999_999, "1.00 M"),
        (118_000, "118.0 k"),
        (405_000_000_000_000, "405.0 T"),
    ],
)
def test_scaled_numbers(number: int, text: str) -> None:
    assert scaled(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1024, "1.00 KiB"), (411_041_792, "392.00 MiB")],
)
def test_bytes(number: int, text: str) -> None:
    assert byte_text(number) == text
