"""The app: how it is opened, what ends it, what comes out of its block."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

import ten_trio as ten


class Echo(ten.Extension):
    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok(by=env.name, graph=env.graph_id, uri=env.app_uri))


def echo(name: str = "echo") -> ten.Graph:
    graph = ten.Graph()
    graph.node(name, Echo)
    return graph


# Opening -------------------------------------------------------------------------------------------


async def test_an_app_without_anything() -> None:
    async with ten.open_app() as app:
        assert app.engines == {}
        assert app.uri == ""


async def test_from_a_mapping_with_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEN_TRIO_TEST", "value")
    source = {"ten": {"uri": "client:me"}, "key": "${env:TEN_TRIO_TEST}"}
    async with ten.open_app(source) as app, app.open_graph(echo()) as engine:
        assert app.uri == "client:me"
        assert app.properties["key"] == "value"
        result = await engine.send_cmd(ten.Cmd("hello", dest="echo"))
        assert result["uri"] == "client:me"


async def test_a_missing_variable_is_named() -> None:
    with pytest.raises(ten.MissingVariable, match="TEN_TRIO_NO_SUCH") as caught:
        async with ten.open_app({"a": [{"b": "${env:TEN_TRIO_NO_SUCH}"}]}):
            pass
    assert caught.value.path == "a[0].b"


async def test_from_a_folder_and_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "property.json"
    file.write_text(json.dumps({"ten": {"uri": "client:me"}}))
    for source in (tmp_path, file, str(file)):
        async with ten.open_app(source) as app:
            assert app.uri == "client:me"
            assert app.base_dir == tmp_path


async def test_a_folder_without_property_json(tmp_path: Path) -> None:
    async with ten.open_app(tmp_path) as app:
        assert app.base_dir == tmp_path


async def test_a_wrong_property_json_is_a_typed_error(tmp_path: Path) -> None:
    (tmp_path / "property.json").write_text(json.dumps({"ten": {"uri": 5}}))
    with pytest.raises(ten.GraphError, match=r"property.json.*ten\.uri"):
        async with ten.open_app(tmp_path):
            pass
    with pytest.raises(ten.ConfigError, match=r"missing\.json"):
        async with ten.open_app(tmp_path / "missing.json"):
            pass


async def test_extensions_read_the_apps_properties() -> None:
    seen: dict[str, Any] = {}

    class Reads(ten.Extension):
        async def on_init(self, env: ten.TenEnv) -> None:
            seen["text"] = env.get_property_string("app:text")
            seen["deep"] = env["app:a.b"]
            seen["default"] = env.get_property_int32("app:missing", 3)
            seen["exists"] = env.is_property_exist("app:text"), env.is_property_exist("app:no")
            with pytest.raises(ten.TenError, match="can't be set"):
                env.set_property("app:text", "no")
            with pytest.raises(ten.PropertyNotFound):
                env.get_property("app:missing")

    graph = ten.Graph()
    graph.node("reads", Reads)
    async with ten.open_app({"text": "hi", "a": {"b": 1}}) as app, app.open_graph(graph):
        pass
    assert seen == {"text": "hi", "deep": 1, "default": 3, "exists": (True, False)}


# Graphs --------------------------------------------------------------------------------------------


async def test_graphs_from_json_and_from_a_file(tmp_path: Path) -> None:
    written = {"nodes": [{"type": "extension", "name": "echo", "addon": "echo"}]}
    file = tmp_path / "some.json"
    file.write_text(json.dumps(written))
    async with ten.open_app() as app:
        app.addons.register("echo", Echo)
        for source in (written, file):
            async with app.open_graph(source) as engine:
                assert engine.extensions == ("echo",)


async def test_a_graph_file_imports_from_its_own_folder(tmp_path: Path) -> None:
    inner = {
        "nodes": [{"type": "extension", "name": "echo", "addon": "echo"}],
        "exposed_messages": [{"type": "cmd_in", "name": "hello", "extension": "echo"}],
    }
    outer = {
        "nodes": [{"type": "subgraph", "name": "sub", "graph": {"import_uri": "inner.json"}}],
    }
    folder = tmp_path / "graphs"
    folder.mkdir()
    (folder / "inner.json").write_text(json.dumps(inner))
    (folder / "outer.json").write_text(json.dumps(outer))
    async with ten.open_app() as app:
        app.addons.register("echo", Echo)
        async with app.open_graph(folder / "outer.json") as engine:
            assert engine.extensions == ("sub_echo",)


async def test_an_unknown_predefined_graph_is_refused() -> None:
    async with ten.open_app() as app:
        with pytest.raises(ten.GraphError, match='no predefined graph "voice"; known: '):
            async with app.open_graph("voice"):
                pass


async def test_several_graphs_side_by_side() -> None:
    async with ten.open_app() as app, app.open_graph(echo()) as one, app.open_graph(echo()) as two:
        assert one.graph_id != two.graph_id
        for engine in (one, two):
            result = await engine.send_cmd(ten.Cmd("hello", dest="echo"))
            assert result["graph"] == engine.graph_id


async def test_graphs_reach_each_other_by_id() -> None:
    async with ten.open_app() as app, app.open_graph(echo()) as one, app.open_graph(echo()) as two:
        there = ten.Loc("", two.graph_id, "echo")
        result = await one.send_cmd(ten.Cmd("hello", dest=there))
        assert result["graph"] == two.graph_id
        result = await one.send_cmd(ten.Cmd("hello", dest=ten.Loc("", "nowhere", "echo")))
        assert result.detail == "Graph not found."


async def test_an_empty_graph_is_legal() -> None:
    async with ten.open_app() as app, app.open_graph(ten.Graph()) as engine:
        assert engine.extensions == ()
    assert engine.report is not None


async def test_start_graph_lives_until_it_is_stopped() -> None:
    async with ten.open_app() as app:
        engine = await app.start_graph(echo())
        assert (await engine.send_cmd(ten.Cmd("hello", dest="echo"))).ok
        report = await app.stop_graph(engine.graph_id)
        assert report.reason == "stop_graph"
        assert app.engines == {}
        assert app.reports == [report]
        with pytest.raises(ten.GraphError, match="Failed to find the engine to be shut down"):
            await app.stop_graph(engine.graph_id)


async def test_reports_are_those_that_no_block_was_open_for() -> None:
    async with ten.open_app() as app:
        async with app.open_graph(echo()):
            pass
        assert app.reports == []


async def test_a_started_graph_that_fails_leaves_the_app_alone(autojump_clock: object) -> None:
    class Fails(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            raise KeyError("on purpose")

    graph = ten.Graph()
    graph.node("fails", Fails)
    async with ten.open_app() as app, app.open_graph(echo()) as other:
        engine = await app.start_graph(graph)
        await engine.send_data(ten.Data("x", dest="fails"))
        report = await engine.wait_closed()
        assert [type(failure) for failure in report.failures] == [KeyError]
        assert app.reports == [report]
        assert (await other.send_cmd(ten.Cmd("hello", dest="echo"))).ok


# Ends ----------------------------------------------------------------------------------------------


async def test_leaving_the_block_closes_what_was_started() -> None:
    async with ten.open_app() as app:
        engine = await app.start_graph(echo())
    assert engine.report is not None
    assert engine.report.reason == "the app closes: its block is left"


async def test_no_graph_is_opened_while_the_app_closes() -> None:
    async with ten.open_app() as app:
        app.request_close("enough")
        with pytest.raises(ten.EngineClosed, match="the app is closing: enough"):
            async with app.open_graph(echo()):
                pass


async def test_request_close_closes_every_graph_and_keeps_the_reason() -> None:
    async with ten.open_app() as app, app.open_graph(echo()) as engine:
        app.request_close("enough")
        app.request_close("again")
        report = await engine.wait_closed()
        assert report.reason == "the app closes: enough"
        with pytest.raises(ten.EngineClosed, match="the app closes: enough"):
            await engine.send_cmd(ten.Cmd("hello", dest="echo"))


async def test_wait_closed_returns_when_the_last_graph_has_ended(autojump_clock: object) -> None:
    async with ten.open_app() as app:
        one, two = await app.start_graph(echo()), await app.start_graph(echo())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.wait_closed)
            one.stop()
            await one.wait_closed()
            await trio.testing.wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            two.stop()


async def test_an_app_that_listens_waits_for_its_first_graph_only() -> None:
    async with ten.open_app(uri="msgpack://127.0.0.1:0") as app:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(app.wait_closed)
            await trio.testing.wait_all_tasks_blocked()
            assert len(nursery.child_tasks) == 1
            (await app.start_graph(echo())).stop()
    async with ten.open_app() as app:  # nobody can start one here
        await app.wait_closed()


async def test_a_long_running_app_stays(autojump_clock: object) -> None:
    async with ten.open_app({"ten": {"long_running_mode": True}}) as app:
        engine = await app.start_graph(echo())
        engine.stop()
        await engine.wait_closed()
        with trio.move_on_after(1_000) as scope:
            await app.wait_closed()
        assert scope.cancelled_caught
        app.request_close()
        await app.wait_closed()


async def test_all_graphs_share_one_deadline(autojump_clock: object) -> None:
    class Slow(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            await trio.sleep_forever()

    graph = ten.Graph()
    graph.node("slow", Slow)
    async with ten.open_app(grace=5) as app:
        for _ in range(3):
            await app.start_graph(graph)
        start = trio.current_time()
    assert 5 <= trio.current_time() - start <= 6


async def test_cancel_lets_the_grace_run_out(autojump_clock: object) -> None:
    class Slow(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            await trio.sleep_forever()

    graph = ten.Graph()
    graph.node("slow", Slow)
    start = trio.current_time()
    async with ten.open_app(grace=100) as app, app.open_graph(graph) as engine:
        engine.stop()
        await trio.sleep(10)
        app.cancel("a second signal")
    assert trio.current_time() - start <= 11


# What comes out ------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit])
async def test_a_sole_exception_of_the_body_is_not_wrapped(error: type[BaseException]) -> None:
    raised = error("mine")
    with pytest.raises(error) as caught:
        async with ten.open_app() as app, app.open_graph(echo()):
            raise raised
    assert caught.value is raised


async def test_a_group_of_the_body_is_not_wrapped() -> None:
    raised = ExceptionGroup("mine", [KeyError("a")])
    with pytest.raises(ExceptionGroup) as caught:
        async with ten.open_app() as app, app.open_graph(echo()):
            raise raised
    assert caught.value is raised


async def test_a_failed_graph_ends_its_block_with_one_group() -> None:
    class Fails(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            raise KeyError("on purpose")

    graph = echo()
    graph.node("fails", Fails)
    with pytest.RaisesGroup(KeyError) as caught:
        async with ten.open_app() as app, app.open_graph(graph) as engine:
            await engine.send_data(ten.Data("x", dest="fails"))
            await trio.sleep_forever()
    (error,) = caught.value.exceptions
    (note,) = error.__notes__
    assert note.startswith("while 'fails' handled Data('x'")
    assert note.endswith(f"(graph {engine.graph_id})")


async def test_the_bodys_own_exception_joins_the_graphs() -> None:
    class Fails(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            raise KeyError("graph")

    graph = ten.Graph()
    graph.node("fails", Fails)
    with pytest.RaisesGroup(KeyError, ZeroDivisionError):
        async with ten.open_app() as app, app.open_graph(graph):
            raise ZeroDivisionError


async def test_that_the_graph_is_closed_is_no_failure_of_the_body() -> None:
    class Fails(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            raise KeyError("on purpose")

    graph = ten.Graph()
    graph.node("fails", Fails)
    with pytest.RaisesGroup(KeyError):
        async with ten.open_app() as app, app.open_graph(graph) as engine:
            with trio.CancelScope(shield=True):
                result = await engine.send_cmd(ten.Cmd("x", dest="fails"))
                assert result.detail == "fails: KeyError: 'on purpose'"
                await engine.send_cmd(ten.Cmd("x", dest="fails"))


async def test_cancelled_goes_on_beside_the_graphs_failures(autojump_clock: object) -> None:
    class Fails(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            raise KeyError("on purpose")

    graph = ten.Graph()
    graph.node("fails", Fails)
    with pytest.RaisesGroup(KeyError, flatten_subgroups=True):
        with trio.move_on_after(1) as scope:
            async with ten.open_app() as app, app.open_graph(graph):
                await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_a_cancelled_block_is_just_cancelled(autojump_clock: object) -> None:
    with trio.move_on_after(1) as scope:
        async with ten.open_app() as app, app.open_graph(echo()):
            await trio.sleep_forever()
    assert scope.cancelled_caught
