"""What crosses the boundary of a process: codecs, which turn messages into bytes and back."""

from __future__ import annotations

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
]
