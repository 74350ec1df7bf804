"""Turns: what they cost on the way, and how long it takes to cancel one."""

from __future__ import annotations

import statistics
from functools import partial

import trio

import ten_trio as ten

from .harness import Case, Run
from .hop import ring

EXTENSIONS = 5
QUEUED = 1_000


class Busy(ten.Extension):
    """Is held up by the first message, so that the others wait."""

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        if data.name == "hold":
            await trio.sleep_forever()
        raise AssertionError(f"{data!r} was handled")


async def cancel(run: Run) -> float:
    """Seconds to cancel a turn with a waiting handler in each extension, and as many messages queued."""
    graph = ten.Graph()
    for index in range(EXTENSIONS):
        graph.node(f"e{index}", Busy)
        graph.expose("data_in", "hold", f"e{index}")
        graph.expose("data_in", "wait", f"e{index}")
    took = []
    async with run.app.open_graph(graph) as engine:
        for _ in range(run.times(20)):
            turn = engine.new_turn()
            await engine.send_data(ten.Data("hold"), turn=turn)
            while sum(len(each.workers) for each in engine._core.instances.values()) < EXTENSIONS:
                await trio.lowlevel.checkpoint()
            for _ in range(QUEUED // EXTENSIONS):
                await engine.send_data(ten.Data("wait"), turn=turn)
            began = run.clock()
            report = await engine.cancel_turn(turn)
            took.append(run.clock() - began)
            if report is None or (report.dropped, report.handlers) != (QUEUED, EXTENSIONS):
                raise AssertionError(f"not all of the turn was cancelled: {report}")
    return statistics.median(took)


CASES = [
    Case(
        "turn/hop",
        "data hop with a turn, 64 in flight",
        partial(ring, in_flight=64, turns=True),
        unit="hop/64",
        base=partial(ring, in_flight=64),
    ),
    Case(
        "turn/cancel",
        f"cancelling a turn: {EXTENSIONS} handlers, {QUEUED} messages queued",
        cancel,
    ),
]
