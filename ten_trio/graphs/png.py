"""The SVG picture of a graph as PNG, by resvg, which needs nothing but fonts."""

from __future__ import annotations

import importlib
from typing import Any

from ten_trio.errors import MissingExtra


def rendered(svg: str, zoom: float) -> bytes:
    """Return the bytes of a PNG picture, `zoom` pixels for each of the SVG's.

    Text is drawn with the fonts of this machine.  Raises `MissingExtra` if resvg isn't installed.
    """
    try:
        resvg: Any = importlib.import_module("resvg_py")
    except ImportError as error:
        raise MissingExtra('PNG pictures need resvg-py: pip install "ten-trio[draw]"') from error
    picture = resvg.svg_to_bytes(
        svg_string=svg, zoom=zoom, sans_serif_family="DejaVu Sans", font_family="DejaVu Sans"
    )
    return bytes(picture)
