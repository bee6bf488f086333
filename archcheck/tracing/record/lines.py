"""What the lines of the user's forward bound to their names, seen without a trace function.

`sys.settrace` would slow every line of torch down, and would fight with a debugger or a coverage
tool. Instead, each time an op or a module call begins in a frame of the user's, the frame's local
names are compared with what they held last time; a name that changed was bound by a store
instruction between the two places.
"""

from __future__ import annotations

import dis
from collections.abc import Mapping
from types import CodeType, FrameType
from typing import Any

import torch

from archcheck.evidence.records import LineValue, SizeName
from archcheck.tracing.record.recorder import PendingCall, Recorder
from archcheck.tracing.record.spans import Spans
from archcheck.tracing.record.traced_size import TracedSize

# Reading a frame's locals refreshes the dict that these functions return.
_READS_LOCALS = {"locals", "vars", "eval", "exec", "dir"}
_MOST_LEAVES = 64
_NO_TENSORS = {int, float, bool, str, torch.Size, torch.dtype, torch.device}


class _Stores:
    """The instructions of a code object that bind local names."""

    __slots__ = ("jumps", "offsets", "returns")

    def __init__(self, code: CodeType) -> None:
        self.offsets: dict[str, list[int]] = {}
        self.returns: set[int] = set()
        self.jumps: list[tuple[int, int]] = []  # a loop's end and its beginning
        for instruction in dis.get_instructions(code):
            if instruction.opname.startswith(("STORE_FAST", "STORE_DEREF")):
                names = instruction.argval
                if instruction.opname == "STORE_FAST_LOAD_FAST":
                    names = names[0]
                for name in names if isinstance(names, tuple) else (names,):
                    self.offsets.setdefault(name, []).append(instruction.offset)
            elif instruction.opname.startswith("RETURN_"):
                self.returns.add(instruction.offset)
            elif instruction.opname.startswith("JUMP_BACKWARD"):
                self.jumps.append((instruction.offset, instruction.argval))

    def between(self, name: str, last: int, at: int, fresh: bool) -> int | None:
        """The store that bound a name on the way from one instruction to another.

        Several may lie there, on branches not taken. What the instruction at `last` made
        (`fresh`) was bound by the first of them; anything older, by the last.
        """
        offsets = self.offsets[name]
        if at > last:
            found = [offset for offset in offsets if last < offset < at]
        else:
            end, start = next(
                ((end, start) for end, start in self.jumps if end > last and start <= at),
                (1 << 30, 0),
            )
            found = [offset for offset in offsets if last < offset < end]
            found += [offset for offset in offsets if start <= offset < at]
        if not found:
            return None
        return found[0] if fresh else found[-1]


class _Tracked:
    """A running frame of the user's code."""

    __slots__ = ("call", "depth", "frame", "last", "made", "seen", "stores")

    def __init__(self, frame: FrameType, stores: _Stores, call: int | None) -> None:
        self.frame = frame
        self.stores = stores
        self.call = call
        self.last = -1
        self.made = 0  # how many values there were at the last event
        self.depth = 0
        self.seen: dict[str, Any] = {}


class Lines:
    """Watches the user's frames, and enters what their lines bound into the recorder."""

    def __init__(self, recorder: Recorder, spans: Spans) -> None:
        self._recorder = recorder
        self._spans = spans
        self._stores: dict[CodeType, _Stores | None] = {}
        self._stack: list[_Tracked] = []

    def event(self, frame: FrameType | None) -> None:
        """An op or a module call begins in this frame."""
        while frame is not None and frame.f_code.co_name.startswith("<"):
            # A comprehension or lambda: the lines are those of the function around it.
            frame = frame.f_back
        if frame is None:
            return
        depth = len(self._recorder.open_calls)
        if not self._stack or self._stack[-1].frame is not frame:
            if not self._switch(frame):
                return
        elif frame.f_lasti == self._stack[-1].last and depth > self._stack[-1].depth:
            return  # still below the call that the last event told of
        tracked = self._stack[-1]
        tracked.depth = depth
        self._compare(tracked, frame.f_lasti)

    def end(self, call: PendingCall, returned: bool) -> None:
        """A module call has ended, and with it the frames that ran in it."""
        while self._stack and (self._stack[-1].call or 0) >= call.index:
            if self._stack[-1].call is None:
                break
            self._leave(self._stack.pop(), call if returned else None)

    def finish(self) -> None:
        """The pass is over."""
        while self._stack:
            self._leave(self._stack.pop(), None)

    def _switch(self, frame: FrameType) -> bool:
        code = frame.f_code
        if code not in self._stores:
            reads_locals = not _READS_LOCALS.isdisjoint(code.co_names)
            user = self._spans.is_user(code)
            self._stores[code] = _Stores(code) if user and not reads_locals else None
        stores = self._stores[code]
        if stores is None:
            return False
        if self._stack:
            running = {id(tracked.frame): place for place, tracked in enumerate(self._stack)}
            above: FrameType | None = frame
            while above is not None and id(above) not in running:
                above = above.f_back
            keep = 0 if above is None else running[id(above)] + 1
            while len(self._stack) > keep:
                self._leave(self._stack.pop(), None)
            if self._stack and self._stack[-1].frame is frame:
                return True
        if self._stack:
            # A helper runs: what its caller bound before calling it is told apart from what it
            # will bind to the helper's result.
            caller = self._stack[-1]
            self._compare(caller, caller.frame.f_lasti)
        call = self._recorder.open_calls[-1].index if self._recorder.open_calls else None
        self._stack.append(_Tracked(frame, stores, call))
        return True

    def _leave(self, tracked: _Tracked, call: PendingCall | None) -> None:
        at = tracked.frame.f_lasti
        self._compare(tracked, at)
        code = tracked.frame.f_code
        if (
            call is not None
            and tracked.call == call.index
            and code.co_name == "forward"
            and at in tracked.stores.returns
        ):
            location = self._spans.of(code, at)
            if location is not None:
                line = LineValue(location, "return", call.outputs, call.index)
                self._recorder.lines.append(line)

    def _compare(self, tracked: _Tracked, at: int) -> None:
        last, tracked.last = tracked.last, at
        made, tracked.made = tracked.made, len(self._recorder.values)
        frame = tracked.frame
        names = frame.f_locals
        found: list[tuple[int, str, Any]] = []
        named: list[tuple[int | None, str, TracedSize]] = []
        for name in tracked.stores.offsets:
            value = names.get(name)
            if value is None or type(value) in _NO_TENSORS:
                continue
            if type(value) is TracedSize:
                if value.depth == 0 and tracked.seen.get(name) != value.source:
                    tracked.seen[name] = value.source
                    named.append((tracked.stores.between(name, last, at, False), name, value))
                continue
            print_ = self._fingerprint(value)
            if print_ is None or tracked.seen.get(name) == print_:
                continue
            tracked.seen[name] = print_
            offset = tracked.stores.between(name, last, at, _newest(print_) >= made)
            if offset is not None:
                found.append((offset, name, self._recorder.nest(value)))
        value = None
        if type(names) is dict:
            # Up to Python 3.12 the frame keeps this dict, and with it tensors that the names no
            # longer hold: they would look alive.
            names.clear()
        # A loop's end comes before its beginning.
        found.sort(key=lambda store: (store[0] < at, store[0]) if at <= last else (True, store[0]))
        for offset, name, nest in found:
            location = self._spans.of(frame.f_code, offset)
            if location is not None:
                self._recorder.lines.append(LineValue(location, name, nest, tracked.call))
        for offset, name, size in named:
            location = None if offset is None else self._spans.of(frame.f_code, offset)
            if location is not None and size.source[0] == "dim":
                _, index, dimension = size.source
                self._recorder.size_names.append(SizeName(location, name, index, dimension))

    def _fingerprint(self, value: Any) -> Any:
        """Equal for equal contents; None for what holds no tensor."""
        if isinstance(value, torch.Tensor):
            return self._recorder.value(value)
        if isinstance(value, list | tuple):
            if not value or len(value) > _MOST_LEAVES:
                return None
            prints = tuple([self._fingerprint(item) for item in value])
            return prints if any(item is not None for item in prints) else None
        if isinstance(value, Mapping) and len(value) <= _MOST_LEAVES:
            return self._fingerprint(list(value.values()))
        return None


def _newest(print_: Any) -> int:
    """The latest value in a fingerprint."""
    if isinstance(print_, tuple):
        return max((_newest(item) for item in print_ if item is not None), default=-1)
    return int(print_)
