"""From a target to its annotated source: trace it, ask the rules, lay both beside the text."""

from __future__ import annotations

from pathlib import Path

from archcheck.core.config import Config, Model
from archcheck.engine.annotate.annotation import Annotation, annotate
from archcheck.engine.session import Session


def annotated(
    model: Model, config: Config, root: Path, *, depth: int | None, write: bool
) -> tuple[Annotation, list[str]]:
    """Annotate one model.

    Args:
        depth: See `annotate`.
        write: Put the shapes into the files too.

    Returns:
        The annotation, and what became of the files.

    Raises:
        UsageError: The target names no model, or cannot be served.
        WorkerDefect: archcheck failed on it.
    """
    with Session(config, root) as session:
        examined = session.trace(model)
    (trace,) = examined.traces
    annotation = annotate(trace, examined.project, examined.findings, depth)
    if not write:
        return annotation, []
    # Only what --write needs.
    from archcheck.engine.annotate.write_comments import write_shapes

    return annotation, write_shapes(trace, examined.project, depth, Path.cwd())
