"""Flow policies of edges: reading, writing, checks, circles, warnings, pictures."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from ten_trio.errors import GraphError
from ten_trio.graphs import (
    Conversion,
    Dest,
    Edge,
    FlowPolicy,
    Graph,
    check,
    delay_warnings,
    flatten,
    to_mermaid,
)
from ten_trio.graphs.flow import waiting_circles
from ten_trio.graphs.loading import read_graph, write_graph
from ten_trio.graphs.routes import RouteManager

WAIT = FlowPolicy(on_full="wait")
FULL = {"capacity": 8, "on_full": "coalesce", "max_age_ms": 200, "key": "user.id"}
AT = "connections[0].data[0].dest[0].flow"


def written(flow: Any, kind: str = "data", **names: Any) -> dict[str, Any]:
    """a → b with this flow, as JSON."""
    made = {**(names or {"name": "m"}), "dest": [{"extension": "b", "flow": flow}]}
    return {
        "nodes": [{"type": "extension", "name": name, "addon": "x"} for name in "ab"],
        "connections": [{"extension": "a", kind: [made]}],
    }


def told(graph: dict[str, Any]) -> list[str]:
    """Everything that is wrong with it, whether reading or checking finds it."""
    try:
        return [str(problem) for problem in check(read_graph(graph))]
    except GraphError as error:
        return [str(problem) for problem in error.problems]


def chain(*edges: str, flow: FlowPolicy | None = WAIT, **kinds: Any) -> Graph:
    """Edges such as "ab", all with this policy."""
    graph = Graph()
    for name in sorted(set("".join(edges))):
        graph.node(name, "x")
    for source, dest in edges:
        graph.connect(source, dest, **(kinds or {"data": "m"}), flow=flow)
    return graph


# Reading and writing -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "flow",
    [
        FULL,
        {"capacity": 1},
        {"max_age_ms": 1},
        {"on_full": "wait"},
        {"on_full": "drop_oldest", "capacity": 3},
        {"on_full": "drop_newest"},
        {"on_full": "error"},
        {"on_full": "coalesce"},
    ],
)
def test_what_is_read_is_written_again(flow: dict[str, Any]) -> None:
    graph = read_graph(written(flow))
    assert not check(graph)
    assert write_graph(graph)["connections"] == written(flow)["connections"]
    (edge,) = flatten(graph).edges
    assert edge.flow == FlowPolicy(**flow)
    # Also once everything is resolved, which is how another app is told.
    again = flatten(read_graph(write_graph(flatten(graph).to_graph())))
    assert again.edges == (edge,)


def test_the_builder_writes_the_same() -> None:
    graph = Graph()
    graph.node("a", "x")
    graph.node("b", "x")
    graph.connect("a", "b", data=["m", "n"], audio_frame="pcm", flow=FlowPolicy(**FULL))
    ends = [{"extension": "b", "flow": FULL}]
    assert write_graph(graph)["connections"] == [
        {
            "extension": "a",
            "data": [{"name": "m", "dest": ends}, {"name": "n", "dest": ends}],
            "audio_frame": [{"name": "pcm", "dest": ends}],
        }
    ]
    assert Graph.from_json(graph.to_json()) == graph


def test_every_destination_may_have_its_own() -> None:
    graph = Graph()
    for name in "abcd":
        graph.node(name, "x")
    drops = FlowPolicy(on_full="drop_oldest")
    graph.connect(
        "a", [Dest("b", flow=drops), Dest("c", conversion=Conversion.rename("n")), "d"],
        data="m", flow=FlowPolicy(capacity=9),
    )  # fmt: skip
    # What is said for all goes before what was said for one, as with conversions.
    flows = [edge.flow for edge in flatten(graph).edges]
    assert flows == [FlowPolicy(capacity=9)] * 3
    graph = Graph()
    graph.node("a", "x")
    graph.node("b", "x")
    graph.connect("a", Dest("b", flow=drops), data="m")
    assert flatten(graph).edges[0].flow == drops


def test_selectors_and_subgraphs_hand_it_on() -> None:
    inner = Graph()
    inner.node("one", "x")
    inner.expose("data_in", "m", "one")
    graph = Graph()
    graph.node("a", "x")
    graph.node("b1", "x")
    graph.node("b2", "x")
    graph.selector("bs", name="^b")
    graph.subgraph("sub", inner)
    graph.connect("a", ["bs", "sub"], data="m", flow=WAIT)
    found = {edge.dest: edge.flow for edge in flatten(graph).edges}
    assert found == dict.fromkeys(["b1", "b2", "sub_one"], WAIT)


# Checks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flow", "problems"),
    [
        ({}, [f"{AT}: says nothing; give capacity, on_full or max_age_ms"]),
        ({"capacity": 0}, [f"{AT}.capacity: must be 1 or more, not 0; a message at the least"]),
        ({"max_age_ms": -1}, [f"{AT}.max_age_ms: must be 1 or more, not -1; a millisecond"]),
        ({"on_full": "wiat"}, [f'{AT}.on_full: unknown policy "wiat"; did you mean "wait"?']),
        ({"on_full": "wait", "key": "k"}, [f"{AT}.key: has no meaning unless on_full is coalesce"]),
        ({"on_full": "coalesce", "key": ""}, [f"{AT}.key: is empty"]),
        ({"on_full": "coalesce", "key": "a["}, [f"{AT}.key: "]),
        (
            {"capacity": "3"},
            [f"{AT}.capacity: must be an integer, not a string", f"{AT}: says nothing"],
        ),
        (
            {"capacity": True},
            [f"{AT}.capacity: must be an integer, not a boolean", f"{AT}: says nothing"],
        ),
        (
            {"capacity": 1.5},
            [f"{AT}.capacity: must be an integer, not a number", f"{AT}: says nothing"],
        ),
        (
            {"on_ful": "wait"},
            [f'{AT}.on_ful: unknown key; did you mean "on_full"?', f"{AT}: says nothing"],
        ),
        ("wait", [f"{AT}: must be an object, not a string"]),
        (
            {"capacity": 0, "max_age_ms": 0, "on_full": "x"},
            [f"{AT}.capacity: ", f"{AT}.max_age_ms: ", f"{AT}.on_full: "],
        ),
    ],
)
def test_what_is_wrong_with_a_policy(flow: Any, problems: list[str]) -> None:
    found = told(written(flow))
    assert len(found) == len(problems), found
    for text, start in zip(found, problems, strict=True):
        assert text.startswith(start)


def test_commands_have_none() -> None:
    (problem,) = told(written({"capacity": 3}, kind="cmd"))
    assert "connections[0].cmd[0].dest[0].flow: commands have no flow policy" in problem
    assert "Limits.pending_cmds" in problem


def test_a_source_has_none() -> None:
    graph = written({"capacity": 3})
    (flow,) = graph["connections"][0]["data"]
    flow["source"] = flow.pop("dest")
    (problem,) = told(graph)
    assert problem.startswith("connections[0].data[0].source[0].flow: has no place on a source")


def test_one_edge_written_twice_has_one_policy() -> None:
    graph = chain("ab", flow=FlowPolicy(capacity=1))
    graph.connect("a", "b", data="m", flow=FlowPolicy(capacity=2))
    (problem,) = check(graph)
    assert 'data "m" reaches "b" twice with different flow: see connections[0]' in str(problem)
    with pytest.raises(GraphError):
        flatten(graph)


# Circles -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edges", "circle"),
    [
        (["aa"], "a → a"),
        (["ab", "ba"], "a → b → a"),
        (["ab", "bc", "ca"], "a → b → c → a"),
        (["ab", "bc", "cd", "db"], "b → c → d → b"),
        (["ab", "ac", "bd", "cd", "da"], "a → b → d → a"),
    ],
)
def test_a_circle_of_waits_is_spelled_out(edges: list[str], circle: str) -> None:
    with pytest.raises(GraphError) as caught:
        flatten(chain(*edges))
    (problem,) = caught.value.problems
    assert problem.message.endswith(f": {circle}")
    assert problem.path.startswith("connections[")
    assert "on_full" in problem.hint


def test_two_circles_are_both_told() -> None:
    with pytest.raises(GraphError) as caught:
        flatten(chain("ab", "ba", "cd", "dc"))
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    "other",
    [
        None,
        FlowPolicy(capacity=3),
        FlowPolicy(on_full="drop_oldest"),
        FlowPolicy(on_full="drop_newest"),
        FlowPolicy(on_full="coalesce"),
        FlowPolicy(on_full="error"),
    ],
)
def test_one_edge_that_does_not_insist_is_enough(other: FlowPolicy | None) -> None:
    graph = chain("ab", "bc")
    graph.connect("c", "a", data="m", flow=other)
    assert len(flatten(graph).edges) == 3


def test_a_diamond_is_no_circle_and_a_long_chain_no_problem() -> None:
    assert flatten(chain("ab", "ac", "bd", "cd"))
    edges = [Edge("", f"n{i}", "data", "m", "", f"n{i + 1}", None, WAIT) for i in range(3_000)]
    assert not list(waiting_circles(edges))
    back = Edge("", "n3000", "audio_frame", "pcm", "", "n0", None, WAIT)
    (circle,) = waiting_circles([*edges, back])
    assert len(circle) == 3_001


def test_names_in_two_apps_are_two_places() -> None:
    there = [
        Edge("one", "a", "data", "m", "two", "b", None, WAIT),
        Edge("one", "b", "data", "m", "one", "a", None, WAIT),
    ]
    assert not list(waiting_circles(there))


def test_a_circle_through_a_subgraph_is_found() -> None:
    inner = chain("ab")
    inner.expose("data_in", "m", "a")
    inner.expose("data_out", "m", "b")
    graph = Graph()
    graph.node("x", "x")
    graph.subgraph("s", inner)
    graph.connect("x", "s", data="m", flow=WAIT)
    graph.connect("s", "x", data="m", flow=WAIT)
    with pytest.raises(GraphError, match="s_a → s_b → x → s_a"):
        flatten(graph)


def test_the_route_manager_refuses_circles_and_other_policies() -> None:
    edges = flatten(chain("ab", "bc")).edges
    routes = RouteManager(edges)
    back = Edge("", "c", "data", "m", "", "a", None, WAIT)
    with pytest.raises(GraphError, match=r"(a → b → c → a)|(b → c → a → b)|(c → a → b → c)"):
        routes.connect([back])
    assert routes.edges == edges
    with pytest.raises(GraphError, match="another flow policy"):
        routes.connect([attrs.evolve(edges[0], flow=None)])
    routes.disconnect([attrs.evolve(edges[0], flow=None)])
    routes.connect([back])


# Warnings and pictures -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flow", "lags"),
    [
        (None, True),
        (WAIT, True),
        (FlowPolicy(capacity=5), True),
        (FlowPolicy(on_full="drop_oldest"), True),
        (FlowPolicy(on_full="drop_newest"), True),
        (FlowPolicy(on_full="drop_oldest", capacity=5), False),
        (FlowPolicy(on_full="error", capacity=5), False),
        (FlowPolicy(on_full="coalesce"), False),
        (FlowPolicy(on_full="wait", max_age_ms=100), False),
    ],
)
def test_audio_that_can_build_up_delay(flow: FlowPolicy | None, lags: bool) -> None:
    graph = chain("ab", flow=flow, audio_frame="pcm")
    graph.connect("b", "a", data="m", video_frame="v", flow=flow)
    warnings = [str(problem) for problem in delay_warnings(graph)]
    assert len(warnings) == lags
    for text in warnings:
        assert text.startswith('connections[0].audio_frame[0].dest[0]: audio_frame "pcm" to "b"')
    assert not check(graph)


@pytest.mark.parametrize(
    ("flow", "text"),
    [
        (FlowPolicy(capacity=5), "5, wait"),
        (FlowPolicy(on_full="drop_oldest", max_age_ms=200), "drop_oldest, 200 ms"),
        (FlowPolicy(4, "coalesce", 10, "user.id"), "4, coalesce by user.id, 10 ms"),
    ],
)
def test_pictures_show_it(flow: FlowPolicy, text: str) -> None:
    graph = chain("ab", flow=flow)
    for drawn in (graph, flatten(graph)):
        assert f'"m [{text}]"' in to_mermaid(drawn)
