"""Stats: what a look at a running graph tells, and that looking changes nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import ten_trio as ten
from ten_trio.runtime.current import NOTHING
from tests.network.apps import Spread, opened_apps
from tests.runtime.acting import acting, answer, opened


class Slow(ten.Extension):
    """Handles one message, or one command, for each permit."""

    def __init__(self) -> None:
        self.permits = trio.Semaphore(0)
        self.got: list[int] = []

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await self.permits.acquire()
        self.got.append(data["n"])

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await self.permits.acquire()
        await answer(env, cmd)

    async def let(self, count: int) -> None:
        for _ in range(count):
            self.permits.release()
        await wait_all_tasks_blocked()


class Source(ten.Extension):
    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await env.send_data(ten.Data(data.name, {"n": data["n"]}))

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        env.post_cmd(ten.Cmd("work", {"n": 1}))
        await answer(env, cmd)


@asynccontextmanager
async def flowing(**policy: Any) -> AsyncGenerator[tuple[ten.Engine, Slow], None]:
    """host → s → r, for data and commands; with a policy from s to r if one is given."""
    slow = Slow()
    graph = ten.Graph()
    graph.node("s", Source, group="front")
    graph.node("r", lambda: slow)
    flow = {"flow": ten.FlowPolicy(**policy)} if policy else {}
    graph.connect("s", "r", data="d", **flow)
    graph.connect("s", "r", cmd="work")
    graph.expose("data_in", "d", "s")
    graph.expose("cmd_in", "ask", "s")
    async with opened(graph) as engine:
        yield engine, slow
        await slow.let(1_000)


async def send(engine: ten.Engine, count: int) -> None:
    for number in range(count):
        await engine.send_data(ten.Data("d", {"n": number}))
    await wait_all_tasks_blocked()


def extension(stats: ten.Stats, name: str) -> ten.ExtensionStats:
    return next(each for each in stats.extensions if each.name == name)


def edge(stats: ten.Stats, source: str, dest: str, kind: str) -> ten.EdgeStats:
    ends = [each for each in stats.edges if (each.source, each.dest) == (source, dest)]
    return next(each for each in ends if each.kind == kind)


PROXY = "ten:graph_proxy"


async def test_a_graph_at_rest() -> None:
    async with flowing() as (engine, _):
        stats = await engine.stats()
        assert (stats.graph_id, stats.state, stats.undelivered) == (engine.graph_id, "running", 0)
        assert [(each.name, each.group, each.state) for each in stats.extensions] == [
            ("s", "front", "running"),
            ("r", extension(stats, "r").group, "running"),
        ]
        for each in stats.extensions:
            assert each.data == each.commands == each.results == ten.QueueStats()
            assert (each.queued, each.handlers, each.pending, each.calls) == (0, 0, 0, 0)
            assert (each.longest, each.pending_oldest, each.errors) == (None, None, 0)
        assert [each.title for each in stats.edges] == [
            "s → r cmd work",
            "s → r data d",
            f"{PROXY} → s data d",
            f"{PROXY} → s cmd ask",
        ]
        assert [each.name for each in stats.places] == ["the host"]


async def test_what_waits_and_what_has_been_taken() -> None:
    async with flowing() as (engine, slow):
        await send(engine, 5)
        stats = await engine.stats()
        assert extension(stats, "s").data.handled == 5
        r = extension(stats, "r")
        assert (r.data.handled, r.data.queued, r.queued, r.handlers) == (1, 4, 4, 1)
        assert edge(stats, "s", "r", "data").queued == 4
        assert edge(stats, PROXY, "s", "data").queued == 0
        await slow.let(2)
        assert extension(await engine.stats(), "r").data.handled == 3
        await slow.let(3)
        # Looking has put everything back as it was.
        assert slow.got == [0, 1, 2, 3, 4]
        assert extension(await engine.stats(), "r").queued == 0


async def test_rates_are_what_two_looks_tell(autojump_clock: MockClock) -> None:
    async with flowing() as (engine, slow):
        before = await engine.stats()
        await send(engine, 6)
        await slow.let(6)
        await trio.sleep(2)
        stats = (await engine.stats()).since(before)
        assert extension(stats, "s").data.rate == extension(stats, "r").data.rate == 3
        assert extension(stats, "s").commands.rate == 0
        assert edge(stats, "s", "r", "data").rate is None
        assert (await engine.stats()).since(stats) == await engine.stats()  # no time has passed
        assert extension(before, "s").data.rate is None


async def test_the_rate_of_one_that_was_made_anew(autojump_clock: MockClock) -> None:
    graph = ten.Graph()
    graph.node("a", Slow)
    graph.expose("data_in", "d", "a")
    async with opened(graph) as engine:
        await send(engine, 3)
        before = await engine.stats()
        await engine.remove_extension("a")
        await engine.add_extension("a", Slow)
        await trio.sleep(1)
        (found,) = (await engine.stats()).since(before).extensions
        assert (found.data.handled, found.data.rate) == (0, None)


async def test_the_age_of_the_oldest_is_what_looks_tell(autojump_clock: MockClock) -> None:
    async def oldest(engine: ten.Engine) -> float:
        return extension(await engine.stats(), "r").data.oldest

    async with flowing() as (engine, slow):
        await send(engine, 2)  # 0 is in hand, 1 queued
        await trio.sleep(5)
        assert await oldest(engine) == 0  # nobody has looked before
        await trio.sleep(2)
        await send(engine, 1)
        assert await oldest(engine) == 2
        await trio.sleep(3)
        assert await oldest(engine) == 5
        await slow.let(1)  # 1 is gone: the oldest is what came 3 s ago
        assert await oldest(engine) == 3
        await slow.let(2)
        assert await oldest(engine) == 0
        await send(engine, 2)
        assert await oldest(engine) == 0


async def test_many_looks_at_a_queue_that_grows(autojump_clock: MockClock) -> None:
    async with flowing() as (engine, slow):
        await send(engine, 1)
        for _ in range(150):
            await send(engine, 1)
            await engine.stats()
            await trio.sleep(1)
        assert extension(await engine.stats(), "r").data.oldest == 150
        (marks,) = [each for each in engine._core.looks._marks.values() if each]  # type: ignore[union-attr]
        assert len(marks) <= 64
        await slow.let(100)
        # Not too much, and not much too little: 100 are gone, and of each second one is left.
        assert 30 <= extension(await engine.stats(), "r").data.oldest <= 51


async def test_commands_that_nobody_has_answered(autojump_clock: MockClock) -> None:
    async with flowing() as (engine, slow):
        for _ in range(3):
            await engine.send_cmd(ten.Cmd("ask"))
            await trio.sleep(1)
        stats = await engine.stats()
        r, s = extension(stats, "r"), extension(stats, "s")
        assert (r.pending, r.pending_oldest, r.handlers, r.longest) == (3, 3, 3, 3)
        assert (s.calls, s.pending) == (3, 0)
        work = edge(stats, "s", "r", "cmd")
        assert (work.pending, work.oldest, work.queued) == (3, 3, 0)
        await slow.let(2)
        stats = await engine.stats()
        assert (extension(stats, "r").pending, edge(stats, "s", "r", "cmd").oldest) == (1, 1)
        assert extension(stats, "s").results.handled == 2


async def test_results_that_are_awaited_count_as_handled() -> None:
    async def ask(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        for _ in range(3):
            await env.send_cmd(ten.Cmd("ask", dest="answers"))
        await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("asks", acting(on_cmd=ask))
    graph.node("answers", acting(on_cmd=answer))
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.send_cmd(ten.Cmd("go", dest="asks"))
        assert extension(await engine.stats(), "asks").results.handled == 3


async def test_commands_that_have_not_begun(autojump_clock: MockClock) -> None:
    class Serial(Slow):
        cmd_handlers = "serial"

    slow = Serial()
    graph = ten.Graph()
    graph.node("r", lambda: slow)
    graph.expose("cmd_in", "ask", "r")
    async with opened(graph) as engine:
        for _ in range(3):
            engine.post_cmd(ten.Cmd("ask"))
            await trio.sleep(1)
        stats = await engine.stats()
        (r,) = stats.extensions
        assert (r.commands.queued, r.commands.oldest, r.pending_oldest) == (2, 2, 3)
        (work,) = stats.edges
        assert (work.queued, work.pending, work.oldest) == (2, 3, 3)
        (host,) = stats.places
        assert (host.name, host.calls, host.pending) == ("the host", 3, 0)
        await slow.let(3)


async def test_edges_with_a_policy_count_for_themselves(autojump_clock: MockClock) -> None:
    async with flowing(capacity=2, on_full="drop_oldest") as (engine, slow):
        await send(engine, 1)
        before = await engine.stats()
        await send(engine, 4)
        await trio.sleep(2)
        stats = (await engine.stats()).since(before)
        found = edge(stats, "s", "r", "data")
        assert (found.policy, found.queued) == ("2, drop_oldest", 2)
        assert found.oldest == 0  # nobody has looked since they came
        assert (found.handled, found.dropped, found.rate) == (1, {"drop_oldest": 2}, 0)
        r = extension(stats, "r")
        assert r.data.dropped == r.dropped == {"drop_oldest": 2}
        await trio.sleep(3)
        stats = await engine.stats()
        assert edge(stats, "s", "r", "data").oldest == extension(stats, "r").data.oldest == 3
        assert r.queued == 2
        await slow.let(3)
        found = edge(await engine.stats(), "s", "r", "data")
        assert (found.queued, found.oldest, found.handled) == (0, None, 3)
        assert extension(await engine.stats(), "r").data.handled == 3


@pytest.mark.parametrize("policy", ["drop_newest", "drop_oldest"])
async def test_what_was_dropped_is_not_handled(policy: Any) -> None:
    slow = Slow()
    graph = ten.Graph()
    graph.node("s", Source)
    graph.node("r", lambda: slow)
    graph.connect("s", "r", data="d")
    graph.expose("data_in", "d", "s")
    async with opened(graph, queue=1, hard_queue=2, overflow=policy) as engine:
        for number in range(10):  # as somebody does who doesn't wait for room
            engine._core.instances["s"].post(ten.Data("d", {"n": number}), NOTHING)
        await wait_all_tasks_blocked()
        dropped = extension(await engine.stats(), "r").data.dropped["overflow"]
        await slow.let(20)
        r = extension(await engine.stats(), "r").data
        assert (r.dropped, r.queued) == ({"overflow": dropped}, 0)
        assert r.handled == len(slow.got) == 10 - dropped
        assert dropped > 5


async def test_a_policy_with_an_age_knows_it(autojump_clock: MockClock) -> None:
    async with flowing(capacity=9, max_age_ms=60_000) as (engine, _):
        await send(engine, 3)
        await trio.sleep(2)
        stats = await engine.stats()
        assert edge(stats, "s", "r", "data").oldest == extension(stats, "r").data.oldest == 2


async def test_the_oldest_of_each_edge(autojump_clock: MockClock) -> None:
    slow = Slow()
    graph = ten.Graph()
    graph.node("r", lambda: slow)
    graph.expose("data_in", "d", "r")
    graph.expose("data_in", "e", "r")
    async with opened(graph) as engine:
        await send(engine, 2)
        await engine.stats()
        await trio.sleep(3)
        await engine.send_data(ten.Data("e", {"n": 7}))
        found = [(each.queued, each.oldest) for each in (await engine.stats()).edges]
        assert found == [(1, 3), (1, 0)]
        await trio.sleep(2)
        found = [(each.queued, each.oldest) for each in (await engine.stats()).edges]
        assert found == [(1, 5), (1, 2)]
        await slow.let(2)
        found = [(each.queued, each.oldest) for each in (await engine.stats()).edges]
        assert found == [(0, None), (0, None)]
        await slow.let(1)


async def test_senders_that_wait_for_room() -> None:
    async with flowing(capacity=1) as (engine, slow):
        await send(engine, 4)
        assert extension(await engine.stats(), "r").data.waiting == 1
        await slow.let(4)
        assert extension(await engine.stats(), "r").data.waiting == 0


async def test_who_has_failed(autojump_clock: MockClock) -> None:
    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        raise ValueError(f"not {data['n']}")

    graph = ten.Graph()
    graph.node("a", acting(on_data=on_data), on_error="isolate")
    graph.expose("data_in", "d", "a")
    async with opened(graph) as engine:
        await send(engine, 2)
        await trio.sleep(4)
        (a,) = (await engine.stats()).extensions
        assert (a.errors, a.last_error, a.last_error_age) == (2, "ValueError: not 1", 4)


async def test_the_host_that_does_not_read() -> None:
    graph = ten.Graph()
    graph.node("s", Source)
    graph.expose("data_in", "d", "s")
    graph.expose("data_out", "d", "s")
    async with opened(graph) as engine:
        await send(engine, 2)
        async with engine.messages(capacity=3):
            await send(engine, 4)
            stats = await engine.stats()
        (host,) = stats.places
        assert (host.queued, host.dropped) == (3, {"host: not subscribed": 2, "host: full": 1})
        assert stats.undelivered == 3


async def test_a_starting_and_a_closing_graph() -> None:
    may, found = trio.Event(), []

    async def waits(env: ten.TenEnv) -> None:
        await may.wait()

    graph = ten.Graph()
    graph.node("a", acting(on_start=waits, on_stop=waits))
    async with ten.open_app() as app:
        engine = await app.start_graph(graph)
        await wait_all_tasks_blocked()
        found.append(await engine.stats())
        may.set()
        await engine.wait_started()
        may = trio.Event()
        engine.stop()
        await wait_all_tasks_blocked()
        found.append(await engine.stats())
        may.set()
        await engine.wait_closed()
        found.append(await engine.stats())
    states = [(each.state, each.extensions[0].state) for each in found]
    assert states == [
        ("starting", "on_start"),
        ("closing (stopped by its host)", "on_stop"),
        ("closing (stopped by its host)", "closed"),
    ]


async def test_as_json_and_back() -> None:
    async with flowing(capacity=2, on_full="drop_oldest") as (engine, _):
        before = await engine.stats()
        await send(engine, 5)
        engine.post_cmd(ten.Cmd("ask"))
        await wait_all_tasks_blocked()
        stats = (await engine.stats()).since(before)
        content = json.loads(json.dumps(stats.to_dict()))
        assert ten.Stats.from_dict(content) == stats
    for nonsense in ({}, {"graph_id": "x", "extensions": 7}, []):
        with pytest.raises(ten.InvalidType, match="these are no stats"):
            ten.Stats.from_dict(nonsense)  # type: ignore[arg-type]


# Of an app, and of other loops --------------------------------------------------------------------


async def test_all_graphs_of_an_app_or_one() -> None:
    def graph() -> ten.Graph:
        made = ten.Graph()
        made.node("a", Slow)
        return made

    async with (
        ten.open_app() as app,
        app.open_graph(graph()) as one,
        app.open_graph(graph()) as two,
    ):
        assert [each.graph_id for each in await app.stats()] == [one.graph_id, two.graph_id]
        assert [each.graph_id for each in await app.stats(two.graph_id)] == [two.graph_id]
        with pytest.raises(ten.GraphError, match="Graph not found"):
            await app.stats("nobody")
        async with app.tap() as tap, app.tap(two.graph_id) as other:
            for engine in (one, two):
                await engine.send_data(ten.Data("d", {"n": 1}, dest="a"))
            await wait_all_tasks_blocked()
            assert {tap.receive_nowait().graph_id for _ in range(2)} == {
                one.graph_id,
                two.graph_id,
            }
            assert other.receive_nowait().graph_id == two.graph_id
            with pytest.raises(trio.WouldBlock):
                other.receive_nowait()
        with pytest.raises(ten.GraphError, match="Graph not found"):
            async with app.tap("nobody"):
                raise AssertionError
        one.stop()
        two.stop()


@asynccontextmanager
async def in_its_own_loop(
    block: Callable[[], object], **limits: Any
) -> AsyncGenerator[ten.Engine, None]:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        block()
        await answer(env, cmd)

    graph = ten.Graph()
    graph.node("a", acting(on_cmd=on_cmd))
    graph.expose("cmd_in", "c", "a")
    with trio.fail_after(10):
        async with ten.open_app(limits=ten.Limits(**limits)) as app:
            async with app.open_graph(graph, own_loop=True) as engine:
                engine.post_cmd(ten.Cmd("c"))
                yield engine


async def test_a_graph_with_a_loop_of_its_own() -> None:
    async with in_its_own_loop(lambda: None) as engine:
        stats = await engine.stats()
    assert stats.state == "running"
    commands = extension(stats, "a").commands
    assert commands.queued + commands.handled == 1


@pytest.mark.slow
async def test_a_loop_that_does_not_answer() -> None:
    begun, go_on = trio.Event(), threading.Event()
    here = trio.lowlevel.current_trio_token()

    def block() -> None:
        here.run_sync_soon(begun.set)
        go_on.wait(10)

    async with in_its_own_loop(block, loop_patience=0.05) as engine:
        try:
            await begun.wait()
            stats = await engine.stats()
        finally:
            go_on.set()
    assert stats.state.startswith("its loop doesn't answer")
    assert stats.extensions == ()


@pytest.mark.slow
async def test_commands_to_another_app() -> None:
    asked = trio.Event()

    async def hang(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        asked.set()
        await trio.sleep_forever()

    async def asks(env: ten.TenEnv, data: ten.Data) -> None:
        await env.send_cmd(ten.Cmd("ask"))

    spread = Spread()
    addons = {"asks": acting(on_data=asks), "hangs": acting(on_cmd=hang)}
    async with opened_apps(2, addons, grace=0.1) as (here, there):
        spread.node("a", here.uri, "asks")
        spread.node("c", there.uri, "hangs")
        spread.connect("a", "c", name="ask")
        spread.expose("data_in", "d", "a")
        async with here.open_graph(spread.graph) as engine:
            await engine.send_data(ten.Data("d"))
            await asked.wait()
            stats = await engine.stats()
            assert [each.title for each in stats.edges] == [
                f"a → {there.uri} c cmd ask",
                f"{PROXY} → a data d",
            ]
            _, other = stats.places
            assert (other.name, other.pending, other.calls) == (there.uri, 1, 0)
            (their,) = await there.stats()
            assert their.graph_id == engine.graph_id
            assert extension(their, "c").pending == 1
