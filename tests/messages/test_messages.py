"""What all messages have in common: names, fields, shells, clones, pickling and their JSON form."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import pytest

from ten_trio.errors import (
    InvalidArgument,
    InvalidJson,
    InvalidLocation,
    InvalidPath,
    InvalidType,
    PropertyNotFound,
    PropertyRangeError,
)
from ten_trio.messages import (
    EMPTY_LOC,
    AudioFrame,
    AudioFrameDataFmt,
    CloseApp,
    Cmd,
    CmdResult,
    Data,
    Loc,
    Msg,
    MsgType,
    PixelFmt,
    StartGraph,
    StatusCode,
    StopGraph,
    Timeout,
    Timer,
    TriggerLifeCycle,
    VideoFrame,
)

PLAIN: list[Any] = [Cmd, Data, AudioFrame, VideoFrame]
CONTROL: list[Any] = [CloseApp, StartGraph, StopGraph, TriggerLifeCycle, Timer, Timeout]
EVERY: list[Any] = [*PLAIN, CmdResult, *CONTROL]
CLONED: list[Any] = [*PLAIN, CmdResult, StartGraph]
BUFFERED: list[Any] = [Data, AudioFrame, VideoFrame]


def filled(kind: Any) -> Msg:
    """Return a message of this class in which nothing is as by default."""
    msg: Any
    if kind is Cmd:
        msg = Cmd("c", seq_id="s")
    elif kind is Data:
        msg = Data("d", buf=b"abc")
    elif kind is AudioFrame:
        msg = AudioFrame(
            "a",
            timestamp=-5,
            sample_rate=16_000,
            bytes_per_sample=2,
            samples_per_channel=160,
            number_of_channels=1,
            channel_layout=2**64 - 1,
            data_fmt=AudioFrameDataFmt.NON_INTERLEAVE,
            line_size=320,
            is_eof=True,
            buf=b"\x00\x01" * 160,
        )
    elif kind is VideoFrame:
        msg = VideoFrame(
            "v",
            pixel_fmt=PixelFmt.NV12,
            timestamp=7,
            width=2,
            height=1,
            is_eof=True,
            buf=b"12345678",
        )
    elif kind is CmdResult:
        cmd = Cmd("c", seq_id="s")
        cmd._id = 77
        msg = cmd.partial()
        msg.is_completed = True
    elif kind is StartGraph:
        msg = StartGraph(
            predefined_graph_name="g",
            graph_json='{"nodes": []}',
            long_running_mode=True,
            sync_stop_before_deinit=True,
            seq_id="s",
        )
    elif kind is StopGraph:
        msg = StopGraph(graph_id="g")
    elif kind is TriggerLifeCycle:
        msg = TriggerLifeCycle(stage="start")
    elif kind is Timer:
        msg = Timer(timer_id=1, timeout_us=2, times=-1)
    elif kind is Timeout:
        msg = Timeout(timer_id=9)
    else:
        msg = kind()
    msg.set_dests(["ext", Loc("app", "g")])
    msg._src = Loc("here", "g", "me")
    msg.set_property("", {"text": "hi", "list": [1, {"a": None}]})
    if isinstance(msg, (Cmd, CmdResult)):
        msg._id = 255
        msg._parent_id = 254
    return msg  # type: ignore[no-any-return]


def state(msg: Msg) -> dict[str, Any]:
    """Return everything that makes up a message."""
    return msg.__getstate__()[1] | {"_shared": None}


# Types and names ------------------------------------------------------------------------------------


def test_types() -> None:
    table = {
        Cmd: (1, "cmd", "cmd", ""),
        CmdResult: (2, "result", "result", "ten:result"),
        CloseApp: (3, "cmd", "close_app", "ten:close_app"),
        StartGraph: (4, "cmd", "start_graph", "ten:start_graph"),
        StopGraph: (5, "cmd", "stop_graph", "ten:stop_graph"),
        TriggerLifeCycle: (6, "cmd", "trigger_life_cycle", "ten:trigger_life_cycle"),
        Timer: (7, "cmd", "timer", "ten:timer"),
        Timeout: (8, "cmd", "timeout", "ten:timeout"),
        Data: (9, "data", "data", ""),
        VideoFrame: (10, "video_frame", "video_frame", ""),
        AudioFrame: (11, "audio_frame", "audio_frame", ""),
    }
    for kind, (number, flow, text, name) in table.items():
        msg: Any = kind()
        assert (msg.type, msg.kind, msg.type.text, msg.name) == (number, flow, text, name)
        assert msg.is_plain == (kind not in CONTROL)
        assert msg.can_clone == (kind in CLONED)
    assert set(table) == set(EVERY)
    assert len(MsgType) == 12


@pytest.mark.parametrize("kind", PLAIN)
def test_names(kind: Any) -> None:
    msg = kind("with a space")
    assert msg.get_name() == msg.name == "with a space"
    msg.set_name("")
    assert msg.name == ""
    for wrong in (None, 5, b"x"):
        with pytest.raises(InvalidType):
            msg.set_name(wrong)
        with pytest.raises(InvalidType):
            kind(wrong)
    assert kind.create("x").name == "x"


@pytest.mark.parametrize("kind", EVERY)
def test_a_new_message(kind: Any) -> None:
    msg = kind()
    assert msg.get_source() == EMPTY_LOC
    assert msg.get_dests() == []
    assert len(msg) == 0
    assert msg._line is None
    assert msg._turn is None
    assert not msg._locks
    assert kind(dest="e").get_dests() == [Loc("", "", "e")]
    with pytest.raises(InvalidLocation):
        kind(dest=Loc())
    with pytest.raises(TypeError):
        kind(colour="red")
    with pytest.raises(AttributeError):
        msg.colour = "red"


@pytest.mark.parametrize("kind", EVERY)
def test_identity(kind: Any) -> None:
    one, other = filled(kind), filled(kind)
    assert one == one
    assert one != other
    assert len({one, other}) == 2


def test_reprs() -> None:
    assert repr(Data("text", {"text": "hi"})) == "Data('text', {'text': 'hi'}, buf=0 B)"
    assert repr(Data("x", buf=b"123")) == "Data('x', buf=3 B)"
    assert repr(Cmd("x")) == "Cmd('x')"
    assert repr(filled(Cmd)).endswith(", id=ff)")
    assert repr(Cmd("x").error("no")) == "CmdResult('ten:result', {'detail': 'no'}, ERROR for 'x')"
    assert repr(Cmd("x").partial()).endswith("OK for 'x', not final)")
    assert repr(Timer()) == "Timer('ten:timer')"
    assert len(repr(Data("x", {"text": "y" * 1000}))) < 100


# Fields by path -------------------------------------------------------------------------------------

FIELDS: list[tuple[Any, str, Any, Any]] = [
    # class, field, another value, and one that doesn't fit
    *((kind, "name", "other", 5) for kind in [*PLAIN, Timer]),
    (AudioFrame, "timestamp", -(2**63), 2**63),
    (AudioFrame, "sample_rate", 2**31 - 1, 2**31),
    (AudioFrame, "bytes_per_sample", 4, -(2**31) - 1),
    (AudioFrame, "samples_per_channel", 480, "480"),
    (AudioFrame, "number_of_channel", 2, 2.0),
    (AudioFrame, "channel_layout", 3, -1),
    (AudioFrame, "data_fmt", "interleave", "mixed"),
    (AudioFrame, "line_size", 960, None),
    (AudioFrame, "is_eof", False, 0),
    (VideoFrame, "pixel_fmt", "rgb24", "rgb"),
    (VideoFrame, "timestamp", 2**63 - 1, -(2**63) - 1),
    (VideoFrame, "width", 1920, 2**31),
    (VideoFrame, "height", 1080, True),
    (VideoFrame, "is_eof", False, "no"),
    (VideoFrame, "data", b"other", "text"),
    (Timer, "timer_id", 2**32 - 1, 2**32),
    (Timer, "timeout_us", 2**64 - 1, -1),
    (Timer, "times", -(2**31), 2**31),
]


@pytest.mark.parametrize(("kind", "field", "good", "bad"), FIELDS)
def test_fields_by_path(kind: Any, field: str, good: Any, bad: Any) -> None:
    msg = filled(kind)
    path = f"ten.{field}"
    before = msg.get_property(path)
    assert before != good
    assert msg.is_property_exist(path)
    assert path in msg
    with pytest.raises((InvalidType, PropertyRangeError)):
        msg.set_property(path, bad)
    assert msg.get_property(path) == before
    msg.set_property(path, good)
    assert msg.get_property(path) == good
    assert msg[path] == good
    # It isn't among the properties, and no property can be in its way.
    assert "ten" not in msg.properties
    with pytest.raises(InvalidPath):
        msg.del_property(path)


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("field", ["nothing", "type", "cmd_id", "name.x", "", "src"])
def test_fields_that_are_none(kind: Any, field: str) -> None:
    msg = filled(kind)
    path = f"ten.{field}"
    assert not msg.is_property_exist(path)
    assert msg.get_property(path, None) is None
    with pytest.raises(PropertyNotFound):
        msg.get_property(path)
    with pytest.raises(InvalidPath):
        msg.set_property(path, 1)


@pytest.mark.parametrize("kind", [CmdResult, CloseApp, StartGraph, StopGraph, Timeout])
def test_names_that_are_fixed(kind: Any) -> None:
    with pytest.raises(PropertyNotFound):
        kind().get_property("ten.name")
    with pytest.raises(InvalidPath):
        kind().set_property("ten.name", "x")


def test_typed_access_to_fields() -> None:
    frame = filled(AudioFrame)
    assert frame.get_property_int32("ten.sample_rate") == 16_000
    assert frame.get_property_string("ten.data_fmt") == "non_interleave"
    frame.set_property_int16("ten.sample_rate", 8_000)
    assert frame.get_property_to_json("ten.sample_rate") == "8000"
    assert type(frame.sample_rate) is int  # type: ignore[attr-defined]


# Shells and clones ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY)
def test_a_shell_has_everything_but_the_way(kind: Any) -> None:
    msg = filled(kind)
    msg._line, msg._turn = object(), object()
    shell = msg._shell()
    assert type(shell) is kind
    assert shell is not msg
    assert shell._line is None
    assert shell._dests == ()
    assert shell._turn is msg._turn
    assert state(shell) == state(msg) | {"_dests": ()}
    assert shell._props is msg._props


@pytest.mark.parametrize(
    ("kind", "how"),
    [(kind, "_shell") for kind in EVERY]
    + [(kind, how) for kind in CLONED for how in ("clone", "copy", "deepcopy")],
)
def test_copies_are_independent(kind: Any, how: str) -> None:
    make: Any = {
        "_shell": lambda m: m._shell(),
        "clone": lambda m: m.clone(),
        "copy": copy.copy,
        "deepcopy": copy.deepcopy,
    }[how]
    for writes_original in (True, False):
        original = filled(kind)
        other = make(original)
        before = other.properties, original.properties
        writer, reader = (original, other) if writes_original else (other, original)
        writer["text"] = "changed"
        writer["list[1].a"] = 5
        writer["new"] = 1
        writer.set_dest("elsewhere")
        writer.name = "renamed"
        assert reader.properties == before[0] == before[1]
        assert reader.name != "renamed"
        assert Loc("", "", "elsewhere") not in reader.get_dests()
        assert writer.get_property("list[1].a") == 5
        del writer["text"]
        writer.set_property("", {})
        assert reader.properties == before[0]


@pytest.mark.parametrize("kind", CLONED)
def test_a_clone_has_everything(kind: Any) -> None:
    msg = filled(kind)
    clone = msg.clone()
    assert type(clone) is kind
    changed: dict[str, Any] = {}
    if kind.kind in ("cmd", "result"):
        changed = {"_id": 0, "_parent_id": 255}
    if kind is CmdResult:
        changed |= {"is_completed": False, "original_cmd_name": ""}
    assert state(clone) == state(msg) | changed


@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind not in CLONED])
def test_what_cannot_be_cloned(kind: Any) -> None:
    with pytest.raises(InvalidType, match="cannot be cloned"):
        kind().clone()


def test_ids_of_clones() -> None:
    cmd = filled(Cmd)
    assert isinstance(cmd, Cmd)
    cmd._path = object()
    clone = cmd.clone()
    assert (clone.cmd_id, clone.parent_cmd_id, clone.seq_id) == ("", "ff", "s")
    assert clone._path is None
    assert not clone.is_abandoned
    assert (cmd.cmd_id, cmd.parent_cmd_id) == ("ff", "fe")
    assert cmd._path is not None


def test_copying_does_not_copy() -> None:
    content = b"x" * 1000
    data = Data("x", {"a": content}, buf=content)
    for other in (data.clone(), data._shell(), data._shell().clone()):
        assert other["a"] is content
        assert other.buf is content


# Pickling and JSON ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", EVERY)
def test_pickling(kind: Any) -> None:
    msg = filled(kind)
    msg._line = msg._turn = lambda: None  # what belongs to the runtime stays there
    if isinstance(msg, (Cmd, CmdResult)):
        msg._path = lambda: None
    again = pickle.loads(pickle.dumps(msg))
    assert type(again) is kind
    assert state(again) == state(msg)
    assert again._line is None
    again["text"] = "changed"
    assert msg["text"] == "hi"
    assert state(again._shell()) == state(again) | {"_dests": ()}


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("fill", [True, False])
def test_json_round_trip(kind: Any, fill: bool) -> None:
    msg = filled(kind) if fill else kind()
    text = msg.to_json()
    again = kind.from_json(text)
    assert type(again) is kind
    assert state(again) == state(msg) | (
        {"_parent_id": 0} if isinstance(msg, (Cmd, CmdResult)) else {}
    )
    assert again.to_json() == text
    assert type(Msg.from_json(text)) is kind


def test_json_form() -> None:
    cmd = filled(Cmd)
    assert json.loads(cmd.to_json()) == {
        "ten": {
            "type": "cmd",
            "name": "c",
            "src": {"app": "here", "graph": "g", "extension": "me"},
            "dest": [{"app": "", "graph": "", "extension": "ext"}, {"app": "app", "graph": "g"}],
            "cmd_id": "ff",
            "seq_id": "s",
        },
        "text": "hi",
        "list": [1, {"a": None}],
    }
    result = json.loads(filled(CmdResult).to_json())["ten"]
    assert result["type"] == "result"
    assert result["status_code"] == "ok"
    assert result["original_cmd_type"] == "cmd"
    assert json.loads(filled(Data).to_json())["ten"]["buf"] == "YWJj"
    assert json.loads(filled(VideoFrame).to_json())["ten"]["pixel_fmt"] == "nv12"
    assert json.loads(Data("x", {"raw": b"1"}).to_json())["raw"] is None


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[]", InvalidJson),
        ("{", InvalidJson),
        ("{}", InvalidJson),
        ('{"ten": []}', InvalidJson),
        ('{"ten": {}}', InvalidJson),
        ('{"ten": {"type": "cmd"}}', InvalidJson),
        ('{"ten": {"type": "nonsense"}}', InvalidJson),
        ('{"ten": {"type": ["data"]}}', InvalidJson),
        ('{"ten": {"type": "data", "colour": 1}}', InvalidJson),
        ('{"ten": {"type": "data", "buf": "!"}}', InvalidJson),
        ('{"ten": {"type": "data", "buf": 5}}', InvalidJson),
        ('{"ten": {"type": "data", "src": "x"}}', InvalidJson),
        ('{"ten": {"type": "data", "dest": {}}}', InvalidJson),
        ('{"ten": {"type": "data", "dest": [{}]}}', InvalidLocation),
        ('{"ten": {"type": "data", "name": 5}}', InvalidType),
        ('{"ten": {"type": "data"}, "": 5}', InvalidArgument),
    ],
)
def test_bad_json(text: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        Data.from_json(text)


def test_bad_json_of_others() -> None:
    for bad in ("xyz", 5, "f" * 33, "-1"):
        with pytest.raises(InvalidArgument):
            Cmd.from_json(json.dumps({"ten": {"type": "cmd", "cmd_id": bad}}))
    with pytest.raises(PropertyRangeError):
        CmdResult.from_json('{"ten": {"type": "result", "status_code": "fine"}}')
    with pytest.raises(PropertyRangeError):
        AudioFrame.from_json('{"ten": {"type": "audio_frame", "line_size": 4294967296}}')
    assert isinstance(Cmd.from_json(Timer(timer_id=3).to_json()), Timer)
    assert CmdResult.from_json('{"ten": {"type": "result"}}').status is StatusCode.INVALID
