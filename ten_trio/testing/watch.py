"""Counting the steps of tasks: to cancel at one of them, and to notice one that takes too long."""

from __future__ import annotations

import time

import trio


class Watch(trio.abc.Instrument):
    """Cancels a scope before the k-th task step, and measures how long the longest one takes."""

    def __init__(self, scope: trio.CancelScope, step: int | None, bound: float) -> None:
        self._scope = scope
        self._left = -1 if step is None else step
        self._bound = bound
        self._began = time.perf_counter()
        self.longest = (0.0, "")

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """One more."""
        if self._left == 0:
            self._scope.cancel("the trial says so")
        self._left -= 1
        self._began = time.perf_counter()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It is over."""
        took = time.perf_counter() - self._began
        if took > self._bound and took > self.longest[0]:
            self.longest = (took, task.name)


__all__ = ["Watch"]
