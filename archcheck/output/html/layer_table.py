"""The layer table as HTML, all layers in it, repeated blocks folded; a script sorts and filters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from archcheck.core.report import Report
from archcheck.evidence.target_summary import TargetReport, Tensor
from archcheck.output.layer_rows import Row, table_rows
from archcheck.output.wording import one_line, scaled, shape_text

_TITLES = ("Layer", "Type", "Input", "Output", "Parameters", "MACs", "Share", "Notes")
# Of the tensors that go in and out, so many are shown.
_MOST_SHAPES = 3
_BAR = 56


def layers_html(number: int, target: TargetReport, report: Report) -> str:
    """The table of one target; empty where nothing was built."""
    if not target.built:
        return ""
    deepest = max(layer.depth for layer in target.modules)
    rows = table_rows(target, report, deepest)
    total = rows[0].macs
    heads = "".join(f'<th scope="col">{title}</th>' for title in _TITLES)
    body = "".join("".join(_row(row, total)) for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Layers">'
        f'<table class="layers" id="table-{number}"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _row(row: Row, total: int) -> Iterator[str]:
    path = escape(row.layer.path) if row.layer else ""
    name = f' data-path="{path}"' if row.layer else ""
    marked = f' class="{row.codes[0][0].value}"' if row.codes else ""
    indent = f"indent-{min(row.depth, 9)}"
    yield f"<tr{name}{marked}>"
    label = escape(one_line(row.label))
    yield f'<th scope="row" class="{indent}">{label}</th><td>{escape(one_line(row.type))}</td>'
    for tensors in (row.inputs, row.outputs):
        yield f'<td class="shape">{_shapes(tensors)}</td>'
    parameters = f"{row.params:,}" if row.params else ""
    yield f'<td class="number" data-value="{row.params}">{parameters}</td>'
    macs = f'<span title="{row.macs:,}">{scaled(row.macs)}</span>' if row.macs else ""
    yield f'<td class="number" data-value="{row.macs}">{macs}</td>'
    yield f'<td class="share" data-value="{row.macs}">{_share(row.macs, total)}</td>'
    codes = (f'<span class="badge {severity.value}">{code}</span>' for severity, code in row.codes)
    yield f"<td>{' '.join((*codes, escape(', '.join(row.remarks))))}</td></tr>"


def _shapes(tensors: Sequence[Tensor]) -> str:
    texts = [shape_text(tensor) for tensor in tensors[:_MOST_SHAPES]]
    return escape(", ".join(texts) + (", …" if len(tensors) > _MOST_SHAPES else ""))


def _share(macs: int, total: int) -> str:
    if not macs or not total:
        return ""
    share = macs / total
    percent = f"{share:.0%}" if share >= 0.005 else "&lt;1%"
    return (
        f'<svg width="{_BAR}" height="8" aria-hidden="true"><rect class="back" width="{_BAR}" '
        f'height="8" rx="2"/><rect width="{share * _BAR:.1f}" height="8" rx="2"/></svg> {percent}'
    )
