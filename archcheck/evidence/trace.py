"""`Trace`: all that one forward pass showed, as plain frozen data without torch.

`archcheck.tracing` makes it, usually in a worker process; rules, the cache and the report read it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar, cast

from archcheck.evidence.dataflow import Dataflow
from archcheck.evidence.request import Request
from archcheck.evidence.traced_pass import TracedPass

Analysis = TypeVar("Analysis")


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

    def analysed(self, analysis: Callable[[Trace], Analysis]) -> Analysis:
        """What an analysis finds in this pass; several rules may ask, and it is made once."""
        if analysis not in self._analyses:
            self._analyses[analysis] = analysis(self)
        return cast(Analysis, self._analyses[analysis])

    @cached_property
    def _analyses(self) -> dict[Callable[[Trace], Any], Any]:
        return {}
