"""The caller's side of a command: a promise that can be awaited, iterated or cancelled."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from ..errors import InvalidArgument
from .current import current

if TYPE_CHECKING:
    from ..messages import CmdResult
    from .lines import Line


class Call:
    """A command in flight, as `start_cmd` returns it. Used by one task at a time.

    `await call.result()` for the completed result, `async for result in call` for every result that
    the policy lets through, `call.cancel()` to want none any more.
    """

    __slots__ = ("_abandon", "_completed", "_error", "_now", "_results", "_since", "_waiter")

    def __init__(self, now: Callable[[], float] = trio.current_time) -> None:
        # Trio's clock, perhaps by a shorter way.
        self._now = now
        self._results: deque[CmdResult] = deque()
        self._waiter: trio.lowlevel.Task | None = None
        # When that task began to wait; meant for people (`explain`).
        self._since = 0.0
        self._completed = False
        self._error: BaseException | None = None
        self._abandon: Callable[[], object] | None = None

    def __repr__(self) -> str:
        state = "completed" if self._completed else "in flight"
        return f"<ten_trio.Call {state}, {len(self._results)} results waiting>"

    # The sink of a command (see `paths`).

    def deliver(self, result: CmdResult, completed: bool) -> None:
        """Take one result."""
        if self._completed:
            return  # nobody wants it any more, though the task may still seem to wait
        self._results.append(result)
        if completed:
            self._completed = True
            self._abandon = None
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            trio.lowlevel.reschedule(waiter)

    def fail(self, error: BaseException) -> None:
        """The command could not be sent after all."""
        self._error = error
        self._completed = True
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            trio.lowlevel.reschedule(waiter)

    # The promise.

    @property
    def is_completed(self) -> bool:
        """Whether no further result will come. What has come may still be waiting to be read."""
        return self._completed

    def cancel(self) -> None:
        """Want no result any more: the executor is told (`cmd.abandoned`). Idempotent."""
        if not self._completed:
            self._completed = True
            if self._abandon is not None:
                self._abandon()
                self._abandon = None
            self._wake()

    async def result(self) -> CmdResult:
        """Wait for the result that completes the command, and return it.

        Intermediate results that nobody has iterated over are skipped.  Being cancelled here ends
        the command.  Raises `InvalidArgument` if the call was cancelled or is used up.
        """
        while not self._completed:
            await self._wait()
        if self._error is not None:
            raise self._error
        if not self._results:
            raise InvalidArgument("this call has no result: it was cancelled or already read")
        result = self._results.pop()
        self._results.clear()
        return result

    def __aiter__(self) -> Call:
        return self

    async def __anext__(self) -> CmdResult:
        while not self._results:
            if self._error is not None:
                raise self._error
            if self._completed:
                raise StopAsyncIteration
            await self._wait()
        return self._results.popleft()

    # Ctrl-C must not come between: a task would be woken that doesn't wait.
    @trio.lowlevel.enable_ki_protection
    async def _wait(self) -> None:
        if self._waiter is not None:
            raise trio.BusyResourceError("another task is already waiting for this command")
        line: Line | None = current.get().msg._line
        if line is not None and not line.serial:
            line = None
        self._waiter = trio.lowlevel.current_task()
        self._since = self._now()
        if line is None:
            await trio.lowlevel.wait_task_rescheduled(self._abort)
        else:
            line.begin_result_wait()
            try:
                await trio.lowlevel.wait_task_rescheduled(self._abort)
            finally:
                line.end_result_wait()

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        # Not before: as long as it is there, `explain` sees who has waited in vain.
        if not self._completed:
            self._completed = True
            if self._abandon is not None:
                self._abandon()
                self._abandon = None
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED


ResultHandler = Callable[[Any, "CmdResult | None", "Exception | None"], Any]
"""`result_handler(env, result, error)` of `post_cmd`; plain or async."""


class HandlerSink:
    """Gives results to a `result_handler`, which runs as one of the sender's own handlers."""

    __slots__ = ("_every", "_handler", "env")

    def __init__(self, env: object, handler: ResultHandler, *, every: bool) -> None:
        self.env = env
        self._handler = handler
        self._every = every

    def deliver(self, result: CmdResult, completed: bool) -> Any:
        """Returns the coroutine to run, or None."""
        if completed or self._every:
            return self._run(result)
        return None

    def fail(self, error: Exception) -> Any:
        """The command could not be sent after all; returns the coroutine to run."""
        return self._run(None, error)

    async def _run(self, result: CmdResult | None, error: Exception | None = None) -> None:
        returned = self._handler(self.env, result, error)
        if returned is not None and hasattr(returned, "__await__"):
            await returned


class Discard:
    """For a command whose results nobody wants."""

    __slots__ = ()

    def deliver(self, result: CmdResult, completed: bool) -> None:
        """Forget it."""


DISCARD = Discard()

__all__ = ["DISCARD", "Call", "Discard", "HandlerSink", "ResultHandler"]
