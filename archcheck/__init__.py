"""archcheck: an architecture linter and shape debugger for PyTorch models.

Importing it loads neither torch nor rich; what needs them loads them when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from archcheck._version import __version__ as __version__

__all__ = [
    "Finding",
    "FindingsError",
    "Report",
    "Severity",
    "UsageError",
    "check",
    "lint",
    "summary",
]

if TYPE_CHECKING:
    from archcheck.core.finding import Finding, Severity
    from archcheck.core.report import FindingsError, Report
    from archcheck.core.target import UsageError
    from archcheck.frontends.api import check, lint
    from archcheck.frontends.summary import summary

_HOMES = {
    "check": "archcheck.frontends.api",
    "lint": "archcheck.frontends.api",
    "summary": "archcheck.frontends.summary",
    "Finding": "archcheck.core.finding",
    "Severity": "archcheck.core.finding",
    "FindingsError": "archcheck.core.report",
    "Report": "archcheck.core.report",
    "UsageError": "archcheck.core.target",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
