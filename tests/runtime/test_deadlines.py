"""Deadlines: a command takes along how much time its sender has, and it only ever gets less."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf

import pytest
import trio
from trio.testing import MockClock

import ten_trio as ten
from ten_trio import Cmd, StatusCode
from tests.runtime.acting import acting, answer, graph_of, hang, opened

pytestmark = pytest.mark.trio

Handler = Callable[[ten.TenEnv, Cmd], Awaitable[None]]


async def tell_time(env: ten.TenEnv, cmd: Cmd) -> None:
    """Answer with the time that is left, if there is a limit."""
    left = cmd.time_left
    await env.return_result(cmd.ok(left=left) if left < inf else cmd.ok())


def passes_on(after: float = 0.0, within: float = inf, how: str = "send") -> Handler:
    """Wait, and answer what `last` answers, which has `within` seconds for it."""

    async def on_cmd(env: ten.TenEnv, cmd: Cmd) -> None:
        await trio.sleep(after)
        ask = Cmd("ask", dest="last")
        with trio.move_on_after(within):
            if how == "send":
                result = await env.send_cmd(ask)
            elif how == "start":
                result = await env.start_cmd(ask).result()
            else:
                async with env.send_cmd_ex(ask) as results:
                    (result,) = [result async for result in results]
            await env.return_result(result.unwrap() and cmd.ok(result.properties))

    return on_cmd


async def test_the_time_that_is_left_goes_along(autojump_clock: MockClock) -> None:
    async with opened(graph_of(last=acting(on_cmd=tell_time))) as engine:
        await trio.sleep(1)
        with trio.fail_after(2):
            result = await engine.send_cmd(Cmd("go", dest="last"))
        assert result["left"] == pytest.approx(2)
        assert "left" not in await engine.send_cmd(Cmd("go", dest="last"))


@pytest.mark.parametrize("how", ["send", "start", "each"])
@pytest.mark.parametrize(
    ("after", "within", "left"),
    [(0.0, inf, 2.0), (0.5, inf, 1.5), (0.5, 1.0, 1.0), (0.5, 9.0, 1.5)],
)
async def test_what_a_handler_sends_inherits_it_and_may_have_less(
    how: str, after: float, within: float, left: float, autojump_clock: MockClock
) -> None:
    if how == "start" and within == 1.0:
        left = 1.5  # a promise isn't waited for there and then
    graph = graph_of(
        first=acting(on_cmd=passes_on(after, within, how)), last=acting(on_cmd=tell_time)
    )
    async with opened(graph) as engine:
        with trio.fail_after(2):
            result = await engine.send_cmd(Cmd("go", dest="first"))
        assert result["left"] == pytest.approx(left)


async def test_what_is_posted_or_sent_on_inherits_it(autojump_clock: MockClock) -> None:
    left: list[float] = []

    async def relay(env: ten.TenEnv, cmd: Cmd) -> None:
        env.post_cmd(Cmd("note", dest="last"))
        await trio.sleep(0.25)
        cmd.set_dest("last")
        env.post_cmd(cmd)

    async def note(env: ten.TenEnv, cmd: Cmd) -> None:
        left.append(cmd.time_left)
        await env.return_result(cmd.ok())

    graph = graph_of(relay=acting(on_cmd=relay), last=acting(on_cmd=note))
    async with opened(graph) as engine:
        with trio.fail_after(2):
            assert (await engine.send_cmd(Cmd("go", dest="relay"))).ok
    assert left == [pytest.approx(2), pytest.approx(1.75)]


async def test_a_background_task_and_an_answered_command_have_no_deadline(
    autojump_clock: MockClock,
) -> None:
    left: list[float] = []

    async def ask(env: ten.TenEnv) -> None:
        left.append((await env.send_cmd(Cmd("ask", dest="last"))).get("left", inf))

    async def on_cmd(env: ten.TenEnv, cmd: Cmd) -> None:
        env.nursery.start_soon(ask, env)
        left.append(cmd.time_left)
        await env.return_result(cmd.ok())
        left.append(cmd.time_left)
        await ask(env)

    graph = graph_of(first=acting(on_cmd=on_cmd), last=acting(on_cmd=tell_time))
    async with opened(graph) as engine:
        with trio.fail_after(2):
            await engine.send_cmd(Cmd("go", dest="first"))
        await trio.sleep(1)
    assert left == [pytest.approx(2), inf, inf, inf]


@pytest.mark.parametrize("own_loop", [False, True])
async def test_a_command_that_is_sent_on_in_the_background_keeps_its_own_deadline(
    own_loop: bool,
) -> None:
    async def on_cmd(env: ten.TenEnv, cmd: Cmd) -> None:
        async def send_on() -> None:
            await env.return_result(cmd.ok((await env.send_cmd(cmd)).properties))

        cmd.set_dest("last")
        env.nursery.start_soon(send_on)

    async def ask(env: ten.TenEnv, cmd: Cmd) -> None:
        with trio.fail_after(20):
            there = ten.Loc("", str(cmd["graph"]), "first")
            result = await env.send_cmd(Cmd("go", dest=there))
        await env.return_result(cmd.ok(result.properties))

    there = graph_of(first=acting(on_cmd=on_cmd), last=acting(on_cmd=tell_time))
    async with (
        ten.open_app() as app,
        app.open_graph(there, own_loop=own_loop) as far,
        app.open_graph(graph_of(asks=acting(on_cmd=ask))) as engine,
    ):
        result = await engine.send_cmd(Cmd("ask", {"graph": far.graph_id}, dest="asks"))
        assert 10 < result["left"] <= 20


async def test_a_turn_scope_keeps_the_deadline_of_the_command_in_hand(
    autojump_clock: MockClock,
) -> None:
    async def on_cmd(env: ten.TenEnv, cmd: Cmd) -> None:
        with env.turn_scope(shield=True):
            result = await env.send_cmd(Cmd("ask", dest="last"))
        await env.return_result(cmd.ok(result.properties))

    graph = graph_of(first=acting(on_cmd=on_cmd), last=acting(on_cmd=tell_time))
    async with opened(graph) as engine:
        with trio.fail_after(2):
            assert (await engine.send_cmd(Cmd("go", dest="first")))["left"] == pytest.approx(2)


async def test_when_it_has_passed_everything_that_was_sent_for_it_ends(
    autojump_clock: MockClock,
) -> None:
    seen: list[tuple[str, float]] = []
    ended = trio.Event()

    async def ask(env: ten.TenEnv, cmd: Cmd) -> None:
        result = await env.send_cmd(Cmd("ask", dest="last"))
        seen.append((result.detail, trio.current_time()))
        assert (result.status, cmd.time_left, cmd.is_abandoned) == (StatusCode.ERROR, 0, True)
        # Nothing is left for another try.
        again = await env.send_cmd(Cmd("ask", dest="last"))
        seen.append((again.detail, trio.current_time()))
        assert not await env.return_result(cmd.ok())

    async def last(env: ten.TenEnv, cmd: Cmd) -> None:
        try:
            await cmd.abandoned.wait()
        finally:
            ended.set()

    graph = graph_of(first=acting(on_cmd=ask), last=acting(on_cmd=last))
    async with opened(graph) as engine:
        began = trio.current_time()
        with pytest.raises(trio.TooSlowError), trio.fail_after(2):
            await engine.send_cmd(Cmd("go", dest="first"))
        assert trio.current_time() == pytest.approx(began + 2)
        await ended.wait()
        await trio.testing.wait_all_tasks_blocked()
        assert not engine.is_closing
        engine.stop()
        report = await engine.wait_closed()
    assert seen == [("deadline exceeded", pytest.approx(began + 2))] * 2
    assert report.extensions["first"].late_results == 1


async def test_several_destinations_have_the_same_deadline(autojump_clock: MockClock) -> None:
    async def on_cmd(env: ten.TenEnv, cmd: Cmd) -> None:
        result = await env.send_cmd(Cmd("ask", dest=["quick", "slow"]))
        details.append(result.detail)

    details: list[str] = []
    graph = graph_of(
        first=acting(on_cmd=on_cmd), quick=acting(on_cmd=answer), slow=acting(on_cmd=hang)
    )
    async with opened(graph, grace=0.1) as engine:
        with trio.move_on_after(2):
            await engine.send_cmd(Cmd("go", dest="first"))
        await trio.sleep(0.1)
    assert details == ["deadline exceeded"]


async def test_a_nearer_deadline_that_comes_later_is_kept(autojump_clock: MockClock) -> None:
    ends: list[tuple[int, float]] = []

    async def on_cmd(env: ten.TenEnv, cmd: Cmd) -> None:
        await env.send_cmd(Cmd("ask", dest="last"))
        ends.append((cmd["n"], trio.current_time() - began))

    graph = graph_of(first=acting(on_cmd=on_cmd), last=acting(on_cmd=hang))
    async with opened(graph, grace=0.1, cleanup=0.1) as engine:
        began = trio.current_time()

        async def ask(number: int, seconds: float) -> None:
            with trio.move_on_after(seconds):
                await engine.send_cmd(Cmd("go", {"n": number}, dest="first"))

        async with trio.open_nursery() as nursery:
            for number, seconds in enumerate((3.0, 1.0, 2.0)):
                nursery.start_soon(ask, number, seconds)
                await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
    assert ends == [(1, pytest.approx(1)), (2, pytest.approx(2)), (0, pytest.approx(3))]


async def test_thousands_that_are_answered_in_time_leave_nothing(autojump_clock: MockClock) -> None:
    async with opened(graph_of(last=acting(on_cmd=tell_time))) as engine:
        for _ in range(1_000):
            with trio.fail_after(60):
                await engine.send_cmd(Cmd("go", dest="last"))
        deadlines = engine._core.expiry._deadlines
        assert deadlines is not None
        assert len(deadlines._heap) < 200


async def test_a_close_ends_a_wait_before_its_deadline(autojump_clock: MockClock) -> None:
    details: list[str] = []

    async def on_cmd(env: ten.TenEnv, cmd: Cmd) -> None:
        details.append((await env.send_cmd(Cmd("ask", dest="last"))).detail)

    graph = graph_of(first=acting(on_cmd=on_cmd), last=acting(on_cmd=hang))
    began = trio.current_time()
    async with ten.open_app(limits=ten.Limits(grace=0.5, cleanup=0.1)) as app:
        engine = await app.start_graph(graph)

        async def ask() -> None:
            with trio.fail_after(100):
                details.append((await engine.send_cmd(Cmd("go", dest="first"))).detail)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            engine.stop()
    assert details
    assert "deadline exceeded" not in details
    assert trio.current_time() - began < 2


async def test_it_crosses_to_a_graph_with_a_loop_of_its_own() -> None:
    graph = graph_of(last=acting(on_cmd=tell_time))
    async with ten.open_app() as app, app.open_graph(graph, own_loop=True) as far:

        async def on_cmd(env: ten.TenEnv, cmd: Cmd) -> None:
            result = await env.send_cmd(Cmd("ask", dest=ten.Loc("", far.graph_id, "last")))
            await env.return_result(cmd.ok(far=result["left"], here=cmd.time_left))

        near = await app.start_graph(graph_of(first=acting(on_cmd=on_cmd)))
        with trio.fail_after(60):
            result = await near.send_cmd(Cmd("go", dest="first"))
            assert 50 < result["here"] <= 60
            assert 50 < result["far"] <= 60
            left = (await far.send_cmd(Cmd("go", dest="last")))["left"]
            assert 50 < left <= 60
        assert "left" not in await far.send_cmd(Cmd("go", dest="last"))


async def test_without_one_there_is_none() -> None:
    cmd = Cmd("never sent")
    assert (cmd.deadline, cmd.time_left) == (inf, inf)


async def test_a_handler_that_minds_the_end_of_its_time_is_no_failure(
    autojump_clock: MockClock,
) -> None:
    async def in_a_nursery(env: ten.TenEnv, cmd: Cmd) -> None:
        async def ask() -> None:
            (await env.send_cmd(Cmd("ask", dest="last"))).unwrap()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            nursery.start_soon(ask)

    graph = graph_of(
        first=acting(on_cmd=passes_on()),
        other=acting(on_cmd=in_a_nursery),
        last=acting(on_cmd=hang),
    )
    async with opened(graph, grace=0.1, cleanup=0.1) as engine:
        for dest in ("first", "other"):
            with trio.move_on_after(2):
                await engine.send_cmd(Cmd("go", dest=dest))
        await trio.testing.wait_all_tasks_blocked()
        assert not engine.is_closing


async def test_but_it_is_one_while_there_is_time(autojump_clock: MockClock) -> None:
    async def on_cmd(env: ten.TenEnv, cmd: Cmd) -> None:
        (await env.send_cmd(Cmd("ask", dest="middle"))).unwrap()

    async def middle(env: ten.TenEnv, cmd: Cmd) -> None:
        await env.return_result(cmd.error("deadline exceeded"))

    graph = graph_of(first=acting(on_cmd=on_cmd), middle=acting(on_cmd=middle))
    with pytest.RaisesGroup(ten.CmdFailed, flatten_subgroups=True):
        async with opened(graph) as engine:
            await engine.send_cmd(Cmd("go", dest="first"))
            await trio.sleep(5)


# The log says why --------------------------------------------------------------------------------


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if "has passed" in r.getMessage()]


async def test_the_log_says_why_nobody_answered_in_time(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    graph = graph_of(first=acting(on_cmd=passes_on()), last=acting(on_cmd=hang))
    async with opened(graph, grace=0.1, cleanup=0.1) as engine:
        with trio.move_on_after(2):
            await engine.send_cmd(Cmd("go", dest="first"))
        await trio.testing.wait_all_tasks_blocked()
        (text,) = told(caplog)
    assert "the deadline of command 'go' from the host has passed: graph" in text
    assert "3 waits" in text
    assert "waits for the result of 'go' from first" in text
    assert "waits for the result of 'ask' from last" in text
    assert "in hang" in text


async def test_it_is_said_once_and_then_counted(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(graph_of(last=acting(on_cmd=hang)), grace=0.1, cleanup=0.1) as engine:
        for pause in (1, 1, 20, 1):
            with trio.move_on_after(0.5):
                await engine.send_cmd(Cmd("go", dest="last"))
            await trio.sleep(pause)
    first, second = told(caplog)
    assert "others" not in first
    assert "(2 others since the last time)" in second


async def test_a_caller_that_goes_earlier_is_no_news(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(graph_of(last=acting(on_cmd=hang)), grace=0.1, cleanup=0.1) as engine:
        with trio.fail_after(5), trio.move_on_after(10) as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(engine.send_cmd, Cmd("go", dest="last"))
                await trio.testing.wait_all_tasks_blocked()
                scope.cancel()
    assert not told(caplog)
