"""What a graph is made of: nodes, connections, exposures. Pure data, and a builder for it.

The classes mirror the JSON of property.json and start_graph; what Python has and JSON hasn't (a
class as an addon, settings of a node) is marked. Nothing is checked here: a graph may be built in
any order, and `check` then tells everything that is wrong with it.

    graph = Graph()
    rtc = graph.node("rtc", "agora_rtc", group="io")
    asr = graph.node("asr", "deepgram_asr", property={"language": "en"})
    graph.connect(rtc, asr, audio_frame="pcm_frame")
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias

import attrs

from ten_trio.display import Displayed
from ten_trio.errors import InvalidArgument
from ten_trio.graphs.conversion import Conversion
from ten_trio.graphs.flow import FlowPolicy
from ten_trio.graphs.reading import JSON_NAME, PYTHON_ONLY, REQUIRED
from ten_trio.graphs.selectors import Filter

Kind: TypeAlias = Literal["cmd", "data", "audio_frame", "video_frame"]

KINDS: tuple[Kind, ...] = ("cmd", "data", "audio_frame", "video_frame")
EXPOSURE_TYPES = tuple(f"{kind}_{direction}" for kind in KINDS for direction in ("in", "out"))
GRAPH_PROXY = "ten:graph_proxy"

# An addon's name, or in Python the extension class or factory itself.
Addon: TypeAlias = str | Callable[..., Any]
Names: TypeAlias = str | Iterable[str]


# Where something was loaded from is no part of what it is.
_FROM_FILE: Any = {"metadata": {PYTHON_ONLY: True}, "kw_only": True, "eq": False, "repr": False}


@attrs.define
class ExtensionNode:
    """An extension of the graph. `settings` (Python only, not saved) are the runtime's options."""

    type: ClassVar = "extension"
    json_tags: ClassVar = ("type",)

    name: str
    addon: Addon
    extension_group: str = ""
    app: str | None = None
    property: dict[str, Any] = attrs.field(factory=dict)
    settings: dict[str, Any] = attrs.field(factory=dict, kw_only=True, metadata={PYTHON_ONLY: True})


@attrs.define
class SubgraphNode:
    """A graph inside the graph: written out, or `Graph(import_uri=...)`.

    `property` sets what the inner graph exposes in `exposed_properties`.
    """

    type: ClassVar = "subgraph"
    json_tags: ClassVar = ("type",)

    name: str
    graph: Graph
    property: dict[str, Any] = attrs.field(factory=dict)


@attrs.define
class SelectorNode:
    """A name for all the nodes that `filter` matches."""

    type: ClassVar = "selector"
    json_tags: ClassVar = ("type",)

    name: str
    filter: Filter


Node: TypeAlias = ExtensionNode | SubgraphNode | SelectorNode
NODE_TYPES: Mapping[str, type[Node]] = {
    cls.type: cls for cls in (ExtensionNode, SubgraphNode, SelectorNode)
}


@attrs.define
class Place:
    """Where an edge starts or ends: exactly one of extension, subgraph, selector.

    `extension` may be `sub:ext`, an extension inside the subgraph `sub`.
    """

    extension: str | None = None
    subgraph: str | None = None
    selector: str | None = None
    app: str | None = None

    def given(self) -> dict[str, str]:
        """Return the parts that are set among extension, subgraph and selector."""
        parts = {key: getattr(self, key) for key in NODE_TYPES}
        return {key: name for key, name in parts.items() if name is not None}

    @property
    def type(self) -> str:
        """Which part is set ("extension" if none is)."""
        if self.extension is None:
            if self.subgraph is not None:
                return "subgraph"
            if self.selector is not None:
                return "selector"
        return "extension"

    @property
    def name(self) -> str:
        """The name in the part that is set ("" if none is)."""
        if self.extension is not None:
            return self.extension
        return (self.selector if self.subgraph is None else self.subgraph) or ""


@attrs.define
class Dest(Place):
    """An end of a flow: a place and, for a destination, how it wants the message and how many."""

    conversion: Conversion | None = attrs.field(
        default=None, metadata={JSON_NAME: "msg_conversion"}
    )
    flow: FlowPolicy | None = None


@attrs.define
class Flow:
    """Messages with a name (or names), and where they go (`dest`) or come from (`source`)."""

    name: str | None = None
    names: list[str] | None = None
    dest: list[Dest] | None = None
    source: list[Dest] | None = None

    def all_names(self) -> list[str]:
        """Return `name` and `names` in one list."""
        return ([] if self.name is None else [self.name]) + (self.names or [])


@attrs.define
class Connection(Place):
    """The flows out of a place, and those into it that are written from its side."""

    cmd: list[Flow] = attrs.field(factory=list)
    data: list[Flow] = attrs.field(factory=list)
    audio_frame: list[Flow] = attrs.field(factory=list)
    video_frame: list[Flow] = attrs.field(factory=list)

    def flows(self) -> Iterator[tuple[Kind, int, Flow]]:
        """Yield every flow with its kind and its index in that kind."""
        for kind in KINDS:
            flows = getattr(self, kind)
            if flows:
                for index, flow in enumerate(flows):
                    yield kind, index, flow


@attrs.define
class ExposedMessage:
    """A message that the graph takes from outside (`*_in`) or sends outside (`*_out`)."""

    type: str
    name: str
    extension: str | None = None
    subgraph: str | None = None


@attrs.define
class ExposedProperty:
    """A property of an extension (or inner subgraph) that whoever embeds the graph may set."""

    name: str
    extension: str | None = None
    subgraph: str | None = None


@attrs.define
class Graph(Displayed):
    """A graph as it is written. See the module for how to build one.

    `file` and `base_dir` (Python only) tell where it was loaded from: relative import URIs in it
    start there.
    """

    nodes: list[Node] = attrs.field(factory=list)
    connections: list[Connection] = attrs.field(factory=list)
    exposed_messages: list[ExposedMessage] = attrs.field(factory=list)
    exposed_properties: list[ExposedProperty] = attrs.field(factory=list)
    import_uri: str | None = None
    file: Path | None = attrs.field(default=None, **_FROM_FILE)
    base_dir: Path | None = attrs.field(default=None, **_FROM_FILE)

    def node(
        self,
        name: str,
        addon: Addon,
        /,
        *,
        group: str = "",
        app: str | None = None,
        property: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> str:
        """Add an extension and return its name.

        Args:
            name: Unique among the graph's extensions of one app.
            addon: A registered addon's name, or an extension class or factory.
            group: The extension group; all extensions without one share a group.
            app: URI of the app it runs in; either all nodes have one or none has.
            property: Overrides the properties the addon comes with.
            settings: Options of the runtime for this node (`on_error=`, `inline=`, ...); those
                that are None are left out.
        """
        kept = {key: value for key, value in settings.items() if value is not None}
        self.nodes.append(
            ExtensionNode(name, addon, group, app, dict(property or {}), settings=kept)
        )
        return name

    def subgraph(
        self,
        name: str,
        graph: Graph | str,
        /,
        property: Mapping[str, Any] | None = None,
    ) -> str:
        """Add a graph (or the URI to import it from) as a node and return its name."""
        inner = Graph(import_uri=graph) if isinstance(graph, str) else graph
        self.nodes.append(SubgraphNode(name, inner, dict(property or {})))
        return name

    def selector(self, name: str, condition: Filter | None = None, /, **fields: str) -> str:
        """Add a selector and return its name.

        `condition` is any filter; as a shorthand, keywords (`type`, `name`, `app`, `addon`) are
        regular expressions that must all be found: `graph.selector("tools", name="_tool$")`.
        """
        parts = [] if condition is None else [condition]
        parts += [Filter(field, "regex", value) for field, value in fields.items()]
        self.nodes.append(SelectorNode(name, parts[0] if len(parts) == 1 else Filter(all_of=parts)))
        return name

    def connect(
        self,
        source: str | Place,
        dest: str | Place | Iterable[str | Place],
        /,
        *,
        cmd: Names = (),
        data: Names = (),
        audio_frame: Names = (),
        video_frame: Names = (),
        convert: Conversion | None = None,
        flow: FlowPolicy | None = None,
    ) -> None:
        """Send messages with these names from `source` to `dest`, or to all of several.

        A node's name stands for what was declared under it (extension, subgraph or selector);
        `"sub:ext"` is an extension inside a subgraph. `convert` applies at each destination, and
        `flow` (of data and frames) to each name at each destination by itself.

        Raises:
            InvalidArgument: No message name or no destination is given.
        """
        given = zip(KINDS, map(_names, (cmd, data, audio_frame, video_frame)), strict=True)
        wanted = {kind: names for kind, names in given if names}
        if not wanted:
            raise InvalidArgument(f"connect({source!r}, ...) names no message")
        ends = [dest] if isinstance(dest, str | Place) else list(dest)
        if not ends:
            raise InvalidArgument(f"connect({source!r}, ...) has no destination")
        section = self._section(self._place(source))
        for kind, names in wanted.items():
            for name in names:
                dests = [self._dest(end, convert, flow) for end in ends]
                getattr(section, kind).append(Flow(name=name, dest=dests))

    def draw(self, file: str | Path, title: str = "") -> None:
        """Draw it to a file: a picture if its name ends in `.svg` or `.png`, else Mermaid text.

        Raises:
            MissingExtra: A picture needs `ten-trio[draw]`.
            OSError: The file can't be written.
        """
        from ten_trio.graphs.drawing import to_mermaid, to_png, to_svg  # noqa: PLC0415 - needs this

        path = Path(file)
        if path.suffix == ".png":
            path.write_bytes(to_png(self, title))
        else:
            is_svg = path.suffix == ".svg"
            path.write_text(to_svg(self, title) if is_svg else to_mermaid(self), encoding="utf-8")

    def expose(self, type: str, name: str, node: str, /) -> None:
        """Expose a message of an extension or subgraph; `type` is `cmd_in`, `data_out`, ..."""
        place = self._place(node)
        self.exposed_messages.append(ExposedMessage(type, name, place.extension, place.subgraph))

    def expose_property(self, name: str, node: str, /) -> None:
        """Let whoever embeds this graph set the property `name` of an extension or subgraph."""
        place = self._place(node)
        self.exposed_properties.append(ExposedProperty(name, place.extension, place.subgraph))

    def copy(self) -> Graph:
        """Return a copy that shares nothing that can change (addon classes are shared)."""
        return attrs.evolve(
            self,
            nodes=[_copy_node(node) for node in self.nodes],
            connections=copy.deepcopy(self.connections),
            exposed_messages=copy.deepcopy(self.exposed_messages),
            exposed_properties=copy.deepcopy(self.exposed_properties),
        )

    @classmethod
    def from_json(
        cls, source: str | bytes | Mapping[str, Any], where: str = "", *, strict_names: bool = False
    ) -> Graph:
        """Read a graph from JSON text, or from the objects it was parsed into.

        `where` (a file name) is put before the paths in messages. `strict_names` holds it to the
        rules of property.json: identifiers only, no unknown keys.

        Raises:
            InvalidJson: The text is not JSON.
            GraphError: It isn't a graph. Its `problems` list all that is wrong, also what `check`
                finds in the rest; a graph that can be read is *not* checked.
        """
        from ten_trio.graphs.loading import read_graph  # noqa: PLC0415 - made of these classes

        return read_graph(source, where, strict_names=strict_names)

    def to_dict(self) -> dict[str, Any]:
        """Return the graph as JSON objects, without node settings.

        Raises:
            GraphError: An addon is a Python class or factory, which has no JSON form.
        """
        from ten_trio.graphs.loading import write_graph  # noqa: PLC0415 - made of these classes

        return write_graph(self)

    def to_json(self, indent: int | None = None) -> str:
        """Return the graph as JSON text. Raises `GraphError` as `to_dict` does."""
        return json.dumps(self.to_dict(), indent=indent, ensure_ascii=False)

    def _declared(self, name: str) -> Node | None:
        return next((node for node in self.nodes if node.name == name), None)

    def _place(self, place: str | Place) -> Place:
        if isinstance(place, Place):
            return place
        node = self._declared(place)
        if isinstance(node, SubgraphNode):
            return Place(subgraph=place)
        if isinstance(node, SelectorNode):
            return Place(selector=place)
        return Place(extension=place, app=None if node is None else node.app)

    def _dest(
        self, place: str | Place, conversion: Conversion | None, flow: FlowPolicy | None
    ) -> Dest:
        found = self._place(place)
        if isinstance(found, Dest):
            conversion, flow = conversion or found.conversion, flow or found.flow
        return Dest(found.extension, found.subgraph, found.selector, found.app, conversion, flow)

    def _section(self, place: Place) -> Connection:
        """The connection section of `place`: the last one if it fits, so that order is kept."""
        last = self.connections[-1] if self.connections else None
        if last is None or (last.given(), last.app) != (place.given(), place.app):
            last = Connection(place.extension, place.subgraph, place.selector, place.app)
            self.connections.append(last)
        return last


def _names(names: Names) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _copy_node(node: Node) -> Node:
    if isinstance(node, ExtensionNode):
        return attrs.evolve(
            node, property=copy.deepcopy(node.property), settings=dict(node.settings)
        )
    if isinstance(node, SubgraphNode):
        return attrs.evolve(node, graph=node.graph.copy(), property=copy.deepcopy(node.property))
    return copy.deepcopy(node)


@attrs.define
class PredefinedGraph(Displayed):
    """A graph that an app knows by name.

    `auto_start`: it starts with the app. `singleton`: its name can be addressed, and it starts on
    demand. `sync_stop_before_deinit`: no extension deinitialises before all have stopped.
    """

    name: str
    graph: Graph = attrs.field(factory=Graph, metadata={REQUIRED: True})
    auto_start: bool = False
    singleton: bool = False
    sync_stop_before_deinit: bool = False
