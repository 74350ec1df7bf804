"""Deadlines: a command takes along how much time its sender has, and so does what is sent for it.

They come in any order, unlike the timeouts of `paths.Expiry`: here is a heap, and only for commands
that have one.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Any, Final

import trio

if TYPE_CHECKING:
    from .paths import OutPath

EXCEEDED: Final = "deadline exceeded"
"""The detail of the ERROR result that ends a command whose deadline has passed."""

_FEW: Final = 64


def deadline_here() -> float:
    """When the cancel scopes around the caller run out; inf if they don't.

    Inf, too, if they are cancelled already: then it is the wait for the result that ends.
    """
    # What `trio.current_effective_deadline` tells, which costs as much as a fifth of a task switch:
    # it goes through two properties and a call for each scope.
    until = inf
    status: Any = trio.lowlevel.current_task()._cancel_status
    if status.effectively_cancelled:
        return inf
    while status is not None:
        scope = status._scope
        if scope._deadline < until:
            until = scope._deadline
        if scope._shield:
            break
        status = status._parent
    return inf if until == -inf else until


class Deadlines:
    """Ends the paths of one loop whose deadline has come. A task runs while there is one to come."""

    def __init__(self, start_soon: Callable[[Callable[[], Any]], object]) -> None:
        self._start_soon = start_soon
        self._heap: list[tuple[float, int, OutPath]] = []
        self._many = _FEW
        self._scope: trio.CancelScope | None = None
        self._running = False
        self._closed = False

    def watch(self, path: OutPath) -> None:
        """Call `path.overrun()` at `path.until`, unless it is closed by then."""
        heap = self._heap
        if len(heap) >= self._many:
            # Nearly all are answered long before: they needn't be kept until their time comes.
            heap[:] = [entry for entry in heap if not entry[2].closed]
            heapify(heap)
            self._many = max(_FEW, 2 * len(heap))
        heappush(heap, (path.until, path.id, path))
        if not self._running:
            self._running = True
            self._start_soon(self._run)
        elif self._scope is not None and path.until < self._scope.deadline:
            self._scope.deadline = path.until

    def close(self) -> None:
        """Watch nothing any more."""
        self._closed = True
        self._heap.clear()
        if self._scope is not None:
            self._scope.cancel("closed")

    async def _run(self) -> None:
        heap = self._heap
        try:
            while not self._closed:
                now = trio.current_time()
                while heap and (heap[0][0] <= now or heap[0][2].closed):
                    path = heappop(heap)[2]
                    if not path.closed:
                        path.overrun()
                if not heap:
                    return
                with trio.CancelScope(deadline=heap[0][0], shield=True) as self._scope:
                    await trio.sleep_forever()
                self._scope = None
        finally:
            self._running = False


__all__ = ["EXCEEDED", "Deadlines", "deadline_here"]
