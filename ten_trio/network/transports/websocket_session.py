"""What a WebSocket library has to do for a wire: a `Driver` opens a `Session` on a `Carrier`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

import attrs
import trio

from ...errors import ConfigError
from ..transport import Piece, TransportOptions
from .carrier import Carrier

QUEUE_SIZE = 64
"""Messages that a library may keep for us. They are taken at once."""

NORMAL, GOING_AWAY, NO_CODE, LOST = 1000, 1001, 1005, 1006
_IN_ORDER = {NORMAL, GOING_AWAY, NO_CODE}

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
