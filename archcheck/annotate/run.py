"""From a target to its annotated source: trace it, ask the rules, lay both beside the text."""

from __future__ import annotations

from pathlib import Path

from archcheck.annotate.annotation import Annotation, annotate
from archcheck.config import Config, Model
from archcheck.examine import Examiner
from archcheck.load.client import Workers
from archcheck.rule import load_rules
from archcheck.selection import Selection
from archcheck.target import UsageError, parse_target


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
        examiner = Examiner((), [(target, model)], config, workers, root)
        examined = examiner.examine(selection, {})
    if examined.complaints:
        raise UsageError(examined.complaints[0])
    (trace,) = examined.traces
    annotation = annotate(trace, examined.project, examined.findings, depth)
    if not write:
        return annotation, []
    # Only what --write needs.
    from archcheck.annotate.write import write_shapes

    return annotation, write_shapes(trace, examined.project, depth, Path.cwd())
