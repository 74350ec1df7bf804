"""Exceptions in user code: the caller's answer first, then the policy; what goes on rising."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio

import ten_trio as ten
from ten_trio.runtime.supervision import split


class Fails(ten.Extension):
    """Raises what the message says: a command's or data's name is that of an exception class."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.number = type(self).made

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd.name == "number":
            await env.return_result(cmd.ok(number=self.number))
        elif cmd.name == "hold":
            await trio.sleep_forever()
        else:
            raise KeyError(cmd.name)

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        if data.name == "wait":
            await trio.sleep(1)
        raise KeyError(data.name)


def failing(**settings: Any) -> ten.Graph:
    Fails.made = 0
    graph = ten.Graph()
    graph.node("fails", Fails, **settings)
    return graph


async def number(engine: ten.Engine) -> int:
    result = await engine.send_cmd(ten.Cmd("number", dest="fails"))
    return result.unwrap().get_property_int32("number")


# The caller ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["stop_graph", "isolate", "restart"])
async def test_the_caller_of_a_handler_that_raises_gets_an_error(policy: str) -> None:
    details = []
    try:
        async with ten.open_app() as app, app.open_graph(failing(on_error=policy)) as engine:
            with trio.CancelScope(shield=True):
                details.append((await engine.send_cmd(ten.Cmd("boom", dest="fails"))).detail)
    except* KeyError:
        pass
    assert details == ["fails: KeyError: 'boom'"]


async def test_a_handler_that_has_answered_and_then_raises_fails_all_the_same() -> None:
    class Answers(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await env.return_result(cmd.ok())
            raise KeyError("late")

    graph = ten.Graph()
    graph.node("answers", Answers)
    with pytest.RaisesGroup(KeyError):
        async with ten.open_app() as app, app.open_graph(graph) as engine:
            with trio.CancelScope(shield=True):
                assert (await engine.send_cmd(ten.Cmd("x", dest="answers"))).ok


# stop_graph ----------------------------------------------------------------------------------------


async def test_by_default_the_graph_stops_in_order(autojump_clock: object) -> None:
    log = []

    class Other(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            await trio.sleep(1)
            log.append("on_stop")

        async def on_deinit(self, env: ten.TenEnv) -> None:
            log.append("on_deinit")

    graph = failing()
    graph.node("other", Other)
    with pytest.RaisesGroup(KeyError):
        async with ten.open_app() as app, app.open_graph(graph) as engine:
            await engine.send_data(ten.Data("boom", dest="fails"))
            await trio.sleep_forever()
    assert log == ["on_stop", "on_deinit"]
    assert engine.report is not None
    assert engine.report.reason == "failed: KeyError"
    assert [type(error) for error in engine.report.failures] == [KeyError]


async def test_several_failures_come_out_in_one_group(autojump_clock: object) -> None:
    class Stops(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            raise ZeroDivisionError

        async def on_deinit(self, env: ten.TenEnv) -> None:
            raise IndexError

    graph = failing()
    graph.node("stops", Stops)
    with pytest.RaisesGroup(KeyError, ZeroDivisionError, IndexError) as caught:
        async with ten.open_app() as app, app.open_graph(graph) as engine:
            await engine.send_data(ten.Data("boom", dest="fails"))
            await trio.sleep_forever()
    notes = [error.__notes__[0].partition(" (graph")[0] for error in caught.value.exceptions]
    assert notes[0].startswith("while 'fails' handled Data('boom'")
    assert notes[1:] == ["in on_stop of 'stops'", "in on_deinit of 'stops'"]


async def test_a_waiting_handler_is_blamed_too(autojump_clock: object) -> None:
    with pytest.RaisesGroup(KeyError) as caught:
        async with ten.open_app() as app, app.open_graph(failing()) as engine:
            await engine.send_data(ten.Data("wait", dest="fails"))
            await trio.sleep_forever()
    (error,) = caught.value.exceptions
    assert error.__notes__[0].startswith("while 'fails' handled Data('wait'")
    assert error.__traceback__ is not None


async def test_a_task_that_fails_is_its_extensions_failure() -> None:
    class Tasks(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            env.nursery.start_soon(self.fail)

        async def fail(self) -> None:
            raise KeyError("task")

    graph = ten.Graph()
    graph.node("tasks", Tasks)
    with pytest.RaisesGroup(pytest.RaisesGroup(KeyError)) as caught:
        async with ten.open_app() as app, app.open_graph(graph):
            await trio.sleep_forever()
    (error,) = caught.value.exceptions
    assert error.__notes__[0].startswith("in a task of 'tasks'")


# isolate -------------------------------------------------------------------------------------------


async def test_an_isolated_failure_is_logged_and_the_graph_goes_on(
    caplog: pytest.LogCaptureFixture, autojump_clock: object
) -> None:
    async with ten.open_app() as app, app.open_graph(failing(on_error="isolate")) as engine:
        await engine.send_data(ten.Data("boom", dest="fails"))
        await engine.send_data(ten.Data("wait", dest="fails"))
        await trio.sleep(2)
        assert await number(engine) == 1
    records = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.exc_info is not None for record in records] == [True, True]
    assert "fails" in records[0].getMessage()
    assert engine.report is not None
    assert {name: each.errors for name, each in engine.report.extensions.items()}["fails"] == 2
    assert engine.report.failures == ()


async def test_an_isolated_extension_that_did_not_start_is_just_missing() -> None:
    class Never(ten.Extension):
        on_error = "isolate"

        async def on_init(self, env: ten.TenEnv) -> None:
            raise KeyError("on purpose")

    graph = failing()
    graph.node("never", Never)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        assert await number(engine) == 1
        result = await engine.send_cmd(ten.Cmd("x", dest="never"))
        assert not result.ok


async def test_an_isolated_extension_may_start_tasks_again() -> None:
    ran = []

    class Tasks(ten.Extension):
        on_error = "isolate"

        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            env.nursery.start_soon(self.task, data.name)

        async def task(self, name: str) -> None:
            ran.append(name)
            if name == "boom":
                raise KeyError(name)

    graph = ten.Graph()
    graph.node("tasks", Tasks)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        for name in ("boom", "fine"):
            await engine.send_data(ten.Data(name, dest="tasks"))
            await trio.testing.wait_all_tasks_blocked()
    assert ran == ["boom", "fine"]


# restart -------------------------------------------------------------------------------------------


async def test_restart_builds_the_extension_again() -> None:
    log = []

    class Restarts(Fails):
        async def on_start(self, env: ten.TenEnv) -> None:
            log.append(f"start {self.number} {env['x']}")

        async def on_stop(self, env: ten.TenEnv) -> None:
            log.append(f"stop {self.number}")

        async def on_deinit(self, env: ten.TenEnv) -> None:
            log.append(f"deinit {self.number}")

    graph = ten.Graph()
    Restarts.made = 0
    graph.node("fails", Restarts, on_error="restart", property={"x": 1})
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        assert await number(engine) == 1
        await engine.send_data(ten.Data("boom", dest="fails"))
        await trio.testing.wait_all_tasks_blocked()
        assert await number(engine) == 2
        assert log == ["start 1 1", "stop 1", "deinit 1", "start 2 1"]
    assert log[4:] == ["stop 2", "deinit 2"]


async def test_in_flight_commands_are_answered_and_the_queue_is_held(
    autojump_clock: object,
) -> None:
    class Slow(Fails):
        async def on_start(self, env: ten.TenEnv) -> None:
            await trio.sleep(1)

        async def on_init(self, env: ten.TenEnv) -> None:
            await trio.sleep(1)

    Slow.made = 0
    graph = ten.Graph()
    graph.node("fails", Slow, on_error="restart")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        held = engine.start_cmd(ten.Cmd("hold", dest="fails"))
        await trio.testing.wait_all_tasks_blocked()
        await engine.send_data(ten.Data("boom", dest="fails"))
        queued = engine.start_cmd(ten.Cmd("number", dest="fails"))
        assert (await held.result()).detail == "restarting"
        assert (await queued.result())["number"] == 2, "it waited for the new extension"


async def test_its_own_commands_end_when_it_is_restarted() -> None:
    abandoned = trio.Event()

    class Asks(Fails):
        async def on_start(self, env: ten.TenEnv) -> None:
            if self.number == 1:
                env.nursery.start_soon(self.ask, env)

        async def ask(self, env: ten.TenEnv) -> None:
            await env.send_cmd(ten.Cmd("hold", dest="holds"))

    class Holds(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await cmd.abandoned.wait()
            abandoned.set()

    Asks.made = 0
    graph = ten.Graph()
    graph.node("fails", Asks, on_error="restart")
    graph.node("holds", Holds)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.send_data(ten.Data("boom", dest="fails"))
        await abandoned.wait()
        assert await number(engine) == 2


async def test_the_fourth_failure_within_a_minute_stops_the_graph(autojump_clock: object) -> None:
    with pytest.RaisesGroup(KeyError) as caught:
        async with ten.open_app() as app, app.open_graph(failing(on_error="restart")) as engine:
            for attempt in range(3):
                await engine.send_data(ten.Data("boom", dest="fails"))
                await trio.sleep(19)
                assert await number(engine) == attempt + 2
            await engine.send_data(ten.Data("boom", dest="fails"))
            await trio.sleep_forever()
    (error,) = caught.value.exceptions
    assert error.__notes__[1] == "restarted 3 times already: the graph stops"


async def test_failures_that_are_far_between_never_stop_the_graph(autojump_clock: object) -> None:
    async with ten.open_app() as app, app.open_graph(failing(on_error="restart")) as engine:
        for attempt in range(10):
            await engine.send_data(ten.Data("boom", dest="fails"))
            await trio.sleep(21)
            assert await number(engine) == attempt + 2


async def test_a_start_that_fails_is_tried_again() -> None:
    class Third(Fails):
        async def on_start(self, env: ten.TenEnv) -> None:
            if self.number < 3:
                raise KeyError("not yet")

    Third.made = 0
    graph = ten.Graph()
    graph.node("fails", Third, on_error="restart")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        assert Third.made == 3, "the block is entered when it has started"
        assert await number(engine) == 3


async def test_a_start_that_always_fails_ends_the_graph() -> None:
    class Never(Fails):
        async def on_start(self, env: ten.TenEnv) -> None:
            raise KeyError("never")

    Never.made = 0
    graph = ten.Graph()
    graph.node("fails", Never, on_error="restart")
    with pytest.RaisesGroup(KeyError):
        async with ten.open_app() as app, app.open_graph(graph):
            pass
    assert Never.made == 4


async def test_a_restart_that_fails_to_build_stops_the_graph() -> None:
    log = []

    class Once(Fails):
        def __init__(self) -> None:
            super().__init__()
            if self.number > 1:
                raise ZeroDivisionError

        async def on_deinit(self, env: ten.TenEnv) -> None:
            log.append("on_deinit")

    Once.made = 0
    graph = ten.Graph()
    graph.node("fails", Once, on_error="restart")
    with pytest.RaisesGroup(ZeroDivisionError) as caught:
        async with ten.open_app() as app, app.open_graph(graph) as engine:
            await engine.send_data(ten.Data("boom", dest="fails"))
            await trio.sleep_forever()
    assert caught.value.exceptions[0].__notes__[0].startswith("while 'fails' was built again")
    assert log == ["on_deinit"]


@pytest.mark.parametrize("stage", ["on_stop", "factory", "on_init"])
async def test_a_close_during_a_restart(stage: str, autojump_clock: object) -> None:
    ended = []

    async def make() -> ten.Extension:
        extension = Slow()
        if extension.number > 1 and stage == "factory":
            await trio.sleep(2)
        return extension

    class Slow(Fails):
        async def on_init(self, env: ten.TenEnv) -> None:
            if self.number > 1 and stage == "on_init":
                await trio.sleep(2)

        async def on_stop(self, env: ten.TenEnv) -> None:
            if self.number == 1 and stage == "on_stop":
                await trio.sleep(2)

        async def on_deinit(self, env: ten.TenEnv) -> None:
            ended.append(self.number)

    Slow.made = 0
    graph = ten.Graph()
    graph.node("fails", make, on_error="restart")
    start = trio.current_time()
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.send_data(ten.Data("boom", dest="fails"))
        call = engine.start_cmd(ten.Cmd("number", dest="fails"))
        await trio.sleep(1)
    assert trio.current_time() - start == 2
    # Once on_init has come back, what was held may be handled before on_stop has.
    assert (await call.result()).ok <= (stage == "on_init")
    assert ended == ([1, 2] if stage == "on_init" else [1])
    assert engine.report is not None
    assert not engine.report.failures


# Groups and Cancelled ------------------------------------------------------------------------------


async def cancelled_with(error: Exception) -> BaseExceptionGroup[BaseException]:
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            return BaseExceptionGroup("both", [error, cancelled])
    raise AssertionError


async def test_split_parts_a_group() -> None:
    error = KeyError("x")
    group = await cancelled_with(error)
    rising, failure = split(group, closing=False)
    assert isinstance(rising, BaseExceptionGroup)
    assert [type(part) for part in rising.exceptions] == [trio.Cancelled]
    assert isinstance(failure, ExceptionGroup)
    assert failure.exceptions == (error,)


@pytest.mark.parametrize("closing", [False, True])
def test_split_and_env_closed(closing: bool) -> None:
    closed, other = ten.EnvClosed("x"), KeyError("x")
    assert split(closed, closing=closing) == (None, None if closing else closed)
    _, failure = split(ExceptionGroup("both", [closed, other]), closing=closing)
    assert isinstance(failure, ExceptionGroup)
    assert failure.exceptions == ((other,) if closing else (closed, other))
    _, failure = split(ExceptionGroup("one", [closed]), closing=closing)
    assert (failure is None) == closing


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_split_lets_interrupts_rise(interrupt: type[BaseException]) -> None:
    error = interrupt()
    assert split(error, closing=True) == (error, None)
    rising, failure = split(BaseExceptionGroup("both", [error, KeyError()]), closing=False)
    assert isinstance(rising, BaseExceptionGroup)
    assert rising.exceptions == (error,)
    assert isinstance(failure, ExceptionGroup)


@pytest.mark.parametrize("where", ["on_data", "on_start", "on_stop", "task"])
async def test_a_cancelled_part_of_a_group_is_not_swallowed(
    where: str, autojump_clock: object
) -> None:
    """Cleanup that fails while its task is being cancelled: the failure counts, the cancel too."""

    async def fail_when_cancelled(*_: object) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise KeyError("cleanup")

    class Cleans(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            if where == "task":
                env.nursery.start_soon(fail_when_cancelled)

    if where != "task":
        setattr(Cleans, where, fail_when_cancelled)
    graph = ten.Graph()
    graph.node("cleans", Cleans)
    start = trio.current_time()
    async with ten.open_app() as app:
        engine = await app.start_graph(graph)
        if where == "on_data":
            await engine.send_data(ten.Data("x", dest="cleans"))
        await trio.testing.wait_all_tasks_blocked()
        report = await app.stop_graph(engine.graph_id)
    assert trio.current_time() - start <= 5
    (failure,) = report.failures
    assert pytest.RaisesGroup(KeyError, flatten_subgroups=True).matches(failure)


async def test_env_closed_while_the_graph_closes_is_no_failure(autojump_clock: object) -> None:
    class Late(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            try:
                await trio.sleep_forever()
            finally:
                env.post_cmd(ten.Cmd("x", dest="late"))

        async def on_start(self, env: ten.TenEnv) -> None:
            env.nursery.start_soon(self.task, env)

        async def task(self, env: ten.TenEnv) -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ten.EnvClosed("on purpose")

    graph = ten.Graph()
    graph.node("late", Late)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.send_data(ten.Data("x", dest="late"))
        await trio.testing.wait_all_tasks_blocked()
    assert engine.report is not None
    assert not engine.report.failures


async def test_env_closed_while_the_graph_runs_is_a_failure() -> None:
    class Confused(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            raise ten.EnvClosed("on purpose")

    graph = ten.Graph()
    graph.node("confused", Confused)
    with pytest.RaisesGroup(ten.EnvClosed):
        async with ten.open_app() as app, app.open_graph(graph) as engine:
            await engine.send_data(ten.Data("x", dest="confused"))
            await trio.sleep_forever()


# Leaks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("inline", [False, True])
async def test_a_handler_that_leaves_a_nursery_open_is_named(
    waits: bool, inline: bool, autojump_clock: object
) -> None:
    class Leaks(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            self.manager = trio.open_nursery()
            nursery = await self.manager.__aenter__()
            nursery.start_soon(trio.sleep_forever)
            if waits:
                await trio.sleep(1)

    graph = ten.Graph()
    graph.node("leaks", Leaks, inline=inline)
    with pytest.RaisesGroup(
        pytest.RaisesExc(ten.HandlerLeak, match=r"leaks: the handler of Data\('x'")
    ):
        async with ten.open_app() as app, app.open_graph(graph) as engine:
            await engine.send_data(ten.Data("x", dest="leaks"))
            await trio.sleep_forever()


async def test_a_leak_of_an_isolated_extension_does_no_harm_to_the_rest(
    autojump_clock: object,
) -> None:
    class Leaks(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            self.manager = trio.open_nursery()
            await self.manager.__aenter__()

    class Waits(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            with trio.move_on_after(1):
                await trio.sleep_forever()
            await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("leaks", Leaks, on_error="isolate")
    graph.node("waits", Waits)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        for _ in range(3):
            await engine.send_data(ten.Data("x", dest="leaks"))
            with trio.fail_after(2):
                assert (await engine.send_cmd(ten.Cmd("x", dest="waits"))).ok
