"""The truth value of a module that may be an empty container.

What it does
------------
Looks for `if self.shortcut:` where the attribute can hold an empty `nn.Sequential()`: a container
is false when it is empty; likewise for `head or nn.Linear(…)` and `if head:` in a constructor that
some caller gives an empty one. Silent where the attribute can only be None, a layer without a
length or a container that is not empty; where the branch does nothing but call the container (an
empty one returns its input, so that skipping it changes nothing); and on `nn.ModuleList` and
`nn.ModuleDict`, whose emptiness is what such a test asks for.

Why it is bad
-------------
The test reads as "is there a shortcut", and is false for a shortcut that is the identity: the sum
in the branch is left out.

Example
-------
    self.shortcut = nn.Sequential()
    …
    if self.shortcut:
        out = out + self.shortcut(x)

Use instead
-----------
    self.shortcut = nn.Sequential()
    …
    if self.shortcut is not None:
        out = out + self.shortcut(x)
"""

from __future__ import annotations

from collections.abc import Iterator

from archcheck.analysis.edits.syntax_edits import replacement
from archcheck.core.finding import Finding, Fix, Related, Severity
from archcheck.core.rule import Rule
from archcheck.python import SourceFile

from ._container_truth import Question, questions

rule = Rule("AC112", "module-truth-value", Severity.WARNING, fix="safe")


@rule.on_source
def asked_whether_empty(file: SourceFile) -> Iterator[Finding]:
    for module in file.modules:
        for question in questions(module):
            text = file.text(question.asked)
            test = f"{text} is None" if question.negated else f"{text} is not None"
            yield Finding(
                f"`{text}` can be an empty nn.Sequential, which is false",
                file.location(question.asked),
                label="false when empty",
                module=question.name,
                related=(Related(question.emptied, "made empty here"),),
                help=f"test `{test}`",
                fix=_fix(file, question, test),
            )


def _fix(file: SourceFile, question: Question, test: str) -> Fix | None:
    """The fix that asks for None; of `a or b`, one that writes the choice out."""
    choice = question.chosen
    if choice is None:
        return Fix("safe", (replacement(file, question.whole, test),))
    if len(choice.values) != 2:
        return None
    first, second = map(file.text, choice.values)
    return Fix("safe", (replacement(file, choice, f"({first} if {test} else {second})"),))
