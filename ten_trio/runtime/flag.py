"""An event that costs next to nothing until somebody waits for it."""

from __future__ import annotations

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

    async def wait(self) -> None:
        """Until it is set."""
        if self._event is None:
            self._event = trio.Event()
            if self._set:
                self._event.set()
        await self._event.wait()
