"""property.json of an app."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ten_trio.errors import ConfigError, GraphError, InvalidJson, MissingVariable
from ten_trio.graphs import (
    AddonSettings,
    AppProperty,
    Graph,
    PathTimeout,
    flatten,
    load_app_property,
)

NODES = [{"type": "extension", "name": "a", "addon": "x", "property": {"key": "${env:API_KEY}"}}]
WHOLE: dict[str, Any] = {
    "ten": {
        "uri": "msgpack://127.0.0.1:8001/",
        "one_event_loop_per_engine": True,
        "long_running_mode": True,
        "predefined_graphs": [
            {
                "name": "default",
                "graph": {"nodes": NODES},
                "auto_start": True,
                "singleton": True,
                "sync_stop_before_deinit": True,
            },
            {"name": "other", "graph": {"import_uri": "graphs/other.json"}},
        ],
        "log": {"handlers": [{"matchers": [{"level": "info"}]}]},
        "deprecated_log": {"level": 2},
        "services": {"api": {"enabled": True}},
        "addon": {"preload_all": True, "later": 1},
        "path_timeout": {"in_path": 5, "out_path": 6},
        "path_check_interval": 7,
        "log_level": 2,
        "log_file": "a.log",
        "something_new": [1],
    },
    "user": {"key": "value"},
}


def problems(data: Any, where: str = "") -> list[str]:
    with pytest.raises(GraphError) as caught:
        AppProperty.from_json(data, where)
    return [str(problem) for problem in caught.value.problems]


def test_everything() -> None:
    app = AppProperty.from_json(json.dumps(WHOLE))
    assert app.uri == "msgpack://127.0.0.1:8001/"
    assert app.one_event_loop_per_engine
    assert app.long_running_mode
    assert app.addon == AddonSettings(preload_all=True, other={"later": 1})
    assert app.path_timeout == PathTimeout(5, 6)
    assert app.path_check_interval == 7
    assert app.log == WHOLE["ten"]["log"]
    assert app.other == {"something_new": [1]}
    assert app.property == {"user": {"key": "value"}}
    default = app.graph("default")
    assert default is not None
    assert default.auto_start
    assert default.singleton
    assert default.sync_stop_before_deinit
    assert app.graph("nobody") is None
    assert app.to_dict() == WHOLE
    assert AppProperty.from_json(app.to_json()) == app


def test_defaults() -> None:
    app = AppProperty.from_json({})
    assert app == AppProperty()
    assert (app.uri, app.long_running_mode, app.predefined_graphs) == (None, False, [])
    assert app.to_dict() == {}


def test_one_timeout_for_both_ways() -> None:
    app = AppProperty.from_json({"ten": {"path_timeout": 9}})
    assert app.path_timeout == PathTimeout(9, 9)
    assert app.to_dict() == {"ten": {"path_timeout": 9}}
    assert AppProperty.from_json(
        {"ten": {"path_timeout": {"in_path": 3}}}
    ).path_timeout == PathTimeout(3)


def test_legacy_key() -> None:
    app = AppProperty.from_json({"_ten": {"log_level": 3}, "x": 1})
    assert app.log_level == 3
    assert app.to_dict() == {"_ten": {"log_level": 3}, "x": 1}
    assert problems({"_ten": {}, "ten": {}}) == ['_ten: excludes "ten", its newer name']


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ([], "ten: must be an object, not an array"),
        ({"uri": ""}, "ten.uri: is empty; leave it out to mean the app that has the graph"),
        ({"uri": "localhost"}, 'ten.uri: "localhost" names no app; leave it out to mean the app itself'),
        ({"uri": "127.0.0.1"}, 'ten.uri: "127.0.0.1" is not a URI; for example msgpack://127.0.0.1:8001/'),
        ({"long_running_mode": "true"}, "ten.long_running_mode: must be a boolean, not a string"),
        ({"one_event_loop_per_engine": 1}, "ten.one_event_loop_per_engine: must be a boolean, not an integer"),
        ({"path_timeout": "1s"}, "ten.path_timeout: must be an integer or an object, not a string"),
        ({"path_timeout": 1.5}, "ten.path_timeout: must be an integer or an object, not a number"),
        ({"path_timeout": {"in_pth": 1}}, 'ten.path_timeout.in_pth: unknown key; did you mean "in_path"?'),
        ({"path_timeout": 0}, "ten.path_timeout.in_path: must be positive (microseconds), not 0"),
        ({"path_check_interval": True}, "ten.path_check_interval: must be an integer, not a boolean"),
        ({"path_check_interval": -1}, "ten.path_check_interval: must be positive (microseconds), not -1"),
        ({"addon": {"preload_all": None}}, "ten.addon.preload_all: must be a boolean, not null"),
        ({"log": "debug"}, "ten.log: must be an object, not a string"),
        ({"log": {"a": None}}, "ten.log.a: null is not allowed; leave the key out"),
        ({"new": None}, "ten.new: null is not allowed; leave the key out"),
        ({"predefined_graphs": {}}, "ten.predefined_graphs: must be an array, not an object"),
        ({"predefined_graphs": [{"graph": {}}]}, "ten.predefined_graphs[0].name: is missing"),
        ({"predefined_graphs": [{"name": "", "graph": {}}]}, "ten.predefined_graphs[0].name: is empty"),
        ({"predefined_graphs": [{"name": "g"}]}, "ten.predefined_graphs[0].graph: is missing"),
        (
            {"predefined_graphs": [{"name": "g", "nodes": []}]},
            ('ten.predefined_graphs[0].graph: is missing; move "nodes", "connections" and what is '
            'exposed into "graph"'),
        ),
        (
            {"predefined_graphs": [{"name": "g", "graph": {}, "autostart": True}]},
            'ten.predefined_graphs[0].autostart: unknown key; did you mean "auto_start"?',
        ),
        (
            {"predefined_graphs": [{"name": "g", "graph": {}}] * 2},
            'ten.predefined_graphs[1].name: duplicate graph "g": predefined_graphs[0] has this name',
        ),
    ],
)  # fmt: skip
def test_one_problem(section: Any, expected: str) -> None:
    assert problems({"ten": section})[0] == expected


def test_all_problems_at_once() -> None:
    data = {
        "ten": {
            "uri": 3,
            "path_check_interval": 0,
            "predefined_graphs": [
                {"name": "my graph", "graph": {"nodes": [{"type": "extension", "name": "a"}]}},
                {"name": "g", "graph": {"nodes": [], "connections": [{"extension": "z"}]}},
            ],
        },
        "user": {"x": None},
    }
    assert problems(data, "app/property.json") == [
        "app/property.json: ten.uri: must be a string, not an integer",
        "app/property.json: ten.predefined_graphs[0].graph.nodes[0].addon: is missing",
        "app/property.json: user.x: null is not allowed; leave the key out",
        "app/property.json: ten.path_check_interval: must be positive (microseconds), not 0",
        (
            "app/property.json: ten.predefined_graphs[0].name: \"my graph\" can't be a graph's name; "
            "letters, digits and _, and no digit first"
        ),
        (
            "app/property.json: ten.predefined_graphs[1].graph.connections[0].extension: "
            'unknown extension "z"'
        ),
    ]
    assert problems([]) == ["must be an object, not an array"]


def test_placeholders_are_replaced_except_in_graphs() -> None:
    data = {**WHOLE, "user": {"home": "${env:HOME_DIR}"}}
    data["ten"] = {**WHOLE["ten"], "uri": "${env:URI|msgpack://x:1/}"}
    app = AppProperty.from_json(data, environ={"HOME_DIR": "/home"})
    assert app.uri == "msgpack://x:1/"
    assert app.property == {"user": {"home": "/home"}}
    default = app.graph("default")
    assert default is not None
    assert default.graph.to_dict()["nodes"] == NODES
    with pytest.raises(MissingVariable) as caught:
        AppProperty.from_json(data, "property.json", environ={})
    assert (caught.value.file, caught.value.path) == ("property.json", "user.home")


def test_files(tmp_path: Path) -> None:
    assert load_app_property(tmp_path).base_dir == tmp_path.resolve()
    file = tmp_path / "property.json"
    file.write_text(json.dumps(WHOLE))
    for path in (tmp_path, file, str(file)):
        app = load_app_property(path)
        assert app.file == file.resolve()
        assert app.base_dir == tmp_path.resolve()
    other = app.graph("other")
    assert other is not None
    (tmp_path / "graphs").mkdir()
    (tmp_path / "graphs" / "other.json").write_text(json.dumps({"nodes": NODES}))
    assert [node.name for node in flatten(other.graph).nodes] == ["a"]
    file.write_text("{'a': 1}")
    with pytest.raises(InvalidJson, match=r"property\.json: line 1, column 2"):
        load_app_property(tmp_path)
    with pytest.raises(ConfigError, match="No such file"):
        load_app_property(tmp_path / "none.json")


def test_python_addons_cant_be_saved() -> None:
    graph = Graph()
    graph.node("a", dict)
    app = AppProperty.from_json(WHOLE)
    app.predefined_graphs[1].graph = graph
    with pytest.raises(
        GraphError, match=r"^ten.predefined_graphs\[1\].graph.nodes\[0\].addon: dict"
    ):
        app.to_dict()
