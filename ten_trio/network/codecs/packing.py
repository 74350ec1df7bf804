"""From messages to bytes: one pass over each message, into a flat list that msgpack packs at once.

What msgpack can't do by itself (a float of 32 bits) or shouldn't copy (a big buffer) is cut out of the
list: what lies between the cuts is packed, and the bytes in question are pieces of their own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

import msgpack

from ...messages import INVALID, Cmd, Loc, Msg, StartGraph, ValueType
from ...messages.media import AudioFrame, VideoFrame
from ...messages.properties import FIELDS
from ...messages.values import INT64_MAX, Float32, type_of
from ..codec import (
    Buffer,
    CodecLimits,
    Malformed,
    TooDeep,
    TooLong,
    TooManyProperties,
    WireMsg,
)
from . import graph_form
from .layout import BUF, BY_CLASS, Layout, turn_id
from .received import BIG

EXT_TYPE: Final = 1
FREE: Final = 1_000
"""Objects that a message may consist of besides three for each of the properties it may have."""

HEADER: Final = 6
"""Bytes before the body, at most."""

_KNOWN_HEADS: Final = 256
_PACKED: Final = 1_024
_SHORT: Final = 1_024

_STR, _INT64, _UINT64, _FLOAT64, _BOOL = (
    ValueType.STRING.value,
    ValueType.INT64.value,
    ValueType.UINT64.value,
    ValueType.FLOAT64.value,
    ValueType.BOOL.value,
)
_ARRAY, _OBJECT = ValueType.ARRAY.value, ValueType.OBJECT.value
_FLOAT32: Final = struct.Struct(">Bf")
_LONG: Final = struct.Struct(">BI")
_MIDDLE: Final = struct.Struct(">BHB")
_LARGE: Final = struct.Struct(">BIB")


_Places: TypeAlias = tuple[Loc, tuple[Loc, ...]]

_Cut: TypeAlias = tuple[int, tuple[Buffer, ...]]
"""Where in the list something stands that is written as these pieces."""


class Packing:
    """Writes messages of one connection."""

    def __init__(self, limits: CodecLimits, *, extended: bool) -> None:
        self.limits = limits
        self.extended = extended
        self.dropped = 0
        self._most = 3 * limits.max_properties + FREE
        self._depth = limits.max_depth
        self._suspicious = min(limits.max_string, limits.max_message) - HEADER
        self._ordinary = min(self._suspicious, BIG)
        # Its buffer grows by itself; what it has from the beginning is kept by every idle connection.
        packer = msgpack.Packer(buf_size=_PACKED)
        self._pack, self._pack_ext = packer.pack, packer.pack_ext_type
        self._flat: list[Any] = []
        self._cuts: list[_Cut] = []
        self._heads: dict[tuple[Layout, str], tuple[_Places, bytes]] = {}

    def pieces(self, wire: WireMsg) -> list[Buffer]:
        """Return the bytes of one message, in pieces. Raises `CodecError`, `GraphError`."""
        msg, cmd_id = wire
        layout = BY_CLASS.get(msg.__class__)
        if layout is None:
            raise Malformed(f"{msg!r} is nothing that can be sent to another process")
        self._cuts = []
        count = 0
        # All before the properties is the same for most messages. Tuples look first whether they
        # hold the same objects, and mostly they do.
        known = self._heads.get((layout, msg.name))
        if known is not None and known[0] == (msg._src, msg._dests):
            head = known[1]
        else:
            head, count = self._head(msg, layout)
        flat = self._flat = [_OBJECT]
        props = msg._props
        if self.extended and (more := _more(msg)):
            props = {**props, FIELDS: more}
        if props:
            self._items(props, self._depth)
        else:
            flat.append(0)
        if layout.has_id:
            flat += (_STR, cmd_id, _STR, msg.seq_id)  # type: ignore[attr-defined]
        if layout.fields:
            self._fields(msg, layout)
        if count + len(flat) > self._most:
            raise TooManyProperties(f"more than {self.limits.max_properties} properties")
        if self._cuts:
            pieces = [head, *self._cut()]
        else:
            body = head + self._packed(flat)
            flat.clear()
            if len(body) <= self._ordinary:
                return [self._pack_ext(EXT_TYPE, body)]
            pieces = [body]
        size = sum(map(len, pieces))
        if size > self._suspicious:
            self._check(msg, size + HEADER)
        return [_header(size), *pieces]

    def _head(self, msg: Msg, layout: Layout) -> tuple[bytes, int]:
        """Return all before the properties, and how many values that is; remember it."""
        places = msg._src, msg._dests
        flat = [layout.number, _STR, layout.text, _STR, msg.name, *_location(msg._src)]
        flat += (_ARRAY, len(msg._dests))
        for dest in msg._dests:
            flat += _location(dest)
        head = self._packed(flat)
        if len(head) <= _SHORT:
            if len(self._heads) >= _KNOWN_HEADS:
                self._heads.clear()
            self._heads[layout, msg.name] = places, head
        return head, len(flat)

    def _check(self, msg: Msg, size: int) -> None:
        limits = self.limits
        if size > limits.max_message:
            raise TooLong(f"{msg!r} takes more than {limits.max_message} bytes")
        # Only a message that is long altogether can have a long string.
        texts = [msg.name, *_texts(msg._props)]
        texts += [getattr(msg, slot, "") for slot in ("seq_id", "graph_json")]
        if any(len(text) > limits.max_string for text in texts):
            raise TooLong(f"{msg!r} has a string of more than {limits.max_string} characters")

    def _fields(self, msg: Msg, layout: Layout) -> None:
        flat = self._flat
        if isinstance(msg, StartGraph):
            nodes, connections, text = graph_form.to_wire(msg)
            flat += (_BOOL, int(msg.long_running_mode), _BOOL, int(msg.sync_stop_before_deinit))
            for part in (nodes, connections):
                self._value(part, self.limits.max_depth)
            flat += (_STR, msg.predefined_graph_name, _STR, text)
            return
        values = layout.values(msg)
        if layout.has_buf:
            buf = msg._buf  # type: ignore[attr-defined]
            is_plain = buf.__class__ is bytes and len(buf) < BIG
        else:
            is_plain = not layout.has_bool
        if is_plain:
            row = layout.row.copy()
            row[1::2] = values
            flat += row
            return
        for (tag, _, _), value in zip(layout.fields, values, strict=True):
            flat.append(tag)
            if tag == BUF:
                self._buffer(value)
            else:
                flat.append(int(value) if tag == _BOOL else value)

    def _items(self, items: Mapping[str, Any], left: int) -> None:
        flat = self._flat
        begin = len(flat)
        flat.append(len(items))
        for key, value in items.items():
            cls = value.__class__
            if cls is str:
                flat += (key, _STR, value)
            elif cls is int:
                flat += (key, _INT64 if value <= INT64_MAX else _UINT64, value)
            elif cls is float:
                flat += (key, _FLOAT64, value)
            elif cls is bool:
                flat += (key, _BOOL, 1 if value else 0)
            elif self.extended or not (value is None or value is INVALID):
                flat.append(key)
                self._value(value, left)
            else:
                # What isn't there and what is null are the same to those who read it.
                self.dropped += 1
                flat[begin] -= 1

    def _value(self, value: Any, left: int) -> None:
        kind = type_of(value)
        if value is None or value is INVALID:
            if not self.extended:
                # An element of an array: dropping it would move the others.
                self.dropped += 1
                self._flat += (_OBJECT, 0)
            else:
                self._flat += (kind.value, None)
            return
        self._flat.append(kind.value)
        if kind is ValueType.OBJECT:
            self._items(value, self._below(left))
        elif kind is ValueType.ARRAY:
            below = self._below(left)
            self._flat.append(len(value))
            for item in value:
                self._value(item, below)
        elif kind is ValueType.BUF:
            self._buffer(value)
        elif kind is ValueType.FLOAT32:
            self._as(_FLOAT32.pack(0xCA, Float32(value)))
        else:
            self._flat.append(int(value) if kind is ValueType.BOOL else value)

    def _below(self, left: int) -> int:
        if not left:
            raise TooDeep(f"containers are nested more than {self.limits.max_depth} deep")
        return left - 1

    def _buffer(self, value: Any) -> None:
        if value.__class__ is bytes and len(value) < BIG:
            self._flat.append(value)
            return
        view = memoryview(value).toreadonly().cast("B")
        if len(view) < BIG:
            self._flat.append(view)
        elif len(view) < 2**16:
            self._as(b"\xc5" + len(view).to_bytes(2), view)
        else:
            if len(view) > self.limits.max_message:
                raise TooLong(f"a buffer of more than {self.limits.max_message} bytes")
            self._as(_LONG.pack(0xC6, len(view)), view)

    def _as(self, *pieces: Buffer) -> None:
        """Let these pieces stand for one value."""
        self._cuts.append((len(self._flat), pieces))
        self._flat.append(None)

    def _cut(self) -> Iterator[Buffer]:
        """Yield what is between the cuts, packed, and what they stand for; keep none of it."""
        flat, self._flat = self._flat, []
        cuts, self._cuts = self._cuts, []
        begin = 0
        for at, pieces in cuts:
            yield self._packed(flat[begin:at])
            yield from pieces
            begin = at + 1
        if begin < len(flat):
            yield self._packed(flat[begin:])

    def _packed(self, flat: list[Any]) -> bytes:
        try:
            packed: bytes = self._pack(flat)
        except UnicodeEncodeError:
            # Half of a surrogate pair is no Unicode and can't be written: it becomes "?".
            packed = msgpack.packb(flat, unicode_errors="replace")
        count = len(flat)
        # An array, without the header that says so.
        return packed[1 if count < 16 else 3 if count < 2**16 else 5 :]


def _location(loc: Loc) -> list[Any]:
    parts = loc.to_dict()
    return [
        _OBJECT,
        len(parts),
        *(each for key, part in parts.items() for each in (key, _STR, part)),
    ]


def _header(size: int) -> bytes:
    if size < 2**8:
        return bytes((0xC7, size, EXT_TYPE))
    if size < 2**16:
        return _MIDDLE.pack(0xC8, size, EXT_TYPE)
    return _LARGE.pack(0xC9, size, EXT_TYPE)


def _more(msg: Msg) -> dict[str, Any]:
    """Return what the original has no place for."""
    more: dict[str, Any] = {}
    if isinstance(msg, (AudioFrame, VideoFrame)):
        if msg.is_eof:
            more["is_eof"] = True
        if isinstance(msg, AudioFrame) and msg.channel_layout:
            more["channel_layout"] = msg.channel_layout
    elif isinstance(msg, StartGraph) and (exposed := graph_form.exposed(msg)):
        more["exposed_messages"] = exposed
    elif isinstance(msg, Cmd) and msg._left is not None:
        more["time_left"] = msg._left
    if msg._turn:
        more["turn"] = turn_id(msg)
    return more


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for pair in value.items() for item in pair for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return []


def joined(pieces: list[Buffer]) -> list[Buffer]:
    """Return the same bytes with the small pieces joined."""
    made: list[Buffer] = []
    small: list[Buffer] = []
    for piece in pieces:
        if len(piece) < BIG:
            small.append(piece)
            continue
        if small:
            made.append(b"".join(small))
            small.clear()
        made.append(piece)
    if small:
        made.append(b"".join(small))
    return made
