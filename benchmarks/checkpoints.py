"""Names and shapes of a file of 50 GB: archcheck beside torch and safetensors, each a new process.

    python benchmarks/checkpoints.py [GIGABYTES]

The files are sparse: they have the length, the header and the directory of real ones, and take next
to no room. Times are the least of several processes, Python's start included.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from archcheck.checkpoints import read_checkpoint

TENSORS = 300
REPEATS = 5
OURS = "import sys; from archcheck.frontends.cli.main import main; main(['weights', {path!r}])"
READERS = {
    "archcheck weights": OURS,
    "torch.load(mmap=True, map_location='meta')": (
        "import torch; print(len(torch.load({path!r}, mmap=True, map_location='meta')))"
    ),
    "safetensors.safe_open": (
        "from safetensors import safe_open\n"
        "with safe_open({path!r}, 'pt') as f: print([f.get_slice(k).get_shape() for k in f.keys()])"
    ),
}


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


def least_seconds(program: str) -> float:
    """Return the least time that a process of the program takes."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        if run.returncode:
            print(f"  fails: {run.stderr.splitlines()[-1]}")
            return float("nan")
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def main() -> None:
    size = int(float(sys.argv[1]) * 1e9) if len(sys.argv) > 1 else 50 * 10**9
    with tempfile.TemporaryDirectory() as folder:
        for name, write, other in (
            ("large.pt", torch_zip, "torch.load(mmap=True, map_location='meta')"),
            ("large.safetensors", safetensors, "safetensors.safe_open"),
        ):
            path = Path(folder) / name
            write(path, size)
            checkpoint = read_checkpoint(str(path))
            print(f"{name}: {checkpoint.size:,} bytes, {checkpoint.bytes_read:,} read")
            times = {
                reader: least_seconds(READERS[reader].format(path=str(path)))
                for reader in ("archcheck weights", other)
            }
            for reader, seconds in times.items():
                print(f"  {reader}: {seconds:.2f} s")
            print(f"  ratio: {times['archcheck weights'] / times[other]:.2f}")


if __name__ == "__main__":
    main()
