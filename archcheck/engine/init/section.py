"""The text of a first `[tool.archcheck]` section, and the file that it is to stand in."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from archcheck.analysis.architectures.read_trace import replayable
from archcheck.core.target import UsageError
from archcheck.evidence.architecture import Architecture

FILE = "pyproject.toml"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A pyproject.toml without a section of archcheck; `text` is None where there is no file."""

    path: Path
    text: str | None

    @classmethod
    def around(cls, folder: Path) -> ConfigFile:
        """The file for a project's configuration: the nearest one in its repository, else a new
        one in this folder.

        Raises:
            UsageError: It has such a section already, or cannot be read.
        """
        above = (folder, *folder.parents)
        top = next((place for place in above if (place / ".git").exists()), folder)
        for place in above[: above.index(top) + 1]:
            path = place / FILE
            if path.is_file():
                return cls(path, _text_without_section(path))
        return cls(folder / FILE, None)

    def with_section(self, lines: Sequence[str]) -> str:
        """Its text with a section at the end; all that was there stays byte for byte.

        Raises:
            UsageError: The file leaves no room for a section.
        """
        before = self.text or ""
        newline = "\r\n" if "\r\n" in before else "\n"
        gap = "" if not before else newline if before.endswith("\n") else newline * 2
        text = before + gap + "".join(f"{line}{newline}" for line in lines)
        try:
            tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise UsageError(
                f"{self.path} takes no [tool.archcheck] section at its end ({error}): write "
                "`tool` as [tool.…] tables"
            ) from None
        return text

    def diff(self, text: str) -> str:
        """What another text would change, as a unified diff."""
        old = "/dev/null" if self.text is None else f"a/{FILE}"
        lines = difflib.unified_diff(
            (self.text or "").splitlines(), text.splitlines(), old, f"b/{FILE}", lineterm=""
        )
        return "".join(f"{line}\n" for line in lines)


def _text_without_section(path: Path) -> str:
    try:
        text = path.read_bytes().decode()
        tool = tomllib.loads(text).get("tool", {})
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"{path} cannot be read ({reason})") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path} is no TOML ({error}): mend it first") from None
    if "archcheck" in tool:
        raise UsageError(
            f"{path} has a [tool.archcheck] section already: edit it, or remove it first"
        )
    return text


def section(paths: Sequence[str], models: Sequence[Architecture]) -> Iterator[str]:
    """The lines of a section: what is checked from source, and which models are traced."""
    yield "[tool.archcheck]"
    yield "# `archcheck` without a target checks these files and folders from source alone."
    yield f"paths = {json.dumps(list(paths))}"
    yield "# Rules to run besides the usual ones, and rules not to run: codes, or families."
    yield '# extend-select = ["AC605"]'
    yield '# ignore = ["AC508", "AC5"]'
    yield '# The least severity that fails: "error", "warning" or "note".'
    yield '# fail-on = "warning"'
    yield ""
    if not models:
        yield "# `archcheck` traces these models too: each is run once, without weights or data."
        yield "# [[tool.archcheck.models]]"
        yield '# target = "model.py:Net"'
        yield '# input = ["8,3,224,224"]'
        return
    yield "# And these models are traced: each is run once, without weights or data."
    for number, model in enumerate(models):
        if number:
            yield ""
        yield "[[tool.archcheck.models]]"
        yield f"target = {_string(model.target)}"
        inputs = replayable(model.inputs)
        if inputs:
            yield f"input = [{', '.join(map(_string, inputs))}]"
        yield f'# max-params = "{limit_above(model.parameters)}"  # it has {model.parameters:,}'


def limit_above(count: int) -> str:
    """A limit with a tenth to spare, in two digits: `25M` for 22,000,000."""
    digits = max(len(str(count * 11 // 10)) - 2, 0)
    limit = -(-count * 11 // 10 // 10**digits) * 10**digits
    for suffix, unit in (("G", 10**9), ("M", 10**6), ("K", 10**3)):
        if limit >= unit:
            return f"{limit / unit:g}{suffix}"
    return str(limit)


def _string(text: str) -> str:
    """As TOML has it; JSON's strings are among them."""
    return json.dumps(text, ensure_ascii=False)
