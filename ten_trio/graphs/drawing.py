"""Drawings of graphs: what to draw, and Mermaid text. `svg` makes the picture.

A drawing is tolerant: a faulty graph can be drawn, so that one sees what is wrong with it.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from ten_trio.graphs.conversion import Conversion
from ten_trio.graphs.declared import Declared
from ten_trio.graphs.definition import (
    EXPOSURE_TYPES,
    KINDS,
    ExtensionNode,
    Graph,
    Kind,
    Place,
    PredefinedGraph,
    SubgraphNode,
)
from ten_trio.graphs.flatten import UNSPECIFIED_GROUP, FlatGraph
from ten_trio.graphs.flow import FlowPolicy
from ten_trio.graphs.wiring import addon_name, written_edges

Drawable: TypeAlias = Graph | PredefinedGraph | FlatGraph

KIND_COLOURS: dict[Kind, str] = {
    "cmd": "#2563eb",
    "data": "#0f8a5f",
    "audio_frame": "#d9580d",
    "video_frame": "#9333ea",
}
# (fill, line) per extension group, taken in turn.
GROUP_COLOURS = (
    ("#e0ecff", "#5b8def"),
    ("#ffe9d2", "#e8964a"),
    ("#dff5e6", "#4caf7a"),
    ("#f3e4fb", "#b072d6"),
    ("#fde2e4", "#e0707c"),
    ("#fff6cf", "#d3b13a"),
    ("#dcf4f6", "#45aab5"),
    ("#ececf1", "#8a8fa3"),
)
INSIDE = "extension"
SUBGRAPH = "subgraph"
OUTSIDE = "outside"
MISSING = "missing"


@attrs.frozen
class DrawnNode:
    """A box. `kind`: INSIDE, SUBGRAPH, OUTSIDE (what the graph exposes) or MISSING (undeclared)."""

    id: str
    title: str
    subtitle: str = ""
    group: str = ""
    app: str = ""
    kind: str = INSIDE


@attrs.frozen
class DrawnLink:
    """An arrow for all messages of one kind between two boxes; `labels` has a line for each."""

    source: str
    dest: str
    kind: Kind
    labels: tuple[str, ...]


@attrs.frozen
class Drawing:
    """What is to be drawn, in the order in which it is written."""

    nodes: tuple[DrawnNode, ...]
    links: tuple[DrawnLink, ...]

    @property
    def groups(self) -> list[str]:
        """The extension groups; "" is that of extensions which name none."""
        return list(dict.fromkeys(node.group for node in self.nodes if node.kind == INSIDE))

    @property
    def kinds(self) -> list[Kind]:
        """The kinds of message that occur."""
        used = {link.kind for link in self.links}
        return [kind for kind in KINDS if kind in used]

    @property
    def apps(self) -> list[str]:
        """The apps that the nodes name."""
        return list(dict.fromkeys(node.app for node in self.nodes if node.app))

    def colours(self, node: DrawnNode) -> tuple[str, str]:
        """Return the (fill, line) colours of a node."""
        if node.kind != INSIDE:
            return "#ffffff", "#8a8fa3" if node.kind != MISSING else "#d92d20"
        return GROUP_COLOURS[self.groups.index(node.group) % len(GROUP_COLOURS)]


def draw(graph: Drawable) -> Drawing:
    """Return what to draw of `graph`: as it is written, or flattened if it is a FlatGraph."""
    if isinstance(graph, PredefinedGraph):
        graph = graph.graph
    canvas = _Canvas()
    if isinstance(graph, FlatGraph):
        canvas.add_flat(graph)
    else:
        canvas.add_written(graph)
    return canvas.drawing()


def to_mermaid(graph: Drawable) -> str:
    """Return `graph` as a Mermaid flowchart, which Markdown viewers and notebooks show."""
    drawing = draw(graph)
    lines = ["flowchart LR"]
    for app in ["", *drawing.apps]:
        members = [node for node in drawing.nodes if node.app == app]
        if app:
            lines.append(f'  subgraph app{drawing.apps.index(app)}["{_escaped(app)}"]')
        lines += [f"  {_mermaid_node(drawing, node)}" for node in members]
        if app:
            lines.append("  end")
    for link in drawing.links:
        label = "<br/>".join(map(_escaped, link.labels))
        lines.append(f'  {link.source} -->|"{label}"| {link.dest}')
    for index, link in enumerate(drawing.links):
        colour = KIND_COLOURS[link.kind]
        lines.append(f"  linkStyle {index} stroke:{colour},color:{colour}")
    for node in drawing.nodes:
        fill, line = drawing.colours(node)
        dash = ",stroke-dasharray:4 3" if node.kind in (OUTSIDE, MISSING) else ""
        lines.append(f"  style {node.id} fill:{fill},stroke:{line},color:#1f2430{dash}")
    return "\n".join(lines) + "\n"


def to_svg(graph: Drawable, title: str = "") -> str:
    """Return `graph` as the text of an SVG picture.

    `title` stands above it; a predefined graph's name does by itself.

    Raises:
        MissingExtra: The layout library isn't installed (`ten-trio[draw]`).
    """
    from ten_trio.graphs.svg import render  # noqa: PLC0415 - made from the classes above

    if not title and isinstance(graph, PredefinedGraph):
        title = graph.name
    return render(draw(graph), title)


def to_png(graph: Drawable, title: str = "", *, zoom: float = 2.0) -> bytes:
    """Return `graph` as the bytes of a PNG picture: `to_svg` with `zoom` pixels for each of its own.

    Its text is drawn with the fonts of this machine.

    Raises:
        MissingExtra: The layout library or resvg isn't installed (`ten-trio[draw]`).
        ValueError: `zoom` isn't positive.
    """
    from ten_trio.graphs.png import rendered  # noqa: PLC0415 - as above

    if not zoom > 0:
        raise ValueError(f"zoom must be positive, not {zoom!r}")
    return rendered(to_svg(graph, title), zoom)


def _mermaid_node(drawing: Drawing, node: DrawnNode) -> str:
    text = _escaped(node.title)
    if node.subtitle:
        text += f"<br/><small>{_escaped(node.subtitle)}</small>"
    opening, closing = {SUBGRAPH: ("[[", "]]"), OUTSIDE: ("([", "])")}.get(node.kind, ("(", ")"))
    return f'{node.id}{opening}"{text}"{closing}'


def _escaped(text: str) -> str:
    """Mermaid has entities of its own, without the ampersand."""
    for character, entity in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;")):
        text = text.replace(character, entity)
    return text


class _Canvas:
    """Collects boxes and arrows; arrows of one kind between the same boxes become one."""

    def __init__(self) -> None:
        self.nodes: dict[object, DrawnNode] = {}
        self.links: dict[tuple[str, str, Kind], dict[str, None]] = {}

    def drawing(self) -> Drawing:
        links = (DrawnLink(*ends, tuple(labels)) for ends, labels in self.links.items())
        return Drawing(tuple(self.nodes.values()), tuple(links))

    def add_flat(self, graph: FlatGraph) -> None:
        several = len(graph.apps) > 1
        for node in graph.nodes:
            group = "" if node.group == UNSPECIFIED_GROUP else node.group
            addon = node.addon if isinstance(node.addon, str) else _python_name(node.addon)
            app = node.app if several else ""
            self._node((node.app, node.name), node.name, addon, group, app)
        for edge in graph.edges:
            source = self._known((edge.source_app, edge.source), edge.source)
            dest = self._known((edge.dest_app, edge.dest), edge.dest)
            self._link(source, dest, edge.kind, _label(edge.name, edge.conversion, edge.flow))
        for entry in graph.exposed:
            inside = self._known((entry.app, entry.extension), entry.extension)
            self._expose(inside, entry.type, entry.name)

    def add_written(self, graph: Graph) -> None:
        declared = Declared.of(graph)
        extensions = [node for node in graph.nodes if isinstance(node, ExtensionNode)]
        several = len({node.app for node in extensions}) > 1
        for node in graph.nodes:
            if isinstance(node, ExtensionNode):
                app = (node.app or "") if several else ""
                key = ("extension", node.name, node.app if several else None)
                self._node(key, node.name, addon_name(node), node.extension_group, app)
            elif isinstance(node, SubgraphNode):
                subtitle = node.graph.import_uri or "subgraph"
                key = ("subgraph", node.name, None)
                self._node(key, node.name, subtitle, kind=SUBGRAPH)
        for edge in written_edges(graph):
            source, _ = self._end(declared, edge.source, several)
            dest, inner = self._end(declared, edge.dest, several)
            label = _label(edge.name, edge.conversion, edge.flow)
            self._link(source, dest, edge.kind, f"{label} ({inner})" if inner else label)
        for entry in graph.exposed_messages:
            place = Place(entry.extension, entry.subgraph)
            inside, _ = self._end(declared, place, several)
            self._expose(inside, entry.type, entry.name)

    def _end(self, declared: Declared, place: Place, several: bool) -> tuple[str, str]:
        """Return (box, name inside it if the place lies in a subgraph)."""
        if place.extension and (found := declared.inside(place.extension)):
            node, rest = found
            return self._known(("subgraph", node.name, None), node.name), rest
        app = place.app if several and place.extension else None
        return self._known((place.type, place.name, app), place.name), ""

    def _node(
        self,
        key: object,
        title: str,
        subtitle: str = "",
        group: str = "",
        app: str = "",
        kind: str = INSIDE,
    ) -> str:
        node = DrawnNode(f"n{len(self.nodes)}", title, subtitle, group, app, kind)
        return self.nodes.setdefault(key, node).id

    def _known(self, key: object, name: str) -> str:
        found = self.nodes.get(key)
        return found.id if found else self._node(key, name, "not declared", kind=MISSING)

    def _link(self, source: str, dest: str, kind: Kind, label: str) -> None:
        self.links.setdefault((source, dest, kind), {})[label] = None

    def _expose(self, inside: str, type_: str, name: str) -> None:
        if type_ not in EXPOSURE_TYPES:
            return
        kind, _, direction = type_.rpartition("_")
        outside = self._node((OUTSIDE, direction), direction, kind=OUTSIDE)
        ends = (outside, inside) if direction == "in" else (inside, outside)
        for known in KINDS:
            if known == kind:
                self._link(*ends, known, name)


def _label(name: str, conversion: Conversion | None, flow: FlowPolicy | None) -> str:
    label = name
    if conversion is not None:
        label = f"{name} → {conversion.new_name}" if conversion.new_name else f"{name} ⇄"
    return label if flow is None else f"{label} [{flow}]"


def _python_name(addon: object) -> str:
    return getattr(addon, "__name__", type(addon).__name__)
