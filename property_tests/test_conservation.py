"""Nothing vanishes and nothing piles up: what was sent was handled, or dropped and counted, or refused;
and no queue is longer than its bound, but for one message of each sender that waits for room.

Several senders, one slow receiver that throws away what it has now and then, turns that are cancelled,
a close in the middle of it, and a host that reads what comes out of it at its own pace.
"""

from __future__ import annotations

from contextlib import suppress

import attrs
import pytest
import trio
from hypothesis import strategies as st

import ten_trio as ten
from property_tests.traffic import dawdle, waits
from ten_trio.messages import StatusCode, Timeout, Timer
from ten_trio.testing import trio_given


@attrs.frozen
class Plan:
    """How many messages each sender has, and what befalls them."""

    senders: tuple[int, ...]
    waits: tuple[float, ...]
    pauses: tuple[float, ...]
    discard_at: frozenset[int]
    cancel_after: float
    close_after: float
    inline: bool
    by_host: bool
    reads: int
    capacity: int


plans = st.builds(
    Plan,
    st.lists(st.integers(1, 15), min_size=1, max_size=6).map(tuple),
    st.lists(waits, min_size=1, max_size=4).map(tuple),
    st.lists(waits, min_size=1, max_size=4).map(tuple),
    st.frozensets(st.integers(1, 20), max_size=1),
    st.sampled_from([100.0, 100.0, 0.02, 0.6]),
    st.sampled_from([1_000.0, 1_000.0, 0.05, 0.9, 3.0]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 30),
    st.integers(1, 10),
)


@st.composite
def bounds(draw: st.DrawFn) -> ten.Limits:
    """Small ones, so that they are reached."""
    queue = draw(st.sampled_from([1, 2, 5, 64]))
    return ten.Limits(
        queue=queue,
        hard_queue=queue + draw(st.sampled_from([0, 1, 3, 500])),
        overflow=draw(st.sampled_from(["drop_newest", "drop_oldest", "error"])),
        slice=draw(st.integers(1, 64)),
        demote_after=draw(st.integers(1, 9)),
    )


class Ledger:
    """What has become of the messages."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.sent: list[tuple[int, int]] = []
        self.handled: list[tuple[int, int]] = []
        self.refused = 0
        self.exposed = 0
        self.longest = 0
        self.discarded = 0
        self.cancelled = 0
        self.over = trio.Event()
        self.left = len(plan.senders)


class Slow(ten.Extension):
    """Handles, tells the host, throws away."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        ledger = self.ledger
        ledger.handled.append((data["sender"], data["number"]))
        count = len(ledger.handled)
        if count in ledger.plan.discard_at:
            ledger.discarded += env.discard_queued()
        ledger.exposed += 1
        if not await env.send_data(ten.Data("out", {"number": count})):
            ledger.exposed -= 1  # its turn is cancelled
        await dawdle(ledger.plan.waits[count % len(ledger.plan.waits)])


class Senders(ten.Extension):
    """Stands for the senders inside the graph."""

    env: ten.TenEnv

    async def on_start(self, env: ten.TenEnv) -> None:
        self.env = env


async def send(
    ledger: Ledger, through: ten.TenEnv | ten.Engine, engine: ten.Engine, index: int, turn: ten.Turn
) -> None:
    """One sender's messages: every third of them belongs to the turn that will be cancelled."""
    plan = ledger.plan
    for number in range(plan.senders[index]):
        await dawdle(plan.pauses[(index + number) % len(plan.pauses)])
        data = ten.Data("d", {"sender": index, "number": number}, dest="slow")
        ledger.sent.append((index, number))
        line = engine._core.instances["slow"].data_line
        try:
            if not await through.send_data(data, turn=None if number % 3 else turn):
                ledger.refused += 1
        except (ten.EnvClosed, ten.EngineClosed):
            ledger.sent.remove((index, number))
            break
        except ten.QueueFull:
            pass  # which is counted as well
        finally:
            ledger.longest = max(ledger.longest, line.count)
    ledger.left -= 1
    if not ledger.left:
        ledger.over.set()


@trio_given(plans, bounds())
async def test_what_was_sent_is_handled_or_counted(plan: Plan, limits: ten.Limits) -> None:
    ledger = Ledger(plan)
    senders = Senders()
    graph = ten.Graph()
    graph.node("slow", lambda: Slow(ledger), inline=plan.inline)
    graph.node("senders", lambda: senders)
    graph.expose("data_out", "out", "slow")
    read = 0
    async with ten.open_app(limits=limits) as app, app.open_graph(graph) as engine:
        async with engine.messages("out", capacity=plan.capacity) as out:
            turn = engine.new_turn()
            with trio.fail_after(10_000):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(close, engine, plan.close_after)
                    through = engine if plan.by_host else senders.env
                    for index in range(len(plan.senders)):
                        nursery.start_soon(send, ledger, through, engine, index, turn)
                    nursery.start_soon(cancel, ledger, engine, turn)
                    for _ in range(plan.reads):
                        with trio.move_on_after(200), suppress(trio.EndOfChannel):
                            await out.receive()
                            read += 1
                    await ledger.over.wait()
                    await trio.sleep(500)
                    nursery.cancel_scope.cancel()
            engine.stop()
            with trio.fail_after(20):
                async for _ in out:
                    read += 1
    report = engine.report
    assert report is not None
    dropped = report.extensions["slow"].dropped
    # Cancelled while it waits for room, a message is on its way all the same.
    assert len(ledger.sent) == len(ledger.handled) + sum(dropped.values()) + ledger.refused, dropped
    assert set(dropped) <= {"overflow", "discarded", "turn cancelled", "closing"}
    assert dropped.get("discarded", 0) == ledger.discarded
    assert ledger.exposed == read + out.dropped
    assert report.undelivered <= out.dropped
    if not ledger.cancelled:
        # What the host had no room for, and nothing else.
        assert report.undelivered == out.dropped
    # The cancelling of a turn has counted what it has taken from the receiver and from the host.
    taken = dropped.get("turn cancelled", 0) + out.dropped - report.undelivered
    assert ledger.cancelled <= taken
    # What is on its way to its handler can't be dropped any more.
    hard = limits.hard_queue + (limits.overflow == "drop_oldest")
    assert ledger.longest <= min(limits.queue + len(plan.senders), hard)
    for index in range(len(plan.senders)):
        numbers = [number for sender, number in ledger.handled if sender == index]
        assert numbers == sorted(set(numbers))
    if plan.close_after == 1_000 and plan.cancel_after == 100 and not ledger.discarded:
        # Nobody is refused who could have waited.
        assert len(plan.senders) > limits.hard_queue - limits.queue or not dropped


async def close(engine: ten.Engine, after: float) -> None:
    await trio.sleep(after)
    engine.stop()


async def cancel(ledger: Ledger, engine: ten.Engine, turn: ten.Turn) -> None:
    await trio.sleep(ledger.plan.cancel_after)
    report = await engine.cancel_turn(turn)
    assert report is not None
    ledger.cancelled = report.dropped


@trio_given(
    st.lists(st.booleans(), min_size=1, max_size=20), st.integers(1, 3), st.booleans(), waits
)
async def test_nobody_waits_for_one_who_waits_for_them(
    asks: list[bool], queue: int, inline: bool, wait: float
) -> None:
    """A task sends, and answers in between; the receiver asks it before it goes on."""
    handled: list[int] = []
    over = trio.Event()

    class Receiver(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            await dawdle(wait)
            if asks[data["number"]]:
                assert (await env.send_cmd(ten.Cmd("ask", dest="sender"))).ok
            handled.append(data["number"])
            if len(handled) == len(asks):
                over.set()

    class Sender(ten.Extension):
        def __init__(self) -> None:
            self.asked: list[ten.Cmd] = []

        async def on_start(self, env: ten.TenEnv) -> None:
            env.nursery.start_soon(self.work, env)

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            self.asked.append(cmd)

        async def work(self, env: ten.TenEnv) -> None:
            for number in range(len(asks)):
                await env.send_data(ten.Data("d", {"number": number}, dest="receiver"))
                while self.asked:
                    await env.return_result(self.asked.pop().ok())
            while not over.is_set():
                while self.asked:
                    await env.return_result(self.asked.pop().ok())
                await trio.sleep(1)

    graph = ten.Graph()
    graph.node("receiver", Receiver, inline=inline)
    graph.node("sender", Sender)
    async with ten.open_app(limits=ten.Limits(queue=queue)) as app, app.open_graph(graph):
        with trio.fail_after(10_000):
            await over.wait()
    assert handled == list(range(len(asks)))


@trio_given(
    st.integers(1, 4),
    st.lists(st.tuples(waits, waits), min_size=1, max_size=12),
    st.booleans(),
)
async def test_commands_beyond_the_bound_are_answered_at_once(
    bound: int, orders: list[tuple[float, float]], inline: bool
) -> None:
    at_work = 0
    most = 0

    class Worker(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            nonlocal at_work, most
            at_work += 1
            most = max(most, at_work)
            await dawdle(orders[cmd["number"]][1])
            at_work -= 1
            await env.return_result(cmd.ok())

    async def order(engine: ten.Engine, number: int) -> None:
        await dawdle(orders[number][0])
        pending = len(engine._core.instances["worker"].in_paths)
        began = trio.current_time()
        cmd = ten.Cmd("c", {"number": number}, dest="worker")
        result = await engine.send_cmd(cmd)
        if pending >= bound:
            assert result.detail.startswith("busy")
            assert trio.current_time() == began
        else:
            assert result.ok

    graph = ten.Graph()
    graph.node("worker", Worker, inline=inline)
    limits = ten.Limits(pending_cmds=bound)
    async with ten.open_app(limits=limits) as app, app.open_graph(graph) as engine:
        async with trio.open_nursery() as nursery:
            for number in range(len(orders)):
                nursery.start_soon(order, engine, number)
    assert most <= bound


@trio_given(
    st.lists(
        st.tuples(st.integers(1, 500), st.integers(0, 4), st.sampled_from([0.0, 0.3, 1.0])),
        max_size=4,
    ),
    st.sampled_from([0.05, 0.7, 2.0]),
)
async def test_timers_fire_as_often_as_they_were_told_and_end_with_the_graph(
    timers: list[tuple[int, int, float]], open_for: float
) -> None:
    fired: list[tuple[int, float]] = []
    began = trio.current_time()

    class Clock(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            for number, (ms, times, cancel_after) in enumerate(timers):
                timer = Timer(
                    timer_id=number, timeout_us=ms * 1_000, times=times, dest=ten.Loc("", "")
                )
                assert (await env.send_cmd(timer)).status is StatusCode.OK
                if cancel_after:
                    env.nursery.start_soon(self.cancel, env, number, cancel_after)

        async def cancel(self, env: ten.TenEnv, number: int, after: float) -> None:
            await trio.sleep(after + 0.0001)
            await env.send_cmd(Timer(timer_id=number, times=-1, dest=ten.Loc("", "")))

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            assert isinstance(cmd, Timeout)
            fired.append((cmd.timer_id, trio.current_time() - began))

    graph = ten.Graph()
    graph.node("clock", Clock)
    async with ten.open_app() as app:
        async with app.open_graph(graph) as engine:
            await trio.sleep(open_for + 0.0002)
    assert engine.report is not None
    assert engine.report.duration == 0
    for number, (ms, times, cancel_after) in enumerate(timers):
        until = min(open_for + 0.0002, cancel_after + 0.0001 if cancel_after else open_for + 1)
        due = [ms / 1_000 * (k + 1) for k in range(times or 2_000)]
        moments = [moment for timer, moment in fired if timer == number]
        assert moments == pytest.approx([moment for moment in due if moment <= until])
