"""A handler waits for something that never comes, and the session is to end in an orderly way.

    python -m examples.elsewhere.blocked_end [--peer]

Here a handler that still waits when every `on_stop` is back is cancelled. If `on_stop` itself never comes back,
the close has one time limit for everything, and tells who has used it up.
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


class Worse(Blocked):
    async def on_stop(self, env: ten.TenEnv) -> None:
        await trio.sleep_forever()


async def ours() -> None:
    for addon in (Blocked, Worse):
        graph = ten.Graph()
        graph.node("stage", addon)
        async with ten.open_app() as app, app.open_graph(graph, grace=0.3) as engine:
            await engine.send_data(ten.Data("frame", dest="stage"))
            await trio.sleep(0.05)
        report = engine.report
        assert report is not None
        told = f"grace ran out, stage was {report.slow['stage']}" if report.slow else "in order"
        print(f"{addon.__name__}: ended after {report.duration:.1f} s, {told}")


async def theirs(Session: Any) -> None:
    async def block(number: int) -> None:
        await asyncio.Event().wait()

    async with Session(block) as session:
        await session.send(1)
        await asyncio.sleep(0.1)
        await session.end()
        print(await session.how_it_ended(PATIENCE))


if __name__ == "__main__":
    tell(ours, theirs)
