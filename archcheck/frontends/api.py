"""The Python interface: `archcheck.check(model)` and `archcheck.lint(paths)`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archcheck.core.config import Config, Mode, Model
from archcheck.core.finding import Severity
from archcheck.core.probe_request import ProbeRequest
from archcheck.core.report import Report
from archcheck.core.target import UsageError
from archcheck.engine.checkpoints import with_checkpoint
from archcheck.engine.session import Session
from archcheck.evidence.request import Request
from archcheck.worker.process.client import WorkerDefect

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.evidence.trace import Trace


def check(
    target: Any,
    *,
    input: Any = None,
    mode: Mode = "train",
    select: Iterable[str] | None = None,
    extend_select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    fail_on: str = "warning",
    loss: str | None = None,
    expect_output: Shape | None = None,
    max_params: int | None = None,
    max_macs: int | None = None,
    max_memory: int | None = None,
    probe: bool = False,
    weights: str | os.PathLike[str] | None = None,
    allow_missing: Iterable[str] = (),
) -> Report:
    """Trace a model and run every rule on it.

    Args:
        target: A module, a class or a factory that needs no arguments, or a target string as on
            the command line. A module keeps its weights, mode, hooks and gradients exactly as
            they were.
        input: A shape, a tensor (only its shape and dtype are used), or a tuple, list or dict of
            them for several parameters. For a target string also the command's notation.
        mode: The mode that is traced.
        select, extend_select, ignore: Codes, prefixes, or ALL.
        fail_on: The least severity that makes the report not `ok`.
        loss, expect_output, max_params, max_macs, max_memory: What is asked of the model, in
            parameters, multiply-accumulates and bytes.
        probe: Run it on small real tensors, too: a module that is handed over, on a copy.
        weights: A checkpoint file or folder that is held against the model. Of it, names and
            shapes are read: nothing is loaded.
        allow_missing: Keys of the model that the checkpoint may lack, as patterns (`motion.*`).

    Raises:
        UsageError: The call itself is wrong.
        WorkerDefect: archcheck itself failed.
    """
    config = _config(select, extend_select, ignore, fail_on)
    checkpoint, patterns = _checkpoint(weights, allow_missing)
    if isinstance(target, str):
        model = Model(
            target,
            inputs=_in_words(input),
            mode=mode,
            loss=loss,
            expect_output=expect_output,
            max_params=max_params,
            max_macs=max_macs,
            max_memory=max_memory,
            probe=probe,
            weights=checkpoint,
            allow_missing=patterns,
        )
        with Session(config, Path.cwd()) as session:
            checked = session.check([target], model)
        if checked.usage_errors:
            raise UsageError("; ".join(checked.usage_errors))
        return checked
    # Tracing an object needs torch in this process, and whoever made the object has loaded it.
    from archcheck.worker.live import trace_object

    request = Request(expect_output, loss, max_params, max_macs, max_memory, allow_missing=patterns)
    if checkpoint is not None:
        request = with_checkpoint(request, checkpoint, None)
    asked = ProbeRequest() if probe else None
    trace = replace(trace_object(target, input, mode, asked), request=request)
    if trace.shows_nothing:
        raise WorkerDefect("\n".join(trace.defects))

    def with_symbols() -> Trace:
        symbolic = trace_object(target, input, mode, asked, symbolic=True)
        return replace(symbolic, request=request)

    return Session(config, Path.cwd()).check_trace(trace, with_symbols)


def lint(
    *paths: str | os.PathLike[str],
    select: Iterable[str] | None = None,
    extend_select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    fail_on: str = "warning",
) -> Report:
    """Check files and folders from source: nothing is imported, nothing is run.

    Raises:
        UsageError: A code is not known.
    """
    config = _config(select, extend_select, ignore, fail_on)
    with Session(config, Path.cwd()) as session:
        return session.check([str(path) for path in paths])


def _config(
    select: Iterable[str] | None,
    extend_select: Iterable[str],
    ignore: Iterable[str],
    fail_on: str,
) -> Config:
    return Config(
        select=None if select is None else tuple(select),
        extend_select=tuple(extend_select),
        ignore=tuple(ignore),
        fail_on=Severity(fail_on),
    )


def _checkpoint(
    weights: str | os.PathLike[str] | None, allow_missing: Iterable[str]
) -> tuple[str | None, tuple[str, ...]]:
    """Return the checkpoint's path, which is there, and the keys that it may lack.

    Raises:
        UsageError: There is no such file, or what may be missing is no list.
    """
    patterns = (allow_missing,) if isinstance(allow_missing, str) else tuple(allow_missing)
    if weights is None:
        return None, patterns
    try:
        path = os.fspath(weights)
    except TypeError:
        kind = type(weights).__name__
        raise UsageError(f"weights: a path of a file or folder, not {kind}") from None
    if not os.path.exists(path):
        raise UsageError(f"weights {path}: no such file")
    return path, patterns


def _in_words(given: Any) -> tuple[str, ...]:
    """An input in the notation of `--input`."""
    if given is None:
        return ()
    if isinstance(given, str):
        return (given,)
    if isinstance(given, Mapping):
        return tuple(f"{name}={_words(value)}" for name, value in given.items())
    return (_words(given),) if _is_shape(given) else tuple(_words(value) for value in given)


def _words(given: Any) -> str:
    if isinstance(given, str):
        return given
    if hasattr(given, "dtype"):
        return f"{_words(tuple(given.shape))}:{str(given.dtype).removeprefix('torch.')}"
    if _is_shape(given):
        return ",".join(map(str, given))
    return f"[{';'.join(_words(value) for value in given)}]"


def _is_shape(given: Any) -> bool:
    return hasattr(given, "dtype") or all(isinstance(size, int) for size in given)
