"""What notebooks are given to show: escaped, light, and right."""

from __future__ import annotations

import io
import re
import struct
import sys
import wave
import xml.etree.ElementTree as ET
import zlib
from base64 import b64decode
from typing import Any

import pytest

import ten_trio as ten
from ten_trio import notebook
from ten_trio.notebook import hooks
from ten_trio.notebook.conversation import conversation
from ten_trio.notebook.latencies import latencies
from ten_trio.notebook.recording import Event

EVIL = "<script>alert('x')</script>&\""


def bundle(value: Any) -> dict[str, Any]:
    found = value._repr_mimebundle_()
    assert isinstance(found, dict)
    assert found["text/plain"]
    return found


def html(value: Any) -> str:
    text = bundle(value)["text/html"]
    assert isinstance(text, str)
    return text


# Messages -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        ten.Cmd(EVIL, {EVIL: EVIL}),
        ten.Cmd("x").error(EVIL),
        ten.Data("x", {"nested": {EVIL: [EVIL, b"abc"]}}),
        ten.AudioFrame(EVIL),
        ten.VideoFrame(EVIL),
        ten.StopGraph(),
        ten.NotConnected(EVIL),
        ten.GraphError([ten.Problem(EVIL, EVIL)]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_comes_from_elsewhere_is_escaped(value: Any) -> None:
    text = html(value)
    assert "<script>" not in text
    ET.fromstring(f"<all>{text.replace('<audio controls', '<audio')}</all>")


def test_a_result_says_how_it_went() -> None:
    cmd = ten.Cmd("ask")
    assert ">OK<" in html(cmd.ok(answer=42))
    assert "<code>42</code>" in html(cmd.ok(answer=42))
    assert "more follow" in html(cmd.partial())
    assert ">ERROR<" in html(cmd.error("no"))


def test_a_command_that_was_sent_says_its_id() -> None:
    sent: list[ten.Cmd] = []

    class Notes(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            sent.append(cmd)
            await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("notes", Notes)
    with notebook.open_app() as app, app.open_graph(graph) as running:
        running.send_cmd(ten.Cmd("ask", dest="notes"))
    assert sent[0].cmd_id
    assert f"> {sent[0].cmd_id}<" in html(sent[0])


def test_data_says_how_large_its_buffer_is() -> None:
    assert "1234 bytes" in html(ten.Data("x", buf=bytes(1_234)))
    assert "bytes" not in html(ten.Data("x"))
    assert "<code>3 bytes</code>" in html(ten.Data("x", {"key": b"abc"}))


def test_an_error_shows_its_problems_and_its_cause() -> None:
    problems = [ten.Problem("nodes[0]", "no addon"), ten.Problem("nodes[1]", "no name")]
    assert re.findall(r"<code>(.*?)</code>", html(ten.GraphError(problems))) == [
        "nodes[0]",
        "nodes[1]",
    ]
    error = ten.EngineClosed("gone")
    error.__cause__ = ExceptionGroup("failed", [KeyError("a"), ExceptionGroup("b", [OSError("c")])])
    error.add_note("while it was closed")
    text = html(error)
    assert "OSError: c" in text
    assert "while it was closed" in text


# Sound and pictures ---------------------------------------------------------------------------------


def frame(**fields: Any) -> ten.AudioFrame:
    given = {"sample_rate": 8000, "number_of_channels": 1, "bytes_per_sample": 2, "buf": bytes(160)}
    return ten.AudioFrame("pcm", **{**given, **fields})


def wav(text: str) -> wave.Wave_read:
    (data,) = re.findall(r"data:audio/wav;base64,([^\"]+)", text)
    return wave.open(io.BytesIO(b64decode(data)))


def test_an_audio_frame_can_be_played() -> None:
    with wav(html(frame(buf=bytes(range(160))))) as file:
        assert file.getparams()[:4] == (1, 2, 8000, 80)
        assert file.readframes(80) == bytes(range(160))


def test_planes_are_played_as_channels() -> None:
    planes = b"\x01\x02\x03\x04" + b"\x0a\x0b\x0c\x0d"
    given = frame(number_of_channels=2, buf=planes, data_fmt=ten.AudioFrameDataFmt.NON_INTERLEAVE)
    with wav(html(given)) as file:
        assert file.readframes(2) == b"\x01\x02\x0a\x0b\x03\x04\x0c\x0d"


def test_frames_are_one_sound() -> None:
    sound = notebook.Sound([frame(), frame()])
    assert sound.seconds == pytest.approx(0.02)
    assert str(sound) == "0.02 s of sound, 8000 Hz, mono, 16 bits"
    with wav(html(sound)) as file:
        assert file.getnframes() == 160


@pytest.mark.parametrize(
    "frames", [[], [frame(), frame(sample_rate=16000)], [frame(sample_rate=0)]]
)
def test_what_is_no_sound(frames: list[ten.AudioFrame]) -> None:
    with pytest.raises(ten.InvalidArgument):
        notebook.Sound(frames)


def test_frames_that_can_t_be_played_are_shown_all_the_same() -> None:
    assert "<audio" not in html(ten.AudioFrame("nothing"))
    assert "<audio" not in html(frame(buf=b""))
    assert "too long" in html(frame(buf=bytes(8000 * 2 * 121)))


def png_pixels(png: bytes) -> tuple[int, int, int, bytes]:
    """Width, height, colour type and the pixels, by the file format's own rules."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size]) == (
            zlib.crc32(kind + data),
        )
        chunks[kind] = data
        at += 12 + size
    width, height, depth, colour, *_ = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert depth == 8
    rows = zlib.decompress(chunks[b"IDAT"])
    stride = len(rows) // height
    assert {rows[y * stride] for y in range(height)} == {0}
    return (
        width,
        height,
        colour,
        b"".join(rows[y * stride + 1 : (y + 1) * stride] for y in range(height)),
    )


@pytest.mark.parametrize(
    ("form", "buf", "wanted"),
    [
        ("RGB24", b"\x01\x02\x03\x04\x05\x06", (2, 1, 2, b"\x01\x02\x03\x04\x05\x06")),
        ("BGR24", b"\x01\x02\x03\x04\x05\x06", (2, 1, 2, b"\x03\x02\x01\x06\x05\x04")),
        ("RGBA", b"\x01\x02\x03\xff\x05\x06\x07\xfe", (2, 1, 6, b"\x01\x02\x03\xff\x05\x06\x07\xfe")),
        ("BGRA", b"\x01\x02\x03\xff\x05\x06\x07\xfe", (2, 1, 6, b"\x03\x02\x01\xff\x07\x06\x05\xfe")),
        ("I420", b"\x10\x80\x00\x00", (2, 1, 0, b"\x10\x80")),
        ("NV12", b"\x10\x80\x00\x00", (2, 1, 0, b"\x10\x80")),
    ],
)  # fmt: skip
def test_a_video_frame_is_a_picture(
    form: str, buf: bytes, wanted: tuple[int, int, int, bytes]
) -> None:
    given = ten.VideoFrame("v", width=2, height=1, pixel_fmt=ten.PixelFmt[form], buf=buf)
    assert png_pixels(notebook.to_png(given)) == wanted
    assert "data:image/png;base64," in html(given)


def test_a_large_picture_gets_smaller() -> None:
    pixels = bytes(x % 256 for _ in range(2) for x in range(2000) for _ in range(3))
    given = ten.VideoFrame("v", width=2000, height=2, pixel_fmt=ten.PixelFmt.RGB24, buf=pixels)
    width, height, _, shown = png_pixels(notebook.to_png(given))
    assert (width, height) == (667, 1)
    assert shown[:9] == bytes([0, 0, 0, 3, 3, 3, 6, 6, 6])


def test_what_is_no_picture_is_shown_all_the_same() -> None:
    short = ten.VideoFrame("v", width=2, height=2, buf=b"123")
    with pytest.raises(ten.InvalidArgument, match="3 bytes are no picture of 2 x 2 in RGBA"):
        notebook.to_png(short)
    assert "no picture" in html(short)


# Graphs ---------------------------------------------------------------------------------------------


def small_graph() -> ten.Graph:
    graph = ten.Graph()
    graph.node("one", "addon_of_one")
    graph.node("two", "addon_of_two")
    graph.connect("one", "two", cmd="ask")
    return graph


def test_a_graph_is_a_picture() -> None:
    pytest.importorskip("pygraphviz")
    found = bundle(small_graph())
    assert ET.fromstring(found["image/svg+xml"]).tag.endswith("svg")
    assert "one → two  cmd ask" in found["text/plain"]
    assert "text/vnd.mermaid" not in found


def test_without_graphviz_it_is_mermaid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    found = bundle(small_graph())
    assert "image/svg+xml" not in found
    assert found["text/vnd.mermaid"].startswith("flowchart LR\n")
    assert found["text/markdown"].startswith("```mermaid\nflowchart LR\n")
    assert "one → two  cmd ask" in found["text/plain"]
    with notebook.open_app() as app:
        graph = ten.Graph()
        graph.node("only", ten.Extension)
        with app.open_graph(graph) as running:
            assert "only" in html(running)


def test_a_wide_picture_fits_the_page() -> None:
    pytest.importorskip("pygraphviz")
    graph = ten.Graph()
    for number in range(12):
        graph.node(f"number_{number}", "x")
    for number in range(11):
        graph.connect(f"number_{number}", f"number_{number + 1}", cmd="ask")
    picture = ET.fromstring(bundle(graph)["image/svg+xml"])
    assert float(picture.attrib["width"]) <= 900
    assert float(picture.attrib["viewBox"].split()[2]) > 900


# Reports --------------------------------------------------------------------------------------------


def test_reports() -> None:
    with notebook.open_app() as app:
        graph = ten.Graph()
        graph.node("only", ten.Extension)
        first, second = app.open_graph(graph), app.open_graph(graph)
        report = first.stop()
        text = html(report)
        assert "closed, in order" in text
        assert "dropped" not in text  # nothing was
        reports = app.close()
        assert second.graph_id in html(reports)
        assert bundle(reports)["text/plain"] == str(second.report)
    assert "no graph was running" in html(app.close())


def test_an_explanation_shows_who_waits_and_marks_a_deadlock() -> None:
    waits = tuple(
        ten.Wait(who=who, doing="on_cmd", kind="result", what=EVIL, on=on, seconds=1.5, why="held")
        for who, on in (("a", "b"), ("b", "a"))
    )
    held = ten.Wait(who="c", doing="", kind="held", what="3 frames")
    text = html(ten.Explanation(graph_id="g", waits=(*waits, held), deadlocks=(waits,)))
    assert ">deadlock<" in text
    assert "a → b → a" in text
    assert "1.5 s" in text
    assert "<div" in text
    assert "held" in text
    assert "3 frames queued" in text
    assert "<script>" not in text
    ET.fromstring(f"<all>{text}</all>")
    silent = html(ten.Explanation(graph_id="g", name="agent", silent=3.0))
    assert ">stuck<" in silent
    assert "agent" in silent
    assert "<table" not in silent
    assert ">closing<" in html(ten.Explanation(graph_id="g", state="closing"))


# Conversations and latencies ------------------------------------------------------------------------


def event(at: float, source: str, dest: str, kind: str, name: str, **more: Any) -> Event:
    return Event(at=at, source=source, dest=dest, kind=kind, name=name, **more)


EVENTS = [
    event(0.0, "host", "a", "cmd", "ask", cmd_id=1, turn="t1"),
    event(0.1, "a", "b", "audio_frame", "pcm", size=640, turn="t1"),
    event(0.2, "a", "b", "audio_frame", "pcm", size=640, turn="t1"),
    event(0.3, "a", "b", "audio_frame", "pcm", size=640, turn="t1"),
    event(0.4, "b", "b", "data", EVIL, properties={"x": EVIL}),
    event(0.5, "a", "host", "result", "ask", cmd_id=1, turn="t1", final=True),
    event(0.6, "runtime", "host", "result", "other", cmd_id=2, turn="t2", ok=False, final=True),
]


def test_a_conversation() -> None:
    found = conversation(EVENTS, 60, order=["b", "a"])
    assert found.people == ["host", "b", "a", "runtime"]
    assert [arrow.label for arrow in found.arrows[:2]] == ["ask", "pcm x 3 in 200 ms"]
    assert found.turns == ["t1", "t2"]
    assert "    0.100  a → b  pcm x 3 in 200 ms  [turn 1]" in str(found)
    assert "ERROR other  [turn 2]" in str(found)
    picture = found.to_svg()
    texts = [
        "".join(each.itertext())
        for each in ET.fromstring(picture).iter()
        if each.tag.endswith("text")
    ]
    assert {"host", "a", "b", "turn 1", "turn 2", "0.500 s"} <= set(texts)
    assert "<script>" not in picture
    assert bundle(found)["image/svg+xml"]


def test_a_conversation_in_mermaid() -> None:
    lines = conversation(EVENTS, 60).to_mermaid().splitlines()
    assert lines[0] == "sequenceDiagram"
    assert "  p0->>p1: 0.000 s: ask" in lines
    assert "  p1-->>p0: 0.500 s: OK ask" in lines
    assert "  rect rgb(224, 236, 255)" in lines
    assert sum(line.startswith("  rect ") for line in lines) == lines.count("  end") == 3
    assert not [line for line in lines if "<script>" in line or re.search(r"[^0-9t];", line)]


def test_a_long_conversation_is_cut_at_its_beginning() -> None:
    found = conversation(EVENTS, 2)
    assert [arrow.first.at for arrow in found.arrows] == [0.5, 0.6]
    assert found.left_out == 3
    assert str(found).startswith("(3 before these)")
    assert (
        str(conversation([], 5)) == bundle(conversation([], 5))["text/plain"] == "nothing was said"
    )


def test_latencies() -> None:
    found = latencies(EVENTS)
    assert found.commands == {"host → a ask": (0.5,)}
    assert found.turns == {"t1": {"a": 0.1}, "t2": {"runtime": 0.0}}
    assert "host → a ask: 1 times, median 500 ms" in str(found)
    pytest.importorskip("matplotlib")
    assert png_size(b64decode(bundle(found)["image/png"])) > (300, 100)
    assert "image/png" not in bundle(latencies([]))


def png_size(png: bytes) -> tuple[int, ...]:
    return struct.unpack(">II", png[16:24])


def test_latencies_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    found = latencies(EVENTS)
    assert "500 ms" in html(found)
    with pytest.raises(ten.MissingExtra, match=r"ten-trio\[notebook\]"):
        found.figure()


# Around the cells -----------------------------------------------------------------------------------


class FakeShell:
    """As much of IPython's as is used."""

    def __init__(self) -> None:
        self.events = self
        self.registered: list[str] = []

    def register(self, event: str, _: object) -> None:
        self.registered.append(event)

    def has_trait(self, name: str) -> bool:
        return False


def test_a_crash_is_shown_in_a_notebook_and_logged_elsewhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shell: FakeShell | None = FakeShell()
    shown: list[dict[str, Any]] = []
    monkeypatch.setattr(hooks, "current_shell", lambda: shell)
    monkeypatch.setattr(hooks, "publish", shown.append)

    class Crashes(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            raise ValueError(EVIL)

    graph = ten.Graph()
    graph.node("crashes", Crashes)
    graph.expose("data_in", "go", "crashes")
    with notebook.open_app() as app:
        assert shell is not None
        assert shell.registered == ["pre_run_cell", "post_run_cell"]
        for _ in range(2):
            running = app.open_graph(graph)
            running.send_data(ten.Data("go"))
            app.call(running.wait_ended)
            hooks.show_failures()
            hooks.show_failures()
            shell = None
    (banner,) = shown
    assert running.graph_id not in banner["text/plain"]
    assert "has failed in the background: ValueError: <script>" in banner["text/plain"]
    assert "<script>" not in banner["text/html"]
    told = [each for each in caplog.records if each.name == "ten_trio.notebook"]
    assert [each.getMessage() for each in told] == [f"graph {running.graph_id} has failed"]
