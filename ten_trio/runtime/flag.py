"""An event that costs next to nothing, also while somebody waits for it."""

from __future__ import annotations

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

    async def wait(self) -> None:
        """Until it is set."""
        if self._set:
            await trio.lowlevel.checkpoint()
            return
        task = trio.lowlevel.current_task()
        self._waiting += (task,)

        def abort(_: object) -> trio.lowlevel.Abort:
            self._waiting = tuple(other for other in self._waiting if other is not task)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
