"""Turns under pressure: many messages before slow handlers, blocks that are shielded, tasks that belong
to a turn. What is shielded finishes, what is queued doesn't begin, and nobody else notices.
"""

from __future__ import annotations

import attrs
import pytest
import trio
from hypothesis import strategies as st

import ten_trio as ten
from property_tests.test_turns import Node, Plan, Send, check
from property_tests.traffic import limits
from ten_trio.testing import trio_given

slow = st.builds(
    Node,
    waits=st.lists(st.sampled_from([0.2, 0.2, 0.5, 1, 0]), min_size=1, max_size=3).map(tuple),
    shielded=st.booleans(),
    on=st.just(()),
    asks=st.booleans(),
    group=st.integers(0, 1),
    inline=st.booleans(),
    data_handlers=st.just("serial"),
)
crowds = st.lists(
    st.builds(Send, st.just(0), st.integers(0, 3), st.booleans(), st.sampled_from([0, 0, 0, 0.1])),
    min_size=4,
    max_size=12,
)


@trio_given(
    slow,
    slow,
    crowds,
    st.lists(
        st.tuples(st.sampled_from([0.1, 0.25, 0.4, 0.45, 0.8]), st.integers(0, 1)),
        min_size=1,
        max_size=2,
    ),
    limits,
)
async def test_what_waits_before_a_slow_handler_is_cancelled_with_its_turn(
    first: Node,
    second: Node,
    sends: list[Send],
    cancels: list[tuple[float, int]],
    limits: ten.Limits,
) -> None:
    nodes = attrs.evolve(first, on=(1,)), second
    await check(Plan(nodes, tuple(sends), tuple(sorted(cancels))), limits)


@trio_given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=8),
    st.booleans(),
    st.booleans(),
    limits,
)
async def test_what_was_sent_in_the_step_of_its_cancellation_never_begins(
    sends: list[tuple[bool, bool]], together: bool, inline: bool, limits: ten.Limits
) -> None:
    """And all else does, in the order in which it was sent."""
    begun: list[int] = []

    class Sender(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            turn = env.new_turn()
            for number, (is_cmd, belongs) in enumerate(sends):
                content, of = {"n": number}, turn if belongs else None
                if is_cmd:
                    env.post_cmd(ten.Cmd("c", content, dest="receiver"), turn=of)
                else:
                    await env.send_data(ten.Data("d", content, dest="receiver"), turn=of)
            await env.cancel_turn(turn)
            await env.return_result(cmd.ok())

    class Receiver(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            begun.append(cmd["n"])
            await env.return_result(cmd.ok())

        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            begun.append(data["n"])

    graph = ten.Graph()
    graph.node("sender", Sender)
    graph.node("receiver", Receiver, group="" if together else "other", inline=inline)
    # Room enough, so that all of it is one step.
    limits = attrs.evolve(limits, queue=1_000)
    async with ten.open_app(limits=limits) as app, app.open_graph(graph) as engine:
        assert (await engine.send_cmd(ten.Cmd("go", dest="sender"))).ok
        await trio.sleep(1)
    assert begun == [number for number, (_, belongs) in enumerate(sends) if not belongs]


moments = st.sampled_from([0.0, 0.1, 0.2, 0.35])


@trio_given(
    st.lists(st.tuples(moments, moments, moments, st.booleans()), min_size=1, max_size=6),
    st.sampled_from([0.05, 0.15, 0.25, 0.52]),
)
async def test_what_is_shielded_finishes_and_what_is_not_ends_at_once(
    works: list[tuple[float, float, float, bool]], cancel_at: float
) -> None:
    """Each handler works, then works shielded, then works again."""
    reached: dict[int, list[tuple[str, float]]] = {number: [] for number in range(len(works))}
    began = trio.current_time()

    class Worker(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            await self.work(env, data["number"])

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await self.work(env, cmd["number"])
            await env.return_result(cmd.ok())

        async def work(self, env: ten.TenEnv, number: int) -> None:
            before, shielded, after, _ = works[number]
            told = reached[number]
            await trio.sleep(before)
            with env.turn_scope(shield=True):
                told.append(("began", trio.current_time() - began))
                await trio.sleep(shielded)
                told.append(("finished", trio.current_time() - began))
            await trio.sleep(after)
            told.append(("left", trio.current_time() - began))

    graph = ten.Graph()
    graph.node("worker", Worker, data_handlers="concurrent")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        turn = engine.new_turn()
        for number, work in enumerate(works):
            content = {"number": number}
            if work[3]:
                engine.post_cmd(ten.Cmd("c", content, dest="worker"), turn=turn)
            else:
                await engine.send_data(ten.Data("d", content, dest="worker"), turn=turn)
        await trio.sleep_until(began + cancel_at)
        await engine.cancel_turn(turn)
        await trio.sleep(5)
    for number, (before, shielded, after, _) in enumerate(works):
        told = [what for what, _ in reached[number]]
        if before >= cancel_at:
            assert not told
        else:
            assert told[:2] == ["began", "finished"]
            took = reached[number][1][1] - reached[number][0][1]
            assert took == pytest.approx(shielded)
            assert ("left" in told) == (before + shielded + after < cancel_at)


@trio_given(
    st.lists(st.tuples(st.booleans(), st.booleans(), moments), min_size=2, max_size=8),
    st.sampled_from([0.05, 0.15, 0.25, 0.52]),
    st.booleans(),
)
async def test_who_comes_after_a_handler_that_was_cancelled_is_not(
    works: list[tuple[bool, bool, float]], cancel_at: float, inline: bool
) -> None:
    """One after another: whether it belongs to the turn, whether it is shielded, how long it takes."""
    begun: list[int] = []
    done: list[int] = []

    class Worker(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            _, shielded, takes = works[data["number"]]
            begun.append(data["number"])
            if shielded:
                with env.turn_scope(shield=True):
                    await trio.sleep(takes)
            else:
                await trio.sleep(takes)
            done.append(data["number"])

    graph = ten.Graph()
    graph.node("worker", Worker, inline=inline)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        began = trio.current_time()
        turn = engine.new_turn()
        for number, (belongs, _, _) in enumerate(works):
            data = ten.Data("d", {"number": number}, dest="worker")
            await engine.send_data(data, turn=turn if belongs else None)
        await trio.sleep_until(began + cancel_at)
        await engine.cancel_turn(turn)
        await trio.sleep(10)
    for number, (belongs, shielded, _) in enumerate(works):
        if not belongs:
            assert number in done
        elif shielded:
            assert (number in done) == (number in begun)
    assert done == sorted(done)


@trio_given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.integers(1, 3),
    st.sampled_from([0.05, 0.15, 0.25, 0.52]),
    st.booleans(),
)
async def test_who_waits_for_room_goes_on_when_a_turn_leaves_some(
    senders: list[int], queue: int, cancel_at: float, by_host: bool
) -> None:
    """The handler at work belongs to nobody and never ends; all that waits belongs to the turn."""
    over = trio.Event()
    left = len(senders)
    envs: list[ten.TenEnv] = []

    class Busy(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            await trio.sleep_forever()

    class Sender(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            envs.append(env)

    graph = ten.Graph()
    graph.node("busy", Busy, on_error="isolate")
    graph.node("sender", Sender)
    limits = ten.Limits(queue=queue)
    async with ten.open_app(limits=limits) as app, app.open_graph(graph) as engine:
        began = trio.current_time()
        turn = engine.new_turn()
        through = engine if by_host else envs[0]
        await engine.send_data(ten.Data("d", dest="busy"))

        async def send(count: int) -> None:
            nonlocal left
            for _ in range(count):
                await trio.sleep(0.1)
                await through.send_data(ten.Data("d", dest="busy"), turn=turn)
            left -= 1
            if not left:
                over.set()

        async with trio.open_nursery() as nursery:
            for count in senders:
                nursery.start_soon(send, count)
            await trio.sleep_until(began + cancel_at)
            await engine.cancel_turn(turn)
            with trio.fail_after(100):
                await over.wait()
        engine.stop()


@trio_given(
    st.lists(st.tuples(st.integers(0, 2), moments, st.booleans()), min_size=1, max_size=6),
    st.sampled_from([0.05, 0.15, 0.25, 0.52]),
)
async def test_a_task_that_belongs_to_a_turn_ends_with_it(
    tasks: list[tuple[int, float, bool]], cancel_at: float
) -> None:
    """Each waits, then asks somebody; what it asks belongs to its turn, or to none."""
    done: dict[int, str] = {}
    seen: dict[int, ten.Turn | None] = {}
    turns: list[ten.Turn] = []
    began = trio.current_time()

    class Worker(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            turns.extend(env.new_turn() for _ in range(2))
            for number in range(len(tasks)):
                env.nursery.start_soon(self.work, env, number)

        async def work(self, env: ten.TenEnv, number: int) -> None:
            which, wait, asks = tasks[number]
            turn = turns[which] if which < 2 else None
            with env.turn_scope(turn) as scope:
                await trio.sleep(wait)
                if asks:
                    await env.send_cmd(ten.Cmd("c", {"number": number}, dest="other"))
            done[number] = "cancelled" if scope.cancelled_caught else "done"

    class Other(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            seen[cmd["number"]] = env.turn
            await trio.sleep(0.02)
            await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("worker", Worker)
    graph.node("other", Other)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await trio.sleep_until(began + cancel_at)
        await engine.cancel_turn(turns[0])
        await trio.sleep(5)
    for number, (which, wait, asks) in enumerate(tasks):
        is_over = which == 0 and wait + 0.02 * asks >= cancel_at
        assert done[number] == ("cancelled" if is_over else "done")
        if asks and not is_over:
            assert seen[number] is (turns[which] if which < 2 else None)
