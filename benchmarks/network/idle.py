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

from ..harness import Case, Run, Several
from . import far

Wait = Callable[[], Awaitable[object]]

COUNT = 300
"""Connections."""


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
    return max(run.times(COUNT), 200)


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


async def _measure_both(run: Run, *, what: str, base: str) -> dict[str, float]:
    """One server of ours, and right before it and after it what it is compared with."""
    before, ours, after = [await _measure(run, each) for each in (base, what, base)]
    return {
        "memory": ours["memory"] / 1_024,
        "bare": (before["memory"] + after["memory"]) / 2 / 1_024,
        "close": 2 * ours["close"] / (before["close"] + after["close"]),
    }


def _cases(name: str, kind: str, what: str, base: str, base_unit: str) -> list[Case]:
    several = Several(f"network-idle {name}", partial(_measure_both, what=what, base=base))

    def case(case_name: str, title: str, figure: str, unit: str) -> Case:
        return Case(case_name, title, several.figure(figure), unit, is_ratio=False, most_rounds=2)

    bare_name = "bare" if name == "tcp" else f"bare-{name}"
    return [
        case(f"network-idle/{name}", f"one of {COUNT:,} idle connections, {kind}", "memory", "KiB"),
        case(f"network-idle/{bare_name}", f"the same, {base_unit} by itself", "bare", "KiB"),
        case(f"network-close/{name}", f"closing one of them, {kind}", "close", base_unit),
    ]


CASES = [
    *_cases("tcp", "TCP", "tcp", "bare", "bare Trio"),
    *_cases("ws", "WebSocket", "trio-websocket", "websocket", "trio-websocket"),
]
