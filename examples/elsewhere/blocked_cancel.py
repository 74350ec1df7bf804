"""A handler waits for something that never comes, and the session is cancelled.

    python -m examples.elsewhere.blocked_cancel [--peer]

Here the cancelled block still closes in order: `on_stop` is called, and may wait for as long as the grace.
"""

from __future__ import annotations

import asyncio
from typing import Any

import trio

import ten_trio as ten

from .telling import PATIENCE, tell


class Blocked(ten.Extension):
    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await trio.sleep_forever()

    async def on_stop(self, env: ten.TenEnv) -> None:
        await trio.sleep(0.1)
        print("on_stop has said good-bye")


async def ours() -> None:
    graph = ten.Graph()
    graph.node("stage", Blocked)
    with trio.CancelScope() as scope:
        async with ten.open_app() as app, app.open_graph(graph) as engine:
            await engine.send_data(ten.Data("frame", dest="stage"))
            await trio.sleep(0.05)
            scope.cancel()
    assert engine.report is not None
    print(f"ended after {engine.report.duration:.1f} s, in order: {not engine.report.slow}")


async def theirs(Session: Any) -> None:
    async def block(number: int) -> None:
        await asyncio.Event().wait()

    async with Session(block) as session:
        await session.send(1)
        await asyncio.sleep(0.1)
        await session.cancel()
        print(await session.how_it_ended(PATIENCE))


if __name__ == "__main__":
    tell(ours, theirs)
