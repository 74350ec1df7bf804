"""A Trio run that goes on only when it is told to, until every task waits: for state machines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from typing import Any, TypeVar

import outcome
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

T = TypeVar("T")

_HANGS = 60  # seconds, real ones, without anything to do


class SteppedTrio:
    """One run of Trio in this thread, in guest mode: this object is the host loop.

    Its clock stands still, but for `jump`.  What ends the run (a task of `nursery` that raises) comes
    out of the step in which it happens.
    """

    nursery: trio.Nursery

    def __init__(self, order: int) -> None:
        trio._core._run._r.seed(order)  # type: ignore[attr-defined]
        self.clock = MockClock()
        self._todo: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._ended: outcome.Outcome[None] | None = None
        self._close = trio.Event()
        self._ready = False
        trio.lowlevel.start_guest_run(
            self._main,
            run_sync_soon_threadsafe=self._todo.put,
            done_callback=self._done,
            clock=self.clock,
            host_uses_signal_set_wakeup_fd=True,
        )
        self._pump(lambda: self._ready)

    async def _main(self) -> None:
        async with trio.open_nursery() as self.nursery:
            self._ready = True
            await self._close.wait()
            self.nursery.cancel_scope.cancel("the machine is done")

    def _done(self, ended: outcome.Outcome[None]) -> None:
        self._ended = ended

    def _pump(self, until: Callable[[], bool]) -> None:
        while not until():
            if self._ended is not None:
                self._ended.unwrap()
                raise AssertionError("the run has ended")
            self._todo.get(timeout=_HANGS)()

    def run(self, async_fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run `async_fn(*args)`, and everything else until all tasks wait; what it returns or raises."""
        results: list[outcome.Outcome[T]] = []

        async def one_step() -> None:
            try:
                got: outcome.Outcome[T] = await outcome.acapture(async_fn, *args)
                await wait_all_tasks_blocked()
                results.append(got)
            finally:
                if not results:
                    # The run fails: what closes now may need time.
                    self.clock.autojump_threshold = 0

        self.nursery.start_soon(one_step)
        self._pump(lambda: bool(results))
        return results[0].unwrap()

    def settle(self) -> None:
        """Until all tasks wait."""
        self.run(trio.lowlevel.checkpoint)

    def jump(self, seconds: float) -> None:
        """Let time go on, from one deadline to the next."""
        until = self.clock.current_time() + seconds
        while (now := self.clock.current_time()) < until:
            due = self.run(_next_deadline)
            self.clock.jump(max(0.0, min(until, due) - now) or 1e-6)
            self.settle()

    def close(self) -> None:
        """End the run."""
        if self._ended is None:
            self.clock.autojump_threshold = 0
            self.nursery.start_soon(self._ask_to_close)
            while self._ended is None:
                self._todo.get(timeout=_HANGS)()
        self._ended.unwrap()

    async def _ask_to_close(self) -> None:
        self._close.set()


async def _next_deadline() -> float:
    await trio.lowlevel.checkpoint()
    statistics = trio.lowlevel.current_statistics()
    return trio.current_time() + statistics.seconds_to_next_deadline
