"""What trials are about: a graph, with its app, and with what may be said to it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs

from ..errors import GraphError, Problem, TenError
from ..graphs import AppProperty, Graph, flatten, load_app_property, load_graph_file
from ..graphs.definition import Kind
from ..graphs.loading import read_text
from ..graphs.reading import parse_json
from ..messages import AudioFrame, Cmd, Data, Msg, VideoFrame
from ..runtime.addons import AppAddons
from ..runtime.metadata import MetadataStore
from ..schemas import ObjectSchema
from .trials import Say

Source: TypeAlias = "Graph | str | Path | Callable[[], Graph]"
"""A graph, a function that makes one, or a file: a graph's JSON, a property.json or an app folder."""

_KINDS: Final[Mapping[Kind, Callable[..., Msg]]] = {
    "cmd": Cmd,
    "data": Data,
    "audio_frame": AudioFrame,
    "video_frame": VideoFrame,
}


@attrs.frozen
class Phrase:
    """A message that may be said: where to, and with what.

    `properties` are those that it has, `schema` says what they may be; None for both: none.
    """

    kind: Kind
    name: str
    to: str = ""
    properties: Mapping[str, Any] | None = None
    schema: ObjectSchema | None = attrs.field(default=None, repr=False)
    size: int | None = None

    @classmethod
    def of(cls, msg: Msg, to: str = "") -> Phrase:
        """What that message is an example of. `to`: for one without a destination."""
        dests = [dest.extension_name or "" for dest in msg.get_dests()]
        kind: Any = msg.kind
        properties = json.loads(msg.get_property_to_json())
        size = len(msg.buf) if isinstance(msg, Data | AudioFrame | VideoFrame) else None
        return cls(kind, msg.name, dests[0] if dests else to, properties, None, size)


def message_of(say: Say, **route: Any) -> Msg:
    """The message that is said."""
    if say.kind == "cmd":
        return Cmd(say.name, say.properties, **route)
    return _KINDS[say.kind](say.name, say.properties, buf=bytes(say.size), **route)


@attrs.frozen
class Subject:
    """A graph to be tried."""

    graph: Graph
    app: AppProperty = attrs.field(factory=AppProperty)
    redirects: Mapping[str, str] = attrs.field(factory=dict)
    """See `App.open_graph`."""

    @property
    def extensions(self) -> tuple[str, ...]:
        """The names of those that run."""
        return tuple(node.name for node in self._flat().nodes)

    def _flat(self) -> Any:
        flat = flatten(self.graph, self.app.base_dir, app_uri=self.app.uri or "")
        if len(flat.apps) > 1:
            what = f"it spans several apps, and only one runs here: {', '.join(flat.apps)}"
            raise GraphError([Problem("nodes", what)])
        return flat

    def phrases(self) -> tuple[Phrase, ...]:
        """What the graph says may be said to it: what it exposes, and what goes along its edges.

        With the properties that the manifests of the addons declare, if any do.
        """
        flat = self._flat()
        wanted: dict[tuple[Kind, str, str], str] = {}
        for exposure in flat.exposed:
            kind, _, direction = exposure.type.rpartition("_")
            if direction == "in":
                wanted[kind, exposure.name, ""] = exposure.extension
        for edge in flat.edges:
            if edge.conversion is None:
                wanted[edge.kind, edge.name, edge.dest] = edge.dest
        schemas = self._schemas(flat.nodes)
        found = []
        for (kind, name, to), extension in wanted.items():
            known = schemas.get(extension)
            schema = known.message("in", kind, name) if known is not None else None
            found.append(Phrase(kind, name, to, schema=schema))
        return tuple(found)

    def _schemas(self, nodes: Iterable[Any]) -> dict[str, Any]:
        addons, store = AppAddons(), MetadataStore(self.app.base_dir)
        found = {}
        try:
            for node in nodes:
                try:
                    base_dir = addons.find(node.addon, self.app.base_dir).base_dir
                    found[node.name] = store.of(base_dir).schemas
                except TenError:
                    continue  # running it says so, and better
        finally:
            addons.close()
        return found


def subject_of(source: Source | Subject, name: str | None = None) -> Subject:
    """The graph of `source`: the one called `name`, if there are several.

    The app's URIs are left out: a trial listens nowhere but in memory.  Raises `GraphError`,
    `ConfigError`, `InvalidJson`.
    """
    if isinstance(source, Subject):
        return source
    if isinstance(source, Graph):
        return Subject(source, AppProperty(base_dir=source.base_dir))
    if not isinstance(source, str | Path):
        return subject_of(source())
    path = Path(source)
    if not _is_app(path):
        graph = load_graph_file(path, strict_names=False)
        return Subject(graph, AppProperty(base_dir=graph.base_dir))
    app = load_app_property(path)
    known = [each.name for each in app.predefined_graphs]
    found = [each for each in app.predefined_graphs if name in (None, each.name)]
    if len(found) != 1:
        what = f"no one graph {name or ''}".rstrip()
        raise GraphError([Problem("predefined_graphs", f"{what} in {path}", f"there is: {known}")])
    alone = attrs.evolve(app, uri=None, listen=[], one_event_loop_per_engine=False)
    return Subject(found[0].graph, alone)


def _is_app(path: Path) -> bool:
    if path.is_dir():
        return True
    data = parse_json(read_text(path), str(path))
    return isinstance(data, Mapping) and "nodes" not in data and ("ten" in data or "_ten" in data)


__all__ = ["Phrase", "Source", "Subject", "message_of", "subject_of"]
