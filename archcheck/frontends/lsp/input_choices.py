"""Other inputs for a model that was traced, and where a choice is kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from archcheck.core.config import Model, read_config
from archcheck.core.target import Shape
from archcheck.evidence.dataflow import indices
from archcheck.evidence.target_summary import Tensor
from archcheck.frontends.lsp.traces import Traced


def choices(traced: Traced) -> dict[str, Model]:
    """What else the model could be traced with, by what an editor shows of it."""
    model, report = traced.model, traced.report
    found: dict[str, Model] = {}
    tensors = report.inputs
    if tensors and all(tensor.name.isidentifier() and tensor.shape for tensor in tensors):
        for shapes in _other_shapes(traced):
            inputs = _inputs(tensors, shapes)
            found[" ".join(inputs)] = replace(model, inputs=inputs)
    other = "eval" if report.mode == "train" else "train"
    found[f"{other} mode"] = replace(model, mode="eval" if other == "eval" else "train")
    if model.inputs:
        found["what archcheck infers"] = replace(model, inputs=())
    return found


def current_inputs(traced: Traced) -> tuple[str, ...]:
    """The inputs that it was traced with, as `--input` writes them."""
    if traced.model.inputs:
        return traced.model.inputs
    tensors = traced.report.inputs
    return _inputs(tensors, tuple(tensor.shape for tensor in tensors))


def with_model(text: str, model: Model, inputs: tuple[str, ...], target: str) -> str:
    """A pyproject.toml's text with this model among those that are traced.

    Args:
        target: The model's target, relative to the file.
    """
    entry = ["[[tool.archcheck.models]]", f"target = {_quoted(target)}"]
    if inputs:
        entry.append(f"input = [{', '.join(map(_quoted, inputs))}]")
    if model.mode:
        entry.append(f"mode = {_quoted(model.mode)}")
    before = text.rstrip("\n")
    return "\n".join(([before, ""] if before else []) + entry) + "\n"


def _other_shapes(traced: Traced) -> Iterator[tuple[Shape, ...]]:
    """The same with one sample, with two, and at both ends of the sizes that the model takes."""
    tensors = traced.report.inputs
    now = tuple(tensor.shape for tensor in tensors)
    seen = {now}

    def new(shapes: tuple[Shape, ...]) -> bool:
        if shapes in seen:
            return False
        seen.add(shapes)
        return True

    batches = {shape[0] for shape in now}
    if len(batches) == 1:
        for batch in (1, 2):
            shapes = tuple((batch, *shape[1:]) for shape in now)
            if new(shapes):
                yield shapes
    for end in ("low", "high"):
        changed: dict[tuple[int, int], int] = {}
        for sizes in traced.report.trace.valid_input_sizes:
            size = sizes.low if end == "low" else sizes.high
            if size < sizes.searched:
                changed.update(dict.fromkeys(sizes.axes, size))
        shapes = _with_sizes(traced, now, changed)
        if changed and new(shapes):
            yield shapes


def _with_sizes(
    traced: Traced, shapes: tuple[Shape, ...], changed: Mapping[tuple[int, int], int]
) -> tuple[Shape, ...]:
    values = [index for given in traced.report.trace.inputs for index in indices(given.value)]
    return tuple(
        tuple(changed.get((index, axis), size) for axis, size in enumerate(shape))
        for index, shape in zip(values, shapes, strict=True)
    )


def _inputs(tensors: tuple[Tensor, ...], shapes: tuple[Shape, ...]) -> tuple[str, ...]:
    return tuple(
        f"{tensor.name}={','.join(map(str, shape))}"
        + ("" if tensor.dtype == "float32" else f":{tensor.dtype}")
        for tensor, shape in zip(tensors, shapes, strict=True)
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def pyproject_of(path: str) -> Path:
    """The pyproject.toml that a file's models are to be named in: the one that its settings come
    from, else the nearest one, else one in the working directory.

    Raises:
        UsageError: The settings are wrong.
    """
    folder = Path(path).absolute().parent
    _, root = read_config(folder)
    for place in (root, folder, *folder.parents):
        found = place / "pyproject.toml"
        if found.is_file():
            return found
    return Path.cwd() / "pyproject.toml"
