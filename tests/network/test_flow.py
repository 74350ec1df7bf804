"""Flow policies over two apps: the app of the receiver keeps to them, whoever started the graph."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import ten_trio as ten
from ten_trio.graphs import Graph
from ten_trio.graphs.loading import read_graph, write_graph
from ten_trio.messages import StartGraph
from ten_trio.network.codecs.graph_form import add_policies, policies, to_wire
from tests.network.apps import LOOPBACK, Spread, opened_apps, until
from tests.runtime.acting import acting

pytestmark = pytest.mark.slow

COUNT = 10


async def talk(env: ten.TenEnv, cmd: ten.Cmd) -> None:
    """Send so many numbers, then answer."""
    for number in range(COUNT):
        await env.send_data(ten.Data("d", {"n": number}))
    await env.return_result(cmd.ok())


def far_addon() -> type[ten.Extension]:
    """Is held up by the first message until it is told to go on."""

    class Far(ten.Extension):
        handled: list[int] = []  # noqa: RUF012 - of this test alone

        def __init__(self) -> None:
            self.go = trio.Event()

        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            await self.go.wait()
            self.handled.append(data["n"])

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            self.go.set()
            await env.return_result(cmd.ok())

    return Far


def spread(near: Any, far: Any, **flow: Any) -> ten.Graph:
    graph = Spread()
    graph.node("near", near)
    graph.node("far", far)
    graph.connect("near", "far", kinds=["data"], name="d")
    graph.connections[-1]["data"][0]["dest"][0]["flow"] = flow
    graph.expose("cmd_in", "talk", "near")
    graph.expose("cmd_in", "go", "far")
    return graph.graph


@pytest.mark.parametrize("own_loop", [False, True])
@pytest.mark.parametrize("starter", [0, 1])
@pytest.mark.parametrize("uri", [LOOPBACK, "ws://127.0.0.1:0"])
async def test_the_gate_is_in_the_receivers_app(uri: str, starter: int, own_loop: bool) -> None:
    far = far_addon()
    addons = {"near": acting(on_cmd=talk), "far": far}
    async with opened_apps(2, addons, uris=[uri] * 2, own_loop=own_loop) as apps:
        here, there = apps[starter], apps[1 - starter]
        graph = spread(here, there, capacity=2, on_full="drop_oldest")
        async with here.open_graph(graph) as engine:
            core = there.engines[engine.graph_id]
            flows = getattr(core, "core", core).flows
            edge = f"{here.uri} near → far data d"
            await engine.send_cmd(ten.Cmd("talk"))
            await until(lambda: flows.reports()[edge].sent == COUNT)
            assert engine.flows == {}
            await engine.send_cmd(ten.Cmd("go"))
            await until(lambda: far.handled and far.handled[-1] == COUNT - 1)
            report = flows.reports()[edge]
            # How many were let in before the first handler began to wait is the reader's affair.
            assert far.handled[-2:] == [COUNT - 2, COUNT - 1]
            assert far.handled == sorted(far.handled)
            assert report.handled == len(far.handled)
            assert report.dropped == {"drop_oldest": COUNT - report.handled}


async def test_an_edge_that_waits_holds_up_nothing_else() -> None:
    far = far_addon()
    addons = {"near": acting(on_cmd=talk), "far": far}
    async with opened_apps(2, addons) as (here, there):
        async with here.open_graph(spread(here, there, capacity=1, on_full="wait")) as engine:
            await engine.send_cmd(ten.Cmd("talk"))
            # The connection is read on after a while: this command comes behind all of the data.
            await engine.send_cmd(ten.Cmd("go"))
            await until(lambda: len(far.handled) == COUNT)
    assert far.handled == list(range(COUNT))


async def test_a_client_starts_a_graph_with_policies() -> None:
    far = far_addon()
    graph = ten.Graph()
    graph.node("near", "near")
    graph.node("far", "far")
    graph.connect("near", "far", data="d", flow=ten.FlowPolicy(on_full="coalesce"))
    graph.expose("cmd_in", "talk", "near")
    graph.expose("cmd_in", "go", "far")
    addons = {"near": acting(on_cmd=talk), "far": far}
    async with opened_apps(1, addons) as (app,), ten.connect(app.uri) as client:
        graph_id = await client.start_graph(graph)
        await client.send_cmd(ten.Cmd("talk"))
        core: Any = app.engines[str(graph_id or next(iter(app.engines)))]
        (report,) = core.flows.reports().values()
        assert report.sent == COUNT
        assert report.dropped.get("coalesce", 0) >= COUNT - 2
        await client.send_cmd(ten.Cmd("go"))
        await until(lambda: COUNT - 1 in far.handled)


# On the wire ---------------------------------------------------------------------------------------


def test_what_the_original_is_told_says_nothing_of_it() -> None:
    graph = spread("msgpack://one:1/", "msgpack://two:2/", capacity=2)
    msg = StartGraph(graph=graph, dest=ten.Loc("msgpack://two:2/", "id", None))
    nodes, connections, text = to_wire(msg)
    assert (len(nodes), text) == (2, "")
    assert "flow" not in str(connections)
    written = write_graph(graph)
    said = policies(written)
    edge = ["msgpack://one:1/", "near", "data", "d", "msgpack://two:2/", "far"]
    assert said == [{"edge": edge, "flow": {"capacity": 2}}]
    bare = write_graph(Graph.from_json(graph.to_json()))
    del bare["connections"][0]["data"][0]["dest"][0]["flow"]
    add_policies(bare, said)
    assert read_graph(bare) == graph


@pytest.mark.parametrize(
    "said",
    [None, 1, "flow", [1], [{}], [{"edge": 3}], [{"edge": ["a"], "flow": {}}], [{"flow": {}}]],
)
def test_what_makes_no_sense_is_left_out(said: Any) -> None:
    graph = spread("msgpack://one:1/", "msgpack://two:2/", capacity=2)
    written = write_graph(graph)
    add_policies(written, said)
    assert read_graph(written) == graph
