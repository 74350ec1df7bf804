"""What a graph declares, indexed by name: the check and the flattening look places up here."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from ten_trio.graphs.definition import (
    ExtensionNode,
    Graph,
    Kind,
    Place,
    SelectorNode,
    SubgraphNode,
)
from ten_trio.graphs.reading import did_you_mean


@attrs.frozen
class Declared:
    """The nodes of one graph by name. `complete`: no name was lost when the graph was read."""

    extensions: dict[str, list[ExtensionNode]]
    subgraphs: dict[str, SubgraphNode]
    selectors: dict[str, SelectorNode]
    complete: bool

    @classmethod
    def of(cls, graph: Graph) -> Declared:
        """Index the nodes of `graph`; of several subgraphs with one name the first counts."""
        extensions: dict[str, list[ExtensionNode]] = {}
        subgraphs: dict[str, SubgraphNode] = {}
        selectors: dict[str, SelectorNode] = {}
        for node in graph.nodes:
            if isinstance(node, ExtensionNode):
                extensions.setdefault(node.name, []).append(node)
            elif isinstance(node, SubgraphNode):
                subgraphs.setdefault(node.name, node)
            else:
                selectors.setdefault(node.name, node)
        complete = graph.import_uri is None and all(node.name for node in graph.nodes)
        return cls(extensions, subgraphs, selectors, complete)

    def inside(self, name: str) -> tuple[SubgraphNode, str] | None:
        """Split `sub:ext`, if `sub` is a subgraph and the whole isn't an extension's own name."""
        sub, colon, rest = name.partition(":")
        if not colon or name in self.extensions or sub not in self.subgraphs:
            return None
        return self.subgraphs[sub], rest

    def missing(self, place: Place) -> tuple[str, str] | None:
        """Return (message, hint) if `place` isn't declared, else None.

        What lies in a graph that has not been read yet counts as declared.
        """
        if not self.complete:
            return None
        kind, name = place.type, place.name
        if kind == "extension" and name in self.extensions:
            return self._other_app(place)
        known: dict[str, Collection[str]] = {
            "extension": self.extensions,
            "subgraph": self.subgraphs,
            "selector": self.selectors,
        }
        if kind != "extension":
            if name in known[kind]:
                return None
        elif (inner := self.inside(name)) is not None:
            subgraph, rest = inner
            found = Declared.of(subgraph.graph).missing(Place(extension=rest))
            return found and (f'unknown extension "{name}"', found[1])
        for other, names in known.items():
            if other != kind and name in names:
                return f'unknown {kind} "{name}"', f'it is a {other}: write {{"{other}": "{name}"}}'
        return f'unknown {kind} "{name}"', did_you_mean(name, known[kind])

    def _other_app(self, place: Place) -> tuple[str, str] | None:
        if not place.app:
            return None
        apps = {node.app for node in self.extensions[place.name]}
        if place.app in apps or None in apps:
            return None
        hint = did_you_mean(place.app, [app for app in apps if app])
        return f'no extension "{place.name}" in app "{place.app}"', hint


def exposes(graph: Graph, kind: Kind, direction: str, name: str) -> bool:
    """Tell whether `graph` exposes a message ("in" or "out"). A graph not yet read may."""
    if graph.import_uri is not None:
        return True
    wanted = f"{kind}_{direction}"
    return any(e.type == wanted and e.name == name for e in graph.exposed_messages)
