"""Order along chains and over branches, and whose a message is once it has arrived."""

from __future__ import annotations

import itertools
from typing import Any

import attrs
from hypothesis import given, strategies as st

import ten_trio as ten
from property_tests.conformance.drawing import GROUPS, in_one_process
from ten_trio.testing.conformance import (
    Blueprint,
    Edge,
    Node,
    Person,
    Talk,
    Target,
    check,
    ignored,
    typed,
)

MESSAGES = {"data": ten.Data, "audio_frame": ten.AudioFrame, "video_frame": ten.VideoFrame}
KINDS = st.lists(st.sampled_from([*MESSAGES, "cmd"]), min_size=1, max_size=12)
SHAPES = in_one_process(st.lists(GROUPS, min_size=1, max_size=4))


async def send_all(client: Person, node: str, kinds: list[str], **more: Any) -> None:
    """One numbered message of each kind in turn, one right after another."""
    for number, kind in enumerate(kinds):
        properties = {"number": number, **more}
        if kind == "cmd":
            await client.ask(node, ignored(), properties=properties)
        else:
            await client.tell(node, MESSAGES[kind]("m", properties))


def numbers(seen: list[dict[str, Any]]) -> dict[str, list[int]]:
    """What has come, of commands and of the rest."""
    lines: dict[str, list[int]] = {"commands": [], "data and frames": []}
    for entry in seen:
        line = "commands" if entry["kind"] == "cmd" else "data and frames"
        lines[line].append(entry["properties"]["number"])
    return lines


def sent(kinds: list[str]) -> dict[str, list[int]]:
    """What should have come."""
    return {
        "commands": [n for n, kind in enumerate(kinds) if kind == "cmd"],
        "data and frames": [n for n, kind in enumerate(kinds) if kind != "cmd"],
    }


def compare(talk: Talk, node: str, got: Any, wanted: Any) -> None:
    """Fail if they aren't the same."""
    if got != wanted:
        talk.fail(f"{node} got {got}\n     wanted: {wanted}")


@given(groups=SHAPES, kinds=KINDS)
def test_order_along_a_chain(target: Target, groups: list[str], kinds: list[str]) -> None:
    names = [f"r{n}" for n in range(len(groups))]
    relays = [Node(name, "relay", group=group) for name, group in zip(names, groups, strict=True)]
    chain = [*names, "end"]
    edges = [Edge(sender, [dest]) for sender, dest in itertools.pairwise(chain)]

    async def example(talk: Talk) -> None:
        client = await talk.client()
        await client.start(Blueprint([*relays, Node("end", "recorder")], edges))
        await send_all(client, "r0", kinds)
        seen = await client.report("end", len(kinds))
        compare(talk, "end", numbers(seen), sent(kinds))
        for entry in seen:
            if entry["source"] != names[-1]:
                talk.fail(f"end took {entry['source']!r} for the source, not {names[-1]!r}")

    check(target, "order-along-a-chain", example)


@given(groups=SHAPES, kinds=KINDS)
def test_order_over_branches(target: Target, groups: list[str], kinds: list[str]) -> None:
    ends = [Node(f"b{n}", "recorder", group=group) for n, group in enumerate(groups)]
    names = [each.name for each in ends]

    async def example(talk: Talk) -> None:
        client = await talk.client()
        await client.start(Blueprint([Node("fan", "relay"), *ends], [Edge("fan", names)]))
        await send_all(client, "fan", kinds)
        for name in names:
            seen = await client.report(name, len(kinds))
            compare(talk, name, numbers(seen), sent(kinds))

    check(target, "order-over-branches", example)


@attrs.frozen
class Way:
    """One of the ways that a message takes: by so many relays, each of which signs it."""

    relays: int
    group: str


WAYS = in_one_process(st.lists(st.builds(Way, st.integers(0, 2), GROUPS), min_size=2, max_size=4))


@given(ways=WAYS, kinds=KINDS)
def test_copies_are_independent(target: Target, ways: list[Way], kinds: list[str]) -> None:
    nodes, edges, firsts, signed = [Node("fan", "relay")], [], [], {}
    for number, way in enumerate(ways):
        relays = [f"b{number}r{n}" for n in range(way.relays)]
        chain = [*relays, f"b{number}"]
        nodes += [Node(name, "relay", group=way.group) for name in relays]
        nodes.append(Node(chain[-1], "recorder", group=way.group))
        edges += [Edge(sender, [dest]) for sender, dest in itertools.pairwise(chain)]
        firsts.append(chain[0])
        signed[chain[-1]] = "".join(f"{name}/" for name in ("fan", *relays))

    async def example(talk: Talk) -> None:
        client = await talk.client()
        await client.start(Blueprint(nodes, [Edge("fan", firsts), *edges]))
        await send_all(client, "fan", kinds, trace={"via": ""})
        for name, via in signed.items():
            for entry in await client.report(name, len(kinds)):
                properties = entry["properties"]
                wanted = {"number": properties["number"], "trace": {"via": via}}
                if typed(properties) != typed(wanted):
                    talk.fail(f"{name} got {properties}\n     wanted: {wanted}")

    check(target, "copies-are-independent", example)
