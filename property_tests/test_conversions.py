"""Conversions in a running graph, against a model: each receiver gets its own view of a message, the
sender its own view of each result, once, whichever way the message was sent."""

from __future__ import annotations

from typing import Any

import attrs
import trio
from hypothesis import strategies as st

import ten_trio as ten
from ten_trio.graphs import Conversion, Rule
from ten_trio.testing import trio_given

KEYS = ("a", "b", "c")
values = st.integers(0, 9)
properties = st.dictionaries(st.sampled_from(KEYS), values, max_size=3)
rules = st.one_of(
    st.builds(Rule.fixed, st.sampled_from(KEYS), values),
    st.builds(Rule.copied, st.sampled_from(KEYS), st.sampled_from(KEYS)),
)


@st.composite
def conversions(draw: st.DrawFn, *, of_result: bool = False) -> Conversion:
    """Some rules, some of which rename a message; a command's conversion may have one of the result."""
    found = draw(st.lists(rules, min_size=1, max_size=3))
    if not of_result and draw(st.booleans()):
        found.append(Rule.fixed("ten.name", "renamed"))
    result = None if of_result else draw(st.none() | conversions(of_result=True))
    return Conversion(tuple(found), keep_original=draw(st.booleans()), result=result)


def converted(
    conversion: Conversion | None, name: str, original: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """What comes of a message, the simplest way."""
    if conversion is None:
        return name, original
    made = dict(original) if conversion.keep_original else {}
    for rule in conversion.rules:
        if rule.path == "ten.name":
            name = str(rule.value)
        elif rule.original_path is None:
            made[rule.path] = rule.value
        else:
            made[rule.path] = original.get(rule.original_path, "nothing")
    return name, made


def shown(msg: Any) -> dict[str, Any]:
    """Its properties; what a rule hasn't found is there, and is no value."""
    return {key: msg.properties[key] if msg[key] in range(10) else "nothing" for key in msg}


@attrs.frozen
class Send:
    """One message, which may name the receivers instead of leaving that to the graph."""

    kind: str
    properties: dict[str, Any]
    explicit: bool


sends = st.lists(
    st.builds(Send, st.sampled_from(["cmd", "data", "audio_frame"]), properties, st.booleans()),
    min_size=1,
    max_size=5,
)


@trio_given(st.lists(st.none() | conversions(), min_size=1, max_size=3), sends, st.booleans())
async def test_every_receiver_has_its_own_view(
    each: list[Conversion | None], sends: list[Send], inline: bool
) -> None:
    got: list[tuple[int, str, dict[str, Any]]] = []
    results: list[dict[str, Any]] = []
    over = trio.Event()
    all_over = trio.Event()

    class Receiver(ten.Extension):
        def __init__(self, index: int) -> None:
            self.index = index

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            got.append((self.index, cmd.name, shown(cmd)))
            await env.return_result(cmd.ok(a=self.index, b=9))

        async def on_data(self, env: ten.TenEnv, data: ten.Data | ten.AudioFrame) -> None:
            got.append((self.index, data.name, shown(data)))

        on_audio_frame = on_data  # type: ignore[assignment]

    class Sender(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            env.nursery.start_soon(self.send_all, env)

        async def send_all(self, env: ten.TenEnv) -> None:
            dests = [f"r{index}" for index in range(len(each))]
            for send in sends:
                dest = dests if send.explicit else None
                if send.kind == "cmd":
                    cmd = ten.Cmd("m", send.properties, dest=dest)
                    async with env.send_cmd_ex(cmd) as answers:
                        async for answer in answers:
                            # Whatever the executor knows it as.
                            assert answer.original_cmd_name == "m"
                            results.append(shown(answer))
                elif send.kind == "data":
                    await env.send_data(ten.Data("m", send.properties, dest=dest))
                else:
                    await env.send_audio_frame(ten.AudioFrame("m", send.properties, dest=dest))
            await trio.sleep(1)
            over.set()

    class Other(ten.Extension):
        """Sends to the same places, along no edge: nothing is converted."""

        async def on_start(self, env: ten.TenEnv) -> None:
            env.nursery.start_soon(self.send_all, env)

        async def send_all(self, env: ten.TenEnv) -> None:
            await over.wait()
            for index in range(len(each)):
                for send in sends:
                    if send.kind != "cmd":
                        data = ten.Data("m", send.properties, dest=f"r{index}")
                        await env.send_data(data)
            await trio.sleep(1)
            all_over.set()

    graph = ten.Graph()
    graph.node("sender", Sender, inline=inline)
    graph.node("other", Other, inline=inline)
    for index, conversion in enumerate(each):
        graph.node(f"r{index}", lambda index=index: Receiver(index), inline=inline)
        for_data = conversion and attrs.evolve(conversion, result=None)
        graph.connect("sender", f"r{index}", cmd="m", convert=conversion)
        graph.connect("sender", f"r{index}", data="m", audio_frame="m", convert=for_data)
    async with ten.open_app() as app, app.open_graph(graph):
        await all_over.wait()

    def in_order(items: list[Any]) -> list[Any]:
        return sorted(items, key=repr)

    assert in_order(got) == in_order(
        [
            (index, *converted(conversion, "m", send.properties))
            for send in sends
            for index, conversion in enumerate(each)
        ]
        + [
            (index, "m", send.properties)
            for send in sends
            for index in range(len(each))
            if send.kind != "cmd"
        ]
    )
    assert in_order(results) == in_order(
        [
            converted(conversion and conversion.result, "", {"a": index, "b": 9})[1]
            for send in sends
            if send.kind == "cmd"
            for index, conversion in enumerate(each)
        ]
    )
