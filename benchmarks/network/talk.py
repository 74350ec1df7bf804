"""Commands there and back, and frames one way or both, between two apps."""

from __future__ import annotations

from functools import partial
from time import perf_counter, thread_time

import trio

import ten_trio as ten
from ten_trio.network import MsgpackCodec, WireMsg

from .. import commands
from ..harness import Case, Run
from . import bare, far
from .ends import Way, clients, far_end, near_end, two_apps

_CLOCKS = (perf_counter, thread_time)

Sender = ten.Engine | ten.Client | ten.TenEnv

TCP = Way("tcp")
HERE = Way("tcp", here=True)
UNIX = Way("unix")
PLACE = ten.Loc("msgpack://127.0.0.1:50000/", "a9439915-ac61-4d46-aa7e-de07276c5d34", "echo")
CMD_ID = "9a93eb0e52d04cfa953f17c5b485061d"


# Commands -------------------------------------------------------------------------------------


async def _trips(sender: Sender, in_flight: int, n: int) -> None:
    answered = 0
    for _ in range(n // in_flight):
        if in_flight == 1:
            answered += (await sender.send_cmd(ten.Cmd("echo"))).ok
            continue
        calls = [sender.start_cmd(ten.Cmd("echo")) for _ in range(in_flight)]
        for call in calls:
            answered += (await call.result()).ok
    if answered != n // in_flight * in_flight:
        raise AssertionError(f"{answered} of {n} commands were answered with OK")


def _trips_of(run: Run, in_flight: int, connections: int) -> int:
    # One at a time takes longest.
    return max(run.times(1_000 if in_flight == 1 else 2_000), in_flight * connections)


async def _commands(run: Run, *, way: Way, in_flight: int = 1, connections: int = 1) -> float:
    n = _trips_of(run, in_flight, connections)
    if connections == 1:
        async with two_apps(run, way) as engine:
            await _trips(engine, in_flight, in_flight)
            began = run.clock()
            await _trips(engine, in_flight, n)
            return (run.clock() - began) / (n // in_flight * in_flight)
    async with clients(run, way, connections) as opened:
        for client in opened:
            await _trips(client, 1, 1)
        began = run.clock()
        async with trio.open_nursery() as nursery:
            for client in opened:
                nursery.start_soon(_trips, client, 1, n // connections)
        return (run.clock() - began) / (n // connections * connections)


def _sizes() -> tuple[int, int]:
    """Of a command and its result."""
    there, back = ten.Cmd("echo"), ten.Cmd("echo").ok()
    for msg in (there, back):
        msg._src = PLACE
        msg.set_dests([PLACE])
    sizes = [len(b"".join(MsgpackCodec().encode([WireMsg(msg, CMD_ID)]))) for msg in (there, back)]
    return sizes[0], sizes[1]


async def _commands_floor(run: Run, *, way: Way, in_flight: int = 1, connections: int = 1) -> float:
    """The same bytes without us, and twice what a command costs in one process."""
    there = await far_end(run, way)
    n = _trips_of(run, in_flight, connections)
    sizes = _sizes()
    if way.is_websocket:
        bytes_only = await bare.websocket_ping_pong(
            there.websocket, run.clock, max(sizes), in_flight, n, connections
        )
    else:
        address = there.echo[way.name]
        bytes_only = await bare.ping_pong(address, run.clock, sizes, in_flight, n, connections)
    return bytes_only + 2 * await commands._from_host(run, in_flight=in_flight * connections)


def _command_case(
    name: str, title: str, way: Way, *, in_flight: int = 1, connections: int = 1
) -> Case:
    options = {"way": way, "in_flight": in_flight, "connections": connections}
    return Case(
        f"network-cmd-{name}",
        title,
        partial(_commands, **options),  # type: ignore[arg-type]
        "bytes + 2 cmd",
        partial(_commands_floor, **options),  # type: ignore[arg-type]
    )


# Frames ---------------------------------------------------------------------------------------


def _frame(payload: bytes) -> ten.AudioFrame:
    return ten.AudioFrame(
        "pcm",
        sample_rate=16_000,
        bytes_per_sample=2,
        samples_per_channel=len(payload) // 2,
        number_of_channels=1,
        line_size=len(payload),
        buf=payload,
    )


async def _frames(sender: Sender, size: int, n: int) -> int:
    frame = _frame(bytes(size))
    for _ in range(n):
        await sender.send_audio_frame(frame)
    counted: int = (await sender.send_cmd(ten.Cmd("count"))).unwrap()["frames"]
    return counted


async def _stream(run: Run, *, way: Way, size: int, connections: int = 1) -> float:
    """From an extension; over several connections from as many clients."""
    if connections == 1:
        return await _by_extension(run, "stream", run.times(8_000), way=way, size=size)
    n = max(run.times(8_000), connections) // connections
    async with clients(run, way, connections) as opened:
        counts: list[int] = []

        async def one(client: ten.Client) -> None:
            counts.append(await _frames(client, size, n))

        for client in opened:
            await _frames(client, size, 1)
        began = run.clock()
        async with trio.open_nursery() as nursery:
            for client in opened:
                nursery.start_soon(one, client)
        seconds = run.clock() - began
    if sum(counts) != n * connections:
        raise AssertionError(f"{sum(counts)} of {n * connections} frames have arrived")
    return seconds / sum(counts)


async def _from_host(run: Run, *, way: Way, size: int) -> float:
    """From the host, each of whose sends lets other tasks run."""
    n = run.times(8_000)
    async with two_apps(run, way) as engine:
        await _frames(engine, size, 10)
        began = run.clock()
        counted = await _frames(engine, size, n)
        seconds = run.clock() - began
    if counted != n:
        raise AssertionError(f"{counted} of {n} frames have arrived")
    return seconds / n


async def _stream_floor(run: Run, *, way: Way, size: int, connections: int = 1) -> float:
    there = await far_end(run, way)
    n = max(run.times(8_000), connections)
    if way.is_websocket:
        return await bare.websocket_one_way(there.websocket, run.clock, size, n, connections)
    return await bare.one_way(there.sink[way.name], run.clock, size, n, connections)


def _stream_case(name: str, title: str, way: Way, *, size: int = 320, connections: int = 1) -> Case:
    options = {"way": way, "size": size, "connections": connections}
    # The handshakes of many WebSockets take longer than what is measured.
    is_slow = way.is_websocket and connections > 1
    return Case(
        f"network-{name}",
        title,
        partial(_stream, **options),  # type: ignore[arg-type]
        "trio-websocket" if way.is_websocket else "bare Trio",
        partial(_stream_floor, **options),  # type: ignore[arg-type]
        most_rounds=2 if is_slow else 1_000,
    )


class Head(ten.Extension):
    """The extension at this end: streams frames, or sends the next when the one before has come back."""

    cmd: ten.Cmd
    left = 0
    began = 0.0

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        self.cmd, self.left = cmd, cmd["n"]
        self.payload = bytes(cmd["size"])
        self.clock = _CLOCKS[cmd["cpu"]]
        self.began = self.clock()
        if cmd.name == "stream":
            counted = await _frames(env, len(self.payload), self.left)
            if counted != self.left:
                raise AssertionError(f"{counted} of {self.left} frames have arrived")
            await env.return_result(cmd.ok(seconds=self.clock() - self.began))
        else:
            await env.send_audio_frame(_frame(self.payload))

    async def on_audio_frame(self, env: ten.TenEnv, frame: ten.AudioFrame) -> None:
        self.left -= 1
        if self.left:
            await env.send_audio_frame(_frame(self.payload))
        else:
            await env.return_result(self.cmd.ok(seconds=self.clock() - self.began))


ten.addon("network_head")(Head)


async def _by_extension(run: Run, what: str, n: int, *, way: Way, size: int) -> float:
    """Let the extension at this end do `what`, `n` times; the seconds for each."""
    far_uri = (await far_end(run, way)).app[way.name]
    graph = ten.Graph()
    graph.node("head", "network_head", app=(await near_end(run, way)).uri)
    graph.node("relay", "network_relay", app=far_uri)
    graph.node("echo", "network_echo", app=far_uri)
    graph.connect("head", "relay" if what == "echo" else "echo", audio_frame="pcm")
    graph.connect("relay", "head", audio_frame="pcm")
    graph.connect("head", "echo", cmd="count")
    graph.expose("cmd_in", what, "head")
    async with two_apps(run, way, graph) as engine:
        seconds = 0.0
        for count in (10, n):
            cmd = ten.Cmd(what, {"n": count, "size": size, "cpu": run.clock is thread_time})
            seconds = (await engine.send_cmd(cmd)).unwrap()["seconds"]
        return seconds / n


async def _there_and_back(run: Run, *, way: Way, size: int) -> float:
    return await _by_extension(run, "echo", run.times(800), way=way, size=size)


async def _there_and_back_floor(run: Run, *, way: Way, size: int) -> float:
    there = await far_end(run, way)
    n = run.times(800)
    if way.is_websocket:
        return await bare.websocket_ping_pong(there.websocket, run.clock, size, 1, n)
    return await bare.ping_pong(there.echo[way.name], run.clock, (size, size), 1, n)


def _echo_case(name: str, title: str, way: Way) -> Case:
    options = {"way": way, "size": 320}
    return Case(
        f"network-{name}",
        title,
        partial(_there_and_back, **options),  # type: ignore[arg-type]
        "trio-websocket" if way.is_websocket else "bare Trio",
        partial(_there_and_back_floor, **options),  # type: ignore[arg-type]
    )


def _drivers() -> list[str]:
    try:
        import websockets.trio  # noqa: F401,PLC0415 - an extra
    except ImportError:
        return [far.DRIVERS[0]]
    return list(far.DRIVERS)


def _websocket_cases(driver: str) -> list[Case]:
    way = Way(driver)
    name = "ws" if driver == far.DRIVERS[0] else "ws2"
    by = f"{driver}"
    return [
        _command_case(f"{name}/1", f"command, {by}, 1 in flight", way),
        _command_case(f"{name}/100", f"command, {by}, 100 in flight", way, in_flight=100),
        _echo_case(f"{name}-echo/1", f"sound and back, {by}", way),
        _stream_case(f"{name}-stream/1", f"sound one way, {by}", way),
        _stream_case(f"{name}-stream/100", "the same, 100 connections", way, connections=100),
    ]


CASES = [
    _command_case("tcp/1", "command over TCP, 1 in flight", TCP),
    _command_case("tcp/100", "command over TCP, 100 in flight", TCP, in_flight=100),
    _command_case("conns/100", "command, 100 connections", TCP, connections=100),
    _command_case("here/1", "in one process, 1 in flight", HERE),
    _command_case("here/100", "in one process, 100 in flight", HERE, in_flight=100),
    _command_case("unix/1", "command, Unix socket, 1 in flight", UNIX),
    _command_case("unix/100", "command, Unix socket, 100 in flight", UNIX, in_flight=100),
    _stream_case("stream-tcp/320", "sound one way over TCP, 320 B", TCP),
    _stream_case("stream-tcp/640", "sound one way over TCP, 640 B", TCP, size=640),
    _stream_case("stream-conns/100", "the same, 100 connections", TCP, connections=100),
    Case(
        "network-stream-host/320",
        "the same, sent by the host",
        partial(_from_host, way=TCP, size=320),
        "bare Trio",
        partial(_stream_floor, way=TCP, size=320),
    ),
    _stream_case("stream-unix/320", "sound one way, Unix socket", UNIX),
    _echo_case("echo-tcp/1", "sound and back over TCP", TCP),
    *(case for driver in _drivers() for case in _websocket_cases(driver)),
]
