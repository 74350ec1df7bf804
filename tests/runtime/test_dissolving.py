"""A closed graph is freed at once, without the garbage collector; what is still held says it is closed."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import ten_trio as ten
from tests.runtime.acting import acting, answer, opened

pytestmark = pytest.mark.trio

EVERYTHING = {
    "flow": {"flow": ten.FlowPolicy(capacity=2, on_full="drop_oldest")},
    "plain": {},
}


@pytest.fixture(autouse=True)
def no_collector() -> Any:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Traced:
    """Weak references to what is made; what is left of it."""

    def __init__(self) -> None:
        self.refs: list[weakref.ref[Any]] = []

    def made(self, kind: Callable[[], ten.Extension]) -> Callable[[str], ten.Extension]:
        """An addon that makes extensions of that kind."""

        def make(name: str) -> ten.Extension:
            extension = kind()
            self.refs.append(weakref.ref(extension))
            return extension

        return make

    @property
    def left(self) -> list[Any]:
        return [ref() for ref in self.refs if ref() is not None]


async def relay(env: ten.TenEnv, data: ten.Data) -> None:
    await env.send_data(data)


async def busy(env: ten.TenEnv, cmd: ten.Cmd) -> None:
    """Everything that leaves something behind: a turn, a timer, a task, a nested command, a wait."""
    turn = env.new_turn(budget=60)
    env.post_cmd(ten.Timer(timer_id=1, timeout_us=1_000_000, times=0))
    env.nursery.start_soon(trio.sleep_forever)
    await env.send_data(ten.Data("x"), turn=turn)
    await env.send_cmd(ten.Cmd("ask", dest="b"))
    await trio.lowlevel.checkpoint()
    await env.return_result(cmd.ok())


def graph_of(traced: Traced, **edge: Any) -> ten.Graph:
    graph = ten.Graph()
    graph.node("a", traced.made(acting(on_data=relay, on_cmd=busy)))
    graph.node("b", traced.made(acting(on_data=relay, on_cmd=answer)), group="other")
    graph.node("c", traced.made(acting(on_data=relay)))
    graph.connect("a", ["b", "c"], data="x", **edge)
    return graph


@pytest.mark.parametrize("own_loop", [False, True])
@pytest.mark.parametrize("edge", EVERYTHING.values(), ids=EVERYTHING)
async def test_nothing_is_left_of_a_closed_graph(edge: Any, own_loop: bool) -> None:
    traced = Traced()
    graph = graph_of(traced, **edge)
    async with ten.open_app() as app:
        async with app.open_graph(graph, own_loop=own_loop) as engine:
            assert (await engine.send_cmd(ten.Cmd("go", dest="a"))).ok
            await engine.stats()
            await engine.explain()
            async with engine.tap():
                await engine.send_data(ten.Data("x", dest="a"))
            if not own_loop:
                await wait_all_tasks_blocked()
        core = weakref.ref(engine._core)
        assert len(traced.left) == 3  # somebody may still ask
        assert engine.report is not None
        del engine
        await trio.lowlevel.checkpoint()
        assert traced.left == []
        assert core() is None


async def test_nor_of_one_whose_handle_another_thread_has() -> None:
    traced = Traced()
    async with ten.open_app() as app:
        handles = [await app.start_graph(graph_of(traced)) for _ in range(3)]
        for handle in handles:
            handle.stop()
            await handle.wait_closed()
        del handle
        assert len(traced.left) == 9
        await trio.to_thread.run_sync(handles.clear)
        assert traced.left == []


async def test_what_comes_late_finds_a_closed_graph() -> None:
    async with ten.open_app() as app:
        async with app.open_graph(graph_of(Traced())) as engine:
            core = engine._core
        del engine
        assert core.admit_data("a", ten.Data("x")) is None
        core.request_close("again", within=0)
        core.hasten()


async def test_nor_of_one_that_nobody_has_asked_for() -> None:
    traced = Traced()
    async with ten.open_app() as app:
        engine = await app.start_graph(graph_of(traced))
        graph_id = engine.graph_id
        del engine
        report = await app.stop_graph(graph_id)
        assert report.extensions.keys() == {"a", "b", "c"}
        del report
        await wait_all_tasks_blocked()
        assert traced.left == []
        assert [each.graph_id for each in app.reports] == [graph_id]


async def test_a_failed_one_is_left_to_the_collector() -> None:
    """The failure's traceback has the extension in its frames, and the frames have the failure."""
    traced = Traced()

    async def fail(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        raise ValueError("no")

    graph = ten.Graph()
    graph.node("f", traced.made(acting(on_cmd=fail)))
    async with ten.open_app() as app:
        with pytest.RaisesGroup(ValueError):
            async with app.open_graph(graph) as engine:
                engine.post_cmd(ten.Cmd("go", dest="f"))
                await trio.sleep_forever()
        del engine
        gc.collect()
        assert traced.left == []


async def test_what_is_still_held_says_that_it_is_closed() -> None:
    held: list[ten.TenEnv] = []
    cmds: list[ten.Cmd] = []

    async def keep(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        held.append(env)
        cmds.append(cmd)

    graph = ten.Graph()
    graph.node("a", acting(on_cmd=keep))
    async with opened(graph) as engine:
        call = engine.start_cmd(ten.Cmd("go", dest="a"))
        await wait_all_tasks_blocked()
    graph_id = engine.graph_id
    assert not (await call.result()).ok
    del engine
    (env,), (cmd,) = held, cmds
    assert (env.name, env.graph_id) == ("a", graph_id)
    with pytest.raises(ten.EnvClosed):
        await env.send_data(ten.Data("x"))
    with pytest.raises(ten.EnvClosed):
        await env.send_cmd(ten.Cmd("x"))
    with pytest.raises(ten.EnvClosed):
        await env.return_result(cmd.ok())
    assert env.discard_queued() == 0
    assert cmd.abandoned.is_set() or cmd.time_left >= 0
    assert await env.cancel_turn("unknown") is None
    turn = env.new_turn()
    assert await env.cancel_turn(turn) is not None
    assert "'a'" in repr(env)


async def test_the_handle_tells_of_it_as_long_as_it_is_there() -> None:
    async with opened(graph_of(Traced())) as engine:
        pass
    assert engine.extensions == ("a", "b", "c")
    assert [each.name for each in (await engine.stats()).extensions] == ["a", "b", "c"]
    assert (await engine.explain()).state.startswith("closing")
    with pytest.raises(ten.EngineClosed):
        await engine.send_data(ten.Data("x", dest="a"))


@asynccontextmanager
async def watched(app: ten.App) -> AsyncGenerator[list[ten.Engine], None]:
    seen: list[ten.Engine] = []
    app.on_graph = seen.append
    yield seen
    app.on_graph = None


async def test_of_a_graph_that_could_not_be_made_nobody_is_told() -> None:
    def fail(name: str) -> ten.Extension:
        raise ValueError("no")

    def single(name: str) -> dict[str, Any]:
        node = {"type": "extension", "name": "x", "addon": name}
        return {"name": name, "singleton": True, "graph": {"nodes": [node]}}

    source = {"ten": {"predefined_graphs": [single("bad"), single("good")]}}
    async with ten.open_app(source) as app, watched(app) as seen:
        app.addons.register("bad", fail)
        app.addons.register("good", acting(on_cmd=answer))
        async with app.open_graph(ten.Graph()) as engine:
            assert not (await engine.send_cmd(ten.Cmd("go", dest=ten.Loc("", "bad", "x")))).ok
            assert (await engine.send_cmd(ten.Cmd("go", dest=ten.Loc("", "good", "x")))).ok
            await wait_all_tasks_blocked()
            assert [each.name for each in seen] == ["good"]


async def test_a_graph_that_ends_before_anybody_has_it() -> None:
    """It is over as soon as it is there."""

    async def end(env: ten.TenEnv) -> None:
        env.post_cmd(ten.StopGraph(graph_id=env.graph_id))

    graph = ten.Graph()
    graph.node("a", acting(on_configure=end))
    async with ten.open_app() as app, watched(app) as seen:
        engine = await app.start_graph(graph)
        await engine.wait_closed()
        assert engine.extensions == ("a",)
        assert len(seen) <= 1
