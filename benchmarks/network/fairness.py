"""One client floods a graph over TCP; how long another waits for an answer of that same graph."""

from __future__ import annotations

from time import perf_counter

import trio

import ten_trio as ten

from ..harness import Run, Several
from ..sessions import percentile
from .ends import Way, clients
from .talk import _frame

TCP = Way("tcp")


async def _flood(client: ten.Client, sent: list[int]) -> None:
    frame = _frame(bytes(320))
    while True:
        await client.send_audio_frame(frame)
        sent[0] += 1


async def _ask(client: ten.Client, n: int) -> list[float]:
    took = []
    for _ in range(n):
        began = perf_counter()
        (await client.send_cmd(ten.Cmd("echo"))).unwrap()
        took.append(perf_counter() - began)
        await trio.sleep(0.002)
    return sorted(took)


async def _beside_a_flood(run: Run) -> dict[str, float]:
    n = run.times(400)
    async with clients(run, TCP, 2) as (loud, quiet):
        await _ask(quiet, 5)
        alone = await _ask(quiet, n)
        sent = [0]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_flood, loud, sent)
            beside = await _ask(quiet, n)
            nursery.cancel_scope.cancel("the other has been measured")
    if not sent[0]:
        raise AssertionError("nobody has flooded")
    return {
        "alone": percentile(alone, 99) * 1_000,
        "p50": percentile(beside, 50) * 1_000,
        "p99": percentile(beside, 99) * 1_000,
    }


CASES = Several("network-fair", _beside_a_flood).cases(
    "ms",
    {
        "p50": ("a command of one client while another floods the graph", ""),
        "p99": ("the same, 99 % are faster", ""),
        "alone": ("without the flood, 99 % are faster", ""),
    },
    most_rounds=2,
)
