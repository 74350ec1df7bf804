"""Whoever looks on sees all of what passes, in order, and changes nothing.

Whenever a tap is opened and closed, it has seen exactly what handlers began with in between, and the
results that came home; whoever looks at the stats meanwhile finds every message that was sent either
handled or queued; and all of it is handled in the order in which it was sent, as if nobody looked.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import attrs
import trio
from hypothesis import strategies as st

import ten_trio as ten
from ten_trio.testing import trio_given

KINDS = ("cmd", "result", "data")


@attrs.frozen
class Step:
    """One thing that is done: what, to which receiver or tap, and how long what it causes takes."""

    what: str
    which: int
    takes: float


@attrs.define(eq=False)
class Watcher:
    """An open tap, and what it ought to see."""

    tap: ten.Tap
    kinds: frozenset[str]
    stack: AsyncExitStack
    due: list[tuple[str, str, int]] = attrs.field(factory=list)

    def seen(self) -> list[tuple[str, str, int]]:
        found = []
        while True:
            try:
                each = self.tap.receive_nowait()
            except trio.WouldBlock:
                return found
            ends = (each.source.extension_name, each.dest.extension_name)
            (who,) = [end for end in ends if end != "ten:graph_proxy"]
            found.append((each.kind, str(who), each.message["n"]))


takes = st.sampled_from([0.0, 0.0, 0.3, 1.0])
steps = st.lists(
    st.builds(
        Step,
        st.sampled_from(
            ["data", "data", "data", "cmd", "tap", "tap", "untap", "look", "wait", "retable"]
        ),
        st.integers(0, 2),
        takes,
    ),
    min_size=8,
    max_size=40,
)


class World:
    """A graph of receivers that note what they handle, and the watchers that are open."""

    def __init__(self) -> None:
        self.watchers: list[Watcher] = []
        self.handled: dict[str, list[int]] = {}
        self.sent: dict[str, list[int]] = {}

    def passes(self, kind: str, who: str, number: int) -> None:
        for watcher in self.watchers:
            if not watcher.kinds or kind in watcher.kinds:
                watcher.due.append((kind, who, number))

    def graph(self, count: int) -> ten.Graph:
        world = self

        class Receiver(ten.Extension):
            async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
                world.passes("data", env.name, data["n"])
                world.handled[env.name].append(data["n"])
                if data["takes"]:
                    await trio.sleep(data["takes"])

            async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
                world.passes("cmd", env.name, cmd["n"])
                if cmd["takes"]:
                    await trio.sleep(cmd["takes"])
                # Nothing comes between this and its arrival at the host.
                world.passes("result", env.name, cmd["n"])
                await env.return_result(cmd.ok(n=cmd["n"]))

        graph = ten.Graph()
        for number in range(count):
            graph.node(f"r{number}", Receiver, group=f"g{number // 2}")
            self.handled[f"r{number}"], self.sent[f"r{number}"] = [], []
        return graph

    async def check(self, engine: ten.Engine) -> None:
        stats = await engine.stats()
        for each in stats.extensions:
            data = each.data
            # Between a queue and its handler there may be one that is in neither.
            assert data.handled + data.queued == len(self.sent[each.name])
            assert data.handled >= len(self.handled[each.name]) >= data.handled - 1
            assert data.oldest <= stats.time


@trio_given(steps=steps, count=st.integers(1, 3))
async def test_a_tap_sees_what_passes_and_nobody_notices(steps: list[Step], count: int) -> None:
    world = World()
    async with ten.open_app() as app, app.open_graph(world.graph(count)) as engine:
        async with trio.open_nursery() as nursery:
            for number, step in enumerate(steps):
                await _do(world, engine, nursery, step, number, f"r{step.which % count}")
        await trio.sleep(50)  # more than all of them take together
        for watcher in world.watchers:
            assert watcher.seen() == watcher.due
            await watcher.stack.aclose()
        await world.check(engine)
        assert engine._core.taps is None
    assert world.handled == world.sent


async def _do(
    world: World, engine: ten.Engine, nursery: trio.Nursery, step: Step, number: int, dest: str
) -> None:
    properties: dict[str, Any] = {"n": number, "takes": step.takes}
    match step.what:
        case "data":
            world.sent[dest].append(number)
            await engine.send_data(ten.Data("d", properties, dest=dest))
        case "cmd":
            nursery.start_soon(engine.send_cmd, ten.Cmd("c", properties, dest=dest))
        case "tap":
            kinds = KINDS[: step.which]
            stack = AsyncExitStack()
            tap = await stack.enter_async_context(engine.tap(kind=kinds, capacity=1_000))
            world.watchers.append(Watcher(tap, frozenset(kinds), stack))
        case "untap" if world.watchers:
            watcher = world.watchers.pop(step.which % len(world.watchers))
            await watcher.stack.aclose()
            assert watcher.seen() == watcher.due
            assert watcher.tap.dropped == 0
        case "look":
            await world.check(engine)
        case "wait":
            await trio.sleep(step.takes)
        case "retable":
            # From the first turn with a budget on, handlers start through a clock, too.
            engine.new_turn(budget=100)
