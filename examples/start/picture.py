"""The picture that docs/start.md draws of it."""

from __future__ import annotations

from pathlib import Path

from echo import valley

from ten_trio.graphs import to_svg

Path("valley.svg").write_text(to_svg(valley()), encoding="utf-8")
print("valley.svg is drawn")
