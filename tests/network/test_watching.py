"""Looks and taps as results of commands: what fits, what waits, how they end."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import ten_trio as ten
from ten_trio.network import watching
from ten_trio.network.watching import EXPLAIN, STATS, TAP, answer
from tests.network.apps import LOOPBACK, QUICK
from tests.runtime.acting import acting


class Caller:
    """Notes what it is given, and takes more only when it is let."""

    def __init__(self) -> None:
        self.results: list[ten.CmdResult] = []
        self.permits = trio.Semaphore(0)

    def give(self, result: ten.CmdResult) -> None:
        self.results.append(result)

    def answer(self, status: ten.StatusCode, detail: str, **properties: object) -> None:
        self.results.append(ten.CmdResult(status, {"detail": detail, **properties}))

    async def room(self) -> None:
        await self.permits.acquire()

    async def let(self, count: int = 1) -> None:
        for _ in range(count):
            self.permits.release()
        await wait_all_tasks_blocked()

    @property
    def seen(self) -> list[list[int]]:
        """The numbers in each result."""
        batches = [result["seen"] for result in self.results if "seen" in result]
        return [[json.loads(text)["properties"].get("n") for text in batch] for batch in batches]


async def nothing(*_: Any) -> None:
    pass


def graph() -> ten.Graph:
    made = ten.Graph()
    made.node("a", acting(on_data=nothing))
    made.expose("data_in", "d", "a")
    return made


async def send(engine: ten.Engine, *numbers: int, **more: Any) -> None:
    for number in numbers:
        await engine.send_data(ten.Data("d", {"n": number, **more}))
    await wait_all_tasks_blocked()


@asynccontextmanager
async def tapped(
    caller: Caller, **limits: Any
) -> AsyncGenerator[tuple[ten.Engine, trio.CancelScope], None]:
    """A graph that the caller taps, and the scope of that."""
    async with (
        ten.open_app(limits=ten.Limits(**limits)) as app,
        app.open_graph(graph()) as engine,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(answer, app, ten.Cmd(TAP), caller, caller.room)
        await wait_all_tasks_blocked()
        yield engine, nursery.cancel_scope


async def test_a_slow_caller_has_one_result_on_its_way_and_is_told_what_it_missed() -> None:
    caller = Caller()
    async with tapped(caller, host_queue=5) as (engine, _):
        assert caller.seen == [[]]  # it has begun
        await send(engine, *range(8))
        assert caller.seen == [[]]
        await caller.let()
        assert caller.seen == [[], [0, 1, 2, 3, 4]]
        await send(engine, 8, 9)
        assert len(caller.results) == 2
        await caller.let()
        assert caller.seen[2:] == [[8, 9]]
        assert [result["dropped"] for result in caller.results] == [0, 3, 3]
        assert json.loads(caller.results[2]["seen"][0])["missed"] == 3
        await caller.let(10)
        engine.stop()
    assert caller.results[-1]["detail"] == "closed: nothing more will pass"
    assert caller.results[-1].status is ten.StatusCode.OK


async def test_no_result_is_too_big(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_BATCH_SIZE", 1_000)
    caller = Caller()
    async with tapped(caller) as (engine, connection):
        await send(engine, *range(6), text="x" * 400)
        await send(engine, *range(100))
        await send(engine, 7, text="x" * 70_000)
        await caller.let(100)
        first, *rest = [batch for batch in caller.seen if batch]
        assert first == [0, 1]
        assert [number for batch in rest for number in batch] == [2, 3, 4, 5, *range(100), None]
        big = json.loads(caller.results[-1]["seen"][-1])
        assert (big["properties"], big["left_out"] > 70_000) == ({}, True)
        connection.cancel("it is gone")
    assert caller.results[-1].status is ten.StatusCode.ERROR


async def test_what_cannot_be_said_as_json() -> None:
    caller = Caller()
    async with tapped(caller) as (engine, connection):
        data = ten.Data("d", {"bytes": b"abc", "inf": float("inf"), "list": [1, {"b": b""}]})
        data.alloc_buf(5)
        await engine.send_data(data)
        await caller.let()
        seen = json.loads(caller.results[-1]["seen"][0])
        assert seen["properties"] == {"bytes": None, "inf": None, "list": [1, {"b": None}]}
        assert seen["size"] == 5
        connection.cancel("enough")


async def test_many_stats_come_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    caller = Caller()
    async with ten.open_app() as app, app.open_graph(graph()) as engine:
        monkeypatch.setattr(watching, "_CHUNK", 100)
        await answer(app, ten.Cmd(STATS), caller, caller.room)
        chunks = caller.results[-1]["stats"]
        assert len(chunks) > 5
        assert max(map(len, chunks)) == 100
        (found,) = json.loads("".join(chunks))
        assert ten.Stats.from_dict(found).graph_id == engine.graph_id
        monkeypatch.setattr(watching, "_ALL", 100)
        await answer(app, ten.Cmd(STATS), caller, caller.room)
        assert caller.results[-1].status is ten.StatusCode.ERROR
        assert "ask for one of the graphs" in caller.results[-1].detail


@pytest.mark.parametrize(("command", "method"), [(EXPLAIN, "explain"), (STATS, "stats")])
async def test_a_look_that_is_broken_off_is_answered_too(
    command: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object) -> None:
        await trio.sleep_forever()

    caller = Caller()
    async with ten.open_app() as app, trio.open_nursery() as nursery:
        monkeypatch.setattr(app, method, hang)
        nursery.start_soon(answer, app, ten.Cmd(command), caller, caller.room)
        await wait_all_tasks_blocked()
        assert not caller.results
        nursery.cancel_scope.cancel("the connection goes to a graph")
    (result,) = caller.results
    assert result.status is ten.StatusCode.ERROR
    assert result.detail == "the connection is needed for something else"


@pytest.mark.slow
async def test_whoever_looks_is_not_hurried_to_find_a_graph() -> None:
    settings = ten.NetworkSettings(first_message_timeout=0.1, close_timeout=0.1)
    async with (
        ten.open_app(uri=LOOPBACK, network=settings) as app,
        app.open_graph(graph()) as engine,
    ):
        async with ten.connect(app.uri, network=QUICK) as client:
            with trio.fail_after(5):
                async with client.send_cmd_ex(ten.Cmd(TAP, dest=ten.Loc(""))) as results:
                    assert (await anext(results))["seen"] == []
                    await trio.sleep(0.3)
                    await engine.send_data(ten.Data("d", {"n": 1}))
                    assert len((await anext(results))["seen"]) == 1
        async with ten.connect(app.uri, network=QUICK) as client:
            with trio.fail_after(5):
                await client.wait_closed()  # one that says nothing is


@pytest.mark.slow
async def test_nothing_is_left_when_the_caller_has_gone() -> None:
    async with ten.open_app(uri=LOOPBACK, network=QUICK) as app, app.open_graph(graph()) as engine:
        async with ten.connect(app.uri, network=QUICK) as client:
            with trio.fail_after(5):
                async with client.send_cmd_ex(ten.Cmd(TAP, dest=ten.Loc(""))) as results:
                    await anext(results)
                    assert engine._core.taps is not None
        with trio.fail_after(5):
            while engine._core.taps is not None:
                await trio.lowlevel.checkpoint()


@pytest.mark.slow
async def test_closing_the_app_ends_it_at_once() -> None:
    with trio.fail_after(5):
        async with ten.open_app(uri=LOOPBACK, network=QUICK) as app:
            await app.start_graph(graph())
            async with ten.connect(app.uri, network=QUICK) as client:
                async with client.send_cmd_ex(ten.Cmd(TAP, dest=ten.Loc(""))) as results:
                    await anext(results)
                    app.request_close()
                    *_, last = [result async for result in results]
                    assert last.is_completed


async def test_a_tap_on_two_graphs_ends_with_the_last(autojump_clock: MockClock) -> None:
    async with ten.open_app() as app:
        one, two = await app.start_graph(graph()), await app.start_graph(graph())
        async with app.tap() as tap:
            await app.stop_graph(one.graph_id)
            await send(two, 1)
            assert (await tap.receive()).graph_id == two.graph_id
            await app.stop_graph(two.graph_id)
            with pytest.raises(trio.EndOfChannel):
                await tap.receive()
