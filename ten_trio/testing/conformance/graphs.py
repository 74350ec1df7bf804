"""The suite's graphs: a few nodes of its addons, and edges that carry one name of every kind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from .addons import PREFIX

KINDS: Final = ("cmd", "data", "audio_frame", "video_frame")
PROBE: Final = "probe"
"""An echo in every graph: its answer says that what was sent before has been answered too."""


@attrs.frozen
class Node:
    """One extension."""

    name: str
    addon: str
    property: Mapping[str, Any] = attrs.field(factory=dict)
    group: str = ""

    def __str__(self) -> str:
        more = ", ".join(f"{key}={value!r}" for key, value in self.property.items())
        group = f" in group {self.group}" if self.group else ""
        article = "an" if self.addon[0] in "aeiou" else "a"
        return f"{self.name} is {article} {self.addon}{f'({more})' if more else ''}{group}"


@attrs.frozen
class Edge:
    """What `source` sends as `name`, of any kind, goes to all of `dests`, in this order."""

    source: str
    dests: Sequence[str]
    name: str = "m"

    def __str__(self) -> str:
        return f"{self.source} sends {self.name!r} to {', '.join(self.dests)}"


@attrs.frozen
class Blueprint:
    """A graph to start. It has the probe besides its nodes."""

    nodes: Sequence[Node] = ()
    edges: Sequence[Edge] = ()

    def to_json(self) -> str:
        """The JSON text of a start_graph command, as any runtime of the TEN framework reads it."""
        nodes = [_node_json(node) for node in (Node(PROBE, "echo"), *self.nodes)]
        connections = [_edge_json(edge) for edge in self.edges]
        return json.dumps({"nodes": nodes, "connections": connections})

    def __str__(self) -> str:
        return "; ".join(map(str, (*self.nodes, *self.edges))) or "just the probe"


def _node_json(node: Node) -> dict[str, Any]:
    content: dict[str, Any] = {
        "type": "extension",
        "name": node.name,
        "addon": f"{PREFIX}{node.addon}",
        "extension_group": node.group or "default",
    }
    return {**content, "property": dict(node.property)} if node.property else content


def _edge_json(edge: Edge) -> dict[str, Any]:
    dests = [{"extension": dest} for dest in edge.dests]
    flows = {kind: [{"name": edge.name, "dest": dests}] for kind in KINDS}
    return {"extension": edge.source, **flows}


__all__ = ["KINDS", "PROBE", "Blueprint", "Edge", "Node"]
