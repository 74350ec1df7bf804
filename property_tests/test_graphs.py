"""Graphs under random definitions: saving and loading, flattening, and route changes.

Graphs are valid by construction, except where a test wants rubbish.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ten_trio.errors import GraphError, InvalidJson
from ten_trio.graphs import (
    KINDS,
    AppProperty,
    Conversion,
    Edge,
    Graph,
    RouteManager,
    check,
    flatten,
    to_mermaid,
)
from ten_trio.messages import Data
from ten_trio.testing.strategies import (
    conversions,
    graphs,
    node_names as names,
    scalars,
    small_properties as properties,
)


@given(graphs())
def test_saving_and_loading_changes_nothing(graph: Graph) -> None:
    assert Graph.from_json(graph.to_json()) == graph
    assert Graph.from_json(graph.to_json(indent=2), strict_names=False).to_dict() == graph.to_dict()
    assert graph.copy() == graph


@given(graphs(), st.booleans(), st.none() | st.integers(1, 9), properties)
def test_app_properties_too(
    graph: Graph, flag: bool, timeout: int | None, user: dict[str, Any]
) -> None:
    section: dict[str, Any] = {
        "long_running_mode": flag,
        "predefined_graphs": [{"name": "g", "graph": graph.to_dict(), "auto_start": flag}],
        "new": user,
    }
    if timeout is not None:
        section["path_timeout"] = timeout
    user = {key: value for key, value in user.items() if key not in ("ten", "_ten")}
    app = AppProperty.from_json({"ten": section, **user})
    assert AppProperty.from_json(app.to_json()) == app
    assert app.property == user
    assert app.predefined_graphs[0].graph == graph


@given(graphs())
def test_a_graph_without_problems_flattens(graph: Graph) -> None:
    before = graph.to_dict()
    assert check(graph) == []
    flat = flatten(graph, app_uri="msgpack://app:1/")
    assert graph.to_dict() == before
    nodes = {(node.app, node.name) for node in flat.nodes}
    assert len(nodes) == len(flat.nodes)
    ends = {(e.source_app, e.source) for e in flat.edges} | {
        (e.dest_app, e.dest) for e in flat.edges
    }
    assert ends <= nodes
    keys = [(e.source, e.kind, e.name, e.dest) for e in flat.edges]
    assert len(set(keys)) == len(keys)


@given(graphs())
def test_flattening_again_changes_no_table(graph: Graph) -> None:
    flat = flatten(graph)
    again = flatten(Graph.from_json(flat.to_graph().to_json()))
    assert again.nodes == flat.nodes
    first, second = RouteManager(flat.edges), RouteManager(again.edges)
    for node in flat.nodes:
        assert first.tables(node.name) == second.tables(node.name)


@given(graphs(depth=1))
def test_flows_mean_the_same_from_either_side(graph: Graph) -> None:
    """Every flow without conversion, written from its receiver's side with `source`."""
    data = graph.to_dict()
    reversed_sections = []
    for section in data.get("connections", []):
        place = {key: section[key] for key in section if key not in KINDS}
        for kind in KINDS:
            for flow in section.get(kind, []):
                for dest in flow["dest"]:
                    if "msg_conversion" in dest:
                        continue
                    flow_back = {"names": [flow["name"]], "source": [place]}
                    reversed_sections.append({**dest, kind: [flow_back]})
    turned = flatten(Graph.from_json({**data, "connections": reversed_sections}))
    straight = {edge for edge in flatten(graph).edges if edge.conversion is None}
    assert {edge for edge in turned.edges if edge.conversion is None} == straight


json_values = st.recursive(
    st.none() | scalars,
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["nodes", "connections", "type", "name", "names", "addon", "graph", "filter", "and",
             "extension", "subgraph", "selector", "app", "cmd", "data", "dest", "source", "rules",
             "msg_conversion", "property", "exposed_messages", "exposed_properties", "import_uri",
             "ten", "uri", "predefined_graphs", "path_timeout"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """The JSON of a good graph, with one value somewhere replaced or removed."""
    data = json.loads(draw(graphs(depth=1)).to_json())
    spots: list[tuple[Any, Any]] = []

    def walk(value: Any) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in list(items):
            spots.append((value, key))
            if isinstance(item, dict | list):
                walk(item)

    walk(data)
    container, key = draw(st.sampled_from(spots))
    if draw(st.booleans()):
        del container[key]
    else:
        container[key] = draw(json_values)
    return data


@given(json_values | damaged(), st.booleans())
def test_rubbish_is_told_and_never_breaks_anything(data: Any, strict: bool) -> None:
    text = json.dumps(data)
    try:
        graph = Graph.from_json(text, "g.json", strict_names=strict)
    except GraphError as error:
        assert error.problems
        assert all(problem.path.startswith("g.json") for problem in error.problems)
    else:
        to_mermaid(graph)
        with suppress(GraphError):
            flatten(graph)
        assert Graph.from_json(graph.to_json()) == graph
    with suppress(GraphError):
        AppProperty.from_json(text)


@given(st.text(max_size=20) | st.binary(max_size=20))
def test_text_that_may_not_be_json(text: str | bytes) -> None:
    with suppress(GraphError, InvalidJson):
        Graph.from_json(text)


@given(conversions("data"), properties)
def test_conversions_leave_the_original_alone(
    conversion: Conversion, values: dict[str, Any]
) -> None:
    usable = {key: value for key, value in values.items() if key and not key.startswith("ten")}
    data = Data("d", usable)
    before = data.properties.copy()
    converted = conversion.apply(data)
    assert data.properties == before
    assert data.name == "d"
    assert converted.name == (conversion.new_name if conversion.new_name is not None else "d")
    kept = set(usable) if conversion.keep_original else set()
    assert set(converted) == kept | {r.path[0] for r in conversion.rules if r.path != "ten.name"}


edges = st.builds(
    Edge,
    st.just(""),
    names,
    st.sampled_from(KINDS[:2]),
    st.sampled_from(["m", "n"]),
    st.just(""),
    names,
    st.sampled_from([None, None, Conversion.rename("x")]),
)


class Routes(RuleBasedStateMachine):
    """A route manager against a list of edges; every change is whole or nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.routes = RouteManager()
        self.model: list[Edge] = []
        self.kept: dict[tuple[str, str], dict[str, tuple[Edge, ...]]] = {}
        self.heard: list[Edge] = []
        self.routes.on_change(self._hear)

    def _hear(self, change: Any) -> None:
        self.heard = [e for e in self.heard if e not in change.removed] + list(change.added)

    @staticmethod
    def _ends(edge: Edge) -> tuple[str, ...]:
        return edge.source, edge.kind, edge.name, edge.dest

    @rule(wanted=st.lists(edges, max_size=4))
    def connect(self, wanted: list[Edge]) -> None:
        model = list(self.model)
        good = True
        for edge in wanted:
            same = [other for other in model if self._ends(other) == self._ends(edge)]
            good &= same in ([], [edge])
            if not same:
                model.append(edge)
        try:
            self.routes.connect(wanted)
        except GraphError:
            assert not good
        else:
            assert good
            self.model = model

    @rule(wanted=st.lists(edges, max_size=2))
    def disconnect(self, wanted: list[Edge]) -> None:
        gone = {self._ends(edge) for edge in wanted}
        good = gone <= {self._ends(edge) for edge in self.model}
        try:
            self.routes.disconnect(wanted)
        except GraphError:
            assert not good
        else:
            assert good
            self.model = [edge for edge in self.model if self._ends(edge) not in gone]

    @rule(name=names)
    def remove(self, name: str) -> None:
        self.routes.remove_extension(name)
        self.model = [edge for edge in self.model if name not in (edge.source, edge.dest)]

    @rule(name=names, kind=st.sampled_from(KINDS[:2]))
    def keep_a_table(self, name: str, kind: str) -> None:
        self.kept.setdefault((name, kind), self.routes.table(name, kind))

    @invariant()
    def agrees(self) -> None:
        assert self.routes.edges == tuple(self.model)
        assert self.heard == self.model
        for (source, kind), table in self.kept.items():
            assert self.routes.table(source, kind) is table
            expected: dict[str, tuple[Edge, ...]] = {}
            for edge in self.model:
                if (edge.source, edge.kind) == (source, kind):
                    expected[edge.name] = (*expected.get(edge.name, ()), edge)
            assert table == expected


TestRoutes = Routes.TestCase
