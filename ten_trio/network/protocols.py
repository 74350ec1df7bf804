"""Which codec goes with which transport: a protocol is found by the scheme of a URI."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Final

import attrs

from ..errors import ConfigError
from .codec import Codec, CodecLimits
from .codecs.json import JsonCodec
from .codecs.msgpack import MsgpackCodec
from .dialects import Dialect, FrameDialect, StreamDialect
from .transport import Transport, TransportOptions, Wire
from .transports import transport
from .uris import Address

ENTRY_POINT_GROUP: Final = "ten_trio.protocols"


@attrs.frozen
class WireProtocol:
    """A codec, and the transport that carries it for each of the URI schemes that it goes by.

    `schemes` maps a scheme to the name of a transport (`tcp`, `tls`, `unix`, `ws`, `wss`) or to one
    of your own.  A protocol over WebSockets without a `codec` is msgpack and JSON, as
    docs/protocol.md describes them.
    """

    name: str
    schemes: Mapping[str, str | Transport]
    codec: Callable[[CodecLimits], Codec] | None = None

    def dialect(self, limits: CodecLimits, wire: Wire) -> Dialect:
        """What is spoken on `wire`."""
        if self.codec is None:
            return FrameDialect(limits, wire.subprotocol)
        return StreamDialect(self.codec(limits))

    def transport(self, address: Address, options: TransportOptions) -> Transport:
        """What carries it at `address`. Raises `ConfigError`, `MissingExtra`."""
        found = self.schemes[address.scheme]
        return transport(found, options) if isinstance(found, str) else found


class Protocols:
    """The protocols that one app or client can use: its own, the built-in ones, entry points."""

    def __init__(self) -> None:
        self._own: dict[str, WireProtocol] = {}

    def register(self, protocol: WireProtocol) -> None:
        """Use `protocol` for its schemes, also in place of a built-in one."""
        self._own.update(dict.fromkeys(protocol.schemes, protocol))

    def find(self, uri: str | Address) -> tuple[WireProtocol, Address]:
        """The protocol of a URI. Raises `InvalidArgument`, `ConfigError` for an unknown scheme."""
        address = uri if isinstance(uri, Address) else Address.parse(uri)
        scheme = address.scheme
        found = self._own.get(scheme) or _BUILT_IN.get(scheme)
        if found is None:
            for point in entry_points(group=ENTRY_POINT_GROUP):
                protocol = point.load()
                if not isinstance(protocol, WireProtocol):
                    raise ConfigError(
                        f"entry point {point.name!r} is no WireProtocol: {protocol!r}"
                    )
                self.register(protocol)
            found = self._own.get(scheme)
        if found is None:
            known = sorted({*self._own, *_BUILT_IN})
            raise ConfigError(f"no protocol for {address}: known schemes are {', '.join(known)}")
        return found, address


MSGPACK: Final = WireProtocol(
    "msgpack", {"msgpack": "tcp", "msgpacks": "tls", "unix": "unix"}, MsgpackCodec
)
WEBSOCKET: Final = WireProtocol("websocket", {"ws": "ws", "wss": "wss"})
JSON_LINES: Final = WireProtocol("json", {"json": "tcp", "jsons": "tls"}, JsonCodec)

_BUILT_IN: Final[Mapping[str, WireProtocol]] = {
    scheme: protocol for protocol in (MSGPACK, WEBSOCKET, JSON_LINES) for scheme in protocol.schemes
}
