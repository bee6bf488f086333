"""Checkpoints of every form are read as the library that wrote them loads them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from checkpoint_files import FORMS, WRITERS, Net
from command import ROOT, archcheck

from archcheck.checkpoints import Checkpoint, read_checkpoint

GB = 10**9


@pytest.mark.parametrize("name", WRITERS)
def test_names_shapes_and_dtypes_are_those_that_are_loaded(name: str, tmp_path: Path) -> None:
    path, expected = WRITERS[name](tmp_path)
    checkpoint = read_checkpoint(str(path))
    found = {t.name: (t.shape, t.dtype) for t in checkpoint.state_dict.tensors}
    assert found == expected
    assert checkpoint.form == FORMS.get(name, "torch zip archive")
    assert not checkpoint.problems


def test_ties_of_a_file_are_told(tmp_path: Path) -> None:
    path, _ = WRITERS["safetensors_model"](tmp_path)
    aliases = read_checkpoint(str(path)).aliases
    assert set(aliases.items()) <= {
        ("head.weight", "embed.weight"),
        ("embed.weight", "head.weight"),
    }
    assert aliases


def test_tensors_that_share_memory_share_a_storage(tmp_path: Path) -> None:
    path, _ = WRITERS["plain"](tmp_path)
    by_name = {t.name: t for t in read_checkpoint(str(path)).state_dict.tensors}
    assert by_name["head.weight"].storage == by_name["embed.weight"].storage
    assert by_name["stem.0.weight"].storage != by_name["stem.1.weight"].storage


def test_a_view_tells_what_it_stores(tmp_path: Path) -> None:
    path, _ = WRITERS["odd_tensors"](tmp_path)
    row = next(t for t in read_checkpoint(str(path)).state_dict.tensors if t.name == "row")
    assert (row.count, row.stored_elements) == (100, 100_000)


def test_the_weights_come_before_their_average_and_the_optimizer(tmp_path: Path) -> None:
    path, _ = WRITERS["nested"](tmp_path)
    checkpoint = read_checkpoint(str(path))
    assert [state.keys for state in checkpoint.state_dicts][:2] == [("model",), ("model_ema",)]
    assert "argparse.Namespace" in checkpoint.globals
    assert checkpoint.state_dict.versions == {
        name: 2 if name == "stem.1" else 1 for name in dict(Net().named_modules()) if name != ""
    } | {"": 1}


def test_a_pickled_module_names_its_class(tmp_path: Path) -> None:
    path, _ = WRITERS["whole_module"](tmp_path)
    assert read_checkpoint(str(path)).state_dict.module == f"{Net.__module__}.Net"


def test_a_file_that_contains_itself_is_read(tmp_path: Path) -> None:
    content: dict[str, object] = {"weight": torch.zeros(2)}
    content["parent"] = content
    content["list"] = [content]
    torch.save(content, tmp_path / "loop.pt")
    checkpoint = read_checkpoint(str(tmp_path / "loop.pt"))
    assert [t.name for t in checkpoint.state_dict.tensors] == ["weight"]


def sparse_safetensors(path: Path) -> None:
    """A file of 50 GB of which only the header takes room on the disk."""
    size, count = 50 * GB, 500
    each = size // count // 4 * 4
    header = {
        f"layers.{number}.weight": {
            "dtype": "F32",
            "shape": [each // 4],
            "data_offsets": [number * each, (number + 1) * each],
        }
        for number in range(count)
    }
    data = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(data).to_bytes(8, "little") + data)
        file.truncate(8 + len(data) + count * each)


def sparse_torch_zip(path: Path) -> None:
    """torch's own file without its tensors' bytes: the places for them are left out."""
    state = {}
    for number in range(5):
        empty = path.with_name(f"{number}.bin")
        with empty.open("wb") as file:
            file.truncate(10 * GB)
        state[f"{number}.weight"] = torch.from_file(str(empty), shared=True, size=10 * GB // 4)
    with torch.serialization.skip_data():
        torch.save(state, path)


@pytest.mark.parametrize("write", [sparse_safetensors, sparse_torch_zip])
def test_less_than_a_hundredth_of_a_file_of_50_gigabytes_is_read(
    write: object, tmp_path: Path
) -> None:
    path = tmp_path / "large"
    assert callable(write)
    write(path)
    assert path.stat().st_size >= 50 * GB
    checkpoint = read_checkpoint(str(path))
    assert checkpoint.state_dict.tensors
    assert checkpoint.bytes_read < path.stat().st_size / 100_000


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="Linux counts what is read")
def test_the_bytes_that_are_read_are_those_that_the_system_counts(tmp_path: Path) -> None:
    sparse_safetensors(tmp_path / "large")
    before = _bytes_of_this_process()
    checkpoint = read_checkpoint(str(tmp_path / "large"))
    # Reading the counter itself takes a few bytes.
    assert abs(_bytes_of_this_process() - before - checkpoint.bytes_read) < 500


def _bytes_of_this_process() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(lines[0].removeprefix("rchar: "))


def test_the_command_needs_no_torch(tmp_path: Path) -> None:
    path, _ = WRITERS["nested"](tmp_path)
    program = (
        "import sys\nsys.modules['torch'] = None\nsys.modules['numpy'] = None\n"
        "from archcheck.frontends.cli.main import main\nmain(sys.argv[1:])"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, "weights", str(path)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        cwd=ROOT,
    )
    assert result.returncode == 0, result.stderr
    assert 'the weights stand under ["model"]' in result.stdout
    assert 'tensors stand also under ["model_ema"]' in result.stdout
    assert "torch.load(weights_only=True) refuses it: it names argparse.Namespace" in result.stdout
    assert "stem.0.weight" in result.stdout and "[8, 3, 3, 3]  float32" in result.stdout


def test_the_command_shows_json(tmp_path: Path) -> None:
    path, expected = WRITERS["plain"](tmp_path)
    result = archcheck("weights", str(path), "--format", "json", cwd=tmp_path)
    document = json.loads(result.stdout)
    assert result.returncode == 0 and document["version"] == 1
    tensors = document["state_dicts"][0]["tensors"]
    assert {t["name"]: (tuple(t["shape"]), t["dtype"]) for t in tensors} == expected


def test_python_2_and_its_containers_are_read() -> None:
    """Protocol 0 as python 2 wrote it: an OrderedDict made of pairs."""
    from archcheck.checkpoints.pickle_opcodes import read_pickle

    data = b"ccollections\nOrderedDict\n((lp0\n(lp1\nS'a'\naI1\naatRp2\n."
    value, end, names = read_pickle(data)
    assert (value.name, value.arguments, end) == (
        "collections.OrderedDict",
        ([["a", 1]],),
        len(data),
    )
    assert names == ("collections.OrderedDict",)


def test_checkpoint_is_plain_data(tmp_path: Path) -> None:
    import pickle

    path, _ = WRITERS["plain"](tmp_path)
    checkpoint = read_checkpoint(str(path))
    again: Checkpoint = pickle.loads(pickle.dumps(checkpoint))
    assert again == checkpoint
