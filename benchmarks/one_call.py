"""A module of one call: small, because a trace reads the file that a module stands in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


class OneCall(nn.Module):
    """Calls a function, or a layer, with what `fill` makes of the inputs."""

    def __init__(self, run: Callable[..., Any], fill: Callable[..., Any]) -> None:
        super().__init__()
        self.run = run
        self.fill = fill

    def forward(self, a=None, b=None, c=None, d=None, e=None):  # type: ignore[no-untyped-def]
        """Run the call."""
        args, kwargs = self.fill(iter((a, b, c, d, e)))
        return self.run(*args, **kwargs)
