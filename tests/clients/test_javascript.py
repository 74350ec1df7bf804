"""The JavaScript client: its own tests, and its codecs against ours."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio

import ten_trio as ten
from ten_trio.messages import (
    AudioFrame,
    CloseApp,
    Cmd,
    CmdResult,
    Data,
    Float32,
    Int8,
    Loc,
    Msg,
    StartGraph,
    StatusCode,
    StopGraph,
    Timer,
    UInt32,
    UInt64,
    VideoFrame,
)
from ten_trio.network import JsonCodec, MsgpackCodec, WireMsg
from ten_trio.network.codecs.layout import LAYOUTS

CLIENT = Path(__file__).parents[2] / "clients" / "js"
VECTORS: list[dict[str, Any]] = json.loads(
    (CLIENT.parents[1] / "tests" / "network" / "vectors.json").read_text(encoding="utf-8")
)


def _node() -> str:
    """Why there is no usable node, or ""."""
    if shutil.which("node") is None:
        return "node isn't installed"
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    major = version.stdout.strip().lstrip("v").split(".")[0]
    if not major.isdigit() or int(major) < 20:
        return f"needs node 20; this is {version.stdout.strip() or version.stderr.strip()}"
    return ""


MISSING = _node()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(MISSING), reason=MISSING or "node is here")]


@pytest.mark.parametrize("name", ["test_codec.mjs", "test_client.mjs"])
def test_its_own_tests(name: str) -> None:
    done = subprocess.run(
        ["node", "--test", CLIENT / name], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\n# fail 0\n" in done.stdout
    assert "\n# pass 0\n" not in done.stdout


def convert(lines: list[str]) -> list[dict[str, str]]:
    """What JavaScript reads from each line (hex of msgpack, or JSON), written by it in both forms."""
    done = subprocess.run(
        ["node", CLIENT / "test_codec.mjs", "--convert"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    converted = [json.loads(line) for line in done.stdout.split("\n") if line]
    assert len(converted) == len(lines)
    return converted


def in_msgpack(wire: WireMsg) -> str:
    return b"".join(MsgpackCodec(extended=True).encode([wire])).hex()


def in_json(wire: WireMsg) -> str:
    (text,) = JsonCodec(framed=True).encode([wire])
    return str(text, "utf-8")


def read(codec: MsgpackCodec | JsonCodec, data: bytes) -> WireMsg:
    codec.receive_data(data)
    wire = codec.next_message()
    assert wire is not None
    assert codec.next_message() is None
    return wire


def contents(wire: WireMsg) -> dict[str, Any]:
    """All that a message says."""
    msg, cmd_id = wire
    fields = {name: getattr(msg, field.attribute) for name, field in msg._fields.items()}
    if "buf" in fields or "data" in fields:
        name = "data" if "data" in fields else "buf"
        fields[name] = bytes(fields[name])
    assert msg._src is not None
    places = msg._src.to_dict(), [dest.to_dict() for dest in msg.get_dests()]
    return {"": (type(msg), cmd_id, *places, dict(msg.properties)), **fields}


def messages() -> list[WireMsg]:
    values = {
        "text": 'é\n\x00"\u2028😀',
        "list": [1, -1, 2**53 - 1, [], {}, None, True],
        "nested": {"a": {"b": [0.5, -1e300, 1.5]}},
        "__proto__": {"polluted": 1},
    }
    made: list[Msg] = [layout.cls() for layout in LAYOUTS]
    result = Cmd("ask", {"q": 1}).partial(text="so far")
    result.seq_id = "17"
    audio = AudioFrame(
        "pcm",
        {"answer": 3},
        timestamp=-(2**50),
        sample_rate=48_000,
        bytes_per_sample=2,
        samples_per_channel=3,
        number_of_channels=2,
        channel_layout=3,
        line_size=12,
        is_eof=True,
        buf=bytes(range(12)),
    )
    video = VideoFrame("cam", width=2, height=1, timestamp=9, is_eof=True, buf=bytes(8))
    graph = '{"nodes":[{"type":"extension","name":"a","addon":"b"}]}'
    made += [
        Cmd("ask", values, dest=Loc("", "", "x")),
        Cmd("ask").error("no such thing"),
        Data("bytes", values, buf=bytes(range(256)) * 300, dest=[Loc("a", "g", "x"), Loc("", "")]),
        StartGraph(predefined_graph_name="voice"),
        StartGraph(graph_json=graph),
        StopGraph(graph_id="g1"),
        Timer(timer_id=5, timeout_us=2**40, times=-1),
        *(CloseApp(), result, audio, video),
    ]
    wires = []
    for number, msg in enumerate(made):
        msg._src = Loc("msgpack://h:1/", "g", "e") if number % 2 else Loc()
        wires.append(WireMsg(msg, f"id-{number}" if hasattr(msg, "seq_id") else ""))
    return wires


def test_what_each_side_writes_the_other_reads() -> None:
    wires = messages()
    as_bytes = convert([in_msgpack(wire) for wire in wires])
    as_text = convert([in_json(wire) for wire in wires])
    for wire, from_bytes, from_text in zip(wires, as_bytes, as_text, strict=True):
        expected = contents(wire)
        flat = dict(expected)
        if isinstance(wire.msg, CmdResult):
            flat |= {"original_cmd_name": "", "is_completed": False}  # msgpack can't tell them
        for converted, told in (from_text, expected), (from_bytes, flat):
            assert contents(read(JsonCodec(framed=True), converted["json"].encode())) == told
            assert contents(read(MsgpackCodec(), bytes.fromhex(converted["msgpack"]))) == flat


def test_the_vectors_through_javascript() -> None:
    for vector, written in zip(
        VECTORS, convert([vector["bytes"] for vector in VECTORS]), strict=True
    ):
        assert written["msgpack"] == vector["bytes"], vector["name"]


def test_values_that_only_msgpack_can_say() -> None:
    values = {
        "small": Int8(-3),
        "unsigned": UInt32(2**32 - 1),
        "huge": UInt64(2**64 - 1),
        "most": 2**63 - 1,
        "least": -(2**63),
        "half": Float32(0.5),
        "whole": 3.0,
        "bytes": b"\x00\xff",
        "numbers": [math.inf, -0.0],
    }
    wire = WireMsg.of(Cmd("x", values))
    (converted,) = convert([in_msgpack(wire)])
    assert converted["msgpack"] == in_msgpack(wire)
    assert converted["json"] is None


def test_statuses() -> None:
    for status in StatusCode:
        result = Cmd("x").ok()
        result.status = status
        (converted,) = convert([in_msgpack(WireMsg.of(result))])
        back: Any = read(JsonCodec(framed=True), converted["json"].encode()).msg
        assert back.status is status


@ten.addon("everything")
class Everything(ten.Extension):
    """Answers, streams, asks back, and sends everything else home."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        match cmd.name:
            case "upper":
                await env.return_result(cmd.ok(text=cmd["text"].upper()))
            case "count":
                for n in range(1, cmd["to"]):
                    await env.return_result(cmd.partial(n=n))
                await env.return_result(cmd.ok(n=cmd["to"]))
            case "confirm":
                result = await env.send_cmd(ten.Cmd("confirmation", {"question": cmd["question"]}))
                if result.ok:
                    await env.return_result(cmd.ok(answer=result["answer"]))
                else:
                    await env.return_result(cmd.error(f"refused: {result.detail}"))
            case "fail":
                await env.return_result(cmd.error("as you wish"))

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await env.send_data(data.clone())

    async def on_audio_frame(self, env: ten.TenEnv, frame: ten.AudioFrame) -> None:
        await env.send_audio_frame(frame.clone())

    async def on_video_frame(self, env: ten.TenEnv, frame: ten.VideoFrame) -> None:
        await env.send_video_frame(frame.clone())


def everything() -> dict[str, Any]:
    """An app with the graph, in which all goes in and out."""
    names = {
        "cmd_in": ["upper", "count", "confirm", "fail", "never"],
        "cmd_out": ["confirmation"],
        **{f"data_{way}": ["echo"] for way in ("in", "out")},
        **{f"audio_frame_{way}": ["pcm"] for way in ("in", "out")},
        **{f"video_frame_{way}": ["picture"] for way in ("in", "out")},
    }
    exposed = [
        {"type": kind, "name": name, "extension": "it"} for kind in names for name in names[kind]
    ]
    nodes = [{"type": "extension", "name": "it", "addon": "everything"}]
    graph = {"nodes": nodes, "exposed_messages": exposed}
    return {"ten": {"predefined_graphs": [{"name": "everything", "graph": graph}]}}


@pytest.mark.parametrize("form", ["mixed", "json"])
async def test_it_talks_to_an_app(form: str) -> None:
    settings = ten.NetworkSettings(token="let me & in")
    async with ten.open_app(everything(), uri="ws://127.0.0.1:0", network=settings) as app:
        command = ["node", "--experimental-websocket", CLIENT.parents[1] / "tests/clients/talk.mjs"]
        with trio.fail_after(60):
            done = await trio.run_process(
                [*command, app.uri, "let me & in", form],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert "not authorized" in found.pop("wrongToken")
    is_cmd_error, detail = found.pop("noGraph")
    assert is_cmd_error
    assert "no such graph" in detail
    assert "destination" in found.pop("nowhere")
    assert found.pop("big", str(2**62)) == str(2**62)
    assert found == {
        "graphId": True,
        "upper": "HELLO",
        "addressed": "X",
        "failed": ["CmdError", "as you wish"],
        "counted": [[1, False], [2, False], [3, True]],
        "last": 3,
        "confirmed": "sure? yes",
        "refused": "refused: I don't know",
        "many": True,
        "data": [{"a": [1, {"b": True}], "half": 0.5}, [0, 1, 255]],
        "audio": [16_000, 160, 20, True],
        "video": [1024, 768, "rgba", (3 if form == "mixed" else 0.5) * 2**20, 7],
        "stopped": "ok",
        "never": "closing: graph everything (stop_graph)",
        "closed": 1000,
        "after": "ConnectionClosed",
    }


async def test_the_page_about_browsers_says_what_happens(tmp_path: Path) -> None:
    page = (CLIENT.parents[1] / "docs" / "browser.md").read_text(encoding="utf-8")
    blocks = {
        kind: re.findall(rf"^```{kind}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
        for kind in ("python", "js", "text")
    }
    ((app_source,), (script,), (printed,)) = blocks.values()
    names: dict[str, Any] = {"__name__": "page"}
    exec(app_source, names)
    shutil.copy(CLIENT / "ten_trio.js", tmp_path / "ten_trio.mjs")
    script = script.replace("./ten_trio.js", "./ten_trio.mjs")
    async with ten.open_app(names["APP"], uri="ws://127.0.0.1:0") as app:
        (tmp_path / "page.mjs").write_text(script.replace("ws://127.0.0.1:8001", app.uri))
        with trio.fail_after(60):
            done = await trio.run_process(
                ["node", "--experimental-websocket", tmp_path / "page.mjs"],
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
    assert done.stdout.decode() == printed, done.stderr.decode()
