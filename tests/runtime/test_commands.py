"""Commands: every way to send one, every way to answer one, and that each of them ends."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import ten_trio as ten
from tests.runtime.acting import Callback, acting, answer, graph_of, opened, stream

EACH = ten.ResultReturnPolicy.EACH_OK_AND_ERROR
FIRST = ten.ResultReturnPolicy.FIRST_ERROR_OR_LAST_OK


def pair(on_cmd: Callback, **settings: Any) -> ten.Graph:
    """A caller that does nothing by itself, and a callee."""
    graph = ten.Graph()
    graph.node("caller", ten.Extension)
    graph.node("callee", acting(on_cmd=on_cmd), **settings)
    graph.connect("caller", "callee", cmd=["go", "other"])
    return graph


def env_of(engine: ten.Engine, name: str = "caller") -> ten.TenEnv:
    return engine._core.instances[name].env


class Inbox:
    """A `result_handler` that keeps what it is given."""

    def __init__(self) -> None:
        self.send, self.receive = trio.open_memory_channel[ten.CmdResult](inf)

    async def __call__(self, env: Any, result: ten.CmdResult, error: object) -> None:
        assert error is None
        self.send.send_nowait(result)

    def count(self) -> int:
        return self.send.statistics().current_buffer_used


# Sending ---------------------------------------------------------------------------------------


async def test_send_cmd_from_the_host_and_from_an_extension() -> None:
    async with opened(pair(answer)) as engine:
        assert (await engine.send_cmd(ten.Cmd("go", dest="callee")))["by"] == "callee"
        assert (await env_of(engine).send_cmd(ten.Cmd("go")))["by"] == "callee"


async def test_send_cmd_swallows_the_intermediate_results_of_a_stream() -> None:
    async with opened(pair(stream)) as engine:
        result = await env_of(engine).send_cmd(ten.Cmd("go"))
        assert (result["number"], result.is_final, result.is_completed) == (3, True, True)


async def test_send_cmd_ends_with_the_first_error_even_if_it_is_not_final() -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.partial())
        error = cmd.error("broken")
        error.set_final(False)
        await env.return_result(error)
        await cmd.abandoned.wait()

    async with opened(pair(on_cmd)) as engine:
        result = await env_of(engine).send_cmd(ten.Cmd("go"))
        assert (result.detail, result.is_final, result.is_completed) == ("broken", False, True)
        with pytest.raises(ten.CmdFailed, match="command 'go' failed: broken") as caught:
            result.unwrap()
        assert caught.value.result is result


async def test_send_cmd_ex_iterates_over_every_result() -> None:
    async with opened(pair(stream)) as engine:
        async with env_of(engine).send_cmd_ex(ten.Cmd("go", {"count": 4})) as results:
            assert [r["number"] async for r in results] == [1, 2, 3, 4]


async def test_leaving_the_block_of_send_cmd_ex_abandons_the_rest() -> None:
    told = trio.Event()

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.partial(number=1))
        assert not cmd.is_abandoned
        await cmd.abandoned.wait()
        assert cmd.is_abandoned
        assert not await env.return_result(cmd.partial(number=2))
        told.set()

    async with opened(pair(on_cmd)) as engine:
        async with env_of(engine).send_cmd_ex(ten.Cmd("go")) as results:
            async for result in results:
                assert result["number"] == 1
                break
        await told.wait()


async def test_start_cmd_keeps_several_in_flight_without_a_nursery(
    autojump_clock: MockClock,
) -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await trio.sleep(cmd["after"])
        await stream(env, cmd)

    async with opened(pair(on_cmd)) as engine:
        env = env_of(engine)
        slow, fast = (env.start_cmd(ten.Cmd("go", {"after": after})) for after in (2, 1))
        assert repr(fast) == "<ten_trio.Call in flight, 0 results waiting>"
        assert (await fast.result())["number"] == 3
        assert trio.current_time() == 1
        assert not slow.is_completed
        assert [
            r["number"] async for r in env.start_cmd(ten.Cmd("go", {"after": 0}), policy=EACH)
        ] == [
            1,
            2,
            3,
        ]
        await slow.result()
        assert slow.is_completed
        with pytest.raises(ten.InvalidArgument, match="already read"):
            await slow.result()


async def test_a_call_can_be_cancelled() -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await cmd.abandoned.wait()

    async with opened(pair(on_cmd)) as engine:
        call = env_of(engine).start_cmd(ten.Cmd("go"))
        call.cancel()
        call.cancel()
        assert call.is_completed
        with pytest.raises(ten.InvalidArgument, match="cancelled"):
            await call.result()
        assert [result async for result in call] == []


async def test_a_call_is_one_tasks() -> None:
    async with opened(pair(lambda env, cmd: cmd.abandoned.wait())) as engine:
        call = env_of(engine).start_cmd(ten.Cmd("go"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.result)
            await wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await call.result()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("streaming", [False, True])
async def test_post_cmd_calls_its_handler_once_or_for_every_result(streaming: bool) -> None:
    inbox = Inbox()
    async with opened(pair(stream)) as engine:
        env_of(engine).post_cmd(ten.Cmd("go"), inbox, streaming)
        assert inbox.count() == 0
        await wait_all_tasks_blocked()
        numbers = [inbox.receive.receive_nowait()["number"] for _ in range(inbox.count())]
        assert numbers == ([1, 2, 3] if streaming else [3])


async def test_post_cmd_takes_a_plain_handler_too_and_the_host_has_it_as_well() -> None:
    seen: list[tuple[object, str]] = []

    def handler(env: object, result: ten.CmdResult, error: None) -> None:
        seen.append((env, result["by"]))

    async with opened(pair(answer)) as engine:
        env_of(engine).post_cmd(ten.Cmd("go"), handler)
        await wait_all_tasks_blocked()
        engine.post_cmd(ten.Cmd("go", dest="callee"), handler)
        engine.post_cmd(ten.Cmd("go", dest="callee"))
        await wait_all_tasks_blocked()
        assert seen == [(env_of(engine), "callee"), (engine, "callee")]


async def test_a_result_handler_runs_as_one_of_the_senders_handlers() -> None:
    """Not inside whoever returns the result, and under the sender's error policy."""
    events: list[str] = []

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok())
        events.append("returned")

    def handler(env: object, result: ten.CmdResult, error: None) -> None:
        events.append("handled")
        raise KeyError("in the handler")

    with pytest.RaisesGroup(pytest.RaisesExc(KeyError)) as caught:
        async with opened(pair(on_cmd)) as engine:
            env_of(engine).post_cmd(ten.Cmd("go"), handler)
            await trio.sleep_forever()
    assert events == ["returned", "handled"]
    assert "while 'caller' handled CmdResult" in caught.value.exceptions[0].__notes__[0]


async def test_results_without_a_handler_are_discarded() -> None:
    asked = 0

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        nonlocal asked
        asked += 1
        await stream(env, cmd)

    async with opened(pair(on_cmd)) as engine:
        env_of(engine).post_cmd(ten.Cmd("go"))
        await wait_all_tasks_blocked()
        assert asked == 1
        assert not env_of(engine)._instance.out_paths


async def test_a_result_says_which_command_it_answers() -> None:
    async with opened(pair(answer)) as engine:
        result = await env_of(engine).send_cmd(ten.Cmd("go", seq_id="seven"))
        assert result.original_cmd_name == "go"
        assert result.original_cmd_type is ten.MsgType.CMD
        assert result.seq_id == "seven"
        assert result.get_source().extension_name == "callee"


async def test_what_cannot_be_sent_raises() -> None:
    async with opened(pair(answer)) as engine:
        env = env_of(engine)
        with pytest.raises(
            ten.NotConnected, match="caller: command 'nowhere' has no destination"
        ) as no:
            await env.send_cmd(ten.Cmd("nowhere"))
        assert no.value.code is ten.ErrorCode.MSG_NOT_CONNECTED
        with pytest.raises(ten.NotConnected):
            env.post_cmd(ten.Cmd("nowhere"))
        with pytest.raises(ten.NotConnected, match=r"no exposed message of the graph \(cmd_in\)"):
            await engine.send_cmd(ten.Cmd("go"))
        with pytest.raises(ten.SendRefused):
            env.start_cmd(ten.Data("go"))  # type: ignore[arg-type]
        with pytest.raises(ten.InvalidLocation):
            ten.Cmd("go", dest=ten.Loc(None, None, "callee"))
    with pytest.raises(ten.EnvClosed):
        await env.send_cmd(ten.Cmd("go"))
    with pytest.raises(ten.EngineClosed):
        await engine.send_cmd(ten.Cmd("go", dest="callee"))


async def test_sending_needs_the_loop_of_the_graph() -> None:
    async with opened(pair(answer)) as engine:
        env = env_of(engine)
        with pytest.raises(ten.WrongThread, match="proxy"):
            await trio.to_thread.run_sync(env.start_cmd, ten.Cmd("go"))


# Answering -------------------------------------------------------------------------------------


async def test_a_second_final_result_raises() -> None:
    caught: list[Exception] = []

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        assert await env.return_result(cmd.ok())
        for late in (cmd.ok(), cmd.error("no"), cmd.partial()):
            with pytest.raises(ten.AlreadyAnswered, match="'go'") as error:
                await env.return_result(late)
            caught.append(error.value)

    async with opened(pair(on_cmd)) as engine:
        assert (await env_of(engine).send_cmd(ten.Cmd("go"))).ok
        await wait_all_tasks_blocked()
    assert len(caught) == 3


async def test_a_result_for_a_command_that_was_not_received_raises() -> None:
    async with opened(pair(answer)) as engine:
        env = env_of(engine, "callee")
        for result in (
            ten.Cmd("go").ok(),
            ten.CmdResult(ten.StatusCode.OK),
            (await env_of(engine).send_cmd(ten.Cmd("go"))),
        ):
            with pytest.raises(ten.UnknownCommand):
                await env.return_result(result)
        with pytest.raises(ten.SendRefused):
            await env.return_result(ten.Cmd("go"))  # type: ignore[arg-type]


async def test_a_result_of_somebody_elses_command_raises() -> None:
    commands: list[ten.Cmd] = []

    async def keep(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        commands.append(cmd)

    async with opened(pair(keep)) as engine:
        call = env_of(engine).start_cmd(ten.Cmd("go"))
        await wait_all_tasks_blocked()
        with pytest.raises(ten.UnknownCommand):
            await env_of(engine).return_result(commands[0].ok())
        assert await env_of(engine, "callee").return_result(commands[0].ok(late=True))
        assert (await call.result())["late"]


async def test_a_late_result_is_counted_and_returns_false(autojump_clock: MockClock) -> None:
    returned: list[bool] = []

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await cmd.abandoned.wait()
        returned.append(await env.return_result(cmd.ok()))

    async with opened(pair(on_cmd)) as engine:
        with trio.move_on_after(1):
            await env_of(engine).send_cmd(ten.Cmd("go"))
        assert (await env_of(engine).send_cmd(ten.Cmd("go"), timeout=1)).detail == "Path timeout."
        await wait_all_tasks_blocked()
    assert returned == [False, False]
    assert engine.report is not None
    assert engine.report.extensions["callee"].late_results == 2


async def test_an_error_result_is_made_when_the_handler_raises() -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        raise ValueError("no good")

    async with opened(pair(on_cmd, on_error="isolate")) as engine:
        result = await env_of(engine).send_cmd(ten.Cmd("go"))
        assert result.detail == "callee: ValueError: no good"


async def test_an_extension_without_on_cmd_says_so() -> None:
    async with opened(pair(answer)) as engine:
        result = await engine.send_cmd(ten.Cmd("go", dest="caller"))
        assert result.detail.startswith("not handled: ")


async def test_every_result_keeps_its_own_properties() -> None:
    """The executor may go on writing into what it has returned."""

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        result = cmd.partial()
        for number in range(3):
            result["number"] = number
            result.set_final(number == 2)
            await env.return_result(result)

    async with opened(pair(on_cmd)) as engine:
        async with env_of(engine).send_cmd_ex(ten.Cmd("go")) as results:
            assert [r["number"] async for r in results] == [0, 1, 2]


# The caller goes away --------------------------------------------------------------------------


@pytest.mark.parametrize("by_host", [False, True])
async def test_cancelling_the_wait_abandons_the_command(
    by_host: bool, autojump_clock: MockClock
) -> None:
    told = trio.Event()

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await cmd.abandoned.wait()
        told.set()

    async with opened(pair(on_cmd)) as engine:
        sender = engine if by_host else env_of(engine)
        with trio.move_on_after(1) as scope:
            await sender.send_cmd(ten.Cmd("go", dest="callee"))
        assert scope.cancelled_caught
        await told.wait()
        assert trio.current_time() == 1
        core = engine._core
        assert not core.host.out_paths
        assert not core.instances["caller"].out_paths
        assert not core.instances["callee"].in_paths


async def test_cancel_abandoned_cancels_the_handler(autojump_clock: MockClock) -> None:
    ended: list[str] = []

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            ended.append(cmd["who"])
            raise

    async with opened(pair(on_cmd, cancel_abandoned=True)) as engine:
        stays = env_of(engine).start_cmd(ten.Cmd("go", {"who": "stays"}))
        with trio.move_on_after(1):
            await env_of(engine).send_cmd(ten.Cmd("go", {"who": "goes"}))
        await wait_all_tasks_blocked()
        assert ended == ["goes"]
        assert not stays.is_completed


async def test_a_cancelled_handler_leaves_its_worker_fit_for_the_next(
    autojump_clock: MockClock,
) -> None:
    """Also if it was finishing at that very moment, and the next is handled by the same task."""
    finished: list[int] = []
    gate = trio.Event()

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd["number"] == 1:
            await gate.wait()
        else:
            await trio.sleep(1)
        finished.append(cmd["number"])

    graph = pair(on_cmd, cancel_abandoned=True, cmd_handlers="serial")
    async with opened(graph) as engine:
        env = env_of(engine)
        calls = [env.start_cmd(ten.Cmd("go", {"number": number})) for number in (1, 2)]
        await wait_all_tasks_blocked()
        gate.set()
        calls[0].cancel()
        await trio.sleep(2)
    assert finished == [1, 2]


async def test_an_abandoned_command_that_waits_in_the_queue_is_not_begun(
    autojump_clock: MockClock,
) -> None:
    begun: list[int] = []

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        begun.append(cmd["number"])
        await trio.sleep(1)
        await env.return_result(cmd.ok())

    graph = pair(on_cmd, cancel_abandoned=True, cmd_handlers="serial")
    async with opened(graph) as engine:
        env = env_of(engine)
        calls = [env.start_cmd(ten.Cmd("go", {"number": number})) for number in range(3)]
        calls[1].cancel()
        await calls[2].result()
    assert begun == [0, 2]


async def test_abandoned_is_only_for_received_commands() -> None:
    with pytest.raises(ten.InvalidArgument, match="wasn't received"):
        _ = ten.Cmd("go").abandoned
    assert not ten.Cmd("go").is_abandoned


# Relays, nests, loops --------------------------------------------------------------------------


def chain(middle: Callback, last: Callback) -> ten.Graph:
    """caller → middle → last, for `go`."""
    graph = ten.Graph()
    graph.node("caller", ten.Extension)
    graph.node("middle", acting(on_cmd=middle))
    graph.node("last", acting(on_cmd=last))
    graph.connect("caller", "middle", cmd="go")
    graph.connect("middle", "last", cmd=["go", "nested"])
    return graph


async def relay(env: ten.TenEnv, cmd: ten.Cmd) -> None:
    """Send a received command on, along the graph."""
    env.post_cmd(cmd)


async def test_a_received_command_that_is_sent_on_relays_all_its_results() -> None:
    async with opened(chain(relay, stream)) as engine:
        async with env_of(engine).send_cmd_ex(ten.Cmd("go", seq_id="s")) as results:
            seen = [(r["number"], r.is_final, r.is_completed, r.seq_id) async for r in results]
        assert seen == [(1, False, False, "s"), (2, False, False, "s"), (3, True, True, "s")]
        assert not engine._core.instances["middle"].in_paths


async def test_abandoning_a_relayed_command_reaches_its_executor() -> None:
    told = trio.Event()

    async def last(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await cmd.abandoned.wait()
        told.set()

    async with opened(chain(relay, last)) as engine:
        call = env_of(engine).start_cmd(ten.Cmd("go"))
        await wait_all_tasks_blocked()
        call.cancel()
        await told.wait()
        assert not any(each.in_paths or each.out_paths for each in engine._core.instances.values())


async def test_a_relayed_error_comes_home() -> None:
    async def last(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.error("out of order", code=7))

    async with opened(chain(relay, last)) as engine:
        result = await env_of(engine).send_cmd(ten.Cmd("go"))
        assert (result.status, result.detail, result["code"]) == (
            ten.StatusCode.ERROR,
            "out of order",
            7,
        )


async def test_a_command_of_ones_own_is_not_relayed() -> None:
    async def middle(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        env.post_cmd(ten.Cmd("nested"))
        await env.return_result(cmd.ok(by="middle"))

    async with opened(chain(middle, answer)) as engine:
        assert (await env_of(engine).send_cmd(ten.Cmd("go")))["by"] == "middle"


async def test_relaying_what_was_answered_already_hurts_nobody() -> None:
    async def middle(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        env.post_cmd(cmd)
        await env.return_result(cmd.ok(by="middle"))

    async with opened(chain(middle, stream)) as engine:
        assert (await env_of(engine).send_cmd(ten.Cmd("go")))["by"] == "middle"
        await wait_all_tasks_blocked()
    assert engine.report is not None
    assert not engine.report.failures


async def test_a_result_of_a_command_sent_on_can_be_returned_by_hand() -> None:
    async def middle(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        result = await env.send_cmd(cmd)
        assert result.cmd_id == cmd.cmd_id
        result["seen"] = True
        await env.return_result(result)

    async with opened(chain(middle, answer)) as engine:
        result = await env_of(engine).send_cmd(ten.Cmd("go"))
        assert (result["by"], result["seen"]) == ("last", True)


async def test_a_nested_command_has_the_handled_one_as_its_parent() -> None:
    ids: dict[str, tuple[str, str]] = {}

    async def middle(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        ids["go"] = cmd.cmd_id, cmd.parent_cmd_id
        await trio.lowlevel.checkpoint()
        result = await env.send_cmd(ten.Cmd("nested"))
        await env.return_result(cmd.ok(nested=result["by"]))

    async def last(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        ids["nested"] = cmd.cmd_id, cmd.parent_cmd_id
        await answer(env, cmd)

    async with opened(chain(middle, last)) as engine:
        assert (await env_of(engine).send_cmd(ten.Cmd("go")))["nested"] == "last"
    assert ids["nested"][1] == ids["go"][0]
    assert ids["go"][1] == ""


@pytest.mark.parametrize("settings", [{}, {"inline": False}, {"cmd_handlers": "serial"}], ids=str)
async def test_two_that_ask_each_other(settings: dict[str, Any], autojump_clock: MockClock) -> None:
    """A handler gets its result although the next command is there, or is served one at a time."""

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd.name == "ask":
            result = await env.send_cmd(ten.Cmd("go", dest="b" if env.name == "a" else "a"))
            await env.return_result(cmd.ok(by=result["by"]))
        else:
            await answer(env, cmd)

    graph = ten.Graph()
    graph.node("a", acting(on_cmd=on_cmd), **settings)
    graph.node("b", acting(on_cmd=on_cmd), **settings)
    async with opened(graph) as engine:
        call = engine.start_cmd(ten.Cmd("ask", dest="a"))
        assert (await call.result())["by"] == "b"
        assert (await engine.send_cmd(ten.Cmd("ask", dest="b")))["by"] == "a"
    assert trio.current_time() == 0


async def test_a_command_may_go_in_a_circle() -> None:
    ids: set[str] = set()

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        ids.add(cmd.cmd_id)
        cmd["hops"] = cmd["hops"] + 1
        if cmd["hops"] == 10:
            await env.return_result(cmd.ok(hops=cmd["hops"]))
        else:
            env.post_cmd(cmd)

    graph = ten.Graph()
    for name in ("a", "b", "c"):
        graph.node(name, acting(on_cmd=on_cmd), group=name)
    for source, dest in (("a", "b"), ("b", "c"), ("c", "a")):
        graph.connect(source, dest, cmd="round")
    async with opened(graph) as engine:
        result = await engine.send_cmd(ten.Cmd("round", {"hops": 0}, dest="a"))
        assert result["hops"] == 10
        assert len(ids) == 10
        assert not any(each.in_paths or each.out_paths for each in engine._core.instances.values())


async def test_an_extension_may_ask_itself() -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd.name == "outer":
            await env.send_cmd(ten.Cmd("inner", dest=env.name))
        await answer(env, cmd)

    async with opened(pair(on_cmd)) as engine:
        assert (await engine.send_cmd(ten.Cmd("outer", dest="callee"))).ok


# Timeouts --------------------------------------------------------------------------------------


async def never(env: ten.TenEnv, cmd: ten.Cmd) -> None:
    """Keep the caller waiting."""


@pytest.mark.parametrize("by_host", [False, True])
async def test_an_unanswered_command_times_out(by_host: bool, autojump_clock: MockClock) -> None:
    async with opened(pair(never), path_timeout=7) as engine:
        sender = engine if by_host else env_of(engine)
        result = await sender.send_cmd(ten.Cmd("go", dest="callee"))
        assert (result.detail, result.is_final, result.is_completed) == (
            "Path timeout.",
            True,
            True,
        )
        assert trio.current_time() == 7
        assert not engine._core.instances["callee"].in_paths


async def test_timeouts_of_their_own(autojump_clock: MockClock) -> None:
    async with opened(pair(never)) as engine:
        env = env_of(engine)
        calls = {
            seconds: env.start_cmd(ten.Cmd("go"), timeout=seconds) for seconds in (5, 1, 3, 1.5)
        }
        for seconds in (1, 1.5, 3, 5):
            await calls[seconds].result()
            assert trio.current_time() == seconds


async def test_the_timeout_of_an_extension_is_a_property(autojump_clock: MockClock) -> None:
    graph = ten.Graph()
    graph.node("caller", ten.Extension, property={"ten": {"path_timeout": 2_500_000}})
    graph.node("callee", acting(on_cmd=never))
    async with opened(graph) as engine:
        await env_of(engine).send_cmd(ten.Cmd("go", dest="callee"))
        assert trio.current_time() == 2.5


async def test_a_partial_result_restarts_the_clock(autojump_clock: MockClock) -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        for number in range(4):
            await trio.sleep(4)
            await env.return_result(cmd.partial(number=number))

    async with opened(pair(on_cmd)) as engine:
        env = env_of(engine)
        async with env.send_cmd_ex(ten.Cmd("go"), timeout=5) as results:
            details = [result.detail async for result in results]
        assert details == ["", "", "", "", "Path timeout."]
        assert trio.current_time() == 4 * 4 + 5
        # And others with the same timeout still expire in order.
        talks, silent = (
            env.start_cmd(ten.Cmd("go"), timeout=5),
            env.start_cmd(ten.Cmd("go", dest="caller"), timeout=5),
        )
        await silent.result()
        await talks.result()
        assert trio.current_time() == 21 + 21


async def test_a_command_may_wait_for_ever(autojump_clock: MockClock) -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await trio.sleep(80_000)
        await env.return_result(cmd.ok())

    async with opened(pair(on_cmd), path_timeout=inf) as engine:
        assert (await env_of(engine).send_cmd(ten.Cmd("go"))).ok
        assert (await engine.send_cmd(ten.Cmd("go", dest="callee"), timeout=inf)).ok


async def test_a_timeout_ends_a_command_to_several_for_all(autojump_clock: MockClock) -> None:
    abandoned: list[str] = []

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await cmd.abandoned.wait()
        abandoned.append(env.name)

    graph = ten.Graph()
    for name in ("a", "b", "c"):
        graph.node(name, acting(on_cmd=on_cmd))
    async with opened(graph) as engine:
        for sender in (engine, env_of(engine, "c")):
            result = await sender.send_cmd(ten.Cmd("go", dest=["a", "b"]), timeout=1)
            assert result.detail == "Path timeout."
            await wait_all_tasks_blocked()
            assert sorted(abandoned) == ["a", "b"]
            abandoned.clear()


async def test_a_timeout_reaches_a_result_handler(autojump_clock: MockClock) -> None:
    inbox = Inbox()
    async with opened(pair(never)) as engine:
        env_of(engine).post_cmd(ten.Cmd("go"), inbox, timeout=1)
        result = await inbox.receive.receive()
        assert result.detail == "Path timeout."


# What the runtime answers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dest", "detail"),
    [
        ("nobody", "Failed to find destination."),
        (ten.Loc("", "no-such-graph", "callee"), "Graph not found."),
        (
            ten.Loc("msgpack://10.0.0.1:8001/", "", "callee"),
            "Could not find suitable remote based on uri: msgpack://10.0.0.1:8001/",
        ),
    ],
    ids=str,
)
async def test_unknown_destinations(dest: Any, detail: str) -> None:
    async with opened(pair(answer)) as engine:
        for sender in (engine, env_of(engine)):
            result = await sender.send_cmd(ten.Cmd("go", dest=dest))
            assert result.detail == detail


async def test_a_removed_extension_is_terminated() -> None:
    async with opened(pair(answer)) as engine:
        await engine.remove_extension("callee")
        result = await engine.send_cmd(ten.Cmd("go", dest="callee"))
        assert result.detail == "The destination extension has been terminated."


async def test_a_removed_extension_leaves_nobody_waiting() -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await trio.sleep_forever()

    async with opened(pair(on_cmd)) as engine:
        mine = engine.start_cmd(ten.Cmd("go", dest="callee"))
        its = env_of(engine).start_cmd(ten.Cmd("go"))
        await wait_all_tasks_blocked()
        await engine.remove_extension("callee")
        assert "extension removed" in (await mine.result()).detail
        assert not (await its.result()).ok


async def test_an_extension_in_its_deinit_answers_so(autojump_clock: MockClock) -> None:
    graph = ten.Graph()

    async def on_deinit(env: ten.TenEnv) -> None:
        await trio.sleep(1)

    async def ask(env: ten.TenEnv) -> None:
        await trio.sleep(0.5)
        details.append((await env.send_cmd(ten.Cmd("go", dest="gone"))).detail)

    details: list[str] = []
    graph.node("gone", acting(on_deinit=on_deinit))
    graph.node("asks", acting(on_stop=ask))
    async with opened(graph):
        pass
    assert details == ["The destination extension is in its de-initialization phase."]


async def test_commands_queued_when_deinit_begins_are_answered() -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await trio.sleep_forever()

    async with opened(pair(on_cmd, cmd_handlers="serial")) as engine:
        begun, queued = (engine.start_cmd(ten.Cmd("go", dest="callee")) for _ in range(2))
        await wait_all_tasks_blocked()
        engine.stop()
        assert (await queued.result()).detail == (
            "The destination extension is in its de-initialization phase."
        )
        assert (await begun.result()).detail.startswith("closing: graph ")
    assert engine.report is not None
    assert engine.report.extensions["callee"].answered_with_error == 2


async def test_busy() -> None:
    async with opened(pair(never), pending_cmds=3) as engine:
        calls = [engine.start_cmd(ten.Cmd("go", dest="callee")) for _ in range(3)]
        result = await engine.send_cmd(ten.Cmd("go", dest="callee"))
        assert result.detail == "busy: callee has 3 commands to answer"
        calls[0].cancel()
        late = engine.start_cmd(ten.Cmd("go", dest="callee"))
        await wait_all_tasks_blocked()
        assert not late.is_completed


async def test_busy_at_one_of_two_ends_the_command_for_the_other() -> None:
    """The other one is told, although it is asked only after the caller has its result."""
    told = trio.Event()

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await cmd.abandoned.wait()
        told.set()

    graph = ten.Graph()
    graph.node("busy", acting(on_cmd=never))
    graph.node("free", acting(on_cmd=on_cmd))
    async with opened(graph, pending_cmds=1) as engine:
        engine.start_cmd(ten.Cmd("go", dest="busy"))
        result = await engine.send_cmd(ten.Cmd("go", dest=["busy", "free"]))
        assert result.detail.startswith("busy: ")
        await told.wait()
        assert not engine._core.instances["free"].in_paths


async def test_restarting() -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd.name == "other":
            raise RuntimeError("on purpose")
        await trio.sleep_forever()

    async with opened(pair(on_cmd, on_error="restart")) as engine:
        pending = env_of(engine).start_cmd(ten.Cmd("go"))
        await wait_all_tasks_blocked()
        assert (await env_of(engine).send_cmd(ten.Cmd("other"))).detail.startswith(
            "callee: Runtime"
        )
        assert (await pending.result()).detail == "restarting"


async def test_closing_ends_what_the_host_waits_for(autojump_clock: MockClock) -> None:
    async with opened(pair(never)) as engine:
        call = engine.start_cmd(ten.Cmd("go", dest="callee"), timeout=inf)
        await wait_all_tasks_blocked()
        engine.stop()
        assert (await call.result()).detail.startswith("closing: graph ")
        await engine.wait_closed()


@pytest.mark.parametrize(
    ("graph_id", "detail"), [("unknown", "Failed to find the engine to be shut down.")]
)
async def test_stopping_an_unknown_graph(graph_id: str, detail: str) -> None:
    async with opened(pair(answer)) as engine:
        result = await env_of(engine).send_cmd(ten.StopGraph(graph_id=graph_id))
        assert (result.status, result.detail) == (ten.StatusCode.ERROR, detail)


async def test_stopping_another_graph() -> None:
    async with ten.open_app() as app, app.open_graph(pair(answer)) as engine:
        other = await app.start_graph(pair(answer))
        result = await env_of(engine).send_cmd(ten.StopGraph(graph_id=other.graph_id))
        assert (result.status, result.detail) == (ten.StatusCode.OK, "close engine done")
        assert other.report is not None


async def test_timer_commands() -> None:
    async with opened(pair(answer)) as engine:
        env = env_of(engine)
        timer = ten.Timer(timer_id=1, timeout_us=1_000_000, times=1)
        assert (await env.send_cmd(timer)).detail == "Operation is success."
        cancel = ten.Timer(timer_id=2, timeout_us=0, times=-1)
        result = await env.send_cmd(cancel)
        assert (result.status, result.detail) == (
            ten.StatusCode.ERROR,
            "Failed to cancel an un-existed timer.",
        )


# is_final and is_completed ---------------------------------------------------------------------


async def shows(
    dests: dict[str, int], how: str, errors: tuple[str, ...] = ()
) -> list[tuple[str, bool, bool]]:
    """What is seen of a command to executors that answer so often: who, is_final, is_completed."""

    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if env.name in errors:
            await env.return_result(cmd.error("no", by=env.name))
            return
        count = dests[env.name]
        for _ in range(count - 1):
            await env.return_result(cmd.partial(by=env.name))
        await env.return_result(cmd.ok(by=env.name))

    seen: list[tuple[str, bool, bool]] = []

    async def handler(env: object, result: ten.CmdResult, error: None) -> None:
        seen.append((result["by"], result.is_final, result.is_completed))

    graph = ten.Graph()
    graph.node("caller", ten.Extension)
    for name in dests:
        graph.node(name, acting(on_cmd=on_cmd))
    graph.connect("caller", list(dests), cmd="go")
    async with opened(graph) as engine:
        env = env_of(engine)
        if how == "send_cmd":
            await handler(env, await env.send_cmd(ten.Cmd("go")), None)
        elif how == "send_cmd_ex":
            async with env.send_cmd_ex(ten.Cmd("go")) as results:
                async for result in results:
                    await handler(env, result, None)
        else:
            env.post_cmd(ten.Cmd("go"), handler, is_streaming_result=True)
        await wait_all_tasks_blocked()
    return seen


@pytest.mark.parametrize("how", ["send_cmd", "send_cmd_ex", "post_cmd"])
async def test_final_and_completed_for_one_result(how: str, autojump_clock: MockClock) -> None:
    assert await shows({"a": 1}, how) == [("a", True, True)]


@pytest.mark.parametrize("how", ["send_cmd_ex", "post_cmd"])
async def test_final_and_completed_for_a_stream(how: str, autojump_clock: MockClock) -> None:
    assert await shows({"a": 3}, how) == [
        ("a", False, False),
        ("a", False, False),
        ("a", True, True),
    ]


async def test_final_and_completed_for_two_destinations(autojump_clock: MockClock) -> None:
    assert await shows({"a": 1, "b": 1}, "send_cmd") == [("b", True, True)]
    assert await shows({"a": 1, "b": 1}, "send_cmd_ex") == [("a", True, False), ("b", True, True)]


async def test_final_and_completed_when_the_first_to_answer_fails(
    autojump_clock: MockClock,
) -> None:
    assert await shows({"a": 1, "b": 1}, "send_cmd", ("a",)) == [("a", True, True)]
    assert await shows({"a": 1, "b": 1}, "send_cmd", ("b",)) == [("b", True, True)]
    assert await shows({"a": 1, "b": 1}, "send_cmd_ex", ("a",)) == [
        ("a", True, False),
        ("b", True, True),
    ]


async def test_final_and_completed_for_two_streams(autojump_clock: MockClock) -> None:
    seen = await shows({"a": 2, "b": 3}, "send_cmd_ex")
    assert [final for _, final, _ in seen].count(True) == 2
    assert [completed for *_, completed in seen] == [False, False, False, False, True]
    assert await shows({"a": 2, "b": 3}, "send_cmd") == [("b", True, True)]


# Calls from handlers ---------------------------------------------------------------------------


async def test_policy_can_be_chosen_everywhere() -> None:
    async with opened(pair(stream)) as engine:
        env = env_of(engine)
        inbox = Inbox()
        env.post_cmd(ten.Cmd("go"), inbox, True, policy=FIRST)
        async with env.send_cmd_ex(ten.Cmd("go"), policy=FIRST) as results:
            assert [r["number"] async for r in results] == [3]
        assert (await env.send_cmd(ten.Cmd("go"), policy=EACH))["number"] == 3
        await wait_all_tasks_blocked()
        assert inbox.count() == 1


async def test_what_is_for_no_place_at_all_and_what_is_locked_is_refused() -> None:
    async with opened(graph_of(a=acting(on_cmd=answer))) as engine:
        result = await engine.send_cmd(ten.Cmd("x", dest=ten.Loc("")))
        assert result.status is ten.StatusCode.ERROR
        frame = ten.AudioFrame("pcm", buf=bytes(4), dest="a")
        view = frame.lock_buf()
        with pytest.raises(ten.MessageLocked, match="unlock it before sending"):
            await engine.send_audio_frame(frame)
        frame.unlock_buf(view)
        assert await engine.send_audio_frame(frame)


async def test_a_command_may_leave_the_turn_of_the_one_in_hand() -> None:
    turns: list[object] = []

    async def ask(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.send_cmd(ten.Cmd("inside", dest="b"))
        await env.send_cmd(ten.Cmd("outside", dest="b"), turn=None)
        await env.return_result(cmd.ok())

    async def note(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        turns.append(env.turn)
        await env.return_result(cmd.ok())

    async with opened(graph_of(a=acting(on_cmd=ask), b=acting(on_cmd=note))) as engine:
        turn = engine.new_turn()
        await engine.send_cmd(ten.Cmd("go", dest="a"), turn=turn)
    assert turns == [turn, None]
