"""Settings of the process that a pass may change, put back whatever happens."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def preserved_settings(seed: int | None = 0) -> Iterator[None]:
    """Restores random states, default dtype and device, grad mode and flags at the end.

    Args:
        seed: What every generator starts from in the block, so that a model with random depth
            gives the same trace each time; None leaves them as they are.
    """
    numpy: Any = sys.modules.get("numpy")
    generator = torch.default_generator
    states = (
        generator.get_state(),
        random.getstate(),
        numpy.random.get_state() if numpy is not None and hasattr(numpy, "random") else None,
    )
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    dtype = torch.get_default_dtype()
    device = torch.get_default_device()
    grad = torch.is_grad_enabled()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn = (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic)
    anomaly = torch.is_anomaly_enabled()
    limit = sys.getrecursionlimit()
    try:
        if seed is not None:
            generator.manual_seed(seed)
            random.seed(seed)
            if states[2] is not None:
                numpy.random.seed(seed)
        torch.backends.mha.set_fastpath_enabled(False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        generator.set_state(states[0])
        random.setstate(states[1])
        if states[2] is not None:
            numpy.random.set_state(states[2])
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
