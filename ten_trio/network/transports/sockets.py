"""Connections over stream sockets: what TCP and Unix sockets share, and what TLS and WebSocket build on."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Self

import attrs
import trio

from ..codec import Buffer
from ..transport import RECEIVE_SIZE, NotMovable, Parked, Piece, TransportOptions
from ..uris import Address
from .wires import OpenWire

JOIN_BELOW = 64 * 1024
"""Several pieces that have together at most this many bytes are copied into one."""
_IOV_MAX = 512  # the system's limit is 1024 on Linux


class SocketPipe(trio.abc.HalfCloseableStream):
    """A stream socket that closes in order: what was sent gets there even if not all was read here."""

    def __init__(self, sock: trio.socket.SocketType, close_timeout: float) -> None:
        self.socket = sock
        self._close_timeout = close_timeout
        self._closed = False
        self._at_end = False

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Up to `max_bytes` (RECEIVE_SIZE); `b""` at the end."""
        try:
            data = await self.socket.recv(max_bytes or RECEIVE_SIZE)
        except OSError as error:
            raise self._translated(error) from error
        if not data:
            self._at_end = True
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`."""
        if self._closed:
            raise trio.ClosedResourceError("closed here")
        with memoryview(data) as view:
            if not view:
                await trio.lowlevel.checkpoint()
            sent = 0
            while sent < len(view):
                with view[sent:] as rest:
                    try:
                        sent += await self.socket.send(rest)
                    except OSError as error:
                        raise self._translated(error) from error

    async def send_pieces(self, pieces: Sequence[Buffer]) -> None:
        """Send all of `pieces` in order. What is big isn't copied."""
        if len(pieces) == 1:
            await self.send_all(pieces[0])
        elif sum(map(len, pieces)) <= JOIN_BELOW:
            await self.send_all(b"".join(pieces))
        else:
            await self._send_scattered([memoryview(piece) for piece in pieces if piece])

    async def _send_scattered(self, views: list[memoryview]) -> None:
        first = 0
        while first < len(views):
            if self._closed:
                raise trio.ClosedResourceError("closed here")
            try:
                sent = await self.socket.sendmsg(views[first : first + _IOV_MAX])
            except OSError as error:
                raise self._translated(error) from error
            while first < len(views) and sent >= len(views[first]):
                sent -= len(views[first])
                first += 1
            if sent:
                views[first] = views[first][sent:]

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the system takes more."""
        await trio.lowlevel.wait_writable(self.socket)

    async def send_eof(self) -> None:
        """Tell the other end that nothing else comes."""
        await trio.lowlevel.checkpoint()
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._translated(error) from error

    async def aclose(self) -> None:
        """Close it, and give the other end the `close_timeout` to do so too; at once if cancelled.

        Closing a TCP socket with something unread resets the connection, and what was sent last may
        never arrive. So what still comes is read and thrown away until the other end has closed.
        """
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        try:
            # Whoever is receiving or sending is woken up, with ClosedResourceError.
            trio.lowlevel.notify_closing(self.socket)
            await trio.lowlevel.checkpoint()
            if not self._at_end:
                self.socket.shutdown(socket.SHUT_WR)
                with trio.move_on_after(self._close_timeout):
                    while await self.socket.recv(RECEIVE_SIZE):
                        pass
        except (OSError, trio.ClosedResourceError):
            pass  # gone already
        finally:
            self.socket.close()

    def abort(self) -> None:
        """Close it at once; idempotent. What wasn't read or sent yet is lost."""
        self._closed = True
        self.socket.close()

    def detach(self) -> socket.socket:
        """Take the socket out of this Trio run."""
        self._closed = True
        trio.lowlevel.notify_closing(self.socket)
        return socket.socket(fileno=self.socket.detach())

    def _translated(self, error: OSError) -> Exception:
        if self._closed:
            return trio.ClosedResourceError("closed here")
        return trio.BrokenResourceError(error.strerror or str(error))


@attrs.frozen
class Accepted:
    """A socket that was accepted, and whose it is."""

    pipe: SocketPipe
    peer: str
    is_local: bool


class ParkedSocket:
    """A socket between two Trio runs."""

    def __init__(self, sock: socket.socket, wire: SocketWire, close_timeout: float) -> None:
        self._socket: socket.socket | None = sock
        self.kind = type(wire)
        self.peer = wire.peer
        self.is_local = wire.is_local
        self.credentials = wire.credentials
        self.close_timeout = close_timeout

    def take(self) -> socket.socket:
        """Return the socket, which the caller owns from now on."""
        sock, self._socket = self._socket, None
        if sock is None:
            raise trio.ClosedResourceError(f"{self.peer}: discarded, or adopted before")
        return sock

    def discard(self) -> None:
        """Close it for good, from any thread; idempotent."""
        sock, self._socket = self._socket, None
        if sock is not None:
            sock.close()


class SocketWire(OpenWire):
    """A wire that is a socket and nothing else."""

    movable = True

    def __init__(
        self, pipe: SocketPipe, peer: str, *, is_local: bool, close_timeout: float
    ) -> None:
        super().__init__(peer, is_local=is_local, close_timeout=close_timeout)
        self._pipe = pipe

    @classmethod
    def of(cls, accepted: Accepted, options: TransportOptions) -> Self:
        """Make one of a socket that is connected."""
        return cls(
            accepted.pipe,
            accepted.peer,
            is_local=accepted.is_local,
            close_timeout=options.close_timeout,
        )

    async def _receive(self) -> bytes:
        return await self._pipe.receive_some(RECEIVE_SIZE)

    async def _send(self, pieces: Sequence[Piece]) -> None:
        await self._pipe.send_pieces(as_bytes(pieces))

    async def _close(self) -> None:
        await self._pipe.aclose()

    def _abort(self) -> None:
        self._pipe.abort()

    def detach(self) -> Parked:
        """Take it out of this Trio run; see `Wire.detach`."""
        self._check()
        if self._receiving or self._sending:
            raise trio.BusyResourceError(f"{self.peer}: can't be moved while it is in use")
        self._closed = True
        return ParkedSocket(self._pipe.detach(), self, self._close_timeout)

    @classmethod
    def adopt(cls, parked: Parked) -> SocketWire:
        """Go on with a wire of this class that was detached, in the current Trio run."""
        if not isinstance(parked, ParkedSocket) or parked.kind is not cls:
            raise NotMovable(f"{parked!r} doesn't come from a {cls.__name__}")
        # Made first: outside of a Trio run this raises, and the socket stays where it is.
        trio.lowlevel.current_trio_token()
        sock = parked.take()
        sock.setblocking(False)
        pipe = SocketPipe(trio.socket.from_stdlib_socket(sock), parked.close_timeout)
        wire = cls(pipe, parked.peer, is_local=parked.is_local, close_timeout=parked.close_timeout)
        wire.credentials = parked.credentials
        return wire


def as_bytes(pieces: Sequence[Piece]) -> list[Buffer]:
    """Return `pieces` for where there are no frames of text."""
    return [piece.encode() if isinstance(piece, str) else piece for piece in pieces]


class SocketKnock:
    """A connection that has come in, and becomes a wire of class `kind` without a handshake."""

    def __init__(
        self, accepted: Accepted, kind: type[SocketWire], options: TransportOptions
    ) -> None:
        self.peer = accepted.peer
        self._accepted = accepted
        self._kind = kind
        self._options = options

    async def open(self, nursery: trio.Nursery) -> SocketWire:
        """Return the wire."""
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled:
            self._accepted.pipe.abort()
            raise
        return self._kind.of(self._accepted, self._options)

    async def refuse(self) -> None:
        """Close the connection at once."""
        self._accepted.pipe.abort()
        await trio.lowlevel.checkpoint()


class SocketListener:
    """A listening socket, for whatever is spoken on what it accepts."""

    def __init__(
        self, sock: trio.socket.SocketType, address: Address, options: TransportOptions
    ) -> None:
        self.address = address
        self._socket = sock
        self._options = options
        self._closed = False

    async def accept_socket(self) -> Accepted:
        """Wait for the next connection; see `Listener.accept`."""
        if self._closed:
            raise trio.ClosedResourceError(f"{self.address}: closed here")
        try:
            sock, remote = await self._socket.accept()
        except trio.ClosedResourceError:
            raise trio.ClosedResourceError(f"{self.address}: closed here") from None
        except OSError as error:
            if self._closed:
                raise trio.ClosedResourceError(f"{self.address}: closed here") from None
            raise named(error, f"can't accept at {self.address}") from error
        return self._accepted(sock, remote)

    def _accepted(self, sock: trio.socket.SocketType, remote: object) -> Accepted:
        pipe = SocketPipe(sock, self._options.close_timeout)
        if isinstance(remote, tuple):
            set_tcp_options(sock)
            return Accepted(pipe, text_of(remote), is_loopback(remote))
        return Accepted(pipe, f"a client of {self.address}", True)

    async def aclose(self) -> None:
        """Stop listening; idempotent."""
        self._stop()
        await trio.lowlevel.checkpoint()

    def _stop(self) -> None:
        self._closed = True
        self._socket.close()


def set_tcp_options(sock: trio.socket.SocketType) -> None:
    """Send at once, and notice within some hours when the other machine is gone."""
    for level, option in (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
    ):
        with suppress(OSError):  # the connection is gone already: whoever reads will see
            sock.setsockopt(level, option, 1)


def text_of(remote: tuple[object, ...]) -> str:
    """Return `remote`, an address as the system has it, for logs."""
    host, port = remote[0], remote[1]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"


def is_loopback(remote: tuple[object, ...]) -> bool:
    """Whether `remote` is this machine."""
    try:
        address = ip_address(str(remote[0]).partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def named(error: OSError, what: str) -> OSError:
    """Return an error of the same kind that says what was tried."""
    reason = error
    while reason.errno is None:
        # Trio tries all addresses of a host, and puts their errors into the cause.
        cause = reason.__cause__
        if isinstance(cause, BaseExceptionGroup):
            cause = cause.exceptions[0]
        if not isinstance(cause, OSError):
            return OSError(f"{what}: {error}")
        reason = cause
    text = f"{what}: {reason.strerror or reason}"
    if isinstance(reason, socket.gaierror):
        return socket.gaierror(reason.errno, text)
    return OSError(reason.errno, text)


def in_use(what: str) -> OSError:
    """Return the error for an address that somebody else listens at."""
    return OSError(errno.EADDRINUSE, what)
