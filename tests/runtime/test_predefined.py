"""Predefined graphs, and the commands that start and stop graphs and close the app."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import trio

import ten_trio as ten

LOG: list[str] = []


class Echo(ten.Extension):
    """Answers with the id of its graph; notes its life."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok(graph=env.graph_id, app=env.app_uri))

    async def on_start(self, env: ten.TenEnv) -> None:
        LOG.append(f"{env.name} starts")

    async def on_stop(self, env: ten.TenEnv) -> None:
        LOG.append(f"{env.name} stops")

    async def on_deinit(self, env: ten.TenEnv) -> None:
        LOG.append(f"{env.name} ends")


class Slow(Echo):
    async def on_stop(self, env: ten.TenEnv) -> None:
        await trio.sleep(1)
        await super().on_stop(env)


class Forwards(ten.Extension):
    """Sends the command that it holds, and returns its result."""

    def __init__(self, cmd: ten.Cmd) -> None:
        self.cmd = cmd

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        result = await env.send_cmd(self.cmd)
        more = dict(result)
        await env.return_result(cmd.ok(ok=result.ok, **more))


class Fails(ten.Extension):
    async def on_init(self, env: ten.TenEnv) -> None:
        raise KeyError("on purpose")


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    LOG.clear()
    for kind in (Echo, Slow, Fails):
        ten.addons.register(f"test_{kind.__name__.lower()}", kind)
    yield
    for name in ("echo", "slow", "fails"):
        ten.addons.unregister(f"test_{name}")


def node(name: str, addon: str, **more: Any) -> dict[str, Any]:
    return {"type": "extension", "name": name, "addon": f"test_{addon}", **more}


def graph_json(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"nodes": list(nodes)}


def predefined(name: str, *nodes: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"name": name, "graph": graph_json(*nodes), **settings}


def app_of(*graphs: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"ten": {"predefined_graphs": list(graphs), **settings}}


ECHO = predefined("echo_graph", node("echo", "echo"))
SINGLETON = predefined("single", node("echo", "echo"), singleton=True)


async def asked(engine: ten.Engine, cmd: ten.Cmd, by: str) -> tuple[bool, str]:
    """Whether it went well and the detail of what `cmd` is answered with, when an extension or the
    host sends it."""
    if by == "host":
        result = await engine.send_cmd(cmd)
        return result.ok, result.detail
    result = await engine.send_cmd(ten.Cmd("go", dest="forwards"))
    return result.get_property_bool("ok"), result.get_property_string("detail", "")


def forwarding(cmd: ten.Cmd) -> ten.Graph:
    graph = ten.Graph()
    graph.node("forwards", lambda: Forwards(cmd))
    return graph


BY = pytest.mark.parametrize("by", ["host", "extension"])


# auto_start ----------------------------------------------------------------------------------------


async def test_auto_start() -> None:
    source = app_of(predefined("auto", node("echo", "echo"), auto_start=True), ECHO)
    async with ten.open_app(source) as app:
        assert [core.graph_name for core in app.engines.values()] == ["auto"]
        await trio.testing.wait_all_tasks_blocked()
        assert LOG == ["echo starts"]
    assert LOG == ["echo starts", "echo stops", "echo ends"]
    assert [report.reason for report in app.reports] == ["the app closes: its block is left"]


async def test_an_auto_start_that_fails_comes_out_of_open_app() -> None:
    bad = predefined("bad", {"type": "extension", "name": "x", "addon": "no_such"}, auto_start=True)
    entered = False
    with pytest.RaisesGroup(ten.AddonNotFound):
        async with ten.open_app(app_of(bad)):
            entered = True
    assert not entered


async def test_auto_start_can_be_left_to_somebody_else() -> None:
    source = app_of(predefined("auto", node("echo", "echo"), auto_start=True))
    async with ten.open_app(source, auto_start=False) as app:
        assert not app.engines
        engine = await app.start_predefined("auto")
        assert (await engine.send_cmd(ten.Cmd("x", dest="echo"))).ok


async def test_open_graph_by_name() -> None:
    async with ten.open_app(app_of(ECHO)) as app:
        async with app.open_graph("echo_graph") as one, app.open_graph("echo_graph") as two:
            assert one.graph_id != two.graph_id
            assert (await one.send_cmd(ten.Cmd("x", dest="echo")))["graph"] == one.graph_id


# Singletons ----------------------------------------------------------------------------------------


async def test_a_singleton_starts_on_demand_and_once() -> None:
    there = ten.Loc("", "single", "echo")
    async with ten.open_app(app_of(SINGLETON)) as app, app.open_graph(ten.Graph()) as engine:
        assert LOG == []
        first = await engine.send_cmd(ten.Cmd("x", dest=there))
        second = await engine.send_cmd(ten.Cmd("x", dest=there))
        assert first.unwrap()["graph"] == second.unwrap()["graph"]
        assert len(app.engines) == 2
        assert app.graph_id_of("single") == first["graph"]
    assert [report.reason for report in app.reports] == ["the app closes: its block is left"]


async def test_messages_for_a_starting_singleton_keep_their_order() -> None:
    got = []

    class Notes(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            got.append(data["n"])

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            got.append(cmd["n"])
            await env.return_result(cmd.ok())

    there = ten.Loc("", "single", "echo")
    source = app_of(predefined("single", node("echo", "notes"), singleton=True))
    async with ten.open_app(source) as app, app.open_graph(ten.Graph()) as engine:
        app.addons.register("test_notes", Notes)
        for n in range(5):
            await engine.send_data(ten.Data("x", {"n": n}, dest=there))
        assert (await engine.send_cmd(ten.Cmd("x", {"n": 5}, dest=there))).ok
    assert got == list(range(6))


async def test_an_auto_started_singleton_answers_to_its_name() -> None:
    source = app_of({**SINGLETON, "auto_start": True})
    async with ten.open_app(source) as app, app.open_graph(ten.Graph()) as engine:
        (core,) = [core for core in app.engines.values() if core.graph_name]
        result = await engine.send_cmd(ten.Cmd("x", dest=ten.Loc("", "single", "echo")))
        assert result["graph"] == core.graph_id


async def test_a_singleton_that_was_stopped_starts_anew() -> None:
    there = ten.Loc("", "single", "echo")
    async with ten.open_app(app_of(SINGLETON)) as app, app.open_graph(ten.Graph()) as engine:
        first = await engine.send_cmd(ten.Cmd("x", dest=there))
        await app.stop_graph("single")
        second = await engine.send_cmd(ten.Cmd("x", dest=there))
        assert first["graph"] != second.unwrap()["graph"]


async def test_a_singleton_that_cannot_start_leaves_nobody_waiting() -> None:
    bad = {"type": "extension", "name": "echo", "addon": "no_such"}
    source = app_of(predefined("single", bad, singleton=True))
    there = ten.Loc("", "single", "echo")
    async with ten.open_app(source) as app, app.open_graph(ten.Graph()) as engine:
        result = await engine.send_cmd(ten.Cmd("x", dest=there))
        assert not result.ok
        assert result.detail.startswith("closing: graph single")


async def test_what_is_no_singleton_is_not_started_on_demand() -> None:
    there = ten.Loc("", "echo_graph", "echo")
    async with ten.open_app(app_of(ECHO)) as app, app.open_graph(ten.Graph()) as engine:
        result = await engine.send_cmd(ten.Cmd("x", dest=there))
        assert result.detail == "Graph not found."


async def test_what_a_singleton_does_on_its_own_is_nobodys_handler() -> None:
    """Although a handler was running when it was started."""
    checkpoints = []

    class Looks(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            try:
                with trio.testing.assert_checkpoints():
                    await env.send_data(ten.Data("x", dest="echo"))
            except AssertionError:
                checkpoints.append(False)
            else:
                checkpoints.append(True)
            started.set()

    started = trio.Event()
    cmd = ten.Cmd("x", dest=ten.Loc("", "single", "echo"))
    source = app_of(predefined("single", node("echo", "looks"), singleton=True))
    async with ten.open_app(source) as app, app.open_graph(forwarding(cmd)) as engine:
        app.addons.register("test_looks", Looks)
        await asked(engine, cmd, "extension")
        await started.wait()
    assert checkpoints == [True]


# start_graph ---------------------------------------------------------------------------------------


@BY
@pytest.mark.parametrize("how", ["name", "json", "python"])
async def test_start_graph(by: str, how: str) -> None:
    started = ten.Graph()
    started.node("echo", Echo)
    cmd = {
        "name": ten.StartGraph(predefined_graph_name="echo_graph"),
        "json": ten.StartGraph(graph_json=json.dumps(graph_json(node("echo", "echo")))),
        "python": ten.StartGraph(graph=started),
    }[how]
    async with ten.open_app(app_of(ECHO)) as app, app.open_graph(forwarding(cmd)) as engine:
        if by == "host":
            result = await engine.send_cmd(cmd)
        else:
            result = await engine.send_cmd(ten.Cmd("go", dest="forwards"))
        graph_id = result.unwrap().get_property_string("graph_id")
        there = ten.Loc("", graph_id, "echo")
        assert (await engine.send_cmd(ten.Cmd("x", dest=there)))["graph"] == graph_id
        await app.stop_graph(graph_id)


FAILURES = {
    "name": (
        ten.StartGraph(predefined_graph_name="no_such"),
        "predefined_graphs: no predefined graph \"no_such\"; known: ['echo_graph']",
    ),
    "addon": (
        ten.StartGraph(graph_json=json.dumps(graph_json(node("x", "ech")))),
        'unknown addon "test_ech"; did you mean "test_echo"?',
    ),
    "check": (
        ten.StartGraph(
            graph_json=json.dumps(
                {
                    **graph_json(node("x", "echo")),
                    "connections": [
                        {"extension": "y", "data": [{"name": "d", "dest": [{"extension": "x"}]}]}
                    ],
                }
            )
        ),
        'connections[0].extension: unknown extension "y"',
    ),
}


@BY
@pytest.mark.parametrize("failure", FAILURES)
async def test_a_start_graph_that_fails_is_answered_with_the_reason(by: str, failure: str) -> None:
    cmd, detail = FAILURES[failure]
    async with ten.open_app(app_of(ECHO)) as app, app.open_graph(forwarding(cmd)) as engine:
        ok, found = await asked(engine, cmd, by)
        assert not ok
        assert detail in found
        await trio.testing.wait_all_tasks_blocked()
        assert list(app.engines) == [engine.graph_id], "the app lives on"


async def test_start_graph_is_answered_when_the_extensions_exist() -> None:
    """Whatever becomes of them afterwards."""
    cmd = ten.StartGraph(graph_json=json.dumps(graph_json(node("fails", "fails"))))
    async with ten.open_app() as app, app.open_graph(ten.Graph()) as engine:
        result = await engine.send_cmd(cmd)
        assert result.ok
        await trio.testing.wait_all_tasks_blocked()
        (report,) = app.reports
        assert report.graph_id == result["graph_id"]
        assert [type(failure) for failure in report.failures] == [KeyError]


async def test_an_app_that_closes_starts_nothing(autojump_clock: object) -> None:
    class Late(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            details.append((await env.send_cmd(ten.StartGraph(graph_json="{}"))).detail)

    details: list[str] = []
    graph = ten.Graph()
    graph.node("late", Late)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        app.request_close("enough")
        await engine.wait_closed()
    assert details == ["the app is closing: enough"]


# stop_graph ----------------------------------------------------------------------------------------


@BY
async def test_stop_graph_of_another_graph_is_answered_when_it_is_closed(
    by: str, autojump_clock: object
) -> None:
    cmd = ten.StopGraph()
    graph = ten.Graph()
    graph.node("slow", Slow)
    async with ten.open_app() as app, app.open_graph(forwarding(cmd)) as engine:
        other = await app.start_graph(graph)
        cmd.set_graph_id(other.graph_id)
        assert await asked(engine, cmd, by) == (True, "close engine done")
        assert LOG == ["slow starts", "slow stops", "slow ends"]
        assert other.report is not None
        gone = await asked(engine, cmd, by)
        assert gone == (False, "Failed to find the engine to be shut down.")


@BY
async def test_stop_graph_of_an_unknown_graph(by: str) -> None:
    cmd = ten.StopGraph(graph_id="unknown")
    async with ten.open_app() as app, app.open_graph(forwarding(cmd)) as engine:
        assert await asked(engine, cmd, by) == (
            False,
            "Failed to find the engine to be shut down.",
        )


@BY
@pytest.mark.parametrize("named", [False, True])
async def test_stop_graph_of_ones_own_graph_is_answered_before_the_close(
    by: str, named: bool
) -> None:
    cmd = ten.StopGraph()
    async with ten.open_app() as app, app.open_graph(forwarding(cmd)) as engine:
        if named:
            cmd.set_graph_id(engine.graph_id)
        assert await asked(engine, cmd, by) == (True, "close engine begins")
        report = await engine.wait_closed()
        assert report.reason == "stop_graph"


async def test_stop_graph_by_a_singletons_name() -> None:
    cmd = ten.StopGraph(graph_id="single")
    source = app_of({**SINGLETON, "auto_start": True})
    async with ten.open_app(source) as app, app.open_graph(ten.Graph()) as engine:
        assert (await engine.send_cmd(cmd)).detail == "close engine done"
        assert list(app.engines) == [engine.graph_id]


async def test_two_who_stop_the_same_graph_are_both_answered(autojump_clock: object) -> None:
    graph = ten.Graph()
    graph.node("slow", Slow)
    async with ten.open_app() as app, app.open_graph(ten.Graph()) as engine:
        other = await app.start_graph(graph)
        calls = [engine.start_cmd(ten.StopGraph(graph_id=other.graph_id)) for _ in range(2)]
        assert [(await call.result()).detail for call in calls] == ["close engine done"] * 2


async def test_stop_graph_is_answered_although_the_app_closes(autojump_clock: object) -> None:
    class Stops(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            details.append((await env.send_cmd(ten.StopGraph(graph_id=other.graph_id))).detail)

    details: list[str] = []
    stops, slow = ten.Graph(), ten.Graph()
    stops.node("stops", Stops)
    slow.node("slow", Slow)
    async with ten.open_app() as app:
        other = await app.start_graph(slow)
        await app.start_graph(stops)
    assert details == ["close engine done"]


async def test_env_stop_graph() -> None:
    class Stops(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            env.stop_graph()

    graph = ten.Graph()
    graph.node("stops", Stops)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.send_data(ten.Data("x", dest="stops"))
        assert (await engine.wait_closed()).reason == "stop_graph"


# close_app -----------------------------------------------------------------------------------------


@BY
@pytest.mark.parametrize("dest", [None, ten.Loc(""), ten.Loc("client:me")])
async def test_close_app_is_answered_before_the_close(by: str, dest: ten.Loc | None) -> None:
    cmd = ten.CloseApp(dest=dest)
    async with ten.open_app(uri="client:me") as app:
        other = await app.start_graph(forwarding(cmd))
        async with app.open_graph(forwarding(cmd)) as engine:
            assert await asked(engine, cmd, by) == (True, "close app begins")
            await app.wait_closed()
            for each in (engine, other):
                assert (await each.wait_closed()).reason == "the app closes: close_app"


# The other texts of the runtime --------------------------------------------------------------------


@BY
@pytest.mark.parametrize(
    ("dest", "detail"),
    [
        (ten.Loc("", "", "no_such"), "Failed to find destination."),
        (ten.Loc("", "no_such", "x"), "Graph not found."),
        (
            ten.Loc("msgpack://nowhere:1/", "g", "x"),
            "Could not find suitable remote based on uri: msgpack://nowhere:1/",
        ),
    ],
)
async def test_destinations_that_do_not_exist(by: str, dest: ten.Loc, detail: str) -> None:
    cmd = ten.Cmd("x", dest=dest)
    async with ten.open_app() as app, app.open_graph(forwarding(cmd)) as engine:
        assert await asked(engine, cmd, by) == (False, detail)


@BY
async def test_an_extension_that_was_removed(by: str) -> None:
    cmd = ten.Cmd("x", dest="echo")
    graph = forwarding(cmd)
    graph.node("echo", Echo)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.remove_extension("echo")
        detail = "The destination extension has been terminated."
        assert await asked(engine, cmd, by) == (False, detail)


async def test_an_extension_that_could_not_be_made(autojump_clock: object) -> None:
    """Its graph closes, but what the others send to it on the way is answered."""
    cmd = ten.Cmd("x", dest="broken")

    class Asks(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            details.append((await env.send_cmd(cmd)).detail)

    details: list[str] = []
    graph = ten.Graph()
    graph.node("asks", Asks)
    graph.node("broken", "no_such_addon")
    with pytest.RaisesGroup(ten.AddonNotFound):
        async with ten.open_app() as app, app.open_graph(graph):
            pass
    assert details == ["The extension[broken] is invalid."]


@BY
async def test_path_timeout(by: str, autojump_clock: object) -> None:
    class Holds(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await cmd.abandoned.wait()

    cmd = ten.Cmd("x", dest="holds")
    graph = forwarding(cmd)
    graph.node("holds", Holds)
    limits = ten.Limits(path_timeout=5)
    async with ten.open_app(limits=limits) as app, app.open_graph(graph) as engine:
        call = engine.start_cmd(ten.Cmd("go", dest="forwards"), timeout=100)
        result = await (engine.send_cmd(cmd) if by == "host" else call.result())
        assert result.get_property_string("detail") == "Path timeout."


# sync_stop_before_deinit ---------------------------------------------------------------------------

PAIR = (node("slow", "slow"), node("quick", "echo"))


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("how", ["start_graph", "command", "predefined"])
async def test_the_barrier_before_deinit(how: str, sync: bool, autojump_clock: object) -> None:
    source = app_of(predefined("pair", *PAIR, sync_stop_before_deinit=sync))
    async with ten.open_app(source) as app, app.open_graph(ten.Graph()) as engine:
        if how == "start_graph":
            graph_id = (
                await app.start_graph(graph_json(*PAIR), sync_stop_before_deinit=sync)
            ).graph_id
        elif how == "predefined":
            graph_id = (await app.start_predefined("pair")).graph_id
        else:
            cmd = ten.StartGraph(
                graph_json=json.dumps(graph_json(*PAIR)), sync_stop_before_deinit=sync
            )
            graph_id = (await engine.send_cmd(cmd)).get_property_string("graph_id")
        await trio.testing.wait_all_tasks_blocked()
        LOG.clear()
        await app.stop_graph(graph_id)
    if sync:
        assert LOG[:2] == ["quick stops", "slow stops"]
        assert sorted(LOG[2:]) == ["quick ends", "slow ends"]
    else:
        assert LOG == ["quick stops", "quick ends", "slow stops", "slow ends"]


async def test_messages_flow_at_the_barrier(autojump_clock: object) -> None:
    class Asks(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            await trio.sleep(1)
            answers.append((await env.send_cmd(ten.Cmd("x", dest="echo"))).ok)

    answers: list[bool] = []
    graph = ten.Graph()
    graph.node("asks", Asks)
    graph.node("echo", Echo)
    async with ten.open_app() as app:
        await app.start_graph(graph, sync_stop_before_deinit=True)
    assert answers == [True]


async def test_the_barrier_counts_extensions_as_they_are(autojump_clock: object) -> None:
    """Not those that have failed, were removed, or have come later, twice or not at all."""

    class Isolated(ten.Extension):
        on_error = "isolate"

        async def on_start(self, env: ten.TenEnv) -> None:
            raise KeyError("on purpose")

    graph = ten.Graph()
    graph.node("isolated", Isolated)
    graph.node("removed", Echo)
    graph.node("slow", Slow)
    graph.node("quick", Echo)
    async with ten.open_app() as app:
        engine = await app.start_graph(graph, sync_stop_before_deinit=True)
        await trio.testing.wait_all_tasks_blocked()
        await engine.remove_extension("removed")
        await engine.add_extension("late", Echo)
        LOG.clear()
        await app.stop_graph(engine.graph_id)
    assert sorted(LOG[:3]) == ["late stops", "quick stops", "slow stops"]
    assert sorted(LOG[3:]) == ["late ends", "quick ends", "slow ends"]


async def test_a_command_for_another_graph_reaches_all_that_expose_it() -> None:
    reached = []

    class Answers(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            reached.append(self.name)
            await env.return_result(cmd.ok(by=self.name))

    inner = ten.Graph()
    for name in ("a", "b"):
        inner.node(name, Answers)
        inner.expose("cmd_in", "ask", name)

    class Starter(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            started = (await env.send_cmd(ten.StartGraph(graph=inner))).unwrap()
            result = await env.send_cmd(ten.Cmd("ask", dest=ten.Loc("", started["graph_id"], None)))
            await env.return_result(cmd.ok(by=result["by"]))

    outer = ten.Graph()
    outer.node("starter", Starter)
    async with ten.open_app() as app, app.open_graph(outer) as engine:
        result = await engine.send_cmd(ten.Cmd("go", dest="starter"))
    assert reached == ["a", "b"]
    assert result["by"] == "b", "the last OK of the last destination"


async def test_what_is_no_message_is_refused() -> None:
    graph = ten.Graph()
    graph.node("any", ten.Extension)
    nothing: Any = "text"
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        with pytest.raises(ten.SendRefused, match="'text' is not a command"):
            await engine.send_cmd(nothing)
        with pytest.raises(ten.SendRefused, match="'text' is not data"):
            await engine.send_data(nothing)
