"""A whole app against a model: graphs come and go, clients too, everything is sent, fails, takes its time.

After every step each command has ended as the model says, or hasn't; the same graphs run, the same
clients are connected, and the same data was handled, in its order.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import trio
from hypothesis import settings, strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

import ten_trio as ten
from property_tests.model import LATER, PATH_TIMEOUT, Model
from property_tests.stepping import SteppedTrio
from ten_trio.testing import MemoryNetwork

LIMITS = ten.Limits(path_timeout=PATH_TIMEOUT, grace=5)
NAMES = ("echo", "later", "hold", "fail")
CLIENTS = ("anna", "ben", "carl")


def graph_of(isolates: bool, slow: float) -> ten.Graph:
    """One extension that does everything."""
    graph = ten.Graph()
    graph.node("it", "isolates" if isolates else "fails", property={"slow": slow})
    for name in NAMES:
        graph.expose("cmd_in", name, "it")
    graph.expose("data_in", "note", "it")
    return graph


class Everything(ten.Extension):
    """What the model says that an extension does."""

    def __init__(self, heard: dict[str, list[int]]) -> None:
        self.heard = heard

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd.name == "fail":
            raise RuntimeError("on purpose")
        if cmd.name == "hold":
            return
        if cmd.name == "later":
            await trio.sleep(LATER)
        await env.return_result(cmd.ok())

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        self.heard.setdefault(env.graph_id, []).append(data["n"])

    async def on_stop(self, env: ten.TenEnv) -> None:
        await trio.sleep(env.get_property_float("slow"))


class Isolating(Everything):
    """The same, and a failure of it doesn't end its graph."""

    on_error = "isolate"


class Client:
    """A connection, held open by a task of its own."""

    def __init__(self) -> None:
        self.client: ten.Client
        self.leave = trio.Event()
        self.link: Any = None
        self.graph_id = ""


class Machine(RuleBasedStateMachine):
    """The app and the model, side by side."""

    graphs: Bundle[int] = Bundle("graphs")
    clients: Bundle[str] = Bundle("clients")

    @initialize(order=st.integers(0, 2**16))
    def begin(self, order: int) -> None:
        self.model = Model()
        self.network = MemoryNetwork()
        self.engines: dict[int, ten.Engine | None] = {}
        self.ids: dict[int, str] = {}
        self.at: dict[str, Client] = {}
        self.outcomes: dict[int, bool] = {}
        self.heard: dict[str, list[int]] = {}
        self.number = 0
        self.over = trio.Event()
        self.trio = SteppedTrio(order)
        self.trio.run(self._open)

    # The app ----------------------------------------------------------------------------------

    async def _open(self) -> None:
        self.app: ten.App = await self.trio.nursery.start(self._run)

    async def _run(self, task_status: trio.TaskStatus[ten.App]) -> None:
        async with ten.open_app(
            uri="memory://app", limits=LIMITS, protocols=[self.network.protocol]
        ) as app:
            app.addons.register("fails", lambda: Everything(self.heard))
            app.addons.register("isolates", lambda: Isolating(self.heard))
            task_status.started(app)
            await self.over.wait()

    async def _stay(self, it: Client, graph: str, task_status: trio.TaskStatus[None]) -> None:
        with suppress(ten.TenError):
            async with ten.connect(
                "memory://app", graph=graph, protocols=[self.network.protocol]
            ) as it.client:
                it.link = self.network.links[-1]
                task_status.started()
                await it.leave.wait()

    async def _connect(self, name: str, graph: str) -> Client:
        it = self.at[name] = Client()
        await self.trio.nursery.start(self._stay, it, graph)
        return it

    async def _ask(self, sender: Any, cmd: ten.Cmd, number: int) -> None:
        try:
            self.outcomes[number] = (await sender.send_cmd(cmd)).ok
        except ten.EngineClosed:
            self.outcomes[number] = False

    def _new(self) -> int:
        self.number += 1
        return self.number

    # What is done -----------------------------------------------------------------------------

    @rule(target=graphs, isolates=st.booleans(), slow=st.sampled_from([0.0, 1.0]))
    def start(self, isolates: bool, slow: float) -> int:
        """The app starts a graph of its own."""
        number = self._new()
        engine = self.trio.run(self.app.start_graph, graph_of(isolates, slow))
        self.engines[number], self.ids[number] = engine, engine.graph_id
        self.model.start(number, "", isolates, slow)
        return number

    @rule(
        target=graphs,
        name=st.sampled_from(CLIENTS),
        isolates=st.booleans(),
        slow=st.sampled_from([0.0, 1.0]),
    )
    def start_from_outside(self, name: str, isolates: bool, slow: float) -> Any:
        """A client starts one."""
        if name in self.model.clients:
            return multiple()

        async def go() -> str:
            it = await self._connect(name, "")
            return await it.client.start_graph(graph_of(isolates, slow))

        number = self._new()
        self.engines[number], self.ids[number] = None, self.trio.run(go)
        self.model.start(number, name, isolates, slow)
        return number

    @rule(name=st.sampled_from(CLIENTS), graph=graphs)
    def join(self, name: str, graph: int) -> None:
        """A client comes to a graph that is there."""
        if name in self.model.clients or not self.model.graphs[graph].is_open:
            return

        async def go() -> None:
            it = await self._connect(name, self.ids[graph])
            # Its first message is what brings it there.
            assert (await it.client.send_cmd(ten.Cmd("echo"))).ok

        self.trio.run(go)
        self.model.join(name, graph)

    @rule(graph=graphs)
    def stop(self, graph: int) -> None:
        """The app stops a graph."""
        if not self.model.graphs[graph].is_open:
            return
        self.model.stop(graph)
        self.trio.nursery.start_soon(self._stop, self.ids[graph])
        self.trio.settle()

    async def _stop(self, graph_id: str) -> None:
        with suppress(ten.GraphError):
            await self.app.stop_graph(graph_id)

    @rule(name=st.sampled_from(CLIENTS), how=st.sampled_from(["cut", "leave"]))
    def lose(self, name: str, how: str) -> None:
        """A connection is lost, or the client leaves."""
        if name not in self.model.clients:
            return
        if how == "cut":
            self.at[name].link.cut()
        else:
            self.at[name].leave.set()
        self.trio.settle()
        self.model.cut(name)

    @rule(graph=graphs, name=st.sampled_from(NAMES))
    def ask(self, graph: int, name: str) -> None:
        """The app sends a command."""
        engine = self.engines[graph]
        if engine is None:
            return
        number = self._new()
        self.trio.nursery.start_soon(self._ask, engine, ten.Cmd(name), number)
        self.trio.settle()
        self.model.call(number, name, graph, "")

    @rule(client=st.sampled_from(CLIENTS), name=st.sampled_from(NAMES))
    def ask_from_outside(self, client: str, name: str) -> None:
        """A client does."""
        graph = self.model.clients.get(client)
        if graph is None:
            return
        number = self._new()
        self.trio.nursery.start_soon(self._ask, self.at[client].client, ten.Cmd(name), number)
        self.trio.settle()
        self.model.call(number, name, graph, client)

    @rule(client=st.sampled_from(CLIENTS), count=st.integers(1, 5))
    def say(self, client: str, count: int) -> None:
        """A client sends data."""
        graph = self.model.clients.get(client)
        if graph is None:
            return
        numbers = [self._new() for _ in range(count)]

        async def go() -> None:
            for number in numbers:
                await self.at[client].client.send_data(ten.Data("note", {"n": number}))

        self.trio.run(go)
        for number in numbers:
            self.model.say(number, graph)

    @rule(seconds=st.sampled_from([0.5, 1.0, 3.0, 11.0]))
    def wait(self, seconds: float) -> None:
        """Time goes on."""
        self.trio.jump(seconds)
        self.model.advance(seconds)

    # What has to be the same ------------------------------------------------------------------

    @invariant()
    def agrees(self) -> None:
        """Look at both."""
        if not hasattr(self, "model"):
            return
        self.trio.settle()
        model = self.model
        ended = {n: call.outcome for n, call in model.calls.items() if call.outcome is not None}
        assert self.outcomes == ended
        running = {self.ids[n] for n, graph in model.graphs.items() if not graph.closed}
        assert set(self.app.engines) == running
        for number, graph in model.graphs.items():
            assert self.heard.get(self.ids[number], []) == graph.heard
        for name, it in self.at.items():
            assert it.client.is_closed == (name not in model.clients)
        assert self.app.network is not None
        assert self.app.network.connections == len(model.clients)

    def teardown(self) -> None:
        """The app closes whatever is still there within the grace, and nothing stays open."""
        if not hasattr(self, "model"):
            return
        try:
            before = self.trio.clock.current_time()
            for it in self.at.values():
                it.leave.set()
            self.over.set()
            self.trio.settle()
            self.trio.jump(LIMITS.grace)
            assert self.trio.clock.current_time() - before < LIMITS.grace + 1
            assert not self.app.engines
            assert set(self.outcomes) == set(self.model.calls)
            assert not any(report.grace_exhausted for report in self.app.reports)
        finally:
            self.trio.close()


def test_an_app_does_what_the_model_says() -> None:
    run_state_machine_as_test(Machine, settings=settings(stateful_step_count=25))
