"""Adapter folders of PEFT: `adapter_config.json` beside the adapter's own tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from archcheck.checkpoints.bounded_json import parse_object
from archcheck.checkpoints.byte_source import ByteSource
from archcheck.evidence.checkpoint import Checkpoint, CheckpointError

CONFIG = "adapter_config.json"
_FILES = ("adapter_model.safetensors", "adapter_model.bin")
_KEPT = ("peft_type", "base_model_name_or_path", "r", "lora_alpha", "task_type", "use_dora")


def read_adapter(folder: Path, read_file: Callable[[str], Checkpoint]) -> Checkpoint:
    """Read the configuration and the head of the adapter's file.

    Raises:
        CheckpointError: A file is missing or damaged.
    """
    with ByteSource(str(folder / CONFIG)) as source:
        data = source.at(0, min(source.size, 2**22))
    config = parse_object(data, str(folder / CONFIG)).value
    file = next((folder / name for name in _FILES if (folder / name).is_file()), None)
    if file is None:
        raise CheckpointError(f"{folder} has {CONFIG} and no {' or '.join(_FILES)}")
    checkpoint = read_file(str(file))
    told = {key: str(config[key]) for key in _KEPT if config.get(key) is not None}
    modules = config.get("target_modules")
    if isinstance(modules, list):
        told["target_modules"] = ", ".join(sorted(map(str, modules)))
    return replace(
        checkpoint,
        path=str(folder),
        bytes_read=checkpoint.bytes_read + len(data),
        metadata={**checkpoint.metadata, **told},
        files=(file.name,),
        producer="PEFT",
    )
