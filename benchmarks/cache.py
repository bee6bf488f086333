"""What the cache saves: a project of fifty models, checked again and again.

    python benchmarks/cache.py [ROUNDS]

The project is made of copies of the fixtures' models, each with a layer of its own width, and has
two helper modules that they share. Every command is a process of its own. Of ROUNDS runs (3) the
fastest counts; seconds on the clock, processor seconds of all its processes, and both as ratios to
those of `import torch` in the same round. The limit for the unchanged project is 0.5 s where
importing torch takes 0.75 s.

Beside the models there is a package whose source alone is checked, and of which one file is edited:
300 files of ten models each, every third with a base class from the file before it.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

MODELS = 50
FILES = 300
LIMIT = 0.5 / 0.75
ROOT = Path(__file__).parents[1]

_MODEL = '''"""Model number {number}."""
from torch import nn

from blocks import Block
from widths import WIDTHS


class Net{number}(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        width = WIDTHS[{number} % len(WIDTHS)]
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.blocks = nn.Sequential(*[Block(width) for _ in range({blocks})])
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = self.blocks(self.stem(x))
        return self.head(self.pool(x).flatten(1))
'''
_BLOCKS = '''"""What the models are built from."""
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        self.act = nn.ReLU()

    def forward(self, x):
        y = self.act(self.first_norm(self.first(x)))
        y = self.second_norm(self.second(y))
        return self.act(x + y)
'''
_NET = """

class Net{number}({base}):
    def __init__(self, width=64):
        super().__init__({base_width})
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.blocks = nn.ModuleList([Block(width) for _ in range({number} % 7 + 1)])
        self.head = nn.Linear(width, 10)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))
"""


def package(folder: Path) -> None:
    """Files of ten models each."""
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "blocks.py").write_text(_BLOCKS)
    for file in range(FILES):
        follows = file % 3 == 1
        imports = f"from .models_{file - 1} import Net{10 * file - 10}\n" if follows else ""
        nets = [
            _NET.format(
                number=number,
                base=f"Net{10 * file - 10}" if follows else "nn.Module",
                base_width="width" if follows else "",
            )
            for number in range(10 * file, 10 * file + 10)
        ]
        head = f"from torch import nn\n\nfrom .blocks import Block\n{imports}"
        (folder / f"models_{file}.py").write_text(head + "".join(nets))


def project(folder: Path) -> None:
    """Fifty models of 3 to 10 residual blocks."""
    (folder / "blocks.py").write_text(_BLOCKS)
    (folder / "widths.py").write_text("WIDTHS = (16, 24, 32, 48, 64)\n")
    sections = ["[tool.archcheck]"]
    for number in range(MODELS):
        text = _MODEL.format(number=number, blocks=3 + number % 8)
        (folder / f"model_{number}.py").write_text(text)
        sections.append(
            "[[tool.archcheck.models]]\n"
            f'target = "model_{number}.py:Net{number}"\ninput = ["8,3,32,32"]'
        )
    (folder / "pyproject.toml").write_text("\n".join(sections) + "\n")


def archcheck(*arguments: str) -> list[str]:
    call = f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
    return [
        sys.executable,
        "-c",
        call + "from archcheck.frontends.cli.main import main; main()",
        *arguments,
    ]


def measured(command: list[str], folder: Path) -> tuple[float, float]:
    """Seconds on the clock, and of the processor in all processes."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    result = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    clock = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert result.returncode in (0, 1), result.stderr.decode()
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return clock, processor


def edit_package(folder: Path) -> None:
    with (folder / "package/models_7.py").open("a") as file:
        file.write("# edited\n")


def edit_one(folder: Path) -> None:
    with (folder / "model_7.py").open("a") as file:
        file.write("# edited\n")


def forget(folder: Path) -> None:
    shutil.rmtree(folder / ".archcheck_cache", ignore_errors=True)


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    steps: dict[str, tuple[Callable[[Path], None] | None, list[str]]] = {
        "import torch": (None, [sys.executable, "-c", "import torch"]),
        "no cache": (None, archcheck("--no-cache")),
        "first run": (forget, archcheck()),
        "unchanged": (None, archcheck()),
        "unchanged, as JSON": (None, archcheck("--format", "json")),
        "unchanged, as JSON again": (None, archcheck("--format", "json")),
        "one model edited": (edit_one, archcheck()),
        "one file from source, no cache": (None, archcheck("blocks.py", "--no-cache")),
        "one file from source, first run": (forget, archcheck("blocks.py")),
        "one file from source, unchanged": (None, archcheck("blocks.py")),
        "package from source, no cache": (None, archcheck("package", "--no-cache")),
        "package from source, first run": (forget, archcheck("package")),
        "package from source, unchanged": (None, archcheck("package")),
        "package from source, one file edited": (edit_package, archcheck("package")),
    }
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        project(folder)
        package(folder / "package")
        # Python compiles and the disk is read before anything counts.
        for command in (steps["import torch"][1], archcheck("model_0.py:Net0")):
            measured(command, folder)
        size = 0
        best = {name: (float("inf"), float("inf")) for name in steps}
        for _ in range(rounds):
            for name, (prepare, command) in steps.items():
                if prepare is not None:
                    prepare(folder)
                clock, processor = measured(command, folder)
                best[name] = (min(best[name][0], clock), min(best[name][1], processor))
                kept = sum(path.stat().st_size for path in folder.glob(".archcheck_cache/*/*"))
                size = max(size, kept)
    torch_clock, torch_processor = best["import torch"]
    print(f"{MODELS} models; what is kept of them takes {size / 1e6:.1f} MB")
    print(f"{'':38}{'clock':>9}{'ratio':>8}{'processor':>12}{'ratio':>8}")
    for name, (clock, processor) in best.items():
        ratios = clock / torch_clock, processor / torch_processor
        limit = f"   limit {LIMIT:.2f}" if name == "unchanged" else ""
        print(f"{name:38}{clock:8.2f}s{ratios[0]:8.2f}{processor:11.2f}s{ratios[1]:8.2f}{limit}")


if __name__ == "__main__":
    main()
