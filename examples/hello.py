"""The smallest graph there is: one extension, one command, one result.

    python -m examples.hello

At the end it prints a picture of the graph, as Mermaid: Markdown pages and many editors draw that.
"""

from __future__ import annotations

import trio

import ten_trio as ten
from ten_trio.graphs import to_mermaid


class Greeter(ten.Extension):
    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok(text=f"Hello {cmd['name']}"))


def hello() -> ten.Graph:
    graph = ten.Graph()
    graph.node("greeter", Greeter)
    graph.expose("cmd_in", "hello", "greeter")
    return graph


async def main() -> None:
    graph = hello()
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        result = await engine.send_cmd(ten.Cmd("hello", {"name": "Ada"}))
        print(result["text"])
    print(to_mermaid(graph), end="")


if __name__ == "__main__":
    trio.run(main)
