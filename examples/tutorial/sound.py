"""A toy language of beeps: each letter has a pitch. Good enough to be spoken and heard without any library."""

from __future__ import annotations

import math
from array import array
from itertools import pairwise

RATE = 8_000  # samples per second
FRAME = RATE // 50 * 2  # bytes of 20 ms
LETTER = RATE // 50 * 3  # samples of 60 ms
LETTERS = " abcdefghijklmnopqrstuvwxyz"


def pitch(letter: str) -> int:
    return 400 + 50 * LETTERS.index(letter)


def speak(text: str) -> bytes:
    """The samples of `text`: 16 bits, mono."""
    samples = array("h")
    for letter in text:
        step = 2 * math.pi * pitch(letter) / RATE
        samples.extend(round(8000 * math.sin(step * (n + 0.5))) for n in range(LETTER))
    return samples.tobytes()


def hear(sound: bytes) -> str:
    """The text in `sound`: how often it goes through zero tells the letter."""
    samples = array("h", sound)
    text = ""
    for start in range(0, len(samples) - LETTER // 2, LETTER):
        part = samples[start : start + LETTER]
        crossings = sum((a < 0) != (b < 0) for a, b in pairwise(part))
        number = round((crossings * RATE / 2 / len(part) - 400) / 50)
        text += LETTERS[max(0, min(number, len(LETTERS) - 1))]
    return text


def loudness(sound: bytes) -> int:
    return max(map(abs, array("h", sound)), default=0)


def frames(sound: bytes) -> list[bytes]:
    """In pieces of 20 ms."""
    return [sound[at : at + FRAME].ljust(FRAME, b"\0") for at in range(0, len(sound), FRAME)]
