"""Step 3: a voice. What is said becomes frames of sound, and these are played in time."""

from __future__ import annotations

import trio
import trio.testing

import ten_trio as ten

from . import step_2
from .sound import FRAME, RATE, frames, speak


def audio_frame(samples: bytes) -> ten.AudioFrame:
    return ten.AudioFrame(
        "pcm_frame",
        sample_rate=RATE,
        bytes_per_sample=2,
        samples_per_channel=FRAME // 2,
        number_of_channels=1,
        buf=samples,
    )


class Tts(ten.Extension):
    """Makes frames as fast as it can."""

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await env.send_data(data)  # before its frames, so that it is known when it begins
        for frame in frames(speak(data["text"])):
            await env.send_audio_frame(audio_frame(frame))


class Sink(ten.Extension):
    """Plays a frame every 20 ms."""

    async def on_init(self, env: ten.TenEnv) -> None:
        self.played = bytearray()

    async def on_audio_frame(self, env: ten.TenEnv, frame: ten.AudioFrame) -> None:
        await trio.sleep(0.02)
        self.played += frame.buf

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await env.send_data(data)  # now it is heard


def agent(dialogue: type[ten.Extension] = step_2.Dialogue) -> ten.Graph:
    graph = ten.Graph()
    graph.node("dialogue", dialogue)
    graph.node("tools", step_2.Tools)
    graph.node("tts", Tts)
    graph.node("sink", Sink)
    graph.connect("dialogue", "tools", cmd="forecast")
    graph.connect("dialogue", "tts", data="sentence")
    graph.connect("tts", "sink", data="sentence")
    at_most_a_second = ten.FlowPolicy(capacity=50, on_full="wait", max_age_ms=2_000)
    graph.connect("tts", "sink", audio_frame="pcm_frame", flow=at_most_a_second)
    graph.expose("data_in", "text", "dialogue")
    graph.expose("data_out", "sentence", "sink")
    return graph


async def main() -> None:
    async with ten.open_app() as app, app.open_graph(agent()) as engine:
        async with engine.messages("sentence") as sentences:
            began = trio.current_time()
            await engine.send_data(ten.Data("text", {"text": "weather in rome"}))
            for _ in range(3):
                text = (await sentences.receive())["text"]
                print(f"{trio.current_time() - began:.2f} s  {text}")


if __name__ == "__main__":
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
