"""TLS over TCP: the bytes, encrypted, and perhaps a client that has shown a certificate."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Any

import trio

from ...errors import ConfigError
from ..codec import Buffer
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
from .sockets import JOIN_BELOW, Accepted, SocketListener, SocketPipe, as_bytes
from .tcp import connect_tcp, listen_tcp
from .wires import OpenWire

TlsStream = trio.SSLStream[SocketPipe]

_SHORT = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "countryName": "C",
}


class TlsWire(OpenWire):
    """A TLS connection. What is decrypted already is in the library: it can't be moved."""

    def __init__(
        self,
        stream: TlsStream,
        accepted: Accepted,
        options: TransportOptions,
        credentials: Credentials,
    ) -> None:
        super().__init__(
            accepted.peer,
            is_local=accepted.is_local,
            close_timeout=options.close_timeout,
            credentials=credentials,
        )
        self._stream = stream
        self._pipe = accepted.pipe

    async def _receive(self) -> bytes:
        return bytes(await self._stream.receive_some(RECEIVE_SIZE))

    async def _send(self, pieces: Sequence[Piece]) -> None:
        # Every call makes a record at least, and a write to the system.
        small: list[Buffer] = []
        size = 0
        await trio.lowlevel.checkpoint()
        for piece in as_bytes(pieces):
            if small and size + len(piece) > JOIN_BELOW:
                await self._stream.send_all(b"".join(small))
                small, size = [], 0
            small.append(piece)
            size += len(piece)
        if small:
            await self._stream.send_all(small[0] if len(small) == 1 else b"".join(small))

    async def _close(self) -> None:
        await self._stream.aclose()

    def _abort(self) -> None:
        self._pipe.abort()


class TlsTransport:
    """Listens and connects by TLS over TCP."""

    name = "tls"

    async def listen(self, address: Address, options: TransportOptions) -> list[Listener]:
        """Listen at all addresses of the host; see `Transport.listen`."""
        require_server_ssl(address, options)
        return list(await listen_tcp(address, options, TlsListener))

    async def connect(
        self, address: Address, options: TransportOptions, nursery: trio.Nursery
    ) -> TlsWire:
        """Connect, and check the certificate as `client_ssl` says; see `Transport.connect`.

        A server that refuses our certificate says so only later: then `receive` raises.
        """
        accepted = await connect_tcp(address, options)
        stream = await client_handshake(accepted, address, options)
        return TlsWire(stream, accepted, options, Credentials())

    def adopt(self, parked: Parked) -> Wire:
        """Raise `NotMovable`."""
        raise NotMovable("a TLS connection has to stay in its Trio run")


def make(name: str, options: TransportOptions) -> Transport:
    """Return the transport."""
    return TlsTransport()


class TlsListener(SocketListener):
    """One listening TCP socket for TLS."""

    async def accept(self) -> Knock:
        """Wait for the next connection; see `Listener.accept`."""
        return TlsKnock(await self.accept_socket(), self._options)


class TlsKnock:
    """A TCP connection that has come in, before its TLS handshake."""

    def __init__(self, accepted: Accepted, options: TransportOptions) -> None:
        self.peer = accepted.peer
        self._accepted = accepted
        self._options = options

    async def open(self, nursery: trio.Nursery) -> TlsWire:
        """Do the TLS handshake; see `Knock.open`."""
        stream = await server_handshake(self._accepted, self._options)
        credentials = Credentials(certificate=subject(stream))
        return TlsWire(stream, self._accepted, self._options, credentials)

    async def refuse(self) -> None:
        """Close the connection at once."""
        self._accepted.pipe.abort()
        await trio.lowlevel.checkpoint()


def require_server_ssl(address: Address, options: TransportOptions) -> ssl.SSLContext:
    """Return the context for listening. Raises `ConfigError`."""
    if options.server_ssl is None:
        raise ConfigError(f"listening at {address} needs a certificate: set `server_ssl`")
    return options.server_ssl


async def server_handshake(
    accepted: Accepted, options: TransportOptions, *, http: bool = False
) -> TlsStream:
    """Do a TLS handshake on what was accepted; closes it if that doesn't work."""
    context = options.server_ssl
    assert context is not None  # checked when the listener was opened
    stream = trio.SSLStream(accepted.pipe, context, server_side=True, https_compatible=http)
    return await _shake(stream, accepted.peer)


async def client_handshake(
    accepted: Accepted, address: Address, options: TransportOptions, *, http: bool = False
) -> TlsStream:
    """Do a TLS handshake on a new connection to `address`; closes it if that doesn't work."""
    try:
        context = options.client_ssl or ssl.create_default_context()
        stream = trio.SSLStream(
            accepted.pipe, context, server_hostname=address.host, https_compatible=http
        )
    except BaseException:
        accepted.pipe.abort()
        raise
    return await _shake(stream, str(address))


async def _shake(stream: TlsStream, who: str) -> TlsStream:
    done = False
    try:
        await stream.do_handshake()
        done = True
    except (trio.BrokenResourceError, ssl.CertificateError) as error:
        reason = error.__cause__ or error
        text = str(reason) or "the connection was lost"
        raise HandshakeError(f"{who}: no TLS connection: {text}") from error
    finally:
        if not done:
            stream.transport_stream.abort()
    return stream


def subject(stream: TlsStream) -> str:
    """Return the subject of the certificate that the other end has shown, such as `CN=alice,O=us`.

    If that is empty it is the first alternative name, as `DNS:alice`; without a certificate nothing.
    """
    shown: Any = stream.getpeercert() or {}
    parts = [part for several in shown.get("subject", ()) for part in several]
    if parts:
        # As everybody writes it (RFC 4514): the most particular first, and with commas escaped.
        return ",".join(f"{_SHORT.get(key, key)}={_escaped(value)}" for key, value in parts[::-1])
    return ":".join(next(iter(shown.get("subjectAltName", ())), ()))


def _escaped(value: str) -> str:
    return "".join(f"\\{char}" if char in ',+"\\<>;=' else char for char in value)
