"""Compare what eager torch says about single calls with what a trace says about them.

    python benchmarks/eager_calls.py [NAME…] [--every N] [--show]

eager_calls.txt lists a legal call of each layer, loss, function and tensor operator. Variants are
made of each: other dtypes, ranks, sizes, memory layouts, numbers, integer constants. Each variant
is run for real on the CPU and traced as archcheck traces it:

    calls     variants, and how many of them eager rejects whatever the tensors hold
    silent    eager rejects it, the trace passes
    false     eager takes it, the trace reports a failure
    differs   both take it, and the shapes or dtypes that come out are different ones
    layout    the same for strides
    climbed   the trace needed another rung than meta

A call is taken by eager if any filling of its tensors passes; integers are tried as zeros, ones.
Lines run in processes of their own: an illegal call may well crash torch itself.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import operator
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import one_call
import torch
import torch.nn.functional as F
from one_call import OneCall
from torch import Tensor, nn

from archcheck.evidence.records import ValueIndex
from archcheck.evidence.trace import Trace
from archcheck.tracing.ladder import TensorSpec, trace_module

TABLE = Path(__file__).with_suffix(".txt")
DTYPES = ("float64", "float16", "bfloat16", "int64", "int32", "uint8", "bool", "complex64")
FILLS = (0.5, 1.0, 0.0)


@dataclass(frozen=True)
class Given:
    """A tensor of a call.

    Attributes:
        layout: "" for contiguous, "strided" for other strides, "channels_last".
        constant: What fills it where forward itself makes it; None for an input.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    layout: str = ""
    constant: int | None = None


class Call(NamedTuple):
    """A function, or a layer's constructor and its input."""

    name: str
    build: tuple[tuple[Any, ...], dict[str, Any]] | None
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    what: str = ""


class Outcome(NamedTuple):
    """What became of one variant."""

    verdict: str
    call: Call
    note: str = ""


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="only functions whose names contain one of these")
    parser.add_argument("--every", type=int, default=1, help="only every Nth variant")
    parser.add_argument("--show", action="store_true", help="list what differs")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    warm_up()
    counts: Counter[str] = Counter()
    kinds: dict[str, Counter[str]] = {}
    for line in table():
        if options.names and not any(name in line for name in options.names):
            continue
        for verdict, what, note in in_child(line, options.every):
            counts[verdict] += 1
            kinds.setdefault(verdict.partition(" ")[0], Counter())[what.partition(" ")[0]] += 1
            if options.show and verdict not in ("same", "rejected", "same climbed", "unbuilt"):
                print(f"{verdict:8} {line}  [{what}]  {note}")
    total = sum(counts.values())
    print(f"\n{total} calls")
    for verdict, count in sorted(counts.items()):
        print(f"{verdict:16} {count:6}")
    return 1 if counts["silent"] + counts["false"] + counts["differs"] + counts["crash"] else 0


def table() -> list[str]:
    """The lines of legal calls."""
    return [line for line in TABLE.read_text().splitlines() if line and not line.startswith("#")]


def warm_up() -> None:
    """Import here what every child would import again: a pass of each rung needs its own."""
    for line in ("F.linear | t(2, 3), t(4, 3)", "torch.unique | t(3)", "torch.add | t(2), t(3)"):
        compared(parsed(line))


def in_child(line: str, every: int = 1) -> Iterator[tuple[str, str, str]]:
    """The verdict, the variant and a note for each variant of a line, from a forked process."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as pipe:
            for call in list(variants(parsed(line)))[::every]:
                pipe.write(json.dumps(["begun", call.what, ""]) + "\n")
                pipe.flush()
                found = compared(call)
                pipe.write(json.dumps([found.verdict, call.what, found.note]) + "\n")
        os._exit(0)
    os.close(writer)
    last = ""
    with os.fdopen(reader) as pipe:
        for row in pipe:
            verdict, what, note = json.loads(row)
            if verdict == "begun":
                last = what
            else:
                yield verdict, what, note
    if os.waitpid(process, 0)[1]:
        yield "crash", last, "the process died"


def parsed(line: str) -> Call:
    """The call of a line of the table."""
    name, *parts = [part.strip() for part in line.split("|")]
    scope = {"torch": torch, "F": F, "slice": slice, "Ellipsis": Ellipsis, "collect": _collect}
    scope |= {
        letter: lambda *shape, dtype=dtype: Given(shape, dtype)
        for letter, dtype in zip("tibc", ("float32", "int64", "bool", "complex64"), strict=True)
    }
    sides = [eval(f"collect({part})", scope) for part in parts]
    return Call(name, sides[0] if len(sides) > 1 else None, *sides[-1])


def _collect(*args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, kwargs


# Variants


def variants(call: Call) -> Iterator[Call]:
    """A legal call, and what can be made of it by one change."""
    yield call
    paths = list(_leaves((call.args, call.kwargs)))
    tensors = [(path, leaf) for path, leaf in paths if isinstance(leaf, Given)]
    for dtype in DTYPES:
        yield _with(
            call,
            [(path, replace(leaf, dtype=dtype)) for path, leaf in tensors
             if leaf.dtype == "float32"],
            f"dtype of all: {dtype}",
        )  # fmt: skip
    for number, (path, leaf) in enumerate(tensors):
        for what, other in _changed(leaf):
            yield _with(call, [(path, other)], f"{what} of {number}: {other.shape}")
        for dtype in DTYPES if len(tensors) > 1 or leaf.dtype != "float32" else ():
            if dtype != leaf.dtype:
                yield _with(
                    call, [(path, replace(leaf, dtype=dtype))], f"dtype of {number}: {dtype}"
                )
    for path, leaf in paths:
        for other in _numbers(leaf):
            yield _with(call, [(path, other)], f"number at {path}: {other}")
    if call.build is not None:
        for path, leaf in _leaves(call.build):
            for other in _numbers(leaf):
                build = _put(call.build, path, other)
                yield call._replace(build=build, what=f"option at {path}: {other}")


def _changed(leaf: Given) -> Iterator[tuple[str, Given]]:
    shape = leaf.shape
    yield "rank", replace(leaf, shape=(1, *shape))
    yield "rank", replace(leaf, shape=(2, *shape))
    if shape:
        yield "rank", replace(leaf, shape=shape[1:])
        yield "rank", replace(leaf, shape=shape[:-1])
        yield "rank", replace(leaf, shape=())
    for place, size in enumerate(shape):
        for other in {size + 1, 1, 2 * size} - {size}:
            yield "size", replace(leaf, shape=(*shape[:place], other, *shape[place + 1 :]))
    if len(shape) > 1:
        yield "layout", replace(leaf, layout="strided")
    if len(shape) == 4:
        yield "layout", replace(leaf, layout="channels_last")
    if len(shape) == 5:
        yield "layout", replace(leaf, layout="channels_last_3d")
    if leaf.dtype in ("int64", "bool"):
        for constant in (0, 1, 1000, -1):
            yield f"constant={constant}", replace(leaf, constant=constant)


def _numbers(leaf: Any) -> Iterator[Any]:
    if type(leaf) is int:
        yield from {0, -1, -2, leaf + 1, leaf * 2, 100, -100} - {leaf}
        yield from (1.5, None, True)
    elif type(leaf) is float:
        yield from (0.0, -1.0, 2.0, 1e10, -1e5, 1, None)
    elif type(leaf) is bool:
        yield not leaf


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, list | tuple):
        for place, item in enumerate(value):
            yield from _leaves(item, (*path, place))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    else:
        yield path, value


def _put(nest: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    if isinstance(nest, dict):
        return {key: _put(v, path[1:], value) if key == path[0] else v for key, v in nest.items()}
    items = [_put(v, path[1:], value) if i == path[0] else v for i, v in enumerate(nest)]
    return type(nest)(items)


def _with(call: Call, changes: Sequence[tuple[tuple[Any, ...], Any]], what: str) -> Call:
    nest: Any = (call.args, call.kwargs)
    for path, value in changes:
        nest = _put(nest, path, value)
    return call._replace(args=nest[0], kwargs=nest[1], what=what)


# Running


def built(call: Call) -> OneCall:
    """The module that makes a call."""
    run = _function(call)
    if call.build is not None:
        run = run(*call.build[0], **call.build[1])
    nest = (call.args, call.kwargs)
    return OneCall(run, lambda inputs: _filled(nest, inputs))


def _function(call: Call) -> Callable[..., Any]:
    owners = {"torch": torch, "F": F, "Tensor": Tensor, "operator": operator, "nn": nn}
    first, *rest = call.name.split(".")
    found: Any = owners[first]
    for name in rest:
        found = getattr(found, name)
    return found


def _filled(nest: Any, inputs: Iterator[Any]) -> Any:
    if isinstance(nest, Given):
        if nest.constant is not None:
            return torch.full(nest.shape, nest.constant, dtype=getattr(torch, nest.dtype))
        given = next(inputs)
        if nest.layout == "strided":
            return given.transpose(0, -1)
        return given.to(memory_format=getattr(torch, nest.layout)) if nest.layout else given
    if isinstance(nest, list | tuple):
        return type(nest)([_filled(item, inputs) for item in nest])
    if isinstance(nest, dict):
        return {key: _filled(item, inputs) for key, item in nest.items()}
    return nest


def _input_shapes(call: Call) -> list[Given]:
    found = []
    for _, leaf in _leaves((call.args, call.kwargs)):
        if isinstance(leaf, Given) and leaf.constant is None:
            shape = leaf.shape
            if leaf.layout == "strided":
                shape = (shape[-1], *shape[1:-1], shape[0])
            found.append(replace(leaf, shape=shape))
    return found


def compared(call: Call) -> Outcome:
    """What eager and the trace say about a call."""
    try:
        built(call)
    except Exception:
        return Outcome("unbuilt", call)
    error, real = in_eager(call)
    trace = traced(call)
    climbed = "" if trace.rung == "meta" else " climbed"
    if error is not None:
        if trace.failures:
            return Outcome("rejected", call)
        return Outcome("silent", call, f"{type(error).__name__}: {str(error)[:110]}")
    if trace.failures or not trace.complete:
        said = trace.failures[0].message if trace.failures else str(trace.steps)
        return Outcome("false", call, said[:130])
    seen = _traced_kinds(trace, trace.outputs)
    kinds = _kinds(real)
    if [kind[:2] for kind in seen] != [kind[:2] for kind in kinds]:
        return Outcome("differs", call, f"eager {kinds}, trace {seen}")
    if seen != kinds:
        return Outcome("layout", call, f"eager {kinds}, trace {seen}")
    return Outcome(f"same{climbed}", call)


def in_eager(call: Call) -> tuple[Exception | None, Any]:
    """The exception that eager raises for every filling, or else what it returned."""
    first: Exception | None = None
    for fill in FILLS:
        inputs = []
        for given in _input_shapes(call):
            dtype = getattr(torch, given.dtype)
            whole = not (dtype.is_floating_point or dtype.is_complex)
            inputs.append(torch.full(given.shape, fill, dtype=torch.float64).to(dtype))
            if whole and fill == 0.5:
                inputs[-1].zero_()
        try:
            return None, built(call)(*inputs)
        except Exception as error:
            first = first or error
    return first, None


def traced(call: Call) -> Trace:
    """The trace of a call."""
    specs = [TensorSpec(given.shape, given.dtype) for given in _input_shapes(call)]
    with contextlib.redirect_stderr(io.StringIO()):
        return trace_module(
            lambda: built(call), specs, path=one_call.__file__, user_files=[one_call.__file__]
        )


def _kinds(value: Any) -> list[tuple[Any, ...]]:
    if isinstance(value, Tensor):
        return [(tuple(value.shape), str(value.dtype)[6:], value.stride())]
    if isinstance(value, list | tuple):
        return [kind for item in value for kind in _kinds(item)]
    return []


def _traced_kinds(trace: Trace, nest: Any) -> list[tuple[Any, ...]]:
    if isinstance(nest, ValueIndex):
        value = trace.values[nest.index]
        return [(tuple(value.shape), value.dtype, tuple(value.stride))]
    if isinstance(nest, list | tuple):
        return [kind for item in nest for kind in _traced_kinds(trace, item)]
    if isinstance(nest, dict):
        return [kind for item in nest.values() for kind in _traced_kinds(trace, item)]
    return []


if __name__ == "__main__":
    sys.exit(main())
