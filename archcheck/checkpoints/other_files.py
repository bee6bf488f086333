"""Files that are taken for checkpoints and are none, by their first bytes."""

from __future__ import annotations

import re

from archcheck.checkpoints.byte_source import ByteSource
from archcheck.checkpoints.pickle_opcodes import PickleError, PickleTruncated, read_pickle

_LFS = b"version https://git-lfs"
_SIZE = re.compile(rb"^size (\d{1,20})$", re.MULTILINE)


def what_it_is(head: bytes, source: ByteSource) -> str:
    """Return a sentence about a file that no reader knows: what it is, and what to do."""
    if not head:
        return "is empty: copy or download it again"
    start = head.lstrip()[:512].lower()
    if head.startswith(_LFS):
        size = _SIZE.search(source.at(0, 1024))
        real = f" of a file of {int(size[1]):,} bytes" if size else ""
        return f"is a pointer of Git LFS{real}: run `git lfs pull`"
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return (
            "is a web page and no checkpoint: the link led to a page (a login, a confirmation), "
            "download the file itself"
        )
    if head[257:262] == b"ustar":
        return "is a tar archive: torch before 0.1.10 saved so; unpack it, or load and save it anew"
    if head.startswith(b"\x1f\x8b"):
        return "is compressed with gzip: unpack it first"
    if head.startswith(b"\x89HDF"):
        return "is an HDF5 file, of Keras: it holds no torch weights"
    if head.startswith((b"\x93NUMPY",)):
        return "is a numpy array"
    if head[:1] == b"\x80" and head[1:2] <= b"\x05":
        return _pickled(source)
    return "is no checkpoint that archcheck knows: it is neither safetensors, torch's nor GGUF"


def _pickled(source: ByteSource) -> str:
    """Tell a pickle that torch did not write from one that is cut short."""
    try:
        read_pickle(source.at(0, min(source.size, 2**22)))
    except PickleTruncated:
        if source.size <= 2**22:
            return "is a pickle that is cut short: copy or download it again"
    except PickleError:
        return "is no checkpoint that archcheck knows: it begins like a pickle, and is none"
    return "is a plain pickle that torch.save did not write: its arrays have no table of names"
