"""Whoever runs a session is cancelled, by a time limit of theirs for example.

    python -m examples.elsewhere.caller_cancelled [--peer]

Here the cancellation goes through: first the graph closes in order, then it reaches whoever has cancelled.
"""

from __future__ import annotations

import asyncio
from typing import Any

import trio

import ten_trio as ten

from .telling import tell


class Polite(ten.Extension):
    async def on_stop(self, env: ten.TenEnv) -> None:
        print("on_stop: good-bye")


async def ours() -> None:
    graph = ten.Graph()
    graph.node("polite", Polite)
    with trio.move_on_after(0.05) as limit:
        async with ten.open_app() as app, app.open_graph(graph):
            await trio.sleep_forever()
        print("the lines after the block go on")
    print(f"the caller knows that it was cancelled: {limit.cancelled_caught}")


async def theirs(Session: Any) -> None:
    async def nothing(number: int) -> None:
        pass

    async with Session(nothing) as session:
        await asyncio.sleep(0.1)
        session.running.cancel()
        await asyncio.wait([session.running], timeout=5)
        cancelled = session.running.done() and session.running.cancelled()
        print(f"the caller knows that it was cancelled: {cancelled}")


if __name__ == "__main__":
    tell(ours, theirs)
