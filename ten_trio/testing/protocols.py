"""What every protocol has to keep to, as a check that its author runs: `check_protocol`."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from itertools import pairwise
from random import Random
from typing import Any, Final

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from ..graphs import Graph
from ..messages import Cmd, CmdResult, Data, Loc, StartGraph, StatusCode
from ..network import NetworkSettings, WireProtocol, connect, open_app
from ..network.codec import CodecError, CodecLimits, WireMsg
from ..network.connecting import options_of
from ..network.transport import Piece, Transport, Wire
from ..network.uris import Address
from ..runtime import App, Extension, TenEnv
from .codecs import RULES, samples
from .rules import check_rule
from .transports import check_transport

_PATIENCE: Final = 20.0  # seconds for one check; only a hang gets there
_QUIET: Final = 0.02  # for so long nothing happens: everything was taken in
_MIB: Final = 2**20
_GRAPH: Final = "check_protocol"

MakeProtocol = Callable[[], WireProtocol]


async def check_protocol(
    make: MakeProtocol, *, uris: Iterable[str] = (), network: NetworkSettings | None = None
) -> None:
    """Check everything that a protocol promises: its codec by itself, then apps and clients that use it.

    `make` returns the protocol.  `uris` are those to listen at, with port 0 or a path that is free;
    without any, each of its schemes is tried that is carried by `tcp`, `ws` or `unix`.  For TLS, say
    the URIs, and bring the certificates in `network`.  A transport of its own is checked by
    `check_transport`, too.

    It takes some seconds, of real time. Raises `AssertionError`, which says which rule is broken. A
    codec that never returns leaves a thread behind that never ends.
    """
    protocol = make()
    settings = attrs.evolve(network or NetworkSettings(), connect_retries=0)
    if protocol.codec is not None:
        for rule, check in RULES.items():
            in_thread = partial(
                trio.to_thread.run_sync, check, protocol.codec, abandon_on_cancel=True
            )
            await check_rule(rule, in_thread, _PATIENCE)
    with tempfile.TemporaryDirectory() as folder:
        listen = list(uris) or _everywhere(protocol, folder)
        assert listen, f"say where {protocol.name} is to be tried: uris=[...]"
        for uri in listen:
            for rule, talk in _RULES.items():
                for own_loop in (False, True):
                    where = _Place(make(), uri, settings, own_loop)
                    named = f"{uri}, {'own loop' if own_loop else 'the loop of the app'}: {rule}"
                    await check_rule(named, partial(talk, where), _PATIENCE)
    for uri in listen:
        address = Address.parse(uri)
        carrier = protocol.schemes[address.scheme]
        if not isinstance(carrier, str):
            await check_transport(partial(_carried, carrier, address, settings))


def _everywhere(protocol: WireProtocol, folder: str) -> list[str]:
    places = {"tcp": "127.0.0.1:0", "ws": "127.0.0.1:0/", "unix": f"{folder}/check.sock"}
    return [
        f"{scheme}://{places[carrier]}"
        for scheme, carrier in protocol.schemes.items()
        if isinstance(carrier, str) and carrier in places
    ]


def _carried(carrier: Transport, address: Address, settings: NetworkSettings) -> Any:
    # An end that closes still reads for that long, and must not take in all that the other one sends.
    soon = min(settings.close_timeout, 0.2)
    return carrier, address, attrs.evolve(options_of(settings, ()), close_timeout=soon)


# An app that uses the protocol ----------------------------------------------------------------------


@attrs.frozen
class _Place:
    """A protocol, where it is tried, and in whose loop the graphs run."""

    protocol: WireProtocol
    uri: str
    settings: NetworkSettings
    own_loop: bool

    @asynccontextmanager
    async def app(self, uri: str = "") -> AsyncGenerator[App]:
        """One that has a singleton, which answers everything."""
        exposed = [
            {"type": kind, "name": name, "extension": "echo"}
            for kind, name in (
                *(("cmd_in", name) for name in ("echo", "stream", "fail")),
                *(("data_in", "data"), ("data_out", "data")),
            )
        ]
        node = {"type": "extension", "name": "echo", "addon": "echo"}
        graph = {"nodes": [node], "exposed_messages": exposed}
        predefined = {"name": _GRAPH, "singleton": True, "graph": graph}
        section = {
            "one_event_loop_per_engine": self.own_loop,
            "long_running_mode": True,
            "predefined_graphs": [predefined],
        }
        async with open_app(
            {"ten": section},
            uri=uri or self.uri,
            network=self.settings,
            protocols=[self.protocol],
            grace=2,
        ) as app:
            app.addons.register("echo", _Echo)
            app.addons.register("relay", _Relay)
            yield app

    def client(self, uri: str, graph: str = "") -> Any:
        """One that uses the same protocol."""
        return connect(uri, graph=graph, network=self.settings, protocols=[self.protocol])

    @asynccontextmanager
    async def wire(self, uri: str) -> AsyncGenerator[Wire]:
        """A bare connection."""
        address = Address.parse(uri)
        options = options_of(self.settings, ())
        carrier = self.protocol.transport(address, options)
        async with trio.open_nursery() as nursery:
            wire = await carrier.connect(address, options, nursery)
            try:
                yield wire
            finally:
                with trio.move_on_after(2 * options.close_timeout, shield=True):
                    await wire.aclose()
                nursery.cancel_scope.cancel("the connection is closed")


class _Echo(Extension):
    async def on_cmd(self, env: TenEnv, cmd: Cmd) -> None:
        if cmd.name == "fail":
            await env.return_result(cmd.error("as it was asked to"))
            return
        if cmd.name == "stream":
            for number in range(3):
                await env.return_result(cmd.partial(n=number))
        await env.return_result(cmd.ok(cmd.properties))

    async def on_data(self, env: TenEnv, data: Data) -> None:
        await env.send_data(data)


class _Relay(Extension):
    async def on_cmd(self, env: TenEnv, cmd: Cmd) -> None:
        env.post_cmd(cmd)

    async def on_data(self, env: TenEnv, data: Data) -> None:
        await env.send_data(data)


# The rules ------------------------------------------------------------------------------------------


async def _talk(place: _Place) -> None:
    async with place.app() as app, place.client(app.uri) as client:
        await client.start_graph(_GRAPH)
        properties = samples()[0].msg.properties
        answer = await client.send_cmd(Cmd("echo", properties))
        assert answer.status is StatusCode.OK, f"a command was answered with {answer!r}"
        assert answer.properties == properties, f"the properties have become {answer.properties!r}"
        answer = await client.send_cmd(Cmd("fail"))
        assert answer.status is StatusCode.ERROR, f"an ERROR has come as {answer!r}"
        assert answer.detail == "as it was asked to", f"an ERROR says {answer.detail!r}"
        async with client.send_cmd_ex(Cmd("stream", {"n": 3})) as results:
            numbers = [result["n"] async for result in results]
        assert numbers == [0, 1, 2, 3], f"the results 0, 1, 2, 3 have come as {numbers}"
        calls = [client.start_cmd(Cmd("echo", {"n": number})) for number in range(200)]
        numbers = [(await each.result())["n"] for each in calls]
        assert numbers == list(range(200)), "commands have got the answers to others"
        await _data(client, place)
        await client.stop_graph()
        assert client.is_closed, "the graph is stopped, and the connection open"


async def _data(host: Any, place: _Place) -> None:
    random = Random(3)
    size = min(_MIB, place.settings.codec.max_message // 4)
    sizes = [*(random.choice((0, 1, 320, 5_000)) for _ in range(200)), size, 1]
    sent = [Data("data", {"n": n}, buf=random.randbytes(size)) for n, size in enumerate(sizes)]
    async with host.messages() as messages, trio.open_nursery() as nursery:

        async def send() -> None:
            for data in sent:
                await host.send_data(data)

        nursery.start_soon(send)
        for number, data in enumerate(sent):
            got = await messages.receive()
            assert got["n"] == number, f"data {got['n']} has come in place of {number}"
            assert got.buf == data.buf, f"data {number} has come with another buffer"


async def _boundaries(place: _Place) -> None:
    """Whoever asks first for a graph that isn't there and then for one that is, in bytes cut anywhere."""
    names = ["nobody", _GRAPH, *[""] * 6]
    commands = []
    for number, graph in enumerate(names):
        cmd = Cmd("echo", {"n": number}, dest=Loc("", graph, None))
        cmd.seq_id = str(number)
        commands.append(WireMsg(cmd))
    async with place.app() as app:
        for cut in await _cuts(place, app.uri, commands):
            async with place.wire(app.uri) as wire:
                await _cut_at(place, wire, commands, cut)


async def _cuts(place: _Place, uri: str, commands: list[WireMsg]) -> list[int]:
    async with place.wire(uri) as wire:
        if wire.is_framed and place.protocol.codec is None:
            return list(range(1, len(commands)))
        dialect = place.protocol.dialect(CodecLimits(), wire)
        ends = [0]
        for command in commands:
            ends.append(ends[-1] + len(_joined(dialect.encode([command]))))
    near = {end + by for end in ends[:5] for by in (-2, -1, 0, 1, 2)}
    middles = {(one + other) // 2 for one, other in pairwise(ends)}
    return sorted(cut for cut in near | middles if 0 < cut < ends[-1])


async def _cut_at(place: _Place, wire: Wire, commands: list[WireMsg], cut: int) -> None:
    dialect = place.protocol.dialect(CodecLimits(), wire)
    pieces: list[Piece] = [piece for each in commands for piece in dialect.encode([each])]
    first: list[Piece]
    if wire.is_framed and place.protocol.codec is None:
        first, rest = pieces[:cut], pieces[cut:]
    else:
        whole = _joined(pieces)
        first, rest = [whole[:cut]], [whole[cut:]]
    await wire.send(first)
    await wait_all_tasks_blocked(_QUIET)
    await wire.send(rest)
    got: list[str] = []
    while len(got) < len(commands):
        while (found := dialect.next_message()) is None:
            piece = await wire.receive()
            assert piece != b"", (
                f"cut after {cut}: the connection was closed after the answers {got}"
            )
            dialect.receive(piece)
        result = found.msg
        assert isinstance(result, CmdResult), f"{result!r} has come in place of an answer"
        found_it = result.status is StatusCode.OK
        assert found_it == bool(got), f"cut after {cut}: command {len(got)} got {result!r}"
        got.append(result.seq_id)
    wanted = [command.msg.seq_id for command in commands if isinstance(command.msg, Cmd)]
    assert got == wanted, f"cut after {cut}: {wanted} have come as {got}"


def _joined(pieces: Iterable[Piece]) -> bytes:
    return b"".join(piece.encode() if isinstance(piece, str) else piece for piece in pieces)


async def _garbage(place: _Place) -> None:
    random = Random(4)
    async with place.app() as app:
        for size in (1, 30, 5_000, 200_000):
            async with place.wire(app.uri) as wire:
                with suppress(trio.BrokenResourceError):  # it was closed already
                    await wire.send([random.randbytes(size)])
        async with place.client(app.uri, _GRAPH) as client:
            answer = await client.send_cmd(Cmd("echo", {"n": 1}))
            assert answer.status is StatusCode.OK, f"after garbage from others: {answer!r}"


async def _ends(place: _Place) -> None:
    async with place.app() as app:
        async with place.client(app.uri) as client:
            await client.start_graph(_GRAPH)
        while app.engines:  # noqa: ASYNC110 - there is no event for this
            await trio.sleep(_QUIET)  # it ends with the client that has started it
        async with place.client(app.uri) as client:
            await client.start_graph(_GRAPH)
            call = client.start_cmd(Cmd("echo", {"n": 1}))
            await call.result()
            app.request_close("the check is over")
            await client.wait_closed()


async def _two_apps(place: _Place) -> None:
    graph = Graph()
    graph.node("r", "relay", app="one:1")
    other = WireMsg(StartGraph(graph=graph, dest=Loc("one:1", "g", None)), "id")
    try:
        if place.protocol.codec is not None:
            place.protocol.codec(CodecLimits()).encode([other])
    except CodecError:
        return  # it is for clients only
    second = place.uri.replace("check.sock", "check2.sock")
    async with place.app() as here, place.app(second) as there:
        graph = Graph()
        graph.node("relay", "relay", app=here.uri)
        graph.node("echo", "echo", app=there.uri)
        for kind, name in (("cmd", "stream"), ("data", "data")):
            names: Any = {kind: name}
            graph.connect("relay", "echo", **names)
            graph.expose(f"{kind}_in", name, "relay")
        graph.expose("data_out", "data", "echo")
        async with here.open_graph(graph) as engine:
            answer = await engine.send_cmd(Cmd("stream", {"n": 3}))
            assert answer.status is StatusCode.OK, f"a command was answered with {answer!r}"
            assert answer["n"] == 3, f"the last result has come as {answer!r}"
            await _data(engine, place)


_RULES: Final[dict[str, Callable[[_Place], Awaitable[None]]]] = {
    "a client and an app talk": _talk,
    "a connection finds its graph, wherever its bytes are cut": _boundaries,
    "garbage costs its own connection only": _garbage,
    "connections end when either side ends": _ends,
    "a graph spans two apps": _two_apps,
}

__all__ = ["MakeProtocol", "check_protocol"]
