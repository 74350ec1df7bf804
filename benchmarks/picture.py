"""A picture of a run: a bar from the smallest round to the largest, a dot at the median, a line at the target.

Drawn from what `--json` writes: `python -m benchmarks.picture FIGURES.json > PICTURE.svg`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from pathlib import Path
from typing import Any, Final

_LEFT: Final = 390
_PLOT: Final = 420
_RIGHT: Final = 130
_ROW: Final = 20
_HEAD: Final = 64

_STYLE: Final = """
text { font: 12px system-ui, sans-serif; fill: #24292f; }
.title { font-size: 16px; font-weight: 600; }
.unit { font-weight: 600; }
.faint { fill: #6e7781; }
.grid { stroke: #d0d7de; stroke-width: 1; }
.one { stroke: #6e7781; stroke-width: 1; }
.spread { stroke: #54aeff; stroke-width: 6; stroke-linecap: round; }
.median { fill: #0969da; }
.target { stroke: #cf222e; stroke-width: 2; }
"""


def draw(document: Mapping[str, Any]) -> str:
    """The figures of a run as SVG: a panel for each unit, each on a logarithmic axis of its own."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for case in document["cases"]:
        if case["max"] > 0:  # a logarithm has no zero
            groups.setdefault(case["unit"], []).append(case)
    parts: list[str] = []
    y = _HEAD
    for unit, cases in sorted(groups.items(), key=lambda item: (item[0] != "H", -len(item[1]))):
        parts += _panel(unit, cases, y)
        y += (len(cases) + 2) * _ROW + 12
    width = _LEFT + _PLOT + _RIGHT
    facts = (
        f"{document.get('date', 'no date')}: Python {document['python']}, Trio {document['trio']}, "
        f"{document['machine']}; load average {document['load']}; "
        f"{document['rounds']} rounds, {document['clock']} time; "
        f"H = {document['h_seconds'] * 1e6:.1f} us"
    )
    return "\n".join(
        [
            (
                f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" '
                f'viewBox="0 0 {width} {y}" role="img">'
            ),
            "<title>ten_trio: what a run of the benchmarks has measured</title>",
            f"<style>{_STYLE}</style>",
            f'<rect width="{width}" height="{y}" fill="#ffffff"/>',
            '<text class="title" x="12" y="24">What a run of the benchmarks has measured</text>',
            f'<text class="faint" x="12" y="44">{escape(facts)}</text>',
            *parts,
            "</svg>",
            "",
        ]
    )


def _panel(unit: str, cases: Sequence[Mapping[str, Any]], y: int) -> list[str]:
    figures = [figure for c in cases for figure in (c["min"], c["max"], c.get("target")) if figure]
    low, high = floor(log10(min(figures))), ceil(log10(max(figures)))
    high = max(high, low + 1)

    def x(figure: float) -> float:
        return _LEFT + _PLOT * (log10(max(figure, 10.0**low)) - low) / (high - low)

    bottom = y + (len(cases) + 1) * _ROW
    axis = "x H, a raw hop through a Trio memory channel" if unit == "H" else unit
    parts = [f'<text class="unit" x="12" y="{y + 14}">{escape(axis)}</text>']
    for power in range(low, high + 1):
        at = x(10.0**power)
        parts += [
            (
                f'<line class="{"one" if power == 0 else "grid"}" x1="{at:.1f}" x2="{at:.1f}" '
                f'y1="{y + _ROW}" y2="{bottom}"/>'
            ),
            (
                f'<text class="faint" x="{at:.1f}" y="{y + 14}" text-anchor="middle">'
                f"{10.0**power:g}</text>"
            ),
        ]
    for index, case in enumerate(cases, 1):
        parts += _row(case, y + index * _ROW + 14, x)
    return parts


def _row(case: Mapping[str, Any], y: int, x: Any) -> list[str]:
    middle = y - 4
    target = case.get("target")
    parts = [
        f'<text x="12" y="{y}">{escape(case["name"])}</text>',
        (
            f'<text class="faint" x="{_LEFT - 12}" y="{y}" text-anchor="end">'
            f"{escape(_short(case['title']))}</text>"
        ),
        (
            f'<line class="spread" x1="{x(case["min"]):.1f}" x2="{x(case["max"]):.1f}" '
            f'y1="{middle}" y2="{middle}"/>'
        ),
        f'<circle class="median" cx="{x(case["median"]):.1f}" cy="{middle}" r="4"/>',
    ]
    if target:
        at = x(target)
        parts.append(
            f'<line class="target" x1="{at:.1f}" x2="{at:.1f}" y1="{middle - 7}" '
            f'y2="{middle + 7}"><title>target {target:g}</title></line>'
        )
    label = f"{case['median']:.3g}" + (f" (target {target:g})" if target is not None else "")
    parts.append(f'<text x="{_LEFT + _PLOT + 12}" y="{y}">{label}</text>')
    return parts


def _short(title: str) -> str:
    return title if len(title) <= 40 else title[:39] + "…"


if __name__ == "__main__":
    sys.stdout.write(draw(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
