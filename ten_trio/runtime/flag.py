"""An event that costs next to nothing until somebody waits for it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import trio


class Flag:
    """Like `trio.Event`. An extension has several, and an app many extensions."""

    __slots__ = ("_event", "_set")

    def __init__(self) -> None:
        self._set = False
        self._event: trio.Event | None = None

    def is_set(self) -> bool:
        """Whether `set` has been called."""
        return self._set

    def set(self) -> None:
        """Wake whoever waits; idempotent."""
        self._set = True
        if self._event is not None:
            self._event.set()

    def wait(self) -> Coroutine[Any, Any, None]:
        """Until it is set; to be awaited at once."""
        # Not a coroutine itself: who waits here does so for long, and keeps each frame in memory.
        if self._event is None:
            self._event = trio.Event()
            if self._set:
                self._event.set()
        return self._event.wait()
