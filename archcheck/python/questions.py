"""What was asked for files of what lies outside them, and what the answers were.

What is found in a file comes of its text, of the answers to these questions, and of the texts of
the files that they lead to, with what was asked for those: nothing else is looked at.

    import DOTTED LEVEL       the file that an import means; how many names are left of it
    glance DOTTED LEVEL       the same where the file itself is not read, but for what follows
    defining PLACE, WORD      whether that file's text leaves it open that it defines a name
    naming NAME               the files around that have a name in their text
    setting NAME              whether one of them may set this attribute of another object
    beside NAME               whether there is something of this name in the file's folder

`Project.answer` answers them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import TypeAlias

# Its kind, a name, the dots before an import, and a second name.
Question: TypeAlias = tuple[str, str, int, str]
# The places of the files that it leads to, and a number that the kind of question gives a meaning.
Answer: TypeAlias = tuple[tuple[str, ...], int]
ImportLookups: TypeAlias = list[tuple[str, Question, Answer]]


class Asked:
    """What was asked for each file, by its place."""

    def __init__(self) -> None:
        self._answers: dict[str, dict[Question, Answer]] = {}
        # Where the answers led to: to look, and to read.
        self._links: dict[str, set[str]] = {}
        self._read: dict[str, set[str]] = {}
        self._news: ImportLookups = []

    def add(self, place: str, question: Question, answer: Answer) -> None:
        """Take down what was answered."""
        self._answers.setdefault(place, {})[question] = answer
        self._links.setdefault(place, set()).update(answer[0])
        if question[0] != "glance":
            self._read.setdefault(place, set()).update(answer[0])
        self._news.append((place, question, answer))

    def news(self) -> ImportLookups:
        """What was added since this was called last."""
        news, self._news = self._news, []
        return news

    def of(self, place: str) -> Mapping[Question, Answer]:
        """All that was asked for one file."""
        return self._answers.get(place, {})

    def seen_from(self, places: Iterable[str]) -> frozenset[str]:
        """The places of the files that the answers led to, and those that theirs did."""
        return _reached(places, self._links)

    def read_from(self, places: Iterable[str]) -> frozenset[str]:
        """Those of them that were not merely glanced at."""
        return _reached(places, self._read)

    def readers_of(self, places: Iterable[str]) -> frozenset[str]:
        """The places of the files from which one of these was read."""
        readers: dict[str, set[str]] = {}
        for reader, read in self._read.items():
            for place in read:
                readers.setdefault(place, set()).add(reader)
        return _reached(places, readers)


class Seen(Set[str]):
    """`Asked.seen_from` one file, gathered when it is looked at: of thousands of files that all
    lead to each other, few ever are."""

    def __init__(self, asked: Asked, place: str) -> None:
        self._asked = asked
        self._place = place

    def __contains__(self, place: object) -> bool:
        return place in self._asked.seen_from([self._place])

    def __iter__(self) -> Iterator[str]:
        return iter(self._asked.seen_from([self._place]))

    def __len__(self) -> int:
        return len(self._asked.seen_from([self._place]))


def _reached(places: Iterable[str], links: Mapping[str, set[str]]) -> frozenset[str]:
    found: set[str] = set()
    waiting = list(places)
    while waiting:
        more = links.get(waiting.pop(), set()) - found
        found |= more
        waiting += more
    return frozenset(found)
