"""From bytes to messages: msgpack takes the body apart into a flat run of values, and we read that.

The run is bounded before it is made, containers of msgpack itself don't occur in it, and nothing is
allocated because of a count that a peer claims. The buffer of a big message is not taken apart: the
message gets a view of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

import msgpack

from ...errors import TenError
from ...messages import (
    INVALID,
    Array,
    AudioFrame,
    Cmd,
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
from ...messages.fields import boolean, string, uint64
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
from .known import END, Head, Known
from .layout import BUF, BY_NUMBER, Layout, seconds
from .packing import FREE
from .plain import plain_message, set_fields
from .received import BIG

_WINDOW: Final = 4_096

_STR: Final = ValueType.STRING.value
_ARRAY, _OBJECT = ValueType.ARRAY.value, ValueType.OBJECT.value
_INT64, _FLOAT64 = ValueType.INT64.value, ValueType.FLOAT64.value
_BOOL, _FLOAT32 = ValueType.BOOL.value, ValueType.FLOAT32.value
_NOTHING: Final = (ValueType.NULL.value, ValueType.INVALID.value)
_PLAIN: Final = {_STR: str, _FLOAT64: float, BUF: bytes}
_SIZED: Final[dict[int, type[SizedInt]]] = {
    cls.kind.value: cls for cls in (Int8, Int16, Int32, SizedInt, UInt8, UInt16, UInt32, UInt64)
}
_START_GRAPH: Final = MsgType.START_GRAPH.value
_BOOLS: Final = (False, True)
_KNOWN_LOCATIONS: Final = 256
_SPARE_UNPACKERS: Final = 4
_SPARE: Final[dict[int, deque[Any]]] = {}
"""Unpackers that nobody uses just now, by the size of message that they are for; of all threads."""
_SHORT: Final = 256
_OWN: Final = ("", FIELDS)  # what the names begin with that no property may have
_KNOWN_HEADS: Final = 8
_LONGEST_HEAD: Final = 1_024
_EVERY: Final = 4  # see _remember


class Unpacking:
    """Reads messages of one connection."""

    def __init__(self, limits: CodecLimits) -> None:
        self.limits = limits
        self.dropped = 0
        self._most = 3 * limits.max_properties + FREE
        self._longest = limits.max_string
        # Shared, since each takes 40 KiB, which most connections need for a moment now and then.
        self._spare = _SPARE.setdefault(limits.max_message, deque())
        self._run: Iterator[Any] = iter(())
        self._length = 0
        self._body: bytes | memoryview = b""
        self._begin = self._fed = 0  # where in the body the run begins, and how much that is
        self._cut = False  # whether the buffer is cut out
        self._locations: dict[tuple[str | None, ...], Loc] = {}
        self._heads: deque[Known] = deque(maxlen=_KNOWN_HEADS)
        self._unknown = 0

    def message(self, body: bytes | memoryview) -> WireMsg:
        """Return the message with this body.

        Raises `CodecError` with the offset in the body.
        """
        known = run = None
        if body.__class__ is bytes:
            for known in self._heads:
                if body.startswith(known.prefix):
                    run = known.run(body)
                    if run is not None and len(body) <= self._longest:
                        found = plain_message(known.layout, known.head, run)
                        if found is not None:
                            return found
                    break
            else:
                known = None
        return self._message(body, known, run)

    def _message(
        self, body: bytes | memoryview, known: Known | None, run: Sequence[Any] | None
    ) -> WireMsg:
        """Read a message that may be anything; perhaps known is how it begins, and the run of what follows."""
        self._body = body
        self._begin = self._fed = self._length = 0
        try:
            if body.__class__ is not bytes:
                return self._big(memoryview(body))
            if known is None:
                return self._unlike(body)
            begin = len(known.prefix)
            if run is None:
                self._start(body[begin:], begin, whole=True)
                known.count(self._length)
            else:
                self._begin, self._fed = begin, len(body) - begin
                self._use(run)
            return self._rest(known.layout, known.head)
        except StopIteration:
            raise self._at(Malformed("the message ends too early"), len(body)) from None
        except CodecError as error:
            raise self._at(error) from None
        except TenError as error:  # a field with a value that it can't have
            raise self._at(Malformed(str(error))) from None
        finally:
            self._body = b""

    def _unlike(self, body: bytes) -> WireMsg:
        layout = self._layout(body)
        self._start(body, 0, whole=True)
        head = self._head(layout)
        self._remember(layout, head)
        return self._rest(layout, head)

    def _big(self, body: memoryview) -> WireMsg:
        layout = self._layout(body)
        self._cut = layout.has_buf
        if not layout.has_buf:
            self._start(body, 0, whole=True)
            return self._rest(layout, self._head(layout))
        window = _WINDOW
        try:
            while True:
                self._start(body[:window], 0, whole=False)
                try:
                    return self._rest(layout, self._head(layout))
                except StopIteration:
                    if self._begin or window >= len(body):
                        raise
                    window *= 16
        finally:
            self._cut = False

    def _layout(self, body: bytes | memoryview) -> Layout:
        if not body:
            raise StopIteration
        layout = BY_NUMBER.get(body[0])
        if layout is None:
            raise UnknownType(f"there is no type of message 0x{body[0]:x}")
        return layout

    def _remember(self, layout: Layout, head: Head) -> None:
        """Most messages begin like one shortly before. Finding out where the head ends costs as much
        as reading some messages, so only every fourth one that is new is remembered."""
        self._unknown += 1
        if self._unknown % _EVERY == 0:
            length = self._offset()
            if length <= _LONGEST_HEAD:
                self._heads.appendleft(Known(bytes(self._body[:length]), layout, head))

    def _start(self, part: bytes | memoryview, begin: int, *, whole: bool) -> None:
        """Take `part` of the body apart."""
        spare = self._spare
        try:
            unpacker = spare.pop() if len(part) < BIG else self._new_unpacker()
        except IndexError:  # asking before would not be safe: other threads take from it, too
            unpacker = self._new_unpacker()
        self._begin, self._fed = begin, len(part)
        try:
            if whole and part.__class__ is bytes:
                unpacker.feed(part + END)
            else:
                unpacker.feed(part)
                if whole:
                    unpacker.feed(END)
            run = list(islice(unpacker, self._most + 1))
        except (ValueError, msgpack.UnpackException) as error:
            raise self._located(Malformed(f"not what a message consists of: {error}")) from None
        if len(run) > self._most:
            raise TooManyProperties(f"more than {self.limits.max_properties} properties")
        if whole:
            if not run or run[-1] is not None:
                raise StopIteration
            if len(part) < BIG and len(spare) < _SPARE_UNPACKERS:
                # It has nothing left inside, and hasn't grown.
                spare.append(unpacker)
        self._use(run)

    def _use(self, run: Sequence[Any]) -> None:
        if self._fed > self.limits.max_string:
            self._check_strings(run)
        self._length = len(run)
        self._run = iter(run)

    def _new_unpacker(self) -> Any:
        return msgpack.Unpacker(
            # Containers of msgpack's own don't belong here. Empty ones come through, as tuples.
            use_list=False,
            object_pairs_hook=tuple,
            max_array_len=0,
            max_map_len=0,
            max_ext_len=0,
            max_buffer_size=self.limits.max_message + len(END),
            read_size=1_024,
        )

    def _check_strings(self, run: Sequence[Any]) -> None:
        most = self.limits.max_string
        for value in run:
            if value.__class__ is str and len(value) > most:
                raise TooLong(f"a string of more than {most} characters")

    # The parts of a message -------------------------------------------------------------------

    def _head(self, layout: Layout) -> Head:
        take = self._take
        take()  # the number, which has been looked at
        text = self._string()
        if text != layout.text:
            raise Malformed(f"message {layout.number} is {layout.text}, not {text!r:.40}")
        name = self._string()
        src = self._location()
        self._expect(_ARRAY)
        return name, src, tuple([self._location() for _ in range(self._counted(take()))])

    def _rest(self, layout: Layout, head: Head) -> WireMsg:
        msg = layout.blank()
        msg.name, msg._src, msg._dests = head
        run = self._run
        if next(run) != _OBJECT:
            raise _missing(_OBJECT)
        props = self._items(next(run), self.limits.max_depth)
        more = None
        if props:
            if "" in props or FIELDS in " ".join(props):
                more = self._own(props)
            msg._props = props or NO_PROPERTIES
            msg._shared = not props
        if layout.number == _START_GRAPH:
            cmd_id = self._start_graph(msg, layout, more)
        else:
            cmd_id = self._fields(msg, layout)
            if more:
                _add_more(msg, more)
        return WireMsg(msg, cmd_id)

    def _fields(self, msg: Any, layout: Layout) -> str:
        """Set what follows the properties, up to the end of the message; return the id."""
        if not self._cut:
            rest = tuple(self._run)
            if len(rest) == layout.length:
                found = set_fields(msg, layout, rest, 0)
                if found is not None:
                    return found
            # Go through it slowly, to say where it goes wrong.
            self._run = iter(rest)
        cmd_id = self._ids(msg) if layout.has_id else ""
        for tag, attribute, make in layout.fields:
            self._expect(tag)
            setattr(
                msg, attribute, self._view() if tag == BUF and self._cut else make(self._take())
            )
        self._end()
        return cmd_id

    def _ids(self, msg: Any) -> str:
        cmd_id = self._string()
        msg.seq_id = self._string()
        return cmd_id

    def _end(self) -> None:
        if self._take() is not None or self._run.__length_hint__():  # type: ignore[attr-defined]
            raise Malformed("the message goes on after its last field")

    def _own(self, props: dict[str, Any]) -> Any:
        """Remove what can't be a property; return what isn't meant to be one."""
        more = None
        for key in [key for key in props if key[:3] in _OWN]:
            if not key or key[3:4] in ("", ".", "["):
                value = props.pop(key)
                if key == FIELDS:
                    more = value
                else:
                    self.dropped += 1
        return more if isinstance(more, dict) else None

    def _start_graph(self, msg: StartGraph, layout: Layout, more: Any) -> str:
        cmd_id = self._ids(msg)
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
        self._end()
        exposed = more.get("exposed_messages") if more else None
        graph_form.from_wire(msg, nodes, connections, exposed)
        return cmd_id

    def _view(self) -> bytes | memoryview:
        """Cut the buffer out, and go on after it."""
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
        run = self._run
        app = graph = extension = None
        count = self._counted(self._take())
        for key, tag, part in islice(zip(run, run, run, strict=False), count):
            if tag != _STR or part.__class__ is not str:
                raise Malformed("a part of a location that isn't a string")
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
        run = self._run
        made: dict[str, Any] = {}
        if count.__class__ is not int or not 0 <= count < 2**32:
            raise Malformed("a count that isn't one")
        # If there are fewer, whatever has to come next will be missing too.
        for key, tag, value in islice(zip(run, run, run), count):  # noqa: B905
            if key.__class__ is not str:
                raise Malformed("a key that isn't a string")
            cls = value.__class__
            if cls is str:
                made[key] = value if tag == _STR else self._value(tag, value, left)
            elif cls is int and tag == _INT64 and value < 2**63:
                made[key] = value
            elif cls is int and tag == _BOOL and 0 <= value <= 1:
                made[key] = value == 1
            elif cls is float and tag == _FLOAT64:
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
            run, below = self._run, self._below(left)
            pairs = islice(zip(run, run, strict=False), self._counted(value))
            return Array.trusted([self._value(tag, value, below) for tag, value in pairs])
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

    def _take(self) -> Any:
        return next(self._run)

    def _expect(self, tag: int) -> None:
        if self._take() != tag:
            raise _missing(tag)

    def _string(self) -> str:
        take = self._take
        if take() != _STR:
            raise Malformed("no string where one has to be")
        text = take()
        if text.__class__ is not str:
            raise Malformed("a value of type string isn't one")
        return text

    def _counted(self, count: object) -> int:
        if count.__class__ is not int or not 0 <= count < 2**32:
            raise Malformed("a count that isn't one")
        return count

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


def _missing(tag: int) -> Malformed:
    return Malformed(f"no {ValueType(tag).name.lower()} where one has to be")


def _add_more(msg: Any, more: dict[str, Any]) -> None:
    """Set the fields that the original doesn't transmit."""
    if "turn" in more:
        msg._turn = string(more["turn"])
    if "time_left" in more and isinstance(msg, Cmd):
        msg._left = seconds(more["time_left"])
    if isinstance(msg, (AudioFrame, VideoFrame)):
        if "is_eof" in more:
            msg.is_eof = boolean(more["is_eof"])
        if isinstance(msg, AudioFrame) and "channel_layout" in more:
            msg.channel_layout = uint64(more["channel_layout"])
