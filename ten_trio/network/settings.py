"""What an app or a client lets through its network boundary: sizes, counts, times, and whom it trusts."""

from __future__ import annotations

import ssl
from math import inf
from typing import Any, Literal

import attrs

from .codec import CodecLimits

StartGraphs = Literal["any", "predefined", "none"]


def _positive(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ValueError(f"network.{attribute.name} must be positive, not {value!r}")


def _whole(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    # As many as you like can be said as well.
    if isinstance(value, float) and value != inf:
        raise ValueError(f"network.{attribute.name} must be a whole number, not {value!r}")
    _positive(instance, attribute, value)


def _not_negative(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"network.{attribute.name} must be a number from 0 on, not {value!r}")


def _sayable(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    # It has to get through an HTTP header unchanged, and through no log.
    ok = isinstance(value, str) and value.isascii() and value.isprintable()
    if not ok or value != value.strip():
        raise ValueError(
            f"network.{attribute.name} must be text of printable ASCII characters, without blanks"
            " at its ends"
        )


def _count(default: int) -> Any:
    return attrs.field(default=default, validator=_whole)


def _seconds(default: float) -> Any:
    return attrs.field(default=default, validator=_positive)


@attrs.frozen(kw_only=True)
class NetworkSettings:
    """The bounds of every connection of an app or a client. Times are in seconds.

    Raises `ValueError` for what can't be.
    """

    codec: CodecLimits = attrs.field(factory=CodecLimits)
    """How big one message may be."""
    connections: int = _count(1_024)
    """How many may be open at once; further ones are closed as soon as they come."""
    handshake_timeout: float = _seconds(10.0)
    """From accepting a connection to the end of its handshakes (TLS, WebSocket)."""
    first_message_timeout: float = _seconds(30.0)
    """From there to its first message."""
    idle_timeout: float = _seconds(inf)
    """How long a connection of a plain client may be silent with nothing of its own in flight."""
    send_timeout: float = _seconds(30.0)
    """How long a peer may not read, with something waiting for it, before its connection is cut."""
    close_timeout: float = _seconds(1.0)
    """How long a peer may take to play its part in a close."""
    out_queue: int = _count(256)
    """Data and frames waiting for one connection before their senders wait for room."""
    out_bytes: int = _count(64 * 2**20)
    """Bytes of buffers waiting for one connection beyond which data and frames are dropped."""
    pending_cmds: int = _count(10_000)
    """Unanswered commands over one connection, each way, before the next gets ERROR `busy`."""
    graphs: int = _count(1_024)
    """Graphs started from outside that may run at once."""
    connect_timeout: float = _seconds(5.0)
    """How long one attempt to connect may take."""
    connect_retries: int = attrs.field(default=5, validator=_not_negative)
    """How often a failed attempt is repeated."""
    retry_delay: float = _seconds(0.5)
    """Between two attempts."""
    reconnect_delay: float = _seconds(0.5)
    """Before a long-running graph's first attempt to get a lost peer back; doubled for each further
    one, up to `reconnect_delay_max`."""
    reconnect_delay_max: float = _seconds(10.0)
    patience: float = _seconds(0.02)
    """How long the reading of a connection waits for a receiver that has no room, before it goes on."""
    token: str = attrs.field(default="", repr=False, validator=_sayable)
    """What clients and apps have to show before anything they say counts; empty: nothing. It is
    also what this app shows to others."""
    start_graphs: StartGraphs | None = attrs.field(
        default=None,
        validator=attrs.validators.optional(attrs.validators.in_(("any", "predefined", "none"))),
    )
    """Which graphs those may start who come from outside. None: any from this machine and from whoever
    has shown the token or a certificate, predefined ones from elsewhere."""
    outside_addons: tuple[str, ...] | None = None
    """The only addons that a graph from outside may be made of; None: all that the app knows by name."""
    origins: tuple[str, ...] = ()
    """Web pages from elsewhere that may connect, by HTTP and WebSocket, as `https://example.org`: then they
    may do what any program on their machine may. `*` is all of them, trusted no more than somebody from
    elsewhere. Pages of this machine (http://localhost:8000 and its like) may in any case."""
    close_app: bool | None = None
    """Whether close_app may come from outside. None: from those who may start any graph."""
    server_ssl: ssl.SSLContext | None = attrs.field(default=None, repr=False)
    client_ssl: ssl.SSLContext | None = attrs.field(default=None, repr=False)
    websocket_driver: Literal["trio-websocket", "websockets"] = "trio-websocket"
