"""Renamed layers and blocks: leftovers of both sides that have the same inside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from archcheck.analysis.state_dicts.compare import Comparison, Signature, Table
from archcheck.analysis.state_dicts.steps import Step, quoted, renamed

Shape = tuple[int, ...] | None
Inside = tuple[tuple[str, Shape], ...]


def renumbered(signature: Signature, table: Table, now: Comparison) -> Iterator[Step]:
    """Pair the members of a numbered container in order, where the numbers differ."""
    shapes = {name: tensor.shape for name, tensor in table.items()}
    wanted = {name: entry.shape for name, entry in signature.entries.items()}
    theirs, ours = _numbered(shapes), _numbered(wanted)
    for container, members in theirs.items():
        own = ours.get(container, {})
        if len(own) != len(members) or [*own] == [*members]:
            continue
        pairs = dict(zip(members, own, strict=True))
        if all(members[old] == own[new] for old, new in pairs.items()):
            prefixes = {
                f"{container}{old}.": f"{container}{new}."
                for old, new in pairs.items()
                if old != new
            }
            offsets = {new - old for old, new in pairs.items()}
            how = (
                f"numbers shifted by {offsets.pop()}"
                if len(offsets) == 1
                else "other numbers: a layer without weights came or went"
            )
            step = _by_prefix(table, prefixes, f"`{container}…` has {how}")
            if step is not None:
                yield step


def _numbered(names: Mapping[str, Shape]) -> dict[str, dict[int, Inside]]:
    """Return each container with its numbered members, and what these hold."""
    members: dict[str, dict[int, list[tuple[str, Shape]]]] = defaultdict(lambda: defaultdict(list))
    for name, shape in names.items():
        parts = name.split(".")
        for index, part in enumerate(parts[:-1]):
            if part.isascii() and part.isdigit() and len(part) < 9:
                container = "".join(f"{one}." for one in parts[:index])
                members[container][int(part)].append((".".join(parts[index + 1 :]), shape))
    return {
        container: {number: _sorted(inside) for number, inside in sorted(found.items())}
        for container, found in members.items()
    }


def subtrees(signature: Signature, table: Table, now: Comparison) -> Iterator[Step]:
    """Rename a parent that the model lacks into one that the file lacks, if they are alike."""
    theirs = _parents({name: table[name].shape for name in now.unexpected})
    ours = _parents({name: signature.entries[name].shape for name in now.missing})
    by_inside: dict[Inside, list[str]] = defaultdict(list)
    for parent, inside in ours.items():
        by_inside[inside].append(parent)
    ordered = in_order_of_construction(table)
    prefixes: dict[str, str] = {}
    taken: set[str] = set()
    for inside, olds in _groups(theirs):
        free = [p for p in olds if not _below(p, prefixes)]
        news = [p for p in by_inside.get(inside, ()) if not _below(p, taken)]
        for old, new in _paired(free, news, ordered=ordered):
            if not _same_container(old, new):
                prefixes[old] = new
                taken.add(new)
    if prefixes:
        step = _by_prefix(table, _shortest(prefixes), _renamed_text(_shortest(prefixes)))
        if step is not None:
            yield step


def by_order(signature: Signature, table: Table, now: Comparison) -> Iterator[Step]:
    """Pair what is left in order, where every pair has the same shape."""
    if len(now.unexpected) != len(now.missing) or not now.missing or now.mismatched:
        return
    if not in_order_of_construction(table):
        return
    pairs = dict(zip(now.unexpected, now.missing, strict=True))
    if any(table[old].shape != signature.entries[new].shape for old, new in pairs.items()):
        return
    new_table = renamed(table, lambda name: pairs.get(name, name))
    if new_table is None:
        return
    cause = f"{len(pairs):,} names differ and the shapes agree in order (by order only: look)"
    yield Step(cause, new_table, _names_code(pairs), guess=True)


def _names_code(pairs: Mapping[str, str]) -> str:
    lines = [f"    {quoted(old)}: {quoted(new)}," for old, new in pairs.items()]
    return "\n".join(
        ["names = {", *lines, "}", "state = {names.get(k, k): v for k, v in state.items()}"]
    )


def _groups(parents: Mapping[str, Inside]) -> list[tuple[Inside, list[str]]]:
    """Return the parents that hold the same, those that hold the most first."""
    groups: dict[Inside, list[str]] = defaultdict(list)
    for parent, inside in parents.items():
        groups[inside].append(parent)
    return sorted(groups.items(), key=lambda group: -len(group[0]))


def _parents(names: Mapping[str, Shape]) -> dict[str, Inside]:
    """Return every prefix of the names with what stands below it."""
    found: dict[str, list[tuple[str, Shape]]] = defaultdict(list)
    for name, shape in names.items():
        parts = name.split(".")
        for end in range(1, len(parts)):
            found["".join(f"{part}." for part in parts[:end])].append(
                (".".join(parts[end:]), shape)
            )
    return {parent: _sorted(inside) for parent, inside in found.items()}


def _sorted(inside: list[tuple[str, Shape]]) -> Inside:
    """Return what stands below a prefix, in no order of the file's: some are sorted by name."""
    return tuple(sorted(inside, key=lambda one: one[0]))


def in_order_of_construction(table: Table) -> bool:
    """Tell whether the order of the names says anything: safetensors sorts them."""
    names = [tensor.name for tensor in table.values()]
    by_dtype: dict[str, list[str]] = defaultdict(list)
    for tensor in table.values():
        by_dtype[tensor.dtype].append(tensor.name)
    return names != [name for group in by_dtype.values() for name in sorted(group)]


def _paired(olds: list[str], news: list[str], *, ordered: bool) -> list[tuple[str, str]]:
    """Pair parents that hold the same: by the numbers in their names, else by their order."""
    if len(olds) != len(news):
        return []
    theirs, ours = ({_numbers(name): name for name in names} for names in (olds, news))
    if len(theirs) == len(olds) and set(theirs) == set(ours):
        return [(old, ours[numbers]) for numbers, old in theirs.items()]
    return list(zip(olds, news, strict=True)) if ordered else []


def _numbers(name: str) -> tuple[str, ...]:
    return tuple(part for part in name.split(".") if part.isdigit())


def _below(parent: str, others: Iterable[str]) -> bool:
    return any(parent.startswith(other) for other in others)


def _same_container(old: str, new: str) -> bool:
    """Whether two prefixes are members of one numbered container: then neither was renamed."""
    first, second = old.rstrip(".").rpartition("."), new.rstrip(".").rpartition(".")
    return first[0] == second[0] and first[2].isdigit() and second[2].isdigit()


def _shortest(prefixes: Mapping[str, str]) -> Mapping[str, str]:
    """Return the renames without the segments that both sides end in."""
    short: dict[str, str] = {}
    for old, new in prefixes.items():
        olds, news = old.rstrip(".").split("."), new.rstrip(".").split(".")
        while len(olds) > 1 and len(news) > 1 and olds[-1] == news[-1]:
            olds.pop()
            news.pop()
        key = ".".join(olds) + "."
        if short.setdefault(key, ".".join(news) + ".") != ".".join(news) + ".":
            return prefixes
    return short


def _renamed_text(prefixes: Mapping[str, str]) -> str:
    listed = [f"`{old}` is `{new}` in the model" for old, new in prefixes.items()]
    return "; ".join(listed[:3]) + (f"; and {len(listed) - 3:,} more" if len(listed) > 3 else "")


def _by_prefix(table: Table, prefixes: Mapping[str, str], cause: str) -> Step | None:
    def rename(name: str) -> str:
        for old, new in prefixes.items():
            if name.startswith(old):
                return new + name[len(old) :]
        return name

    new_table = renamed(table, rename)
    if new_table is None:
        return None
    return Step(cause, new_table, _prefix_code(prefixes))


def _prefix_code(prefixes: Mapping[str, str]) -> str:
    if len(prefixes) == 1:
        ((old, new),) = prefixes.items()
        return (
            f"state = {{{quoted(new)} + k[{len(old)}:] if k.startswith({quoted(old)}) else k: v "
            "for k, v in state.items()}"
        )
    lines: Sequence[str] = [f"    {quoted(old)}: {quoted(new)}," for old, new in prefixes.items()]
    return "\n".join(
        [
            "prefixes = {",
            *lines,
            "}",
            "state = {",
            "    next((n + k[len(o):] for o, n in prefixes.items() if k.startswith(o)), k): v",
            "    for k, v in state.items()",
            "}",
        ]
    )
