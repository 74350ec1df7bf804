"""Somebody speaks while the agent still answers: one call stops all of the old answer, and nothing else.

    python -m examples.interruption

The answer is being thought, spoken and played by three extensions at the moment when it is interrupted.
Time is virtual, so this takes no time and always prints the same.
"""

from __future__ import annotations

import trio
import trio.testing

import ten_trio as ten


class Model(ten.Extension):
    """Thinks of a sentence a second."""

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        for number in range(1, data["sentences"] + 1):
            await trio.sleep(1)
            await env.send_data(ten.Data("sentence", {"text": f"{data['about']} {number}"}))


class Voice(ten.Extension):
    """Makes three frames of each sentence."""

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        for part in "abc":
            await env.send_data(ten.Data("frame", {"text": f"{data['text']}{part}"}))


class Player(ten.Extension):
    """Plays a frame in 0.7 s, so some are always waiting."""

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await trio.sleep(0.7)
        print(f"{trio.current_time() - self.began:4.1f} s  {data['text']}")

    async def on_start(self, env: ten.TenEnv) -> None:
        self.began = trio.current_time()

    async def on_turn_cancelled(self, env: ten.TenEnv, turn: ten.Turn) -> str:
        return "silent"


async def main() -> None:
    graph = ten.Graph()
    graph.node("model", Model)
    graph.node("voice", Voice)
    graph.node("player", Player)
    graph.connect("model", "voice", data="sentence")
    graph.connect("voice", "player", data="frame")
    graph.expose("data_in", "question", "model")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        old, new = engine.new_turn(), engine.new_turn()
        rain = ten.Data("question", {"about": "rain", "sentences": 100})
        await engine.send_data(rain, turn=old)
        await trio.sleep(4.1)

        report = await engine.cancel_turn(old, "somebody speaks")
        assert report is not None
        print(
            f"interrupted: {report.handlers} handlers cancelled, {report.dropped} messages dropped,"
            f" player {report.acknowledged['player']}"
        )
        await engine.send_data(ten.Data("question", {"about": "sun", "sentences": 1}), turn=new)
        await trio.sleep(4.1)


if __name__ == "__main__":
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
