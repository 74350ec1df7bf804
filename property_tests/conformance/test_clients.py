"""Several clients of one runtime: everybody gets what is theirs, whatever others do."""

from __future__ import annotations

import attrs
from hypothesis import given, strategies as st

from property_tests.conformance.drawing import Executor, crews
from ten_trio.testing.conformance import (
    BadBytes,
    Blueprint,
    Node,
    Person,
    Talk,
    Target,
    check,
    ended,
    exactly,
    refused,
)


@attrs.frozen
class Turn:
    """Some client asks some executor."""

    client: int
    executor: int


TURNS = st.lists(st.builds(Turn, st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=9)


@given(crew=crews(1, 3), count=st.integers(2, 3), turns=TURNS, apart=st.booleans())
def test_results_to_who_asked(
    target: Target, crew: list[Executor], count: int, turns: list[Turn], apart: bool
) -> None:
    graph = Blueprint([each.node for each in crew])

    async def example(talk: Talk) -> None:
        clients = [await talk.client() for _ in range(count)]
        graph_id = await clients[0].start(graph)
        for other in clients[1:]:
            if apart:
                await other.start(graph)
            else:
                other.join(graph_id)
        for number, turn in enumerate(turns):
            client = clients[turn.client % count]
            executor = crew[turn.executor % len(crew)]
            # Every client counts its own commands: the same seq_id is used by all of them.
            properties = {"whose": client.name, "number": number}
            wanted = exactly(*executor.answers(properties))
            await client.ask(executor.node.name, wanted, properties=properties)

    check(target, "results-to-who-asked", example)


WRONGS = st.sampled_from(
    ["leaves", "asks and leaves", "nobody", "bad bytes", "sleeps", "starts again", "breaks off"]
)


async def do_wrong(client: Person, wrong: str, seconds: float) -> None:
    """Something that nobody should do, or that ends badly."""
    if wrong == "nobody":
        await client.ask("nobody", refused())
        return
    if wrong == "sleeps":
        await client.ask("bed", ended(), properties={"seconds": seconds})
    elif wrong == "starts again":
        await client.try_to_start('{"nodes": []}', "one with nothing in it")
    elif wrong in ("bad bytes", "breaks off") and isinstance(client.client, BadBytes):
        # An ext object of 200 bytes, of which only some come, or none that is right.
        client.say(f"sends {'no message at all' if wrong == 'bad bytes' else 'half a message'}")
        await client.client.send_bytes(b"\xff" * 9 if wrong == "bad bytes" else b"\xc7\xc8\x01\x01")
    elif wrong == "asks and leaves":
        await client.ask("e0", ended())
    if wrong in ("leaves", "asks and leaves", "breaks off"):
        await client.leave()
    client.forget()


@given(
    crew=crews(1, 2),
    wrongs=st.lists(WRONGS, min_size=1, max_size=4),
    apart=st.booleans(),
    between=st.booleans(),
)
def test_clients_dont_disturb(
    target: Target, crew: list[Executor], wrongs: list[str], apart: bool, between: bool
) -> None:
    graph = Blueprint([Node("bed", "sleeper"), *(each.node for each in crew)])
    seconds = target.patience * 20

    async def example(talk: Talk) -> None:
        good = await talk.client()
        graph_id = await good.start(graph)
        for wrong in wrongs:
            bad = await talk.client()
            if apart:
                await bad.start(graph)
            else:
                bad.join(graph_id)
                await bad.settle()  # it takes part: from here on it belongs to the graph
            await do_wrong(bad, wrong, seconds)
            if between:
                for executor in crew:
                    await good.ask(executor.node.name, exactly(*executor.answers({})))
        for executor in crew:
            await good.ask(executor.node.name, exactly(*executor.answers({})))

    check(target, "clients-dont-disturb", example)
