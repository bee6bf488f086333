"""The language server in a real editor: Neovim opens a file, and is asked what it shows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("pygls", reason="the language server is archcheck-torch[lsp]")

pytestmark = [pytest.mark.editor, pytest.mark.slow]
if shutil.which("nvim") is None:
    pytest.skip("Neovim is not installed", allow_module_level=True)

SNIPPET = Path(__file__).parents[2] / "docs" / "editors" / "neovim.lua"
NET = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(3, 3)
        self.stem = nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(9, 10)

    def forward(self, x):
        网, y = "🔥", self.stem(x)
        return self.head(y.mean((2, 3)))
"""
# Opens the file, traces its model, and writes what is then on the screen.
SESSION = """\
dofile(os.getenv("SNIPPET"))
vim.cmd("edit net.py")
local function diagnostics()
  local found = {}
  for _, one in ipairs(vim.diagnostic.get(0)) do
    table.insert(found, { code = one.code, line = one.lnum, from = one.col, to = one.end_col })
  end
  return found
end
local function shapes()
  local space = vim.api.nvim_get_namespaces()["archcheck"]
  local found = {}
  for _, mark in ipairs(vim.api.nvim_buf_get_extmarks(0, space, 0, -1, { details = true })) do
    table.insert(found, { line = mark[2], text = mark[4].virt_text[1][1] })
  end
  return found
end
local opened = vim.wait(60000, function() return #diagnostics() > 0 end, 20)
local from_source = diagnostics()
vim.fn.search("def forward")
vim.cmd("ArchcheckTrace 2,3,8,8")
local traced = vim.wait(60000, function() return #shapes() > 0 and #diagnostics() > 1 end, 20)
local result = { opened = opened, traced = traced, from_source = from_source,
  from_trace = diagnostics(), shapes = shapes() }
vim.fn.writefile({ vim.fn.json_encode(result) }, "result.json")
vim.cmd("qall!")
"""


def test_neovim_shows_findings_and_shapes(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NET, encoding="utf-8")
    (tmp_path / "session.lua").write_text(SESSION, encoding="utf-8")
    launcher = tmp_path / "bin" / "archcheck"
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\nexec {sys.executable} -m archcheck "$@"\n')
    launcher.chmod(0o755)
    environment = {
        **os.environ,
        "SNIPPET": str(SNIPPET),
        "PATH": f"{launcher.parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path),
    }
    command = ["nvim", "--headless", "--clean", "-c", "filetype on", "-c", "luafile session.lua"]
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180
    )
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result["opened"], run.stderr
    assert result["traced"], run.stderr
    assert [one["code"] for one in result["from_source"]] == ["AC108"]

    rows = NET.split("\n")
    by_code = {one["code"]: one for one in result["from_trace"]}
    spare, width = by_code["AC108"], by_code["AC201"]
    assert rows[spare["line"]][spare["from"] : spare["to"]].startswith("self.spare")
    assert rows[width["line"]][width["from"] : width["to"]] == "self.head(y.mean((2, 3)))"
    assert {one["line"]: one["text"].strip() for one in result["shapes"]} == {
        rows.index("    def forward(self, x):"): "x: [2, 3, 8, 8]",
        rows.index('        网, y = "🔥", self.stem(x)'): "y: [2, 8, 6, 6]",
        rows.index("        return self.head(y.mean((2, 3)))"): "return: [2, 10]",
    }
