"""A graph that closes takes nothing more from outside: neither commands nor data."""

from __future__ import annotations

import trio

import ten_trio as ten
from ten_trio.testing import MemoryNetwork


class Slow(ten.Extension):
    """Takes a second to stop, and notes what comes."""

    heard: list[int]

    async def on_init(self, env: ten.TenEnv) -> None:
        self.heard = []

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok())

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        self.heard.append(data["n"])

    async def on_stop(self, env: ten.TenEnv) -> None:
        await trio.sleep(1)


async def test_data_of_a_client_is_refused_once_its_graph_closes(autojump_clock: object) -> None:
    network = MemoryNetwork()
    protocols = [network.protocol]
    slow = Slow()
    graph = ten.Graph()
    graph.node("it", lambda: slow)
    async with (
        ten.open_app(uri="memory://app", protocols=protocols) as app,
        app.open_graph(graph) as engine,
        ten.connect("memory://app", graph=engine.graph_id, protocols=protocols) as client,
    ):
        there = ten.Loc("", engine.graph_id, "it")
        await client.send_data(ten.Data("note", {"n": 1}, dest=there))
        assert (await client.send_cmd(ten.Cmd("sync", dest=there))).ok
        engine.stop()
        await client.send_data(ten.Data("note", {"n": 2}, dest=there))
        assert not (await client.send_cmd(ten.Cmd("sync", dest=there))).ok
        report = await engine.wait_closed()
    assert slow.heard == [1]
    assert report.undelivered == 1


async def test_a_client_says_how_it_is() -> None:
    network = MemoryNetwork()
    protocols = [network.protocol]
    async with ten.open_app(uri="memory://app", protocols=protocols):
        async with ten.connect("memory://app", protocols=protocols) as client:
            assert repr(client).endswith(" connected>")
        assert repr(client).endswith(" closed>")
