"""A Trio run in a thread of its own, and how other threads wait for what is done there.

A notebook's cells run in the main thread, one after another, with an event loop that isn't Trio's;
what lives between them has to live somewhere else.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVar

import outcome
import trio

from ..errors import EngineClosed, WrongThread

if TYPE_CHECKING:
    from trio.testing import MockClock

T = TypeVar("T")

INTERRUPT_GRACE: Final = 10.0
"""Seconds that an interrupted cell waits for what it had begun to come to its end; that of a graph
which was being opened is its close. A second interrupt doesn't wait."""

IDLE: Final = 0.01
"""Real seconds for which nothing may happen before a virtual clock jumps while a cell waits."""

_limit: ContextVar[float] = ContextVar("ten_trio_notebook_limit", default=inf)
"""How many seconds a wait of the current block may take."""


@contextmanager
def fail_after(seconds: float) -> Iterator[None]:
    """`with fail_after(2): …`: each wait in this block may take so many seconds of the app's clock.

    Raises `trio.TooSlowError` out of the one that takes longer, which is cancelled.
    """
    token = _limit.set(min(seconds, _limit.get()))
    try:
        yield
    finally:
        _limit.reset(token)


class Job:
    """Something that another thread wants to have done in the Trio run, and waits for."""

    def __init__(self, async_fn: Callable[[], Awaitable[Any]], seconds: float) -> None:
        self._async_fn = async_fn
        self._seconds = seconds
        self.scope = trio.CancelScope()
        self.begun = False
        self.done = threading.Event()
        self.outcome: outcome.Outcome[Any] | None = None
        """None if it was cancelled, or the run has ended."""

    def cancel(self) -> None:
        """Don't wait for it any more; called in the run."""
        self.scope.cancel("the cell was interrupted")
        if not self.begun:
            self.done.set()

    async def run(self) -> None:
        """Do it."""
        try:
            with self.scope, trio.move_on_after(self._seconds) as limit:
                self.outcome = outcome.Value(await self._async_fn())
            if limit.cancelled_caught and self.outcome is None:
                raise trio.TooSlowError(f"not done in {self._seconds:g} s")
        except Exception as error:  # noqa: BLE001 - raised where it is waited for; Cancelled isn't one
            self.outcome = outcome.Error(error)
        finally:
            self.done.set()


class TrioThread:
    """The thread. `open_thread` makes one."""

    def __init__(self, name: str, clock: MockClock | None) -> None:
        self.clock = clock
        self.error: BaseException | None = None
        """What has ended the run, if it didn't end in order."""
        self.ended = threading.Event()
        self._ready = threading.Event()
        self._token: trio.lowlevel.TrioToken
        self._nursery: trio.Nursery
        self._over: trio.Event
        self._waiting = 0
        # A daemon, because the interpreter waits for all others before it calls what is registered
        # with `atexit`, and that is what ends this one.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def begin(self) -> None:
        """Start it, and wait until it takes jobs. Once, by `open_thread`."""
        self._thread.start()
        self._ready.wait()

    def _run(self) -> None:
        try:
            trio.run(self._main, clock=self.clock)
        except BaseException as error:  # noqa: BLE001 - the thread's end: whoever calls next is told
            self.error = error
        finally:
            self._ready.set()
            self.ended.set()

    async def _main(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._over = trio.Event()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._ready.set()
            await self._over.wait()
            nursery.cancel_scope.cancel("the notebook's app is closed")

    @property
    def is_here(self) -> bool:
        """Whether the caller runs in it."""
        return threading.get_ident() == self._thread.ident

    def post(self, fn: Callable[..., object], *args: Any) -> bool:
        """Call `fn` there, soon; it must not raise. False if the run is over."""
        try:
            self._token.run_sync_soon(fn, *args)
        except trio.RunFinishedError:
            return False
        return True

    def call(self, async_fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Await `async_fn(*args)` there, and block until it is done.

        A KeyboardInterrupt cancels it, and nothing else.  Raises what it raises, `EngineClosed` if
        the run is over, and `WrongThread` in the thread itself, which would wait for ever.
        """
        if self.is_here:
            raise WrongThread("the notebook's face of a graph was used by the graph itself")
        job = Job(partial(async_fn, *args), _limit.get())
        try:
            if self.post(self._start, job):
                self._wait(job.done)
        except BaseException:  # an interrupt, wherever it has struck
            if self.post(job.cancel):
                job.done.wait(INTERRUPT_GRACE)
            raise
        if job.outcome is None:
            self.ended.wait(INTERRUPT_GRACE)  # the run ends: what with is known when it has
            raise EngineClosed("the notebook's app is closed") from self.error
        result: T = job.outcome.unwrap()
        return result

    def try_call(self, seconds: float, async_fn: Callable[..., Awaitable[Any]], *args: Any) -> bool:
        """The same for whoever can't wait longer than that; whether it is done."""
        job = Job(partial(async_fn, *args), inf)
        return self.post(self._start, job) and job.done.wait(seconds)

    def _wait(self, done: threading.Event) -> None:
        # The run may end under it, however that comes about.
        while not done.wait(1.0):
            if self.ended.is_set() and not done.is_set():
                return

    def _start(self, job: Job) -> None:
        if job.done.is_set():
            return  # interrupted before it had begun
        job.begun = True
        try:
            self._nursery.start_soon(self._do, job, name="a cell")
        except RuntimeError:  # its nursery is closed: the run is about to end
            job.done.set()

    async def _do(self, job: Job) -> None:
        self._note_waiting(1)
        try:
            await job.run()
        finally:
            self._note_waiting(-1)

    def _note_waiting(self, change: int) -> None:
        # Virtual time stands still, but for whoever waits: else that would never end.
        self._waiting += change
        if self.clock is not None:
            self.clock.autojump_threshold = IDLE if self._waiting else inf

    async def keep(self, async_fn: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Start `async_fn` there as a task that stays, and wait for its `task_status.started`."""
        return await self._nursery.start(async_fn, *args)

    def end(self, seconds: float | None = None) -> bool:
        """End the run, cancelling what lives in it, and wait for the thread; whether it has ended."""
        self.post(lambda: self._over.set())
        self._thread.join(seconds)
        return not self._thread.is_alive()


def open_thread(name: str, clock: MockClock | None = None) -> TrioThread:
    """Start a thread with a Trio run; `end` it."""
    thread = TrioThread(name, clock)
    thread.begin()
    return thread
