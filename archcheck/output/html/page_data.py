"""What the page's script draws from: the graphs and the costs as one JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from archcheck.core.finding import Finding, Location
from archcheck.core.report import Report, severity_of, source_key
from archcheck.output.graph.bodies import Body, Edge, Idle, Node
from archcheck.output.graph.build import Graph
from archcheck.output.graph.module_costs import Costs
from archcheck.output.wording import one_line

# What would end the script element, begin markup, or break a line of JavaScript.
_ESCAPES = {ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&\u2028\u2029"}


def data_json(report: Report, graphs: Sequence[Graph | None]) -> str:
    """The document, in characters that no HTML parser takes for markup."""
    places = _Places()
    document = {
        "targets": [None if graph is None else _target(graph, places) for graph in graphs],
        "findings": [_finding(finding, graphs) for finding in report.findings],
        "sources": places.lines(report),
    }
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


class _Places:
    """The lines of source that the document names, to be sent along."""

    def __init__(self) -> None:
        self._named: dict[str, set[int]] = {}

    def name(self, place: Location) -> list[Any]:
        key = source_key(place)
        self._named.setdefault(key, set()).add(place.line)
        return [key, place.line]

    def lines(self, report: Report) -> dict[str, dict[int, str]]:
        found = {}
        for key, numbers in self._named.items():
            lines = report.sources.get(key) or _read(key)
            found[key] = {
                number: one_line(lines[number - 1])
                for number in sorted(numbers)
                if number <= len(lines)
            }
        return found


def _read(path: str) -> Sequence[str]:
    """The lines of a file that no finding speaks of; none where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return ()


def _target(graph: Graph, places: _Places) -> dict[str, Any]:
    numbers = {id(body): number for number, body in enumerate(graph.bodies)}
    failure = graph.way_to_failure
    costs = Costs(graph.target)
    return {
        "name": graph.target.name,
        "type": graph.trace.modules[0].type,
        "complete": graph.target.complete,
        "bodies": [_body(body, numbers, places) for body in graph.bodies],
        "root": numbers[id(graph.root)],
        "failure": None if failure is None else ".".join(map(str, failure)),
        "modules": [
            [one.path, one.type, one.parameters, one.macs, one.activation_bytes]
            for one in costs.modules()
        ],
        "steps": [
            [one.module, " ".join(one.operators), one.channels, one.spatial, one.made]
            for one in costs.steps()
        ],
    }


def _body(body: Body, numbers: dict[int, int], places: _Places) -> dict[str, Any]:
    return {
        "nodes": [dict(_given(node, numbers, places)) for node in body.nodes],
        "edges": [list(_edge(edge)) for edge in body.edges],
        "given": body.given,
        "folds": body.folds,
        "idle": [dict(_given(idle, numbers, places)) for idle in body.idle],
    }


def _given(
    node: Node | Idle, numbers: dict[int, int], places: _Places
) -> Iterator[tuple[str, Any]]:
    """What a node says, but for what goes without saying."""
    for field in fields(node):
        value = getattr(node, field.name)
        if field.default is not MISSING and value == field.default:
            continue
        if isinstance(value, Body):
            value = numbers[id(value)]
        elif isinstance(value, Location):
            value = places.name(value)
        yield field.name, value


def _edge(edge: Edge) -> Iterator[Any]:
    yield from (edge.source, edge.target, edge.shapes)
    if edge.guessed:
        yield 1


def _finding(finding: Finding, graphs: Iterable[Graph | None]) -> dict[str, Any]:
    ways = [None if graph is None else graph.way_to(finding) for graph in graphs]
    return {
        "code": finding.code,
        "severity": severity_of(finding).value,
        "message": one_line(finding.message),
        "module": finding.module,
        "ways": [None if way is None else ".".join(map(str, way)) for way in ways],
    }
