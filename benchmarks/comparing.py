"""What was measured, beside what was measured before: a gate that only notices what has grown a lot."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import attrs
from rich.table import Table

from .harness import Row

Figures: TypeAlias = Mapping[str, Mapping[str, Any]]
"""What a run has said of each case, by its name."""


def read(path: Path) -> Figures:
    """Read what `--json` has written. Raises `OSError`, `ValueError`."""
    document = json.loads(path.read_text(encoding="utf-8"))
    try:
        figures = {case["name"]: case for case in document["cases"]}
        for case in figures.values():
            float(case["median"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"not what --json writes: {error!r}") from error
    return figures


@attrs.frozen
class Compared:
    """A case, now and before."""

    name: str
    unit: str
    now: float
    before: float | None
    """None: it wasn't measured, or in another unit."""
    margin: float

    @property
    def growth(self) -> float | None:
        """How many times what it was; None if that can't be said."""
        return self.now / self.before if self.before else None

    @property
    def is_worse(self) -> bool:
        """Whether it has grown by more than the margin."""
        return self.growth is not None and self.growth > self.margin


def compare(rows: Sequence[Row], old: Figures, margin: float) -> list[Compared]:
    """Put each row beside the figure of the same case in the same unit."""
    compared = []
    for row in rows:
        name, unit = row.case.name, row.case.unit
        found = old.get(name)
        before = float(found["median"]) if found is not None and found["unit"] == unit else None
        compared.append(Compared(name, unit, row.median, before, margin))
    return compared


def table(compared: Sequence[Compared], source: str, margin: float) -> Table:
    """The table that says so."""
    made = Table(box=None, pad_edge=False)
    made.add_column(f"compared with {source}", no_wrap=True)
    for title in ("before", "now", "growth"):
        made.add_column(title, justify="right", no_wrap=True)
    made.add_column("")
    for each in compared:
        made.add_row(
            each.name,
            "" if each.before is None else f"{each.before:.3g}",
            f"{each.now:.3g}",
            "" if each.growth is None else f"x {each.growth:.2f}",
            f"[red]beyond {margin:g} times[/red]" if each.is_worse else "",
        )
    return made
