"""From models to their architectures: the ordinary trace, and no rules."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from archcheck.analysis.architectures.read_trace import architecture_of
from archcheck.core.config import Config, Model
from archcheck.core.target import UsageError, parse_target
from archcheck.engine.session import Session
from archcheck.evidence.architecture import Architecture
from archcheck.evidence.trace import Trace


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
    usage_errors: tuple[str, ...]
    defects: tuple[str, ...] = ()

    def said(self, side: str) -> list[str]:
        """A sentence for each model that has no architecture in the files of this name."""
        return [f"{name} cannot be compared: in {side}, {w}" for name, w in self.failed.items()]


def trace_models(
    targets: Sequence[str],
    config: Config,
    asked: Model,
    root: Path,
    *,
    apart_from: Path | None = None,
) -> Traced:
    """Trace these models, or without any, those of the configuration.

    Args:
        asked: What the command line asks of each model.
        root: The folder that the configuration's paths are relative to.
        apart_from: A folder whose files the models must not be made of.

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
    with Session(bare, root) as session:
        report = session.check(targets or None, asked)
    architectures: list[Architecture] = []
    failed: dict[str, str] = {}
    for target in report.targets:
        why = _why_not(target.trace, apart_from)
        if why is None:
            architectures.append(_with_weights(architecture_of(target.trace), target.trace))
        else:
            failed[target.name] = why
    return Traced(
        tuple(architectures), failed, tuple(dict.fromkeys(report.usage_errors)), report.defects
    )


def _with_weights(architecture: Architecture, trace: Trace) -> Architecture:
    """The architecture with what the model takes of its checkpoint, if it has one."""
    checkpoint = trace.request.checkpoint
    if checkpoint is None or not trace.state_dict:
        return architecture
    # Imported only now: few models are locked with a checkpoint.
    from archcheck.analysis.state_dicts.compare import Signature
    from archcheck.analysis.state_dicts.diagnose import diagnose
    from archcheck.analysis.state_dicts.locked_keys import key_text

    signature = Signature.of(trace.state_dict, trace.renaming_modules)
    diagnosis = diagnose(signature, checkpoint, trace.request.allow_missing)
    taken = ((name, diagnosis.table.get(name)) for name in diagnosis.after.matched)
    keys = tuple(key_text(name, tensor) for name, tensor in taken if tensor is not None)
    return replace(architecture, weights=checkpoint.path, keys=keys)


def _why_not(trace: Trace, apart_from: Path | None) -> str | None:
    """Why a trace does not show what a model is; None where it does."""
    if trace.shows_nothing:
        return "archcheck itself failed on it: a defect of archcheck, please report it"
    if not trace.failures:
        strayed = _strayed(trace, apart_from)
        if strayed is not None:
            return f"it is made of {strayed} too, which is installed from the working tree"
        return None if trace.complete else "the forward pass did not reach its end"
    failure = trace.failures[0]
    place = f" at {failure.location.path}:{failure.location.line}" if failure.location else ""
    message = " ".join(failure.message.split())
    return f"{failure.stage} raised {failure.error}{place}: {message}"


def _strayed(trace: Trace, apart_from: Path | None) -> str | None:
    """A file of a trace that lies in a folder where none of it should."""
    if apart_from is None:
        return None
    places = ((file, Path(os.path.realpath(file))) for file in trace.files)
    return next((file for file, place in places if place.is_relative_to(apart_from)), None)
