"""How it is measured: cases in shuffled rounds, each between two measurements of what it is compared with.

A ratio is formed from neighbours in time, since a machine changes its speed from one second to the
next; then come the median of the rounds, the smallest and the largest.
"""

from __future__ import annotations

import gc
import random
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import trio

import ten_trio as ten

from . import BUDGETS


@dataclass(frozen=True)
class Run:
    """What the cases of one run have in common."""

    app: ten.App
    quick: bool = False
    clock: Callable[[], float] = perf_counter
    nursery: trio.Nursery | None = None
    """For what several cases need, such as another process; cancelled at the end."""
    shared: dict[str, Any] = field(default_factory=dict)
    """What is in there."""

    def times(self, n: int) -> int:
        """How often to repeat something that is to be repeated `n` times in a full run."""
        return max(5, n // 20) if self.quick else n


Measure = Callable[[Run], Awaitable[float]]
"""Measures something once: the seconds that one operation took."""


@dataclass(frozen=True)
class Case:
    """One line of the table."""

    name: str
    title: str
    measure: Measure
    unit: str = "H"
    base: Measure | None = None
    """What it is compared with; the raw channel hop unless something else is given."""
    is_ratio: bool = True
    """False: `measure` returns the figure itself, in `unit`."""
    most_rounds: int = 1_000

    @property
    def budget(self) -> float | None:
        """The most that its median may be."""
        return BUDGETS.get(self.name)


@dataclass
class Row:
    """What was measured for one case."""

    case: Case
    ratios: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The figure that counts."""
        return statistics.median(self.ratios)

    def is_over(self, factor: float = 1.0) -> bool:
        """Whether the median is beyond `factor` times the budget."""
        budget = self.case.budget
        return budget is not None and self.median > budget * factor


async def measure(
    cases: Sequence[Case],
    run: Run,
    rounds: int,
    hop: Measure,
    done: Callable[[], object] = lambda: None,
) -> list[Row]:
    """Measure every case once per round, in another order each time; `done` is called after each."""
    rows = {case.name: Row(case) for case in cases}
    for index in range(rounds):
        for case in random.sample(cases, len(cases)):
            if index < case.most_rounds:
                await _once(rows[case.name], run, hop)
            done()
    return list(rows.values())


async def _once(row: Row, run: Run, hop: Measure) -> None:
    case = row.case
    base = case.base or hop
    gc.collect()
    if not case.is_ratio:
        row.ratios.append(await case.measure(run))
        return
    before = await base(run)
    seconds = await case.measure(run)
    after = await base(run)
    row.seconds.append(seconds)
    row.ratios.append(2 * seconds / (before + after))
