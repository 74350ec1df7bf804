"""Every row of the table of graph errors, and that all are found at once."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from ten_trio.graphs import Conversion, Graph, PredefinedGraph, Rule, check, check_predefined

ONE, TWO = "msgpack://one:1/", "msgpack://two:2/"


def extension(name: str = "a", addon: str = "x", **more: Any) -> dict[str, Any]:
    return {"type": "extension", "name": name, "addon": addon, **more}


def subgraph(name: str = "s", **graph: Any) -> dict[str, Any]:
    return {"type": "subgraph", "name": name, "graph": {"nodes": [extension("in")], **graph}}


def selector(name: str = "t", **condition: Any) -> dict[str, Any]:
    return {"type": "selector", "name": name, "filter": condition}


def flow(dest: Any = None, source: Any = None, kind: str = "cmd", **names: Any) -> dict[str, Any]:
    """A graph with nodes a and b and one flow of a."""
    made = names or {"name": "m"}
    if dest is not None:
        made = {**made, "dest": dest if isinstance(dest, list) else [dest]}
    if source is not None:
        made = {**made, "source": source if isinstance(source, list) else [source]}
    return {
        "nodes": [extension("a"), extension("b")],
        "connections": [{"extension": "a", kind: [made]}],
    }


def converted(kind: str = "cmd", **conversion: Any) -> dict[str, Any]:
    whole = {"type": "per_property", "rules": [fixed()], **conversion}
    return flow({"extension": "b", "msg_conversion": whole}, kind=kind)


def fixed(path: str = "p", value: Any = 1, **more: Any) -> dict[str, Any]:
    return {"path": path, "conversion_mode": "fixed_value", "value": value, **more}


AT = "connections[0].cmd[0].dest[0]"

ROWS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "app localhost, one app": (
        {"nodes": [extension(app="localhost")]},
        ['nodes[0].app: "localhost" names no app; leave it out to mean the app itself'],
    ),
    "app localhost among others": (
        {"nodes": [extension(app="localhost"), extension("b", app=ONE)]},
        ['nodes[0].app: "localhost" names no app; leave it out to mean the app itself'],
    ),
    "app empty": (
        {"nodes": [extension(app="")]},
        ["nodes[0].app: is empty; leave it out to mean the app that has the graph"],
    ),
    "app on some nodes only": (
        {"nodes": [extension(), extension("b", app=ONE)]},
        ["nodes[0].app: is missing, though other nodes have one"],
    ),
    "app in a connection though no node has one": (
        {"nodes": [extension()], "connections": [{"app": ONE, "extension": "a"}]},
        ["connections[0].app: is given, though no node has one"],
    ),
    "app in a dest though no node has one": (
        flow({"extension": "b", "app": ONE}),
        [f"{AT}.app: is given, though no node has one"],
    ),
    "app missing in connection and dest": (
        {**flow({"extension": "b"}), "nodes": [extension(app=ONE), extension("b", app=ONE)]},
        [
            "connections[0].app: is missing, though the nodes have one",
            f"{AT}.app: is missing, though the nodes have one",
        ],
    ),
    "app localhost and empty in a connection": (
        {
            "nodes": [extension()],
            "connections": [
                {"app": "localhost", "extension": "a"},
                {"app": "", "extension": "a"},
            ],
        },
        [
            'connections[0].app: "localhost" names no app; leave it out to mean the app itself',
            "connections[1].app: is empty; leave it out to mean the app that has the graph",
        ],
    ),
    "app with a subgraph": (
        {"nodes": [subgraph()], "connections": [{"app": ONE, "subgraph": "s"}]},
        ["connections[0].app: has no meaning with a subgraph"],
    ),
    "extension of another app": (
        {"nodes": [extension(app=ONE)], "connections": [{"extension": "a", "app": TWO}]},
        [f'connections[0].extension: no extension "a" in app "{TWO}"; did you mean "{ONE}"?'],
    ),
    "no location": (
        {"nodes": [extension()], "connections": [{"cmd": []}]},
        ["connections[0]: needs exactly one of extension, subgraph, selector"],
    ),
    "two locations": (
        flow({"extension": "b", "subgraph": "s"}),
        [f"{AT}: needs exactly one of extension, subgraph, selector, not extension and subgraph"],
    ),
    "both name and names": (
        flow({"extension": "b"}, name="m", names=["n"]),
        ["connections[0].cmd[0]: needs exactly one of name, names"],
    ),
    "neither name nor names": (
        {
            "nodes": [extension()],
            "connections": [{"extension": "a", "cmd": [{"dest": [{"extension": "a"}]}]}],
        },
        ["connections[0].cmd[0]: needs exactly one of name, names"],
    ),
    "names empty": (flow({"extension": "b"}, names=[]), ["connections[0].cmd[0].names: is empty"]),
    "conversion of another type": (
        converted(type="per_message"),
        [f'{AT}.msg_conversion.type: unknown type "per_message"; there is "per_property"'],
    ),
    "conversion without rules": (
        converted(rules=[]),
        [f"{AT}.msg_conversion.rules: is empty: a conversion needs at least one rule"],
    ),
    "rule with empty path": (
        converted(rules=[fixed("")]),
        [f"{AT}.msg_conversion.rules[0].path: is empty"],
    ),
    "rule of unknown mode": (
        converted(rules=[{"path": "p", "conversion_mode": "from_orignal"}]),
        [
            (f'{AT}.msg_conversion.rules[0].conversion_mode: unknown mode "from_orignal"; '
            'did you mean "from_original"?')
        ],
    ),
    "fixed_value without value": (
        converted(rules=[fixed(value=None, original_path="q")]),
        [
            f"{AT}.msg_conversion.rules[0].value: is missing, though conversion_mode is fixed_value",
            f"{AT}.msg_conversion.rules[0].original_path: has no meaning with fixed_value",
        ],
    ),
    "fixed_value of another type": (
        converted(rules=[fixed(value=[1])]),
        [
            (f"{AT}.msg_conversion.rules[0].value: must be a string, a boolean or a number, "
            "not an array")
        ],
    ),
    "from_original without and with empty original_path": (
        converted(
            rules=[
                {"path": "p", "conversion_mode": "from_original", "value": 1},
                {"path": "p", "conversion_mode": "from_original", "original_path": ""},
            ]
        ),
        [
            (f"{AT}.msg_conversion.rules[0].original_path: is missing, "
            "though conversion_mode is from_original"),
            f"{AT}.msg_conversion.rules[0].value: has no meaning with from_original",
            f"{AT}.msg_conversion.rules[1].original_path: is empty",
        ],
    ),
    "result conversion of data": (
        converted("data", result={"type": "per_property", "rules": [fixed()]}),
        [
            ("connections[0].data[0].dest[0].msg_conversion.result: "
            "only a cmd has a result to convert, not a data")
        ],
    ),
    "bad result conversion": (
        converted(
            result={
                "type": "per_property",
                "rules": [],
                "result": {"type": "per_property", "rules": [fixed()]},
            }
        ),
        [
            f"{AT}.msg_conversion.result.result: a result has no result of its own",
            f"{AT}.msg_conversion.result.rules: is empty: a conversion needs at least one rule",
        ],
    ),
    "conversion on a source": (
        flow(source={"extension": "b", "msg_conversion": {"type": "per_property", "rules": [fixed()]}}),
        [
            ("connections[0].cmd[0].source[0].msg_conversion: has no place on a source; "
            "write the flow from the sender, with dest")
        ],
    ),
    "two conversions of one message at one receiver": (
        flow(
            [
                {"extension": "b"},
                {"extension": "b", "msg_conversion": {"type": "per_property", "rules": [fixed()]}},
            ]
        ),
        [
            ('connections[0].cmd[0].dest[1]: cmd "m" reaches "b" twice with different '
            f"msg_conversion: see {AT}")
        ],
    ),
    "exposed_properties of an unknown extension": (
        {"nodes": [extension("asr")], "exposed_properties": [{"name": "p", "extension": "asf"}]},
        [
            'exposed_properties[0].extension: unknown extension "asf"; did you mean "asr"?'
        ],
    ),
    "exposed_properties of an extension in a subgraph": (
        {"nodes": [subgraph()], "exposed_properties": [{"name": "p", "extension": "s:in"}]},
        [
            ("exposed_properties[0].extension: lies in a subgraph; "
            "expose it in the subgraph, and here by subgraph")
        ],
    ),
    "exposed_properties that the subgraph doesn't expose": (
        {"nodes": [subgraph()], "exposed_properties": [{"name": "p", "subgraph": "s"}]},
        ['exposed_properties[0].name: subgraph "s" exposes no property "p"'],
    ),
    "exposed_messages": (
        {
            "nodes": [extension(), subgraph()],
            "exposed_messages": [
                {"type": "cmd_inn", "name": "m", "extension": "a"},
                {"type": "cmd_in", "name": "m", "extension": "z"},
                {"type": "cmd_in", "name": "m", "subgraph": "z"},
                {"type": "cmd_in", "name": "m"},
                {"type": "cmd_in", "name": "m", "extension": "a", "subgraph": "s"},
                {"type": "cmd_in", "name": "m", "subgraph": "s"},
            ],
        },
        [
            'exposed_messages[0].type: unknown type "cmd_inn"; did you mean "cmd_in"?',
            'exposed_messages[1].extension: unknown extension "z"; known: "a"',
            'exposed_messages[2].subgraph: unknown subgraph "z"; known: "s"',
            "exposed_messages[3]: needs exactly one of extension, subgraph",
            "exposed_messages[4]: needs exactly one of extension, subgraph",
            'exposed_messages[5].name: subgraph "s" doesn\'t expose cmd_in "m"',
        ],
    ),
    "import_uri together with others": (
        {"import_uri": "g.json", "nodes": [extension()], "connections": [{"extension": "a"}]},
        ["import_uri: excludes nodes, connections: an imported graph is complete"],
    ),
    "import_uri empty": ({"import_uri": ""}, ["import_uri: is empty"]),
    "duplicate extension": (
        {"nodes": [extension(), extension("b"), extension()]},
        ['nodes[2].name: duplicate extension "a": nodes[0] has this name'],
    ),
    "duplicate extension with another addon": (
        {"nodes": [extension(app=ONE), extension(addon="y", app=ONE)]},
        [
            (f'nodes[1].name: duplicate extension "a": nodes[0] has this name in app "{ONE}", '
            "with another addon")
        ],
    ),
    "duplicate subgraph and selector": (
        {
            "nodes": [subgraph(), subgraph(), selector(field="name", operator="exact", value="v"),
                      selector(field="name", operator="exact", value="w")],
        },
        [
            'nodes[1].name: duplicate subgraph "s": nodes[0] has this name',
            'nodes[3].name: duplicate selector "t": nodes[2] has this name',
        ],
    ),
    "names that are empty": (
        {"nodes": [extension("", ""), subgraph("")]},
        ["nodes[0].name: is empty", "nodes[0].addon: is empty", "nodes[1].name: is empty"],
    ),
    "connection from an unknown extension": (
        {"nodes": [extension("main_control")], "connections": [{"extension": "main_contro"}]},
        [
            ('connections[0].extension: unknown extension "main_contro"; '
            'did you mean "main_control"?')
        ],
    ),
    "dest and source that are unknown": (
        flow([{"extension": "a"}, {"extension": "z"}], [{"extension": "y"}]),
        [
            'connections[0].cmd[0].dest[1].extension: unknown extension "z"; known: "a", "b"',
            'connections[0].cmd[0].source[0].extension: unknown extension "y"; known: "a", "b"',
        ],
    ),
    "unknown subgraph, selector": (
        flow([{"subgraph": "z"}, {"selector": "z"}]),
        [
            f'{AT}.subgraph: unknown subgraph "z"',
            'connections[0].cmd[0].dest[1].selector: unknown selector "z"',
        ],
    ),
    "a subgraph written as an extension": (
        {"nodes": [subgraph()], "connections": [{"extension": "s"}]},
        [
            ('connections[0].extension: unknown extension "s"; '
            'it is a subgraph: write {"subgraph": "s"}')
        ],
    ),
    "ten: names must be nodes": (
        {"nodes": [extension()], "connections": [{"extension": "ten:test_extension"}]},
        ['connections[0].extension: unknown extension "ten:test_extension"; known: "a"'],
    ),
    "sub:ext of an unknown subgraph or extension": (
        {
            "nodes": [extension(), subgraph()],
            "connections": [{"extension": "r:in"}, {"extension": "s:inn"}, {"extension": "s:in"}],
        },
        [
            'connections[0].extension: unknown extension "r:in"; known: "a"',
            'connections[1].extension: unknown extension "s:inn"; did you mean "in"?',
        ],
    ),
    "messages that a subgraph doesn't expose": (
        {
            "nodes": [
                extension(),
                subgraph(exposed_messages=[{"type": "cmd_in", "name": "flush", "extension": "in"}]),
            ],
            "connections": [
                {"extension": "a", "cmd": [{"name": "flash", "dest": [{"subgraph": "s"}]}]},
                {"subgraph": "s", "data": [{"name": "text", "dest": [{"extension": "a"}]}]},
            ],
        },
        [
            f'{AT}: subgraph "s" doesn\'t expose cmd_in "flash"; did you mean "flush"?',
            'connections[1].data[0].dest[0]: subgraph "s" doesn\'t expose data_out "text"',
        ],
    ),
    "properties that a subgraph doesn't expose": (
        {"nodes": [{**subgraph(), "property": {"p": 1}}]},
        ['nodes[0].property.p: the subgraph exposes no property "p"'],
    ),
    "problems inside a subgraph": (
        {"nodes": [subgraph(connections=[{"extension": "im"}])]},
        ['nodes[0].graph.connections[0].extension: unknown extension "im"; known: "in"'],
    ),
    "selector filters": (
        {
            "nodes": [
                selector("t1"),
                selector("t2", field="nam", operator="like", value="x"),
                selector("t3", field="name", operator="regex", value="("),
                selector("t4", field="name"),
                selector("t5", **{"and": [], "or": []}),
                selector("t6", **{"and": [{"or": [{"field": "group", "operator": "exact", "value": ""}]}]}),
                selector("t7", **{"or": []}),
            ]
        },
        [
            'nodes[0].filter: needs exactly one of: field with operator and value, "and", "or"',
            'nodes[1].filter.field: unknown field "nam"; did you mean "name"?',
            'nodes[1].filter.operator: unknown operator "like"; known: "exact", "regex"',
            ("nodes[2].filter.value: not a regular expression: "
            "missing ), unterminated subpattern at position 0"),
            "nodes[3].filter.operator: is missing",
            "nodes[3].filter.value: is missing",
            'nodes[4].filter: needs exactly one of: field with operator and value, "and", "or"',
            ('nodes[5].filter.and[0].or[0].field: unknown field "group"; '
            'known: "addon", "app", "name", "type"'),
            "nodes[6].filter.or: is empty",
        ],
    ),
    "a graph proxy of one's own": (
        {
            "nodes": [extension("ten:graph_proxy", "ten:graph_proxy"), extension()],
            "exposed_messages": [{"type": "cmd_in", "name": "m", "extension": "a"}],
        },
        [
            ('nodes[0].name: "ten:graph_proxy" is added by the runtime because of '
            "exposed_messages; leave it out")
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
def test_errors(row: str) -> None:
    data, expected = ROWS[row]
    assert [str(problem) for problem in check(Graph.from_json(data))] == expected


def test_all_at_once_with_where() -> None:
    graph = Graph()
    nodes: list[str] = []
    connections: list[str] = []
    for data, expected in ROWS.values():
        if "subgraph" in str(data) or "app" in str(data) or "import_uri" in data:
            continue
        inner = Graph.from_json(data)
        graph.subgraph(f"s{len(graph.nodes)}", inner)
        nodes += [f"g.nodes[{len(graph.nodes) - 1}].graph.{text}" for text in expected]
    assert len(nodes) > 20
    assert [str(p) for p in check(graph, where="g")] == nodes + connections


ALLOWED: dict[str, dict[str, Any]] = {
    "no nodes": {},
    "sections and messages twice": {
        "nodes": [extension()],
        "connections": [
            {"extension": "a", "cmd": [{"name": "m", "dest": [{"extension": "a"}]}] * 2}
        ]
        * 2,
    },
    "one name in two apps": {"nodes": [extension(app=ONE), extension(app=TWO)]},
    "one addon twice": {"nodes": [extension("a"), extension("b")]},
    "a flow with both sides": flow({"extension": "b"}, {"extension": "b"}),
    "a flow with no side": flow(),
    "a message without a name": flow({"extension": "b"}, name=""),
    "a dest that is a subgraph or selector": {
        "nodes": [
            extension(),
            subgraph(exposed_messages=[{"type": "cmd_in", "name": "m", "extension": "in"}]),
            selector(field="type", operator="exact", value="extension"),
            selector("none", field="name", operator="exact", value="nobody"),
        ],
        "connections": [
            {
                "extension": "a",
                "cmd": [
                    {"name": "m", "dest": [{"subgraph": "s"}, {"selector": "t"}]},
                    {"name": "m", "dest": [{"selector": "none"}]},
                ],
            }
        ],
    },
    "a graph that is yet to be imported": {
        "nodes": [
            {
                "type": "subgraph",
                "name": "s",
                "graph": {"import_uri": "s.json"},
                "property": {"p": 1},
            }
        ],
        "connections": [{"subgraph": "s", "cmd": [{"name": "m", "dest": [{"extension": "s:x"}]}]}],
        "exposed_properties": [{"name": "p", "subgraph": "s"}],
        "exposed_messages": [{"type": "cmd_in", "name": "m", "subgraph": "s"}],
    },
    "a graph proxy that came from another app": {
        "nodes": [extension("ten:graph_proxy", "ten:graph_proxy")]
    },
    "names that property.json would refuse": {
        "nodes": [extension("extension 1", "my-addon", extension_group="a b", property={"p": None})]
    },
}


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_allowed(name: str) -> None:
    graph = Graph.from_json(ALLOWED[name])
    assert check(graph) == []
    assert Graph.from_json(graph.to_json()) == graph


def test_unknown_addons() -> None:
    graph = Graph()
    for name, addon in [("a", "asr_v2"), ("b", "asr_v1"), ("c", "ten:graph_proxy")]:
        graph.node(name, addon)
    graph.node("d", dict)
    texts = [str(p) for p in check(graph, ["asr_v1", "tts"])]
    assert texts == ['nodes[0].addon: unknown addon "asr_v2"; did you mean "asr_v1"?']
    assert str(check(graph, [])[1]) == 'nodes[1].addon: unknown addon "asr_v1"; is it installed?'


STRICT: dict[str, tuple[dict[str, Any], list[str]]] = {
    "identifiers": (
        {
            "nodes": [extension("extension 1", "a-b", extension_group="1g")],
            "connections": [
                {
                    "extension": "extension 1",
                    "cmd": [
                        {"name": "", "dest": [{"extension": "extension 1"}]},
                        {"names": ["ok", "not ok"], "source": [{"extension": "extension 1"}]},
                    ],
                }
            ],
            "exposed_messages": [{"type": "cmd_in", "name": "x y", "extension": "extension 1"}],
            "exposed_properties": [{"name": "x-y", "extension": "extension 1"}],
        },
        [
            "nodes[0].name: \"extension 1\" can't be a node's name",
            "nodes[0].addon: \"a-b\" can't be an addon's name",
            "nodes[0].extension_group: \"1g\" can't be a group's name",
            "connections[0].cmd[0].name: \"\" can't be a message's name",
            "connections[0].cmd[1].names[1]: \"not ok\" can't be a message's name",
            'exposed_messages[0].name: "x y" can\'t be a name',
            'exposed_properties[0].name: "x-y" can\'t be a name',
        ],
    ),
    "both sides": (
        flow({"extension": "b"}, {"extension": "b"}),
        ["connections[0].cmd[0]: needs exactly one of dest, source"],
    ),
    "no side": (flow(), ["connections[0].cmd[0]: needs exactly one of dest, source"]),
    "an empty side": (flow([]), ["connections[0].cmd[0].dest: is empty"]),
    "conversion of several names": (
        flow(
            {"extension": "b", "msg_conversion": {"type": "per_property", "rules": [fixed()]}},
            names=["m", "n"],
        ),
        ["connections[0].cmd[0]: msg_conversion needs name, not names"],
    ),
    "conversion paths": (
        converted(
            rules=[fixed("a.b[0].c"), fixed("ten.name"), fixed("a b")],
            result={"type": "per_property", "rules": [fixed("a-b")]},
        ),
        [
            f'{AT}.msg_conversion.rules[2].path: "a b" is not a path',
            f'{AT}.msg_conversion.result.rules[0].path: "a-b" is not a path',
        ],
    ),
    "null": (
        {"nodes": [extension(property={"p": [1, {"q": None}]})]},
        ["nodes[0].property.p[1].q: null is not allowed"],
    ),
}


@pytest.mark.parametrize("row", STRICT)
def test_property_json_is_stricter(row: str) -> None:
    data, expected = STRICT[row]
    graph = Graph.from_json(data)
    assert check(graph) == []
    found = check(graph, strict_names=True)
    assert [str(attrs.evolve(problem, hint="")) for problem in found] == expected


def test_predefined_graphs() -> None:
    graph = Graph()
    graph.node("a", "x", app=ONE)
    graph.node("b b", "x", app=TWO)
    predefined = PredefinedGraph("my graph", graph, sync_stop_before_deinit=True)
    assert [problem.path for problem in check_predefined(predefined, where="g")] == [
        "g.name",
        "g.sync_stop_before_deinit",
        "g.graph.nodes[1].name",
    ]
    predefined = PredefinedGraph("ok", Graph(), sync_stop_before_deinit=True)
    assert check_predefined(predefined) == []


def test_paths_that_no_message_has_are_found() -> None:
    graph = Graph()
    graph.node("a", "x")
    graph.connect("a", "a", data="d", convert=Conversion((Rule.copied("a[", "b..c"),)))
    at = "connections[0].data[0].dest[0].msg_conversion.rules[0]"
    assert [p.path for p in check(graph)] == [f"{at}.path", f"{at}.original_path"]
