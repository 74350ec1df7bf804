"""The fields of each type of message on the wire of the original, in their order.

Every message begins with its type as text, its name, source, destinations and properties; commands
and results go on with the id of the command and the `seq_id`; what comes then is listed here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from enum import IntEnum
from math import inf
from operator import attrgetter
from typing import Any, Final

import attrs

from ...errors import InvalidType
from ...messages import (
    AudioFrame,
    AudioFrameDataFmt,
    CloseApp,
    Cmd,
    CmdResult,
    Data,
    Msg,
    MsgType,
    PixelFmt,
    StartGraph,
    StatusCode,
    StopGraph,
    Timeout,
    Timer,
    TriggerLifeCycle,
    ValueType,
    VideoFrame,
)
from ...messages.buffers import Buffered
from ...messages.fields import int32, int64, string, uint32, uint64


def turn_id(msg: Msg) -> str:
    """The id of a message's turn. One that was read has no more than that yet."""
    turn = msg._turn
    return turn if isinstance(turn, str) else str(turn.id)


def seconds(value: object) -> float:
    """How much time a command has left, as the other end says. Raises `InvalidType`."""
    if value.__class__ is float or value.__class__ is int:
        # An integer of JSON's may be larger than any float.
        with suppress(OverflowError):
            number = float(value)
            if number < inf:
                return max(0.0, number)
    raise InvalidType(f"a time is a number of seconds, not {value!r:.40}")


BUF: Final = ValueType.BUF.value


@attrs.frozen
class WireField:
    """One field: its type on the wire, the attribute that holds it, and what checks and makes it."""

    tag: int
    attribute: str
    make: Callable[[Any], Any]


def _field(kind: ValueType, attribute: str, make: Callable[[Any], Any]) -> WireField:
    return WireField(kind.value, attribute, make)


def _boolean(number: object) -> bool:
    if number.__class__ is int and number in (0, 1):
        return number == 1
    raise InvalidType(f"a bool is 0 or 1, not {number!r:.40}")


def _bool(attribute: str) -> WireField:
    return _field(ValueType.BOOL, attribute, _boolean)


def _int32(attribute: str) -> WireField:
    return _field(ValueType.INT32, attribute, int32)


def _string(attribute: str) -> WireField:
    return _field(ValueType.STRING, attribute, string)


def _enum(attribute: str, kind: type[IntEnum]) -> WireField:
    members = {member.value: member for member in kind}

    def make(number: object) -> IntEnum:
        found = members.get(number) if number.__class__ is int else None
        if found is None:
            raise InvalidType(f"{number!r:.40} is no {kind.__name__}")
        return found

    return _field(ValueType.INT32, attribute, make)


class Layout:
    """How messages of one class lie on the wire."""

    __slots__ = (
        "blank",
        "cls",
        "fields",
        "has_bool",
        "has_buf",
        "has_id",
        "is_flat",
        "length",
        "number",
        "row",
        "sets",
        "tags",
        "text",
        "values",
    )

    def __init__(self, cls: type[Msg], *fields: WireField) -> None:
        self.cls = cls
        self.fields = tuple((field.tag, field.attribute, field.make) for field in fields)
        self.sets = tuple((field.attribute, field.make) for field in fields)
        self.number = cls.type.value
        self.text = cls.type.text
        self.has_id = issubclass(cls, (Cmd, CmdResult))
        # Type after type, with room for the values.
        self.row: list[Any] = [part for field in fields for part in (field.tag, None)]
        self.has_bool = any(field.tag == ValueType.BOOL for field in fields)
        # Everything that follows the properties, and None for the end.
        ids = [ValueType.STRING.value] * (2 if self.has_id else 0)
        self.tags = (*ids, *(field.tag for field in fields), None)
        self.length = 2 * len(self.tags) - 1
        self.is_flat = all(field.tag != ValueType.ARRAY for field in fields)
        self.has_buf = issubclass(cls, Buffered)
        # The quickest way to a message of this class with everything at its default.
        self.blank: Callable[[], Any] = cls()._shell
        # What a message has in the fields.
        self.values = _values_of([field.attribute for field in fields])


def _values_of(attributes: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(attributes) > 1:
        return attrgetter(*attributes)
    return lambda msg: tuple([getattr(msg, attribute) for attribute in attributes])


def _buf(content: object) -> bytes:
    if content.__class__ is bytes:
        return content
    raise InvalidType("a buffer that isn't bytes")


_BUF_FIELD: Final = _field(ValueType.BUF, "_buf", _buf)

LAYOUTS: Final = (
    Layout(Cmd),
    Layout(
        CmdResult,
        _enum("original_cmd_type", MsgType),
        _enum("status", StatusCode),
        _bool("is_final"),
    ),
    Layout(CloseApp),
    Layout(
        StartGraph,
        _bool("long_running_mode"),
        _bool("sync_stop_before_deinit"),
        # Besides these two, which become one attribute (see graph_form.py):
        _field(ValueType.ARRAY, "nodes", list),
        _field(ValueType.ARRAY, "connections", list),
        _string("predefined_graph_name"),
        _string("graph_json"),
    ),
    Layout(StopGraph, _string("graph_id")),
    Layout(TriggerLifeCycle, _string("stage")),
    Layout(
        Timer,
        _field(ValueType.UINT32, "timer_id", uint32),
        _field(ValueType.UINT64, "timeout_us", uint64),
        _int32("times"),
    ),
    Layout(Timeout, _field(ValueType.UINT32, "timer_id", uint32)),
    Layout(Data, _BUF_FIELD),
    Layout(
        AudioFrame,
        _field(ValueType.INT64, "timestamp", int64),
        _int32("sample_rate"),
        _int32("bytes_per_sample"),
        _int32("samples_per_channel"),
        _int32("number_of_channels"),
        _enum("data_fmt", AudioFrameDataFmt),
        _BUF_FIELD,
        _int32("line_size"),
    ),
    Layout(
        VideoFrame,
        _enum("pixel_fmt", PixelFmt),
        _field(ValueType.INT64, "timestamp", int64),
        _int32("width"),
        _int32("height"),
        _BUF_FIELD,
    ),
)
BY_CLASS: Final = {layout.cls: layout for layout in LAYOUTS}
BY_NUMBER: Final = {layout.number: layout for layout in LAYOUTS}
