"""Builds a model so that its parameters take no memory, and notes where each module was made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from archcheck.core.finding import Location
from archcheck.tracing.patching.patches import on_this_thread, replaced
from archcheck.tracing.record.functions import Functions
from archcheck.tracing.record.paths import hidden_modules, module_paths
from archcheck.tracing.record.placement import MetaPlacement, Placement
from archcheck.tracing.record.recorder import tensors_in
from archcheck.tracing.record.spans import Spans

# Whole numbers and truth values that a buffer holds are mostly indices and masks, which code
# reads: they stay real while they are small.
_READ = {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool}
SMALL_BUFFER = 1 << 12


class Origins:
    """Where in the user's code each module was constructed, by `id`."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self._found: dict[int, tuple[nn.Module, Location | None]] = {}

    def of(self, module: nn.Module) -> Location | None:
        known = self._found.get(id(module))
        return known[1] if known is not None and known[0] is module else None

    def forget(self) -> None:
        """Lets go of the modules."""
        self._found.clear()

    def note(self, module: nn.Module, depth: int) -> None:
        if id(module) in self._found and self._found[id(module)][0] is module:
            return
        frame = self._spans.frame(depth + 1)
        # The expression that constructs a module stands below the frames of its own __init__.
        while frame is not None and _first_argument(frame) is module:
            frame = self._spans.above(frame)
        self._found[id(module)] = (module, self._spans.at(frame))


def _first_argument(frame: FrameType) -> Any:
    code = frame.f_code
    if not code.co_argcount:
        return None
    names = frame.f_locals
    return names.get(code.co_varnames[0])


@contextmanager
def noted_origins(origins: Origins) -> Iterator[None]:
    """Notes where modules are constructed, or copied, in this block."""
    init, set_state = nn.Module.__init__, nn.Module.__setstate__
    mine = on_this_thread()

    def noting_init(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        if mine():
            origins.note(self, 1)
        init(self, *args, **kwargs)

    def noting_set_state(self: nn.Module, state: Any) -> None:
        if mine():
            origins.note(self, 1)
        set_state(self, state)  # type: ignore[no-untyped-call]

    with replaced(
        (nn.Module, "__init__", noting_init), (nn.Module, "__setstate__", noting_set_state)
    ):
        yield


def _is_on_meta(args: Any, kwargs: Any) -> bool:
    tensor = args[0] if args else kwargs.get("tensor")
    return isinstance(tensor, torch.Tensor) and tensor.is_meta


class _Placed(TorchFunctionMode):
    """What a constructor asks a GPU for is made here; large tensors take no memory."""

    def __init__(self, placement: Placement) -> None:
        super().__init__()
        self._functions = Functions()
        self._placement = placement

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        described = self._functions.of(func)
        if described.quiet:
            return func(*args, **kwargs)
        if described.function.startswith("torch.nn.init.") and _is_on_meta(args, kwargs):
            return args[0] if args else kwargs["tensor"]  # nothing to fill
        found = [(0, tensor) for tensor in tensors_in((*args, *kwargs.values()))]
        func, args, kwargs = self._placement.prepare(func, described, args, kwargs, found)
        return func(*args, **kwargs)


@contextmanager
def placed_on_cpu() -> Iterator[None]:
    """A constructor that asks for a GPU gets the CPU in this block."""
    with _Placed(Placement()):
        yield


@contextmanager
def parameters_on_meta() -> Iterator[None]:
    """Moves parameters and buffers to the meta device as they are registered.

    Ordinary tensors of a constructor stay real, so that it may read their values.
    """
    register_parameter = nn.Module.register_parameter
    register_buffer = nn.Module.register_buffer
    mine = on_this_thread()

    def parameter_on_meta(self: nn.Module, name: str, param: Any) -> None:
        if param is not None and mine():
            param = turned_meta(param)
        register_parameter(self, name, param)

    def buffer_on_meta(self: nn.Module, name: str, tensor: Any, persistent: bool = True) -> None:
        if isinstance(tensor, torch.Tensor) and mine() and not stays_real(tensor):
            tensor = turned_meta(tensor)
        register_buffer(self, name, tensor, persistent)

    with (
        replaced(
            (nn.Module, "register_parameter", parameter_on_meta),
            (nn.Module, "register_buffer", buffer_on_meta),
        ),
        _Placed(MetaPlacement()),
    ):
        yield


def stays_real(tensor: torch.Tensor) -> bool:
    """Whether code may want to read this buffer, and it is small enough to let it."""
    return tensor.dtype in _READ and tensor.numel() <= SMALL_BUFFER


def may_stay(tensor: torch.Tensor) -> bool:
    return not isinstance(tensor, nn.Parameter) and stays_real(tensor)


def turned_meta(tensor: torch.Tensor) -> torch.Tensor:
    """The same object on the meta device; a new one where torch cannot swap its memory."""
    if tensor.is_meta or not isinstance(tensor, torch.Tensor):
        return tensor
    if is_lazy(tensor):
        kind: Any = type(tensor)
        lazy: torch.Tensor = kind(
            requires_grad=tensor.requires_grad, device="meta", dtype=tensor.dtype
        )
        return lazy
    with torch._C.DisableTorchFunction():
        meta = meta_copy(tensor)
        try:
            torch.utils.swap_tensors(tensor, meta)  # type: ignore[no-untyped-call]
        except (RuntimeError, AttributeError, TypeError):
            return meta
    return tensor


def meta_copy(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the same kind, a parameter where it is one, without memory."""
    with torch.no_grad():
        try:
            meta = torch.empty_strided(
                tensor.size(), tensor.stride(), dtype=tensor.dtype, device="meta"
            )
        except (RuntimeError, NotImplementedError):
            meta = tensor.detach().to("meta")
    if isinstance(tensor, nn.Parameter):
        copy: torch.Tensor = nn.Parameter(meta, requires_grad=tensor.requires_grad)
        if type(tensor) is not nn.Parameter:
            copy.__class__ = type(tensor)
        copy.__dict__.update(tensor.__dict__)
        return copy
    return meta.requires_grad_(tensor.requires_grad)


def convert(model: nn.Module, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Puts a changed tensor in the place of each parameter and buffer; shared ones stay shared."""
    changed: dict[int, torch.Tensor] = {}
    kept: list[torch.Tensor] = []

    def of(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in changed:
            kept.append(tensor)
            changed[id(tensor)] = change(tensor)
        return changed[id(tensor)]

    hidden = [module for module, _ in hidden_modules(model, module_paths(model)).values()]
    for module in (*model.modules(), *hidden):
        if isinstance(module, torch.jit.ScriptModule):
            continue  # its tensors are kept where Python cannot reach them
        for tensors in (module._parameters, module._buffers):
            held: dict[str, Any] = tensors
            for name, tensor in list(held.items()):
                if tensor is not None:
                    held[name] = of(tensor)
