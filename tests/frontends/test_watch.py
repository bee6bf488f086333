"""`archcheck check --watch`, as a terminal shows it."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("watchfiles", reason="--watch is part of archcheck-torch[lsp]")

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "archcheck", "check", "--watch"]
PATIENCE = 60.0
BROKEN = """\
from torch import nn


class Net(nn.Module):
    def __init__(self):
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        return self.layer(x)
"""
MENDED = BROKEN.replace("        self.layer", "        super().__init__()\n        self.layer", 1)


def _heed_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Terminal:
    """A command that runs on and on, and its lines."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "100"},
            # What a shell starts in its background ignores interrupts, and so do its children.
            preexec_fn=_heed_interrupts if os.name == "posix" else None,
        )
        self.out: queue.Queue[str] = queue.Queue()
        self.errors: queue.Queue[str] = queue.Queue()
        for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.errors)):
            threading.Thread(target=self._read, args=(stream, lines), daemon=True).start()

    def _read(self, stream, lines: queue.Queue[str]) -> None:
        for line in stream:
            lines.put(line.rstrip("\n"))

    def until(self, end: str, lines: queue.Queue[str] | None = None) -> list[str]:
        """The lines up to one that has this in it."""
        found: list[str] = []
        while not found or end not in found[-1]:
            found.append((lines or self.out).get(timeout=PATIENCE))
        return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(BROKEN, encoding="utf-8")
    return tmp_path


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    started: list[Terminal] = []
    yield started
    for terminal in started:
        terminal.process.kill()
        terminal.process.wait()


def test_only_what_changed_is_drawn_again(folder: Path, terminals: list[Terminal]) -> None:
    (folder / "other.py").write_text(BROKEN.replace("Net", "Other"), encoding="utf-8")
    terminal = Terminal(folder, ".")
    terminals.append(terminal)
    first = terminal.until("in 2 files")
    assert sum(line.startswith("error[AC101]") for line in first) == 2
    terminal.until("watching .", terminal.errors)

    (folder / "net.py").write_text(MENDED, encoding="utf-8")
    second = terminal.until("in 2 files")
    assert second[:2] == ["", "net.py:"]
    assert second[2].startswith("gone: net.py:5: AC101 ")
    assert second[3].startswith("1 error in 2 files")
    assert len(second) == 4

    # Lines that only move are no news; what is new is shown whole.
    (folder / "other.py").write_text("# a line\n" + BROKEN.replace("Net", "Other"))
    (folder / "new.py").write_text(BROKEN, encoding="utf-8")
    third = terminal.until("in 3 files")
    assert sum(line.startswith("error[AC101]") for line in third) == 1
    assert any("new.py:5" in line for line in third)


def test_a_model_is_traced_again_when_a_file_of_its_changes(
    folder: Path, terminals: list[Terminal]
) -> None:
    pytest.importorskip("torch")
    (folder / "width.py").write_text("WIDTH = 2\n", encoding="utf-8")
    text = MENDED.replace("nn.Linear(4, 2)", "nn.Linear(4, WIDTH)")
    (folder / "net.py").write_text(f"from width import WIDTH\n{text}", encoding="utf-8")
    terminal = Terminal(folder, "net.py:Net", "--input", "8,4")
    terminals.append(terminal)
    assert any("[8, 2]" in line for line in terminal.until("All checks passed"))
    terminal.until("watching", terminal.errors)
    (folder / "width.py").write_text("WIDTH = 33\n", encoding="utf-8")
    assert any("[8, 33]" in line for line in terminal.until("All checks passed"))


def test_settings_hold_as_soon_as_they_are_written(folder: Path, terminals: list[Terminal]) -> None:
    settings = folder / "pyproject.toml"
    settings.write_text("[tool.archcheck]\n", encoding="utf-8")
    terminal = Terminal(folder, "net.py")
    terminals.append(terminal)
    terminal.until("1 error in 1 file")
    terminal.until("watching", terminal.errors)
    settings.write_text('[tool.archcheck]\nignore = "AC101"\n', encoding="utf-8")
    assert "ignore" in terminal.until("archcheck:", terminal.errors)[-1]
    settings.write_text('[tool.archcheck]\nignore = ["AC101"]\n', encoding="utf-8")
    assert any(line.startswith("gone: ") for line in terminal.until("All checks passed"))


@pytest.mark.skipif(sys.platform == "win32", reason="a console sends it there")
def test_an_interrupt_ends_it_with_all_that_it_started(
    folder: Path, terminals: list[Terminal]
) -> None:
    terminal = Terminal(folder, "net.py")
    terminals.append(terminal)
    terminal.until("watching", terminal.errors)
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.process.wait(PATIENCE) == 130
    assert terminal.process.stderr is not None
    assert terminal.errors.empty()


def test_what_does_not_go_together_is_told(folder: Path) -> None:
    run = subprocess.run(
        [*COMMAND, "net.py", "--format", "json"], cwd=folder, capture_output=True, text=True
    )
    assert (run.returncode, run.stderr) == (
        2,
        "archcheck: --watch shows findings as text: leave out what else is asked\n",
    )
