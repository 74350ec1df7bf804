"""The msgpack codec: the original's bytes both ways, splits, limits, and bytes that are wrong."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any

import msgpack
import pytest

from ten_trio.errors import GraphError
from ten_trio.graphs import Graph
from ten_trio.messages import (
    INVALID,
    AudioFrame,
    Cmd,
    CmdResult,
    Data,
    Float32,
    Int8,
    Loc,
    Msg,
    StartGraph,
    StatusCode,
    Timer,
    UInt64,
    VideoFrame,
)
from ten_trio.network import (
    Codec,
    CodecError,
    CodecLimits,
    Malformed,
    MsgpackCodec,
    TooDeep,
    TooLong,
    TooManyProperties,
    UnknownType,
    WireMsg,
)
from ten_trio.network.codecs.layout import LAYOUTS

VECTORS: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("vectors.json").read_text(encoding="utf-8")
)
each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])


def write(*messages: WireMsg | Msg, **options: Any) -> bytes:
    wires = [each if isinstance(each, WireMsg) else WireMsg.of(each) for each in messages]
    return b"".join(MsgpackCodec(**options).encode(wires))


def read(data: bytes, **options: Any) -> list[WireMsg]:
    codec = MsgpackCodec(**options)
    codec.receive_data(data)
    return rest(codec)


def rest(codec: Codec) -> list[WireMsg]:
    return list(iter(codec.next_message, None))


def sent(msg: Any, **options: Any) -> Any:
    (wire,) = read(write(msg, **options))
    return wire.msg


def framed(body: bytes, ext: int = 1) -> bytes:
    return b"\xc9" + struct.pack(">IB", len(body), ext) + body


def packed(*values: Any) -> bytes:
    return b"".join(map(msgpack.packb, values))


# The beginning of a command up to its properties, and what comes after them.
HEAD = packed(1, 13, "cmd", 13, "x", 16, 0, 15, 0)
TAIL = packed(13, "", 13, "")


def with_properties(*values: Any) -> bytes:
    return framed(HEAD + packed(16, *values) + TAIL)


# What the original sends and receives ----------------------------------------------------------


@each_vector
def test_reads_what_the_original_wrote(vector: dict[str, Any]) -> None:
    ((msg, cmd_id),) = read(bytes.fromhex(vector["bytes"]))
    expected = vector["expected"]
    assert msg.type.text == vector["type"]
    assert msg.name == expected.pop("name")
    assert msg.get_source().to_dict() == expected.pop("src")
    assert [dest.to_dict() for dest in msg.get_dests()] == expected.pop("dest")
    assert cmd_id == expected.pop("cmd_id", "")
    properties = expected.pop("properties")
    if "buf" in properties:
        properties["buf"] = bytes.fromhex(properties["buf"]["hex"])
        properties["obj"]["n"]["deep"][2] = b"zz"
    assert msg.properties == properties
    if "buf" in expected:
        assert msg.buf == bytes.fromhex(expected.pop("buf")["hex"])  # type: ignore[attr-defined]
    names = {"status_code": "status", "number_of_channel": "number_of_channels"}
    for name, value in expected.items():
        assert getattr(msg, names.get(name, name)) == value, name


@each_vector
def test_writes_the_same_bytes(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["bytes"])
    assert write(*read(data)) == data


@each_vector
def test_any_split(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["bytes"])
    for at in range(len(data) + 1):
        codec = MsgpackCodec()
        codec.receive_data(data[:at])
        before = rest(codec)
        assert len(before) == (at == len(data))
        codec.receive_data(data[at:])
        assert write(*before, *rest(codec)) == data
        assert codec.trailing_data == b""


def test_all_in_single_bytes_and_all_at_once() -> None:
    data = b"".join(bytes.fromhex(vector["bytes"]) for vector in VECTORS) * 3
    assert write(*read(data)) == data
    codec = MsgpackCodec()
    got = []
    for byte in data:
        codec.receive_data(bytes([byte]))
        got += rest(codec)
    assert write(*got) == data


def test_messages_made_here_are_like_those_of_the_original() -> None:
    there = Loc("msgpack://127.0.0.1:39101/", "a9439915-ac61-4d46-aa7e-de07276c5d34", "ext_a")
    bytes_of = {vector["name"]: bytes.fromhex(vector["bytes"]) for vector in VECTORS}
    assert write(Cmd("hello", dest=there)) == bytes_of["cmd_no_props"]
    data = Data("my_data", {"k": "v"}, buf=bytes(range(8)), dest=there)
    assert write(data) == bytes_of["data_with_buf"]


def test_the_graph_that_an_engine_passes_on() -> None:
    data = next(v["bytes"] for v in VECTORS if v["name"] == "app1_to_app2/start_graph")
    ((msg, _),) = read(bytes.fromhex(data))
    assert isinstance(msg, StartGraph)
    graph = msg.graph
    assert [node.name for node in graph.nodes] == ["ext_1", "ext_2"]
    assert graph.nodes[1].extension_group == "g2"
    (connection,) = graph.connections
    assert [(kind, flow.name) for kind, _, flow in connection.flows()] == [
        ("cmd", "next"),
        ("data", "my_data"),
        ("audio_frame", "pcm"),
        ("video_frame", "img"),
    ]


# What travels ------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.text)
def test_every_type_comes_back(layout: Any) -> None:
    msg = layout.cls()
    msg["n"] = 1
    data = write(WireMsg(msg, "id" if layout.has_id else ""))
    ((back, cmd_id),) = read(data)
    assert type(back) is layout.cls
    assert cmd_id == ("id" if layout.has_id else "")
    for slot in ("name", *(name for _, name, _ in layout.fields)):
        assert getattr(back, slot, None) == getattr(msg, slot, None)


def test_the_text_of_an_id_is_kept() -> None:
    for text in ("598bc03f-d9d9-4862-b289-4bd7b3bbce06", "1", "any text, é"):
        assert read(write(WireMsg(Cmd("x"), text)))[0].cmd_id == text
    cmd = Cmd("x", seq_id="55")
    cmd._id = 255
    assert WireMsg.of(cmd).cmd_id == "ff"
    assert sent(cmd).seq_id == "55"
    assert WireMsg.of(Data("x")).cmd_id == ""


def test_widths_of_numbers_survive() -> None:
    values = {"a": Int8(-128), "b": UInt64(5), "c": Float32(0.1), "d": 2**64 - 1, "e": [Float32(2)]}
    back = sent(Data("x", values))
    assert [type(v) for v in back.values()][:3] == [Int8, UInt64, Float32]
    assert back.properties == Data("x", values).properties
    assert type(back["e[0]"]) is Float32
    assert math.isnan(sent(Data("x", {"n": math.nan}))["n"])


@pytest.mark.parametrize("value", ["plain", Float32(0.5)])
@pytest.mark.parametrize("size", [1, 100, 300, 70_000])
def test_the_header_is_the_shortest(value: Any, size: int) -> None:
    data = write(Data("x" * size, {"value": value}))
    body = msgpack.unpackb(data).data
    assert data == msgpack.packb(msgpack.ExtType(1, body))


def test_fields_that_the_original_loses() -> None:
    audio = AudioFrame("a", {"k": 1}, is_eof=True, channel_layout=2**64 - 1)
    video = VideoFrame("v", is_eof=True)
    back = sent(audio, extended=True)
    assert (back.is_eof, back.channel_layout, back.properties) == (True, 2**64 - 1, {"k": 1})
    assert sent(video, extended=True).is_eof
    assert b"is_eof" not in write(audio) + write(video)
    assert not sent(video).is_eof
    # Nothing to say: the same bytes.
    assert write(AudioFrame("a"), extended=True) == write(AudioFrame("a"))


def test_extended_may_be_said_later() -> None:
    codec = MsgpackCodec()
    frame = WireMsg(VideoFrame("v", is_eof=True))
    assert b"is_eof" not in b"".join(codec.encode([frame]))
    codec.extended = True
    assert b"is_eof" in b"".join(codec.encode([frame]))


def test_null_towards_the_original() -> None:
    msg = Data("x", {"a": None, "b": [1, None, {"c": None, "d": 2}], "e": 3})
    msg["f[1]"] = 5
    codec = MsgpackCodec()
    data = b"".join(codec.encode([WireMsg(msg)]))
    assert read(data)[0].msg.properties == {"b": [1, {}, {"d": 2}], "e": 3, "f": [{}, 5]}
    assert codec.dropped == 4
    assert sent(msg, extended=True).properties == msg.properties
    assert sent(msg, extended=True)["f[0]"] is INVALID


def test_text_that_is_no_unicode() -> None:
    assert sent(Data("x", {"a": "\ud800!"}))["a"] == "?!"


def test_names_that_no_property_may_have_are_dropped() -> None:
    codec = MsgpackCodec()
    values = ["", "ten.x", "ten[0]", "ten", "tent", "ok"]
    codec.receive_data(with_properties(6, *(x for name in values for x in (name, 6, 1))))
    ((msg, _),) = rest(codec)
    assert msg.properties == {"tent": 1, "ok": 1}
    assert codec.dropped == 3
    assert msg.get_property_to_json("")


@pytest.mark.parametrize("size", [0, 1, 100, 16_383, 16_384, 16_400, 70_000, 3_000_000])
@pytest.mark.parametrize("chunk", [1_000, 65_536, 10**7])
def test_buffers_of_any_size(size: int, chunk: int) -> None:
    pixels = bytes(range(256)) * (size // 256 + 1)
    pixels = pixels[:size]
    # The properties are longer than what is looked at first.
    for properties in ({}, {"text": "long " * 2_000}, {str(n): n for n in range(20_000)}):
        messages = [
            VideoFrame("v", properties, buf=pixels, width=7, height=3),
            AudioFrame("a", properties, buf=pixels, line_size=9),
            Data("d", properties | {"inside": pixels}, buf=bytearray(pixels)),
        ]
        data = write(*messages)
        codec = MsgpackCodec()
        for at in range(0, len(data), chunk):
            codec.receive_data(memoryview(data)[at : at + chunk])
        video, audio, other = (wire.msg for wire in rest(codec))
        assert (video.buf, video.height) == (pixels, 3)  # type: ignore[attr-defined]
        assert (audio.buf, audio.line_size) == (pixels, 9)  # type: ignore[attr-defined]
        assert other.buf == other["inside"] == pixels  # type: ignore[attr-defined]
        assert len(other) == len(properties) + 1


def test_a_big_buffer_is_not_copied() -> None:
    pixels = bytes(100_000)
    header, view, *after = MsgpackCodec().encode(
        [WireMsg(Data("x", buf=pixels)), WireMsg(Data("y"))]
    )
    assert isinstance(view, memoryview)
    assert view.obj is pixels
    assert len(after) == 1
    data = bytes(header) + pixels + bytes(after[0])
    codec = MsgpackCodec()
    codec.receive_data(data)
    msg = rest(codec)[0].msg
    assert msg.view_buf().obj is data  # type: ignore[attr-defined]


def test_small_messages_are_joined() -> None:
    assert len(MsgpackCodec().encode([WireMsg(Data("x"))] * 100)) == 1
    assert MsgpackCodec().encode([]) == []


def test_one_call_reads_one_message() -> None:
    one, two = write(Data("one")), write(Data("two"))
    codec = MsgpackCodec()
    codec.receive_data(one + two + one[:5])
    assert codec.trailing_data == one + two + one[:5]
    assert codec.next_message() is not None
    assert codec.trailing_data == two + one[:5]
    other = MsgpackCodec()
    other.receive_data(codec.trailing_data)
    assert [wire.msg.name for wire in rest(other)] == ["two"]
    assert other.trailing_data == one[:5]


def test_messages_that_begin_alike_but_go_on_differently() -> None:
    """What is remembered of earlier messages never changes what comes out."""
    place = Loc("a", "g", "e")
    messages = []
    for n in range(40):
        msg = Cmd(f"x{n % 3}", {str(k): None if k % 5 == 4 else k for k in range(n % 11)})
        msg._src = place
        msg.set_dests([place] * (n % 2))
        messages += [msg, Data(f"x{n % 3}", {"n": n})]
    got = read(write(*messages, extended=True))
    assert [m.properties for m, _ in got] == [m.properties for m in messages]
    assert [m.get_dests() for m, _ in got] == [m.get_dests() for m in messages]
    assert [m.get_source() for m, _ in got] == [m.get_source() for m in messages]


def test_long_names_and_very_many_of_them_come_back() -> None:
    writer, reader = MsgpackCodec(), MsgpackCodec()
    names = [f"{'x' * 400 * (number % 5)}{number}" for number in range(700)]
    for name in names:
        reader.receive_data(b"".join(writer.encode([WireMsg(Data("d", dest=Loc("", "g", name)))])))
        ((msg, _),) = rest(reader)
        assert msg.get_dests() == [Loc("", "g", name)]


# Graphs ------------------------------------------------------------------------------------------


def two_apps() -> Graph:
    graph = Graph()
    a = graph.node("a", "addon", app="msgpack://h:1/", property={"p": [1, {"q": None}]})
    b = graph.node("b", "addon", app="msgpack://h:2/", group="g")
    graph.connect(a, b, cmd="next")
    graph.expose("cmd_in", "hello", "a")
    return graph


def test_a_graph_that_runs_goes_as_nodes_and_connections() -> None:
    graph = two_apps()
    cmd = StartGraph(graph=graph, dest=Loc("msgpack://h:2/", "id"))
    back = sent(cmd, extended=True)
    assert back.graph == graph
    assert back.graph_json == ""
    assert back.properties == {}
    plain = sent(cmd)
    assert plain.graph.exposed_messages == []
    assert plain.graph.connections == graph.connections


def test_a_graph_that_is_to_run_goes_as_json() -> None:
    back = sent(StartGraph(graph=two_apps(), dest=Loc("msgpack://h:2/")))
    assert back.graph is None
    assert Graph.from_json(back.graph_json) == two_apps()


def test_a_graph_with_subgraphs_goes_as_json() -> None:
    graph = two_apps()
    graph.import_uri = "file:///x.json"
    assert sent(StartGraph(graph=graph, dest=Loc("x", "id"))).graph is None


def test_a_graph_of_python_objects_stays_here() -> None:
    graph = Graph()
    graph.node("a", object)
    with pytest.raises(GraphError):
        write(StartGraph(graph=graph, dest=Loc("x", "id")))


@pytest.mark.parametrize("node", [{}, {"type": "extension"}, {"type": "?", "graph": "g"}])
def test_nodes_that_make_no_graph_are_for_the_engine_to_refuse(node: dict[str, str]) -> None:
    inside = [x for key, value in node.items() for x in (key, 13, value)]
    body = packed(4, 13, "start_graph", 13, "ten:start_graph", 16, 0, 15, 0, 16, 0)
    body += TAIL + packed(2, 0, 2, 0, 15, 1, 16, len(node), *inside, 15, 0, 13, "", 13, "")
    ((msg, _),) = read(framed(body))
    assert isinstance(msg, StartGraph)
    assert msg.graph is None
    with pytest.raises(GraphError):
        Graph.from_json(msg.graph_json)


def on_wire(value: Any) -> bytes:
    """A value with its type in front, as it is nested in a message."""
    if isinstance(value, dict):
        items = (packed(key) + on_wire(item) for key, item in value.items())
        return packed(16, len(value)) + b"".join(items)
    if isinstance(value, list):
        return packed(15, len(value)) + b"".join(map(on_wire, value))
    return packed(13 if isinstance(value, str) else 12, value)


def start_graph_on_wire(nodes: Any, connections: Any) -> bytes:
    body = packed(4, 13, "start_graph", 13, "ten:start_graph", 16, 0, 15, 0, 16, 0)
    body += TAIL + packed(2, 0, 2, 0) + on_wire(nodes) + on_wire(connections)
    return framed(body + packed(13, "", 13, ""))


@pytest.mark.parametrize(
    ("connection", "where"),
    [
        ("?", "connections[0]"),
        ({"extension": "a", "cmd": ["?"]}, "connections[0].cmd[0]"),
        ({"extension": "a", "cmd": [{"name": "x", "dest": "?"}]}, "connections[0].cmd[0].dest"),
        ({"extension": "a", "cmd": "?"}, "connections[0].cmd"),
    ],
)
def test_connections_that_make_no_sense_are_refused_with_their_place(
    connection: Any, where: str
) -> None:
    node = {"type": "extension", "name": "a", "addon": "x", "graph": "g"}
    ((msg, _),) = read(start_graph_on_wire([node], [connection]))
    assert isinstance(msg, StartGraph)
    assert msg.graph is None
    with pytest.raises(GraphError) as caught:
        Graph.from_json(msg.graph_json)
    assert where in {problem.path for problem in caught.value.problems}


def test_a_node_that_is_no_object_is_refused_with_its_place() -> None:
    ((msg, _),) = read(start_graph_on_wire(["?"], []))
    assert isinstance(msg, StartGraph)
    with pytest.raises(GraphError, match=r"nodes\[0\]"):
        Graph.from_json(msg.graph_json)


def test_nodes_that_are_no_graph_and_no_json_are_malformed() -> None:
    with pytest.raises(Malformed, match="can't be written as JSON"):
        read(start_graph_on_wire([{"type": math.inf}], []))


def test_a_node_without_an_app_and_an_edge_to_nobody_go_as_they_are() -> None:
    graph = Graph()
    graph.node("a", "addon")
    graph.connect("a", "nobody", cmd="next")
    back = sent(StartGraph(graph=graph, dest=Loc("msgpack://h:2/", "id")))
    assert back.graph.nodes[0].app is None
    assert back.graph.connections == graph.connections


# Limits ------------------------------------------------------------------------------------------

SMALL = CodecLimits(max_message=2_000, max_depth=3, max_properties=50, max_string=100)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("msg", "error"),
    [
        (Data("x", buf=bytes(2_000)), TooLong),
        (Data("x", buf=bytes(100_000)), TooLong),
        (Data("x" * 101), TooLong),
        (Data("x", {"a": "x" * 101}), TooLong),
        (Data("x", {"a": [{"b": "x" * 101}]}), TooLong),
        (Data("x", {"a": [{"x" * 101: 1}]}), TooLong),
        (Cmd("x", seq_id="x" * 101), TooLong),
        (Data("x", {"a": nested(4)}), TooDeep),
        (Data("x", {"a": [{"b": {"c": {}}}]}), TooDeep),
    ],
)
def test_limits_are_the_same_both_ways(msg: Msg, error: type[CodecError]) -> None:
    with pytest.raises(error) as caught:
        MsgpackCodec(SMALL).encode([WireMsg(Data("fine")), WireMsg(msg)])
    assert caught.value.index == 1
    assert caught.value.offset is None
    with pytest.raises(error) as caught:
        read(write(msg), limits=SMALL)
    assert caught.value.offset is not None


def test_within_the_limits() -> None:
    fine = Data("x" * 100, {"a": nested(3), "x" * 100: "y" * 100}, buf=bytes(1_000))
    assert read(write(fine, limits=SMALL), limits=SMALL)[0].msg.properties == fine.properties


def test_number_of_properties() -> None:
    limits = CodecLimits(max_properties=1_000)
    fine = Data("x", {str(n): n for n in range(1_000)})
    assert len(read(write(fine, limits=limits), limits=limits)[0].msg) == 1_000
    for value in ({str(n): n for n in range(2_000)}, {"a": [1] * 3_000}):
        many = Data("x", value)
        with pytest.raises(TooManyProperties):
            write(many, limits=limits)
        with pytest.raises(TooManyProperties):
            read(write(many), limits=limits)


def test_a_length_is_refused_before_what_it_announces() -> None:
    codec = MsgpackCodec()
    codec.receive_data(b"\xc9\xff\xff\xff\xff\x01")
    with pytest.raises(TooLong, match=r"4294967301 bytes.*at byte 0"):
        codec.next_message()


@pytest.mark.parametrize("name", ["max_message", "max_depth", "max_properties", "max_string"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True])
def test_limits_are_positive_integers(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        CodecLimits(**{name: value})


# Bytes that are wrong ----------------------------------------------------------------------------

BODY_CASES = [
    (b"", Malformed),
    (b"\x0c", UnknownType),
    (b"\x00", UnknownType),
    (b"\xff", UnknownType),
    (HEAD, Malformed),
    (HEAD + packed(16, 0), Malformed),
    (HEAD + packed(16, 0) + TAIL + b"\x00", Malformed),
    (HEAD + packed(16, 0) + TAIL + b"\xc0", Malformed),
    (HEAD + packed(16, 0) + TAIL + b"\xc4", Malformed),
    (HEAD + packed(16, 0) + TAIL + b"\xdb\xff\xff\xff\xff", Malformed),
    (packed(1, 13, "data"), Malformed),
    (packed(1, 13, 5), Malformed),
    (packed(1, 13, "cmd", 13, "x", 15, 0), Malformed),
    (packed(1, 13, "cmd", 13, "x", 16, 1, "app", 13, 5), Malformed),
    (packed(1, 13, "cmd", 13, "x", 16, 1, 5, 13, "y"), Malformed),
    (packed(1, 13, "cmd", 13, "x", 16, 2**32), Malformed),
    (packed(1, 13, "cmd", 13, "x", 16, -1), Malformed),
    (packed(1, 13, "cmd", 13, "x", 16, 0, 15, 2**32 - 1), Malformed),
    (HEAD + b"\x91\x00", Malformed),
    (HEAD + b"\x81\x00\x00", Malformed),
    (HEAD + b"\xd4\x01\x00", Malformed),
    (HEAD + b"\xd6\xff\x00\x00\x00\x00", Malformed),
    (HEAD + b"\xc1", Malformed),
    (HEAD + b"\x90" * 10, Malformed),
    (HEAD + b"\x80" * 10, Malformed),
    (packed(2, 13, "result", 13, "", 16, 0, 15, 0, 16, 0) + TAIL + packed(5, 99, 5, 0, 2, 1), Malformed),
    (packed(2, 13, "result", 13, "", 16, 0, 15, 0, 16, 0) + TAIL + packed(5, 1, 5, 7, 2, 1), Malformed),
    (packed(2, 13, "result", 13, "", 16, 0, 15, 0, 16, 0) + TAIL + packed(5, 1, 5, 0, 2, 2), Malformed),
    (packed(2, 13, "result", 13, "", 16, 0, 15, 0, 16, 0) + TAIL + packed(5, 1, 5, 0, 5, 1), Malformed),
    (packed(7, 13, "timer", 13, "", 16, 0, 15, 0, 16, 0) + TAIL + packed(9, -1, 10, 0, 5, 0), Malformed),
    (packed(9, 13, "data", 13, "", 16, 0, 15, 0, 16, 0, 14, "text"), Malformed),
    (packed(9, 13, "data", 13, "", 16, 0, 15, 0, 16, 0, 13, "text"), Malformed),
]  # fmt: skip


@pytest.mark.parametrize(("body", "error"), BODY_CASES)
def test_bodies_that_are_wrong(body: bytes, error: type[CodecError]) -> None:
    before = write(Data("before"))
    codec = MsgpackCodec()
    codec.receive_data(before + framed(body) + before)
    assert codec.next_message() is not None
    with pytest.raises(error) as caught:
        codec.next_message()
    assert caught.value.offset is not None
    assert len(before) + 6 <= caught.value.offset <= len(before) + 6 + len(body)
    with pytest.raises(error):
        codec.next_message()


VALUE_CASES: list[tuple[tuple[Any, ...], type[CodecError]]] = [
    ((1, "a", 17, 0), UnknownType),
    ((1, "a", "b", 0), UnknownType),
    ((1, "a", 18, 0), UnknownType),
    ((1, "a", 3, 128), Malformed),
    ((1, "a", 7, -1), Malformed),
    ((1, "a", 6, 2**63), Malformed),
    ((1, "a", 6, 1.0), Malformed),
    ((1, "a", 2, 2), Malformed),
    ((1, "a", 2, True), Malformed),
    ((1, "a", 12, 1), Malformed),
    ((1, "a", 11, 1), Malformed),
    ((1, "a", 11, 1e300), Malformed),
    ((1, "a", 13, b"x"), Malformed),
    ((1, "a", 14, "x"), Malformed),
    ((1, "a", 1, 0), Malformed),
    ((1, "a", 15, -1), Malformed),
    ((1, "a", 15, "x"), Malformed),
    ((1, 5, 6, 1), Malformed),
    ((2, "a", 6, 1), Malformed),
    ((2**32 - 1,), Malformed),
]


@pytest.mark.parametrize(("values", "error"), VALUE_CASES)
def test_values_that_are_wrong(values: tuple[Any, ...], error: type[CodecError]) -> None:
    with pytest.raises(error):
        read(with_properties(*values))


# What messages of each type begin with, in the cases above.
RIGHT = (
    HEAD + packed(16, 0) + TAIL,
    HEAD + packed(16, 1, "a", 6, 1) + TAIL,
    packed(2, 13, "result", 13, "", 16, 0, 15, 0, 16, 0) + TAIL + packed(5, 1, 5, 0, 2, 1),
    packed(7, 13, "timer", 13, "", 16, 0, 15, 0, 16, 0) + TAIL + packed(9, 0, 10, 0, 5, 0),
    packed(9, 13, "data", 13, "", 16, 0, 15, 0, 16, 0, 14, b""),
)


@pytest.mark.parametrize("right", RIGHT)
def test_what_is_wrong_is_the_same_after_messages_that_begin_alike(right: bytes) -> None:
    def error(before: bytes, body: bytes) -> tuple[type, object, int]:
        codec = MsgpackCodec()
        codec.receive_data(before)
        rest(codec)
        codec.receive_data(framed(body))
        with pytest.raises(CodecError) as caught:
            rest(codec)
        assert caught.value.offset is not None
        return type(caught.value), caught.value.args, caught.value.offset - len(before)

    wrong = [body for body, _ in BODY_CASES if len(body) > 1]
    wrong += [HEAD + packed(16, *values) + TAIL for values, _ in VALUE_CASES]
    for body in wrong:
        assert error(framed(right) * 5, body) == error(b"", body), body


@pytest.mark.parametrize("data", [b"\x00", b"\x93\x01", b"GET / HTTP/1.1", b"\xc0", b"{"])
def test_a_first_byte_that_is_wrong_is_enough(data: bytes) -> None:
    with pytest.raises(Malformed, match=r"at byte 0"):
        read(data[:1])
    with pytest.raises(Malformed):
        read(data)


def test_another_ext_type() -> None:
    with pytest.raises(UnknownType, match=r"ext type 2 \(at byte 5\)"):
        read(framed(b"", ext=2))
    with pytest.raises(UnknownType):
        read(b"\xd4\x02\x00")
    with pytest.raises(CodecError):
        read(b"\xd4\x01\x00")


def test_the_offset_points_at_the_value() -> None:
    body = HEAD + packed(16, 2, "a", 6, 1, "b", 3)
    with pytest.raises(Malformed) as caught:
        read(framed(body + packed(999) + TAIL))
    assert caught.value.offset == 6 + len(body)


def test_a_big_buffer_that_is_cut_short_or_lies() -> None:
    body = packed(9, 13, "data", 13, "", 16, 0, 15, 0, 16, 0, 14)
    for wrong in (
        b"\xc6" + (10**6).to_bytes(4) + bytes(50_000),
        b"\xc6" + (40_000).to_bytes(4) + bytes(50_000),
        b"\xdb" + (50_000).to_bytes(4) + bytes(50_000),
        b"\xc4\x05" + bytes(50_000),
        bytes(50_000),
    ):
        with pytest.raises(Malformed):
            read(framed(body + wrong))
    with pytest.raises(Malformed):
        read(framed(body[:1] + b"\xdb\xff\xff\xff\xff" + bytes(50_000)))


def test_a_message_that_cannot_be_sent() -> None:
    with pytest.raises(Malformed, match="message 0"):
        write(Msg("x"))
    frame = AudioFrame("x")
    frame.sample_rate = "no number"  # type: ignore[assignment]
    frame.timestamp = 2**70
    with pytest.raises(Malformed):
        write(frame)


def test_a_result() -> None:
    result = CmdResult(StatusCode.ERROR, {"detail": "why"}, is_final=False)
    back = sent(WireMsg(result, "id"))
    assert (back.status, back.is_final, back.detail) == (StatusCode.ERROR, False, "why")


def test_a_timer() -> None:
    back = sent(Timer(timer_id=2**32 - 1, timeout_us=2**64 - 1, times=-1))
    assert (back.timer_id, back.timeout_us, back.times) == (2**32 - 1, 2**64 - 1, -1)


def test_nothing_is_kept_of_what_has_been_written() -> None:
    content = bytearray(70_000)
    frame = VideoFrame("img")
    frame.lend_buf(content)
    codec = MsgpackCodec()
    codec.encode([WireMsg.of(frame)])
    del frame
    # As long as anything refers to them, the bytes can't become more.
    content.append(0)
