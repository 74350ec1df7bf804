"""How cost grows: with the engines in a process, the commands in flight, and the nodes of a graph.

Each is compared with the same work on a small number; 1 would be flat.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

import trio
import trio.testing

import ten_trio as ten

from .commands import _from_host
from .harness import Case, Run
from .hop import Relay, ring

SIZE = 5
HOPS = 60_000
"""Of all engines together, so that the work is the same however many they are."""


class _Home(ten.Extension):
    """Sends its message around until it has made its laps."""

    def __init__(self, laps: int, done: list[str], all_done: trio.Event, engines: int) -> None:
        self.left = laps
        self.done = done
        self.all_done = all_done
        self.engines = engines

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        self.left -= 1
        if self.left >= 0:
            await env.send_data(ten.Data("x", {"n": self.left, "text": "two", "level": 3.0}))
            return
        self.done.append(env.graph_id)
        if len(self.done) == self.engines:
            self.all_done.set()


async def engines(run: Run, *, count: int) -> float:
    """Seconds per hop with one message on its way in each of `count` engines."""
    laps = max(1, run.times(HOPS) // count // SIZE)
    done: list[str] = []
    all_done = trio.Event()
    graph = ten.Graph()
    graph.node("e0", lambda name: _Home(laps, done, all_done, count))
    for i in range(1, SIZE):
        graph.node(f"e{i}", Relay)
    for i in range(SIZE):
        graph.connect(f"e{i}", f"e{(i + 1) % SIZE}", data="x")
    graph.expose("data_in", "x", "e0")
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(run.app.open_graph(graph)) for _ in range(count)]
        await trio.testing.wait_all_tasks_blocked()
        began = run.clock()
        for engine in opened:
            await engine.send_data(ten.Data("x"))
        await all_done.wait()
        return (run.clock() - began) / (laps * SIZE * count)


def _growing(name: str, title: str, measure: object, base: object, **options: int) -> Case:
    return Case(name, title, measure, unit="with few", base=base, **options)  # type: ignore[arg-type]


CASES = [
    *(
        _growing(
            f"scale-engines/{n}",
            f"data hop, {n} engines in one process",
            partial(engines, count=n),
            partial(engines, count=1),
            most_rounds=rounds,
        )
        for n, rounds in ((100, 5), (1_000, 2))
    ),
    _growing(
        "scale-cmds/10000",
        "command, host, 10,000 in flight",
        partial(_from_host, in_flight=10_000, n=10_000),
        partial(_from_host, in_flight=10, n=3_000),
        most_rounds=5,
    ),
    *(
        _growing(
            f"scale-nodes/{n}",
            f"data hop, ring of {n}",
            partial(ring, in_flight=1, size=n, laps=6_000 // n),
            partial(ring, in_flight=1, size=5, laps=1_200),
            most_rounds=rounds,
        )
        for n, rounds in ((50, 5), (500, 5))
    ),
]
