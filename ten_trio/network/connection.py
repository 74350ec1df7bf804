"""One connection: reads messages from its wire, writes what is queued for it, ends once.

A connection can stop reading at the boundary of a message and go on elsewhere, in another nursery
or another Trio run: what has been read and not delivered is in its dialect, what is to be sent in
its queue, and both go along.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from enum import Enum, auto
from math import inf
from typing import Any, Final, Protocol

import trio

from ..errors import TenError
from ..messages import AudioFrame, Cmd, CmdResult, Data, VideoFrame
from .codec import CodecError, WireMsg
from .dialects import Dialect
from .settings import NetworkSettings
from .transport import Piece, Wire

logger = logging.getLogger("ten_trio.network")

_BATCH: Final = 256
"""Messages that are joined into one write at most."""
_BATCH_BYTES: Final = 512 * 1024
_SLICE: Final = 64
"""Messages that are delivered before other tasks get a turn."""
_OVERDUE: Final = 50_000
"""Messages waiting for one peer, whatever they are, at which it is given up."""
_WITH_BUFFER: Final = frozenset({Data, AudioFrame, VideoFrame})


class State(Enum):
    """Of a connection."""

    INIT = auto()
    CLOSING = auto()
    CLOSED = auto()


class Migration(Enum):
    """Of a connection that was accepted: whether it has found its graph."""

    INIT = auto()
    FIRST_MSG = auto()
    DONE = auto()


class Role(Enum):
    """Which end of a connection this is, and what is at the other: an app, or a plain client."""

    IN_INTERNAL = auto()
    IN_EXTERNAL = auto()
    OUT_INTERNAL = auto()
    OUT_EXTERNAL = auto()


Receive = Callable[[WireMsg], object]
"""Takes one message; whatever is true stops the reading there."""


class Unsendable(Protocol):
    """Told of what can't be sent."""

    def __call__(self, wire: WireMsg, error: TenError) -> object:
        """`wire` is left out, because of `error`."""


class Connection:
    """One session with one peer. `run` is its life, or a part of it; everything else is synchronous.

    Used in one Trio run at a time.
    """

    def __init__(
        self, wire: Wire, dialect: Dialect, settings: NetworkSettings, role: Role, uri: str = ""
    ) -> None:
        self.wire = wire
        self.dialect = dialect
        self.role = role
        self.uri = uri
        """The peer's, once it is known: that of an app, or an id that was made up for a client."""
        self.state = State.INIT
        self.migration = Migration.INIT
        self.reason = ""
        """Why it has ended."""
        self.trusted = False
        """Whether the peer may do whatever an app may."""
        self.is_busy: Callable[[], bool] = _never
        """Whether the peer still waits for something, or is waited for."""
        self.on_end: Callable[[], object] | None = None
        self.on_written: Callable[[list[WireMsg]], object] | None = None
        self.on_unsendable: Unsendable | None = None
        self.reach: Callable[[Callable[[], object]], object] = _at_once
        """Calls something in the loop that the connection lives in, for whoever isn't in there."""
        self.received = 0
        self.sent = 0
        self.queued_bytes = 0
        """Of the buffers that wait to be sent."""
        self._settings = settings
        # Not a memory channel: taking something from one costs a turn of the scheduler, also if it is there.
        self._outbox: deque[WireMsg] = deque()
        self._writer: trio.lowlevel.Task | None = None
        """The writing task, while it waits for something to write."""
        self._drained = False
        """Whether writing ends as soon as nothing is left to write."""
        self._reading = trio.CancelScope()
        self._whole = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<Connection {self.role.name} {self.uri or self.wire.peer} {self.state.name}>"

    @property
    def _is_closing(self) -> bool:
        return self.state is State.CLOSING

    @property
    def is_open(self) -> bool:
        """Whether anything can still be sent."""
        return self.state is State.INIT

    @property
    def backlog(self) -> int:
        """Messages that wait to be written."""
        return len(self._outbox)

    @property
    def opened_here(self) -> bool:
        """Whether this end has connected to the other."""
        return self.role in (Role.OUT_INTERNAL, Role.OUT_EXTERNAL)

    @property
    def extended(self) -> bool:
        """Whether the other end is known to be one of us."""
        return self.dialect.extended

    @extended.setter
    def extended(self, extended: bool) -> None:
        self.dialect.extended = extended

    # Sending ----------------------------------------------------------------------------------

    def send(self, wire: WireMsg) -> bool:
        """Queue one message; False if the connection is closing or closed."""
        if self.state is not State.INIT:
            return False
        outbox = self._outbox
        if len(outbox) >= _OVERDUE:
            self.end(f"{self.wire.peer} doesn't read: {_OVERDUE} messages wait for it")
            return False
        self.queued_bytes += _size(wire)
        outbox.append(wire)
        if self._writer is not None:
            self._wake()
        return True

    def _wake(self) -> None:
        """Let the writing task look what there is to do."""
        writer, self._writer = self._writer, None
        if writer is not None:
            trio.lowlevel.reschedule(writer)

    def drop(self, turn: Any) -> int:
        """Leave out the data of `turn` that is still to be written; how many messages it was."""
        outbox = self._outbox
        dropped = [
            queued
            for queued in outbox
            if queued.msg._turn is turn and not isinstance(queued.msg, Cmd | CmdResult)
        ]
        if dropped:
            gone = set(map(id, dropped))
            kept = [queued for queued in outbox if id(queued) not in gone]
            outbox.clear()
            outbox.extend(kept)
            self.queued_bytes -= sum(map(_size, dropped))
            if self.on_written is not None:
                self.on_written(dropped)
        return len(dropped)

    async def _write(self) -> None:
        try:
            while not await self._write_within():
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            # Also if the reading has just stopped, to go on elsewhere: there is nothing to go on with.
            self.end(f"connection lost: {_text(error)}")

    async def _write_within(self) -> bool:
        """Write; whether there is nothing to write any more.

        A scope for each write would cost as much as the write.  So one is used for many, and its
        deadline put off now and then: that of a write is between one and 1.25 `send_timeout` away.
        """
        outbox = self._outbox
        timeout = self._settings.send_timeout
        sending = False
        with trio.CancelScope() as scope:
            while True:
                if not outbox:
                    if self._drained:
                        return True
                    await self._wait_for_more()
                    if not outbox:
                        continue
                if scope.cancel_called:
                    return False  # the last write is long ago
                batch = self._gather()
                pieces = self._encode(batch)
                if pieces:
                    least = trio.current_time() + timeout
                    if not least <= scope.deadline < inf:
                        scope.deadline = least + timeout / 4
                    sending = True
                    await self.wire.send(pieces)
                    sending = False
                self.sent += len(batch)
                if self.on_written is not None:
                    self.on_written(batch)
        if sending:
            self.end(f"{self.wire.peer} doesn't read")
        return sending

    async def _wait_for_more(self) -> None:
        self._writer = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._writer = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _gather(self) -> list[WireMsg]:
        """Everything that waits, up to a bound."""
        outbox = self._outbox
        batch: list[WireMsg] = []
        size = 0
        while outbox and len(batch) < _BATCH and size < _BATCH_BYTES:
            wire = outbox.popleft()
            batch.append(wire)
            size += _size(wire)
        self.queued_bytes -= size
        return batch

    def _encode(self, batch: list[WireMsg]) -> list[Piece]:
        try:
            return self.dialect.encode(batch)
        except TenError:
            # Rare: one of them is too big, or can't be said at all. The others go on their way.
            pieces: list[Piece] = []
            for wire in batch:
                try:
                    pieces += self.dialect.encode((wire,))
                except TenError as error:
                    logger.warning("to %s: %s", self.uri or self.wire.peer, error)
                    if self.on_unsendable is not None:
                        self.on_unsendable(wire, error)
            return pieces

    # Its life ---------------------------------------------------------------------------------

    async def run(
        self, receive: Receive, pace: Callable[[], Awaitable[object]] | None = None
    ) -> bool:
        """Read and write until the connection ends (False), or `receive` says stop (True).

        `receive` is called with each message, in order.  Then both reading and writing stand at the
        boundary of a message, and `run` may be called again, by another task.  `pace` is awaited
        after everything that was read in one go.
        """
        stopped = told_to_stop = False
        try:
            if self.state is not State.CLOSED:  # if it is closing, what is queued is still written
                async with trio.open_nursery() as nursery:
                    self._whole = nursery.cancel_scope
                    self._drained = False
                    nursery.start_soon(self._write)
                    told_to_stop = await self._read(receive, pace)
                    # What is queued is written first, if somebody still reads it.
                    if told_to_stop or self._is_closing:
                        self._drained = True
                        self._wake()
                    else:
                        nursery.cancel_scope.cancel(self.reason)
                # Not if the writing was cancelled: then nobody goes on with it.
                stopped = told_to_stop and self.state is State.INIT
        finally:
            if not stopped:
                await self._shut()
        return stopped

    async def _read(self, receive: Receive, pace: Callable[[], Awaitable[object]] | None) -> bool:
        self._reading = trio.CancelScope()
        patience = self._settings.idle_timeout if self.role is Role.IN_EXTERNAL else inf
        idle = None if patience == inf else patience
        if self.state is not State.INIT:
            return False
        try:
            with self._reading:
                while True:
                    count = 0
                    while (wire := self.dialect.next_message()) is not None:
                        self.received += 1
                        if receive(wire):
                            return True
                        if not self.is_open:
                            return False  # closed because of it: what follows doesn't count
                        count += 1
                        if not count % _SLICE:
                            await trio.lowlevel.checkpoint()
                    if count and pace is not None:
                        await pace()
                    if idle is None:
                        piece = await self.wire.receive()
                    elif (heard := await self._receive_within(idle)) is None:
                        self._ended(f"silent for {idle:g} s")
                        self.close(self.reason)  # in order: something may have come up right now
                        break
                    else:
                        piece = heard
                    if not piece and isinstance(piece, bytes):
                        self._ended(self._how_it_closed())
                        break
                    self.dialect.receive(piece)
        except CodecError as error:
            self._ended(f"{type(error).__name__}: {error}", logging.WARNING)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self._ended(f"connection lost: {_text(error)}")
        return False

    async def _receive_within(self, seconds: float) -> bytes | str | None:
        was_busy = False
        while True:
            with trio.move_on_after(seconds):
                return await self.wire.receive()
            # Whoever has just got an answer has as long as anybody to say something else.
            busy = self.is_busy() or bool(self._outbox)
            if not busy and not was_busy:
                return None
            was_busy = busy

    def _how_it_closed(self) -> str:
        if self.dialect.trailing:
            return "connection lost: it ended in the middle of a message"
        return "closed by the peer"

    def _ended(self, reason: str, level: int = logging.INFO) -> None:
        if not self.reason:
            self.reason = reason
            logger.log(level, "connection with %s: %s", self.uri or self.wire.peer, reason)

    def close(self, reason: str) -> None:
        """Close in order: what is queued is still written. Returns at once; idempotent."""
        if self.state is State.INIT:
            self.state = State.CLOSING
            self.reason = self.reason or reason
            self._reading.cancel(reason)

    def end(self, reason: str) -> None:
        """Cut it off: what is queued is lost. Returns at once; idempotent."""
        if self.state is not State.CLOSED:
            self._ended(reason)
            self.state = State.CLOSED
            self._whole.cancel(reason)

    async def _shut(self) -> None:
        self.state = State.CLOSED
        self._outbox.clear()
        self.queued_bytes = 0
        # The wire bounds this by its close_timeout, and closes without the peer when it is cut short.
        with trio.move_on_after(self._settings.close_timeout, shield=True):
            await self.wire.aclose()
        if self.on_end is not None:
            self.on_end()


def _never() -> bool:
    return False


def _at_once(action: Callable[[], object]) -> None:
    action()


def _size(wire: WireMsg) -> int:
    """Roughly: only what may be big counts."""
    msg = wire.msg
    return len(msg._buf) if msg.__class__ in _WITH_BUFFER else 0  # type: ignore[attr-defined]


def _text(error: BaseException) -> str:
    cause = error.__cause__ or error.__context__
    return str(error) or (str(cause) if cause is not None else type(error).__name__)
