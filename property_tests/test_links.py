"""Commands between two processes, whatever becomes of the connection: each ends exactly once, on both sides.

A client asks an app, or an extension in one app asks one in another; then the asking side goes, the
answering side closes, the connection is cut, or nothing happens. Real sockets on loopback.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, note, strategies as st

import ten_trio as ten
from tests.network.apps import QUICK, Spread, opened_apps

pytestmark = pytest.mark.slow


@attrs.frozen
class Plan:
    """What is asked, and what happens to the connection once the executors have begun."""

    orders: tuple[str, ...]
    end: str
    dests: tuple[int, ...]


plans = st.builds(
    Plan,
    st.lists(st.sampled_from(["answer", "stream", "hang", "fail"]), min_size=1, max_size=6).map(
        tuple
    ),
    st.sampled_from(["nothing", "nothing", "leave", "close", "cut"]),
    st.sampled_from([(0,), (0, 1)]),
)


class Record:
    """What the executors have seen, and what the callers have got."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.begun: Counter[int] = Counter()
        self.working = 0
        self.data = 0
        self.ended: dict[int, list[tuple[bool, str, bool]]] = {}
        self.all_begun = trio.Event()
        self.all_ended = trio.Event()
        self.wrong: list[str] = []

    @property
    def expected(self) -> int:
        """How many handlers are to begin."""
        return len(self.plan.orders) * len(self.plan.dests)

    def ends(self, number: int, results: list[tuple[bool, str, bool]]) -> None:
        if number in self.ended:
            self.wrong.append(f"{number} ends again")
        self.ended[number] = results
        if len(self.ended) == len(self.plan.orders):
            self.all_ended.set()


def worker(record: Record) -> type[ten.Extension]:
    """An extension that does what it is told."""

    class Worker(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            number = cmd["number"]
            record.begun[number] += 1
            record.working += 1
            if record.begun.total() == record.expected:
                record.all_begun.set()
            try:
                await self.obey(env, cmd, record.plan.orders[number])
            finally:
                record.working -= 1

        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            record.data += 1

        async def obey(self, env: ten.TenEnv, cmd: ten.Cmd, order: str) -> None:
            number = cmd["number"]
            if order == "hang":
                await cmd.abandoned.wait()
                return
            if order == "stream":
                for part in range(3):
                    if not await env.return_result(cmd.partial(said=f"{number} {part}")):
                        return
                    await trio.lowlevel.checkpoint()
            if order == "fail":
                await env.return_result(cmd.error("on purpose", said=f"{number}"))
            else:
                await env.return_result(cmd.ok(said=f"{number}"))

    return Worker


async def ask(record: Record, number: int, sender: Any, dests: list[ten.Loc]) -> None:
    """Give one order, and note all that comes back."""
    cmd = ten.Cmd("c", {"number": number}, dest=dests)
    results: list[tuple[bool, str, bool]] = []
    try:
        async with sender.send_cmd_ex(cmd) as answers:
            async for result in answers:
                said = result.get("said", "")
                results.append((result.ok, said, result.is_completed))
                if said and said.split()[0] != str(number):
                    record.wrong.append(f"{number} is answered with {said}")
    except ten.TenError as error:
        results.append((False, str(error), True))
    record.ends(number, results)


def said_by(order: str, number: int) -> list[str]:
    """What an executor says to an order, if it can."""
    parts = [f"{number} {part}" for part in range(3)] if order == "stream" else []
    return [*parts, f"{number}"]


def check(record: Record, *, as_one: bool) -> None:
    """Every order has ended once, and what has come is what was said.

    `as_one`: several destinations answer as one, with the first ERROR or the last OK.
    """
    plan = record.plan
    assert not record.wrong
    for number, order in enumerate(plan.orders):
        results = record.ended[number]
        if not results:
            assert plan.end == "leave"
            continue
        if plan.end != "leave":  # nobody listens then
            assert [completed for _, _, completed in results].count(True) == 1, (number, results)
            assert results[-1][2]
        said = Counter(text for _, text, _ in results)
        if as_one and len(plan.dests) > 1:
            whole = Counter([f"{number}"])
        else:
            whole = Counter(said_by(order, number) * len(plan.dests))
        if order != "hang" and plan.end == "nothing":
            assert said == whole
        # None of them comes twice, whatever happens.
        assert not {text for text in said if text in whole and said[text] > whole[text]}


async def settle(done: Any) -> None:
    """Wait until it is so. Sockets and other ends take their time."""
    with trio.fail_after(5):
        while not done():  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.001)


def nothing_open(core: Any) -> bool:
    """Whether nobody here owes or expects an answer."""
    return not any(each.in_paths or each.out_paths for each in core.endpoints())


async def of_a_client(plan: Plan) -> None:
    record = Record(plan)
    async with opened_apps(1, {"worker": worker(record)}) as (app,):
        spread = Spread()
        for name in ("w0", "w1"):
            spread.node(name, app, "worker")
        async with app.open_graph(spread.graph, long_running=True) as engine:
            core = engine._core
            dests = [ten.Loc("", engine.graph_id, f"w{at}") for at in plan.dests]
            with trio.CancelScope() as asking:
                async with (
                    ten.connect(app.uri, network=QUICK) as client,
                    trio.open_nursery() as nursery,
                ):
                    for number in range(len(plan.orders)):
                        nursery.start_soon(ask, record, number, client, dests)
                    await record.all_begun.wait()
                    if plan.end == "leave":
                        asking.cancel()
                    elif plan.end == "close":
                        app.request_close("on purpose")
                    elif plan.end == "cut":
                        client._core.connection.end("on purpose")
                    elif "hang" not in plan.orders:
                        await record.all_ended.wait()
                        await settle(lambda: nothing_open(core))
                        await settle(lambda: nothing_open(client._core))
                        await client.send_data(ten.Data("d", dest=dests))
                        await settle(lambda: record.data >= len(dests))
                        assert record.data == len(dests)
                        nursery.cancel_scope.cancel()
                    else:
                        await settle(lambda: len(record.ended) == ended_without_help(plan))
                        nursery.cancel_scope.cancel()
            if plan.end != "close":
                # Whoever worked for the client knows that nobody waits.
                await settle(lambda: not record.working and nothing_open(core))
    for number in range(len(plan.orders)):
        if plan.end in ("leave", "nothing"):
            record.ended.setdefault(number, [])
    if plan.end == "nothing":
        hanging = {number for number, order in enumerate(plan.orders) if order == "hang"}
        assert {number for number, results in record.ended.items() if not results} <= hanging
        for number in hanging:
            record.ended[number] = [(False, "", True)]
    check(record, as_one=True)


def ended_without_help(plan: Plan) -> int:
    return len(plan.orders) - plan.orders.count("hang")


async def between_apps(plan: Plan) -> None:
    record = Record(plan)
    started: list[ten.TenEnv] = []

    class Asker(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            started.append(env)

    async with opened_apps(2, {"worker": worker(record), "asker": Asker}) as (near, far):
        spread = Spread()
        spread.node("asker", near)
        for at in plan.dests:
            spread.node(f"w{at}", far, "worker")
            spread.connect("asker", f"w{at}", name="c")
        try:
            async with near.open_graph(spread.graph, long_running=True) as engine:
                near_core = engine._core
                await settle(lambda: far.engines)
                far_core = next(iter(far.engines.values()))
                env = started[0]
                async with trio.open_nursery() as nursery:
                    for number in range(len(plan.orders)):
                        nursery.start_soon(ask, record, number, env, [])
                    await record.all_begun.wait()
                    if plan.end == "leave":
                        engine.stop()
                    elif plan.end == "close":
                        far.request_close("on purpose")
                    elif plan.end == "cut":
                        near_core.boundary._remotes[far.uri].link.end("on purpose")
                    elif "hang" not in plan.orders:
                        await record.all_ended.wait()
                        await settle(lambda: nothing_open(near_core))
                        await settle(lambda: nothing_open(far_core))
                    else:
                        await settle(lambda: len(record.ended) == ended_without_help(plan))
                        nursery.cancel_scope.cancel()
                        await settle(lambda: nothing_open(near_core))
                    await settle(
                        lambda: len(record.ended) == len(plan.orders) or plan.end == "nothing"
                    )
                if plan.end in ("nothing", "cut"):
                    await settle(lambda: not record.working and nothing_open(far_core))
        except* ten.TenError:
            assert plan.end == "close"
    for number, order in enumerate(plan.orders):
        if order == "hang" and plan.end == "nothing":
            record.ended.setdefault(number, [])
            record.ended[number] = [(False, "", True)]
    check(record, as_one=False)


@given(plans)
def test_what_a_client_asks_ends_once_on_both_sides(plan: Plan) -> None:
    note(f"{plan}")
    trio.run(of_a_client, plan)


@given(plans)
def test_what_an_app_asks_another_ends_once_on_both_sides(plan: Plan) -> None:
    note(f"{plan}")
    trio.run(between_apps, plan)
