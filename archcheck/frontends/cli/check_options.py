"""The options of `archcheck check`, and what each part of a run is told of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from archcheck.core.config import Config, Model, parse_bytes, parse_count, parse_shape, read_config
from archcheck.core.finding import Severity
from archcheck.core.target import UsageError
from archcheck.frontends.cli.answer import RenderOptions
from archcheck.frontends.cli.costs import known_device, known_optimizer, known_precision
from archcheck.frontends.cli.options import (
    TEXT,
    Format,
    Import,
    Loss,
    codes,
    mode_of,
    overridden,
    read,
)
from archcheck.frontends.cli.terminal import wants_color
from archcheck.output import format_of, page_width

if TYPE_CHECKING:
    from archcheck.engine.fix.fix_files import FixOptions

# What agents set for the commands that they run.
_AGENT_VARIABLES = ("AI_AGENT", "CLAUDECODE", "GEMINI_CLI", "CURSOR_AGENT", "CODEX_SANDBOX")

DEFAULT_BASELINE = "archcheck-baseline.json"


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """What the command line asks of a check; `check.py` says what each option means."""

    targets: list[str] | None
    inputs: list[str] | None
    select: str | None
    extend_select: str | None
    ignore: str | None
    fail_on: Severity | None
    format: Format | None
    output: list[Path] | None
    fix: bool
    unsafe_fixes: bool
    diff: bool
    fix_only: bool
    fix_outside: bool
    force_exclude: bool
    affected: bool
    train: bool | None
    loss: Loss | None
    expect_output: str | None
    max_params: str | None
    max_macs: str | None
    max_memory: str | None
    max_training_memory: str | None
    optimizer: str | None
    precision: str | None
    device: str | None
    generate: int | None
    symbolic: bool
    probe: bool
    depth: int | None
    timeout: float | None
    memory_limit: str | None
    input_from: str | None
    import_: Import
    weights: str | None
    allow_missing: list[str] | None
    no_trace: bool
    verbose: bool
    stdin_filename: str
    baseline: Path | None
    no_baseline: bool
    write_baseline: bool
    no_cache: bool
    watch: bool
    statistics: bool
    quiet: bool

    @property
    def is_piped(self) -> bool:
        """Whether a source comes on standard input."""
        return "-" in (self.targets or ())

    @property
    def named(self) -> list[str]:
        """The targets that are named, standard input left out."""
        return [target for target in self.targets or () if target != "-"]

    @property
    def is_fixing(self) -> bool:
        return self.fix or self.unsafe_fixes or self.diff or self.fix_only

    def buffers(self) -> Mapping[str, bytes]:
        """Read what comes on standard input, under the name that it is to have."""
        return {self.stdin_filename: sys.stdin.buffer.read()} if self.is_piped else {}

    def config(self) -> tuple[Config, Path]:
        """Return the project's settings as the options override them, and the project's folder.

        Raises:
            UsageError: An option or the configuration cannot be read.
        """
        config, root = read_config(Path.cwd())
        config = overridden(
            config,
            select=None if self.select is None else codes(self.select),
            extend_select=(*config.extend_select, *codes(self.extend_select)),
            ignore=(*config.ignore, *codes(self.ignore)),
            fail_on=self.fail_on,
            timeout=self.timeout,
            memory_limit=read(parse_bytes, "--memory-limit", self.memory_limit),
            trace=False if self.no_trace else None,
            force_exclude=self.force_exclude or None,
            baseline=os.path.abspath(self.baseline) if self.baseline else None,
        )
        if self.write_baseline and config.baseline is None:
            config = replace(config, baseline=DEFAULT_BASELINE)
        elif self.no_baseline:
            config = replace(config, baseline=None)
        return config, root

    def model(self) -> Model:
        """Return what is asked of each model that is named.

        Raises:
            UsageError: An option cannot be read.
        """
        return Model(
            target="",
            inputs=tuple(self.inputs or ()),
            mode=mode_of(self.train),
            loss=self.loss,
            expect_output=read(parse_shape, "--expect-output", self.expect_output),
            max_params=read(parse_count, "--max-params", self.max_params),
            max_macs=read(parse_count, "--max-macs", self.max_macs),
            max_memory=read(parse_bytes, "--max-memory", self.max_memory),
            max_training_memory=read(
                parse_bytes, "--max-training-memory", self.max_training_memory
            ),
            optimizer=read(known_optimizer, "--optimizer", self.optimizer),
            precision=read(known_precision, "--precision", self.precision),
            device=read(known_device, "--device", self.device),
            generate=self.generate,
            probe=self.probe,
            input_from=self.input_from,
            import_whole=self.import_ is Import.WHOLE,
            weights=self.weights,
            allow_missing=tuple(self.allow_missing or ()),
            symbolic=self.symbolic,
        )

    def fix_options(self) -> FixOptions | None:
        """Return what to do with fixes, if they are to be applied or shown."""
        if not self.is_fixing:
            return None
        from archcheck.engine.fix.fix_files import FixOptions

        return FixOptions(unsafe=self.unsafe_fixes, write=not self.diff, outside=self.fix_outside)

    def render_options(self) -> RenderOptions:
        """Return how the report is to be shown."""
        return RenderOptions(
            format=self._format(),
            files=self._file_formats(),
            color=wants_color(),
            width=page_width(None),
            depth=self.depth,
            statistics=self.statistics,
            quiet=self.quiet,
            verbose=self.verbose,
            diff=self.diff,
            fix_only=self.fix_only,
        )

    def _format(self) -> str:
        """The format that is asked for; without one, text, or what an agent reads best."""
        if self.format is not None:
            return self.format.value
        return "agent" if agent_variable() and not self.output and not self.diff else "text"

    @property
    def outputs(self) -> list[Path]:
        """The files that the report goes into.

        Raises:
            UsageError: One is named twice.
        """
        files = self.output or []
        if len(set(files)) < len(files):
            raise UsageError("--output: the same file is named twice")
        return files

    def _file_formats(self) -> tuple[str, ...]:
        """Return the format of each file: a single one's as `--format` says, else by its suffix."""
        asked = None if self.format is None else self.format.value
        if asked is not None and len(self.outputs) == 1:
            return (asked,)
        return tuple(format_of(path.suffix, asked) for path in self.outputs)

    def announced(self) -> str | None:
        """Return why the format is not the usual one, where nobody asked for another."""
        if self.format is None and self._format() == "agent":
            return f"--format agent, since {agent_variable()} is set (--format text for people)"
        return None

    def require_watchable(self) -> None:
        """Refuse what watching cannot do.

        Raises:
            UsageError: Something else is asked besides findings as text.
        """
        more = self.is_fixing or self.write_baseline or self.affected or self.is_piped
        if more or self.output or self.format not in (None, TEXT):
            raise UsageError("--watch shows findings as text: leave out what else is asked")


def agent_variable() -> str | None:
    """Return the variable by which an agent says that it runs the command; None at a terminal."""
    if sys.stdout.isatty():
        return None
    return next((name for name in _AGENT_VARIABLES if os.environ.get(name)), None)
