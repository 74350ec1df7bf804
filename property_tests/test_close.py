"""Close leaves nothing behind, wherever it is cancelled: before the k-th task step, for every k."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import count
from math import inf

import attrs
import pytest
import trio
from hypothesis import given, strategies as st

import ten_trio as ten
from ten_trio.runtime.endpoint import Endpoint
from ten_trio.testing.virtual_time import run_in_virtual_time

LIMITS = ten.Limits(queue=2, grace=3, cleanup=1, restarts=1)


@attrs.frozen
class Variant:
    """What a conversation is like, and the seed of its task schedule."""

    seed: int = 0
    inline: bool = True
    on_error: str = "stop_graph"
    handlers: str = "concurrent"
    slow_close: float = 0
    failing: bool = False
    cancel_abandoned: bool = False


class Conversation:
    """A host, a talker and a listener, who do a bit of everything."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.endpoints: list[Endpoint] = []
        self.going_on: set[str] = set()

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Note that something is going on; it must have ended when all is over."""
        self.going_on.add(what)
        try:
            yield
        finally:
            self.going_on.remove(what)

    def graph(self) -> ten.Graph:
        """The two of them, each in a group of its own."""
        graph = ten.Graph()
        for name, extension in (("talker", Talker), ("listener", Listener)):
            graph.node(
                name,
                lambda extension=extension: extension(self),
                group=name,
                inline=self.variant.inline,
                on_error=self.variant.on_error,
                cmd_handlers=self.variant.handlers,
                cancel_abandoned=self.variant.cancel_abandoned,
            )
        graph.connect("talker", "listener", cmd=["stream", "hang", "fail", "ask"], data="word")
        graph.connect("listener", "talker", data="nod")
        graph.connect("talker", "listener", data="nod")
        graph.expose("data_out", "nod", "listener")
        return graph

    async def run(self) -> None:
        """From opening the app to closing it."""
        async with ten.open_app(limits=LIMITS) as app, app.open_graph(self.graph()) as engine:
            async with engine.messages("nod") as nods:
                assert (await engine.send_cmd(ten.Cmd("talk", dest="talker"))).ok
                async for _ in nods:
                    break
            with trio.move_on_after(0.5):
                await engine.send_cmd(ten.Cmd("hang", dest=["talker", "listener"]))
            await engine.send_cmd(ten.Cmd("fail", dest="talker"))
            await engine.remove_extension("listener")
            engine.post_cmd(ten.Cmd("hang", dest="talker"))


class Listener(ten.Extension):
    """Answers, streams, fails, nods; works in the background; takes its time to stop."""

    def __init__(self, test: Conversation) -> None:
        self.test = test

    async def on_configure(self, env: ten.TenEnv) -> None:
        core = env._instance.engine
        self.test.endpoints += [env._instance, *core.outsides]

    @asynccontextmanager
    async def lifespan(self, env: ten.TenEnv) -> AsyncGenerator[None, None]:
        with self.test.during(f"lifespan of {self.name}"):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                yield
                nursery.cancel_scope.cancel()

    async def on_start(self, env: ten.TenEnv) -> None:
        await trio.lowlevel.checkpoint()
        env.nursery.start_soon(self.nod, env)

    async def nod(self, env: ten.TenEnv) -> None:
        with self.test.during(f"nursery of {self.name}"):
            while True:
                await env.send_data(ten.Data("nod"))
                await trio.sleep(0.2)

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        with self.test.during(f"{cmd.name} {cmd.cmd_id}"):
            match cmd.name:
                case "stream":
                    for number in range(3):
                        await env.return_result(cmd.partial(number=number))
                        await trio.lowlevel.checkpoint()
                case "hang":
                    await cmd.abandoned.wait()
                case "fail" if self.test.variant.failing:
                    raise RuntimeError("on purpose")
            await env.return_result(cmd.ok())

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        with self.test.during(f"{data!r} at {self.name}"):
            await trio.lowlevel.checkpoint()

    async def on_stop(self, env: ten.TenEnv) -> None:
        with self.test.during(f"on_stop of {self.name}"):
            await trio.sleep(self.test.variant.slow_close)

    async def on_deinit(self, env: ten.TenEnv) -> None:
        with self.test.during(f"on_deinit of {self.name}"):
            await trio.lowlevel.checkpoint()


class Talker(Listener):
    """Asks in every way there is, and says more than the listener has room for."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd.name == "fail":
            env.post_cmd(cmd)
            return
        if cmd.name != "talk":
            await super().on_cmd(env, cmd)
            return
        for number in range(5):
            await env.send_data(ten.Data("word", {"number": number}))
        async with env.send_cmd_ex(ten.Cmd("stream")) as results:
            async for _ in results:
                break
        env.post_cmd(ten.Cmd("stream"), self.on_answer, is_streaming_result=True)
        call = env.start_cmd(ten.Cmd("hang"))
        await trio.lowlevel.checkpoint()
        call.cancel()
        await env.send_cmd(ten.Cmd("ask"))
        await env.return_result(cmd.ok())

    async def on_answer(self, env: ten.TenEnv, result: ten.CmdResult, error: None) -> None:
        await trio.lowlevel.checkpoint()


class CancelAt(trio.abc.Instrument):
    """Cancels a scope before the k-th task step."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self.scope = scope
        self.left = step
        self.cancelled_at = inf

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if not self.left:
            self.cancelled_at = trio.current_time()
            self.scope.cancel()


async def cancel_at(variant: Variant, step: int) -> bool:
    """Whether the conversation lasted that long."""
    trio._core._run._r.seed(variant.seed)  # type: ignore[attr-defined]
    test = Conversation(variant)
    before = trio.lowlevel.current_statistics().tasks_living
    with trio.CancelScope() as scope:
        instrument = CancelAt(scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            await test.run()
        except* RuntimeError:
            assert variant.failing
    trio.lowlevel.remove_instrument(instrument)
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert not test.going_on
    for endpoint in test.endpoints:
        assert not endpoint.in_paths
        assert not endpoint.out_paths
    assert trio.current_time() <= instrument.cancelled_at + LIMITS.grace + LIMITS.cleanup
    return instrument.left <= 0


@pytest.mark.parametrize(
    "variant",
    [
        Variant(),
        Variant(seed=1, inline=False),
        Variant(seed=2, slow_close=2),
        Variant(seed=3, slow_close=60, handlers="serial"),
        Variant(seed=4, failing=True),
        Variant(seed=5, failing=True, on_error="restart", cancel_abandoned=True),
        Variant(seed=6, failing=True, on_error="isolate", inline=False, handlers="serial"),
    ],
    ids=str,
)
def test_cancelled_before_every_step(variant: Variant) -> None:
    for step in count(1):
        if not run_in_virtual_time(cancel_at, variant, step):
            break


@given(
    st.builds(
        Variant,
        seed=st.integers(0, 2**32),
        inline=st.booleans(),
        on_error=st.sampled_from(["stop_graph", "isolate", "restart"]),
        handlers=st.sampled_from(["concurrent", "serial"]),
        slow_close=st.sampled_from([0, 1, 60]),
        failing=st.booleans(),
        cancel_abandoned=st.booleans(),
    ),
    st.integers(1, 600),
)
def test_cancelled_before_any_step(variant: Variant, step: int) -> None:
    run_in_virtual_time(cancel_at, variant, step)
