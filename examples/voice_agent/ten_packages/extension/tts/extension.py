"""Speech synthesis: sentences in, audio frames out."""

from __future__ import annotations

import trio

import ten_trio as ten

from .speech import RATE, find_synthesiser, synthesise

FRAME = RATE // 50 * 2
"""Bytes of a frame of 20 ms."""


@ten.addon("tts")
class Tts(ten.Extension):
    """Speaks each `sentence`, one after another: passes it on, and frames of 20 ms after it.

    It makes them as fast as it can and is held back by the sink, whose queue has room for some seconds.
    When the turn is cancelled, so is the sentence that is being spoken, and those that wait are dropped;
    for graphs without turns, `flush` does the same.

    Properties: `voice` and `words_per_minute`, as espeak-ng has them.
    """

    async def on_init(self, env: ten.TenEnv) -> None:
        self._flushed = 0
        self._speaking = trio.CancelScope()

    async def on_start(self, env: ten.TenEnv) -> None:
        find_synthesiser()

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        if data.name != "sentence":
            await env.send_data(data)
        elif data["answer"] > self._flushed:
            with trio.CancelScope() as self._speaking:
                samples = await self.synthesise(env, data["text"])
                await env.send_data(data)
                await self._speak(env, samples, data["answer"])

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        self._flushed = cmd["answer"]
        env.discard_queued(sent_before=cmd)
        self._speaking.cancel("flush")
        await env.return_result(cmd.ok())

    async def synthesise(self, env: ten.TenEnv, text: str) -> bytes:
        """The samples of a sentence."""
        voice, speed = env.get_property_string("voice"), env.get_property_int("words_per_minute")
        return await synthesise(text, voice, speed)

    async def _speak(self, env: ten.TenEnv, samples: bytes, answer: int) -> None:
        for start in range(0, len(samples), FRAME):
            frame = ten.AudioFrame(
                "pcm_frame",
                {"answer": answer},
                sample_rate=RATE,
                bytes_per_sample=2,
                samples_per_channel=FRAME // 2,
                number_of_channels=1,
                buf=samples[start : start + FRAME].ljust(FRAME, b"\0"),
            )
            await env.send_audio_frame(frame)
