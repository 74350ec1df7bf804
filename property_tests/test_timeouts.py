"""Every command whose time is up ends with ERROR exactly then: on virtual time, to the very moment.

A command may have a timeout of its own, which every partial result starts anew, and a deadline around
the call, which nothing puts off and which what is sent on inherits.
"""

from __future__ import annotations

from math import inf

import attrs
import pytest
import trio
from hypothesis import strategies as st

import ten_trio as ten
from ten_trio.testing import trio_given
from ten_trio.testing.virtual_time import VIRTUAL_YEAR

times = st.sampled_from([0.5, 1.0, 2.0, 3.5, 8.0])


@attrs.frozen
class Ask:
    """One command: when it is sent, what limits it, and after which pauses its executor says what."""

    at: float
    timeout: float
    within: float
    partials: tuple[float, ...]
    answers: bool
    last: float
    hops: int

    @property
    def expected(self) -> tuple[float, str]:
        """How long it takes, and what it ends with: "" is an answer."""
        quiet_until, now = self.timeout, 0.0
        end = (inf, "")
        # Nothing that is sent on says anything in between.
        for pause in self.partials if not self.hops else ():
            now += pause
            if now >= quiet_until:
                break
            quiet_until = now + self.timeout
        else:
            if self.answers and now + self.last < quiet_until:
                end = (now + self.last, "")
        if end[0] == inf:
            end = (quiet_until, "Path timeout.")
        # A deadline is noticed where the command is sent, and by each one that was sent because of it.
        return end if end[0] < self.within else (self.within, "too slow")


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    """No two things at the same moment."""
    hops = draw(st.integers(0, 2))
    return Ask(
        draw(times) + 0.001,
        draw(st.sampled_from([1.25, 4.25, 9.75])),
        draw(st.sampled_from([inf, inf, 0.85, 2.35, 5.15])),
        tuple(draw(st.lists(times, max_size=3))) if not hops else (),
        draw(st.booleans()),
        draw(times) + 0.0625,
        hops,
    )


class Executor(ten.Extension):
    """Says what it was told to say; or asks the next one, without a timeout, and passes that on."""

    def __init__(self, limits: list[tuple[float, float]]) -> None:
        self.limits = limits

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        self.limits.append((cmd["until"], cmd.deadline))
        if cmd["hops"]:
            cmd_on = ten.Cmd(
                "c", {**cmd.properties, "hops": cmd["hops"] - 1}, dest=f"e{cmd['hops'] - 1}"
            )
            result = await env.send_cmd(cmd_on, timeout=inf)
            await env.return_result(cmd.ok() if result.ok else cmd.error(result.detail))
            return
        for pause in cmd["partials"]:
            await trio.sleep(pause)
            if not await env.return_result(cmd.partial()):
                return
        if cmd["answers"]:
            await trio.sleep(cmd["last"])
            await env.return_result(cmd.ok())
        else:
            await cmd.abandoned.wait()


async def give(engine: ten.Engine, ask: Ask, began: float) -> None:
    """Send one of them, and look at the clock."""
    await trio.sleep_until(began + ask.at)
    sent = trio.current_time()
    until = inf if ask.within == inf else sent + ask.within
    cmd = ten.Cmd(
        "c",
        {
            "hops": ask.hops,
            "partials": list(ask.partials),
            "answers": ask.answers,
            "last": ask.last,
            "until": until,
        },
        dest=f"e{ask.hops}",
    )
    how = ""
    with trio.move_on_after(ask.within) as scope:
        result = await engine.send_cmd(cmd, timeout=ask.timeout)
        how = result.detail
    if scope.cancelled_caught or how == "deadline exceeded":
        how = "too slow"
    took, end = ask.expected
    assert how == end
    assert trio.current_time() - sent == pytest.approx(took)


@trio_given(st.lists(asks(), min_size=1, max_size=8))
async def test_a_command_ends_when_its_time_is_up(asks: list[Ask]) -> None:
    limits: list[tuple[float, float]] = []
    graph = ten.Graph()
    for hops in range(3):
        graph.node(f"e{hops}", lambda: Executor(limits), group=f"g{hops}", cancel_abandoned=True)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        async with trio.open_nursery() as nursery:
            for ask in asks:
                nursery.start_soon(give, engine, ask, trio.current_time())
        endpoints = [*engine._core.instances.values(), *engine._core.outsides]
        await trio.sleep(0.01)
        assert not any(endpoint.out_paths for endpoint in endpoints)
    # Whoever works for somebody knows until when, however far from the one who is in a hurry.
    # (No limit is that of the test itself.)
    assert all(
        found > VIRTUAL_YEAR / 2 if until == inf else found == pytest.approx(until)
        for until, found in limits
    )


@trio_given(
    st.lists(st.tuples(times, st.sampled_from([0.4, 1.3, 2.7, 5.9])), min_size=1, max_size=8)
)
async def test_what_a_handler_asks_has_no_more_time_than_its_own_caller(
    asks: list[tuple[float, float]],
) -> None:
    """No executor answers: those that are asked last hear that nobody waits at the same moment."""
    heard: list[tuple[float, float]] = []

    class Last(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await cmd.abandoned.wait()
            heard.append((cmd["until"], trio.current_time()))

    class First(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            # Not waited for: it is the deadline that ends it, not this handler.
            env.post_cmd(ten.Cmd("on", {"until": cmd["until"]}, dest="last"), _ignore, timeout=inf)
            await trio.sleep_forever()

    async def _ignore(env: ten.TenEnv, result: ten.CmdResult, error: None) -> None:
        assert result.detail == "deadline exceeded"

    async def ask(engine: ten.Engine, at: float, within: float) -> None:
        await trio.sleep(at)
        until = trio.current_time() + within
        with trio.move_on_after(within):
            await engine.send_cmd(ten.Cmd("c", {"until": until}, dest="first"))

    graph = ten.Graph()
    graph.node("first", First)
    graph.node("last", Last)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        async with trio.open_nursery() as nursery:
            for at, within in asks:
                nursery.start_soon(ask, engine, at, within)
        await trio.sleep(0.01)
        assert len(heard) == len(asks)
        engine.stop()
    assert all(moment == pytest.approx(until) for until, moment in heard)
