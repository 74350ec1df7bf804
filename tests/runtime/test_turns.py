"""Turns: what belongs to one, and that cancelling it stops all of that and nothing else."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import ten_trio as ten
from ten_trio import Cmd, Data
from ten_trio.runtime import turns as turn_module

pytestmark = pytest.mark.trio


class Recorder(ten.Extension):
    """Notes what it is sent; `hold` lets its data handlers wait until they are let go."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.ended: list[str] = []
        self.gate = trio.Event()
        self.hold = False
        self.cleared: list[ten.Turn] = []

    async def on_data(self, env: ten.TenEnv, data: Data) -> None:
        self.seen.append(data.name)
        if self.hold:
            try:
                await self.gate.wait()
            finally:
                self.ended.append(data.name)

    async def on_cmd(self, env: ten.TenEnv, cmd: Cmd) -> None:
        self.seen.append(cmd.name)
        if self.hold:
            await self.gate.wait()
        await env.return_result(cmd.ok())

    async def on_turn_cancelled(self, env: ten.TenEnv, turn: ten.Turn) -> object:
        self.cleared.append(turn)
        return "cleared"


class Relay(ten.Extension):
    """Sends everything on, under the same name."""

    async def on_data(self, env: ten.TenEnv, data: Data) -> None:
        await env.send_data(Data(data.name))

    async def on_cmd(self, env: ten.TenEnv, cmd: Cmd) -> None:
        result = await env.send_cmd(Cmd(cmd.name))
        await env.return_result(cmd.ok() if result.status is ten.StatusCode.OK else cmd.error("x"))


def relayed(names: str = "a b c") -> tuple[ten.Graph, Recorder]:
    sink = Recorder()
    graph = ten.Graph()
    graph.node("relay", Relay)
    graph.node("sink", lambda _name: sink)
    for name in names.split():
        graph.connect("relay", "sink", data=name)
        graph.expose("data_in", name, "relay")
    graph.connect("relay", "sink", cmd="ask")
    graph.expose("cmd_in", "ask", "relay")
    return graph, sink


async def test_what_is_queued_of_a_turn_is_dropped_and_nothing_else() -> None:
    graph, sink = relayed()
    sink.hold = True
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        old, new = engine.new_turn(), engine.new_turn()
        await engine.send_data(Data("a"), turn=old)
        await wait_all_tasks_blocked()
        for name, turn in (("a", old), ("b", new), ("a", old), ("c", None)):
            await engine.send_data(Data(name), turn=turn)
        await wait_all_tasks_blocked()
        assert sink.seen == ["a"]
        sink.hold = False
        report = await engine.cancel_turn(old, "interrupted")
        assert sink.ended == ["a"]
        await wait_all_tasks_blocked()
        assert sink.seen == ["a", "b", "c"]
        assert report is not None
        assert (report.dropped, report.handlers) == (2, 1)
        assert report.acknowledged == {"sink": "cleared"}
        assert sink.cleared == [old]


async def test_its_commands_end_with_error_and_their_executors_are_told() -> None:
    graph, sink = relayed()
    sink.hold = True
    abandoned: list[bool] = []

    async def on_cmd(env: ten.TenEnv, cmd: Cmd) -> None:
        with env.turn_scope(shield=True):
            await cmd.abandoned.wait()
            abandoned.append(True)

    sink.on_cmd = on_cmd  # type: ignore[method-assign]
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        turn = engine.new_turn()
        call = engine.start_cmd(Cmd("ask"), turn=turn)
        await wait_all_tasks_blocked()
        report = await engine.cancel_turn(turn)
        assert report is not None
        result = await call.result()
        assert (result.status, result.detail) == (ten.StatusCode.ERROR, "turn cancelled")
        await wait_all_tasks_blocked()
        assert abandoned == [True]
        assert report.commands == 2  # the host's and the relay's


async def test_a_shield_that_has_ended_keeps_nothing_from_being_waited_for(
    autojump_clock: MockClock,
) -> None:
    graph, sink = relayed()
    steps: list[str] = []

    async def on_cmd(env: ten.TenEnv, cmd: Cmd) -> None:
        for _ in range(2):
            with env.turn_scope(shield=True):
                await trio.lowlevel.checkpoint()
        try:
            await trio.sleep_forever()
        finally:
            with trio.move_on_after(1, shield=True):
                await trio.sleep(0.5)
                steps.append("cleaned up")

    sink.on_cmd = on_cmd  # type: ignore[method-assign]
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        turn = engine.new_turn()
        engine.post_cmd(Cmd("ask"), turn=turn)
        await wait_all_tasks_blocked()
        await engine.cancel_turn(turn)
        assert steps == ["cleaned up"]


@pytest.mark.parametrize("how", ["data", "cmd", "block"])
async def test_a_handler_that_waits_for_a_command_goes_no_further(how: str) -> None:
    """It is cancelled: the ERROR that ends its command is not what wakes it."""
    graph, sink = relayed()
    sink.hold = True
    steps: list[str] = []

    async def ask(env: ten.TenEnv) -> None:
        try:
            await env.send_cmd(Cmd("ask", dest="sink"))
            steps.append("went on")
        except trio.Cancelled:
            steps.append("cancelled")
            raise

    class Asks(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: Data) -> None:
            await ask(env)

        async def on_cmd(self, env: ten.TenEnv, cmd: Cmd) -> None:
            if how == "block":
                env.nursery.start_soon(self.in_a_block, env, env.turn)
            else:
                await ask(env)

        async def in_a_block(self, env: ten.TenEnv, turn: ten.Turn) -> None:
            with env.turn_scope(turn) as scope:
                await ask(env)
            steps.append(f"block caught it: {scope.cancelled_caught}")

    graph.node("asks", Asks)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        turn = engine.new_turn()
        if how == "data":
            await engine.send_data(Data("go", dest="asks"), turn=turn)
        else:
            engine.post_cmd(Cmd("go", dest="asks"), turn=turn)
        await wait_all_tasks_blocked()
        await engine.cancel_turn(turn)
        await wait_all_tasks_blocked()
        assert steps[0] == "cancelled"
        assert steps[1:] == (["block caught it: True"] if how == "block" else [])


async def test_what_is_sent_of_a_cancelled_turn_goes_nowhere() -> None:
    graph, sink = relayed()
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        turn = engine.new_turn()
        await engine.cancel_turn(turn)
        assert not await engine.send_data(Data("a"), turn=turn)
        result = await engine.send_cmd(Cmd("ask"), turn=turn)
        assert result.detail == "turn cancelled"
        await wait_all_tasks_blocked()
        assert sink.seen == []
        # Twice, by its id, and one that nobody knows.
        again = await engine.cancel_turn(turn.id)
        assert again is not None
        assert again.acknowledged == {}
        assert await engine.cancel_turn("no such turn") is None


async def test_a_handler_that_cancels_its_own_turn_goes_no_further() -> None:
    steps: list[str] = []

    class Ender(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: Data) -> None:
            steps.append(data.name)
            if data.name == "a":
                turn = env.turn
                assert turn is not None
                await env.cancel_turn(turn)
                steps.append("too far")

    graph = ten.Graph()
    graph.node("ender", Ender)
    graph.expose("data_in", "a", "ender")
    graph.expose("data_in", "b", "ender")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.send_data(Data("a"), turn=engine.new_turn())
        await engine.send_data(Data("b"))
        await wait_all_tasks_blocked()
    assert steps == ["a", "b"]


async def test_background_tasks_belong_to_a_turn_if_they_say_so() -> None:
    turns: list[ten.Turn | None] = []
    ended: list[str] = []

    class Speaker(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: Data) -> None:
            env.nursery.start_soon(self.speak, env, env.turn)
            env.nursery.start_soon(self.idle, env)

        async def speak(self, env: ten.TenEnv, turn: ten.Turn | None) -> None:
            with env.turn_scope(turn) as scope:
                turns.append(env.turn)
                await trio.sleep_forever()
            ended.append("speak" if scope.cancelled_caught else "")

        async def idle(self, env: ten.TenEnv) -> None:
            turns.append(env.turn)
            await trio.sleep_forever()

    graph = ten.Graph()
    graph.node("speaker", Speaker)
    graph.expose("data_in", "say", "speaker")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        turn = engine.new_turn()
        await engine.send_data(Data("say"), turn=turn)
        await wait_all_tasks_blocked()
        assert set(turns) == {turn, None}
        await engine.cancel_turn(turn)
        assert ended == ["speak"]


@pytest.mark.parametrize("own_loop", [False, True])
async def test_a_turn_is_cancelled_in_other_graphs_too(own_loop: bool) -> None:
    seen: list[str] = []
    ended = trio.Event()
    token = trio.lowlevel.current_trio_token()
    waiting = trio.Event()

    class Far(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: Data) -> None:
            seen.append(data.name)
            token.run_sync_soon(waiting.set)
            try:
                await trio.sleep_forever()
            finally:
                token.run_sync_soon(ended.set)

    class Near(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: Data) -> None:
            far = str(data["to"])
            await env.send_data(Data("x", dest=ten.Loc("", far, "far")))
            await env.send_data(Data("y", dest=ten.Loc("", far, "far")))

    there, here = ten.Graph(), ten.Graph()
    there.node("far", Far)
    here.node("near", Near)
    here.expose("data_in", "go", "near")
    async with ten.open_app() as app:
        async with (
            app.open_graph(there, own_loop=own_loop) as far,
            app.open_graph(here) as engine,
        ):
            turn = engine.new_turn()
            await engine.send_data(Data("go", {"to": far.graph_id}), turn=turn)
            with trio.fail_after(5):
                await waiting.wait()
                await engine.cancel_turn(turn)
                await ended.wait()
            assert seen == ["x"]


async def test_the_hosts_unread_messages_of_the_turn_are_dropped() -> None:
    graph: Any = ten.Graph()
    graph.node("relay", Relay)
    graph.expose("data_in", "a", "relay")
    graph.expose("data_out", "a", "relay")
    async with ten.open_app() as app, app.open_graph(graph) as engine, engine.messages() as out:
        old, new = engine.new_turn(), engine.new_turn()
        for turn in (old, new, old):
            await engine.send_data(Data("a"), turn=turn)
        await wait_all_tasks_blocked()
        report = await engine.cancel_turn(old)
        assert report is not None
        assert report.dropped == 2
        assert (await out.receive()).turn is new
        with pytest.raises(trio.WouldBlock):
            out.receive_nowait()


async def test_what_was_sent_before_a_command_is_known_after_a_turn_behind_it_is_cancelled() -> (
    None
):
    class Discards(ten.Extension):
        go = trio.Event()
        handled: list[str] = []  # noqa: RUF012 - of this test alone
        dropped = -1

        async def on_data(self, env: ten.TenEnv, data: Data) -> None:
            self.handled.append(data.name)
            if data.name == "first":
                await trio.sleep_forever()

        async def on_cmd(self, env: ten.TenEnv, cmd: Cmd) -> None:
            await self.go.wait()
            type(self).dropped = env.discard_queued(sent_before=cmd)
            await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("r", Discards)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        turn = engine.new_turn()
        await engine.send_data(Data("first", dest="r"))
        await wait_all_tasks_blocked()
        await engine.send_data(Data("old", dest="r"), turn=turn)
        await engine.send_data(Data("before", dest="r"))
        call = engine.start_cmd(Cmd("flush", dest="r"))
        await wait_all_tasks_blocked()
        for _ in range(3):
            await engine.send_data(Data("behind", dest="r"), turn=turn)
        await engine.send_data(Data("after", dest="r"))
        await engine.cancel_turn(turn)
        Discards.go.set()
        await call.result()
        assert Discards.dropped == 1
        assert engine._core.instances["r"].data_line.count == 1


async def test_who_fails_or_is_too_slow_says_nothing_of_a_cancelled_turn(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(ten.Extension):
        async def on_turn_cancelled(self, env: ten.TenEnv, turn: ten.Turn) -> object:
            raise ValueError("no buffer")

    class Dawdles(ten.Extension):
        async def on_turn_cancelled(self, env: ten.TenEnv, turn: ten.Turn) -> object:
            await trio.sleep_forever()
            return "never"

    graph = ten.Graph()
    graph.node("fails", Fails, on_error="isolate")
    graph.node("dawdles", Dawdles)
    graph.node("good", lambda _name: Recorder())
    limits = ten.Limits(turn_grace=0.5)
    async with ten.open_app(limits=limits) as app, app.open_graph(graph) as engine:
        began = trio.current_time()
        report = await engine.cancel_turn(engine.new_turn())
        assert trio.current_time() - began == pytest.approx(0.5)
        assert report is not None
        assert report.acknowledged == {"good": "cleared"}
    assert "on_turn_cancelled took more than 0.5 s" in caplog.text


@pytest.mark.parametrize("fails", [False, True])
async def test_a_graph_that_closes_meanwhile_does_not_wait_for_who_clears_up(
    fails: bool, autojump_clock: MockClock
) -> None:
    asked = trio.Event()

    class Dawdles(ten.Extension):
        async def on_turn_cancelled(self, env: ten.TenEnv, turn: ten.Turn) -> object:
            asked.set()
            if not fails:
                await trio.sleep_forever()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("half cleared")

    graph = ten.Graph()
    graph.node("dawdles", Dawdles)
    limits = ten.Limits(turn_grace=100)
    ends: AbstractContextManager[object] = nullcontext()
    if fails:
        ends = pytest.RaisesGroup(
            pytest.RaisesExc(ValueError, match="half cleared"), flatten_subgroups=True
        )
    async with trio.open_nursery() as nursery, ten.open_app(limits=limits, grace=1) as app:
        began = trio.current_time()
        with ends:
            async with app.open_graph(graph) as engine:
                nursery.start_soon(engine.cancel_turn, engine.new_turn())
                await asked.wait()
        assert trio.current_time() - began < 3


async def test_two_shields_of_one_handler_end_one_after_the_other(
    autojump_clock: MockClock,
) -> None:
    graph, sink = relayed()
    steps: list[str] = []

    async def on_cmd(env: ten.TenEnv, cmd: Cmd) -> None:
        async def finish(name: str, seconds: float) -> None:
            with env.turn_scope(shield=True):
                await trio.sleep(seconds)
                steps.append(name)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(finish, "short", 1)
            nursery.start_soon(finish, "long", 3)

    sink.on_cmd = on_cmd  # type: ignore[method-assign]
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        turn = engine.new_turn()
        engine.post_cmd(Cmd("ask"), turn=turn)
        await trio.sleep(2)
        await engine.cancel_turn(turn)
        assert steps == ["short"]  # what still shields itself isn't waited for
        await trio.sleep(2)
        assert steps == ["short", "long"]


async def test_a_block_for_a_turn_that_is_cancelled_already_does_not_begin() -> None:
    steps: list[object] = []

    class Late(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: Cmd) -> None:
            with env.turn_scope(turn) as scope:
                await trio.lowlevel.checkpoint()
                steps.append("too far")
            steps.append(scope.cancelled_caught)
            await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("late", Late)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        turn = engine.new_turn()
        await engine.cancel_turn(turn)
        assert (await engine.send_cmd(Cmd("go", dest="late"))).ok
    assert steps == [True]
    assert repr(turn_module.NO_TURN) == "<no turn>"


async def test_what_is_held_for_who_restarts_is_dropped_with_its_turn() -> None:
    seen: list[str] = []
    restarting, go_on = trio.Event(), trio.Event()

    class Falls(ten.Extension):
        async def on_init(self, env: ten.TenEnv) -> None:
            if seen:
                restarting.set()
                await go_on.wait()

        async def on_data(self, env: ten.TenEnv, data: Data) -> None:
            seen.append(data.name)
            if data.name == "fall":
                raise ValueError("fallen")

    graph = ten.Graph()
    graph.node("source", Relay)
    graph.node("falls", Falls, on_error="restart")
    for name in ("fall", "old", "new"):
        graph.connect("source", "falls", data=name)
        graph.expose("data_in", name, "source")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        old, new = engine.new_turn(), engine.new_turn()
        await engine.send_data(Data("fall"))
        await restarting.wait()
        for name, turn in (("old", old), ("new", new), ("old", old)):
            await engine.send_data(Data(name), turn=turn)
        await wait_all_tasks_blocked()
        edges = [edge for edge in (await engine.stats()).edges if edge.dest == "falls"]
        assert {edge.name: edge.queued for edge in edges} == {"fall": 0, "old": 2, "new": 1}
        report = await engine.cancel_turn(old)
        assert report is not None
        assert report.dropped == 2
        go_on.set()
        await wait_all_tasks_blocked()
    assert seen == ["fall", "new"]


async def test_a_graph_that_is_closed_by_now_has_no_part_in_it() -> None:
    there, seen = relayed()
    here = ten.Graph()

    class Near(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: Data) -> None:
            await env.send_data(Data("a", dest=ten.Loc("", str(data["to"]), "sink")))

    here.node("near", Near)
    async with ten.open_app() as app, app.open_graph(here) as engine:
        turn = engine.new_turn()
        async with app.open_graph(there) as far:
            go = Data("go", {"to": far.graph_id}, dest="near")
            await engine.send_data(go, turn=turn)
            await wait_all_tasks_blocked()
        assert seen.seen == ["a"]
        assert await engine.cancel_turn(turn) is not None
    assert seen.cleared == []


async def test_commands_that_are_queued_end_and_do_not_count_as_dropped() -> None:
    gate = trio.Event()

    class Serial(ten.Extension):
        cmd_handlers = "serial"

        async def on_cmd(self, env: ten.TenEnv, cmd: Cmd) -> None:
            await gate.wait()
            await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("serial", Serial)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        turn = engine.new_turn()
        first = engine.start_cmd(Cmd("go", dest="serial"))
        await wait_all_tasks_blocked()
        second = engine.start_cmd(Cmd("go", dest="serial"), turn=turn)
        third = engine.start_cmd(Cmd("go", dest="serial"))
        await wait_all_tasks_blocked()
        report = await engine.cancel_turn(turn)
        assert report is not None
        assert (report.dropped, report.commands) == (0, 1)
        assert (await second.result()).detail == "turn cancelled"
        gate.set()
        assert (await first.result()).ok
        assert (await third.result()).ok
