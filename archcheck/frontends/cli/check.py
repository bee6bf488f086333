"""`archcheck check`: a thin shell over a `Session`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archcheck.core.config import Model
from archcheck.core.finding import Severity
from archcheck.core.report import Report
from archcheck.frontends.cli.answer import Answer
from archcheck.frontends.cli.check_options import CheckOptions
from archcheck.frontends.cli.options import Format, Import, Inputs, Loss, Timeout, Train
from archcheck.frontends.cli.terminal import complain
from archcheck.output.wording import plural

if TYPE_CHECKING:
    from archcheck.engine.fix.fix_files import FixOptions
    from archcheck.engine.session import Session


def check(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[TARGET]…",
            help="file.py:Name to trace a model; a file or folder to check its source alone.",
        ),
    ] = None,
    inputs: Inputs = None,
    select: Annotated[
        str | None, typer.Option(help="The rules to run: codes, prefixes, or ALL.")
    ] = None,
    extend_select: Annotated[str | None, typer.Option(help="Rules to run in addition.")] = None,
    ignore: Annotated[str | None, typer.Option(help="Rules not to run.")] = None,
    fail_on: Annotated[
        Severity | None, typer.Option(help="Exit with 1 at a finding this bad.")
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option(help="How to show the report (text; agent, where an agent runs the command)."),
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option(help="Write the report into this file, in the format of its suffix."),
    ] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Apply the safe fixes.")] = False,
    unsafe_fixes: Annotated[
        bool,
        typer.Option("--unsafe-fixes", help="Also apply those that change the architecture."),
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
    force_exclude: Annotated[
        bool,
        typer.Option("--force-exclude", help="Pass over excluded files even if they are named."),
    ] = False,
    affected: Annotated[
        bool,
        typer.Option(
            "--affected", help="The targets are changed files: check the models made of them."
        ),
    ] = False,
    train: Train = None,
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
    max_training_memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="A larger training step is an error: 24GiB.")
    ] = None,
    optimizer: Annotated[
        str | None, typer.Option(help="The costs of a training step with it: adamw, sgd, lion.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="That step's: fp32, bf16, fp16, amp-bf16 or amp-fp16.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME|SIZE", help="Whether it fits: h100-80gb, 24GiB."),
    ] = None,
    generate: Annotated[
        int | None, typer.Option(min=1, metavar="TOKENS", help="The costs of generating them.")
    ] = None,
    symbolic: Annotated[
        bool, typer.Option("--symbolic", help="Sizes as functions of the input's, in JSON.")
    ] = False,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Run it on small real tensors, too: gradients, NaN, leaks."),
    ] = False,
    depth: Annotated[int | None, typer.Option(min=0, help="How deep the layer table goes.")] = None,
    timeout: Timeout = None,
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
    weights: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="A checkpoint that the model is to load."),
    ] = None,
    allow_missing: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Keys that the checkpoint may lack."),
    ] = None,
    no_trace: Annotated[
        bool, typer.Option("--no-trace", help="Run no model's code: check its source alone.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Show what the models print, on stderr.")
    ] = False,
    stdin_filename: Annotated[
        str, typer.Option(help="The name of the file whose text `-` reads from standard input.")
    ] = "stdin.py",
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Leave out the findings that this file knows."),
    ] = None,
    no_baseline: Annotated[
        bool, typer.Option("--no-baseline", help="Show the findings of the baseline too.")
    ] = False,
    write_baseline: Annotated[
        bool, typer.Option("--write-baseline", help="Accept today's findings.")
    ] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Neither use nor keep earlier results.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Check again whenever a file changes.")
    ] = False,
    statistics: Annotated[bool, typer.Option(help="Count the findings of each rule.")] = False,
    quiet: Annotated[bool, typer.Option(help="Show findings only.")] = False,
) -> None:
    """Check models and source files."""
    raise typer.Exit(_check(CheckOptions(**locals())))


def _check(options: CheckOptions) -> int:
    """Run one check and say what it found; its exit code."""
    # Imported late, so that `archcheck --help` answers at once.
    from archcheck.engine.session import Session

    config, root = options.config()
    asked, named, buffers = options.model(), options.named, options.buffers()
    if options.affected:
        from archcheck.engine.affected import affected_models

        models = affected_models(named, config, root)
        config, named = replace(config, models=models, paths=()), []
    unconcerned = options.affected and not config.models
    if options.no_cache:
        config = replace(config, cache=False)
    shown, fixing = options.render_options(), options.fix_options()
    with Session.remembering(config, root) as session:
        if options.watch:
            options.require_watchable()
            _watch(session, options, asked)

        def find() -> tuple[Answer, bool]:
            found = _report(session, options, named, asked, buffers, fixing)
            return Answer.of(found, shown), not found.defects

        if unconcerned:
            nothing = "no configured model is made of these files"
            answer = Answer.of(Report(unchecked=(nothing,)), shown)
        elif session.memory is None or fixing is not None or options.write_baseline:
            answer, _ = find()
        else:
            plan = session.plan(named, asked, buffers)
            question = (named, config, asked, buffers, plan, shown)
            answer = Answer(*session.answer(question, find))
        answer.give(options.outputs)
        if announced := options.announced():
            complain(announced)
    if session.memory is not None and session.memory.problem is not None:
        complain(f"nothing is kept for the next run: {session.memory.problem}")
    return answer.exit_code


def _report(
    session: Session,
    options: CheckOptions,
    named: list[str],
    asked: Model,
    buffers: Mapping[str, bytes],
    fixing: FixOptions | None,
) -> Report:
    """Check, and let today's findings stand if that is asked for."""
    new = options.write_baseline
    found = session.check(named, asked, buffers=buffers, fixing=fixing, new_baseline=new)
    return _with_new_baseline(found) if new else found


def _watch(session: Session, options: CheckOptions, asked: Model) -> None:
    """Check again whenever a file changes, until interrupted."""
    from archcheck.frontends.cli.watch import watch as watch_files

    def look() -> Report:
        # The configuration may be what changed.
        return session.reconfigured(*options.config()).check(options.named, asked)

    watch_files(look, options.named, session.root, options.depth, options.quiet)


def _with_new_baseline(report: Report) -> Report:
    """Write the baseline, and compare the report with it."""
    comparison = report.baseline
    if comparison is None:
        # What is wrong with the old one is among the complaints.
        return report
    from archcheck.engine.baseline import accepted

    after, hidden = accepted(report, comparison)
    change = f"{len(report.findings):,} new, {comparison.gone:,} gone"
    where = os.path.relpath(comparison.path)
    complain(f"{where} lets {plural(hidden, 'finding')} of this check stand ({change})")
    return after
