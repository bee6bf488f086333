"""A comment that silences nothing.

What it does
------------
Notes each code in `# archcheck: ignore[…]`, `# archcheck: ignore-file[…]` or `# noqa: …` that
silences no finding: nothing is found there any more, no rule has the code, the comment names no
code at all, or an `ignore-file` stands below the first statement. Codes of other linters in a
`noqa` are left alone, and so is a code whose rule did not run, or did not see all that it could:
a rule that reads traces has not, unless a model of the file was traced.

Why it is bad
-------------
It hides the next real finding on its line, and tells its readers of a defect that is not there.

Example
-------
    self.fc = nn.Linear(16, 10)  # archcheck: ignore[AC101]

Use instead
-----------
    self.fc = nn.Linear(16, 10)
"""

from __future__ import annotations

from archcheck.core.finding import Severity
from archcheck.core.rule import Rule

# `archcheck.suppress` finds it: it takes the findings of all other rules to know.
rule = Rule("AC006", "unused-suppression", Severity.NOTE, default=True, by_engine=True)
