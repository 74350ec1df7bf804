"""What a transport is: it listens and connects, and what it gives carries bytes or frames in order.

A transport knows no messages, and a codec no connection; `protocols` says which go together.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import Literal, Protocol

import attrs
import trio

from ..errors import TenError
from .codec import Buffer
from .uris import Address

Piece = Buffer | str
"""What is sent or received in one go: bytes, or the text of a text frame."""

RECEIVE_SIZE = 256 * 1024
"""How many bytes one read takes at most."""


class HandshakeError(TenError):
    """The two ends didn't come to terms: TLS, the opening of a WebSocket, or too slow at either."""


class NotMovable(TenError):
    """What reads this wire has to stay where it is."""


@attrs.frozen
class Credentials:
    """What the other end has shown of itself while the connection was opened."""

    token: str = attrs.field(default="", repr=False)
    """A bearer token, from an HTTP header or the query of a WebSocket's URI."""
    origin: str = ""
    """Where the web page was loaded from that has connected; empty if it isn't one."""
    certificate: str = ""
    """The subject of its TLS certificate, if one was asked for and is valid."""


@attrs.frozen(kw_only=True)
class TransportOptions:
    """How to listen and to connect. Sizes are in bytes, times in seconds."""

    server_ssl: ssl.SSLContext | None = None
    """For listening with TLS. With `verify_mode` CERT_REQUIRED only those with a certificate get in."""
    client_ssl: ssl.SSLContext | None = None
    """For connecting with TLS; None is what `ssl.create_default_context` gives."""
    max_message: int = 16 * 2**20
    """The biggest frame that is read."""
    token: str = attrs.field(default="", repr=False)
    """Shown when connecting, where the transport has a place for it (`Authorization: Bearer`)."""
    subprotocols: tuple[str, ...] = ()
    """Of WebSockets: those that are offered, or accepted, the preferred ones first."""
    backlog: int = 128
    close_timeout: float = 1.0
    """How long the other end may take to answer a closing handshake."""
    websocket_driver: Literal["trio-websocket", "websockets"] = "trio-websocket"


class Parked(Protocol):
    """A wire between two Trio runs: `Transport.adopt` makes a wire of it again.

    Good for crossing threads; belongs to whoever holds it, who may also `discard` it.
    """

    def discard(self) -> None:
        """Close it for good, from any thread."""


class Wire(Protocol):
    """One open connection. One task at a time receives, one sends.

    A wire may need tasks of its own, to answer pings for instance. They run in the nursery that it was
    opened with, which therefore belongs to this connection alone.  They raise nothing into it.
    They end with `aclose`, when the connection is lost, and when that nursery is cancelled: then the
    other end is still told, within the `close_timeout`.
    """

    peer: str
    """Who is at the other end, for logs."""
    is_local: bool
    """Whether the other end is on this machine."""
    is_framed: bool
    """Whether what is sent arrives in the same pieces, and pieces may be text."""
    movable: bool
    """Whether `detach` works."""
    credentials: Credentials
    subprotocol: str
    """What was agreed upon while it was opened; empty if nothing."""

    async def receive(self) -> bytes | str:
        """The next piece; `b""` once the other end has closed. A checkpoint.

        A frame of no bytes carries nothing, and is skipped; an empty text is a piece as any other.

        Cancelling it loses nothing: the next call returns what this one would have.  Raises
        `trio.BrokenResourceError` when the connection is lost or the other end breaks its rules
        (a frame beyond `max_message` among them), `trio.ClosedResourceError` after `aclose`.
        """

    async def send(self, pieces: Sequence[Piece]) -> None:
        """Send `pieces` in order: each is a frame of its own if `is_framed`.  A checkpoint.

        Where there are no frames, text is sent as UTF-8.

        Returns when they are handed to the system, not when they have arrived.  If it is cancelled,
        nobody knows how much was sent: the wire is broken then, and says so from the next call on.
        Raises `trio.BrokenResourceError`, `trio.ClosedResourceError`.
        """

    async def aclose(self) -> None:
        """Close it, in order if the other end plays along, within the `close_timeout`; idempotent.

        When it is cancelled, it closes without the other end.
        """

    def detach(self) -> Parked:
        """Take it out of this Trio run: what is left here is closed.

        Nothing is lost: what was not received yet will be received from what adopts it.  Raises
        `NotMovable` if `movable` isn't set, `trio.BusyResourceError` while somebody is receiving or
        sending, and what `receive` raises if it is closed or broken.
        """


class Knock(Protocol):
    """Somebody has connected; nothing is agreed upon yet."""

    peer: str

    async def open(self, nursery: trio.Nursery) -> Wire:
        """Do the handshakes there are (TLS, WebSocket).

        `nursery` is this connection's own: see `Wire`.  Bounded by the caller.  Raises
        `HandshakeError`, and closes the connection if it doesn't return.
        """

    async def refuse(self) -> None:
        """Close the connection at once."""


class Listener(Protocol):
    """One open listener."""

    address: Address
    """Where it listens, with the port that the system has chosen."""

    async def accept(self) -> Knock:
        """Wait for the next connection. Raises `trio.ClosedResourceError` after `aclose`, `OSError`."""

    async def aclose(self) -> None:
        """Stop listening; idempotent. What was accepted lives on."""


class Transport(Protocol):
    """A way to carry bytes."""

    name: str

    async def listen(self, address: Address, options: TransportOptions) -> list[Listener]:
        """Listen at `address`; several listeners if its host has several addresses.

        They have the same port, also if the system chooses it.  Raises `OSError`, `InvalidArgument` if
        `address` lacks what is needed, `ConfigError` if the options do, `MissingExtra`.
        """

    async def connect(
        self, address: Address, options: TransportOptions, nursery: trio.Nursery
    ) -> Wire:
        """Connect to `address`, handshakes included. Bounded by the caller.

        `nursery` is this connection's own: see `Wire`.  Raises `OSError`, `HandshakeError`,
        `InvalidArgument`, `MissingExtra`.
        """

    def adopt(self, parked: Parked) -> Wire:
        """Go on with a wire that was detached, in the current Trio run.

        Raises `NotMovable` if it isn't of this transport, `trio.ClosedResourceError` if it was
        discarded or adopted before.
        """
