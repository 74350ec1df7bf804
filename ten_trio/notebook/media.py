"""Sound and pictures as what a browser plays and shows: WAV and PNG, made with the standard library."""

from __future__ import annotations

import wave
import zlib
from base64 import b64encode
from collections.abc import Iterable, Sequence
from io import BytesIO
from struct import pack
from typing import Any, Final

from ..errors import InvalidArgument
from ..messages import AudioFrame, AudioFrameDataFmt, PixelFmt, VideoFrame
from . import html

WIDEST: Final = 960
"""Pixels; larger pictures are shown with every second, third … pixel."""
LONGEST: Final = 120.0
"""Seconds of sound that one player gets, since the page holds all of it."""


# Sound ----------------------------------------------------------------------------------------------


class Sound:
    """Frames one after another, as one player: `Sound(frames)`. All must be alike.

    Raises `InvalidArgument` if they aren't, or don't say what they are.
    """

    def __init__(self, frames: Iterable[AudioFrame]) -> None:
        self.frames: Sequence[AudioFrame] = tuple(frames)
        kinds = {_form(frame) for frame in self.frames}
        if len(kinds) != 1:
            raise InvalidArgument(f"a sound is made of frames of one kind, not of {len(kinds)}")
        rate, channels, width = kinds.pop()
        if rate <= 0 or channels <= 0 or not 1 <= width <= 4:
            raise InvalidArgument(
                f"{self.frames[0]!r} says {rate} samples per second, {channels} channels and "
                f"{width} bytes per sample: that can't be played"
            )

    @property
    def seconds(self) -> float:
        """How long it takes."""
        rate, channels, width = _form(self.frames[0])
        return sum(len(frame.buf) for frame in self.frames) / (rate * channels * width)

    def to_wav(self) -> bytes:
        """As the content of a WAV file."""
        rate, channels, width = _form(self.frames[0])
        file = BytesIO()
        with wave.open(file, "wb") as out:
            out.setnchannels(channels)
            out.setsampwidth(width)
            out.setframerate(rate)
            for frame in self.frames:
                out.writeframes(_samples(frame))
        return file.getvalue()

    def __str__(self) -> str:
        rate, number, width = _form(self.frames[0])
        return f"{self.seconds:.2f} s of sound, {rate} Hz, {channels(number)}, {8 * width} bits"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {
            "text/plain": str(self),
            "text/html": html.box(html.muted(self), player(self)),
        }


def channels(number: int) -> str:
    """In words."""
    return {1: "mono", 2: "stereo"}.get(number, f"{number} channels")


def player(sound: Sound) -> str:
    """HTML that plays it."""
    if sound.seconds > LONGEST:
        return html.muted(f"too long to be played here (more than {LONGEST:.0f} s)")
    data = b64encode(sound.to_wav()).decode()
    return f'<audio controls src="data:audio/wav;base64,{data}"></audio>'


def playable(frame: AudioFrame) -> str:
    """HTML that plays one frame; "" if it has no sound that can be."""
    try:
        sound = Sound([frame])
    except InvalidArgument:
        return ""
    return player(sound) if frame.buf else ""


def _form(frame: AudioFrame) -> tuple[int, int, int]:
    return frame.sample_rate, frame.number_of_channels, frame.bytes_per_sample


def _samples(frame: AudioFrame) -> bytes:
    _, channels, width = _form(frame)
    whole = len(frame.buf) // (channels * width) * channels * width
    samples = bytes(frame.buf[:whole])
    if frame.data_fmt != AudioFrameDataFmt.NON_INTERLEAVE or channels == 1:
        return samples
    mixed = bytearray(whole)
    plane = whole // channels
    for channel in range(channels):
        for byte in range(width):
            first = channel * width + byte
            mixed[first :: channels * width] = samples[
                channel * plane + byte : (channel + 1) * plane : width
            ]
    return bytes(mixed)


# Pictures -------------------------------------------------------------------------------------------

_BYTES: Final = {PixelFmt.RGB24: 3, PixelFmt.BGR24: 3, PixelFmt.RGBA: 4, PixelFmt.BGRA: 4}
_SWAPPED: Final = (PixelFmt.BGR24, PixelFmt.BGRA)
_GREY: Final = (PixelFmt.I422, PixelFmt.I420, PixelFmt.NV12, PixelFmt.NV21)


def to_png(frame: VideoFrame) -> bytes:
    """A video frame as the content of a PNG file; of a YUV picture only how bright it is.

    Raises `InvalidArgument` if it has no size, an unknown format, or too short a buffer.
    """
    grey = frame.pixel_fmt in _GREY
    size = 1 if grey else _BYTES.get(frame.pixel_fmt, 0)
    stride = size * frame.width
    if size == 0 or frame.width <= 0 or frame.height <= 0 or len(frame.buf) < stride * frame.height:
        raise InvalidArgument(
            f"{frame!r}: {len(frame.buf)} bytes are no picture of {frame.width} x {frame.height} "
            f"in {frame.pixel_fmt.name}"
        )
    every = -(-max(frame.width, frame.height) // WIDEST)
    rows = [
        _row(bytes(frame.buf[y * stride : (y + 1) * stride]), size, every, frame.pixel_fmt)
        for y in range(0, frame.height, every)
    ]
    width = len(rows[0]) // size
    colour_type = {1: 0, 3: 2, 4: 6}[size]
    header = pack(">IIBBBBB", width, len(rows), 8, colour_type, 0, 0, 0)
    pixels = b"".join(b"\0" + row for row in rows)
    chunks: Iterable[tuple[bytes, bytes]] = (
        (b"IHDR", header),
        (b"IDAT", zlib.compress(pixels, 6)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        pack(">I", len(data)) + kind + data + pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def _row(row: bytes, size: int, every: int, form: PixelFmt) -> bytes:
    if every == 1 and form not in _SWAPPED:
        return row
    planes = [row[index :: size * every] for index in range(size)]
    if form in _SWAPPED:
        planes[0], planes[2] = planes[2], planes[0]
    thin = bytearray(size * len(planes[0]))
    for index, plane in enumerate(planes):
        thin[index::size] = plane
    return bytes(thin)


__all__ = ["Sound", "playable", "player", "to_png"]
