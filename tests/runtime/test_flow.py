"""Flow policies at work: what each keeps and drops, who waits, and that the sums are right."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import ten_trio as ten
from ten_trio.graphs import Conversion, Rule
from tests.runtime.acting import answer, opened

EDGE = "s → r data d"


class Slow(ten.Extension):
    """Handles data when it is let, one message for each permit."""

    def __init__(self) -> None:
        self.handled: list[Any] = []
        self.permits = trio.Semaphore(0)

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await self.permits.acquire()
        self.handled.append(data["n"])

    async def on_audio_frame(self, env: ten.TenEnv, frame: ten.AudioFrame) -> None:
        await self.permits.acquire()
        self.handled.append(frame["n"])

    async def let(self, count: int = 1_000) -> None:
        for _ in range(count):
            self.permits.release()
        await wait_all_tasks_blocked()


class Source(ten.Extension):
    """Is told by the test what to send."""

    env: ten.TenEnv

    async def on_start(self, env: ten.TenEnv) -> None:
        self.env = env

    async def send(self, *numbers: Any, name: str = "d", **more: Any) -> None:
        for number in numbers:
            await self.env.send_data(ten.Data(name, {"n": number, **more}))

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.send_data(ten.Data("d", {"n": cmd["n"]}))
        await answer(env, cmd)


def graph_of(s: Any, r: Any, *more: Any, name: Any = "d", **policy: Any) -> ten.Graph:
    """s → r with a policy, and more senders or receivers without any edges."""
    graph = ten.Graph()
    for index, extension in enumerate((s, r, *more)):
        node = ("s", "r", *(f"x{i}" for i in range(len(more))))[index]
        if isinstance(extension, ten.Extension):
            graph.node(node, lambda extension=extension: extension)
        else:
            graph.node(node, extension)
    graph.connect("s", "r", data=name, flow=ten.FlowPolicy(**policy))
    return graph


@asynccontextmanager
async def flowing(**policy: Any) -> AsyncGenerator[tuple[Source, Slow, ten.Engine], None]:
    """s → r, whose first handler waits already: it has "first"."""
    s, r = Source(), Slow()
    async with opened(graph_of(s, r, **policy)) as engine:
        await s.send("first")
        await wait_all_tasks_blocked()
        yield s, r, engine
        await r.let()


def check_sums(flows: Any) -> None:
    for flow in flows.values():
        assert flow.sent == flow.handled + flow.queued + sum(flow.dropped.values())


# What each policy does -----------------------------------------------------------------------------


async def test_wait_lets_the_sender_wait_for_this_edge_alone() -> None:
    async with flowing(capacity=4, on_full="wait") as (s, r, engine):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.send, *range(10))
            await wait_all_tasks_blocked()
            # Four are queued, and the sender waits with the fifth.
            assert engine.flows[EDGE].queued == 5
            await r.let(2)
            assert engine.flows[EDGE].queued == 3
            await r.let(1)  # half is free: it goes on until it has to wait again
            assert engine.flows[EDGE].queued == 5
            nursery.start_soon(r.let)
        await wait_all_tasks_blocked()
        assert r.handled == ["first", *range(10)]
    assert engine.report.flows[EDGE] == ten.FlowReport(sent=11, handled=11, queued=0, dropped={})


async def test_capacity_alone_means_wait() -> None:
    async with flowing(capacity=1) as (s, _, engine):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.send, 1, 2, 3)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        # Cancelled in the wait means accepted.
        assert engine.flows[EDGE].queued == 2


async def test_drop_oldest_keeps_the_newest_in_their_order() -> None:
    async with flowing(capacity=3, on_full="drop_oldest") as (s, r, engine):
        with trio.fail_after(5):
            await s.send(*range(100))
        assert engine.flows[EDGE].queued == 3
        await r.let()
        assert r.handled == ["first", 97, 98, 99]
    assert engine.report.dropped_by_edge == {EDGE: {"drop_oldest": 97}}
    assert engine.report.extensions["r"].dropped == {"drop_oldest": 97}
    check_sums(engine.report.flows)


async def test_drop_newest_keeps_the_oldest() -> None:
    async with flowing(capacity=3, on_full="drop_newest") as (s, r, engine):
        with trio.fail_after(5):
            await s.send(*range(100))
        await r.let()
        assert r.handled == ["first", 0, 1, 2]
    assert engine.report.dropped_by_edge == {EDGE: {"drop_newest": 97}}
    check_sums(engine.report.flows)


async def test_error_is_raised_where_it_is_sent() -> None:
    async with flowing(capacity=2, on_full="error") as (s, r, engine):
        await s.send(1, 2)
        with pytest.raises(ten.QueueFull, match=rf"{EDGE} already holds 2"):
            await s.send(3)
        await r.let(1)
        await s.send(4)
        await r.let()
        assert r.handled == ["first", 1, 2, 4]
    assert engine.report.dropped_by_edge == {EDGE: {"error": 1}}
    check_sums(engine.report.flows)


async def test_coalesce_keeps_the_latest() -> None:
    async with flowing(on_full="coalesce") as (s, r, engine):
        with trio.fail_after(5):
            await s.send(*range(1_000))
        assert engine.flows[EDGE].queued == 1
        await r.let(1)
        await s.send("last")
        await r.let()
        assert r.handled == ["first", 999, "last"]
    assert engine.report.dropped_by_edge == {EDGE: {"coalesce": 999}}
    check_sums(engine.report.flows)


async def test_coalesce_keeps_the_latest_of_every_key_at_its_place() -> None:
    async with flowing(on_full="coalesce", key="user.id") as (s, r, engine):
        for number, user in enumerate(["a", "b", "a", "c", "b", 1, ["x"], ["x"], None]):
            await s.send(number, user={"id": user})
        await s.send(9)  # has none: its key is None, too
        await r.let()
        assert r.handled == ["first", 2, 3, 4, 5, 7, 9]
    check_sums(engine.report.flows)


async def test_coalesce_has_a_capacity_for_its_keys() -> None:
    async with flowing(on_full="coalesce", key="n", capacity=2) as (s, r, engine):
        await s.send("a", "b", "a", "c")
        await r.let()
        assert r.handled == ["first", "a", "c"]
    assert engine.report.dropped_by_edge == {EDGE: {"coalesce": 1, "drop_oldest": 1}}


@pytest.mark.parametrize("on_full", ["wait", "drop_oldest", "drop_newest", "coalesce", None])
async def test_what_is_too_old_is_dropped_when_its_turn_comes(
    on_full: str | None, autojump_clock: MockClock
) -> None:
    async with flowing(on_full=on_full, max_age_ms=100) as (s, r, engine):
        await s.send(1)
        await trio.sleep(0.06)
        await s.send(2)
        await trio.sleep(0.06)
        assert engine.flows[EDGE].queued == (1 if on_full == "coalesce" else 2)
        await r.let()
        assert r.handled == ["first", 2]
    cause = "coalesce" if on_full == "coalesce" else "too old"
    assert engine.report.dropped_by_edge == {EDGE: {cause: 1}}
    check_sums(engine.report.flows)


async def test_what_is_too_old_makes_room_for_the_new(autojump_clock: MockClock) -> None:
    async with flowing(capacity=2, on_full="drop_newest", max_age_ms=100) as (s, r, engine):
        await s.send(1, 2)
        await trio.sleep(0.2)
        await s.send(3, 4, 5)
        await r.let()
        assert r.handled == ["first", 3, 4]
    assert engine.report.dropped_by_edge == {EDGE: {"too old": 2, "drop_newest": 1}}


async def test_max_age_is_exact(autojump_clock: MockClock) -> None:
    async with flowing(max_age_ms=100) as (s, r, _):
        await s.send(1)
        await trio.sleep(0.0999)
        await r.let()
        assert r.handled == ["first", 1]


# Which messages ------------------------------------------------------------------------------------


async def test_every_name_has_its_own_room() -> None:
    s, r = Source(), Slow()
    async with opened(graph_of(s, r, name=["d", "e"], capacity=1, on_full="drop_newest")) as engine:
        await s.send("first")
        await wait_all_tasks_blocked()
        await s.send(1, 2)
        await s.send(3, 4, name="e")
        assert {edge: flow.queued for edge, flow in engine.flows.items()} == {
            EDGE: 1,
            "s → r data e": 1,
        }
        await r.let()
        assert r.handled == ["first", 1, 3]
    check_sums(engine.report.flows)


async def test_every_sender_and_every_receiver_has_its_own_room() -> None:
    one, two, r, t = Source(), Source(), Slow(), Slow()
    graph = graph_of(one, r, two, t, capacity=2, on_full="drop_oldest")
    graph.connect("x0", "r", data="d", flow=ten.FlowPolicy(capacity=1, on_full="drop_oldest"))
    graph.connect("s", "x1", data="d")
    async with opened(graph) as engine:
        await one.send("first")
        await wait_all_tasks_blocked()
        for number in range(5):
            await one.send(number)
            await two.send(10 + number)
        await r.let()
        await t.let()
        # The order is that of sending: 3, 13, 4, 14, of which 13 had no room.
        assert r.handled == ["first", 3, 4, 14]
        assert t.handled == ["first", *range(5)]
    assert engine.report.dropped_by_edge == {
        EDGE: {"drop_oldest": 3},
        "x0 → r data d": {"drop_oldest": 4},
    }


async def test_messages_without_a_policy_neither_wait_nor_are_dropped_for_those_with_one() -> None:
    s, r = Source(), Slow()
    graph = graph_of(s, r, capacity=2, on_full="drop_oldest")
    graph.connect("s", "r", data="plain")
    async with opened(graph, queue=4) as engine:
        await s.send("first")
        await wait_all_tasks_blocked()
        with trio.fail_after(5):
            for number in range(4):
                await s.send(f"plain {number}", name="plain")
                await s.send(number)
        await r.let()
        expected = ["plain 0", "plain 1", "plain 2", 2, "plain 3", 3]
        assert r.handled == ["first", *expected]
    assert engine.report.flows[EDGE].sent == 5


async def test_a_destination_named_by_hand_goes_through_the_gate_too() -> None:
    async with flowing(capacity=1, on_full="drop_newest") as (s, r, _):
        for number in range(3):
            await s.env.send_data(ten.Data("d", {"n": number}, dest="r"))
            await s.env.send_data(ten.Data("other", {"n": 10 + number}, dest="r"))
        await r.let()
        assert r.handled == ["first", 0, 10, 11, 12]


async def test_commands_pass() -> None:
    class Both(Slow):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await answer(env, cmd)

    s, r = Source(), Both()
    async with opened(graph_of(s, r, capacity=1, on_full="drop_newest")) as engine:
        await s.send(*range(10))
        assert (await engine.send_cmd(ten.Cmd("c", dest="r"))).ok
        await r.let()


async def test_the_conversion_comes_first_and_its_failures_are_counted() -> None:
    s, r = Source(), Slow()
    graph = ten.Graph()
    graph.node("s", lambda: s)
    graph.node("r", lambda: r)
    keyed = Conversion([Rule.copied("k", "deep.key")], keep_original=True)
    flow = ten.FlowPolicy(on_full="coalesce", key="k")
    graph.connect("s", "r", data="d", convert=keyed, flow=flow)
    broken = Conversion([Rule.fixed("ten.no_such_field", 1)])
    graph.connect("s", "r", data="bad", convert=broken, flow=ten.FlowPolicy(capacity=1))
    async with opened(graph) as engine:
        await s.send("first", deep={"key": 0})
        await wait_all_tasks_blocked()
        for number in range(4):
            await s.send(number, deep={"key": number % 2})
        await s.send(4, name="bad")
        await r.let()
        assert r.handled == ["first", 2, 3]
    assert engine.report.dropped_by_edge == {
        EDGE: {"coalesce": 2},
        "s → r data bad": {"conversion": 1},
    }
    assert engine.report.extensions["r"].dropped == {"coalesce": 2, "conversion": 1}
    check_sums(engine.report.flows)


async def test_frames() -> None:
    s, r = Source(), Slow()
    graph = ten.Graph()
    graph.node("s", lambda: s)
    graph.node("r", lambda: r)
    graph.connect(
        "s", "r", audio_frame="pcm", flow=ten.FlowPolicy(capacity=2, on_full="drop_oldest")
    )
    async with opened(graph) as engine:
        for number in range(10):
            await s.env.send_audio_frame(ten.AudioFrame("pcm", {"n": number}))
            await wait_all_tasks_blocked()
        await r.let()
        assert r.handled == [0, 8, 9]
    assert engine.report.dropped_by_edge == {"s → r audio_frame pcm": {"drop_oldest": 7}}


@pytest.mark.parametrize(
    "settings",
    [{"inline": False}, {"data_handlers": "concurrent"}, {"group": "g"}],
)
async def test_it_is_the_same_however_handlers_start(settings: dict[str, Any]) -> None:
    s, r = Source(), Slow()
    graph = ten.Graph()
    graph.node("s", lambda: s)
    graph.node("r", lambda: r, **settings)
    graph.connect("s", "r", data="d", flow=ten.FlowPolicy(capacity=2, on_full="drop_oldest"))
    async with opened(graph) as engine:
        await s.send(*range(10))
        await wait_all_tasks_blocked()
        await r.let()
        flow = engine.flows[EDGE]
        assert flow.queued == 0
        assert flow.handled == len(r.handled)
        assert 9 in r.handled
    check_sums(engine.report.flows)


# Waiting -------------------------------------------------------------------------------------------


async def test_nobody_waits_for_room_in_a_circle() -> None:
    class Node(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            for _ in range(3):
                if data["n"]:
                    await env.send_data(ten.Data("d", {"n": data["n"] - 1}))

    graph = ten.Graph()
    graph.node("a", Node)
    graph.node("b", Node)
    # One of them says nothing: that isn't refused, and mustn't get stuck.
    graph.connect("a", "b", data="d", flow=ten.FlowPolicy(capacity=1, on_full="wait"))
    graph.connect("b", "a", data="d", flow=ten.FlowPolicy(capacity=1))
    async with opened(graph) as engine:
        with trio.fail_after(5):
            await engine.send_data(ten.Data("d", {"n": 4}, dest="a"))
            await wait_all_tasks_blocked()
        flows = engine.flows
        assert flows["a → b data d"].handled == 3 + 27
        assert flows["b → a data d"].handled == 9 + 81
    check_sums(engine.report.flows)


async def test_nobody_waits_for_a_receiver_that_waits_for_a_result() -> None:
    class Asks(ten.Extension):
        handled = 0

        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            if not self.handled:
                await env.send_cmd(ten.Cmd("ask", dest="s"))
            type(self).handled += 1

    class Asked(Source):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await self.send(*range(20))
            await answer(env, cmd)

    s = Asked()
    async with opened(graph_of(s, Asks, capacity=1, on_full="wait")) as engine:
        with trio.fail_after(5):
            await s.send("first")
            await wait_all_tasks_blocked()
        assert Asks.handled == 21
    assert engine.report.extensions["r"].overshoots


async def test_one_who_waits_is_let_go_when_the_receiver_begins_to_wait_for_a_result() -> None:
    class Asks(Slow):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            await super().on_data(env, data)
            await env.send_cmd(ten.Cmd("ask", dest="x0"))

    class Never(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await trio.sleep_forever()

    s, r = Source(), Asks()
    async with opened(graph_of(s, r, Never, capacity=1, on_full="wait")) as engine:
        async with trio.open_nursery() as nursery:
            await s.send(0)
            await wait_all_tasks_blocked()
            nursery.start_soon(s.send, 1, 2)
            await wait_all_tasks_blocked()
            assert engine.flows[EDGE].queued == 2
            await r.let(1)
        assert engine.report is None
        engine.stop()
    check_sums(engine.report.flows)
    assert engine.report.dropped_by_edge == {EDGE: {"closing": 2}}


async def test_explain_names_the_edge() -> None:
    async with flowing(capacity=1, on_full="wait") as (s, r, engine):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.send, 1, 2)
            await wait_all_tasks_blocked()
            (wait,) = [wait for wait in (await engine.explain()).waits if wait.kind == "room"]
            assert wait.on == "r"
            assert f"2 are queued there of {EDGE}" in wait.why
            await r.let()


async def test_overflow_applies_beyond_the_hard_bound_only() -> None:
    s, r = Source(), Slow()
    graph = graph_of(s, r, capacity=2, on_full="wait")
    async with opened(graph, queue=2, hard_queue=3, overflow="drop_oldest") as engine:
        await s.send("first")
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(s.send, number)
                await wait_all_tasks_blocked()
            assert engine.flows[EDGE].queued == 3
            await r.let()
        assert r.handled == ["first", 2, 3, 4]
    assert engine.report.dropped_by_edge == {EDGE: {"overflow": 2}}
    check_sums(engine.report.flows)


# With everything else that takes messages away -----------------------------------------------------


async def test_a_cancelled_turn() -> None:
    async with flowing(capacity=10, on_full="coalesce", key="n") as (s, r, engine):
        turn = engine.new_turn()
        await s.env.send_data(ten.Data("d", {"n": 1}), turn=turn)
        await s.env.send_data(ten.Data("d", {"n": 2}))
        await s.env.send_data(ten.Data("d", {"n": 3}), turn=turn)
        report = await engine.cancel_turn(turn)
        assert report is not None
        assert report.dropped == 2
        assert engine.flows[EDGE].queued == 1
        # The key of what was cancelled is free again, and is not looked for.
        await s.send(1, 3, 3)
        await r.let()
        assert r.handled == ["first", 2, 1, 3]
    assert engine.report.dropped_by_edge == {EDGE: {"turn cancelled": 2, "coalesce": 1}}
    check_sums(engine.report.flows)


class Discards(Slow):
    """Drops, when it is told, what was sent before the command."""

    dropped = -1

    def __init__(self) -> None:
        super().__init__()
        self.held = trio.Event()

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd.name == "later":
            await self.held.wait()
        self.dropped = env.discard_queued(sent_before=None if cmd.get("all") else cmd)
        await answer(env, cmd)


async def test_discard_queued() -> None:
    s, r = Source(), Discards()
    async with opened(graph_of(s, r, capacity=10, on_full="drop_oldest")) as engine:
        await s.send("first")
        await wait_all_tasks_blocked()
        await s.send(1, 2, 3)
        await engine.send_cmd(ten.Cmd("flush", dest="r"))
        assert r.dropped == 3
        await s.send(4, 5)
        await engine.send_cmd(ten.Cmd("flush", {"all": True}, dest="r"))
        assert r.dropped == 2
        await s.send(6)
        await r.let()
        assert r.handled == ["first", 6]
    assert engine.report.dropped_by_edge == {EDGE: {"discarded": 5}}
    check_sums(engine.report.flows)


@pytest.mark.parametrize("order", ["bc", "cb", "b", "c", "bcbcbc", "abc"])
async def test_what_was_sent_before_a_command_is_known_after_drops_in_the_middle(
    order: str,
) -> None:
    s, r = Source(), Discards()
    async with opened(graph_of(s, r, on_full="coalesce", key="k")) as engine:
        await s.send("first")
        await wait_all_tasks_blocked()
        await s.send("before", k="a")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.send_cmd, ten.Cmd("later", dest="r"))
            await wait_all_tasks_blocked()
            await s.send("after", k="b")
            await s.send("after", k="c")
            for key in order:
                await s.send("replaced", k=key)
            r.held.set()
        assert r.dropped == (0 if "a" in order else 1)
        await r.let()
        assert "before" not in r.handled
    check_sums(engine.report.flows)


async def test_close_counts_what_is_left() -> None:
    class Stubborn(Slow):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            await trio.sleep_forever()

    s = Source()
    async with opened(graph_of(s, Stubborn, capacity=5, on_full="drop_oldest")) as engine:
        await s.send(*range(10))
        await wait_all_tasks_blocked()
        await s.send(*range(10))
        engine.stop()
    report = engine.report.flows[EDGE]
    assert report.queued == 0
    assert report.dropped["closing"] == 5
    check_sums(engine.report.flows)


async def test_a_sender_that_waits_is_let_go_by_the_close() -> None:
    async with flowing(capacity=1) as (s, _, engine):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(s.send, 1, 2)
            await wait_all_tasks_blocked()
            with trio.fail_after(30):
                engine.stop()
                await engine.wait_closed()
    assert engine.report.flows[EDGE].dropped == {"closing": 2}
    check_sums(engine.report.flows)


async def test_a_restart_of_the_receiver_keeps_the_queue_and_the_policy() -> None:
    made: list[Slow] = []

    class Fragile(Slow):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            await super().on_data(env, data)
            if data["n"] == "first":
                raise ValueError("as planned")

    s = Source()
    graph = ten.Graph()
    graph.node("s", lambda: s)
    graph.node("r", Fragile, on_error="restart")
    graph.connect("s", "r", data="d", flow=ten.FlowPolicy(capacity=2, on_full="drop_oldest"))
    async with opened(graph) as engine:
        await s.send("first")
        await wait_all_tasks_blocked()
        await s.send(1, 2, 3)
        await made[0].let(1)
        await s.send(4)
        await wait_all_tasks_blocked()
        await made[1].let()
        # One of 2 and 3 was being handled when 4 was sent, or not.
        assert made[1].handled in ([2, 3, 4], [3, 4])
        assert engine.flows[EDGE].queued == 0
    check_sums(engine.report.flows)
    assert engine.report.flows[EDGE].handled == 1 + len(made[1].handled)


async def test_a_message_that_was_replaced_while_the_receiver_is_held_is_gone() -> None:
    class Late(Slow):
        may_start = trio.Event()

        async def on_init(self, env: ten.TenEnv) -> None:
            await self.may_start.wait()

    s, r = Source(), Late()
    async with ten.open_app() as app:
        graph = graph_of(s, r, on_full="coalesce")
        async with trio.open_nursery() as nursery:

            async def talk() -> None:
                await wait_all_tasks_blocked()
                await s.send(*range(200))
                r.may_start.set()

            nursery.start_soon(talk)
            async with app.open_graph(graph) as engine:
                await r.let()
                assert r.handled == [199]
                assert engine._core.instances["r"].data_line.count == 0
    check_sums(engine.report.flows)


async def test_schema_failures_are_counted_by_edge(tmp_path: Any) -> None:
    s, r = Source(), Slow()
    async with opened(graph_of(s, r, capacity=5, on_full="drop_oldest")) as engine:
        instance = engine._core.instances["r"]

        class Refuses:
            def message(self, *_: object) -> Any:
                return self

            def check(self, properties: Any) -> Any:
                if properties["n"] == "bad":
                    raise ten.SchemaError("it is bad")
                return properties

        instance.use_schemas(Refuses())  # type: ignore[arg-type]
        await s.send("good", "bad", "good")
        await r.let()
        assert r.handled == ["good", "good"]
    assert engine.report.dropped_by_edge == {EDGE: {"schema": 1}}
    check_sums(engine.report.flows)


async def test_a_hidden_pile_of_dropped_messages_is_cleared_away() -> None:
    async with flowing(on_full="coalesce") as (s, _, engine):
        for _ in range(20):
            await s.send(*range(500))
        lane = engine._core.instances["r"].data_line.lane
        assert lane is not None
        queued = lane.take_all()
        for msg in queued:
            lane.put(msg)
        assert len(queued) < 200


# Changes while it runs -----------------------------------------------------------------------------


async def test_another_policy_for_what_comes_from_now_on() -> None:
    async with flowing(capacity=5, on_full="drop_newest") as (s, r, engine):
        await s.send(*range(10))
        await engine.disconnect("s", "r", data="d")
        assert not await s.env.send_data(ten.Data("d", {"n": "nowhere"}))
        await engine.connect(
            "s", "r", data="d", flow=ten.FlowPolicy(capacity=2, on_full="drop_oldest")
        )
        await s.send(10, 11)
        await r.let()
        assert r.handled == ["first", 10, 11]
    assert engine.report.dropped_by_edge == {EDGE: {"drop_newest": 5, "drop_oldest": 5}}
    check_sums(engine.report.flows)


async def test_another_key_forgets_the_old_one() -> None:
    async with flowing(on_full="coalesce", key="a") as (s, r, engine):
        await s.send(1, a="x")
        await engine.disconnect("s", "r", data="d")
        await engine.connect("s", "r", data="d", flow=ten.FlowPolicy(on_full="coalesce", key="b"))
        await s.send(2, b="x")
        await s.send(3, b="x")
        await r.let()
        assert r.handled == ["first", 1, 3]
    check_sums(engine.report.flows)


async def test_an_edge_without_its_policy_keeps_the_order() -> None:
    async with flowing(capacity=5) as (s, r, engine):
        await s.send(1, 2)
        await engine.disconnect("s", "r", data="d")
        await engine.connect("s", "r", data="d")
        await s.send(*range(3, 20))
        await r.let()
        assert r.handled == ["first", *range(1, 20)]
        assert engine.flows[EDGE].sent == 3
        assert engine._core.instances["r"].data_line.cap == engine._core.limits.queue


async def test_a_policy_that_differs_needs_a_disconnect_and_circles_are_refused() -> None:
    async with flowing(capacity=5, on_full="wait") as (_, _, engine):
        with pytest.raises(ten.GraphError, match="there with another flow policy"):
            await engine.connect("s", "r", data="d", flow=ten.FlowPolicy(capacity=6))
        with pytest.raises(ten.GraphError, match=r"(s → r → s)|(r → s → r)"):
            await engine.connect("r", "s", data="d", flow=ten.FlowPolicy(on_full="wait"))
        await engine.connect("r", "s", data="d", flow=ten.FlowPolicy(on_full="drop_oldest"))


async def test_a_receiver_that_comes_back_goes_on_counting() -> None:
    s, r = Source(), Slow()
    async with opened(graph_of(s, r, capacity=1, on_full="drop_oldest")) as engine:
        await s.send("first", 1)
        await wait_all_tasks_blocked()
        await s.send(2, 3)
        await r.let()
        await engine.remove_extension("r")
        again = Slow()
        await again.let()
        await engine.add_extension("r", lambda: again)
        flow = ten.FlowPolicy(capacity=1, on_full="drop_oldest")
        await engine.connect("s", "r", data="d", flow=flow)
        await s.send(4)
        await wait_all_tasks_blocked()
        assert again.handled == [4]
    assert engine.report.flows[EDGE].sent == 5
    check_sums(engine.report.flows)


# Elsewhere -----------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_in_a_loop_of_its_own() -> None:
    held = trio.Event

    class Waits(ten.Extension):
        handled: list[int] = []  # noqa: RUF012 - of this test alone

        async def on_init(self, env: ten.TenEnv) -> None:
            self.go = held()

        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            await self.go.wait()
            self.handled.append(data["n"])

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            self.go.set()
            await answer(env, cmd)

    graph = graph_of(Source, Waits, capacity=2, on_full="drop_oldest")
    async with ten.open_app() as app, app.open_graph(graph, own_loop=True) as engine:
        with trio.fail_after(5):
            for number in range(10):
                await engine.send_cmd(ten.Cmd("c", {"n": number}, dest="s"))
            assert engine.flows[EDGE].sent == 10
            await engine.send_cmd(ten.Cmd("c", dest="r"))
            while len(Waits.handled) < 3:  # noqa: ASYNC110 - another thread is at work on it
                await trio.sleep(0.001)
    assert Waits.handled == [0, 8, 9]
    assert engine.report.dropped_by_edge == {EDGE: {"drop_oldest": 7}}
    check_sums(engine.report.flows)


@pytest.mark.parametrize(
    ("policy", "warns"),
    [
        ({"on_full": "wait"}, True),
        ({"capacity": 50}, True),
        ({"on_full": "drop_oldest"}, True),
        ({"on_full": "drop_oldest", "capacity": 50}, False),
        ({"on_full": "coalesce"}, False),
        ({"max_age_ms": 200}, False),
    ],
)
async def test_audio_that_may_lag_is_warned_of(
    policy: dict[str, Any], warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    graph = ten.Graph()
    graph.node("s", Source)
    graph.node("r", Slow)
    graph.connect("s", "r", audio_frame="pcm", data="d", flow=ten.FlowPolicy(**policy))
    with caplog.at_level(logging.WARNING):
        async with opened(graph) as engine:
            await engine.connect("r", "s", data="d")
    told = [record.message for record in caplog.records if "delay" in record.message]
    assert len(told) == warns
    assert all('audio_frame "pcm" to "r" can build up delay' in text for text in told)


async def test_a_circle_of_waits_is_refused_in_so_many_words() -> None:
    graph = ten.Graph()
    wait = ten.FlowPolicy(on_full="wait")
    for name, after in ["ab", "bc", "ca"]:
        graph.node(name, Slow)
        graph.connect(name, after, data="d", flow=wait)
    async with ten.open_app() as app:
        with pytest.raises(ten.GraphError, match="a → b → c → a"):
            async with app.open_graph(graph):
                raise AssertionError("it is running")
