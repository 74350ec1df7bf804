"""WebSocket, over TCP (`ws`) or TLS (`wss`): a frame for each piece."""

from __future__ import annotations

from urllib.parse import quote

import attrs
import trio

from ..transport import (
    Credentials,
    Knock,
    Listener,
    NotMovable,
    Parked,
    Transport,
    TransportOptions,
    Wire,
)
from ..uris import Address
from .carrier import Carrier
from .sockets import Accepted, SocketListener, SocketPipe
from .tcp import connect_tcp, listen_tcp
from .tls import TlsStream, client_handshake, require_server_ssl, server_handshake, subject
from .websocket_session import load_driver
from .websocket_wire import WebSocketWire, start

REQUEST_SIZE = 64 * 1024
"""Bytes that a client may send before the handshake is done: the whole request has to fit."""
_RESPONSE_SIZE = 4 * 2**20  # frames may follow it in the same read

_PORTS = {"ws": 80, "wss": 443}


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
        await start(wire, nursery, driver, (host, target, headers))
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
        await start(wire, nursery, load_driver(self._options), None)
        return wire

    async def refuse(self) -> None:
        """Close the connection at once."""
        self._accepted.pipe.abort()
        await trio.lowlevel.checkpoint()
