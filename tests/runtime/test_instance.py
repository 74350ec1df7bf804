"""A running extension: what is discarded of its queue, exactly."""

from __future__ import annotations

import pytest
import trio

import ten_trio as ten
from ten_trio.runtime.current import NOTHING


class Flushed(ten.Extension):
    def __init__(self) -> None:
        self.got: list[str] = []

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        self.got.append(data.name)
        if data.name == "slow":
            await trio.sleep(1)

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        before = cmd if cmd.name == "flush" else None
        await env.return_result(cmd.ok(n=env.discard_queued(sent_before=before)))


def flushed() -> tuple[ten.Graph, Flushed]:
    extension = Flushed()
    graph = ten.Graph()
    graph.node("it", lambda: extension)
    return graph, extension


@pytest.mark.parametrize("name", ["flush", "flush everything"])
async def test_discard_queued(name: str, autojump_clock: object) -> None:
    graph, extension = flushed()
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        for data in ("slow", "a", "b"):
            await engine.send_data(ten.Data(data, dest="it"))
        call = engine.start_cmd(ten.Cmd(name, dest="it"))
        await engine.send_data(ten.Data("c", dest="it"))
        discarded = (await call.result())["n"]
        await trio.sleep(2)
    kept = extension.got[1:]
    assert kept in (["c"], []) if name != "flush" else kept == ["c"]
    assert discarded == 3 - len(kept)
    assert engine.report is not None
    assert engine.report.extensions["it"].dropped == {"discarded": discarded}


async def test_what_is_on_its_way_to_its_worker_counts_as_queued(autojump_clock: object) -> None:
    graph, extension = flushed()
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        host, it = engine._core.host, engine._core.instances["it"]
        for name in ("before", "more"):
            # Handed to the worker that was waiting for it; no other task runs in between.
            host.post(ten.Data(name, dest="it"), NOTHING)
        assert it.discard_queued(None) == 2
        host.post(ten.Data("after", dest="it"), NOTHING)
        await trio.testing.wait_all_tasks_blocked()
    assert extension.got == ["after"]
    assert engine.report is not None
    assert engine.report.dropped == 2


async def test_no_command_overtakes_data_once_no_handler_waits(autojump_clock: object) -> None:
    for _ in range(20):  # the order in which tasks run is drawn anew each time
        graph, extension = flushed()
        async with ten.open_app() as app, app.open_graph(graph) as engine:
            await engine.send_data(ten.Data("slow", dest="it"))
            await trio.sleep(2)
            host, call = engine._core.host, ten.Call()
            host.post(ten.Data("before", dest="it"), NOTHING)
            host.start(ten.Cmd("flush", dest="it"), call, NOTHING)
            host.post(ten.Data("after", dest="it"), NOTHING)
            assert (await call.result()).get_property_int32("n") == 0
            await trio.testing.wait_all_tasks_blocked()
        assert extension.got[1:] == ["before", "after"]
