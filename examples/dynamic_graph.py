"""Changing a graph while it runs: a second listener comes and goes, and the speaker never notices.

    python -m examples.dynamic_graph

A change that would leave the graph broken is refused, and says why.
"""

from __future__ import annotations

import trio

import ten_trio as ten


class Speaker(ten.Extension):
    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        heard = await env.send_data(ten.Data("text", {"text": cmd["text"]}))
        await env.return_result(cmd.ok(heard=heard))


class Listener(ten.Extension):
    async def on_start(self, env: ten.TenEnv) -> None:
        print(f"[{self.name}] here, in {env['language']}")

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        print(f"[{self.name}] {data['text']}")

    async def on_stop(self, env: ten.TenEnv) -> None:
        print(f"[{self.name}] good-bye")


async def main() -> None:
    graph = ten.Graph()
    graph.node("speaker", Speaker)
    graph.node("ada", Listener, property={"language": "English"})
    graph.connect("speaker", "ada", data="text")
    async with ten.open_app() as app, app.open_graph(graph) as engine:

        async def say(text: str) -> None:
            await engine.send_cmd(ten.Cmd("say", {"text": text}, dest="speaker"))
            await trio.sleep(0.01)

        await say("one")
        await engine.add_extension("blaise", Listener, property={"language": "French"})
        await engine.connect("speaker", "blaise", data="text")
        await say("two")
        await engine.disconnect("speaker", "ada", data="text")
        await say("three")
        await engine.remove_extension("blaise")  # with its edges
        await say("nobody hears this")
        try:
            await engine.connect("speaker", "balise", data="text")
        except ten.GraphError as error:
            print(error)
        print("left:", *engine.extensions)


if __name__ == "__main__":
    trio.run(main)
