"""Settings of the process that a pass may change, put back whatever happens."""

from __future__ import annotations

import gc
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def preserved_settings() -> Iterator[None]:
    """Restores random states, default dtype and device, grad mode and flags at the end."""
    # Never imported for this: `numpy.random` alone takes as long as a small pass.
    numpy: Any = sys.modules.get("numpy.random")
    generator = torch.default_generator
    states = (
        generator.get_state(),
        random.getstate(),
        numpy.get_state() if numpy is not None else None,
    )
    has_cuda = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    cuda = torch.cuda.get_rng_state_all() if has_cuda else None
    dtype = torch.get_default_dtype()
    device = torch.get_default_device()
    grad = torch.is_grad_enabled()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic)
    anomaly = torch.is_anomaly_enabled()
    limit = sys.getrecursionlimit()
    distribution = torch.distributions.Distribution
    validates = distribution._validate_args
    try:
        # A distribution reads its parameters to check them.
        distribution.set_default_validate_args(False)
        torch.backends.mha.set_fastpath_enabled(False)
        # The watchers stand between the frames of nested modules.
        sys.setrecursionlimit(2 * limit)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        distribution.set_default_validate_args(validates)
        generator.set_state(states[0])
        random.setstate(states[1])
        if states[2] is not None:
            numpy.set_state(states[2])
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        torch.set_grad_enabled(grad)
        torch.backends.mha.set_fastpath_enabled(fast_path)
        if deterministic != torch.are_deterministic_algorithms_enabled():
            torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
        if anomaly != torch.is_anomaly_enabled():
            torch.autograd.set_detect_anomaly(anomaly)
        if sys.getrecursionlimit() != limit:
            sys.setrecursionlimit(limit)


def seeded(seed: int = 0) -> None:
    """Starts every generator anew, so that a model of random depth gives the same trace twice."""
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    numpy: Any = sys.modules.get("numpy.random")
    if numpy is not None:
        numpy.seed(seed)


@contextmanager
def without_collections() -> Iterator[None]:
    """No garbage collection in this block.

    A collection in the middle of a pass walks over all of torch, and frees tensors in cycles at
    moments that differ from run to run, which would show in the peak of the activations.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
