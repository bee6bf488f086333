"""Signatures of the user's functions, whose annotations need not be anything that exists."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature; from Python 3.14 on, with its annotations as they are written.

    There annotations are evaluated when somebody asks for them, and a name that is imported for
    type checkers only is legal in them: `inspect.signature` alone would raise a NameError.

    Raises:
        ValueError, TypeError: Python cannot tell it.
    """
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return inspect.signature(function, annotation_format=Format.STRING)
    return inspect.signature(function)
