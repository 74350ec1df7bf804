"""The msgpack codec against msgpack by itself, and big buffers against one copy of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import Any

import msgpack

import ten_trio as ten
from ten_trio.network import MsgpackCodec, WireMsg

from .harness import Case, Measure, Run

CHUNK = 262_144
PLACE = ten.Loc("msgpack://127.0.0.1:8001/", "a9439915-ac61-4d46-aa7e-de07276c5d34", "ext_a")
CMD_ID = "9a93eb0e-52d0-4cfa-953f-17c5b485061d"


def _placed(msg: Any) -> Any:
    msg._src = PLACE
    msg.set_dests([PLACE])
    return msg


def _cmd() -> WireMsg:
    properties = {"text": "hello there", "n": 7, "level": 0.5, "final": True, "lang": "en-US"}
    return WireMsg(_placed(ten.Cmd("recognised", properties)), CMD_ID)


def _audio() -> WireMsg:
    frame = ten.AudioFrame(
        "pcm",
        timestamp=123_456_789,
        sample_rate=16_000,
        bytes_per_sample=2,
        samples_per_channel=160,
        number_of_channels=1,
        line_size=320,
        buf=bytes(range(160)) * 2,
    )
    return WireMsg(_placed(frame))


def _video() -> WireMsg:
    size = 1920 * 1080 * 3 // 2
    pixels = bytes(size)
    return WireMsg(_placed(ten.VideoFrame("img", width=1920, height=1080, buf=pixels)))


def _bytes(wire: WireMsg) -> bytes:
    return b"".join(MsgpackCodec().encode([wire]))


def _often(make: Callable[[], Callable[[], object]], n: int) -> Measure:
    async def measure(run: Run) -> float:
        times = run.times(n)
        action = make()
        action()
        began = run.clock()
        for _ in repeat(None, times):
            action()
        return (run.clock() - began) / times

    return measure


def _both_ways(wire: WireMsg) -> Callable[[], Callable[[], object]]:
    def make() -> Callable[[], object]:
        sender, receiver = MsgpackCodec(), MsgpackCodec()

        def both() -> None:
            for piece in sender.encode((wire,)):
                receiver.receive_data(piece)
            assert receiver.next_message() is not None

        return both

    return make


def _equal_list(wire: WireMsg) -> Callable[[], Callable[[], object]]:
    """What the message consists of, as a list, by msgpack alone."""
    header = 3 if len(_bytes(wire)) < 258 else 4
    unpacker = msgpack.Unpacker()
    unpacker.feed(_bytes(wire)[header:])
    values = list(unpacker)
    return lambda: lambda: msgpack.unpackb(msgpack.packb(values))


def _encode_video() -> Callable[[], object]:
    codec, wire = MsgpackCodec(), _video()
    return lambda: codec.encode((wire,))


def _decode_video() -> Callable[[], object]:
    codec, data = MsgpackCodec(), _bytes(_video())
    chunks = [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)]

    def decode() -> None:
        for chunk in chunks:
            codec.receive_data(chunk)
        assert codec.next_message() is not None

    return decode


def _copy_video() -> Callable[[], object]:
    pixels = _video().msg.buf  # type: ignore[attr-defined]
    return lambda: bytearray(pixels)


def _against_list(name: str, title: str, wire: WireMsg) -> Case:
    measure, base = _often(_both_ways(wire), 2_000), _often(_equal_list(wire), 2_000)
    return Case(name, title, measure, "x msgpack of a list", base)


_COPY = _often(_copy_video, 200)

CASES = [
    _against_list("codec-cmd", "encode and decode a command with 5 properties", _cmd()),
    _against_list("codec-audio", "encode and decode 10 ms of sound, 320 B", _audio()),
    Case(
        "codec-video/out", "encode a picture of 3 MB", _often(_encode_video, 200), "x a copy", _COPY
    ),
    Case(
        "codec-video/in",
        "decode it, from chunks of 256 KiB",
        _often(_decode_video, 200),
        "x a copy",
        _COPY,
    ),
]
