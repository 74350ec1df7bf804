"""Connections that do nothing: the memory of each at the server, and how long it takes to close them."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import urlsplit

import trio
import trio_websocket

import ten_trio as ten
from ten_trio.network import MsgpackCodec, WireMsg

from ..harness import Case, Run
from . import far

Wait = Callable[[], Awaitable[object]]


def _first_message(graph_id: str) -> bytes:
    """A command of a plain client, for a graph that runs."""
    cmd = ten.Cmd("echo", dest=ten.Loc("", graph_id, "echo"))
    return b"".join(MsgpackCodec().encode([WireMsg(cmd)]))


async def _over_tcp(nursery: trio.Nursery, host: str, port: int, hello: bytes) -> Wait:
    stream = await trio.open_tcp_stream(host, port)
    await stream.send_all(hello)
    if not await stream.receive_some():
        raise AssertionError("the server has closed the connection")

    async def ended() -> None:
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass
        await stream.aclose()

    return ended


async def _over_websocket(nursery: trio.Nursery, host: str, port: int, hello: bytes) -> Wait:
    connection = await trio_websocket.connect_websocket(
        nursery, host, port, "/echo", use_ssl=False, subprotocols=["ten-trio.v1"]
    )
    await connection.send_message(hello)
    await connection.get_message()

    async def ended() -> None:
        try:
            while True:
                await connection.get_message()
        except trio_websocket.ConnectionClosed:
            pass

    return ended


def _count(run: Run) -> int:
    # Memory comes in pages: few connections would take none at all.
    return max(run.times(1_000), 200)


async def _measure(run: Run, what: str) -> dict[str, float]:
    """`memory`: bytes for each connection; `close`: seconds for all of them."""
    n = _count(run)
    async with far.started("idle", what) as process, trio.open_nursery() as nursery:
        address, _, graph_id = (await process.line()).partition(" ")
        url = urlsplit(address if "//" in address else f"//{address}")
        host, port = url.hostname or "", url.port or 0
        connect = _over_tcp if what in ("tcp", "bare") else _over_websocket
        hello = _first_message(graph_id) if graph_id else (8).to_bytes(4) * 2 + bytes(8)
        waits = [await connect(nursery, host, port, hello) for _ in range(20)]
        before = await process.ask("memory")
        waits += [await connect(nursery, host, port, hello) for _ in range(n)]
        memory = await process.ask("memory") - before
        gc.collect()
        async with trio.open_nursery() as ending:
            for wait in waits:
                ending.start_soon(wait)
            seconds = await process.ask("close")
        nursery.cancel_scope.cancel("they are all closed")
    return {"memory": memory / n, "close": seconds}


async def _memory(run: Run, *, what: str) -> float:
    """KiB."""
    return (await _measure(run, what))["memory"] / 1024


async def _close(run: Run, *, what: str) -> float:
    """Seconds for one."""
    return (await _measure(run, what))["close"] / _count(run)


def _memory_case(name: str, title: str, what: str) -> Case:
    measure = partial(_memory, what=what)
    return Case(f"network-idle/{name}", title, measure, "KiB", is_ratio=False, most_rounds=3)


def _close_case(name: str, title: str, what: str, base: str, unit: str) -> Case:
    measure, floor = partial(_close, what=what), partial(_close, what=base)
    return Case(f"network-close/{name}", title, measure, unit, floor, most_rounds=3)


CASES = [
    _memory_case("tcp", "one of 1,000 idle connections, TCP", "tcp"),
    _memory_case("bare", "the same, bare Trio", "bare"),
    _memory_case("ws", "the same, WebSocket", "trio-websocket"),
    _memory_case("bare-ws", "the same, trio-websocket by itself", "websocket"),
    _close_case("tcp", "closing one of them, TCP", "tcp", "bare", "bare Trio"),
    _close_case("ws", "closing one, WebSocket", "trio-websocket", "websocket", "trio-websocket"),
]
