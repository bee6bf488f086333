"""Trying the fixes of one check, whoever asks for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from archcheck.core.finding import Finding, Fix
from archcheck.core.report import Repairs
from archcheck.core.rule import Rule
from archcheck.engine.checker import Checker, CheckResult
from archcheck.engine.fix.offer import tried
from archcheck.python import Project

if TYPE_CHECKING:
    from archcheck.engine.baseline import Baseline
    from archcheck.engine.fix.fix_files import FixOptions


@dataclass(frozen=True)
class FixTrial:
    """Files and models, as fixes are tried on them.

    Attributes:
        result: What the rules that were asked for show, and all that are on by default: a fix
            must not offend a rule that merely was not selected this time.
        codes: The rules whose findings the user wants fixed.
        baseline: The findings that are let stand.
    """

    checker: Checker
    result: CheckResult
    codes: frozenset[str]
    baseline: Baseline | None

    @classmethod
    def of(
        cls,
        checker: Checker,
        result: CheckResult,
        rules: Sequence[Rule],
        baseline: Baseline | None,
    ) -> FixTrial:
        """Prepare to fix what a check found.

        Args:
            rules: Every rule that there is.
        """
        wide = checker.widened(result, result.selection.with_defaults(rules))
        codes = frozenset(rule.code for rule in result.selection.rules)
        return cls(checker, wide, codes, baseline)

    def fixes(self) -> Mapping[Finding, Fix | None]:
        """Try each fix in memory; None stands for one that does not hold.

        Raises:
            Cancelled: Nobody wants them any more.
        """
        return tried(self.result, self._is_chosen, self.checker.again)

    def applied(self, options: FixOptions) -> tuple[FixTrial, Repairs]:
        """Apply the fixes that hold, one on top of the other, and say what they changed."""
        # Imported only now: most checks only offer fixes.
        from archcheck.engine.fix.fix_files import mend

        after, repairs = mend(self.result, self._is_chosen, self.checker.again, options)
        return replace(self, result=after), repairs

    def _is_chosen(self, finding: Finding, project: Project) -> bool:
        """Whether the user wants it fixed: a rule of theirs found it, and it is not let stand."""
        known = self.baseline is not None and self.baseline.knows(finding, project)
        return finding.code in self.codes and not known
