"""An event that costs next to nothing, also while somebody waits for it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import trio


class Flag:
    """Like `trio.Event`. An extension has several, an app many extensions, and nearly all wait."""

    __slots__ = ("_set", "_waiting")

    def __init__(self) -> None:
        self._set = False
        self._waiting: tuple[trio.lowlevel.Task, ...] = ()

    def is_set(self) -> bool:
        """Whether `set` has been called."""
        return self._set

    def set(self) -> None:
        """Wake whoever waits; idempotent."""
        self._set = True
        waiting, self._waiting = self._waiting, ()
        for task in waiting:
            trio.lowlevel.reschedule(task)

    def wait(self) -> Coroutine[Any, Any, object]:
        """Until it is set; to be awaited at once.

        Not a coroutine itself: who waits here does so for long, and keeps every frame in memory.
        """
        if self._set:
            return trio.lowlevel.checkpoint()  # noqa: ASYNC105 - the caller awaits it
        task = trio.lowlevel.current_task()
        self._waiting += (task,)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._waiting = tuple(other for other in self._waiting if other is not task)
            return trio.lowlevel.Abort.SUCCEEDED

        return trio.lowlevel.wait_task_rescheduled(abort)  # noqa: ASYNC105 - likewise
