"""`env.proxy()`: foreign threads send in order; everything else of an env is off limits to them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any

import pytest
import trio

import ten_trio as ten

pytestmark = pytest.mark.slow


class Source(ten.Extension):
    """Hands its env out, and nothing else."""

    env: ten.TenEnv

    async def on_init(self, env: ten.TenEnv) -> None:
        self.env = env


class Sink(ten.Extension):
    def __init__(self) -> None:
        self.got: list[str] = []
        self.gate = trio.Event()
        self.gate.set()

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        if not self.gate.is_set():  # a handler that waits may be overtaken by commands
            await self.gate.wait()
        self.got.append(data.name)

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        self.got.append(cmd.name)
        if cmd.name == "hold":
            await trio.sleep_forever()
        await env.return_result(cmd.error("no") if cmd.name == "refuse" else cmd.ok(by="sink"))


def make() -> tuple[ten.Graph, Source, Sink]:
    source, sink = Source(), Sink()
    graph = ten.Graph()
    graph.node("source", lambda: source)
    graph.node("sink", lambda: sink)
    return graph, source, sink


async def in_thread(fn: Callable[..., Any], *args: Any) -> Any:
    return await trio.to_thread.run_sync(fn, *args)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(5):
        while not condition():  # noqa: ASYNC110 - what it waits for happens in another thread
            await trio.sleep(0.001)


async def test_data_and_commands_of_one_thread_keep_their_order() -> None:
    graph, source, sink = make()

    def talk(proxy: ten.TenEnvProxy) -> None:
        futures = []
        for index in range(100):
            assert proxy.send_data(ten.Data(f"d{index}", dest="sink"))
            futures.append(proxy.send_cmd(ten.Cmd(f"c{index}", dest="sink")))
        assert all(future.result(5)["by"] == "sink" for future in futures)

    async with ten.open_app() as app, app.open_graph(graph):
        await in_thread(talk, source.env.proxy())
        await until(lambda: len(sink.got) == 200)
    assert sink.got == [f"{kind}{index}" for index in range(100) for kind in "dc"]


async def test_several_threads_lose_nothing() -> None:
    graph, source, sink = make()

    def talk(proxy: ten.TenEnvProxy, number: int) -> None:
        for index in range(50):
            assert proxy.send_data(ten.Data(f"{number}.{index}", dest="sink"))

    async with ten.open_app() as app, app.open_graph(graph):
        proxy = source.env.proxy()
        async with trio.open_nursery() as nursery:
            for number in range(4):
                nursery.start_soon(in_thread, talk, proxy, number)
        await until(lambda: len(sink.got) == 200)
    for number in range(4):
        mine = [name for name in sink.got if name.startswith(f"{number}.")]
        assert mine == [f"{number}.{index}" for index in range(50)]


async def test_frames_go_the_same_way() -> None:
    seen = []

    class Frames(ten.Extension):
        async def on_audio_frame(self, env: ten.TenEnv, frame: ten.AudioFrame) -> None:
            seen.append(frame.name)

        async def on_video_frame(self, env: ten.TenEnv, frame: ten.VideoFrame) -> None:
            seen.append(frame.name)

    source = Source()
    graph = ten.Graph()
    graph.node("source", lambda: source)
    graph.node("frames", Frames)

    def talk(proxy: ten.TenEnvProxy) -> None:
        proxy.send_audio_frame(ten.AudioFrame("audio", dest="frames"))
        proxy.send_video_frame(ten.VideoFrame("video", dest="frames"))

    async with ten.open_app() as app, app.open_graph(graph):
        await in_thread(talk, source.env.proxy())
        await until(lambda: len(seen) == 2)
    assert seen == ["audio", "video"]


async def test_a_locked_buffer_is_refused() -> None:
    graph, source, _ = make()
    async with ten.open_app() as app, app.open_graph(graph):
        proxy = source.env.proxy()
        data = ten.Data("x", dest="sink")
        data.alloc_buf(1)
        view = data.lock_buf()
        with pytest.raises(ten.MessageLocked, match="unlock it before sending"):
            proxy.send_data(data)
        data.unlock_buf(view)
        assert proxy.send_data(data)


async def test_data_never_blocks_it_is_refused() -> None:
    graph, source, sink = make()
    sink.gate = trio.Event()
    limits = ten.Limits(queue=4)
    async with ten.open_app(limits=limits) as app, app.open_graph(graph):
        proxy = source.env.proxy()
        sent = await in_thread(
            lambda: [proxy.send_data(ten.Data(str(index), dest="sink")) for index in range(100)]
        )
        assert sent[:4] == [True] * 4
        assert not all(sent)
        assert proxy.dropped == sent.count(False)
        sink.gate.set()
        await until(lambda: len(sink.got) == sent.count(True))
    accepted = [str(index) for index, taken in enumerate(sent) if taken]
    assert sink.got == accepted


async def test_the_sender_may_go_on_writing_into_its_message() -> None:
    got = []

    class Reads(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            got.append(data["n"])

    source = Source()
    graph = ten.Graph()
    graph.node("source", lambda: source)
    graph.node("reads", Reads)

    def talk(proxy: ten.TenEnvProxy) -> None:
        data = ten.Data("x", dest="reads")
        for n in range(20):
            data["n"] = n
            proxy.send_data(data)

    async with ten.open_app() as app, app.open_graph(graph):
        await in_thread(talk, source.env.proxy())
        await until(lambda: len(got) == 20)
    assert got == list(range(20))


async def test_an_error_of_the_executor_is_a_result() -> None:
    graph, source, _ = make()
    async with ten.open_app() as app, app.open_graph(graph):
        proxy = source.env.proxy()
        result = await in_thread(lambda: proxy.send_cmd(ten.Cmd("refuse", dest="sink")).result(5))
        assert (result.ok, result.detail) == (False, "no")


async def test_a_command_that_cannot_be_sent_fails_its_future() -> None:
    graph, source, _ = make()
    async with ten.open_app() as app, app.open_graph(graph):
        proxy = source.env.proxy()
        with pytest.raises(ten.NotConnected, match="'nowhere'"):
            await in_thread(lambda: proxy.send_cmd(ten.Cmd("nowhere")).result(5))


async def test_data_that_cannot_be_sent_is_the_extensions_failure() -> None:
    graph, source, _ = make()
    with pytest.RaisesGroup(ten.SendRefused) as caught:
        async with ten.open_app() as app, app.open_graph(graph):
            proxy = source.env.proxy()
            await in_thread(proxy.send_data, ten.Cmd("x", dest="sink"))
            await trio.sleep_forever()
    assert caught.value.exceptions[0].__notes__[0].startswith("in a proxy of 'source'")


async def test_a_cancelled_future_keeps_its_command_from_being_sent() -> None:
    graph, source, sink = make()
    async with ten.open_app() as app, app.open_graph(graph):
        proxy = source.env.proxy()
        future = proxy.send_cmd(ten.Cmd("hold", dest="sink"))
        assert future.cancel()
        done = proxy.send_cmd(ten.Cmd("after", dest="sink"))
        await until(done.done)
        assert sink.got == ["after"]
        with pytest.raises(CancelledError):
            future.result(0)


async def test_pending_futures_end_with_the_graph() -> None:
    graph, source, sink = make()
    async with ten.open_app() as app, app.open_graph(graph):
        future = source.env.proxy().send_cmd(ten.Cmd("hold", dest="sink"))
        await until(lambda: bool(sink.got))
    assert not future.result(0).ok


async def test_pending_futures_end_also_if_the_grace_runs_out() -> None:
    class Stuck(Source):
        async def on_stop(self, env: ten.TenEnv) -> None:
            await trio.sleep_forever()

    source, sink = Stuck(), Sink()
    graph = ten.Graph()
    graph.node("source", lambda: source)
    graph.node("sink", lambda: sink)
    async with ten.open_app() as app, app.open_graph(graph, grace=0.05):
        future = source.env.proxy().send_cmd(ten.Cmd("hold", dest="sink"))
        await until(lambda: bool(sink.got))
    assert future.done()
    assert not future.result(0).ok


async def test_a_closed_proxy_sends_what_it_has_and_takes_nothing_more() -> None:
    graph, source, sink = make()
    async with ten.open_app() as app, app.open_graph(graph):
        with source.env.proxy() as proxy:
            for index in range(10):
                proxy.send_data(ten.Data(str(index), dest="sink"))
        with pytest.raises(ten.EnvClosed, match="source: this proxy is closed"):
            proxy.send_data(ten.Data("late", dest="sink"))
        with pytest.raises(ten.EnvClosed):
            proxy.send_cmd(ten.Cmd("late", dest="sink"))
        await until(lambda: len(sink.got) == 10)
        proxy.close()


async def test_a_proxy_closes_with_its_extension() -> None:
    graph, source, _ = make()
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        proxy = source.env.proxy()
        await engine.remove_extension("source")
        with pytest.raises(ten.EnvClosed):
            await in_thread(proxy.send_data, ten.Data("late", dest="sink"))


def test_a_proxy_outlives_the_whole_run() -> None:
    async def main() -> ten.TenEnvProxy:
        graph, source, _ = make()
        async with ten.open_app() as app, app.open_graph(graph):
            return source.env.proxy()

    proxy = trio.run(main)
    with pytest.raises(ten.EnvClosed):
        proxy.send_data(ten.Data("late", dest="sink"))
    proxy.close()


async def test_a_thread_that_sends_all_the_time_does_not_disturb_the_close() -> None:
    graph, source, sink = make()
    refused = threading.Event()

    def talk(proxy: ten.TenEnvProxy) -> list[Future[ten.CmdResult]]:
        futures = []
        try:
            while True:
                proxy.send_data(ten.Data("x", dest="sink"))
                futures.append(proxy.send_cmd(ten.Cmd("y", dest="sink")))
        except ten.EnvClosed:
            refused.set()
            return futures

    async with trio.open_nursery() as nursery:
        futures: list[Future[ten.CmdResult]] = []

        async def run(proxy: ten.TenEnvProxy) -> None:
            futures.extend(await in_thread(talk, proxy))

        async with ten.open_app() as app, app.open_graph(graph) as engine:
            nursery.start_soon(run, source.env.proxy())
            await until(lambda: len(sink.got) > 100)
        assert engine.report is not None
        assert not engine.report.grace_exhausted
    assert refused.is_set()
    assert all(future.done() for future in futures), "every command ends"


# Everything else -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda env: env.get_property("x"),
        lambda env: env.get_property_int32("x"),
        lambda env: env["x"],
        lambda env: env.is_property_exist("x"),
        lambda env: env.set_property("x", 2),
        lambda env: env.set_property_from_json("x", "2"),
        lambda env: env.del_property("x"),
        lambda env: env.init_property_from_json("{}"),
        lambda env: env.start_cmd(ten.Cmd("x", dest="sink")),
        lambda env: env.post_cmd(ten.Cmd("x", dest="sink")),
        lambda env: env.nursery,
        lambda env: env.proxy(),
        lambda env: env.stop_graph(),
        lambda env: env.discard_queued(),
        lambda env: env.send_cmd(ten.Cmd("x", dest="sink")).send(None),
        lambda env: env.send_data(ten.Data("x", dest="sink")).send(None),
        lambda env: env.send_audio_frame(ten.AudioFrame("x", dest="sink")).send(None),
        lambda env: env.return_result(ten.CmdResult()).send(None),
        lambda env: env.to_thread(print).send(None),
    ],
)
async def test_any_other_use_from_a_foreign_thread_is_refused(
    use: Callable[[ten.TenEnv], object],
) -> None:
    source, sink = Source(), Sink()
    graph = ten.Graph()
    graph.node("source", lambda: source, property={"x": 1})
    graph.node("sink", lambda: sink)
    async with ten.open_app() as app, app.open_graph(graph):
        with pytest.raises(ten.WrongThread, match=r"env of 'source'.*env\.proxy\(\)"):
            await in_thread(use, source.env)
        assert source.env["x"] == 1
    assert sink.got == []


async def test_code_in_to_thread_is_such_a_thread_too() -> None:
    class Threads(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            def work() -> int:
                with pytest.raises(ten.WrongThread):
                    env.get_property("x")
                env.log_info("logging is possible")
                return threading.get_ident()

            assert await env.to_thread(work) != threading.get_ident()

    graph = ten.Graph()
    graph.node("threads", Threads)
    async with ten.open_app() as app, app.open_graph(graph):
        pass
