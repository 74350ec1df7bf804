"""Commands, from outside: how many results come, which, and from whom."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Sequence

from hypothesis import given, strategies as st

from property_tests.conformance.drawing import Executor, crews
from ten_trio.testing.conformance import (
    Answer,
    Blueprint,
    Edge,
    Expected,
    Node,
    Talk,
    Target,
    check,
    each_of,
    ended,
    exactly,
    first_error_or_last_ok,
    refused,
)


@given(crew=crews(), orders=st.lists(st.integers(0, 4), min_size=1, max_size=8))
def test_every_command_ends_once(target: Target, crew: list[Executor], orders: list[int]) -> None:
    async def example(talk: Talk) -> None:
        client = await talk.client()
        await client.start(Blueprint([each.node for each in crew]))
        for order in orders:
            if order < len(crew):
                await client.ask(crew[order].node.name, ended())
            else:
                await client.ask("nobody", refused())

    check(target, "every-command-ends-once", example)


@given(crew=crews(), orders=st.lists(st.integers(0, 3), min_size=1, max_size=8), wait=st.booleans())
def test_results_in_order(
    target: Target, crew: list[Executor], orders: list[int], wait: bool
) -> None:
    async def example(talk: Talk) -> None:
        client = await talk.client()
        await client.start(Blueprint([each.node for each in crew]))
        for number, order in enumerate(orders):
            executor = crew[order % len(crew)]
            properties = {"number": number}
            wanted = exactly(*executor.answers(properties))
            await client.ask(executor.node.name, wanted, properties=properties)
            if wait:
                await client.answered()

    check(target, "results-in-order", example)


@given(crew=crews(1, 1), relays=st.integers(1, 4), times=st.integers(1, 3))
def test_relayed_results(target: Target, crew: list[Executor], relays: int, times: int) -> None:
    (executor,) = crew
    names = [f"r{n}" for n in range(relays)]
    nodes = [Node(name, "relay") for name in names]
    chain = [*names, executor.node.name]
    edges = [Edge(sender, [dest]) for sender, dest in itertools.pairwise(chain)]

    async def example(talk: Talk) -> None:
        client = await talk.client()
        await client.start(Blueprint([*nodes, executor.node], edges))
        for number in range(times):
            properties = {"number": number}
            wanted = exactly(*executor.answers(properties))
            await client.ask("r0", wanted, properties=properties)

    check(target, "relayed-results", example)


def fan_out(crew: list[Executor], policy: str) -> Blueprint:
    """A command goes to all of them, and what comes back is up to the policy."""
    nodes = [Node("fan", "fan_out", {"policy": policy}), *(each.node for each in crew)]
    return Blueprint(nodes, [Edge("fan", [each.node.name for each in crew])])


def asking_all(
    crew: list[Executor],
    policy: str,
    times: int,
    wanted: Callable[[Sequence[Sequence[Answer]]], Expected],
) -> Callable[[Talk], Awaitable[None]]:
    """Of what each of them answers, the results are those that are `wanted`."""

    async def example(talk: Talk) -> None:
        client = await talk.client()
        await client.start(fan_out(crew, policy))
        for number in range(times):
            properties = {"number": number}
            branches = [each.answers(properties) for each in crew]
            await client.ask("fan", wanted(branches), properties=properties)

    return example


@given(crew=crews(2, 4), times=st.integers(1, 3))
def test_first_error_or_last_ok(target: Target, crew: list[Executor], times: int) -> None:
    example = asking_all(crew, "first_error_or_last_ok", times, first_error_or_last_ok)
    check(target, "first-error-or-last-ok", example)


@given(crew=crews(2, 4), times=st.integers(1, 3))
def test_each_ok_and_error(target: Target, crew: list[Executor], times: int) -> None:
    example = asking_all(crew, "each_ok_and_error", times, each_of)
    check(target, "each-ok-and-error", example)


@given(crew=crews(1, 2), sleeping=st.integers(1, 3))
def test_commands_side_by_side(target: Target, crew: list[Executor], sleeping: int) -> None:
    long = target.patience * 20

    async def example(talk: Talk) -> None:
        client = await talk.client()
        await client.start(Blueprint([Node("bed", "sleeper"), *(each.node for each in crew)]))
        for _ in range(sleeping):
            # They end with the graph, and have nothing to say before.
            await client.ask("bed", ended(), properties={"seconds": long})
        quick = exactly(Answer({"from": "bed"}))
        asked = [await client.ask("bed", quick, properties={"seconds": 0.0})]
        for executor in crew:
            wanted = exactly(*executor.answers({}))
            asked.append(await client.ask(executor.node.name, wanted))
        await client.done(asked)
        client.forget()

    check(target, "commands-side-by-side", example)
