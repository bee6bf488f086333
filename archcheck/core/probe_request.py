"""What the user asks of a probe; plain data, part of a request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """How a model may be run on real tensors.

    Attributes:
        limit: The bytes that its weights and gradients may take together; None: `DEFAULT_LIMIT`.
    """

    limit: int | None = None


DEFAULT_LIMIT = 4 << 30
