"""The command line: each command is a function of a file beside this one."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperGroup

from archcheck._version import __version__
from archcheck.core.rule import PackError
from archcheck.core.target import UsageError
from archcheck.frontends.cli.terminal import DEFECT, complain

USAGE_EXIT, DEFECT_EXIT, INTERRUPTED_EXIT = 2, 3, 130

# Every command, with the file beside this one that has the function of its name.
COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "check": "check",
        "annotate": "annotate",
        "init": "init",
        "lock": "lock",
        "diff": "diff",
        "explain": "catalogue",
        "rules": "catalogue",
        "evidence": "evidence",
        "test": "test",
        "lsp": "lsp",
        "weights": "weights",
        "devices": "costs",
    }
)


class CheckByDefault(TyperGroup):
    """`archcheck TARGET…` is short for `archcheck check TARGET…`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0].isalpha() and args[0] not in COMMANDS and not os.path.exists(args[0]):
            _refuse_unknown_command(args[0])
        if not args or (args[0] not in COMMANDS and args[0] not in ("--help", "--version")):
            args = ["check", *args]
        return super().parse_args(ctx, args)


def _refuse_unknown_command(word: str) -> None:
    """Say which command was meant, where a word is neither one nor a place.

    Raises:
        UsageError: It is nearly one.
    """
    from archcheck.core.wording import nearest

    meant = nearest(word, (*COMMANDS, "--help", "--version"))
    if meant:
        raise UsageError(f"{word!r} is no command, and no file or folder{meant}")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"archcheck {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """An architecture linter and shape debugger for PyTorch models.

    `archcheck TARGET…` is short for `archcheck check TARGET…`.
    """


def app(commands: Iterable[str] = COMMANDS) -> typer.Typer:
    """The application, with some of its commands: only these are imported."""
    made = typer.Typer(
        cls=CheckByDefault,
        help="An architecture linter and shape debugger for PyTorch models.",
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(_root)
    for name in commands:
        module = import_module(f"archcheck.frontends.cli.{COMMANDS[name]}")
        command = getattr(module, name)
        # Typer reads the annotations four times, and would compile their texts each time.
        command.__annotations__ = get_type_hints(command, include_extras=True)
        made.command()(command)
    return made


def _asked(arguments: Sequence[str]) -> Iterable[str]:
    """The command that these arguments call for; every one of them, where help is asked for."""
    if arguments[:1] == ["--help"]:
        return COMMANDS
    return arguments[:1] if arguments and arguments[0] in COMMANDS else ("check",)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code."""
    # By default a short run would look for circles in its memory dozens of times, and find none.
    gc.set_threshold(50_000)
    code = exit_code(arguments)
    # The system takes the memory back at once; the interpreter would first look through all of it.
    gc.freeze()
    sys.exit(code)


def exit_code(arguments: Sequence[str] | None) -> int:
    """Run the command and return its code, 0 to 3, as the README lists them."""
    try:
        given = list(sys.argv[1:] if arguments is None else arguments)
        result = app(_asked(given))(args=given, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except UsageError as error:
        complain(str(error))
        return USAGE_EXIT
    except PackError as error:
        complain(f"a rule pack is broken: {error}")
        return USAGE_EXIT
    except (KeyboardInterrupt, typer.Abort):
        complain("interrupted")
        return INTERRUPTED_EXIT
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; the interpreter must not flush into it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        # Some versions of typer carry their own copy of click, so its errors have no common base.
        message = getattr(error, "format_message", None)
        if message is not None:
            complain(f"{message()} (see `archcheck --help`)")
            return USAGE_EXIT
        import traceback

        traceback.print_exc()
        complain(DEFECT)
        return DEFECT_EXIT
