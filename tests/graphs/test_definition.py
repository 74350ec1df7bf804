"""Building graphs in Python, and their JSON form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ten_trio.errors import GraphError, InvalidArgument, InvalidJson
from ten_trio.graphs import (
    Conversion,
    Dest,
    ExtensionNode,
    Filter,
    Graph,
    Place,
    Rule,
    SelectorNode,
    SubgraphNode,
)


class Asr:
    """Stands for an extension class."""


def test_builder_says_what_json_says() -> None:
    graph = Graph()
    rtc = graph.node("rtc", "agora", group="io", property={"channel": "c"})
    asr = graph.node("asr", "deepgram")
    graph.subgraph("voice", "voice.json", property={"speed": 2})
    graph.selector("tools", name="_tool$")
    graph.connect(rtc, [asr, "voice"], audio_frame="pcm", cmd=["join", "leave"])
    graph.connect(rtc, "tools", data="x", convert=Conversion.rename("y"))
    graph.connect("voice:tts", rtc, audio_frame="pcm")
    graph.expose("cmd_in", "say", "voice")
    graph.expose_property("language", asr)
    dests = [{"extension": "asr"}, {"subgraph": "voice"}]
    assert graph.to_dict() == {
        "nodes": [
            {
                "type": "extension",
                "name": "rtc",
                "addon": "agora",
                "extension_group": "io",
                "property": {"channel": "c"},
            },
            {"type": "extension", "name": "asr", "addon": "deepgram"},
            {
                "type": "subgraph",
                "name": "voice",
                "graph": {"import_uri": "voice.json"},
                "property": {"speed": 2},
            },
            {
                "type": "selector",
                "name": "tools",
                "filter": {"field": "name", "operator": "regex", "value": "_tool$"},
            },
        ],
        "connections": [
            {
                "extension": "rtc",
                "cmd": [{"name": "join", "dest": dests}, {"name": "leave", "dest": dests}],
                "data": [
                    {
                        "name": "x",
                        "dest": [
                            {
                                "selector": "tools",
                                "msg_conversion": {
                                    "type": "per_property",
                                    "keep_original": True,
                                    "rules": [
                                        {
                                            "path": "ten.name",
                                            "conversion_mode": "fixed_value",
                                            "value": "y",
                                        }
                                    ],
                                },
                            }
                        ],
                    }
                ],
                "audio_frame": [{"name": "pcm", "dest": dests}],
            },
            {
                "extension": "voice:tts",
                "audio_frame": [{"name": "pcm", "dest": [{"extension": "rtc"}]}],
            },
        ],
        "exposed_messages": [{"type": "cmd_in", "name": "say", "subgraph": "voice"}],
        "exposed_properties": [{"name": "language", "extension": "asr"}],
    }
    assert Graph.from_json(graph.to_json(indent=2)) == graph


def test_connect_takes_the_app_from_the_node_and_places_as_they_are() -> None:
    graph = Graph()
    graph.node("a", "x", app="msgpack://one:1/")
    graph.node("b", "x", app="msgpack://two:2/")
    graph.connect(
        "a",
        Dest(extension="b", app="msgpack://two:2/", conversion=Conversion.rename("n")),
        data="d",
    )
    graph.connect("b", Place(extension="a", app="msgpack://one:1/"), data="d")
    first, second = graph.connections
    assert first.app == "msgpack://one:1/"
    assert first.data[0].dest == [
        Dest("b", app="msgpack://two:2/", conversion=Conversion.rename("n"))
    ]
    assert second.data[0].dest == [Dest("a", app="msgpack://one:1/")]


def test_sections_keep_the_written_order() -> None:
    graph = Graph()
    graph.connect("a", "b", data="1")
    graph.connect("b", "c", data="2")
    graph.connect("a", "c", data="3")
    assert [section.extension for section in graph.connections] == ["a", "b", "a"]


@pytest.mark.parametrize(("dest", "names"), [("b", {}), ("b", {"cmd": []}), ([], {"cmd": "x"})])
def test_connecting_nothing_is_refused(dest: str, names: dict[str, Any]) -> None:
    graph = Graph()
    with pytest.raises(InvalidArgument, match="connect\\('a'"):
        graph.connect("a", dest, **names)
    assert not graph.connections


def test_settings_and_classes_are_python_only() -> None:
    graph = Graph()
    graph.node("a", "x", on_error="restart", inline=False, other=None)
    node = graph.nodes[0]
    assert isinstance(node, ExtensionNode)
    assert node.settings == {"on_error": "restart", "inline": False}
    assert "settings" not in graph.to_dict()["nodes"][0]
    inner = Graph()
    inner.node("b", Asr)
    graph.subgraph("s", inner)
    with pytest.raises(GraphError) as caught:
        graph.to_dict()
    assert str(caught.value) == (
        "nodes[1].graph.nodes[0].addon: Asr is a Python object, not a name; "
        "register it as an addon and use its name"
    )


def test_copy_shares_nothing_that_changes() -> None:
    graph = Graph()
    graph.node("a", Asr, property={"p": {"q": 1}}, inline=True)
    inner = Graph()
    inner.node("b", "y")
    graph.subgraph("s", inner)
    graph.selector("t", Filter(any_of=[Filter("type", "exact", "extension")]))
    graph.connect("a", "s", data="d")
    graph.expose("data_in", "d", "s")
    copied = graph.copy()
    assert copied == graph
    one, two, three = copied.nodes
    assert isinstance(one, ExtensionNode)
    assert isinstance(two, SubgraphNode)
    assert isinstance(three, SelectorNode)
    assert one.addon is Asr
    one.property["p"]["q"] = 2
    one.settings["inline"] = False
    two.graph.node("c", "y")
    three.filter.any_of = []
    copied.connect("a", "s", data="e")
    copied.expose("data_in", "e", "s")
    original = graph.nodes[0]
    assert isinstance(original, ExtensionNode)
    assert original.property == {"p": {"q": 1}}
    assert original.settings == {"inline": True}
    assert len(inner.nodes) == 1
    assert len(graph.connections[0].data) == 1
    assert len(graph.exposed_messages) == 1


@pytest.mark.parametrize("text", ["{", "[1,]", '{"nodes": NaN}', b"\xff\xfe\xfa", "[" * 100_000])
def test_text_that_is_not_json(text: str | bytes) -> None:
    with pytest.raises(InvalidJson, match=r"^graph.json: "):
        Graph.from_json(text, "graph.json")


def test_not_json_names_line_and_column() -> None:
    with pytest.raises(InvalidJson, match="line 2, column 10: Expecting value"):
        Graph.from_json('{\n"nodes": ]}')


def test_a_rule_in_json_keeps_everything() -> None:
    conversion = Conversion(
        (Rule.fixed("a.b[0]", 1.5), Rule.copied("c", "d")), result=Conversion.rename("r")
    )
    graph = Graph()
    graph.connect("a", "b", cmd="c", convert=conversion)
    read = Graph.from_json(json.loads(graph.to_json()))
    dests = read.connections[0].cmd[0].dest
    assert dests is not None
    assert dests[0].conversion == conversion
