"""Messages to a graph in another thread, in batches: what they cost the one that sends them."""

from __future__ import annotations

from dataclasses import replace
from itertools import repeat
from time import thread_time

import trio

import ten_trio as ten

from .floor import channel_hop
from .harness import Case, Run

BATCH = 500


class Counts(ten.Extension):
    """Counts data, and answers when all of a batch are there."""

    seen = 0

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        self.seen += 1

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok(seen=self.seen))


class Sends(ten.Extension):
    """Sends a batch to the extension of the other graph, and says how long that took of its thread."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        to = ten.Loc("", cmd["graph"], "counts")
        batch = [ten.Data("x", {"n": n}, dest=to) for n in range(BATCH)]
        began = thread_time()
        for data in batch:
            await env.send_data(data)
        await env.return_result(cmd.ok(seconds=thread_time() - began))


async def _batches(run: Run) -> float:
    """CPU seconds per message of the sending thread: the other thread's share isn't in it."""
    there, here = ten.Graph(), ten.Graph()
    there.node("counts", Counts)
    here.node("sends", Sends)
    batches = 2 if run.quick else 8
    seconds = 0.0
    async with run.app.open_graph(there, own_loop=True) as far, run.app.open_graph(here) as near:
        for _ in repeat(None, batches):
            go = ten.Cmd("go", {"graph": far.graph_id}, dest="sends")
            seconds += (await near.send_cmd(go)).unwrap()["seconds"]
            seen = 0
            with trio.fail_after(10):
                # A command doesn't overtake what was sent before, but it comes by another sender.
                while seen % BATCH or not seen:
                    seen = (await far.send_cmd(ten.Cmd("count", dest="counts"))).unwrap()["seen"]
    if seen != BATCH * batches:
        raise AssertionError(f"{seen} of {BATCH * batches} messages have arrived")
    return seconds / seen


async def _list(run: Run) -> float:
    """The same for a host that hands a batch over in one call."""
    there = ten.Graph()
    there.node("counts", Counts)
    batches = 2 if run.quick else 8
    seconds = 0.0
    async with run.app.open_graph(there, own_loop=True) as far:
        for _ in repeat(None, batches):
            batch = [ten.Data("x", {"n": n}, dest="counts") for n in range(BATCH)]
            began = thread_time()
            taken = await far.send_all(batch)
            seconds += thread_time() - began
            if taken != BATCH:
                raise AssertionError(f"{taken} of {BATCH} messages were taken")
    return seconds / (BATCH * batches)


async def _hop(run: Run) -> float:
    """H, in CPU time too."""
    return await channel_hop(replace(run, clock=thread_time))


CASES = [
    Case("own-loop/batch", "message to another thread, its sender's share", _batches, base=_hop),
    Case("own-loop/list", "the same, by a host that has a list of them", _list, base=_hop),
]
