"""The state dicts of timm's and torchvision's architectures, saved under three wrappers: all match.

    python benchmarks/checkpoint_coverage.py [EVERY [SECONDS]] [--torchvision]

Each EVERYth architecture (25) is built on the meta device; its state dict is saved by torch.save
without bytes of tensors as DataParallel, torch.compile and Lightning name it, read back by
archcheck, and mapped on the model's. A mapping that leaves a key over is a failure. Architectures
that cannot be built on meta are built on the CPU; after SECONDS no other is begun.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from archcheck.analysis.state_dicts.compare import Signature
from archcheck.analysis.state_dicts.diagnose import diagnose
from archcheck.checkpoints import read_checkpoint
from archcheck.tracing.record.describe_state import renaming_modules, state_dict_of

State = dict[str, torch.Tensor]


def _under(prefix: str, state: State) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


WRAPPERS: dict[str, Callable[[State], Any]] = {
    "DataParallel": lambda state: _under("module.", state),
    "torch.compile of DDP": lambda state: _under("_orig_mod.module.", state),
    "Lightning": lambda state: {"epoch": 1, "state_dict": _under("model.", state)},
}


def architectures(every: int, torchvision: bool) -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    # A torchvision that was built for another torch lacks its operators: names are enough.
    library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms(Tensor a, Tensor b, float c) -> Tensor", "qnms(Tensor a) -> Tensor"):
        with suppress(RuntimeError):
            library.define(operator)
    if torchvision:
        from torchvision import models

        for name in models.list_models()[::every]:
            backbone = {} if _is_classifier(name) else {"weights_backbone": None}
            yield name, partial(models.get_model, name, weights=None, **backbone)
        return
    import timm

    for name in timm.list_models()[::every]:
        yield name, partial(timm.create_model, name)


def built(build: Callable[[], nn.Module]) -> nn.Module | None:
    """Return the model, without memory for its weights where its constructor allows that."""
    for device in ("meta", "cpu"):
        with suppress(Exception), torch.device(device):
            return build()
    return None


def _is_classifier(name: str) -> bool:
    """Whether it has no backbone, whose weights torchvision would download."""
    return not any(
        kind in name for kind in ("rcnn", "fcn", "ssd", "retina", "fcos", "deeplab", "lraspp")
    )


def main() -> None:
    numbers = [int(argument) for argument in sys.argv[1:] if argument.isdigit()]
    total, models, failed, slowest = 0, 0, [], 0.0
    end = time.monotonic() + (numbers[1] if len(numbers) > 1 else float("inf"))
    for name, build in architectures(numbers[0] if numbers else 25, "--torchvision" in sys.argv):
        if time.monotonic() > end:
            print(f"stopped before {name}")
            break
        model = built(build)
        if model is None:
            print(f"{name}: not built")
            continue
        models += 1
        state = {
            key: torch.empty(tensor.shape, dtype=tensor.dtype)
            for key, tensor in model.state_dict().items()
        }
        signature = Signature.of(state_dict_of(model), renaming_modules(model))
        for wrapper, wrapped in WRAPPERS.items():
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "x.pt"
                with torch.serialization.skip_data():
                    torch.save(wrapped(state), path)
                start = time.perf_counter()
                diagnosis = diagnose(signature, read_checkpoint(str(path)))
                slowest = max(slowest, time.perf_counter() - start)
            total += 1
            if not diagnosis.after.loads or len(diagnosis.after.matched) != len(state):
                failed.append(f"{name} under {wrapper}")
    print(
        f"{total - len(failed):,} of {total:,} match, {models:,} architectures; "
        f"slowest {slowest:.2f} s"
    )
    print(*failed, sep="\n")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
