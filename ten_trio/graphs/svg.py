"""The SVG picture of a graph: rounded boxes in the colour of their group, arrows in that of their
kind of message, and a legend."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from ten_trio.graphs.definition import Kind
from ten_trio.graphs.drawing import (
    INSIDE,
    KIND_COLOURS,
    MISSING,
    OUTSIDE,
    SUBGRAPH,
    Drawing,
    DrawnLink,
    DrawnNode,
)
from ten_trio.graphs.layout import Arrow, Box, Cluster, Curve, Layout, lay_out

FONT = "'Inter','Segoe UI','Helvetica Neue',Helvetica,Arial,'DejaVu Sans',sans-serif"
TEXT = "#1f2430"
MUTED = "#6b7280"
MARGIN = 24.0
TITLE_SIZE, NODE_SIZE, ADDON_SIZE, LABEL_SIZE, LEGEND_SIZE = 17, 13.5, 10.5, 11, 11.5
LINE = 14.0
LEGEND_ROW = 24.0
LONGEST = 34

KIND_WIDTHS: dict[Kind, float] = {"cmd": 1.5, "data": 1.5, "audio_frame": 2.4, "video_frame": 2.4}
# Colour alone doesn't tell everybody which is which.
KIND_DASHES: dict[Kind, str] = {"cmd": "6 4", "video_frame": "2 4"}
KIND_NAMES: dict[Kind, str] = {
    "cmd": "cmd", "data": "data", "audio_frame": "audio frame", "video_frame": "video frame",
}  # fmt: skip


def render(drawing: Drawing, title: str = "") -> str:
    """Return the SVG text. Raises `MissingExtra` if the layout library isn't installed."""
    apps = drawing.apps if len(drawing.apps) > 1 else []
    clusters = {
        f"a{i}": Cluster(
            [node.id for node in drawing.nodes if node.app == app],
            text_width(shortened(app), ADDON_SIZE),
        )
        for i, app in enumerate(apps)
    }
    layout = lay_out(
        {node.id: _node_size(node) for node in drawing.nodes},
        [Arrow(link.source, link.dest, _label_size(link)) for link in drawing.links],
        clusters,
    )
    head = 34.0 if title else 0.0
    legend = list(_legend(drawing, max(layout.width, 420.0)))
    legend_rows = 1 + max((row for row, _, _ in legend), default=-1)
    width = max([layout.width, text_width(title, TITLE_SIZE), *(x for _, x, _ in legend)])
    height = head + layout.height + (18 + legend_rows * LEGEND_ROW if legend else 0)
    size = f"{width + 2 * MARGIN:.0f}", f"{height + 2 * MARGIN:.0f}"
    frame = f'width="{size[0]}" height="{size[1]}" viewBox="0 0 {size[0]} {size[1]}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {frame} font-family="{FONT}" role="img">',
        f"<title>{escape(title or 'graph')}</title>",
        *_markers(drawing),
        '<rect width="100%" height="100%" rx="14" fill="#ffffff"/>',
        f'<g transform="translate({MARGIN:g} {MARGIN:g})">',
    ]
    if title:
        parts.append(_text(0, 15, title, TITLE_SIZE, TEXT, anchor="start", weight=650))
    # A picture narrower than its legend is centred.
    indent = (width - layout.width) / 2
    parts += [
        f'<g transform="translate({indent:.1f} {head:g})">', *_body(drawing, layout, apps), "</g>"
    ]  # fmt: skip
    top = head + layout.height + 18
    parts += [f'<g transform="translate(0 {top + row * LEGEND_ROW:.1f})">{text}</g>'
              for row, _, text in legend]  # fmt: skip
    return "\n".join([*parts, "</g>", "</svg>"]) + "\n"


def _body(drawing: Drawing, layout: Layout, apps: Sequence[str]) -> Iterator[str]:
    for app, box in zip(apps, layout.clusters.values(), strict=True):
        yield _rect(box, 14, "#f8f9fb", "#d4d8e1", dash="5 4")
        yield _text(box.x + 12, box.y + 17, shortened(app), ADDON_SIZE, MUTED, anchor="start")
    pairs = list(zip(drawing.links, layout.curves, strict=True))
    for link, curve in pairs:
        yield _path(link, curve)
    for node in drawing.nodes:
        yield from _node(drawing, node, layout.nodes[node.id])
    for link, curve in pairs:
        yield from _label(link, curve)


def _node(drawing: Drawing, node: DrawnNode, box: Box) -> Iterator[str]:
    fill, line = drawing.colours(node)
    x, y = box.middle
    group = f", group {node.group}" if node.group else ""
    yield f"<g><title>{escape(f'{node.title} ({node.subtitle}{group})')}</title>"
    radius = box.height / 2 if node.kind == OUTSIDE else 11
    dash = "4 3" if node.kind in (OUTSIDE, MISSING) else ""
    if node.kind == SUBGRAPH:
        yield _rect(Box(box.x + 4, box.y - 4, box.width, box.height), radius, fill, line)
    yield _rect(box, radius, fill, line, dash=dash)
    drop = -2 if node.subtitle else 5
    yield _text(x, y + drop, shortened(node.title), NODE_SIZE, TEXT, weight=600)
    if node.subtitle:
        yield _text(x, y + 14, shortened(node.subtitle), ADDON_SIZE, MUTED)
    yield "</g>"


def _path(link: DrawnLink, curve: Curve) -> str:
    start, *rest = curve.points
    steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in rest)
    tip_x, tip_y = curve.tip
    return (
        f'<path d="M{start[0]:.1f},{start[1]:.1f} C{steps} L{tip_x:.1f},{tip_y:.1f}" fill="none"'
        f'{_stroke(link.kind)} marker-end="url(#{link.kind})"/>'
    )


def _stroke(kind: Kind) -> str:
    dash = f' stroke-dasharray="{KIND_DASHES[kind]}"' if kind in KIND_DASHES else ""
    return f' stroke="{KIND_COLOURS[kind]}" stroke-width="{KIND_WIDTHS[kind]}"{dash}'


def _label(link: DrawnLink, curve: Curve) -> Iterator[str]:
    x, _ = curve.label.middle
    top = curve.label.y + (curve.label.height - LINE * len(link.labels)) / 2
    for number, text in enumerate(link.labels):
        y = top + LINE * number + LABEL_SIZE
        yield _text(x, y, shortened(text), LABEL_SIZE, KIND_COLOURS[link.kind], halo=True)


def _markers(drawing: Drawing) -> Iterator[str]:
    yield "<defs>"
    for kind in drawing.kinds:
        yield (
            f'<marker id="{kind}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9"'
            f' markerHeight="9" markerUnits="userSpaceOnUse" orient="auto">'
            f'<path d="M0,0.8 L9.5,5 L0,9.2 L2.2,5 z" fill="{KIND_COLOURS[kind]}"/></marker>'
        )
    yield "</defs>"


def _legend(drawing: Drawing, width: float) -> Iterator[tuple[int, float, str]]:
    """Yield (row, right end, SVG) of every entry, in rows no wider than `width`."""
    row, x = 0, 0.0
    for kind in drawing.kinds:
        sample = f'<path d="M{{x}},8 h30" fill="none"{_stroke(kind)} marker-end="url(#{kind})"/>'
        row, x, entry = _entry(row, x, width, sample, 38, KIND_NAMES[kind])
        yield row, x - 20, entry
    if x and drawing.groups not in ([], [""]):
        row, x = row + 1, 0.0
    if drawing.groups in ([], [""]):
        return
    for group in drawing.groups:
        node = next(n for n in drawing.nodes if n.kind == INSIDE and n.group == group)
        fill, line = drawing.colours(node)
        sample = (
            f'<rect x="{{x}}" y="1" width="20" height="14" rx="4" fill="{fill}" stroke="{line}"/>'
        )
        row, x, entry = _entry(row, x, width, sample, 28, group or "no group")
        yield row, x - 20, entry


def _entry(
    row: int, x: float, width: float, sample: str, offset: float, text: str
) -> tuple[int, float, str]:
    """Return (row, where the next entry starts, SVG)."""
    text = shortened(text)
    room = offset + text_width(text, LEGEND_SIZE)
    if x and x + room > width:
        row, x = row + 1, 0.0
    drawn = sample.replace("{x}", f"{x:.1f}")
    drawn += _text(x + offset, 12, text, LEGEND_SIZE, MUTED, anchor="start")
    return row, x + room + 20, drawn


def _rect(box: Box, radius: float, fill: str, line: str, *, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}"'
        f' rx="{radius:g}" fill="{fill}" stroke="{line}" stroke-width="1.4"{dashes}/>'
    )


def _text(
    x: float,
    y: float,
    text: str,
    size: float,
    colour: str,
    *,
    anchor: str = "middle",
    weight: int = 400,
    halo: bool = False,
) -> str:
    around = ' stroke="#ffffff" stroke-width="3.5" paint-order="stroke"' if halo else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour}"'
        f' text-anchor="{anchor}" font-weight="{weight}"{around}>{escape(text)}</text>'
    )


def _node_size(node: DrawnNode) -> tuple[float, float]:
    title = text_width(shortened(node.title), NODE_SIZE) * 1.06  # it is bold
    room = max(title, text_width(shortened(node.subtitle), ADDON_SIZE)) + 30
    if node.kind == OUTSIDE:
        return max(room, 56.0), 30.0
    return max(room, 104.0), 48.0


def _label_size(link: DrawnLink) -> tuple[float, float]:
    widest = max(text_width(shortened(text), LABEL_SIZE) for text in link.labels)
    return widest + 12, LINE * len(link.labels) + 4


def shortened(text: str) -> str:
    """Return `text`, with its middle left out if it is long."""
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]}…{text[-half:]}"


def text_width(text: str, size: float) -> float:
    """Return about how wide `text` is, in points, on the safe side for usual fonts."""
    return size * sum(_CHARACTER_WIDTHS.get(c, 0.62 if c.isascii() else 1.0) for c in text)


_CHARACTER_WIDTHS = (
    dict.fromkeys("ijl.,:;'|!", 0.32)
    | dict.fromkeys('ftr ()[]{}/-"', 0.42)
    | dict.fromkeys("ABCDEFGHJKLNOPQRSTUVXYZ", 0.72)
    | dict.fromkeys("mwMW@%", 0.97)
)
