"""Functions that a pass must take another way than torch does by itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F

from archcheck.tracing.patching.attention import attention_as_on_cpu
from archcheck.tracing.patching.patches import on_this_thread, passed_on, replaced
from archcheck.tracing.record.lines import Lines
from archcheck.tracing.record.recorder import Recorder, tensors_in
from archcheck.tracing.record.spans import Spans


@contextmanager
def compiled_as_written() -> Iterator[None]:
    """`torch.compile` gives back what it gets: the code is what is checked, not its kernels."""

    def compile_nothing(model: Any = None, **_: Any) -> Any:
        return model if model is not None else lambda function: function

    with replaced((torch, "compile", compile_nothing)):
        yield


@contextmanager
def patterns_read_anew() -> Iterator[None]:
    """einops remembers what it made of a shape by the numbers in it, and would hand the sizes of
    one tensor to the next."""
    einops = sys.modules.get("einops.einops")
    anew = getattr(einops, "_reconstruct_from_shape_uncached", None)
    if einops is None or anew is None:
        yield
        return
    with replaced((einops, "_reconstruct_from_shape", anew)):
        yield


class NothingSaved(Exception):
    """A backward pass asks for a tensor that was not kept for it."""


@contextmanager
def nothing_saved() -> Iterator[None]:
    """Autograd keeps no tensor in this block, as below `no_grad`, but tells where gradients go."""

    def unpack(_: None) -> torch.Tensor:
        raise NothingSaved

    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: None, unpack):
        yield


@contextmanager
def recorded_autograd_functions(recorder: Recorder, spans: Spans, lines: Lines) -> Iterator[None]:
    """Enters each call of a custom autograd function as an op around those that it runs.

    Below it gradients are off, so that only the function itself tells that one flows through.
    Reentrant checkpointing is such a function, too; what it runs is the model's own code, with
    gradients, so it is run as if there were no checkpoint.
    """
    function = torch.autograd.Function
    # Until torch 2.13 a classmethod in Python, from 2.14 on one in C: both bind to a class.
    original = vars(function)["apply"]
    mine = on_this_thread()

    def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
        bound = original.__get__(None, cls)
        if not mine() or recorder.running is not None:
            return passed_on(bound, *args, **kwargs)
        if cls.__name__ == "CheckpointFunction" and cls.__module__ == "torch.utils.checkpoint":
            run_function, _, *rest = args
            return passed_on(run_function, *rest)
        with torch._C.DisableTorchFunction():
            frame = spans.frame(1)
            lines.event(frame)
            found: list[tuple[int, torch.Tensor]] = []
            arguments = {str(place): recorder.nest(arg, found) for place, arg in enumerate(args)}
        result = passed_on(bound, *args, **kwargs)
        with torch._C.DisableTorchFunction():
            name = f"{cls.__module__}.{cls.__qualname__}"
            op = recorder.begin_op(cls.__name__, name, spans.at(frame))
            op.arguments = arguments
            # What ran inside it leads to the outputs too, so that none of it looks unused.
            inner = [recorder.known(tensor) for tensor in tensors_in(result)]
            op.inputs = [index for index, _ in found] + [i for i in inner if i is not None]
            recorder.end_op(op, result)
        return result

    with replaced((function, "apply", classmethod(apply))):
        yield


@contextmanager
def fused_attention(recorder: Recorder) -> Iterator[None]:
    """Attention on meta tensors runs the fused kernel wherever it runs on the CPU."""
    original = F.scaled_dot_product_attention
    mine = on_this_thread()

    def attention(*args: Any, **kwargs: Any) -> Any:
        # Below a recorded function (multi-head attention) nobody else chooses the kernel.
        if mine() and recorder.running is not None:
            return attention_as_on_cpu(*args, **kwargs)
        return passed_on(original, *args, **kwargs)

    with replaced((F, "scaled_dot_product_attention", attention)):
        yield
