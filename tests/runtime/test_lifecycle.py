"""The life of an extension: its stages, what it hears in each, its lifespan, manual triggers."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import trio
import trio.testing

import ten_trio as ten
from ten_trio.runtime.current import NOTHING

STAGES = ["on_configure", "on_init", "on_start", "on_stop", "on_deinit"]


class Life(ten.Extension):
    """Notes every stage as it begins, with its own name."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    async def note(self, env: ten.TenEnv, what: str) -> None:
        self.log.append(f"{env.name}.{what}" if env.name != "it" else what)

    async def on_configure(self, env: ten.TenEnv) -> None:
        await self.note(env, "on_configure")

    async def on_init(self, env: ten.TenEnv) -> None:
        await self.note(env, "on_init")

    async def on_start(self, env: ten.TenEnv) -> None:
        await self.note(env, "on_start")

    async def on_stop(self, env: ten.TenEnv) -> None:
        await self.note(env, "on_stop")

    async def on_deinit(self, env: ten.TenEnv) -> None:
        await self.note(env, "on_deinit")

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await self.note(env, cmd.name)
        await env.return_result(cmd.ok())


def alone(extension: ten.Extension, **node: Any) -> ten.Graph:
    graph = ten.Graph()
    graph.node("it", lambda: extension, **node)
    return graph


async def test_the_stages_come_in_order() -> None:
    log: list[str] = []
    async with ten.open_app() as app, app.open_graph(alone(Life(log))):
        assert log == STAGES[:3]
    assert log == STAGES


async def test_the_name_is_known_from_the_first_stage_on() -> None:
    class Named(ten.Extension):
        async def on_configure(self, env: ten.TenEnv) -> None:
            assert self.name == env.name == "it"

    async with ten.open_app() as app, app.open_graph(alone(Named())):
        pass


async def test_all_stages_run_in_one_task_of_its_own() -> None:
    tasks = set()

    class Same(Life):
        async def note(self, env: ten.TenEnv, what: str) -> None:
            tasks.add(trio.lowlevel.current_task())

    async with ten.open_app() as app, app.open_graph(alone(Same([]))) as engine:
        (lifecycle,) = tasks
        await engine.send_cmd(ten.Cmd("hello", dest="it"))
        assert len(tasks) == 2, "handlers don't run in the task of the lifecycle"
        tasks.clear()
    assert tasks == {lifecycle}


async def test_there_is_no_barrier_between_extensions_on_start(autojump_clock: object) -> None:
    log: list[str] = []

    class Slow(Life):
        async def on_configure(self, env: ten.TenEnv) -> None:
            await trio.sleep(1)

    graph = ten.Graph()
    graph.node("slow", lambda: Slow(log))
    graph.node("quick", lambda: Life(log))
    async with ten.open_app() as app, app.open_graph(graph):
        pass
    assert log.index("quick.on_start") < log.index("slow.on_init")


async def test_open_graph_waits_for_every_on_start(autojump_clock: object) -> None:
    class Slow(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            await trio.sleep(3)

    start = trio.current_time()
    async with ten.open_app() as app, app.open_graph(alone(Slow())):
        assert trio.current_time() - start == 3


# What it hears when --------------------------------------------------------------------------------


async def test_messages_wait_for_on_init_but_not_for_on_start(autojump_clock: object) -> None:
    log: list[str] = []

    class Slow(Life):
        async def on_init(self, env: ten.TenEnv) -> None:
            await trio.sleep(1)
            log.append("on_init is over")

        async def on_start(self, env: ten.TenEnv) -> None:
            await trio.sleep(1)
            log.append("on_start is over")

        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            log.append(data.name)

    class Early(ten.Extension):
        async def on_configure(self, env: ten.TenEnv) -> None:
            await env.send_data(ten.Data("early", dest="it"))
            assert (await env.send_cmd(ten.Cmd("hello", dest="it"))).ok

    graph = alone(Slow(log))
    graph.node("early", Early)
    async with ten.open_app() as app, app.open_graph(graph):
        assert log == ["on_configure", "on_init is over", "early", "hello", "on_start is over"]


async def test_results_arrive_at_every_stage() -> None:
    heard = []

    class Asks(Life):
        async def note(self, env: ten.TenEnv, what: str) -> None:
            result = await env.send_cmd(ten.Cmd("hello", dest="answers"))
            heard.append((what, result.ok))

    class Answers(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await env.return_result(cmd.ok())

        async def on_stop(self, env: ten.TenEnv) -> None:
            await asker_is_over.wait()

    class Last(Asks):
        async def on_deinit(self, env: ten.TenEnv) -> None:
            await super().on_deinit(env)
            asker_is_over.set()

    asker_is_over = trio.Event()
    graph = alone(Last([]))
    graph.node("answers", Answers)
    async with ten.open_app() as app, app.open_graph(graph):
        pass
    assert heard == [(stage, True) for stage in STAGES]


async def test_messages_still_flow_during_on_stop() -> None:
    class Farewell(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            result = await env.send_cmd(ten.Cmd("bye", dest="other"))
            answers.append(result.get_property_string("text"))

    class Polite(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await env.return_result(cmd.ok(text="so long"))
            asked.set()

        async def on_stop(self, env: ten.TenEnv) -> None:
            await asked.wait()

    answers: list[str] = []
    asked = trio.Event()
    graph = ten.Graph()
    graph.node("first", Farewell)
    graph.node("other", Polite)
    async with ten.open_app() as app, app.open_graph(graph):
        pass
    assert answers == ["so long"]


async def test_in_on_deinit_commands_are_refused_and_data_is_dropped() -> None:
    class Leaving(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            raise AssertionError("must not be called")

        async def on_deinit(self, env: ten.TenEnv) -> None:
            leaving.set()
            await asked.wait()

    class Asks(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            await leaving.wait()
            await env.send_data(ten.Data("late", dest="it"))
            results.append(await env.send_cmd(ten.Cmd("hello", dest="it")))
            asked.set()

    leaving, asked = trio.Event(), trio.Event()
    results: list[ten.CmdResult] = []
    graph = alone(Leaving())
    graph.node("asks", Asks)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        pass
    assert results[0].detail == "The destination extension is in its de-initialization phase."
    assert engine.report is not None
    report = engine.report.extensions["it"]
    assert (report.answered_with_error, report.dropped) == (1, {"closing": 1})


@pytest.mark.parametrize("kind", ["cmd", "data"])
async def test_nothing_is_handled_any_more_once_on_deinit_has_begun(kind: str) -> None:
    """Not even what was on its way to the task that would have handled it."""

    class Brief(ten.Extension):
        over = False

        async def on_deinit(self, env: ten.TenEnv) -> None:
            self.over = True

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            assert not self.over
            await env.return_result(cmd.ok())

        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            assert not self.over

    graph = ten.Graph()
    graph.node("it", Brief)
    for _ in range(20):  # the order in which tasks run is drawn anew each time
        async with ten.open_app() as app, app.open_graph(graph) as engine:
            await trio.testing.wait_all_tasks_blocked()
            engine.stop()
            if kind == "cmd":
                engine._core.host.start(ten.Cmd("x", dest="it"), ten.Call(), NOTHING)
            else:
                engine._core.host.post(ten.Data("x", dest="it"), NOTHING)


async def test_on_deinit_may_send() -> None:
    class Leaving(ten.Extension):
        async def on_deinit(self, env: ten.TenEnv) -> None:
            await env.send_data(ten.Data("farewell", dest="other"))
            sent.set()

    class Other(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            heard.set()

        async def on_stop(self, env: ten.TenEnv) -> None:
            await sent.wait()
            await heard.wait()

    sent, heard = trio.Event(), trio.Event()
    graph = alone(Leaving())
    graph.node("other", Other)
    async with ten.open_app() as app, app.open_graph(graph):
        pass


async def test_a_closed_env_refuses_everything_but_reading() -> None:
    class Keeps(ten.Extension):
        async def on_init(self, env: ten.TenEnv) -> None:
            envs.append(env)

    envs: list[ten.TenEnv] = []
    async with ten.open_app() as app, app.open_graph(alone(Keeps(), property={"x": 1})):
        pass
    (env,) = envs
    with pytest.raises(ten.EnvClosed):
        await env.send_cmd(ten.Cmd("hello", dest="it"))
    with pytest.raises(ten.EnvClosed):
        await env.send_data(ten.Data("hello", dest="it"))
    with pytest.raises(ten.EnvClosed):
        env.proxy()
    with pytest.raises(ten.EnvClosed):
        _ = env.nursery
    assert env["x"] == 1


# A stop before the start is over -------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES[:3])
async def test_a_stop_skips_what_has_not_begun(stage: str, autojump_clock: object) -> None:
    log: list[str] = []

    class Slow(Life):
        async def note(self, env: ten.TenEnv, what: str) -> None:
            await super().note(env, what)
            if what == stage:
                reached.set()
                await trio.sleep(1)

    reached = trio.Event()
    async with ten.open_app() as app:
        engine = await app.start_graph(alone(Slow(log)))
        await reached.wait()
        engine.stop()
        report = await engine.wait_closed()
    assert log == [*STAGES[: STAGES.index(stage) + 1], "on_stop", "on_deinit"]
    assert not report.grace_exhausted


async def test_an_extension_that_was_never_initialised_gets_no_messages(
    autojump_clock: object,
) -> None:
    log: list[str] = []

    class Slow(Life):
        async def on_configure(self, env: ten.TenEnv) -> None:
            reached.set()
            await trio.sleep(1)

        async def on_stop(self, env: ten.TenEnv) -> None:
            await trio.sleep(1)

    reached = trio.Event()
    async with ten.open_app() as app:
        engine = await app.start_graph(alone(Slow(log)))
        await reached.wait()
        call = engine.start_cmd(ten.Cmd("hello", dest="it"))
        engine.stop()
        result = await call.result()
    assert log == ["on_deinit"]
    assert result.detail == "The destination extension is in its de-initialization phase."


# Lifespan ------------------------------------------------------------------------------------------


async def test_lifespan_lies_between_on_init_and_on_stop() -> None:
    log: list[str] = []

    class Client(Life):
        @asynccontextmanager
        async def lifespan(self, env: ten.TenEnv) -> AsyncGenerator[None, None]:
            log.append("opened")
            yield
            log.append("closed")

    async with ten.open_app() as app, app.open_graph(alone(Client(log))):
        pass
    assert log == [*STAGES[:2], "opened", "on_start", "on_stop", "closed", "on_deinit"]


async def test_lifespan_holds_a_nursery_that_handlers_use() -> None:
    class Client(ten.Extension):
        @asynccontextmanager
        async def lifespan(self, env: ten.TenEnv) -> AsyncGenerator[None, None]:
            async with trio.open_nursery() as self.nursery:
                yield
                self.nursery.cancel_scope.cancel()

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            async def answer() -> None:
                await env.return_result(cmd.ok())

            self.nursery.start_soon(answer)

    async with ten.open_app() as app, app.open_graph(alone(Client())) as engine:
        assert (await engine.send_cmd(ten.Cmd("hello", dest="it"))).ok


@pytest.mark.parametrize("stage", ["on_start", "running", "on_stop"])
async def test_a_task_that_fails_in_the_lifespans_nursery_is_the_extensions_failure(
    stage: str, autojump_clock: object
) -> None:
    log: list[str] = []

    class Client(Life):
        @asynccontextmanager
        async def lifespan(self, env: ten.TenEnv) -> AsyncGenerator[None, None]:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.fail)
                yield

        async def fail(self) -> None:
            await fails.wait()
            raise KeyError("the connection is gone")

        async def note(self, env: ten.TenEnv, what: str) -> None:
            log.append(what)
            if what == stage:
                fails.set()
                await trio.sleep_forever()

    fails = trio.Event()
    with pytest.RaisesGroup(pytest.RaisesGroup(KeyError)) as caught:
        async with ten.open_app() as app, app.open_graph(alone(Client(log))):
            if stage == "running":
                fails.set()
                await trio.sleep_forever()
    assert "in lifespan of 'it'" in "".join(caught.value.exceptions[0].__notes__)
    assert log == STAGES, "on_stop and on_deinit are called once each"


async def test_a_lifespan_that_ends_too_early_is_a_failure() -> None:
    log: list[str] = []

    class Client(Life):
        @asynccontextmanager
        async def lifespan(self, env: ten.TenEnv) -> AsyncGenerator[None, None]:
            with trio.CancelScope() as self.scope:
                yield

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            self.scope.cancel()

    with pytest.RaisesGroup(
        pytest.RaisesExc(ten.TenError, match="lifespan ended before on_stop"),
    ):
        async with ten.open_app() as app, app.open_graph(alone(Client(log))) as engine:
            await engine.send_cmd(ten.Cmd("hello", dest="it"))
    assert log == STAGES


@pytest.mark.parametrize("when", ["enter", "exit"])
async def test_an_exception_of_the_lifespan_itself(when: str) -> None:
    log: list[str] = []

    class Client(Life):
        @asynccontextmanager
        async def lifespan(self, env: ten.TenEnv) -> AsyncGenerator[None, None]:
            if when == "enter":
                raise KeyError(when)
            yield
            raise KeyError(when)

    with pytest.RaisesGroup(pytest.RaisesExc(KeyError, match=when)):
        async with ten.open_app() as app, app.open_graph(alone(Client(log))):
            pass
    assert log == [stage for stage in STAGES if when == "exit" or stage != "on_start"]


async def test_what_is_no_context_manager_is_named() -> None:
    class Wrong(ten.Extension):
        async def lifespan(self, env: ten.TenEnv) -> AsyncGenerator[None, None]:  # type: ignore[override]
            yield

    with pytest.RaisesGroup(pytest.RaisesExc(TypeError, match="context manager")) as caught:
        async with ten.open_app() as app, app.open_graph(alone(Wrong())):
            pass
    assert "in lifespan of 'it'" in "".join(caught.value.exceptions[0].__notes__)


# Manual triggers -----------------------------------------------------------------------------------

START = {"ten": {"manual_trigger_life_cycle": [{"stage": "start"}]}}
STOP = {"ten": {"manual_trigger_life_cycle": [{"stage": "stop"}]}}
BOTH = {"ten": {"manual_trigger_life_cycle": [{"stage": "start"}, {"stage": "stop"}]}}


def trigger(stage: str = "") -> ten.TriggerLifeCycle:
    return ten.TriggerLifeCycle(stage=stage, dest="it")


async def test_a_manual_start_waits_for_its_trigger() -> None:
    log: list[str] = []
    async with (
        ten.open_app() as app,
        app.open_graph(alone(Life(log), property=START)) as engine,
    ):
        assert (await engine.send_cmd(ten.Cmd("hello", dest="it"))).ok, "messages flow already"
        assert log == ["on_configure", "on_init", "hello"]
        result = await engine.send_cmd(trigger("start"))
        assert (result.ok, result.detail) == (True, "Life cycle triggered successfully")
        assert log[-1] == "on_start", "the answer comes after on_start"


async def test_a_trigger_may_come_before_on_init(autojump_clock: object) -> None:
    class Slow(Life):
        async def on_configure(self, env: ten.TenEnv) -> None:
            configuring.set()
            await trio.sleep(1)

    configuring = trio.Event()
    log: list[str] = []
    async with ten.open_app() as app:
        engine = await app.start_graph(alone(Slow(log), property=START))
        await configuring.wait()
        call = engine.start_cmd(trigger("start"))
        assert not log
        assert (await call.result()).ok
        assert log == ["on_init", "on_start"]


@pytest.mark.parametrize(
    ("property_", "stage", "detail"),
    [
        (BOTH, "", "Missing stage field"),
        (BOTH, "configure", "Unsupported stage"),
        (STOP, "start", "Extension not configured for manual start control"),
        (START, "stop", "Extension not configured for manual stop control"),
        ({}, "start", "Extension not configured for manual start control"),
    ],
)
async def test_triggers_that_mean_nothing(property_: Any, stage: str, detail: str) -> None:
    async with (
        ten.open_app(grace=0.1) as app,
        app.open_graph(alone(ten.Extension(), property=property_), grace=0.01) as engine,
    ):
        result = await engine.send_cmd(trigger(stage))
        assert (result.ok, result.detail) == (False, detail)


async def test_a_second_trigger_comes_too_late() -> None:
    async with (
        ten.open_app() as app,
        app.open_graph(alone(ten.Extension(), property=START)) as engine,
    ):
        assert (await engine.send_cmd(trigger("start"))).ok
        result = await engine.send_cmd(trigger("start"))
        assert (result.ok, result.detail) == (False, "Extension already past start stage")


async def test_a_manual_stop_waits_for_its_trigger(autojump_clock: object) -> None:
    log: list[str] = []

    class Other(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            await trio.sleep(1)
            log.append("now")
            results.append(await env.send_cmd(trigger("stop")))

    results: list[ten.CmdResult] = []
    graph = alone(Life(log), property=STOP)
    graph.node("other", Other)
    async with ten.open_app() as app, app.open_graph(graph):
        pass
    assert log == [*STAGES[:3], "now", "on_stop", "on_deinit"]
    assert results[0].ok
    assert results[0].detail == "Life cycle triggered successfully"


async def test_a_manual_stop_that_nobody_triggers_is_bounded(autojump_clock: object) -> None:
    log: list[str] = []
    async with ten.open_app() as app, app.open_graph(alone(Life(log), property=STOP)) as engine:
        pass
    assert engine.report is not None
    assert engine.report.grace_exhausted
    assert "waiting for the trigger of stop" in engine.report.slow["it"]


async def test_a_close_before_the_start_trigger_leads_to_the_stop() -> None:
    log: list[str] = []
    async with ten.open_app() as app, app.open_graph(alone(Life(log), property=START)):
        pass
    assert log == ["on_configure", "on_init", "on_stop", "on_deinit"]


async def test_a_trigger_for_an_extension_that_is_over_is_answered() -> None:
    class Fails(ten.Extension):
        on_error = "isolate"

        async def on_configure(self, env: ten.TenEnv) -> None:
            raise KeyError("on purpose")

    async with ten.open_app() as app, app.open_graph(alone(Fails())) as engine:
        result = await engine.send_cmd(trigger("start"))
        assert (result.ok, result.detail) == (False, "The extension has been closed.")


async def test_a_wrong_manual_setting_is_a_typed_error() -> None:
    wrong = {"ten": {"manual_trigger_life_cycle": [{"stage": "init"}]}}
    with pytest.RaisesGroup(
        pytest.RaisesExc(ten.ConfigError, match=r"ten.manual_trigger_life_cycle\[0\].stage")
    ):
        async with ten.open_app() as app, app.open_graph(alone(ten.Extension(), property=wrong)):
            pass


# Its task ------------------------------------------------------------------------------------------


class Echo(ten.Extension):
    """Has no callbacks."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok())


class Starts(Echo):
    """Has callbacks for its beginning only."""

    tasks: set[trio.lowlevel.Task]

    async def on_configure(self, env: ten.TenEnv) -> None:
        self.tasks = {trio.lowlevel.current_task()}

    async def on_start(self, env: ten.TenEnv) -> None:
        self.tasks.add(trio.lowlevel.current_task())
        await trio.lowlevel.checkpoint()


class Deinits(Echo):
    async def on_deinit(self, env: ten.TenEnv) -> None:
        pass


class Holds(Echo):
    @asynccontextmanager
    async def lifespan(self, env: ten.TenEnv) -> AsyncGenerator[None, None]:
        yield


@pytest.mark.parametrize(
    ("kind", "has_task"), [(Echo, False), (Starts, False), (Deinits, True), (Holds, True)]
)
async def test_it_has_a_task_only_while_a_callback_is_still_to_come(
    kind: type[ten.Extension], has_task: bool
) -> None:
    extension = kind()
    async with ten.open_app() as app, app.open_graph(alone(extension)) as engine:
        await trio.testing.wait_all_tasks_blocked()
        life = engine._core.lives["it"]
        assert (life.task is not None) == has_task
        assert life.stage == "running"
        # The other one handles messages.
        assert len(engine._core.nursery.child_tasks) == 1 + has_task
        if isinstance(extension, Starts):
            assert len(extension.tasks) == 1
        assert (await engine.send_cmd(ten.Cmd("hello", dest="it"))).ok
    assert engine.report is not None
    assert not engine.report.grace_exhausted
    assert engine.report.extensions["it"].on_stop == 0.0


class Busy(ten.Extension):
    """Has background work for each command, and no callbacks."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        env.nursery.start_soon(self.work)
        await env.return_result(cmd.ok())

    async def work(self) -> None:
        raise NotImplementedError


async def test_without_a_task_its_nursery_is_closed_all_the_same(autojump_clock: object) -> None:
    class Works(Busy):
        async def work(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)
                ended.append(trio.current_time())

    ended: list[float] = []
    began = trio.current_time()
    async with ten.open_app() as app, app.open_graph(alone(Works())) as engine:
        await engine.send_cmd(ten.Cmd("go", dest="it"))
    assert ended == [began + 1]
    assert engine.report is not None
    assert not engine.report.grace_exhausted


async def test_without_a_task_it_is_named_as_slow_all_the_same(autojump_clock: object) -> None:
    class Works(Busy):
        async def work(self) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(7)

    async with ten.open_app(grace=2) as app, app.open_graph(alone(Works())) as engine:
        await engine.send_cmd(ten.Cmd("go", dest="it"))
    assert engine.report is not None
    assert engine.report.grace_exhausted
    assert "in work" in engine.report.slow["it"]


async def test_without_a_task_it_hears_the_others_until_all_have_stopped() -> None:
    class Asks(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            for _ in range(5):
                await trio.lowlevel.checkpoint()
            results.append(await env.send_cmd(ten.Cmd("hello", dest="it")))

    results: list[ten.CmdResult] = []
    graph = alone(Echo())
    graph.node("asks", Asks)
    async with ten.open_app() as app:
        engine = await app.start_graph(graph, sync_stop_before_deinit=True)
        engine.stop()
        await engine.wait_closed()
    assert results[0].ok


async def test_what_was_sent_before_the_close_is_handled_without_an_on_stop() -> None:
    class Counts(ten.Extension):
        seen = 0

        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            self.seen += 1

    for _ in range(20):  # the order in which tasks run is drawn anew each time
        counts = Counts()
        async with ten.open_app() as app, app.open_graph(alone(counts)) as engine:
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(10):
                engine._core.host.post(ten.Data("x", dest="it"), NOTHING)
            engine.stop()
        assert counts.seen == 10


async def test_without_a_task_it_is_built_again() -> None:
    class Fragile(Echo):
        on_error = "restart"

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            if cmd.name == "break":
                raise KeyError("on purpose")
            await super().on_cmd(env, cmd)

    built: list[Fragile] = []

    def build(name: str) -> Fragile:
        built.append(Fragile())
        return built[-1]

    graph = ten.Graph()
    graph.node("it", build)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        assert not (await engine.send_cmd(ten.Cmd("break", dest="it"))).ok
        assert (await engine.send_cmd(ten.Cmd("hello", dest="it"))).ok, "held until it was back"
        assert len(built) == 2
        await trio.testing.wait_all_tasks_blocked()
        assert engine._core.lives["it"].task is None


async def test_handlers_have_the_context_of_an_on_start_whose_task_is_over() -> None:
    class Sets(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            who.set("it")

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await env.return_result(cmd.ok(who=who.get()))

    who = ContextVar("who", default="nobody")
    async with ten.open_app() as app, app.open_graph(alone(Sets())) as engine:
        result = await engine.send_cmd(ten.Cmd("hello", dest="it"))
    assert result["who"] == "it"
    assert who.get() == "nobody"


async def test_what_must_go_on_rising_from_a_factory_leaves_nothing_behind() -> None:
    def leave(name: str) -> ten.Extension:
        raise SystemExit(3)

    log: list[str] = []
    graph = alone(Life(log))
    graph.node("leaves", leave)
    with trio.fail_after(5), pytest.raises(BaseExceptionGroup) as caught:
        async with ten.open_app(grace=1) as app, app.open_graph(graph):
            pass
    assert caught.value.split(SystemExit)[1] is None
    assert log == ["on_stop", "on_deinit"]


# The class itself ----------------------------------------------------------------------------------


def test_callbacks_must_be_async() -> None:
    with pytest.raises(TypeError, match=r"Wrong\.on_start must be an `async def`"):

        class Wrong(ten.Extension):
            def on_start(self, env: ten.TenEnv) -> None:  # type: ignore[override]
                pass


async def test_the_default_on_cmd_answers_with_error() -> None:
    async with ten.open_app() as app, app.open_graph(alone(ten.Extension())) as engine:
        result = await engine.send_cmd(ten.Cmd("hello", dest="it"))
        assert (result.ok, result.detail) == (
            False,
            "not handled: Extension has no on_cmd for 'hello'",
        )


def test_callbacks_must_take_what_they_are_called_with() -> None:
    with pytest.raises(TypeError, match=r"Short\.on_cmd must take \(self, env, cmd\), not \(self"):

        class Short(ten.Extension):
            async def on_cmd(self, cmd: ten.Cmd) -> None:  # type: ignore[override]
                pass

    class Anything(ten.Extension):
        async def on_cmd(self, *args: object, **more: object) -> None:
            pass

        async def on_data(self, env: ten.TenEnv, data: ten.Data, more: int = 0) -> None:
            pass
