"""A whole graph under test: the test is the outside of it, and stands in for some of its extensions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ..errors import GraphError, Problem
from ..graphs import AppProperty, ExtensionNode, Graph, load_graph_file
from ..runtime import Limits, open_app
from .mocks import Mock
from .tester import TESTER, ExtensionTester, _TestExtension


@asynccontextmanager
async def open_graph_tester(
    graph: Graph | str | Path | Mapping[str, Any],
    *,
    replace: Mapping[str, Any] | None = None,
    mocks: Mapping[str, Mock] | None = None,
    timeout: float = 10.0,  # noqa: ASYNC109 - the bound of each wait in the block, not of this call
    app: str | Path | Mapping[str, Any] | AppProperty | None = None,
    limits: Limits | None = None,
) -> AsyncGenerator[ExtensionTester, None]:
    """Run a graph for the length of a block, with the test at its outside.

    What the graph exposes as `*_out` comes to the test; what the test sends goes where the graph exposes
    it as `*_in`, or to the destination that the message names.  A graph that has a node with the
    addon `ten:test_extension` says itself, by its connections, what goes to the test and from it: then
    that node is the test.

    Args:
        graph: A `Graph`, the path of its JSON file or its parsed JSON, or the name of a predefined one of `app`.
        replace: By name, the addons (classes, factories, names) to run in place of some extensions'.
        mocks: What the test answers the graph's commands, see `ExtensionTester.mock_cmd`.
        timeout: How long each wait of the tester may take, in seconds.
        app: What `open_app` takes, for the app's folder and properties. Its graphs aren't started.
        limits: Of the app.

    Raises `GraphError` (also for a name in `replace` that no extension has), and what
    `App.open_graph` raises.
    """
    async with open_app(app, auto_start=False, limits=limits) as running:
        if isinstance(graph, Graph):
            chosen = graph
        elif isinstance(graph, str):
            chosen = running.predefined(graph).graph
        elif isinstance(graph, Path):
            chosen = load_graph_file(graph, strict_names=False)
        else:
            chosen = Graph.from_json(graph)
        tester = ExtensionTester("the graph", mocks or {}, timeout)
        made = with_tester(chosen, tester, replace or {})
        async with running.open_graph(made, own_loop=False) as engine:
            tester._engine = engine
            yield tester


def with_tester(graph: Graph, tester: ExtensionTester, replace: Mapping[str, Any]) -> Graph:
    """The same graph, with the test in it."""
    made = graph.copy()
    made.file, made.base_dir = graph.file, graph.base_dir
    nodes = {node.name: node for node in made.nodes if isinstance(node, ExtensionNode)}
    unknown = sorted(set(replace) - set(nodes))
    if unknown:
        what = f"no extension {unknown[0]!r} to be replaced"
        raise GraphError([Problem("nodes", what, f"there is: {', '.join(nodes)}")])
    for name, addon in replace.items():
        nodes[name].addon = addon

    def make() -> _TestExtension:
        return _TestExtension(tester)

    tests = [node for node in nodes.values() if node.addon == TESTER]
    if len(tests) > 1:
        what = f"several nodes are the test: {', '.join(node.name for node in tests)}"
        raise GraphError([Problem("nodes", what)])
    if tests:
        tests[0].addon = make
        return made
    # As extensions of one app name one all of them, or none does.
    apps = {node.app for node in nodes.values()} or {None}
    made.node(TESTER, make, group="test_extension_group_1", app=next(iter(apps)))
    for exposed in graph.exposed_messages:
        kind, _, direction = exposed.type.rpartition("_")
        place = exposed.extension or exposed.subgraph or ""
        ends = (place, TESTER) if direction == "out" else (TESTER, place)
        named: dict[str, Any] = {kind: exposed.name}
        made.connect(*ends, **named)
    # The host would get it too, and say that it doesn't read it.
    made.exposed_messages = []
    return made


__all__ = ["open_graph_tester"]
