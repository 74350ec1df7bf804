"""Reading graphs from JSON: every problem at once, with its path and a hint."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from ten_trio.errors import ConfigError, GraphError, InvalidJson
from ten_trio.graphs import ExtensionNode, Graph, load_graph_file

NODE = {"type": "extension", "name": "a", "addon": "x"}


def problems(data: Any, **options: Any) -> list[str]:
    with pytest.raises(GraphError) as caught:
        Graph.from_json(data, **options)
    return [str(problem) for problem in caught.value.problems]


def in_flow(flow: Any) -> dict[str, Any]:
    return {"nodes": [NODE], "connections": [{"extension": "a", "data": [flow]}]}


SHAPES = [
    ([], ["must be an object, not an array"]),
    ({"nodes": {}}, ["nodes: must be an array, not an object"]),
    ({"nodes": [3]}, ["nodes[0]: must be an object, not an integer"]),
    ({"nodes": [{"name": "a"}]}, ['nodes[0].type: is missing; known: "extension", "selector", "subgraph"']),
    (
        {"nodes": [{"type": "extention", "name": "a"}]},
        ["nodes[0].type: unknown node type 'extention'; did you mean \"extension\"?"],
    ),
    (
        {"nodes": [{"type": "extension_group", "name": "g"}]},
        [
            ("nodes[0].type: groups aren't nodes; a group has no node: name it in the "
            "extension_group of its extensions")
        ],
    ),
    ({"nodes": [{"type": 1, "name": "a"}]}, ["nodes[0].type: unknown node type 1"]),
    ({"nodes": [{"type": "extension", "addon": "x"}]}, ["nodes[0].name: is missing"]),
    ({"nodes": [{"type": "extension", "name": "a"}]}, ["nodes[0].addon: is missing"]),
    ({"nodes": [{**NODE, "name": 3}]}, ["nodes[0].name: must be a string, not an integer"]),
    ({"nodes": [{**NODE, "addon": None}]}, ["nodes[0].addon: must be a string, not null"]),
    ({"nodes": [{**NODE, "property": "{}"}]}, ["nodes[0].property: must be an object, not a string"]),
    ({"nodes": [{**NODE, "app": 1}]}, ["nodes[0].app: must be a string, not an integer"]),
    (
        {"nodes": [{**NODE, "extention_group": "g"}]},
        ['nodes[0].extention_group: unknown key; did you mean "extension_group"?'],
    ),
    ({"nodes": [{"type": "subgraph", "name": "s"}]}, ["nodes[0].graph: is missing"]),
    ({"nodes": [{"type": "selector", "name": "s"}]}, ["nodes[0].filter: is missing"]),
    (in_flow(7), ["connections[0].data[0]: must be an object, not an integer"]),
    (in_flow({"name": "m", "dest": {"extension": "a"}}), ["connections[0].data[0].dest: must be an array, not an object"]),
    (in_flow({"name": "m", "dest": ["a"]}), ["connections[0].data[0].dest[0]: must be an object, not a string"]),
    (in_flow({"names": [1, "m"], "dest": []}), ["connections[0].data[0].names[0]: must be a string, not an integer"]),
    (
        in_flow({"name": "m", "dest": [{"extension": "a", "msg_conversion": {"keep_original": 1}}]}),
        [
            "connections[0].data[0].dest[0].msg_conversion.rules: is missing",
            "connections[0].data[0].dest[0].msg_conversion.keep_original: must be a boolean, not an integer",
            "connections[0].data[0].dest[0].msg_conversion.type: is missing",
        ],
    ),
    (
        {"exposed_messages": [{"type": "cmd_in"}], "exposed_properties": [{}]},
        ["exposed_messages[0].name: is missing", "exposed_properties[0].name: is missing"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("data", "expected"), SHAPES)
def test_shapes(data: Any, expected: list[str]) -> None:
    found = problems(data)
    assert found[: len(expected)] == expected
    # What follows from a wrong shape is left out, except what is another matter.
    assert all("exactly one" in text for text in found[len(expected) :])


def test_what_is_wrong_deep_inside_is_read_as_often_as_on_top() -> None:
    """Reading what lies inside once more on every level would take for ever here."""
    levels = 30
    deep: Any = {"nodes": [{"type": "extension", "name": "x"}]}
    for _ in range(levels):
        deep = {"nodes": [{"type": "subgraph", "name": "s", "graph": deep}]}
    (problem,) = problems(deep)
    assert problem == f"{'nodes[0].graph.' * levels}nodes[0].addon: is missing"


def test_reading_leaves_what_it_reads_alone() -> None:
    given: Any = defaultdict(list, {"type": "cmd_in", "extension": "a"})
    assert problems({"nodes": [NODE], "exposed_messages": [given]}) == [
        "exposed_messages[0].name: is missing"
    ]
    assert dict(given) == {"type": "cmd_in", "extension": "a"}


def test_wrong_shapes_dont_hide_wrong_references() -> None:
    graph = {
        "nodes": [{"type": "extension", "name": "asr_v1"}, NODE],
        "connections": [
            {"extension": "a", "cmd": [{"name": "x", "dest": [{"extension": "asr_v2"}]}]},
            {"extension": "a", "data": [{"names": [], "dest": [{"extension": "a"}]}]},
        ],
    }
    assert problems(graph, where="my.json") == [
        "my.json: nodes[0].addon: is missing",
        (
            'my.json: connections[0].cmd[0].dest[0].extension: unknown extension "asr_v2"; '
            'did you mean "asr_v1"?'
        ),
        "my.json: connections[1].data[0].names: is empty",
    ]


def test_a_node_without_a_readable_name_makes_no_reference_wrong() -> None:
    graph = {
        "nodes": [{"type": "extension", "addon": "x"}, NODE],
        "connections": [{"extension": "a", "cmd": [{"name": "x", "dest": [{"extension": "b"}]}]}],
    }
    assert problems(graph) == ["nodes[0].name: is missing"]


def test_a_start_graph_command_may_have_keys_we_dont_know() -> None:
    graph = Graph.from_json({"nodes": [{**NODE, "graph": "uuid", "x-colour": 1}], "version": 3})
    assert graph.nodes == [ExtensionNode("a", "x")]
    found = problems({"nodes": [{**NODE, "x-colour": 1}]}, strict_names=True)
    assert found == [
        (
            "nodes[0].x-colour: unknown key; "
            'known: "addon", "app", "extension_group", "name", "property"'
        )
    ]


def test_names_of_any_form_are_fine_in_a_start_graph_command() -> None:
    data = {
        "nodes": [
            {**NODE, "name": "ten:test_extension"},
            {**NODE, "name": "extension 1", "extension_group": ""},
        ],
        "connections": [
            {
                "extension": "ten:test_extension",
                "cmd": [{"name": "hello world", "dest": [{"extension": "extension 1"}]}],
            }
        ],
    }
    assert Graph.from_json(data).to_dict()["connections"] == data["connections"]


def test_load_graph_file(tmp_path: Path) -> None:
    file = tmp_path / "g.json"
    file.write_text("\ufeff" + json.dumps({"nodes": [NODE]}), encoding="utf-8")
    graph = load_graph_file(file)
    assert graph.file == file.resolve()
    assert graph.base_dir == tmp_path.resolve()
    file.write_text("{")
    with pytest.raises(InvalidJson, match=r"g\.json: line 1"):
        load_graph_file(file)
    file.write_bytes(b"\xff\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_graph_file(file)
    file.write_text('{"nodes": 1}')
    with pytest.raises(GraphError, match=r"g\.json: nodes: must be an array"):
        load_graph_file(str(file))
    with pytest.raises(ConfigError, match=r"none\.json: No such file") as caught:
        load_graph_file(tmp_path / "none.json")
    assert caught.value.file.endswith("none.json")
