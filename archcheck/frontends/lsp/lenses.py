"""Costs above a model's class, and the way to trace it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from lsprotocol import types

from archcheck.frontends.lsp.hints import input_text
from archcheck.frontends.lsp.positions import Places
from archcheck.frontends.lsp.views import Standing, View
from archcheck.output.wording import scaled

TRACE, CHOOSE_INPUT = "archcheck.trace", "archcheck.chooseInput"


def lenses(
    view: View, busy: Collection[str], places: Places
) -> Iterator[tuple[str, types.CodeLens]]:
    """A lens for each model class of a document, with the URI of the text that it is in.

    Args:
        busy: The names of the classes that are being traced.
    """
    for name, where in model_classes(view, places):
        arguments = [view.seen.opened.uri, name]
        standing = standing_of(view, name)
        if name in busy:
            command = types.Command("tracing…", "")
        elif standing is None:
            command = types.Command("archcheck: trace this model", TRACE, arguments=arguments)
        else:
            command = types.Command(_costs(standing), CHOOSE_INPUT, arguments=arguments)
        yield where.uri, types.CodeLens(where.range, command)


def model_classes(view: View, places: Places) -> Iterator[tuple[str, types.Location]]:
    """The qualified names of the document's model classes, and where they are written."""
    file = view.file
    for module in file.modules:
        (place,) = view.origins([file.name_location(module.node)])
        where = places.place(place)
        if where is not None:
            yield module.definition.qualified_name, where


def standing_of(view: View, name: str) -> Standing | None:
    """The newest trace of a model of this class."""
    for standing in view.standings:
        root = standing.traced.report.trace.module("")
        if (
            root is not None
            and root.type == name.rpartition(".")[2]
            and root.defined is not None
            and root.defined.path == view.path
        ):
            return standing
    return None


def _costs(standing: Standing) -> str:
    report = standing.traced.report
    parts = [f"{scaled(report.params.total)} parameters"] if report.params is not None else []
    parts += [f"{scaled(report.macs)}MACs"] if report.macs is not None else ["the pass failed"]
    parts.append(f"input {input_text(standing)}")
    costs = " · ".join(parts)
    return costs if standing.holds else f"was {costs}"
