"""Another member of the same family: other widths throughout, more or fewer blocks."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from archcheck.analysis.state_dicts.diagnose import Diagnosis

# More of the names than this mean another size of the same family, and no single layer.
SHARE = 0.5
FEWEST = 6

_NUMBER = re.compile(r"^(.*?\.?)(\d{1,8})\.")


def another_size(diagnosis: Diagnosis) -> tuple[int, int] | None:
    """Return the width of the file and of the model, where most shapes differ by it."""
    names = diagnosis.after.mismatched
    total = len(diagnosis.after.matched) + len(names)
    if len(names) < FEWEST or len(names) < SHARE * total:
        return None
    widths: Counter[tuple[int, int]] = Counter()
    for name in names:
        theirs = diagnosis.table[name].shape or ()
        ours = diagnosis.signature.entries[name].shape or ()
        if len(theirs) == len(ours):
            widths.update({pair for pair in zip(theirs, ours, strict=True) if pair[0] != pair[1]})
    return max(widths, key=lambda pair: widths[pair]) if widths else None


def blocks_of(names: Iterable[str]) -> Mapping[str, set[int]]:
    """Return the numbers of the members of each numbered container, outermost ones."""
    found: dict[str, set[int]] = defaultdict(set)
    for name in names:
        match = _NUMBER.match(name)
        if match is not None:
            found[match[1]].add(int(match[2]))
    return found
