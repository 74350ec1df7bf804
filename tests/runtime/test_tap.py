"""Taps: who looks on sees what passes, once and in order, and nobody else notices."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import ten_trio as ten
from ten_trio.runtime.app import _handle as engine_of
from ten_trio.runtime.tap import Seen, Tap
from tests.network.apps import Spread, opened_apps
from tests.runtime.acting import acting, answer, opened, stream


async def passes_on(env: ten.TenEnv, data: ten.Data) -> None:
    await env.send_data(ten.Data(data.name, {"n": data["n"]}))


async def asks(env: ten.TenEnv, data: ten.Data) -> None:
    await env.send_cmd(ten.Cmd("ask", {"n": data["n"]}))


def pipeline() -> ten.Graph:
    """host → a → b → host, for data; and a question of b's to c for each."""
    graph = ten.Graph()

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        await asks(env, data)
        await passes_on(env, data)

    graph.node("a", acting(on_data=passes_on))
    graph.node("b", acting(on_data=on_data))
    graph.node("c", acting(on_cmd=answer))
    graph.connect("a", "b", data="d")
    graph.connect("b", "c", cmd="ask")
    graph.expose("data_in", "d", "a")
    graph.expose("data_out", "d", "b")
    return graph


def told(seen: Seen) -> tuple[Any, ...]:
    return (seen.kind, seen.name, seen.source.extension_name, seen.dest.extension_name)


PROXY = "ten:graph_proxy"
WHOLE = [
    ("data", "d", PROXY, "a"),
    ("data", "d", "a", "b"),
    ("cmd", "ask", "b", "c"),
    ("result", "ask", "c", "b"),
    ("data", "d", "b", PROXY),
]


def all_of(tap: Tap) -> list[Seen]:
    found = []
    while True:
        try:
            found.append(tap.receive_nowait())
        except trio.WouldBlock:
            return found


async def send(engine: ten.Engine, *numbers: int, **more: Any) -> None:
    for number in numbers:
        await engine.send_data(ten.Data("d", {"n": number}), **more)
    await wait_all_tasks_blocked()


async def test_everything_that_passes_from_end_to_end() -> None:
    async with opened(pipeline()) as engine, engine.tap() as tap:
        await send(engine, 1)
        seen = all_of(tap)
        assert [told(each) for each in seen] == WHOLE
        assert [each.message.get("n") for each in seen] == [1, 1, 1, None, 1]
        question, result = seen[2:4]
        assert question.cmd_id == result.cmd_id > 0
        assert isinstance(result.message, ten.CmdResult)
        assert result.message["by"] == "c"
        assert result.message.status is ten.StatusCode.OK
        assert {each.graph_id for each in seen} == {engine.graph_id}
        assert tap.dropped == 0


@pytest.mark.parametrize(
    ("wanted", "which"),
    [
        ({"kind": "cmd"}, [2]),
        ({"kind": ("cmd", "result")}, [2, 3]),
        ({"name": "ask"}, [2, 3]),
        ({"extension": "a"}, [0, 1]),
        ({"extension": "c"}, [2, 3]),
        ({"extension": PROXY}, [0, 4]),
        ({"extension": ("a", "c"), "kind": ["data", "cmd"]}, [0, 1, 2]),
        ({"name": "nothing"}, []),
        ({"kind": "audio_frame"}, []),
    ],
)
async def test_only_what_is_wanted(wanted: dict[str, Any], which: list[int]) -> None:
    async with opened(pipeline()) as engine, engine.tap(**wanted) as tap:
        await send(engine, 1)
        assert [told(each) for each in all_of(tap)] == [WHOLE[index] for index in which]


async def test_a_kind_that_there_is_not_and_no_room_at_all() -> None:
    async with opened(pipeline()) as engine:
        with pytest.raises(
            ten.InvalidArgument, match="no kind of message: 'sound'; there are cmd,"
        ):
            async with engine.tap(kind=["data", "sound"]):
                raise AssertionError
        with pytest.raises(ten.InvalidArgument, match="a number from 1 on, not 0"):
            async with engine.tap(capacity=0):
                raise AssertionError


async def test_nothing_is_left_of_it_when_nobody_looks_on() -> None:
    async with opened(pipeline()) as engine:
        lines = [
            line
            for instance in engine._core.instances.values()
            for line in (instance.data_line, instance.cmd_line, instance.result_line)
        ]
        before = [(line.table, line.target) for line in lines]
        async with engine.tap(kind="data"), engine.tap(kind="cmd") as tap:
            assert [line.table for line in lines] != [table for table, _ in before]
        assert [(line.table, line.target) for line in lines] == before
        assert engine._core.taps is None
        await send(engine, 1)
        assert all_of(tap) == []


async def test_what_is_queued_when_the_tap_opens_is_seen_when_it_is_handled() -> None:
    may = trio.Event()

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        await may.wait()

    graph = ten.Graph()
    graph.node("a", acting(on_data=on_data))
    graph.expose("data_in", "d", "a")
    async with opened(graph) as engine:
        await send(engine, 1, 2, 3)
        async with engine.tap() as tap:
            assert all_of(tap) == []
            may.set()
            assert [(await tap.receive()).message["n"] for _ in range(2)] == [2, 3]


async def test_a_copy_is_a_copy() -> None:
    got: list[ten.Data] = []

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        data["n"] = "changed"
        got.append(data)

    graph = ten.Graph()
    graph.node("a", acting(on_data=on_data))
    graph.expose("data_in", "d", "a")
    async with opened(graph) as engine, engine.tap() as tap:
        data = ten.Data("d", {"n": 1})
        data.alloc_buf(3)
        await engine.send_data(data)
        await wait_all_tasks_blocked()
        (seen,) = all_of(tap)
        assert seen.message["n"] == 1
        seen.message["n"] = "mine"
        assert got[0]["n"] == "changed"
        assert seen.message.get_dests() == [seen.dest]


async def test_a_command_that_was_seen_is_answered_by_its_executor_only() -> None:
    graph = ten.Graph()
    graph.node("a", acting(on_cmd=stream))
    graph.expose("cmd_in", "count", "a")
    async with opened(graph) as engine, engine.tap() as tap:
        async with engine.send_cmd_ex(ten.Cmd("count")) as results:
            assert [result["number"] async for result in results] == [1, 2, 3]
        seen = all_of(tap)
        assert [each.kind for each in seen] == ["cmd", "result", "result", "result"]
        assert len({each.cmd_id for each in seen}) == 1
        command = seen[0].message
        assert isinstance(command, ten.Cmd)
        with pytest.raises(ten.UnknownCommand):
            await engine.return_result(command.ok())


async def test_turns_and_the_clock(autojump_clock: MockClock) -> None:
    async with opened(pipeline()) as engine, engine.tap(name="ask") as tap:
        turn = engine.new_turn()
        await trio.sleep(5)
        await send(engine, 1, turn=turn)
        question, result = all_of(tap)
        assert question.turn is turn
        assert question.time == trio.current_time()
        assert result.unix_time >= question.unix_time > 1e9


# A slow reader -----------------------------------------------------------------------------------


async def test_a_slow_reader_costs_nobody_anything_and_is_told_what_it_missed() -> None:
    async with opened(pipeline()) as engine:
        async with (
            engine.tap(extension="a", kind="data", capacity=2) as slow,
            engine.tap(extension="a", kind="data") as quick,
        ):
            await send(engine, *range(5))
            quickly = [each.message["n"] for each in all_of(quick)]
            assert sorted(quickly) == sorted([*range(5), *range(5)])
            assert slow.dropped == 8
            first, second = all_of(slow)
            assert (first.missed, second.missed) == (0, 0)
            await send(engine, 7)
            after = all_of(slow)
            assert [each.missed for each in after] == [8, 0]
            assert "8 dropped" in repr(slow)


# Changes and ends --------------------------------------------------------------------------------


async def test_an_extension_that_comes_later() -> None:
    async with opened(pipeline()) as engine, engine.tap(extension="late") as tap:
        await engine.add_extension("late", acting(on_data=passes_on))
        await engine.connect("a", "late", data="d")
        await send(engine, 1)
        assert [told(each) for each in all_of(tap)] == [("data", "d", "a", "late")]


async def test_an_extension_that_is_restarted() -> None:
    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        if data["n"] == 0:
            raise ValueError("no zeros")

    graph = ten.Graph()
    graph.node("a", acting(on_data=on_data), on_error="restart")
    graph.expose("data_in", "d", "a")
    async with opened(graph) as engine, engine.tap() as tap:
        await send(engine, 0, 1, 2)
        assert [each.message["n"] for each in all_of(tap)] == [0, 1, 2]


async def test_edges_with_a_policy_and_turns_with_a_budget() -> None:
    graph = ten.Graph()
    graph.node("a", acting(on_data=passes_on))
    graph.node("b", acting(on_data=answerless))
    graph.connect("a", "b", data="d", flow=ten.FlowPolicy(capacity=3))
    graph.expose("data_in", "d", "a")
    async with opened(graph) as engine:
        async with engine.tap() as tap:
            turn = engine.new_turn(budget=10)
            await send(engine, 1, turn=turn)
            assert [told(each)[2:] for each in all_of(tap)] == [(PROXY, "a"), ("a", "b")]
        await send(engine, 2, turn=turn)
        (flow,) = engine.flows.values()
        assert flow.handled == 2
        assert set(turn.budget.spent()) == {"a", "b"}  # type: ignore[union-attr]


async def answerless(env: ten.TenEnv, data: ten.Data) -> None:
    pass


@pytest.mark.parametrize("own_loop", [False, True], ids=["here", "own loop"])
async def test_it_ends_with_its_graph(own_loop: bool) -> None:
    async with ten.open_app() as app:
        with trio.fail_after(10):
            async with app.open_graph(pipeline(), own_loop=own_loop) as engine:
                async with engine.tap(name="d") as tap:
                    await engine.send_data(ten.Data("d", {"n": 1}))
                    first = await tap.receive()
                    assert told(first) == WHOLE[0]
                    engine.stop()
                    rest = [told(each) async for each in tap]
                    assert rest == [entry for entry in WHOLE[1:] if entry[1] == "d"][: len(rest)]
            async with engine.tap() as tap:
                with pytest.raises(trio.EndOfChannel):
                    await tap.receive()


@asynccontextmanager
async def of_its_own(**wanted: Any) -> AsyncGenerator[tuple[ten.Engine, Tap], None]:
    async with ten.open_app() as app, app.open_graph(pipeline(), own_loop=True) as engine:
        with trio.fail_after(10):
            async with engine.tap(**wanted) as tap:
                yield engine, tap


async def test_a_graph_with_a_loop_of_its_own() -> None:
    async with of_its_own() as (engine, tap):
        await engine.send_data(ten.Data("d", {"n": 1}))
        assert [told(await tap.receive()) for _ in WHOLE] == WHOLE
        await engine.send_data(ten.Data("d", {"n": 2}))
        assert [told(await tap.receive()) for _ in WHOLE] == WHOLE


async def test_reading_can_be_cancelled_and_goes_on() -> None:
    async with opened(pipeline()) as engine, engine.tap() as tap:
        with trio.move_on_after(0) as scope:
            await tap.receive()
        assert scope.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(send, engine, 1))
            with trio.fail_after(5):
                assert told(await tap.receive()) == WHOLE[0]


async def test_commands_to_the_host_and_the_form_of_frames_are_seen() -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        frame = ten.AudioFrame("pcm", sample_rate=16_000, buf=bytes(320))
        await env.send_audio_frame(frame)
        await env.send_cmd(ten.Cmd("question"))
        await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("a", acting(on_cmd=on_cmd))
    graph.expose("cmd_in", "go", "a")
    graph.expose("cmd_out", "question", "a")
    graph.expose("audio_frame_out", "pcm", "a")
    async with opened(graph) as engine, engine.tap() as tap, engine.messages() as messages:
        call = engine.start_cmd(ten.Cmd("go"))
        assert (await messages.receive()).name == "pcm"
        question = await messages.receive()
        assert isinstance(question, ten.Cmd)
        await engine.return_result(question.ok())
        await call.result()
        seen = all_of(tap)
    assert ("cmd", "question", "a", PROXY) in map(told, seen)
    (frame,) = [each.to_dict() for each in seen if each.kind == "audio_frame"]
    assert (frame["size"], frame["sample_rate"]) == (320, 16_000)


@pytest.mark.slow
async def test_what_leaves_for_another_app_and_what_comes_from_there() -> None:
    spread = Spread()
    async with opened_apps(2, {"asks": acting(on_data=asks), "answers": acting(on_cmd=answer)}) as (
        here,
        there,
    ):
        here_uri, there_uri = here.uri, there.uri
        spread.node("a", here_uri, "asks")
        spread.node("c", there_uri, "answers")
        spread.connect("a", "c", name="ask")
        spread.expose("data_in", "d", "a")
        async with here.open_graph(spread.graph) as engine, engine.tap() as tap:
            await engine.send_data(ten.Data("d", {"n": 1}))
            seen = [await tap.receive() for _ in range(3)]
            assert [told(each) for each in seen] == [WHOLE[0], ("cmd", "ask", "a", "c"), (
                "result", "ask", "c", "a",
            )]  # fmt: skip
            assert seen[1].dest.app_uri == seen[2].source.app_uri == there_uri


@pytest.mark.slow
async def test_data_for_another_app_is_seen_where_it_leaves_and_where_it_comes_in() -> None:
    async def tells(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.send_data(ten.Data("told", {"n": 1}))
        await env.return_result(cmd.ok())

    async def hears(env: ten.TenEnv, data: ten.Data) -> None:
        heard.set()

    heard = trio.Event()
    spread = Spread()
    addons = {"tells": acting(on_cmd=tells), "hears": acting(on_data=hears)}
    async with opened_apps(2, addons) as (here, there):
        spread.node("a", here.uri, "tells")
        spread.node("c", there.uri, "hears")
        spread.connect("c", "a", name="go")
        spread.connect("a", "c", kinds=("data",), name="told")
        async with here.open_graph(spread.graph) as engine, engine.tap() as tap:
            (far,) = there.engines.values()
            async with engine_of(far).tap() as far_tap:
                await engine.send_cmd(ten.Cmd("go", dest="a"))
                await heard.wait()
                for each in (tap, far_tap):
                    assert ("data", "told", "a", "c") in map(told, all_of(each))
