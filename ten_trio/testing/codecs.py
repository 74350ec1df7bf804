"""What every codec has to keep to: the rules of `check_protocol` that need no connection."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any, Final

import attrs

from ..messages import (
    AudioFrame,
    CloseApp,
    Cmd,
    CmdResult,
    Data,
    Loc,
    Msg,
    StartGraph,
    StatusCode,
    StopGraph,
    Timer,
    VideoFrame,
)
from ..network.codec import Codec, CodecError, CodecLimits, WireMsg

MakeCodec = Callable[[CodecLimits], Codec]

REQUIRED: Final = (Cmd, CmdResult, Data, StartGraph, StopGraph)
"""What a codec has to have bytes for. It may refuse to encode other messages, with `CodecError`."""

_PROPERTIES: Final[dict[str, Any]] = {
    "yes": True,
    "small": -5,
    "big": 2**40,
    "half": 0.5,
    "text": 'Grüße, "日本" \\ \n\r\t {}[]:, 🙂',
    "empty": "",
    "list": [1, "two", [3.5, False], {}, []],
    "object": {"inner": {"x": [1]}, "a key": "v"},
}
# Fields that not every form of a message has.
_ONLY_OURS: Final = {"cmd_id", "is_completed", "original_cmd_name", "is_eof", "channel_layout"}
_GRAPH: Final = {"nodes": [{"type": "extension", "name": "a", "addon": "b"}]}


def samples() -> list[WireMsg]:
    """Messages of all types, with something in all of their fields."""
    frame = AudioFrame("sound", buf=bytes(range(256)))
    frame.sample_rate, frame.samples_per_channel = 16_000, 128
    picture = VideoFrame("picture", buf=b"\n\x00\r" * 7)
    picture.width, picture.height = 4, 3
    told = Data("told", _PROPERTIES, buf=b"\x00\xff\n\r{}," * 3)
    not_the_last = CmdResult(StatusCode.OK, {"n": 1}, is_final=False)
    messages: list[Msg] = [
        Cmd("ask", _PROPERTIES),
        Data("nothing"),
        told,
        not_the_last,
        CmdResult(StatusCode.ERROR, {"detail": "no, not at all"}),
        StopGraph(graph_id="some-graph"),
        _by_name(),
        StartGraph(graph_json=json.dumps(_GRAPH)),
        CloseApp(),
        Timer(timer_id=7, timeout_us=1_000_000, times=3),
        frame,
        picture,
    ]
    found = []
    for index, msg in enumerate(messages):
        msg._src = Loc("msgpack://127.0.0.1:1/", "g", "ext") if index % 2 else Loc()
        msg._dests = (Loc("", "g2", "other"), Loc("app:x")) if index % 3 else ()
        cmd_id = ""
        if isinstance(msg, Cmd | CmdResult):
            msg.seq_id = f"seq {index}"
            cmd_id = f"id-{index}" if index % 2 else ""
        found.append(WireMsg(msg, cmd_id))
    return found


def _by_name() -> StartGraph:
    cmd = StartGraph(long_running_mode=True)
    cmd.set_predefined_graph_name("known there")
    return cmd


def speakable(make: MakeCodec) -> list[WireMsg]:
    """Those of the samples that a codec has bytes for. Raises `AssertionError` if too few are."""
    found = []
    for wire in samples():
        try:
            make(CodecLimits()).encode([wire])
        except CodecError as error:
            assert not isinstance(wire.msg, REQUIRED), f"{wire.msg!r} can't be encoded: {error}"
        else:
            found.append(wire)
    return found


def written(codec: Codec, wires: Iterable[WireMsg]) -> bytes:
    """The bytes of messages."""
    return b"".join(codec.encode(wires))


def drained(codec: Codec, most: int) -> list[WireMsg]:
    """Every message that there is. Raises `AssertionError` if there are more than `most`."""
    found: list[WireMsg] = []
    while (wire := codec.next_message()) is not None:
        assert isinstance(wire, WireMsg), f"next_message returned {wire!r}, which is no WireMsg"
        found.append(wire)
        assert len(found) <= most, "next_message goes on giving messages that nobody has sent"
    return found


def same(sent: Sequence[WireMsg], got: Sequence[WireMsg]) -> None:
    """Raise `AssertionError` unless these are the same messages."""
    for one, other in zip(sent, got, strict=False):
        for what, left, right in _compared(one, other):
            assert left == right, f"{one.msg!r}: {what} was {left!r} and has come as {right!r}"
    assert len(sent) == len(got), f"{len(sent)} messages were sent, {len(got)} have come"


def _compared(one: WireMsg, other: WireMsg) -> Iterable[tuple[str, Any, Any]]:
    yield "the type", type(one.msg), type(other.msg)
    yield "the name", one.msg.name, other.msg.name
    yield "the properties", one.msg.properties, other.msg.properties
    yield "the source", one.msg._src, other.msg._src
    yield "the destinations", one.msg._dests, other.msg._dests
    yield "cmd_id", one.cmd_id, other.cmd_id
    for name, field in one.msg._fields.items():
        if name not in _ONLY_OURS:
            yield name, getattr(one.msg, field.attribute), getattr(other.msg, field.attribute)


# The rules ------------------------------------------------------------------------------------------


def _comes_back(make: MakeCodec) -> None:
    wires = speakable(make)
    for wire in wires:
        codec = make(CodecLimits())
        codec.receive_data(written(make(CodecLimits()), [wire]))
        same([wire], drained(codec, 2))
    codec = make(CodecLimits())
    codec.receive_data(written(make(CodecLimits()), wires))
    same(wires, drained(codec, len(wires) + 1))
    assert written(make(CodecLimits()), []) == b"", "no message is some bytes"
    assert codec.trailing_data == b"", "everything was read, and trailing_data isn't empty"


def _any_split(make: MakeCodec) -> None:
    wires = speakable(make)
    data = written(make(CodecLimits()), wires)
    random = Random(1)
    for size in (1, 2, 3, 0, 0, 0, 0, 0):
        codec = make(CodecLimits())
        got: list[WireMsg] = []
        at = 0
        while at < len(data):
            end = at + (size or random.randrange(1, 120))
            piece = data[at:end]
            codec.receive_data(random.choice((piece, bytearray(piece), memoryview(piece))))
            at = end
            if size or random.randrange(2):
                got += drained(codec, len(wires) + 1)
        same(wires, got + drained(codec, len(wires) + 1))


def _at_once(make: MakeCodec) -> None:
    writer, reader = make(CodecLimits()), make(CodecLimits())
    for wire in speakable(make):
        data = written(writer, [wire])
        reader.receive_data(data[:-1])
        early = drained(reader, 1)
        reader.receive_data(data[-1:])
        same([wire], early + drained(reader, 1))


def _taken_along(make: MakeCodec) -> None:
    wires = speakable(make)
    data = written(make(CodecLimits()), wires)
    for cut in range(0, len(data), max(1, len(data) // 200)):
        before, after = make(CodecLimits()), make(CodecLimits())
        before.receive_data(data[:cut])
        got = []
        with_one = before.next_message()  # and what else is there, the next one has to find
        if with_one is not None:
            got.append(with_one)
        after.receive_data(before.trailing_data)
        after.receive_data(data[cut:])
        same(wires, got + drained(after, len(wires) + 1))


def _shares_nothing(make: MakeCodec) -> None:
    wires = speakable(make)
    data = written(make(CodecLimits()), wires)
    codecs = [make(CodecLimits()) for _ in range(3)]
    half = len(data) // 2
    got: list[list[WireMsg]] = [[], [], []]
    for piece in (data[:half], data[half:]):
        for codec, found in zip(codecs, got, strict=True):
            codec.receive_data(piece)
            found += drained(codec, len(wires) + 1)
    for found in got:
        same(wires, found)


def _garbage(make: MakeCodec) -> None:
    limits = CodecLimits(max_message=65_536)
    good = written(make(limits), speakable(make))
    random = Random(2)
    for number in range(600):
        data = _spoiled(good, random) if number % 3 else random.randbytes(random.randrange(1, 300))
        codec = make(limits)
        try:
            for at in range(0, len(data), size := random.choice((len(data), 7, 100))):
                codec.receive_data(data[at : at + size])
                drained(codec, len(data))
        except CodecError as error:
            again = ""
            with suppress(CodecError):
                again = f"{codec.next_message()!r}"
            assert not again, f"after {error!r} there is no end: next_message returned {again}"
        except AssertionError:
            raise
        except Exception as error:
            text = f"{type(error).__name__} rather than CodecError for {_shown(data)}: {error}"
            raise AssertionError(text) from error
        _ = codec.trailing_data


def _spoiled(good: bytes, random: Random) -> bytes:
    data = bytearray(good)
    at = random.randrange(len(data))
    how = random.randrange(4)
    if how == 0:
        data[at] = random.randrange(256)
    elif how == 1:
        del data[at : at + random.randrange(1, 20)]
    elif how == 2:
        data[at:at] = random.randbytes(random.randrange(1, 20))
    else:
        data[at:at] = data[random.randrange(len(data)) :][:50]
    return bytes(data)


def _shown(data: bytes) -> str:
    return f"{data[:60]!r}…" if len(data) > 60 else repr(data)


_SMALL: Final = CodecLimits(max_message=4_000, max_depth=4, max_properties=1_000, max_string=500)
_WIDE: Final = attrs.evolve(_SMALL, max_message=10**6)


def _limits(make: MakeCodec) -> None:
    deep: Any = 1
    for _ in range(20):
        deep = [deep]
    fine = WireMsg(Data("fine", {"n": 1}))
    for what, msg in (
        ("max_message", Data("x", buf=bytes(10_000))),
        ("max_depth", Data("x", {"deep": deep})),
        ("max_properties", Data("x", {"many": [1] * 20_000})),
        ("max_string", Data("x", {"s": "x" * 1_500})),
    ):
        data = written(make(CodecLimits()), [WireMsg(msg), fine])
        codec = make(_WIDE if what == "max_properties" else _SMALL)
        codec.receive_data(data)
        _refused(f"{what} when reading", partial(drained, codec, 2))
        if what in ("max_message", "max_depth"):
            writer = make(_SMALL)
            _refused(f"{what} when writing", partial(writer.encode, [fine, WireMsg(msg)]))
            reader = make(_SMALL)
            reader.receive_data(written(writer, [fine]))
            same([fine], drained(reader, 1))
    _endless(make)


def _refused(what: str, do: Callable[[], object]) -> None:
    try:
        got = do()
    except CodecError:
        return
    raise AssertionError(f"{what}: something bigger is let through: {_shown(repr(got).encode())}")


def _endless(make: MakeCodec) -> None:
    """What never becomes a message isn't kept for ever."""
    data = written(make(CodecLimits()), [WireMsg(Data("x", buf=bytes(400_000)))])
    codec = make(_SMALL)
    try:
        for at in range(0, len(data) - 1, 1_000):
            codec.receive_data(data[at : min(at + 1_000, len(data) - 1)])
            drained(codec, 1)
    except CodecError:
        return
    raise AssertionError(
        f"{len(data)} bytes are kept of a message that may have {_SMALL.max_message}"
    )


RULES: Final[dict[str, Callable[[MakeCodec], None]]] = {
    "every message comes back": _comes_back,
    "any split of the bytes gives the same messages": _any_split,
    "a message is there with its last byte": _at_once,
    "trailing_data is what the next codec goes on with": _taken_along,
    "codecs share nothing": _shares_nothing,
    "bytes that are no message raise CodecError, and nothing else": _garbage,
    "nothing passes that is beyond the limits": _limits,
}
