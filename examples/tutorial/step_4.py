"""Step 4: ears. Sound comes in, speech is found in it, and becomes text."""

from __future__ import annotations

import trio
import trio.testing

import ten_trio as ten

from . import step_3
from .sound import FRAME, frames, hear, loudness, speak
from .step_3 import audio_frame

SILENCE = bytes(FRAME)


class Source(ten.Extension):
    """The microphone: what the person says, at the pace of real time, with silence around it."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        for samples in [*frames(speak(cmd["text"])), *[SILENCE] * 15]:
            await env.send_audio_frame(audio_frame(samples))
            await trio.sleep(0.02)
        await env.return_result(cmd.ok())


class Vad(ten.Extension):
    """Where speech begins, and where it ends: after 200 ms of silence."""

    async def on_init(self, env: ten.TenEnv) -> None:
        self.speech = False
        self.quiet = 0

    async def on_audio_frame(self, env: ten.TenEnv, frame: ten.AudioFrame) -> None:
        loud = loudness(frame.buf) > 1000
        self.quiet = 0 if loud else self.quiet + 1
        if loud and not self.speech:
            self.speech = True
            await env.send_data(ten.Data("speech_start"))
        if self.speech and self.quiet == 10:
            self.speech = False
            await env.send_data(ten.Data("speech_end"))
        elif loud:
            await env.send_audio_frame(frame)


class Asr(ten.Extension):
    """Recognises what was said between `speech_start` and `speech_end`."""

    async def on_audio_frame(self, env: ten.TenEnv, frame: ten.AudioFrame) -> None:
        self.sound += frame.buf

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        if data.name == "speech_start":
            self.sound = bytearray()
        else:
            await env.send_data(ten.Data("text", {"text": hear(bytes(self.sound))}))


def with_ears(graph: ten.Graph) -> ten.Graph:
    graph.node("source", Source)
    graph.node("vad", Vad)
    graph.node("asr", Asr)
    fresh = ten.FlowPolicy(max_age_ms=200)
    graph.connect("source", "vad", audio_frame="pcm_frame", flow=fresh)
    graph.connect("vad", "asr", audio_frame="pcm_frame", flow=fresh)
    graph.connect("vad", "asr", data=["speech_start", "speech_end"])
    graph.connect("asr", "dialogue", data="text")
    graph.expose("cmd_in", "say", "source")
    graph.expose("data_out", "text", "asr")
    return graph


def agent() -> ten.Graph:
    return with_ears(step_3.agent())


async def main() -> None:
    async with ten.open_app() as app, app.open_graph(agent()) as engine:
        async with engine.messages() as messages:
            began = trio.current_time()
            await engine.send_cmd(ten.Cmd("say", {"text": "weather in rome"}))
            for _ in range(4):
                message = await messages.receive()
                who = "you" if message.name == "text" else "agent"
                print(f"{trio.current_time() - began:.2f} s  {who:>5}  {message['text']}")


if __name__ == "__main__":
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
