"""What a check found, and what was not checked.

A `Report` is plain data: `check` makes it, `output/` shows it, and the Python API returns it.
Neither torch nor rich is imported here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from archcheck.core.finding import Finding, Location, Severity

if TYPE_CHECKING:
    from archcheck.core.known_findings import Comparison
    from archcheck.core.rule import Rule
    from archcheck.evidence.target_summary import Layer, TargetReport, Tensor


class FindingsError(AssertionError):
    """A model has findings that it must not have; the text is the concise report."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The counts of the JSON's "summary"; `baseline`: the findings that a baseline hides."""

    error: int
    warning: int
    note: int
    suppressed: int
    files: int
    baseline: int = 0


@dataclass(frozen=True, slots=True)
class Repairs:
    """What fixing did, or would do.

    Attributes:
        mended: The findings that were: path, code, and how many of them.
        diff: The changes of the files, as a unified diff.
        untouched: For each file that was left alone, a sentence that says why.
        written: The files were changed; else it is only said how they would change.
    """

    mended: tuple[tuple[str, str, int], ...] = ()
    diff: str = ""
    untouched: tuple[str, ...] = ()
    written: bool = True

    @property
    def fixed(self) -> int:
        """How many findings were mended."""
        return sum(number for _, _, number in self.mended)


@dataclass(frozen=True)
class Report:
    """The result of one check.

    Attributes:
        findings: Sorted by path, line, column, code; positions are the user's own.
        targets: What was traced, in the order that the user named it.
        files: How many files were checked.
        suppressed: How many findings comments and the configuration silenced.
        unchecked: Sentences that say what was not checked, and why.
        unreadable: The same of files in a named folder that cannot be read.
        complaints: What is wrong with single targets of the call; the others were checked.
        defects: What went wrong in archcheck itself, with tracebacks; the rest was checked.
        fail_on: The least severity that makes the check fail.
        sources: The lines of the files that findings speak of, by `source_key`.
        rules: The rules that ran, for formats that describe them.
        repairs: What fixing did, where it was asked for; `findings` are those that are left.
        baseline: What came of the baseline, if there is one; `findings` are those that are new.
    """

    findings: tuple[Finding, ...] = ()
    targets: tuple[TargetReport, ...] = ()
    files: int = 0
    suppressed: int = 0
    unchecked: tuple[str, ...] = ()
    unreadable: tuple[str, ...] = ()
    usage_errors: tuple[str, ...] = ()
    defects: tuple[str, ...] = ()
    fail_on: Severity = Severity.WARNING
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    repairs: Repairs | None = None
    baseline: Comparison | None = None

    @property
    def failing(self) -> tuple[Finding, ...]:
        """The findings at or above `fail_on`."""
        return tuple(one for one in self.findings if severity_of(one) >= self.fail_on)

    @property
    def ok(self) -> bool:
        """Whether nothing is at or above `fail_on`."""
        return not self.failing

    @property
    def exit_code(self) -> int:
        """0, 1, 2 or 3, as the command exits; the gravest holds."""
        return 3 if self.defects else 2 if self.usage_errors else 0 if self.ok else 1

    @property
    def summary(self) -> Summary:
        counts = Counter(severity_of(finding) for finding in self.findings)
        return Summary(
            error=counts[Severity.ERROR],
            warning=counts[Severity.WARNING],
            note=counts[Severity.NOTE],
            suppressed=self.suppressed,
            files=self.files,
            baseline=len(self.baseline.hidden) if self.baseline else 0,
        )

    @property
    def params(self) -> int | None:
        """The parameters of the first target, shared ones once; None where none was built."""
        params = self.targets[0].params if self.targets else None
        return params.total if params else None

    @property
    def macs(self) -> int | None:
        """The multiply-adds of the first target, as fvcore counts them."""
        return self.targets[0].macs if self.targets else None

    @property
    def flops(self) -> int | None:
        """The FLOPs of the first target's forward pass, as torch's FlopCounterMode counts them."""
        return self.targets[0].flops if self.targets else None

    @property
    def outputs(self) -> tuple[Tensor, ...] | None:
        """What the first target returned; None where it did not."""
        return self.targets[0].outputs if self.targets else None

    @property
    def modules(self) -> tuple[Layer, ...]:
        """The layers of the first target, the model itself first."""
        return self.targets[0].modules if self.targets else ()

    def raise_for_findings(self) -> None:
        """Do nothing if the report is `ok`.

        Raises:
            FindingsError: Its text is the concise report.
        """
        if not self.ok:
            raise FindingsError(self._shown("concise"))

    def assert_clean(self, *, ignore: Iterable[str] = ()) -> None:
        """In a test: fail unless the report is `ok`, findings of some codes left out.

        Args:
            ignore: Codes, prefixes, or ALL.

        Raises:
            FindingsError: Its text is the findings as the text report shows them.
            UsageError: A code is not known.
        """
        __tracebackhide__ = True
        from archcheck.core.codes import matches, require_known
        from archcheck.core.rule import load_rules

        codes = tuple(ignore)
        require_known(codes, load_rules())
        kept = tuple(finding for finding in self.findings if not matches(finding.code, codes))
        report = replace(self, findings=kept)
        if not report.ok:
            raise FindingsError(report._shown("text", quiet=True))

    def __str__(self) -> str:
        return self._shown("text")

    def _repr_html_(self) -> str:
        from archcheck.output import notebook_frame

        return notebook_frame(self)

    def _shown(self, format: str, *, quiet: bool = False) -> str:
        """The one way from data to text: a report that is printed draws itself."""
        from archcheck.output import render

        return render(self, format, quiet=quiet).rstrip("\n")


def severity_of(finding: Finding) -> Severity:
    """The engine stamps every finding; one that a rule made a moment ago counts as an error."""
    return finding.severity or Severity.ERROR


def source_key(location: Location) -> str:
    """How a report names the text that a location is in: its path, with a notebook's cell."""
    return location.path if location.cell is None else f"{location.path}:cell {location.cell}"
