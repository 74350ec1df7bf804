"""Connections in memory keep to the rules of all transports, and fail as they are told to."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import ten_trio as ten
from ten_trio.network import Address, TransportOptions
from ten_trio.testing import MemoryNetwork, check_transport


async def test_it_is_a_transport() -> None:
    options = TransportOptions(close_timeout=0.2)
    address = Address.parse("memory://here")
    await check_transport(lambda: (MemoryNetwork(), address, options))


class Echo(ten.Extension):
    """Answers."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok())


@asynccontextmanager
async def echoing(network: MemoryNetwork) -> AsyncGenerator[tuple[ten.App, ten.Client], None]:
    """An app that echoes, and a client of its graph."""
    protocols = [network.protocol]
    graph = ten.Graph()
    graph.node("echo", Echo)
    graph.expose("cmd_in", "ask", "echo")
    async with (
        ten.open_app(uri="memory://app", protocols=protocols) as app,
        app.open_graph(graph) as engine,
        ten.connect("memory://app", graph=engine.graph_id, protocols=protocols) as client,
    ):
        yield app, client


@pytest.mark.parametrize(
    ("how", "came"), [("", True), ("cut", False), ("stall", None), ("half_open", None)]
)
async def test_a_link_fails_as_it_is_told_to(
    how: str, came: bool | None, autojump_clock: object
) -> None:
    network = MemoryNetwork()
    async with echoing(network) as (app, client):
        assert (await client.send_cmd(ten.Cmd("ask"))).ok
        call = client.start_cmd(ten.Cmd("ask"))
        if how:
            getattr(network.links[0], how)()
        ok = None
        with trio.move_on_after(10):
            ok = (await call.result()).ok
        assert ok == came
        assert client.is_closed == (how == "cut")
        lost = how in ("cut", "half_open")
        await wait_all_tasks_blocked()
        assert app.network is not None
        assert app.network.connections == (0 if lost else 1)


async def test_a_planned_fault_comes_after_so_many_bytes(autojump_clock: object) -> None:
    network = MemoryNetwork()
    network.plan = [("cut", 10_000)]
    async with echoing(network) as (_, client):
        asked = 0
        with pytest.raises(ten.EngineClosed):
            while True:
                await client.send_cmd(ten.Cmd("ask", {"text": "x" * 1_000}))
                asked += 1
        assert 5 <= asked <= 10


async def test_nobody_listens_there(autojump_clock: object) -> None:
    network = MemoryNetwork()
    with pytest.raises(ten.ConnectFailed):
        async with ten.connect("memory://nobody", protocols=[network.protocol]):
            pass


async def test_a_name_is_listened_at_once(autojump_clock: object) -> None:
    network = MemoryNetwork()
    async with echoing(network):
        with pytest.raises(OSError, match="there is a listener of that name"):
            async with ten.open_app(uri="memory://app", protocols=[network.protocol]):
                pass


async def test_a_link_that_is_to_have_no_fault_has_none(autojump_clock: object) -> None:
    network = MemoryNetwork()
    network.plan = [("none", 100)]
    async with echoing(network) as (_, client):
        for _ in range(10):
            assert (await client.send_cmd(ten.Cmd("ask"))).ok
