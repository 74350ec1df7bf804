"""What can't be: answered with ERROR, and nothing else suffers."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, strategies as st

from property_tests.conformance.drawing import Executor, crews, in_one_process
from ten_trio.testing.conformance import Blueprint, Node, Talk, Target, check, exactly, refused

NOWHERE = "00000000-0000-4000-8000-000000000000"
"""The id of no graph."""


@given(
    crew=crews(1, 3),
    orders=st.lists(st.sampled_from(["right", "extension", "graph"]), min_size=1, max_size=8),
    early=st.integers(0, 2),
)
def test_unknown_destination(
    target: Target, crew: list[Executor], orders: list[str], early: int
) -> None:
    async def example(talk: Talk) -> None:
        client = await talk.client()
        for _ in range(early):  # there is no graph at all yet
            await client.ask("e0", refused(), graph_id=NOWHERE)
        await client.answered()
        await client.start(Blueprint([each.node for each in crew]))
        for number, order in enumerate(orders):
            executor = crew[number % len(crew)]
            if order == "extension":
                await client.ask(f"no {executor.node.name}", refused())
            elif order == "graph":
                await client.ask(executor.node.name, refused(), graph_id=NOWHERE)
            else:
                await client.ask(executor.node.name, exactly(*executor.answers({})))

    check(target, "unknown-destination", example)


FAULTS: dict[str, Any] = {
    "with a connection from nowhere": {
        "nodes": [],
        "connections": [{"extension": "x", "cmd": [{"name": "m", "dest": [{"extension": "y"}]}]}],
    },
    "whose nodes are no array": {"nodes": 7},
    "that is no object": [],
    "of an addon that isn't there": {
        "nodes": [{"type": "extension", "name": "x", "addon": "conformance_none"}]
    },
}
UNMADE = "of an addon that isn't there"
"""The graph has begun by the time that this is found out, and its connection may end with it."""


@given(faults=in_one_process(st.lists(st.sampled_from(list(FAULTS)), min_size=1, max_size=3)))
def test_faulty_graph_refused(target: Target, faults: list[str]) -> None:
    async def example(talk: Talk) -> None:
        client = await talk.client()
        for fault in faults:
            result = await client.try_to_start(json.dumps(FAULTS[fault]), f"one {fault}")
            if result.ok:
                talk.fail(f"it was started: {result.properties}")
            if not result.detail:
                talk.fail(f"the ERROR doesn't say why: {result.properties}")
            if fault == UNMADE:
                client.forget()
                client = await talk.client()
        await client.start(Blueprint([Node("e", "echo")]))

    check(target, "faulty-graph-refused", example)


@given(crew=crews(1, 2), again=st.integers(1, 2))
def test_one_graph_per_connection(target: Target, crew: list[Executor], again: int) -> None:
    async def example(talk: Talk) -> None:
        client = await talk.client()
        graph = Blueprint([each.node for each in crew])
        await client.start(graph)
        for _ in range(again):
            for executor in crew:
                await client.ask(executor.node.name, exactly(*executor.answers({})))
            result = await client.try_to_start(graph.to_json(), "the same once more")
            if result.ok:
                talk.fail(f"it was started: {result.properties}")
        for executor in crew:
            await client.ask(executor.node.name, exactly(*executor.answers({})))

    check(target, "one-graph-per-connection", example)
