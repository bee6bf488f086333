"""The shapes along a chain of layers, as far as the source alone tells them.

Each layer is compared with what the one before it surely gives: a width, a number of channels, a
number of dimensions. What is not sure is unknown, and an unknown contradicts nothing.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from archcheck.analysis.edits.size_source import WIDTH_GIVEN, Nobody, means_the_same, size_source
from archcheck.analysis.edits.syntax_edits import replacement
from archcheck.analysis.shapes.arithmetic import grid
from archcheck.core.finding import Edit, Finding, Fix, Related
from archcheck.python.names.unknown import UNKNOWN

from ._norms import RANKS, form, sibling
from ._rewrite_number import rewritten
from ._windows import Window, output_sizes

if TYPE_CHECKING:
    from archcheck.core.target import Shape
    from archcheck.python import Chain, Layer, Link, SourceFile

Kind: TypeAlias = Literal["linear", "conv", "norm", "rank", "collapse"]

_SAME = frozenset(
    "relu relu6 leaky_relu elu selu gelu silu mish hardtanh hardswish hardsigmoid sigmoid tanh "
    "logsigmoid softplus softsign tanhshrink hardshrink softshrink threshold prelu rrelu celu "
    "dropout dropout1d dropout2d dropout3d alpha_dropout featurealphadropout identity softmax "
    "log_softmax softmin contiguous clone localresponsenorm local_response_norm normalize".split()
)


class Known(NamedTuple):
    """What is sure of a value's shape; None for what is not.

    Attributes:
        rank: The number of dimensions, the batch included.
        channels: The size of dimension 1.
        last: The size of the last dimension.
        spatial: The sizes behind the channels.
        width_from, rank_from: The layers that gave the width and the rank.
    """

    rank: int | None = None
    channels: int | None = None
    last: int | None = None
    spatial: Shape | None = None
    width_from: Layer | None = None
    rank_from: Layer | None = None


_NOTHING = Known()


class Clash(NamedTuple):
    """A layer that cannot take what the layer before it gives.

    Attributes:
        expected, got: Widths, numbers of dimensions, or spatial sizes.
        giver: The layer that gave what arrives.
        parameter: The constructor's parameter that does not fit.
    """

    kind: Kind
    link: Link
    expected: int
    got: int
    giver: Layer | None
    parameter: str
    reason: str = ""

    @property
    def layer(self) -> Layer:
        assert self.link.layer is not None
        return self.link.layer


def clashes_in(file: SourceFile, kind: Kind) -> Iterator[Clash]:
    """The layers of a file that certainly cannot take what reaches them, one for each place."""
    seen: set[ast.expr] = set()
    seats = _SEATS[kind]
    for chain in file.chains:
        if not any(link.layer and link.layer.class_name in seats for link in chain.links[1:]):
            continue
        for clash in chain_clashes(chain):
            if clash.kind != kind or clash.layer.node in seen:
                continue
            if clash.layer.file is file and _is_built_here(clash):
                seen.add(clash.layer.node)
                yield clash


def _is_built_here(clash: Clash) -> bool:
    """Whether the number stands at the constructor, and is no parameter of a helper function."""
    layer = clash.layer
    argument = layer.expression(clash.parameter) if clash.parameter else None
    return argument is None or layer.file.value(argument, layer.statement) is not UNKNOWN


def chain_clashes(chain: Chain) -> tuple[Clash, ...]:
    """Everything that does not fit along one chain."""
    found: list[Clash] = []
    known = _NOTHING
    for link in chain.links:
        known, clash = _step(link, known)
        if clash is not None:
            found.append(clash)
    return tuple(found)


def _step(link: Link, known: Known) -> tuple[Known, Clash | None]:
    if link.layer is not None and not link.layer.is_torch:
        return _NOTHING, None
    operation = link.operation
    if operation in _SAME:
        return known, None
    if link.layer is None:
        return (_flattened(known, link), None) if operation == "flatten" else (_NOTHING, None)
    step = _STEPS.get(link.layer.class_name)
    return step(link, known) if step is not None else (_NOTHING, None)


def _number(link: Link, name: str) -> int | None:
    value = link.argument(name)
    return value if type(value) is int else None


def _numbers(link: Link, name: str, rank: int) -> Shape | None:
    value = link.argument(name)
    if type(value) is int:
        return (value,) * rank
    if isinstance(value, list | tuple) and len(value) == rank:
        return tuple(value) if all(type(one) is int for one in value) else None
    return None


def _linear(link: Link, known: Known) -> tuple[Known, Clash | None]:
    takes, gives = _number(link, "in_features"), _number(link, "out_features")
    clash = None
    if takes is not None and known.last is not None and takes != known.last:
        clash = Clash("linear", link, takes, known.last, known.width_from, "in_features")
    channels = gives if known.rank == 2 else known.channels if (known.rank or 0) > 2 else None
    spatial = None if known.spatial is None or gives is None else (*known.spatial[:-1], gives)
    rank_from = known.rank_from if known.rank else None
    return Known(known.rank, channels, gives, spatial, link.layer, rank_from), clash


def _conv(link: Link, known: Known) -> tuple[Known, Clash | None]:
    layer = link.layer
    assert layer is not None
    rank = int(layer.class_name[-2])
    takes, gives = _number(link, "in_channels"), _number(link, "out_channels")
    spatial, clash = _windowed(link, known, rank)
    arrives = known.channels if known.rank in (None, rank + 2) else None
    if takes is not None and arrives is not None and takes != arrives:
        clash = Clash("conv", link, takes, arrives, known.width_from, "in_channels")
    last = spatial[-1] if spatial else None
    return Known(rank + 2, gives, last, spatial, layer, layer), clash


def _pool(link: Link, known: Known) -> tuple[Known, Clash | None]:
    layer = link.layer
    assert layer is not None
    rank = int(layer.class_name[-2])
    if known.rank not in (None, rank + 2):
        return _NOTHING, None
    if layer.class_name.startswith("Adaptive"):
        spatial, clash = _numbers(link, "output_size", rank), None
    else:
        spatial, clash = _windowed(link, known, rank)
    if link.argument("return_indices") not in (False, UNKNOWN):
        return _NOTHING, None
    last = spatial[-1] if spatial else None
    return known._replace(last=last, spatial=spatial), clash


def _windowed(link: Link, known: Known, rank: int) -> tuple[Shape | None, Clash | None]:
    """The spatial sizes that a kernel leaves of known ones."""
    layer = link.layer
    assert layer is not None
    sizes, kernel = known.spatial, _numbers(link, "kernel_size", rank)
    if sizes is None or len(sizes) != rank or kernel is None or "Transpose" in layer.class_name:
        return None, None
    given = layer.expression("stride")
    stride = kernel if "Pool" in layer.class_name and given is None else None
    stride = stride or _numbers(link, "stride", rank)
    padding, dilation = _numbers(link, "padding", rank), _numbers(link, "dilation", rank)
    if layer.class_name.startswith("AvgPool"):
        dilation = (1,) * rank
    if stride is None or padding is None or dilation is None or min(stride) < 1:
        return None, None
    if layer.argument("ceil_mode") is not False and "Pool" in layer.class_name:
        return None, None
    reach = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    left = output_sizes(sizes, Window(reach, stride, padding))
    if min(left) < 1:
        why = f"a kernel of {grid(reach)}, its input is {grid(sizes)}"
        giver = known.rank_from
        return None, Clash("collapse", link, max(reach), min(sizes), giver, "kernel_size", why)
    return left, None


def _norm(link: Link, known: Known) -> tuple[Known, Clash | None]:
    layer = link.layer
    assert layer is not None
    kind, takes = layer.class_name, _number(link, "num_features")
    if known.rank is not None and known.rank not in RANKS[kind]:
        return known, Clash("rank", link, max(RANKS[kind]), known.rank, known.rank_from, "")
    if takes is None:
        return known, None
    clash = None
    checks = True in (link.argument("affine"), link.argument("track_running_stats"))
    if checks and known.channels is not None and known.channels != takes:
        clash = Clash("norm", link, takes, known.channels, known.width_from, "num_features")
    rank = RANKS[kind][0] if len(RANKS[kind]) == 1 else known.rank
    return known._replace(rank=rank, channels=takes, rank_from=known.rank_from or layer), clash


def _group_norm(link: Link, known: Known) -> tuple[Known, Clash | None]:
    takes = _number(link, "num_channels")
    if takes is None or known.channels in (None, takes):
        return known, None
    assert known.channels is not None
    clash = Clash("norm", link, takes, known.channels, known.width_from, "num_channels")
    return known._replace(channels=takes), clash


def _layer_norm(link: Link, known: Known) -> tuple[Known, Clash | None]:
    shape = link.argument("normalized_shape")
    takes = shape[-1] if isinstance(shape, list | tuple) and shape else shape
    if type(takes) is not int or known.last in (None, takes):
        return known, None
    assert known.last is not None
    clash = Clash("norm", link, takes, known.last, known.width_from, "normalized_shape")
    return known._replace(last=takes), clash


def _flatten(link: Link, known: Known) -> tuple[Known, Clash | None]:
    return _flattened(known, link), None


def _flattened(known: Known, link: Link) -> Known:
    """From dimension 1 on; any other flattening is not followed."""
    default = 1 if link.layer is not None else 0
    position = None if link.layer is not None else _first_position(link)
    start, end = link.argument("start_dim", position), link.argument("end_dim")
    start = default if start is None else start
    if start != 1 or end not in (None, -1):
        return _NOTHING
    if known.rank == 2:
        return known
    width = None
    if known.channels is not None and known.spatial is not None:
        width = known.channels * prod(known.spatial)
    return Known(2, width, width, (), known.width_from, link.layer or known.rank_from)


def _first_position(link: Link) -> int:
    """Where `start_dim` stands: behind the tensor in a function, first in a method."""
    return 0 if link.step is not None and link.step.kind == "method" else 1


def _embedding(link: Link, known: Known) -> tuple[Known, Clash | None]:
    return Known(last=_number(link, "embedding_dim"), width_from=link.layer), None


def _resized(link: Link, known: Known) -> tuple[Known, Clash | None]:
    return known._replace(spatial=None, last=None), None


_Stepper: TypeAlias = Callable[["Link", Known], tuple[Known, Clash | None]]
_CONVOLUTIONS = tuple(f"Conv{kind}{n}d" for kind in ("", "Transpose") for n in (1, 2, 3))
_POOLINGS = tuple(f"{kind}Pool{n}d" for kind in ("Max", "Avg", "LP") for n in (1, 2, 3))
_PADS = ("Zero", "Constant", "Reflection", "Replication")
_RESIZES = (
    "Upsample",
    "UpsamplingNearest2d",
    "UpsamplingBilinear2d",
    *(f"{kind}Pad{n}d" for kind in _PADS for n in (1, 2, 3)),
)
_STEPS: Mapping[str, _Stepper] = {
    "Linear": _linear,
    "GroupNorm": _group_norm,
    "LayerNorm": _layer_norm,
    "RMSNorm": _layer_norm,
    "Flatten": _flatten,
    "Embedding": _embedding,
    **dict.fromkeys(_CONVOLUTIONS, _conv),
    **dict.fromkeys(_POOLINGS, _pool),
    **dict.fromkeys((f"Adaptive{k}Pool{n}d" for k in ("Max", "Avg") for n in (1, 2, 3)), _pool),
    **dict.fromkeys(RANKS, _norm),
    **dict.fromkeys(_RESIZES, _resized),
}
# The layers in which each kind of clash can be, so that most chains need not be followed.
_SEATS: Mapping[Kind, frozenset[str]] = {
    "linear": frozenset({"Linear"}),
    "conv": frozenset(_CONVOLUTIONS),
    "norm": frozenset({*RANKS, "GroupNorm", "LayerNorm", "RMSNorm"}),
    "rank": frozenset(RANKS),
    "collapse": frozenset({*_CONVOLUTIONS, *_POOLINGS}),
}


def finding(clash: Clash, noun: str) -> Finding:
    """The finding of a width: at the layer's constructor, pointing at what gave the width.

    Args:
        noun: What is counted: "features", "channels".
    """
    layer, related = clash.layer, []
    argument = layer.expression(clash.parameter) if clash.parameter else None
    if argument is not None:
        related.append(Related(layer.file.location(argument), "declared here"))
    if clash.giver is not None:
        related.append(Related(clash.giver.location, f"gives {clash.got}"))
    edits = _edits(clash, argument) if argument is not None else ()
    more = ", …" if clash.kind in ("linear", "conv") else ""
    return Finding(
        f"`{clash.link.name}` expects {clash.expected} {noun}, got {clash.got}",
        layer.location,
        label=f"gets {clash.got} {noun}",
        related=tuple(related),
        help=f"nn.{layer.class_name}({clash.got}{more})",
        fix=Fix("safe", edits) if edits else None,
    )


def _edits(clash: Clash, argument: ast.expr) -> tuple[Edit, ...]:
    """The edits that have a layer built for what arrives: under the name that the giver has for
    it, or else at the one place that decides it."""
    layer, giver = clash.layer, clash.giver
    if giver is not None and giver.class_name in WIDTH_GIVEN and giver.file is layer.file:
        width = giver.expression(WIDTH_GIVEN[giver.class_name][0])
        named = not isinstance(argument, ast.Constant)
        if named and width is not None and means_the_same(width, giver.statement, layer.statement):
            return (replacement(layer.file, argument, layer.file.text(width)),)
    place = size_source(argument, layer.statement, Nobody())
    if place is None:
        return ()
    return rewritten(place.file, place.expression, clash.expected, clash.got)


def collapse_finding(clash: Clash) -> Finding:
    """The finding of a kernel that is larger than the map that is left for it."""
    related: tuple[Related, ...] = ()
    if clash.giver is not None:
        related = (Related(clash.giver.location, "gives the size"),)
    return Finding(
        f"`{clash.link.name}` has {clash.reason}",
        clash.layer.location,
        label="does not fit",
        related=related,
        help="a larger map, or a smaller kernel",
    )


def rank_finding(clash: Clash) -> Finding:
    """The finding of a norm for another number of dimensions."""
    layer, kind = clash.layer, clash.layer.class_name
    related: tuple[Related, ...] = ()
    right = sibling(kind, clash.got)
    name = clash.link.name
    subject = f"`{name}` is a {kind}, which" if name != kind else f"`{kind}`"
    function = layer.node.func if isinstance(layer.node, ast.Call) else layer.node
    fix = None
    if right and isinstance(function, ast.Attribute) and function.attr == kind:
        whole = layer.file.location(function)
        at = replace(whole, line=whole.end_line, column=whole.end_column - len(kind))
        fix = Fix("safe", (Edit(at, right),))
    if clash.giver is not None:
        related = (Related(clash.giver.location, f"gives {clash.got} dimensions"),)
    return Finding(
        f"{subject} takes {form(kind)}, got {clash.got} dimensions",
        layer.location,
        label=f"gets {clash.got} dimensions",
        related=related,
        help=layer.file.text(layer.node).replace(kind, right, 1) if right else None,
        fix=fix,
    )
