"""`archcheck weights`: what is in a checkpoint file. No tensor is read, and no pickle is run."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archcheck.core.target import UsageError
from archcheck.frontends.cli.options import Inputs, Timeout
from archcheck.frontends.cli.terminal import complain, show, write

if TYPE_CHECKING:
    from archcheck.analysis.state_dicts.diagnose import Diagnosis
    from archcheck.evidence.checkpoint import Checkpoint


class Shown(StrEnum):
    """How the checkpoint is shown."""

    TEXT = "text"
    JSON = "json"


def weights(
    checkpoint: Annotated[
        str, typer.Argument(help="A checkpoint file, an index of several, or a folder with one.")
    ],
    format: Annotated[Shown, typer.Option(help="How to show it.")] = Shown.TEXT,
    output: Annotated[Path | None, typer.Option(help="Write it into this file.")] = None,
    rename_for: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.PY:NAME", help="Write its tensors (safetensors) as this model names them."
        ),
    ] = None,
    inputs: Inputs = None,
    allow_missing: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Keys of the model that the checkpoint may lack."),
    ] = None,
    timeout: Timeout = None,
) -> None:
    """Show what is in a checkpoint: names, shapes, dtypes."""
    from archcheck.checkpoints import CheckpointError, read_checkpoint

    try:
        found = read_checkpoint(checkpoint)
        if rename_for is not None:
            patterns = tuple(allow_missing or ())
            _rename(found, rename_for, tuple(inputs or ()), patterns, timeout, output)
            return
    except CheckpointError as error:
        raise UsageError(str(error)) from None
    from archcheck.output.checkpoint import render_checkpoint, render_checkpoint_json

    text = (render_checkpoint if format is Shown.TEXT else render_checkpoint_json)(found)
    if output is None:
        show(text)
    else:
        write(output, text, "--output")
    raise typer.Exit(1 if found.problems else 0)


def _rename(
    checkpoint: Checkpoint,
    target: str,
    inputs: tuple[str, ...],
    allow_missing: tuple[str, ...],
    timeout: float | None,
    output: Path | None,
) -> None:
    """Write the file with the model's names, if all of them are found.

    Raises:
        CheckpointError: It is no safetensors file, or has a problem.
        UsageError: The model cannot be loaded, or the file cannot be written.
    """
    from archcheck.checkpoints.write_safetensors import write_renamed

    if output is None or output.suffix != ".safetensors":
        raise UsageError("--rename-for: name the new file by --output NEW.safetensors")
    if any(_same_file(output, name) for name in (checkpoint.path, *checkpoint.files)):
        raise UsageError(f"--output {output}: is the checkpoint itself; name a new file")
    if checkpoint.problems:
        raise UsageError(f"{checkpoint.path}: {checkpoint.problems[0]}; nothing written")
    diagnosis = _diagnosis(checkpoint, target, inputs, allow_missing, timeout)
    left = (*diagnosis.after.missing, *diagnosis.after.mismatched)
    if left:
        complain(
            f"{len(left):,} keys of {target} are not in {checkpoint.path}, "
            f"`{left[0]}` first: nothing written; see `archcheck {target} --weights "
            f"{checkpoint.path}`"
        )
        raise typer.Exit(1)
    names = {name: diagnosis.table[name].name for name in _wanted(diagnosis)}
    changed = next((name for name, old in names.items() if not old), None)
    if changed is not None:
        complain(
            f"`{changed}` is not only renamed but changed: nothing written; see `archcheck "
            f"{target} --weights {checkpoint.path}` for the code"
        )
        raise typer.Exit(1)
    try:
        write_renamed(output, checkpoint, names)
    except OSError as error:
        raise UsageError(f"--output {output}: {error.strerror}") from None
    dropped = len(diagnosis.after.unexpected)
    more = f"; {dropped:,} that the model doesn't want are left out" if dropped else ""
    show(f"{output}: {len(names):,} tensors under the names of {target}{more}\n")


def _wanted(diagnosis: Diagnosis) -> list[str]:
    return [name for name in diagnosis.signature.entries if name in diagnosis.table]


def _same_file(output: Path, name: str) -> bool:
    return output.exists() and Path(name).exists() and output.samefile(name)


def _diagnosis(
    checkpoint: Checkpoint,
    target: str,
    inputs: tuple[str, ...],
    allow_missing: tuple[str, ...],
    timeout: float | None,
) -> Diagnosis:
    from archcheck.analysis.state_dicts.compare import Signature
    from archcheck.analysis.state_dicts.diagnose import diagnose
    from archcheck.core.config import Model, read_config
    from archcheck.engine.session import Session
    from archcheck.frontends.cli.options import overridden

    config, root = read_config(Path.cwd())
    with Session(overridden(config, timeout=timeout), root) as session:
        report = session.check([target], Model("", inputs=inputs))
    if report.usage_errors:
        raise UsageError(report.usage_errors[0])
    trace = report.targets[0].trace if report.targets else None
    if trace is None or not trace.state_dict:
        raise UsageError(f"{target}: not a model that could be built; see `archcheck {target}`")
    signature = Signature.of(trace.state_dict, trace.renaming_modules)
    return diagnose(signature, checkpoint, allow_missing)
