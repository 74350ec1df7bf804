"""The graph of a `start_graph` as the engines of two apps tell each other: nodes and connections.

It is the JSON of a graph in which everything is spelled out: every place also names the graph by its
id and the group of its extension. Both can be told from the rest, so reading leaves them out. Only
a graph that has an id already and consists of nothing but extensions is written like that; what a
client sends is the JSON text in `graph_json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ...errors import GraphError, InvalidJson, PropertyRangeError, PropertyTypeError
from ...graphs import Graph
from ...graphs.definition import ExtensionNode
from ...graphs.flatten import UNSPECIFIED_GROUP
from ...graphs.loading import read_graph, write_graph
from ...messages import Array, Object, StartGraph
from ...messages.values import to_json
from ..codec import Malformed

KINDS = ("cmd", "data", "video_frame", "audio_frame")
"""The kinds of messages in the order in which the original writes them."""

NO_GRAPH = Array()


def to_wire(msg: StartGraph) -> tuple[Array, Array, str]:
    """Return nodes, connections and `graph_json`. Raises `GraphError`, `CodecError`."""
    graph = msg.graph
    if not isinstance(graph, Graph):
        return NO_GRAPH, NO_GRAPH, msg.graph_json
    graph_id = msg._dests[0].graph_id if msg._dests else None
    written = write_graph(graph)
    if not graph_id or not _is_flat(graph, written):
        try:
            return NO_GRAPH, NO_GRAPH, json.dumps(written, ensure_ascii=False)
        except (TypeError, ValueError) as error:
            raise Malformed(f"a property of a node can't be written as JSON: {error}") from None
    groups = {
        (node.app, node.name): node.extension_group or UNSPECIFIED_GROUP
        for node in graph.nodes
        if isinstance(node, ExtensionNode)
    }
    nodes = [_node(node, graph_id) for node in written.get("nodes", ())]
    connections = [
        {
            **_place(section, graph_id, groups),
            **{
                kind: [
                    {
                        "name": flow["name"],
                        "dest": [_dest(dest, graph_id, groups) for dest in flow["dest"]],
                    }
                    for flow in section[kind]
                ]
                for kind in KINDS
                if section.get(kind)
            },
        }
        for section in written.get("connections", ())
    ]
    return Array(nodes), Array(connections), ""


def from_wire(msg: StartGraph, nodes: list[Any], connections: list[Any], exposed: Any) -> None:
    """Note the graph on `msg`. What makes no graph becomes its JSON, for the answer to say why."""
    if not nodes and not connections:
        return
    written: dict[str, Any] = {
        "nodes": [_unspecified(_without(node, "graph")) for node in nodes],
        "connections": [_read_section(section) for section in connections],
    }
    if exposed:
        written["exposed_messages"] = exposed
    try:
        msg.graph = read_graph(written)
    except GraphError:
        msg.graph_json = json_text(written)


def exposed(msg: StartGraph) -> list[dict[str, Any]]:
    """Return the exposed messages that nodes and connections can't tell."""
    if isinstance(msg.graph, Graph) and to_wire(msg)[0]:
        entries: list[dict[str, Any]] = write_graph(msg.graph).get("exposed_messages", [])
        return entries
    return []


def policies(written: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the flow policies of a graph's edges, which `to_wire` leaves out.

    They are said between two of us only: it is the receiver's app that keeps to them.
    """
    return [
        {"edge": edge, "flow": dest["flow"]} for edge, dest in _edges(written) if "flow" in dest
    ]


def add_policies(written: dict[str, Any], said: object) -> None:
    """Give the edges of a graph the policies that a peer has said. What makes no sense is left out."""
    known = {}
    for entry in said if isinstance(said, list) else ():
        if isinstance(entry, Mapping) and isinstance(edge := entry.get("edge"), list):
            known[tuple(map(str, edge))] = entry.get("flow")
    for edge, dest in _edges(written):
        policy = known.get(tuple(edge))
        if isinstance(policy, Mapping):
            dest["flow"] = dict(policy)


def _edges(written: Mapping[str, Any]) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Yield what names an edge, and its destination."""
    for section in written.get("connections", ()):
        for kind in KINDS:
            for flow in section.get(kind, ()):
                for dest in flow.get("dest", ()):
                    source, end = _place_of(section), _place_of(dest)
                    yield [*source, kind, flow.get("name") or "", *end], dest


def _place_of(place: Mapping[str, Any]) -> list[str]:
    return [place.get("app") or "", place.get("extension") or ""]


def json_text(written: Mapping[str, Any]) -> str:
    """Return the JSON of what a peer has sent as a graph. Raises `Malformed`."""
    try:
        return to_json(Object(written))
    except (InvalidJson, PropertyTypeError, PropertyRangeError) as error:
        raise Malformed(f"a graph that can't be written as JSON: {error}") from None


def _is_flat(graph: Graph, written: Mapping[str, Any]) -> bool:
    if graph.import_uri or not all(isinstance(node, ExtensionNode) for node in graph.nodes):
        return False
    return all(
        "extension" in place
        for section in written.get("connections", ())
        for place in (section, *_dests(section))
    )


def _dests(section: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    flows = [flow for kind in KINDS for flow in section.get(kind, ())]
    # What isn't one name to some destinations counts as a destination that is no extension.
    return [
        dest for flow in flows for dest in (flow["dest"] if set(flow) == {"name", "dest"} else [{}])
    ]


def _node(node: Mapping[str, Any], graph_id: str) -> dict[str, Any]:
    made = {
        "type": "extension",
        "name": node["name"],
        "addon": node["addon"],
        "extension_group": node.get("extension_group") or UNSPECIFIED_GROUP,
        "graph": graph_id,
    }
    if node.get("app"):
        made["app"] = node["app"]
    return {**made, "property": node.get("property", {})}


def _place(
    place: Mapping[str, Any], graph_id: str, groups: Mapping[tuple[str | None, str], str]
) -> dict[str, Any]:
    app, extension = place.get("app"), place["extension"]
    made = {"app": app} if app else {}
    made["graph"] = graph_id
    if (app, extension) in groups:
        made["extension_group"] = groups[app, extension]
    made["extension"] = extension
    return made


def _dest(
    dest: Mapping[str, Any], graph_id: str, groups: Mapping[tuple[str | None, str], str]
) -> dict[str, Any]:
    made = _place(dest, graph_id, groups)
    if "msg_conversion" in dest:
        made["msg_conversion"] = dest["msg_conversion"]
    return made


def _without(value: Any, *names: str) -> Any:
    if not isinstance(value, Mapping):
        return value  # reading the graph tells what is wrong
    return {key: item for key, item in value.items() if key not in names}


def _unspecified(node: Any) -> Any:
    if isinstance(node, dict) and node.get("extension_group") == UNSPECIFIED_GROUP:
        return _without(node, "extension_group")
    return node


def _read_section(section: Any) -> Any:
    section = _without(section, "graph", "extension_group")
    if not isinstance(section, dict):
        return section
    for kind in KINDS:
        flows = section.get(kind)
        if isinstance(flows, list):
            section[kind] = [_read_flow(flow) for flow in flows]
    return section


def _read_flow(flow: Any) -> Any:
    if not isinstance(flow, Mapping) or not isinstance(flow.get("dest"), list):
        return flow
    dests = [_without(dest, "graph", "extension_group") for dest in flow["dest"]]
    return {**flow, "dest": dests}
