"""Graphs that have been flattened already: the same graph is often run many times."""

from __future__ import annotations

import os
from pathlib import Path

from ..graphs import ExtensionNode, FlatGraph, Graph, flatten

_MOST = 64


class CompiledGraphs:
    """Remembers what the latest graphs of one app have been flattened to.

    A graph may have been changed since, so it is compared with a copy of what it was; a graph with
    subgraphs is flattened every time, since the files that it imports may have changed.
    """

    def __init__(self, base_dir: Path | None, app_uri: str) -> None:
        self._base_dir = base_dir
        self._app_uri = app_uri
        self._known: dict[int, tuple[Graph, FlatGraph]] = {}

    def flat(self, graph: Graph) -> FlatGraph:
        """What runs of `graph`. Raises `GraphError`, `MissingVariable`."""
        known = self._known.get(id(graph))
        if known is not None and known[0] == graph:
            return known[1]
        flat = flatten(
            graph, base_dir=self._base_dir, app_uri=self._app_uri or None, environ=os.environ
        )
        if all(isinstance(node, ExtensionNode) for node in graph.nodes) and not graph.import_uri:
            if len(self._known) >= _MOST:
                del self._known[next(iter(self._known))]
            self._known[id(graph)] = graph.copy(), flat
        return flat
