"""The loudspeaker: a WAV file, written at the pace at which a loudspeaker would play it."""

from __future__ import annotations

import wave
from pathlib import Path

import trio

import ten_trio as ten

FRAME_SECONDS = 0.02


@ten.addon("sink")
class Sink(ten.Extension):
    """Plays a frame every 20 ms, at `pace` times real time, into `wav`.

    Sends each `sentence` when it begins, `playback_start` and `playback_end` of each answer that is
    heard, and `finished` when there are no more.  When the turn is cancelled it falls silent, and
    says when its last frames left and ended.  In graphs without turns `flush` does that, and
    `interrupted` says how fast, in ms from the detection of the voice to the end of the last frame.
    """

    async def on_init(self, env: ten.TenEnv) -> None:
        self._pace = env.get_property_float("pace")
        self._path = Path(env.get_property_string("wav"))
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._wav = wave.open(str(self._path), "wb")  # noqa: SIM115 - closed in on_deinit
        self._wav.setparams((1, 2, 16_000, 0, "NONE", ""))
        self._due = 0.0
        self._left: list[float] = []
        """When the frames of the answer that is playing left."""
        self._playing = 0
        """The number of the answer that is playing, or 0."""
        self._turn: ten.Turn | None = None
        self._flushed = 0

    async def on_deinit(self, env: ten.TenEnv) -> None:
        self._wav.close()

    async def on_audio_frame(self, env: ten.TenEnv, frame: ten.AudioFrame) -> None:
        answer = frame["answer"]
        if answer <= self._flushed:
            return
        self._due = max(self._due, trio.current_time())
        await trio.sleep_until(self._due)
        if answer <= self._flushed:
            return
        self._left.append(trio.current_time())
        self._wav.writeframes(frame.buf)
        self._due += FRAME_SECONDS / self._pace

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        """`sentence`, `answer_end`, `end_of_input`: whatever came before them is over."""
        await trio.sleep_until(self._due)
        if data.name == "end_of_input":
            seconds = self._wav.getnframes() / self._wav.getframerate()
            self._wav.close()
            wav = str(self._path)
            await env.send_data(ten.Data("finished", {"wav": wav, "seconds": seconds}))
            return
        answer = data["answer"]
        if answer <= self._flushed:
            return
        if data.name == "answer_end":
            await self._end(env)
            return
        if answer != self._playing:
            self._playing, self._left, self._turn = answer, [], env.turn
            await env.send_data(ten.Data("playback_start", {"answer": answer}))
        await env.send_data(data)

    async def on_turn_cancelled(
        self, env: ten.TenEnv, turn: ten.Turn
    ) -> tuple[list[float], float] | None:
        """When the last frames of the turn left, and when the last of them ends."""
        if not self._playing or turn is not self._turn:
            return None
        await self._end(env)
        return self._left[-10:], max(self._left, default=0.0) + FRAME_SECONDS / self._pace

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        self._flushed = cmd["answer"]
        dropped = env.discard_queued(sent_before=cmd)
        await env.return_result(cmd.ok())
        if self._playing:
            await self._end(env)
            detected_at = cmd["detected_at"]
            silent_at = max(self._left, default=0.0) + FRAME_SECONDS / self._pace
            measured = {
                "ms": max(0.0, silent_at - detected_at) * 1000,
                "frames_after": sum(left > detected_at for left in self._left),
                "dropped": dropped,
            }
            await env.send_data(ten.Data("interrupted", measured))

    async def _end(self, env: ten.TenEnv) -> None:
        ended, self._playing = self._playing, 0
        await env.send_data(ten.Data("playback_end", {"answer": ended}))
