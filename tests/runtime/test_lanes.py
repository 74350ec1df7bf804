"""Lanes: handlers start without a task of their own, and get one when they wait."""

from __future__ import annotations

import signal
from contextvars import ContextVar, copy_context
from itertools import pairwise
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import ten_trio as ten
from ten_trio.runtime.current import NOTHING
from ten_trio.runtime.lanes import Group, Lane
from tests.runtime.acting import acting, answer, opened

flavour: ContextVar[str] = ContextVar("flavour", default="none")


def one(**callbacks: Any) -> ten.Graph:
    """A graph of one extension, `r`."""
    graph = ten.Graph()
    graph.node("r", acting(**callbacks))
    return graph


def group_of(engine: ten.Engine) -> Group:
    return engine._core.instances["r"].group


async def send_data(engine: ten.Engine, count: int, name: str = "d") -> None:
    """Send numbered data to `r`, and let it be handled."""
    for number in range(count):
        await engine.send_data(ten.Data(name, {"number": number}, dest="r"))
    await wait_all_tasks_blocked()


# Inline start ----------------------------------------------------------------------------------


async def test_handlers_that_do_not_wait_share_one_task() -> None:
    tasks: set[trio.lowlevel.Task] = set()

    async def handle(env: ten.TenEnv, msg: Any) -> None:
        tasks.add(trio.lowlevel.current_task())
        if msg.kind == "cmd":
            await answer(env, msg)

    async with opened(one(on_cmd=handle, on_data=handle)) as engine:
        await send_data(engine, 100)
        for _ in range(100):
            assert (await engine.send_cmd(ten.Cmd("c", dest="r"))).ok
        assert len(tasks) == 1
        assert len(group_of(engine).workers) == 1
        assert group_of(engine).promotions == 0


async def test_inline_off_starts_every_command_in_a_task() -> None:
    tasks: list[trio.lowlevel.Task] = []

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        tasks.append(trio.lowlevel.current_task())
        await answer(env, cmd)

    graph = ten.Graph()
    graph.node("r", acting(on_cmd=on_cmd), inline=False)
    async with opened(graph) as engine:
        calls = [engine.start_cmd(ten.Cmd("c", dest="r")) for _ in range(10)]
        for call in calls:
            assert (await call.result()).ok
        assert len(set(tasks)) > 1


@pytest.mark.parametrize("inline", [True, False])
async def test_each_waiting_command_handler_has_its_task(inline: bool) -> None:
    tasks: list[trio.lowlevel.Task] = []
    gate = trio.Event()

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        before = trio.lowlevel.current_task()
        await gate.wait()
        assert trio.lowlevel.current_task() is before
        tasks.append(before)
        await answer(env, cmd)

    graph = ten.Graph()
    graph.node("r", acting(on_cmd=on_cmd), inline=inline)
    async with opened(graph, idle_workers=3) as engine:
        calls = [engine.start_cmd(ten.Cmd("c", dest="r")) for _ in range(50)]
        await wait_all_tasks_blocked()
        assert len(group_of(engine).workers) == 51
        gate.set()
        for call in calls:
            assert (await call.result()).ok
        await wait_all_tasks_blocked()
        assert len(set(tasks)) == 50
        # One drains, three are kept for the next handlers that wait.
        assert len(group_of(engine).workers) == 4


async def test_pooled_workers_are_used_again() -> None:
    tasks: set[trio.lowlevel.Task] = set()

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await trio.lowlevel.checkpoint()
        tasks.add(trio.lowlevel.current_task())
        await answer(env, cmd)

    async with opened(one(on_cmd=on_cmd)) as engine:
        for _ in range(50):
            await engine.send_cmd(ten.Cmd("c", dest="r"))
            await wait_all_tasks_blocked()
        assert len(tasks) <= 3


# Promotion and demotion ------------------------------------------------------------------------


async def test_an_extension_whose_data_handler_waits_gets_a_lane_of_its_own_for_a_while() -> None:
    gate = trio.Event()

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        if data.name == "wait":
            await gate.wait()

    async with opened(one(on_data=on_data), demote_after=5) as engine:
        group = group_of(engine)
        line = engine._core.instances["r"].data_line
        await send_data(engine, 1, "wait")
        assert (group.promotions, list(group.own)) == (1, [line])
        gate.set()
        await wait_all_tasks_blocked()
        # Not at once: it might wait again.
        await send_data(engine, 4)
        assert list(group.own) == [line]
        await send_data(engine, 1)
        await send_data(engine, 1)
        assert group.own == {}
        assert line.lane is group.shared
        assert group.promotions == 1


async def test_waiting_again_starts_the_count_again() -> None:
    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        if data.name == "wait":
            await trio.lowlevel.checkpoint()

    async with opened(one(on_data=on_data), demote_after=5) as engine:
        group = group_of(engine)
        for _ in range(10):
            await send_data(engine, 1, "wait")
            await send_data(engine, 4)
        assert group.promotions == 1
        assert group.own


async def test_a_waiting_command_handler_moves_nothing() -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await trio.lowlevel.checkpoint()
        await answer(env, cmd)

    async with opened(one(on_cmd=on_cmd)) as engine:
        await engine.send_cmd(ten.Cmd("c", dest="r"))
        assert group_of(engine).promotions == 0


# Scopes and nurseries --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["cmd", "data"])
async def test_a_handlers_own_scopes_nest_inside_its_tasks(
    kind: str, autojump_clock: MockClock
) -> None:
    log: list[float] = []

    async def handle(env: ten.TenEnv, msg: Any) -> None:
        with trio.CancelScope() as outer:
            with trio.move_on_after(msg["number"] + 1) as inner:
                await trio.sleep_forever()
            assert inner.cancelled_caught
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, 1)
            outer.cancel()
            await trio.lowlevel.checkpoint()
        assert outer.cancelled_caught
        log.append(trio.current_time())

    async with opened(one(on_cmd=handle, on_data=handle)) as engine:
        for number in range(3):
            if kind == "cmd":
                engine.post_cmd(ten.Cmd("c", {"number": number}, dest="r"))
            else:
                await engine.send_data(ten.Data("d", {"number": number}, dest="r"))
        await trio.sleep(20)
    assert log == ([2, 3, 4] if kind == "cmd" else [2, 5, 9])


async def test_cancelling_one_handler_leaves_the_others_alone() -> None:
    gate = trio.Event()

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await gate.wait()
        await answer(env, cmd)

    graph = ten.Graph()
    graph.node("r", acting(on_cmd=on_cmd), cancel_abandoned=True)
    async with opened(graph) as engine:
        calls = [engine.start_cmd(ten.Cmd("c", dest="r")) for _ in range(5)]
        await wait_all_tasks_blocked()
        calls[0].cancel()
        calls[3].cancel()
        await wait_all_tasks_blocked()
        assert len(engine._core.instances["r"].workers) == 3
        gate.set()
        for index in (1, 2, 4):
            assert (await calls[index].result()).ok


@pytest.mark.parametrize("waits", [False, True])
async def test_a_handler_that_leaves_a_nursery_open_is_named(waits: bool) -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if waits:
            await trio.lowlevel.checkpoint()
        await trio.open_nursery().__aenter__()

    graph = ten.Graph()
    graph.node("r", acting(on_cmd=on_cmd), on_error="isolate")
    graph.node("other", acting(on_cmd=answer))
    async with opened(graph) as engine:
        result = await engine.send_cmd(ten.Cmd("leaky", dest="r"))
        assert result.detail.startswith("r: HandlerLeak: r: the handler of Cmd('leaky'")
        # The task that had run it is as good as new.
        for _ in range(10):
            assert (await engine.send_cmd(ten.Cmd("c", dest="other"))).ok


# Context variables -----------------------------------------------------------------------------


@pytest.mark.parametrize("inline", [True, False])
async def test_each_handler_runs_in_a_copy_of_the_context_on_start_has_left(inline: bool) -> None:
    seen: list[str] = []

    async def on_start(env: ten.TenEnv) -> None:
        flavour.set("vanilla")

    async def handle(env: ten.TenEnv, msg: Any) -> None:
        seen.append(flavour.get())
        flavour.set(msg.name)
        await trio.lowlevel.checkpoint()
        seen.append(flavour.get())
        assert trio.lowlevel.current_task().context[flavour] == msg.name
        assert copy_context()[flavour] == msg.name

        async def child() -> None:
            seen.append(flavour.get())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)

    graph = ten.Graph()
    graph.node("r", acting(on_start=on_start, on_data=handle, on_cmd=handle), inline=inline)
    graph.node("plain", acting(on_data=handle))
    flavour.set("the host's")
    async with opened(graph) as engine:
        for name, dest in (("a", "r"), ("b", "r"), ("c", "plain")):
            await engine.send_data(ten.Data(name, dest=dest))
            await wait_all_tasks_blocked()
        engine.post_cmd(ten.Cmd("d", dest="r"))
        await wait_all_tasks_blocked()
    assert seen == [
        *("vanilla", "a", "a", "vanilla", "b", "b"),
        *("the host's", "c", "c", "vanilla", "d", "d"),
    ]


async def test_a_task_that_a_handler_starts_still_belongs_to_its_command() -> None:
    parents: list[str] = []
    ids: list[str] = []

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd.name == "inner":
            parents.append(cmd.parent_cmd_id)
            await answer(env, cmd)
            return
        ids.append(cmd.cmd_id)

        async def ask() -> None:
            await env.send_cmd(ten.Cmd("inner", dest=env.name))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
        env.nursery.start_soon(ask)
        await answer(env, cmd)

    async with opened(one(on_cmd=on_cmd)) as engine:
        await engine.send_cmd(ten.Cmd("outer", dest="r"))
        await wait_all_tasks_blocked()
    assert parents == ids * 2


# Stacks ----------------------------------------------------------------------------------------


async def inner_wait(gate: trio.Event) -> None:
    await gate.wait()


@pytest.mark.parametrize("inline", [True, False])
async def test_a_stack_dump_reaches_into_the_handler(inline: bool) -> None:
    gate = trio.Event()
    tasks: list[trio.lowlevel.Task] = []

    class Waits(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            tasks.append(trio.lowlevel.current_task())
            await inner_wait(gate)

    graph = ten.Graph()
    graph.node("r", Waits, inline=inline)
    async with opened(graph) as engine:
        engine.post_cmd(ten.Cmd("c", dest="r"))
        await wait_all_tasks_blocked()
        frames = [frame.f_code.co_name for frame, _ in tasks[0].iter_await_frames()]
        gate.set()
    assert frames.index("run") < frames.index("on_cmd") < frames.index("inner_wait")


@pytest.mark.parametrize("waits", [False, True])
async def test_a_traceback_begins_in_the_handler(waits: bool) -> None:
    async def deep() -> None:
        if waits:
            await trio.lowlevel.checkpoint()
        raise LookupError("deep down")

    class Raises(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            await deep()

    graph = ten.Graph()
    graph.node("r", Raises)
    with pytest.RaisesGroup(LookupError) as caught:
        async with opened(graph) as engine:
            await engine.send_data(ten.Data("d", dest="r"))
            await trio.sleep_forever()
    traceback = caught.value.exceptions[0].__traceback__
    names = []
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    assert names[-2:] == ["on_data", "deep"]


# Fairness --------------------------------------------------------------------------------------


async def test_a_drain_lets_others_run_after_every_slice() -> None:
    handled: list[int] = []
    looks: list[int] = []

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        handled.append(1)

    async def look() -> None:
        while len(handled) < 200:
            looks.append(len(handled))
            await trio.lowlevel.checkpoint()

    async with opened(one(on_data=on_data), slice=16, slice_seconds=1000) as engine:
        for _ in range(200):
            engine._core.host.post(ten.Data("d", dest="r"), NOTHING)
        await look()
    steps = [later - earlier for earlier, later in pairwise(looks)]
    # Two tasks take turns, but which of them begins a turn is left to chance.
    assert max(steps) <= 2 * 16
    assert len(steps) >= 200 / (2 * 16)


async def test_a_long_slice_ends_by_the_clock() -> None:
    handled: list[int] = []

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        handled.append(1)

    async with opened(one(on_data=on_data), slice=1_000_000, slice_seconds=1e-9) as engine:
        for _ in range(200):
            engine._core.host.post(ten.Data("d", dest="r"), NOTHING)
        most = 0
        while len(handled) < 200:
            before = len(handled)
            await trio.lowlevel.checkpoint()
            most = max(most, len(handled) - before)
    # The clock is looked at every few messages.
    assert most <= 16


async def test_sends_of_a_handler_do_not_yield_and_those_of_a_background_task_do() -> None:
    yielded: dict[str, bool] = {}

    async def watch(who: str, env: ten.TenEnv) -> None:
        ran: list[bool] = []

        async def neighbour() -> None:
            ran.append(True)

        env.nursery.start_soon(neighbour)
        for _ in range(50):
            await env.send_data(ten.Data("d", dest="sink"))
        yielded[who] = bool(ran)

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await watch("handler", env)
        env.nursery.start_soon(watch, "background", env)

    async def on_start(env: ten.TenEnv) -> None:
        env.nursery.start_soon(trio.sleep_forever)  # opens it

    graph = one(on_cmd=on_cmd, on_start=on_start)
    graph.node("sink", ten.Extension)
    async with opened(graph) as engine:
        await wait_all_tasks_blocked()
        engine.post_cmd(ten.Cmd("c", dest="r"))
        await wait_all_tasks_blocked()
    assert yielded == {"handler": False, "background": True}


def test_the_hard_bound_is_not_below_the_soft_one() -> None:
    with pytest.raises(ValueError, match=r"hard_queue \(3\) is below limits.queue \(4\)"):
        ten.Limits(queue=4, hard_queue=3)


@pytest.mark.parametrize("moment", ["wait_task_rescheduled", "reschedule"])
def test_ctrl_c_leaves_no_lane_without_its_worker(
    monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """It comes before or after a worker is put to sleep or woken, not in the middle."""
    interrupted: list[object] = []
    original = getattr(trio.lowlevel, moment)

    def interrupt(arg: Any) -> Any:
        # The worker of the lane, about to wait or to be woken.
        if not interrupted and lane and (arg is worker.task or arg == lane[0]._abort):
            interrupted.append(arg)
            signal.raise_signal(signal.SIGINT)
        return original(arg)

    async def main() -> None:
        nonlocal worker
        async with opened(one()) as engine:
            await wait_all_tasks_blocked()
            lane.append(group_of(engine).shared)
            (worker,) = group_of(engine).workers
            engine.post_cmd(ten.Cmd("x", dest="r"))
            await trio.sleep_forever()

    lane: list[Lane] = []
    worker: Any = None
    clock = MockClock(autojump_threshold=0)
    monkeypatch.setattr(trio.lowlevel, moment, interrupt)
    with pytest.raises(BaseException) as caught:  # noqa: PT011 - a group, perhaps
        trio.run(main, clock=clock)
    error = caught.value
    while isinstance(error, BaseExceptionGroup):
        (error,) = error.exceptions
    assert isinstance(error, KeyboardInterrupt)
    assert interrupted
    assert clock.current_time() < 1  # the grace of the close wasn't needed
