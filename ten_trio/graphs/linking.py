"""Linking: reading the graphs that a graph imports, so that the rest needs no files.

An import URI is a path relative to the file it stands in, `file://...`, or starts with
`${app_base_dir}`. Nothing is fetched from the network: what a graph is made of should not depend
on a server at the moment it starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import attrs

from ten_trio.errors import ConfigError, GraphError, InvalidJson, Problem
from ten_trio.graphs.definition import Graph, Node, SubgraphNode
from ten_trio.graphs.loading import load_graph_file
from ten_trio.graphs.reading import below, join_path

APP_BASE_DIR = "${app_base_dir}"


def link(graph: Graph, base_dir: str | Path | None = None) -> tuple[Graph, list[Problem]]:
    """Return `graph` with everything it imports read in, and what went wrong.

    `base_dir` is the app's folder; relative URIs start there unless the graph knows the file it
    came from. `graph` itself is not changed. An import that fails stays as it was.
    """
    linker = _Linker(None if base_dir is None else Path(base_dir).resolve())
    return linker.link(graph, "", linker.app_base_dir, (id(graph),)), linker.problems


class _Linker:
    def __init__(self, app_base_dir: Path | None) -> None:
        self.app_base_dir = app_base_dir
        self.problems: list[Problem] = []

    def link(
        self, graph: Graph, path: str, folder: Path | None, chain: Sequence[Path | int]
    ) -> Graph:
        """Link one graph.

        `folder` is where it stands. `chain` is what is being read: files, and the ids of graphs
        built in Python.
        """
        folder = graph.base_dir or folder
        while graph.import_uri is not None:
            loaded = self._load(graph.import_uri, path, folder, chain)
            if loaded is None:
                return graph
            graph, chain, folder = loaded, (*chain, _identity(loaded)), loaded.base_dir
        nodes = [
            self._link_node(node, join_path(path, "nodes") + f"[{index}].graph", folder, chain)
            for index, node in enumerate(graph.nodes)
        ]
        return attrs.evolve(graph, nodes=nodes)

    def _link_node(
        self, node: Node, path: str, folder: Path | None, chain: Sequence[Path | int]
    ) -> Node:
        if not isinstance(node, SubgraphNode):
            return node
        if id(node.graph) in chain:
            self.problems.append(Problem(path, "the graph contains itself"))
            return attrs.evolve(node, graph=Graph())
        return attrs.evolve(
            node, graph=self.link(node.graph, path, folder, (*chain, id(node.graph)))
        )

    def _load(
        self, uri: str, path: str, folder: Path | None, chain: Sequence[Path | int]
    ) -> Graph | None:
        here = join_path(path, "import_uri")
        file = self._locate(uri, folder, here)
        if file is None:
            return None
        if file in chain:
            names = [part.name for part in chain if isinstance(part, Path)]
            self._problem(here, f"imports itself: {' -> '.join([*names, file.name])}")
            return None
        try:
            return load_graph_file(file)
        except GraphError as error:
            # The paths of these problems begin with the file, and say enough.
            self.problems += below(here, [_of_file(p, file) for p in error.problems])
        except (ConfigError, InvalidJson) as error:
            self._problem(here, str(error))
        return None

    def _locate(self, uri: str, folder: Path | None, here: str) -> Path | None:
        text = uri
        if uri.startswith(APP_BASE_DIR):
            folder = self.app_base_dir
            text = uri.removeprefix(APP_BASE_DIR).lstrip("/")
        scheme = urlsplit(text).scheme
        if scheme in ("http", "https"):
            hint = "download it and give its path"
            self._problem(here, f"graphs aren't imported over the network: {uri}", hint)
            return None
        if scheme == "file":
            text = unquote(urlsplit(text).path)
        elif len(scheme) > 1:  # a single letter is a Windows drive
            self._problem(here, f'can\'t import "{scheme}:": {uri}', "give a path or a file:// URI")
            return None
        if not text:
            self._problem(here, "names no file")
            return None
        file = Path(text)
        if file.is_absolute():
            return file.resolve()
        if folder is None:
            hint = "pass base_dir, or give an absolute path"
            self._problem(here, f"relative to an unknown folder: {uri}", hint)
            return None
        return (folder / file).resolve()

    def _problem(self, path: str, message: str, hint: str = "") -> None:
        self.problems.append(Problem(path, message, hint))


def _identity(graph: Graph) -> Path | int:
    return graph.file if graph.file is not None else id(graph)


def _of_file(problem: Problem, file: Path) -> Problem:
    place = problem.path.removeprefix(f"{file}").removeprefix(": ")
    return Problem("", f"{file.name}: {place}: {problem.message}", problem.hint)
