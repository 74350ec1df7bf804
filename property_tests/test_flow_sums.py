"""Flow policies conserve messages and keep their order, whatever else takes messages away.

Of what is sent along an edge, everything is handled, waits, or was dropped for a cause, at every
moment; what is handled is a part of what was sent, in the order of sending; each policy keeps what it
says that it keeps, and no more than its capacity waits where nobody has to wait: with turns that are
cancelled, queues that are flushed, and graphs that close in the middle of it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio
from hypothesis import strategies as st

import ten_trio as ten
from property_tests.traffic import dawdle, handlers, limits, waits
from ten_trio.runtime import flow as gates
from ten_trio.testing import trio_given
from ten_trio.testing.virtual_time import run_in_virtual_time

SOURCES, RECEIVERS, KEYS = 2, 2, 3
NAMES = ("d", "e")
AFTER = 1_000
"""Seconds within which everything is handled."""

Edge = tuple[int, int, str]
"""Source, receiver, name."""


@attrs.frozen
class Node:
    """A receiver: how long its handlers wait in turn, and how they are started."""

    waits: tuple[float, ...]
    group: int = 0
    inline: bool = True
    data_handlers: str = "serial"


@attrs.frozen
class Send:
    """One message, after a while; `turn`: it is of the turn that may be cancelled."""

    name: str
    key: int
    before: float = 0
    turn: bool = False


@attrs.frozen
class Plan:
    """Who sends what to whom under which policies, and what happens meanwhile.

    `flushes`: when which receiver is told to drop what it was sent before. `cancel`: when the turn is
    cancelled. `close`: when the graph is closed, whatever is still queued.
    """

    nodes: tuple[Node, ...]
    edges: dict[Edge, ten.FlowPolicy | None]
    sends: tuple[tuple[Send, ...], ...]
    flushes: tuple[tuple[float, int], ...] = ()
    cancel: float | None = None
    close: float | None = None


def policies() -> st.SearchStrategy[ten.FlowPolicy]:
    small = st.sampled_from([None, 1, 2, 5])
    age = st.sampled_from([None, None, 15, 700])
    plain = st.sampled_from(["wait", "drop_oldest", "drop_newest", "error"])
    return st.one_of(
        st.builds(ten.FlowPolicy, small, plain, age),
        st.builds(ten.FlowPolicy, small, st.just("coalesce"), age, st.sampled_from([None, "k"])),
    )


moments = st.sampled_from([0.0, 0.01, 0.02, 0.3, 0.5, 0.51])
ends = st.tuples(st.integers(0, SOURCES - 1), st.integers(0, RECEIVERS - 1), st.sampled_from(NAMES))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Two senders, two receivers, and whatever may take messages away."""
    node = st.builds(
        Node,
        st.lists(waits, min_size=1, max_size=3).map(tuple),
        st.integers(0, 1),
        st.booleans(),
        handlers,
    )
    send = st.builds(Send, st.sampled_from(NAMES), st.integers(0, KEYS - 1), waits, st.booleans())
    flush = st.tuples(moments, st.integers(0, RECEIVERS - 1))
    return Plan(
        tuple(draw(node) for _ in range(RECEIVERS)),
        draw(st.dictionaries(ends, st.none() | policies(), min_size=1, max_size=5)),
        tuple(tuple(draw(st.lists(send, max_size=12))) for _ in range(SOURCES)),
        tuple(draw(st.lists(flush, max_size=3))),
        draw(st.none() | moments),
        draw(st.none() | moments),
    )


class Talk:
    """One run of a plan, and what happened in it."""

    def __init__(self, plan: Plan, bounds: ten.Limits) -> None:
        self.plan = plan
        self.bounds = bounds
        self.number = 0
        self.wrong: list[str] = []
        self.sent: defaultdict[Edge, list[int]] = defaultdict(list)
        self.handled: defaultdict[Edge, list[int]] = defaultdict(list)
        self.keys: dict[int, int] = {}
        # By receiver: the number up to which the latest flush was to drop everything.
        self.flushed: Counter[int] = Counter()
        self.turn: Any = None

    async def run(self) -> dict[str, ten.FlowReport]:
        """Send everything, with all that the plan has in between, until all is handled or closed."""
        plan = self.plan
        async with ten.open_app(limits=self.bounds) as app, app.open_graph(self.graph()) as engine:
            self.turn = engine.new_turn()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.look, engine)
                async with trio.open_nursery() as senders:
                    for source in range(SOURCES):
                        env = engine._core.instances[f"s{source}"].env
                        senders.start_soon(self.send, env, source)
                    for when, receiver in plan.flushes:
                        senders.start_soon(self.flush, engine, when, receiver)
                    if plan.cancel is not None:
                        senders.start_soon(self.cancel, engine, plan.cancel)
                    if plan.close is not None:
                        await trio.sleep(plan.close)
                        engine.stop()
                nursery.cancel_scope.cancel()
            if plan.close is None:
                await trio.sleep(AFTER)
                self.check_sums(engine.flows, drained=True)
        assert engine.report is not None
        self.check_sums(engine.report.flows, drained=True)
        return dict(engine.report.flows)

    def graph(self) -> ten.Graph:
        graph = ten.Graph()
        for source in range(SOURCES):
            graph.node(f"s{source}", ten.Extension)
        for index, node in enumerate(self.plan.nodes):
            graph.node(
                f"r{index}",
                lambda index=index: Receiver(index, self),
                group=f"g{node.group}",
                inline=node.inline,
                data_handlers=node.data_handlers,
            )
        for (source, receiver, name), policy in self.plan.edges.items():
            graph.connect(f"s{source}", f"r{receiver}", data=name, flow=policy)
        return graph

    async def send(self, env: ten.TenEnv, source: int) -> None:
        for send in self.plan.sends[source]:
            await dawdle(send.before)
            turn = self.turn if send.turn else None
            edges = [edge for edge in self.plan.edges if (edge[0], edge[2]) == (source, send.name)]
            if not edges or (turn is not None and turn.is_cancelled):
                continue
            self.number += 1
            number, now = self.number, trio.current_time()
            self.keys[number] = send.key
            for edge in edges:
                self.sent[edge].append(number)
            content = {"s": source, "n": number, "k": send.key, "at": now}
            try:
                with suppress(ten.QueueFull):  # all destinations have been tried then
                    await env.send_data(ten.Data(send.name, content), turn=turn)
            except ten.EnvClosed:
                for edge in edges:
                    self.sent[edge].remove(number)
                return

    async def flush(self, engine: ten.Engine, when: float, receiver: int) -> None:
        await trio.sleep(when)
        self.number += 1
        with suppress(ten.TenError):
            await engine.send_cmd(ten.Cmd("flush", {"n": self.number}, dest=f"r{receiver}"))

    async def cancel(self, engine: ten.Engine, when: float) -> None:
        await trio.sleep(when)
        with suppress(ten.TenError):
            await engine.cancel_turn(self.turn)

    async def look(self, engine: ten.Engine) -> None:
        """Whether the sums are right and the bounds are kept, again and again."""
        while True:
            self.check_sums(engine.flows)
            for edge, policy in self.plan.edges.items():
                if policy is not None and policy.on_full not in (None, "wait"):
                    queued = engine.flows[title(edge)].queued
                    if queued > self.capacity(policy):
                        self.wrong.append(f"{queued} are queued of {edge}")
            await trio.sleep(0.0051)

    def capacity(self, policy: ten.FlowPolicy) -> int:
        return policy.capacity or self.bounds.queue

    def check_sums(self, flows: Any, *, drained: bool = False) -> None:
        """What the runtime counts is what has happened."""
        for edge, policy in self.plan.edges.items():
            if policy is not None:
                flow = flows[title(edge)]
                if flow.sent != flow.handled + flow.queued + sum(flow.dropped.values()):
                    self.wrong.append(f"{edge}: the sums are wrong: {flow}")
                if flow.sent != len(self.sent[edge]):
                    self.wrong.append(f"{edge}: {len(self.sent[edge])} were sent: {flow}")
                if flow.handled != len(self.handled[edge]):
                    self.wrong.append(f"{edge}: {self.handled[edge]} were handled: {flow}")
                if drained and flow.queued:
                    self.wrong.append(f"{edge}: something is queued: {flow}")


class Receiver(ten.Extension):
    """Takes its time, and drops what waits when it is told to."""

    def __init__(self, index: int, talk: Talk) -> None:
        self.index = index
        self.talk = talk
        self.plan = talk.plan.nodes[index]
        self.count = 0
        self.last: Counter[int] = Counter()

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        talk, edge, number = self.talk, (data["s"], self.index, data.name), data["n"]
        talk.handled[edge].append(number)
        if number <= self.last[data["s"]]:
            talk.wrong.append(f"{number} of {edge} is handled after {self.last[data['s']]}")
        self.last[data["s"]] = number
        if number < talk.flushed[self.index]:
            talk.wrong.append(f"{number} of {edge} was to be dropped")
        policy = talk.plan.edges[edge]
        if policy is not None and policy.max_age_ms is not None:
            age = trio.current_time() - data["at"]
            if age > policy.max_age_ms / 1_000 + 1e-9:
                talk.wrong.append(f"{number} of {edge} is {age} s old")
        how = self.plan.waits[self.count % len(self.plan.waits)]
        self.count += 1
        await dawdle(how)

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await dawdle(0.055)  # others may take messages away in the meantime
        env.discard_queued(sent_before=cmd)
        self.talk.flushed[self.index] = max(self.talk.flushed[self.index], cmd["n"])
        await env.return_result(cmd.ok())


def title(edge: Edge) -> str:
    source, receiver, name = edge
    return f"s{source} → r{receiver} data {name}"


@trio_given(plans(), limits)
async def test_messages_are_conserved_and_keep_their_order(plan: Plan, bounds: ten.Limits) -> None:
    await check(plan, bounds)


async def check(plan: Plan, bounds: ten.Limits) -> None:
    talk = Talk(plan, bounds)
    flows = await talk.run()
    assert not talk.wrong
    for edge, policy in plan.edges.items():
        sent, handled = talk.sent[edge], talk.handled[edge]
        assert handled == [number for number in sent if number in set(handled)]
        if policy is None or policy.max_age_ms is not None:
            continue
        # What else takes messages away has causes of its own.
        others = {"turn cancelled", "closing", "discarded"} & flows[title(edge)].dropped.keys()
        own = flows[title(edge)].dropped.keys() - others
        assert own <= {
            "wait": set[str](),
            "coalesce": {"coalesce", "drop_oldest"},
        }.get(policy.on_full or "wait", {policy.on_full})
        if others or not sent:
            continue
        if policy.on_full == "wait":
            assert handled == sent
        elif policy.on_full in ("drop_newest", "error"):
            assert handled[0] == sent[0]
        else:
            assert handled[-1] == sent[-1]
            if policy.key is not None and talk.capacity(policy) >= KEYS:
                last = {talk.keys[number]: number for number in sent}
                assert set(last.values()) <= set(handled)


# Do the properties notice? -------------------------------------------------------------------------


def slow(policy: ten.FlowPolicy, *keys: int, wait: float = 0.3, **more: Any) -> Plan:
    """One edge, whose receiver takes its time, and a message for each key, 10 ms apart."""
    sends = tuple(Send("d", key, 0.01) for key in keys)
    return Plan((Node((wait,)), Node((0,))), {(0, 0, "d"): policy}, (sends, ()), **more)


def _kills_the_newest(passage: gates.Passage, msg: Any, cause: str) -> None:
    kill(passage, next(reversed(passage.through)), cause)


def _takes_the_place(gate: gates.Gate, msg: Any) -> None:
    older = gate._latest.get(gate._key_of(msg))
    if older is None:
        put(gate, msg)
        return
    # The new content, at the old place in the queue.
    gate.count -= 1
    gate.drop("coalesce")
    older._props = msg._props


def _counts_only(passage: gates.Passage, msg: Any, cause: str) -> None:
    gate = passage.through.pop(msg)
    gate.leave(msg)
    gate.count_drop(cause)


def _never_moves(passage: gates.Passage, ordinal: int) -> None:
    """Marks stay as they are."""


def _moves_what_has_moved(passage: gates.Passage, ordinal: int) -> None:
    for path in passage._instance.in_paths.values():
        if path.mark < ordinal:
            path.mark += 1


def _forever_young(gate: gates.Gate, msg: Any) -> float:
    leave(gate, msg)
    return 0.0


put, leave, kill = gates.Gate.put, gates.Gate.leave, gates.Passage.kill
OLDEST = ten.FlowPolicy(2, "drop_oldest")
LATEST = ten.FlowPolicy(5, "coalesce", key="k")
FLUSHED: dict[str, Any] = {"flushes": ((0.025, 0),)}

MUTANTS: dict[str, tuple[type, str, Callable[..., Any], Plan]] = {
    "drops aren't counted": (
        gates.Gate, "count_drop", lambda *_: None, slow(OLDEST, *[0] * 9),
    ),
    "what others drop goes unnoticed": (
        gates.Passage, "lost", lambda *_: None, slow(OLDEST, *[0] * 9, close=0.2),
    ),
    "what was dropped is handled": (
        gates.Passage, "kill", _counts_only, slow(OLDEST, *[0] * 9),
    ),
    "the newest are dropped": (
        gates.Passage, "kill", _kills_the_newest, slow(OLDEST, *[0] * 9),
    ),
    "the latest takes the place of the old one": (
        gates.Gate, "put", _takes_the_place, slow(LATEST, 2, 0, 1, 0, 2, 1),
    ),
    "nobody looks at the age": (
        gates.Gate, "leave", _forever_young, slow(ten.FlowPolicy(max_age_ms=15), 0, 1, 2),
    ),
    # Sent at 10, 20, 30 ms and so on; the flush comes at 25 ms and drops at 80 ms.
    "a flush counts what was replaced behind it": (
        gates.Passage, "_renumber", _never_moves, slow(LATEST, 0, 1, 2, 2, 2, **FLUSHED),
    ),
    "a flush forgets what it knew of what comes behind it": (
        gates.Passage, "_renumber", _moves_what_has_moved, slow(LATEST, 0, 1, 0, 2, 2, 0, **FLUSHED),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
def test_the_property_notices(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, attribute, mutant, plan = MUTANTS[name]
    run_in_virtual_time(lambda: check(plan, ten.Limits()))
    monkeypatch.setattr(owner, attribute, mutant)
    with pytest.raises(AssertionError):
        run_in_virtual_time(lambda: check(plan, ten.Limits()))
