"""The host: whoever opened the graph sends into it, reads what it exposes, and answers it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import trio

import ten_trio as ten
from ten_trio.runtime.loops import Loop
from tests.runtime.acting import acting, graph_of


class Talker(ten.Extension):
    """Sends to its host what the host tells it to: as data, or as a command."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd.name == "say":
            for index in range(cmd.get_property_int32("times")):
                await env.send_data(ten.Data("said", {"n": index}))
            await env.return_result(cmd.ok())
        else:
            result = await env.send_cmd(ten.Cmd("question", {"n": 1}))
            await env.return_result(cmd.ok(dict(result), ok=result.ok))


class Listener(ten.Extension):
    def __init__(self) -> None:
        self.got: list[str] = []

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        self.got.append(data.name)

    async def on_audio_frame(self, env: ten.TenEnv, frame: ten.AudioFrame) -> None:
        self.got.append(frame.name)

    async def on_video_frame(self, env: ten.TenEnv, frame: ten.VideoFrame) -> None:
        self.got.append(frame.name)

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        self.got.append(cmd.name)
        await env.return_result(cmd.ok(source=cmd.get_source().extension_name))


def talker() -> ten.Graph:
    graph = ten.Graph()
    graph.node("talker", Talker)
    graph.expose("data_out", "said", "talker")
    graph.expose("cmd_out", "question", "talker")
    return graph


def say(times: int) -> ten.Cmd:
    return ten.Cmd("say", {"times": times}, dest="talker")


ASK = ten.Cmd("ask", dest="talker")


# In ------------------------------------------------------------------------------------------------


async def test_everything_goes_in_along_the_exposed_messages() -> None:
    listener = Listener()
    graph = ten.Graph()
    graph.node("listener", lambda: listener)
    for kind in ("cmd", "data", "audio_frame", "video_frame"):
        graph.expose(f"{kind}_in", kind, "listener")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        assert await engine.send_data(ten.Data("data"))
        assert await engine.send_audio_frame(ten.AudioFrame("audio_frame"))
        assert await engine.send_video_frame(ten.VideoFrame("video_frame"))
        result = await engine.send_cmd(ten.Cmd("cmd"))
        assert result["source"] == "ten:graph_proxy"
        assert not await engine.send_data(ten.Data("unknown"))
        with pytest.raises(ten.NotConnected, match="'unknown'"):
            await engine.send_cmd(ten.Cmd("unknown"))
    assert listener.got == ["data", "audio_frame", "video_frame", "cmd"]


async def test_exposed_messages_of_several_extensions() -> None:
    one, two = Listener(), Listener()
    graph = ten.Graph()
    graph.node("one", lambda: one)
    graph.node("two", lambda: two)
    for name in ("one", "two"):
        graph.expose("data_in", "x", name)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        assert await engine.send_data(ten.Data("x"))
    assert one.got == two.got == ["x"]


async def test_the_hosts_sends_are_checkpoints() -> None:
    graph = ten.Graph()
    graph.node("listener", Listener)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        with trio.testing.assert_checkpoints():
            await engine.send_data(ten.Data("x", dest="listener"))
        with trio.testing.assert_checkpoints():
            await engine.send_cmd(ten.Cmd("x", dest="listener"))


async def test_the_host_waits_for_room(autojump_clock: object) -> None:
    class Slow(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            await trio.sleep(1)

    graph = ten.Graph()
    graph.node("slow", Slow)
    limits = ten.Limits(queue=4)
    async with ten.open_app(limits=limits) as app, app.open_graph(graph) as engine:
        start = trio.current_time()
        for _ in range(20):
            await engine.send_data(ten.Data("x", dest="slow"))
        assert trio.current_time() - start >= 10


# Many at once --------------------------------------------------------------------------------------

EITHER_LOOP = pytest.mark.parametrize("own_loop", [False, True], ids=["same loop", "own loop"])


def gate(listener: Listener) -> ten.Graph:
    graph = ten.Graph()
    graph.node("listener", lambda: listener)
    for kind in ("data", "audio_frame"):
        graph.expose(f"{kind}_in", kind, "listener")
    return graph


@EITHER_LOOP
async def test_many_go_in_with_one_call_in_their_order(own_loop: bool) -> None:
    listener = Listener()
    many = [
        message(name, dest=dest)
        for number in range(100)
        for message, name, dest in (
            (ten.Data, f"d{number}", "listener"),
            (ten.AudioFrame, "audio_frame", None),
            (ten.Data, "unknown", None),
            (ten.VideoFrame, f"v{number}", "listener"),
        )
    ]
    async with (
        ten.open_app() as app,
        app.open_graph(gate(listener), own_loop=own_loop) as engine,
    ):
        assert await engine.send_all(iter(many)) == 300
        assert await engine.send_all([]) == 0
    assert listener.got == [each.name for each in many if each.name != "unknown"]


@EITHER_LOOP
async def test_what_is_wrong_with_one_ends_it_there(own_loop: bool) -> None:
    listener = Listener()
    broken = ten.Data("broken", dest="listener")
    broken.alloc_buf(1)
    broken.lock_buf()

    def fails() -> Iterator[ten.Data]:
        yield ten.Data("never sent", dest="listener")
        raise KeyError("no more")

    async with (
        ten.open_app() as app,
        app.open_graph(gate(listener), own_loop=own_loop) as engine,
    ):
        with pytest.raises(ten.MessageLocked):
            await engine.send_data(broken)
        with pytest.raises(ten.MessageLocked):
            await engine.send_all([ten.Data("never sent", dest="listener"), broken])
        with pytest.raises(ten.SendRefused):
            await engine.send_all([ten.Data("data"), ten.Cmd("data"), ten.Data("data")])  # type: ignore[list-item]
        with pytest.raises(ten.SendRefused):
            await engine.send_all([ten.Data("never sent", dest="listener"), None])  # type: ignore[list-item]
        with pytest.raises(ten.SendRefused):
            await engine.send_all(ten.Data("one", dest="listener"))  # type: ignore[arg-type]
        with pytest.raises(KeyError, match="no more"):
            await engine.send_all(fails())
    assert listener.got == ["data"]
    with pytest.raises(ten.EngineClosed):
        await engine.send_all([ten.Data("data")])


@EITHER_LOOP
async def test_many_belong_to_the_turn_that_is_named(own_loop: bool) -> None:
    listener = Listener()
    async with (
        ten.open_app() as app,
        app.open_graph(gate(listener), own_loop=own_loop) as engine,
    ):
        turn = engine.new_turn()
        await engine.cancel_turn(turn)
        assert await engine.send_all([ten.Data("data"), ten.Data("data")], turn=turn) == 0
        assert await engine.send_all([ten.Data("data")], turn=None) == 1
    assert listener.got == ["data"]


@EITHER_LOOP
async def test_many_wait_for_room_and_the_wait_can_be_cancelled(own_loop: bool) -> None:
    home = Loop()
    full = trio.Event()
    ready: list[tuple[Loop, trio.Event]] = []
    got: list[int] = []

    async def hold(env: ten.TenEnv, data: ten.Data) -> None:
        if not got:
            go_on = trio.Event()
            ready.append((Loop(), go_on))
            home.post(full.set)
            await go_on.wait()
        got.append(data["n"])

    many = [ten.Data("x", {"n": n}, dest="slow") for n in range(20)]
    async with (
        ten.open_app(limits=ten.Limits(queue=4)) as app,
        app.open_graph(graph_of(slow=acting(on_data=hold)), own_loop=own_loop) as engine,
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(engine.send_all, many)
            await full.wait()
            nursery.cancel_scope.cancel()
        loop, go_on = ready[0]
        loop.post(go_on.set)
    assert got == list(range(len(got)))
    assert 0 < len(got) <= 5


# Out -----------------------------------------------------------------------------------------------


async def test_a_subscription_gets_what_is_exposed_in_order() -> None:
    async with ten.open_app() as app, app.open_graph(talker()) as engine:
        async with engine.messages() as messages:
            assert (await engine.send_cmd(say(3))).ok
            assert [(await messages.receive())["n"] for _ in range(3)] == [0, 1, 2]
            with pytest.raises(trio.WouldBlock):
                messages.receive_nowait()


async def test_names_select() -> None:
    class Both(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            for name in ("a", "b", "c"):
                assert await env.send_data(ten.Data(name))
            await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("both", Both)
    for name in ("a", "b", "c"):
        graph.expose("data_out", name, "both")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        async with engine.messages("a", "c") as some, engine.messages() as all_of_them:
            await engine.send_cmd(ten.Cmd("go", dest="both"))
            await trio.testing.wait_all_tasks_blocked()
            engine.stop()
            assert [message.name async for message in some] == ["a", "c"]
            assert [message.name async for message in all_of_them] == ["a", "b", "c"]


async def test_subscriptions_do_not_see_each_others_writing() -> None:
    async with ten.open_app() as app, app.open_graph(talker()) as engine:
        async with engine.messages() as one, engine.messages() as two:
            await engine.send_cmd(say(1))
            first, second = await one.receive(), await two.receive()
            first["n"] = 99
            assert second["n"] == 0


async def test_it_ends_with_the_graph_after_what_is_left() -> None:
    async with ten.open_app() as app:
        async with app.open_graph(talker()) as engine:
            async with engine.messages() as messages:
                await engine.send_cmd(say(2))
                engine.stop()
                assert [message["n"] async for message in messages] == [0, 1]
                with pytest.raises(trio.EndOfChannel):
                    await messages.receive()


async def test_messages_of_on_stop_still_arrive() -> None:
    class Farewell(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            assert await env.send_data(ten.Data("farewell"))

    graph = ten.Graph()
    graph.node("farewell", Farewell)
    graph.expose("data_out", "farewell", "farewell")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        async with engine.messages() as messages:
            engine.stop()
            assert [message.name async for message in messages] == ["farewell"]


async def test_a_subscription_to_a_closed_graph_ends_at_once(autojump_clock: object) -> None:
    async with ten.open_app() as app, app.open_graph(talker()) as engine:
        engine.stop()
        await engine.wait_closed()
        with trio.fail_after(10):
            async with engine.messages() as messages:
                assert [message async for message in messages] == []


async def test_an_unread_host_never_stalls_a_graph(autojump_clock: object) -> None:
    """Not without a subscription, not with one, not with a full one."""
    limits = ten.Limits(queue=4, host_queue=10)
    async with ten.open_app(limits=limits) as app, app.open_graph(talker()) as engine:
        with trio.fail_after(1):
            assert (await engine.send_cmd(say(1_000))).ok
            async with engine.messages() as messages, engine.messages(capacity=2) as small:
                assert (await engine.send_cmd(say(1_000))).ok
                assert (messages.dropped, small.dropped) == (990, 998)
                assert [messages.receive_nowait()["n"] for _ in range(10)] == list(range(10))
            assert (await engine.send_cmd(say(1_000))).ok


async def test_the_proxy_is_also_reached_by_its_name() -> None:
    class Direct(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await env.send_data(ten.Data("direct", dest="ten:graph_proxy"))
            await env.send_data(ten.Data("by place", dest=ten.Loc("", "", None)))
            await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("direct", Direct)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        async with engine.messages() as messages:
            await engine.send_cmd(ten.Cmd("go", dest="direct"))
            assert [(await messages.receive()).name for _ in range(2)] == ["direct", "by place"]


# Commands to the host ------------------------------------------------------------------------------


async def test_the_host_answers_commands() -> None:
    async with ten.open_app() as app, app.open_graph(talker()) as engine:
        async with engine.messages() as messages:
            call = engine.start_cmd(ASK)
            question = await messages.receive()
            assert (question.name, question["n"]) == ("question", 1)
            assert question.get_source().extension_name == "talker"
            assert await engine.return_result(question.ok(answer=42))
            assert (await call.result())["answer"] == 42
            with pytest.raises(ten.AlreadyAnswered):
                await engine.return_result(question.ok())


async def test_without_a_subscription_commands_are_refused() -> None:
    async with ten.open_app() as app, app.open_graph(talker()) as engine:
        result = await engine.send_cmd(ASK)
        assert result["detail"] == "not handled: the host doesn't read 'question'"
        async with engine.messages("something else"):
            result = await engine.send_cmd(ASK)
            assert result["detail"] == "not handled: the host doesn't read 'question'"


async def test_of_several_subscriptions_the_first_gets_the_command() -> None:
    async with ten.open_app() as app, app.open_graph(talker()) as engine:
        async with engine.messages() as first, engine.messages() as second:
            call = engine.start_cmd(ASK)
            await engine.return_result((await first.receive()).ok())
            assert (await call.result()).ok
            with pytest.raises(trio.WouldBlock):
                second.receive_nowait()


@pytest.mark.parametrize("own_loop", [False, True])
async def test_a_host_that_does_not_keep_up_with_commands_is_busy(own_loop: bool) -> None:
    async with (
        ten.open_app() as app,
        app.open_graph(talker(), own_loop=own_loop) as engine,
    ):
        async with engine.messages(capacity=1):
            waiting = engine.start_cmd(ASK)
            await trio.testing.wait_all_tasks_blocked()
            result = await engine.send_cmd(ASK)
            assert result["detail"] == "busy: the host doesn't keep up"
            assert not waiting.is_completed
        result = await waiting.result()
        assert result["detail"] == "not handled: the host reads no more"


async def test_a_command_that_is_received_and_never_answered_ends_with_the_graph() -> None:
    async with ten.open_app() as app, app.open_graph(talker()) as engine:
        async with engine.messages() as messages:
            call = engine.start_cmd(ASK)
            question = await messages.receive()
    assert question.is_abandoned
    assert not (await call.result()).ok
    with pytest.raises(ten.EngineClosed):
        await engine.return_result(question.ok())


async def test_the_host_sees_that_the_caller_is_gone() -> None:
    class Impatient(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            call = env.start_cmd(ten.Cmd("question"))
            await asked.wait()
            call.cancel()
            await env.return_result(cmd.ok())

    asked = trio.Event()
    graph = ten.Graph()
    graph.node("impatient", Impatient)
    graph.expose("cmd_out", "question", "impatient")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        async with engine.messages() as messages:
            engine.post_cmd(ten.Cmd("go", dest="impatient"))
            question = await messages.receive()
            asked.set()
            await question.abandoned.wait()
            assert not await engine.return_result(question.ok())


# The sending half ----------------------------------------------------------------------------------


class Streams(ten.Extension):
    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        for index in range(3):
            await env.return_result(cmd.partial(n=index))
        await env.return_result(cmd.ok(n=3))


@pytest.fixture
def streams() -> ten.Graph:
    graph = ten.Graph()
    graph.node("streams", Streams)
    return graph


async def test_send_cmd_ex_and_start_cmd(streams: ten.Graph) -> None:
    cmd = ten.Cmd("x", dest="streams")
    async with ten.open_app() as app, app.open_graph(streams) as engine:
        async with engine.send_cmd_ex(cmd) as results:
            assert [result["n"] async for result in results] == [0, 1, 2, 3]
        assert (await engine.start_cmd(cmd).result())["n"] == 3
        assert (await engine.send_cmd(cmd))["n"] == 3


@pytest.mark.parametrize("streaming", [False, True])
async def test_post_cmd_with_plain_and_async_handlers(streams: ten.Graph, streaming: bool) -> None:
    heard: list[int] = []

    def plain(engine: ten.Engine, result: ten.CmdResult, error: object) -> None:
        heard.append(result.get_property_int32("n"))

    async def waiting(engine: ten.Engine, result: ten.CmdResult, error: object) -> None:
        await trio.lowlevel.checkpoint()
        plain(engine, result, error)

    cmd = ten.Cmd("x", dest="streams")
    async with ten.open_app() as app, app.open_graph(streams) as engine:
        for handler in (plain, waiting):
            engine.post_cmd(cmd, handler, streaming)
            await trio.testing.wait_all_tasks_blocked()
        engine.post_cmd(cmd)
    assert heard == ([0, 1, 2, 3] * 2 if streaming else [3, 3])


async def test_a_result_handler_of_the_host_that_raises_fails_the_graph(
    streams: ten.Graph,
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("on purpose")

    with pytest.RaisesGroup(KeyError) as caught:
        async with ten.open_app() as app, app.open_graph(streams) as engine:
            engine.post_cmd(ten.Cmd("x", dest="streams"), fail)
            await trio.sleep_forever()
    assert "in a result_handler of the host" in caught.value.exceptions[0].__notes__[0]


async def test_a_result_handler_that_hangs_is_bounded(
    streams: ten.Graph, autojump_clock: object
) -> None:
    async def hang(*_: object) -> None:
        await trio.sleep_forever()

    start = trio.current_time()
    async with ten.open_app() as app, app.open_graph(streams) as engine:
        for _ in range(3):
            engine.post_cmd(ten.Cmd("x", dest="streams"), hang)
        await trio.testing.wait_all_tasks_blocked()
    assert trio.current_time() - start <= 6


async def test_an_engine_says_what_it_is(streams: ten.Graph) -> None:
    async with ten.open_app() as app, app.open_graph(streams) as engine:
        assert repr(engine) == f"<ten_trio.Engine {engine.graph_id} running>"
        engine.stop()
        assert repr(engine) == f"<ten_trio.Engine {engine.graph_id} closing>"
