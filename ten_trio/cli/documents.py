"""What the command line is given: an app folder, a property.json or a graph, read with all its problems.

A faulty document isn't refused here: it is read as far as it goes, so that everything wrong with it
can be listed at once and what there is of it can be drawn.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from ..errors import GraphError, Problem
from ..graphs import AppProperty, Graph, check, delay_warnings, flatten, link
from ..graphs.app_property import FILE_NAME, LEGACY_TEN, TEN
from ..graphs.loading import LENIENT, STRICT, read_text
from ..graphs.reading import below, parse_json, read, without_consequences
from ..network.settings_file import network_problems
from ..observe.log_config import LogConfigError, read_log_config

_APP_MARKS = ("manifest.json", "ten_packages", "extensions")


@attrs.frozen
class NamedGraph:
    """A graph of a document: what it is called, and its JSON path in there ("" if it is all)."""

    name: str
    graph: Graph
    where: str = ""
    auto_start: bool = False


@attrs.define
class Document:
    """A document that was read, perhaps in part.

    `file` is None for an app folder without property.json. `app` is what a property.json says, None for a bare graph.
    `problems` are the errors found in reading it.
    """

    given: Path
    file: Path | None
    base_dir: Path
    graphs: list[NamedGraph] = attrs.field(factory=list)
    problems: list[Problem] = attrs.field(factory=list)
    app: AppProperty | None = None

    @property
    def is_app(self) -> bool:
        """Whether it belongs to an app folder, so that its addons ought to be there."""
        if self.given.is_dir():
            return True
        return any((self.base_dir / mark).exists() for mark in _APP_MARKS)

    def choose(self, name: str | None) -> NamedGraph:
        """The graph called `name`, or the only one. Raises `GraphError`."""
        found = [graph for graph in self.graphs if name in (None, graph.name)]
        if len(found) == 1:
            return found[0]
        names = ", ".join(graph.name for graph in self.graphs) or "none that can be read"
        if name is not None and not found:
            raise GraphError(
                Problem("", f'no graph "{name}" in {self.given}', f"there is: {names}")
            )
        raise GraphError(Problem("", f"no one graph in {self.given}", f"there is: {names}"))

    def warnings(self) -> list[Problem]:
        """What is no mistake, but might be meant otherwise."""
        return [
            problem
            for named in self.graphs
            for problem in below(named.where, delay_warnings(named.graph))
        ]

    def inspect(self, addons: Collection[str]) -> tuple[list[Problem], list[Problem]]:
        """Return every problem, imported graphs included, and the nodes whose addon isn't in `addons`."""
        problems = list(self.problems)
        unknown: list[Problem] = []
        for named in self.graphs:
            linked, found = link(named.graph, self.base_dir)
            strict = self.app is not None
            plain = check(linked, strict_names=strict)
            found += plain
            if not found and not self.problems:
                found += _flattening_problems(linked, self.base_dir)
            found = without_consequences(below(named.where, found), self.problems)
            problems += [problem for problem in found if problem not in problems]
            with_addons = check(linked, addons, strict_names=strict)
            unknown += below(named.where, [each for each in with_addons if each not in plain])
        problems += self._log_problems()
        if self.app is not None:
            problems += without_consequences(network_problems(self.app), problems)
        return problems, unknown

    def _log_problems(self) -> Iterator[Problem]:
        if self.app is None or self.app.log is None:
            return
        key = LEGACY_TEN if self.app.legacy_key else TEN
        try:
            read_log_config(self.app.log, f"{key}.log")
        except LogConfigError as error:
            yield from error.problems


def read_document(given: Path) -> Document:
    """Read an app folder, a property.json, or a JSON file with a graph.

    Raises:
        ConfigError: The file can't be read.
        InvalidJson: It is not JSON.
    """
    file = given / FILE_NAME if given.is_dir() else given
    if given.is_dir() and not file.exists():
        base_dir = given.resolve()
        return Document(given, None, base_dir, app=AppProperty(base_dir=base_dir))
    data = parse_json(read_text(file), str(file))
    document = Document(given, file, file.resolve().parent)
    if _is_property(data, file):
        _read_property(document, data)
    else:
        _read_graph(document, data)
    for named in document.graphs:
        named.graph.file, named.graph.base_dir = file.resolve(), document.base_dir
    return document


def _is_property(data: Any, file: Path) -> bool:
    if not isinstance(data, Mapping):
        return file.name == FILE_NAME
    return TEN in data or LEGACY_TEN in data or (file.name == FILE_NAME and "nodes" not in data)


def _read_property(document: Document, data: Any) -> None:
    file = document.file
    try:
        document.app = AppProperty.from_json(data, base_dir=document.base_dir, file=file)
    except GraphError as error:
        document.problems = list(error.problems)
        section = data.get(TEN, data.get(LEGACY_TEN)) if isinstance(data, Mapping) else None
        partial = read(STRICT, section, AppProperty)[0]
        document.app = partial or AppProperty()
        document.app.legacy_key = isinstance(data, Mapping) and TEN not in data
    key = LEGACY_TEN if document.app.legacy_key else TEN
    document.graphs = [
        NamedGraph(each.name, each.graph, f"{key}.predefined_graphs[{i}].graph", each.auto_start)
        for i, each in enumerate(document.app.predefined_graphs)
    ]


def _read_graph(document: Document, data: Any) -> None:
    # An entry of predefined_graphs by itself is as good as its graph.
    where = "graph" if isinstance(data, Mapping) and "nodes" not in data and "graph" in data else ""
    graph, problems = read(LENIENT, data[where] if where else data, Graph)
    document.problems = below(where, problems)
    if graph is not None:
        document.graphs = [NamedGraph(document.given.stem, graph, where, auto_start=True)]


def _flattening_problems(graph: Graph, base_dir: Path) -> list[Problem]:
    try:
        flatten(graph, base_dir)
    except GraphError as error:
        return list(error.problems)
    return []


__all__ = ["Document", "NamedGraph", "read_document"]
