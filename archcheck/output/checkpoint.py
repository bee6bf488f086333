"""`archcheck weights`: what a checkpoint file holds, as text or JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from archcheck import __version__
from archcheck.evidence.checkpoint import Checkpoint, StateDict, Tensor
from archcheck.output.wording import byte_text, one_line, plural


def render_checkpoint(checkpoint: Checkpoint) -> str:
    """A line for each tensor of the likeliest state dict, and what else there is to know."""
    return "".join(f"{line}\n" for line in _lines(checkpoint))


def render_checkpoint_json(checkpoint: Checkpoint) -> str:
    """All that was read, as a JSON object of version 1."""
    document = {
        "version": 1,
        "archcheck": __version__,
        "file": checkpoint.path,
        "form": checkpoint.form,
        "producer": checkpoint.producer or None,
        "bytes": checkpoint.size,
        "bytes_read": checkpoint.bytes_read,
        "files": list(checkpoint.files),
        "state_dicts": [_state_json(state) for state in checkpoint.state_dicts],
        "aliases": dict(checkpoint.aliases),
        "metadata": dict(checkpoint.metadata),
        "globals": list(checkpoint.globals),
        "problems": list(checkpoint.problems),
    }
    return json.dumps(document, indent=1) + "\n"


def _state_json(state: StateDict) -> dict[str, object]:
    return {
        "keys": list(state.keys),
        "module": state.module or None,
        "tensors": [
            {
                "name": tensor.name,
                "shape": None if tensor.shape is None else list(tensor.shape),
                "dtype": tensor.dtype,
                "layout": tensor.layout,
                "class": tensor.wrapper or None,
            }
            for tensor in state.tensors
        ],
        "other_values": list(state.values),
    }


def _lines(checkpoint: Checkpoint) -> Iterator[str]:
    state = checkpoint.state_dict
    producer = f" of {one_line(checkpoint.producer)}" if checkpoint.producer else ""
    yield f"{checkpoint.path}: {checkpoint.form}{producer}, {byte_text(checkpoint.size)}"
    yield from (f"  {one_line(line)}" for line in _facts(checkpoint, state))
    yield ""
    yield from _table(state)
    yield from (f"{one_line(d)}  shares {one_line(k)}" for d, k in checkpoint.aliases.items())
    yield ""
    yield _totals(checkpoint, state)
    yield from (f"problem: {one_line(problem)}" for problem in checkpoint.problems)


def _facts(checkpoint: Checkpoint, state: StateDict) -> Iterator[str]:
    if len(checkpoint.files) > 1:
        yield f"in {plural(len(checkpoint.files), 'file')}, {checkpoint.files[0]} first"
    if state.module:
        yield f"a pickled module: torch.load imports {state.module} to open it"
    if state.keys:
        yield f"the weights stand under {state.expression}"
    others = [one.expression or "the root" for one in checkpoint.state_dicts[1:]]
    if others:
        more = f" and {len(others) - 5:,} more" if len(others) > 5 else ""
        yield f"tensors stand also under {', '.join(others[:5])}{more}"
    if not checkpoint.state_dicts and checkpoint.root_keys:
        yield f"it has no tensor; its keys are {', '.join(checkpoint.root_keys[:8])}"
    if state.values:
        yield f"no tensors: {', '.join(state.values[:8])}"
    if checkpoint.refused_by_torch:
        yield f"torch.load(weights_only=True) refuses it: it {checkpoint.refused_by_torch}"


def _table(state: StateDict) -> Iterator[str]:
    rows = [(one_line(t.name), shape_text(t), _dtype_text(t)) for t in state.tensors]
    widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
    for name, shape, dtype in rows:
        yield f"{name:<{widths[0]}}  {shape:<{widths[1]}}  {dtype}".rstrip()


def shape_text(tensor: Tensor) -> str:
    """`[64, 3, 7, 7]`, or `nested` where it has no fixed shape."""
    return "nested" if tensor.shape is None else f"[{', '.join(map(str, tensor.shape))}]"


def _dtype_text(tensor: Tensor) -> str:
    words = [tensor.dtype]
    if tensor.layout != "strided":
        words.append(tensor.layout)
    if tensor.wrapper:
        words.append(f"in {tensor.wrapper}")
    if tensor.stored_elements and tensor.stored_elements > 2 * max(tensor.count, 1):
        words.append(f"(stores {tensor.stored_elements:,} elements)")
    return " ".join(words)


def _totals(checkpoint: Checkpoint, state: StateDict) -> str:
    dtypes = Counter(tensor.dtype for tensor in state.tensors)
    kinds = ", ".join(f"{number:,} {dtype}" for dtype, number in dtypes.most_common())
    if len(dtypes) == 1:
        kinds = next(iter(dtypes))
    count = sum(tensor.count for tensor in state.tensors)
    what = f"{plural(len(state.tensors), 'tensor')}, {plural(count, 'element')}"
    read = f"read {min(checkpoint.bytes_read, checkpoint.size):,} of {checkpoint.size:,} bytes"
    return f"{what}{f', {kinds}' if kinds else ''}; {read}"
