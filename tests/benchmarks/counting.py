"""Counts what a piece of work takes of what doesn't depend on the machine: no clock is read.

Task steps and scheduler passes come from a Trio instrument, operations on queues from counting the
calls of memory channels, messages from counting the shells that receivers get.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from types import FrameType
from typing import Any

import attrs
import pytest
import trio

import ten_trio as ten
from ten_trio.messages import Msg

_PACKAGE = str(Path(ten.__file__).parent)
TIMELESS = ten.Limits(slice_seconds=inf, slice=64)
"""A slice that ends after so many messages, never because of the time: so that counts are exact."""


@attrs.define
class Counts:
    """Of the work between `begin` and `end`."""

    steps: int = 0
    """How often a task was run."""
    passes: int = 0
    """How often the scheduler looked for what to run next."""
    puts: int = 0
    """Messages put into memory channels."""
    gets: int = 0
    """Attempts to take one out, also in vain."""
    shells: int = 0
    """Messages made for receivers."""
    calls: int = 0
    """Calls of the package's functions, and of coroutines of its own that go on."""
    blocks: int = 0
    """Blocks of memory that are there afterwards and weren't before."""


class Counter(trio.abc.Instrument):
    """Counts while it is on."""

    def __init__(self, calls: bool) -> None:
        self.counts = Counts()
        self.on = False
        self._calls = calls
        self._blocks = 0

    def begin(self) -> None:
        """Count from here on."""
        gc.collect()
        gc.disable()
        self.on = not self._calls
        self._blocks = sys.getallocatedblocks()
        if self._calls:
            sys.setprofile(self._profile)

    def end(self) -> None:
        """Up to here."""
        sys.setprofile(None)
        self.counts.blocks = sys.getallocatedblocks() - self._blocks
        self.on = False
        gc.enable()

    def _profile(self, frame: FrameType, event: str, argument: object) -> None:
        # Not Trio's: how many it makes depends on whether its scheduling was made repeatable.
        self.counts.calls += event == "call" and frame.f_code.co_filename.startswith(_PACKAGE)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.counts.steps += self.on

    def before_io_wait(self, timeout: float) -> None:
        self.counts.passes += self.on


@contextmanager
def _counted_calls(counter: Counter) -> Iterator[None]:
    """Count the calls of channels and of `_shell` for as long as the block lasts."""
    with pytest.MonkeyPatch.context() as patch:

        def count(owner: Any, method: str, attribute: str) -> None:
            original = getattr(owner, method)

            def counting(*args: Any, **kwargs: Any) -> Any:
                if counter.on:
                    counts = counter.counts
                    setattr(counts, attribute, getattr(counts, attribute) + 1)
                return original(*args, **kwargs)

            patch.setattr(owner, method, counting)

        count(trio.MemorySendChannel, "send_nowait", "puts")
        count(trio.MemoryReceiveChannel, "receive_nowait", "gets")
        for kind in _kinds(Msg):
            if "_shell" in vars(kind):
                count(kind, "_shell", "shells")
        yield


def _kinds(kind: type) -> Iterator[type]:
    yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)


def count(work: Callable[[ten.App, Counter], Awaitable[object]], *, calls: bool = False) -> Counts:
    """Run `work` in an app of its own; it says itself from when to when is counted.

    With `calls` these are counted and nothing else, since counting the rest takes calls itself.
    """
    counter = Counter(calls)

    async def run() -> None:
        with trio.fail_after(30):
            async with ten.open_app(limits=TIMELESS) as app:
                await work(app, counter)

    if calls:
        trio.run(run)
        return counter.counts
    with _counted_calls(counter):
        trio.run(run, instruments=[counter])
    return counter.counts
