"""The Python that opens a checkpoint, by its own library."""

from __future__ import annotations

from collections.abc import Iterator

from archcheck.analysis.state_dicts.steps import quoted
from archcheck.evidence.checkpoint import Checkpoint


def loading_code(checkpoint: Checkpoint) -> list[str]:
    """Return the lines that bind `checkpoint` to the object that the file holds."""
    return list(_lines(checkpoint))


def _lines(checkpoint: Checkpoint) -> Iterator[str]:
    path = quoted(checkpoint.path)
    match checkpoint.form:
        case "safetensors":
            yield "from safetensors.torch import load_file"
            yield from _joined(checkpoint, "load_file({})")
        case "GGUF":
            yield "import torch"
            yield "from gguf import GGUFReader, dequantize"
            yield "checkpoint = {"
            yield "    t.name: torch.from_numpy(dequantize(t.data, t.tensor_type))"
            yield f"    for t in GGUFReader({path}).tensors"
            yield "}"
        case "distributed checkpoint":
            yield "import torch"
            yield "from torch.distributed.checkpoint.format_utils import dcp_to_torch_save"
            yield f'dcp_to_torch_save({path}, "full.pt")'
            yield 'checkpoint = torch.load("full.pt", weights_only=False)'
        case "TorchScript archive":
            yield "import torch"
            yield f"checkpoint = torch.jit.load({path}).state_dict()"
        case "exported program":
            yield "import torch"
            yield f"checkpoint = torch.export.load({path}).state_dict"
        case _:
            yield "import torch"
            refused = checkpoint.refused_by_torch
            trusted = ", weights_only=False" if refused else ""
            if refused:
                # A name inside the file must not end the comment.
                why = " ".join(refused.split())
                yield f"# This runs the file's pickle, which {why}: trust it first."
            yield from _joined(checkpoint, f'torch.load({{}}, map_location="cpu"{trusted})')


def _joined(checkpoint: Checkpoint, load: str) -> Iterator[str]:
    """Yield what loads one file, or several that an index names."""
    places = [quoted(path) for path in _paths(checkpoint)]
    if len(places) == 1:
        yield f"checkpoint = {load.format(places[0])}"
        return
    yield "checkpoint = {}"
    yield "for file in ("
    yield from (f"    {place}," for place in places)
    yield "):"
    yield f"    checkpoint |= {load.format('file')}"


def _paths(checkpoint: Checkpoint) -> list[str]:
    """Return the files that hold the tensors: the path's own, or those beside or inside it."""
    if not checkpoint.files:
        return [checkpoint.path]
    path = checkpoint.path.replace("\\", "/")
    inside = checkpoint.producer == "PEFT"
    folder = f"{path.rstrip('/')}/" if inside else path[: path.rfind("/") + 1]
    return [f"{folder}{name}" for name in checkpoint.files]
