"""The route table and its changes."""

from __future__ import annotations

import pytest

from ten_trio.errors import GraphError
from ten_trio.graphs import Conversion, Edge, Kind, RouteChange, RouteManager


def edge(
    source: str,
    dest: str,
    name: str = "m",
    kind: Kind = "cmd",
    conversion: Conversion | None = None,
) -> Edge:
    return Edge("", source, kind, name, "", dest, conversion)


RENAMED = Conversion.rename("n")


def test_tables() -> None:
    ab, ac, ab_data = edge("a", "b"), edge("a", "c"), edge("a", "b", kind="data")
    routes = RouteManager([ab, ac, ab_data])
    assert routes.table("a", "cmd") == {"m": (ab, ac)}
    assert routes.tables("a")["data"] == {"m": (ab_data,)}
    assert routes.table("b", "cmd") == {}
    assert routes.edges == (ab, ac, ab_data)
    assert ab in routes
    assert edge("a", "b", conversion=RENAMED) not in routes


def test_tables_are_live() -> None:
    routes = RouteManager()
    table = routes.table("a", "cmd")
    ab, ac = edge("a", "b"), edge("a", "c")
    assert routes.connect([ab, ac, ab]) == RouteChange(added=(ab, ac))
    assert table == {"m": (ab, ac)}
    assert routes.connect([ac]) == RouteChange()
    assert routes.disconnect([edge("a", "b", conversion=RENAMED)]) == RouteChange(removed=(ab,))
    assert table == {"m": (ac,)}
    routes.disconnect([ac])
    assert table == {}
    routes.connect([ab])
    assert table == {"m": (ab,)}
    assert routes.table("a", "cmd") is table


def test_changes_are_whole_or_nothing() -> None:
    ab = edge("a", "b")
    routes = RouteManager([ab])
    changes: list[RouteChange] = []
    routes.on_change(changes.append)
    with pytest.raises(GraphError) as caught:
        routes.connect([edge("a", "c"), edge("a", "b", conversion=RENAMED)])
    assert str(caught.value) == (
        'cmd "m" from "a" to "b" is there with another conversion; disconnect it first'
    )
    with pytest.raises(GraphError):
        routes.connect([edge("a", "c"), edge("a", "c", conversion=RENAMED)])
    with pytest.raises(GraphError) as caught:
        routes.disconnect([ab, edge("x", "y"), edge("x", "z")])
    assert len(caught.value.problems) == 2
    assert routes.edges == (ab,)
    assert routes.table("a", "cmd") == {"m": (ab,)}
    assert changes == []


def test_known_extensions() -> None:
    routes = RouteManager([edge("asr", "llm")], extensions=["asr", "llm"])
    with pytest.raises(GraphError) as caught:
        routes.connect([edge("asr", "lm"), edge("tts", "asr")])
    assert [str(problem) for problem in caught.value.problems] == [
        'cmd "m" from "asr" to "lm": unknown extension "lm"; did you mean "llm"?',
        'cmd "m" from "tts" to "asr": unknown extension "tts"; known: "asr", "llm"',
    ]
    routes.add_extension("tts")
    routes.connect([edge("tts", "asr")])
    with pytest.raises(GraphError, match='there is an extension "tts" already'):
        routes.add_extension("tts")
    routes.remove_extension("tts")
    with pytest.raises(GraphError, match='unknown extension "tts"'):
        routes.remove_extension("tts")
    with pytest.raises(GraphError, match="unknown extension"):
        RouteManager([edge("a", "b")], extensions=["a"])


def test_removing_an_extension_takes_its_edges_along() -> None:
    ab, ba, bc, ac, bb = (edge(*ends) for ends in ("ab", "ba", "bc", "ac", "bb"))
    routes = RouteManager([ab, ba, bc, ac, bb])
    tables = routes.table("a", "cmd"), routes.table("b", "cmd")
    assert routes.remove_extension("b").removed == (ab, ba, bc, bb)
    assert tables == ({"m": (ac,)}, {})
    routes.add_extension("b")
    assert routes.remove_extension("nobody") == RouteChange()


def test_listeners_hear_of_changes_after_them() -> None:
    routes = RouteManager()
    heard: list[tuple[RouteChange, tuple[Edge, ...]]] = []
    forget = routes.on_change(lambda change: heard.append((change, routes.edges)))
    ab = edge("a", "b")
    routes.connect([ab])
    routes.connect([ab])
    routes.disconnect([ab])
    assert heard == [(RouteChange(added=(ab,)), (ab,)), (RouteChange(removed=(ab,)), ())]
    forget()
    routes.connect([ab])
    assert len(heard) == 2


def test_edges_of_other_apps() -> None:
    here, there = "msgpack://here:1/", "msgpack://there:2/"
    incoming = Edge(there, "a", "data", "d", here, "b", RENAMED)
    outgoing = Edge(here, "a", "data", "d", there, "b")
    routes = RouteManager([incoming, outgoing], app=here, extensions=["a", "b"])
    assert routes.table("a", "data") == {"d": (outgoing,)}
    assert routes.conversion(there, "a", "data", "d", "b") == RENAMED
    assert routes.conversion(here, "a", "data", "d", "b") is None
    assert routes.remove_extension("a").removed == (outgoing,)
    assert routes.edges == (incoming,)
