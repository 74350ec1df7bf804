"""Timers: what a `Timer` command is answered with, and the timeouts that follow."""

from __future__ import annotations

from typing import Any

import pytest
import trio

import ten_trio as ten

SECOND = 1_000_000


class Ticks(ten.Extension):
    """Sets the timers that it is told to, and notes when which of them ran out."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, float]] = []

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if isinstance(cmd, ten.Timeout):
            self.heard.append((cmd.timer_id, trio.current_time() - self.began))
            return
        self.began = trio.current_time()
        settings: Any = dict(cmd.items())
        result = await env.send_cmd(ten.Timer(**settings))
        await env.return_result(cmd.ok() if result.ok else cmd.error(result.detail))
        self.detail = result.detail


def ticking() -> tuple[ten.Graph, Ticks]:
    ticks = Ticks()
    graph = ten.Graph()
    graph.node("ticks", lambda: ticks)
    return graph, ticks


async def set_timer(engine: ten.Engine, **settings: int) -> str:
    """The detail if it was refused."""
    return (await engine.send_cmd(ten.Cmd("set", settings, dest="ticks"))).detail


async def test_a_timer_runs_out_as_often_as_asked(autojump_clock: object) -> None:
    graph, ticks = ticking()
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        assert not await set_timer(engine, timer_id=7, timeout_us=SECOND, times=3)
        assert ticks.detail == "Operation is success."
        await trio.sleep(100)
    assert ticks.heard == [(7, 1), (7, 2), (7, 3)]


async def test_zero_is_for_ever_until_it_is_cancelled(autojump_clock: object) -> None:
    graph, ticks = ticking()
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await set_timer(engine, timer_id=1, timeout_us=SECOND, times=0)
        await trio.sleep(50.5)
        assert len(ticks.heard) == 50
        assert not await set_timer(engine, timer_id=1, times=ten.Timer.CANCEL)
        assert ticks.detail == "Operation is success."
        await trio.sleep(50)
        assert len(ticks.heard) == 50


@pytest.mark.parametrize(
    ("settings", "detail"),
    [
        ({"timer_id": 1, "times": -1}, "Failed to cancel an un-existed timer."),
        ({"timer_id": 1, "times": -2}, "Timer.times must be -1, 0 or more, not -2"),
        ({"timer_id": 1, "times": 0}, "A timer without end needs a timeout_us above 0."),
    ],
)
async def test_what_is_refused(settings: dict[str, int], detail: str) -> None:
    graph, _ = ticking()
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        assert await set_timer(engine, **settings) == detail


async def test_an_id_is_free_again_after_the_last_timeout(autojump_clock: object) -> None:
    graph, ticks = ticking()
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await set_timer(engine, timer_id=1, timeout_us=SECOND, times=1)
        assert (
            await set_timer(engine, timer_id=1, timeout_us=SECOND, times=1)
            == "Timer 1 is already running."
        )
        await trio.sleep(2)
        assert not await set_timer(engine, timer_id=1, timeout_us=SECOND, times=1)
        await trio.sleep(2)
        assert [timer_id for timer_id, _ in ticks.heard] == [1, 1]
        assert await set_timer(engine, timer_id=1, times=-1)


async def test_ids_belong_to_the_sender(autojump_clock: object) -> None:
    one, two = Ticks(), Ticks()
    graph = ten.Graph()
    graph.node("ticks", lambda: one)
    graph.node("two", lambda: two)
    settings = {"timer_id": 1, "timeout_us": SECOND, "times": 1}
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        for name in ("ticks", "two"):
            assert (await engine.send_cmd(ten.Cmd("set", settings, dest=name))).ok
        await trio.sleep(2)
    assert one.heard == two.heard == [(1, 1)]


async def test_timeouts_come_in_step_and_never_drift(autojump_clock: object) -> None:
    class Slow(Ticks):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await super().on_cmd(env, cmd)
            await trio.sleep(0.3)

    slow = Slow()
    graph = ten.Graph()
    graph.node("ticks", lambda: slow)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await set_timer(engine, timer_id=1, timeout_us=SECOND // 10, times=20)
        await trio.sleep(10)
    assert [at for _, at in slow.heard] == pytest.approx([n / 10 for n in range(1, 21)])


async def test_a_result_for_a_timeout_is_quietly_ignored(autojump_clock: object) -> None:
    class Answers(Ticks):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await super().on_cmd(env, cmd)
            if isinstance(cmd, ten.Timeout):
                assert cmd.get_timer_id() == 1
                assert not cmd.is_abandoned
                assert not await env.return_result(cmd.ok())

    answers = Answers()
    graph = ten.Graph()
    graph.node("ticks", lambda: answers)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await set_timer(engine, timer_id=1, timeout_us=SECOND, times=1)
        await trio.sleep(2)
    assert len(answers.heard) == 1


async def test_the_default_on_cmd_ignores_timeouts(autojump_clock: object) -> None:
    class Sets(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            assert (await env.send_cmd(ten.Timer(timeout_us=SECOND, times=1))).ok

    graph = ten.Graph()
    graph.node("sets", Sets)
    async with ten.open_app() as app, app.open_graph(graph):
        await trio.sleep(2)


async def test_the_host_sets_a_timer(autojump_clock: object) -> None:
    async with ten.open_app() as app, app.open_graph(ten.Graph()) as engine:
        async with engine.messages() as messages:
            start = trio.current_time()
            assert (await engine.send_cmd(ten.Timer(timer_id=3, timeout_us=SECOND, times=1))).ok
            timeout = await messages.receive()
            assert isinstance(timeout, ten.Timeout)
            assert (timeout.timer_id, trio.current_time() - start) == (3, 1)
            assert not await engine.return_result(timeout.ok())


async def test_timers_end_with_their_extension(autojump_clock: object) -> None:
    graph, ticks = ticking()
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await set_timer(engine, timer_id=1, timeout_us=SECOND, times=0)
        await trio.sleep(1.5)
        await engine.remove_extension("ticks")
        await trio.sleep(10)
    assert len(ticks.heard) == 1


async def test_timers_end_when_the_graph_closes(autojump_clock: object) -> None:
    class Slow(Ticks):
        async def on_stop(self, env: ten.TenEnv) -> None:
            await trio.sleep(3)

    slow = Slow()
    graph = ten.Graph()
    graph.node("ticks", lambda: slow)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await set_timer(engine, timer_id=1, timeout_us=SECOND, times=0)
        await trio.sleep(1.5)
    assert len(slow.heard) == 1
    assert engine.report is not None
    assert not engine.report.grace_exhausted
