"""The command line: a thin shell over `pipeline.run`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from archcheck import __version__
from archcheck.config import (
    LOSSES,
    Config,
    Model,
    parse_bytes,
    parse_count,
    parse_shape,
    read_config,
)
from archcheck.finding import Severity
from archcheck.output import FORMATS, render
from archcheck.output.words import fixes_text
from archcheck.rule import PackError
from archcheck.target import UsageError

if TYPE_CHECKING:
    from archcheck.fix.mend import Mending

USAGE_EXIT, DEFECT_EXIT, INTERRUPTED_EXIT = 2, 3, 130

_DEFECT = "this is a defect of archcheck, not of your code: please report it with the lines above"

T = TypeVar("T")


class CheckByDefault(TyperGroup):
    """`archcheck TARGET…` is short for `archcheck check TARGET…`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ("--help", "--version")):
            args = ["check", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=CheckByDefault,
    help="An architecture linter and shape debugger for PyTorch models.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Format = StrEnum("Format", {name: name for name in FORMATS})  # type: ignore[misc]
TEXT = Format("text")
Loss = StrEnum("Loss", {name: name for name in LOSSES})  # type: ignore[misc]


class Import(StrEnum):
    """How much of a target's file runs."""

    SLICE = "slice"
    WHOLE = "whole"


def _codes(text: str | None) -> tuple[str, ...]:
    return tuple(code for code in (text or "").replace(" ", "").split(",") if code)


def _option(reader: Callable[[str], T], option: str, text: str | None) -> T | None:
    """Read an option's text; the reader's complaint becomes one line about this option."""
    if text is None:
        return None
    try:
        return reader(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def _version(wanted: bool) -> None:
    if wanted:
        print(f"archcheck {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """An architecture linter and shape debugger for PyTorch models.

    `archcheck TARGET…` is short for `archcheck check TARGET…`.
    """


@app.command()
def check(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TARGET]…",
            help="file.py:Name to trace a model; a file or folder to check its source alone.",
        ),
    ] = None,
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", help="The shape of one of forward's arguments: 8,3,224,224."),
    ] = None,
    select: Annotated[
        str | None, typer.Option(help="The rules to run: codes, prefixes, or ALL.")
    ] = None,
    extend_select: Annotated[str | None, typer.Option(help="Rules to run besides.")] = None,
    ignore: Annotated[str | None, typer.Option(help="Rules not to run.")] = None,
    fail_on: Annotated[
        Severity | None, typer.Option(help="Exit with 1 at a finding this bad.")
    ] = None,
    format: Annotated[Format, typer.Option(help="How to show the report.")] = TEXT,
    output: Annotated[
        Path | None,
        typer.Option(help="Write the report into this file, and text to the terminal."),
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Apply the safe fixes.")] = False,
    unsafe_fixes: Annotated[
        bool,
        typer.Option("--unsafe-fixes", help="Apply those too that change the architecture."),
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show what fixes would change, and change nothing.")
    ] = False,
    fix_only: Annotated[
        bool, typer.Option("--fix-only", help="Fix, and keep quiet about what is left.")
    ] = False,
    fix_outside: Annotated[
        bool, typer.Option("--fix-outside", help="Fix files outside the working directory too.")
    ] = False,
    train: Annotated[
        bool | None, typer.Option("--train/--eval", help="The mode that is traced (train).")
    ] = None,
    loss: Annotated[
        Loss | None, typer.Option(help="The loss that the output goes into, if it is not in sight.")
    ] = None,
    expect_output: Annotated[
        str | None, typer.Option(metavar="SHAPE", help="The shape that the output must have: 8,10.")
    ] = None,
    max_params: Annotated[
        str | None, typer.Option(metavar="COUNT", help="More parameters are an error: 25M.")
    ] = None,
    max_macs: Annotated[
        str | None, typer.Option(metavar="COUNT", help="More multiply-adds are an error: 4G.")
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="More activation memory is an error: 8GiB.")
    ] = None,
    depth: Annotated[int | None, typer.Option(min=0, help="How deep the layer table goes.")] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds that loading and tracing a target may take.")
    ] = None,
    memory_limit: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="Memory that a target may take (80 % of what is free)."),
    ] = None,
    input_from: Annotated[
        str | None,
        typer.Option(metavar="FILE.PY:NAME", help="A function that returns forward's arguments."),
    ] = None,
    import_: Annotated[
        Import, typer.Option("--import", help="Run what a target needs of its file, or all of it.")
    ] = Import.SLICE,
    no_trace: Annotated[
        bool, typer.Option("--no-trace", help="Run no model's code: check its source alone.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show what the models print, on stderr.")
    ] = False,
    stdin_filename: Annotated[
        str, typer.Option(help="The name of the file whose text `-` reads from standard input.")
    ] = "stdin.py",
    statistics: Annotated[bool, typer.Option(help="Count the findings of each rule.")] = False,
    quiet: Annotated[bool, typer.Option(help="Show findings only.")] = False,
) -> None:
    """Check models and source files."""
    # Imported late, so that `archcheck --help` answers at once.
    from archcheck.pipeline import run

    config, root = read_config(Path.cwd())
    config = _overridden(
        config,
        select=None if select is None else _codes(select),
        extend_select=(*config.extend_select, *_codes(extend_select)),
        ignore=(*config.ignore, *_codes(ignore)),
        fail_on=fail_on,
        timeout=timeout,
        memory_limit=_option(parse_bytes, "--memory-limit", memory_limit),
        trace=False if no_trace else None,
    )
    asked = Model(
        target="",
        inputs=tuple(inputs or ()),
        mode="eval" if train is False else "train",
        loss=loss,
        expect_output=_option(parse_shape, "--expect-output", expect_output),
        max_params=_option(parse_count, "--max-params", max_params),
        max_macs=_option(parse_count, "--max-macs", max_macs),
        max_memory=_option(parse_bytes, "--max-memory", max_memory),
        input_from=input_from,
        import_whole=import_ is Import.WHOLE,
    )
    named = [target for target in targets or () if target != "-"]
    piped = "-" in (targets or ())
    buffers = {stdin_filename: sys.stdin.buffer.read()} if piped else {}
    mending: Mending | None = None
    if fix or unsafe_fixes or diff or fix_only:
        from archcheck.fix.mend import Mending

        mending = Mending(unsafe=unsafe_fixes, write=not diff, outside=fix_outside)
    report = run(named, config, asked, root=root, buffers=buffers, mending=mending)
    shown = partial(render, report, depth=depth, statistics=statistics, quiet=quiet)
    repairs = report.repairs
    if repairs is not None and (diff or fix_only):
        _print(repairs.diff if diff else "")
        _complain(fixes_text(report))
    elif output is None:
        _print(shown(format.value, color=_wants_color()))
    else:
        _write(output, shown(format.value))
        _print(shown("text", color=_wants_color()))
    for sentence in repairs.untouched if repairs is not None else ():
        _complain(sentence)
    if verbose:
        for target in report.targets:
            if target.trace.printed:
                print(f"{target.name} printed:\n{target.trace.printed}", file=sys.stderr)
    for complaint in report.complaints:
        _complain(complaint)
    for defect in report.defects:
        print(defect, file=sys.stderr)
        _complain(_DEFECT)
    code = report.exit_code
    if repairs is not None and (diff or fix_only) and code <= 1:
        # Whether findings are left is not what was asked.
        code = int(diff and bool(repairs.diff))
    raise typer.Exit(code)


def _overridden(config: Config, **values: Any) -> Config:
    return replace(config, **{key: value for key, value in values.items() if value is not None})


@app.command()
def annotate(
    target: Annotated[str, typer.Argument(help="file.py:Name, the model to trace.")],
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", help="The shape of one of forward's arguments: 8,3,224,224."),
    ] = None,
    train: Annotated[
        bool, typer.Option("--train/--eval", help="The mode that is traced (train).")
    ] = True,
    depth: Annotated[
        int | None,
        typer.Option(min=0, help="How many forwards deep to go (those of the model's file)."),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Put the shapes into the file as comments.")
    ] = False,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds that loading and tracing may take.")
    ] = None,
) -> None:
    """Show forward() with the shape of every value beside its line."""
    from archcheck.annotate.run import annotated
    from archcheck.output import page_width
    from archcheck.output.annotate import render as render_annotation

    config, root = read_config(Path.cwd())
    asked = Model(target, tuple(inputs or ()), mode="train" if train else "eval")
    config = _overridden(config, timeout=timeout)
    annotation, said = annotated(asked, config, root, depth=depth, write=write)
    _print(render_annotation(annotation, color=_wants_color(), width=page_width(None)))
    for sentence in said:
        _complain(sentence)
    raise typer.Exit(int(annotation.failed))


@app.command()
def explain(code: Annotated[str, typer.Argument(help="A rule's code or name.")]) -> None:
    """Explain one rule: what, why, example, fix."""
    from archcheck.config import nearest
    from archcheck.output.catalogue import render_rule
    from archcheck.rule import load_rules

    rules = {key: rule for rule in load_rules() for key in (rule.code, rule.name)}
    rule = rules.get(code) or rules.get(code.upper())
    if rule is None:
        raise UsageError(f"no rule {code!r}{nearest(code.upper(), rules)} (see `archcheck rules`)")
    _print(render_rule(rule, color=_wants_color()))


@app.command()
def rules() -> None:
    """List every rule."""
    from archcheck.output.catalogue import render_rules
    from archcheck.rule import load_rules

    _print(render_rules(load_rules(), color=_wants_color()))


def _wants_color() -> bool:
    """Whether to colour standard output: on a terminal, unless NO_COLOR or TERM forbids."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return bool(os.environ.get("FORCE_COLOR")) or sys.stdout.isatty()


def _print(text: str) -> None:
    if isinstance(sys.stdout.encoding, str) and sys.stdout.encoding.lower() != "utf-8":
        # A terminal that cannot show a character gets a substitute, never a traceback.
        text = text.encode(sys.stdout.encoding, "replace").decode(sys.stdout.encoding)
    sys.stdout.write(text if text.endswith("\n") or not text else f"{text}\n")
    sys.stdout.flush()


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--output: {path}: {error.strerror}") from error


def _complain(text: str) -> None:
    print(f"archcheck: {' '.join(text.split())}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with the code that CONTRACT promises."""
    sys.exit(_exit_code(arguments))


def _exit_code(arguments: Sequence[str] | None) -> int:
    try:
        result = app(args=arguments, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except UsageError as error:
        _complain(str(error))
        return USAGE_EXIT
    except PackError as error:
        _complain(f"a rule pack is broken: {error}")
        return USAGE_EXIT
    except (KeyboardInterrupt, typer.Abort):
        _complain("interrupted")
        return INTERRUPTED_EXIT
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; the interpreter must not flush into it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        # Some versions of typer carry their own copy of click, so its errors have no common base.
        message = getattr(error, "format_message", None)
        if message is not None:
            _complain(f"{message()} (see `archcheck --help`)")
            return USAGE_EXIT
        import traceback

        traceback.print_exc()
        _complain(_DEFECT)
        return DEFECT_EXIT


if __name__ == "__main__":
    main()
