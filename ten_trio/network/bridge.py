"""A connection whose reader has to stay in the app's loop, for a graph in a loop of its own.

What it reads crosses over in the order in which it was read, what the graph sends crosses back, and
neither side gets far ahead of the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from .codec import WireMsg
from .connection import Connection
from .remotes import remotes_of

if TYPE_CHECKING:
    from ..errors import TenError
    from ..runtime.loops import Loop
    from ..runtime.own_loop import CoreLink
    from ..runtime.turns import Turn
    from .remotes import Remote, Remotes

_AHEAD: Final = 1_000
"""Messages that have crossed over and weren't delivered yet, at which the reading waits."""


class Bridge:
    """Both ends of the crossing: in the app's loop a reader of messages, in the graph's loop a `Link`."""

    def __init__(self, connection: Connection, home: Loop, core: CoreLink) -> None:
        self._connection = connection
        self._home = home
        self._core = core
        self.uri = connection.uri
        self.trusted = connection.trusted
        self.opened_here = False
        # In the graph's loop.
        self._remote: Remote | None = None
        self._boundary: Remotes | None = None
        self._open = True
        self._reason = ""
        self._undelivered = 0
        self._extended = connection.extended
        self._queued = 0
        # In the app's loop.
        self._crossing = 0
        self._caught_up = trio.Event()

    # In the app's loop ------------------------------------------------------------------------

    async def run(self) -> None:
        """The life of the connection, once `enter` has been called. Bounded by the graph."""
        connection = self._connection
        connection.on_written = self._written
        connection.on_unsendable = self._unsendable
        connection.is_busy = self._is_busy
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_with_graph)
            await connection.run(self.receive, self.pace)
            nursery.cancel_scope.cancel("the connection is closed")
        self._lost()

    async def _end_with_graph(self) -> None:
        await self._core.closed.wait()
        self._connection.end("the graph is closed")

    def _is_busy(self) -> bool:
        # Whether a dict of the other thread is empty: that can be read from here.
        return self._crossing > 0 or (self._remote is not None and self._remote.is_busy())

    def receive(self, wire: WireMsg) -> None:
        """One message has been read."""
        self._crossing += 1
        self._core.post(lambda: self._deliver(wire))

    async def pace(self) -> None:
        """Wait if the graph is far behind, or a receiver there has no room."""
        self._core.post(self._settle)
        while self._crossing > _AHEAD and self._connection.is_open:
            await self._caught_up.wait()

    def _delivered(self, number: int) -> None:
        self._crossing -= number
        if self._crossing <= _AHEAD:
            event, self._caught_up = self._caught_up, trio.Event()
            event.set()

    def _written(self, batch: list[WireMsg]) -> None:
        self._core.post(lambda: self._there_written(batch))

    def _unsendable(self, wire: WireMsg, error: TenError) -> None:
        def tell() -> None:
            if self._remote is not None:
                self._remote.unsendable(wire, error)

        self._core.post(tell)

    def _lost(self) -> None:
        reason = self._connection.reason
        self._core.post(lambda: self._there_lost(reason))

    # In the graph's loop ----------------------------------------------------------------------

    def enter(self, is_app: bool, starts: bool, first: WireMsg) -> None:
        """The graph takes the connection; `first` is the message that has made it move."""
        self._boundary = remotes_of(self._core.core)
        self._remote = self._boundary.accept(self, is_app, starts)
        self._remote.receive(first)

    def _deliver(self, wire: WireMsg) -> None:
        self._undelivered += 1
        if self._remote is not None:
            self._remote.receive(wire)

    def _settle(self) -> None:
        number, self._undelivered = self._undelivered, 0
        self._home.post(self._delivered, number)

    def _there_written(self, batch: list[WireMsg]) -> None:
        self._queued -= sum(len(getattr(wire.msg, "_buf", b"")) for wire in batch)
        if self._remote is not None:
            self._remote.written(batch)

    def _there_lost(self, reason: str) -> None:
        self._open = False
        self._reason = reason
        if self._boundary is not None and self._remote is not None:
            self._boundary.lost(self._remote)

    @property
    def reason(self) -> str:
        """Why it has ended."""
        return self._reason

    @property
    def queued_bytes(self) -> int:
        """Of the buffers that wait to be sent."""
        return self._queued

    @property
    def is_open(self) -> bool:
        """Whether anything can still be sent."""
        return self._open

    @property
    def extended(self) -> bool:
        """Whether the other end is known to be one of us."""
        return self._extended

    @extended.setter
    def extended(self, extended: bool) -> None:
        self._extended = extended
        self._home.post(self._extend, extended)

    def _extend(self, extended: bool) -> None:
        self._connection.extended = extended

    def send(self, wire: WireMsg) -> bool:
        """Queue one message; False if it can't be sent any more."""
        if not self._open:
            return False
        self._queued += len(getattr(wire.msg, "_buf", b""))
        self._home.post(self._connection.send, wire)
        return True

    def drop(self, turn: Turn) -> int:
        """Leave out the data of `turn` that is still to be written; how much, isn't known here."""
        self._home.post(self._connection.drop, turn)
        return 0

    def close(self, reason: str) -> None:
        """Close in order, after what is queued."""
        self._open = False
        self._reason = self._reason or reason
        self._home.post(self._connection.close, reason)
