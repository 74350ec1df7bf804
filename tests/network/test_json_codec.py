"""The JSON codec: lines and frames, names of the past, limits, text that is wrong."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from ten_trio.graphs import Graph
from ten_trio.messages import (
    AudioFrame,
    CloseApp,
    Cmd,
    Data,
    Loc,
    Msg,
    StartGraph,
    StatusCode,
    VideoFrame,
)
from ten_trio.network import (
    CodecError,
    CodecLimits,
    JsonCodec,
    Malformed,
    TooDeep,
    TooLong,
    TooManyProperties,
    UnknownType,
    WireMsg,
)
from ten_trio.network.codecs.layout import LAYOUTS


def read(data: bytes, **options: Any) -> list[WireMsg]:
    codec = JsonCodec(**options)
    codec.receive_data(data)
    return list(iter(codec.next_message, None))


def one(document: dict[str, Any], **options: Any) -> Any:
    ((msg, _),) = read(json.dumps(document).encode() + b"\n", **options)
    return msg


def write(*messages: Msg, **options: Any) -> bytes:
    return b"".join(JsonCodec(**options).encode(map(WireMsg.of, messages)))


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.text)
def test_every_type_comes_back(layout: Any) -> None:
    msg = layout.cls()
    msg["a"] = {"b": [1, 2.5, None, True, "é\n"]}
    msg._src = Loc("msgpack://h:1/", "g", "e")
    msg._dests = (Loc("", "", "x"), Loc("app"))
    (text,) = JsonCodec().encode([WireMsg(msg, "some-id")])
    ((back, cmd_id),) = read(bytes(text))
    assert type(back) is layout.cls
    assert cmd_id == ("some-id" if layout.has_id else "")
    assert (back.name, back.properties) == (msg.name, msg.properties)
    assert (back.get_source(), back.get_dests()) == (msg.get_source(), msg.get_dests())


def test_what_a_person_may_write() -> None:
    msg = one({"ten": {"name": "hello", "dest": [{"app": "", "graph": "g"}]}, "n": 1})
    assert (type(msg), msg.name, msg["n"]) == (Cmd, "hello", 1)
    frame = one({"ten": {"type": "audio_frame", "name": "a", "is_eof": True, "buf": "AAEC"}})
    assert isinstance(frame, AudioFrame)
    assert (frame.is_eof, frame.buf) == (True, b"\x00\x01\x02")
    result = one({"ten": {"type": "result", "status_code": "error", "cmd_id": "uuid-or-any"}})
    assert result.status is StatusCode.ERROR


@pytest.mark.parametrize("name", ["__start_graph__", "ten:start_graph"])
@pytest.mark.parametrize("kind", [{}, {"type": "cmd"}, {"type": "start_graph"}])
def test_start_graph_by_its_names(name: str, kind: dict[str, str]) -> None:
    nodes = [{"type": "extension", "name": "a", "addon": "b"}]
    msg = one({"ten": {**kind, "name": name, "nodes": nodes, "long_running_mode": True}})
    assert isinstance(msg, StartGraph)
    assert (msg.name, msg.long_running_mode) == ("ten:start_graph", True)
    assert Graph.from_json(msg.graph_json).nodes[0].name == "a"
    assert isinstance(one({"ten": {"name": "__close_app__"}}), CloseApp)
    assert one({"ten": {"name": "__other__"}}).name == "__other__"


def test_a_graph_is_written_out() -> None:
    graph = Graph()
    graph.node("a", "addon", property={"x": math.inf})
    codec = JsonCodec()
    (text,) = codec.encode([WireMsg(StartGraph(graph=graph))])
    assert json.loads(bytes(text))["ten"]["nodes"][0]["name"] == "a"
    assert codec.dropped == 1


def test_what_json_cannot_say_is_null() -> None:
    msg = Data("x", {"a": b"bytes", "b": [math.nan, -math.inf], "c": "\ud800"}, buf=b"\xff")
    msg["d[1]"] = 1
    codec = JsonCodec()
    (text,) = codec.encode([WireMsg(msg)])
    document = json.loads(bytes(text))
    assert document["ten"]["buf"] == "/w=="
    del document["ten"]
    assert document == {"a": None, "b": [None, None], "c": "?", "d": [None, 1]}
    assert codec.dropped == 4


def test_lines_in_any_split() -> None:
    data = b"\n \r\n" + write(Data("one", {"t": "a\nb"}), Data("two")) + b"\n" + write(Data("é"))
    for at in range(len(data)):
        codec = JsonCodec()
        names = []
        for part in (data[:at], data[at:]):
            codec.receive_data(part)
            names += [wire.msg.name for wire in iter(codec.next_message, None)]
        assert names == ["one", "two", "é"]
        assert codec.trailing_data == b""


def test_several_lines_after_part_of_one() -> None:
    lines = [write(Data(name, {"t": "x" * 3_000})) for name in ("one", "two", "three")]
    codec = JsonCodec()
    codec.receive_data(lines[0][:-1])
    assert codec.next_message() is None
    codec.receive_data(b"\n" + b"".join(lines[1:]))
    assert [wire.msg.name for wire in iter(codec.next_message, None)] == ["one", "two", "three"]
    codec = JsonCodec()
    codec.receive_data(lines[0][:20])
    codec.receive_data(lines[0][20:] + lines[1] + lines[2])
    assert [wire.msg.name for wire in iter(codec.next_message, None)] == ["one", "two", "three"]


def test_frames() -> None:
    codec = JsonCodec(framed=True)
    texts = codec.encode([WireMsg(Data("one")), WireMsg(Data("two"))])
    assert [b"\n" in text for text in texts] == [False, False]
    codec.receive_data(json.dumps(json.loads(bytes(texts[0])), indent=2).encode())
    codec.receive_data(b"")
    codec.receive_data(texts[1])
    assert codec.trailing_data
    assert [wire.msg.name for wire in iter(codec.next_message, None)] == ["one", "two"]
    codec.receive_data(b'{"ten":')
    with pytest.raises(Malformed):
        codec.next_message()


SMALL = CodecLimits(max_message=2_000, max_depth=3, max_properties=150, max_string=100)


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"ten": {}, "a": "x" * 101}, TooLong),
        ({"ten": {}, "a": ["x" * 1_000] * 3}, TooLong),
        ({"ten": {}, "a": [[[[[1]]]]]}, TooDeep),
        ({"ten": {}, "a": [0] * 500}, TooManyProperties),
        ({"ten": {}, "a": [{}] * 300}, TooManyProperties),
    ],
)
def test_limits(document: dict[str, Any], error: type[CodecError]) -> None:
    with pytest.raises(error):
        one(document, limits=SMALL)


def test_separators_in_strings_are_no_properties() -> None:
    document = {"ten": {}, "a": [',[{"\\' * 20] * 5, "b": '\\"' * 30 + "," * 30}
    assert one(document, limits=SMALL)["b"] == document["b"]


def test_a_line_without_an_end() -> None:
    codec = JsonCodec(SMALL)
    for _ in range(2_000):
        codec.receive_data(b" ")
        assert codec.next_message() is None
    codec.receive_data(b" ")
    with pytest.raises(TooLong, match="at byte 0"):
        codec.next_message()


@pytest.mark.parametrize("msg", [Data("x", buf=bytes(2_000)), VideoFrame("x" * 2_000)])
def test_what_is_too_long_to_send(msg: Msg) -> None:
    with pytest.raises(TooLong) as caught:
        JsonCodec(SMALL).encode([WireMsg(Data("fine")), WireMsg(msg)])
    assert caught.value.index == 1


@pytest.mark.parametrize(
    "text",
    [
        *("5", "[]", "{}", "nothing", '{"ten": 5}', '{"ten": {}', "\x00", "NaN", '"' + "\\" * 9),
        '{"ten": {"name": 5}}',
        '{"ten": {"name": "ten:result"}, "ten.x": 1}',
        '{"ten": {"no_such_field": 5}}',
        '{"ten": {"dest": 5}}',
        '{"ten": {"dest": [5]}}',
        '{"ten": {"dest": [{"app": 5}]}}',
        '{"ten": {"dest": [{"extension": "no app"}]}}',
        '{"ten": {"src": []}}',
        '{"ten": {"cmd_id": 5}}',
        '{"ten": {"type": "data", "cmd_id": "5"}}',
        '{"ten": {"type": "data", "buf": "no base64"}}',
        '{"ten": {"type": "data", "buf": "é"}}',
        '{"ten": {"type": "audio_frame", "sample_rate": 1e9}}',
        '{"ten": {}, "": 1}',
        '{"ten": {}, "a": NaN}',
        '{"ten": {}, "a": 99999999999999999999999}',
        '{"ten": {}, "a": ' + "9" * 5_000 + "}",
    ],
)
def test_text_that_is_wrong(text: str) -> None:
    codec = JsonCodec()
    codec.receive_data(b"\n" + text.encode() + b"\n")
    for _ in range(2):
        with pytest.raises(Malformed) as caught:
            codec.next_message()
        assert caught.value.offset is not None
        assert caught.value.offset >= 1


def test_types_that_there_are_not() -> None:
    for kind in ("invalid", "no such type", 5, None, []):
        with pytest.raises(UnknownType):
            one({"ten": {"type": kind}})


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(Malformed):
        read(b'{"ten": {}, "a": "\xff"}\n')
    with pytest.raises(Malformed):
        read('{"ten": {}}'.encode("utf-16") + b"\n")


def test_nested_beyond_the_stack() -> None:
    with pytest.raises(TooDeep):
        read(b"[" * 60_000 + b"\n")


def test_a_message_that_cannot_be_sent() -> None:
    with pytest.raises(Malformed):
        write(Msg("x"))
