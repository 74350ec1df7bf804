"""Several apps in this process on loopback ports, graphs that span them, and a peer without our runtime."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import trio

import ten_trio as ten
from ten_trio.messages import StartGraph
from ten_trio.network import NetworkSettings
from ten_trio.network.codec import WireMsg
from ten_trio.network.codecs.msgpack import MsgpackCodec
from ten_trio.network.protocols import WireProtocol
from ten_trio.runtime.app import App

LOOPBACK = "msgpack://127.0.0.1:0"
QUICK = NetworkSettings(
    connect_timeout=2,
    connect_retries=0,
    retry_delay=0.01,
    reconnect_delay=0.01,
    reconnect_delay_max=0.05,
    close_timeout=0.2,
    send_timeout=2,
)
"""Nothing here waits for long."""
BOUND = 10
"""Seconds within which every test ends."""

Addons = Mapping[str, Callable[..., Any]]


@asynccontextmanager
async def opened_apps(
    count: int,
    addons: Addons,
    *,
    uris: Iterable[str] = (),
    own_loop: bool = False,
    network: NetworkSettings = QUICK,
    grace: float = 2,
    protocols: Iterable[WireProtocol] = (),
    **limits: Any,
) -> AsyncGenerator[list[App], None]:
    """So many apps that all know `addons`, in the order of their URIs, and a bound for all of it."""
    wanted = [*uris] or [LOOPBACK] * count
    source = {"ten": {"one_event_loop_per_engine": own_loop, "long_running_mode": False}}
    with trio.fail_after(BOUND):
        async with AsyncExitStack() as stack:
            apps = [
                await stack.enter_async_context(
                    ten.open_app(
                        source,
                        uri=uri,
                        network=network,
                        protocols=protocols,
                        limits=ten.Limits(grace=grace, cleanup=0.5, **limits),
                    )
                )
                for uri in wanted
            ]
            for app in apps:
                for name, factory in addons.items():
                    app.addons.register(name, factory)
            try:
                yield sorted(apps, key=lambda app: app.uri)
            finally:
                close_scripted()


class Spread:
    """A graph whose nodes are in several apps."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.connections: list[dict[str, Any]] = []
        self.exposed: list[dict[str, Any]] = []

    def node(self, name: str, app: App | str, addon: str = "", **property: Any) -> None:
        """One extension; the addon is called like the node if nothing else is said."""
        node = {"type": "extension", "name": name, "addon": addon or name, "app": _uri(app)}
        self.nodes.append({**node, "extension_group": "g", "property": property})

    def connect(
        self, source: str, *dests: str, kinds: Iterable[str] = ("cmd",), name: str, **more: Any
    ) -> None:
        """An edge for messages of that name; `convert` and `result` are lists of rules."""
        conversion = {}
        if more:
            rules = {"type": "per_property", "keep_original": True, "rules": more["convert"]}
            if "result" in more:
                rules["result"] = {
                    "type": "per_property",
                    "keep_original": True,
                    "rules": more["result"],
                }
            conversion = {"msg_conversion": rules}
        ends = [{"app": self._app(dest), "extension": dest, **conversion} for dest in dests]
        section = {"app": self._app(source), "extension": source}
        self.connections.append(
            {**section, **{kind: [{"name": name, "dest": ends}] for kind in kinds}}
        )

    def expose(self, type: str, name: str, node: str) -> None:
        """An exposed message."""
        self.exposed.append({"type": type, "name": name, "extension": node})

    def _app(self, name: str) -> str:
        return next(node["app"] for node in self.nodes if node["name"] == name)

    @property
    def json(self) -> dict[str, Any]:
        """The graph as JSON objects."""
        merged: dict[tuple[str, str], dict[str, Any]] = {}
        for section in self.connections:
            known = merged.setdefault(
                (section["app"], section["extension"]),
                {"app": section["app"], "extension": section["extension"]},
            )
            for kind in section.keys() - {"app", "extension"}:
                known.setdefault(kind, []).extend(section[kind])
        return {
            "nodes": self.nodes,
            "connections": list(merged.values()),
            "exposed_messages": self.exposed,
        }

    @property
    def graph(self) -> ten.Graph:
        """The graph."""
        return ten.Graph.from_json(self.json)


def _uri(app: App | str) -> str:
    return app if isinstance(app, str) else app.uri


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that has no event of its own; bounded by the test."""
    while not condition():  # noqa: ASYNC110
        await trio.sleep(0.002)


class Scripted:
    """One connection of a peer that speaks msgpack and does only what the test says."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        _scripted.append(self)
        self._codec = MsgpackCodec()

    @classmethod
    async def connect(cls, uri: str) -> Scripted:
        """Connect to an app."""
        port = int(uri.rpartition(":")[2].strip("/"))
        return cls(await trio.open_tcp_stream("127.0.0.1", port))

    async def send(self, msg: ten.Msg, cmd_id: str = "", src: ten.Loc | None = None) -> None:
        """Send one message."""
        if src is not None:
            msg._src = src
        await self.stream.send_all(b"".join(self._codec.encode([WireMsg(msg, cmd_id)])))

    async def receive(self) -> WireMsg:
        """The next message. Raises `trio.EndOfChannel` at the end."""
        while (wire := self._codec.next_message()) is None:
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:
                data = b""
            if not data:
                raise trio.EndOfChannel
            self._codec.receive_data(data)
        return wire

    async def receive_cmd(self, name: str) -> WireMsg:
        """The next command of that name; others are skipped."""
        while True:
            wire = await self.receive()
            if wire.msg.name == name:
                return wire

    async def answer(self, wire: WireMsg, result: ten.CmdResult, src: ten.Loc) -> None:
        """Answer a command."""
        result.seq_id = wire.msg.seq_id  # type: ignore[attr-defined]
        result._dests = (wire.msg._src,)
        await self.send(result, wire.cmd_id, src)

    async def drain(self) -> None:
        """Read until the app closes the connection."""
        while True:
            try:
                await self.receive()
            except trio.EndOfChannel:
                return

    def cut(self) -> None:
        """Reset the connection."""
        self.stream.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER: at once
        self.stream.socket.close()


_scripted: list[Scripted] = []


def close_scripted() -> None:
    """Close what a test has left open."""
    while _scripted:
        _scripted.pop().stream.socket.close()


@attrs.frozen
class ScriptedApp:
    """A listener in the place of an app."""

    listener: trio.SocketListener
    uri: str

    async def accept(self) -> Scripted:
        """The next connection."""
        return Scripted(await self.listener.accept())

    async def joins(self, **properties: Any) -> tuple[Scripted, str]:
        """Let the graph be started here, and say OK; the connection and the graph's id."""
        peer = await self.accept()
        wire = await peer.receive()
        assert isinstance(wire.msg, StartGraph)
        graph_id = wire.msg._dests[0].graph_id or ""
        result = ten.CmdResult(ten.StatusCode.OK, {"graph_id": graph_id, **properties})
        await peer.answer(wire, result, ten.Loc(self.uri, graph_id, None))
        return peer, graph_id


@asynccontextmanager
async def scripted_app(host: str = "127.0.0.1") -> AsyncGenerator[ScriptedApp, None]:
    """`localhost` makes a URI that is larger than any with `127.0.0.1`."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        try:
            yield ScriptedApp(listener, f"msgpack://{host}:{listener.socket.getsockname()[1]}")
        finally:
            close_scripted()
