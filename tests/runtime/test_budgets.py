"""Budgets: what happens when a turn takes longer than it may, and who has spent the time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import ten_trio as ten
from ten_trio import Cmd, Data
from tests.runtime.acting import acting, answer, opened

pytestmark = pytest.mark.trio


def takes(seconds: float, then: str = "") -> Callable[..., Awaitable[None]]:
    """A handler of data that takes its time, and then sends it on."""

    async def on_data(env: ten.TenEnv, data: Data) -> None:
        await trio.sleep(seconds)
        if then:
            await env.send_data(Data("text", dest=then))

    return on_data


def graph_of(**extensions: Any) -> ten.Graph:
    graph = ten.Graph()
    for name, extension in extensions.items():
        graph.node(name, extension)
    return graph


async def test_when_it_is_spent_the_turn_is_cancelled(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    graph = graph_of(
        stt=acting(on_data=takes(1, "llm")),
        llm=acting(on_data=takes(1.5, "tts")),
        tts=acting(on_data=takes(9)),
    )
    async with opened(graph) as engine:
        turn = engine.new_turn(budget=4)
        await engine.send_data(Data("text", dest="stt"), turn=turn)
        await trio.sleep(3.9)
        assert not turn.is_cancelled
        await trio.sleep(0.2)
        assert turn.is_cancelled
        assert turn.reason == "budget spent"
        assert turn.budget is not None
        assert turn.budget.is_spent
        assert turn.budget.left == 0
        report = await engine.cancel_turn(turn)
    assert report is not None
    assert report.budget == 4
    assert [*report.spent.items()] == [
        ("llm", pytest.approx(1.5)),
        ("tts", pytest.approx(1.5)),
        ("stt", pytest.approx(1)),
    ]
    (told,) = [r.getMessage() for r in caplog.records if "budget" in r.getMessage()]
    assert f"turn {turn.id} has spent its budget of 4 s" in told
    assert "llm 1.500 s" in told
    assert told.endswith("it is cancelled")


async def test_the_report_of_any_cancellation_says_who_spent_what_so_far(
    autojump_clock: MockClock,
) -> None:
    async def ask(env: ten.TenEnv, cmd: Cmd) -> None:
        await trio.sleep(0.5)
        await env.send_cmd(Cmd("look", dest="tool"))

    async def hang(env: ten.TenEnv, cmd: Cmd) -> None:
        await trio.sleep_forever()

    async with opened(graph_of(agent=acting(on_cmd=ask), tool=acting(on_cmd=hang))) as engine:
        turn, other = engine.new_turn(budget=60), engine.new_turn()
        engine.post_cmd(Cmd("go", dest="agent"), turn=turn)
        await trio.sleep(2)
        report = await engine.cancel_turn(turn)
        without = await engine.cancel_turn(other)
    assert report is not None
    assert report.spent == {"agent": pytest.approx(2), "tool": pytest.approx(1.5)}
    assert without is not None
    assert (without.budget, without.spent) == (None, {})


async def test_handlers_at_the_same_time_count_once(autojump_clock: MockClock) -> None:
    async def wait(env: ten.TenEnv, cmd: Cmd) -> None:
        await trio.sleep(cmd["seconds"])
        await env.return_result(cmd.ok())

    async with opened(graph_of(tool=acting(on_cmd=wait))) as engine:
        turn = engine.new_turn(budget=60)
        for seconds in (1, 2, 3):
            engine.post_cmd(Cmd("go", {"seconds": seconds}, dest="tool"), turn=turn)
        await trio.sleep(5)
        report = await engine.cancel_turn(turn)
    assert report is not None
    assert report.spent == {"tool": pytest.approx(3)}


async def test_whoever_asked_for_it_is_told_instead(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[tuple[str, bool]] = []

    async def fall_back(env: ten.TenEnv, turn: ten.Turn) -> None:
        assert turn.budget is not None
        assert [*turn.budget.spent()] == ["llm"]
        await env.send_data(Data("sorry", dest="tts"))

    async def say(env: ten.TenEnv, data: Data) -> None:
        said.append((data.name, data.turn is turn))

    graph = graph_of(
        llm=acting(on_data=takes(3, "tts")),
        agent=acting(on_turn_budget=fall_back),
        tts=acting(on_data=say),
    )
    async with opened(graph) as engine:
        turn = engine.new_turn(budget=2)
        await engine.send_data(Data("text", dest="llm"), turn=turn)
        await trio.sleep(5)
        assert not turn.is_cancelled
    assert said == [("sorry", True), ("text", True)]
    assert "agent told" in caplog.text


async def test_whoever_is_told_may_cancel_it(autojump_clock: MockClock) -> None:
    reports: list[ten.TurnReport | None] = []

    async def cancel(env: ten.TenEnv, turn: ten.Turn) -> None:
        reports.append(await env.cancel_turn(turn, "too slow"))

    graph = graph_of(llm=acting(on_data=takes(9)), agent=acting(on_turn_budget=cancel))
    async with opened(graph) as engine:
        turn = engine.new_turn(budget=2)
        await engine.send_data(Data("text", dest="llm"), turn=turn)
        await trio.sleep(3)
        assert turn.reason == "too slow"
    (report,) = reports
    assert report is not None
    assert report.spent == {"llm": pytest.approx(2)}


async def test_one_that_is_told_and_fails_is_a_failure(autojump_clock: MockClock) -> None:
    async def fail(env: ten.TenEnv, turn: ten.Turn) -> None:
        raise KeyError("no fallback")

    graph = graph_of(llm=acting(on_data=takes(9)), agent=acting(on_turn_budget=fail))
    with pytest.RaisesGroup(KeyError, flatten_subgroups=True):
        async with opened(graph) as engine:
            await engine.send_data(Data("text", dest="llm"), turn=engine.new_turn(budget=1))
            await trio.sleep(3)


async def test_one_that_is_told_and_hangs_is_left_after_a_while(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def hang(env: ten.TenEnv, turn: ten.Turn) -> None:
        await trio.sleep_forever()

    graph = graph_of(llm=acting(on_data=takes(2)), agent=acting(on_turn_budget=hang))
    async with opened(graph, turn_grace=0.5) as engine:
        await engine.send_data(Data("text", dest="llm"), turn=engine.new_turn(budget=1))
        await trio.sleep(3)
    assert "on_turn_budget took more than 0.5 s" in caplog.text


async def test_a_turn_that_has_come_to_its_end_is_left_alone(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(graph_of(llm=acting(on_data=takes(1)))) as engine:
        turn = engine.new_turn(budget=2)
        await engine.send_data(Data("text", dest="llm"), turn=turn)
        await trio.sleep(3)
        assert not turn.is_cancelled
        assert turn.budget is not None
        assert not turn.budget.is_spent
    assert "budget" not in caplog.text


@pytest.mark.parametrize("what", ["queued", "command", "scope"])
async def test_what_counts_as_being_at_work(what: str, autojump_clock: MockClock) -> None:
    async def on_start(env: ten.TenEnv) -> None:
        async def work() -> None:
            with env.turn_scope(await found.receive()):
                await trio.sleep(9)

        env.nursery.start_soon(work)

    async def never(env: ten.TenEnv, cmd: Cmd) -> None:
        pass

    give, found = trio.open_memory_channel[ten.Turn](1)
    graph = graph_of(a=acting(on_start=on_start, on_data=takes(4), on_cmd=never))
    with give, found:
        async with opened(graph) as engine:
            turn = engine.new_turn(budget=2)
            if what == "queued":
                await engine.send_data(Data("text", dest="a"))
                await wait_all_tasks_blocked()
                await engine.send_data(Data("text", dest="a"), turn=turn)
            elif what == "command":
                engine.post_cmd(Cmd("go", dest="a"), turn=turn)
            else:
                give.send_nowait(turn)
            await trio.sleep(2.5)
            assert turn.is_cancelled


async def test_settling_it_ends_the_budget(autojump_clock: MockClock) -> None:
    async with opened(graph_of(llm=acting(on_data=takes(5)))) as engine:
        turn = engine.new_turn(budget=2)
        assert turn.budget is not None
        await engine.send_data(Data("text", dest="llm"), turn=turn)
        await trio.sleep(1)
        turn.budget.settle()
        await trio.sleep(2)
        assert not turn.is_cancelled


async def test_a_close_does_not_wait_for_budgets(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    async with opened(graph_of(llm=acting(on_data=takes(0)))) as engine:
        turn = engine.new_turn(budget=1_000)
        await engine.send_data(Data("text", dest="llm"), turn=turn)
    assert trio.current_time() - began < 1
    engine.new_turn(budget=1)


@pytest.mark.parametrize("budget", [0, -1, float("inf"), float("nan")])
async def test_it_is_a_number_of_seconds(budget: float) -> None:
    async with opened(graph_of(a=acting(on_cmd=answer))) as engine:
        with pytest.raises(ten.InvalidArgument, match="a turn's budget"):
            engine.new_turn(budget=budget)


async def test_an_extension_opens_one_too_and_errors_rise_through_the_clock(
    autojump_clock: MockClock,
) -> None:
    async def on_cmd(env: ten.TenEnv, cmd: Cmd) -> None:
        await env.send_data(Data("text", dest="b"), turn=env.new_turn(budget=5))
        await env.return_result(cmd.ok())

    async def fail(env: ten.TenEnv, data: Data) -> None:
        await trio.sleep(1)
        raise LookupError(data.name)

    graph = ten.Graph()
    graph.node("a", acting(on_cmd=on_cmd))
    graph.node("b", acting(on_data=fail))
    with pytest.RaisesGroup(LookupError, flatten_subgroups=True) as group:
        async with opened(graph) as engine:
            await engine.send_cmd(Cmd("go", dest="a"))
            await trio.sleep(5)
    (error,) = group.value.exceptions
    assert isinstance(error, BaseException)
    assert "fail" in [entry.name for entry in pytest.ExceptionInfo.from_exception(error).traceback]


async def test_a_graph_with_a_loop_of_its_own() -> None:
    told = trio.Event()
    home = trio.lowlevel.current_trio_token()
    seen: list[Any] = []

    async def budget(env: ten.TenEnv, turn: ten.Turn) -> None:
        seen.append((turn.budget.left, [*turn.budget.spent()]) if turn.budget else None)
        home.run_sync_soon(told.set)

    async def hang(env: ten.TenEnv, data: Data) -> None:
        await trio.sleep_forever()

    graph = graph_of(llm=acting(on_data=hang, on_turn_budget=budget))
    async with ten.open_app() as app, app.open_graph(graph, own_loop=True) as engine:
        long = engine.new_turn(budget=60)
        assert long.budget is not None
        assert 50 < long.budget.left <= 60
        turn = engine.new_turn(budget=0.02)
        await engine.send_data(Data("text", dest="llm"), turn=turn)
        with trio.fail_after(10):
            await told.wait()
        report = await engine.cancel_turn(turn)
    assert seen == [(0, ["llm"])]
    assert report is not None
    assert 0 < report.spent["llm"] < 10


async def test_only_the_graph_that_opened_it_is_timed(autojump_clock: MockClock) -> None:
    async with ten.open_app() as app:
        far = await app.start_graph(graph_of(b=acting(on_data=takes(2))))

        async def send_there(env: ten.TenEnv, data: Data) -> None:
            await trio.sleep(1)
            await env.send_data(Data("text", dest=ten.Loc("", far.graph_id, "b")))

        near = await app.start_graph(graph_of(b=acting(on_data=send_there)))
        far.new_turn(budget=60)
        turn = near.new_turn(budget=2.5)
        await near.send_data(Data("text", dest="b"), turn=turn)
        await trio.sleep(2)
        assert turn.budget is not None
        assert turn.budget.spent() == {"b": pytest.approx(1)}
        # That it has got to another graph counts as being at work.
        await trio.sleep(1)
        assert turn.is_cancelled
