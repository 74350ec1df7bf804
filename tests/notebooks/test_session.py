"""Graphs from ordinary, synchronous code: what a cell does, without the notebook around it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import ten_trio as ten
from ten_trio import notebook


class Echo(ten.Extension):
    """Answers `ask` with three partial results and `factor`; says what it is told to; fails on demand."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd.name == "never":
            await cmd.abandoned.wait()
            await env.send_data(ten.Data("abandoned"))
            return
        if cmd.name == "fail":
            raise KeyError("on demand")
        for number in range(3):
            await env.return_result(cmd.partial(number=number))
        await env.return_result(cmd.ok(factor=env.get("factor", 1)))

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await env.send_data(ten.Data("said", {"text": data["text"]}))


def echo_graph() -> ten.Graph:
    graph = ten.Graph()
    graph.node("echo", Echo, property={"factor": 2})
    for name in ("ask", "never", "fail"):
        graph.expose("cmd_in", name, "echo")
    graph.expose("data_in", "say", "echo")
    for name in ("said", "abandoned"):
        graph.expose("data_out", name, "echo")
    return graph


@pytest.fixture
def app() -> Iterator[notebook.NotebookApp]:
    with notebook.open_app() as app:
        yield app
    assert not ours()


@pytest.fixture(params=[False, True], ids=["same loop", "own loop"])
def graph(app: notebook.NotebookApp, request: pytest.FixtureRequest) -> notebook.NotebookGraph:
    return app.open_graph(echo_graph(), own_loop=request.param)


def ours() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("ten_trio")]


# Commands and data ----------------------------------------------------------------------------------


def test_commands_and_their_results(graph: notebook.NotebookGraph) -> None:
    assert graph.send_cmd(ten.Cmd("ask"))["factor"] == 2
    assert [r.get("number") for r in graph.results(ten.Cmd("ask"))] == [0, 1, 2, None]
    call = graph.start_cmd(ten.Cmd("ask"))
    assert call.result()["factor"] == 2
    assert call.is_completed


def test_leaving_the_results_early_abandons_the_command(graph: notebook.NotebookGraph) -> None:
    with graph.messages("abandoned") as told:
        call = graph.start_cmd(ten.Cmd("never"))
        call.cancel()
        assert [each.name for each in told.take(1)] == ["abandoned"]
        for result in graph.results(ten.Cmd("ask")):
            assert result["number"] == 0
            break
        assert graph.send_cmd(ten.Cmd("ask")).ok


def test_messages_are_kept_until_they_are_read(graph: notebook.NotebookGraph) -> None:
    said = graph.messages("said")
    for text in ("one", "two", "three"):
        assert graph.send_data(ten.Data("say", {"text": text}))
    assert [each["text"] for each in said.take(2)] == ["one", "two"]
    graph.send_cmd(ten.Cmd("ask"))  # whatever came before it is there by now
    third = next(said)
    assert third["text"] == "three"
    assert said.waiting() == []
    graph.stop()
    assert list(said) == []


def test_a_loop_over_messages_ends_with_the_graph(graph: notebook.NotebookGraph) -> None:
    said = graph.messages()
    graph.send_data(ten.Data("say", {"text": "last"}))
    graph.send_cmd(ten.Cmd("ask"))
    threading.Thread(target=graph.stop).start()
    assert [each["text"] for each in said] == ["last"]


def test_commands_that_come_out_of_the_graph(app: notebook.NotebookApp) -> None:
    class Asks(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            result = await env.send_cmd(ten.Cmd("who"))
            await env.send_data(ten.Data("heard", {"what": result.detail or result["name"]}))

    graph = ten.Graph()
    graph.node("asks", Asks)
    graph.expose("data_in", "go", "asks")
    graph.expose("cmd_out", "who", "asks")
    graph.expose("data_out", "heard", "asks")
    running = app.open_graph(graph)
    heard = running.messages("heard")
    with running.messages("who") as questions:
        running.send_data(ten.Data("go"))
        assert running.return_result(next(questions).ok(name="the host"))
        assert next(heard)["what"] == "the host"
    running.send_data(ten.Data("go"))
    assert next(heard)["what"] == "not handled: the host doesn't read 'who'"


def test_whoever_forgets_the_messages_reads_no_more(app: notebook.NotebookApp) -> None:
    running = app.open_graph(echo_graph())
    subscriptions = running.engine._core.host.subscriptions
    said = running.messages("said")
    running.send_data(ten.Data("say", {"text": "x"}))
    for message in said:
        assert message["text"] == "x"
        break
    assert len(subscriptions) == 1
    del said
    running.send_cmd(ten.Cmd("ask"))
    app.call(wait_all_tasks_blocked)
    assert len(subscriptions) == 0


@pytest.mark.parametrize("own_loop", [False, True])
def test_a_graph_that_the_app_has_started(own_loop: bool) -> None:
    ten.addon("echo_of_test_session")(Echo)
    settings = {
        "ten": {
            "one_event_loop_per_engine": own_loop,
            "predefined_graphs": [
                {
                    "name": "started",
                    "auto_start": True,
                    "graph": {
                        "nodes": [
                            {"type": "extension", "name": "echo", "addon": "echo_of_test_session"}
                        ],
                        "exposed_messages": [
                            {"type": "cmd_in", "name": name, "extension": "echo"}
                            for name in ("ask", "fail")
                        ],
                    },
                }
            ],
        }
    }
    with notebook.open_app(settings) as app:
        graph = app.graph("started")
        assert app.graph(graph.graph_id) is graph
        assert graph.send_cmd(ten.Cmd("ask"))["factor"] == 1
        assert ("host", "echo", "cmd", "ask") in graph.recording.counts
        assert "echo" in graph._repr_mimebundle_()["text/html"]
        with pytest.raises(ten.GraphError, match=r"no graph 'other' is running; .*'started'"):
            app.graph("other")
        graph.start_cmd(ten.Cmd("fail"))
        with pytest.raises(ten.EngineClosed, match="has failed") as caught:
            graph.wait_closed()
        cause = caught.value.__cause__
        assert isinstance(cause, BaseExceptionGroup)
        assert cause.subgroup(KeyError) is not None
    assert not ours()


def test_a_graph_that_the_app_has_started_is_forgotten_when_it_is_stopped() -> None:
    ten.addon("echo_of_test_session_too")(Echo)
    node = {"type": "extension", "name": "echo", "addon": "echo_of_test_session_too"}
    predefined = {"name": "started", "auto_start": True, "graph": {"nodes": [node]}}
    settings = {"ten": {"predefined_graphs": [predefined], "long_running_mode": True}}
    with notebook.open_app(settings) as app:
        with app.graph("started") as graph:
            assert app.graphs == (graph,)
            report = graph.stop()
            assert report is not None
        assert app.graphs == ()
        assert graph.stop() is report
        assert graph.counters() is not None  # what was recorded is still there
    assert not ours()


def test_frames_and_edges(app: notebook.NotebookApp) -> None:
    graph = app.open_graph(echo_graph())
    graph.add_extension("other", Echo)
    for frame, send in (
        (ten.AudioFrame("pcm", dest="echo"), graph.send_audio_frame),
        (ten.VideoFrame("image", dest="echo"), graph.send_video_frame),
    ):
        assert send(frame)
    graph.connect("echo", "other", data="said")
    graph.disconnect("echo", "other", data="said")
    with pytest.raises(ten.GraphError):
        graph.disconnect("echo", "other", data="said")


# Looking and changing -------------------------------------------------------------------------------


def test_a_property_changes_while_it_runs(graph: notebook.NotebookGraph) -> None:
    assert graph.get_property("echo", "factor") == 2
    graph.set_property("echo", "factor", 5)
    assert graph.send_cmd(ten.Cmd("ask"))["factor"] == 5
    with pytest.raises(ten.GraphError, match="no extension 'ecko'; there are: echo"):
        graph.set_property("ecko", "factor", 6)
    with pytest.raises(ten.PropertyNotFound):
        graph.get_property("echo", "nothing")


def test_the_graph_changes_while_it_runs(graph: notebook.NotebookGraph) -> None:
    graph.add_extension("second", Echo)
    assert graph.extensions == ("echo", "second")
    assert graph.send_cmd(ten.Cmd("ask", dest="second"))["factor"] == 1
    assert ("host", "second", "cmd", "ask") in graph.recording.counts
    assert ("second", "host", "result", "ask") in graph.recording.counts
    graph.remove_extension("second")
    assert graph.extensions == ("echo",)


def test_counters(graph: notebook.NotebookGraph) -> None:
    before = graph.counters()
    graph.send_cmd(ten.Cmd("ask"))
    waiting = graph.start_cmd(ten.Cmd("never"))
    graph.send_cmd(ten.Cmd("ask"))
    after = graph.counters().since(before)
    assert after.stats is not None
    (echo,) = after.stats.extensions
    assert (echo.commands.handled, echo.pending, echo.calls) == (3, 1, 0)
    assert "echo: state running, handled 3 (" in str(after)
    assert "to answer 1" in str(after)
    assert "<th" in after._repr_mimebundle_()["text/html"]
    edges = {(edge.source, edge.dest, edge.kind, edge.name): edge for edge in after.edges}
    assert edges["host", "echo", "cmd", "ask"].sent == 2
    assert edges["echo", "host", "result", "ask"].sent == 8
    rate = edges["echo", "host", "result", "ask"].rate
    assert rate is not None
    assert rate > 0
    assert "echo → host  result ask: 8, " in str(after)
    waiting.cancel()
    graph.stop()
    assert {edge.name for edge in graph.counters().edges} >= {"ask", "never"}


def test_watching_ends_with_the_time_or_the_graph(
    graph: notebook.NotebookGraph, capsys: pytest.CaptureFixture[str]
) -> None:
    graph.watch(0.01, every=0.01)
    assert "echo: state running, handled 0" in capsys.readouterr().out
    threading.Thread(target=graph.stop).start()
    graph.watch(every=0.01)
    assert not graph.is_running


def test_turns(graph: notebook.NotebookGraph) -> None:
    turn = graph.new_turn()
    call = graph.start_cmd(ten.Cmd("never"), turn=turn)
    report = graph.cancel_turn(turn, "enough")
    assert report is not None
    assert report.commands == 1
    assert call.result().detail == "turn cancelled"
    events = graph.recording.events(turn=turn.id)
    assert {event.kind for event in events} == {"cmd", "result"}
    assert [event.source for event in events if event.kind == "result"] == [notebook_runtime()]


def notebook_runtime() -> str:
    return "runtime"


def test_explain(graph: notebook.NotebookGraph) -> None:
    call = graph.start_cmd(ten.Cmd("never"))
    graph.send_cmd(ten.Cmd("ask"))  # by now the handler of the one before it waits
    waits = graph.explain().waits
    assert any(wait.who == "echo" and "never" in wait.doing for wait in waits)
    call.cancel()


# Waiting --------------------------------------------------------------------------------------------


def test_a_wait_can_be_bounded(graph: notebook.NotebookGraph) -> None:
    told = graph.messages("abandoned")
    with pytest.raises(trio.TooSlowError, match=r"not done in 0\.05 s"), notebook.fail_after(0.05):
        graph.send_cmd(ten.Cmd("never"))
    assert next(told).name == "abandoned"
    assert graph.send_cmd(ten.Cmd("ask")).ok


def test_the_face_is_for_other_threads_only(app: notebook.NotebookApp) -> None:
    graph = app.open_graph(echo_graph())

    async def inside() -> None:
        graph.send_cmd(ten.Cmd("ask"))

    with pytest.raises(ten.WrongThread, match="by the graph itself"):
        app.call(inside)


def test_several_threads_may_use_it(graph: notebook.NotebookGraph) -> None:
    found: list[int] = []

    def use() -> None:
        found.extend(graph.send_cmd(ten.Cmd("ask"))["factor"] for _ in range(20))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [2] * 80


# Ends -----------------------------------------------------------------------------------------------


def test_stop_and_close(app: notebook.NotebookApp) -> None:
    first, second = app.open_graph(echo_graph()), app.open_graph(echo_graph())
    assert app.graphs == (first, second)
    report = first.stop()
    assert report is not None
    assert report.reason == "stopped by its host"
    assert first.stop() is report
    assert app.graphs == (second,)
    with pytest.raises(ten.EngineClosed):
        first.send_cmd(ten.Cmd("ask"))
    (last,) = app.close()
    assert last.graph_id == second.graph_id
    assert last.reason == "the notebook's app is closed"
    assert not last.grace_exhausted
    assert app.close() == ()
    with pytest.raises(ten.EngineClosed, match="app is closed"):
        app.open_graph(echo_graph())


def test_a_failure_is_raised_by_what_comes_next(graph: notebook.NotebookGraph) -> None:
    assert graph.send_cmd(ten.Cmd("fail")).detail == "echo: KeyError: 'on demand'"
    with pytest.raises(ten.EngineClosed, match="has failed") as caught:
        graph.wait_closed()
    assert isinstance(caught.value.__cause__, ExceptionGroup)
    assert caught.value.__cause__.subgroup(KeyError) is not None
    for use in (graph.stop, graph.explain, lambda: graph.send_cmd(ten.Cmd("ask"))):
        with pytest.raises(ten.EngineClosed, match="has failed"):
            use()
    assert not graph.is_running
    assert graph.report is not None


def test_a_failure_that_nobody_has_seen_is_told_once(app: notebook.NotebookApp) -> None:
    graph = app.open_graph(echo_graph())
    graph.start_cmd(ten.Cmd("fail"))
    app.call(graph.wait_ended)
    ((what, failure),) = app.take_failures()
    assert what == f"graph {graph.graph_id}"
    assert isinstance(failure, ExceptionGroup)
    assert app.take_failures() == []


def test_what_can_t_be_opened_raises_where_it_is_opened(app: notebook.NotebookApp) -> None:
    class Broken(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            raise ValueError("no start")

    wrong = ten.Graph()
    wrong.node("broken", Broken)
    with pytest.raises(ExceptionGroup) as caught:
        app.open_graph(wrong)
    assert caught.value.subgroup(ValueError) is not None
    wrong.connect("broken", "nobody", data="anything")
    with pytest.raises(ten.GraphError, match="nobody"):
        app.open_graph(wrong)
    assert app.graphs == ()
    assert app.take_failures() == []
    with app.open_graph(echo_graph()) as graph:
        assert graph.send_cmd(ten.Cmd("ask")).ok


def test_an_app_that_can_t_be_opened_leaves_no_thread() -> None:
    with pytest.raises(ten.TenError):
        notebook.open_app({"ten": {"predefined_graphs": 7}})
    assert not ours()


def test_an_app_that_ends_by_itself_says_why(app: notebook.NotebookApp) -> None:
    class Exits(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            raise SystemExit(3)

    graph = ten.Graph()
    graph.node("exits", Exits)
    graph.expose("data_in", "go", "exits")
    running = app.open_graph(graph)
    running.send_data(ten.Data("go"))
    with pytest.raises(ten.EngineClosed):
        running.wait_closed()
        running.send_cmd(ten.Cmd("ask"))
    assert app._thread.ended.wait(10)
    assert app.is_closed
    with pytest.raises(ten.EngineClosed, match="app is closed") as caught:
        app.open_graph(graph)
    assert caught.value.__cause__ is app.error
    ((what, error),) = app.take_failures()
    assert what == "the app"
    assert isinstance(error, BaseException)


def test_what_is_recorded_from_the_first_message_on(app: notebook.NotebookApp) -> None:
    class Greets(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            await env.send_data(ten.Data("hello", {"text": "hi"}))

    graph = ten.Graph()
    graph.node("greets", Greets)
    graph.expose("data_out", "hello", "greets")
    running = app.open_graph(graph)
    (event,) = running.recording.events()
    assert (event.source, event.dest, event.kind, event.name) == ("greets", "host", "data", "hello")
    assert event.detail == "text='hi'"
    assert event.at < 5


def test_what_is_recorded_stays_as_it_was_sent(app: notebook.NotebookApp) -> None:
    class Reuses(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            data = ten.Data("part", {"number": 1})
            await env.send_data(data)
            data["number"] = 2
            await env.send_data(data)
            await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("reuses", Reuses)
    graph.expose("cmd_in", "go", "reuses")
    graph.expose("data_out", "part", "reuses")
    running = app.open_graph(graph)
    running.send_cmd(ten.Cmd("go"))
    assert [e.properties["number"] for e in running.recording.events(names=["part"])] == [1, 2]


# Virtual time ---------------------------------------------------------------------------------------


class Ticks(ten.Extension):
    async def on_start(self, env: ten.TenEnv) -> None:
        env.nursery.start_soon(self._tick, env)

    async def _tick(self, env: ten.TenEnv) -> None:
        number = 0
        while True:
            await trio.sleep(1)
            number += 1
            await env.send_data(ten.Data("tick", {"number": number}))

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await trio.sleep(60)
        await env.return_result(cmd.ok())


def test_virtual_time() -> None:
    graph = ten.Graph()
    graph.node("clock", Ticks)
    graph.expose("data_out", "tick", "clock")
    graph.expose("cmd_in", "sleep", "clock")
    with notebook.open_app(virtual_time=True) as app:
        running = app.open_graph(graph)
        assert app.now == 0
        step = app.step(0.5)
        assert (step.begin, step.end, step.events) == (0, 0.5, ())
        step = app.step(3)
        assert [(event.at, event.properties["number"]) for event in step.events] == [
            (1, 1), (2, 2), (3, 3),
        ]  # fmt: skip
        assert app.now == 3.5
        assert "1.000  clock → host  data tick  number=1" in str(step)
        assert "number=3" in step._repr_mimebundle_()["text/html"]
        # Between the cells it stands still; a cell that waits lets it go on.
        assert running.send_cmd(ten.Cmd("sleep")).ok
        assert app.now == 63.5
        with pytest.raises(ten.InvalidArgument):
            app.step(-1)


def test_a_real_clock_can_t_be_stepped(app: notebook.NotebookApp) -> None:
    with pytest.raises(ten.WrongTiming, match="virtual_time"):
        app.step(1)


# The end of the interpreter -------------------------------------------------------------------------

SCRIPT = """
import time
import trio
import ten_trio as ten
from ten_trio import notebook

class Polite(ten.Extension):
    async def on_stop(self, env):
        await trio.sleep(0.01)
        print("on_stop", flush=True)
    async def on_deinit(self, env):
        print("on_deinit", flush=True)

graph = ten.Graph()
graph.node("polite", Polite)
app = notebook.open_app()
running = app.open_graph(graph)
print("the end", flush=True)
{end}
"""


def run_script(end: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT.format(end=end)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("end", ["", "raise SystemExit(0)", "raise KeyError"])
def test_the_end_of_the_interpreter_closes_in_order(end: str) -> None:
    done = run_script(end)
    assert done.stdout.splitlines() == ["the end", "on_stop", "on_deinit"]
    assert (done.returncode != 0) == ("KeyError" in end)
    assert ("Traceback" in done.stderr) == ("KeyError" in end)


@pytest.mark.slow
def test_a_loop_that_is_blocked_doesn_t_keep_the_interpreter() -> None:
    done = run_script("app._thread.post(time.sleep, 50)")
    assert done.stdout.splitlines() == ["the end"]
    assert done.returncode == 0
    assert "could not be closed in time" in done.stderr


@pytest.mark.slow
def test_nothing_of_it_is_loaded_before_it_is_used() -> None:
    code = (
        "import sys, ten_trio\n"
        "wanted = ('ten_trio.notebook', 'IPython', 'matplotlib', 'pygraphviz', 'trio.testing')\n"
        "print([name for name in wanted if name in sys.modules])\n"
        "ten_trio.Cmd('x')._repr_mimebundle_()\n"
        "print([name for name in wanted if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["[]", "['ten_trio.notebook']"]
