"""What the activations of a pass occupy at its worst moment.

The definition behind `Trace.peak_activation_bytes`: every storage that a tensor of the pass lives
in, inputs included, parameters and buffers left out, counts with all its bytes from the kernel
that made it until nothing holds it any more. A view adds nothing. With gradients enabled autograd
holds what the backward pass will read, so the same sum is, in train mode, all that is kept for
the backward pass plus what else was alive at that moment; below `no_grad` it is what is alive at
once, whatever the user's variables and hooks hold included. What a kernel allocates and frees
inside itself (a workspace) is not seen, nor are gradients: no backward pass is run.

This is the sum that `torch.distributed._tools.mem_tracker.MemTracker` calls activations, plus the
inputs. On meta tensors a storage has its size without its memory, so the figure is the same there
as long as the same kernels run.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from functools import partial
from typing import Any, Protocol

import torch


class Observer(Protocol):
    """Is told of each storage that is no parameter's or buffer's."""

    def appeared(self, storage: int, size: int) -> None: ...

    def vanished(self, storage: int) -> None: ...

    def model_own(self, storage: int) -> None: ...


class ActivationMemory:
    """Adds up the bytes of the storages that are alive, and remembers the largest sum.

    Call `saw(tensor)` for every tensor that goes into the pass, and after each kernel for every
    tensor that came out of it. A storage announces by itself that it is gone, so whoever records
    the pass must hold no tensor of it beyond the kernel, only the number that `saw` gives.

    Attributes:
        alive: The bytes alive now.
        peak: The most bytes that were alive at once.
        observer: Is told what comes and goes, if anybody wants to know.
    """

    def __init__(self, model_tensors: Iterable[torch.Tensor] = ()) -> None:
        """`model_tensors`: the parameters and buffers, which are no activations."""
        self.alive = 0
        self.peak = 0
        self.observer: Observer | None = None
        self._entries: dict[int, tuple[int, int, weakref.ref[Any]]] = {}
        self._count = 0
        for tensor in model_tensors:
            self._enter(tensor, activation=False)

    def saw(self, tensor: torch.Tensor) -> int:
        """Count the storage of a tensor if it is a new one.

        Returns:
            The storage's number: equal for tensors that share memory, never used again when the
            storage is gone.
        """
        return self._enter(tensor, activation=True)

    def known(self, tensor: torch.Tensor) -> int | None:
        """The number of a storage that was seen before; None for another."""
        try:
            storage = tensor.untyped_storage()
        except (NotImplementedError, RuntimeError):
            return None
        entry = self._entries.get(id(storage))
        return entry[0] if entry is not None and entry[2]() is storage else None

    def leave_out(self, tensor: torch.Tensor) -> None:
        """This storage is the model's own, which a lazy module made during the pass."""
        entry = self._entries.get(id(tensor.untyped_storage()))
        if entry is not None:
            self.alive -= entry[1]
            self._entries[id(tensor.untyped_storage())] = (entry[0], 0, entry[2])
            if self.observer is not None:
                self.observer.model_own(entry[0])
        else:
            self._enter(tensor, activation=False)

    def _enter(self, tensor: torch.Tensor, activation: bool) -> int:
        try:
            storage = tensor.untyped_storage()
        except (NotImplementedError, RuntimeError):
            # Sparse and nested layouts keep their elements elsewhere.
            self._count += 1
            return self._count
        key = id(storage)
        known = self._entries.get(key)
        if known is not None and known[2]() is storage:
            return known[0]
        self._count += 1
        size = storage.nbytes() if activation else 0
        self._entries[key] = (self._count, size, weakref.ref(storage, partial(self._forget, key)))
        self.alive += size
        self.peak = max(self.peak, self.alive)
        if activation and self.observer is not None:
            self.observer.appeared(self._count, size)
        return self._count

    def _forget(self, key: int, reference: weakref.ref[Any]) -> None:
        entry = self._entries.get(key)
        if entry is not None and entry[2] is reference:
            del self._entries[key]
            self.alive -= entry[1]
            if self.observer is not None:
                self.observer.vanished(entry[0])
