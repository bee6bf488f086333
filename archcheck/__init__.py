"""archcheck: an architecture linter and shape debugger for PyTorch models.

Importing it loads neither torch nor rich; what needs them loads them when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Finding", "FindingsError", "Report", "Severity", "UsageError", "check", "lint"]

if TYPE_CHECKING:
    from archcheck.api import check, lint
    from archcheck.finding import Finding, Severity
    from archcheck.report import FindingsError, Report
    from archcheck.target import UsageError

_HOMES = {
    "check": "archcheck.api",
    "lint": "archcheck.api",
    "Finding": "archcheck.finding",
    "Severity": "archcheck.finding",
    "FindingsError": "archcheck.report",
    "Report": "archcheck.report",
    "UsageError": "archcheck.target",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
