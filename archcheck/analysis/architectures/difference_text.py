"""How a change of an architecture is said, in all formats alike."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from archcheck.analysis.architectures.difference import Change, ModelDifference
from archcheck.analysis.architectures.read_trace import SETTINGS
from archcheck.evidence.architecture import ArchitectureLayer

# What has no path.
THE_MODEL = "the model itself"
_SETTING = re.compile(r"(\w+)=(.*?)(?=, \w+=|$)")
# So many single numbers are named where they are no range.
_NUMBERS = 4
_DONE = {
    "added": "added",
    "removed": "removed",
    "replaced": "replaced",
    "resized": "resized",
    "rewired": "rewired",
    "moved": "moved",
    "follows": "affected",
}


def subject(change: Change) -> str:
    """What an entry speaks of, for a sentence."""
    return f"`{places_text(change.places)}`" if any(change.places) else THE_MODEL


def places_text(paths: Sequence[str]) -> str:
    """Several paths as one: `layers.0–11.fc`, `blocks.{1,4}`, `blocks.*.mlp.*`."""
    split = [path.split(".") for path in paths]
    if len({len(parts) for parts in split}) != 1:
        return ", ".join(paths)
    columns = [list(dict.fromkeys(column)) for column in zip(*split, strict=True)]
    varying = [column for column in columns if len(column) > 1]
    if any(not name.isdecimal() for column in varying for name in column):
        return ", ".join(paths)
    single = len(varying) == 1
    return ".".join(
        column[0] if len(column) == 1 else _numbers(column) if single else "*" for column in columns
    )


def _numbers(names: Iterable[str]) -> str:
    numbers = sorted(map(int, names))
    if numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}–{numbers[-1]}"
    return f"{{{','.join(map(str, numbers))}}}" if len(numbers) <= _NUMBERS else "*"


def layer_text(layer: ArchitectureLayer) -> str:
    """`Conv2d(in_channels=3, out_channels=64, kernel_size=7)`."""
    return f"{layer.type}({layer.settings})" if layer.settings else layer.type


def change_text(change: Change) -> str:
    """What became of a layer, without its name: `out_features 1000 → 10`."""
    before, after = change.before, change.after
    below = change.layers - len(change.places)
    size = f", {change.layers:,} layers" if below else ""
    if before is None or after is None:
        known = after or before
        assert known is not None, "a change has at least one side"
        times = f"{len(change.places):,} × " if len(change.places) > 1 else ""
        return times + layer_text(known) + size
    match change.kind:
        case "moved":
            return f"was {places_text(change.origins)}{size}"
        case "replaced":
            return f"{layer_text(before)} → {layer_text(after)}{size}"
        case "resized":
            return _resized(before, after)
        case "rewired":
            return _rewired(before, after)
        case _ if before.output != after.output:
            return f"gives {before.output or 'nothing'} → {after.output or 'nothing'}"
        case _:
            return "costs more or less"


def _resized(before: ArchitectureLayer, after: ArchitectureLayer) -> str:
    old, new = dict(_SETTING.findall(before.settings)), dict(_SETTING.findall(after.settings))
    parts = []
    for name in dict.fromkeys((*old, *new)):
        usual = str(SETTINGS.get(name, "none"))
        was, now = old.get(name, usual), new.get(name, usual)
        if was != now:
            parts.append(f"{name} {was} → {now}")
    return ", ".join(parts) or f"parameters {before.parameters:,} → {after.parameters:,}"


def _rewired(before: ArchitectureLayer, after: ArchitectureLayer) -> str:
    if before.operators != after.operators:
        return f"computes {before.operators or 'nothing'} → {after.operators or 'nothing'}"
    return f"called {_times(before.calls)} → {_times(after.calls)}"


def _times(count: int) -> str:
    return {0: "never", 1: "once"}.get(count, f"{count:,} times")


def headline(model: ModelDifference) -> str:
    """`12 layers removed, 1 resized, 40 affected`."""
    counts: Counter[str] = Counter()
    for change in model.changes:
        counts[change.kind] += change.layers
    said = [(kind, word) for kind, word in _DONE.items() if counts[kind]]
    parts = [f"{counts[kind]:,} {word}" for kind, word in said]
    if parts:
        noun = "layer" if counts[said[0][0]] == 1 else "layers"
        first, _, rest = parts[0].partition(" ")
        parts[0] = f"{first} {noun} {rest}"
    return ", ".join(parts)


def sentences(model: ModelDifference, most: int) -> Iterator[str]:
    """The difference in a few sentences, such as the notes of a finding."""
    causes = [change for change in model.changes if change.kind != "follows"] or model.changes
    for change in causes[:most]:
        yield f"{subject(change)} {_DONE[change.kind]}: {change_text(change)}"
    if len(causes) > most:
        yield f"and {len(causes) - most:,} more"
    for name, was, now in borders(model):
        yield f"{name}: {was} → {now}"
    for total in totals(model):
        if total.name in ("Parameters", "Trainable", "MACs (fvcore)"):
            yield f"{total.name}: {total.before:,} → {total.after:,} ({total.percent})"


@dataclass(frozen=True, slots=True)
class Total:
    """A number of the whole model, before and after; None where there is no model."""

    name: str
    before: int | None
    after: int | None

    @property
    def percent(self) -> str:
        """`+3.1 %`, `-12 %`; nothing where there is nothing to compare with."""
        if not self.before or self.after is None:
            return "new" if self.before == 0 else ""
        share = (self.after - self.before) / self.before * 100
        size = abs(share)
        return f"{share:+,.{0 if size >= 10 else 1 if size >= 0.1 else 3}f} %"


def totals(model: ModelDifference) -> tuple[Total, ...]:
    """What a model costs in all, where it is not what it was; the trainable parameters only
    where they differ from all of them."""
    names = {
        "Parameters": "parameters",
        "Trainable": "trainable",
        "MACs (fvcore)": "macs",
        "FLOPs (torch)": "flops",
        "Peak activations": "peak_activation_bytes",
    }
    found: list[Total] = []
    for name, attribute in names.items():
        before, after = (
            None if side is None else int(getattr(side, attribute))
            for side in (model.before, model.after)
        )
        if before != after and (before, after) not in [(one.before, one.after) for one in found]:
            found.append(Total(name, before, after))
    return tuple(found)


def borders(model: ModelDifference) -> list[tuple[str, str, str]]:
    """What goes in and comes out, where it is not what it was: its name, before, after."""
    if model.before is None or model.after is None:
        return []
    rows = (("Mode", "mode"), ("Inputs", "inputs"), ("Outputs", "outputs"))
    found = []
    for name, attribute in rows:
        was, now = getattr(model.before, attribute), getattr(model.after, attribute)
        if was != now:
            found.append((name, _joined(was), _joined(now)))
    return found


def _joined(value: str | Iterable[str]) -> str:
    return value if isinstance(value, str) else " ".join(value) or "nothing"
