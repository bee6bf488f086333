"""What a model is given: as the user asked, as its file does, or as its first layer wants it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from archcheck.core.target import InputSpec, Size, UsageError
from archcheck.tracing.input_tensors import NamedInput, TensorSpec, map_nest
from archcheck.tracing.signatures import signature_of
from archcheck.worker.inputs.calls_in_file import Argument, OwnCall, TensorArgument, own_calls
from archcheck.worker.slicing.module_source import ModuleSource

_BATCH = 2
# The sizes of images, signals and sequences that are tried, the likeliest first.
_IMAGE = (
    *(224, 32, 28, 64, 128, 256, 299, 512, 96, 84, 227, 160, 48, 112, 192, 384, 16, 100, 150),
    *(200, 240, 300, 320, 416, 448, 572, 600, 640, 1024),
)
_PICTURES = tuple((_BATCH, channels, size, size) for channels, size in ((3, 224), (3, 32), (1, 28)))
_SIGNAL = (128, 1024, 16, 8000)
_VOLUME = (32, 64, 16, 112)
_SEQUENCE = (16, 128, 8, 512)

_IMAGE_LETTERS = frozenset("HWD")
_BATCH_LETTERS = frozenset("BN")
# Annotations of a dict or of a list of tensors.
_NEST = re.compile(r"(?:\w+\.)*(?:(?P<list>list|tuple|sequence|iterable)|dict|mapping)\b", re.I)
_INTEGER_NAMES = ("ids", "idx", "token", "index", "indices", "words", "label")


@dataclass(frozen=True, slots=True)
class Candidate:
    """Inputs to try.

    Attributes:
        inputs: As the engine takes them.
        sentence: Where they come from, if the user didn't give them.
        free: For each input the dimensions that the user left free, with their letters.
        guessed: Nothing but the model's layers speaks for them.
    """

    inputs: tuple[NamedInput, ...]
    sentence: str | None = None
    free: tuple[Mapping[int, str], ...] = ()
    guessed: bool = False


def given_inputs(specs: Sequence[InputSpec]) -> Iterator[Candidate]:
    """What the user asked for; with free sizes, several choices of them, the likeliest first."""
    letters = _letters(specs)
    free = tuple(
        {
            place: size
            for shape in spec.shapes[:1]
            for place, size in enumerate(shape)
            if isinstance(size, str)
        }
        for spec in specs
    )
    for sizes in _choices(letters):
        yield Candidate(tuple(_named(spec, sizes) for spec in specs), None, free)


def _letters(specs: Sequence[InputSpec]) -> dict[str, tuple[int, int]]:
    """Each letter, with the place where it stands first and the rank there."""
    found: dict[str, tuple[int, int]] = {}
    for spec in specs:
        for shape in spec.shapes:
            for place, size in enumerate(shape):
                if isinstance(size, str):
                    found.setdefault(size, (place, len(shape)))
    return found


def _choices(letters: Mapping[str, tuple[int, int]]) -> Iterator[dict[str, int]]:
    fixed: dict[str, int] = {}
    images: list[str] = []
    lengths: list[str] = []
    for letter, (place, rank) in letters.items():
        kind = letter[0].upper()
        if kind in _BATCH_LETTERS or (place == 0 and rank > 1 and kind not in "CFTLS"):
            fixed[letter] = _BATCH
        elif kind == "C" and rank in (3, 4):
            fixed[letter] = 3
        elif kind in _IMAGE_LETTERS or rank >= 4:
            images.append(letter)
        else:
            lengths.append(letter)
    if not images and not lengths:
        yield fixed
        return
    for place in range(max(len(_IMAGE) if images else 0, len(_SEQUENCE) if lengths else 0)):
        yield {
            **fixed,
            **dict.fromkeys(images, _IMAGE[place % len(_IMAGE)]),
            **dict.fromkeys(lengths, _SEQUENCE[place % len(_SEQUENCE)]),
        }


def _named(spec: InputSpec, sizes: Mapping[str, int]) -> NamedInput:
    def shape_of(shape: tuple[Size, ...]) -> tuple[int, ...]:
        return tuple(size if isinstance(size, int) else sizes[size] for size in shape)

    dtypes = spec.dtypes or (None,) * len(spec.shapes)
    tensors = [
        TensorSpec(shape_of(shape), dtype or spec.dtype)
        for shape, dtype in zip(spec.shapes, dtypes, strict=True)
    ]
    if spec.keys:
        return NamedInput(dict(zip(spec.keys, tensors, strict=True)), spec.name)
    return NamedInput(tensors if spec.nested else tensors[0], spec.name)


def inputs_from(result: Any, forward: Callable[..., Any] | None, told: str) -> Candidate:
    """The arguments that a function of the user's returned, tensors as their shapes and dtypes.

    A tuple or list is several arguments; a dict names them, where forward has those names.
    """

    def spec(leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return TensorSpec(tuple(leaf.shape), str(leaf.dtype).removeprefix("torch."))
        return leaf

    nest = map_nest(result, spec)
    if isinstance(nest, tuple | list):
        return Candidate(tuple(NamedInput(value) for value in nest), told)
    if isinstance(nest, dict):
        try:
            parameters = set(signature_of(forward).parameters) if forward else set(nest)
        except (TypeError, ValueError):
            parameters = set()
        if nest and set(nest) <= parameters:
            return Candidate(tuple(NamedInput(v, name) for name, v in nest.items()), told)
    return Candidate((NamedInput(nest),), told)


def guessed_inputs(
    source: ModuleSource | None, name: str, line: int, model: nn.Module, place: str
) -> Iterator[Candidate]:
    """What the model may want to be given: as its file calls it, else as its layers are made.

    Args:
        name: What makes the model in its file.
        line: Calls above this line are of something else.
        place: What to call the file.

    Raises:
        UsageError: Nothing tells.
    """
    if source is not None:
        for call in own_calls(source.tree, name, line):
            if _fits(call, model.forward):
                yield from _as_in(call, source, place)
                return
    yield from _from_layers(model)


def _fits(call: OwnCall, forward: Callable[..., Any]) -> bool:
    try:
        signature_of(forward).bind(*call.arguments, **call.keywords)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _as_in(call: OwnCall, source: ModuleSource, place: str) -> Iterator[Candidate]:
    from archcheck.core.finding import Location

    at = source.document.origin(Location(place, call.line))
    where = f"{place}:{at.line}" if at.cell is None else f"{place}, cell {at.cell}, line {at.line}"
    sentence = f"the input is that of {where}, `{call.text}`"
    inputs = _call_inputs(call, None)
    yield Candidate(inputs, sentence)
    tensors = [a for a in (*call.arguments, *call.keywords.values()) if _is_batch_of_one(a)]
    if tensors:
        # In train mode, batch statistics need more than one sample.
        yield Candidate(_call_inputs(call, _BATCH), f"{sentence}, with a batch of {_BATCH}")


def _is_batch_of_one(argument: Argument) -> bool:
    return (
        isinstance(argument, TensorArgument) and len(argument.shape) > 1 and argument.shape[0] == 1
    )


def _call_inputs(call: OwnCall, batch: int | None) -> tuple[NamedInput, ...]:
    def value(argument: Argument) -> Any:
        if not isinstance(argument, TensorArgument):
            return argument.value
        shape = argument.shape
        if batch is not None and _is_batch_of_one(argument):
            shape = (batch, *shape[1:])
        return TensorSpec(shape, argument.dtype)

    return (
        *(NamedInput(value(argument)) for argument in call.arguments),
        *(NamedInput(value(argument), name) for name, argument in call.keywords.items()),
    )


def _from_layers(model: nn.Module) -> Iterator[Candidate]:
    parameters = _required(model.forward)
    if parameters is not None and len(parameters) != 1:
        names = ", ".join(parameters) or "nothing"
        first = f"{parameters[0]}=" if parameters else ""
        raise UsageError(
            f"forward of {type(model).__name__} takes {names}: "
            f"give one --input for each, such as `--input {first}8,3,224,224`"
        )
    name = parameters[0] if parameters else ""
    _refuse_nests(model, name)
    integers = any(part in name.lower() for part in _INTEGER_NAMES)
    for path, layer in model.named_modules():
        shapes = list(_shapes_for(layer))
        if not shapes:
            continue
        if len(shapes[0][0]) == 4 or isinstance(layer, nn.Linear):
            # The layer may see a part of the input, or what forward makes of it.
            shapes += [(image, None) for image in _PICTURES if (image, None) not in shapes]
        called = f"`{path or type(model).__name__}`"
        for shape, dtype in shapes:
            yield Candidate(
                (NamedInput(TensorSpec(shape, "int64" if integers and len(shape) < 3 else dtype)),),
                f"the input {list(shape)} is a guess by the first layer, "
                f"{called} ({_described(layer)})",
                guessed=True,
            )
        return
    raise UsageError(
        f"nothing tells what forward of {type(model).__name__} is given: "
        "say it with --input, such as `--input 8,3,224,224`"
    )


def _refuse_nests(model: nn.Module, name: str) -> None:
    """Guess no tensor for a parameter that takes several in a dict or a list.

    Raises:
        UsageError: The parameter is annotated so.
    """
    try:
        parameter = signature_of(model.forward).parameters[name]
    except (KeyError, TypeError, ValueError):
        return
    kind = _NEST.match(inspect.formatannotation(parameter.annotation).strip("'\""))
    if kind is None:
        return
    what, example = ("dict", "{image=8,3,224,224;mask=8,224,224:bool}")
    if kind["list"]:
        what, example = ("list", "[8,64,56,56;8,128,28,28]")
    raise UsageError(
        f"forward of {type(model).__name__} takes a {what} of tensors: "
        f"say which with --input, such as `--input '{name}={example}'`"
    )


def _required(forward: Callable[..., Any]) -> list[str] | None:
    try:
        parameters = signature_of(forward).parameters.values()
    except (TypeError, ValueError):
        return None
    required = [
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if required:
        return required
    first = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD][:1]
    return first or None


def _shapes_for(layer: nn.Module) -> Iterator[tuple[tuple[int, ...], str | None]]:
    """Inputs that a layer takes, the likeliest first."""
    match layer:
        case nn.LazyConv2d():
            yield from (((_BATCH, 3, size, size), None) for size in _IMAGE)
        case nn.ConvTranspose2d() if layer.in_channels >= 32:
            # Generators start from a vector.
            yield from (((_BATCH, layer.in_channels, size, size), None) for size in (1, 4, 8, 32))
        case nn.Conv2d() | nn.ConvTranspose2d():
            yield from (((_BATCH, layer.in_channels, size, size), None) for size in _IMAGE)
        case nn.Conv1d() | nn.ConvTranspose1d():
            yield from (((_BATCH, layer.in_channels, size), None) for size in _SIGNAL)
        case nn.Conv3d() | nn.ConvTranspose3d():
            yield from (((_BATCH, layer.in_channels, size, size, size), None) for size in _VOLUME)
        case nn.LazyLinear():
            yield (_BATCH, 128), None
        case nn.Linear():
            yield (_BATCH, layer.in_features), None
            yield (_BATCH, _SEQUENCE[0], layer.in_features), None
            side = round(layer.in_features**0.5)
            if side * side == layer.in_features:
                yield (_BATCH, 1, side, side), None
            # A gate over channels averages a feature map first.
            yield (_BATCH, layer.in_features, 16, 16), None
        case nn.Bilinear():
            return
        case nn.Embedding() | nn.EmbeddingBag():
            yield from (((_BATCH, size), "int64") for size in _SEQUENCE)
        case nn.RNNBase():
            for size in _SEQUENCE:
                batched = (_BATCH, size) if layer.batch_first else (size, _BATCH)
                yield (*batched, layer.input_size), None
        case nn.RNNCell() | nn.LSTMCell() | nn.GRUCell():
            yield (_BATCH, layer.input_size), None
        case nn.MultiheadAttention():
            batched = (_BATCH, 16) if layer.batch_first else (16, _BATCH)
            yield (*batched, layer.embed_dim), None
        case nn.BatchNorm2d() | nn.InstanceNorm2d() if layer.num_features:
            yield from (((_BATCH, layer.num_features, size, size), None) for size in _IMAGE)
        case nn.BatchNorm1d() if layer.num_features:
            yield (_BATCH, layer.num_features), None
        case nn.LayerNorm():
            yield (_BATCH, _SEQUENCE[0], *layer.normalized_shape), None
        case _:
            return


def _described(layer: nn.Module) -> str:
    text = f"{type(layer).__name__}({layer.extra_repr()})"
    return text if len(text) < 60 else f"{text[:57]}…)"
