"""From bytes to messages: msgpack takes the body apart into a flat run of values, and we read that.

The run is bounded before it is made, containers of msgpack itself don't occur in it, and nothing is
allocated because of a count that a peer claims. The buffer of a big message is not taken apart: the
message gets a view of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final

import msgpack

from ...errors import TenError
from ...messages import (
    INVALID,
    Array,
    AudioFrame,
    Float32,
    Int8,
    Int16,
    Int32,
    Loc,
    MsgType,
    Object,
    StartGraph,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    ValueType,
    VideoFrame,
)
from ...messages.fields import boolean, uint64
from ...messages.properties import FIELDS, NO_PROPERTIES
from ...messages.values import SizedInt
from ..codec import (
    CodecError,
    CodecLimits,
    Malformed,
    TooDeep,
    TooLong,
    TooManyProperties,
    UnknownType,
    WireMsg,
)
from . import graph_form
from .layout import BUF, BY_NUMBER, Layout
from .packing import FREE

WHOLE: Final = 65_536
"""Up to this size a message is taken apart completely, its buffer included."""
_WINDOW: Final = 4_096

_END: Final = b"\xc0"
"""A nil after the body: if it doesn't come out last, and as such, the body ended within a value."""

_STR: Final = ValueType.STRING.value
_ARRAY, _OBJECT = ValueType.ARRAY.value, ValueType.OBJECT.value
_INT64: Final = ValueType.INT64.value
_BOOL, _FLOAT32 = ValueType.BOOL.value, ValueType.FLOAT32.value
_NOTHING: Final = (ValueType.NULL.value, ValueType.INVALID.value)
_PLAIN: Final = {_STR: str, ValueType.FLOAT64.value: float, BUF: bytes}
_SIZED: Final[dict[int, type[SizedInt]]] = {
    cls.kind.value: cls for cls in (Int8, Int16, Int32, SizedInt, UInt8, UInt16, UInt32, UInt64)
}
_BOOLS: Final = (False, True)
_KNOWN_LOCATIONS: Final = 256
_SHORT: Final = 256


class Unpacking:
    """Reads messages of one connection."""

    def __init__(self, limits: CodecLimits) -> None:
        self.limits = limits
        self.dropped = 0
        self._most = 3 * limits.max_properties + FREE
        self._unpacker: Any = None
        self._take: Callable[[], Any] = iter(()).__next__
        self._run: Iterator[Any] = iter(())
        self._length = 0
        self._body = memoryview(b"")
        self._begin = self._fed = 0  # where in the body the run begins, and how much that is
        self._cut = False  # whether the buffer is cut out
        self._locations: dict[tuple[str | None, ...], Loc] = {}

    def message(self, body: memoryview) -> WireMsg:
        """Return the message with this body.

        Raises `CodecError` with the offset in the body.
        """
        self._body = body
        self._begin = self._fed = self._length = 0
        try:
            return self._message(body)
        except StopIteration:
            raise self._at(Malformed("the message ends too early"), len(body)) from None
        except CodecError as error:
            raise self._at(error) from None
        except TenError as error:  # a field with a value that it can't have
            raise self._at(Malformed(str(error))) from None
        finally:
            self._body = memoryview(b"")
            self._run = iter(())
            self._take = self._run.__next__

    def _message(self, body: memoryview) -> WireMsg:
        if not body:
            raise StopIteration
        layout = BY_NUMBER.get(body[0])
        if layout is None:
            raise UnknownType(f"there is no type of message 0x{body[0]:x}")
        self._cut = layout.has_buf and len(body) > WHOLE
        if not self._cut:
            self._start(body, 0, whole=True)
            return self._read(layout)
        window = _WINDOW
        while True:
            self._start(body[:window], 0, whole=False)
            try:
                return self._read(layout)
            except StopIteration:
                if self._begin or window >= len(body):
                    raise
                window *= 16

    def _start(self, part: memoryview, begin: int, *, whole: bool) -> None:
        """Take `part` of the body apart."""
        big = len(part) > WHOLE
        unpacker = self._new_unpacker() if big or self._unpacker is None else self._unpacker
        # Back in its place only if it has nothing left inside.
        self._unpacker = None
        self._begin, self._fed = begin, len(part)
        try:
            unpacker.feed(part)
            if whole:
                unpacker.feed(_END)
            run = list(islice(unpacker, self._most + 1))
        except (ValueError, msgpack.UnpackException) as error:
            raise self._located(Malformed(f"not what a message consists of: {error}")) from None
        if len(run) > self._most:
            raise TooManyProperties(f"more than {self.limits.max_properties} properties")
        if whole:
            if not run or run[-1] is not None:
                raise StopIteration
            if not big:
                self._unpacker = unpacker
        if len(part) > self.limits.max_string:
            self._check_strings(run)
        self._length = len(run)
        self._run = iter(run)
        self._take = self._run.__next__

    def _new_unpacker(self) -> Any:
        return msgpack.Unpacker(
            # Containers of msgpack's own don't belong here. Empty ones come through, as tuples.
            use_list=False,
            object_pairs_hook=tuple,
            max_array_len=0,
            max_map_len=0,
            max_ext_len=0,
            max_buffer_size=self.limits.max_message + len(_END),
            read_size=1_024,
        )

    def _check_strings(self, run: list[Any]) -> None:
        most = self.limits.max_string
        for value in run:
            if value.__class__ is str and len(value) > most:
                raise TooLong(f"a string of more than {most} characters")

    # The parts of a message -------------------------------------------------------------------

    def _read(self, layout: Layout) -> WireMsg:
        take = self._take
        take()  # the number, which has been looked at
        text = self._string()
        if text != layout.text:
            raise Malformed(f"message {layout.number} is {layout.text}, not {text!r:.40}")
        msg = layout.blank()
        msg.name = self._string()
        msg._src = self._location()
        self._expect(_ARRAY)
        count = self._counted(take())
        if count:
            msg._dests = (
                (self._location(),)
                if count == 1
                else tuple([self._location() for _ in range(count)])
            )
        self._expect(_OBJECT)
        props = self._items(take(), self.limits.max_depth)
        more = self._own(props) if props else None
        msg._props = props or NO_PROPERTIES
        msg._shared = not props
        cmd_id = ""
        if layout.has_id:
            cmd_id = self._string()
            msg.seq_id = self._string()
        if layout.number == MsgType.START_GRAPH:
            self._start_graph(msg, layout, more)
        else:
            for tag, attribute, make in layout.fields:
                if tag == BUF:
                    msg._buf = self._buffer()
                    take = self._take
                else:
                    if take() != tag:
                        raise Malformed(f"{attribute} of {layout.text} is of another type")
                    setattr(msg, attribute, make(take()))
            if more:
                _add_more(msg, more)
        if take() is not None or self._run.__length_hint__():  # type: ignore[attr-defined]
            raise Malformed("the message goes on after its last field")
        return WireMsg(msg, cmd_id)

    def _own(self, props: dict[str, Any]) -> Any:
        """Remove what can't be a property; return what isn't meant to be one."""
        more = None
        for key in list(props):
            if not key or (key[:3] == FIELDS and key[3:4] in ("", ".", "[")):
                value = props.pop(key)
                if key == FIELDS:
                    more = value
                else:
                    self.dropped += 1
        return more if isinstance(more, dict) else None

    def _start_graph(self, msg: StartGraph, layout: Layout, more: Any) -> None:
        values = {}
        for tag, attribute, make in layout.fields:
            self._expect(tag)
            value = self._take()
            if tag == _ARRAY:
                value = self._value(tag, value, self.limits.max_depth)
            values[attribute] = make(value)
        nodes, connections = values.pop("nodes"), values.pop("connections")
        for attribute, value in values.items():
            setattr(msg, attribute, value)
        exposed = more.get("exposed_messages") if more else None
        graph_form.from_wire(msg, nodes, connections, exposed)

    def _buffer(self) -> bytes | memoryview:
        self._expect(BUF)
        if not self._cut:
            value = self._take()
            if value.__class__ is not bytes:
                raise Malformed("a buffer that isn't bytes")
            return value  # type: ignore[no-any-return]
        body = self._body
        start = self._offset()
        head = body[start] - 0xC4 if start < len(body) else -1  # bin of 8, 16 or 32 bits
        if head not in (0, 1, 2):
            raise Malformed("a buffer that isn't bytes")
        begin = start + 1 + 2**head
        end = begin + int.from_bytes(body[start + 1 : begin])
        if end > len(body):
            raise StopIteration
        self._start(body[end:], end, whole=True)
        view = body[begin:end]
        return view if len(view) > _SHORT else bytes(view)

    def _location(self) -> Loc:
        self._expect(_OBJECT)
        take = self._take
        app = graph = extension = None
        for _ in range(self._counted(take())):
            key = take()
            part = self._string()
            if key == "app":
                app = part
            elif key == "graph":
                graph = part
            elif key == "extension":
                extension = part
            elif key.__class__ is not str:
                raise Malformed("a key that isn't a string")
        parts = (app, graph, extension)
        known = self._locations
        loc = known.get(parts)
        if loc is None:
            loc = Loc(app, graph, extension)
            if all(part is None or len(part) <= _SHORT for part in parts):
                if len(known) >= _KNOWN_LOCATIONS:
                    known.clear()
                known[parts] = loc
        return loc

    # Values -----------------------------------------------------------------------------------

    def _items(self, count: object, left: int) -> dict[str, Any]:
        take = self._take
        made: dict[str, Any] = {}
        for _ in range(self._counted(count)):
            key = take()
            if key.__class__ is not str:
                raise Malformed("a key that isn't a string")
            tag = take()
            value = take()
            if tag == _INT64:
                if value.__class__ is not int or value >= 2**63:
                    raise Malformed("a value of type int64 isn't one")
                made[key] = value
            elif _PLAIN.get(tag) is value.__class__:
                made[key] = value
            else:
                made[key] = self._value(tag, value, left)
        return made

    def _value(self, tag: Any, value: Any, left: int) -> Any:
        """Return a value; of a container, `value` is the count."""
        cls = value.__class__
        if tag == _OBJECT:
            return Object.trusted(self._items(value, self._below(left)))
        if tag == _ARRAY:
            count, below, take = self._counted(value), self._below(left), self._take
            return Array.trusted([self._value(take(), take(), below) for _ in range(count)])
        if tag in _PLAIN:
            if cls is _PLAIN[tag]:
                return value
        elif tag in _SIZED:
            kind = _SIZED[tag]
            if cls is int and kind.low <= value <= kind.high:
                return value if tag == _INT64 else int.__new__(kind, value)
        elif tag == _BOOL:
            if cls is int and value in (0, 1):
                return _BOOLS[value]
        elif tag == _FLOAT32:
            if cls is float:
                return Float32(value)
        elif tag in _NOTHING:
            if value is None:
                return None if tag else INVALID
        else:
            raise UnknownType(f"there is no type of value {tag!r:.40}")
        raise Malformed(f"a value of type {ValueType(tag).name.lower()} isn't one")

    def _below(self, left: int) -> int:
        if not left:
            raise TooDeep(f"containers are nested more than {self.limits.max_depth} deep")
        return left - 1

    def _expect(self, tag: int) -> None:
        if self._take() != tag:
            raise Malformed(f"no {ValueType(tag).name.lower()} where one has to be")

    def _string(self) -> str:
        take = self._take
        if take() != _STR:
            raise Malformed("no string where one has to be")
        text = take()
        if text.__class__ is not str:
            raise Malformed("a value of type string isn't one")
        return text  # type: ignore[no-any-return]

    def _counted(self, count: object) -> int:
        if count.__class__ is not int or not 0 <= count < 2**32:  # type: ignore[operator]
            raise Malformed("a count that isn't one")
        return count  # type: ignore[return-value]

    # Where it went wrong ----------------------------------------------------------------------

    def _at(self, error: CodecError, offset: int | None = None) -> CodecError:
        if error.offset is None:
            taken = self._length - self._run.__length_hint__()  # type: ignore[attr-defined]
            error.offset = self._offset(max(taken - 1, 0)) if offset is None else offset
        return error

    def _located(self, error: CodecError) -> CodecError:
        """The run can't be made: say where it breaks off."""
        error.offset = self._offset(self._most)
        return error

    def _offset(self, taken: int | None = None) -> int:
        """Return where in the body the value begins before which so many of this run were taken."""
        if taken is None:
            taken = self._length - self._run.__length_hint__()  # type: ignore[attr-defined]
        unpacker = self._new_unpacker()
        unpacker.feed(self._body[self._begin : self._begin + self._fed])
        good = 0
        try:
            for _ in range(taken):
                unpacker.skip()
                good = unpacker.tell()
        except (ValueError, msgpack.UnpackException):
            pass
        return self._begin + good


def _add_more(msg: Any, more: dict[str, Any]) -> None:
    """Set the fields that the original doesn't transmit."""
    if isinstance(msg, (AudioFrame, VideoFrame)):
        if "is_eof" in more:
            msg.is_eof = boolean(more["is_eof"])
        if isinstance(msg, AudioFrame) and "channel_layout" in more:
            msg.channel_layout = uint64(more["channel_layout"])
