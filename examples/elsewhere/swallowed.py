"""A handler swallows its cancellation, once, and goes on waiting.

    python -m examples.elsewhere.swallowed [--peer]

Here a cancelled scope stays cancelled, as always in Trio: whatever the handler waits for next is cancelled too.
"""

from __future__ import annotations

import asyncio
from typing import Any

import trio

import ten_trio as ten

from .telling import PATIENCE, tell


class Deaf(ten.Extension):
    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            print("swallowed a cancellation")
        await trio.sleep_forever()


async def ours() -> None:
    graph = ten.Graph()
    graph.node("deaf", Deaf)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.send_data(ten.Data("frame", dest="deaf"))
        await trio.sleep(0.05)
    assert engine.report is not None
    print(f"ended after {engine.report.duration:.1f} s, in order: {not engine.report.slow}")


async def theirs(Session: Any) -> None:
    async def deaf(number: int) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            print("swallowed a cancellation")
        await asyncio.Event().wait()

    async with Session(deaf) as session:
        await session.send(1)
        await asyncio.sleep(0.1)
        await session.cancel()
        print(await session.how_it_ended(PATIENCE))


if __name__ == "__main__":
    tell(ours, theirs)
