"""A client and an app made from docs/protocol.md alone, with sockets and msgpack and nothing of ours.

What is read is written again and has to be the same bytes: so nothing gets through that the page
doesn't say, neither another order of fields nor a number that is longer than it need be.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
import uuid
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import msgpack

PATIENCE = 10.0

INVALID, NULL, BOOL, INT32, INT64, UINT32, UINT64 = 0, 1, 2, 5, 6, 9, 10
FLOAT32, FLOAT64, STRING, BUF, ARRAY, OBJECT = 11, 12, 13, 14, 15, 16
INTEGERS = range(3, 11)

START_GRAPH, RESULT, CMD, CLOSE_APP, STOP_GRAPH, DATA, VIDEO, AUDIO = 4, 2, 1, 3, 5, 9, 10, 11

LAYOUTS: dict[int, tuple[str, list[tuple[str, int]]]] = {
    CMD: ("cmd", []),
    RESULT: ("result", [("original_cmd_type", INT32), ("status_code", INT32), ("is_final", BOOL)]),
    CLOSE_APP: ("close_app", []),
    START_GRAPH: (
        "start_graph",
        [
            ("long_running_mode", BOOL),
            ("sync_stop_before_deinit", BOOL),
            ("nodes", ARRAY),
            ("connections", ARRAY),
            ("predefined_graph_name", STRING),
            ("graph_json", STRING),
        ],
    ),
    STOP_GRAPH: ("stop_graph", [("graph_id", STRING)]),
    6: ("trigger_life_cycle", [("stage", STRING)]),
    7: ("timer", [("timer_id", UINT32), ("timeout_us", UINT64), ("times", INT32)]),
    8: ("timeout", [("timer_id", UINT32)]),
    DATA: ("data", [("buf", BUF)]),
    VIDEO: (
        "video_frame",
        [
            ("pixel_fmt", INT32),
            ("timestamp", INT64),
            ("width", INT32),
            ("height", INT32),
            ("buf", BUF),
        ],
    ),
    AUDIO: (
        "audio_frame",
        [
            ("timestamp", INT64),
            ("sample_rate", INT32),
            ("bytes_per_sample", INT32),
            ("samples_per_channel", INT32),
            ("number_of_channel", INT32),
            ("data_fmt", INT32),
            ("buf", BUF),
            ("line_size", INT32),
        ],
    ),
}
IS_COMMAND = range(1, 9)
DEFAULTS: dict[int, Any] = {BOOL: False, STRING: "", BUF: b"", ARRAY: [], OBJECT: {}}


class Typed(NamedTuple):
    """A value, with the number of its type."""

    type: int
    value: Any


class NotAsDescribed(Exception):
    """Raised for bytes that the page doesn't allow."""


# Values and messages ------------------------------------------------------------------------------


def typed(value: Any) -> Typed:
    """Give a Python value the type that it has by itself."""
    if isinstance(value, Typed):
        return value
    for kind, number in (
        (bool, BOOL),
        (int, INT64),
        (float, FLOAT64),
        (str, STRING),
        (bytes, BUF),
        (list, ARRAY),
        (dict, OBJECT),
    ):
        if isinstance(value, kind):
            return Typed(number, value)
    raise TypeError(value)


def plain(value: Any) -> Any:
    """Return a value without the numbers of types."""
    if isinstance(value, Typed):
        return plain(value.value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def write(value: Any) -> Iterator[bytes]:
    number, content = typed(value)
    yield msgpack.packb(number)
    if number == ARRAY:
        yield msgpack.packb(len(content))
        for item in content:
            yield from write(item)
    elif number == OBJECT:
        yield msgpack.packb(len(content))
        for key, item in content.items():
            yield msgpack.packb(key)
            yield from write(item)
    elif number == BOOL:
        yield msgpack.packb(int(content))
    else:
        yield msgpack.packb(content, use_single_float=number == FLOAT32)


def read(parts: Iterator[Any]) -> Typed:
    number = next(parts)
    if number == ARRAY:
        return Typed(ARRAY, [read(parts) for _ in range(next(parts))])
    if number == OBJECT:
        return Typed(OBJECT, {next(parts): read(parts) for _ in range(next(parts))})
    value = next(parts)
    if number == BOOL and type(value) is int and value in (0, 1):
        return Typed(BOOL, bool(value))
    if number in (INVALID, NULL) and value is None:
        return Typed(number, None)
    kinds: dict[int, type] = {FLOAT32: float, FLOAT64: float, STRING: str, BUF: bytes}
    kind = int if number in INTEGERS else kinds.get(number)
    if kind is None or type(value) is not kind:
        raise NotAsDescribed(f"value {value!r} of type {number!r}")
    return Typed(number, value)


class Message(dict[str, Any]):
    """The fields of a message by name, as plain values, and its number.

    `types`: of what was read, all with the numbers of their types.
    """

    def __init__(self, number: int, fields: dict[str, Any], types: Any = None) -> None:
        super().__init__(fields)
        self.number = number
        self.types = types

    @property
    def properties(self) -> dict[str, Any]:
        found: dict[str, Any] = self["properties"]
        return found


def fields_of(number: int) -> list[tuple[str, int]]:
    common = [
        ("type", STRING),
        ("name", STRING),
        ("src", OBJECT),
        ("dest", ARRAY),
        ("properties", OBJECT),
    ]
    if number in IS_COMMAND:
        common += [("cmd_id", STRING), ("seq_id", STRING)]
    return common + LAYOUTS[number][1]


def make(number: int, name: str = "", **fields: Any) -> Message:
    """A message with its defaults."""
    type_name = LAYOUTS[number][0]
    values: dict[str, Any] = {"type": type_name, "name": name or f"ten:{type_name}"}
    for field, kind in fields_of(number)[2:]:
        values[field] = fields.pop(field, DEFAULTS.get(kind, 0))
    assert not fields, fields
    return Message(number, values)


def encode(message: Message) -> bytes:
    body = msgpack.packb(message.number)
    for field, kind in fields_of(message.number):
        value = message[field]
        body += b"".join(write(value if isinstance(value, Typed) else Typed(kind, value)))
    written: bytes = msgpack.packb(msgpack.ExtType(1, body))
    return written


def decode(body: bytes) -> Message:
    unpacker = msgpack.Unpacker(max_buffer_size=2**31 - 1)
    unpacker.feed(body)
    parts = iter(unpacker)
    number = next(parts)
    types = {}
    for field, kind in fields_of(number):
        types[field] = value = read(parts)
        if value.type != kind:
            raise NotAsDescribed(f"{field} is of type {value.type}, not {kind}")
    if next(parts, None) is not None:
        raise NotAsDescribed("more than the fields")
    if types["type"].value != LAYOUTS[number][0]:
        raise NotAsDescribed(f"{types['type'].value} has not the number {number}")
    for place in (types["src"], *types["dest"].value):
        if place.type != OBJECT or list(place.value) != [
            key for key in ("app", "graph", "extension") if key in place.value
        ]:
            raise NotAsDescribed(f"{place} is no location")
    message = Message(number, plain(dict(types)), types)
    exact = Message(number, dict(types))
    if encode(exact) != msgpack.packb(msgpack.ExtType(1, body)):
        raise NotAsDescribed(f"{message} is written in another way than it should be")
    return message


class Decoder:
    """Messages from the bytes of a connection, whatever pieces they come in."""

    def __init__(self) -> None:
        self._unpacker = msgpack.Unpacker(max_buffer_size=2**31 - 1)

    def feed(self, data: bytes) -> list[Message]:
        self._unpacker.feed(data)
        messages = []
        for found in self._unpacker:
            if not isinstance(found, msgpack.ExtType) or found.code != 1:
                raise NotAsDescribed(f"{found!r} instead of a message")
            messages.append(decode(found.data))
        return messages


# Connections --------------------------------------------------------------------------------------


class Connection:
    """A TCP connection with messages."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._socket.settimeout(PATIENCE)
        self._decoder = Decoder()
        self._read: deque[Message] = deque()
        self.seen: list[Message] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def send(self, *messages: Message) -> None:
        self._socket.sendall(b"".join(map(encode, messages)))

    def send_bytes(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> Message | None:
        """The next message; None when the other end has closed."""
        while not self._read:
            try:
                data = self._socket.recv(65_536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._read += self._decoder.feed(data)
        self.seen.append(self._read[0])
        return self._read.popleft()

    def close(self) -> None:
        self._socket.close()

    def finish(self) -> None:
        """Close in order, as the page wants it: the own direction first."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        while self.receive() is not None:
            pass
        self.close()


def connect(uri: str) -> Connection:
    """Connect to msgpack://HOST:PORT."""
    host, _, port = uri.removeprefix("msgpack://").rstrip("/").partition(":")
    return Connection(socket.create_connection((host, int(port)), PATIENCE))


class Client:
    """A plain client: empty ids, and results by `seq_id`."""

    def __init__(self, uri: str, token: str = "") -> None:
        self.connection = connect(uri)
        self.graph_id = ""
        self.other: deque[Message] = deque()
        """What came while something else was waited for."""
        self._numbers = itertools.count(1)
        self._token = token

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.connection.finish()

    def send(self, message: Message) -> str:
        """Send any message; a command gets a seq_id, which is returned."""
        if self._token:
            message["properties"] = {**message.properties, "ten_trio_token": self._token}
            self._token = ""
        if message.number in IS_COMMAND and not message["seq_id"]:
            message["seq_id"] = f"number {next(self._numbers)}"
        self.connection.send(message)
        return str(message.get("seq_id", ""))

    def results(self, seq_id: str) -> list[Message]:
        """All results of a command, the final one last."""
        found = []
        while True:
            message = self._next(seq_id)
            found.append(message)
            if message["is_final"]:
                return found

    def _next(self, seq_id: str) -> Message:
        for kept in self.other:
            if kept.number == RESULT and kept["seq_id"] == seq_id:
                self.other.remove(kept)
                return kept
        while (message := self.connection.receive()) is not None:
            if message.number == RESULT and message["seq_id"] == seq_id:
                return message
            self.other.append(message)
        raise ConnectionError("closed, and the command isn't answered")

    def call(self, message: Message) -> Message:
        """Send a command; its final result."""
        return self.results(self.send(message))[-1]

    def receive(self) -> Message | None:
        """The next message that isn't a result somebody waits for; None at the end."""
        return self.other.popleft() if self.other else self.connection.receive()

    def start_graph(self, **fields: Any) -> Message:
        result = self.call(make(START_GRAPH, dest=[{"app": ""}], **fields))
        self.graph_id = result.properties.get("graph_id", "")
        return result

    def answer(self, command: Message, status: int = 0, **properties: Any) -> None:
        self.connection.send(answer_to(command, status, True, properties))


def answer_to(
    command: Message, status: int, is_final: bool, properties: dict[str, Any], src: Any = None
) -> Message:
    return make(
        RESULT,
        cmd_id=command["cmd_id"],
        seq_id=command["seq_id"],
        original_cmd_type=command.number,
        status_code=status,
        is_final=is_final,
        properties=properties,
        src=src or {},
        dest=[command["src"]] if src else [],
    )


class App:
    """An app as the original is one: it has a URI, its commands have ids, it takes parts of graphs."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._listener = socket.create_server((host, 0))
        self._listener.settimeout(PATIENCE)
        self.uri = f"msgpack://{host}:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self._listener.close()

    def accept(self) -> Connection:
        return Connection(self._listener.accept()[0])

    def place(self, graph_id: str, extension: str = "") -> dict[str, str]:
        """A location in this app."""
        here = {"app": self.uri, "graph": graph_id}
        return {**here, "extension": extension} if extension else here

    def start_of(
        self, uri: str, graph_id: str, nodes: list[Any], connections: list[Any], **properties: Any
    ) -> Message:
        """The start_graph for the part of a graph that is in the app at `uri`."""
        return make(
            START_GRAPH,
            src=self.place(graph_id),
            dest=[{"app": uri, "graph": graph_id}],
            cmd_id=str(uuid.uuid4()),
            nodes=nodes,
            connections=connections,
            properties=properties,
        )

    def cmd(
        self, name: str, graph_id: str, sender: str, to: dict[str, str], **props: Any
    ) -> Message:
        return make(
            CMD,
            name,
            src=self.place(graph_id, sender),
            dest=[to],
            cmd_id=str(uuid.uuid4()),
            properties=props,
        )

    def answer(self, command: Message, status: int = 0, **properties: Any) -> Message:
        """The final result of a command that has come to an extension here, or to the app."""
        return answer_to(command, status, True, properties, src=command["dest"][0])


def is_extended(message: Message) -> bool:
    """Whether there is something in a message that is only for those who are known to be a ten_trio."""

    def within(value: Typed) -> bool:
        if value.type in (INVALID, NULL):
            return True
        if value.type == ARRAY:
            return any(map(within, value.value))
        return value.type == OBJECT and any(map(within, value.value.values()))

    return "ten" in message.properties or any(map(within, message.types.values()))
