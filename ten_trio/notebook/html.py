"""Small HTML for notebooks: tables, boxes, crashes. Everything that comes from a graph is escaped."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

# Notebooks are light or dark: colours that are readable on both, and no background of its own.
STYLE = "font-family:system-ui,sans-serif;font-size:13px;line-height:1.45"
MUTED = "#8a8fa3"
PAGE = 900
"""Pixels that a picture may be wide."""
GOOD = "#0f8a5f"
BAD = "#d92d20"
COLOURS = {
    "cmd": "#2563eb",
    "result": "#2563eb",
    "data": GOOD,
    "audio_frame": "#d9580d",
    "video_frame": "#9333ea",
}


def text(value: object) -> str:
    """Escaped."""
    return escape(str(value))


def coloured(value: object, colour: str) -> str:
    """Escaped, bold, in a colour."""
    return f'<b style="color:{colour}">{text(value)}</b>'


def muted(value: object) -> str:
    """Escaped, for what is less important."""
    return f'<span style="color:{MUTED}">{text(value)}</span>'


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int] = ()
) -> str:
    """A table of cells that are HTML already; the columns in `numbers` are aligned to the right."""
    right = frozenset(numbers)

    def cell(tag: str, index: int, content: str) -> str:
        align = "right" if index in right else "left"
        style = f"text-align:{align};padding:2px 10px 2px 0;vertical-align:top"
        return f'<{tag} style="{style}">{content}</{tag}>'

    lines = []
    if head:
        cells = "".join(cell("th", index, text(title)) for index, title in enumerate(head))
        lines.append(f"<thead><tr>{cells}</tr></thead>")
    lines.append("<tbody>")
    lines += [
        f"<tr>{''.join(cell('td', index, content) for index, content in enumerate(row))}</tr>"
        for row in rows
    ]
    lines.append("</tbody>")
    return f'<table style="{STYLE};border-collapse:collapse">{"".join(lines)}</table>'


def box(title: str, *content: str, colour: str = MUTED) -> str:
    """A block with a coloured edge; all of it HTML already."""
    style = f"{STYLE};border-left:3px solid {colour};padding:2px 0 2px 10px;margin:4px 0"
    return f'<div style="{style}"><div>{title}</div>{"".join(content)}</div>'


def properties(values: Any) -> str:
    """A table of names and values, "" if there are none."""
    rows = [
        (muted(name), f"<code>{text(_short(value))}</code>") for name, value in dict(values).items()
    ]
    return table((), rows) if rows else ""


_SIZE = re.compile(r'width="([0-9.]+)" height="([0-9.]+)"')


def fitting(svg: str) -> str:
    """The same picture, not wider than a page: many frontends show it as an image that they cut off."""
    found = _SIZE.search(svg)
    if found is None or float(found[1]) <= PAGE:
        return svg
    size = f'width="{PAGE}" height="{float(found[2]) * PAGE / float(found[1]):.0f}"'
    return svg[: found.start()] + size + svg[found.end() :]


def _short(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value)} bytes"
    shown = repr(value)
    return shown if len(shown) <= 400 else f"{shown[:397]}..."


def crash(what: str, failure: BaseException) -> dict[str, str]:
    """A banner for what has crashed in the background, in HTML and as text."""
    lines = "".join(traceback.format_exception(failure)).rstrip()
    causes = "; ".join(f"{type(leaf).__name__}: {leaf}" for leaf in leaves(failure))
    title = coloured(f"{what} has failed in the background", BAD)
    details = (
        f"<details><summary>traceback</summary><pre style='font-size:12px'>{text(lines)}</pre>"
        "</details>"
    )
    return {
        "text/plain": f"{what} has failed in the background: {causes}\n{lines}",
        "text/html": box(title, f"<div><code>{text(causes)}</code></div>", details, colour=BAD),
    }


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions in a group, and in those in it."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [error]
