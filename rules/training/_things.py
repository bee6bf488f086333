"""What the things of a run are to a rule: models with modes, loaders with an order."""

from __future__ import annotations

from collections.abc import Iterator

from archcheck.python import ClassDefinition, Layer
from archcheck.python.program.events import Event, EventKind, Region, Run
from archcheck.python.program.things import Thing, related

# Layers that compute something else in train mode.
BY_MODE = frozenset({
    "AlphaDropout", "BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "Dropout", "Dropout1d",
    "Dropout2d", "Dropout3d", "FeatureAlphaDropout", "RReLU", "SyncBatchNorm", "Transformer",
    "TransformerDecoderLayer", "TransformerEncoderLayer",
})  # fmt: skip
# torchvision's classifiers with batch norm or dropout, by the beginning of their names.
TORCHVISION = (
    "alexnet", "densenet", "efficientnet", "googlenet", "inception", "mnasnet", "mobilenet",
    "regnet", "resnet", "resnext", "shufflenet", "vgg", "wide_resnet",
)  # fmt: skip


# More steps than this in one run are generated code.
_MOST = 48


def written_by_hand(run: Run, kind: EventKind) -> tuple[Event, ...]:
    """The events of a kind, none where there are more of them than people write: each is compared
    with all others, and the work is to stay bounded."""
    found = run.of(kind)
    return found if len(found) <= _MOST else ()


def sources_of(over: Thing | None) -> Iterator[Thing]:
    """What a loop goes over, and what that is a view of: the loader behind `enumerate` or `zip`."""
    for thing in over.alternatives() if over is not None else ():
        for root in thing.roots():
            yield from root.alternatives()


def certain_loaders(over: Thing | None) -> Iterator[Thing]:
    """The loaders that a loop certainly goes over."""
    return (thing for thing in sources_of(over) if thing.kind == "loader")


def has_modes(model: Thing, depth: int = 0) -> bool:
    """Whether a model certainly has dropout or batch norm in it."""
    made = model.type
    if depth > 4 or model.kind != "module":
        return False
    if isinstance(made, ClassDefinition):
        if made.module is None or "eval" in made.methods or "train" in made.methods:
            return False
        return any(map(differs, made.module.all_layers()))
    if isinstance(made, str) and made.startswith("torchvision.models."):
        return made.rpartition(".")[2].startswith(TORCHVISION)
    if isinstance(made, str) and made.startswith("torch.nn.") and made[9:] in BY_MODE:
        return not any(item.value == 0 for item in model.items)
    inner = (*model.items, *([model.holder] if "module" in model.fields and model.holder else ()))
    return any(has_modes(item, depth + 1) for one in inner for item in one.alternatives())


def differs(layer: Layer) -> bool:
    """Whether a layer computes something else in train mode."""
    if not layer.is_torch or layer.class_name not in BY_MODE:
        return False
    if "Dropout" in layer.class_name:
        return layer.argument("p") != 0
    if "Transformer" in layer.class_name:
        return layer.argument("dropout") != 0
    return True


def is_or_holds(first: Thing, second: Thing) -> bool:
    """Whether two things may be one model, or one a part of the other."""
    return any(
        related(one, other) for one in first.alternatives() for other in second.alternatives()
    )


def is_loop(region: Region) -> bool:
    """Whether a region is a `for` or `while` statement, and no comprehension."""
    return region.kind == "loop" and hasattr(region.node, "body")


def statement_loops(event: Event) -> tuple[Region, ...]:
    """The `for` and `while` statements around an event, innermost first."""
    return tuple(loop for loop in event.loops if is_loop(loop))


def learns(run: Run, loop: Region) -> bool:
    """Whether a loop computes gradients."""
    return any(not event.is_without_gradients for event in run.inside(loop, "backward"))


def build_of(run: Run, thing: Thing) -> Event | None:
    """The event that makes a thing, if the run shows it."""
    return next((build for build in run.of("build") if build.result is thing), None)
