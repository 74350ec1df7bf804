"""Which codec goes with which transport: a protocol is found by the scheme of a URI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from ..errors import ConfigError
from .codec import Codec, CodecLimits
from .codecs.json import JsonCodec
from .codecs.msgpack import MsgpackCodec
from .dialects import Dialect, FrameDialect, StreamDialect
from .http.front import HttpFront
from .transport import Transport, TransportOptions, Wire
from .transports import transport
from .uris import Address

if TYPE_CHECKING:
    from ..runtime.app import App
    from .admission import Admission

ENTRY_POINT_GROUP: Final = "ten_trio.protocols"


class Front(Protocol):
    """Serves connections that don't carry messages both ways, such as those of HTTP. In the app's loop."""

    async def serve(self, wire: Wire) -> None:
        """The whole life of one connection, whose bounds and end are the front's. Closes `wire`."""

    def begin_close(self) -> None:
        """The app closes: nothing new begins."""

    async def close(self) -> None:
        """Close what is left. Bounded by the caller as well."""


@attrs.frozen
class WireProtocol:
    """A codec, and the transport that carries it for each of the URI schemes that it goes by.

    `schemes` maps a scheme to the name of a transport (`tcp`, `tls`, `unix`, `ws`, `wss`) or to one
    of your own.  A protocol over WebSockets without a `codec` is msgpack and JSON, as
    docs/protocol.md describes them.  With a `front` it is for listening only, and that one takes over
    every connection that comes in.
    """

    name: str
    schemes: Mapping[str, str | Transport]
    codec: Callable[[CodecLimits], Codec] | None = None
    front: Callable[[App, Admission], Front] | None = None

    def dialect(self, limits: CodecLimits, wire: Wire) -> Dialect:
        """What is spoken on `wire`."""
        if self.codec is None:
            return FrameDialect(limits, wire.subprotocol)
        return StreamDialect(self.codec(limits))

    def transport(self, address: Address, options: TransportOptions) -> Transport:
        """What carries it at `address`. Raises `ConfigError`, `MissingExtra`."""
        found = self.schemes[address.scheme]
        return transport(found, options) if isinstance(found, str) else found


REGISTERED: Final[dict[str, WireProtocol]] = {}
"""Those that this process has registered, by their schemes."""


class Protocols:
    """The protocols that one app or client can use.

    Its own, the built-in ones, those that `more` finds by their scheme, those that the process has
    registered, and those that are installed.
    """

    def __init__(self, more: Callable[[str], WireProtocol | None] | None = None) -> None:
        self._own: dict[str, WireProtocol] = {}
        self._more = more

    def register(self, protocol: WireProtocol) -> None:
        """Use `protocol` for its schemes, also in place of a built-in one."""
        self._own.update(dict.fromkeys(protocol.schemes, protocol))

    @property
    def schemes(self) -> list[str]:
        """Those of URIs that are known without looking at entry points."""
        return sorted({*self._own, *_BUILT_IN, *REGISTERED})

    def find(self, uri: str | Address) -> tuple[WireProtocol, Address]:
        """The protocol of a URI. Raises `InvalidArgument`, `ConfigError` for an unknown scheme."""
        address = uri if isinstance(uri, Address) else Address.parse(uri)
        scheme = address.scheme
        found = self._own.get(scheme) or _BUILT_IN.get(scheme)
        if found is None and self._more is not None:
            found = self._more(scheme)
            if found is not None:
                self.register(found)
        found = found or REGISTERED.get(scheme)
        if found is None:
            self._load_entry_points()
            found = self._own.get(scheme) or REGISTERED.get(scheme)
        if found is None:
            known = ", ".join(self.schemes)
            raise ConfigError(f"no protocol for {address}: known schemes are {known}")
        return found, address

    def _load_entry_points(self) -> None:
        for point in entry_points(group=ENTRY_POINT_GROUP):
            loaded = point.load()
            if isinstance(loaded, WireProtocol):
                self.register(loaded)
            elif all(protocol.codec is not loaded for protocol in REGISTERED.values()):
                raise ConfigError(
                    f"entry point {point.name!r} is no WireProtocol, nor a codec that is decorated "
                    f"as one: {loaded!r}"
                )


MSGPACK: Final = WireProtocol(
    "msgpack", {"msgpack": "tcp", "msgpacks": "tls", "unix": "unix"}, MsgpackCodec
)
WEBSOCKET: Final = WireProtocol("websocket", {"ws": "ws", "wss": "wss"})
JSON_LINES: Final = WireProtocol("json", {"json": "tcp", "jsons": "tls"}, JsonCodec)
HTTP: Final = WireProtocol("http", {"http": "tcp", "https": "tls"}, front=HttpFront)

_BUILT_IN: Final[Mapping[str, WireProtocol]] = {
    scheme: protocol
    for protocol in (MSGPACK, WEBSOCKET, JSON_LINES, HTTP)
    for scheme in protocol.schemes
}
