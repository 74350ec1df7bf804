"""Data on its way from one extension to the next: rings, with waits, across groups, fanned out.

The head of a ring sends a fresh message with three properties for each one that comes back to it, so
the number in flight stays the same; and it checks that they come back complete and in order.
"""

from __future__ import annotations

from functools import partial

import trio

import ten_trio as ten

from .harness import Case, Run


class Laps:
    """What the head of a ring counts."""

    def __init__(self, run: Run, laps: int, in_flight: int) -> None:
        self.clock = run.clock
        self.first = run.times(200)
        self.last = self.first + laps
        self.total = self.last + in_flight
        self.sent = 0
        self.seen = 0
        self.began = 0.0
        self.ended = 0.0
        self.done = trio.Event()

    def message(self) -> ten.Data:
        """The next one."""
        data = ten.Data("x", {"n": self.sent, "text": "two", "level": 3.0})
        self.sent += 1
        return data


class Head(ten.Extension):
    """Keeps a ring going, and takes the time."""

    def __init__(self, laps: Laps) -> None:
        self.laps = laps

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        laps = self.laps
        if data["n"] != laps.seen:
            raise AssertionError(f"message {data['n']} instead of {laps.seen}")
        laps.seen += 1
        if laps.seen == laps.first:
            laps.began = laps.clock()
        elif laps.seen == laps.last:
            laps.ended = laps.clock()
        if laps.sent < laps.total:
            await env.send_data(laps.message())
        elif laps.seen == laps.total:
            laps.done.set()


class Relay(ten.Extension):
    """Sends on what it gets."""

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await env.send_data(data)


class LateRelay(ten.Extension):
    """The same, but its first handler really waits."""

    waited = False

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        if not self.waited:
            self.waited = True
            await trio.lowlevel.checkpoint()
        await env.send_data(data)


class WaitingRelay(ten.Extension):
    """The same, but every handler really waits once."""

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await trio.lowlevel.checkpoint()
        await env.send_data(data)


class Sink(ten.Extension):
    """Ends the way of a message."""

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        pass


async def ring(
    run: Run,
    *,
    in_flight: int,
    size: int = 10,
    relay: type[ten.Extension] = Relay,
    groups: int = 1,
    laps: int = 600,
    turns: bool = False,
    flow: ten.FlowPolicy | None = None,
) -> float:
    """Seconds per hop in a ring of `size` extensions; with `turns` all messages belong to one.

    `flow`: the policy of every edge.
    """
    counted = run.times(laps)
    state = Laps(run, counted, in_flight)
    graph = ten.Graph()
    graph.node("e0", partial(_head, state), group="g0")
    for i in range(1, size):
        graph.node(f"e{i}", relay, group=f"g{i % groups}")
    for i in range(size):
        graph.connect(f"e{i}", f"e{(i + 1) % size}", data="x", flow=flow)
    graph.expose("data_in", "x", "e1")
    async with run.app.open_graph(graph) as engine:
        turn = engine.new_turn() if turns else None
        for _ in range(in_flight):
            await engine.send_data(state.message(), turn=turn)
        await state.done.wait()
    return (state.ended - state.began) / counted / size


async def fan_out(run: Run, *, receivers: int) -> float:
    """Seconds per delivery from one extension to several; one of them answers, which counts too."""
    counted = run.times(4_000 // (receivers + 1))
    state = Laps(run, counted, 1)
    graph = ten.Graph()
    graph.node("head", partial(_head, state))
    sinks = [graph.node(f"sink{i}", Sink) for i in range(1, receivers)]
    graph.node("last", Relay)
    graph.connect("head", [*sinks, "last"], data="x")
    graph.connect("last", "head", data="x")
    graph.expose("data_in", "x", "head")
    async with run.app.open_graph(graph) as engine:
        await engine.send_data(state.message())
        await state.done.wait()
    return (state.ended - state.began) / counted / (receivers + 1)


def _head(state: Laps, name: str) -> Head:
    return Head(state)


def _ring(name: str, title: str, **options: object) -> list[Case]:
    return [
        Case(f"{name}/{n}", f"{title}, {n} in flight", partial(ring, in_flight=n, **options))  # type: ignore[arg-type]
        for n in (1, 64)
    ]


CASES = [
    *_ring("hop", "data hop, ring of 10"),
    *(
        Case(
            f"waited/{n}",
            f"after a wait in each handler, {n} in flight",
            partial(ring, in_flight=n, relay=LateRelay),
            unit=f"hop/{n}",
            base=partial(ring, in_flight=n),
        )
        for n in (1, 64)
    ),
    *_ring("waits", "a wait in every handler", relay=WaitingRelay, laps=150),
    *_ring("groups", "data hop to another group", groups=2),
    Case("fan-out/1", "delivery, 1 receiver", partial(fan_out, receivers=1)),
    Case("fan-out/10", "delivery, 10 receivers", partial(fan_out, receivers=10)),
    Case("fan-out/100", "delivery, 100 receivers", partial(fan_out, receivers=100)),
]
