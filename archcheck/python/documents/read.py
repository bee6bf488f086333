"""Read a file into a `Document`: its encoding, and the Python text in it."""

from __future__ import annotations

import codecs
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

from archcheck.core.finding import Location
from archcheck.python.text.document import Block, Document, DocumentError, Kind, SyntaxProblem

LARGEST_FILE = 20 * 1024 * 1024

_KINDS: Mapping[str, Kind] = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".mdown": "markdown",
    ".mkd": "markdown",
    ".qmd": "markdown",
    ".rmd": "markdown",
    ".ipynb": "notebook",
}
# Where a system shows what a process has open.
_OPEN_FILES = (Path("/dev/fd"), Path("/proc/self/fd"))
_WIDE_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def kind_of(path: str) -> Kind:
    """What a file's name says that it holds; Python where it says nothing."""
    return _KINDS.get(Path(path).suffix.lower(), "python")


def read_document(path: Path, *, shown: str | None = None, data: bytes | None = None) -> Document:
    """Read a file, or `data` in its place.

    Args:
        shown: The path to show in findings, if not `path`.

    Raises:
        DocumentError: It cannot be read, or is no text.
    """
    name = shown if shown is not None else path.as_posix()
    if data is None:
        data = _read(path, name)
    elif len(data) > LARGEST_FILE:
        raise DocumentError(_too_large(name, len(data)))
    kind = kind_of(name)
    text, encoding, problems = _decode(data, name, kind)
    if kind == "markdown":
        from archcheck.python.documents.markdown import read_markdown

        return read_markdown(name, text, encoding)
    if kind == "notebook":
        from archcheck.python.documents.notebook import read_notebook

        return read_notebook(name, text, encoding)
    code = text
    if "\r" in code:
        code = code.replace("\r\n", "\n").replace("\r", "\n")
    if "\0" in code:
        problems = (*problems, _null_byte(code, name))
        code = code.replace("\0", " ")
    blocks = (Block(1, code.count("\n") + 1),)
    return Document(name, kind, text, code, blocks, encoding=encoding, problems=problems)


def _read(path: Path, name: str) -> bytes:
    try:
        if not _may_be_opened(path):
            raise DocumentError(
                f"{name}: is no ordinary file (`-` reads source from standard input)"
            )
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > LARGEST_FILE:
                raise DocumentError(_too_large(name, size))
            # As many bytes as are asked for are set aside first: a limit alone would cost more
            # than the reading.
            data = file.read(size + 1)
            if len(data) > size:
                # A pipe has no size.
                data += file.read(LARGEST_FILE + 1 - len(data))
    except FileNotFoundError:
        raise DocumentError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise DocumentError(f"{name}: is a folder, not a file") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DocumentError(f"{name}: cannot be read ({reason.lower()})") from None
    if len(data) > LARGEST_FILE:
        raise DocumentError(_too_large(name, len(data)))
    return data


def _may_be_opened(path: Path) -> bool:
    """Whether opening it cannot wait for ever, as a named pipe does that nobody writes to.

    What a shell hands over as `<(command)` is open already.
    """
    mode = path.stat().st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or path.parent in _OPEN_FILES


def _too_large(name: str, size: int) -> str:
    return (
        f"{name}: {size / 2**20:.0f} MB are too many to check "
        f"(the limit is {LARGEST_FILE // 2**20} MB)"
    )


def _decode(data: bytes, name: str, kind: Kind) -> tuple[str, str, tuple[SyntaxProblem, ...]]:
    """The text, the encoding that gives these bytes back, and what was wrong with them."""
    if data.startswith(_WIDE_MARKS):
        raise DocumentError(f"{name}: is UTF-16 or UTF-32 text; save it as UTF-8")
    encoding = "utf-8-sig" if data.startswith(codecs.BOM_UTF8) else "utf-8"
    declared = _declared(data) if kind == "python" and b"coding" in data[:4096] else None
    if b"\0" in data and _is_binary(data):
        raise DocumentError(f"{name}: is not a text file")
    problems: tuple[SyntaxProblem, ...] = ()
    if declared is not None:
        line, encoding_name = declared
        try:
            codec = codecs.lookup(encoding_name)
            # Some codecs turn bytes into bytes, or text into text.
            "".encode(codec.name)
        except (LookupError, ValueError):
            problems = (
                SyntaxProblem(
                    f"the file declares the encoding `{encoding_name}`, which Python does not know",
                    Location(name, line),
                    help="save the file as UTF-8 and delete the declaration",
                ),
            )
        else:
            if codec.name != "utf-8":
                encoding = codec.name
    try:
        return data.decode(encoding), encoding, problems
    except UnicodeDecodeError as error:
        if _is_binary(data):
            raise DocumentError(f"{name}: is not a text file") from None
        if kind == "python" and not problems:
            problems = (_undecodable(data, name, error, declared is not None),)
        # Every byte is a character of Latin-1, so the text can be written back as it was.
        return data.decode("latin-1"), "latin-1", problems


def _declared(data: bytes) -> tuple[int, str] | None:
    """The line and the name of a declared encoding.

    PEP 263: in a comment that stands alone on one of the first two lines.
    """
    for number, line in enumerate(data[:4096].split(b"\n", 2)[:2], start=1):
        line = line.removeprefix(codecs.BOM_UTF8)
        match = re.match(rb"[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", line)
        if match:
            return number, match.group(1).decode("ascii")
        if not re.match(rb"[ \t\f]*(?:#|\r?$)", line):
            return None
    return None


def _is_binary(data: bytes) -> bool:
    """Whether bytes that text never has are more than a slip."""
    head = data[:8192]
    strange = sum(byte < 9 or 13 < byte < 27 or 27 < byte < 32 for byte in head)
    return strange > max(2, len(head) // 50)


def _undecodable(
    data: bytes, name: str, error: UnicodeDecodeError, declared: bool
) -> SyntaxProblem:
    before = data[: error.start]
    line = before.count(b"\n") + 1
    column = error.start - (before.rfind(b"\n") + 1) + 1
    byte = f"the byte 0x{data[error.start]:02x} is not {error.encoding.upper()}"
    return SyntaxProblem(
        f"{byte}, the encoding that the file declares"
        if declared
        else f"{byte}, and the file declares no other encoding",
        Location(name, line, column, line, column + 1),
        help="save the file as UTF-8",
    )


def _null_byte(code: str, name: str) -> SyntaxProblem:
    at = code.index("\0")
    line = code.count("\n", 0, at) + 1
    column = at - (code.rfind("\n", 0, at) + 1) + 1
    return SyntaxProblem(
        "there is a null byte in the file, which Python refuses",
        Location(name, line, column, line, column + 1),
        help="delete it",
    )
