"""Checks: everything that is wrong with a graph, at once.

Each check is a generator of problems whose paths start at the graph. What a graph imports is
checked as far as it has been read (`link`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import attrs

from ten_trio.errors import Problem
from ten_trio.graphs.check_connections import check_connections
from ten_trio.graphs.declared import Declared
from ten_trio.graphs.definition import (
    EXPOSURE_TYPES,
    GRAPH_PROXY,
    ExposedMessage,
    ExposedProperty,
    ExtensionNode,
    Graph,
    Node,
    Place,
    PredefinedGraph,
    SelectorNode,
    SubgraphNode,
)
from ten_trio.graphs.reading import below, did_you_mean, join_path

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check(
    graph: Graph,
    addons: Collection[str] | None = None,
    *,
    strict_names: bool = False,
    where: str = "",
) -> list[Problem]:
    """Return every problem of `graph`, with JSON paths that start with `where`.

    Args:
        graph: Built or read; it is not changed.
        addons: The addons there are; None skips that check.
        strict_names: Apply the rules of property.json too: identifiers only, no null, one side
            per flow.
        where: The JSON path of the graph in its document.
    """
    declared = Declared.of(graph)
    checks: list[Callable[[], Iterable[Problem]]] = [
        lambda: _check_import(graph),
        lambda: _check_nodes(graph, addons),
        lambda: _check_apps(graph),
        lambda: check_connections(graph, declared, strict_names),
        lambda: _check_exposures(graph, declared),
    ]
    if strict_names:
        checks.append(lambda: _check_names(graph))
    problems = [problem for run in checks for problem in run()]
    for index, node in enumerate(graph.nodes):
        if isinstance(node, SubgraphNode) and node.graph.import_uri is None:
            problems += _check_inner(node, f"nodes[{index}]", addons, strict_names)
    return below(where, problems)


def check_predefined(
    predefined: PredefinedGraph, addons: Collection[str] | None = None, where: str = ""
) -> list[Problem]:
    """Return every problem of a predefined graph, by the rules of property.json."""
    problems = [*_identifier("name", predefined.name, "a graph's name")]
    if predefined.sync_stop_before_deinit and len(apps_of(predefined.graph)) > 1:
        message = "works in one app only, and this graph spans several"
        problems.append(Problem("sync_stop_before_deinit", message))
    problems += check(predefined.graph, addons, strict_names=True, where="graph")
    return below(where, problems)


def apps_of(graph: Graph) -> set[str]:
    """Return the URIs of the apps that the nodes of `graph` name."""
    return {node.app for node in graph.nodes if isinstance(node, ExtensionNode) and node.app}


def null_problems(value: Any, path: str) -> Iterator[Problem]:
    """Yield a problem for every null in `value`: property.json has none."""
    if value is None:
        yield Problem(path, "null is not allowed", "leave the key out")
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from null_problems(item, join_path(path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from null_problems(item, f"{path}[{index}]")


def _check_inner(
    node: SubgraphNode, path: str, addons: Collection[str] | None, strict_names: bool
) -> Iterator[Problem]:
    found = check(node.graph, addons, strict_names=strict_names, where=f"{path}.graph")
    file = node.graph.file
    for problem in found:
        yield (
            problem
            if file is None
            else attrs.evolve(problem, message=f"{problem.message} (in {file.name})")
        )
    exposed = [entry.name for entry in node.graph.exposed_properties]
    for key in node.property:
        if key not in exposed:
            message = f'the subgraph exposes no property "{key}"'
            here = join_path(f"{path}.property", key)
            yield Problem(here, message, did_you_mean(key, exposed))


def _check_import(graph: Graph) -> Iterator[Problem]:
    if graph.import_uri is None:
        return
    if not graph.import_uri:
        yield Problem("import_uri", "is empty")
    parts = ("nodes", "connections", "exposed_messages", "exposed_properties")
    given = [part for part in parts if getattr(graph, part)]
    if given:
        yield Problem("import_uri", f"excludes {', '.join(given)}: an imported graph is complete")


def _check_nodes(graph: Graph, addons: Collection[str] | None) -> Iterator[Problem]:
    first: dict[tuple[str, str | None, str], tuple[int, Node]] = {}
    for index, node in enumerate(graph.nodes):
        path = f"nodes[{index}]"
        if not node.name:
            yield Problem(f"{path}.name", "is empty")
        app = node.app if isinstance(node, ExtensionNode) else None
        key = (node.type, app, node.name)
        earlier, other = first.setdefault(key, (index, node))
        if earlier != index and node.name:
            yield _duplicate(path, node, earlier, other)
        if isinstance(node, ExtensionNode):
            yield from _check_addon(f"{path}.addon", node, addons)
            if node.name == GRAPH_PROXY and graph.exposed_messages:
                message = "is added by the runtime because of exposed_messages"
                yield Problem(f"{path}.name", f'"{GRAPH_PROXY}" {message}', "leave it out")
        elif isinstance(node, SelectorNode):
            yield from below(f"{path}.filter", node.filter.problems())


def _duplicate(path: str, node: Node, earlier: int, other: Node) -> Problem:
    message = f'duplicate {node.type} "{node.name}": nodes[{earlier}] has this name'
    if isinstance(node, ExtensionNode) and isinstance(other, ExtensionNode):
        if node.app:
            message += f' in app "{node.app}"'
        if node.addon != other.addon:
            message += ", with another addon"
    return Problem(f"{path}.name", message)


def _check_addon(
    path: str, node: ExtensionNode, addons: Collection[str] | None
) -> Iterator[Problem]:
    if not isinstance(node.addon, str):
        return
    if not node.addon:
        yield Problem(path, "is empty")
    elif addons is not None and node.addon not in addons and node.addon != GRAPH_PROXY:
        hint = did_you_mean(node.addon, addons) or "is it installed?"
        yield Problem(path, f'unknown addon "{node.addon}"', hint)


def _check_apps(graph: Graph) -> Iterator[Problem]:
    nodes = [(i, node) for i, node in enumerate(graph.nodes) if isinstance(node, ExtensionNode)]
    some = any(node.app is not None for _, node in nodes)
    for index, node in nodes:
        path = f"nodes[{index}].app"
        if node.app is None:
            if some:
                yield Problem(path, "is missing, though other nodes have one")
        elif problem := app_problem(path, node.app):
            yield problem


def app_problem(path: str, app: str) -> Problem | None:
    """Return what is wrong with `app` as the URI of an app, if anything."""
    if not app:
        return Problem(path, "is empty", "leave it out to mean the app that has the graph")
    if app == "localhost":
        return Problem(path, '"localhost" names no app', "leave it out to mean the app itself")
    return None


def _check_exposures(graph: Graph, declared: Declared) -> Iterator[Problem]:
    for index, message in enumerate(graph.exposed_messages):
        path = f"exposed_messages[{index}]"
        if message.type not in EXPOSURE_TYPES:
            hint = did_you_mean(message.type, EXPOSURE_TYPES)
            yield Problem(f"{path}.type", f'unknown type "{message.type}"', hint)
        yield from _check_exposed(path, message, declared)
        yield from _check_forwarded(path, message, declared)
    for index, entry in enumerate(graph.exposed_properties):
        path = f"exposed_properties[{index}]"
        yield from _check_exposed(path, entry, declared)
        inner = declared.subgraphs.get(entry.subgraph or "")
        if inner is not None and inner.graph.import_uri is None:
            names = [e.name for e in inner.graph.exposed_properties]
            if entry.name not in names:
                message_ = f'subgraph "{inner.name}" exposes no property "{entry.name}"'
                yield Problem(f"{path}.name", message_, did_you_mean(entry.name, names))


def _check_exposed(
    path: str, entry: ExposedMessage | ExposedProperty, declared: Declared
) -> Iterator[Problem]:
    if (entry.extension is None) == (entry.subgraph is None):
        yield Problem(path, "needs exactly one of extension, subgraph")
        return
    place = Place(entry.extension, entry.subgraph)
    if isinstance(entry, ExposedProperty) and declared.inside(entry.extension or ""):
        hint = "expose it in the subgraph, and here by subgraph"
        yield Problem(f"{path}.extension", "lies in a subgraph", hint)
        return
    if missing := declared.missing(place):
        yield Problem(f"{path}.{place.type}", *missing)


def _check_forwarded(path: str, message: ExposedMessage, declared: Declared) -> Iterator[Problem]:
    inner = declared.subgraphs.get(message.subgraph or "")
    if inner is None or message.extension is not None or message.type not in EXPOSURE_TYPES:
        return
    if inner.graph.import_uri is not None:
        return
    if not any(
        (e.type, e.name) == (message.type, message.name) for e in inner.graph.exposed_messages
    ):
        names = [e.name for e in inner.graph.exposed_messages if e.type == message.type]
        text = f'subgraph "{inner.name}" doesn\'t expose {message.type} "{message.name}"'
        yield Problem(f"{path}.name", text, did_you_mean(message.name, names))


def _check_names(graph: Graph) -> Iterator[Problem]:
    for index, node in enumerate(graph.nodes):
        path = f"nodes[{index}]"
        yield from _identifier(f"{path}.name", node.name, "a node's name")
        if isinstance(node, ExtensionNode):
            if isinstance(node.addon, str):
                yield from _identifier(f"{path}.addon", node.addon, "an addon's name")
            group = node.extension_group
            yield from _identifier(f"{path}.extension_group", group, "a group's name")
        if not isinstance(node, SelectorNode):
            yield from null_problems(node.property, f"{path}.property")
    for index, connection in enumerate(graph.connections):
        for kind, position, flow in connection.flows():
            path = f"connections[{index}].{kind}[{position}]"
            if flow.name is not None:
                yield from _identifier(f"{path}.name", flow.name, "a message's name", empty=True)
            for number, name in enumerate(flow.names or ()):
                here = f"{path}.names[{number}]"
                yield from _identifier(here, name, "a message's name", empty=True)
    for field in ("exposed_messages", "exposed_properties"):
        for index, entry in enumerate(getattr(graph, field)):
            yield from _identifier(f"{field}[{index}].name", entry.name, "a name", empty=True)


def _identifier(path: str, name: str, what: str, *, empty: bool = False) -> Iterator[Problem]:
    """`empty`: whether an empty name is for this check to report (others do it otherwise)."""
    if (name or empty) and not IDENTIFIER.fullmatch(name):
        hint = "letters, digits and _, and no digit first"
        yield Problem(path, f'"{name}" can\'t be {what}', hint)
