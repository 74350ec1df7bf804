"""An app with small bounds, a graph that does what tests of them need, and whoever connects."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trustme

import ten_trio as ten
from ten_trio import Cmd, Data, Loc, NetworkSettings
from ten_trio.messages import CmdResult, StartGraph
from ten_trio.network import Address
from ten_trio.network.codec import WireMsg
from ten_trio.network.codecs.msgpack import MsgpackCodec

TCP = "msgpack://127.0.0.1:0"
WS = "ws://127.0.0.1:0"
TLS = "msgpacks://127.0.0.1:0"
WSS = "wss://127.0.0.1:0"
BOUND = 10
"""Seconds within which every test ends, whatever happens."""
SOON = 2
"""Seconds within which a bound of a fraction of a second has to bite."""
BRIEF = 0.15
CA = trustme.CA()

NAMES = ("hello", "wait", "many", "ask", "flood", "big", "stuck", "d")


@ten.addon("limited")
class Limited(ten.Extension):
    """Does whatever the tests need."""

    async def on_cmd(self, env: ten.Env, cmd: Cmd) -> None:
        match cmd.name:
            case "wait":
                await trio.sleep_forever()
            case "ask":
                calls = [env.start_cmd(Cmd("question")) for _ in range(3)]
                result = await calls[-1].result()
                await env.return_result(cmd.ok(detail=result.detail))
            case "flood":
                for number in range(cmd.get_property_int("count")):
                    await env.send_data(Data("d", {"n": number}, buf=bytes(64 * 1024)))
                await env.return_result(cmd.ok())
            case "big":
                await env.return_result(cmd.ok(text="x" * 5_000))
            case _:
                await env.return_result(cmd.ok(detail="hello"))

    async def on_data(self, env: ten.Env, data: Data) -> None:
        if data.name == "stuck":
            await trio.sleep_forever()
        if data.name == "flood":
            for number in range(400):
                await env.send_data(Data("d", {"n": number}, buf=bytes(64 * 1024)))
            return
        await env.send_data(data)


@ten.addon("limited_other")
class Other(ten.Extension):
    """Another addon."""


GRAPH: dict[str, Any] = {
    "nodes": [{"type": "extension", "name": "e", "addon": "limited"}],
    "exposed_messages": [
        {"type": kind, "name": name, "extension": "e"}
        for kind in ("cmd_in", "data_in")
        for name in NAMES
    ]
    + [
        {"type": "cmd_out", "name": "question", "extension": "e"},
        {"type": "data_out", "name": "d", "extension": "e"},
    ],
}
OTHER = ten.Graph.from_json(
    {"nodes": [{"type": "extension", "name": "o", "addon": "limited_other"}]}
)
PREDEFINED = [{"name": "g", "auto_start": False, "graph": GRAPH}]


def server_ssl(*, ask: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    if ask:
        CA.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_ssl(*, certificate: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context()
    CA.configure_trust(context)
    if certificate:
        CA.issue_cert("client").configure_cert(context)
    return context


CLIENT = NetworkSettings(close_timeout=0.2, client_ssl=client_ssl())


@asynccontextmanager
async def serving(
    uri: str = TCP, *, own_loop: bool = False, limits: ten.Limits | None = None, **settings: Any
) -> AsyncGenerator[ten.App]:
    """An app with these settings."""
    section = {
        "one_event_loop_per_engine": own_loop,
        "long_running_mode": True,
        "predefined_graphs": PREDEFINED,
    }
    network = NetworkSettings(
        **{"close_timeout": 0.2, "server_ssl": server_ssl(), "client_ssl": client_ssl(), **settings}
    )
    with trio.fail_after(BOUND):
        async with ten.open_app(
            {"ten": section}, uri=uri, network=network, limits=limits, grace=1
        ) as app:
            yield app


@asynccontextmanager
async def talking(app: ten.App, uri: str = "", **settings: Any) -> AsyncGenerator[ten.Client]:
    """A client with a graph of its own."""
    async with ten.connect(uri or app.uri, network=CLIENT, **settings) as client:
        await client.start_graph("g")
        yield client


async def is_fine(client: ten.Client) -> None:
    """Nothing has happened to it."""
    with trio.fail_after(SOON):
        async with client.messages() as messages:
            assert (await client.send_cmd(Cmd("hello"))).detail == "hello"
            await client.send_data(Data("d", {"n": 5}))
            assert (await messages.receive()).get_property_int("n") == 5


class Raw:
    """A TCP connection with msgpack, that does nothing by itself."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.codec = MsgpackCodec()

    async def send(self, *messages: WireMsg | ten.Msg) -> None:
        wires = [each if isinstance(each, WireMsg) else WireMsg(each) for each in messages]
        await self.stream.send_all(b"".join(self.codec.encode(wires)))

    async def receive(self) -> WireMsg | None:
        """The next message; None at the end."""
        while (found := self.codec.next_message()) is None:
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self.codec.receive_data(data)
        return found

    async def call(self, cmd: Cmd, cmd_id: str = "") -> CmdResult:
        """Send a command; its final result."""
        await self.send(WireMsg(cmd, cmd_id))
        while (wire := await self.receive()) is not None:
            if isinstance(wire.msg, CmdResult) and wire.msg.is_final:
                return wire.msg
        raise AssertionError("closed without an answer")

    async def start(self) -> CmdResult:
        """Start a graph."""
        return await self.call(StartGraph(predefined_graph_name="g", dest=Loc("")))

    async def ended(self) -> None:
        """Until the other end has closed, soon."""
        with trio.fail_after(SOON):
            while await self.receive() is not None:
                pass


@asynccontextmanager
async def raw(app: ten.App) -> AsyncGenerator[Raw]:
    address = Address.parse(app.uri)
    async with await trio.open_tcp_stream("127.0.0.1", address.port or 0) as stream:
        yield Raw(stream)


def network_of(app: ten.App) -> Any:
    return app.network


async def until(condition: Callable[[], object]) -> None:
    """For what has no event of its own; bounded by the test."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.002)


def logged(caplog: pytest.LogCaptureFixture, *words: str) -> list[str]:
    """The lines of the network's log with all of these."""
    texts = [each.getMessage() for each in caplog.records if each.name == "ten_trio.network"]
    return [text for text in texts if all(word in text for word in words)]
