"""Routes: which edges a message takes, and how they change while the graph runs.

The tables are plain dicts (message name to edges) that stay the same objects for good, so that a
sender may keep its own and look a name up without asking anybody. Every change happens wholly or
not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

import attrs

from ten_trio.errors import GraphError, Problem
from ten_trio.graphs.conversion import Conversion
from ten_trio.graphs.definition import KINDS
from ten_trio.graphs.flatten import Edge
from ten_trio.graphs.flow import circle_problem, says_wait, waiting_circles
from ten_trio.graphs.reading import did_you_mean

Table: TypeAlias = dict[str, tuple[Edge, ...]]
# source app, source, kind, name, dest app, dest: there is one edge of each.
EdgeKey: TypeAlias = tuple[str, str, str, str, str, str]


@attrs.frozen
class RouteChange:
    """What changed, in order: told to listeners after the tables have changed."""

    added: tuple[Edge, ...] = ()
    removed: tuple[Edge, ...] = ()


def edge_key(edge: Edge) -> EdgeKey:
    """Return what makes an edge the same edge: its ends, kind and name, not how it is taken."""
    return edge.source_app, edge.source, edge.kind, edge.name, edge.dest_app, edge.dest


class RouteManager:
    """The edges of one running graph, as seen from the app `app`.

    Args:
        edges: What the graph starts with.
        app: The app whose extensions send by these tables; edges that start in another app are
            kept (see `edges`, `conversion`) but are in no table.
        extensions: Names of the app's extensions. Given, edges from or to others are refused;
            None leaves that unchecked.

    Raises:
        GraphError: As `connect` does.
    """

    def __init__(
        self, edges: Iterable[Edge] = (), *, app: str = "", extensions: Iterable[str] | None = None
    ) -> None:
        self._app = app
        self._edges: dict[EdgeKey, Edge] = {}
        self._tables: dict[tuple[str, str], Table] = {}
        self._extensions = None if extensions is None else dict.fromkeys(extensions)
        self._listeners: list[Callable[[RouteChange], object]] = []
        self.connect(edges)

    @property
    def edges(self) -> tuple[Edge, ...]:
        """All edges, in the order in which they were added."""
        return tuple(self._edges.values())

    def __contains__(self, edge: Edge) -> bool:
        return self._edges.get(edge_key(edge)) == edge

    def table(self, source: str, kind: str) -> Table:
        """Return the live table of what extension `source` sends: name to edges, in order.

        Treat it as read-only. It stays valid when edges come and go, and when `source` is removed
        and added again.
        """
        return self._tables.setdefault((source, kind), {})

    def tables(self, source: str) -> Mapping[str, Table]:
        """Return the live tables of `source` by kind."""
        return {kind: self.table(source, kind) for kind in KINDS}

    def conversion(
        self, source_app: str, source: str, kind: str, name: str, dest: str
    ) -> Conversion | None:
        """Return how local extension `dest` wants this message from that sender, if converted."""
        edge = self._edges.get((source_app, source, kind, name, self._app, dest))
        return None if edge is None else edge.conversion

    def on_change(self, listener: Callable[[RouteChange], object]) -> Callable[[], None]:
        """Call `listener` after every change. Returns a function that ends it."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def connect(self, edges: Iterable[Edge]) -> RouteChange:
        """Add edges; those that are there already, alike, stay as they are.

        Raises:
            GraphError: An edge is there with another conversion or flow policy, an end is unknown,
                or edges would wait for each other in a circle. Nothing has changed then.
        """
        added: dict[EdgeKey, Edge] = {}
        problems: list[Problem] = []
        for edge in edges:
            key = edge_key(edge)
            earlier = self._edges.get(key) or added.get(key)
            if earlier is None:
                added[key] = edge
                problems += self._unknown_ends(edge)
            elif earlier.conversion != edge.conversion:
                hint = "disconnect it first"
                problems.append(Problem("", f"{edge} is there with another conversion", hint))
            elif earlier.flow != edge.flow:
                hint = "disconnect it first"
                problems.append(Problem("", f"{edge} is there with another flow policy", hint))
        if any(map(says_wait, added.values())):
            circles = waiting_circles([*self._edges.values(), *added.values()])
            problems += [circle_problem(circle) for circle in circles]
        if problems:
            raise GraphError(problems)
        return self._apply(RouteChange(added=tuple(added.values())))

    def disconnect(self, edges: Iterable[Edge]) -> RouteChange:
        """Remove edges (their conversions and flow policies don't matter).

        Raises:
            GraphError: An edge isn't there. Nothing has changed then.
        """
        wanted = {edge_key(edge): edge for edge in edges}
        problems = [
            Problem("", f"there is no {edge}")
            for key, edge in wanted.items()
            if key not in self._edges
        ]
        if problems:
            raise GraphError(problems)
        return self._apply(RouteChange(removed=tuple(self._edges[key] for key in wanted)))

    def add_extension(self, name: str) -> None:
        """Allow edges from and to `name`. Raises `GraphError` if it is there already."""
        if self._extensions is None:
            return
        if name in self._extensions:
            raise GraphError([Problem("", f'there is an extension "{name}" already')])
        self._extensions[name] = None

    def remove_extension(self, name: str) -> RouteChange:
        """Remove every edge from and to the app's extension `name`.

        Raises:
            GraphError: The manager knows its extensions, and `name` isn't one.
        """
        if self._extensions is not None and name not in self._extensions:
            raise GraphError([self._unknown(name)])
        removed = tuple(edge for edge in self._edges.values() if name in self._local_ends(edge))
        change = self._apply(RouteChange(removed=removed))
        if self._extensions is not None:
            del self._extensions[name]
        return change

    def _apply(self, change: RouteChange) -> RouteChange:
        for edge in change.removed:
            del self._edges[edge_key(edge)]
            others = [e for e in self._row(edge) if edge_key(e) != edge_key(edge)]
            self._set_row(edge, tuple(others))
        for edge in change.added:
            self._edges[edge_key(edge)] = edge
            self._set_row(edge, (*self._row(edge), edge))
        if change.added or change.removed:
            for listener in tuple(self._listeners):
                listener(change)
        return change

    def _row(self, edge: Edge) -> tuple[Edge, ...]:
        return self.table(edge.source, edge.kind).get(edge.name, ())

    def _set_row(self, edge: Edge, edges: tuple[Edge, ...]) -> None:
        if edge.source_app != self._app:
            return
        table = self.table(edge.source, edge.kind)
        if edges:
            table[edge.name] = edges
        else:
            table.pop(edge.name, None)

    def _local_ends(self, edge: Edge) -> Iterator[str]:
        if edge.source_app == self._app:
            yield edge.source
        if edge.dest_app == self._app:
            yield edge.dest

    def _unknown_ends(self, edge: Edge) -> Iterator[Problem]:
        if self._extensions is None:
            return
        for name in self._local_ends(edge):
            if name not in self._extensions:
                yield attrs.evolve(self._unknown(name), path=str(edge))

    def _unknown(self, name: str) -> Problem:
        known = self._extensions or {}
        return Problem("", f'unknown extension "{name}"', did_you_mean(name, known))
