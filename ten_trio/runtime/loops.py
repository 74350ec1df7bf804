"""Crossing from one Trio run to another: in order, in batches, without blocking anybody.

What crosses is a call, in one queue for all who post.  The loop is woken for the first of a batch
and stays awake until it has found the queue empty, so it is the order of two steps on either side
that lets no call be left behind: who posts adds to the queue, then looks whether the loop is awake;
the loop says that it isn't, then looks at the queue once more.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from threading import Lock, get_ident
from typing import TYPE_CHECKING, Any, TypeVar

import outcome
import trio

if TYPE_CHECKING:
    from .watchdog import Watchdog

T = TypeVar("T")


class Loop:
    """One Trio run, as others see it. Made inside it."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._thread = get_ident()
        self._jobs: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._awake = False
        self._lock = Lock()  # for going to sleep and being woken; the queue needs none
        self.now: Callable[[], float] = trio.lowlevel.current_clock().current_time
        """Its clock, which may be asked from anywhere."""
        self.watchdog: Watchdog | None = None
        """Who looks whether it is blocked, if anybody does."""

    @property
    def is_here(self) -> bool:
        """Whether the caller runs in this loop's thread."""
        return get_ident() == self._thread

    @property
    def thread(self) -> int:
        """The thread it runs in."""
        return self._thread

    def post(self, fn: Callable[..., object], *args: Any) -> bool:
        """Call `fn(*args)` there; at once if this is there. Calls keep their order.

        `fn` must not raise.  One wake-up serves everything that has come in the meantime.  False if
        that run is over: then nothing will be called.
        """
        if get_ident() == self._thread and not self._jobs:
            fn(*args)
            return True
        with self._lock:
            self._jobs.append((fn, args))
            return self._wake()

    def put(self, fn: Callable[..., object], *args: Any) -> None:
        """As `post` and in one order with it, but never at once, and it may be lost if that run ends.

        For what is sent often: as long as the loop is awake, it takes no lock.
        """
        self._jobs.append((fn, args))
        if not self._awake:
            with self._lock:
                self._wake()

    def _wake(self) -> bool:
        if not self._awake:
            try:
                self._token.run_sync_soon(self._run)
            except trio.RunFinishedError:
                # It had nothing to do when it went to sleep: none of these has been promised.
                self._jobs.clear()
            else:
                self._awake = True
        return self._awake

    def _run(self) -> None:
        jobs = self._jobs
        while True:
            try:
                while jobs:
                    fn, args = jobs.popleft()
                    fn(*args)
            except BaseException:
                # None of them may raise. If one does, that run ends, and has to be seen to be over.
                self._awake = False
                raise
            with self._lock:
                self._awake = False
                if not jobs:
                    return
                self._awake = True


async def hear(there: Loop, look: Callable[[], T], patience: float) -> T | None:
    """What `look()` says in another loop; None if it says nothing for so many seconds.

    It is called there between two steps of its tasks; what it raises is raised here.  Raises
    `trio.RunFinishedError` if that loop is over.
    """
    here = Loop()
    answers: list[outcome.Outcome[T]] = []
    answered = trio.Event()

    def take(answer: outcome.Outcome[T]) -> None:
        answers.append(answer)
        answered.set()

    if not there.post(lambda: here.post(take, outcome.capture(look))):
        await trio.lowlevel.checkpoint()
        raise trio.RunFinishedError("the graph's loop is over")
    with trio.move_on_after(patience):
        await answered.wait()
    return answers[0].unwrap() if answers else None


async def ask(
    there: Loop,
    start_soon: Callable[..., object],
    async_fn: Callable[..., Awaitable[T]],
    *args: Any,
) -> T:
    """Await `async_fn(*args)` in another loop, in a task made by its `start_soon`.

    Cancelling the wait cancels the task; the wait ends when the task has.  Raises
    `trio.RunFinishedError` if that loop is over or takes no tasks any more.
    """
    here = Loop()
    task = trio.lowlevel.current_task()
    scope = trio.CancelScope(shield=True)
    answer: list[outcome.Outcome[T]] = []

    async def run() -> None:
        result: outcome.Outcome[T] | None = None
        try:
            with scope:
                result = outcome.Value(await async_fn(*args))
        except Exception as error:  # noqa: BLE001 - it is raised where it was asked for
            result = outcome.Error(error)
        finally:
            here.post(done, result)

    def done(result: outcome.Outcome[T] | None) -> None:
        if result is not None:
            answer.append(result)
        trio.lowlevel.reschedule(task)

    def abort(_: object) -> trio.lowlevel.Abort:
        there.post(scope.cancel, "the asking task was cancelled")
        return trio.lowlevel.Abort.FAILED

    def begin() -> None:
        try:
            start_soon(run)
        except RuntimeError:  # its nursery is closed: that run is about to end
            here.post(done, None)

    if not there.post(begin):
        raise trio.RunFinishedError("the graph's loop is over")
    await trio.lowlevel.wait_task_rescheduled(abort)
    if not answer:
        await trio.lowlevel.checkpoint_if_cancelled()
        raise trio.RunFinishedError("the graph's loop is over")
    return answer[0].unwrap()
