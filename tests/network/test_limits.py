"""Every bound of `NetworkSettings` holds, costs the one connection that it is about, and nobody else anything."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import msgpack
import pytest
import trio

import ten_trio as ten
from ten_trio import Cmd, Data, Loc, NetworkSettings
from ten_trio.messages import CmdResult
from ten_trio.network import Address, CodecLimits, Protocols, TransportOptions, Wire, WireProtocol
from ten_trio.network.codec import WireMsg
from ten_trio.network.codecs.msgpack import MsgpackCodec
from ten_trio.network.connecting import Connector
from ten_trio.network.peer import wire_id
from ten_trio.network.remotes import remotes_of
from ten_trio.network.transports import transport
from tests.network.limited import (
    BRIEF,
    CLIENT,
    GRAPH,
    SOON,
    TCP,
    TLS,
    WS,
    WSS,
    Raw,
    is_fine,
    logged,
    network_of,
    raw,
    serving,
    talking,
    until,
)

pytestmark = pytest.mark.slow


# How many ---------------------------------------------------------------------------------------


async def test_connections(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(connections=2) as app, talking(app) as first:
        async with raw(app) as second:
            assert (await second.start()).ok
            for _ in range(3):
                async with raw(app) as third:
                    await third.ended()
            assert network_of(app).refused == 3
            await is_fine(first)
            assert (await second.call(Cmd("hello"))).ok
        await until(lambda: network_of(app).connections == 1)
        async with talking(app) as later:
            await is_fine(later)
    assert len(logged(caplog, "refused", "2 connections are open")) == 1


async def test_graphs() -> None:
    async with serving(graphs=1) as app, talking(app) as first:
        async with raw(app) as second:
            refused = await second.start()
            assert not refused.ok
            assert refused.detail == "busy: 1 graphs have been started from outside"
            await is_fine(first)
            await first.stop_graph()
            # What has ended doesn't count, and the same connection may try again.
            await until(lambda: not app.engines)
            assert (await second.start()).ok
        # Those of the app itself don't count either.
        async with app.open_graph("g"), app.open_graph("g"):
            pass


@pytest.mark.parametrize("own_loop", [False, True])
async def test_commands_of_a_client(own_loop: bool) -> None:
    async with serving(pending_cmds=2, own_loop=own_loop) as app, talking(app) as neighbour:
        async with talking(app) as client:
            waiting = [client.start_cmd(Cmd("wait")) for _ in range(2)]
            result = await client.send_cmd(Cmd("hello"))
            assert (result.ok, result.detail) == (False, "busy: 2 unanswered commands")
            await is_fine(neighbour)
            for call in waiting:
                call.cancel()


async def test_commands_for_a_client() -> None:
    async with serving(pending_cmds=2) as app, talking(app) as neighbour, raw(app) as client:
        assert (await client.start()).ok
        # Three questions that nobody answers.
        result = await client.call(Cmd("ask"))
        assert result.detail.startswith("busy: ")
        await is_fine(neighbour)


async def test_commands_of_a_client_to_an_app() -> None:
    async with serving() as app:
        settings = NetworkSettings(pending_cmds=2, close_timeout=0.2)
        async with ten.connect(app.uri, network=settings) as client:
            await client.start_graph("g")
            calls = [client.start_cmd(Cmd("wait")) for _ in range(2)]
            result = await client.send_cmd(Cmd("hello"))
            assert result.detail.startswith("busy: ")
            for call in calls:
                call.cancel()


# How long ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("uri", [WS, WSS, TLS])
async def test_a_silent_client_in_the_handshake(uri: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    # Long enough for the neighbour's own: certificates take their time on a busy machine.
    async with serving(uri, handshake_timeout=1) as app, talking(app) as neighbour:
        async with raw(app) as silent:
            await silent.ended()
        await until(lambda: network_of(app).connections == 1)
        await is_fine(neighbour)
    assert len(logged(caplog, "too slow a handshake")) == 1


@pytest.mark.parametrize("uri", [TCP, WS, WSS, TLS])
async def test_a_client_that_says_nothing(uri: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(uri, first_message_timeout=BRIEF) as app, talking(app) as neighbour:
        async with ten.connect(app.uri, network=CLIENT) as silent:
            with trio.fail_after(SOON):
                await silent.wait_closed()
        # By now the neighbour has been silent for longer: but it belongs to a graph.
        await is_fine(neighbour)
    assert len(logged(caplog, "no message in time")) == 1


@pytest.mark.parametrize("own_loop", [False, True])
@pytest.mark.parametrize("uri", [TCP, WS])
async def test_a_client_that_falls_silent(
    uri: str, own_loop: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with serving(uri, idle_timeout=BRIEF, own_loop=own_loop) as app:
        async with talking(app) as busy, talking(app) as silent:
            # Whoever waits for something is not idle.
            call = busy.start_cmd(Cmd("wait"))
            with trio.fail_after(SOON):
                await silent.wait_closed()
            await trio.sleep(2 * BRIEF)
            assert not busy.is_closed
            call.cancel()
            await is_fine(busy)
    assert logged(caplog, "silent for 0.15 s")


async def test_a_client_that_does_not_read(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(send_timeout=BRIEF) as app, talking(app) as neighbour, raw(app) as slow:
        assert (await slow.start()).ok
        await slow.send(Cmd("flood", {"count": 300}))
        # Its graph ends with it; that of the neighbour doesn't.
        with trio.fail_after(SOON):
            await until(lambda: len(app.engines) == 1)
        await is_fine(neighbour)
    assert len(logged(caplog, "doesn't read")) == 1


async def test_a_client_that_does_not_play_its_part_in_the_close() -> None:
    async with serving(close_timeout=BRIEF) as app, raw(app) as client:
        assert (await client.start()).ok
        began = trio.current_time()
        app.request_close()
        await app.wait_closed()
        await until(lambda: not app.engines)
        assert trio.current_time() - began < 0.9  # it would be for ever, or the grace


class Nowhere:
    """A transport to somebody who never answers."""

    name = "nowhere"

    def __init__(self, fail_after: float) -> None:
        self.attempts: list[float] = []
        self._fail_after = fail_after

    async def connect(
        self, address: Address, options: TransportOptions, nursery: trio.Nursery
    ) -> Wire:
        self.attempts.append(trio.current_time())
        await trio.sleep(self._fail_after)
        raise OSError("nobody is there")


@pytest.mark.parametrize(
    ("fail_after", "attempts", "why"),
    [(1e9, [0, 3.5, 7], "no answer within 3 s"), (1, [0, 1.5, 3], "nobody is there")],
)
async def test_how_often_and_how_long_to_connect(
    fail_after: float, attempts: list[float], why: str, autojump_clock: trio.testing.MockClock
) -> None:
    nowhere = Nowhere(fail_after)
    protocols = Protocols()
    protocols.register(WireProtocol("nowhere", {"nowhere": nowhere}, MsgpackCodec))  # type: ignore[dict-item]
    settings = NetworkSettings(connect_timeout=3, connect_retries=2, retry_delay=0.5)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        with pytest.raises(ten.ConnectFailed, match="Failed to connect to nowhere://x") as caught:
            await Connector(settings, protocols).connect("nowhere://x:1", nursery)
    assert [at - began for at in nowhere.attempts] == pytest.approx(attempts)
    assert f"after 3 attempts: {why}" in caught.value.__notes__


# What waits for a peer --------------------------------------------------------------------------


async def test_data_for_a_slow_client_is_dropped_and_counted() -> None:
    async with serving(out_bytes=200_000) as app, talking(app) as neighbour, raw(app) as slow:
        graph_id = (await slow.start()).get_property_string("graph_id")
        core: Any = app.engines[graph_id]
        cmd = Cmd("flood", {"count": 400})
        cmd.seq_id = "flood"
        await slow.send(cmd)
        await until(lambda: dropped(core))
        await is_fine(neighbour)
        # The result passes, and what comes before it comes in order.
        numbers: list[int] = []
        while (wire := await slow.receive()) is not None:
            if isinstance(wire.msg, Data):
                numbers.append(wire.msg.get_property_int("n"))
            elif isinstance(wire.msg, CmdResult):
                assert wire.msg.ok
                break
        assert numbers == sorted(numbers)
        assert len(numbers) + dropped(core)["slow peer"] == 400


def dropped(core: Any) -> dict[str, int]:
    found: dict[str, int] = {}
    for door in remotes_of(core)._doors.values():
        found |= door.data_line.dropped
    return found


def spread(near: str, far: str) -> ten.Graph:
    """A graph with an extension here, and one there that gets its data."""
    return ten.Graph.from_json(
        {
            "nodes": [
                {**GRAPH["nodes"][0], "app": near},
                {"type": "extension", "name": "f", "addon": "far", "app": far},
            ],
            "connections": [
                {
                    "app": near,
                    "extension": "e",
                    "data": [{"name": "d", "dest": [{"app": far, "extension": "f"}]}],
                }
            ],
            "exposed_messages": [{"type": "data_in", "name": "flood", "extension": "e"}],
        }
    )


class FarApp:
    """Somebody who takes part in a graph, and does nothing else."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self._listener = listener
        self.uri = f"msgpack://127.0.0.1:{listener.socket.getsockname()[1]}"
        self.peer: Raw

    async def take_part(self) -> None:
        self.peer = Raw(await self._listener.accept())
        wire = await self.peer.receive()
        assert wire is not None
        result = CmdResult(ten.StatusCode.OK, {"graph_id": wire.msg._dests[0].graph_id})
        result._src = Loc(self.uri)
        await self.peer.send(WireMsg(result, wire.cmd_id))


@asynccontextmanager
async def far_app() -> AsyncGenerator[FarApp]:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        yield FarApp(listener)


async def test_whoever_sends_to_a_slow_app_waits() -> None:
    async with far_app() as far, serving(out_queue=4) as app, talking(app) as neighbour:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.take_part)
            async with app.open_graph(spread(app.uri, far.uri)) as engine:
                core: Any = app.engines[engine.graph_id]
                (door,) = (d for d in remotes_of(core)._doors.values() if d.loc.app_uri == far.uri)
                await engine.send_data(Data("flood"))
                await until(lambda: door.data_line.count >= 4)
                await is_fine(neighbour)
                assert door.data_line.count <= 5
                # Nothing is lost: the sender has waited.
                for number in range(400):
                    wire = await far.peer.receive()
                    assert wire is not None
                    assert wire.msg.get_property_int("n") == number
                assert not door.data_line.dropped
                await far.peer.stream.aclose()
                await engine.wait_closed()


async def test_how_long_until_a_lost_app_is_asked_again() -> None:
    delays = [0.03, 0.06, 0.07, 0.07]
    times = {"reconnect_delay": delays[0], "reconnect_delay_max": delays[-1], "connect_retries": 0}
    async with far_app() as far, serving(**times) as app, talking(app) as neighbour:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.take_part)
            async with app.open_graph(spread(app.uri, far.uri), long_running=True) as engine:
                await far.peer.stream.aclose()
                lost = [trio.current_time()]
                for _ in delays:
                    await (await far._listener.accept()).aclose()
                    lost.append(trio.current_time())
                await is_fine(neighbour)
                assert not engine.is_closing
        for delay, begin, end in zip(delays, lost, lost[1:], strict=False):
            assert delay - 0.01 < end - begin < SOON


async def test_reading_goes_on_where_a_receiver_has_no_room() -> None:
    """Its data is held up, and the commands behind that aren't for long."""
    for patience, is_prompt in ((0.005, True), (30.0, False)):
        limits = ten.Limits(queue=2)
        async with serving(patience=patience, limits=limits) as app, talking(app) as client:
            # One at a time, so that each is read by itself.
            for _ in range(8):
                await client.send_data(Data("stuck"))
                await trio.sleep(0.001)
            with trio.move_on_after(1) as scope:
                assert (await client.send_cmd(Cmd("hello"))).ok
            assert scope.cancelled_caught is not is_prompt


# What may be said -------------------------------------------------------------------------------


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


SMALL = CodecLimits(max_message=20_000, max_depth=5, max_properties=50, max_string=1_000)
TOO_MUCH: dict[str, bytes | ten.Msg] = {
    "TooLong: ": Data("d", buf=bytes(30_000)),
    "TooDeep: ": Data("d", {"p": nested(8)}),
    "TooManyProperties: ": Data("d", {str(number): number for number in range(1_000)}),
    "TooLong: string": Data("d", {"p": "x" * 2_000}),
    "Malformed: ": b"GET / HTTP/1.1\r\n\r\n",
    "UnknownType: ": msgpack.packb(msgpack.ExtType(1, b"\x63")),
    "UnknownType: ext": msgpack.packb(msgpack.ExtType(7, b"abc")),
}


@pytest.mark.parametrize("attached", [False, True], ids=["first", "later"])
@pytest.mark.parametrize("what", TOO_MUCH)
async def test_what_is_no_message_or_too_big(
    what: str, attached: bool, caplog: pytest.LogCaptureFixture
) -> None:
    bad = TOO_MUCH[what]
    async with serving(codec=SMALL) as app, talking(app) as neighbour, raw(app) as client:
        if attached:
            assert (await client.start()).ok
            assert (await client.call(Cmd("hello"))).ok
        # Several times in one go: it is the first that counts.
        data = bad if isinstance(bad, bytes) else b"".join(client.codec.encode([WireMsg(bad)]))
        await client.stream.send_all(data * 3)
        await client.ended()
        await is_fine(neighbour)
    warnings = [each for each in caplog.records if each.levelno >= logging.WARNING]
    (one,) = (each.getMessage() for each in warnings)
    assert what.partition(":")[0] in one


async def test_bad_frames_of_a_websocket(caplog: pytest.LogCaptureFixture) -> None:
    options = TransportOptions(close_timeout=0.2)
    async with serving(WS, codec=SMALL) as app, talking(app) as neighbour:
        for bad in ("{", b"nonsense", "[]", '{"ten": {"type": "none"}}', '{"ten": {"dest": 1}}'):
            caplog.clear()
            async with trio.open_nursery() as nursery:
                wire = await transport("ws", options).connect(
                    Address.parse(app.uri), options, nursery
                )
                await wire.send([bad])
                with trio.fail_after(SOON):
                    assert await wire.receive() == b""
                await wire.aclose()
            assert len(caplog.records) == 1, bad
        await is_fine(neighbour)


async def test_a_result_that_is_too_big_is_an_error() -> None:
    async with serving(codec=SMALL) as app, talking(app) as client:
        result = await client.send_cmd(Cmd("big"))
        assert not result.ok
        assert "the result can't be sent" in result.detail
        await is_fine(client)


async def test_what_is_too_big_to_be_asked_or_told_is_refused_where_it_is_sent() -> None:
    network = attrs.evolve(CLIENT, codec=SMALL)
    async with serving() as app, ten.connect(app.uri, network=network) as client:
        await client.start_graph("g")
        result = await client.send_cmd(Cmd("hello", {"text": "x" * 5_000}))
        assert not result.ok
        assert "x" * 50 not in result.detail
        await client.send_data(Data("d", {"text": "x" * 5_000}))
        await is_fine(client)


async def test_data_for_another_app_or_graph_of_a_client_goes_nowhere() -> None:
    async with serving() as app, talking(app) as client:
        for place in (Loc("msgpack://127.0.0.1:1", "g", "e"), Loc("", "no such graph", "e")):
            await client.send_data(Data("d", dest=place))
        result = await client.send_cmd(Cmd("hello", dest=Loc("msgpack://127.0.0.1:1", "g", "e")))
        assert not result.ok
        await is_fine(client)


async def test_a_client_that_speaks_for_very_many_and_to_several() -> None:
    async with serving() as app, raw(app) as client:
        start = await client.start()
        graph = start.get_property_string("graph_id")
        for number in range(300):
            cmd = Cmd("hello", dest=Loc("", graph, "e"))
            cmd._src = Loc("", graph, f"speaker {number}")
            assert (await client.call(cmd)).ok
        both = Cmd("hello")
        both.set_dests([Loc("", graph, "nobody"), Loc("", graph, "e")])
        result = await client.call(both)
        assert not result.ok
        assert result.detail == "Failed to find destination."
        # An id that it made up itself, though it looks like one of the app's.
        for text in (wire_id(10**6), wire_id(0)[:-16] + "?"):
            await client.send(WireMsg(CmdResult(), text))
        assert (await client.call(Cmd("hello"))).ok


async def test_what_nobody_may_see_fills_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """Data that belongs to no graph costs a line, however much of it there is."""
    async with serving() as app, raw(app) as client:
        await client.send(*[Data("d", {"n": number}) for number in range(500)])
        assert (await client.start()).ok
    assert len(logged(caplog, "dropped")) <= 1
