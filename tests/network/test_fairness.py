"""One client floods an engine; what another asks of it is answered after a bounded number of messages.

Bounded means: no more than what may be queued before it, however much the other one sends. Time is
virtual, so what is counted is messages; where handlers wait, it is virtual seconds.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

import ten_trio as ten
from ten_trio.runtime.current import NOTHING
from ten_trio.testing import MemoryNetwork

LIMITS = ten.Limits(queue=128, slice=32)
BURST = 1_000
"""What the loud client has sent before the other asks for anything."""
MORE = 40
"""And then each time it is its turn: more than is handled until the next one."""
HANDED_ON = 16
ASKED = 10
WORK = 0.001


@attrs.define
class Seen:
    """What the flooded extension has handled."""

    flooded: int = 0


class Busy(ten.Extension):
    """Works on each message of the flood, in one go or with a wait."""

    def __init__(self, seen: Seen, waits: bool) -> None:
        self.seen = seen
        self.waits = waits

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        if self.waits:
            await trio.sleep(WORK)
        self.seen.flooded += 1

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok(flooded=self.seen.flooded))


def graph(seen: Seen, waits: bool = False, inline: bool = True) -> ten.Graph:
    made = ten.Graph()
    made.node("busy", lambda: Busy(seen, waits), inline=inline)
    made.expose("data_in", "flood", "busy")
    made.expose("cmd_in", "ask", "busy")
    return made


async def flood(loud: ten.Client, burst: int) -> None:
    """Send without an end, and much more at a time than `send_data` would, which lets others run."""
    host = loud._core.host
    while True:
        for _ in range(burst):
            host.post(ten.Data("flood"), NOTHING)
        burst = MORE
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def flooded(
    seen: Seen, *, waits: bool = False, inline: bool = True, apart: bool = False, burst: int = BURST
) -> AsyncGenerator[ten.Client, None]:
    """The other client: of the same engine, or `apart` of another one in the same app."""
    protocols = [MemoryNetwork().protocol]
    with trio.fail_after(1_000):
        async with (
            ten.open_app(uri="memory://app", protocols=protocols, limits=LIMITS, grace=1) as app,
            app.open_graph(graph(seen, waits, inline)) as engine,
            app.open_graph(graph(Seen())) as other,
            ten.connect("memory://app", graph=engine.graph_id, protocols=protocols) as loud,
            ten.connect(
                "memory://app",
                graph=(other if apart else engine).graph_id,
                protocols=protocols,
            ) as quiet,
        ):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(flood, loud, burst)
                yield quiet
                nursery.cancel_scope.cancel("the other has been served")


async def waits_for(quiet: ten.Client, seen: Seen) -> list[int]:
    """How many messages of the flood were handled while each question was on its way."""
    between = []
    for _ in range(ASKED):
        before = seen.flooded
        (await quiet.send_cmd(ten.Cmd("ask"))).unwrap()
        between.append(seen.flooded - before)
    return between


@pytest.mark.parametrize("inline", [True, False])
@pytest.mark.parametrize("burst", [BURST, 4 * BURST])
async def test_a_question_waits_for_what_may_be_queued_before_it(
    autojump_clock: trio.testing.MockClock, inline: bool, burst: int
) -> None:
    seen = Seen()
    async with flooded(seen, inline=inline, burst=burst) as quiet:
        between = await waits_for(quiet, seen)
    assert sum(between) > 0, "nobody has flooded"
    # On its way it is handed on from task to task some times: each time the flood has a slice.
    assert max(between) <= LIMITS.queue + HANDED_ON * LIMITS.slice


async def test_a_question_does_not_wait_for_handlers_that_wait(
    autojump_clock: trio.testing.MockClock,
) -> None:
    seen = Seen()
    async with flooded(seen, waits=True) as quiet:
        began = trio.current_time()
        await waits_for(quiet, seen)
        assert trio.current_time() - began <= 2 * WORK * ASKED


async def test_a_question_to_another_engine_waits_for_some_slices(
    autojump_clock: trio.testing.MockClock,
) -> None:
    seen = Seen()
    async with flooded(seen, apart=True) as quiet:
        between = await waits_for(quiet, seen)
    assert sum(between) > 0, "nobody has flooded"
    assert max(between) <= HANDED_ON * LIMITS.slice


async def test_the_bound_does_not_hold_by_itself(autojump_clock: trio.testing.MockClock) -> None:
    """With a slice and queues without a bound, the question waits for all that was sent before it."""
    seen = Seen()
    protocols = [MemoryNetwork().protocol]
    limits = ten.Limits(queue=10**6, hard_queue=10**6, slice=10**6, slice_seconds=1_000)
    with trio.fail_after(1_000):
        async with (
            ten.open_app(uri="memory://app", protocols=protocols, limits=limits) as app,
            app.open_graph(graph(seen)) as engine,
            ten.connect("memory://app", graph=engine.graph_id, protocols=protocols) as quiet,
        ):
            core = engine._core
            for _ in range(10 * BURST):
                core.host.post(ten.Data("flood"), NOTHING)
            before = seen.flooded
            (await quiet.send_cmd(ten.Cmd("ask"))).unwrap()
            assert seen.flooded - before > LIMITS.queue + HANDED_ON * LIMITS.slice
