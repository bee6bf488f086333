"""Torch's zip archives: `.pt`, `.pth`, `.bin`, `.ckpt`, TorchScript, exported programs."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import IO, cast

from archcheck.checkpoints.byte_source import LARGEST_PIECE, ByteSource
from archcheck.checkpoints.exported_program import exported_state
from archcheck.checkpoints.pickle_opcodes import PickleError, protocol_of, read_pickle
from archcheck.checkpoints.torch_objects import plain_values, root_keys, state_dicts_in
from archcheck.checkpoints.torch_script import ScriptedModules
from archcheck.checkpoints.torch_tensors import item_bytes
from archcheck.evidence.checkpoint import Checkpoint, CheckpointError, Form, StateDict

LARGEST_CODE = 16 * 2**20
MOST_RECORDS = 2_000_000
END_RECORD = 22


def read_torch_zip(source: ByteSource) -> Checkpoint:
    """Read the directory at the end and the pickle, and nothing else.

    Raises:
        CheckpointError: It is cut short, or no checkpoint.
    """
    records, archive = _directory(source)
    root = _root(records, source.path)
    if root is None:
        return _exported(source, archive, records)
    scripted = f"{root}constants.pkl" in records
    form: Form = "TorchScript archive" if scripted else "torch zip archive"
    data = _record(archive, records[f"{root}data.pkl"], source.path)
    try:
        value, _, names = read_pickle(data)
        if scripted:
            code = partial(_text_of, archive, records, root)
            found: tuple[StateDict, ...] = (ScriptedModules(code).state_dict(value),)
        else:
            found = state_dicts_in(value)
    except (PickleError, CheckpointError) as error:
        raise CheckpointError(f"{source.path}: its pickle is damaged: {error}") from None
    metadata = plain_values(value)
    version = metadata.get("pytorch-lightning_version")
    return Checkpoint(
        path=source.path,
        form=form,
        size=source.size,
        bytes_read=source.bytes_read,
        state_dicts=found,
        root_keys=root_keys(value),
        metadata=metadata,
        globals=names,
        pickle_protocol=protocol_of(data),
        producer=f"Lightning {version}" if version else "",
        problems=tuple(_problems(records, root, found)),
    )


def _directory(source: ByteSource) -> tuple[Mapping[str, zipfile.ZipInfo], zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(cast(IO[bytes], source))
        # An archive inside this one has a directory too, which a file that is cut short ends in.
        end = source.size - END_RECORD - len(archive.comment)
        if source.at(end, 4) != b"PK\x05\x06":
            raise zipfile.BadZipFile
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, OverflowError):
        raise CheckpointError(
            f"{source.path} is cut short or damaged: it begins as a zip archive and has no "
            "directory at its end; copy or download it again"
        ) from None
    if len(archive.filelist) > MOST_RECORDS:
        raise CheckpointError(f"{source.path} has more records than any checkpoint")
    return {info.filename: info for info in archive.filelist}, archive


def _root(records: Mapping[str, zipfile.ZipInfo], path: str) -> str | None:
    """Return the folder of the pickle inside the archive; None for an exported program."""
    names = [name for name in records if name == "data.pkl" or name.endswith("/data.pkl")]
    if names:
        return min(names, key=len).removesuffix("data.pkl")
    if any(name.rpartition("/")[2] in _EXPORTED for name in records):
        return None
    raise CheckpointError(
        f"{path} is a zip archive and no checkpoint: it has no data.pkl"
        f"{_first_names(list(records))}"
    )


_EXPORTED = ("archive_format", "serialized_exported_program.json")


def _first_names(names: Sequence[str]) -> str:
    return f", but {', '.join(map(repr, names[:3]))}" if names else ""


def _record(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: str) -> bytes:
    if info.file_size > LARGEST_PIECE:
        raise CheckpointError(f"{path}: {info.filename} is larger than any checkpoint's")
    try:
        with archive.open(info) as file:
            data = file.read(LARGEST_PIECE)
    except Exception as error:  # zlib, lzma and zipfile have errors of their own
        raise CheckpointError(f"{path}: {info.filename} is damaged ({error})") from None
    return data


def _text_of(
    archive: zipfile.ZipFile, records: Mapping[str, zipfile.ZipInfo], root: str, name: str
) -> str:
    """Return the text of a member; "" where there is none, or one too large for code."""
    info = records.get(root + name)
    if info is None or info.file_size > LARGEST_CODE:
        return ""
    return _record(archive, info, name).decode("utf-8", "replace")


def _exported(
    source: ByteSource, archive: zipfile.ZipFile, records: Mapping[str, zipfile.ZipInfo]
) -> Checkpoint:
    texts = {
        name: _record(archive, info, source.path)
        for name, info in records.items()
        if name.endswith("model_weights_config.json")
    }
    return Checkpoint(
        path=source.path,
        form="exported program",
        size=source.size,
        bytes_read=source.bytes_read,
        state_dicts=exported_state(texts, source.path),
    )


def _problems(
    records: Mapping[str, zipfile.ZipInfo], root: str, found: Sequence[StateDict]
) -> Iterator[str]:
    """Yield what is wrong with the archive: names that climb, records missing or too small."""
    climbing = [name for name in records if _climbs(name)]
    if climbing:
        yield f"a name inside climbs out of the archive: {climbing[0]!r}"
    missing, short = set(), set()
    for state in found:
        for tensor in state.tensors:
            if not tensor.storage or tensor.layout == "meta":
                continue
            record = records.get(f"{root}data/{tensor.storage}")
            if record is None:
                missing.add(tensor.name)
            elif tensor.stored_elements is not None and record.file_size < (
                tensor.stored_elements * item_bytes(tensor.dtype)
            ):
                short.add(tensor.name)
    for names, what in ((missing, "no data"), (short, "less data than its shape says")):
        if names:
            yield f"{_listed(sorted(names))} {'has' if len(names) == 1 else 'have'} {what}"


def _climbs(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]


def _listed(names: Sequence[str], most: int = 3) -> str:
    shown = ", ".join(map(repr, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"
