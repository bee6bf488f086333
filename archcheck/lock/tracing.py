"""From models to their architectures: the ordinary trace, and no rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from archcheck.config import Config, Model
from archcheck.evidence import Trace
from archcheck.lock.architecture import Architecture, architecture_of
from archcheck.pipeline import run
from archcheck.target import UsageError, parse_target


@dataclass(frozen=True, slots=True)
class Traced:
    """What models are.

    Attributes:
        architectures: Those of the models that run to their end.
        failed: For the target of each other model, why it has none.
        complaints: What is wrong with single targets of the call.
    """

    architectures: tuple[Architecture, ...]
    failed: dict[str, str]
    complaints: tuple[str, ...]

    def said(self, side: str) -> list[str]:
        """A sentence for each model that has no architecture in the files of this name."""
        return [f"{name} cannot be compared: in {side}, {w}" for name, w in self.failed.items()]


def trace_models(targets: Sequence[str], config: Config, asked: Model, root: Path) -> Traced:
    """Trace these models, or without any, those of the configuration.

    Args:
        asked: What the command line asks of each model.
        root: The folder that the configuration's paths are relative to.

    Raises:
        UsageError: A target names no model, or there is none at all.
    """
    for text in targets:
        if parse_target(text) is None:
            raise UsageError(f"`{text}` names no model: write `{text}:Name`, with the model's name")
    if not targets and not config.models:
        raise UsageError(
            "no model is named: name one, such as `model.py:Net`, or list it under "
            "[[tool.archcheck.models]] in pyproject.toml (`archcheck init` proposes that)"
        )
    if not config.trace:
        raise UsageError("tracing is off in [tool.archcheck]: remove `trace = false`")
    bare = Config(
        models=config.models,
        source_roots=config.source_roots,
        select=(),
        timeout=config.timeout,
        memory_limit=config.memory_limit,
    )
    report = run(targets or None, bare, asked, root=root)
    traces = [target.trace for target in report.targets]
    whole = [trace for trace in traces if trace.complete and not trace.failures]
    return Traced(
        tuple(map(architecture_of, whole)),
        {trace.target: _why(trace) for trace in traces if trace not in whole},
        tuple(dict.fromkeys(report.complaints)),
    )


def _why(trace: Trace) -> str:
    """Why a pass did not reach its end in order."""
    if not trace.failures:
        return "the forward pass did not reach its end"
    failure = trace.failures[0]
    place = f" at {failure.location.path}:{failure.location.line}" if failure.location else ""
    message = " ".join(failure.message.split())
    return f"{failure.stage} raised {failure.error}{place}: {message}"
