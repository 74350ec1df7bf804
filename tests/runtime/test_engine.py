"""The engine: starts that fail, and changes to a running graph, each all or nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

import pytest
import trio

import ten_trio as ten


class Echo(ten.Extension):
    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok(by=env.name))


class Collects(ten.Extension):
    def __init__(self, into: list[str]) -> None:
        self.into = into

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        self.into.append(data.name)


class Sends(ten.Extension):
    """Sends along the graph what it is sent as `send`."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        sent = await env.send_data(ten.Data(cmd.get_property_string("name")))
        await env.return_result(cmd.ok(sent=sent))


async def send(engine: ten.Engine, name: str = "x") -> bool:
    """Let `a` send data along the graph; whether an edge took it anywhere."""
    result = await engine.send_cmd(ten.Cmd("send", {"name": name}, dest="a"))
    await trio.testing.wait_all_tasks_blocked()
    return result.unwrap().get_property_bool("sent")


def raising(error: Exception) -> Callable[..., Awaitable[None]]:
    async def callback(*_: object) -> None:
        raise error

    return callback


# Starts that fail ----------------------------------------------------------------------------------


async def test_an_unknown_addon_comes_out_of_the_line_that_opens_the_graph() -> None:
    graph = ten.Graph()
    graph.node("a", "no_such_addon")
    entered = False
    with pytest.RaisesGroup(pytest.RaisesExc(ten.AddonNotFound, match="no_such_addon")) as caught:
        async with ten.open_app() as app, app.open_graph(graph):
            entered = True
    assert not entered
    assert "while 'a' was created" in caught.value.exceptions[0].__notes__[0]


async def test_every_extension_is_created_although_some_fail() -> None:
    made = []

    def make(name: str) -> ten.Extension:
        made.append(name)
        if name != "c":
            raise KeyError(name)
        return ten.Extension()

    graph = ten.Graph()
    for name in "abc":
        graph.node(name, make)
    with pytest.RaisesGroup(
        pytest.RaisesExc(KeyError, match="a"), pytest.RaisesExc(KeyError, match="b")
    ):
        async with ten.open_app() as app, app.open_graph(graph):
            pass
    assert made == ["a", "b", "c"]


@pytest.mark.parametrize("stage", ["on_configure", "on_init", "on_start"])
async def test_a_stage_that_fails(stage: str) -> None:
    entered = False
    graph = ten.Graph()
    graph.node("a", type("Fails", (ten.Extension,), {stage: raising(KeyError(stage))}))
    graph.node("b", Echo)
    with pytest.RaisesGroup(pytest.RaisesExc(KeyError, match=stage)) as caught:
        async with ten.open_app() as app, app.open_graph(graph):
            entered = True
    assert not entered
    assert caught.value.exceptions[0].__notes__[0].startswith(f"in {stage} of 'a'")


async def test_wrong_settings_of_a_node_are_named() -> None:
    graph = ten.Graph()
    graph.node("a", Echo, on_error="explode")
    with pytest.RaisesGroup(
        pytest.RaisesExc(ten.GraphError, match=r"nodes\[a\]\.settings.*on_error")
    ):
        async with ten.open_app() as app, app.open_graph(graph):
            pass


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"on_eror": "isolate"}, 'unknown setting "on_eror"; did you mean "on_error"?'),
        (
            {"on_error": "ignore"},
            "on_error must be one of 'stop_graph', 'isolate', 'restart', not 'ignore'",
        ),
        ({"inline": "no"}, "inline must be one of True, False, not 'no'"),
    ],
)
async def test_a_wrong_setting_says_what_would_be_right(
    settings: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    graph = ten.Graph()
    graph.node("a", Echo, **settings)
    with pytest.RaisesGroup(ten.GraphError) as caught:
        async with ten.open_app() as app, app.open_graph(graph):
            pass
    assert str(caught.value.exceptions[0]) == f"nodes[a].settings: {message}"
    (record,) = [r for r in caplog.records if r.levelname == "ERROR"]
    assert message in record.getMessage()
    assert "while 'a' was created" in record.getMessage()
    assert record.exc_info is None


async def test_an_engine_says_what_state_it_is_in() -> None:
    graph = ten.Graph()
    graph.node("a", Echo)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        assert repr(engine).endswith(" running>")
        engine.stop()
        assert repr(engine).endswith(" closing>")
        await engine.wait_closed()
        assert repr(engine).endswith(" closed>")


async def test_a_graph_that_cannot_run_is_refused_at_once() -> None:
    graph = ten.Graph()
    graph.node("a", Echo)
    graph.connect("a", "missing", data="x")
    async with ten.open_app() as app:
        with pytest.raises(ten.GraphError, match='unknown extension "missing"'):
            async with app.open_graph(graph):
                pass
        assert app.engines == {}


@pytest.mark.parametrize("stage", ["on_configure", "on_init", "on_start", "factory"])
async def test_start_timeout_names_who_is_late(stage: str, autojump_clock: object) -> None:
    async def never(*_: object) -> None:
        await trio.sleep_forever()

    async def make() -> ten.Extension:
        if stage == "factory":
            await never()
        return type("Slow", (ten.Extension,), {stage: never})()

    graph = ten.Graph()
    graph.node("slow", make)
    graph.node("quick", Echo)
    start = trio.current_time()
    with pytest.raises(ten.StartTimeout, match="did not start in 2 s") as caught:
        async with ten.open_app() as app, app.open_graph(graph, start_timeout=2, grace=1):
            pass
    assert stage == "factory" or f"{{'slow': '{stage}'}}" in str(caught.value)
    assert trio.current_time() - start <= 4


async def test_an_async_factory_is_awaited(autojump_clock: object) -> None:
    async def make(name: str) -> ten.Extension:
        await trio.sleep(1)
        return Echo()

    graph = ten.Graph()
    graph.node("a", make)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        assert (await engine.send_cmd(ten.Cmd("x", dest="a"))).ok


async def test_a_graph_that_ends_itself_while_it_starts() -> None:
    class Brief(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            env.stop_graph()

    graph = ten.Graph()
    graph.node("brief", Brief)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        report = await engine.wait_closed()
    assert report.reason == "stop_graph"
    assert not report.failures


async def test_extensions_see_the_context_of_whoever_opens_the_graph() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="none")
    seen = []

    class Looks(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            seen.append(variable.get())
            variable.set("of the extension")

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            seen.append(variable.get())
            variable.set("of the handler")
            await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("a", Looks)
    variable.set("of the opener")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        for _ in range(2):
            await engine.send_cmd(ten.Cmd("x", dest="a"))
    assert seen == ["of the opener", "of the extension", "of the extension"]
    assert variable.get() == "of the opener"


# Adding --------------------------------------------------------------------------------------------


async def test_add_extension() -> None:
    async with ten.open_app() as app, app.open_graph(ten.Graph()) as engine:
        await engine.add_extension("a", Echo, group="late", property={"x": 1})
        assert engine.extensions == ("a",)
        result = await engine.send_cmd(ten.Cmd("hello", dest="a"))
        assert result["by"] == "a"
    assert engine.report is not None
    assert set(engine.report.extensions) == {"a"}


async def test_add_extension_waits_for_on_start(autojump_clock: object) -> None:
    class Slow(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            await trio.sleep(2)

    async with ten.open_app() as app, app.open_graph(ten.Graph()) as engine:
        start = trio.current_time()
        await engine.add_extension("a", Slow)
        assert trio.current_time() - start == 2


async def test_add_extension_does_not_wait_for_a_manual_trigger() -> None:
    manual = {"ten": {"manual_trigger_life_cycle": [{"stage": "start"}]}}
    async with ten.open_app() as app, app.open_graph(ten.Graph()) as engine:
        await engine.add_extension("a", Echo, property=manual)
        assert (await engine.send_cmd(ten.TriggerLifeCycle(stage="start", dest="a"))).ok


async def test_a_name_is_given_once() -> None:
    async with ten.open_app() as app, app.open_graph(ten.Graph()) as engine:
        await engine.add_extension("a", Echo)
        with pytest.raises(ten.GraphError, match="already has a node 'a'"):
            await engine.add_extension("a", Echo)


async def test_a_name_is_given_once_also_at_the_same_time(autojump_clock: object) -> None:
    async def make() -> ten.Extension:
        await trio.sleep(1)
        return Echo()

    async with ten.open_app() as app, app.open_graph(ten.Graph()) as engine:
        with pytest.RaisesGroup(ten.GraphError):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(engine.add_extension, "a", make)
                nursery.start_soon(engine.add_extension, "a", make)
        with trio.fail_after(1):
            while "a" not in engine.extensions:
                await engine.add_extension("a", Echo)
        assert (await engine.send_cmd(ten.Cmd("x", dest="a"))).ok


class Starts(Echo):
    async def on_start(self, env: ten.TenEnv) -> None:
        pass


@pytest.mark.parametrize("kind", [Echo, Starts])
async def test_an_extension_is_not_added_if_whoever_adds_it_is_cancelled(
    kind: type[ten.Extension],
) -> None:
    async with ten.open_app() as app, app.open_graph(ten.Graph()) as engine:
        with trio.CancelScope() as scope:
            scope.cancel()
            await engine.add_extension("a", kind)
        assert scope.cancelled_caught
        assert not engine.extensions


@pytest.mark.parametrize("stage", ["factory", "on_configure", "on_init", "on_start"])
async def test_an_extension_that_fails_to_start_is_not_added(stage: str) -> None:
    ended = []

    class Leaves(ten.Extension):
        async def on_deinit(self, env: ten.TenEnv) -> None:
            ended.append(env.name)

    def make() -> ten.Extension:
        if stage == "factory":
            raise KeyError(stage)
        return type("Fails", (Leaves,), {stage: raising(KeyError(stage))})()

    graph = ten.Graph()
    graph.node("b", Echo)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        with pytest.raises(KeyError, match=stage):
            await engine.add_extension("a", make, group="late")
        assert ended == ([] if stage == "factory" else ["a"])
        assert engine.extensions == ("b",)
        assert (await engine.send_cmd(ten.Cmd("x", dest="b"))).ok, "the graph goes on"
        await engine.add_extension("a", Echo, group="late")
        assert (await engine.send_cmd(ten.Cmd("x", dest="a"))).ok
    assert engine.report is not None
    assert not engine.report.failures


async def test_add_extension_that_is_cancelled_adds_nothing(autojump_clock: object) -> None:
    log = []

    class Slow(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            await trio.sleep(2)

        async def on_stop(self, env: ten.TenEnv) -> None:
            log.append("on_stop")

        async def on_deinit(self, env: ten.TenEnv) -> None:
            log.append("on_deinit")

    async with ten.open_app() as app, app.open_graph(ten.Graph()) as engine:
        with trio.move_on_after(1) as scope:
            await engine.add_extension("a", Slow)
        assert scope.cancelled_caught
        assert log == ["on_stop", "on_deinit"]
        assert engine.extensions == ()


async def test_a_graph_that_closes_meanwhile_adds_nothing(autojump_clock: object) -> None:
    class Slow(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            await trio.sleep(2)

    async def make_slowly() -> ten.Extension:
        await trio.sleep(2)
        return Echo()

    async with ten.open_app() as app, app.open_graph(ten.Graph()) as engine:
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def _add_started() -> None:
                with pytest.raises(ten.EngineClosed):
                    await engine.add_extension("a", Slow)

            @nursery.start_soon
            async def _add_made() -> None:
                with pytest.raises(ten.EngineClosed):
                    await engine.add_extension("b", make_slowly)

            await trio.sleep(1)
            engine.stop()


# Removing ------------------------------------------------------------------------------------------


async def test_remove_extension_stops_it_in_order() -> None:
    log = []

    class Notes(Echo):
        async def on_stop(self, env: ten.TenEnv) -> None:
            log.append("on_stop")

        async def on_deinit(self, env: ten.TenEnv) -> None:
            log.append("on_deinit")

    graph = ten.Graph()
    graph.node("a", Notes)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.remove_extension("a")
        assert log == ["on_stop", "on_deinit"]
        assert engine.extensions == ()
        result = await engine.send_cmd(ten.Cmd("x", dest="a"))
        assert result.detail == "The destination extension has been terminated."
        with pytest.raises(ten.GraphError, match="no node 'a'"):
            await engine.remove_extension("a")
        await engine.add_extension("a", Notes)
        assert (await engine.send_cmd(ten.Cmd("x", dest="a"))).ok
    assert log == ["on_stop", "on_deinit"] * 2


async def test_what_was_queued_is_handled_and_nothing_new_comes() -> None:
    got: list[str] = []

    class Slow(Collects):
        async def on_stop(self, env: ten.TenEnv) -> None:
            stopping.set()
            await may_stop.wait()

    stopping, may_stop = trio.Event(), trio.Event()
    graph = ten.Graph()
    graph.node("a", Sends)
    graph.node("b", lambda: Slow(got))
    graph.connect("a", "b", data="x")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        assert await send(engine)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.remove_extension, "b")
            await stopping.wait()
            assert not await send(engine)
            may_stop.set()
    assert got == ["x"]


async def test_an_extension_that_leaves_may_say_farewell_along_its_edges() -> None:
    got: list[str] = []

    class Leaves(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            assert await env.send_data(ten.Data("farewell"))

    graph = ten.Graph()
    graph.node("a", Leaves)
    graph.node("b", lambda: Collects(got))
    graph.connect("a", "b", data="farewell")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.remove_extension("a")
        await trio.testing.wait_all_tasks_blocked()
        assert got == ["farewell"]


async def test_pending_commands_of_and_to_a_removed_extension_end() -> None:
    class Holds(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await cmd.abandoned.wait()
            abandoned.append(env.name)

    class Asks(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            env.nursery.start_soon(self.ask, env)

        async def ask(self, env: ten.TenEnv) -> None:
            await env.send_cmd(ten.Cmd("hold", dest="holds"))

    abandoned: list[str] = []
    graph = ten.Graph()
    graph.node("holds", Holds)
    graph.node("asks", Asks)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        call = engine.start_cmd(ten.Cmd("hold", dest="holds"))
        await engine.remove_extension("asks")
        await trio.testing.wait_all_tasks_blocked()
        assert abandoned == ["holds"]
        await engine.remove_extension("holds")
        result = await call.result()
        assert not result.ok
        assert "extension removed" in result.detail


async def test_a_removal_has_the_graphs_grace(autojump_clock: object) -> None:
    class Stuck(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            await trio.sleep_forever()

    graph = ten.Graph()
    graph.node("a", Stuck)
    graph.node("b", Echo)
    async with ten.open_app() as app, app.open_graph(graph, grace=3) as engine:
        start = trio.current_time()
        await engine.remove_extension("a")
        assert trio.current_time() - start == 3
        assert engine.extensions == ("b",)


async def test_a_removal_goes_on_although_nobody_waits_for_it(autojump_clock: object) -> None:
    class Stuck(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            await trio.sleep_forever()

    graph = ten.Graph()
    graph.node("a", Stuck)
    async with ten.open_app() as app, app.open_graph(graph, grace=3) as engine:
        with trio.move_on_after(1):
            await engine.remove_extension("a")
        assert engine.extensions == ("a",)
        with pytest.raises(ten.GraphError, match="no node 'a'"):
            await engine.remove_extension("a")
        await trio.sleep(3)
        assert engine.extensions == ()


async def test_a_close_while_an_extension_is_being_removed(autojump_clock: object) -> None:
    class Stuck(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            await trio.sleep_forever()

    graph = ten.Graph()
    graph.node("a", Stuck)
    start = trio.current_time()
    async with ten.open_app() as app, app.open_graph(graph, grace=3) as engine:
        with trio.move_on_after(1):
            await engine.remove_extension("a")
        engine.stop()
    assert trio.current_time() - start <= 5
    assert engine.report is not None
    assert set(engine.report.slow) <= {"a"}


async def test_an_extension_that_is_over_can_be_removed() -> None:
    class Fails(ten.Extension):
        on_error = "isolate"

        async def on_start(self, env: ten.TenEnv) -> None:
            raise KeyError("on purpose")

    graph = ten.Graph()
    graph.node("a", Fails)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.remove_extension("a")
        assert engine.extensions == ()
        await engine.add_extension("a", Echo)
        assert (await engine.send_cmd(ten.Cmd("x", dest="a"))).ok


async def test_the_last_extension_comes_and_goes() -> None:
    log: list[str] = []

    class Slow(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            await trio.lowlevel.checkpoint()
            log.append("on_stop")

    async with ten.open_app() as app, app.open_graph(ten.Graph()) as engine:
        for _ in range(3):
            await engine.add_extension("a", Slow)
            await engine.remove_extension("a")
        await engine.add_extension("a", Slow)
    assert log == ["on_stop"] * 4
    assert engine.report is not None
    assert engine.report.extensions["a"].on_stop is not None


@pytest.mark.parametrize("policy", ["stop_graph", "isolate", "restart"])
async def test_a_failure_in_the_on_stop_of_a_removal(policy: str) -> None:
    class Fails(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            raise KeyError("on purpose")

    graph = ten.Graph()
    graph.node("a", Fails, on_error=policy)
    failed = False
    try:
        async with ten.open_app() as app, app.open_graph(graph) as engine:
            await engine.remove_extension("a")
            await trio.lowlevel.checkpoint()
    except* KeyError:
        failed = True
    assert failed == (policy == "stop_graph")


# Edges ---------------------------------------------------------------------------------------------


async def test_connect_and_disconnect() -> None:
    got: list[str] = []
    graph = ten.Graph()
    graph.node("a", Sends)
    graph.node("b", lambda: Collects(got))
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        assert not await send(engine)
        await engine.connect("a", "b", data=["x", "y"])
        assert await send(engine)
        assert await send(engine, "y")
        await engine.disconnect("a", "b", data="x")
        assert not await send(engine)
        assert await send(engine, "y")
    assert got == ["x", "y", "y"]


async def test_connect_to_several() -> None:
    got: list[str] = []
    graph = ten.Graph()
    graph.node("a", Sends)
    graph.node("b", lambda: Collects(got))
    graph.node("c", lambda: Collects(got))
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.connect("a", ["b", "c"], data="x")
        assert await send(engine)
    assert got == ["x", "x"]


async def test_a_connect_with_one_mistake_changes_nothing() -> None:
    got: list[str] = []
    graph = ten.Graph()
    graph.node("a", Sends)
    graph.node("b", lambda: Collects(got))
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        with pytest.raises(ten.GraphError, match='unknown extension "nobody"'):
            await engine.connect("a", ["b", "nobody"], data="x")
        assert not await send(engine)


async def test_a_disconnect_with_one_mistake_changes_nothing() -> None:
    got: list[str] = []
    graph = ten.Graph()
    graph.node("a", Sends)
    graph.node("b", lambda: Collects(got))
    graph.connect("a", "b", data="x")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        with pytest.raises(ten.GraphError, match='there is no data "y"'):
            await engine.disconnect("a", "b", data=["x", "y"])
        assert await send(engine)


async def test_an_added_extension_can_be_connected_at_once() -> None:
    got: list[str] = []
    graph = ten.Graph()
    graph.node("a", Sends)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.add_extension("b", lambda: Collects(got))
        await engine.connect("a", "b", data="x")
        assert await send(engine)
        await engine.remove_extension("b")
        assert not await send(engine), "its edges have gone with it"
        await engine.add_extension("b", lambda: Collects(got))
        assert not await send(engine)


async def test_a_closed_graph_is_not_changed() -> None:
    graph = ten.Graph()
    graph.node("a", Sends)
    graph.node("b", Echo)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        engine.stop()
        with pytest.raises(ten.EngineClosed):
            await engine.connect("a", "b", data="x")
        with pytest.raises(ten.EngineClosed):
            await engine.add_extension("c", Echo)
        with pytest.raises(ten.EngineClosed):
            await engine.remove_extension("a")
