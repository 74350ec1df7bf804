"""What Python and Trio themselves cost; H, what everything else is compared with, is among it."""

from __future__ import annotations

from collections import deque
from functools import partial
from itertools import repeat

import trio
import trio.testing

from .harness import Case, Run


async def channel_hop(run: Run) -> float:
    """H: `send_nowait` into a memory channel, and the switch to the task that waits in `receive`."""
    hops = run.times(4_000)
    there, at_there = trio.open_memory_channel[int](10)
    back, at_back = trio.open_memory_channel[int](10)

    async def answer() -> None:
        async for number in at_there:
            back.send_nowait(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        await trio.testing.wait_all_tasks_blocked()
        began = run.clock()
        for number in range(hops // 2):
            there.send_nowait(number)
            await at_back.receive()
        seconds = run.clock() - began
        there.close()
    return seconds / (hops // 2 * 2)


async def _nothing() -> None:
    pass


async def _await(run: Run) -> float:
    n = run.times(20_000)
    began = run.clock()
    for _ in repeat(None, n):
        await _nothing()
    return (run.clock() - began) / n


async def _deque_pair(run: Run) -> float:
    n = run.times(20_000)
    queue: deque[int] = deque()
    began = run.clock()
    for _ in repeat(None, n):
        queue.append(1)
        queue.popleft()
    return (run.clock() - began) / n


async def _channel_pair(run: Run) -> float:
    n = run.times(10_000)
    send, receive = trio.open_memory_channel[int](10)
    began = run.clock()
    for _ in repeat(None, n):
        send.send_nowait(1)
        receive.receive_nowait()
    return (run.clock() - began) / n


async def _checkpoint(run: Run) -> float:
    n = run.times(4_000)
    began = run.clock()
    for _ in repeat(None, n):
        await trio.lowlevel.checkpoint()
    return (run.clock() - began) / n


async def _checkpoints(run: Run, *, tasks: int) -> float:
    """A step of a task where as many as these are ready in each pass of the scheduler."""
    n = run.times(4_000) // tasks

    async def steps() -> None:
        for _ in repeat(None, n):
            await trio.lowlevel.checkpoint()

    began = run.clock()
    async with trio.open_nursery() as nursery:
        for _ in range(tasks):
            nursery.start_soon(steps)
    return (run.clock() - began) / (n * tasks)


async def _park(run: Run) -> float:
    """Two tasks that park and wake each other: a task switch and nothing else."""
    switches = run.times(4_000)
    tasks = [trio.lowlevel.current_task()]

    def abort(_: object) -> trio.lowlevel.Abort:
        return trio.lowlevel.Abort.SUCCEEDED

    async def answer() -> None:
        tasks.append(trio.lowlevel.current_task())
        while True:
            await trio.lowlevel.wait_task_rescheduled(abort)
            trio.lowlevel.reschedule(tasks[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        await trio.testing.wait_all_tasks_blocked()
        began = run.clock()
        for _ in repeat(None, switches // 2):
            trio.lowlevel.reschedule(tasks[1])
            await trio.lowlevel.wait_task_rescheduled(abort)
        seconds = run.clock() - began
        nursery.cancel_scope.cancel()
    return seconds / (switches // 2 * 2)


CASES = [
    Case("await", "await an empty coroutine", _await),
    Case("deque", "deque: append, popleft", _deque_pair),
    Case("channel", "memory channel: put, get, no switch", _channel_pair),
    Case("checkpoint", "checkpoint", _checkpoint),
    Case("checkpoint/10", "checkpoint, 10 tasks ready", partial(_checkpoints, tasks=10)),
    Case("park", "switch to a parked task", _park),
]
