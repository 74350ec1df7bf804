"""A fast producer and a slow consumer: the queue is bounded, and a `flush` drops what waits in it.

    python -m examples.flow_control

The producer could send all its chunks at once, but `send_data` waits while the player's queue is
full. When the user interrupts, `flush` overtakes the chunks (commands have a line of their own), and
the player drops those that were sent before it, and none that come after.
"""

from __future__ import annotations

import trio

import ten_trio as ten

QUEUE = 8


class Producer(ten.Extension):
    sent = 0

    async def on_start(self, env: ten.TenEnv) -> None:
        env.nursery.start_soon(self.produce, env)

    async def produce(self, env: ten.TenEnv) -> None:
        for number in range(1_000):
            await env.send_data(ten.Data("chunk", {"number": number}))
            Producer.sent = number + 1

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        env.nursery.cancel_scope.cancel()  # no more of this answer
        await env.send_cmd(ten.Cmd("flush"))
        await env.send_data(ten.Data("chunk", {"number": -1}))
        await env.return_result(cmd.ok())


class Player(ten.Extension):
    def __init__(self) -> None:
        self.played: list[int] = []

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await trio.sleep(0.02)  # the next chunk waits: data is handled one by one
        self.played.append(data["number"])

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        dropped = env.discard_queued(sent_before=cmd)
        print(f"[player] flush: {len(self.played)} chunks played, {dropped} dropped")
        await env.return_result(cmd.ok())

    async def on_stop(self, env: ten.TenEnv) -> None:
        print(f"[player] the last chunk was {self.played[-1]}")


async def main() -> None:
    graph = ten.Graph()
    graph.node("producer", Producer)
    graph.node("player", Player)
    graph.connect("producer", "player", data="chunk", cmd="flush")
    limits = ten.Limits(queue=QUEUE)
    async with ten.open_app(limits=limits) as app, app.open_graph(graph) as engine:
        await trio.sleep(0.2)
        print(f"[user] interrupts; {Producer.sent} of 1000 chunks were sent so far")
        await engine.send_cmd(ten.Cmd("interrupt", dest="producer"))
        await trio.sleep(0.1)
    assert engine.report is not None
    print(engine.report.extensions["player"].dropped)


if __name__ == "__main__":
    trio.run(main)
