"""From a target to its annotated source: trace it, ask the rules, lay both beside the text."""

from __future__ import annotations

from pathlib import Path

from archcheck.core.config import Config, Model
from archcheck.core.rule import load_rules
from archcheck.core.target import UsageError, parse_target
from archcheck.engine.annotate.annotation import Annotation, annotate
from archcheck.engine.checker import Checker
from archcheck.engine.selection import Selection
from archcheck.worker.process.client import WorkerDefect, Workers


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
    """
    target = parse_target(model.target)
    if target is None:
        raise UsageError(
            f"`{model.target}` names no model: write `{model.target}:Name`, with the model's name"
        )
    selection = Selection.of(load_rules(), config)
    with Workers() as workers:
        checker = Checker((), [(target, model)], config, workers, root)
        examined = checker.examine(selection, {})
    if examined.usage_errors:
        raise UsageError(examined.usage_errors[0])
    (trace,) = examined.traces
    if trace.shows_nothing:
        raise WorkerDefect("\n".join(trace.defects))
    annotation = annotate(trace, examined.project, examined.findings, depth)
    if not write:
        return annotation, []
    # Only what --write needs.
    from archcheck.engine.annotate.write_comments import write_shapes

    return annotation, write_shapes(trace, examined.project, depth, Path.cwd())
