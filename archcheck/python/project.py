"""The files of a project, and which file an import means."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Set
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

from archcheck.python.documents.read import read_document
from archcheck.python.package_text import Surroundings
from archcheck.python.questions import Answer, Asked, Question
from archcheck.python.syntax.parse import Parse, parse
from archcheck.python.text.document import Document, DocumentError

if TYPE_CHECKING:
    from archcheck.core.facts import DependencyRecorder
    from archcheck.python.file import SourceFile

# How many characters of released files stay; what is made of them takes fifty times as much memory.
KEPT: Final = 2_000_000


class Project:
    """The files that are checked together, and those that they import from beside them.

    A file is read when it is asked for, or when a base class or a helper function that is
    imported from it is needed, and is kept.

    Args:
        root: The folder that configuration is relative to.
        source_roots: Folders that absolute imports start from, besides the package root of the
            importing file, the file's own folder, `root` and `root/src`. Of those that hold the
            importing file, the folders between count too, the nearest first: a repository of many
            projects is run from each of them.
        notes: Take down every file and folder that is looked at.
        parse: What parses documents; `Parses` where the same files are read again and again.

    Attributes:
        asked: All that was asked for the files, of what lies outside them.
        readable: The places of files that could be read, and are as they were then: whether
            they can be need not be tried again.
    """

    def __init__(
        self,
        root: Path | str = ".",
        source_roots: Iterable[Path | str] = (),
        notes: DependencyRecorder | None = None,
        parse: Parse = parse,
    ) -> None:
        self.root = Path(os.path.abspath(root))
        self.source_roots = tuple(self.root / place for place in source_roots)
        self.notes = notes
        self.parse = parse
        self.asked = Asked()
        self.readable: Set[str] = frozenset()
        self._files: dict[str, SourceFile | None] = {}
        self._modules: dict[tuple[str, str], Path | None] = {}
        self._packages: dict[str, str] = {}
        self._above: dict[str, tuple[str, ...]] = {}
        self._listings: dict[str, frozenset[str]] = {}
        self._surroundings: dict[str, Surroundings] = {}
        self._released: deque[SourceFile] = deque()
        self._released_size = 0

    @property
    def files(self) -> tuple[SourceFile, ...]:
        """Every file read so far."""
        return tuple(file for file in self._files.values() if file is not None)

    def file(self, path: Path | str, *, shown: str | None = None) -> SourceFile:
        """The file at a path.

        Args:
            shown: The path that findings carry; by default, relative to the working directory.

        Raises:
            DocumentError: The file cannot be read.
        """
        place = os.path.abspath(path)
        known = self._files.get(place)
        if known is not None:
            return known
        self._note("content", place)
        return self.add(read_document(Path(path), shown=shown), place)

    def add(self, document: Document, path: Path | str | None = None) -> SourceFile:
        """Take in a document that was read elsewhere (standard input, an editor's buffer)."""
        from archcheck.python.file import SourceFile

        place = os.path.abspath(path if path is not None else document.path)
        file = SourceFile(document, self, Path(place))
        self._files[place] = file
        return file

    def imported(self, path: Path) -> SourceFile | None:
        """The file at a path that an import leads to; None if it cannot be read."""
        place = str(path)
        if place not in self._files:
            try:
                self.file(path, shown=from_here(path))
            except (DocumentError, OSError):
                self._files[place] = None
        return self._files[place]

    def release(self, file: SourceFile, kept: int = KEPT) -> None:
        """Forget what was made of files whose check is over, unless other files refer to them.

        The tree of a large package does not fit in memory; a file that is asked for again is
        read again. Neighbours are likely to ask, so that the last `kept` characters that were
        released are forgotten only in their turn.
        """
        self._released.append(file)
        self._released_size += len(file.code)
        while self._released_size > kept:
            oldest = self._released.popleft()
            self._released_size -= len(oldest.code)
            place = str(oldest.place)
            if self._files.get(place) is oldest and not oldest.is_referred:
                del self._files[place]
                oldest.forget()

    def consulted(self, file: SourceFile) -> frozenset[str]:
        """The places of the other files that what is known of a file may depend on."""
        return self.asked.seen_from([str(file.place)])

    def files_naming(self, name: str, near: SourceFile) -> tuple[SourceFile, ...]:
        """The files that have a name in their text, among a file, which comes first, and the
        Python files of its package (or else of its folder)."""
        places, _ = self._ask(near, ("naming", name, 0, ""))
        found = (self.imported(Path(place)) for place in places)
        return (near, *(file for file in found if file is not None))

    def sets_on_others(self, name: str, near: SourceFile) -> bool:
        """Whether some file around a file may set an attribute of this name on another object
        than `self`: `model.name = …`. Read from the text alone."""
        return bool(self._ask(near, ("setting", name, 0, ""))[1])

    def stands_beside(self, name: str, file: SourceFile) -> bool:
        """Whether there is a file or folder of this name in a file's folder."""
        return bool(self._ask(file, ("beside", name, 0, ""))[1])

    def find(
        self, dotted: str, importer: SourceFile, level: int
    ) -> tuple[SourceFile, tuple[str, ...]] | None:
        """The project's file that a dotted name leads to, and the names left to look up in it.

        None where no file of the project has that name, or where only folders without a file do.
        """
        return self._found(self._ask(importer, ("import", dotted, level, "")), dotted)

    def find_star(
        self, dotted: str, importer: SourceFile, level: int, name: str
    ) -> tuple[SourceFile, bool] | None:
        """The project's file that a star import reads, and whether it may define a name."""
        found = self._found(self._ask(importer, ("glance", dotted, level, "")), dotted)
        if found is None or found[1]:
            return None
        places, _ = self._ask(importer, ("defining", str(found[0].place), 0, name))
        return found[0], bool(places)

    def answer(self, question: Question, place: str) -> Answer:
        """What is answered to a question that is asked for a file; see `source.questions`."""
        kind, name, level, word = question
        match kind:
            case "import" | "glance":
                return self._led(name, place, level)
            case "defining":
                file = self.imported(Path(name))
                return (name,) if file is not None and file.may_define(word) else (), 0
            case "naming":
                naming = self._around(os.path.dirname(place)).naming(name)
                return tuple(found for found in naming if found != place), 0
            case "setting":
                return (), int(self._around(os.path.dirname(place)).sets_on_others(name))
            case "beside":
                beside = os.path.join(os.path.dirname(place), name)
                self._note("kind", beside)
                return (), int(os.path.exists(beside))
        raise ValueError(f"nobody can answer {kind}")

    def _ask(self, file: SourceFile, question: Question) -> Answer:
        place = str(file.place)
        known = self.asked.of(place).get(question)
        if known is None:
            known = self.answer(question, place)
            self.asked.add(place, question, known)
        return known

    def _around(self, folder: str) -> Surroundings:
        root = self._package_root(folder)
        if root != folder:
            folder = os.path.join(root, os.path.relpath(folder, root).split(os.sep)[0])
        if folder not in self._surroundings:
            self._note("python", folder)
            make = Surroundings.of_folder if root == folder else Surroundings.of_package
            self._surroundings[folder] = make(folder)
        return self._surroundings[folder]

    def _found(self, led: Answer, dotted: str) -> tuple[SourceFile, tuple[str, ...]] | None:
        places, left = led
        file = self.imported(Path(places[0])) if places else None
        names = tuple(dotted.split(".")) if dotted else ()
        return None if file is None else (file, names[len(names) - left :])

    def _led(self, dotted: str, importer: str, level: int) -> Answer:
        """The place that an import leads to, and how many of its names are left."""
        names = tuple(dotted.split(".")) if dotted else ()
        for base in self._bases(os.path.dirname(importer), level):
            # Most imports lead nowhere: one look at the first name settles that.
            if names and not level and not self._has(base, names[0]):
                continue
            for length in range(len(names), -1 if level else 0, -1):
                path = self._module(base, names[:length])
                if path is None or (str(path) == importer and length < len(names)):
                    continue
                if str(path) in self.readable or self.imported(path) is not None:
                    return (str(path),), len(names) - length
        return (), 0

    def module(self, dotted: str) -> SourceFile | None:
        """The project's file of this dotted name, without regard to who imports it."""
        places = (self._module(base, tuple(dotted.split("."))) for base in self._roots)
        place = next(filter(None, places), None)
        return None if place is None else self.imported(place)

    def _note(self, kind: str, path: str) -> None:
        if self.notes is not None:
            self.notes.add(kind, path)

    def _bases(self, folder: str, level: int) -> tuple[str, ...]:
        if level:
            for _ in range(level - 1):
                folder = os.path.dirname(folder)
            return (folder,)
        package = self._package_root(folder)
        return tuple(dict.fromkeys((package, folder, *self._between(package), *self._roots)))

    def _between(self, folder: str) -> tuple[str, ...]:
        """The folders above one, up to the outermost root that it lies in, nearest first."""
        if folder not in self._above:
            around = [root for root in self._roots if _lies_in(folder, root)]
            above = [folder] if around else []
            while above and above[-1] != min(around, key=len):
                above.append(os.path.dirname(above[-1]))
            self._above[folder] = tuple(above)
        return self._above[folder]

    @cached_property
    def _roots(self) -> tuple[str, ...]:
        return tuple(map(str, (*self.source_roots, self.root, self.root / "src")))

    def _package_root(self, folder: str) -> str:
        """The folder that the package of a folder lies in: the first one without __init__.py."""
        known = self._packages.get(folder)
        if known is None:
            known = folder
            while "__init__.py" in self._listing(known) and os.path.dirname(known) != known:
                known = os.path.dirname(known)
            self._packages[folder] = known
        return known

    def _listing(self, folder: str) -> frozenset[str]:
        known = self._listings.get(folder)
        if known is None:
            self._note("packages", folder)
            try:
                known = frozenset(os.listdir(folder))
            except OSError:
                known = frozenset()
            self._listings[folder] = known
        return known

    def _has(self, folder: str, name: str) -> bool:
        listing = self._listing(folder)
        return name in listing or f"{name}.py" in listing

    def _module(self, base: str, names: tuple[str, ...]) -> Path | None:
        key = (base, ".".join(names))
        if key not in self._modules:
            self._modules[key] = self._search(base, names)
        return self._modules[key]

    def _search(self, base: str, names: tuple[str, ...]) -> Path | None:
        folder = base
        for name in names[:-1]:
            if name not in self._listing(folder):
                return None
            folder = os.path.join(folder, name)
        if names and f"{names[-1]}.py" in self._listing(folder):
            return Path(folder, f"{names[-1]}.py")
        package = os.path.join(folder, names[-1]) if names else folder
        if (not names or names[-1] in self._listing(folder)) and "__init__.py" in self._listing(
            package
        ):
            return Path(package, "__init__.py")
        return None


def _lies_in(folder: str, root: str) -> bool:
    return folder == root or folder.startswith(root.rstrip(os.sep) + os.sep)


def from_here(path: Path) -> str:
    """A path relative to the working directory, as a file below it that is named would be: which
    file is read first, as a target or as an import, must not show in findings."""
    try:
        return path.relative_to(os.getcwd()).as_posix()
    except ValueError:
        return path.as_posix()
