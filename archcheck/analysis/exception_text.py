"""What an exception says, in the words that its reader needs: no stack of C++, no repeated type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from archcheck.core.finding import Location, Related
from archcheck.core.target import UsageError, parse_target

if TYPE_CHECKING:
    from archcheck.evidence.records import Failure
    from archcheck.evidence.trace import Trace

# Where torch's messages turn to things that help nobody with a model.
_TAIL = (
    r"(?s)\s*(?:Exception raised from |C\+\+ CapturedTraceback:|CUDA kernel errors might be"
    r"|For debugging consider passing|Compile with `TORCH_USE_CUDA_DSA`"
    r"|Set TORCH_LOGS=|The above exception was the direct cause).*"
)
_WHERE_IN_TORCH = r"\[enforce fail at [^\]]*\]\s*\.?\s*(?:data\.\s*)?"
_LONGEST = 300


def raised_text(failure: Failure) -> str:
    """`RuntimeError: shape '[8, -1]' is invalid for input of size 5`, in one line."""
    text = re.sub(_WHERE_IN_TORCH, "", re.sub(_TAIL, "", failure.message))
    text = " ".join(text.replace("FakeTensor", "Tensor").split()).rstrip(".:")
    if len(text) > _LONGEST:
        text = text[: _LONGEST - 1].rstrip() + "…"
    return f"{failure.error}: {text}" if text else failure.error


def subject(trace: Trace) -> str:
    """What was traced, without the path of its file: `Net(10)`."""
    try:
        target = parse_target(trace.target)
    except UsageError:
        target = None
    if target is None:
        return trace.target
    return target.name if target.call is None else f"{target.name}({target.call})"


def failed_at(failure: Failure, trace: Trace) -> Location:
    """Where a failure is shown: the user's own line, or else the file that was loaded."""
    return failure.location or Location(trace.path, 1)


def callers(failure: Failure) -> tuple[Related, ...]:
    """The user's lines through which it came there, the nearest first."""
    frames = [frame for frame in failure.frames if frame.location != failure.location]
    return tuple(
        Related(frame.location, "called here" if frame.function != "<module>" else "reached here")
        for frame in reversed(frames[-3:])
    )


def input_note(trace: Trace) -> tuple[str, ...]:
    """Says that the input was not the user's, if it was not."""
    return () if trace.inferred_input is None else (trace.inferred_input,)
