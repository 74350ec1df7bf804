"""The close: in two phases, within one grace, with a report, and with nothing left."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import ten_trio as ten
from ten_trio.runtime.instance import Instance


def tree(task: trio.lowlevel.Task | None = None) -> list[str]:
    """The names of all tasks below the root's."""
    root = task or trio.lowlevel.current_root_task()
    assert root is not None
    names = []
    for nursery in root.child_nurseries:
        for child in nursery.child_tasks:
            names += [child.name, *tree(child)]
    return sorted(names)


@contextmanager
def nothing_left() -> Iterator[None]:
    """No task and no thread more after the block than before, bar Trio's cached workers."""
    before = tree(), {thread for thread in threading.enumerate() if "Trio" not in thread.name}
    yield
    after = tree(), {thread for thread in threading.enumerate() if "Trio" not in thread.name}
    assert after == before


class Busy(ten.Extension):
    """Has a bit of everything running: a task, a timer, a pending command, a proxy, a handler."""

    async def on_start(self, env: ten.TenEnv) -> None:
        env.nursery.start_soon(trio.sleep_forever)
        env.proxy()
        await env.send_cmd(ten.Timer(timer_id=1, timeout_us=1_000_000, times=0))
        self.call = env.start_cmd(ten.Cmd("hold", dest="holds"))

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await trio.sleep_forever()


class Holds(ten.Extension):
    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await trio.sleep_forever()


def busy() -> ten.Graph:
    graph = ten.Graph()
    graph.node("busy", Busy, group="one")
    graph.node("holds", Holds, group="two")
    return graph


def stuck(callback: str, wait: Callable[..., Awaitable[object]]) -> ten.Graph:
    graph = ten.Graph()
    graph.node("stuck", type("Stuck", (ten.Extension,), {callback: wait}))
    return graph


async def forever(*_: object) -> None:
    await trio.sleep_forever()


# Nothing is left -----------------------------------------------------------------------------------


async def test_an_ordinary_close_leaves_nothing(autojump_clock: object) -> None:
    with nothing_left():
        async with ten.open_app() as app, app.open_graph(busy()) as engine:
            for _ in range(3):
                await engine.send_data(ten.Data("x", dest="busy"))
            async with engine.messages():
                call = engine.start_cmd(ten.Cmd("hold", dest="holds"))
                await trio.testing.wait_all_tasks_blocked()
        assert call.is_completed
    assert engine.report is not None
    assert not engine.report.grace_exhausted


async def test_no_path_is_left() -> None:
    async with ten.open_app() as app, app.open_graph(busy()) as engine:
        call = engine.start_cmd(ten.Cmd("hold", dest="holds"))
        await trio.testing.wait_all_tasks_blocked()
        endpoints = [*engine._core.instances.values(), engine._core.host]
        assert any(endpoint.out_paths for endpoint in endpoints)
        assert any(endpoint.in_paths for endpoint in endpoints)
    assert not any(endpoint.out_paths or endpoint.in_paths for endpoint in endpoints)
    result = await call.result()
    assert result.detail.startswith("closing: graph")


@pytest.mark.parametrize("cancelled_after", [0.5, 5.5, 6.5])
async def test_a_close_that_is_cancelled_from_outside_leaves_nothing(
    cancelled_after: float, autojump_clock: object
) -> None:
    """While it runs, while it closes in order, while it is being cancelled: all the same."""

    async def slow(*_: object) -> None:
        try:
            await trio.sleep(3)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)

    start = trio.current_time()
    with nothing_left(), trio.move_on_after(cancelled_after) as scope:
        async with ten.open_app() as app, app.open_graph(stuck("on_stop", slow)) as engine:
            await trio.sleep(5)
    assert scope.cancelled_caught == (cancelled_after == 0.5)
    assert trio.current_time() - start == min(cancelled_after, 5) + 3.5
    assert engine.report is not None
    assert not engine.report.grace_exhausted, "a graceful close works under cancellation"


async def test_a_block_that_is_cancelled_closes_in_order(autojump_clock: object) -> None:
    log = []

    class Orderly(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            result = await env.send_cmd(ten.Cmd("bye", dest="other"))
            await trio.sleep(1)
            log.append(result.ok)

        async def on_deinit(self, env: ten.TenEnv) -> None:
            await trio.sleep(1)
            log.append("on_deinit")

    class Other(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await trio.sleep(0.1)
            await env.return_result(cmd.ok())

        async def on_stop(self, env: ten.TenEnv) -> None:
            await trio.sleep(1)

    graph = ten.Graph()
    graph.node("orderly", Orderly)
    graph.node("other", Other)
    with nothing_left(), trio.move_on_after(1):
        async with ten.open_app() as app, app.open_graph(graph):
            await trio.sleep_forever()
    assert log == [True, "on_deinit"]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize(
    "where", ["on_configure", "on_start", "on_stop", "on_data", "waiting on_data", "task"]
)
async def test_what_is_no_failure_of_an_extension_rises_and_leaves_nothing(
    interrupt: type[BaseException], where: str, autojump_clock: object
) -> None:
    class Interrupted(ten.Extension):
        async def interrupt(self, *_: object) -> None:
            if where in ("task", "waiting on_data"):
                await trio.sleep(1)
            raise interrupt

        async def on_start(self, env: ten.TenEnv) -> None:
            if where == "task":
                env.nursery.start_soon(self.interrupt)

    if where != "task":
        setattr(Interrupted, where.split()[-1], Interrupted.interrupt)
    graph = busy()
    graph.node("interrupted", Interrupted, on_error="isolate")
    start = trio.current_time()
    with nothing_left(), pytest.RaisesGroup(interrupt, flatten_subgroups=True):
        async with ten.open_app() as app, app.open_graph(graph) as engine:
            if "on_data" in where:
                await engine.send_data(ten.Data("x", dest="interrupted"))
            if where != "on_stop":
                await trio.sleep_forever()
    assert trio.current_time() - start <= 7


# The grace -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "where", ["on_stop", "on_deinit", "on_start", "on_cmd", "on_data", "lifespan", "task"]
)
async def test_the_report_names_who_is_slow_and_its_line(
    where: str, autojump_clock: object
) -> None:
    class Slow(ten.Extension):
        async def dawdle(self, *_: object) -> None:
            with trio.CancelScope(shield=True):
                await trio.sleep(5.5)  # here

        @asynccontextmanager
        async def lifespan(self, env: ten.TenEnv) -> Any:
            yield
            if where == "lifespan":
                await self.dawdle()

    if where not in ("lifespan", "task"):
        setattr(Slow, where, Slow.dawdle)
    graph = ten.Graph()
    graph.node("slow", Slow)
    graph.node("quick", ten.Extension)
    start = trio.current_time()
    async with ten.open_app() as app:
        engine = await app.start_graph(graph)
        if where == "on_cmd":
            engine.post_cmd(ten.Cmd("x", dest="slow"))
        elif where == "on_data":
            await engine.send_data(ten.Data("x", dest="slow"))
        elif where == "task":
            slow = engine._core.instances["slow"]
            slow.env.nursery.start_soon(Slow.dawdle, slow.extension)
        await trio.testing.wait_all_tasks_blocked()
        report = await app.stop_graph(engine.graph_id)
    assert 5 <= trio.current_time() - start <= 6
    line = Slow.dawdle.__code__.co_firstlineno + 2
    assert report.grace_exhausted
    assert set(report.slow) == {"slow"}
    assert f"{__file__}:{line} in dawdle" in report.slow["slow"]
    assert report.slow["slow"] in str(report)
    expected = {"on_cmd": "handler of Cmd('x'", "on_data": "handler of Data('x'", "task": "task "}
    assert expected.get(where, where) in report.slow["slow"]


async def test_the_grace_is_one_for_everything(autojump_clock: object) -> None:
    """Not one per stage, group, or level."""

    class Slow(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            await trio.sleep(4)

        async def on_deinit(self, env: ten.TenEnv) -> None:
            await trio.sleep(4)

    graph = ten.Graph()
    graph.node("a", Slow, group="one")
    graph.node("b", Slow, group="two")
    start = trio.current_time()
    async with ten.open_app(grace=5) as app:
        engine = await app.start_graph(graph)
    assert 5 <= trio.current_time() - start <= 6
    assert engine.report is not None
    assert engine.report.duration == 5


async def test_cancelled_code_gets_a_second_for_its_cleanup(autojump_clock: object) -> None:
    cleaned = []

    async def slow(*_: object) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.9)
                cleaned.append(True)

    async with ten.open_app() as app, app.open_graph(stuck("on_stop", slow)) as engine:
        pass
    assert cleaned
    assert engine.report is not None
    assert engine.report.duration == pytest.approx(5.9)


async def test_what_cannot_be_ended_is_named_in_the_log_and_waited_for(
    autojump_clock: object, caplog: pytest.LogCaptureFixture
) -> None:
    async def never(*_: object) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(60)

    with nothing_left():
        async with ten.open_app() as app, app.open_graph(stuck("on_stop", never)) as engine:
            pass
    assert engine.report is not None
    assert engine.report.duration == 60
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "can't be ended" in record.getMessage()
    assert "stuck" in record.getMessage()


async def test_an_earlier_deadline_wins_while_the_close_runs(autojump_clock: object) -> None:
    async with ten.open_app(grace=2) as app:
        async with app.open_graph(stuck("on_stop", forever), grace=1_000) as engine:
            engine.stop()
            await trio.sleep(10)
            start = trio.current_time()
            app.request_close("enough")
            await engine.wait_closed()
            assert trio.current_time() - start == 2


async def test_a_stuck_extension_does_not_keep_others_from_on_deinit(
    autojump_clock: object,
) -> None:
    """Not even with the barrier before on_deinit."""
    log = []

    class Orderly(ten.Extension):
        async def on_deinit(self, env: ten.TenEnv) -> None:
            log.append(env.name)

    graph = stuck("on_stop", forever)
    graph.node("orderly", Orderly)
    async with ten.open_app() as app:
        engine = await app.start_graph(graph, sync_stop_before_deinit=True)
        report = await app.stop_graph(engine.graph_id)
    assert log == ["orderly"]
    assert set(report.slow) == {"stuck"}


async def test_proxies_and_tasks_of_a_stuck_extension_end_too(autojump_clock: object) -> None:
    class Stuck(Busy):
        async def on_stop(self, env: ten.TenEnv) -> None:
            await trio.sleep_forever()

    graph = ten.Graph()
    graph.node("busy", Stuck)
    graph.node("holds", Holds)
    start = trio.current_time()
    with nothing_left():
        async with ten.open_app() as app, app.open_graph(graph):
            pass
    assert trio.current_time() - start <= 6


async def test_a_nursery_that_is_wanted_too_late_is_refused(autojump_clock: object) -> None:
    class Late(ten.Extension):
        async def on_deinit(self, env: ten.TenEnv) -> None:
            with pytest.raises(ten.EnvClosed, match=r"env\.nursery"):
                _ = env.nursery

    graph = ten.Graph()
    graph.node("late", Late)
    with nothing_left():
        async with ten.open_app() as app, app.open_graph(graph):
            pass


# The report ----------------------------------------------------------------------------------------


async def test_the_report_of_an_ordinary_close(autojump_clock: object) -> None:
    class Slow(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            await trio.sleep(2)

        async def on_deinit(self, env: ten.TenEnv) -> None:
            await trio.sleep(1)

        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            await trio.sleep_forever()

    graph = ten.Graph()
    graph.node("holds", Holds)
    graph.node("slow", Slow)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        assert engine.report is None
        engine.post_cmd(ten.Cmd("hold", dest="holds"))
        for _ in range(4):
            await engine.send_data(ten.Data("x", dest="slow"))
        await trio.testing.wait_all_tasks_blocked()
    report = engine.report
    assert report is not None
    assert (report.graph_id, report.reason) == (engine.graph_id, "its block is left")
    assert (report.duration, report.grace_exhausted, report.slow) == (3, False, {})
    slow = report.extensions["slow"]
    assert (slow.on_stop, slow.on_deinit) == (2, 1)
    assert report.extensions["holds"].answered_with_error == 1
    assert slow.dropped == {"closing": 3}
    assert (report.answered_with_error, report.dropped) == (1, 3)
    assert "in order; 1 commands answered with ERROR, 3 messages dropped" in str(report)


async def test_a_stage_that_never_began_has_no_time(autojump_clock: object) -> None:
    async with ten.open_app() as app, app.open_graph(stuck("on_stop", forever)) as engine:
        pass
    assert engine.report is not None
    report = engine.report.extensions["stuck"]
    assert report.on_stop == 5
    assert report.on_deinit is None


@pytest.mark.slow
async def test_abandoned_threads_are_listed() -> None:
    def block() -> None:
        release.wait()

    class Threads(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await env.to_thread(block, abandon_on_cancel=cmd.name == "abandon")

    release = threading.Event()
    graph = ten.Graph()
    graph.node("threads", Threads)
    try:
        async with ten.open_app() as app, app.open_graph(graph) as engine:
            engine.post_cmd(ten.Cmd("abandon", dest="threads"))
            await trio.testing.wait_all_tasks_blocked(0.05)
        assert engine.report is not None
        assert engine.report.threads == (f"threads: {block.__qualname__}",)
    finally:
        release.set()


@pytest.mark.slow
async def test_a_thread_that_is_over_is_not_listed() -> None:
    class Threads(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            assert await env.to_thread(max, 1, 2) == 2

    graph = ten.Graph()
    graph.node("threads", Threads)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        pass
    assert engine.report is not None
    assert engine.report.threads == ()


# Outsiders -----------------------------------------------------------------------------------------


async def test_outsiders_are_refused_at_once(autojump_clock: object) -> None:
    async def slow(*_: object) -> None:
        await trio.sleep(2)

    other = ten.Graph()
    other.node("asks", ten.Extension)
    async with (
        ten.open_app() as app,
        app.open_graph(stuck("on_stop", slow)) as engine,
        app.open_graph(other) as outside,
    ):
        engine.stop()
        with pytest.raises(ten.EngineClosed, match="stopped by its host"):
            await engine.send_cmd(ten.Cmd("x", dest="stuck"))
        with pytest.raises(ten.EngineClosed):
            await engine.send_data(ten.Data("x", dest="stuck"))
        there = ten.Loc("", engine.graph_id, "stuck")
        result = await outside.send_cmd(ten.Cmd("x", dest=there))
        assert result.detail.startswith("closing: graph")


async def test_pending_calls_of_the_host_end() -> None:
    heard = []

    async def handler(engine: ten.Engine, result: ten.CmdResult | None, error: object) -> None:
        await trio.lowlevel.checkpoint()
        assert result is not None
        heard.append(result.detail)

    async with ten.open_app() as app, app.open_graph(busy()) as engine:
        call = engine.start_cmd(ten.Cmd("hold", dest="holds"))
        engine.post_cmd(ten.Cmd("hold", dest="holds"), handler)
        async with engine.messages() as messages:
            await trio.testing.wait_all_tasks_blocked()
            engine.stop()
            assert [message async for message in messages] == []
    details = [(await call.result()).detail, *heard]
    assert len(details) == 2
    assert all(detail.startswith("closing: graph") for detail in details)


async def test_stop_is_idempotent_and_wait_closed_gives_the_report() -> None:
    async with ten.open_app() as app, app.open_graph(busy()) as engine:
        engine.stop()
        engine.stop()
        report = await engine.wait_closed()
        assert report is engine.report
        assert await engine.wait_closed() is report
    assert report.reason == "stopped by its host"


async def test_the_report_counts_what_reached_nobody() -> None:
    class Sends(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await env.send_data(ten.Data("a", dest="nobody"))
            await env.send_data(ten.Data("b"))
            await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("sends", Sends)
    graph.expose("data_out", "b", "sends")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.send_cmd(ten.Cmd("go", dest="sends"))
    assert engine.report is not None
    assert engine.report.undelivered == 2
    assert "2 had nobody to go to" in str(engine.report)


@pytest.mark.parametrize("place", ["refuse", "end"])
def test_ctrl_c_while_extensions_without_callbacks_end(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """None of the others is forgotten."""
    lives: list[Any] = []
    original = getattr(Instance, place)

    def interrupted(self: Instance, *args: Any) -> Any:
        monkeypatch.setattr(Instance, place, original)
        signal.raise_signal(signal.SIGINT)
        return original(self, *args)

    async def main() -> None:
        graph = ten.Graph()
        for name in "abc":
            graph.node(name, ten.Extension)
        async with ten.open_app() as app, app.open_graph(graph) as engine:
            lives.extend(engine._core.lives.values())
            monkeypatch.setattr(Instance, place, interrupted)

    clock = MockClock(autojump_threshold=0)
    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=clock)
    assert [life.stage for life in lives] == ["closed"] * 3
    assert clock.current_time() < 1
