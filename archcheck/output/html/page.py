"""One self-contained page: the graph, the costs and the findings of a report.

All that is said in words or numbers is plain HTML, readable without scripts. The graph is drawn by
the page's script, from data that stands in the page: nothing is ever fetched.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from html import escape
from importlib import resources
from string import Template

from archcheck._version import __version__
from archcheck.core.report import Report
from archcheck.evidence.target_summary import TargetReport
from archcheck.output import Options
from archcheck.output.graph.build import Graph
from archcheck.output.html.findings import findings_html
from archcheck.output.html.layer_table import layers_html
from archcheck.output.html.page_data import data_json
from archcheck.output.terminal.layer_table import totals
from archcheck.output.wording import one_line, plural, summary, tensors_text

# The order in which the scripts are read: the library first, then what the others use.
_SCRIPTS = (
    "dagre.min.js",
    "text.js",
    "model.js",
    "layout.js",
    "drawing.js",
    "camera.js",
    "details.js",
    "search.js",
    "graph.js",
    "costs.js",
    "tables.js",
    "main.js",
)


def render(report: Report, options: Options) -> str:
    """The page; `options` say nothing about it, but for `quiet`, which leaves the findings."""
    targets = () if options.quiet else report.targets
    graphs = [Graph(target, report.findings) if target.trace.calls else None for target in targets]
    script, style = _script(), page_file("page.css")
    return Template(page_file("page.html")).substitute(
        title=text(_title(report)),
        policy=text(_policy(script, style)),
        style=style,
        script=script,
        summary=text(summary(report)),
        state="failing" if not report.ok else "passing",
        version=__version__,
        navigation="".join(_navigation(report, targets)),
        targets="".join(_target(*each, report) for each in enumerate(targets)),
        findings=findings_html(report, graphs, options.statistics),
        unchecked=_unchecked(report.unchecked),
        data=data_json(report, graphs),
    )


def frame(report: Report) -> str:
    """The page in a frame of its own, for a notebook: it can neither touch the notebook nor be
    touched by its styles."""
    page = escape(render(report, Options()), quote=True)
    return (
        '<iframe sandbox="allow-scripts" title="archcheck report" loading="lazy" '
        'style="width: 100%; height: 720px; border: 1px solid #8886; border-radius: 8px" '
        f'srcdoc="{page}"></iframe>'
    )


def text(words: str) -> str:
    """Words as HTML that shows exactly them, as one line."""
    return escape(one_line(words), quote=True)


def _policy(script: str, style: str) -> str:
    """What the page may do: run this script, use this style, and fetch nothing."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src '{digest(script)}'",
            f"style-src '{digest(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def digest(content: str) -> str:
    """What a content security policy calls this script or style."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


@cache
def page_file(name: str) -> str:
    """One of the files that pages are made of."""
    return (resources.files("archcheck.output.html") / "assets" / name).read_text(encoding="utf-8")


def _script() -> str:
    library, *ours = (page_file(name) for name in _SCRIPTS)
    # One scope for all of ours, so that nothing but the library's name becomes global.
    return f'{library}\n(() => {{\n"use strict";\n{"".join(ours)}\n}})();\n'


def _title(report: Report) -> str:
    names = [target.name for target in report.targets]
    if not names:
        return "archcheck"
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]


def _navigation(report: Report, targets: Sequence[TargetReport]) -> Iterator[str]:
    """Links to the views; the script makes tabs of them."""
    if targets:
        for view, name in (("graph", "Graph"), ("costs", "Costs"), ("layers", "Layers")):
            yield f'<a href="#{view}-0" data-view="{view}">{name}</a>'
    count = f' <span class="count">{len(report.findings):,}</span>' if report.findings else ""
    yield f'<a href="#findings" data-view="findings">Findings{count}</a>'


def _target(number: int, target: TargetReport, report: Report) -> str:
    return Template(page_file("target.html")).substitute(
        number=number,
        name=text(target.name),
        heading=text(_heading(target)),
        totals="".join(
            f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>"
            for name, value in totals(target)
        ),
        layers=layers_html(number, target, report),
    )


def _heading(target: TargetReport) -> str:
    given = f": {tensors_text(target.inputs)}" if target.inputs else ""
    result = "" if target.outputs is None else f" → {tensors_text(target.outputs)}"
    return f"{target.mode} mode{given}{result}"


def _unchecked(sentences: Sequence[str]) -> str:
    if not sentences:
        return ""
    items = "".join(f"<li>{text(sentence)}</li>" for sentence in sentences)
    return f"<h3>Not checked ({plural(len(sentences), 'place')})</h3><ul>{items}</ul>"
