"""A handler starts a task of its own, and the session ends.

    python -m examples.elsewhere.stray_task [--peer]

Here there is no way to start a task that nobody owns: a handler has the extension's nursery, which ends with it.
"""

from __future__ import annotations

import asyncio
from typing import Any

import trio

import ten_trio as ten

from .telling import PATIENCE, tell


class Starter(ten.Extension):
    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        env.nursery.start_soon(self.tick)

    async def tick(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            print("the task has ended")


async def ours() -> None:
    before = trio.lowlevel.current_statistics().tasks_living
    graph = ten.Graph()
    graph.node("starter", Starter)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.send_data(ten.Data("frame", dest="starter"))
        await trio.sleep(0.05)
    left = trio.lowlevel.current_statistics().tasks_living - before
    print(f"the session has ended, tasks left: {left}")


async def theirs(Session: Any) -> None:
    tasks = []

    async def start(number: int) -> None:
        tasks.append(asyncio.create_task(asyncio.sleep(3600)))

    async with Session(start) as session:
        await session.send(1)
        await session.end()
        print(await session.how_it_ended(PATIENCE))
        print(f"tasks left: {sum(not task.done() for task in tasks)}")


if __name__ == "__main__":
    tell(ours, theirs)
