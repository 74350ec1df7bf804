"""Messages as JSON, for people and browsers: the properties, and under `ten` everything else.

Over a stream every message is a line; with `framed`, every piece of data received is one message, as
the text frames of a WebSocket are. Widths of numbers don't survive, nor do bytes among the
properties: whoever needs these speaks msgpack.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import deque
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any, Final, NoReturn

from ...errors import TenError
from ...graphs import Graph
from ...graphs.loading import write_graph
from ...messages import INVALID, Cmd, Loc, Msg, StartGraph
from ...messages.command import CREATED
from ...messages.fields import string
from ...messages.json_form import CLASSES
from ...messages.location import as_dests
from ...messages.properties import FIELDS, property_dict
from ...messages.values import shown
from ..codec import (
    Buffer,
    CodecError,
    CodecLimits,
    Malformed,
    TooDeep,
    TooLong,
    TooManyProperties,
    UnknownType,
    WireMsg,
)
from .graph_form import json_text
from .layout import BY_CLASS, seconds, turn_id
from .received import Received

GRAPH_KEYS: Final = ("nodes", "connections", "exposed_messages", "exposed_properties")
"""What a `start_graph` may have under `ten` in place of `graph_json`."""

_STRINGS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)
_SEPARATORS: Final = (b",", b"[", b"{")


class JsonCodec:
    """One connection's codec.

    Null stands for what JSON can't express: a buffer or an infinite number among the properties, an
    index that nobody has set. Each is counted in `dropped`.
    """

    dropped: int

    def __init__(self, limits: CodecLimits | None = None, *, framed: bool = False) -> None:
        self.limits = limits or CodecLimits()
        self.framed = framed
        self.dropped = 0
        self._received = Received()
        self._frames: deque[int] = deque()
        self._searched = 0
        self._error: CodecError | None = None

    # Reading ----------------------------------------------------------------------------------

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Store what has been read, if `framed` one whole message."""
        before = self._received.size
        self._received.put(data)
        if self.framed:
            self._frames.append(self._received.size - before)

    def next_message(self) -> WireMsg | None:
        """Return the next message, or None if the rest of it has yet to come.

        Raises `CodecError`, and then again at every further call. Empty lines are skipped.
        """
        if self._error is not None:
            raise self._error
        begin = self._received.offset
        try:
            while (size := self._size()) is not None:
                begin = self._received.offset
                text = bytes(self._received.take(size)).strip()
                if text:
                    return self._read(text)
        except CodecError as error:
            error.offset = begin + (error.offset or 0)
            self._error = error
            raise
        return None

    def _size(self) -> int | None:
        """Return the size of the next line or frame, if it is complete."""
        if self.framed:
            size = self._frames.popleft() if self._frames else None
        else:
            found = self._received.find(b"\n", self._searched)
            self._searched = 0 if found >= 0 else self._received.size
            size = found + 1 if found >= 0 else None
        if (self._received.size if size is None else size) > self.limits.max_message:
            raise TooLong(f"a message of more than {self.limits.max_message} bytes")
        return size

    def _read(self, text: bytes) -> WireMsg:
        return self.message(self.parse(text))

    def parse(self, text: bytes) -> Any:
        """Return what a text in JSON says, if it is within the limits. Raises `CodecError`."""
        limits = self.limits
        if sum(map(text.count, _SEPARATORS)) > limits.max_properties:
            # Perhaps they are in strings. What is outside bounds what parsing will allocate.
            bare = _STRINGS.sub(b"", text)
            if sum(map(bare.count, _SEPARATORS)) > limits.max_properties + 100:
                raise TooManyProperties(f"more than {limits.max_properties} properties")
        try:
            read = json.loads(str(text, "utf-8"), parse_constant=_no_constant)
        except json.JSONDecodeError as error:
            wrong = Malformed(f"not JSON: {error.msg}")
            # The position counts characters.
            wrong.offset = len(error.doc[: error.pos].encode("utf-8", "replace"))
            raise wrong from None
        except ValueError as error:
            raise Malformed(f"not JSON: {error}") from None
        except RecursionError:
            raise TooDeep(_too_deep(limits)) from None
        if len(text) > limits.max_string:
            # In base64 a buffer is a string as well; how long it may be, the whole message says.
            ten = read.get(FIELDS) if isinstance(read, dict) else None
            buffers = [ten.get("buf"), ten.get("data")] if isinstance(ten, dict) else ()
            self._check(read, limits.max_depth + 2, True, buffers)
        else:
            self._check(read, limits.max_depth + 2, False)
        return read

    def message(self, read: object) -> WireMsg:
        """Return the message that `read`, which `parse` has returned, stands for. Raises `CodecError`."""
        try:
            return _message(read)
        except CodecError:
            raise
        except TenError as error:
            raise Malformed(str(error)) from None

    def _check(self, value: Any, left: int, long: bool, buffers: Iterable[object] = ()) -> None:
        if isinstance(value, str):
            if long and len(value) > self.limits.max_string:
                raise TooLong(f"a string of more than {self.limits.max_string} characters")
        elif isinstance(value, (dict, list)):
            if not left:
                raise TooDeep(_too_deep(self.limits))
            for item in value.values() if isinstance(value, dict) else value:
                if not any(item is buffer for buffer in buffers):
                    self._check(item, left - 1, long, buffers)

    @property
    def trailing_data(self) -> bytes:
        """What has been received and isn't part of a message returned so far."""
        return self._received.all()

    # Writing ----------------------------------------------------------------------------------

    def encode(self, messages: Iterable[WireMsg]) -> list[Buffer]:
        """Return one line per message, or if `framed` one text each.

        Raises `CodecError`, and `GraphError` for a graph with Python objects as addons.
        """
        end = b"" if self.framed else b"\n"
        written: list[Buffer] = []
        for index, (msg, cmd_id) in enumerate(messages):
            try:
                written.append(self._write(msg, cmd_id) + end)
            except CodecError as error:
                error.index = index
                raise
        return written if self.framed or not written else [b"".join(written)]

    def _write(self, msg: Msg, cmd_id: str) -> bytes:
        if type(msg) not in BY_CLASS:
            raise Malformed(f"{msg!r} is nothing that can be sent to another process")
        ten: dict[str, Any] = {
            "type": msg.type.text,
            "name": msg.name,
            "src": msg._src.to_dict(),
            "dest": [dest.to_dict() for dest in msg._dests],
        }
        for name, field in msg._fields.items():
            value = field.show(getattr(msg, field.attribute))
            if field.is_buffer:
                value = base64.b64encode(value).decode()
            ten[name] = value
        if "cmd_id" in msg._fields:
            ten["cmd_id"] = cmd_id
        if msg._turn:
            ten["turn"] = turn_id(msg)
        if isinstance(msg, Cmd) and msg._left is not None:
            ten["time_left"] = msg._left
        if isinstance(msg, StartGraph) and isinstance(msg.graph, Graph):
            graph = write_graph(msg.graph)
            ten |= {key: self._plain(graph[key], 0) for key in GRAPH_KEYS if key in graph}
        whole = {FIELDS: ten, **self._plain(msg._props, 0)}
        text = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
        written = text.encode("utf-8", "replace")
        if len(written) >= self.limits.max_message:
            raise TooLong(f"{msg!r} takes more than {self.limits.max_message} bytes")
        return written

    def _plain(self, value: Any, depth: int) -> Any:
        if isinstance(value, (dict, list)):
            if depth > self.limits.max_depth:
                raise TooDeep(_too_deep(self.limits))
            if isinstance(value, dict):
                return {key: self._plain(item, depth + 1) for key, item in value.items()}
            return [self._plain(item, depth + 1) for item in value]
        if isinstance(value, (bytes, float)) or value is INVALID:
            if isinstance(value, float) and isfinite(value):
                return value
            self.dropped += 1
            return None
        return value


def _too_deep(limits: CodecLimits) -> str:
    return f"containers are nested more than {limits.max_depth} deep"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"JSON has no {name}")


def _message(read: object) -> WireMsg:
    ten = read.get(FIELDS) if isinstance(read, dict) else None
    if not isinstance(read, dict) or not isinstance(ten, dict):
        raise Malformed(f"a message is a JSON object with an object {FIELDS!r}")
    msg = _class(ten)()
    cmd_id = ""
    graph = {}
    for key, value in ten.items():
        if key == "name":
            msg.set_name(_runtime_name(string(value)) if isinstance(msg, Cmd) else value)
        elif key == "src":
            msg._src = _location(value)
        elif key == "dest":
            if not isinstance(value, list):
                raise Malformed(f"ten.dest is a list, not {shown(value)}")
            msg._dests = as_dests(map(_location, value))
        elif key == "turn":
            msg._turn = string(value)
        elif key == "time_left" and isinstance(msg, Cmd):
            msg._left = seconds(value)
        elif key == "cmd_id" and key in msg._fields:
            cmd_id = string(value)
        elif key in msg._fields:
            field = msg._fields[key]
            content = _bytes(key, value) if field.is_buffer else value
            setattr(msg, field.attribute, field.check(content))
        elif isinstance(msg, StartGraph) and key in GRAPH_KEYS:
            graph[key] = value
        elif key != "type":
            raise Malformed(f"{type(msg).__name__} has no field {key!r}")
    if graph:
        msg.graph_json = json_text(graph)
    msg._props = property_dict({key: value for key, value in read.items() if key != FIELDS})
    msg._shared = False
    return WireMsg(msg, cmd_id)


def _class(ten: Mapping[str, Any]) -> type[Any]:
    """Return the class of a message. A command to the runtime is known by its name as well."""
    kind = ten.get("type", "cmd")
    if kind == "cmd":
        name = ten.get("name")
        special = CREATED.get(_runtime_name(name)) if isinstance(name, str) else None
        return special or Cmd
    found = CLASSES.get(kind) if isinstance(kind, str) else None
    if found is None:
        raise UnknownType(f"there is no type of message {shown(kind)}")
    return found


def _runtime_name(name: str) -> str:
    """Write `__start_graph__` and its like, as some programs still do, with the prefix `ten:`."""
    if name[:2] == name[-2:] == "__" and f"ten:{name[2:-2]}" in CREATED:
        return f"ten:{name[2:-2]}"
    return name


def _location(parts: object) -> Loc:
    if not isinstance(parts, Mapping):
        raise Malformed(f"a location is an object, not {shown(parts)}")
    texts = (parts.get(key) for key in ("app", "graph", "extension"))
    return Loc(*(None if text is None else string(text) for text in texts))


def _bytes(name: str, text: object) -> bytes:
    try:
        return base64.b64decode(string(text), validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(f"ten.{name} is no base64") from None
