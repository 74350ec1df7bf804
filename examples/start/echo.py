"""What docs/start.md builds: an extension of one's own, in a graph."""

from __future__ import annotations

import trio

import ten_trio as ten


class Echo(ten.Extension):
    """Says everything again, after a second, and more quietly each time."""

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        for times in range(env["times"]):
            await trio.sleep(1)
            await env.send_data(ten.Data("sound", {"text": data["text"] + "." * times}))


class Ear(ten.Extension):
    async def on_init(self, env: ten.TenEnv) -> None:
        self.heard: list[str] = []

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        self.heard.append(data["text"])
        print(f"heard: {data['text']}")

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok(heard=len(self.heard)))


def valley() -> ten.Graph:
    graph = ten.Graph()
    graph.node("echo", Echo, property={"times": 3})
    graph.node("ear", Ear)
    graph.connect("echo", "ear", data="sound")
    graph.expose("data_in", "shout", "echo")
    graph.expose("cmd_in", "how_many", "ear")
    return graph


async def main() -> None:
    async with ten.open_app() as app, app.open_graph(valley()) as engine:
        await engine.send_data(ten.Data("shout", {"text": "hello"}))
        await trio.sleep(3.5)
        result = await engine.send_cmd(ten.Cmd("how_many"))
        print("in all:", result["heard"])


if __name__ == "__main__":
    trio.run(main)
