"""Files that nobody vouches for: one line says what is wrong, and nothing of them is run."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import sys
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from checkpoint_files import WRITERS, tar_file
from command import archcheck
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from archcheck.checkpoints import CheckpointError, read_checkpoint
from archcheck.checkpoints.pickle_opcodes import PickleError, read_pickle

pytestmark = pytest.mark.slow

LFS = b"""version https://git-lfs.github.com/spec/v1
oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393
size 46827520
"""
FORMS = ("plain", "legacy", "nested", "torchscript", "safetensors_file", "gguf_file", "exported")


def safetensors_bytes(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(begin: int, end: int, shape: tuple[int, ...] | None = None) -> dict[str, object]:
    sizes = [(end - begin) // 4] if shape is None else list(shape)
    return {"dtype": "F32", "shape": sizes, "data_offsets": [begin, end]}


def zip_bytes(**members: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


NO_CHECKPOINTS = {
    "a pointer of Git LFS of a file of 46,827,520 bytes: run `git lfs pull`": LFS,
    "is a web page and no checkpoint": b"\n<!DOCTYPE html><html><body>Sign in</body></html>",
    "is empty": b"",
    "is compressed with gzip": gzip.compress(b"x"),
    "is JSON and no index": b'{"model_type": "bert"}',
    "is no checkpoint that archcheck knows": b"\x00" * 64,
    "torch.save did not write": pickle.dumps({"weight": [1.0]}),
    "is a pickle that is cut short": pickle.dumps({"weight": [1.0]})[:-4],
    "no checkpoint: it has no data.pkl": zip_bytes(readme=b"x"),
    "begins as a zip archive and has no directory at its end": zip_bytes(a=b"x" * 99)[:60],
    "says that its header has 1,000,000,000,000 bytes": struct.pack("<Q", 10**12) + b"{" * 100,
    "its header has 5,000 bytes, and the file 12": struct.pack("<Q", 5000) + b'{"a"',
    "it is no JSON": safetensors_bytes(b'{"a": '),
    "describes more tensors than any checkpoint has": safetensors_bytes(b"{" + b"[" * 7_000_000),
    "is GGUF of version 9": b"GGUF" + struct.pack("<IQQ", 9, 1, 1),
    "says that it has 9,223,372,036,854,775,808 tensors": (
        b"GGUF" + struct.pack("<IQQ", 3, 2**63, 1)
    ),
    "it ends inside its table": b"GGUF" + struct.pack("<IQQ", 3, 5, 0),
    "a value is longer than the file": b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**60),
}  # fmt: skip


@pytest.mark.parametrize("sentence", NO_CHECKPOINTS)
def test_what_is_no_checkpoint_is_told_in_one_line(sentence: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(NO_CHECKPOINTS[sentence])
    with pytest.raises(CheckpointError) as refused:
        read_checkpoint(str(path))
    assert sentence in str(refused.value) and "\n" not in str(refused.value)


def test_the_command_refuses_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(LFS)
    result = archcheck("weights", "model.pth", cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1 and "run `git lfs pull`" in result.stderr
    missing = archcheck("weights", "none.pth", cwd=tmp_path)
    assert missing.returncode == 2 and "none.pth does not exist" in missing.stderr


def test_an_old_tar_archive_is_named(tmp_path: Path) -> None:
    tar_file(tmp_path / "old.pth")
    with pytest.raises(CheckpointError, match="is a tar archive"):
        read_checkpoint(str(tmp_path / "old.pth"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="no ordinary file"):
        read_checkpoint(str(tmp_path / "pipe"))
    (tmp_path / "pipe").unlink()


CUT_SHORT = "the file is cut short: its tensors need 4,000 bytes behind the header, and there are 8"
LYING = {
    "'b' overlaps the tensor before it": safetensors_bytes(
        {"a": entry(0, 8), "b": entry(4, 12)}, b"0" * 12
    ),
    "'b' follows a gap": safetensors_bytes({"a": entry(0, 4), "b": entry(8, 12)}, b"0" * 12),
    CUT_SHORT: safetensors_bytes({"a": entry(0, 4000)}, b"0" * 8),
    "4 bytes behind the last tensor belong to none": safetensors_bytes(
        {"a": entry(0, 4)}, b"0" * 8
    ),
    "'a' is [3] of float32, 12 bytes, and has 4": safetensors_bytes(
        {"a": entry(0, 4, (3,)), "b": entry(0, 4)}, b"0" * 4
    ),
    "'a' has an unknown dtype 'F1'": safetensors_bytes(
        {"a": {"dtype": "F1", "shape": [1], "data_offsets": [0, 4]}}, b""
    ),
    "'a' has no shape or no place in the header": safetensors_bytes(
        {"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b""
    ),
    "the header has the name 'a' twice": safetensors_bytes(
        b'{"a": %s, "a": %s}' % ((json.dumps(entry(0, 4)).encode(),) * 2), b"0000"
    ),
}


@pytest.mark.parametrize("sentence", LYING)
def test_a_header_that_lies_is_told(sentence: str, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(LYING[sentence])
    assert sentence in read_checkpoint(str(tmp_path / "a.safetensors")).problems
    result = archcheck("weights", "a.safetensors", cwd=tmp_path)
    assert result.returncode == 1 and f"problem: {sentence}" in result.stdout


@pytest.mark.parametrize("sentence", LYING)
def test_safetensors_refuses_what_is_told(sentence: str, tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors")
    if "twice" in sentence:
        pytest.skip("safetensors takes the last of two")
    (tmp_path / "a.safetensors").write_bytes(LYING[sentence])
    with pytest.raises(Exception):  # noqa: B017
        safetensors.safe_open(str(tmp_path / "a.safetensors"), "pt").__enter__()


@pytest.mark.parametrize("form", WRITERS)
def test_a_file_that_is_cut_short_is_told(form: str, tmp_path: Path) -> None:
    """Wherever it ends: in what describes the tensors, or in the last of them."""
    path, _ = WRITERS[form](tmp_path)
    files = [f for f in tmp_path.rglob("*") if f.is_file() and f.suffix not in (".json", ".md")]
    files = [f for f in files if f.name not in ("plain.pt", "flat.pt") or f == path]
    assert files and not read_checkpoint(str(path)).problems
    for file in files:
        data = file.read_bytes()
        # GGUF ends in zeros that nobody misses, older files of torch hold more than is loaded.
        for end in (len(data) // 2, len(data) * 9 // 10, len(data) - 200):
            file.write_bytes(data[:end])
            try:
                told = read_checkpoint(str(path)).problems
            except CheckpointError as error:
                told = (str(error),)
            assert told, f"{file.name} of {len(data):,} bytes, cut to {end:,}"
        file.write_bytes(data)


def test_tensors_of_gguf_that_overlap_are_told(tmp_path: Path) -> None:
    text = struct.Struct("<Q1sIQIQ")
    table = text.pack(1, b"a", 1, 64, 0, 0) + text.pack(1, b"b", 1, 8, 0, 32)
    data = b"GGUF" + struct.pack("<IQQ", 3, 2, 0) + table
    (tmp_path / "x.gguf").write_bytes(data + b"\0" * (-len(data) % 32 + 256))
    assert read_checkpoint(str(tmp_path / "x.gguf")).problems == (
        "'b' overlaps the tensor before it",
    )


def test_an_archive_whose_names_climb_is_told(tmp_path: Path) -> None:
    path, _ = WRITERS["plain"](tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../evil.py", "x")
    assert read_checkpoint(str(path)).problems == (
        "a name inside climbs out of the archive: '../../evil.py'",
    )


def test_an_archive_without_data_is_told(tmp_path: Path) -> None:
    path, _ = WRITERS["plain"](tmp_path)
    hollow = tmp_path / "hollow.pt"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(hollow, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename.endswith("data/0"):
                data = data[:2]
            if not info.filename.endswith("data/1"):
                new.writestr(info.filename, data)
    assert read_checkpoint(str(hollow)).problems == (
        "'stem.0.weight' has no data",
        "'scale' has less data than its shape says",
    )


def test_an_index_that_points_outside_is_refused(tmp_path: Path) -> None:
    for name in ("../secret.bin", "/etc/passwd", "..\\secret.bin", "C:/x.bin"):
        path = tmp_path / "model.safetensors.index.json"
        path.write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(CheckpointError, match="points outside its folder"):
            read_checkpoint(str(path))


def test_an_index_that_names_itself_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"a": path.name}}))
    with pytest.raises(CheckpointError, match="is JSON where a file with tensors should be"):
        read_checkpoint(str(path))


def test_what_an_index_and_its_files_disagree_on_is_told(tmp_path: Path) -> None:
    folder, _ = WRITERS["sharded"](tmp_path)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["lm_head.weight"] = "model-00001-of-00002.safetensors"
    index["weight_map"]["far"] = "model-00003.safetensors"
    del index["weight_map"]["stem.0.bias"]
    path.write_text(json.dumps(index))
    problems = read_checkpoint(str(folder)).problems
    assert "model-00003.safetensors is missing, with 1 of 11 tensors" in problems
    assert any("says that 'lm_head.weight' is in" in problem for problem in problems)
    assert any("has 'stem.0.bias', which the index doesn't name" in p for p in problems)


# Nothing is run -----------------------------------------------------------------------------------


class Flag:
    """Sets a flag when it is unpickled."""

    raised = False

    def __reduce__(self) -> tuple[object, ...]:
        return raise_flag, ("weight",)


def raise_flag(_: str) -> str:
    Flag.raised = True
    return "weight"


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("protocol", [2, 4])
def test_nothing_that_a_pickle_names_is_run(old: bool, protocol: int, tmp_path: Path) -> None:
    path = tmp_path / "flag.pt"
    torch.save(
        {"weight": torch.zeros(2), "flag": Flag()},
        path,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=not old,
    )
    checkpoint = read_checkpoint(str(path))
    assert [t.name for t in checkpoint.state_dict.tensors] == ["weight"]
    assert f"{__name__}.raise_flag" in checkpoint.globals
    assert not Flag.raised
    torch.load(path, weights_only=False)  # the flag is there to be raised
    assert Flag.raised
    Flag.raised = False


def test_no_module_that_a_pickle_names_is_imported(tmp_path: Path) -> None:
    path = tmp_path / "import.pt"
    module = "antigravity"
    data = b"\x80\x02}(X\x01\x00\x00\x00wc%s\nfly\n)Ru." % module.encode()
    path.write_bytes(zip_bytes(**{"archive/data.pkl": data}))
    checkpoint = read_checkpoint(str(path))
    assert checkpoint.globals == ("antigravity.fly",)
    assert module not in sys.modules


# Pickles that would exhaust an unpickler ----------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02" + b"]" * 300_000 + b"a" * 299_999 + b".",
        b"\x80\x02}" + b")\x85" * 300_000 + b"K\x01s.",  # a key of 300,000 nested tuples
        b"\x80\x02}" + b"]\x85" * 3 + b"K\x01s.",
        b"\x80\x02Nr\xff\xff\xff\xff.",  # the memo's four billionth entry
        b"\x80\x02N(" + b"N2" * 100_000 + b"t.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x02\x8b\xff\xff\xff\xff.",
        b"I" + b"9" * 100_000 + b"\n.",
        b"\x80\x02" + b"K\x01" * 40 + b"".join(b"2\x86" for _ in range(40)) + b".",
    ],
    ids=["lists", "key", "unhashable", "memo", "dup", "length", "negative", "digits", "doubling"],
)
def test_hostile_pickles_are_read_or_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "hostile.pt"
    path.write_bytes(zip_bytes(**{"archive/data.pkl": data}))
    tracemalloc.start()
    try:
        read_checkpoint(str(path))
    except CheckpointError as error:
        assert "\n" not in str(error)
    assert tracemalloc.get_traced_memory()[1] < 200 * 2**20
    tracemalloc.stop()


def test_a_mapping_in_itself_a_billion_times_is_refused(tmp_path: Path) -> None:
    """Thirty mappings, each with the next one twice."""
    data = b"\x80\x02}q\x00" + b"".join(
        b"}q%c(K\x01h%cK\x02h%cu" % (number, number - 1, number - 1) for number in range(1, 31)
    )
    path = tmp_path / "laughs.pt"
    path.write_bytes(zip_bytes(**{"archive/data.pkl": data + b"."}))
    with pytest.raises(CheckpointError, match="more objects than any checkpoint"):
        read_checkpoint(str(path))


def test_a_pickle_that_is_deflated_to_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("archive/data.pkl", "w") as member,
    ):
        for _ in range(300):
            member.write(b"N" * 2**20)
    with pytest.raises(CheckpointError, match=r"data\.pkl is larger than any checkpoint's"):
        read_checkpoint(str(path))


# Mutilated files ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    found = {}
    for name in FORMS:
        try:
            path, _ = WRITERS[name](tmp_path_factory.mktemp(name))
        except pytest.skip.Exception:
            continue
        found[name] = path.read_bytes()
    folder, _ = WRITERS["distributed"](tmp_path_factory.mktemp("dcp"))
    found["distributed"] = (folder / ".metadata").read_bytes()
    return found


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_mutilated_file_is_read_or_refused_in_one_line(
    samples: dict[str, bytes], tmp_path: Path, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(samples)))
    content = bytearray(samples[name])
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(["flip", "number", "cut", "insert"]))
        # Most of what is read stands at the beginning or at the end.
        edge = min(len(content) - 1, 3000)
        place = data.draw(
            st.one_of(st.integers(0, edge), st.integers(len(content) - edge - 1, len(content) - 1))
        )
        if kind == "flip":
            content[place] = data.draw(st.integers(0, 255))
        elif kind == "number":
            content[place : place + 8] = struct.pack(
                "<Q", data.draw(st.sampled_from([0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]))
            )
        elif kind == "cut" and len(content) > 20:
            del content[max(place, 10) :]
        else:
            content[place:place] = data.draw(st.binary(min_size=1, max_size=9))
    path = tmp_path / ".metadata" if name == "distributed" else tmp_path / "file"
    path.write_bytes(content)
    try:
        read_checkpoint(str(tmp_path if name == "distributed" else path))
    except CheckpointError as error:
        assert "\n" not in str(error)
    finally:
        path.unlink()


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_pickle_or_none(data: bytes) -> None:
    with suppress(PickleError):
        read_pickle(data)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(PLAIN, st.integers(0, 5))
def test_plain_values_are_read_as_pickle_reads_them(value: object, protocol: int) -> None:
    described, end, _ = read_pickle(pickle.dumps(value, protocol))
    assert _rebuilt(described) == value
    assert end == len(pickle.dumps(value, protocol))


def _rebuilt(value: object) -> object:
    """Bytes of protocols 0 to 2 are calls of _codecs.encode."""
    from archcheck.checkpoints.pickle_opcodes import Call

    if isinstance(value, Call):
        if value.name == "_codecs.encode":
            return str(value.arguments[0]).encode(str(value.arguments[1]))
        return b""
    if isinstance(value, dict):
        return {key: _rebuilt(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_rebuilt, value))
    return value
