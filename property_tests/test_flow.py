"""Edges with a flow policy: what was sent is handled, queued or dropped and counted; what waits is never
more than the capacity; what is dropped is what the policy says; and nothing changes its order."""

from __future__ import annotations

from contextlib import suppress

import attrs
import trio
from hypothesis import strategies as st

import ten_trio as ten
from property_tests.traffic import dawdle, waits
from ten_trio.graphs.flow import FlowPolicy
from ten_trio.testing import trio_given


@attrs.frozen
class Send:
    """One message of one of two streams: how long its sender hesitates, and its key."""

    stream: int
    key: int
    before: float


policies = st.builds(
    FlowPolicy,
    capacity=st.integers(1, 4),
    on_full=st.sampled_from(["wait", "drop_oldest", "drop_newest", "coalesce", "error"]),
    max_age_ms=st.none() | st.sampled_from([100, 700]),
).map(lambda policy: attrs.evolve(policy, key="key") if policy.on_full == "coalesce" else policy)
sends = st.lists(
    st.builds(Send, st.integers(0, 1), st.integers(0, 2), waits), min_size=1, max_size=25
)


class Model:
    """What the drain of a receiver that handles one after the other sees of one edge."""

    def __init__(self, policy: FlowPolicy | None) -> None:
        self.policy = policy
        self.waiting: list[tuple[int, int, float]] = []
        self.dropped: list[int] = []

    def put(self, number: int, key: int, now: float) -> None:
        policy, waiting = self.policy, self.waiting
        if policy is None:
            waiting.append((number, key, now))
            return
        full = len(waiting) >= (policy.capacity or 0)
        if policy.on_full == "coalesce":
            for older in [each for each in waiting if each[1] == key]:
                waiting.remove(older)
                self.dropped.append(older[0])
        elif full and policy.on_full in ("drop_newest", "error"):
            self.drop_old(now)
            if len(waiting) >= (policy.capacity or 0):
                self.dropped.append(number)
                return
        waiting.append((number, key, now))
        if policy.on_full in ("drop_oldest", "coalesce"):
            if len(waiting) > (policy.capacity or 0):
                self.drop_old(now)
            while len(waiting) > (policy.capacity or 0):
                self.dropped.append(waiting.pop(0)[0])

    def drop_old(self, now: float) -> None:
        assert self.policy is not None
        if self.policy.max_age_ms is not None:
            while self.waiting and self.waiting[0][2] < now - self.policy.max_age_ms / 1_000:
                self.dropped.append(self.waiting.pop(0)[0])

    def take(self, number: int, now: float) -> str:
        """A handler starts for this one; why that is wrong, if it is."""
        age = None if self.policy is None else self.policy.max_age_ms
        while self.waiting and self.waiting[0][0] != number:
            first = self.waiting.pop(0)
            if age is None or now - first[2] <= age / 1_000:
                return f"{number} is handled before {first[0]}"
            self.dropped.append(first[0])
        if not self.waiting:
            return f"{number} is handled though it was dropped"
        _, _, sent = self.waiting.pop(0)
        if age is not None and now - sent > age / 1_000:
            return f"{number} is handled though it is too old"
        return ""


@trio_given(
    policies, st.none() | policies, sends, st.lists(waits, min_size=1, max_size=4), st.booleans()
)
async def test_a_flow_policy_does_what_it_says_and_counts_it(
    policy: FlowPolicy,
    other: FlowPolicy | None,
    sends: list[Send],
    waits: list[float],
    inline: bool,
) -> None:
    wrong: list[str] = []
    models = [Model(policy), Model(other)]
    handled: list[int] = []
    over = trio.Event()

    class Receiver(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            handled.append(data["number"])
            if problem := models[data["stream"]].take(data["number"], trio.current_time()):
                wrong.append(problem)
            await dawdle(waits[len(handled) % len(waits)])

    class Sender(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            env.nursery.start_soon(self.send_all, env)

        async def send_all(self, env: ten.TenEnv) -> None:
            for number, send in enumerate(sends):
                await dawdle(send.before)
                # What was sent before has got to the receiver's handler, or waits behind one.
                await trio.sleep(0.001)
                content = {"number": number, "key": send.key, "stream": send.stream}
                models[send.stream].put(number, send.key, trio.current_time())
                with suppress(ten.QueueFull):
                    await env.send_data(ten.Data(f"d{send.stream}", content))
            await trio.sleep(60)
            over.set()

    graph = ten.Graph()
    graph.node("sender", Sender, group="a")
    graph.node("receiver", Receiver, group="b", inline=inline)
    graph.connect("sender", "receiver", data="d0", flow=policy)
    graph.connect("sender", "receiver", data="d1", flow=other)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await over.wait()
    assert not wrong
    report = engine.report
    assert report is not None
    flows = dict(report.flows)
    dropped = 0
    for stream, model in enumerate(models):
        sent = [number for number, send in enumerate(sends) if send.stream == stream]
        done = [number for number in sent if number in handled]
        assert done == [number for number in handled if number in sent]
        if model.policy is not None:
            flow = flows.pop(f"sender → receiver data d{stream}")
            assert flow.sent == len(sent)
            assert flow.handled == len(done)
            assert flow.queued == 0
            assert sum(flow.dropped.values()) == len(sent) - len(done)
            dropped += len(sent) - len(done)
            assert not set(model.dropped) & set(done)
            assert len(model.dropped) + len(model.waiting) + len(done) == len(sent)
        else:
            assert done == sent
    assert not flows
    assert report.dropped == dropped
