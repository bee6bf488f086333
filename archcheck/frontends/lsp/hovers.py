"""What a submodule is and costs, where the mouse is over it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from lsprotocol import types

from archcheck.core.finding import Location
from archcheck.evidence.target_summary import Layer
from archcheck.frontends.lsp.views import Standing, View
from archcheck.output.wording import plural, scaled, tensors_text
from archcheck.python import SourceFile
from archcheck.python.text.document import DocumentError

# Rows of the table of a submodule that many blocks have.
_MOST_ROWS = 8


def hover(view: View, place: Location) -> types.Hover | None:
    """What the newest trace knows of the submodule at a place of the code, if there is one."""
    for standing in view.standings:
        layers = _layers_at(view.file, standing, place)
        if layers:
            text = "\n\n".join(_texts(layers, standing))
            return types.Hover(types.MarkupContent(types.MarkupKind.Markdown, text))
    return None


def _layers_at(file: SourceFile, standing: Standing, place: Location) -> list[Layer]:
    layers = standing.traced.report.modules
    attribute = _attribute_at(file, place)
    if attribute is not None:
        owners = _instances(file, standing, place)
        paths = {f"{owner}.{attribute}" if owner else attribute for owner in owners}
        return [layer for layer in layers if layer.path in paths]
    built = [
        (now, layer)
        for layer in layers
        if layer.place is not None and layer.place.path == file.path
        if (now := standing.moved(layer.place)) is not None and now.covers(place)
    ]
    if not built:
        return []
    # The innermost construction.
    innermost = max((now.line, now.column) for now, _ in built)
    return [layer for now, layer in built if (now.line, now.column) == innermost]


def _attribute_at(file: SourceFile, place: Location) -> str | None:
    """The `name` of a `self.name` at a place."""
    for node in ast.walk(file.tree):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
            and file.location(node).covers(place)
        ):
            return node.attr
    return None


def _instances(file: SourceFile, standing: Standing, place: Location) -> Iterator[str]:
    """The paths of the modules whose class is written around a place."""
    around = [
        one.name
        for one in file.classes
        if one.node.lineno <= place.line <= (one.node.end_lineno or one.node.lineno)
    ]
    if not around:
        return
    for module in standing.traced.report.trace.modules:
        bases = {base.rpartition(".")[2] for base in module.bases}
        here = module.defined is not None and module.defined.path == file.path
        if (here and module.type == around[-1]) or around[-1] in bases:
            yield module.path


def _texts(layers: Sequence[Layer], standing: Standing) -> Iterator[str]:
    first = layers[0]
    names = f"`{first.path}`" if len(layers) == 1 else f"{len(layers)} modules"
    yield f"**{names}** {first.type}"
    construction = _construction(first, standing)
    if construction:
        yield f"```python\n{construction}\n```"
    if len(layers) == 1:
        yield "  \n".join(_facts(first))
    else:
        yield "\n".join(_table(layers))
    if not standing.holds:
        yield "*before the last change: save to trace again*"


def _facts(layer: Layer) -> Iterator[str]:
    if layer.calls:
        varies = ", other shapes in later calls" if layer.varies else ""
        yield f"in: {tensors_text(layer.inputs)}"
        yield f"out: {tensors_text(layer.outputs)}"
        yield f"called {_times(layer.calls)}{varies}"
    else:
        yield "never called"
    yield f"{plural(layer.params, 'parameter')}, {scaled(layer.macs)} MACs"
    if layer.failure is not None:
        yield f"failed: {layer.failure.message}"


def _table(layers: Sequence[Layer]) -> Iterator[str]:
    yield "| module | in | out | parameters | MACs | calls |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for one in layers[:_MOST_ROWS]:
        shapes = f"{tensors_text(one.inputs)} | {tensors_text(one.outputs)}"
        costs = f"{one.params:,} | {scaled(one.macs)} | {one.calls}"
        yield f"| `{one.path}` | {shapes if one.calls else ' | '} | {costs} |"
    if len(layers) > _MOST_ROWS:
        yield f"| and {len(layers) - _MOST_ROWS} more | | | | | |"


def _construction(layer: Layer, standing: Standing) -> str:
    """The expression that built it, as it was traced."""
    place = layer.place
    if place is None or not place.end_line:
        return ""
    try:
        lines = standing.traced.project.file(place.path).lines
    except (DocumentError, OSError):
        return ""
    rows = [*lines[place.line - 1 : place.end_line]]
    if not rows:
        return ""
    rows[-1] = rows[-1][: place.end_column - 1]
    rows[0] = rows[0][place.column - 1 :]
    return "\n".join(rows)


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")
