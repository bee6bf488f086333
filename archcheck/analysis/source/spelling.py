"""Names that were probably meant to be another name."""

from __future__ import annotations


def distance(first: str, second: str, limit: int = 3) -> int:
    """How many letters must be inserted, deleted, replaced or swapped with their neighbour to
    turn one name into the other (optimal string alignment); `limit` if it is that or more."""
    if abs(len(first) - len(second)) >= limit:
        return limit
    before: list[int] = []
    row = list(range(len(second) + 1))
    for i, letter in enumerate(first, start=1):
        last, row = row, [i]
        for j, other in enumerate(second, start=1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != other))
            if i > 1 and j > 1 and letter == second[j - 2] and other == first[i - 2]:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before = last
        if min(row) >= limit:
            return limit
    return min(row[-1], limit)
