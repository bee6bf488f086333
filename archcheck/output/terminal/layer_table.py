"""The layer table and the totals of one traced target, drawn for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from archcheck.core.report import Report
from archcheck.evidence.target_summary import TargetReport, Tensor
from archcheck.output.costs import cost_lines
from archcheck.output.layer_rows import Row, table_rows
from archcheck.output.terminal.cells import fit, fit_left, wrap
from archcheck.output.terminal.excerpt import SEVERITY_STYLE
from archcheck.output.terminal.styled import Styled
from archcheck.output.wording import (
    byte_text,
    one_line,
    scaled,
    shape_text,
    tensors_text,
    valid_sizes_text,
)

_BAR = 8
_EIGHTHS = " ▏▎▍▌▋▊▉"
_SIGNS = {"error": "✗", "warning": "!", "note": "·"}
_LEAST_LABEL = 12
_MOST_SHAPES = 34


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    cells: Sequence[Styled]
    right: bool = False

    @property
    def width(self) -> int:
        return max(len(self.title), *(cell.width for cell in self.cells))

    @property
    def empty(self) -> bool:
        return not any(cell.plain for cell in self.cells)


def target_text(
    target: TargetReport, report: Report, width: int, depth: int | None
) -> Iterator[Styled]:
    """Heading, layer table, totals."""
    yield from _heading(target, width)
    if target.built:
        yield Styled()
        yield from _table(table_rows(target, report, depth), target.trace.macs, width)
    yield Styled()
    for name, text in totals(target):
        lines = wrap(text, width - _TOTALS, width - _TOTALS)
        yield Styled.of((f"{name:<{_TOTALS}}", "bold"), lines[0])
        for line in lines[1:]:
            yield Styled(" " * _TOTALS + line)


_TOTALS = 19


def _heading(target: TargetReport, width: int) -> Iterator[Styled]:
    text = one_line(target.name)
    rest = f", {target.mode} mode"
    if target.inputs:
        rest += f": {tensors_text(target.inputs)}"
    if target.outputs is not None:
        rest += f" → {tensors_text(target.outputs)}"
    lines = wrap(text + rest, width, width - 2)
    yield Styled.of((lines[0][: len(text)], "bold"), lines[0][len(text) :])
    for line in lines[1:]:
        yield Styled(f"  {line}")


def totals(target: TargetReport) -> Iterator[tuple[str, str]]:
    """What the target costs and how it was traced: names, and values with their units."""
    trace, params = target.trace, target.params
    if not target.built:
        yield "Not traced", "the model could not be built"
    elif not target.complete:
        yield "Stopped", _stop(target)
    if params is not None:
        text = f"{params.total:,}"
        if params.trainable != params.total:
            text += f", of which {params.trainable:,} are trainable"
        if params.buffers:
            text += f"; {params.buffers:,} elements in buffers"
        yield "Parameters", text
    if target.macs is not None:
        yield "MACs (fvcore)", _counted(target.macs)
    if target.flops is not None:
        yield "FLOPs (torch)", _counted(target.flops)
    if target.peak_activation_bytes is not None:
        kept = "with what backward needs" if target.mode == "train" else "alive at once"
        yield (
            "Peak activations",
            f"{byte_text(target.peak_activation_bytes)} in {target.mode} mode, {kept}",
        )
    yield from cost_lines(target.trace)
    yield from _probed(target)
    if sizes := valid_sizes_text(target):
        yield "Valid input sizes", sizes
    if target.uncounted_ops:
        counted = (f"{name} (×{times})" for name, times in sorted(target.uncounted_ops.items()))
        yield "Not counted", ", ".join(counted)
    if any(tensor.guessed for layer in target.modules for tensor in layer.outputs):
        yield "Shapes with ?", "what a layer that failed would have given, and what follows from it"
    if trace.decided_by_values:
        names = ", ".join(f"`{name}`" for name in trace.decided_by_values)
        yield "By values", f"{names} decide sizes or the way, by values that are made up here"
    if trace.inferred_input:
        yield "Input", one_line(trace.inferred_input)
    if target.rung:
        text = f"{target.rung} tensors"
        yield "Traced with", "; ".join((text, *(one_line(step) for step in trace.steps)))


def _probed(target: TargetReport) -> Iterator[tuple[str, str]]:
    """What real tensors were tried, and what was not looked at."""
    probe = target.trace.probe
    if probe is None:
        return
    if probe.inputs:
        given = ", ".join(f"{one.name} {list(one.shape)}" for one in probe.inputs)
        smaller = f" ({probe.smaller})" if probe.smaller else ""
        yield "Probed with", one_line(f"{given}{smaller}, on real tensors")
    if probe.skipped:
        yield "Not probed", one_line("; ".join(probe.skipped))


def _counted(number: int) -> str:
    return f"{number:,}" if number < 1000 else f"{scaled(number)} ({number:,})"


def _stop(target: TargetReport) -> str:
    """Where the pass ended."""
    final = [one for one in target.trace.failures if not one.recovered]
    if not final and target.trace.decided_by_values:
        return "how it goes on depends on values; the table covers what ran"
    if not final:
        return "the pass did not reach its end; figures cover what ran"
    failure = final[-1]
    path = None if failure.call is None else target.trace.calls[failure.call].path
    where = f" in `{path}`" if path else ""
    return f"{failure.error}{where}; the table covers what ran before it"


def _table(rows: Sequence[Row], total: int, width: int) -> Iterator[Styled]:
    label = _Column("Layer", [_label(row) for row in rows])
    kind = _Column(
        "Type", [Styled(one_line(row.type), "dim" * (row.layer is None)) for row in rows]
    )
    given = _Column("Input", [_shapes(row, row.inputs) for row in rows])
    result = _Column("Output", [_shapes(row, row.outputs) for row in rows])
    params = _Column("Parameters", [_number(row, f"{row.params:,}") for row in rows], right=True)
    macs = _Column("MACs", [_number(row, scaled(row.macs)) for row in rows], right=True)
    bar = _Column("Share", [_share(row, total) for row in rows])
    notes = _Column("", [_notes(row) for row in rows])

    for chosen in (
        [label, kind, given, result, params, macs, bar, notes],
        [label, kind, result, params, macs, bar, notes],
        [label, kind, result, params, macs, notes],
        [label, result, params, macs, notes],
        [label, result, macs, notes],
    ):
        columns = [column for column in chosen if not column.empty]
        spare = width - sum(column.width + 2 for column in columns) + 2
        if spare >= 0 or (chosen[1] is result and label.width + spare >= _LEAST_LABEL):
            break
    room = max(label.width + min(spare, 0), _LEAST_LABEL)
    widths = [room if column is label else column.width for column in columns]

    yield _line([Styled(column.title, "bold") for column in columns], columns, widths)
    for index in range(len(rows)):
        yield _line([column.cells[index] for column in columns], columns, widths)


def _line(cells: Sequence[Styled], columns: Sequence[_Column], widths: Sequence[int]) -> Styled:
    line = Styled()
    for cell, column, width in zip(cells, columns, widths, strict=True):
        if cell.width > width:
            # A label, which is of one style.
            cell = Styled(fit_left(cell.plain, width), cell.pieces[0][1])
        gap = " " * (width - cell.width)
        line = line.append(gap).append(cell) if column.right else line.append(cell).append(gap)
        line.append("  ")
    line.rstrip()
    return line


def _label(row: Row) -> Styled:
    style = SEVERITY_STYLE[row.codes[0][0]] if row.codes else "dim" if row.layer is None else ""
    return Styled("  " * row.depth + one_line(row.label), style)


def _shapes(row: Row, tensors: Sequence[Tensor]) -> Styled:
    texts = []
    for text, group in groupby(tensors, key=lambda tensor: shape_text(tensor).replace(" ", "")):
        times = len(list(group))
        texts.append(text if times == 1 else f"{text} ×{times}")
    if len(texts) > 2:
        texts = [*texts[:2], "…"]
    more = " …" if row.layer and row.layer.varies and texts else ""
    return Styled(fit(", ".join(texts), _MOST_SHAPES) + more)


def _number(row: Row, text: str) -> Styled:
    return Styled("" if text == "0" else text, "dim" if row.parts else "")


def _share(row: Row, total: int) -> Styled:
    if not row.macs or not total:
        return Styled()
    share = row.macs / total
    percent = f"{share:.0%}" if share >= 0.005 else "<1%"
    whole, rest = divmod(round(share * _BAR * 8), 8)
    bar = "█" * whole + _EIGHTHS[rest] * bool(rest)
    return Styled.of((f"{bar:<{_BAR}}", "dim blue" if row.parts else "blue"), f" {percent:>4}")


def _notes(row: Row) -> Styled:
    text = Styled()
    for severity, code in row.codes:
        text.append(f"{_SIGNS[severity]} {code} ", SEVERITY_STYLE[severity])
    text.append(", ".join(row.remarks), "yellow")
    text.rstrip()
    return text
