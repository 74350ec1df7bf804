"""Cancelling a turn ends all of it, at once, and nothing else.

After `cancel_turn` has returned, no handler starts a message of that turn, none is at work on one
unless it is shielded, every command of it has ended; and what belongs to other turns, or to none, is
handled exactly as often as without the cancellation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
import trio
from hypothesis import strategies as st

import ten_trio as ten
from property_tests.traffic import dawdle, graph_of, limits, waits
from ten_trio.runtime import turns
from ten_trio.testing import trio_given
from ten_trio.testing.virtual_time import run_in_virtual_time

NEVER = 3
"""The number of turns of which one may be cancelled; messages of the next one belong to none."""


@attrs.frozen
class Node:
    """How long handlers wait in turn, whether they shield that, and to whom they send on."""

    waits: tuple[float, ...]
    shielded: bool
    on: tuple[int, ...]
    asks: bool
    group: int
    inline: bool
    data_handlers: str


@attrs.frozen
class Send:
    """One message of the host's, and how long it waits before the next."""

    dest: int
    turn: int
    is_cmd: bool
    before: float


@attrs.frozen
class Plan:
    """A chain of nodes (each sends on to later ones only), what is sent, and what is cancelled when."""

    nodes: tuple[Node, ...]
    sends: tuple[Send, ...]
    cancels: tuple[tuple[float, int], ...]


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """A few nodes, up to a dozen messages of up to three turns, up to three cancellations."""
    size = draw(st.integers(1, 4))
    nodes = tuple(
        draw(
            st.builds(
                Node,
                st.lists(waits, min_size=1, max_size=3).map(tuple),
                st.booleans(),
                st.sets(st.integers(index + 1, size), max_size=2).map(
                    lambda found: tuple(sorted(found - {size}))
                ),
                st.booleans(),
                st.integers(0, 1),
                st.booleans(),
                st.sampled_from(["serial", "concurrent"]),
            )
        )
        for index in range(size)
    )
    send = st.builds(Send, st.integers(0, size - 1), st.integers(0, NEVER), st.booleans(), waits)
    cancel = st.tuples(
        st.sampled_from([0.0, 0.01, 0.02, 0.3, 0.5, 0.51, 1.0]), st.integers(0, NEVER - 1)
    )
    return Plan(
        nodes,
        tuple(draw(st.lists(send, max_size=12))),
        tuple(sorted(draw(st.lists(cancel, max_size=3)))),
    )


class Talk:
    """One run of a plan, and what happened in it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.turns: list[ten.Turn] = []
        self.at_work: Counter[ten.Turn | None] = Counter()
        self.handled: Counter[tuple[str, int]] = Counter()
        self.wrong: list[str] = []

    async def run(self, bounds: ten.Limits) -> None:
        """Send everything, cancel in between, wait until all commands have ended."""
        graph = graph_of(self.plan.nodes, lambda node: Worker(node, self))
        async with ten.open_app(limits=bounds) as app, app.open_graph(graph) as engine:
            self.turns = [engine.new_turn() for _ in range(NEVER)]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.cancel, engine)
                for number, send in enumerate(self.plan.sends):
                    await dawdle(send.before)
                    turn = None if send.turn == NEVER else self.turns[send.turn]
                    dest = f"n{send.dest}"
                    if send.is_cmd:
                        nursery.start_soon(self.ask, engine, dest, turn, number)
                    else:
                        await engine.send_data(ten.Data("d", {"n": number}, dest=dest), turn=turn)
            await trio.sleep(1_000)

    async def ask(self, engine: Any, dest: str, turn: ten.Turn | None, number: int) -> None:
        with trio.move_on_after(500) as scope:
            result = await engine.send_cmd(ten.Cmd("c", {"n": number}, dest=dest), turn=turn)
            if not result.ok and (turn is None or not turn.is_cancelled):
                self.wrong.append(f"command {number} of {turn}: {result.detail}")
        if scope.cancelled_caught:
            self.wrong.append(f"command {number} of {turn} never ends")

    async def cancel(self, engine: ten.Engine) -> None:
        """Cancel what the plan says, when it says so."""
        began = trio.current_time()
        for when, index in self.plan.cancels:
            await trio.sleep_until(began + when)
            turn = self.turns[index]
            with trio.move_on_after(400) as scope:
                await engine.cancel_turn(turn, "the plan says so")
            if scope.cancelled_caught:
                self.wrong.append(f"cancelling {turn} takes for ever")
            if self.at_work[turn]:
                self.wrong.append(f"{self.at_work[turn]} handlers are still at work on {turn}")
            for endpoint in engine._core.endpoints():
                for path in endpoint.out_paths.values():
                    if path.turn is turn:
                        self.wrong.append(f"{endpoint.name} still waits for {path.cmd_name}")


class Worker(ten.Extension):
    """Waits, sends on, asks, answers."""

    def __init__(self, plan: Node, talk: Talk) -> None:
        self.plan = plan
        self.talk = talk
        self.count = 0

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await self.handle(env, data)

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await self.handle(env, cmd)
        await env.return_result(cmd.ok())

    async def handle(self, env: ten.TenEnv, msg: ten.Cmd | ten.Data) -> None:
        talk, turn, number = self.talk, env.turn, msg["n"]
        if turn is not None and turn.is_cancelled:
            talk.wrong.append(f"{env.name} starts {number} of {turn}")
        sent = talk.plan.sends[number].turn
        if turn is not (None if sent == NEVER else talk.turns[sent]):
            talk.wrong.append(f"at {env.name}, {number} belongs to {turn}")
        talk.handled[env.name, number] += 1
        how = self.plan.waits[self.count % len(self.plan.waits)]
        self.count += 1
        if self.plan.shielded:
            with env.turn_scope(shield=True):
                await dawdle(how)
                assert env.turn is None
        else:
            talk.at_work[turn] += 1
            try:
                await dawdle(how)
            finally:
                talk.at_work[turn] -= 1
        for index in self.plan.on:
            if self.plan.asks:
                result = await env.send_cmd(ten.Cmd("c", {"n": number}, dest=f"n{index}"))
                if not result.ok:
                    # Of a cancelled turn it must not come back at all: the handler is cancelled.
                    talk.wrong.append(f"what {env.name} asks for {number}: {result.detail}")
            else:
                await env.send_data(ten.Data("d", {"n": number}, dest=f"n{index}"))


def deliveries(plan: Plan, kept: Sequence[int]) -> Counter[tuple[str, int]]:
    """How often each node handles each of these messages, if nothing is cancelled."""
    expected: Counter[tuple[str, int]] = Counter()

    def pass_on(index: int, number: int) -> None:
        expected[f"n{index}", number] += 1
        for after in plan.nodes[index].on:
            pass_on(after, number)

    for number in kept:
        pass_on(plan.sends[number].dest, number)
    return expected


@trio_given(plans(), limits)
async def test_a_cancelled_turn_ends_and_no_other_loses_anything(
    plan: Plan, bounds: ten.Limits
) -> None:
    await check(plan, bounds)


async def check(plan: Plan, bounds: ten.Limits) -> None:
    talk = Talk(plan)
    await talk.run(bounds)
    assert not talk.wrong
    cancelled = {index for _, index in plan.cancels}
    kept = [n for n, send in enumerate(plan.sends) if send.turn not in cancelled]
    handled = Counter({key: n for key, n in talk.handled.items() if key[1] in kept})
    assert handled == deliveries(plan, kept)
    most = deliveries(plan, range(len(plan.sends)))
    assert all(n <= most[key] for key, n in talk.handled.items())


def slow(turns_sent: str, wait: float = 0.5, **how: Any) -> Plan:
    """Two nodes in a row, which take their time over one message of each of these turns."""
    node = Node((wait,), False, (1,), False, 0, True, "serial")
    last = attrs.evolve(node, on=(), **how)
    sends = tuple(Send(0, int(turn), False, 0) for turn in turns_sent)
    return Plan((node, last), sends, ((0.3, 0),))


MUTANTS = {
    "queued messages stay": ("_purge", lambda self, engine: 0),
    "handlers go on": ("_cancel_handlers", lambda self, engine: 0),
    "commands stay open": ("_end_commands", lambda self, engine: 0),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_property_notices(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attribute, mutant = MUTANTS[name]
    monkeypatch.setattr(turns._Cancelling, attribute, mutant)
    plan = slow("00011")
    if name == "commands stay open":
        finishing = Node((0.5,), True, (), False, 0, True, "serial")
        plan = Plan((finishing,), (Send(0, 0, True, 0),), ((0.3, 0),))
    with pytest.raises(AssertionError):
        run_in_virtual_time(lambda: check(plan, ten.Limits()))
