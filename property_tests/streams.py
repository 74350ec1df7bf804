"""Raw clients, which write whatever bytes a test wants in whatever pieces, and a record of what arrives.

`test_migration` uses them, and so do the tests of single cases in tests/network/test_migration.py.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio
import trio_websocket
from trio.testing import wait_all_tasks_blocked

import ten_trio as ten
from ten_trio.messages import CmdResult, Msg, StartGraph
from ten_trio.network import MsgpackCodec, WireMsg

RECORDER = "streams_recorder"
KINDS = ("cmd", "data", "audio_frame")
NAMES = ("one", "two", "held")

GRAPH = {
    "nodes": [{"type": "extension", "name": "rec", "addon": RECORDER, "extension_group": "g"}],
    "exposed_messages": [
        {"type": f"{kind}_in", "name": name, "extension": "rec"} for kind in KINDS for name in NAMES
    ],
}
PROPERTY = {
    "long_running_mode": True,
    "predefined_graphs": [
        {"name": "plain", "auto_start": False, "graph": GRAPH},
        {"name": "single", "auto_start": False, "singleton": True, "graph": GRAPH},
        {
            "name": "bad",
            "auto_start": False,
            "graph": {"nodes": [{"type": "extension", "name": "x", "addon": "streams_nobody"}]},
        },
    ],
}


class Record:
    """What has started where, in order: one for each test, whatever loop it happens in."""

    current: Record

    def __init__(self, waits: Iterable[int] = ()) -> None:
        Record.current = self
        self.waits = frozenset(waits)
        """The messages whose handler waits a little before it goes on."""
        self._items: list[tuple[str, str, int]] = []
        self._here = trio.lowlevel.current_trio_token()
        self._news = trio.Event()

    def note(self, msg: Msg) -> int:
        """One handler has started, in whatever loop."""
        number: int = msg.get_property_int("i")
        self._items.append((msg.get_property_string("tag"), msg.kind, number))
        self._here.run_sync_soon(self._tell, idempotent=True)
        return number

    def _tell(self) -> None:
        event, self._news = self._news, trio.Event()
        event.set()

    async def wait_for(self, number: int, tag: str = "") -> None:
        """Until that message has come."""
        while number not in self.of(tag):
            await self._news.wait()

    async def wait_for_all(self, count: int, tag: str = "") -> None:
        """Until so many have come."""
        while len(self.of(tag)) < count:
            await self._news.wait()

    def of(self, tag: str, *kinds: str) -> list[int]:
        """The messages of one sender, of some kinds or all."""
        return [
            number
            for sender, kind, number in self._items
            if sender == tag and kind in (kinds or KINDS)
        ]


@ten.addon(RECORDER)
class Recorder(ten.Extension):
    """Notes what comes, and answers commands with what they have said."""

    async def _take(self, msg: Msg) -> int:
        number = Record.current.note(msg)
        if number in Record.current.waits:
            for _ in range(1 + number % 3):
                await trio.lowlevel.checkpoint()
        return number

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        number = await self._take(cmd)
        tag = cmd.get_property_string("tag")
        await env.return_result(cmd.ok(i=number, tag=tag))

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await self._take(data)

    async def on_audio_frame(self, env: ten.TenEnv, frame: ten.AudioFrame) -> None:
        await self._take(frame)


def message(kind: str, number: int, tag: str = "", name: str = "one", **route: Any) -> WireMsg:
    """One message of a plain client; commands can be told by their `seq_id`."""
    properties = {"i": number, "tag": tag}
    msg: Msg
    if kind == "cmd":
        msg = ten.Cmd(name, properties, **route)
        msg.seq_id = str(number)
    elif kind == "data":
        msg = ten.Data(name, properties, buf=bytes(number % 7), **route)
    else:
        msg = ten.AudioFrame(name, properties, buf=bytes(number % 5), **route)
    return WireMsg(msg)


def start(graph: str = "plain", *, long_running: bool = False, seq_id: str = "start") -> WireMsg:
    """A start_graph command of a plain client."""
    cmd = StartGraph(long_running_mode=long_running, dest=ten.Loc(""))
    cmd.set_predefined_graph_name(graph)
    cmd.seq_id = seq_id
    return WireMsg(cmd)


def encoded(messages: Iterable[WireMsg]) -> bytes:
    """Their bytes."""
    return b"".join(MsgpackCodec().encode(messages))


def cut(data: bytes, at: Iterable[int]) -> list[bytes]:
    """The pieces between those positions."""
    places = [0, *sorted({place for place in at if 0 < place < len(data)}), len(data)]
    return [data[begin:end] for begin, end in pairwise(places)]


class Raw:
    """The other end of a connection: bytes go out as they are, results come in."""

    def __init__(
        self,
        send: Callable[[bytes], Any],
        receive: Callable[[], Any],
        half_close: Callable[[], Any] | None,
        close: Callable[[], Any],
    ) -> None:
        self.send = send
        self._receive = receive
        self.half_close = half_close
        self.aclose = close
        self._codec = MsgpackCodec()
        self._results: dict[str, CmdResult] = {}
        self.answers: list[tuple[str, int, str]] = []
        """seq_id, status, detail (or what the recorder has answered)."""

    async def next(self) -> CmdResult | None:
        """The next result; None once the other end has closed."""
        while (found := self._codec.next_message()) is None:
            data = await self._receive()
            if not data:
                return None
            self._codec.receive_data(data)
        result = found.msg
        assert isinstance(result, CmdResult), result
        said = result.detail
        if result.is_property_exist("i"):
            said = f"{result.get_property_string('tag')}{result.get_property_int('i')}"
        self.answers.append((result.seq_id, int(result.status), said))
        self._results[result.seq_id] = result
        return result

    async def until(self, seq_id: str) -> CmdResult:
        """Read until that command is answered."""
        while seq_id not in self._results:
            if await self.next() is None:
                raise AssertionError(f"closed before {seq_id} was answered: {self.answers}")
        return self._results[seq_id]

    async def until_closed(self) -> None:
        """Read until the other end has closed."""
        while await self.next() is not None:
            pass

    async def write(self, pieces: Sequence[bytes], pauses: Sequence[int] = ()) -> None:
        """One piece after the other, each after so many checkpoints: -1 is until nothing else runs."""
        for index, piece in enumerate(pieces):
            await self.send(piece)
            pause = pauses[index % len(pauses)] if pauses else 0
            if pause < 0:
                await wait_all_tasks_blocked()
            for _ in range(pause):
                await trio.lowlevel.checkpoint()


@asynccontextmanager
async def raw(uri: str) -> AsyncGenerator[Raw, None]:
    """Connect to an app, below everything that ten_trio knows of connections."""
    parts = urlsplit(uri)
    if parts.scheme == "ws":
        # Our own stream below it: when the other end closes first, trio-websocket leaves its own open.
        tcp = await trio.open_tcp_stream(str(parts.hostname), parts.port or 0)
        async with tcp, trio.open_nursery() as nursery:
            ws = await trio_websocket.wrap_client_stream(nursery, tcp, parts.netloc, "/")

            async def receive() -> bytes:
                try:
                    return await ws.get_message()
                except trio_websocket.ConnectionClosed:
                    return b""

            try:
                yield Raw(ws.send_message, receive, None, ws.aclose)
            finally:
                with trio.move_on_after(1):
                    await ws.aclose()
                nursery.cancel_scope.cancel()
        return
    if parts.scheme == "unix":
        stream = await trio.open_unix_socket(parts.path)
    else:
        stream = await trio.open_tcp_stream(parts.hostname, parts.port)

    async def receive_some() -> bytes:
        try:
            return bytes(await stream.receive_some())
        except trio.BrokenResourceError:
            return b""

    async with stream:
        yield Raw(stream.send_all, receive_some, stream.send_eof, stream.aclose)


def address(transport: str, folder: Path) -> str:
    """Where an app is to listen."""
    return {
        "tcp": "msgpack://127.0.0.1:0",
        "unix": f"unix://{folder}/s.sock",
        "ws": "ws://127.0.0.1:0",
    }[transport]


@asynccontextmanager
async def serving(
    transport: str, folder: Path, own_loop: bool, **options: Any
) -> AsyncGenerator[ten.App, None]:
    """An app that listens, with the graphs `plain`, `single` and one that can't be started."""
    source = {"ten": {**PROPERTY, "one_event_loop_per_engine": own_loop}}
    async with ten.open_app(source, uri=address(transport, folder), **options) as app:
        yield app
