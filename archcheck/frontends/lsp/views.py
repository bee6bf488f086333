"""What the editor shows of a document: what was seen of it, and what traces still say of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from archcheck.core.finding import Finding, Location
from archcheck.core.known_findings import Comparison
from archcheck.core.report import Report
from archcheck.engine.baseline import Seen
from archcheck.engine.checker import CheckResult, TargetResult
from archcheck.engine.merge import merged
from archcheck.engine.reporting import report
from archcheck.frontends.lsp.drift import Drift, moved_finding
from archcheck.frontends.lsp.source_views import Look
from archcheck.frontends.lsp.traces import Traced
from archcheck.python import Project, SourceFile
from archcheck.python.text.document import DocumentError


@dataclass(frozen=True)
class Standing:
    """A trace, and how far its files have drifted from what was traced.

    Attributes:
        drifts: Of the files that changed since, by path.
    """

    traced: Traced
    drifts: Mapping[str, Drift]

    @classmethod
    def of(cls, traced: Traced, project: Project) -> Standing:
        """Where a trace stands with the texts of a project now."""
        drifts: dict[str, Drift] = {}
        for path in traced.files:
            try:
                before, after = traced.project.file(path).code, project.file(path).code
            except (DocumentError, OSError):
                continue
            if before != after:
                drifts[path] = Drift.between(before, after)
        return cls(traced, drifts)

    @property
    def holds(self) -> bool:
        """Whether tracing again would show the same."""
        return all(drift.means_the_same for drift in self.drifts.values())

    @cached_property
    def result(self) -> TargetResult:
        """What trace rules found, where it stands now."""
        result = self.traced.result
        if not self.drifts:
            return result
        # What another finding explained is not to come up when that one goes.
        told = {(finding.code, finding.location) for finding in merged(result.found)}
        found = []
        for one in result.found:
            finding = moved_finding(one.finding, self.drifts)
            if finding is not None and (finding.code, one.finding.location) in told:
                found.append(one._replace(finding=finding))
        return replace(result, found=tuple(found))

    def moved(self, place: Location) -> Location | None:
        """Where a place of the trace is now; None where its line was changed."""
        drift = self.drifts.get(place.path)
        return place if drift is None else drift.moved(place)


@dataclass(frozen=True)
class View:
    """A document with the traces that speak of it, the newest first."""

    seen: Look
    standings: tuple[Standing, ...]

    @classmethod
    def of(cls, seen: Look, traces: Iterable[Traced]) -> View:
        """What these traces say of a document."""
        path, project = seen.opened.path, seen.examined.project
        speaking = [traced for traced in traces if path in traced.files]
        return cls(seen, tuple(Standing.of(traced, project) for traced in reversed(speaking)))

    @property
    def path(self) -> str:
        return self.seen.opened.path

    @property
    def file(self) -> SourceFile:
        return self.seen.examined.project.file(self.path)

    @cached_property
    def examined(self) -> CheckResult:
        """What the source shows and what the traces show, as one."""
        results = tuple(standing.result for standing in self.standings)
        return replace(self.seen.examined, targets=results)

    @cached_property
    def comparison(self) -> Comparison | None:
        """What the baseline says of it, if there is one."""
        if self.seen.baseline is None:
            return None
        seen = Seen(frozenset({self.path}), frozenset(), self.examined.selection)
        found, project = self.examined.findings, self.examined.project
        return self.seen.baseline.compared(found, project, seen)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is shown, in positions of the code."""
        hidden = self.comparison.hidden if self.comparison is not None else ()
        return tuple(one for one in self.examined.findings if one not in hidden)

    @cached_property
    def report(self) -> Report:
        """What is shown, as the user sees it."""
        return report(self.examined, comparison=self.comparison)

    def origins(self, places: Iterable[Location]) -> Iterator[Location]:
        """Where the user sees places of the code."""
        document = self.seen.document
        return (document.origin(place) for place in places)
