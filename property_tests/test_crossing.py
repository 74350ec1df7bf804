"""Calls that cross from threads to a loop: none left behind, none twice, each thread's in its order.

The threads are real, and take turns: one line of `loops.py` each, in every order that Hypothesis
comes up with. The run of Trio that the loop belongs to is played, so that it can be over at any line.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import product
from types import FrameType
from typing import Any

import pytest
import trio
from hypothesis import given, strategies as st

from ten_trio.runtime import loops
from ten_trio.runtime.loops import Loop

_HANGS = 60  # seconds, real ones, without coming to the next line


class Stepped(threading.Thread):
    """A thread that stops before each line of `loops.py`, and goes on when it is told to."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._act = act
        self._go, self._stopped = threading.Semaphore(0), threading.Semaphore(0)
        self.over = False
        self.start()

    def run(self) -> None:
        assert self._go.acquire(timeout=_HANGS)
        sys.settrace(self._trace)
        try:
            self._act()
        finally:
            sys.settrace(None)
            self.over = True
            self._stopped.release()

    def _trace(self, frame: FrameType, event: str, _: object) -> Any:
        if frame.f_code.co_filename != loops.__file__:
            return None
        if event == "line":
            self.pause()
        return self._trace

    def pause(self) -> None:
        """Let the others go on."""
        self._stopped.release()
        assert self._go.acquire(timeout=_HANGS)

    def step(self) -> None:
        """Go on to the next line, if there is one."""
        if not self.over:
            self._go.release()
            assert self._stopped.acquire(timeout=_HANGS)


def pause() -> None:
    """Let the others go on."""
    thread = threading.current_thread()
    assert isinstance(thread, Stepped)
    thread.pause()


class TakingTurns:
    """A lock for threads that take turns."""

    def __init__(self) -> None:
        self._taken = False

    def __enter__(self) -> None:
        while self._taken:
            pause()
        self._taken = True

    def __exit__(self, *_: object) -> None:
        self._taken = False


class Played:
    """A run of Trio, as far as those see it who want something called there."""

    def __init__(self, looks: int) -> None:
        self.looks = looks  # how often it may find nothing to do before it ends
        self.over = False
        self.wanted: list[Callable[[], object]] = []
        self.most_wanted = 0

    def run_sync_soon(self, fn: Callable[[], object]) -> None:
        if self.over:
            raise trio.RunFinishedError
        self.wanted.append(fn)
        self.most_wanted = max(self.most_wanted, len(self.wanted))

    def main(self) -> None:
        while self.looks:
            if self.wanted:
                self.wanted.pop(0)()
            else:
                self.looks -= 1
                pause()
        self.over = True
        while self.wanted:  # what was asked for in time is done
            self.wanted.pop(0)()


def loop_of(played: Played) -> Loop:
    async def make() -> Loop:
        return Loop()

    loop: Any = trio.run(make)
    loop._token, loop._lock = played, TakingTurns()
    made: Loop = loop
    return made


def crossing(plans: Sequence[Sequence[str]], runs: Iterable[tuple[int, int]], looks: int) -> None:
    """Threads that each post what their plan says, while `runs` says who goes on for how many lines."""
    played = Played(looks)
    loop = loop_of(played)
    called: list[tuple[int, int]] = []
    promised: dict[tuple[int, int], bool] = {}

    def send(who: int, plan: Sequence[str]) -> None:
        for number, way in enumerate(plan):
            job = who, number
            if way == "post":
                promised[job] = loop.post(called.append, job)
            else:
                loop.put(called.append, job)

    receiver = Stepped(played.main)
    senders = [Stepped(partial(send, who, plan)) for who, plan in enumerate(plans)]
    threads = [receiver, *senders]
    for who, lines in runs:
        for _ in range(lines):
            threads[who % len(threads)].step()
    while any(not sender.over for sender in senders):
        for thread in threads:
            thread.step()
    ended_early = played.over
    while not receiver.over:
        receiver.step()

    assert played.most_wanted <= 1  # one wake-up serves all that has come in the meantime
    assert len(set(called)) == len(called)
    for who, plan in enumerate(plans):
        in_order = [number for sender, number in called if sender == who]
        assert in_order == sorted(in_order)
        if not ended_early:
            assert len(in_order) == len(plan)
    for job, yes in promised.items():
        assert (job in called) is yes
    assert not loop._jobs


plans = st.lists(st.lists(st.sampled_from(["put", "post"]), max_size=4), min_size=1, max_size=2)
runs = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 20)), max_size=20)


@given(plans, runs, st.integers(0, 20))
def test_what_crosses_arrives(
    plans: list[list[str]], runs: list[tuple[int, int]], looks: int
) -> None:
    crossing(plans, runs, looks)


_LINES = 14
"""More than there are from one call to the next."""


@pytest.mark.parametrize("looks", [2, 99], ids=["ends", "goes on"])
@pytest.mark.parametrize("second", ["put", "post"])
def test_a_second_call_comes_at_any_line(second: str, looks: int) -> None:
    for before, lines in product(range(_LINES), repeat=2):
        crossing([["put", second]], [(1, before), (0, lines), (1, 3)], looks)
