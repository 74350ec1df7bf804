"""Bounds: who waits for room and who doesn't, what is dropped beyond, and that nobody waits for ever."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import ten_trio as ten
from ten_trio.runtime.lines import Line
from tests.runtime.acting import Callback, acting, answer, opened


class Gated(ten.Extension):
    """Handles data when it is let."""

    def __init__(self) -> None:
        self.gate = trio.CapacityLimiter(0)
        self.handled: list[int] = []
        self.permits = trio.Semaphore(0)

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await self.permits.acquire()
        self.handled.append(data["number"])

    async def let(self, count: int) -> None:
        """Handle so many more."""
        for _ in range(count):
            self.permits.release()
        await wait_all_tasks_blocked()


class Sender:
    """Sends numbered data, from a task of its own, and counts what it has got rid of."""

    def __init__(self, target: Any, *dests: str) -> None:
        self.target = target
        self.dests = dests
        self.sent = 0

    async def run(self, count: int = 1_000) -> None:
        for number in range(count):
            await self.target.send_data(ten.Data("d", {"number": number}, dest=self.dests))
            self.sent += 1


def graph_of(**nodes: Any) -> ten.Graph:
    graph = ten.Graph()
    for name, extension in nodes.items():
        if isinstance(extension, ten.Extension):
            graph.node(name, lambda extension=extension: extension)
        else:
            graph.node(name, extension)
    return graph


def line_of(engine: ten.Engine, name: str) -> Line:
    return engine._core.instances[name].data_line


# Waiting for room ------------------------------------------------------------------------------


@pytest.mark.parametrize("by_host", [True, False])
async def test_a_sender_waits_for_room_and_goes_on_when_half_is_free(by_host: bool) -> None:
    r = Gated()
    async with opened(graph_of(r=r, s=ten.Extension), queue=4) as engine:
        target = engine if by_host else engine._core.instances["s"].env
        sender = Sender(target, "r")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.run)
            await wait_all_tasks_blocked()
            # One is being handled, four are queued, and the sender waits with the next.
            assert (sender.sent, line_of(engine, "r").count) == (5, 5)
            await r.let(2)
            assert (sender.sent, line_of(engine, "r").count) == (5, 3)
            await r.let(1)
            assert (sender.sent, line_of(engine, "r").count) == (8, 5)
            nursery.cancel_scope.cancel()
        await r.let(100)
    assert r.handled == list(range(9))


async def test_a_fan_out_waits_for_the_fullest_of_all() -> None:
    slow, fast = Gated(), Gated()
    async with opened(graph_of(slow=slow, fast=fast), queue=2) as engine:
        await fast.let(1_000)
        sender = Sender(engine, "fast", "slow")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.run, 10)
            await wait_all_tasks_blocked()
            # How many depends on when the first is taken out of the queue.
            assert sender.sent in (2, 3)
            assert len(fast.handled) == sender.sent + 1
            await slow.let(3)
            assert sender.sent > 3
            await slow.let(100)
    assert slow.handled == fast.handled == list(range(10))


async def test_cancelled_in_the_wait_is_accepted_all_the_same() -> None:
    r = Gated()
    async with opened(graph_of(r=r), queue=1) as engine:
        sender = Sender(engine, "r")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.run)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        accepted = sender.sent + 1
        assert not line_of(engine, "r").waiters
        await r.let(100)
    assert r.handled == list(range(accepted))


async def test_several_senders_wait_and_all_go_on() -> None:
    r = Gated()
    async with opened(graph_of(r=r), queue=2) as engine:
        senders = [Sender(engine, "r") for _ in range(5)]
        async with trio.open_nursery() as nursery:
            for sender in senders:
                nursery.start_soon(sender.run, 20)
            await wait_all_tasks_blocked()
            await r.let(1_000)
    assert len(r.handled) == 100


async def test_commands_never_wait_for_room() -> None:
    class Busy(Gated):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await answer(env, cmd)

    r = Busy()
    async with opened(graph_of(r=r), queue=1) as engine:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Sender(engine, "r").run)
            await wait_all_tasks_blocked()
            for _ in range(100):
                assert (await engine.send_cmd(ten.Cmd("c", dest="r"))).ok
            nursery.cancel_scope.cancel()
        await r.let(100)


async def test_a_slow_consumer_slows_its_source_through_a_chain() -> None:
    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        await env.send_data(ten.Data("d", {"number": data["number"]}, dest="r"))

    r = Gated()
    async with opened(graph_of(r=r, middle=acting(on_data=on_data)), queue=2) as engine:
        sender = Sender(engine, "middle")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.run, 100)
            await wait_all_tasks_blocked()
            assert sender.sent <= 8
            await r.let(1_000)
    assert r.handled == list(range(100))


async def test_closing_lets_everyone_go_who_waits(autojump_clock: MockClock) -> None:
    async def refused() -> None:
        with pytest.raises(ten.EngineClosed):
            await Sender(engine, "r").run()

    async with opened(graph_of(r=Gated()), queue=1, grace=1) as engine:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(refused)
            await wait_all_tasks_blocked()
            engine.stop()
    assert engine.report is not None
    assert set(engine.report.extensions["r"].dropped) == {"closing"}


# Circles ---------------------------------------------------------------------------------------


def forwarding(to: str, count: int, log: list[int]) -> type[ten.Extension]:
    """Sends two for each that it gets, until there have been `count`."""

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        log.append(1)
        for _ in range(2):
            if len(log) < count:
                await env.send_data(ten.Data("d", dest=to))

    return acting(on_data=on_data)


@pytest.mark.parametrize("size", [1, 2, 3])
async def test_circles_never_deadlock(size: int) -> None:
    log: list[int] = []
    names = [f"n{index}" for index in range(size)]
    nodes = {
        name: forwarding(names[(index + 1) % size], 200, log) for index, name in enumerate(names)
    }
    async with opened(graph_of(**nodes), queue=1) as engine:
        await engine.send_data(ten.Data("d", dest="n0"))
        await wait_all_tasks_blocked()
        assert len(log) >= 200
        assert all(not line_of(engine, name).count for name in names)
    assert engine.report is not None
    assert sum(each.overshoots for each in engine.report.extensions.values()) > 0
    assert engine.report.dropped == 0


async def test_a_wait_that_closes_no_circle_is_waited() -> None:
    """a ⇄ b is a circle, r is outside of it."""
    r = Gated()

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        other = "b" if env.name == "a" else "a"
        if data["number"] < 50:
            more = {"number": data["number"] + 1}
            await env.send_data(ten.Data("d", more, dest=[other, "r"]))

    nodes = {name: acting(on_data=on_data) for name in ("a", "b")}
    async with opened(graph_of(r=r, **nodes), queue=2) as engine:
        await engine.send_data(ten.Data("d", {"number": 0}, dest="a"))
        await wait_all_tasks_blocked()
        # Both wait.
        assert line_of(engine, "r").count == 4
        await r.let(1_000)
    assert r.handled == list(range(1, 51))


async def test_a_wait_that_is_over_closes_no_circle() -> None:
    """`a` has waited for room at `b`: later `b` waits for room at `a` like anybody else."""

    class Talks(Gated):
        """Sends the other one as many as it is told to, and handles what comes from there."""

        sender: Sender

        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            if data.name == "d":
                await super().on_data(env, data)
            else:
                self.sender = Sender(env, "b" if env.name == "a" else "a")
                await self.sender.run(5)

    a, b = Talks(), Talks()
    async with opened(graph_of(a=a, b=b), queue=1) as engine:
        for here, there in ((a, b), (b, a)):
            await engine.send_data(ten.Data("begin", dest="a" if here is a else "b"))
            await wait_all_tasks_blocked()
            assert here.sender.sent < 4
            await there.let(5)
            assert here.sender.sent == 5
            assert there.handled == list(range(5))
        assert [line_of(engine, name).overshoots for name in "ab"] == [0, 0]


async def test_nobody_waits_for_room_where_a_handler_waits_for_a_result() -> None:
    """`a` asks `b`, which sends `a` more than there is room for before it answers."""

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        if data.name == "begin":
            results.append(await env.send_cmd(ten.Cmd("ask", dest="b")))
        else:
            handled.append(data["number"])

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await Sender(env, "a").run(10)
        await answer(env, cmd)

    results: list[ten.CmdResult] = []
    handled: list[int] = []
    nodes = {"a": acting(on_data=on_data), "b": acting(on_cmd=on_cmd)}
    async with opened(graph_of(**nodes), queue=1) as engine:
        await engine.send_data(ten.Data("begin", dest="a"))
        await wait_all_tasks_blocked()
    assert results[0].ok
    assert handled == list(range(10))
    assert engine.report is not None
    assert engine.report.extensions["a"].overshoots == 9  # all but the first


async def test_who_waits_for_room_goes_on_when_the_receiver_begins_to_wait_for_a_result() -> None:
    gate = trio.Event()

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        if data["number"] == 0:
            await gate.wait()
            await env.send_cmd(ten.Cmd("ask", dest="b"))
        handled.append(data["number"])

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd.name == "fill":
            await Sender(env, "a").run(5)
            filled.set()
        else:
            await filled.wait()
        await answer(env, cmd)

    filled = trio.Event()
    handled: list[int] = []
    nodes = {"a": acting(on_data=on_data), "b": acting(on_cmd=on_cmd)}
    async with opened(graph_of(**nodes), queue=1) as engine:
        call = engine.start_cmd(ten.Cmd("fill", dest="b"))
        await wait_all_tasks_blocked()
        assert not filled.is_set()
        gate.set()
        assert (await call.result()).ok
        await wait_all_tasks_blocked()
        assert line_of(engine, "a").overshoots > 0  # nobody waits for room now
    assert handled == list(range(5))


async def test_after_a_wait_for_a_result_senders_wait_for_room_again() -> None:
    class Asks(Gated):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            if data["number"] == 0:
                assert (await env.send_cmd(ten.Cmd("ask", dest="b"))).ok
            await super().on_data(env, data)

    asks = Asks()
    async with opened(graph_of(a=asks, b=acting(on_cmd=answer)), queue=2) as engine:
        await Sender(engine, "a").run(1)
        await wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            sender = Sender(engine, "a")
            nursery.start_soon(sender.run, 10)
            await asks.let(0)
            assert sender.sent == 2
            await asks.let(11)
        assert len(asks.handled) == 11


async def test_circles_through_a_task_that_a_handler_starts() -> None:
    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        async with trio.open_nursery() as nursery:
            if data.name == "begin":
                nursery.start_soon(Sender(env, env.name).run, 10)
        handled.append(data.name)

    handled: list[str] = []
    async with opened(graph_of(a=acting(on_data=on_data)), queue=1) as engine:
        await engine.send_data(ten.Data("begin", dest="a"))
        await wait_all_tasks_blocked()
    assert handled == ["begin"] + ["d"] * 10


async def test_a_task_that_outlives_its_handler_waits_like_any_other() -> None:
    """It was started by a handler, in a nursery of the lifespan, but holds up nothing."""

    class Lives(Gated):
        nursery: trio.Nursery

        async def on_start(self, env: ten.TenEnv) -> None:
            self.sender = Sender(env, "r")

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            self.nursery.start_soon(self.sender.run, 20)

        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            if data.name == "begin":
                self.nursery.start_soon(self.sender.run, 20)
            else:
                await super().on_data(env, data)

    r = Lives()
    async with opened(graph_of(r=r), queue=2) as engine, trio.open_nursery() as r.nursery:
        await engine.send_data(ten.Data("begin", dest="r"))
        await wait_all_tasks_blocked()
        assert line_of(engine, "r").count <= 3
        await r.let(100)
    assert r.handled == list(range(20))


@pytest.mark.parametrize("stage", ["on_init", "on_start"])
async def test_an_extension_may_send_itself_more_than_there_is_room_for_while_it_starts(
    stage: str, autojump_clock: MockClock
) -> None:
    async def fill(env: ten.TenEnv) -> None:
        await Sender(env, env.name).run(10)

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        handled.append(data["number"])

    handled: list[int] = []
    nodes = {"a": acting(on_data=on_data, **{stage: fill})}
    with trio.fail_after(5):
        async with opened(graph_of(**nodes), queue=2):
            await wait_all_tasks_blocked()
    assert handled == list(range(10))


async def test_two_may_send_each_other_more_than_there_is_room_for_while_they_start(
    autojump_clock: MockClock,
) -> None:
    async def fill(env: ten.TenEnv) -> None:
        await Sender(env, "b" if env.name == "a" else "a").run(10)

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        handled.append(data["number"])

    handled: list[int] = []
    nodes = {name: acting(on_data=on_data, on_init=fill) for name in ("a", "b")}
    with trio.fail_after(5):
        async with opened(graph_of(**nodes), queue=2):
            await wait_all_tasks_blocked()
    assert len(handled) == 20


# Beyond the bound ------------------------------------------------------------------------------


def burst(count: int, overflow: list[str]) -> Callback:
    """A data handler that sends itself so many: it mustn't wait for room, so only the cap stops it."""

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        if data.name != "begin":
            overflow.append(str(data["number"]))
            return
        for number in range(count):
            try:
                await env.send_data(ten.Data("d", {"number": number}, dest=env.name))
            except ten.QueueFull as error:
                overflow.append(f"{number}: {type(error).__name__}")

    return on_data


@pytest.mark.parametrize(
    ("policy", "handled"),
    [
        ("drop_newest", ["0", "1", "2", "3"]),
        ("drop_oldest", ["3", "4", "5", "6"]),
        ("error", ["4: QueueFull", "5: QueueFull", "6: QueueFull", "0", "1", "2", "3"]),
    ],
)
async def test_beyond_the_hard_cap_the_overflow_policy_applies(
    policy: str, handled: list[str]
) -> None:
    log: list[str] = []
    nodes = graph_of(r=acting(on_data=burst(7, log)))
    async with opened(nodes, queue=2, hard_queue=4, overflow=policy) as engine:
        await engine.send_data(ten.Data("begin", dest="r"))
        await wait_all_tasks_blocked()
        assert line_of(engine, "r").count == 0
    assert log == handled
    assert engine.report is not None
    assert engine.report.extensions["r"].dropped == {"overflow": 3}
    assert engine.report.dropped == 3


async def test_dropping_the_oldest_never_drops_a_command(autojump_clock: MockClock) -> None:
    async def on_init(env: ten.TenEnv) -> None:
        call = env.start_cmd(ten.Cmd("c", dest="r"))
        log: list[str] = []
        await burst(7, log)(env, ten.Data("begin"))
        env.nursery.start_soon(wait_for, call)

    async def wait_for(call: ten.Call) -> None:
        results.append(await call.result())

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        handled.append(data["number"])

    results: list[ten.CmdResult] = []
    handled: list[int] = []
    nodes = graph_of(r=acting(on_init=on_init, on_cmd=answer, on_data=on_data))
    with trio.fail_after(5):
        async with opened(nodes, queue=3, hard_queue=3, overflow="drop_oldest"):
            await wait_all_tasks_blocked()
    assert results[0].ok
    assert handled == [4, 5, 6]


async def test_a_refused_copy_does_not_stop_the_others() -> None:
    full, roomy = Gated(), Gated()
    limits = {"queue": 1, "hard_queue": 2, "overflow": "error"}
    async with opened(graph_of(full=full, roomy=roomy), **limits) as engine:
        await roomy.let(100)
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(Sender(engine, "full").run, 1)
                await wait_all_tasks_blocked()
            with pytest.raises(ten.QueueFull, match="already holds 2"):
                await engine.send_data(ten.Data("d", {"number": 7}, dest=["full", "roomy"]))
            await wait_all_tasks_blocked()
            assert roomy.handled == [7]
            await full.let(100)


# What goes nowhere -----------------------------------------------------------------------------


async def test_data_without_an_edge_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with opened(graph_of(s=ten.Extension)) as engine:
        env = engine._core.instances["s"].env
        answers = [await env.send_data(ten.Data("lost")) for _ in range(1_001)]
        assert not any(answers)
        assert not await engine.send_data(ten.Data("lost"))
        assert engine._core.instances["s"].unconnected["data", "lost"] == 1_001
    times = [r.getMessage() for r in caplog.records if "no edge" in r.getMessage()]
    assert [message.rpartition("(")[2] for message in times if "extension: s:" in message] == [
        "1 times)",
        "1001 times)",
    ]


async def test_data_for_an_extension_that_is_not_there_is_noted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with opened(graph_of(s=ten.Extension)) as engine:
        for _ in range(3):
            await engine.send_data(ten.Data("lost", dest="nobody"))
    (note,) = [r.getMessage() for r in caplog.records if "goes nowhere" in r.getMessage()]
    assert "data 'lost' goes nowhere: Failed to find destination. (1 times)" in note


async def test_on_sent_is_called_when_the_message_is_accepted_or_refused() -> None:
    calls: list[tuple[str, object]] = []
    r = Gated()

    def on_sent(env: ten.TenEnv, error: object) -> None:
        calls.append((env.name, error))

    async with opened(graph_of(s=ten.Extension, r=r), queue=1) as engine:
        env = engine._core.instances["s"].env
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                data = ten.Data("d", {"number": 1}, dest="r")
                nursery.start_soon(env.send_data, data, on_sent)
            await wait_all_tasks_blocked()
            # Accepted, although two still wait for room.
            assert calls == [("s", None)] * 4
            await r.let(10)
    with pytest.raises(ten.EnvClosed) as caught:
        await env.send_data(ten.Data("d", dest="r"), on_sent)
    assert calls[-1] == ("s", caught.value)


async def test_an_unread_host_never_stalls_a_graph() -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        for number in range(100):
            await env.send_data(ten.Data("out", {"number": number}))
        await answer(env, cmd)

    graph = ten.Graph()
    graph.node("a", acting(on_cmd=on_cmd))
    graph.expose("data_out", "out", "a")
    async with opened(graph, queue=2) as engine:
        assert (await engine.send_cmd(ten.Cmd("go", dest="a"))).ok
        async with engine.messages("out", capacity=10) as messages:
            assert (await engine.send_cmd(ten.Cmd("go", dest="a"))).ok
            assert messages.dropped == 90
            assert [messages.receive_nowait()["number"] for _ in range(10)] == list(range(10))
        assert engine._core.host.data_line.dropped == {
            "host: not subscribed": 100,
            "host: full": 90,
        }
