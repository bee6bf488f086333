"""What changed from one report to the next: for a terminal that watches files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from archcheck.core.fingerprint import fingerprints
from archcheck.core.report import Report, source_key
from archcheck.evidence.target_summary import TargetReport
from archcheck.output.terminal.console import paint
from archcheck.output.terminal.excerpt import finding_text
from archcheck.output.terminal.layer_table import target_text
from archcheck.output.terminal.styled import Styled
from archcheck.output.wording import one_line, summary

if TYPE_CHECKING:
    from archcheck.core.finding import Finding
    from archcheck.output import Options


def render_changes(before: Report, after: Report, options: Options) -> str:
    """The findings that are gone, those that are new, the models that are other ones now, and
    how things stand."""
    return paint(_changes(before, after, options), options.color)


def _changes(before: Report, after: Report, options: Options) -> Iterator[Styled]:
    known = dict(zip(fingerprints(before), before.findings, strict=True))
    now = dict(zip(fingerprints(after), after.findings, strict=True))
    for mark, finding in known.items():
        if mark not in now:
            yield _gone(finding)
    for mark, finding in now.items():
        if mark not in known:
            yield from finding_text(finding, after.sources, options.width)
            yield Styled()
    costs = {target.name: _costs(target) for target in before.targets}
    for target in after.targets:
        if not options.quiet and costs.get(target.name) != _costs(target):
            yield from target_text(target, after, options.width, options.depth)
            yield Styled()
    yield Styled(summary(after), "bold" if after.findings else "bold green")


def _gone(finding: Finding) -> Styled:
    place = finding.location
    where = f"{source_key(place)}:{place.line}"
    return Styled(f"gone: {where}: {finding.code} {one_line(finding.message)}", "green")


def _costs(target: TargetReport) -> object:
    """What the layer table shows; the lines that layers stand on may move."""
    layers = tuple(
        (layer.path, layer.type, layer.calls, layer.inputs, layer.outputs, layer.params, layer.macs)
        for layer in target.modules
    )
    return target.mode, target.inputs, target.outputs, target.peak_activation_bytes, layers
