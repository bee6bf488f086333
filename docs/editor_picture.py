"""Record docs/neovim.svg: Neovim in a terminal, with findings and shapes beside the code.

Needs Neovim, tmux and `archcheck-torch[lsp,trace]`; the picture is what is on the screen.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from pictures import without_fonts
from rich.text import Text

from archcheck.output.terminal.console import svg

FOLDER = Path(__file__).parent
WIDTH, HEIGHT = 118, 28
PATIENCE = 90.0
MODEL = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)) + x)


class Net(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 7, stride=2), nn.ReLU())
        self.blocks = nn.Sequential(Block(32), Block(32))
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.head = nn.Linear(32, classes)

    def forward(self, images):
        x = self.stem(images)
        x = self.blocks(x)
        x = self.pool(x).flatten(1)
        return self.head(x)
"""
SETTINGS = """\
set number termguicolors noshowmode laststatus=0 noswapfile shortmess+=F nohlsearch
set fillchars=eob:\\\x20
filetype on
syntax on
highlight clear SignColumn
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "net.py").write_text(MODEL, encoding="utf-8")
        (folder / "settings.vim").write_text(SETTINGS, encoding="utf-8")
        screen = _screen(folder)
    lines = [Text.from_ansi(line) for line in screen.rstrip("\n").split("\n")]
    picture = svg(lines, WIDTH, "nvim net.py", "neovim")
    (FOLDER / "neovim.svg").write_text(without_fonts(picture), encoding="utf-8")


def _screen(folder: Path) -> str:
    """What the terminal shows once the model is traced, with its colours."""
    tmux = [shutil.which("tmux") or "tmux", "-L", f"archcheck{os.getpid()}", "-f", os.devnull]
    editor = (
        f"nvim --clean -u settings.vim -c 'luafile {FOLDER / 'editors' / 'neovim.lua'}' "
        "-c 'edit net.py' -c '/def forward(self, images)'"
    )
    size = ["-x", str(WIDTH), "-y", str(HEIGHT)]
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    subprocess.run(
        [*tmux, "new-session", "-d", *size, editor], cwd=folder, env=environment, check=True
    )
    try:
        _wait(tmux, "def forward(self, images)")
        # The server starts.
        time.sleep(5)
        subprocess.run([*tmux, "send-keys", ":ArchcheckTrace 8,3,64,64", "Enter"], check=True)
        _wait(tmux, "[8, 128]")
        time.sleep(1)
        subprocess.run([*tmux, "send-keys", ":", "Escape"], check=True)
        time.sleep(1)
        return _captured(tmux, "-e")
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)


def _wait(tmux: list[str], text: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while text not in _captured(tmux):
        if time.monotonic() > deadline:
            raise SystemExit(f"{text!r} never came:\n{_captured(tmux)}")
        time.sleep(0.2)


def _captured(tmux: list[str], *options: str) -> str:
    command = [*tmux, "capture-pane", "-p", *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    main()
