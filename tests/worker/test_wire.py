"""What the parent takes from a worker: evidence, and nothing else."""

from __future__ import annotations

import enum
import io
import os
import pickle
from collections import OrderedDict
from typing import Any, NamedTuple

import pytest

from archcheck.core.finding import Location
from archcheck.evidence.records import Failure, Op, Value, ValueIndex
from archcheck.evidence.trace import Trace
from archcheck.worker.process.wire import Message, receive, receive_evidence, send, send_evidence

TRACE = Trace(
    target="net.py:Net",
    path="net.py",
    ops=(
        Op(
            0,
            "linear",
            "torch.nn.functional.linear",
            (0,),
            (1,),
            {"input": ValueIndex(0), "dims": (1, 2), "scale": 1 + 2j, "key": slice(1), "e": ...},
            location=Location("net.py", 3, 5),
        ),
    ),
    values=(Value(0, (8, 3), "float32", "input"),),
    failures=(Failure("forward", "RuntimeError", "no", Location("net.py", 3)),),
)


def stream(content: object) -> io.BytesIO:
    held = io.BytesIO()
    send(held, content)
    held.seek(0)
    return held


def test_a_trace_comes_through_as_it_was() -> None:
    assert receive_evidence(stream(("trace", 3, TRACE))) == Message("trace", 3, TRACE)


class Format(enum.StrEnum):
    ROWS = "rows"


class Pair(NamedTuple):
    left: int
    right: int


def test_what_a_model_slips_in_becomes_plain() -> None:
    held = io.BytesIO()
    nest = {"a": Format.ROWS, "b": Pair(1, 2), "c": Evil(), "d": OrderedDict(x=True), "e": print}
    send_evidence(held, ("trace", 0, [TRACE, nest]))
    held.seek(0)
    message = receive_evidence(held)
    assert message is not None
    trace, plain = message.content
    assert trace == TRACE
    assert plain == {
        "a": "rows",
        "b": (1, 2),
        "c": "Evil",
        "d": {"x": True},
        "e": "builtin_function_or_method",
    }
    assert [type(value) for value in plain.values()] == [str, tuple, str, dict, str]


def test_a_request_comes_through_to_the_worker() -> None:
    assert receive(stream((1, "request"))) == (1, "request")


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


@pytest.mark.parametrize(
    "content",
    [
        ("trace", 0, Evil()),
        ("trace", 0, print),
        ("trace", 0, {"a": [os.getcwd]}),
        # Names that the evidence's modules hold, but did not make.
        ("trace", 0, pickle.PickleBuffer),
        "no message",
        ("too", "short"),
    ],
)
def test_anything_else_is_refused(content: object) -> None:
    with pytest.raises(pickle.UnpicklingError):
        receive_evidence(stream(content))


@pytest.mark.parametrize(
    "name", ["field", "dataclass", "Any", "Location.covers", "cached_property"]
)
def test_what_the_modules_of_evidence_import_is_no_evidence(name: str) -> None:
    code = b"\x80\x04\x8c\x12archcheck.evidence\x8c" + bytes([len(name)]) + name.encode() + b"\x93."
    held = io.BytesIO(len(code).to_bytes(8, "little") + code)
    with pytest.raises(pickle.UnpicklingError):
        receive_evidence(held)


def test_a_cut_or_broken_stream_is_no_message() -> None:
    whole = stream(("ready", 0, None)).getvalue()
    assert receive_evidence(io.BytesIO(whole[:-1])) is None
    assert receive_evidence(io.BytesIO(b"")) is None
    with pytest.raises(pickle.UnpicklingError):
        receive_evidence(io.BytesIO((4).to_bytes(8, "little") + b"abcd"))
