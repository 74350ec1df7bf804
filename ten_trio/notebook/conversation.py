"""A sequence diagram of what was recorded: who sent what to whom, when, in which turn."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import Any, Final

import attrs

from . import html
from .recording import HOST, RUNTIME, Event

FONT: Final = "'Inter','Segoe UI','Helvetica Neue',Helvetica,Arial,'DejaVu Sans',sans-serif"
TEXT: Final = "#1f2430"
LINE: Final = "#c9ccd6"
# Turn after turn, taken in order.
TURNS: Final = ("#e0ecff", "#ffe9d2", "#dff5e6", "#f3e4fb", "#fff6cf", "#dcf4f6")
HEAD, ROW, TIMES, TAGS = 46, 26, 70, 64
WIDE, NARROW, FEW = 210.0, 118.0, 4
CHARACTER: Final = 6.3
LONGEST: Final = 44


@attrs.frozen(kw_only=True)
class Arrow:
    """One message, or several of the same kind that followed each other between the same two."""

    first: Event
    last: Event
    number: int

    @property
    def label(self) -> str:
        """The message, and how often."""
        event = self.first
        label = event.label
        if self.number > 1:
            seconds = self.last.at - event.at
            return f"{label} x {self.number} in {_span(seconds)}"
        detail = event.detail
        text = f"{label} {detail}" if detail and event.kind != "audio_frame" else label
        return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


@attrs.frozen(kw_only=True)
class Conversation:
    """What was said, in order; shown as a picture."""

    arrows: tuple[Arrow, ...]
    left_out: int = 0
    """Arrows before these."""
    order: tuple[str, ...] = ()
    """In which order people are drawn; others follow in that of their appearance."""

    @property
    def people(self) -> list[str]:
        """Who takes part, in the graph's order; the host first."""
        names = dict.fromkeys(
            name for arrow in self.arrows for name in (arrow.first.source, arrow.first.dest)
        )
        order = (HOST, *self.order)
        places = {name: place for place, name in enumerate(order)} | {RUNTIME: len(order) + 1}
        return sorted(names, key=lambda name: places.get(name, len(order)))

    @property
    def turns(self) -> list[str]:
        """The ids of the turns, in order."""
        return list(dict.fromkeys(arrow.first.turn for arrow in self.arrows if arrow.first.turn))

    def __str__(self) -> str:
        turns = self.turns
        lines = [f"({self.left_out} before these)"] if self.left_out else []
        for arrow in self.arrows:
            event = arrow.first
            turn = f"  [turn {turns.index(event.turn) + 1}]" if event.turn else ""
            lines.append(f"{event.at:9.3f}  {event.source} → {event.dest}  {arrow.label}{turn}")
        return "\n".join(lines) or "nothing was said"

    def to_mermaid(self) -> str:
        """The same as a Mermaid sequence diagram."""
        ids = {name: f"p{index}" for index, name in enumerate(self.people)}
        lines = ["sequenceDiagram"]
        lines += [f"  participant {ids[name]} as {_mermaid(name)}" for name in ids]
        turn = ""
        for arrow in self.arrows:
            event = arrow.first
            if event.turn != turn:
                if turn:
                    lines.append("  end")
                turn = event.turn
                if turn:
                    # It knows no colours in hexadecimal here: `#` begins an entity.
                    red, green, blue = bytes.fromhex(_colour(self.turns.index(turn))[1:])
                    lines.append(f"  rect rgb({red}, {green}, {blue})")
            shape = "-->>" if event.kind == "result" else "->>"
            text = f"{event.at:.3f} s: {_mermaid(arrow.label)}"
            lines.append(f"  {ids[event.source]}{shape}{ids[event.dest]}: {text}")
        if turn:
            lines.append("  end")
        return "\n".join(lines) + "\n"

    # The picture ------------------------------------------------------------------------------

    def to_svg(self) -> str:
        """The same as an SVG picture, time going down."""
        people = self.people
        x = self._columns()
        width = (max(x.values()) if x else 0) + 110
        height = HEAD + ROW * (len(self.arrows) + 1) + 10
        size = f'width="{width:.0f}" height="{height}" viewBox="0 0 {width:.0f} {height}"'
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FONT}" font-size="11">',
            f'<rect width="{width:.0f}" height="{height}" fill="#ffffff"/>',
            *self._bands(width),
        ]
        for name in people:
            parts.append(
                f'<line x1="{x[name]:.0f}" y1="{HEAD - 12}" x2="{x[name]:.0f}" y2="{height - 10}" '
                f'stroke="{LINE}"/>'
            )
            half = max(34.0, len(name) * CHARACTER / 2 + 12)
            parts.append(
                f'<rect x="{x[name] - half:.0f}" y="8" width="{2 * half:.0f}" height="24" rx="6" '
                f'fill="#f5f6fa" stroke="#8a8fa3"/>'
                f'<text x="{x[name]:.0f}" y="24" text-anchor="middle" font-size="12" '
                f'font-weight="600" fill="{TEXT}">{escape(name)}</text>'
            )
        for index, arrow in enumerate(self.arrows):
            parts.extend(self._arrow(arrow, HEAD + ROW * (index + 1), x))
        return "\n".join([*parts, "</svg>\n"])

    def _columns(self) -> dict[str, float]:
        """The x of everybody. A label may be wider than its arrow: there is one to a row."""
        people = self.people
        gap = WIDE if len(people) <= FEW else NARROW
        return {name: TIMES + TAGS + gap * index for index, name in enumerate(people)}

    def _bands(self, width: float) -> Iterator[str]:
        turns = self.turns
        shown = ""
        for index, arrow in enumerate(self.arrows):
            turn = arrow.first.turn
            if turn:
                top = HEAD + ROW * index + 8
                yield (
                    f'<rect x="{TIMES - 8}" y="{top}" width="{width - TIMES:.0f}" height="{ROW}" '
                    f'fill="{_colour(turns.index(turn))}"/>'
                )
                if turn != shown:
                    yield (
                        f'<text x="{TIMES - 4}" y="{top + 17}" font-size="9.5" fill="#6b7280">'
                        f"turn {turns.index(turn) + 1}</text>"
                    )
            shown = turn

    def _arrow(self, arrow: Arrow, y: int, x: dict[str, float]) -> Iterator[str]:
        event = arrow.first
        colour = html.COLOURS[event.kind] if event.ok else html.BAD
        begin, end = x[event.source], x[event.dest]
        yield (
            f'<text x="{TIMES - 14}" y="{y + 4}" text-anchor="end" font-size="10" fill="#6b7280">'
            f"{event.at:.3f} s</text>"
        )
        dash = ' stroke-dasharray="5 3"' if event.kind == "result" else ""
        width = 2.2 if arrow.number > 1 else 1.4
        if begin == end:
            yield (
                f'<path d="M{begin:.0f} {y - 5} h26 v10 h-19" fill="none" stroke="{colour}" '
                f'stroke-width="{width}"{dash}/>'
            )
            tip, way, middle, anchor = begin + 1, -1, begin + 32, "start"
            y_text = y + 3
        else:
            way = 1 if end > begin else -1
            yield (
                f'<line x1="{begin:.0f}" y1="{y}" x2="{end - 6 * way:.0f}" y2="{y}" '
                f'stroke="{colour}" stroke-width="{width}"{dash}/>'
            )
            tip, middle, anchor = end - way, (begin + end) / 2, "middle"
            y_text = y - 5
        tip_y = y + 5 if begin == end else y
        yield (
            f'<path d="M{tip:.0f} {tip_y} l{-7 * way} -4 v8 z" fill="{colour}"/>'
            f'<text x="{middle:.0f}" y="{y_text}" text-anchor="{anchor}" fill="{colour}" '
            f'stroke="#ffffff" stroke-opacity="0.75" stroke-width="3" paint-order="stroke">'
            f"<title>{escape(str(event))}</title>{escape(arrow.label)}</text>"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        if not self.arrows:
            return {"text/plain": str(self)}
        return {"text/plain": str(self), "image/svg+xml": html.fitting(self.to_svg())}


def conversation(events: Iterable[Event], last: int, order: Iterable[str] = ()) -> Conversation:
    """The last so many arrows of what these events come to."""
    arrows: list[Arrow] = []
    for event in events:
        before = arrows[-1] if arrows else None
        if before is not None and _alike(before.last, event):
            arrows[-1] = attrs.evolve(before, last=event, number=before.number + 1)
        else:
            arrows.append(Arrow(first=event, last=event, number=1))
    left_out = max(0, len(arrows) - last)
    return Conversation(arrows=tuple(arrows[left_out:]), left_out=left_out, order=tuple(order))


def _alike(a: Event, b: Event) -> bool:
    return (a.source, a.dest, a.kind, a.name, a.turn, a.ok, a.final) == (
        b.source, b.dest, b.kind, b.name, b.turn, b.ok, b.final,
    ) and a.kind != "cmd"  # fmt: skip


_ENTITIES: Final = str.maketrans({"#": "#35;", ";": "#59;", "<": "#lt;", ">": "#gt;", "\n": " "})
"""What Mermaid takes for its own."""


def _mermaid(text: str) -> str:
    return text.translate(_ENTITIES)


def _colour(turn: int) -> str:
    return TURNS[turn % len(TURNS)]


def _span(seconds: float) -> str:
    return f"{1_000 * seconds:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


__all__ = ["Arrow", "Conversation", "conversation"]
