"""Step 1: an agent that answers text with text."""

from __future__ import annotations

import trio

import ten_trio as ten


class Dialogue(ten.Extension):
    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await env.send_data(ten.Data("sentence", {"text": f"You said: {data['text']}."}))


def agent() -> ten.Graph:
    graph = ten.Graph()
    graph.node("dialogue", Dialogue)
    graph.expose("data_in", "text", "dialogue")
    graph.expose("data_out", "sentence", "dialogue")
    return graph


async def main() -> None:
    async with ten.open_app() as app, app.open_graph(agent()) as engine:
        async with engine.messages("sentence") as sentences:
            await engine.send_data(ten.Data("text", {"text": "hello"}))
            print((await sentences.receive())["text"])


if __name__ == "__main__":
    trio.run(main)
