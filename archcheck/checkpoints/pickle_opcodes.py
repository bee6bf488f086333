"""Read a pickle's opcodes as a description of what it would build.

Nothing that a pickle names is imported, and nothing is called: a global becomes its name, a call
becomes a record of a name and its arguments. The stack machine is the one of `pickletools`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

MOST_OPCODES = 60_000_000


class PickleError(Exception):
    """The bytes are no pickle, or one that ends too early."""


class PickleTruncated(PickleError):
    """The pickle goes on behind the bytes at hand."""


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function by its full name."""

    name: str


@dataclass(frozen=True, slots=True, eq=False)
class Persistent:
    """What stands outside the pickle, by its id: a storage, in torch's files."""

    id: Any


@dataclass(slots=True, eq=False)
class Call:
    """A call that the pickle asks for, and what it would do to the result."""

    function: Any
    arguments: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)
    entries: list[Any] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The full name of the function, "" where that is itself computed."""
        return self.function.name if isinstance(self.function, Global) else ""


class _Mark:
    """Where the arguments of an opcode begin on the stack."""


_MARK = _Mark()


class _Reader:
    """The stack, the memo and the position in the bytes."""

    def __init__(self, data: bytes, start: int) -> None:
        self.data = data
        self.position = start
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.globals: dict[str, Global] = {}

    def take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0:
            raise PickleError("a negative length")
        if end > len(self.data):
            raise PickleTruncated("it ends inside a value")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        return _text(self.raw_line())

    def raw_line(self) -> bytes:
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise PickleTruncated("it ends inside a line")
        text = self.data[self.position : end]
        self.position = end + 1
        return text

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise PickleError("a value is missing on its stack")
        return value

    def since_mark(self) -> list[Any]:
        for index in range(len(self.stack) - 1, -1, -1):
            if self.stack[index] is _MARK:
                values = self.stack[index + 1 :]
                del self.stack[index:]
                return values
        raise PickleError("a mark is missing on its stack")

    def named(self, module: Any, name: Any) -> Global:
        full = f"{module}.{name}"
        return self.globals.setdefault(full, Global(full))


def _text(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def read_pickle(data: bytes, start: int = 0) -> tuple[Any, int, tuple[str, ...]]:
    """Return what a pickle describes, where it ends, and the globals that it names.

    Raises:
        PickleTruncated: The bytes end before the pickle does.
        PickleError: They are no pickle.
    """
    reader = _Reader(data, start)
    try:
        for _ in range(MOST_OPCODES):
            if reader.position >= len(data):
                raise PickleTruncated("it ends without its last opcode")
            opcode = data[reader.position]
            reader.position += 1
            if opcode == _STOP:
                return reader.pop(), reader.position, tuple(reader.globals)
            _OPCODES[opcode](reader)
    except KeyError:
        raise PickleError("it has an unknown opcode, or recalls what it never kept") from None
    except (IndexError, TypeError, ValueError, OverflowError, AttributeError):
        raise PickleError("its opcodes do not fit together") from None
    raise PickleError("it has more opcodes than any checkpoint")


_STOP = ord(".")


def protocol_of(data: bytes, start: int = 0) -> int:
    """Return the protocol that a pickle says it is of; those before 2 say nothing."""
    return data[start + 1] if data[start : start + 1] == b"\x80" and len(data) > start + 1 else 0


# Containers and objects ---------------------------------------------------------------------------


def _key(value: Any) -> Any:
    """What stands for a key: hashing an arbitrary nest of tuples could exhaust the C stack."""
    if isinstance(value, str | int | float | bytes | None | Global):
        return value
    if isinstance(value, tuple) and all(isinstance(v, str | int | float | None) for v in value):
        return value
    return Persistent(value)


def _set_items(reader: _Reader) -> None:
    values = reader.since_mark()
    _update(reader.stack[-1], values)


def _set_item(reader: _Reader) -> None:
    value, key = reader.pop(), reader.pop()
    _update(reader.stack[-1], [key, value])


def _update(target: Any, values: list[Any]) -> None:
    items = target.items if isinstance(target, Call) else target
    if isinstance(items, dict):
        for key, value in zip(values[::2], values[1::2], strict=True):
            items[_key(key)] = value


def _append(reader: _Reader) -> None:
    value = reader.pop()
    _extend(reader.stack[-1], [value])


def _appends(reader: _Reader) -> None:
    values = reader.since_mark()
    _extend(reader.stack[-1], values)


def _extend(target: Any, values: list[Any]) -> None:
    entries = target.entries if isinstance(target, Call) else target
    if isinstance(entries, list):
        entries.extend(values)


def _dict(reader: _Reader) -> None:
    values = reader.since_mark()
    made: dict[Any, Any] = {}
    _update(made, values)
    reader.push(made)


def _reduce(reader: _Reader) -> None:
    arguments, function = reader.pop(), reader.pop()
    reader.push(Call(function, arguments if isinstance(arguments, tuple) else (arguments,)))


def _new_object_with_keywords(reader: _Reader) -> None:
    reader.pop()
    _reduce(reader)


def _build(reader: _Reader) -> None:
    state = reader.pop()
    target = reader.stack[-1]
    if isinstance(target, Call):
        target.state = state


def _instance(reader: _Reader) -> None:
    function = reader.named(reader.line(), reader.line())
    reader.push(Call(function, tuple(reader.since_mark())))


def _object(reader: _Reader) -> None:
    function, *arguments = reader.since_mark()
    reader.push(Call(function, tuple(arguments)))


def _global(reader: _Reader) -> None:
    module = reader.line()
    reader.push(reader.named(module, reader.line()))


def _stack_global(reader: _Reader) -> None:
    name, module = reader.pop(), reader.pop()
    if not (isinstance(name, str) and isinstance(module, str)):
        raise PickleError("a global has no name")
    reader.push(reader.named(module, name))


def _extension(form: str) -> Callable[[_Reader], None]:
    return lambda reader: reader.push(reader.named("copyreg", f"extension {reader.number(form)}"))


# The memo -----------------------------------------------------------------------------------------


def _keep(reader: _Reader, index: int) -> None:
    if not reader.stack or reader.stack[-1] is _MARK:
        raise PickleError("nothing stands on its stack to be kept")
    reader.memo[index] = reader.stack[-1]


def _drop(reader: _Reader) -> None:
    reader.stack.pop()


# Numbers and texts --------------------------------------------------------------------------------


def _integer_line(reader: _Reader) -> None:
    text = reader.line()
    reader.push({"00": False, "01": True}.get(text) if text in ("00", "01") else int(text))


def _pushed(read: Callable[[_Reader], Any]) -> Callable[[_Reader], None]:
    return lambda reader: reader.push(read(reader))


def _number(form: str) -> Callable[[_Reader], None]:
    return _pushed(lambda reader: reader.number(form))


def _constant(value: Any) -> Callable[[_Reader], None]:
    return lambda reader: reader.push(value)


def _counted(form: str, convert: Callable[[bytes], Any] = bytes) -> Callable[[_Reader], None]:
    return _pushed(lambda reader: convert(reader.take(reader.number(form))))


def _long(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


def _quoted(reader: _Reader) -> str:
    return reader.line()[1:-1].encode().decode("unicode_escape")


_Opcode: TypeAlias = Callable[[_Reader], None]
_OPCODES: Mapping[int, _Opcode] = {
    ord(opcode): action
    for opcode, action in {
        "(": _constant(_MARK),
        "0": _drop,
        "1": lambda r: r.since_mark() and None,
        "2": lambda r: r.push(r.stack[-1]),
        "N": _constant(None),
        "\x88": _constant(True),
        "\x89": _constant(False),
        "I": _integer_line,
        "L": _pushed(lambda r: int(r.line().rstrip("L"))),
        "F": _pushed(lambda r: float(r.line())),
        "J": _number("<i"),
        "K": _number("<B"),
        "M": _number("<H"),
        "G": _number(">d"),
        "\x8a": _counted("<B", _long),
        "\x8b": _counted("<i", _long),
        "S": _pushed(_quoted),
        "T": _counted("<i", _text),
        "U": _counted("<B", _text),
        "V": _pushed(lambda r: r.raw_line().decode("raw-unicode-escape")),
        "X": _counted("<I", _text),
        "\x8c": _counted("<B", _text),
        "\x8d": _counted("<Q", _text),
        "B": _counted("<I"),
        "C": _counted("<B"),
        "\x8e": _counted("<Q"),
        "\x96": _counted("<Q"),
        "]": lambda r: r.push([]),
        ")": _constant(()),
        "}": lambda r: r.push({}),
        "\x8f": lambda r: r.push([]),
        "l": lambda r: r.push(r.since_mark()),
        "t": lambda r: r.push(tuple(r.since_mark())),
        "\x91": lambda r: r.push(tuple(r.since_mark())),
        "\x85": lambda r: r.push((r.pop(),)),
        "\x86": lambda r: r.push((r.pop(), r.pop())[::-1]),
        "\x87": lambda r: r.push((r.pop(), r.pop(), r.pop())[::-1]),
        "d": _dict,
        "a": _append,
        "e": _appends,
        "\x90": _appends,
        "s": _set_item,
        "u": _set_items,
        "g": lambda r: r.push(r.memo[int(r.line())]),
        "h": lambda r: r.push(r.memo[r.number("<B")]),
        "j": lambda r: r.push(r.memo[r.number("<I")]),
        "p": lambda r: _keep(r, int(r.line())),
        "q": lambda r: _keep(r, r.number("<B")),
        "r": lambda r: _keep(r, r.number("<I")),
        "\x94": lambda r: _keep(r, len(r.memo)),
        "c": _global,
        "\x93": _stack_global,
        "R": _reduce,
        "\x81": _reduce,
        "\x92": _new_object_with_keywords,
        "b": _build,
        "i": _instance,
        "o": _object,
        "\x82": _extension("<B"),
        "\x83": _extension("<H"),
        "\x84": _extension("<i"),
        "P": _pushed(lambda r: Persistent(r.line())),
        "Q": _pushed(lambda r: Persistent(r.pop())),
        "\x80": lambda r: r.number("<B") and None,
        "\x95": lambda r: r.number("<Q") and None,
        "\x97": _constant(None),
        "\x98": lambda r: None,
    }.items()
}
