"""Deadlines only ever shrink on the way down, and they are kept.

A received command has exactly the time that its sender had left, or the time that its sender has given
it if that is less; whoever waits for its result waits no longer than that; and nothing is left of any
command in the end.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from math import inf
from typing import Any

import attrs
import pytest
import trio
from hypothesis import strategies as st

import ten_trio as ten
from property_tests.traffic import dawdle, graph_of, limits, waits
from ten_trio.runtime import endpoint, paths
from ten_trio.runtime.deadlines import Deadlines, deadline_here
from ten_trio.testing import trio_given
from ten_trio.testing.virtual_time import run_in_virtual_time

SLACK = 1e-6
"""Seconds by which two sums of the same numbers may differ."""
PATIENCE = 10.0
"""Seconds that every caller waits if nothing else is said, which is a deadline as well."""
EVER = 1_000.0
"""Seconds after which all of it has ended."""


@attrs.frozen
class Ask:
    """One command: to which node, how, within how many seconds, and how long to wait before."""

    dest: int
    how: str
    within: float
    before: float


@attrs.frozen
class Node:
    """An extension: what it asks of later ones, and how long it then takes over its answer; inf: until
    nobody waits for it."""

    asks: tuple[Ask, ...]
    after: float
    group: int
    inline: bool
    cmd_handlers: str


@attrs.frozen
class Plan:
    """Nodes of which each asks later ones only, and what the host asks of them, all at once."""

    nodes: tuple[Node, ...]
    asks: tuple[Ask, ...]


spans = st.sampled_from([inf, 0.0, 0.005, 0.3, 0.5, 1.0, 5.0])
ways = st.sampled_from(["send", "each", "in a turn", "start", "post"])


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Up to four nodes with up to two questions each, and up to four of the host's."""
    size = draw(st.integers(1, 4))

    def asks(first: int, ways: st.SearchStrategy[str], least: int, most: int) -> tuple[Ask, ...]:
        if first == size:
            return ()
        ask = st.builds(Ask, st.integers(first, size - 1), ways, spans, waits)
        return tuple(draw(st.lists(ask, min_size=least, max_size=most)))

    nodes = [
        Node(
            asks(index + 1, ways, 0, 2),
            draw(waits | st.just(inf)),
            draw(st.integers(0, 1)),
            draw(st.booleans()),
            draw(st.sampled_from(["concurrent", "serial"])),
        )
        for index in range(size)
    ]
    return Plan(tuple(nodes), asks(0, st.sampled_from(["send", "each", "start"]), 1, 4))


class Talk:
    """One run of a plan, and what was wrong in it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.wrong: list[str] = []

    async def run(self, bounds: ten.Limits) -> None:
        """Ask everything, and look afterwards whether anything is left."""
        graph = graph_of(self.plan.nodes, lambda node: Asked(node, self))
        async with ten.open_app(limits=bounds) as app, app.open_graph(graph) as engine:
            async with trio.open_nursery() as nursery:
                for ask in self.plan.asks:
                    nursery.start_soon(self.ask, engine, ask, inf)
            await trio.sleep(EVER)
            for each in engine._core.endpoints():
                left = [*each.out_paths.values(), *each.in_paths.values()]
                self.wrong += [f"{each.name} still has {path}" for path in left]

    async def ask(self, sender: Any, ask: Ask, until: float) -> None:
        """Ask for something that has time until then, and see that this is no longer waited for."""
        await dawdle(ask.before)
        now = trio.current_time()
        own = now + min(ask.within, PATIENCE)
        # A promise has no deadline of its own: who knows who will wait for it. Nor has a command that
        # is sent in a scope which is over already: that goes out, and is abandoned at once.
        has_own = ask.within and ask.how not in ("start", "post")
        given = min(until, own) if has_own else until
        cmd = ten.Cmd("c", {"until": str(given)}, dest=f"n{ask.dest}")

        def check(at: float) -> None:
            if trio.current_time() > max(now, at) + SLACK:
                self.wrong.append(f"{ask} until {at} has taken until {trio.current_time()}")

        if ask.how == "post":
            sender.post_cmd(cmd, lambda *_: check(until))
            return
        with trio.move_on_at(own):
            if ask.how == "start":
                await sender.start_cmd(cmd).result()
            elif ask.how == "each":
                async with sender.send_cmd_ex(cmd) as results:
                    async for _ in results:
                        pass
            else:
                with sender.turn_scope() if ask.how == "in a turn" else nullcontext():
                    await sender.send_cmd(cmd)
        check(min(until, own))


class Asked(ten.Extension):
    """Looks at its deadline, asks others, takes its time, answers."""

    def __init__(self, plan: Node, talk: Talk) -> None:
        self.plan = plan
        self.talk = talk

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        until, given = cmd.deadline, float(cmd["until"])
        if until != given and not abs(until - given) <= SLACK:
            self.talk.wrong.append(f"{env.name} has until {until}, its sender had until {given}")
        for ask in self.plan.asks:
            await self.talk.ask(env, ask, until)
        if self.plan.after < inf:
            await dawdle(self.plan.after)
        else:
            with trio.move_on_after(2 * PATIENCE):
                await cmd.abandoned.wait()
        await env.return_result(cmd.ok())


async def check(plan: Plan, bounds: ten.Limits) -> None:
    talk = Talk(plan)
    await talk.run(bounds)
    assert not talk.wrong


@trio_given(plans(), limits)
async def test_deadlines_only_shrink_and_are_kept(plan: Plan, bounds: ten.Limits) -> None:
    await check(plan, bounds)


# Mutants -----------------------------------------------------------------------------------------


def chain(how: str, *within: float) -> Plan:
    """The host asks the first node, each asks the next, the last never answers."""
    first, *others = [Ask(index, how, span, 0.0) for index, span in enumerate(within)]
    nodes = [Node((ask,), 0.0, 0, True, "concurrent") for ask in others]
    last = Node((), inf, 0, True, "concurrent")
    return Plan((*nodes, last), (attrs.evolve(first, how="send"),))


class Unhanded:
    """A message in hand that is no command."""

    _path = None

    def __init__(self, msg: Any) -> None:
        self._msg = msg

    def __getattr__(self, name: str) -> Any:
        return getattr(self._msg, name)


def inheriting_nothing(start: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, cmd, sink, now, **more: start(self, cmd, sink, Unhanded(now), **more)


def giving_nothing(start: Callable[..., Any]) -> Callable[..., Any]:
    def mutant(self: Any, *args: Any, until: float = inf, **more: Any) -> Any:
        return start(self, *args, until=until if self.name.startswith("ten:") else inf, **more)

    return mutant


def growing(limit: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, path, until: limit(self, path, until + 1)


def watching_nothing(watch: Callable[..., Any]) -> Callable[..., Any]:
    return lambda self, path: None


Mutate = Callable[[Callable[..., Any]], Callable[..., Any]]

MUTANTS: dict[str, tuple[type, str, Mutate, Plan]] = {
    "nothing is inherited": (endpoint.Endpoint, "start", inheriting_nothing, chain("send", 1, 5)),
    "one's own don't count": (endpoint.Endpoint, "start", giving_nothing, chain("send", 5, 1)),
    "they grow": (paths.Expiry, "limit", growing, chain("send", 1, inf)),
    "they aren't kept": (Deadlines, "watch", watching_nothing, chain("start", 1, 5)),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_the_property_notices(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    owner, attribute, mutate, plan = MUTANTS[name]
    run_in_virtual_time(lambda: check(plan, ten.Limits()))
    monkeypatch.setattr(owner, attribute, mutate(getattr(owner, attribute)))
    with pytest.raises(AssertionError):
        run_in_virtual_time(lambda: check(plan, ten.Limits()))


@trio_given(
    st.lists(st.tuples(st.floats(0, 5) | st.sampled_from([inf, -inf, -1.0]), st.booleans())),
    st.none() | st.integers(0, 5),
)
async def test_the_scopes_around_a_sender_are_read_as_trio_reads_them(
    scopes: list[tuple[float, bool]], cancelled: int | None
) -> None:
    """But for cancelled ones: it is the wait for the result that ends then."""
    now = trio.current_time()
    with ExitStack() as stack:
        for index, (left, shield) in enumerate(scopes):
            scope = stack.enter_context(trio.CancelScope(deadline=now + left, shield=shield))
            if index == cancelled:
                scope.cancel()
            told = trio.current_effective_deadline()
            assert deadline_here() == (inf if told == -inf else told)
