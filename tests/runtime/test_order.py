"""The order in which handlers start."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

import ten_trio as ten
from tests.runtime.acting import acting, opened

SERIAL = {"cmd_handlers": "serial"}
KINDS = {
    "cmd": ten.Cmd,
    "data": ten.Data,
    "audio_frame": ten.AudioFrame,
    "video_frame": ten.VideoFrame,
}


def recording(log: list[str], **waits: Any) -> type[ten.Extension]:
    """Writes down which handlers start, by the message's name; waits for what `waits` has for it."""

    async def handle(env: ten.TenEnv, msg: Any) -> None:
        log.append(msg.name)
        if msg.name in waits:
            await waits[msg.name].wait()

    return acting(on_cmd=handle, on_data=handle, on_audio_frame=handle, on_video_frame=handle)


async def send(sender: Any, *sends: str) -> None:
    """Send messages to `r`, each written as `kind:name`."""
    for each in sends:
        kind, name = each.split(":")
        msg = KINDS[kind](name, dest="r")
        if isinstance(msg, ten.Cmd):
            sender.post_cmd(msg)
        else:
            await sender.send_data(msg)


async def test_one_order_for_all_kinds() -> None:
    log: list[str] = []
    sends = [f"{kind}:{number}" for number in range(20) for kind in KINDS]

    async def go(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await send(env, *(f"{each}.{each.split(':')[0]}" for each in sends))

    graph = ten.Graph()
    graph.node("s", acting(on_cmd=go))
    graph.node("r", recording(log))
    async with opened(graph) as engine:
        engine.post_cmd(ten.Cmd("go", dest="s"))
        await wait_all_tasks_blocked()
    assert log == [".".join(reversed(each.split(":"))) for each in sends]


async def test_a_command_passes_data_that_waits_behind_a_waiting_handler() -> None:
    log: list[str] = []
    gate = trio.Event()
    graph = ten.Graph()
    graph.node("r", recording(log, speech1=gate))
    async with opened(graph) as engine:
        await send(engine, "data:speech1", "data:speech2", "audio_frame:speech3", "cmd:flush")
        await wait_all_tasks_blocked()
        assert log == ["speech1", "flush"]
        gate.set()
        await wait_all_tasks_blocked()
        assert log == ["speech1", "flush", "speech2", "speech3"]


async def test_a_result_passes_data_that_waits_behind_its_handler() -> None:
    """Asking from a data handler can't deadlock, also not when both sides do."""
    log: list[str] = []

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        other = "b" if env.name == "a" else "a"
        result = await env.send_cmd(ten.Cmd("ask", dest=other))
        log.append(f"{env.name}{data.name}{result.ok}")

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok())

    graph = ten.Graph()
    for name in ("a", "b"):
        graph.node(name, acting(on_data=on_data, on_cmd=on_cmd))
    async with opened(graph) as engine:
        for number in ("1", "2"):
            await engine.send_data(ten.Data(number, dest=["a", "b"]))
        await wait_all_tasks_blocked()
    assert sorted(log) == ["a1True", "a2True", "b1True", "b2True"]


@pytest.mark.parametrize("before", ["data", "audio_frame", "cmd"])
async def test_a_result_overtakes_nothing_that_was_sent_before_it(before: str) -> None:
    """Not even when a background task waits for it, which Trio may wake first."""
    log: list[str] = []

    async def note(env: ten.TenEnv, msg: Any) -> None:
        log.append(msg.name)

    async def ask(env: ten.TenEnv) -> None:
        await env.send_cmd(ten.Cmd("ask", dest="answers"))
        log.append("result")

    async def on_start(env: ten.TenEnv) -> None:
        env.nursery.start_soon(ask, env)

    async def answers(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await send(env, f"{before}:before")
        await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("answers", acting(on_cmd=answers), group="other")
    graph.node("r", acting(on_start=on_start, on_cmd=note, on_data=note, on_audio_frame=note))
    for _ in range(20):  # Trio shuffles the tasks that are ready
        log.clear()
        async with opened(graph):
            await wait_all_tasks_blocked()
        assert log == ["before", "result"]


async def test_command_handlers_are_concurrent_by_default() -> None:
    log: list[str] = []
    graph = ten.Graph()
    graph.node("r", recording(log, c1=trio.Event()), cancel_abandoned=True)
    async with opened(graph, grace=1) as engine:
        calls = [engine.start_cmd(ten.Cmd(name, dest="r")) for name in ("c1", "c2", "c3")]
        await wait_all_tasks_blocked()
        assert log == ["c1", "c2", "c3"]
        calls[0].cancel()


async def test_command_handlers_can_be_serial() -> None:
    log: list[str] = []
    gate = trio.Event()
    graph = ten.Graph()
    graph.node("r", recording(log, c1=gate), cmd_handlers="serial")
    async with opened(graph) as engine:
        await send(engine, "cmd:c1", "cmd:c2", "data:d", "cmd:c3")
        await wait_all_tasks_blocked()
        assert log == ["c1", "d"]
        gate.set()
        await wait_all_tasks_blocked()
        assert log == ["c1", "d", "c2", "c3"]


async def test_data_handlers_can_be_concurrent() -> None:
    log: list[str] = []
    gate = trio.Event()
    graph = ten.Graph()
    graph.node("r", recording(log, d1=gate, d2=gate), data_handlers="concurrent")
    async with opened(graph) as engine:
        await send(engine, "data:d1", "audio_frame:d2", "data:d3")
        await wait_all_tasks_blocked()
        assert log == ["d1", "d2", "d3"]
        gate.set()


async def test_one_waiting_receiver_holds_up_no_other_of_its_group() -> None:
    log: list[str] = []
    gate = trio.Event()

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        log.append(f"{env.name}{data.name}")
        if env.name == "slow":
            await gate.wait()

    graph = ten.Graph()
    for name in ("slow", "fast"):
        graph.node(name, acting(on_data=on_data), group="one")
    async with opened(graph) as engine:
        for number in range(3):
            await engine.send_data(ten.Data(str(number), dest=["slow", "fast"]))
        await wait_all_tasks_blocked()
        assert log == ["slow0", "fast0", "fast1", "fast2"]
        gate.set()
        await wait_all_tasks_blocked()
        assert log[4:] == ["slow1", "slow2"]


async def test_what_comes_before_on_init_is_done_is_handled_first() -> None:
    log: list[str] = []
    gate = trio.Event()

    async def on_init(env: ten.TenEnv) -> None:
        await gate.wait()

    class Late(recording(log)):  # type: ignore[misc]
        async def on_init(self, env: ten.TenEnv) -> None:
            await gate.wait()

        async def on_start(self, env: ten.TenEnv) -> None:
            await send(env, "data:4")

    async def on_start(env: ten.TenEnv) -> None:
        await send(env, "data:1", "cmd:2", "audio_frame:3")
        gate.set()

    graph = ten.Graph()
    graph.node("s", acting(on_start=on_start))
    graph.node("r", Late)
    async with opened(graph):
        await wait_all_tasks_blocked()
        assert log == ["1", "2", "3", "4"]


@pytest.mark.parametrize("inline", [True, False])
async def test_what_is_queued_while_an_extension_restarts_keeps_its_order(inline: bool) -> None:
    log: list[str] = []

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        log.append(data.name)
        if data.name == "0" and log.count("0") == 1:
            for number in range(1, 4):
                await env.send_data(ten.Data(str(number), dest=env.name))
            raise RuntimeError("on purpose")

    async def on_stop(env: ten.TenEnv) -> None:
        await env.send_data(ten.Data("4", dest=env.name))
        await trio.lowlevel.checkpoint()
        await env.send_data(ten.Data("5", dest=env.name))

    graph = ten.Graph()
    graph.node("r", acting(on_data=on_data, on_stop=on_stop), on_error="restart", inline=inline)
    async with opened(graph) as engine:
        await engine.send_data(ten.Data("0", dest="r"))
        await wait_all_tasks_blocked()
        assert log == ["0", "1", "2", "3", "4", "5"]


async def test_a_send_never_runs_the_receiver_inside_the_sender() -> None:
    log: list[str] = []

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        log.append(f"{cmd.name} begins")
        if cmd.name == "go":
            await env.send_data(ten.Data("d", dest=env.name))
            env.post_cmd(ten.Cmd("c", dest="other"))
        log.append(f"{cmd.name} ends")

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        log.append(data.name)

    graph = ten.Graph()
    for name in ("r", "other"):
        graph.node(name, acting(on_cmd=on_cmd, on_data=on_data))
    async with opened(graph) as engine:
        engine.post_cmd(ten.Cmd("go", dest="r"))
        assert log == []
        await wait_all_tasks_blocked()
    assert log == ["go begins", "go ends", "d", "c begins", "c ends"]


async def test_a_long_chain_needs_no_stack() -> None:
    """An endless nesting of sends would end in a RecursionError."""
    hops = 0

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        nonlocal hops
        hops += 1
        if hops < 20_000:
            await env.send_data(ten.Data("on", dest=env.name))

    graph = ten.Graph()
    graph.node("r", acting(on_data=on_data))
    async with opened(graph) as engine:
        await engine.send_data(ten.Data("on", dest="r"))
        await wait_all_tasks_blocked()
    assert hops == 20_000


@pytest.mark.parametrize("inline", [True, False])
async def test_one_order_for_all_kinds_again_once_a_handler_has_waited(
    inline: bool, autojump_clock: object
) -> None:
    log: list[str] = []

    class Receives(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            log.append(data.name)
            if data.name == "waits":
                await trio.sleep(1)

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            log.append(cmd.name)
            await env.return_result(cmd.ok())

    class Sends(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            for i in range(3):
                await env.send_data(ten.Data(f"data {i}", dest="receives"))
                env.post_cmd(ten.Cmd(f"cmd {i}", dest="receives"))
            await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("receives", Receives, inline=inline)
    graph.node("sends", Sends)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        for _ in range(3):
            await engine.send_data(ten.Data("waits", dest="receives"))
            await engine.send_cmd(ten.Cmd("passes", dest="receives"))
            await trio.sleep(2)
            await engine.send_cmd(ten.Cmd("go", dest="sends"))
            await wait_all_tasks_blocked()
    one_round = [f"{kind} {i}" for i in range(3) for kind in ("data", "cmd")]
    assert log == ["waits", "passes", *one_round] * 3


@pytest.mark.parametrize("inline", [True, False])
async def test_one_order_again_from_the_moment_that_nothing_is_held_up(inline: bool) -> None:
    """Also while a command is on its way to its handler that was sent before that moment."""
    log: list[str] = []
    enough, over = trio.Event(), trio.Event()

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        log.append(data.name)
        if data.name == "waits":
            while not enough.is_set():
                await trio.lowlevel.checkpoint()
            over.set()

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        log.append(cmd.name)
        await env.return_result(cmd.ok())

    async def on_start(env: ten.TenEnv) -> None:
        env.nursery.start_soon(send_all, env)

    async def send_all(env: ten.TenEnv) -> None:
        await send(env, "data:waits")
        while "waits" not in log:
            await trio.lowlevel.checkpoint()
        enough.set()
        await send(env, "cmd:early", "data:first")
        while not over.is_set():
            await trio.lowlevel.checkpoint()
        await send(env, "cmd:second", "data:third")

    graph = ten.Graph()
    graph.node("s", acting(on_start=on_start), group="other")
    graph.node("r", acting(on_data=on_data, on_cmd=on_cmd), inline=inline)
    for _ in range(100):  # Trio shuffles the tasks that are ready
        log.clear()
        enough, over = trio.Event(), trio.Event()
        async with opened(graph):
            await wait_all_tasks_blocked()
        assert [name for name in log if name not in ("waits", "early")] == [
            "first",
            "second",
            "third",
        ]


@pytest.mark.parametrize("serial", [False, True])
async def test_a_cancelled_handler_leaves_the_order_behind_it(serial: bool) -> None:
    """Also when commands come in the very step in which it is cancelled."""
    log: list[str] = []

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        await trio.sleep_forever()

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        log.append(cmd.name)
        if serial:
            await trio.lowlevel.checkpoint()
            log.append(f"{cmd.name} ends")
        await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("r", acting(on_data=on_data, on_cmd=on_cmd), **(SERIAL if serial else {}))
    for _ in range(60):  # Trio shuffles the tasks that are ready
        log.clear()
        async with opened(graph) as engine:
            turn = engine.new_turn()
            await engine.send_data(ten.Data("d", dest="r"), turn=turn)
            await wait_all_tasks_blocked()
            engine.post_cmd(ten.Cmd("first", dest="r"))
            engine.post_cmd(ten.Cmd("second", dest="r"))
            await engine.cancel_turn(turn)
            await wait_all_tasks_blocked()
        ends = [f"{name} ends" for name in ("first", "second")]
        assert log == (["first", ends[0], "second", ends[1]] if serial else ["first", "second"])


async def test_after_a_cancelled_handler_data_and_commands_come_in_one_order_again() -> None:
    log: list[str] = []

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        if data.name == "wait":
            await trio.sleep_forever()
        log.append(data.name)

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        log.append(cmd.name)
        await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("r", acting(on_data=on_data, on_cmd=on_cmd))
    sent = [f"{n}" for n in range(40)]
    async with opened(graph) as engine:
        turn = engine.new_turn()
        await engine.send_data(ten.Data("wait", dest="r"), turn=turn)
        await wait_all_tasks_blocked()
        await engine.cancel_turn(turn)
        await wait_all_tasks_blocked()
        for name in sent:
            if int(name) % 3:
                engine.post_cmd(ten.Cmd(name, dest="r"))
            else:
                await engine.send_data(ten.Data(name, dest="r"))
        await wait_all_tasks_blocked()
    assert log == sent


async def test_a_command_that_is_answered_at_once_lets_others_run_all_the_same() -> None:
    rounds: list[int] = []
    answered: list[ten.CmdResult] = []

    async def on_data(env: ten.TenEnv, data: ten.Data) -> None:
        for _ in range(5):
            with trio.testing.assert_checkpoints():
                answered.append(await env.send_cmd(ten.Cmd("x", dest="nobody")))
            rounds.append(len(answered))
        with trio.CancelScope() as scope:
            scope.cancel()
            await env.send_cmd(ten.Cmd("x", dest="nobody"))
            rounds.append(0)

    graph = ten.Graph()
    graph.node("r", acting(on_data=on_data))
    async with opened(graph) as engine:
        await engine.send_data(ten.Data("d", dest="r"))
        await wait_all_tasks_blocked()
    assert rounds == [1, 2, 3, 4, 5]
    assert not any(result.ok for result in answered)
