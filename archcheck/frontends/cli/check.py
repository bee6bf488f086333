"""`archcheck check`: a thin shell over `pipeline.run`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from archcheck.core.config import Config, Model
from archcheck.core.finding import Severity
from archcheck.core.report import Report
from archcheck.frontends.cli.answer import Answer, RenderOptions
from archcheck.frontends.cli.check_options import CheckOptions
from archcheck.frontends.cli.options import Format, Import, Inputs, Loss, Timeout, Train
from archcheck.frontends.cli.terminal import complain
from archcheck.output.wording import plural

if TYPE_CHECKING:
    from archcheck.engine.cache.answers import Memory
    from archcheck.worker.process.client import Workers


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
    config, root = options.config()
    asked, named, buffers = options.model(), options.named, options.buffers()
    if options.affected:
        from archcheck.engine.affected import affected_models

        models = affected_models(named, config, root)
        config, named = replace(config, models=models, paths=()), []
    memory = _memory(config, root, options)
    if options.watch:
        options.require_watchable()
        _watch(options, asked, root, memory)
    shown = options.render_options()
    unconcerned = options.affected and not config.models
    fixing = options.fix_options()

    def report() -> Report:
        if unconcerned:
            return Report(unchecked=("no configured model is made of these files",))
        # Imported only now: what is remembered is said at once.
        from archcheck.engine.pipeline import run

        found = run(
            named,
            config,
            asked,
            root=root,
            buffers=buffers,
            mending=fixing,
            new_baseline=options.write_baseline,
            memory=memory,
        )
        return _with_new_baseline(found) if options.write_baseline else found

    if memory is None or fixing is not None or options.write_baseline or unconcerned:
        answer = Answer.of(report(), shown)
    else:
        # Imported late, so that `archcheck --help` answers at once.
        from archcheck.engine.targets import Plan

        plan = Plan.of(named, config, asked, root=root, buffers=[Path(path) for path in buffers])
        key = memory.key("answer", named, config, asked, buffers, plan, shown)
        answer = _remembered(memory, key, report, shown)
    answer.give(options.outputs)
    if announced := options.announced():
        complain(announced)
    if memory is not None:
        memory.close()
        if memory.problem is not None:
            complain(f"nothing is kept for the next run: {memory.problem}")
    return answer.exit_code


def _memory(config: Config, root: Path, options: CheckOptions) -> Memory | None:
    """What earlier runs found, where it may be used."""
    if not config.cache or options.no_cache:
        return None
    from archcheck.engine.cache.answers import Memory

    return Memory(root)


def _watch(options: CheckOptions, asked: Model, root: Path, memory: Memory | None) -> None:
    """Check again whenever a file changes, until interrupted."""
    from archcheck.engine.pipeline import run
    from archcheck.frontends.cli.watch import watch as watch_files

    def look(workers: Workers) -> Report:
        # The configuration may be what changed.
        config, root = options.config()
        return run(options.named, config, asked, root=root, memory=memory, workers=workers)

    watch_files(look, options.named, root, options.depth, options.quiet)


def _remembered(
    memory: Memory, key: str, find: Callable[[], Report], shown: RenderOptions
) -> Answer:
    """What was said to the same question, if nothing has changed that it came of; else what is
    found now."""
    known = memory.recall(key)
    if known is not None:
        return Answer(*known[0])
    report = find()
    answer = Answer.of(report, shown)
    if not report.defects:
        memory.keep(key, tuple(answer), memory.notes.dependencies())
    return answer


def _with_new_baseline(report: Report) -> Report:
    """Write the baseline, and compare the report with it."""
    comparison = report.baseline
    if comparison is None:
        # What is wrong with the old one is among the complaints.
        return report
    from archcheck.engine.baseline import write_baseline

    write_baseline(comparison)
    hidden = comparison.hidden | set(report.findings)
    change = f"{len(report.findings):,} new, {comparison.gone:,} gone"
    where = os.path.relpath(comparison.path)
    complain(f"{where} lets {plural(len(hidden), 'finding')} of this check stand ({change})")
    return replace(report, findings=(), baseline=replace(comparison, hidden=hidden, gone=0))
