"""A consumer that takes 2 ms for each message, and a producer that doesn't wait by itself.

    python -m examples.elsewhere.flood [--peer]

Here sending waits for room, so that the producer goes at the consumer's pace and what waits stays bounded.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import trio

import ten_trio as ten

from .telling import tell

SECONDS = 0.5
FRAME = bytes(640)


class Slow(ten.Extension):
    handled = 0

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await trio.sleep(0.002)
        Slow.handled += 1


class Eager(ten.Extension):
    accepted = 0

    async def on_start(self, env: ten.TenEnv) -> None:
        env.nursery.start_soon(self.flood, env)

    async def flood(self, env: ten.TenEnv) -> None:
        while True:
            await env.send_data(ten.Data("frame", buf=FRAME))
            Eager.accepted += 1


async def ours() -> None:
    Slow.handled = Eager.accepted = 0
    limits = ten.Limits(queue=64)
    graph = ten.Graph()
    graph.node("eager", Eager)
    graph.node("slow", Slow)
    graph.connect("eager", "slow", data="frame")
    async with ten.open_app(limits=limits) as app, app.open_graph(graph):
        await trio.sleep(SECONDS)
        ahead = Eager.accepted - Slow.handled
        print(f"the producer is {ahead} messages ahead, bounded: {ahead <= limits.queue + 2}")


async def theirs(Session: Any) -> None:
    async def slow(number: int) -> None:
        await asyncio.sleep(0.002)

    async with Session(slow) as session:
        accepted, began = 0, time.perf_counter()
        while time.perf_counter() - began < SECONDS:
            await session.send(accepted)
            accepted += 1
        print(f"the producer is {accepted - len(session.through)} messages ahead")
        await session.cancel()


if __name__ == "__main__":
    tell(ours, theirs)
