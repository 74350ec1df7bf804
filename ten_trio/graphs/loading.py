"""Graphs from JSON text and files, and back.

Two converters: property.json and graph files are held to strict rules, the JSON of start_graph
(which programs write) tolerates unknown keys unless they look like a slip.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs
import cattrs

from ten_trio.errors import ConfigError, GraphError, Problem
from ten_trio.graphs.checks import check
from ten_trio.graphs.definition import (
    NODE_TYPES,
    Addon,
    ExtensionNode,
    Graph,
    Node,
    PredefinedGraph,
    SelectorNode,
    SubgraphNode,
)
from ten_trio.graphs.reading import (
    JsonObject,
    Unreadable,
    blank,
    did_you_mean,
    make_converter,
    parse_json,
    read,
    without_consequences,
    wrong_type,
)


def read_graph(
    source: str | bytes | Mapping[str, Any],
    where: str = "",
    *,
    strict_names: bool = False,
    base_dir: Path | None = None,
    file: Path | None = None,
) -> Graph:
    """Read a graph; see `Graph.from_json`. `base_dir` and `file` are noted on it."""
    data = parse_json(source, where) if isinstance(source, str | bytes) else source
    graph, problems = read(STRICT if strict_names else LENIENT, data, Graph)
    if graph is None:
        raise GraphError(located(problems, where))
    graph.file, graph.base_dir = file, base_dir
    if problems:
        raise GraphError(located(with_checks(problems, graph, strict_names), where))
    return graph


def load_graph_file(path: str | Path, *, strict_names: bool = True) -> Graph:
    """Read a graph from a JSON file.

    Raises:
        ConfigError: The file can't be read.
        InvalidJson: It is not JSON.
        GraphError: It isn't a graph, see `Graph.from_json`.
    """
    file = Path(path).resolve()
    text = read_text(file)
    return read_graph(text, str(path), strict_names=strict_names, base_dir=file.parent, file=file)


def write_graph(graph: Graph) -> JsonObject:
    """Return `graph` as JSON objects. Raises `GraphError` if an addon is a Python object."""
    problems = list(_python_addons(graph, ""))
    if problems:
        raise GraphError(problems)
    written: JsonObject = STRICT.unstructure(graph)
    return written


def read_text(file: Path) -> str:
    """Return the text of `file`. Raises `ConfigError` if it can't be read."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{file}: {reason}", file=str(file)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8: {error}", file=str(file)) from error


def located(problems: Iterable[Problem], where: str) -> list[Problem]:
    """Put the name of a document before the paths of `problems`."""
    if not where:
        return list(problems)
    return [attrs.evolve(p, path=f"{where}: {p.path}" if p.path else where) for p in problems]


def with_checks(problems: Collection[Problem], graph: Graph, strict_names: bool) -> list[Problem]:
    """Add to what reading found what `check` finds in the rest, except consequences of it."""
    found = check(graph, strict_names=strict_names)
    return [*problems, *without_consequences(found, problems)]


def _python_addons(graph: Graph, path: str) -> Iterable[Problem]:
    for index, node in enumerate(graph.nodes):
        here = f"{path}nodes[{index}]"
        if isinstance(node, ExtensionNode) and not isinstance(node.addon, str):
            name = getattr(node.addon, "__name__", repr(node.addon))
            hint = "register it as an addon and use its name"
            yield Problem(f"{here}.addon", f"{name} is a Python object, not a name", hint)
        elif isinstance(node, SubgraphNode):
            yield from _python_addons(node.graph, f"{here}.graph.")


def _graph_converter(*, strict_keys: bool) -> cattrs.Converter:
    converter = make_converter(strict_keys=strict_keys)

    def structure_node(data: Any, _: Any) -> Node:
        if not isinstance(data, Mapping):
            raise wrong_type(data, "an object")
        kind = data.get("type")
        cls = NODE_TYPES.get(kind) if isinstance(kind, str) else None
        if cls is not None:
            return converter.structure(data, cls)
        raise Unreadable([_unknown_type(data, kind)], blank(ExtensionNode))

    def structure_predefined(data: Any, cls: type[PredefinedGraph]) -> PredefinedGraph:
        if isinstance(data, Mapping) and "graph" not in data and "nodes" in data:
            hint = 'move "nodes", "connections" and what is exposed into "graph"'
            name = data.get("name")
            partial = PredefinedGraph(name if isinstance(name, str) else "")
            raise Unreadable([Problem("graph", "is missing", hint)], partial)
        return generic(data, cls)

    generic: Callable[[Any, Any], PredefinedGraph] = converter.get_structure_hook(PredefinedGraph)
    converter.register_structure_hook(PredefinedGraph, structure_predefined)
    converter.register_structure_hook_func(lambda kind: kind == Node, structure_node)
    converter.register_structure_hook_func(
        lambda kind: kind == Addon, lambda value, _: converter.structure(value, str)
    )
    converter.register_unstructure_hook_func(lambda kind: kind == Addon, lambda addon: addon)
    for cls in (ExtensionNode, SubgraphNode, SelectorNode):
        converter.register_unstructure_hook(cls, _tagged(cls, converter))
    converter.register_unstructure_hook_func(
        lambda kind: kind == Node, lambda node: converter.unstructure(node, type(node))
    )
    return converter


def _unknown_type(data: Mapping[str, Any], kind: object) -> Problem:
    if "type" not in data:
        return Problem("type", "is missing", did_you_mean("", NODE_TYPES))
    if kind == "extension_group":
        hint = "a group has no node: name it in the extension_group of its extensions"
        return Problem("type", "groups aren't nodes", hint)
    hint = did_you_mean(kind, NODE_TYPES) if isinstance(kind, str) else ""
    return Problem("type", f"unknown node type {kind!r}", hint)


def _tagged(cls: type[Node], converter: cattrs.Converter) -> Any:
    plain = converter.get_unstructure_hook(cls)
    return lambda node: {"type": cls.type, **plain(node)}


STRICT = _graph_converter(strict_keys=True)
LENIENT = _graph_converter(strict_keys=False)
