"""What an exception tells: what it is about, who handles it, whether any tensor would raise it."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from archcheck.evidence.records import Failure
from archcheck.tracing.record.spans import Spans

# What plain Python raises over sizes that it does not like.
ABOUT_SIZES = (ValueError, IndexError, AssertionError, ZeroDivisionError, RuntimeError)
_LAYERS = str(Path(nn.__file__).parent / "modules")
_CALL_ERRORS = re.compile(
    r"missing \d+ required|takes .* positional arguments? but|unexpected keyword argument|"
    r"multiple values for|not callable|values to unpack"
)


def is_everywhere(error: BaseException, spans: Spans) -> bool:
    """Whether plain Python raised it, whatever kind the tensors are of."""
    if isinstance(error, SystemExit | RecursionError | ModuleNotFoundError):
        return True
    if isinstance(error, TypeError | ValueError) and _CALL_ERRORS.search(str(error)):
        return True
    if isinstance(error, AttributeError) and isinstance(error.obj, torch.Tensor):
        return False
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if isinstance(error, AttributeError) and isinstance(error.obj, nn.Module):
        return True  # raised by nn.Module.__getattr__
    if traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_LAYERS):
        # A layer's own check of shapes, before any operator ran.
        return isinstance(
            error, ValueError | RuntimeError | NotImplementedError | AssertionError | TypeError
        )
    return (
        isinstance(error, AttributeError | NameError | ImportError | KeyError | NotImplementedError)
        and traceback is not None
        and spans.is_user(traceback.tb_frame.f_code)
    )


def described_error(stage: Any, error: BaseException) -> Failure:
    """The exception as evidence, without its place."""
    try:
        message = str(error)
    except Exception:  # an exception class of the user's own with a broken __str__
        message = ""
    return Failure(stage=stage, error=type(error).__name__, message=message)


def describe_error(stage: Any, error: BaseException, spans: Spans) -> Failure:
    """A failure outside a pass, with the user's frames of its traceback."""
    frames = spans.frames(error.__traceback__)
    location = frames[-1].location if frames else None
    missing = None
    if isinstance(error, ImportError | AttributeError | NameError):
        missing = getattr(error, "name", None)
    return replace(described_error(stage, error), frames=frames, location=location, missing=missing)


def handles(tree: ast.Module, line: int, error: Exception) -> bool:
    """Whether a `try` of this file, around this line, has a handler for the exception."""
    names = {kind.__name__ for kind in type(error).__mro__}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Try) or not node.handlers or not node.body:
            continue
        last = node.body[-1].end_lineno or node.body[-1].lineno
        if not node.body[0].lineno <= line <= last:
            continue
        for handler in node.handlers:
            if handler.type is None:
                return True
            kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
            for kind in kinds:
                name = kind.attr if isinstance(kind, ast.Attribute) else getattr(kind, "id", "")
                if name in names:
                    return True
    return False


def deciding_lines(tree: ast.Module, line: int) -> set[int]:
    """Return the lines of the tests that decide whether a `raise` or `assert` at a line raises."""
    found: set[int] = set()
    raising = False
    for node in ast.walk(tree):
        last = getattr(node, "end_lineno", None)
        if last is None or not node.lineno <= line <= last:  # type: ignore[attr-defined]
            continue
        raising = raising or isinstance(node, ast.Raise | ast.Assert)
        if isinstance(node, ast.If | ast.While | ast.Assert):
            test = node.test
            found.update(range(test.lineno, (test.end_lineno or test.lineno) + 1))
    return found if raising else set()
