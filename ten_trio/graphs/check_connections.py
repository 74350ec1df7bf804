"""The checks of connections: places, flows, conversions, and what subgraphs expose."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ten_trio.errors import Problem
from ten_trio.graphs.conversion import Conversion
from ten_trio.graphs.declared import Declared, exposes
from ten_trio.graphs.definition import Dest, ExtensionNode, Flow, Graph, Kind, Place
from ten_trio.graphs.flow import can_lag, lag_problem
from ten_trio.graphs.reading import below, did_you_mean
from ten_trio.graphs.wiring import WrittenEdge, written_edges

if TYPE_CHECKING:
    from ten_trio.graphs.flatten import Edge

_STEP = r"[A-Za-z_][A-Za-z0-9_]*(\[\d+\])*"
STRICT_PATH = re.compile(rf"{_STEP}(\.{_STEP})*")


def check_connections(graph: Graph, declared: Declared, strict: bool) -> Iterator[Problem]:
    """Yield every problem of the connections of `graph`, with paths that start at the graph."""
    apps = _apps_in_use(graph)
    plain = declared.extensions if apps is not True else {}
    for index, connection in enumerate(graph.connections):
        path = f"connections[{index}]"
        yield from _check_place(path, connection, declared, apps)
        for kind, position, flow in connection.flows():
            here = f"{path}.{kind}[{position}]"
            if not (flow.name and flow.dest) or flow.names is not None or flow.source is not None:
                yield from _check_flow(here, flow, strict)
            for side, ends in (("dest", flow.dest), ("source", flow.source)):
                for number, end in enumerate(ends or ()):
                    if end.extension in plain and _is_plain(end):
                        continue
                    at = f"{here}.{side}[{number}]"
                    yield from _check_place(at, end, declared, apps)
                    yield from _check_end(at, side, kind, end, strict)
    yield from _check_edges(graph, declared)


def _is_plain(end: Dest) -> bool:
    """Whether it is nothing but the name of an extension, as nearly all ends are."""
    others = (end.subgraph, end.selector, end.app, end.conversion, end.flow)
    return others.count(None) == len(others)


def _apps_in_use(graph: Graph) -> bool | None:
    """Whether the nodes name their apps; None if some do and some don't, or there are none."""
    given = {node.app is not None for node in graph.nodes if isinstance(node, ExtensionNode)}
    return given.pop() if len(given) == 1 else None


def _check_place(
    path: str, place: Place, declared: Declared, apps: bool | None
) -> Iterator[Problem]:
    parts = (place.extension, place.subgraph, place.selector)
    if parts.count(None) != 2:
        given = place.given()
        found = f", not {' and '.join(given)}" if given else ""
        yield Problem(path, f"needs exactly one of extension, subgraph, selector{found}")
        return
    at_app = f"{path}.app"
    if place.app == "localhost":
        hint = "leave it out to mean the app itself"
        yield Problem(at_app, '"localhost" names no app', hint)
    elif place.app == "":
        yield Problem(at_app, "is empty", "leave it out to mean the app that has the graph")
    elif place.app is not None and place.extension is None:
        yield Problem(at_app, f"has no meaning with a {place.type}")
    elif place.app is not None and apps is False:
        yield Problem(at_app, "is given, though no node has one")
    elif place.app is None and place.extension in declared.extensions and apps is True:
        yield Problem(at_app, "is missing, though the nodes have one")
    if missing := declared.missing(place):
        yield Problem(f"{path}.{place.type}", *missing)


def _check_flow(path: str, flow: Flow, strict: bool) -> Iterator[Problem]:
    if (flow.name is None) == (flow.names is None):
        yield Problem(path, "needs exactly one of name, names")
    elif flow.names is not None and not flow.names:
        yield Problem(f"{path}.names", "is empty")
    if not strict:
        return
    if (flow.dest is None) == (flow.source is None):
        yield Problem(path, "needs exactly one of dest, source")
    for side, ends in (("dest", flow.dest), ("source", flow.source)):
        if ends is not None and not ends:
            yield Problem(f"{path}.{side}", "is empty")
    if flow.names is not None and any(end.conversion for end in flow.dest or ()):
        yield Problem(path, "msg_conversion needs name, not names", "write one flow per name")


def _check_end(path: str, side: str, kind: Kind, end: Dest, strict: bool) -> Iterator[Problem]:
    """What only a dest may have."""
    for key, part in (("msg_conversion", end.conversion), ("flow", end.flow)):
        if part is None:
            continue
        here = f"{path}.{key}"
        if side == "source":
            hint = "write the flow from the sender, with dest"
            yield Problem(here, "has no place on a source", hint)
        yield from below(here, part.problems(kind))
        if strict and isinstance(part, Conversion):
            yield from _check_rule_paths(here, part)


def _check_rule_paths(path: str, conversion: Conversion) -> Iterator[Problem]:
    for index, rule in enumerate(conversion.rules):
        if not STRICT_PATH.fullmatch(rule.path) and not any(rule.path_problems()):
            hint = "names with dots between them, and [numbers]"
            yield Problem(f"{path}.rules[{index}].path", f'"{rule.path}" is not a path', hint)
    if conversion.result is not None:
        yield from _check_rule_paths(f"{path}.result", conversion.result)


def _check_edges(graph: Graph, declared: Declared) -> Iterator[Problem]:
    """What shows only edge by edge: exposures, and two conversions or policies of one message."""
    first: dict[tuple[object, ...], WrittenEdge] = {}
    for edge in written_edges(graph):
        source, dest = edge.source, edge.dest
        if declared.subgraphs:
            yield from _check_exposed(edge, source, "out", declared)
            yield from _check_exposed(edge, dest, "in", declared)
        ends = (source.type, source.name, source.app, dest.type, dest.name, dest.app)
        other = first.setdefault((edge.kind, edge.name, *ends), edge)
        if other is edge:
            continue
        for what in differences(edge, other):
            message = conflict(edge.kind, edge.name, dest.name, other.path, what)
            yield Problem(edge.path, message)


def delay_warnings(graph: Graph) -> list[Problem]:
    """Return the edges for audio on which delay can build up, as far as `graph` is well formed."""
    return [lag_problem(edge, edge.path) for edge in written_edges(graph) if can_lag(edge)]


def differences(edge: WrittenEdge | Edge, other: WrittenEdge | Edge) -> Iterator[str]:
    """Yield the keys in which two edges differ that lead from the same place to the same."""
    if edge.conversion != other.conversion:
        yield "msg_conversion"
    if edge.flow != other.flow:
        yield "flow"


def conflict(kind: Kind, name: str, dest: str, other: str, what: str) -> str:
    """Return the message for one edge that is written twice, differently."""
    return f'{kind} "{name}" reaches "{dest}" twice with different {what}: see {other}'


def _check_exposed(
    edge: WrittenEdge, place: Place, direction: str, declared: Declared
) -> Iterator[Problem]:
    node = declared.subgraphs.get(place.subgraph or "")
    if node is None or exposes(node.graph, edge.kind, direction, edge.name):
        return
    kind = f"{edge.kind}_{direction}"
    names = [e.name for e in node.graph.exposed_messages if e.type == kind]
    message = f'subgraph "{node.name}" doesn\'t expose {kind} "{edge.name}"'
    yield Problem(edge.path, message, did_you_mean(edge.name, names))
