"""Codecs: any message survives any split, and no bytes do anything worse than a `CodecError`."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgpack
from hypothesis import given, reject, strategies as st

from ten_trio.messages import (
    AudioFrame,
    Cmd,
    CmdResult,
    Data,
    Float32,
    Int8,
    Int16,
    Int32,
    Loc,
    Msg,
    StatusCode,
    StopGraph,
    Timer,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    VideoFrame,
)
from ten_trio.messages.values import type_of
from ten_trio.network import Codec, CodecError, CodecLimits, JsonCodec, MsgpackCodec, WireMsg
from ten_trio.testing.strategies import atoms, values

VECTORS = [
    bytes.fromhex(vector["bytes"])
    for vector in json.loads(
        (Path(__file__).parents[1] / "tests/network/vectors.json").read_text(encoding="utf-8")
    )
]
TEXTS = st.text(st.characters(codec="utf-8"), max_size=6)
NAMES = TEXTS.filter(lambda name: name and not name.startswith("ten"))
SIZED = st.sampled_from([Int8, Int16, Int32, UInt8, UInt16, UInt32, UInt64])
ATOMS = (
    atoms()
    | st.binary(max_size=6)
    | SIZED.flatmap(lambda kind: st.integers(kind.low, kind.high).map(kind))
    | st.floats(width=32, allow_nan=False).map(Float32)
    | st.just(b"big" * 6_000)
)
BUFFERS = st.binary(max_size=20) | st.sampled_from([16_384, 70_000]).map(bytes)
PARTS = st.none() | TEXTS
PLACES = st.builds(Loc, TEXTS, TEXTS, TEXTS) | st.just(Loc("")) | st.just(Loc("", "g"))


def messages(values: st.SearchStrategy[Any]) -> st.SearchStrategy[WireMsg]:
    properties = st.dictionaries(NAMES, values, max_size=4)
    audio = st.builds(
        AudioFrame,
        TEXTS,
        properties,
        timestamp=st.integers(-(2**63), 2**63 - 1),
        sample_rate=st.integers(-(2**31), 2**31 - 1),
        channel_layout=st.integers(0, 2**64 - 1),
        is_eof=st.booleans(),
        buf=BUFFERS,
    )
    video = st.builds(
        VideoFrame, TEXTS, properties, width=st.integers(0, 99), is_eof=st.booleans(), buf=BUFFERS
    )
    msg = (
        st.builds(Cmd, NAMES, properties, seq_id=TEXTS)
        | st.builds(CmdResult, st.sampled_from(StatusCode), properties, is_final=st.booleans())
        | st.builds(Data, TEXTS, properties, buf=BUFFERS)
        | audio
        | video
        | st.builds(Timer, properties, timer_id=st.integers(0, 2**32 - 1))
        | st.builds(StopGraph, properties, graph_id=TEXTS)
    )

    def placed(msg: Any, src: Loc, dests: list[Loc], cmd_id: str) -> WireMsg:
        msg._src = src
        msg.set_dests(dests)
        return WireMsg(msg, cmd_id if msg.kind in ("cmd", "result") else "")

    return st.builds(
        placed, msg, st.builds(Loc, PARTS, PARTS, PARTS), st.lists(PLACES, max_size=2), TEXTS
    )


def content(wire: WireMsg) -> list[Any]:
    """All there is, with the types of the values."""
    msg = wire.msg
    fields = [getattr(msg, field.attribute) for field in msg._fields.values()]
    fields = [bytes(each) if isinstance(each, memoryview) else each for each in fields]
    places = msg.get_source(), msg.get_dests()
    return [type(msg), wire.cmd_id, msg.name, places, fields, typed(msg.properties)]


def typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [typed(item) for item in value]
    return type_of(value), value


def fed(codec: Codec, data: bytes, cuts: list[int]) -> list[WireMsg]:
    got: list[WireMsg] = []
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for begin, end in pairwise(places):
        codec.receive_data(data[begin:end])
        got += iter(codec.next_message, None)
    return got


CUTS = st.lists(st.integers(0, 10**6), max_size=6)


@given(st.lists(messages(values(ATOMS)), max_size=5), CUTS)
def test_any_message_survives_any_split_as_msgpack(wires: list[WireMsg], cuts: list[int]) -> None:
    codec = MsgpackCodec(extended=True)
    data = b"".join(codec.encode(wires))
    assert [content(wire) for wire in fed(codec, data, cuts)] == [content(wire) for wire in wires]
    assert codec.trailing_data == b""
    assert codec.dropped == 0


@given(st.lists(messages(values(ATOMS)), max_size=5))
def test_towards_the_original_nothing_but_null_is_missing(wires: list[WireMsg]) -> None:
    codec = MsgpackCodec()
    data = b"".join(codec.encode(wires))
    got = fed(codec, data, [])
    assert len(got) == len(wires)
    # What has come through once comes through as it is.
    assert b"".join(codec.encode(got)) == data
    if not codec.dropped:
        for old, new in zip(wires, got, strict=True):
            assert typed(old.msg.properties) == typed(new.msg.properties)


@given(st.lists(messages(values()), max_size=5), CUTS)
def test_any_message_survives_any_split_as_json(wires: list[WireMsg], cuts: list[int]) -> None:
    codec = JsonCodec()
    data = b"".join(codec.encode(wires))
    assert [content(wire) for wire in fed(codec, data, cuts)] == [content(wire) for wire in wires]
    assert codec.dropped == 0


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Real bytes with some changed, left out, put in or repeated."""
    data = bytearray(b"".join(draw(st.lists(st.sampled_from(VECTORS), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        piece = draw(st.binary(max_size=6) | st.sampled_from(VECTORS).map(lambda v: v[-20:]))
        data[at : at + draw(st.sampled_from([0, 1, len(piece)]))] = piece
    return bytes(data)


LIMITS = CodecLimits(max_message=100_000, max_depth=8, max_properties=200, max_string=5_000)


def check_harmless(codec: Codec, data: bytes, cuts: list[int]) -> None:
    try:
        for msg, cmd_id in fed(codec, data, cuts):
            assert isinstance(msg, Msg)
            repr(msg)
            MsgpackCodec(extended=True).encode([WireMsg(msg, cmd_id)])
    except CodecError as error:
        assert error.offset is None or 0 <= error.offset <= len(data)


@given(mutated() | st.binary(max_size=300), CUTS)
def test_no_bytes_do_harm_to_the_msgpack_codec(data: bytes, cuts: list[int]) -> None:
    check_harmless(MsgpackCodec(LIMITS), data, cuts)


@given(st.lists(st.integers(0, 17) | st.sampled_from([b"", "", "x", 2**31, None]), max_size=40))
def test_no_values_do_harm_to_the_msgpack_codec(values: list[Any]) -> None:
    body = b"".join(map(msgpack.packb, values))
    for number in range(1, 12):
        whole = bytes([number]) + body
        check_harmless(MsgpackCodec(LIMITS), b"\xc8" + len(whole).to_bytes(2) + b"\1" + whole, [])


def outcome(data: bytes, before: bytes) -> list[Any]:
    """What is read of `data` after `before`, and how it ends."""
    codec = MsgpackCodec(LIMITS, extended=True)
    codec.receive_data(before)
    list(iter(codec.next_message, None))
    codec.receive_data(data)
    got: list[Any] = []
    try:
        got += map(content, iter(codec.next_message, None))
    except CodecError as error:
        assert error.offset is not None
        got += [type(error), error.args, error.offset - len(before)]
    return got


@given(
    messages(values(ATOMS)),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_what_came_before_makes_no_difference(
    wire: WireMsg, changes: list[tuple[int, int]]
) -> None:
    codec = MsgpackCodec(LIMITS, extended=True)
    try:
        right = b"".join(codec.encode([wire]))
    except CodecError:
        reject()
    wrong = bytearray(right)
    for at, byte in changes:
        wrong[at % len(wrong)] = byte
    assert str(outcome(bytes(wrong), right * 6)) == str(outcome(bytes(wrong), b""))


@given(
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
    | st.binary(max_size=200)
    | values().map(lambda value: json.dumps(value).encode())
    | st.dictionaries(
        st.sampled_from(["type", "name", "src", "dest", "buf", "nodes", "is_eof", "cmd_id"]),
        values(atoms() | st.sampled_from(["start_graph", "data", "audio_frame", "result"])),
    ).map(lambda ten: json.dumps({"ten": ten}).encode()),
    CUTS,
)
def test_no_bytes_do_harm_to_the_json_codec(data: bytes, cuts: list[int]) -> None:
    check_harmless(JsonCodec(LIMITS), data + b"\n", cuts)


REPEATED = [b"\x00", b"\x90", b"\x80", b"\xc0", b"\xa0", b"\xa1x", b"\xdd\0\0\xff\xff", b"\xdf\xff"]


@given(st.sampled_from(REPEATED), st.sampled_from([b"", VECTORS[0][4:30], VECTORS[2][3:100]]))
def test_memory_stays_in_proportion_to_the_limit(repeated: bytes, before: bytes) -> None:
    limits = CodecLimits(max_message=200_000, max_properties=2_000)
    body = (before + repeated * 200_000)[:190_000]
    codec = MsgpackCodec(limits)
    data = b"\xc9" + len(body).to_bytes(4) + b"\1" + body
    tracemalloc.start()
    try:
        codec.receive_data(data)
        codec.next_message()
    except CodecError:
        pass
    finally:
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert most < 10 * limits.max_message
