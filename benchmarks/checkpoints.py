"""Names and shapes of a file of 50 GB: archcheck beside torch and safetensors, each a new process.

    python benchmarks/checkpoints.py [GIGABYTES]

The files are sparse: they have the length, the header and the directory of real ones, and take next
to no room. Times are the least of several processes, Python's start included: by the clock, and of
the processor alone, which says the same on a busy machine. torch and safetensors map the whole file
and are refused one that is larger than the memory that the system lends; where they are, they read
one of SMALLER gigabytes with as many tensors.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from archcheck.checkpoints import read_checkpoint

TENSORS = 300
REPEATS = 7
SMALLER = 2
START = "pass"
OURS = "import sys; from archcheck.frontends.launch import main; main(['weights', {path!r}])"
TORCH = "import torch; print(len(torch.load({path!r}, mmap=True, map_location='meta')))"
SAFETENSORS = (
    "from safetensors import safe_open\n"
    "with safe_open({path!r}, 'pt') as f: print([f.get_slice(k).get_shape() for k in f.keys()])"
)


class Seconds(NamedTuple):
    """The least of several processes, by the clock and of the processor."""

    wall: float
    processor: float


def torch_zip(path: Path, size: int) -> None:
    """Write torch's own file without its tensors' bytes."""
    each = size // TENSORS // 4
    state = {}
    for number in range(TENSORS):
        part = path.with_suffix(f".{number}")
        with part.open("wb") as file:
            file.truncate(4 * each)
        state[f"layers.{number}.weight"] = torch.from_file(str(part), shared=True, size=each)
    with torch.serialization.skip_data():
        torch.save(state, path)


def safetensors(path: Path, size: int) -> None:
    """Write the header that safetensors writes for small tensors, with the sizes of large ones."""
    each = size // TENSORS // 4 * 4
    header = {
        f"layers.{n}.weight": {
            "dtype": "F32",
            "shape": [each // 4],
            "data_offsets": [n * each, (n + 1) * each],
        }
        for n in range(TENSORS)
    }
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + TENSORS * each)


def least_seconds(program: str) -> Seconds | str:
    """Return the least time that a process of the program takes, or why it fails."""
    runs = []
    for _ in range(REPEATS):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        if run.returncode:
            return run.stderr.splitlines()[-1]
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        runs.append(Seconds(wall, used))
    return Seconds(min(run.wall for run in runs), min(run.processor for run in runs))


def shown(reader: str, seconds: Seconds | str, ours: Seconds) -> str:
    if isinstance(seconds, str):
        return f"  {reader}: fails: {seconds}"
    return (
        f"  {reader}: {seconds.wall:.2f} s, {seconds.processor:.2f} s of the processor; ours is "
        f"{ours.wall / seconds.wall:.2f} and {ours.processor / seconds.processor:.2f} of it"
    )


def compare(
    folder: Path, size: int, write: Callable[[Path, int], None], reader: str, program: str
) -> None:
    path, smaller = folder / "large", folder / "smaller"
    write(path, size)
    checkpoint = read_checkpoint(str(path))
    print(f"{checkpoint.form}: {checkpoint.size:,} bytes, {checkpoint.bytes_read:,} read")
    ours = least_seconds(OURS.format(path=str(path)))
    if isinstance(ours, str):
        sys.exit(ours)
    print(shown("archcheck weights", ours, ours))
    print(shown("python -c pass", least_seconds(START), ours))
    theirs = least_seconds(program.format(path=str(path)))
    print(shown(reader, theirs, ours))
    if isinstance(theirs, str):
        write(smaller, SMALLER * 10**9)
        seconds = least_seconds(program.format(path=str(smaller)))
        print(shown(f"{reader} of {SMALLER} GB", seconds, ours))


def main() -> None:
    size = int(float(sys.argv[1]) * 1e9) if len(sys.argv) > 1 else 50 * 10**9
    with tempfile.TemporaryDirectory() as folder:
        for write, reader, program in (
            (torch_zip, "torch.load(mmap=True, map_location='meta')", TORCH),
            (safetensors, "safetensors.safe_open", SAFETENSORS),
        ):
            place = Path(folder) / reader
            place.mkdir()
            compare(place, size, write, reader, program)


if __name__ == "__main__":
    main()
