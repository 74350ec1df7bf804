"""TCP: the bytes as they are."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import Any, TypeVar

import attrs
import trio

from ...errors import InvalidArgument
from ..transport import Knock, Listener, Parked, Transport, TransportOptions, Wire
from ..uris import Address
from .sockets import (
    Accepted,
    SocketKnock,
    SocketListener,
    SocketPipe,
    SocketWire,
    is_loopback,
    named,
    set_tcp_options,
    text_of,
)

_TRIES = 16  # to find a port that is free at all addresses of a host
AnyListener = TypeVar("AnyListener", bound=SocketListener)

_NOT_HERE = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL}


class TcpWire(SocketWire):
    """A TCP connection."""


class TcpTransport:
    """Listens and connects by TCP."""

    name = "tcp"

    async def listen(self, address: Address, options: TransportOptions) -> list[Listener]:
        """Listen at all addresses of the host; see `Transport.listen`."""
        return list(await listen_tcp(address, options, TcpListener))

    async def connect(
        self, address: Address, options: TransportOptions, nursery: trio.Nursery
    ) -> TcpWire:
        """Connect to the first address of the host that answers; see `Transport.connect`."""
        return TcpWire.of(await connect_tcp(address, options), options)

    def adopt(self, parked: Parked) -> Wire:
        """Go on with a wire that was detached; see `Transport.adopt`."""
        return TcpWire.adopt(parked)


def make(name: str, options: TransportOptions) -> Transport:
    """Return the transport."""
    return TcpTransport()


class TcpListener(SocketListener):
    """One listening TCP socket."""

    async def accept(self) -> Knock:
        """Wait for the next connection; see `Listener.accept`."""
        return SocketKnock(await self.accept_socket(), TcpWire, self._options)


async def connect_tcp(
    address: Address, options: TransportOptions, default_port: int | None = None
) -> Accepted:
    """Return a TCP connection to `address`. Raises `OSError`, `InvalidArgument`."""
    host, port = endpoint(address, default_port)
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError as error:
        raise named(error, f"can't connect to {address}") from error
    sock = stream.socket
    set_tcp_options(sock)
    try:
        remote = sock.getpeername()
    except OSError as error:
        sock.close()
        raise named(error, f"can't connect to {address}") from error
    pipe = SocketPipe(sock, options.close_timeout)
    return Accepted(pipe, text_of(remote), is_loopback(remote))


async def bind_all(
    address: Address, default_port: int | None = None
) -> tuple[list[trio.socket.SocketType], int]:
    """Return sockets that are bound to all addresses of the host, and their port.

    Raises `OSError`, `InvalidArgument`.
    """
    host, port = endpoint(address, default_port)
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        ends = list(dict.fromkeys((family, remote) for family, _, _, _, remote in found))
        tries = 1 if port or len(ends) == 1 else _TRIES
        while True:
            try:
                return _bind(ends)
            except OSError as error:
                tries -= 1
                if not tries or error.errno != errno.EADDRINUSE:
                    raise
    except OSError as error:
        raise named(error, f"can't listen at {address}") from error


def _bind(ends: Sequence[tuple[int, Any]]) -> tuple[list[trio.socket.SocketType], int]:
    bound: list[trio.socket.SocketType] = []
    port = 0
    absent: OSError | None = None
    try:
        for family, remote in ends:
            wanted = (remote[0], port or remote[1], *remote[2:])
            try:
                sock = _bound(family, wanted)
            except OSError as error:
                if error.errno not in _NOT_HERE:
                    raise
                # Such as ::1 for localhost, where there is no IPv6.
                absent = error
                continue
            bound.append(sock)
            port = sock.getsockname()[1]
        if absent is not None and not bound:
            raise absent
    except BaseException:
        for sock in bound:
            sock.close()
        raise
    return bound, port


def _bound(family: int, end: Any) -> trio.socket.SocketType:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Otherwise :: takes the port of IPv4 as well, and 0.0.0.0 can't have it.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(end)
    except BaseException:
        sock.close()
        raise
    return trio.socket.from_stdlib_socket(sock)


async def listen_tcp(
    address: Address,
    options: TransportOptions,
    kind: type[AnyListener],
    default_port: int | None = None,
) -> list[AnyListener]:
    """Return listeners of class `kind` at all addresses of the host."""
    bound, port = await bind_all(address, default_port)
    try:
        for sock in bound:
            sock.listen(options.backlog)
    except OSError as error:
        for sock in bound:
            sock.close()
        raise named(error, f"can't listen at {address}") from error
    address = attrs.evolve(address, port=port)
    return [kind(sock, address, options) for sock in bound]


def endpoint(address: Address, default_port: int | None) -> tuple[str, int]:
    """Return the host and port of `address`. Raises `InvalidArgument`."""
    port = default_port if address.port is None else address.port
    if not address.host or port is None:
        missing = "port" if address.host else "host"
        raise InvalidArgument(f"{address} names no {missing}")
    return address.host, port
