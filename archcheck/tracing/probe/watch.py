"""Sees the tensor functions of a real pass, and in which module and line each was called."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from archcheck.evidence.probe import ProbedOp
from archcheck.tracing.patching.patches import passed_on
from archcheck.tracing.record.functions import Functions, named_arguments
from archcheck.tracing.record.paths import hidden_modules, module_paths
from archcheck.tracing.record.placement import Placement
from archcheck.tracing.record.recorder import tensors_in
from archcheck.tracing.record.spans import Spans
from archcheck.tracing.record.substitutes import compiled_as_written


@dataclass(slots=True)
class SeenCall:
    """A function that has just run.

    Attributes:
        tensors: Those among its arguments, in order.
        outputs: Those that it gave; where it only wrote, what it wrote into.
        place: Asks which op it was, and where.
    """

    name: str
    arguments: Callable[[], Mapping[str, Any]]
    tensors: Sequence[torch.Tensor]
    outputs: Sequence[torch.Tensor]
    place: Callable[[], ProbedOp]


class Watch(TorchFunctionMode):
    """Hands every function of a pass to `saw`; what is asked of a GPU runs on the CPU.

    Attributes:
        open: The paths of the modules whose calls are running, outermost first.
    """

    def __init__(self, spans: Spans) -> None:
        super().__init__()
        self.open: list[str] = []
        self._spans = spans
        self._functions = Functions()
        self._placement = Placement()

    def saw(self, call: SeenCall) -> None:
        """Take down what a function did. By default nothing."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        described = self._functions.of(func)
        if described.quiet:
            return func(*args, **kwargs)
        given = list(tensors_in((*args, *kwargs.values())))
        pairs = [(0, tensor) for tensor in given]
        run, run_args, run_kwargs = self._placement.prepare(func, described, args, kwargs, pairs)
        result = passed_on(run, *run_args, **run_kwargs)
        outputs = list(tensors_in(result))
        if not outputs and described.in_place and given:
            outputs = given[:1]
        if outputs:

            def arguments() -> Mapping[str, Any]:
                return named_arguments(described, func, args, kwargs)

            def place() -> ProbedOp:
                return ProbedOp(
                    described.name,
                    self.open[-1] if self.open else "",
                    self._spans.at(self._spans.frame(1)),
                    any(tensor.numel() == 0 for tensor in (*given, *outputs))
                    or _is_over_one(described.name, arguments(), given, outputs),
                )

            self.saw(SeenCall(described.name, arguments, given, outputs, place))
        return result


def _is_over_one(
    name: str,
    arguments: Mapping[str, Any],
    given: Sequence[torch.Tensor],
    outputs: Sequence[torch.Tensor],
) -> bool:
    """Whether a function normalises over a single element."""
    if name in ("softmax", "log_softmax"):
        dim = arguments.get("dim")
        shape = outputs[0].shape
        return isinstance(dim, int) and bool(shape) and shape[dim] == 1
    if name == "scaled_dot_product_attention":
        return len(given) > 1 and given[1].shape[-2] == 1
    if name == "multi_head_attention_forward":
        key = arguments.get("key")
        return isinstance(key, torch.Tensor) and key.shape[0] == 1
    if name in ("layer_norm", "rms_norm"):
        sizes = arguments.get("normalized_shape")
        return isinstance(sizes, Sequence) and all(size == 1 for size in sizes)
    if name == "group_norm":
        groups = arguments.get("num_groups")
        each = given[0].shape[1:].numel() if given else 0
        return isinstance(groups, int) and each == groups
    return name == "instance_norm" and given[0].shape[2:].numel() == 1


@contextmanager
def watched(model: nn.Module, watch: Watch) -> Iterator[None]:
    """Show a pass over the model to the watch in this block; what it prints is dropped."""
    paths = {key: names[0] for key, names in module_paths(model).items()}
    hidden = hidden_modules(model, module_paths(model))
    modules = {id(module): module for module in model.modules()}
    modules |= {key: module for key, (module, _) in hidden.items()}
    paths |= {key: path for key, (_, path) in hidden.items()}

    def opened(path: str) -> Any:
        return lambda *_: watch.open.append(path)

    def closed(*_: Any) -> None:
        if watch.open:
            watch.open.pop()

    with ExitStack() as stack:
        for key, module in modules.items():
            if not isinstance(module, torch.jit.ScriptModule):
                before = module.register_forward_pre_hook(opened(paths[key]), prepend=True)
                after = module.register_forward_hook(closed, always_call=True)
                stack.callback(before.remove)
                stack.callback(after.remove)
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        stack.enter_context(compiled_as_written())
        stack.enter_context(watch)
        yield


def storage_of(tensor: torch.Tensor) -> int:
    """Return what tensors that share memory have in common, as long as they live."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):
        return id(tensor)


def is_float(tensor: torch.Tensor) -> bool:
    """Whether a tensor can carry a gradient, and can hold a NaN."""
    return tensor.is_floating_point() or tensor.is_complex()
