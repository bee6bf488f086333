"""The code that is offered opens each form by its own library, and gives what archcheck read."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import WRITERS, Net, table
from command import archcheck

from archcheck.analysis.state_dicts.loading_code import loading_code
from archcheck.checkpoints import Checkpoint, read_checkpoint


def opened(path: Path) -> Any:
    namespace: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec("\n".join(loading_code(read_checkpoint(str(path)))), namespace)
    return namespace["checkpoint"]


@pytest.mark.parametrize("form", WRITERS)
def test_the_code_opens_what_was_read(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = WRITERS[form](tmp_path)
    monkeypatch.chdir(tmp_path)
    state = read_checkpoint(str(path)).state_dict
    value = opened(path)
    for key in state.keys:
        value = value[key]
    found = table(value.state_dict() if state.module else value)
    assert {name: shape for name, (shape, _) in found.items()} == {
        tensor.name: tensor.shape for tensor in state.tensors
    }


def test_a_training_state_in_a_distributed_checkpoint_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole of what is shown runs, and loads strictly."""
    import torch.distributed.checkpoint as dcp

    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Sequential):\n    def __init__(self):\n"
        "        super().__init__(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))\n"
    )
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.zeros(1, 4)).sum().backward()
    optimizer.step()
    states = {f"_orig_mod.{name}": tensor for name, tensor in model.state_dict().items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dcp.save({"optim": optimizer.state_dict(), "app": {"model": states}}, checkpoint_id="dcp")
    shown = archcheck(
        "net.py:Net", "--input", "2,4", "--weights", "dcp", "--format", "json", cwd=tmp_path
    )
    (finding,) = json.loads(shown.stdout)["findings"]
    assert finding["code"] == "AC801" and '["app"]["model"]' in finding["message"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(finding["help"].partition("\n")[2], {"model": model})


def test_a_file_that_torch_refuses_says_why(tmp_path: Path) -> None:
    path, _ = WRITERS["nested"](tmp_path)
    code = "\n".join(loading_code(read_checkpoint(str(path))))
    assert "# This runs the file's pickle, which names argparse.Namespace" in code
    assert "weights_only=False" in code
    torch.save(Net().state_dict(), path)
    assert "weights_only" not in "\n".join(loading_code(read_checkpoint(str(path))))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("protocol", range(6))
def test_what_torch_refuses_is_asked_of_torch(protocol: int, old: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    torch.save(
        Net().state_dict(),
        path,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=not old,
    )
    try:
        torch.load(path, weights_only=True)
    except Exception:
        refused = True
    else:
        refused = False
    assert bool(read_checkpoint(str(path)).refused_by_torch) is refused


def test_a_name_in_the_file_is_no_code(tmp_path: Path) -> None:
    """Names and keys with line breaks stay inside their comment and their string."""
    checkpoint = Checkpoint(
        path="x\n.pt",
        form="torch zip archive",
        size=1,
        bytes_read=1,
        state_dicts=(),
        globals=("evil\nraise SystemExit\r#",),
    )
    code = loading_code(checkpoint)
    assert all("\n" not in line and "\r" not in line for line in code) and len(code) == 3
