"""The watchdog: a thread that asks a loop for a sign of life, and looks at its stack if none comes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Thread
from time import perf_counter
from types import FrameType
from typing import TYPE_CHECKING, Any

import attrs

from .explanation import Block
from .frames import is_machinery
from .lanes import Worker
from .lifecycle import Life
from .turns import ask_one

if TYPE_CHECKING:
    from .loops import Loop

logger = logging.getLogger("ten_trio.runtime")

_HANDLING = {code.__code__ for code in (Worker._drain, Worker._start_apart, Worker._finish)}
_LIVING = Life._call.__code__
_ASKING = ask_one.__code__
_STACK = 6
_BLOCKS = 99


@attrs.frozen
class Culprit:
    """What a thread is at: whose handler that is, and where."""

    who: str = ""
    doing: str = ""
    at: str = ""
    stack: tuple[str, ...] = ()


def culprit(thread: int) -> Culprit:
    """What a thread, of this id, is doing at this moment. May be called from any thread."""
    frame = sys._current_frames().get(thread)
    innermost: list[tuple[FrameType, int]] = []
    while frame is not None:
        innermost.append((frame, frame.f_lineno))
        frame = frame.f_back
    stack = tuple(_line(frame, line) for frame, line in reversed(innermost))
    at = next((_line(f, line) for f, line in innermost if not is_machinery(f)), "")
    for place, _ in innermost:
        found = _whose(place)
        if found is not None:
            # Only what lies inside the handler is its own: outside is whoever runs the loop.
            inside = innermost[: [f for f, _ in innermost].index(place)]
            at = next((_line(f, line) for f, line in inside if not is_machinery(f)), "")
            return Culprit(*found, at, stack)
    return Culprit("", "", at if _is_busy(innermost) else "", stack)


def _whose(frame: FrameType) -> tuple[str, str] | None:
    """The extension, and what of it, if this is the frame of the runtime that runs it."""
    code = frame.f_code
    if code in _HANDLING:
        local: dict[str, Any] = dict(frame.f_locals)
        line, msg = local.get("line"), local.get("msg")
        if line is not None and msg is not None:
            return line.owner.name, f"handler of {msg.kind} {msg.name!r}"
    elif code is _LIVING:
        local = dict(frame.f_locals)
        return local["self"].instance.name, local["name"]
    elif code is _ASKING:
        local = dict(frame.f_locals)
        return local["instance"].name, local["name"]
    elif code.co_name == "unrolled_run" and "task" in frame.f_locals:
        task = frame.f_locals["task"]
        return (f"task {task.name}", "") if task is not None else None
    return None


def _is_busy(innermost: list[tuple[FrameType, int]]) -> bool:
    """Whether it is at anything at all: not in trio's wait for something to happen."""
    return bool(innermost) and innermost[0][0].f_code.co_name != "get_events"


def _line(frame: FrameType, line: int) -> str:
    return f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}"


class Watchdog:
    """Watches one loop. What has blocked it is in `blocks`, by whom and where."""

    def __init__(self, seconds: float, loop: Loop) -> None:
        self.blocks: dict[tuple[str, str], Block] = {}
        self.total = 0
        """How often the loop was blocked for longer than it may be."""
        self._seconds = seconds
        self._loop = loop
        self._signs: SimpleQueue[bool] = SimpleQueue()

    def run(self) -> None:
        """Until `end` is called, or the loop is over. In a thread of its own."""
        while self._loop.post(self._signs.put, True):
            asked = perf_counter()
            try:
                alive = self._signs.get(timeout=self._seconds)
            except Empty:
                seen = culprit(self._loop.thread)
                self._tell(seen, perf_counter() - asked)
                alive = self._signs.get()
                self._count(seen, perf_counter() - asked)
            if not alive or not self._patient():
                return

    def end(self) -> None:
        """Watch no longer."""
        self._signs.put(False)

    def _patient(self) -> bool:
        """Wait until it is time to ask again; False if it is time to end."""
        try:
            return self._signs.get(timeout=self._seconds / 2)
        except Empty:
            return True

    def _tell(self, seen: Culprit, seconds: float) -> None:
        self.total += 1
        what = f"{seen.who} ({seen.doing})" if seen.doing else seen.who or "no handler"
        stack = "".join(f"\n    {frame}" for frame in seen.stack[-_STACK:])
        where = f" at {seen.at}" if seen.at else ""
        logger.warning(
            "the loop is blocked for %.0f ms by %s%s%s", seconds * 1_000, what, where, stack
        )

    def _count(self, seen: Culprit, seconds: float) -> None:
        key = (seen.who, seen.doing)
        known = self.blocks.get(key)
        longest = seconds if known is None else max(seconds, known.seconds)
        others = [each for each in self.blocks.items() if each[0] != key]
        # A new one, since others may be reading this in another thread.
        self.blocks = {
            **dict(others[-_BLOCKS:]),
            key: Block(
                who=seen.who,
                doing=seen.doing,
                at=seen.at,
                seconds=longest,
                times=1 if known is None else known.times + 1,
            ),
        }


@contextmanager
def watching(loop: Loop, seconds: float | None) -> Iterator[None]:
    """Let a watchdog look after `loop` for the length of a block, if `seconds` are given."""
    if seconds is None:
        yield
        return
    dog = Watchdog(seconds, loop)
    # A daemon, in case that the process ends in spite of a loop that never comes back.
    thread = Thread(target=dog.run, name="ten_trio watchdog", daemon=True)
    loop.watchdog = dog
    thread.start()
    try:
        yield
    finally:
        dog.end()
        thread.join()


__all__ = ["Culprit", "Watchdog", "culprit", "watching"]
