"""Ends: what is answered when a graph is stopped, what is gone then, and that time counts."""

from __future__ import annotations

import trio
from hypothesis import given, strategies as st

from property_tests.conformance.drawing import Executor, crews, in_one_process
from ten_trio.testing.conformance import (
    Answer,
    Blueprint,
    Node,
    Talk,
    Target,
    check,
    ended,
    exactly,
    refused,
)


@given(crew=crews(1, 3), sleeping=st.integers(0, 3), named=st.booleans(), orders=st.integers(0, 4))
def test_stop_graph_answers_all(
    target: Target, crew: list[Executor], sleeping: int, named: bool, orders: int
) -> None:
    """The closing is bounded, too: it is over within the patience although somebody sleeps."""
    graph = Blueprint([Node("bed", "sleeper"), *(each.node for each in crew)])
    seconds = target.patience * 20

    async def example(talk: Talk) -> None:
        client = await talk.client()
        graph_id = await client.start(graph)
        for _ in range(sleeping):
            await client.ask("bed", refused(), properties={"seconds": seconds})
        for number in range(orders):
            await client.ask(crew[number % len(crew)].node.name, ended())
        await client.ask_to_stop(graph_id if named else "", ended())
        await client.wait_closed()

    check(target, "stop-graph-answers-all", example)


@given(crew=crews(1, 2), guests=st.integers(0, 2), by_other=st.booleans())
def test_stop_graph_ends_it(
    target: Target, crew: list[Executor], guests: int, by_other: bool
) -> None:
    graph = Blueprint([each.node for each in crew])

    async def example(talk: Talk) -> None:
        owner = await talk.client()
        graph_id = await owner.start(graph)
        others = [await talk.client() for _ in range(guests)]
        for other in others:
            other.join(graph_id)
            await other.settle()
        if by_other:
            stranger = await talk.client()
            asked = await stranger.ask_to_stop(graph_id, ended())
            await stranger.answered()
        else:
            asked = await owner.ask_to_stop(graph_id, ended())
        for client in (owner, *others):
            await client.wait_closed()
        if not asked.answers[-1].ok:
            talk.fail(f"stop_graph was answered by {asked.answers[-1]}")
        late = await talk.client()
        await late.ask(crew[0].node.name, refused(), graph_id=graph_id)

    check(target, "stop-graph-ends-it", example)


@given(naps=in_one_process(st.lists(st.integers(0, 2), min_size=1, max_size=4)))
def test_time_passes(target: Target, naps: list[int]) -> None:
    """In steps of a fraction of the patience: time enough to tell early from late."""
    step = target.patience / 40

    async def example(talk: Talk) -> None:
        client = await talk.client()
        await client.start(Blueprint([Node("bed", "sleeper")]))
        wanted = exactly(Answer({"from": "bed"}))
        began = trio.current_time()
        asked = [
            await client.ask("bed", wanted, properties={"seconds": nap * step}) for nap in naps
        ]
        for steps in range(4):
            await client.probed()
            # In real time more may have gone by than was asked for, on a busy machine.
            passed = max(steps * step, trio.current_time() - began)
            for nap, each in zip(naps, asked, strict=True):
                if each.done and nap * step > passed:
                    talk.fail(f"{each.text} has ended before its time")
                if not each.done and nap < steps and target.virtual_time:
                    talk.fail(f"{each.text} has not ended, {step:g} s after its time")
            await talk.advance(step)

    check(target, "time-passes", example)
