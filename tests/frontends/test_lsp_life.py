"""The language server's life: however it ends, it ends with all that it started."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("pygls", reason="the language server is archcheck-torch[lsp]")
pytestmark = [
    pytest.mark.editor,
    pytest.mark.slow,
    pytest.mark.skipif(
        not Path("/proc/self/environ").exists(), reason="processes are found by their environment"
    ),
]

SERVER = [sys.executable, "-m", "archcheck", "lsp"]
PATIENCE = 60.0
HANGING = """\
from torch import nn


class Net(nn.Module):
    def forward(self, x):
        open(__file__ + ".reached", "w").close()
        while True:
            pass
"""


class Wire:
    """A server at the other end of two pipes, spoken to word for word."""

    def __init__(self, folder: Path) -> None:
        self.mark = f"ARCHCHECK_TEST_{uuid.uuid4().hex}"
        self.process = subprocess.Popen(
            SERVER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, self.mark: "1"},
        )
        folders = [{"uri": folder.as_uri(), "name": "project"}]
        self.ask(1, "initialize", {"capabilities": {}, "workspaceFolders": folders})
        self.tell("initialized", {})

    def tell(self, method: str, params: Any) -> None:
        self._send({"jsonrpc": "2.0", "method": method, "params": params})

    def ask(self, number: int, method: str, params: Any = None) -> Any:
        self._send({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        while (message := self.next()).get("id") != number:
            pass
        return message

    def next(self) -> Any:
        assert self.process.stdout is not None
        length = 0
        while (line := self.process.stdout.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            assert name.lower() in (b"content-length", b"content-type"), line
            if name.lower() == b"content-length":
                length = int(value)
        assert length, "the server is gone"
        return json.loads(self.process.stdout.read(length))

    def diagnostics(self) -> list[str]:
        while (message := self.next()).get("method") != "textDocument/publishDiagnostics":
            pass
        return [one["code"] for one in message["params"]["diagnostics"]]

    def open(self, path: Path, text: str) -> None:
        document = {"uri": path.as_uri(), "languageId": "python", "version": 1, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": document})

    def hang(self, path: Path) -> None:
        """Have a model traced that never ends, until it is at it."""
        self.open(path, HANGING)
        arguments = [path.as_uri(), "Net", "1,2"]
        self.ask(
            2, "workspace/executeCommand", {"command": "archcheck.trace", "arguments": arguments}
        )
        until(Path(f"{path}.reached").exists)

    def alive(self) -> list[int]:
        """The processes that the server started, and itself."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def _send(self, message: Any) -> None:
        body = json.dumps(message).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()


def until(holds: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    server = Wire(tmp_path)
    yield server
    for process in server.alive():
        os.kill(process, signal.SIGKILL)
    server.process.wait()


def test_shutdown_and_exit_leave_no_process(wire: Wire, tmp_path: Path) -> None:
    wire.hang(tmp_path / "net.py")
    assert wire.ask(3, "shutdown")["result"] is None
    wire.tell("exit", None)
    assert wire.process.wait(PATIENCE) == 0
    until(lambda: not wire.alive())


def test_exit_alone_is_an_error_and_leaves_no_process(wire: Wire) -> None:
    wire.tell("exit", None)
    assert wire.process.wait(PATIENCE) == 1
    until(lambda: not wire.alive())


def test_an_editor_that_goes_away_leaves_no_process(wire: Wire, tmp_path: Path) -> None:
    wire.hang(tmp_path / "net.py")
    assert wire.process.stdin is not None
    wire.process.stdin.close()
    wire.process.wait(PATIENCE)
    until(lambda: not wire.alive())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_killed_server_leaves_no_process(wire: Wire, tmp_path: Path, number: int) -> None:
    wire.hang(tmp_path / "net.py")
    os.kill(wire.process.pid, number)
    wire.process.wait(PATIENCE)
    until(lambda: not wire.alive())


def test_two_editors_share_a_project(tmp_path: Path) -> None:
    first, second = Wire(tmp_path), Wire(tmp_path)
    text = "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n"
    broken, mended = (
        text + f"        {row}\n" for row in ("self.act = nn.ReLU()", "super().__init__()")
    )
    for server in (first, second):
        server.open(tmp_path / "net.py", broken)
    assert first.diagnostics() == second.diagnostics() == ["AC101"]
    change = {
        "textDocument": {"uri": (tmp_path / "net.py").as_uri(), "version": 2},
        "contentChanges": [{"text": mended}],
    }
    first.tell("textDocument/didChange", change)
    assert first.diagnostics() == []
    for server in (first, second):
        server.ask(9, "shutdown")
        server.tell("exit", None)
        assert server.process.wait(PATIENCE) == 0


def test_without_the_extra_the_command_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['pygls'] = None; sys.modules['lsprotocol'] = None\n"
        "from archcheck.frontends.cli.main import main; main(['lsp'])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stderr == (
        "archcheck: the language server needs lsprotocol: pip install 'archcheck-torch[lsp]'\n"
    )
