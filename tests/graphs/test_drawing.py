"""Drawings: Mermaid text and SVG pictures."""

from __future__ import annotations

import re
import sys
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from ten_trio.errors import MissingExtra
from ten_trio.graphs import (
    Conversion,
    Dest,
    Graph,
    PredefinedGraph,
    Rule,
    flatten,
    to_mermaid,
    to_png,
    to_svg,
)
from ten_trio.graphs.drawing import Drawing, draw
from ten_trio.graphs.layout import Arrow, Box, lay_out
from ten_trio.graphs.svg import _label_size, _node_size, shortened, text_width

SVG = "{http://www.w3.org/2000/svg}"


def voice_agent() -> Graph:
    graph = Graph()
    for name, group in [
        ("rtc", "io"), ("adapter", "io"), ("stt", "speech"), ("llm", "model"),
        ("tts", "speech"), ("main_control", ""), ("collector", "ui"),
    ]:  # fmt: skip
        graph.node(name, f"{name}_python", group=group)
    graph.connect("rtc", "adapter", audio_frame="pcm_frame")
    graph.connect("adapter", "stt", audio_frame="pcm_frame")
    graph.connect("rtc", "main_control", cmd=["on_user_joined", "on_user_left"])
    graph.connect("stt", "main_control", data="asr_result")
    graph.connect("main_control", ["llm", "tts"], cmd="flush")
    graph.connect("main_control", "llm", data="text", convert=Conversion.rename("prompt"))
    graph.connect("llm", "main_control", data="reply", convert=Conversion((Rule.fixed("a", 1),)))
    graph.connect("main_control", "tts", data="speak")
    graph.connect("tts", "rtc", audio_frame="pcm_frame", video_frame="avatar")
    graph.connect("main_control", "collector", data="message")
    graph.expose("cmd_in", "say", "main_control")
    graph.expose("data_out", "transcript", "collector")
    return graph


def texts(svg: str) -> list[str]:
    root = ET.fromstring(svg)
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def overlap(one: Box, two: Box) -> bool:
    apart = (
        one.x + one.width <= two.x + 0.5
        or two.x + two.width <= one.x + 0.5
        or one.y + one.height <= two.y + 0.5
        or two.y + two.height <= one.y + 0.5
    )
    return not apart


def test_what_is_drawn() -> None:
    drawing = draw(voice_agent())
    assert [node.title for node in drawing.nodes][-2:] == ["in", "out"]
    assert drawing.groups == ["io", "speech", "model", "", "ui"]
    assert drawing.kinds == ["cmd", "data", "audio_frame", "video_frame"]
    labels = [link.labels for link in drawing.links]
    assert ("on_user_joined", "on_user_left") in labels
    assert ("text → prompt",) in labels
    assert ("reply ⇄",) in labels


def test_draw_to_a_file(tmp_path: Path) -> None:
    graph = voice_agent()
    graph.draw(tmp_path / "graph.svg", "of mine")
    assert (tmp_path / "graph.svg").read_text() == to_svg(graph, "of mine")
    graph.draw(tmp_path / "graph.mmd")
    assert (tmp_path / "graph.mmd").read_text() == to_mermaid(graph)
    graph.draw(str(tmp_path / "graph.png"))
    drawn = (tmp_path / "graph.png").read_bytes()
    assert drawn == to_png(graph)
    width, height = (int.from_bytes(drawn[i : i + 4]) for i in (16, 20))
    half = to_png(graph, zoom=1)
    assert (width, height) == tuple(2 * int.from_bytes(half[i : i + 4]) for i in (16, 20))
    with pytest.raises(ValueError, match="zoom"):
        to_png(graph, zoom=0)


def test_svg_of_a_voice_agent() -> None:
    svg = to_svg(PredefinedGraph("voice_assistant", voice_agent()))
    drawn = texts(svg)
    assert drawn[0] == "voice_assistant"
    for text in ("rtc", "main_control", "llm_python", "pcm_frame", "on_user_left", "transcript",
                 "audio frame", "video frame", "no group", "speech"):  # fmt: skip
        assert text in drawn
    root = ET.fromstring(svg)
    arrows = [p for p in root.iter(f"{SVG}path") if p.get("marker-end")]
    assert len(arrows) == len(draw(voice_agent()).links) + 4
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    numbers = [float(n) for p in arrows for n in re.findall(r"-?\d+\.\d+", p.get("d", ""))]
    assert min(numbers) >= 0
    assert max(numbers) <= max(width, height)
    assert to_svg(PredefinedGraph("voice_assistant", voice_agent())) == svg


def test_nothing_overlaps() -> None:
    drawing: Drawing = draw(voice_agent())
    layout = lay_out(
        {node.id: _node_size(node) for node in drawing.nodes},
        [Arrow(link.source, link.dest, _label_size(link)) for link in drawing.links],
        {},
    )
    labels = [curve.label for curve in layout.curves]
    boxes = [*layout.nodes.values(), *labels]
    assert not [pair for pair in combinations(boxes, 2) if overlap(*pair)]


def test_subgraphs_and_what_is_missing() -> None:
    inner = Graph()
    inner.node("tts", "x")
    graph = Graph()
    graph.node("a", "x")
    graph.subgraph("s", inner)
    graph.subgraph("t", "t.json")
    graph.connect("a", ["s:tts", "t", "nobody"], data="d")
    drawing = draw(graph)
    assert [(node.title, node.subtitle, node.kind) for node in drawing.nodes] == [
        ("a", "x", "extension"),
        ("s", "subgraph", "subgraph"),
        ("t", "t.json", "subgraph"),
        ("nobody", "not declared", "missing"),
    ]
    assert [link.labels for link in drawing.links] == [("d (tts)",), ("d",), ("d",)]
    assert "not declared" in texts(to_svg(graph))


def test_a_selector_is_none_of_the_boxes() -> None:
    nodes = [
        {"type": "extension", "name": name, "addon": "x"} for name in ("mic_one", "mic_two", "sink")
    ]
    selector = {
        "type": "selector",
        "name": "mics",
        "filter": {"field": "name", "operator": "regex", "value": "mic_.*"},
    }
    graph = Graph.from_json({"nodes": [*nodes, selector]})
    assert [node.title for node in draw(graph).nodes] == ["mic_one", "mic_two", "sink"]


def test_flat_graphs_and_several_apps() -> None:
    graph = Graph()
    graph.node("a", "x", app="msgpack://one:1/", group="g")
    graph.node("a", dict, app="msgpack://two:2/")
    graph.connect("a", Dest("a", app="msgpack://two:2/"), data="d")
    flat = flatten(graph)
    for drawable in (graph, flat):
        drawing = draw(drawable)
        assert [(node.title, node.subtitle, node.app) for node in drawing.nodes] == [
            ("a", "x", "msgpack://one:1/"),
            ("a", "dict", "msgpack://two:2/"),
        ]
        assert [(link.source, link.dest) for link in drawing.links] == [("n0", "n1")]
        svg = to_svg(drawable)
        assert "msgpack://one:1/" in texts(svg)
        mermaid = to_mermaid(drawable)
        assert '  subgraph app0["msgpack://one:1/"]\n  n0(' in mermaid


def test_mermaid() -> None:
    graph = Graph()
    graph.node('say "hi"', "a<b>#1", group="g")
    graph.node("b", "x")
    graph.connect('say "hi"', "b", cmd=["x", "y"])
    graph.connect("b", "b", video_frame="v")
    graph.expose("cmd_in", "x", "b")
    assert to_mermaid(graph) == (
        "flowchart LR\n"
        '  n0("say #quot;hi#quot;<br/><small>a#lt;b#gt;#35;1</small>")\n'
        '  n1("b<br/><small>x</small>")\n'
        '  n2(["in"])\n'
        '  n0 -->|"x<br/>y"| n1\n'
        '  n1 -->|"v"| n1\n'
        '  n2 -->|"x"| n1\n'
        "  linkStyle 0 stroke:#2563eb,color:#2563eb\n"
        "  linkStyle 1 stroke:#9333ea,color:#9333ea\n"
        "  linkStyle 2 stroke:#2563eb,color:#2563eb\n"
        "  style n0 fill:#e0ecff,stroke:#5b8def,color:#1f2430\n"
        "  style n1 fill:#ffe9d2,stroke:#e8964a,color:#1f2430\n"
        "  style n2 fill:#ffffff,stroke:#8a8fa3,color:#1f2430,stroke-dasharray:4 3\n"
    )


def test_names_are_escaped_and_shortened() -> None:
    graph = Graph()
    graph.node("<&>", "x" * 50)
    graph.connect("<&>", "<&>", data='"&"')
    drawn = texts(to_svg(graph))
    assert "<&>" in drawn
    assert '"&"' in drawn
    assert shortened("x" * 50) in drawn
    assert len(shortened("x" * 50)) == 35
    assert text_width("iii", 10) < text_width("mmm", 10) < text_width("漢漢漢漢", 10)


def test_an_empty_graph_and_a_lonely_node() -> None:
    ET.fromstring(to_svg(Graph()))
    graph = Graph()
    graph.node("a", "x")
    assert texts(to_svg(graph)) == ["a", "x"]


def test_without_the_layout_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    with pytest.raises(MissingExtra, match=r"ten-trio\[draw\]"):
        to_svg(voice_agent())
    assert to_mermaid(voice_agent())
