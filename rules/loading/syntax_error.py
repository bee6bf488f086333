"""Code that does not parse.

What it does
------------
Says where the code stops being Python, and why, in plain words: tabs mixed with spaces, a line
dedented to a column that no block has, a dotted name after `import`, full-width punctuation, a
missing colon, a bracket that is never closed. What can only be meant one way, such as a line
indented by one column too many, is repaired in memory, and the check goes on with the repaired
text; otherwise the statement is left out, and the rest of the file is still checked. In a
Markdown document each block stands alone, and blocks that show something other than code, such as
a printed model or a log, are passed over.

Why it is bad
-------------
Python refuses the whole file, and what it says about it often names another line: a method that
is indented by one column too many is only noticed at the next method.

Example
-------
    class Net(nn.Module):
         def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 2)

        def forward(self, x):
            return self.fc(x)

Use instead
-----------
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 2)

        def forward(self, x):
            return self.fc(x)
"""

from __future__ import annotations

from collections.abc import Iterator

from archcheck.core.finding import Finding, Fix, Severity
from archcheck.core.rule import Rule
from archcheck.python import SourceFile

rule = Rule("AC001", "syntax-error", Severity.ERROR, fix="safe")


@rule.on_source
def what_does_not_parse(file: SourceFile) -> Iterator[Finding]:
    for problem in file.problems:
        went_on = "the check went on as if this were mended"
        yield Finding(
            problem.message,
            problem.location,
            label=problem.label,
            help=problem.help,
            notes=(went_on,) if problem.repaired else (),
            fix=Fix("safe", problem.edits) if problem.edits else None,
        )
