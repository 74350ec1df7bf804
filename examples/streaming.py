"""A command with many results, as a language model answers; the caller may leave in the middle.

    python -m examples.streaming

The model sends one result per word with `cmd.partial(...)`. The first caller reads all of them; the
second has heard enough after three, and the model learns of it and stops.
"""

from __future__ import annotations

import trio

import ten_trio as ten

TEXT = "once upon a time there was a graph that always closed in order"


class Model(ten.Extension):
    """Says TEXT, a word every 10 ms, for as long as somebody listens."""

    cancel_abandoned = True  # cancel on_cmd where it waits, once the caller has gone

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        said = 0
        *words, last = TEXT.split()
        try:
            for word in words:
                await env.return_result(cmd.partial(word=word))
                said += 1
                await trio.sleep(0.01)
            await env.return_result(cmd.ok(word=last))
        except trio.Cancelled:
            print(f"[model] nobody listens any more: stopped after {said} words")
            raise


class Caller(ten.Extension):
    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        words = []
        async with env.send_cmd_ex(ten.Cmd("complete")) as results:
            async for result in results:
                words.append(result["word"])
                if len(words) == cmd["enough"]:
                    break  # leaving the block abandons the rest
        await env.return_result(cmd.ok(text=" ".join(words)))


async def main() -> None:
    graph = ten.Graph()
    graph.node("model", Model)
    graph.node("caller", Caller)
    graph.connect("caller", "model", cmd="complete")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        for enough in (100, 3):
            result = await engine.send_cmd(ten.Cmd("ask", {"enough": enough}, dest="caller"))
            print(result["text"])


if __name__ == "__main__":
    trio.run(main)
