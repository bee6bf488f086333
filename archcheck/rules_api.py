"""What a rule pack may import: these names are public, and nothing else of archcheck is.

    from archcheck.rules_api import Finding, Rule, Severity, SourceFile, Trace

A name loads its module when it is asked for, so that a pack costs no more than what it uses. Names
change only with a new minor version, and are deprecated for one before they go (CONTRIBUTING.md,
"Versions").
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archcheck.python import (
        Parameter as FunctionParameter,
    )

_HOMES = {
    "archcheck.core.finding": "Edit Finding Fix Location Related Severity",
    "archcheck.core.rule": "Rule",
    "archcheck.core.target": "Shape",
    "archcheck.evidence.dataflow": "Dataflow",
    "archcheck.evidence.records": (
        "Failure LineValue Module ModuleCall Op Parameter Sizes TracedInput Value ValueIndex"
    ),
    "archcheck.evidence.request": "Request",
    "archcheck.evidence.trace": "Trace",
    "archcheck.python": (
        "UNKNOWN AttributeWrite Binding BoundArguments Call Chain ClassDefinition Flow Function "
        "Layer Link Loop LossCall ModuleClass Project Reference Scope SelfUse Signature SourceFile "
        "Statement Step Submodule Suite SuperCall Unknown differ known"
    ),
    "archcheck.analysis.edits.syntax_edits": "insertion replacement without_line",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}
__all__ = [*_HOME_OF, "FunctionParameter"]


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "FunctionParameter":
        # A parameter of a function, as `Signature` has it; `Parameter` is one of a model.
        return import_module("archcheck.python").Parameter
    if name not in _HOME_OF:
        raise AttributeError(f"{__name__} has no name {name!r}: nothing else is public")
    return getattr(import_module(_HOME_OF[name]), name)
