"""`engine.explain()`: who waits for what since when, and who waits in a circle."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from threading import Event

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import ten_trio as ten
from ten_trio import Cmd, Data, Explanation, Wait
from ten_trio.runtime.explanation import Block
from tests.runtime.acting import acting, answer, graph_of, hang, opened

pytestmark = pytest.mark.trio


def asks(dest: str, name: str = "ask") -> Callable[..., Awaitable[None]]:
    """A handler of commands that asks somebody else first."""

    async def on_cmd(env: ten.TenEnv, cmd: Cmd) -> None:
        result = await env.send_cmd(Cmd(name, dest=dest))
        await env.return_result(cmd.ok() if result.ok else cmd.error(result.detail))

    return on_cmd


def serial(extension: type[ten.Extension]) -> type[ten.Extension]:
    extension.cmd_handlers = "serial"
    return extension


def found(explanation: Explanation, who: str, kind: str) -> Wait:
    (wait,) = [each for each in explanation.waits if (each.who, each.kind) == (who, kind)]
    return wait


def names(circle: tuple[Wait, ...]) -> list[str]:
    return [wait.who for wait in circle]


async def test_who_waits_for_the_result_of_whom(autojump_clock: MockClock) -> None:
    graph = graph_of(
        agent=acting(on_cmd=asks("llm", "complete")), llm=acting(on_cmd=hang, on_stop=hang)
    )
    async with opened(graph, grace=0.5, cleanup=0.1) as engine:
        call = engine.start_cmd(Cmd("go", dest="agent"))
        await trio.sleep(4.2)
        explanation = await engine.explain()
        call.cancel()
    assert not explanation.is_deadlocked
    assert explanation.state == "running"
    wait = found(explanation, "agent", "result")
    assert (wait.what, wait.on, wait.doing) == ("'complete'", "llm", "handler of cmd 'go'")
    assert wait.seconds == pytest.approx(4.2)
    assert "test_explain.py" in wait.at
    assert wait.at.endswith("in on_cmd")
    busy = found(explanation, "llm", "handler")
    assert busy.seconds == pytest.approx(4.2)
    assert busy.at.endswith("in hang")
    text = str(explanation)
    assert "agent   4.2 s  handler of cmd 'go' waits for the result of 'complete' from llm" in text


async def test_who_waits_for_room(autojump_clock: MockClock) -> None:
    async def flood(env: ten.TenEnv, cmd: Cmd) -> None:
        for _ in range(10):
            await env.send_data(Data("text", dest="tts"))

    async with opened(
        graph_of(llm=acting(on_cmd=flood), tts=acting(on_data=hang)),
        queue=4,
        grace=0.5,
        cleanup=0.1,
    ) as engine:
        engine.post_cmd(Cmd("go", dest="llm"))
        await trio.sleep(1.1)
        explanation = await engine.explain()
    wait = found(explanation, "llm", "room")
    assert wait.on == "tts"
    assert wait.seconds == pytest.approx(1.1)
    assert "held up by handler of data 'text'" in wait.why
    held = found(explanation, "tts", "held")
    assert held.what == "4 data messages"
    assert not explanation.is_deadlocked


async def test_a_stage_of_a_life_and_what_it_holds_up(autojump_clock: MockClock) -> None:
    gate = trio.Event()

    async def wait(env: ten.TenEnv) -> None:
        await gate.wait()

    graph = graph_of(late=acting(on_init=wait, on_cmd=answer))
    async with ten.open_app() as app:
        engine = await app.start_graph(graph)
        engine.post_cmd(Cmd("early", dest="late"))
        await trio.sleep(3)
        explanation = await engine.explain()
        gate.set()
    assert explanation.state == "starting"
    stage = found(explanation, "late", "stage")
    assert (stage.doing, stage.seconds) == ("on_init", pytest.approx(3))
    assert stage.at.endswith("in wait")
    assert found(explanation, "late", "held").what == "1 command"


async def test_two_that_ask_each_other_one_by_one_are_a_deadlock(
    autojump_clock: MockClock,
) -> None:
    graph = graph_of(a=serial(acting(on_cmd=asks("b"))), b=acting(on_cmd=asks("a")))
    async with opened(graph, grace=0.5) as engine:
        call = engine.start_cmd(Cmd("ask", dest="a"))
        await wait_all_tasks_blocked()
        explanation = await engine.explain()
        assert [sorted(names(circle)) for circle in explanation.deadlocks] == [["a", "b"]]
        (circle,) = explanation.deadlocks
        assert set(map(id, circle)) <= set(map(id, explanation.waits))
        assert "DEADLOCK: a -> b -> a" in str(explanation)
        assert "held up by handler of cmd 'ask', which a has to finish first" in str(explanation)
        call.cancel()


async def test_a_circle_that_goes_through_a_relay_is_found(autojump_clock: MockClock) -> None:
    async def relay(env: ten.TenEnv, cmd: Cmd) -> None:
        cmd.set_dest("a")
        env.post_cmd(cmd)

    graph = graph_of(a=serial(acting(on_cmd=asks("r"))), r=acting(on_cmd=relay))
    async with opened(graph, grace=0.5) as engine:
        call = engine.start_cmd(Cmd("ask", dest="a"))
        await wait_all_tasks_blocked()
        explanation = await engine.explain()
        assert [names(circle) for circle in explanation.deadlocks] == [["a"]]
        assert "sent on by r" in explanation.deadlocks[0][0].why
        call.cancel()


async def test_two_whose_on_init_asks_the_other_are_a_deadlock(autojump_clock: MockClock) -> None:
    def ask(dest: str) -> Callable[..., Awaitable[None]]:
        async def on_init(env: ten.TenEnv) -> None:
            with suppress(ten.EnvClosed):
                await env.send_cmd(Cmd("ready?", dest=dest))

        return on_init

    graph = graph_of(a=acting(on_init=ask("b")), b=acting(on_init=ask("a")))
    async with ten.open_app(grace=0.5) as app:
        engine = await app.start_graph(graph)
        await wait_all_tasks_blocked()
        explanation = await engine.explain()
        assert [sorted(names(circle)) for circle in explanation.deadlocks] == [["a", "b"]]
        assert "DEADLOCK" in str(explanation)


async def test_a_circle_over_two_graphs_is_found(autojump_clock: MockClock) -> None:
    places: dict[str, ten.Loc] = {}

    def ask(graph: str) -> Callable[..., Awaitable[None]]:
        async def on_cmd(env: ten.TenEnv, cmd: Cmd) -> None:
            await env.send_cmd(Cmd("ask", dest=places[graph]))

        return on_cmd

    async with ten.open_app(grace=0.5) as app:
        one = await app.start_graph(graph_of(a=serial(acting(on_cmd=ask("two")))))
        two = await app.start_graph(graph_of(b=acting(on_cmd=ask("one"))))
        places.update(one=ten.Loc("", one.graph_id, "a"), two=ten.Loc("", two.graph_id, "b"))
        call = one.start_cmd(Cmd("ask", dest="a"))
        await wait_all_tasks_blocked()
        explanation = await one.explain()
        (circle,) = explanation.deadlocks
        assert sorted(names(circle)) == ["a", f"b of graph {two.graph_id}"]
        assert [each.graph_id for each in await app.explain()] == [one.graph_id, two.graph_id]
        with pytest.raises(ten.GraphError, match="Graph not found"):
            await app.explain("nobody")
        call.cancel()


async def test_a_task_started_inside_a_handler_waits_for_that_handler(
    autojump_clock: MockClock,
) -> None:
    async def on_cmd(env: ten.TenEnv, cmd: Cmd) -> None:
        async with trio.open_nursery() as nursery:
            for dest in ("b", "c"):
                nursery.start_soon(env.send_cmd, Cmd("ask", dest=dest))

    graph = graph_of(a=acting(on_cmd=on_cmd), b=acting(on_cmd=hang), c=acting(on_cmd=hang))
    async with opened(graph, grace=0.1, cleanup=0.1) as engine:
        engine.post_cmd(Cmd("go", dest="a"))
        await wait_all_tasks_blocked()
        explanation = await engine.explain()
    waits = [wait for wait in explanation.waits if wait.who == "a"]
    assert sorted(wait.on for wait in waits) == ["b", "c"]
    assert {wait.doing for wait in waits} == {"handler of cmd 'go'"}


async def test_several_destinations_and_a_handler_that_never_answered(
    autojump_clock: MockClock,
) -> None:
    async def forget(env: ten.TenEnv, cmd: Cmd) -> None:
        pass

    graph = graph_of(a=acting(on_cmd=forget), b=acting(on_cmd=answer))
    async with opened(graph, grace=0.1) as engine:
        call = engine.start_cmd(Cmd("go", dest=["a", "b"]))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.result)
            await trio.sleep(1)
            explanation = await engine.explain()
            nursery.cancel_scope.cancel()
    (wait,) = explanation.waits
    assert (wait.who, wait.on) == ("the host", "a")
    assert wait.why == "its handler has returned, and hasn't answered"


async def test_nothing_waits_in_a_graph_at_rest() -> None:
    async with opened(graph_of(a=acting(on_cmd=answer))) as engine:
        await engine.send_cmd(Cmd("go", dest="a"))
        explanation = await engine.explain()
    assert explanation.waits == ()
    assert str(explanation).endswith("running: nothing waits")


async def test_as_json_and_as_a_picture(autojump_clock: MockClock) -> None:
    graph = graph_of(a=serial(acting(on_cmd=asks("b"))), b=acting(on_cmd=asks("a")))
    async with opened(graph, grace=0.5) as engine:
        call = engine.start_cmd(Cmd("ask", dest="a"))
        await trio.sleep(0.18)
        explanation = await engine.explain()
        call.cancel()
    again = Explanation.from_dict(json.loads(json.dumps(explanation.to_dict())))
    assert again == explanation
    assert str(again) == str(explanation)
    picture = explanation.to_mermaid()
    assert picture.startswith("flowchart LR\n")
    assert "|\"result of 'ask', 180 ms\"|" in picture
    assert picture.count("stroke:#d92d20,color:#d92d20") == 2
    for wrong in ({}, {"graph_id": 3, "waits": 1}, []):
        with pytest.raises(ten.InvalidType, match="no explanation"):
            Explanation.from_dict(wrong)  # type: ignore[arg-type]


@pytest.mark.slow
async def test_who_waits_for_a_graph_in_another_loop_is_told_so() -> None:
    graph = graph_of(a=acting(on_cmd=asks_far))
    async with (
        ten.open_app() as app,
        app.open_graph(graph_of(b=acting(on_cmd=hang)), own_loop=True) as there,
        app.open_graph(graph) as engine,
    ):
        call = engine.start_cmd(Cmd("go", {"graph": there.graph_id}, dest="a"))
        with trio.fail_after(5):
            while not (waits := (await engine.explain()).waits) or not waits[0].on:  # noqa: ASYNC110
                await trio.sleep(0.001)
        call.cancel()
        there.stop()  # otherwise what hangs there is waited for
        (wait,) = waits
    assert (wait.who, wait.kind, wait.why) == ("a", "result", "it is in another loop")
    assert wait.on == f"b of graph {there.graph_id}"


async def asks_far(env: ten.TenEnv, cmd: Cmd) -> None:
    result = await env.send_cmd(Cmd("ask", dest=ten.Loc("", str(cmd["graph"]), "b")))
    await env.return_result(cmd.error(result.detail))


async def test_data_is_held_up_by_the_handler_of_data_and_not_by_that_of_a_command(
    autojump_clock: MockClock,
) -> None:
    async with opened(graph_of(a=acting(on_cmd=hang, on_data=hang)), grace=0.5) as engine:
        call = engine.start_cmd(Cmd("long", dest="a"))
        await wait_all_tasks_blocked()
        for name in ("first", "second"):
            await engine.send_data(Data(name, dest="a"))
        await wait_all_tasks_blocked()
        explanation = await engine.explain()
        call.cancel()
    assert found(explanation, "a", "held").why == "held up by handler of data 'first'"


async def test_what_waits_for_room_is_told_as_text_and_as_a_picture() -> None:
    wait = Wait(
        who="mic", doing="handler of data 'go'", kind="room", on="asr", seconds=0.25, why="full"
    )
    assert wait.target == "room at asr"
    assert str(wait) == "mic: handler of data 'go' waits for room at asr (250 ms); full"
    unknown = attrs.evolve(wait, seconds=None, why="")
    assert str(unknown) == "mic: handler of data 'go' waits for room at asr"
    picture = Explanation(graph_id="g", waits=(wait,)).to_mermaid()
    assert 'n0 -->|"room, 250 ms"| n1' in picture


async def test_of_very_many_waits_the_text_tells_how_many_it_leaves_out() -> None:
    waits = tuple(
        Wait(who=f"n{number}", doing="on_start", kind="stage", seconds=1.0)
        for number in range(1_000)
    )
    lines = str(Explanation(graph_id="g", waits=waits, more=7)).splitlines()
    assert lines[0] == "graph g, running: 1007 waits"
    shown = len(lines) - 2
    assert lines[-1] == f"  and {1_007 - shown} more"
    assert 0 < shown < 1_000


@pytest.mark.parametrize("who", ["asr", ""])
async def test_who_blocks_the_loop_is_in_the_picture(who: str) -> None:
    block = Block(who=who, doing="", at="", seconds=2.0)
    blocked = Explanation(graph_id="g", silent=2.0, blocked_by=block)
    assert f"  loop blocked 2.0 s by {who or 'no handler'}" in str(blocked).splitlines()
    assert f'n0["{who or "no handler"}<br/>blocks the loop, 2.0 s"]' in blocked.to_mermaid()
    nobody = attrs.evolve(blocked, blocked_by=None)
    assert "blocked" not in str(nobody)
    assert nobody.to_mermaid() == "flowchart LR\n"


async def test_a_close_that_misses_its_grace_says_why(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def stop(env: ten.TenEnv) -> None:
        await trio.sleep_forever()

    async with opened(graph_of(rtc=acting(on_stop=stop)), grace=3, cleanup=0.1):
        pass
    (told,) = [r.getMessage() for r in caplog.records if "grace of the close ran out" in r.message]
    assert "rtc   3.0 s  on_stop waits" in told
    assert "in stop" in told


async def test_a_graph_that_does_not_start_in_time_says_why(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    graph = graph_of(late=acting(on_start=hang))
    async with ten.open_app(grace=0.1) as app:
        with pytest.raises(ten.StartTimeout):
            async with app.open_graph(graph, start_timeout=2):
                pass
    told = "\n".join(record.getMessage() for record in caplog.records)
    assert "starting: 1 wait\n  late   2.0 s  on_start waits" in told
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.slow
async def test_a_loop_of_its_own_that_is_blocked_is_explained_from_outside() -> None:
    go_on = Event()

    async def block(env: ten.TenEnv, cmd: Cmd) -> None:
        go_on.wait(10)
        await env.return_result(cmd.ok())

    graph = graph_of(asr=acting(on_cmd=block), other=acting(on_cmd=asks("asr")))
    async with (
        ten.open_app(limits=ten.Limits(loop_patience=0.05)) as app,
        app.open_graph(graph, own_loop=True) as engine,
    ):
        assert (await engine.explain()).silent is None
        call = engine.start_cmd(Cmd("go", dest="other"))
        with trio.fail_after(5):
            while (explanation := await engine.explain()).silent is None:
                pass
        again = await engine.explain()
        go_on.set()
        assert (await call.result()).ok
        assert (await engine.explain()).silent is None
    assert explanation.blocked_by is not None
    assert 0 < explanation.silent < 60
    assert explanation.blocked_by.who == "asr"
    assert explanation.blocked_by.doing == "handler of cmd 'ask'"
    assert explanation.blocked_by.at.startswith(f"{__file__}:")
    assert explanation.blocked_by.at.endswith(" in block")
    assert any("in block" in frame for frame in explanation.stack)
    assert "doesn't answer since" in str(explanation)
    assert again.silent is not None
    assert again.silent > explanation.silent
    assert Explanation.from_dict(explanation.to_dict()) == explanation
