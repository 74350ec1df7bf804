"""Graphs that come and go beside others that stay: pauses of the collector, growth, what is left.

In a fresh process: `python -m benchmarks.churn churn SECONDS IDLE`, or `... closed COUNT`.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import weakref
from functools import partial
from pathlib import Path
from time import perf_counter, thread_time
from typing import Any

import trio
import trio.testing

import ten_trio as ten

from .graphs import EXTENSIONS, _rss
from .harness import Case, Run, Several
from .hop import Relay, Sink

RATE = 100
"""Graphs a second."""
CLOSED = 1_000
THRESHOLDS = (50_000, 50, 1_000)
"""Of the garbage collector, as docs/performance.md advises."""


class _Pauses:
    """How long the collector stops everything, at most, in CPU time: a busy machine adds its own."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.count = 0
        self._began = 0.0

    def __call__(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began = thread_time()
        else:
            self.longest = max(self.longest, thread_time() - self._began)
            self.count += 1


def _graph() -> ten.Graph:
    graph = ten.Graph()
    last = EXTENSIONS - 1
    for i in range(EXTENSIONS):
        graph.node(f"e{i}", Sink if i == last else Relay)
    for i in range(last):
        graph.connect(f"e{i}", f"e{i + 1}", data="x")
    return graph


async def _churn(seconds: float, idle: int) -> dict[str, float]:
    graph = _graph()
    pauses = _Pauses()
    async with ten.open_app() as app:
        for _ in range(idle):
            await app.start_graph(graph)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
        opened = 0

        async def one() -> None:
            nonlocal opened
            async with app.open_graph(graph) as engine:
                await engine.send_data(ten.Data("x", dest="e0"))
            opened += 1

        async def for_a_while(seconds: float) -> None:
            began = trio.current_time()
            async with trio.open_nursery() as nursery:
                for tick in range(int(seconds * RATE)):
                    await trio.sleep_until(began + tick / RATE)
                    nursery.start_soon(one)

        await for_a_while(min(seconds, 2))  # until every cache and pool is filled
        gc.collect()
        before = _rss()
        opened = 0
        gc.callbacks.append(pauses)
        began = perf_counter()
        await for_a_while(seconds)
        took = perf_counter() - began
        gc.callbacks.remove(pauses)
        gc.collect()
        growth = _rss() - before
    return {
        "rate": opened / took,
        "pause": pauses.longest * 1_000,
        "growth": max(0, growth) / 1_024 / opened,
        "collections": pauses.count,
    }


async def _closed(count: int) -> dict[str, float]:
    """How many engines and extensions of so many closed graphs are still there while nothing collects."""
    made: list[weakref.ref[Any]] = []

    def noted(name: str) -> ten.Extension:
        extension = Relay() if name == "e0" else Sink()
        made.append(weakref.ref(extension))
        return extension

    graph = ten.Graph()
    for i in range(EXTENSIONS):
        graph.node(f"e{i}", noted)
    graph.connect("e0", [f"e{i}" for i in range(1, EXTENSIONS)], data="x")
    gc.collect()
    gc.disable()
    async with ten.open_app() as app:
        for _ in range(count):
            async with app.open_graph(graph) as engine:
                made += [weakref.ref(engine), weakref.ref(engine._core)]
                await engine.send_data(ten.Data("x", dest="e0"))
                await trio.testing.wait_all_tasks_blocked()
        del engine
        await trio.testing.wait_all_tasks_blocked()
        left = sum(ref() is not None for ref in made)
        gc.collect()
        kept = sum(ref() is not None for ref in made)
    if len(made) != (EXTENSIONS + 2) * count:
        raise AssertionError(f"{len(made)} objects were made")
    if kept:
        raise AssertionError(f"{kept} objects of closed graphs are kept for ever")
    return {"left": left}


async def _in_a_process(run: Run, *, what: str, arguments: tuple[float, ...]) -> dict[str, float]:
    process = await trio.run_process(
        [sys.executable, "-m", "benchmarks.churn", what, *map(str, arguments)],
        capture_stdout=True,
        cwd=Path(__file__).parents[1],
    )
    figures: dict[str, float] = json.loads(process.stdout)
    return figures


async def _measure_churn(run: Run, *, seconds: float, idle: int) -> dict[str, float]:
    seconds = float(os.environ.get("BENCHMARKS_CHURN_SECONDS", seconds))
    arguments = (0.2, 20) if run.quick else (seconds, idle)
    return await _in_a_process(run, what="churn", arguments=arguments)


async def _measure_closed(run: Run) -> float:
    figures = await _in_a_process(run, what="closed", arguments=(run.times(CLOSED),))
    return figures["left"]


def _cases(name: str, seconds: float, idle: int, **options: Any) -> list[Case]:
    several = Several(name, partial(_measure_churn, seconds=seconds, idle=idle))
    titles = {
        "pause": (f"longest pause of the collector beside {idle} idle", ""),
        "growth": ("growth of the process for each graph", "KiB"),
        "rate": ("graphs started and stopped a second, of 100", "1/s"),
    }
    return several.cases("ms", titles, most_rounds=1, **options)


CASES = [
    *_cases("churn", 3.0, 500),
    *_cases("churn-long", 300.0, 5_000, is_long=True),
    Case(
        "closed/left",
        f"objects left of {CLOSED} closed graphs, no collection",
        _measure_closed,
        unit="objects",
        is_ratio=False,
        most_rounds=1,
    ),
]


def main(argv: list[str]) -> None:
    """`churn SECONDS IDLE` or `closed COUNT`: print the figures as JSON."""
    what, *numbers = argv
    figures: dict[str, float]
    if what == "churn":
        figures = trio.run(_churn, float(numbers[0]), int(float(numbers[1])))
    else:
        figures = trio.run(_closed, int(float(numbers[0])))
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1:])
