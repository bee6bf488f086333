"""`Trace`: all that one forward pass showed, as plain frozen data without torch.

`archcheck.tracing` makes it, usually in a worker process; rules, the cache and the report read it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from archcheck.evidence.dataflow import Dataflow
from archcheck.evidence.request import Request
from archcheck.evidence.traced_pass import TracedPass


@dataclass(frozen=True)
class Trace(TracedPass):
    """One forward pass, and what the user asked the model to be.

    Attributes:
        request: The engine sets it; rules compare the pass with it.
    """

    request: Request = field(default_factory=Request)

    @cached_property
    def dataflow(self) -> Dataflow:
        """The graph of the pass, for rules that ask what reaches what."""
        return Dataflow(self)
