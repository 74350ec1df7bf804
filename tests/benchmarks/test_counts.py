"""What a hop, a command, a fan-out and a stream take, exactly: what doesn't depend on the machine.

If one of these changes, the runtime does more or less than before for the same work. Less is good
news, and the figure here becomes the new one; more wants a reason.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

import ten_trio as ten
from tests.benchmarks.counting import TIMELESS, Counter, Counts, count

SLICE = TIMELESS.slice
RING = 8
HOPS = 20 * SLICE


class Relay(ten.Extension):
    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await env.send_data(data)


class Waits(ten.Extension):
    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await trio.lowlevel.checkpoint()
        await env.send_data(data)


class Sink(ten.Extension):
    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        pass


class Echo(ten.Extension):
    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok())


class Asks(ten.Extension):
    """Asks `echo` as often as it is told to, after as many in vain for warming up."""

    def __init__(self, counter: Counter) -> None:
        self.counter = counter

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        for _ in range(cmd["n"]):
            assert (await env.send_cmd(ten.Cmd("echo"))).ok
        self.counter.begin()
        for _ in range(cmd["n"]):
            assert (await env.send_cmd(ten.Cmd("echo"))).ok
        self.counter.end()
        await env.return_result(cmd.ok())


class Streams(ten.Extension):
    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        for i in range(cmd["n"] - 1):
            await env.return_result(cmd.partial(i=i))
        await env.return_result(cmd.ok(i=cmd["n"] - 1))


class Head(ten.Extension):
    """Lets so many messages go round; counts from the one that begins a slice to the one that ends it."""

    def __init__(self, counter: Counter, laps: int, in_flight: int) -> None:
        self.counter = counter
        # The host sends the next one after each slice.
        self.first = laps + in_flight * SLICE // RING
        self.last = self.first + laps
        self.total = self.last + in_flight
        self.seen = 0
        self.done = trio.Event()

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        self.seen += 1
        if self.seen == self.first:
            self.counter.begin()
        elif self.seen == self.last:
            self.counter.end()
        if self.seen < self.total:
            await env.send_data(data)
        elif not self.done.is_set():
            self.done.set()


def ring(
    relay: type[ten.Extension] = Relay,
    in_flight: int = 1,
    groups: int = 1,
    *,
    calls: bool = False,
) -> Counts:
    size = RING

    async def work(app: ten.App, counter: Counter) -> None:
        head = Head(counter, HOPS // size, in_flight)
        graph = ten.Graph()
        graph.node("e0", lambda name: head, group="g0")
        for i in range(1, size):
            graph.node(f"e{i}", relay, group=f"g{i % groups}")
        for i in range(size):
            graph.connect(f"e{i}", f"e{(i + 1) % size}", data="x")
        graph.expose("data_in", "x", "e0")
        async with app.open_graph(graph) as engine:
            for _ in range(in_flight):
                await engine.send_data(ten.Data("x", {"n": 1}))
            await head.done.wait()

    return count(work, calls=calls)


def commands(n: int = 100, *, calls: bool = False) -> Counts:
    """From the host, one after another."""

    async def work(app: ten.App, counter: Counter) -> None:
        graph = ten.Graph()
        graph.node("echo", Echo)
        async with app.open_graph(graph) as engine:
            for _ in range(n):
                assert (await engine.send_cmd(ten.Cmd("echo", dest="echo"))).ok
            counter.begin()
            for _ in range(n):
                assert (await engine.send_cmd(ten.Cmd("echo", dest="echo"))).ok
            counter.end()

    return count(work, calls=calls)


def commands_from_a_handler(n: int = 100, *, calls: bool = False) -> Counts:
    async def work(app: ten.App, counter: Counter) -> None:
        graph = ten.Graph()
        graph.node("asks", lambda name: Asks(counter))
        graph.node("echo", Echo)
        graph.connect("asks", "echo", cmd="echo")
        async with app.open_graph(graph) as engine:
            assert (await engine.send_cmd(ten.Cmd("go", {"n": n}, dest="asks"))).ok

    return count(work, calls=calls)


def stream(n: int = 640, *, calls: bool = False) -> Counts:
    async def work(app: ten.App, counter: Counter) -> None:
        graph = ten.Graph()
        graph.node("streams", Streams)
        async with app.open_graph(graph) as engine:
            for counted in (False, True):
                if counted:
                    counter.begin()
                async with engine.send_cmd_ex(ten.Cmd("go", {"n": n}, dest="streams")) as results:
                    got = [result["i"] async for result in results]
                if counted:
                    counter.end()
                assert got == [*range(n)]

    return count(work, calls=calls)


def fan_out(receivers: int = 100, *, calls: bool = False) -> Counts:
    async def work(app: ten.App, counter: Counter) -> None:
        graph = ten.Graph()
        graph.node("head", Relay)
        graph.connect("head", [graph.node(f"s{i}", Sink) for i in range(receivers)], data="x")
        graph.expose("data_in", "x", "head")
        async with app.open_graph(graph) as engine:
            for counted in (False, True):
                if counted:
                    counter.begin()
                await engine.send_data(ten.Data("x", {"n": 1}))
                await trio.testing.wait_all_tasks_blocked()
                if counted:
                    counter.end()

    return count(work, calls=calls)


def queued(n: int = 200) -> Counts:
    """Messages that wait for a receiver whose handler is held up."""

    class Held(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            await trio.sleep_forever()

    async def work(app: ten.App, counter: Counter) -> None:
        graph = ten.Graph()
        graph.node("held", Held)
        graph.expose("data_in", "x", "held")
        data = ten.Data("x", {"n": 1, "text": "two", "level": 3.0})
        with trio.CancelScope() as scope:
            async with app.open_graph(graph) as engine:
                for _ in range(10):
                    await engine.send_data(data)
                counter.begin()
                for _ in range(n):
                    await engine.send_data(data)
                counter.end()
                engine._core.hasten()
                scope.cancel()

    return count(work)


def steps(counts: Counts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in ("steps", "passes", "puts", "gets", "shells")}


# A hop -------------------------------------------------------------------------------------------


def test_a_hop_is_one_operation_each_on_a_queue_and_a_task_step_per_slice() -> None:
    slices = HOPS // SLICE
    assert steps(ring()) == {
        "steps": slices,
        "passes": slices,
        "puts": HOPS,
        "gets": HOPS,
        "shells": HOPS,
    }


def test_a_loaded_hop_takes_no_more() -> None:
    counts = ring(in_flight=64)
    assert counts.gets == counts.puts == counts.shells
    assert (
        abs(counts.puts - HOPS) <= SLICE
    )  # where in the slice it begins is the scheduler's choice
    assert abs(counts.steps - HOPS // SLICE) <= 1
    assert counts.passes == counts.steps


def test_a_hop_to_another_group_is_one_task_switch() -> None:
    assert steps(ring(groups=2)) == {
        "steps": HOPS,
        "passes": HOPS,
        "puts": HOPS,
        "gets": HOPS,
        "shells": HOPS,
    }


def test_a_hop_whose_handler_waits_is_two_task_steps() -> None:
    relayed = HOPS // RING * (RING - 1)  # the head doesn't wait
    assert steps(ring(Waits)) == {
        "steps": HOPS // RING + 2 * relayed,
        "passes": HOPS // RING + 2 * relayed,
        "puts": HOPS,
        "gets": HOPS,
        "shells": HOPS,
    }


def test_a_hop_is_so_many_calls() -> None:
    """`send_data`, `post` and the shell; the drain goes on after each slice."""
    assert ring(calls=True).calls == 3 * HOPS + 2 * (HOPS // SLICE)


# A command ---------------------------------------------------------------------------------------


def test_a_command_of_the_host_is_two_task_steps() -> None:
    assert steps(commands(100)) == {
        "steps": 200,
        "passes": 200,
        "puts": 100,
        "gets": 100,
        "shells": 200,
    }


def test_a_command_of_a_handler_is_two_task_steps() -> None:
    assert steps(commands_from_a_handler(100)) == {
        "steps": 200,
        "passes": 200,
        "puts": 100,
        "gets": 100,
        "shells": 200,
    }


def test_a_command_is_so_many_calls() -> None:
    assert round(commands(200, calls=True).calls / 200) == 42
    assert round(commands_from_a_handler(200, calls=True).calls / 200) == 44


# Fan-out and streams -----------------------------------------------------------------------------


@pytest.mark.parametrize("receivers", [10, 100])
def test_a_delivery_is_one_operation_each_on_a_queue(receivers: int) -> None:
    counts = fan_out(receivers)
    assert (counts.puts, counts.shells) == (receivers + 1, receivers + 1)
    assert counts.gets == receivers + 1
    assert counts.steps <= 3 + receivers // SLICE


def test_a_delivery_is_so_many_calls() -> None:
    more = fan_out(40, calls=True).calls - fan_out(20, calls=True).calls
    assert more == 20


def test_a_streamed_result_is_no_operation_on_a_queue() -> None:
    counts = stream(640)
    assert (counts.puts, counts.gets, counts.shells) == (1, 1, 641)
    assert counts.steps <= 4


def test_a_streamed_result_is_so_many_calls() -> None:
    more = stream(640, calls=True).calls - stream(320, calls=True).calls
    assert round(more / 320) == 13


# Memory ------------------------------------------------------------------------------------------


def test_nothing_is_left_of_what_is_done() -> None:
    assert ring().blocks < HOPS / 10
    more = commands(1_000).blocks - commands(100).blocks
    assert more < 900 / 10


def test_a_queued_message_is_one_block_of_memory() -> None:
    """Its shell; what it is made of is shared, and a queue has one block for 64."""
    more = queued(220).blocks - queued(92).blocks
    assert 128 <= more <= 128 + 2 * 128 / 64


# That they can fail ------------------------------------------------------------------------------


def test_more_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    original = ten.TenEnv.send_data

    async def send_twice(self: Any, data: Any, **options: Any) -> bool:
        await trio.lowlevel.checkpoint()
        data.clone()
        return await original(self, data, **options)

    calls = ring(calls=True).calls
    monkeypatch.setattr(ten.TenEnv, "send_data", send_twice)
    assert ring().steps > HOPS
    assert ring(calls=True).calls > calls + HOPS
