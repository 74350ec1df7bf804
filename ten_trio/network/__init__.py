"""What crosses the boundary of a process: listening, connecting, and what protocols are made of."""

from __future__ import annotations

from .client import Client, connect
from .codec import (
    Buffer,
    Codec,
    CodecError,
    CodecLimits,
    Malformed,
    TooDeep,
    TooLong,
    TooManyProperties,
    UnknownType,
    WireMsg,
)
from .codecs.json import JsonCodec
from .codecs.msgpack import MsgpackCodec
from .protocol_addons import protocol
from .protocols import Protocols, WireProtocol
from .serving import open_app
from .settings import NetworkSettings
from .transport import (
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
from .uris import Address

__all__ = [
    "Buffer",
    "Codec",
    "CodecError",
    "CodecLimits",
    "Malformed",
    "TooDeep",
    "TooLong",
    "TooManyProperties",
    "UnknownType",
    "WireMsg",
    "JsonCodec",
    "MsgpackCodec",
    "Address",
    "Client",
    "Credentials",
    "HandshakeError",
    "Knock",
    "Listener",
    "NetworkSettings",
    "NotMovable",
    "Parked",
    "Piece",
    "Protocols",
    "Transport",
    "TransportOptions",
    "Wire",
    "WireProtocol",
    "connect",
    "open_app",
    "protocol",
]
