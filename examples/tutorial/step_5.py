"""Step 5: being interrupted. Every answer is a turn, and a turn can be cancelled as a whole."""

from __future__ import annotations

import trio
import trio.testing

import ten_trio as ten

from . import step_2, step_3
from .step_4 import with_ears


class Dialogue(step_2.Dialogue):
    async def on_init(self, env: ten.TenEnv) -> None:
        self.turn = env.new_turn()

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        if data.name == "speech_start":
            report = await env.cancel_turn(self.turn, "interrupted")
            if report is not None and report.dropped:
                await env.send_data(ten.Data("interrupted", {"frames": report.dropped}))
        else:
            self.turn = env.new_turn()
            env.nursery.start_soon(self.answer, env, data, self.turn)

    async def answer(self, env: ten.TenEnv, data: ten.Data, turn: ten.Turn) -> None:
        with env.turn_scope(turn):
            await super().on_data(env, data)


def agent() -> ten.Graph:
    graph = with_ears(step_3.agent(Dialogue))
    graph.connect("vad", "dialogue", data="speech_start")
    graph.expose("data_out", "interrupted", "dialogue")
    return graph


async def main() -> None:
    async with ten.open_app() as app, app.open_graph(agent()) as engine:
        async with engine.messages() as messages, trio.open_nursery() as nursery:
            nursery.start_soon(show, messages)
            await engine.send_cmd(ten.Cmd("say", {"text": "weather in rome"}))
            await trio.sleep(0.5)
            await engine.send_cmd(ten.Cmd("say", {"text": "in atlantis"}))
            await trio.sleep(3)
            nursery.cancel_scope.cancel()


async def show(messages: ten.Subscription) -> None:
    began = trio.current_time()
    async for message in messages:
        who = {"text": "you", "sentence": "agent"}.get(message.name, "")
        told = message["text"] if who else f"({message['frames']} messages dropped)"
        print(f"{trio.current_time() - began:.2f} s  {who:>5}  {told}")


if __name__ == "__main__":
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
