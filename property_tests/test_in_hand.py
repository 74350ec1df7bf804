"""What is sent belongs to the turn of the message that it is sent because of, however long that takes:
by the handler before and after a wait, and by tasks that it starts in a nursery from elsewhere.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import trio
from hypothesis import strategies as st

import ten_trio as ten
from property_tests.traffic import limits
from ten_trio.testing import trio_given


@attrs.frozen
class Step:
    """One message: its turn, what its handler does, and after how long the next one comes."""

    turn: int | None
    waits: float | None
    task: float | None
    pause: float


steps = st.builds(
    Step,
    turn=st.none() | st.integers(0, 2),
    waits=st.none() | st.sampled_from([0, 0.1, 0.3]),
    task=st.none() | st.sampled_from([0, 0.1, 0.3]),
    pause=st.sampled_from([0, 0, 0.05, 0.2]),
)


@trio_given(st.lists(steps, min_size=1, max_size=8), st.booleans(), st.booleans(), limits)
async def test_what_is_sent_belongs_to_the_turn_of_its_message(
    plan: list[Step], as_cmds: bool, inline: bool, limits: ten.Limits
) -> None:
    seen: list[tuple[int, str, ten.Turn | None]] = []

    class Works(ten.Extension):
        nursery: trio.Nursery

        @asynccontextmanager
        async def lifespan(self, env: ten.TenEnv) -> AsyncGenerator[None, None]:
            async with trio.open_nursery() as self.nursery:
                yield
                self.nursery.cancel_scope.cancel()

        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            await self.work(env, data["n"])

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await self.work(env, cmd["n"])
            await env.return_result(cmd.ok())

        async def work(self, env: ten.TenEnv, n: int) -> None:
            step = plan[n]
            if step.task is not None:
                self.nursery.start_soon(self.later, env, n, step.task)
            await self.tell(env, n, "at once")
            if step.waits is not None:
                await trio.sleep(step.waits)
                await self.tell(env, n, "after a wait")

        async def later(self, env: ten.TenEnv, n: int, seconds: float) -> None:
            await trio.sleep(seconds)
            await self.tell(env, n, "in a task")

        async def tell(self, env: ten.TenEnv, n: int, when: str) -> None:
            await env.send_data(ten.Data("said", {"n": n, "when": when}, dest="hears"))

    class Hears(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            seen.append((data["n"], data["when"], data.turn))

    graph = ten.Graph()
    graph.node("works", Works, inline=inline)
    graph.node("hears", Hears)
    async with ten.open_app(limits=limits) as app, app.open_graph(graph) as engine:
        turns = [engine.new_turn() for _ in range(3)]
        for n, step in enumerate(plan):
            turn = None if step.turn is None else turns[step.turn]
            if as_cmds:
                engine.post_cmd(ten.Cmd("x", {"n": n}, dest="works"), turn=turn)
            else:
                await engine.send_data(ten.Data("x", {"n": n}, dest="works"), turn=turn)
            await trio.sleep(step.pause)
        await trio.sleep(10)
    expected = [
        (n, when, None if step.turn is None else turns[step.turn])
        for n, step in enumerate(plan)
        for when, applies in (
            ("at once", True),
            ("after a wait", step.waits is not None),
            ("in a task", step.task is not None),
        )
        if applies
    ]
    assert sorted(seen, key=lambda each: each[:2]) == sorted(expected, key=lambda each: each[:2])
