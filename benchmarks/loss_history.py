"""How many bytes stay in use after each training step, by what is kept of its loss.

    python benchmarks/loss_history.py

Counted are the bytes that the C allocator has handed out (glibc's mallinfo2), not those of the
process, which depend on how the allocator's arenas happen to be filled.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

STEPS, BATCH, WIDTH = 200, 64, 64


class Mallinfo(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost",
    )]  # fmt: skip


def bytes_in_use() -> int:
    """Return the bytes that are allocated now, mapped blocks included."""
    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Mallinfo
    now = mallinfo()
    return int(now.uordblks + now.hblkhd)


def network(depth: int) -> nn.Sequential:
    hidden = [layer for _ in range(depth) for layer in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, 1))


Keep = Callable[[list[Any], Tensor, Tensor], None]


def add(kept: list[Any], loss: Tensor, output: Tensor) -> None:
    kept[0] += loss


def add_number(kept: list[Any], loss: Tensor, output: Tensor) -> None:
    kept[0] += loss.item()


def append(kept: list[Any], loss: Tensor, output: Tensor) -> None:
    kept.append(loss)


def append_detached(kept: list[Any], loss: Tensor, output: Tensor) -> None:
    kept.append(loss.detach())


def append_number(kept: list[Any], loss: Tensor, output: Tensor) -> None:
    kept.append(loss.item())


def append_output(kept: list[Any], loss: Tensor, output: Tensor) -> None:
    kept.append(output)


def bytes_per_step(keep: Keep, depth: int, *, backward: bool) -> float:
    """Return how much more is in use after each step."""
    torch.manual_seed(0)
    model = network(depth)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    x, y = torch.randn(BATCH, WIDTH), torch.randn(BATCH, 1)
    kept: list[Any] = [0.0]

    def step() -> None:
        output = model(x)
        loss = nn.functional.mse_loss(output, y)
        if backward:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        keep(kept, loss, output)

    for _ in range(20):
        step()
    gc.collect()
    before = bytes_in_use()
    for _ in range(STEPS):
        step()
    gc.collect()
    return (bytes_in_use() - before) / STEPS


def main() -> None:
    torch.set_num_threads(1)
    rows: list[tuple[str, Keep]] = [
        ("total += loss.item()", add_number), ("losses.append(loss.item())", append_number),
        ("losses.append(loss.detach())", append_detached), ("total += loss", add),
        ("losses.append(loss)", append), ("outputs.append(output)", append_output),
    ]  # fmt: skip
    print(f"bytes per step, {BATCH} x {WIDTH}; a network of 2, of 8, of 32 hidden layers")
    for backward in (True, False):
        print("after loss.backward()" if backward else "without a backward, nor no_grad()")
        for name, keep in rows:
            found = [bytes_per_step(keep, depth, backward=backward) for depth in (2, 8, 32)]
            print(f"  {name:30}", *(f"{value:12,.0f}" for value in found))


if __name__ == "__main__":
    main()
