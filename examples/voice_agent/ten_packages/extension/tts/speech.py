"""Speech from text, by espeak-ng."""

from __future__ import annotations

import io
import shutil
import subprocess
import wave

import trio

import ten_trio as ten

try:
    import numpy as np
    import soxr
except ImportError as problem:
    raise ten.MissingExtra("needs numpy and soxr: pip install 'ten-trio[voice]'") from problem

RATE = 16_000


def find_synthesiser() -> None:
    """Raise `FileNotFoundError` if espeak-ng isn't installed."""
    if shutil.which("espeak-ng") is None:
        raise FileNotFoundError("espeak-ng is not installed: apt-get install espeak-ng")


async def synthesise(text: str, voice: str, words_per_minute: int) -> bytes:
    """`text` as 16 kHz mono samples. Raises `OSError` or `CalledProcessError` if that fails.

    Cancelling it ends the process.
    """
    command = ["espeak-ng", "-v", voice, "-s", str(words_per_minute), "--stdin", "--stdout"]
    done = await trio.run_process(
        command, stdin=text.encode(), capture_stdout=True, stderr=subprocess.DEVNULL
    )
    return await trio.to_thread.run_sync(_samples, done.stdout)


def _samples(content: bytes) -> bytes:
    # espeak-ng can't go back in a pipe to write the length: the header says too much
    with wave.open(io.BytesIO(content)) as file:
        rate = file.getframerate()
        samples = np.frombuffer(file.readframes(len(content) // 2), dtype="<i2")
    return bytes(soxr.resample(samples, rate, RATE).astype("<i2").tobytes())
