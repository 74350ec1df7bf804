"""What the agent hears: questions from WAV files, as a microphone would deliver them, or one."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from importlib import import_module
from math import inf
from pathlib import Path
from typing import Any

import trio

import ten_trio as ten

APP_FOLDER = Path(__file__).parents[3]
RATE = 16_000
SAMPLES = 320
"""Of one frame: 20 ms."""
SILENCE = bytes(2 * SAMPLES)


@ten.addon("source")
class Source(ten.Extension):
    """Sends audio frames `pcm_frame` of 20 ms, at `pace` times real time.

    Properties: `questions`, a list of WAV files; `interrupt`: from the second on, ask while the agent
    has been speaking for `interrupt_after_ms`, rather than when it has finished; `patience_s`: how
    long to wait for an answer to begin; `microphone`: listen to that, until the graph is stopped.
    """

    async def on_start(self, env: ten.TenEnv) -> None:
        self._pace = env.get_property_float("pace")
        self._due = trio.current_time()
        self._sent = 0
        self._expect()
        if env.get_property_bool("microphone"):
            env.nursery.start_soon(self._listen, env, load_sounddevice())
            return
        questions = [read_wav(APP_FOLDER / path) for path in env["questions"]]
        env.nursery.start_soon(self._ask, env, questions)

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        """`playback_start` and `playback_end` of the answers."""
        if data.name == "playback_start":
            self._started.set()
        elif self._started.is_set():
            self._ended.set()

    def _expect(self) -> None:
        """From here on, the answer to the question just asked may begin and end."""
        self._started, self._ended = trio.Event(), trio.Event()

    async def _ask(self, env: ten.TenEnv, questions: list[list[bytes]]) -> None:
        lead_in = [SILENCE] * 15
        for number, question in enumerate(questions, 1):
            for frame in lead_in + question:
                await self._send(env, frame)
            self._expect()
            with trio.move_on_after(env.get_property_float("patience_s")):
                await self._be_silent(env, self._started)
            if number < len(questions) and env.get_property_bool("interrupt"):
                for _ in range(env.get_property_int("interrupt_after_ms") // 20):
                    await self._send(env, SILENCE)
            elif self._started.is_set():
                await self._be_silent(env, self._ended)
        await env.send_data(ten.Data("end_of_input"))

    async def _be_silent(self, env: ten.TenEnv, until: trio.Event) -> None:
        while not until.is_set():
            await self._send(env, SILENCE)

    async def _send(self, env: ten.TenEnv, samples: bytes) -> None:
        await trio.sleep_until(self._due)
        self._due += 0.02 / self._pace
        await env.send_audio_frame(audio_frame(samples, self._sent))
        self._sent += 20

    async def _listen(self, env: ten.TenEnv, sounddevice: Any) -> None:
        proxy = env.proxy()

        def heard(samples: Any, *_: object) -> None:  # in PortAudio's thread
            proxy.send_audio_frame(audio_frame(bytes(samples), self._sent))
            self._sent += 20

        with sounddevice.RawInputStream(
            samplerate=RATE, blocksize=SAMPLES, channels=1, dtype="int16", callback=heard
        ):
            await trio.sleep(inf)


def audio_frame(samples: bytes, timestamp: int) -> ten.AudioFrame:
    """A frame of 16 kHz mono; `timestamp` in ms."""
    return ten.AudioFrame(
        "pcm_frame",
        timestamp=timestamp,
        sample_rate=RATE,
        bytes_per_sample=2,
        samples_per_channel=len(samples) // 2,
        number_of_channels=1,
        buf=samples,
    )


def read_wav(path: Path) -> list[bytes]:
    """The samples of a WAV file in pieces of 20 ms. Raises `ValueError` unless it is 16 kHz mono."""
    with wave.open(str(path)) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RATE, 1, 2):
            raise ValueError(f"{path}: a question must be 16 kHz mono, 16 bits per sample")
        return list(_pieces(file))


def _pieces(file: wave.Wave_read) -> Iterator[bytes]:
    while piece := file.readframes(SAMPLES):
        yield piece.ljust(len(SILENCE), b"\0")


def load_sounddevice() -> Any:
    """The module. Raises `MissingExtra` if it, or the PortAudio library it needs, isn't there."""
    try:
        return import_module("sounddevice")
    except (ImportError, OSError) as problem:
        raise ten.MissingExtra(
            f"the microphone needs sounddevice and PortAudio ({problem}): "
            "pip install 'ten-trio[microphone]'; apt-get install libportaudio2"
        ) from problem
