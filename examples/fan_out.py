"""One command for three extensions: which of their results reach the caller.

    python -m examples.fan_out

`send_cmd` gives one result, the first error or else the last OK; last in the order of the graph's connections,
not in time. `send_cmd_ex` gives all of them, as they come. Time is virtual.
"""

from __future__ import annotations

import trio
import trio.testing

import ten_trio as ten


class Shop(ten.Extension):
    """Says its price, after a while; or that it has none."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await trio.sleep(env["delay"])
        if cmd["what"] in env["prices"]:
            price = env["prices"][cmd["what"]]
            await env.return_result(cmd.ok(shop=self.name, price=price))
        else:
            await env.return_result(cmd.error("sold out", shop=self.name))


class Buyer(ten.Extension):
    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        question = ten.Cmd("price", {"what": cmd["what"]})

        one = await env.send_cmd(question.clone())
        print(f"{cmd['what']}, first error or last OK: {told(one)}")

        async with env.send_cmd_ex(question) as results:
            every = [told(result) async for result in results]
        print(f"{cmd['what']}, each OK and error: {', '.join(every)}")

        await env.return_result(cmd.ok())


def told(result: ten.CmdResult) -> str:
    return f"{result['shop']} {result['price'] if result.ok else result.detail}"


async def main() -> None:
    graph = ten.Graph()
    graph.node("buyer", Buyer)
    for name, delay, prices in (
        ("slow", 0.03, {"tea": 3, "milk": 1}),
        ("quick", 0.01, {"tea": 4}),
        ("last", 0.02, {"tea": 5, "milk": 2}),
    ):
        graph.node(name, Shop, property={"delay": delay, "prices": prices})
    graph.connect("buyer", ["slow", "quick", "last"], cmd="price")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        for what in ("tea", "milk"):
            await engine.send_cmd(ten.Cmd("buy", {"what": what}, dest="buyer"))


if __name__ == "__main__":
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
