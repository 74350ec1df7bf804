"""WebSocket, over TCP (`ws`) or TLS (`wss`): a frame for each piece, whatever library speaks it.

A library is used through a `Driver`, in a nursery of its own. Whatever happens in there ends this
connection and nothing else. What it has read is taken from it at once, so that it is never busy with
handing over and always sees pings, pongs and the end; if nobody takes it from here either, the bytes
stop, before the library reads them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from math import inf
from typing import Protocol
from urllib.parse import parse_qs, quote, urlsplit

import attrs
import trio

from ...errors import ConfigError
from ..transport import (
    RECEIVE_SIZE,
    Credentials,
    HandshakeError,
    Knock,
    Listener,
    NotMovable,
    Parked,
    Piece,
    Transport,
    TransportOptions,
    Wire,
)
from ..uris import Address
from .sockets import Accepted, SocketListener, SocketPipe
from .tcp import connect_tcp, listen_tcp
from .tls import TlsStream, client_handshake, require_server_ssl, server_handshake, subject
from .wires import OpenWire

logger = logging.getLogger("ten_trio.network.websocket")

QUEUE_SIZE = 64
"""Messages that a library may keep for us. They are taken at once."""
UNREAD_BYTES = 4 * 2**20
"""Bytes that may wait in a wire for `receive` before no more are read from the network."""
UNREAD_PIECES = 4096
"""Pieces that may."""
REQUEST_SIZE = 64 * 1024
"""Bytes that a client may send before the handshake is done: the whole request has to fit."""
_RESPONSE_SIZE = 4 * 2**20  # frames may follow it in the same read

NORMAL, GOING_AWAY, NO_CODE, LOST = 1000, 1001, 1005, 1006
_IN_ORDER = {NORMAL, GOING_AWAY, NO_CODE}

_PORTS = {"ws": 80, "wss": 443}
_DRIVERS = {"trio-websocket": "trio_websocket_driver", "websockets": "websockets_driver"}


class Gone(Exception):
    """Raised by a `Session` that has ended."""

    def __init__(self, code: int | None, reason: str | None = None) -> None:
        super().__init__(code, reason)
        self.code = LOST if code is None else code
        self.reason = reason or ""

    @property
    def in_order(self) -> bool:
        """Whether the two ends have parted as they should."""
        return self.code in _IN_ORDER

    def __str__(self) -> str:
        if self.code == LOST:
            return f"the connection was lost{f' ({self.reason})' if self.reason else ''}"
        return f"closed with code {self.code}{f' ({self.reason})' if self.reason else ''}"


class Session(Protocol):
    """A WebSocket connection of a library."""

    subprotocol: str

    async def next(self) -> bytes | str:
        """The next message. Raises `Gone`."""

    async def send(self, piece: Piece) -> None:
        """Send one message. Raises `Gone`."""

    async def ping(self) -> None:
        """Send a ping and wait for the answer, perhaps for ever. Raises `Gone`."""

    async def close(self, code: int) -> None:
        """Do the closing handshake, perhaps for ever."""


@attrs.frozen
class Request:
    """What a client has asked for."""

    target: str
    headers: Mapping[str, str]
    """By name, in small letters."""

    @property
    def token(self) -> str:
        """The bearer token, from the header or else the query; empty if there is none."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and token.strip():
            return token.strip()
        try:
            return parse_qs(urlsplit(self.target).query).get("token", [""])[0]
        except ValueError:
            return ""


class Driver(Protocol):
    """A library that speaks WebSocket on a stream. Its tasks run in the nursery that it gets.

    Either call may raise anything: see `WebSocketWire`.
    """

    notices_end: bool
    """Whether either call returns if the stream ends, rather than wait for ever."""

    async def accept(
        self, nursery: trio.Nursery, carrier: Carrier, options: TransportOptions
    ) -> tuple[Session, Request]:
        """Answer a client."""

    async def connect(
        self,
        nursery: trio.Nursery,
        carrier: Carrier,
        host: str,
        target: str,
        headers: Mapping[str, str],
        options: TransportOptions,
    ) -> Session:
        """Ask a server. Raises `HandshakeError` if it says no."""


def load_driver(options: TransportOptions) -> Driver:
    """Return what `options` choose. Raises `ConfigError`, `MissingExtra`."""
    if options.websocket_driver not in _DRIVERS:
        raise ConfigError(
            f"no WebSocket driver is called {options.websocket_driver!r};"
            f" there are {', '.join(_DRIVERS)}"
        )
    driver: Driver = import_module(f".{_DRIVERS[options.websocket_driver]}", __package__).load()
    return driver


def choose(offered: Sequence[str], options: TransportOptions) -> str | None:
    """Return the subprotocol that this end likes best among those `offered`, or None."""
    return next((name for name in options.subprotocols if name in offered), None)


class Carrier(trio.abc.HalfCloseableStream):
    """The stream that a library gets: it can be made to wait, and it tells when it has ended."""

    def __init__(
        self,
        stream: SocketPipe | TlsStream,
        pipe: SocketPipe,
        limit: int,
        close_timeout: float,
    ) -> None:
        self.ended = trio.Event()
        self.is_closing: Callable[[], bool] = lambda: False
        """Whether the end is all that is waited for, which then comes within the `close_timeout`."""
        self._close_timeout = close_timeout
        self._stream = stream
        self._pipe = pipe
        self._limit: int | None = limit
        self._go_on: trio.Event | None = None

    def opened(self) -> None:
        """From here on frames come, and as many bytes as the other end likes."""
        self._limit = None

    def hold(self) -> None:
        """Read no more until `release`."""
        if self._go_on is None and not self.ended.is_set():
            self._go_on = trio.Event()

    def release(self) -> None:
        """Read on."""
        if self._go_on is not None:
            self._go_on.set()
            self._go_on = None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Up to RECEIVE_SIZE bytes; `b""` at the end."""
        size = RECEIVE_SIZE
        if self._limit is not None:
            size = min(size, self._limit)
            if not size:
                self.abort()
                raise trio.BrokenResourceError("the HTTP header is too long")
        try:
            while self._go_on is not None:
                await self._go_on.wait()
            data = b""
            with trio.move_on_after(self._close_timeout if self.is_closing() else inf):
                data = bytes(await self._stream.receive_some(size))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.ended.set()
            raise
        if not data:
            self.ended.set()
        elif self._limit is not None:
            self._limit = max(0, self._limit - len(data))
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until more can be sent."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Tell the other end that nothing else comes, as far as TLS can."""
        if isinstance(self._stream, SocketPipe):
            await self._stream.send_eof()
        else:
            await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Close it in order; bounded."""
        try:
            await self._stream.aclose()
        except trio.BrokenResourceError:
            pass  # it was gone already
        finally:
            self.abort()

    def abort(self) -> None:
        """Close it at once; idempotent."""
        self._pipe.abort()
        self.ended.set()
        self.release()


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
        self._unread = 0

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
                    self.credentials = attrs.evolve(self.credentials, token=request.token)
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
        waiting = self._put.statistics().current_buffer_used
        return self._unread >= UNREAD_BYTES or waiting >= UNREAD_PIECES

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


class WebSocketTransport:
    """Listens and connects by WebSocket."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def _is_secure(self) -> bool:
        return self.name == "wss"

    async def listen(self, address: Address, options: TransportOptions) -> list[Listener]:
        """Listen at all addresses of the host; see `Transport.listen`. Any path is served."""
        load_driver(options)
        if self._is_secure:
            require_server_ssl(address, options)
        kind = SecureWebSocketListener if self._is_secure else WebSocketListener
        return list(await listen_tcp(address, options, kind, _PORTS[self.name]))

    async def connect(
        self, address: Address, options: TransportOptions, nursery: trio.Nursery
    ) -> WebSocketWire:
        """Connect to a server; see `Transport.connect`."""
        driver = load_driver(options)
        accepted = await connect_tcp(address, options, _PORTS[self.name])
        stream: SocketPipe | TlsStream = accepted.pipe
        if self._is_secure:
            stream = await client_handshake(accepted, address, options, http=True)
        target = quote(address.path or "/", safe="/:@!$&'()*+,;=~-._")
        if address.query:
            target += f"?{address.query}"
        headers = {"Authorization": f"Bearer {options.token}"} if options.token else {}
        host = f"[{address.host}]" if ":" in address.host else address.host
        if address.port not in (None, _PORTS[self.name]):
            host += f":{address.port}"
        carrier = Carrier(stream, accepted.pipe, _RESPONSE_SIZE, options.close_timeout)
        accepted = attrs.evolve(accepted, peer=str(attrs.evolve(address, query="")))
        wire = WebSocketWire(accepted, options, carrier)
        await _start(wire, nursery, driver, (host, target, headers))
        return wire

    def adopt(self, parked: Parked) -> Wire:
        """Raise `NotMovable`."""
        raise NotMovable("a WebSocket connection has to stay in its Trio run")


def make(name: str, options: TransportOptions) -> Transport:
    """Return the transport, with its driver loaded."""
    load_driver(options)
    return WebSocketTransport(name)


class WebSocketListener(SocketListener):
    """One listening TCP socket for WebSocket."""

    is_secure = False

    async def accept(self) -> Knock:
        """Wait for the next connection; see `Listener.accept`."""
        return WebSocketKnock(await self.accept_socket(), self._options, self.is_secure)


class SecureWebSocketListener(WebSocketListener):
    """One listening TCP socket for WebSocket over TLS."""

    is_secure = True


class WebSocketKnock:
    """A TCP connection that has come in, before its handshakes."""

    def __init__(self, accepted: Accepted, options: TransportOptions, is_secure: bool) -> None:
        self.peer = accepted.peer
        self._accepted = accepted
        self._options = options
        self._is_secure = is_secure

    async def open(self, nursery: trio.Nursery) -> WebSocketWire:
        """Do the handshakes; see `Knock.open`."""
        pipe = self._accepted.pipe
        stream: SocketPipe | TlsStream = pipe
        certificate = ""
        if self._is_secure:
            stream = await server_handshake(self._accepted, self._options, http=True)
            certificate = subject(stream)
        carrier = Carrier(stream, pipe, REQUEST_SIZE, self._options.close_timeout)
        wire = WebSocketWire(self._accepted, self._options, carrier)
        wire.credentials = Credentials(certificate=certificate)
        await _start(wire, nursery, load_driver(self._options), None)
        return wire

    async def refuse(self) -> None:
        """Close the connection at once."""
        self._accepted.pipe.abort()
        await trio.lowlevel.checkpoint()


async def _start(
    wire: WebSocketWire,
    nursery: trio.Nursery,
    driver: Driver,
    asked: tuple[str, str, Mapping[str, str]] | None,
) -> None:
    started = False
    try:
        await nursery.start(wire.live, driver, asked)
        started = True
    finally:
        if not started:
            wire._abort()
