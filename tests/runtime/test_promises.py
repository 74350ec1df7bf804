"""Promises of the runtime where they are easily broken: commands that end, blocks that close, loops
that meet."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Thread
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import ten_trio as ten
from ten_trio.graphs import AppProperty, PredefinedGraph
from ten_trio.runtime.loops import Loop, ask
from tests.runtime.acting import acting, answer, graph_of, opened

EITHER_LOOP = pytest.mark.parametrize("own_loop", [False, True], ids=["same loop", "own loop"])


async def ignore(env: ten.TenEnv, cmd: ten.Cmd) -> None:
    """Answer only once nobody waits any more."""
    await cmd.abandoned.wait()


async def until(condition: Callable[[], object]) -> None:
    """Wait for what another loop does."""
    with trio.fail_after(2):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.001)


# Every command ends -----------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["cancelled", "timeout"])
@pytest.mark.parametrize("destinations", [1, 2])
async def test_who_awaits_a_command_it_has_sent_on_hears_that_the_caller_is_gone(
    end: str, destinations: int, autojump_clock: MockClock
) -> None:
    results: list[ten.CmdResult] = []

    async def relay(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        results.append(await env.send_cmd(cmd))

    graph = ten.Graph()
    graph.node("relay", acting(on_cmd=relay))
    names = [f"executor{number}" for number in range(destinations)]
    for name in names:
        graph.node(name, acting(on_cmd=ignore))
    graph.connect("relay", names, cmd="go")
    async with opened(graph) as engine:
        if end == "cancelled":
            with trio.move_on_after(1):
                await engine.send_cmd(ten.Cmd("go", dest="relay"))
        else:
            await engine.send_cmd(ten.Cmd("go", dest="relay"), timeout=1)
        await wait_all_tasks_blocked()
        assert [result.status for result in results] == [ten.StatusCode.ERROR]
        for instance in engine._core.instances.values():
            assert not instance.in_paths
            assert not instance.out_paths


async def test_a_result_handler_that_raises_leaves_no_caller_waiting(
    autojump_clock: MockClock,
) -> None:
    def explode(env: ten.TenEnv, result: ten.CmdResult, error: object) -> None:
        raise KeyError("no use for it")

    async def relay(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        env.post_cmd(cmd, explode)

    graph = ten.Graph()
    graph.node("relay", acting(on_cmd=relay), on_error="isolate")
    graph.node("executor", acting(on_cmd=answer))
    graph.connect("relay", "executor", cmd="go")
    async with opened(graph) as engine:
        with trio.fail_after(1):
            result = await engine.send_cmd(ten.Cmd("go", dest="relay"))
        assert "no use for it" in result["detail"]


@EITHER_LOOP
async def test_a_command_that_the_host_sends_on_is_relayed(own_loop: bool) -> None:
    results: list[ten.CmdResult] = []

    async def ask_host(env: ten.TenEnv, data: ten.Data) -> None:
        results.append(await env.send_cmd(ten.Cmd("question")))

    graph = ten.Graph()
    graph.node("asker", acting(on_data=ask_host))
    graph.node("knows", acting(on_cmd=answer))
    graph.expose("cmd_out", "question", "asker")
    async with ten.open_app() as app, app.open_graph(graph, own_loop=own_loop) as engine:
        async with engine.messages() as messages:
            await engine.send_data(ten.Data("go", dest="asker"))
            cmd = await messages.receive()
            cmd.set_dest("knows")
            engine.post_cmd(cmd)
            await until(lambda: results)
    assert results[0]["by"] == "knows"


@EITHER_LOOP
async def test_what_the_host_did_not_read_is_answered_when_it_stops_reading(
    own_loop: bool,
) -> None:
    results: list[ten.CmdResult] = []

    async def ask_host(env: ten.TenEnv, data: ten.Data) -> None:
        results.append(await env.send_cmd(ten.Cmd("question")))

    graph = ten.Graph()
    graph.node("asker", acting(on_data=ask_host))
    graph.expose("cmd_out", "question", "asker")
    async with ten.open_app() as app, app.open_graph(graph, own_loop=own_loop) as engine:
        async with engine.messages() as messages:
            await engine.send_data(ten.Data("go", dest="asker"))
            await until(lambda: messages._receive.statistics().current_buffer_used)
        await until(lambda: results)
    assert "reads no more" in results[0]["detail"]


@EITHER_LOOP
async def test_the_host_is_told_that_the_caller_is_gone(own_loop: bool) -> None:
    async def ask_host(env: ten.TenEnv, data: ten.Data) -> None:
        with trio.move_on_after(0.05):
            await env.send_cmd(ten.Cmd("question"))

    graph = ten.Graph()
    graph.node("asker", acting(on_data=ask_host))
    graph.expose("cmd_out", "question", "asker")
    async with ten.open_app() as app, app.open_graph(graph, own_loop=own_loop) as engine:
        async with engine.messages() as messages:
            await engine.send_data(ten.Data("go", dest="asker"))
            cmd = await messages.receive()
            assert not cmd.is_abandoned
            with trio.fail_after(2):
                await cmd.abandoned.wait()
            assert cmd.is_abandoned
            assert not await engine.return_result(cmd.ok())


@pytest.mark.parametrize(
    "graph_json",
    ["{", '{"nodes":[{"type":"subgraph","name":"x","graph":{"import_uri":"http://[bad"}}]}'],
)
async def test_a_start_graph_with_nonsense_is_answered(graph_json: str) -> None:
    async with opened(ten.Graph()) as engine:
        cmd = ten.StartGraph()
        cmd.graph_json = graph_json
        with trio.fail_after(2):
            assert (await engine.send_cmd(cmd)).status is ten.StatusCode.ERROR


def slow_singleton(extension: type[ten.Extension], *, own_loop: bool) -> AppProperty:
    """An app with a graph "slow" that starts on demand and takes a while to be created."""

    async def make(name: str) -> ten.Extension:
        await trio.sleep(0.1)
        return extension()

    graph = ten.Graph()
    graph.node("there", make)
    return AppProperty(
        predefined_graphs=[PredefinedGraph(name="slow", graph=graph, singleton=True)],
        one_event_loop_per_engine=own_loop,
        long_running_mode=True,
    )


@EITHER_LOOP
async def test_a_command_whose_caller_goes_before_its_graph_exists_is_not_begun(
    own_loop: bool,
) -> None:
    seen: list[str] = []

    async def note(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        seen.append(cmd.name)
        await env.return_result(cmd.ok())

    settings = slow_singleton(acting(on_cmd=note), own_loop=own_loop)
    there = ten.Loc("", "slow", "there")
    async with ten.open_app(settings) as app:
        async with app.open_graph(ten.Graph(), own_loop=False) as engine:
            with trio.move_on_after(0.02):
                await engine.send_cmd(ten.Cmd("given up", dest=there))
            with trio.fail_after(5):
                await engine.send_cmd(ten.Cmd("awaited", dest=there))
    assert seen == ["awaited"]


@EITHER_LOOP
async def test_commands_and_data_for_a_graph_that_is_starting_keep_their_order(
    own_loop: bool,
) -> None:
    seen: list[str] = []

    async def note(env: ten.TenEnv, msg: Any) -> None:
        seen.append(msg.name)
        if isinstance(msg, ten.Cmd):
            await env.return_result(msg.ok())

    settings = slow_singleton(acting(on_cmd=note, on_data=note), own_loop=own_loop)
    there = ten.Loc("", "slow", "there")
    async with ten.open_app(settings) as app:
        async with app.open_graph(ten.Graph(), own_loop=False) as engine:
            for number in range(3):
                call = engine.start_cmd(ten.Cmd(f"cmd{number}", dest=there))
                engine._outside.post(ten.Data(f"data{number}", dest=there), ten.Cmd("x"))
            # Until the results cross, so that the last data is there too.
            await call.result()
            await engine.send_cmd(ten.Cmd("end", dest=there))
    assert seen == [f"{kind}{number}" for number in range(3) for kind in ("cmd", "data")] + ["end"]


async def test_a_handler_whose_caller_goes_during_its_first_step_is_cancelled(
    autojump_clock: MockClock,
) -> None:
    scope = trio.CancelScope()
    ends: list[str] = []

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        scope.cancel()
        try:
            await trio.sleep(1)
            ends.append("slept")
        except trio.Cancelled:
            ends.append("cancelled")
            raise

    graph = ten.Graph()
    graph.node("executor", acting(on_cmd=on_cmd), cancel_abandoned=True)
    async with opened(graph) as engine:
        with scope:
            await engine.send_cmd(ten.Cmd("go", dest="executor"))
        await trio.sleep(2)
    assert ends == ["cancelled"]


async def test_a_restart_that_does_not_come_to_an_end_stops_the_graph(
    autojump_clock: MockClock,
) -> None:
    async def fail(env: ten.TenEnv, data: ten.Data) -> None:
        raise KeyError("restart me")

    async def hang(env: ten.TenEnv) -> None:
        await trio.sleep_forever()

    graph = ten.Graph()
    statuses: list[ten.StatusCode] = []
    graph.node("stuck", acting(on_data=fail, on_stop=hang, on_cmd=answer), on_error="restart")
    with pytest.raises(BaseExceptionGroup) as caught, trio.fail_after(20):
        async with opened(graph, grace=2) as engine:
            await engine.send_data(ten.Data("x", dest="stuck"))
            await trio.sleep(0.1)
            with trio.CancelScope(shield=True):
                result = await engine.send_cmd(ten.Cmd("held", dest="stuck"))
            statuses.append(result.status)
    assert statuses == [ten.StatusCode.ERROR]
    assert "could not be restarted within 2 s: it was still in on_stop" in str(
        caught.value.exceptions[0]
    )


# Nothing outlives its block, nobody is starved -----------------------------------------------------


@pytest.mark.parametrize("stage", ["on_stop", "on_deinit"])
async def test_a_timer_that_is_set_while_the_graph_closes_is_refused(
    stage: str, autojump_clock: MockClock
) -> None:
    results: list[ten.CmdResult] = []

    async def set_timer(env: ten.TenEnv) -> None:
        results.append(await env.send_cmd(ten.Timer(timer_id=1, timeout_us=1_000, times=0)))

    graph = ten.Graph()
    graph.node("late", acting(**{stage: set_timer}))
    with trio.fail_after(20):
        async with opened(graph, grace=1):
            pass
    assert "closing" in results[0]["detail"]


async def test_a_thread_that_sends_commands_all_the_time_does_not_stall_the_loop() -> None:
    proxies: list[Any] = []

    async def on_start(env: ten.TenEnv) -> None:
        proxies.append(env.proxy())

    graph = ten.Graph()
    graph.node("source", acting(on_start=on_start))
    graph.node("executor", acting(on_cmd=answer))
    graph.connect("source", "executor", cmd="go")
    async with opened(graph) as engine:
        # Enough that the loop is never done with them before the next are there.
        for _ in range(200):
            proxies[0].send_cmd(ten.Cmd("go"))
        left = []
        while proxies[0]._queue or not left:
            await trio.lowlevel.checkpoint()
            left.append(len(proxies[0]._queue))
        assert len(set(left)) > 20
        assert not engine.is_closing


async def test_a_command_that_ends_at_once_is_a_checkpoint_of_the_host() -> None:
    async with opened(ten.Graph()) as engine:
        with trio.CancelScope() as scope:
            scope.cancel()
            await engine.send_cmd(ten.Cmd("x", dest="nobody"))
        assert scope.cancelled_caught


# Loops of their own ------------------------------------------------------------------------------


def failing_later() -> ten.Graph:
    """A graph that fails a little after it has started."""

    async def fail() -> None:
        await trio.sleep(0.02)
        raise KeyError("late")

    async def on_start(env: ten.TenEnv) -> None:
        env.nursery.start_soon(fail)

    graph = ten.Graph()
    graph.node("short", acting(on_start=on_start))
    return graph


@pytest.mark.parametrize("what", ["command", "post", "data", "messages", "connect"])
async def test_a_graph_whose_loop_is_over_refuses_before_anybody_was_told(what: str) -> None:
    async def use(engine: ten.Engine) -> None:
        match what:
            case "command":
                await engine.send_cmd(ten.Cmd("x", dest="short"))
            case "post":
                engine.post_cmd(ten.Cmd("x", dest="short"))
            case "data":
                await engine.send_data(ten.Data("x", dest="short"))
            case "messages":
                async with engine.messages():
                    pass
            case "connect":
                await engine.connect("short", "short", cmd="x")

    refused = False
    async with ten.open_app() as app:
        with pytest.raises(BaseExceptionGroup) as caught:
            async with app.open_graph(failing_later(), own_loop=True) as engine:
                # This loop hears nothing while that one ends.
                while engine._link.loop.post(lambda: None):  # type: ignore[attr-defined]
                    time.sleep(0.01)  # noqa: ASYNC251
                with trio.CancelScope(shield=True):
                    try:
                        await use(engine)
                    except ten.EngineClosed:
                        refused = True
        assert caught.group_contains(KeyError, match="late")
    assert refused


async def test_a_command_for_a_graph_whose_loop_is_over_is_answered() -> None:
    statuses: list[ten.StatusCode] = []
    async with ten.open_app() as app, app.open_graph(ten.Graph()) as engine:
        with pytest.raises(BaseExceptionGroup):
            async with app.open_graph(failing_later(), own_loop=True) as other:
                dest = ten.Loc("", other.graph_id, "short")
                time.sleep(0.3)  # noqa: ASYNC251
                with trio.CancelScope(shield=True), trio.fail_after(2):
                    result = await engine.send_cmd(ten.Cmd("x", dest=dest))
                    statuses.append(result.status)
    assert statuses == [ten.StatusCode.ERROR]


@pytest.mark.parametrize("loops", [(False, True), (True, False), (True, True)])
async def test_data_and_commands_for_another_loop_keep_their_order(
    loops: tuple[bool, bool],
) -> None:
    got: list[int] = []

    async def note(env: ten.TenEnv, msg: Any) -> None:
        got.append(msg["n"])
        if isinstance(msg, ten.Cmd):
            await env.return_result(msg.ok())

    async def send(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        dest = ten.Loc("", cmd["graph"], "there")
        calls = []
        for number in range(300):
            if number % 3:
                assert await env.send_data(ten.Data("x", {"n": number}, dest=dest))
            else:
                calls.append(env.start_cmd(ten.Cmd("x", {"n": number}, dest=dest)))
        for call in calls:
            assert (await call.result()).ok
        await env.return_result(cmd.ok())

    async with (
        ten.open_app() as app,
        app.open_graph(graph_of(here=acting(on_cmd=send)), own_loop=loops[0]) as near,
        app.open_graph(graph_of(there=acting(on_cmd=note, on_data=note)), own_loop=loops[1]) as far,
    ):
        go = ten.Cmd("go", {"graph": far.graph_id}, dest="here")
        assert (await near.send_cmd(go)).ok
    assert got == list(range(300))


async def test_data_for_a_graph_in_another_loop_that_closes_is_dropped_and_counted() -> None:
    async def send(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        dest = ten.Loc("", cmd["graph"], "there")
        for _ in range(5):
            assert await env.send_data(ten.Data("x", dest=dest))
        await env.return_result(cmd.ok())

    async with ten.open_app() as app, app.open_graph(graph_of(here=acting(on_cmd=send))) as near:
        async with app.open_graph(graph_of(there=ten.Extension), own_loop=True) as far:
            go = ten.Cmd("go", {"graph": far.graph_id}, dest="here")
            assert (await near.send_cmd(go)).ok
            line = near._core.directory._near[ten.Loc("", far.graph_id, "there")][0].line
            assert not line.dropped
        assert (await near.send_cmd(go)).ok
        assert line.dropped == {"graph not found": 5}
        assert line.count == 0


async def test_a_loop_that_something_has_raised_in_is_seen_to_be_over() -> None:
    """Nothing that is posted may raise; if something does, Trio ends that run."""

    def fail() -> None:
        raise RuntimeError("on purpose")

    def run() -> Loop:
        loops: list[Loop] = []

        async def main() -> None:
            loops.append(Loop())
            # Not at once: as from another thread.
            loops[0].put(fail)
            await trio.sleep_forever()

        with pytest.raises(trio.TrioInternalError):
            trio.run(main)
        return loops[0]

    over = await trio.to_thread.run_sync(run)
    called: list[int] = []
    over.put(called.append, 1)
    assert not over.post(called.append, 2)
    assert not over._jobs


async def test_post_says_whether_there_is_a_loop() -> None:
    def run() -> Loop:
        async def main() -> Loop:
            return Loop()

        return trio.run(main)

    over = await trio.to_thread.run_sync(run)
    called: list[int] = []
    assert not over.post(called.append, 1)
    assert not over.post(called.append, 2)
    with pytest.raises(trio.RunFinishedError):
        await ask(over, called.append, trio.sleep, 0)
    assert not called
    assert Loop().post(called.append, 3)
    assert called == [3]


@EITHER_LOOP
async def test_a_plain_result_handler_may_return_anything(own_loop: bool) -> None:
    got: list[bool] = []
    graph = ten.Graph()
    graph.node("executor", acting(on_cmd=answer))

    def handler(engine: Any, result: ten.CmdResult | None, error: Exception | None) -> object:
        assert result is not None
        got.append(result.ok)
        return got

    async with ten.open_app() as app, app.open_graph(graph, own_loop=own_loop) as engine:
        engine.post_cmd(ten.Cmd("go", dest="executor"), handler)
        await until(lambda: got)
    assert got == [True]


@EITHER_LOOP
async def test_post_cmd_streams_to_its_handler(own_loop: bool) -> None:
    async def stream(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.partial(number=1))
        await env.return_result(cmd.ok(number=2))

    numbers: list[int] = []

    async def handler(env: ten.Engine, result: ten.CmdResult, error: object) -> None:
        numbers.append(result["number"])
        # The engine that a handler is given is for use where the handler runs.
        assert (await env.send_cmd(ten.Cmd("x", dest="executor"))).is_completed

    graph = ten.Graph()
    graph.node("executor", acting(on_cmd=stream))
    async with ten.open_app() as app, app.open_graph(graph, own_loop=own_loop) as engine:
        engine.post_cmd(ten.Cmd("go", dest="executor"), handler, True)
        await until(lambda: len(numbers) == 2)
    assert numbers == [1, 2]


async def test_a_posted_command_that_cannot_be_sent_does_not_end_the_graph() -> None:
    errors: list[Exception] = []

    def handler(env: ten.Engine, result: object, error: Exception) -> None:
        errors.append(error)

    async with ten.open_app() as app:
        async with app.open_graph(ten.Graph(), own_loop=True) as engine:
            engine.post_cmd(ten.Cmd("nowhere"))
            engine.post_cmd(ten.Cmd("nowhere"), handler)
            await until(lambda: errors)
            assert not engine.is_closing
    assert isinstance(errors[0], ten.NotConnected)


@EITHER_LOOP
async def test_an_engine_belongs_to_the_loop_it_was_opened_in(own_loop: bool) -> None:
    refused: list[str] = []

    graph = ten.Graph()
    graph.node("executor", acting(on_cmd=answer))
    async with ten.open_app() as app, app.open_graph(graph, own_loop=own_loop) as engine:

        async def use() -> None:
            cmd, data = ten.Cmd("x", dest="executor"), ten.Data("x", dest="executor")
            for name, send in (
                ("send_cmd", lambda: engine.send_cmd(cmd)),
                ("send_data", lambda: engine.send_data(data)),
                ("return_result", lambda: engine.return_result(cmd.ok())),
            ):
                with pytest.raises(ten.WrongThread):
                    await send()
                refused.append(name)
            with pytest.raises(ten.WrongThread):
                engine.post_cmd(cmd)
            with pytest.raises(ten.WrongThread):
                engine.start_cmd(cmd)
            refused.append("post_cmd")

        thread = Thread(target=trio.run, args=(use,))
        thread.start()
        await trio.to_thread.run_sync(thread.join)
        assert refused == ["send_cmd", "send_data", "return_result", "post_cmd"]
        assert (await engine.send_cmd(ten.Cmd("x", dest="executor")))["by"] == "executor"


# Graphs started by command -------------------------------------------------------------------------


@EITHER_LOOP
async def test_a_host_reads_what_a_graph_exposes_that_it_has_started_by_command(
    own_loop: bool,
) -> None:
    async def on_start(env: ten.TenEnv) -> None:
        await env.send_data(ten.Data("hello"))
        assert (await env.send_cmd(ten.Cmd("question")))["text"] == "yes"
        raise KeyError("and now it fails")

    started = ten.Graph()
    started.node("talker", acting(on_start=on_start))
    started.expose("data_out", "hello", "talker")
    started.expose("cmd_out", "question", "talker")
    cmd = ten.StartGraph()
    cmd.graph = started
    async with ten.open_app() as app:
        async with app.open_graph(ten.Graph(), own_loop=own_loop) as engine:
            async with engine.messages() as messages:
                assert (await engine.send_cmd(cmd)).status is ten.StatusCode.OK
                with trio.fail_after(2):
                    assert (await messages.receive()).name == "hello"
                    await engine.return_result((await messages.receive()).ok(text="yes"))
                    failed = await messages.receive()
                assert failed.name == "ten:graph_failed"
                assert "and now it fails" in failed["detail"]


@EITHER_LOOP
@pytest.mark.parametrize("cmd", [ten.StopGraph, ten.CloseApp])
async def test_who_stops_its_own_graph_may_still_say_so(cmd: type[ten.Cmd], own_loop: bool) -> None:
    async def stop(env: ten.TenEnv, asked: ten.Cmd) -> None:
        await env.send_cmd(cmd())
        await env.return_result(asked.ok())

    graph = ten.Graph()
    graph.node("stopper", acting(on_cmd=stop))
    for _ in range(10):
        async with ten.open_app() as app, app.open_graph(graph, own_loop=own_loop) as engine:
            result = await engine.send_cmd(ten.Cmd("stop it", dest="stopper"))
            assert result.status is ten.StatusCode.OK
            await engine.wait_closed()


async def test_what_keeps_a_command_from_being_sent_into_another_loop_is_raised_by_its_call() -> (
    None
):
    graph = ten.Graph()
    graph.node("a", acting(on_cmd=answer))
    heard: list[Exception | None] = []
    ended = trio.Event()
    home = Loop()

    def handler(env: Any, result: ten.CmdResult | None, error: Exception | None) -> None:
        heard.append(error)
        home.post(ended.set)

    async with ten.open_app() as app, app.open_graph(graph, own_loop=True) as engine:
        with trio.fail_after(2):
            with pytest.raises(ten.NotConnected, match="'nowhere'"):
                await engine.send_cmd(ten.Cmd("nowhere"))
            call = engine.start_cmd(ten.Cmd("nowhere"))
            with pytest.raises(ten.NotConnected, match="'nowhere'"):
                async for _ in call:
                    raise AssertionError
            call.cancel()
            engine.post_cmd(ten.Cmd("nowhere"), handler)
            await ended.wait()
        (error,) = heard
        assert isinstance(error, ten.NotConnected)


async def test_a_graph_in_another_loop_that_is_closed_takes_nothing_more() -> None:
    graph = ten.Graph()
    graph.node("a", acting(on_cmd=answer))
    async with ten.open_app() as app, app.open_graph(graph, own_loop=True) as engine:
        pass
    for use in (
        lambda: engine.send_data(ten.Data("x", dest="a")),
        lambda: engine.send_cmd(ten.Cmd("x", dest="a")),
        lambda: engine.cancel_turn("t"),
        lambda: engine.disconnect("a", "a", cmd="x"),
    ):
        with pytest.raises(ten.EngineClosed):
            await use()


async def test_edges_of_a_graph_in_another_loop_come_and_go() -> None:
    graph = ten.Graph()
    graph.node("a", acting(on_cmd=ask_on))
    graph.node("b", acting(on_cmd=answer))
    async with ten.open_app() as app, app.open_graph(graph, own_loop=True) as engine:
        await engine.connect("a", "b", cmd="next")
        assert (await engine.send_cmd(ten.Cmd("x", dest="a"))).ok
        await engine.disconnect("a", "b", cmd="next")
        assert "no destination" in (await engine.send_cmd(ten.Cmd("x", dest="a"))).detail


async def ask_on(env: ten.TenEnv, cmd: ten.Cmd) -> None:
    try:
        result = await env.send_cmd(ten.Cmd("next"))
    except ten.NotConnected as error:
        await env.return_result(cmd.error(str(error)))
    else:
        await env.return_result(cmd.ok(by=result["by"]))
