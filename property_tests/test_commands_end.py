"""Every command ends, whatever the executors do: in a result, or in the caller's cancellation."""

from __future__ import annotations

from contextlib import suppress

import attrs
import trio
from hypothesis import strategies as st

import ten_trio as ten
from property_tests.traffic import dawdle, limits, waits
from ten_trio.testing import trio_given

DEEDS = ("answer", "stream", "stream on", "raise", "ignore", "hang", "relay", "ask", "remove")


@attrs.frozen
class Executor:
    """What one extension does with one command after another."""

    deeds: tuple[str, ...]
    wait: float
    on_error: str
    cancel_abandoned: bool
    inline: bool
    group: int


@attrs.frozen
class Order:
    """One command of a caller, and when that loses its patience."""

    dests: tuple[int, ...]
    how: str
    timeout: float
    patience: float
    before: float


executors = st.builds(
    Executor,
    st.lists(st.sampled_from(DEEDS), min_size=1, max_size=3).map(tuple),
    waits,
    st.sampled_from(["isolate", "isolate", "restart", "stop_graph"]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 1),
)


@st.composite
def plans(draw: st.DrawFn) -> tuple[list[Executor], list[Order], bool]:
    """Executors, the commands for them, and whether an extension sends these or the host."""
    crew = draw(st.lists(executors, min_size=1, max_size=4))
    order = st.builds(
        Order,
        st.lists(st.integers(0, len(crew) - 1), min_size=1, max_size=3, unique=True).map(tuple),
        st.sampled_from(["send_cmd", "send_cmd_ex", "start_cmd"]),
        st.sampled_from([0.2, 5.0, float("inf")]),
        st.sampled_from([0.0, 0.3, float("inf")]),
        waits,
    )
    return crew, draw(st.lists(order, min_size=1, max_size=8)), draw(st.booleans())


class Worker(ten.Extension):
    """Does its deeds in turn."""

    def __init__(self, plan: Executor, test: Conversation, index: int) -> None:
        self.plan = plan
        self.test = test
        self.next = f"e{(index + 1) % test.size}"
        self.turn = 0

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        deed = self.plan.deeds[self.turn % len(self.plan.deeds)]
        self.turn += 1
        await dawdle(self.plan.wait)
        hops = cmd.get("hops", 0)
        if deed in ("relay", "ask") and hops >= 3:
            deed = "answer"
        if deed in ("stream", "stream on"):
            for _ in range(3):
                await env.return_result(cmd.partial())
                await dawdle(self.plan.wait)
        if deed in ("answer", "stream"):
            await env.return_result(cmd.ok())
        elif deed == "raise":
            raise RuntimeError("on purpose")
        elif deed == "hang":
            await trio.sleep_forever()
        elif deed == "relay":
            cmd.set_dest(self.next)
            cmd["hops"] = hops + 1
            env.post_cmd(cmd)
        elif deed == "ask":
            result = await env.send_cmd(ten.Cmd("ask", {"hops": hops + 1}, dest=self.next))
            await env.return_result(cmd.ok() if result.ok else cmd.error(result.detail))
        elif deed == "remove":
            self.test.remove(self.name)


class Conversation:
    """The host's side of one example."""

    def __init__(self, crew: list[Executor], orders: list[Order]) -> None:
        self.crew = crew
        self.orders = orders
        self.size = len(crew)
        self.engine: ten.Engine
        self.nursery: trio.Nursery

    def remove(self, name: str) -> None:
        """Take an extension out of the graph, unless it is on its way out already."""

        async def go() -> None:
            with suppress(ten.GraphError, ten.EngineClosed):
                await self.engine.remove_extension(name)

        self.nursery.start_soon(go)

    async def call(self, sender: ten.Engine | ten.TenEnv, order: Order) -> None:
        """Give one order, and note that it has ended."""
        await dawdle(order.before)
        cmd = ten.Cmd("order", dest=[f"e{dest}" for dest in order.dests])
        with trio.move_on_after(order.patience):
            try:
                if order.how == "send_cmd":
                    result = await sender.send_cmd(cmd, timeout=order.timeout)
                elif order.how == "start_cmd":
                    result = await sender.start_cmd(cmd, timeout=order.timeout).result()
                else:
                    async with sender.send_cmd_ex(cmd, timeout=order.timeout) as results:
                        async for each in results:
                            result = each
                assert result.is_completed
            except ten.EnvClosed:
                assert self.engine._core.closing


class Caller(ten.Extension):
    """Gives the orders in the host's place."""

    env: ten.TenEnv

    async def on_start(self, env: ten.TenEnv) -> None:
        self.env = env


@trio_given(plans(), limits)
async def test_every_command_ends(
    plan: tuple[list[Executor], list[Order], bool], limits: ten.Limits
) -> None:
    crew, orders, by_extension = plan
    test = Conversation(crew, orders)
    caller = Caller()
    graph = ten.Graph()
    graph.node("caller", lambda: caller)
    for index, executor in enumerate(crew):
        graph.node(
            f"e{index}",
            lambda index=index, executor=executor: Worker(executor, test, index),
            group=f"g{executor.group}",
            inline=executor.inline,
            on_error=executor.on_error,
            cancel_abandoned=executor.cancel_abandoned,
        )
    async with ten.open_app(limits=limits) as app, trio.open_nursery() as test.nursery:
        try:
            async with app.open_graph(graph) as test.engine:
                endpoints = [*test.engine._core.instances.values(), *test.engine._core.outsides]
                sender = caller.env if by_extension else test.engine
                async with trio.open_nursery() as nursery:
                    for order in orders:
                        nursery.start_soon(test.call, sender, order)
                    await trio.sleep(60)
                    test.engine.stop()
        except* RuntimeError:
            pass
    assert not any(endpoint.in_paths or endpoint.out_paths for endpoint in endpoints)
