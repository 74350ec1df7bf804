"""Wiring: the edges of one graph as written, one by one.

Expands what is sugar in the notation, and keeps the written order: `names`, selectors, and flows
written from the receiver's side (`source`). Subgraphs are still places here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from ten_trio.graphs.conversion import Conversion
from ten_trio.graphs.definition import (
    ExtensionNode,
    Graph,
    Kind,
    Node,
    Place,
    SelectorNode,
)
from ten_trio.graphs.flow import FlowPolicy


@attrs.frozen
class WrittenEdge:
    """One message name from one place to one other. `path` is where it is written."""

    kind: Kind
    name: str
    source: Place
    dest: Place
    conversion: Conversion | None
    flow: FlowPolicy | None
    path: str


def written_edges(graph: Graph) -> Iterator[WrittenEdge]:
    """Yield every edge of `graph` in the order in which they are written.

    A selector that doesn't exist, or matches nothing, has no edges.
    """
    for index, connection in enumerate(graph.connections):
        sources = selected(graph, connection)
        for kind, position, flow in connection.flows():
            path = f"connections[{index}].{kind}[{position}]"
            for name in flow.all_names():
                for number, end in enumerate(flow.dest or ()):
                    here = f"{path}.dest[{number}]"
                    dests = selected(graph, end)
                    for source in sources:
                        for dest in dests:
                            yield WrittenEdge(
                                kind, name, source, dest, end.conversion, end.flow, here
                            )
                for number, end in enumerate(flow.source or ()):
                    here = f"{path}.source[{number}]"
                    for source in selected(graph, end):
                        for dest in sources:
                            yield WrittenEdge(kind, name, source, dest, None, None, here)


def selected(graph: Graph, place: Place) -> list[Place]:
    """Return the extensions and subgraphs that `place` stands for."""
    if place.selector is None:
        return [place]
    condition = next(
        (n.filter for n in graph.nodes if isinstance(n, SelectorNode) and n.name == place.selector),
        None,
    )
    if condition is None:
        return []
    return [
        _place_of(node)
        for node in graph.nodes
        if not isinstance(node, SelectorNode) and condition.matches(_fields(node))
    ]


def _fields(node: Node) -> dict[str, Any]:
    fields: dict[str, Any] = {"type": node.type, "name": node.name}
    if isinstance(node, ExtensionNode):
        fields |= {"app": node.app, "addon": addon_name(node)}
    return fields


def _place_of(node: Node) -> Place:
    if isinstance(node, ExtensionNode):
        return Place(extension=node.name, app=node.app)
    return Place(subgraph=node.name)


def addon_name(node: ExtensionNode) -> str:
    """Return the name of a node's addon, or that of its class."""
    if isinstance(node.addon, str):
        return node.addon
    return getattr(node.addon, "__name__", type(node.addon).__name__)
