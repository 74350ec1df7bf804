"""Flattening: from a graph as written to what runs, extensions and edges only.

Extension `e` inside subgraph node `s` becomes `s_e`, also several levels deep. Nodes and edges
keep the written order, inner edges before those of the graph around them; an edge written twice
counts once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from ten_trio.errors import GraphError, Problem
from ten_trio.graphs.check_connections import conflict, differences
from ten_trio.graphs.checks import check
from ten_trio.graphs.conversion import Conversion
from ten_trio.graphs.declared import Declared
from ten_trio.graphs.definition import (
    Addon,
    Connection,
    Dest,
    ExtensionNode,
    Flow,
    Graph,
    Kind,
    Place,
    SubgraphNode,
)
from ten_trio.graphs.flow import FlowPolicy, circle_problem, waiting_circles
from ten_trio.graphs.linking import link
from ten_trio.graphs.placeholders import resolve
from ten_trio.graphs.wiring import written_edges

# All extensions of an app that name no group share this one.
UNSPECIFIED_GROUP = "ten:unspecified_group"


@attrs.frozen
class FlatNode:
    """An extension to run. `app` is "" for the app that runs the graph, if it has no URI."""

    name: str
    addon: Addon
    group: str
    app: str
    property: Mapping[str, Any]
    settings: Mapping[str, Any]


@attrs.frozen
class Edge:
    """One message name from one extension to one other."""

    source_app: str
    source: str
    kind: Kind
    name: str
    dest_app: str
    dest: str
    conversion: Conversion | None = None
    flow: FlowPolicy | None = None

    def __str__(self) -> str:
        return f'{self.kind} "{self.name}" from "{self.source}" to "{self.dest}"'


@attrs.frozen
class Exposure:
    """A message that the graph exposes, at the extension that takes or sends it."""

    type: str
    name: str
    app: str
    extension: str


@attrs.frozen
class FlatGraph:
    """What runs. `exposed` keeps the exposed messages of the outermost graph."""

    nodes: tuple[FlatNode, ...] = ()
    edges: tuple[Edge, ...] = ()
    exposed: tuple[Exposure, ...] = ()

    @property
    def apps(self) -> tuple[str, ...]:
        """The URIs of the apps it runs in, in the order of the nodes."""
        return tuple(dict.fromkeys(node.app for node in self.nodes))

    def to_graph(self) -> Graph:
        """Return the same graph in written form, as another app needs it to take part."""
        graph = Graph()
        for node in self.nodes:
            group = "" if node.group == UNSPECIFIED_GROUP else node.group
            properties, settings = dict(node.property), dict(node.settings)
            graph.nodes.append(
                ExtensionNode(
                    node.name, node.addon, group, node.app or None, properties, settings=settings
                )
            )
        sections: dict[tuple[str, str], Connection] = {}
        flows: dict[tuple[object, ...], Flow] = {}
        for edge in self.edges:
            source = (edge.source_app, edge.source)
            if source not in sections:
                sections[source] = Connection(edge.source, app=edge.source_app or None)
            key = (*source, edge.kind, edge.name)
            if key not in flows:
                flows[key] = Flow(name=edge.name, dest=[])
                getattr(sections[source], edge.kind).append(flows[key])
            dests = flows[key].dest
            assert dests is not None
            app = edge.dest_app or None
            dests.append(Dest(edge.dest, app=app, conversion=edge.conversion, flow=edge.flow))
        graph.connections.extend(sections.values())
        for entry in self.exposed:
            graph.expose(entry.type, entry.name, entry.extension)
        return graph


def flatten(
    graph: Graph,
    base_dir: str | Path | None = None,
    app_uri: str | None = None,
    *,
    addons: Collection[str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> FlatGraph:
    """Read what `graph` imports, check it, and return what runs. `graph` is not changed.

    Args:
        graph: Built or read.
        base_dir: The app's folder, for import URIs.
        app_uri: The URI of the app that runs the graph, for nodes that name none.
        addons: The addons there are; None skips that check.
        environ: Replace placeholders in the URIs of apps from these variables; None leaves them.

    Raises:
        MissingVariable: A placeholder can't be replaced.
        GraphError: Its `problems` list everything that is wrong.
    """
    linked, problems = link(graph, base_dir)
    problems += check(linked, addons)
    if problems:
        raise GraphError(problems)
    flat = _Flattener(app_uri or "", environ)
    flat.add(linked, "", {})
    flat.check_circles()
    if flat.problems:
        raise GraphError(flat.problems)
    exposed = flat.exposures(linked)
    return FlatGraph(tuple(flat.nodes), tuple(flat.edges.values()), tuple(exposed))


class _Flattener:
    """Collects nodes and edges of a checked graph and of the graphs inside it."""

    def __init__(self, app_uri: str, environ: Mapping[str, str] | None) -> None:
        self.app_uri = app_uri
        self._environ = environ
        self.nodes: list[FlatNode] = []
        self.edges: dict[tuple[object, ...], Edge] = {}
        self.problems: list[Problem] = []
        self._names: dict[tuple[str, str], str] = {}
        self._written: dict[tuple[object, ...], str] = {}
        self._index: dict[int, Declared] = {}

    def add(self, graph: Graph, prefix: str, given: Mapping[str, Any], path: str = "") -> None:
        """Add `graph`, whose extensions get `prefix`; `given` sets what it exposes."""
        for index, node in enumerate(graph.nodes):
            here = f"{path}nodes[{index}]"
            if isinstance(node, ExtensionNode):
                self._add_node(node, prefix, _given_to(graph, node, given), here)
            elif isinstance(node, SubgraphNode):
                inner = _given_to(graph, node, given)
                self.add(node.graph, f"{prefix}{node.name}_", inner, f"{here}.graph.")
        declared = self._declared(graph)
        for written in written_edges(graph):
            kind, name = written.kind, written.name
            for source in self._ends(declared, prefix, written.source, f"{kind}_out", name):
                for dest in self._ends(declared, prefix, written.dest, f"{kind}_in", name):
                    edge = Edge(*source, kind, name, *dest, written.conversion, written.flow)
                    self._add_edge(edge, path + written.path)

    def exposures(self, graph: Graph) -> Iterator[Exposure]:
        """Yield the exposed messages of the outermost graph, each at its extension."""
        declared = self._declared(graph)
        for entry in graph.exposed_messages:
            place = Place(entry.extension, entry.subgraph)
            for app, extension in self._ends(declared, "", place, entry.type, entry.name):
                yield Exposure(entry.type, entry.name, app, extension)

    def _declared(self, graph: Graph) -> Declared:
        if id(graph) not in self._index:
            self._index[id(graph)] = Declared.of(graph)
        return self._index[id(graph)]

    def _add_node(
        self, node: ExtensionNode, prefix: str, properties: Mapping[str, Any], path: str
    ) -> None:
        app = self._app(node.app)
        name = prefix + node.name
        earlier = self._names.setdefault((app, name), path)
        if earlier != path:
            message = f'becomes "{name}", which {earlier} is called too'
            self.problems.append(Problem(f"{path}.name", message, "rename one of them"))
        group = node.extension_group or UNSPECIFIED_GROUP
        self.nodes.append(FlatNode(name, node.addon, group, app, properties, dict(node.settings)))

    def _app(self, written: str | None) -> str:
        if written and self._environ is not None:
            written = resolve(written, self._environ, "app of a node")
        return written or self.app_uri

    def _add_edge(self, edge: Edge, path: str) -> None:
        key = (edge.source_app, edge.source, edge.kind, edge.name, edge.dest_app, edge.dest)
        earlier = self.edges.setdefault(key, edge)
        first = self._written.setdefault(key, path)
        for what in differences(edge, earlier):
            message = conflict(edge.kind, edge.name, edge.dest, first, what)
            self.problems.append(Problem(path, message))

    def check_circles(self) -> None:
        """Note the circles in which everyone may wait for everyone else."""
        for circle in waiting_circles(self.edges.values()):
            last = circle[-1]
            key = (
                last.source_app,
                last.source,
                last.kind,
                last.name,
                last.dest_app,
                last.dest,
            )
            self.problems.append(circle_problem(circle, self._written[key]))

    def _ends(
        self, declared: Declared, prefix: str, place: Place, exposure: str, name: str
    ) -> Iterator[tuple[str, str]]:
        """Yield (app, extension) for everything that `place` means for one message."""
        if place.subgraph is not None:
            node = declared.subgraphs[place.subgraph]
            inner = self._declared(node.graph)
            for entry in node.graph.exposed_messages:
                if (entry.type, entry.name) == (exposure, name):
                    place_inside = Place(entry.extension, entry.subgraph)
                    below_it = f"{prefix}{node.name}_"
                    yield from self._ends(inner, below_it, place_inside, exposure, name)
            return
        extension = place.name
        if found := declared.inside(extension):
            node, rest = found
            inner = self._declared(node.graph)
            place_inside = Place(extension=rest)
            yield from self._ends(inner, f"{prefix}{node.name}_", place_inside, exposure, name)
            return
        app = self._app(place.app or declared.extensions[extension][0].app)
        yield app, prefix + extension


def _given_to(
    graph: Graph, node: ExtensionNode | SubgraphNode, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the properties of `node`, with what the graph around it sets through exposures."""
    properties = dict(node.property)
    for entry in graph.exposed_properties:
        target = entry.extension if isinstance(node, ExtensionNode) else entry.subgraph
        if target == node.name and entry.name in given:
            properties[entry.name] = _merged(properties.get(entry.name), given[entry.name])
    return properties


def _merged(old: Any, new: Any) -> Any:
    if not (isinstance(old, Mapping) and isinstance(new, Mapping)):
        return new
    return {**old, **{key: _merged(old.get(key), value) for key, value in new.items()}}
