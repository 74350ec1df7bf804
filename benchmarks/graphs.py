"""Graphs as a whole: starting and stopping one, and what an idle one keeps in memory.

Memory is measured in a fresh process: `python -m benchmarks.graphs rss graph 1000`.
"""

from __future__ import annotations

import gc
import os
import sys
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import trio
import trio.testing

import ten_trio as ten

from .harness import Case, Run
from .hop import Relay

EXTENSIONS = 5


class Lives(Relay):
    """Has every callback there is, so that it has a task of its own from beginning to end."""

    async def on_configure(self, env: ten.TenEnv) -> None:
        pass

    async def on_init(self, env: ten.TenEnv) -> None:
        pass

    async def on_start(self, env: ten.TenEnv) -> None:
        pass

    async def on_stop(self, env: ten.TenEnv) -> None:
        pass

    async def on_deinit(self, env: ten.TenEnv) -> None:
        pass


def _graph(kind: type[ten.Extension] = Relay) -> ten.Graph:
    graph = ten.Graph()
    for i in range(EXTENSIONS):
        graph.node(f"e{i}", kind)
    for i in range(EXTENSIONS - 1):
        graph.connect(f"e{i}", f"e{i + 1}", data="x")
    return graph


async def _start_stop(run: Run, *, kind: type[ten.Extension]) -> float:
    n = run.times(40)
    graph = _graph(kind)
    began = run.clock()
    for _ in range(n):
        async with run.app.open_graph(graph) as engine:
            pass
        if engine.report is None or engine.report.grace_exhausted:
            raise AssertionError(f"not closed in order: {engine.report}")
    return (run.clock() - began) / n


async def _drain(channel: trio.MemoryReceiveChannel[int]) -> None:
    async for _ in channel:
        pass


async def _bare_nursery(run: Run) -> float:
    """As many tasks as the graph has extensions, a channel for each and one more for all."""
    n = run.times(40)
    began = run.clock()
    for _ in range(n):
        async with trio.open_nursery() as nursery:
            channels = [trio.open_memory_channel[int](10) for _ in range(EXTENSIONS + 1)]
            for _, receive in channels[:EXTENSIONS]:
                nursery.start_soon(_drain, receive)
            for _ in range(2):
                await trio.lowlevel.checkpoint()
            for send, _ in channels:
                send.close()
    return (run.clock() - began) / n


# Memory ---------------------------------------------------------------------------------------


async def _idle(run: Run, *, meter: str, what: str) -> float:
    """KiB for each of 1,000, or tasks, which it doesn't take as many to count."""
    n = run.times(100 if meter == "tasks" else 1_000)
    root = Path(__file__).parents[1]
    process = await trio.run_process(
        [sys.executable, "-m", "benchmarks.graphs", meter, what, str(n)],
        capture_stdout=True,
        cwd=root,
    )
    return float(process.stdout)


def _rss() -> int:
    resident = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(resident) * os.sysconf("SC_PAGE_SIZE")


def _heap() -> int:
    return tracemalloc.get_traced_memory()[0]


def _count_tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def _measure_idle(meter: Callable[[], int], unit: int, what: str, n: int) -> None:
    """Print how many `unit`s each of `n` takes: graphs as a server starts them, which no block is open
    for, or bare nurseries, each of which needs a task to hold it."""
    graph = _graph(Lives if what == "callbacks" else Relay)

    async def hold(
        app: ten.App, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        if what != "nursery":
            await app.start_graph(graph)
            task_status.started()
            return
        async with trio.open_nursery() as nursery:
            channels = [trio.open_memory_channel[int](10) for _ in range(EXTENSIONS + 1)]
            for _, receive in channels[:EXTENSIONS]:
                nursery.start_soon(_drain, receive)
            task_status.started()
            await trio.sleep_forever()

    async with ten.open_app() as app, trio.open_nursery() as nursery:
        for _ in range(5):
            await nursery.start(hold, app)
        await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        before = meter()
        for _ in range(n):
            await nursery.start(hold, app)
        await trio.testing.wait_all_tasks_blocked()
        gc.collect()
        print((meter() - before) / n / unit)
        nursery.cancel_scope.cancel()


def main(argv: list[str]) -> None:
    """`rss|heap|tasks graph|callbacks|nursery COUNT`: print the KiB that each takes, or its tasks."""
    meter, what, n = argv
    if meter == "heap":
        tracemalloc.start()
    meters = {"rss": (_rss, 1_024), "heap": (_heap, 1_024), "tasks": (_count_tasks, 1)}
    trio.run(_measure_idle, *meters[meter], what, int(n))


def _idle_case(name: str, title: str, meter: str, what: str, unit: str = "KiB") -> Case:
    measure: Any = partial(_idle, meter=meter, what=what)
    return Case(name, title, measure, unit=unit, is_ratio=False, most_rounds=1)


CASES = [
    Case(
        "start-stop",
        "start and stop a graph of 5",
        partial(_start_stop, kind=Relay),
        unit="nursery",
        base=_bare_nursery,
    ),
    Case(
        "start-stop/callbacks",
        "the same, each with all callbacks",
        partial(_start_stop, kind=Lives),
        unit="nursery",
        base=_bare_nursery,
    ),
    _idle_case("idle-rss", "one of 1,000 idle graphs of 5", "rss", "graph"),
    _idle_case("idle-rss/callbacks", "the same, with all callbacks", "rss", "callbacks"),
    _idle_case("idle-heap", "one of 1,000 idle graphs of 5, Python objects only", "heap", "graph"),
    _idle_case("idle-tasks", "its tasks", "tasks", "graph", "tasks"),
    _idle_case("idle-bare", "one of 1,000 idle bare nurseries", "rss", "nursery"),
]

if __name__ == "__main__":
    main(sys.argv[1:])
