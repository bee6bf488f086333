"""What the main commands cost in seconds and memory, beside what their user pays anyway.

    python benchmarks/main_command.py [ROUNDS]

Every command is a process of its own, in a new folder with the models in it: archcheck remembers
nothing, and writes what it will remember, as at anybody's first run. The row "once more" repeats
the command in the same folder. All of Python's bytecode is compiled by a run that does not count.
The commands run in turns, so that a busy moment of the machine meets all of them; of ROUNDS runs
(5) the fastest counts, and the largest memory of any process in it (of archcheck, that is the
worker's). Processor seconds, of all its processes together, tell more than seconds where the
machine is busy. The last column is the limit that the project has set itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MODELS = Path(__file__).parent.parent / "fixtures" / "models"

_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"

# The usual way to the same figures.
SUMMARY_AND_FVCORE = f"""
import logging, runpy, torch, torchinfo
from fvcore.nn import FlopCountAnalysis
logging.getLogger("fvcore").setLevel(logging.ERROR)
model = runpy.run_path({str(MODELS / "resnet152.py")!r})["resnet152"]()
torchinfo.summary(model, input_size=(8, 3, 224, 224), verbose=0)
FlopCountAnalysis(model, torch.rand(8, 3, 224, 224)).total()
"""


def python(code: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code)


def archcheck(file: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "archcheck", file, *arguments)


def traced(file: str, name: str, shape: str) -> tuple[str, ...]:
    return archcheck(f"{file}:{name}", "--input", shape)


COMMANDS = {
    "import typer": python("import typer"),
    "import torch": python("import torch"),
    "archcheck resnet32.py": archcheck("resnet32.py"),
    "archcheck resnet32.py:ResNet32": traced("resnet32.py", "ResNet32", "8,3,224,224"),
    "archcheck resnet152.py:resnet152": traced("resnet152.py", "resnet152", "8,3,224,224"),
    "archcheck llama405b.py:llama405b": traced("llama405b.py", "llama405b", "1,8192:int64"),
    "torchinfo and fvcore, resnet152": python(SUMMARY_AND_FVCORE),
}
REPEATED = "archcheck resnet32.py:ResNet32"
ONCE_MORE = f"{REPEATED}, once more"


@dataclass(frozen=True, slots=True)
class Run:
    seconds: float
    processor: float
    megabytes: float


@dataclass(frozen=True, slots=True)
class Limit:
    """`measured` of one command is to be at most (or at least) `factor` times that of another."""

    command: str
    other: str
    factor: float
    measured: str = "seconds"
    at_least: bool = False


LIMITS = (
    Limit("archcheck resnet32.py", "import typer", 2.5),
    Limit("archcheck resnet32.py:ResNet32", "import torch", 2.2),
    Limit("archcheck resnet152.py:resnet152", "import torch", 1.9),
    Limit("archcheck llama405b.py:llama405b", "import torch", 1.3, "megabytes"),
    Limit(
        "torchinfo and fvcore, resnet152",
        "archcheck resnet152.py:resnet152",
        2.5,
        at_least=True,
    ),
)


def run(command: Sequence[str], folder: str, bytecode: str) -> Run:
    """One run in a process of its own; its findings make no difference."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={
            **{name: value for name, value in os.environ.items() if name != _NO_BYTECODE},
            "PYTHONPYCACHEPREFIX": bytecode,
        },
    )
    assert process.stderr is not None
    usage_error = process.stderr.read().decode()
    # The usage of a process includes that of the children that it waited for.
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1) or "Traceback" in usage_error:
        raise SystemExit(f"{' '.join(command)[:200]}\n{usage_error}")
    kilobytes = usage.ru_maxrss / (1024 if sys.platform == "darwin" else 1)
    return Run(seconds, usage.ru_utime + usage.ru_stime, kilobytes / 1024)


def fastest(rounds: int) -> dict[str, Run]:
    runs: dict[str, list[Run]] = {name: [] for name in COMMANDS}
    runs[ONCE_MORE] = []
    with tempfile.TemporaryDirectory() as bytecode:
        for turn in range(rounds + 1):
            with tempfile.TemporaryDirectory() as folder:
                shutil.copytree(MODELS, folder, dirs_exist_ok=True)
                for name, command in (*COMMANDS.items(), (ONCE_MORE, COMMANDS[REPEATED])):
                    one = run(command, folder, bytecode)
                    if turn:
                        runs[name].append(one)
    return {
        name: Run(
            min(one.seconds for one in own),
            min(one.processor for one in own),
            max(one.megabytes for one in own),
        )
        for name, own in runs.items()
    }


def main() -> None:
    measured = fastest(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
    print(f"{'command':<44}{'seconds':>9}{'processor':>11}{'MB':>8}")
    for name, best in measured.items():
        print(f"{name:<44}{best.seconds:>9.2f}{best.processor:>11.2f}{best.megabytes:>8.0f}")
    print()
    print(f"{'against':<76}{'ratio':>7}{'limit':>8}{'processor':>11}")
    for limit in LIMITS:
        one, other = measured[limit.command], measured[limit.other]
        ratio = getattr(one, limit.measured) / getattr(other, limit.measured)
        word = "≥" if limit.at_least else "≤"
        pair = f"{limit.command} : {limit.other} ({limit.measured})"
        missed = ratio < limit.factor if limit.at_least else ratio > limit.factor
        print(
            f"{pair:<76}{ratio:>7.2f}{word:>4}{limit.factor:>4}"
            f"{one.processor / other.processor:>11.2f}{' missed' if missed else ''}"
        )


if __name__ == "__main__":
    main()
