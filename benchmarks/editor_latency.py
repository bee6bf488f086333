"""How long an editor waits: change to diagnostics, save to shapes; warm and cold.

Each figure stands beside something that was measured in the same run: `ast.parse` of the same
text, `import torch` in a fresh process. Run it with a file or two of about 1,000 lines; without,
it writes one of its own.
"""

from __future__ import annotations

import argparse
import ast
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SERVER = [sys.executable, "-m", "archcheck", "lsp"]
MODEL = Path(__file__).parents[1] / "fixtures" / "models" / "resnet32.py"
BLOCK = '''
class Block{0}(nn.Module):
    """Two convolutions with a skip connection."""

    def __init__(self, width: int, stride: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width * stride, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width * stride)
        self.second = nn.Conv2d(width * stride, width * stride, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width * stride)
        self.skip = nn.Identity()
        if stride > 1:
            self.skip = nn.Conv2d(width, width * stride, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = self.skip(x)
        x = torch.relu(self.first_norm(self.first(x)))
        x = self.second_norm(self.second(x))
        return torch.relu(x + kept)

'''


class Editor:
    """A server, spoken to word for word."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            SERVER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        self.number = 0
        self.version = 0
        hints = {"workspace": {"inlayHint": {"refreshSupport": True}}}
        folders = [{"uri": folder.as_uri(), "name": "folder"}]
        self.ask("initialize", {"capabilities": hints, "workspaceFolders": folders})
        self.tell("initialized", {})

    def tell(self, method: str, params: Any) -> None:
        self.send({"jsonrpc": "2.0", "method": method, "params": params})

    def send(self, message: Any) -> None:
        body = json.dumps(message).encode()
        assert self.process.stdin is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()

    def next(self) -> Any:
        assert self.process.stdout is not None
        length = 0
        while line := self.process.stdout.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        message = json.loads(self.process.stdout.read(length))
        if "method" in message and "id" in message:
            self.send({"jsonrpc": "2.0", "id": message["id"], "result": None})
        return message

    def ask(self, method: str, params: Any) -> Any:
        self.number += 1
        self.send({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params})
        while True:
            message = self.next()
            if message.get("id") == self.number and "method" not in message:
                return message.get("result")

    def open(self, path: Path, text: str) -> None:
        self.version = 1
        document = {"uri": path.as_uri(), "languageId": "python", "version": 1, "text": text}
        self.tell("textDocument/didOpen", {"textDocument": document})
        self.diagnostics()

    def change(self, path: Path, text: str) -> None:
        self.version += 1
        document = {"uri": path.as_uri(), "version": self.version}
        changes = {"textDocument": document, "contentChanges": [{"text": text}]}
        self.tell("textDocument/didChange", changes)

    def diagnostics(self) -> None:
        while True:
            message = self.next()
            if message.get("method") != "textDocument/publishDiagnostics":
                continue
            if message["params"].get("version") == self.version:
                return

    def shapes(self, path: Path, part: str) -> None:
        """Wait for a hint with this in it."""
        end = {"line": 10_000, "character": 0}
        whole = {"start": {"line": 0, "character": 0}, "end": end}
        document = {"uri": path.as_uri()}
        while True:
            hints = self.ask("textDocument/inlayHint", {"textDocument": document, "range": whole})
            labels = [hint["label"] for hint in hints]
            if any(part in label and not label.startswith("was") for label in labels):
                return
            while self.next().get("method") != "workspace/inlayHint/refresh":
                pass

    def end(self) -> None:
        self.ask("shutdown", None)
        self.tell("exit", None)
        self.process.wait()


def timed(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return (time.perf_counter() - start) * 1000


def typing(path: Path, text: str, times: int) -> tuple[list[float], list[float]]:
    """Milliseconds from a change to its diagnostics: the first, and all others."""
    editor = Editor(path.parent)
    cold = [timed(lambda: editor.open(path, text))]
    warm = []
    for number in range(times):
        changed = f"{text}\nname_{number} = {number}\n"
        editor.change(path, changed)
        warm.append(timed(editor.diagnostics))
    editor.end()
    return cold, warm


def saving(folder: Path, times: int) -> tuple[list[float], list[float]]:
    """Milliseconds from a request to the first shapes, and from a save to those of the new text."""
    path = folder / "resnet32.py"
    text = MODEL.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8")
    editor = Editor(folder)
    editor.open(path, text)
    arguments = [path.as_uri(), "ResNet32", "8,3,224,224"]
    command = {"command": "archcheck.trace", "arguments": arguments}

    def first() -> None:
        editor.ask("workspace/executeCommand", command)
        editor.shapes(path, "[8, ")

    cold = [timed(first)]
    warm = []
    for number in range(times):
        classes = 3 + number
        changed = text.replace("classes=2", f"classes={classes}")
        assert changed != text
        editor.change(path, changed)
        editor.diagnostics()
        path.write_text(changed, encoding="utf-8")
        document = {"textDocument": {"uri": path.as_uri()}}
        editor.tell("textDocument/didSave", document)
        warm.append(timed(lambda classes=classes: editor.shapes(path, f"[8, {classes}]")))
    editor.end()
    return cold, warm


def row(what: str, times: Sequence[float], measure: str, unit: float) -> None:
    middle = statistics.median(times)
    figures = f"{middle:>9.0f} {max(times):>9.0f} {len(times):>4}"
    print(f"{what:<52} {figures}   {middle / unit:>6.1f} x {measure}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--times", type=int, default=20)
    given = parser.parse_args()
    print(f"{'in milliseconds':<52} {'median':>9} {'max':>9} {'N':>4}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        own = folder / "blocks.py"
        blocks = "".join(BLOCK.format(number) for number in range(45))
        own.write_text(f"import torch\nfrom torch import nn\n\n{blocks}", encoding="utf-8")
        for path in [*given.files, own]:
            path = path.resolve()
            text = path.read_text(encoding="utf-8")
            parse = statistics.median(timed(lambda text=text: ast.parse(text)) for _ in range(5))
            cold, warm = typing(path, text, given.times)
            name = f"{path.name} ({text.count(chr(10)):,} lines)"
            row(f"open to diagnostics, {name}", cold, "ast.parse", parse)
            row(f"change to diagnostics, {name}", warm, "ast.parse", parse)
        torch = [timed(lambda: subprocess.run([sys.executable, "-c", "import torch"]))]
        cold, warm = saving(folder, given.times)
        row("request to shapes, ResNet32, first", cold, "import torch", torch[0])
        row("save to shapes, ResNet32", warm, "import torch", torch[0])


if __name__ == "__main__":
    main()
