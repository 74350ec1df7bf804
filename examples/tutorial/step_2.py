"""Step 2: a tool, which answers a sentence at a time."""

from __future__ import annotations

import trio

import ten_trio as ten

WEEK = {"rome": ["monday sun", "tuesday sun", "wednesday rain"]}


class Tools(ten.Extension):
    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd["city"] not in WEEK:
            await env.return_result(cmd.error("no such city"))
            return
        *days, last = WEEK[cmd["city"]]
        for day in days:
            await trio.sleep(0.1)  # it has to look
            await env.return_result(cmd.partial(text=day))
        await env.return_result(cmd.ok(text=last))


class Dialogue(ten.Extension):
    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        cmd = ten.Cmd("forecast", {"city": data["text"].split()[-1]})
        async with env.send_cmd_ex(cmd) as results:
            async for result in results:
                text = result["text"] if result.ok else "i cannot tell"
                await env.send_data(ten.Data("sentence", {"text": text}))


def agent() -> ten.Graph:
    graph = ten.Graph()
    graph.node("dialogue", Dialogue)
    graph.node("tools", Tools)
    graph.connect("dialogue", "tools", cmd="forecast")
    graph.expose("data_in", "text", "dialogue")
    graph.expose("data_out", "sentence", "dialogue")
    return graph


async def main() -> None:
    async with ten.open_app() as app, app.open_graph(agent()) as engine:
        async with engine.messages("sentence") as sentences:
            for question, answers in ("weather in rome", 3), ("weather in atlantis", 1):
                await engine.send_data(ten.Data("text", {"text": question}))
                for _ in range(answers):
                    print((await sentences.receive())["text"])


if __name__ == "__main__":
    trio.run(main)
