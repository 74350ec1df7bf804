"""A handler raises, on the third of five messages.

    python -m examples.elsewhere.raises [--peer]

Here the exception comes out of the block that opened the graph, with a note that says where it happened. Who
would rather go on says so, with `on_error="isolate"`: then the failure is logged, and counted.
"""

from __future__ import annotations

from typing import Any

import ten_trio as ten

from .telling import PATIENCE, tell


class Faulty(ten.Extension):
    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        if data["number"] == 3:
            raise ValueError("can't read number 3")
        await env.send_data(data)


async def ours() -> None:
    for on_error in ("stop_graph", "isolate"):
        graph = ten.Graph()
        graph.node("stage", Faulty, on_error=on_error)
        graph.expose("data_in", "frame", "stage")
        graph.expose("data_out", "frame", "stage")
        numbers = []
        try:
            async with (
                ten.open_app() as app,
                app.open_graph(graph) as engine,
                engine.messages("frame") as frames,
            ):
                for number in range(1, 6):
                    await engine.send_data(ten.Data("frame", {"number": number}))
                async for frame in frames:
                    numbers.append(frame["number"])
                    if frame["number"] == 5:
                        break
                stats = await engine.stats()
        except* ValueError as group:
            (error,) = group.exceptions
            print(f"{on_error}: {error} - {error.__notes__[0].partition(' (graph')[0]}")
        else:
            (stage,) = stats.extensions
            print(f"{on_error}: {numbers} came through, {stage.errors} failure counted")


async def theirs(Session: Any) -> None:
    async def fail(number: int) -> None:
        if number == 3:
            raise ValueError("can't read number 3")

    async with Session(fail) as session:
        for number in range(1, 6):
            await session.send(number)
        await session.end()
        print(await session.how_it_ended(PATIENCE))
        print(f"{session.through} came through")


if __name__ == "__main__":
    tell(ours, theirs)
