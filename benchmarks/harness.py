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

from . import BUDGETS, TARGETS


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
    is_long: bool = False
    """Whether it is left out unless it is asked for."""

    @property
    def budget(self) -> float | None:
        """The most that its median may be."""
        return BUDGETS.get(self.name)

    @property
    def target(self) -> float | None:
        """What its median is to become."""
        return TARGETS.get(self.name)


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

    @property
    def is_met(self) -> bool | None:
        """Whether the median has reached the target; None if there is none."""
        target = self.case.target
        return None if target is None else self.median <= target


class Several:
    """One measurement that gives several figures, each of which is a case: whoever comes first takes it.

    The others of the same round find theirs in `run.shared`.
    """

    def __init__(self, name: str, measure: Callable[[Run], Awaitable[dict[str, float]]]) -> None:
        self.name = name
        self._measure = measure

    def figure(self, which: str) -> Measure:
        """The case of one of them."""

        async def measure(run: Run) -> float:
            kept: dict[str, list[float]] = run.shared.setdefault(f"figures of {self.name}", {})
            if not kept.get(which):
                for key, value in (await self._measure(run)).items():
                    kept.setdefault(key, []).append(value)
            return kept[which].pop(0)

        return measure

    def cases(self, unit: str, titles: dict[str, tuple[str, str]], **options: Any) -> list[Case]:
        """A case for each: what it is called behind the name, its title, its own unit if it has one."""
        return [
            Case(
                f"{self.name}/{which}",
                title,
                self.figure(which),
                own or unit,
                is_ratio=False,
                **options,
            )
            for which, (title, own) in titles.items()
        ]


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
