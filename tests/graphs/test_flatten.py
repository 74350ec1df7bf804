"""Flattening: names, selectors, reversed flows, subgraphs, imports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ten_trio.errors import GraphError, MissingVariable
from ten_trio.graphs import (
    UNSPECIFIED_GROUP,
    Conversion,
    Edge,
    Exposure,
    Filter,
    FlatGraph,
    Graph,
    SubgraphNode,
    flatten,
    link,
)

ONE, TWO = "msgpack://one:1/", "msgpack://two:2/"


def edges(graph: Graph, **options: Any) -> list[str]:
    return [
        f"{edge.source} {edge.kind} {edge.name} {edge.dest}"
        for edge in flatten(graph, **options).edges
    ]


def voice() -> Graph:
    """asr -> tts, with everything exposed that a graph may expose."""
    graph = Graph()
    graph.node("asr", "asr_addon", group="g", property={"language": "en", "deep": {"a": 1, "b": 2}})
    graph.node("tts", "tts_addon", on_error="restart")
    graph.connect("asr", "tts", data="text")
    graph.expose("audio_frame_in", "pcm", "asr")
    graph.expose("audio_frame_out", "pcm", "tts")
    graph.expose("cmd_in", "flush", "asr")
    graph.expose("cmd_in", "flush", "tts")
    graph.expose_property("language", "asr")
    graph.expose_property("deep", "asr")
    graph.expose_property("deep", "tts")
    return graph


def test_defaults_of_nodes() -> None:
    graph = Graph()
    graph.node("a", "x")
    graph.node("b", "y", group="g", app=None, inline=True)
    one, two = flatten(graph, app_uri=ONE).nodes
    assert (one.name, one.addon, one.group, one.app) == ("a", "x", UNSPECIFIED_GROUP, ONE)
    assert (two.group, dict(two.settings), dict(two.property)) == ("g", {"inline": True}, {})
    assert flatten(graph).nodes[0].app == ""
    assert flatten(Graph()) == FlatGraph()


def test_where_an_app_is_may_be_a_variable() -> None:
    graph = Graph()
    graph.node("a", "x", app="${env:ONE|" + ONE + "}")
    graph.node("b", "y", app="${env:OTHER}")
    graph.connect("a", "b", cmd="hello")
    graph.expose("cmd_in", "hi", "b")
    flat = flatten(graph, environ={"OTHER": TWO})
    assert flat.apps == (ONE, TWO)
    assert [(edge.source_app, edge.dest_app) for edge in flat.edges] == [(ONE, TWO)]
    assert [each.app for each in flat.exposed] == [TWO]
    assert flatten(graph).nodes[1].app == "${env:OTHER}"
    with pytest.raises(MissingVariable, match="OTHER is not set"):
        flatten(graph, environ={})


def test_order_is_as_written_and_duplicates_are_merged() -> None:
    graph = Graph.from_json(
        {
            "nodes": [{"type": "extension", "name": n, "addon": "x"} for n in "abc"],
            "connections": [
                {
                    "extension": "b",
                    "cmd": [
                        {"names": ["m2", "m1"], "source": [{"extension": "c"}, {"extension": "a"}]},
                        {"name": "m1", "dest": [{"extension": "c"}, {"extension": "a"}]},
                    ],
                },
                {"extension": "a", "cmd": [{"name": "m1", "dest": [{"extension": "b"}]}]},
                {"extension": "b", "cmd": [{"name": "m1", "dest": [{"extension": "b"}]}]},
            ],
        }
    )
    assert edges(graph) == [
        "c cmd m2 b",
        "a cmd m2 b",
        "c cmd m1 b",
        "a cmd m1 b",
        "b cmd m1 c",
        "b cmd m1 a",
        "b cmd m1 b",
    ]


def test_selectors_on_every_side() -> None:
    graph = Graph()
    for name in ("main", "search_tool", "weather_tool"):
        graph.node(name, f"{name}_addon")
    graph.subgraph("sub_tool", voice())
    graph.selector("tools", name="_tool$", type="extension")
    graph.selector("voice", Filter("type", "exact", "subgraph"))
    graph.selector("nobody", addon="^tool")
    graph.connect("main", ["tools", "nobody", "voice"], cmd="flush")
    graph.connect("tools", "main", data="found")
    graph.connect("nobody", "main", data="found")
    assert edges(graph) == [
        "sub_tool_asr data text sub_tool_tts",
        "main cmd flush search_tool",
        "main cmd flush weather_tool",
        "main cmd flush sub_tool_asr",
        "main cmd flush sub_tool_tts",
        "search_tool data found main",
        "weather_tool data found main",
    ]


def test_filters() -> None:
    name = Filter("name", "exact", "a")
    assert name.matches({"name": "a"})
    assert not name.matches({"name": "ab"})
    assert Filter("name", "regex", "b").matches({"name": "abc"})
    assert not Filter("name", "regex", "(").matches({"name": "("})
    assert not Filter("app", "regex", "").matches({"name": "a", "app": None})
    assert not Filter("name", "like", "a").matches({"name": "a"})
    both = Filter(all_of=[name, Filter("addon", "exact", "x")])
    assert both.matches({"name": "a", "addon": "x"})
    assert not both.matches({"name": "a", "addon": "y"})
    either = Filter(any_of=[name, both])
    assert either.matches({"name": "a"})
    assert not either.matches({"name": "c"})


def test_subgraphs_two_levels_deep() -> None:
    middle = Graph()
    middle.subgraph("v", voice(), property={"language": "de", "deep": {"b": 3}})
    middle.node("log", "log_addon")
    middle.connect("v", "log", audio_frame="pcm")
    middle.connect("v:tts", "log", data="spoken")
    middle.expose("audio_frame_in", "pcm", "v")
    middle.expose("cmd_in", "flush", "v")
    middle.expose("cmd_in", "flush", "log")
    middle.expose_property("deep", "v")
    graph = Graph()
    graph.node("rtc", "rtc_addon")
    graph.subgraph("m", middle, property={"deep": {"c": 4}})
    graph.connect("rtc", "m", audio_frame="pcm", cmd="flush")
    graph.connect("rtc", "m:v:asr", cmd="direct")
    graph.expose("cmd_in", "flush", "m")
    flat = flatten(graph)
    assert [(node.name, dict(node.property)) for node in flat.nodes] == [
        ("rtc", {}),
        ("m_v_asr", {"language": "de", "deep": {"a": 1, "b": 3, "c": 4}}),
        ("m_v_tts", {"deep": {"b": 3, "c": 4}}),
        ("m_log", {}),
    ]
    assert dict(flat.nodes[2].settings) == {"on_error": "restart"}
    assert edges(graph) == [
        "m_v_asr data text m_v_tts",
        "m_v_tts audio_frame pcm m_log",
        "m_v_tts data spoken m_log",
        "rtc cmd flush m_v_asr",
        "rtc cmd flush m_v_tts",
        "rtc cmd flush m_log",
        "rtc cmd direct m_v_asr",
        "rtc audio_frame pcm m_v_asr",
    ]
    assert flat.exposed == (
        Exposure("cmd_in", "flush", "", "m_v_asr"),
        Exposure("cmd_in", "flush", "", "m_v_tts"),
        Exposure("cmd_in", "flush", "", "m_log"),
    )


def test_conversions_reach_every_inner_dest() -> None:
    graph = Graph()
    graph.node("rtc", "x")
    graph.subgraph("s", voice())
    graph.connect("rtc", "s", cmd="flush", convert=Conversion.rename("stop"))
    converted = [edge for edge in flatten(graph).edges if edge.conversion]
    assert [edge.dest for edge in converted] == ["s_asr", "s_tts"]


def test_an_extension_whose_own_name_has_a_colon() -> None:
    graph = Graph()
    graph.subgraph("s", voice())
    graph.node("s:asr", "x")
    graph.connect("s:asr", "s:tts", data="d")
    assert edges(graph)[-1] == "s:asr data d s_tts"


def test_problems_that_only_flattening_shows() -> None:
    graph = Graph()
    graph.node("s_asr", "x")
    graph.subgraph("s", voice())
    graph.connect("s_asr", "s", cmd="flush")
    graph.connect("s_asr", "s:tts", cmd="flush", convert=Conversion.rename("n"))
    with pytest.raises(GraphError) as caught:
        flatten(graph)
    assert [str(problem) for problem in caught.value.problems] == [
        (
            'nodes[1].graph.nodes[0].name: becomes "s_asr", which nodes[0] is called too; '
            "rename one of them"
        ),
        (
            'connections[0].cmd[1].dest[0]: cmd "flush" reaches "s_tts" twice with different '
            "msg_conversion: see connections[0].cmd[0].dest[0]"
        ),
    ]


def test_check_runs_first() -> None:
    graph = Graph()
    graph.node("a", "asr")
    graph.connect("a", "z", cmd="c")
    with pytest.raises(GraphError) as caught:
        flatten(graph, addons=["tts"])
    assert len(caught.value.problems) == 2


def test_several_apps() -> None:
    graph = Graph()
    graph.node("a", "x", app=ONE)
    graph.node("b", "x", app=TWO)
    graph.connect("a", "b", data="d")
    graph.expose("data_out", "d", "b")
    flat = flatten(graph, app_uri=ONE)
    assert flat.apps == (ONE, TWO)
    assert flat.edges == (Edge(ONE, "a", "data", "d", TWO, "b"),)
    assert str(flat.edges[0]) == 'data "d" from "a" to "b"'
    assert flat.exposed == (Exposure("data_out", "d", TWO, "b"),)


def test_a_flat_graph_as_another_app_gets_it() -> None:
    graph = Graph()
    graph.node("rtc", "x")
    graph.subgraph("s", voice())
    graph.connect("rtc", "s", cmd=["flush"], audio_frame="pcm", convert=Conversion.rename("n"))
    graph.connect("s", "rtc", audio_frame="pcm")
    graph.expose("audio_frame_out", "pcm", "s")
    flat = flatten(graph, app_uri=ONE)
    written = flat.to_graph()
    again = flatten(Graph.from_json(written.to_json()))
    assert set(again.edges) == set(flat.edges)
    assert again.exposed == flat.exposed
    assert flatten(written).nodes == flat.nodes


# Imports ---------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs" / "voice.json").write_text(voice().to_json())
    return tmp_path


def importing(*uris: str) -> Graph:
    graph = Graph()
    for index, uri in enumerate(uris):
        graph.subgraph(f"s{index}", uri)
    return graph


def problems(graph: Graph, base_dir: Path | None = None) -> list[str]:
    with pytest.raises(GraphError) as caught:
        flatten(graph, base_dir)
    return [str(problem) for problem in caught.value.problems]


def test_import_uris(folder: Path) -> None:
    file = folder / "graphs" / "voice.json"
    graph = importing(
        "graphs/voice.json",
        "./graphs/voice.json",
        str(file),
        file.as_uri(),
        "${app_base_dir}/graphs/voice.json",
    )
    flat = flatten(graph, folder)
    assert len(flat.nodes) == 10
    assert all(isinstance(n, SubgraphNode) and n.graph.import_uri for n in graph.nodes)
    whole = flatten(Graph(import_uri="graphs/voice.json"), folder)
    assert whole.edges == flatten(voice()).edges


def test_imports_are_relative_to_the_file_they_stand_in(folder: Path) -> None:
    (folder / "graphs" / "outer.json").write_text(importing("voice.json").to_json())
    flat = flatten(importing("graphs/outer.json"), folder)
    assert [node.name for node in flat.nodes] == ["s0_s0_asr", "s0_s0_tts"]
    (folder / "graphs" / "outer.json").write_text(
        importing("${app_base_dir}/graphs/voice.json").to_json()
    )
    assert flatten(importing("graphs/outer.json"), folder) == flat
    (folder / "graphs" / "outer.json").write_text('{"import_uri": "voice.json"}')
    assert len(flatten(importing("graphs/outer.json"), folder).nodes) == 2


def test_imports_that_fail_are_all_told(folder: Path) -> None:
    (folder / "bad.json").write_text("{")
    (folder / "wrong.json").write_text('{"nodes": [{"type": "extension", "name": "a"}]}')
    graph = importing(
        "none.json", "bad.json", "wrong.json", "https://x.org/g.json", "ftp://x", "${app_base_dir}"
    )
    graph.node("a", "x")
    graph.connect("a", "b", data="d")
    assert [text.replace(f"{folder}/", "") for text in problems(graph, folder)] == [
        "nodes[0].graph.import_uri: none.json: No such file or directory",
        (
            "nodes[1].graph.import_uri: bad.json: line 1, column 2: "
            "Expecting property name enclosed in double quotes"
        ),
        "nodes[2].graph.import_uri: wrong.json: nodes[0].addon: is missing",
        (
            "nodes[3].graph.import_uri: graphs aren't imported over the network: "
            "https://x.org/g.json; download it and give its path"
        ),
        'nodes[4].graph.import_uri: can\'t import "ftp:": ftp://x; give a path or a file:// URI',
        "nodes[5].graph.import_uri: names no file",
        'connections[0].data[0].dest[0].extension: unknown extension "b"; known: "a"',
    ]


def test_a_relative_import_needs_a_folder() -> None:
    assert problems(importing("g.json")) == [
        (
            "nodes[0].graph.import_uri: relative to an unknown folder: g.json; "
            "pass base_dir, or give an absolute path"
        )
    ]


def test_imports_that_import_themselves(folder: Path) -> None:
    (folder / "a.json").write_text(importing("b.json").to_json())
    (folder / "b.json").write_text(importing("a.json").to_json())
    (folder / "c.json").write_text('{"import_uri": "c.json"}')
    assert problems(importing("a.json", "c.json"), folder) == [
        (
            "nodes[0].graph.nodes[0].graph.nodes[0].graph.import_uri: "
            "imports itself: a.json -> b.json -> a.json"
        ),
        "nodes[1].graph.import_uri: imports itself: c.json -> c.json",
    ]


def test_a_graph_that_contains_itself() -> None:
    graph = Graph()
    graph.subgraph("s", graph)
    linked, found = link(graph)
    assert linked.nodes
    assert [str(p) for p in found] == ["nodes[0].graph: the graph contains itself"]


def test_problems_in_an_imported_file_name_it(folder: Path) -> None:
    (folder / "g.json").write_text(
        json.dumps({"connections": [{"extension": "nobody"}], "nodes": []})
    )
    assert problems(importing("g.json"), folder) == [
        'nodes[0].graph.connections[0].extension: unknown extension "nobody" (in g.json)'
    ]
