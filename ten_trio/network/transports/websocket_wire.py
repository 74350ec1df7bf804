"""A WebSocket connection as a wire, whatever library speaks it.

The library runs in a nursery of its own. Whatever happens in there ends this connection and nothing
else. What it has read is taken from it at once, so that it is never busy with handing over and always
sees pings, pongs and the end; if nobody takes it from here either, the bytes stop, before the library
reads them.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from math import inf

import attrs
import trio

from ..transport import HandshakeError, Piece, TransportOptions
from .carrier import Carrier
from .sockets import Accepted
from .websocket_session import GOING_AWAY, LOST, NORMAL, Driver, Gone, Session
from .wires import OpenWire

logger = logging.getLogger("ten_trio.network.websocket")

UNREAD_BYTES = 4 * 2**20
"""Bytes that may wait in a wire for `receive` before no more are read from the network."""
UNREAD_PIECES = 4096
"""Pieces that may."""


class WebSocketWire(OpenWire):
    """A WebSocket connection. Its library reads in a task here: it can't be moved."""

    is_framed = True

    def __init__(self, accepted: Accepted, options: TransportOptions, carrier: Carrier) -> None:
        super().__init__(
            accepted.peer, is_local=accepted.is_local, close_timeout=options.close_timeout
        )
        self._options = options
        self._carrier = carrier
        self._session: Session | None = None
        # Everything in here is of the library or for it; shielded once the connection is open.
        self._scope = trio.CancelScope()
        self._close_code: int | None = None
        self._closing = trio.Event()
        self._over = trio.Event()
        self._left = False
        self._gone: Gone | None = None
        # Bounded by `_pump`, which stops the bytes: a full queue would stop the pings as well.
        self._put, self._take = trio.open_memory_channel[bytes | str](inf)
        self._unread = self._waiting = 0

    # Opening and living -------------------------------------------------------------------------

    async def live(
        self,
        driver: Driver,
        asked: tuple[str, str, Mapping[str, str]] | None,
        *,
        task_status: trio.TaskStatus[None],
    ) -> None:
        """Do the handshake, report it, and go on until the connection has ended.

        `asked` has the host, target and headers to ask for, and is None if the other end asks.  Raises
        `HandshakeError` before `started`, and nothing afterwards.
        """
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            failure = await nursery.start(self._serve, driver, asked)
            if failure is None:
                task_status.started()
                try:
                    await self._over.wait()
                finally:
                    # The block around this connection is left: the other end should know.
                    await self._leave()
        if failure is not None:
            raise failure

    async def _leave(self) -> None:
        self._left = not self._over.is_set()
        with trio.move_on_after(self._close_timeout, shield=True):
            self._close_with(GOING_AWAY)
            await self._over.wait()
        self._abort()

    async def _serve(
        self,
        driver: Driver,
        asked: tuple[str, str, Mapping[str, str]] | None,
        *,
        task_status: trio.TaskStatus[BaseException | None],
    ) -> None:
        # `started` gets the failure rather than an exception, which would come in a group.
        opened = False
        problems: list[Exception] = []
        try:
            with self._scope:
                try:
                    async with trio.open_nursery() as nursery:
                        await self._shake_hands(nursery, driver, asked, problems)
                        if self._session is not None:
                            opened = True
                            self._scope.shield = True
                            self._carrier.opened()
                            task_status.started(None)
                            nursery.start_soon(self._pump, self._session, nursery.cancel_scope)
                            await self._closing.wait()
                            await self._part(self._session)
                        nursery.cancel_scope.cancel("this WebSocket connection has ended")
                except* Exception as group:  # noqa: BLE001
                    # What goes wrong in a library is the end of this connection, not of others.
                    problems.extend(_leaves(group))
        finally:
            self._carrier.abort()
            if opened and problems and not self._closed and self._gone is None:
                logger.debug("%s: %r", self.peer, problems[0], exc_info=problems[0])
                self._gone = Gone(LOST, repr(problems[0]))
            self._put.close()
            self._over.set()
        if not opened:
            task_status.started(self._refused(problems))

    async def _shake_hands(
        self,
        nursery: trio.Nursery,
        driver: Driver,
        asked: tuple[str, str, Mapping[str, str]] | None,
        problems: list[Exception],
    ) -> None:
        """Set the session, unless the other end leaves before."""
        with trio.CancelScope() as waiting:

            async def notice_end() -> None:
                await self._carrier.ended.wait()
                waiting.cancel("the other end has gone")

            if not driver.notices_end:
                nursery.start_soon(notice_end)
            try:
                if asked is None:
                    session, request = await driver.accept(nursery, self._carrier, self._options)
                    self.credentials = attrs.evolve(
                        self.credentials,
                        token=request.token,
                        origin=request.headers.get("origin", ""),
                    )
                else:
                    host, target, headers = asked
                    session = await driver.connect(
                        nursery, self._carrier, host, target, headers, self._options
                    )
                self._session = session
                self.subprotocol = session.subprotocol
            except Exception as error:  # noqa: BLE001 - reported as HandshakeError, whatever it is
                problems.append(error)

    def _refused(self, problems: list[Exception]) -> HandshakeError:
        for problem in problems:
            if isinstance(problem, HandshakeError):
                return problem
        reason = ", the other end has gone"
        if problems:
            reason = f": {type(problems[0]).__name__}: {problems[0]}"
        error = HandshakeError(f"{self.peer}: no WebSocket connection{reason}")
        error.__cause__ = problems[0] if problems else None
        return error

    async def _pump(self, session: Session, scope: trio.CancelScope) -> None:
        """Take everything from the library, as it comes."""
        try:
            while True:
                piece = await session.next()
                if piece == b"":
                    continue
                if self._closed:
                    continue  # nobody will receive it; but the end has to be read
                self._unread += len(piece)
                self._waiting += 1
                self._put.send_nowait(piece)
                if self._is_full() and not self._closing.is_set():
                    self._carrier.hold()
        except Gone as gone:
            self._gone = gone
        self._put.close()
        if not self._closing.is_set():
            await self._carrier.aclose()
            scope.cancel("the WebSocket connection has ended")

    def _is_full(self) -> bool:
        return self._unread >= UNREAD_BYTES or self._waiting >= UNREAD_PIECES

    # Receiving and sending -----------------------------------------------------------------------

    async def _receive(self) -> bytes | str:
        try:
            piece = await self._take.receive()
        except trio.EndOfChannel:
            if self._left:
                raise trio.BrokenResourceError("the block that it belongs to was left") from None
            if self._gone is not None and self._gone.in_order:
                return b""
            raise trio.BrokenResourceError(str(self._gone or Gone(LOST))) from None
        self._unread -= len(piece)
        self._waiting -= 1
        if not self._is_full():
            self._carrier.release()
        return piece

    async def _send(self, pieces: Sequence[Piece]) -> None:
        assert self._session is not None
        if not pieces:
            await trio.lowlevel.checkpoint()
        for piece in pieces:
            if self._over.is_set():
                raise trio.BrokenResourceError(str(self._gone or Gone(LOST)))
            try:
                await self._session.send(piece)
            except Gone as gone:
                raise trio.BrokenResourceError(str(gone)) from None

    async def ping(self) -> None:
        """Send a ping and wait until it is answered. Bounded by the caller.

        Raises `trio.BrokenResourceError` if the connection ends before, `trio.ClosedResourceError`.
        """
        self._check()
        assert self._session is not None
        answered = False
        async with trio.open_nursery() as nursery:

            async def notice_end() -> None:
                await self._over.wait()
                nursery.cancel_scope.cancel("the connection has ended")

            nursery.start_soon(notice_end)
            with suppress(Gone):
                await self._session.ping()
                answered = True
            nursery.cancel_scope.cancel()
        if not answered:
            self._check()
            raise trio.BrokenResourceError(f"{self.peer}: {self._gone or Gone(LOST)}")

    # Closing ------------------------------------------------------------------------------------

    def _close_with(self, code: int) -> None:
        if self._close_code is None:
            self._close_code = code
        self._closing.set()
        self._carrier.release()

    async def _part(self, session: Session) -> None:
        with trio.move_on_after(self._close_timeout):
            await session.close(self._close_code or NORMAL)
            await self._carrier.aclose()

    async def _close(self) -> None:
        # What waits for `receive` is given up, and whoever is in there is told.
        self._take.close()
        self._close_with(NORMAL)
        await self._over.wait()

    def _abort(self) -> None:
        self._carrier.abort()
        self._scope.cancel("closed without the other end")
        if self._closed:
            self._take.close()


def _leaves(group: BaseExceptionGroup[Exception]) -> list[Exception]:
    found: list[Exception] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


async def start(
    wire: WebSocketWire,
    nursery: trio.Nursery,
    driver: Driver,
    asked: tuple[str, str, Mapping[str, str]] | None,
) -> None:
    """Let `wire` live in `nursery`, and wait until it is open; see `WebSocketWire.live`."""
    started = False
    try:
        await nursery.start(wire.live, driver, asked)
        started = True
    finally:
        if not started:
            wire._abort()
