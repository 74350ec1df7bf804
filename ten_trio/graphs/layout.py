"""Where boxes and arrows go: Graphviz's `dot`, through the pygraphviz wheel, which brings it along.

Graphviz gets sizes, never text, so that the result doesn't depend on the fonts of this machine.
Lengths are in points (what SVG calls pixels), y grows downwards.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from ten_trio.errors import MissingExtra

Point: TypeAlias = tuple[float, float]

_POINTS_PER_INCH = 72
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


@attrs.frozen
class Box:
    """A rectangle by its upper left corner and its size."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> Point:
        """The point in the middle."""
        return self.x + self.width / 2, self.y + self.height / 2


@attrs.frozen
class Curve:
    """An arrow: a start, the points of cubic Bézier curves (three each), a tip; and its label."""

    points: tuple[Point, ...]
    tip: Point
    label: Box


@attrs.frozen
class Layout:
    """Everything's place; `clusters` are the frames around nodes that belong together."""

    width: float
    height: float
    nodes: Mapping[str, Box]
    curves: tuple[Curve, ...]
    clusters: Mapping[str, Box]


@attrs.frozen
class Arrow:
    """An arrow to lay out, with the size of its label."""

    source: str
    dest: str
    label_size: tuple[float, float]


@attrs.frozen
class Cluster:
    """Nodes to keep together in a frame, and how wide the text above them is."""

    nodes: list[str]
    label_width: float


def lay_out(
    sizes: Mapping[str, tuple[float, float]],
    arrows: Sequence[Arrow],
    clusters: Mapping[str, Cluster],
) -> Layout:
    """Lay boxes of these `sizes` out from left to right, so that nothing overlaps.

    Raises:
        MissingExtra: pygraphviz isn't installed.
    """
    graph = _dot_graph()
    for name, (width, height) in sizes.items():
        inches = {"width": width / _POINTS_PER_INCH, "height": height / _POINTS_PER_INCH}
        graph.add_node(name, **{key: f"{value:.4f}" for key, value in inches.items()})
    for index, arrow in enumerate(arrows):
        graph.add_edge(arrow.source, arrow.dest, key=str(index), label=_gap(*arrow.label_size))
    for name, cluster in clusters.items():
        label = _gap(cluster.label_width, 14)
        graph.add_subgraph(cluster.nodes, name=f"cluster_{name}", label=label, margin="14")
    graph.layout(prog="dot")
    left, bottom, right, top = _numbers(graph.graph_attr["bb"])
    flip = _Flip(left, top)
    nodes = {
        name: flip.box(_numbers(graph.get_node(name).attr["pos"]), size)
        for name, size in sizes.items()
    }
    curves = tuple(
        _curve(graph.get_edge(arrow.source, arrow.dest, str(index)).attr, arrow, flip)
        for index, arrow in enumerate(arrows)
    )
    frames = {
        name: flip.corners(_numbers(graph.get_subgraph(f"cluster_{name}").graph_attr["bb"]))
        for name in clusters
    }
    return Layout(right - left, top - bottom, nodes, curves, frames)


def _dot_graph() -> Any:
    try:
        pygraphviz = importlib.import_module("pygraphviz")
    except ImportError as error:
        raise MissingExtra(
            'drawing a graph needs pygraphviz: pip install "ten-trio[draw]"'
        ) from error
    graph = pygraphviz.AGraph(directed=True, strict=False)
    graph.graph_attr.update(rankdir="LR", nodesep="0.45", ranksep="0.55", splines="true")
    graph.node_attr.update(shape="box", label="", fixedsize="true")
    graph.edge_attr.update(arrowsize="0.8")
    return graph


def _gap(width: float, height: float) -> str:
    """A label of this size without text, in Graphviz's own HTML."""
    return (
        f'<<TABLE BORDER="0" CELLBORDER="0" CELLPADDING="0" CELLSPACING="0" FIXEDSIZE="TRUE"'
        f' WIDTH="{width:.0f}" HEIGHT="{height:.0f}"><TR><TD></TD></TR></TABLE>>'
    )


def _numbers(text: str) -> list[float]:
    return [float(number) for number in _NUMBER.findall(text)]


@attrs.frozen
class _Flip:
    """From Graphviz's coordinates (y upwards) to ours."""

    left: float
    top: float

    def point(self, x: float, y: float) -> Point:
        return x - self.left, self.top - y

    def box(self, middle: Sequence[float], size: tuple[float, float]) -> Box:
        x, y = self.point(middle[0], middle[1])
        width, height = size
        return Box(x - width / 2, y - height / 2, width, height)

    def corners(self, numbers: Sequence[float]) -> Box:
        left, bottom, right, top = numbers
        x, y = self.point(left, top)
        return Box(x, y, right - left, top - bottom)


def _curve(attr: Any, arrow: Arrow, flip: _Flip) -> Curve:
    """Read a spline: `e,x,y` is the tip of the arrow, the rest its control points."""
    points: list[Point] = []
    tip: Point | None = None
    for part in attr["pos"].replace("\\\n", "").split():
        x, y = _numbers(part)[-2:]
        if part.startswith("e,"):
            tip = flip.point(x, y)
        else:
            points.append(flip.point(x, y))
    return Curve(tuple(points), tip or points[-1], flip.box(_numbers(attr["lp"]), arrow.label_size))
