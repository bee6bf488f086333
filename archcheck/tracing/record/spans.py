"""Where in the user's source something ran: the sub-expression, in the innermost user frame."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Callable, Sequence
from types import CodeType, FrameType, TracebackType
from typing import Any

from archcheck.core.finding import Location
from archcheck.evidence.records import Frame


class Spans:
    """Finds frames of the user's code and the spans that they are at.

    Args:
        user_files: Whether a code object's file is the user's own.
        boundaries: Functions of this package that run the user's code: frames above them are the
            caller's, however much the caller's file looks like the user's.
    """

    def __init__(
        self, user_files: Callable[[str], bool], boundaries: Sequence[Callable[..., Any]] = ()
    ) -> None:
        self._user_files = user_files
        self._boundaries = frozenset(function.__code__ for function in boundaries)
        self._is_user: dict[CodeType, bool] = {}
        self._positions: dict[CodeType, list[tuple[int | None, ...]]] = {}
        self._locations: dict[tuple[CodeType, int], Location | None] = {}

    def is_user(self, code: CodeType) -> bool:
        known = self._is_user.get(code)
        if known is None:
            known = self._is_user[code] = bool(self._user_files(code.co_filename))
        return known

    def frame(self, depth: int = 1) -> FrameType | None:
        """The innermost frame of the user's code, from `depth` frames above the caller on."""
        is_user = self._is_user
        frame: FrameType | None = sys._getframe(depth + 1)
        while frame is not None:
            code = frame.f_code
            known = is_user.get(code)
            if known is None:
                known = self.is_user(code)
            if known:
                return frame
            frame = None if code in self._boundaries else frame.f_back
        return None

    def above(self, frame: FrameType) -> FrameType | None:
        """The next frame of the user's code outside this one."""
        above = frame.f_back
        while above is not None and not self.is_user(above.f_code):
            above = None if above.f_code in self._boundaries else above.f_back
        return above

    def at(self, frame: FrameType | None) -> Location | None:
        """The span of the expression that the frame is evaluating."""
        if frame is None:
            return None
        return self.of(frame.f_code, frame.f_lasti)

    def of(self, code: CodeType, instruction: int) -> Location | None:
        key = (code, instruction)
        try:
            return self._locations[key]
        except KeyError:
            found = self._locations[key] = self._find(code, instruction)
            return found

    def _find(self, code: CodeType, instruction: int) -> Location | None:
        positions = self._positions.get(code)
        if positions is None:
            positions = self._positions[code] = list(code.co_positions())
        place = instruction // 2
        if not 0 <= place < len(positions):
            return None
        line, end_line, column, end_column = positions[place]
        if line is None:
            return None
        path = code.co_filename
        end_line = end_line or line
        if column is None or end_column is None:  # python -X no_debug_ranges
            return Location(path, line, 1, end_line, 1)
        return Location(
            path,
            line,
            _characters(path, line, column) + 1,
            end_line,
            _characters(path, end_line, end_column) + 1,
        )

    def frames(self, traceback: TracebackType | None) -> tuple[Frame, ...]:
        """The user's frames of a traceback, outermost first."""
        found: list[Frame] = []
        link = traceback
        while link is not None:
            if link.tb_frame.f_code in self._boundaries:
                traceback = link.tb_next
            link = link.tb_next
        while traceback is not None:
            code = traceback.tb_frame.f_code
            if self.is_user(code):
                location = self.of(code, traceback.tb_lasti)
                if location is not None:
                    found.append(Frame(location, code.co_qualname))
            traceback = traceback.tb_next
        if len(found) > 40:  # endless recursion: its ends tell enough
            found = [*found[:20], *found[-20:]]
        return tuple(found)

    def frames_above(self, frame: FrameType | None) -> tuple[Frame, ...]:
        """The user's frames that are running, outermost first."""
        found: list[Frame] = []
        while frame is not None and len(found) < 40:
            if self.is_user(frame.f_code):
                location = self.at(frame)
                if location is not None:
                    found.append(Frame(location, frame.f_code.co_qualname))
            frame = None if frame.f_code in self._boundaries else frame.f_back
        return tuple(reversed(found))


def _characters(path: str, line: int, column: int) -> int:
    """Python counts columns in bytes of UTF-8; people and editors count characters."""
    text = linecache.getline(path, line)
    if not text or text.isascii():
        return column
    return len(text.encode()[:column].decode(errors="ignore"))
