"""What rules on budgets share: which modules of a model weigh most."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from archcheck.core.finding import Finding, Location

if TYPE_CHECKING:
    from archcheck.evidence.trace import Trace


def over_budget(
    place: Location, what: str, count: int, limit: int, heaviest: Iterable[tuple[str, int]]
) -> Finding:
    """The finding for a model that has more of something than it may.

    Args:
        heaviest: Modules with what they have of it, each without what is below it.
    """
    parts = sorted(heaviest, key=lambda part: -part[1])[:3]
    shares = [f"`{path}` has {part:,} ({part / count:.0%})" for path, part in parts if part]
    return Finding(
        f"the model has {count:,} {what}, its budget is {limit:,}",
        place,
        label=f"{count - limit:,} too many",
        notes=(", ".join(shares),) if shares else (),
        help="make these smaller, or raise the limit",
    )


def own_parameters(trace: Trace) -> list[tuple[str, int]]:
    """How many parameters each module has itself, shared ones counted where they are named."""
    counts = {one.name: one.count for one in trace.parameters if not one.buffer}
    return [
        (module.path, sum(counts.get(name, 0) for name in module.parameters))
        for module in trace.modules
    ]


def own_macs(trace: Trace) -> list[tuple[str, int]]:
    """How many multiply-accumulates ran in each module, in those below it left out."""
    counts: dict[str, int] = {}
    for op in trace.ops:
        module = trace.module_of(op)
        path = module.path if module else ""
        counts[path] = counts.get(path, 0) + op.macs
    return list(counts.items())


def byte_text(size: int) -> str:
    """Bytes with a unit that suits them: 1.21 GiB."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:,.0f} {unit}" if unit == "B" else f"{value:,.4g} {unit}"
        value /= 1024
    return f"{value:,.4g} TiB"
