"""Whatever a network does to a connection: commands end, nothing comes twice, everything else goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import pytest
import trio
from hypothesis import example, given, strategies as st

import ten_trio as ten
from ten_trio.messages import StartGraph
from tests.network.apps import QUICK, Scripted, Spread, opened_apps, scripted_app, until
from tests.network.faults import Plan, Step, faulty_network, plans, proxied
from tests.runtime.acting import acting, answer

IMPATIENT = attrs.evolve(QUICK, send_timeout=0.2, connect_timeout=0.5, close_timeout=0.1)
MANY = 25
GRACE = 1.0


@contextmanager
def no_faults_of_ours() -> Iterator[None]:
    """Nothing is logged with a traceback: whatever a peer does is expected."""
    seen: list[logging.LogRecord] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.exc_info:
                seen.append(record)

    handler = Handler()
    logging.getLogger("ten_trio").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("ten_trio").removeHandler(handler)
    assert not seen, [logging.Formatter().format(record) for record in seen]


class Ledger:
    """What arrived at the nodes of one graph, in order, by sender and kind."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, int]] = []
        self.arrived: dict[str, list[int]] = {"near": [], "far": []}

    def addons(self) -> dict[str, Any]:
        ledger = self

        class Talker(ten.Extension):
            """Answers, notes what comes, and begins to talk when it is told to."""

            async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
                if cmd.name == "talk":
                    await self.talk(env)
                    await env.return_result(cmd.ok())
                    return
                self.note(cmd)
                await env.return_result(cmd.ok(n=cmd["n"]))

            async def talk(self, env: ten.TenEnv) -> None:
                async def ask(n: int) -> None:
                    result = await env.send_cmd(ten.Cmd("ask", {"n": n}))
                    assert result.is_final
                    ledger.commands.append((env.name, n))
                    if result.ok:
                        assert result["n"] == n

                async with trio.open_nursery() as nursery:
                    for n in range(MANY):
                        nursery.start_soon(ask, 2 * n)
                        size = 20_000 if n == 7 else n
                        await env.send_data(ten.Data("tell", {"n": 2 * n + 1}, buf=b"x" * size))

            async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
                self.note(data)

            def note(self, msg: Any) -> None:
                n = msg.get("n", -1)
                ledger.arrived[self.name].append(n)

        return {"talker": Talker, "answer": acting(on_cmd=answer)}


def talking(near: str, far: str) -> ten.Graph:
    spread = Spread()
    for name, uri in (("near", near), ("far", far)):
        spread.node(name, uri, "talker")
        spread.expose("cmd_in", "talk", name)
    for source, dest in (("near", "far"), ("far", "near")):
        spread.connect(source, dest, name="ask")
        spread.connect(source, dest, kinds=("data",), name="tell")
    return spread.graph


async def talk_through(
    wanted: tuple[Plan, ...], larger: bool, long_running: bool, own_loop: bool
) -> None:
    """Two apps talk to each other through the proxy, for as long as there is a connection."""
    ledger = Ledger()
    async with (
        faulty_network(*wanted) as proxy,
        opened_apps(
            2,
            ledger.addons(),
            network=IMPATIENT,
            protocols=[proxied(proxy)],
            path_timeout=0.3,
            grace=GRACE,
        ) as apps,
    ):
        near, far = apps if larger else apps[::-1]
        await proxy.stand_before(near.uri, far.uri)
        alone = ten.Graph()
        alone.node("a", "answer")
        async with near.open_graph(alone) as here, far.open_graph(alone) as there:
            entered = False
            try:
                async with near.open_graph(
                    talking(near.uri, far.uri), long_running=long_running, own_loop=own_loop
                ) as engine:
                    entered = True
                    calls = [
                        engine.start_cmd(ten.Cmd("talk", dest=ten.Loc(uri, "", name)), timeout=8)
                        for name, uri in (("near", near.uri), ("far", far.uri))
                    ]
                    for call in calls:
                        await call.result()
                    leaving = trio.current_time()
                assert trio.current_time() - leaving < GRACE + 0.5
            except* (ten.ConnectFailed, ten.EnvClosed):
                pass
            if not any(plan.ends or plan.flips for plan in wanted):
                assert entered
                assert len(ledger.commands) == 2 * MANY
            if not any(plan.flips for plan in wanted):
                for numbers in ledger.arrived.values():
                    assert len(numbers) == len(set(numbers))
                    told = [n for n in numbers if n % 2]
                    assert told == sorted(told)
            for other in (here, there):
                assert (await other.send_cmd(ten.Cmd("x", dest="a"))).ok
            # A byte that was changed may have made a start_graph for another graph of it.
            if not any(plan.flips for plan in wanted):
                assert near.engines.keys() == {here.graph_id}


CUT = Plan(there=(Step("pass", 3_000), Step("cut")))


@pytest.mark.slow
@given(st.lists(plans(), max_size=3).map(tuple), st.booleans(), st.booleans(), st.booleans())
@example((CUT,), True, True, False)
@example((Plan(back=(Step("pass", 500), Step("stall"))),), True, False, False)
@example((Plan(there=(Step("half-close"),)),), False, False, True)
@example((Plan(back=(Step("flip"),)),), False, False, False)
@example((Plan(there=(Step("pass", 1), Step("split", 148), Step("flip"))),), False, False, False)
def test_whatever_the_network_does(
    wanted: tuple[Plan, ...], larger: bool, long_running: bool, own_loop: bool
) -> None:
    with no_faults_of_ours():
        trio.run(talk_through, wanted, larger, long_running, own_loop)


@pytest.mark.parametrize("own_loop", [False, True])
@pytest.mark.parametrize("larger", [False, True])
async def test_a_long_running_graph_outlives_its_connections(larger: bool, own_loop: bool) -> None:
    """Cut again and again while messages are on their way: at most once, in order, and it goes on."""
    got: list[tuple[str, int]] = []

    async def hear(env: ten.TenEnv, msg: Any) -> None:
        got.append((msg.kind, msg["n"]))
        if msg.kind == "cmd":
            await env.return_result(msg.ok())

    async def forward(env: ten.TenEnv, data: ten.Data) -> None:
        await env.send_data(data)

    async def relay(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        env.post_cmd(cmd)

    addons = {
        "hear": acting(on_cmd=hear, on_data=hear),
        "forward": acting(on_cmd=relay, on_data=forward),
    }
    async with (
        faulty_network() as proxy,
        opened_apps(2, addons, network=QUICK, protocols=[proxied(proxy)]) as apps,
    ):
        near, far = apps[::-1] if larger else apps
        await proxy.stand_before(near.uri, far.uri)
        spread = Spread()
        spread.node("near", near.uri, "forward")
        spread.node("far", far.uri, "hear")
        spread.connect("near", "far", kinds=("cmd", "data"), name="m")
        spread.expose("cmd_in", "m", "near")
        spread.expose("data_in", "m", "near")
        async with near.open_graph(spread.graph, long_running=True, own_loop=own_loop) as engine:
            n = 0
            for cuts in range(5):
                passed = 0
                while passed < 5:
                    n += 1
                    await engine.send_data(ten.Data("m", {"n": n}))
                    result = await engine.send_cmd(ten.Cmd("m", {"n": n}))
                    passed += result.ok
                    if not result.ok:
                        await trio.sleep(0.002)
                n += 1
                call = engine.start_cmd(ten.Cmd("m", {"n": n}))
                if cuts < 4:
                    proxy.cut_all()
                assert (await call.result()).is_final
            assert [*far.engines] == [engine.graph_id]
        await until(lambda: not far.engines)
    for kind in ("cmd", "data"):
        numbers = [n for what, n in got if what == kind]
        assert numbers == sorted(set(numbers))


# Peers that don't play their part in a close ----------------------------------------------------------


@pytest.mark.parametrize("flood", [False, True])
async def test_a_peer_that_never_closes_holds_up_no_engine(flood: bool) -> None:
    """Also with so much to be sent to it that it would take for ever."""
    async with (
        scripted_app() as far,
        opened_apps(1, {"near": ten.Extension}, network=IMPATIENT, grace=0.5) as (near,),
        trio.open_nursery() as nursery,
    ):
        peers: list[Scripted] = []

        async def play() -> None:
            peers.append((await far.joins())[0])

        spread = Spread()
        spread.node("near", near)
        spread.node("far", far.uri)
        spread.connect("near", "far", kinds=("data",), name="d")
        nursery.start_soon(play)
        async with near.open_graph(spread.graph) as engine:
            await until(lambda: peers)
            if flood:
                for _ in range(20):
                    dest = ten.Loc(far.uri, "", "far")
                    await engine.send_data(ten.Data("d", buf=b"x" * 1_000_000, dest=dest))
            leaving = trio.current_time()
        assert trio.current_time() - leaving < 0.5 + 0.5 + 0.5  # grace, cleanup, and some


@pytest.mark.parametrize("orphan", [False, True])
async def test_a_peer_that_never_closes_holds_up_no_app(orphan: bool) -> None:
    async with opened_apps(1, {"answer": acting(on_cmd=answer)}, network=IMPATIENT, grace=0.5) as (
        app,
    ):
        peer = await Scripted.connect(app.uri)
        if not orphan:
            graph = ten.Graph()
            graph.node("a", "answer")
            await peer.send(StartGraph(graph_json=graph.to_json(), dest=ten.Loc("")))
            assert (await peer.receive()).msg.status is ten.StatusCode.OK
        await until(lambda: app.network.connections)
        leaving = trio.current_time()
        app.request_close("enough")
        await until(lambda: not app.engines and (orphan or not app.network.connections))
        assert trio.current_time() - leaving < 1.5
    assert trio.current_time() - leaving < 2


async def test_a_peer_that_never_closes_holds_up_no_client() -> None:
    async with scripted_app() as far, trio.open_nursery() as nursery:
        nursery.start_soon(far.accept)
        with trio.fail_after(2):
            async with ten.connect(far.uri, network=IMPATIENT) as client:
                call = client.start_cmd(ten.Cmd("x"))
                leaving = trio.current_time()
            assert (await call.result()).status is ten.StatusCode.ERROR
            assert trio.current_time() - leaving < 0.5
