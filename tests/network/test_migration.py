"""Single cases of connections that move into graphs: what may happen at the same moment, and what is left."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import trio

import ten_trio as ten
from property_tests.streams import KINDS, Raw, Record, encoded, message, raw, serving, start
from ten_trio.messages import StopGraph
from ten_trio.network import NetworkSettings, WireMsg, app_network
from ten_trio.network.transports.sockets import SocketPipe
from ten_trio.runtime.own_loop import CoreLink

pytestmark = pytest.mark.slow

BOTH_LOOPS = pytest.mark.parametrize("own_loop", [False, True], ids=["shared", "own"])
ALL = pytest.mark.parametrize("transport", ["tcp", "unix", "ws"])
DATA = ten.Loc("", "single", "rec")


@pytest.fixture
def folder() -> Iterator[Path]:
    # That of pytest is too long for the name of a Unix socket.
    with TemporaryDirectory() as name:
        yield Path(name)


def descriptors() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


def running_loops() -> int:
    """How many threads are in the middle of a Trio run."""
    count = 0
    for frame in sys._current_frames().values():
        while frame.f_back is not None and frame.f_code.co_name != "unrolled_run":
            frame = frame.f_back
        count += frame.f_code.co_name == "unrolled_run"
    return count


@pytest.fixture(autouse=True)
async def nothing_left() -> Any:
    """No task, descriptor or Trio run is left of a test."""
    with trio.fail_after(10):
        await trio.to_thread.run_sync(int)  # Trio keeps this thread
    tasks = trio.lowlevel.current_statistics().tasks_living
    before = descriptors(), running_loops()
    yield
    assert (descriptors(), running_loops()) == before
    assert trio.lowlevel.current_statistics().tasks_living == tasks


async def nobody_left(app: ten.App) -> None:
    """Until all connections and graphs are gone; what other threads do is only seen by looking."""
    with trio.fail_after(3):
        while app.engines or app.network.connections:  # noqa: ASYNC110  # type: ignore[union-attr, attr-defined]
            await trio.sleep(0.001)


async def send(client: Raw, *messages: WireMsg) -> None:
    await client.send(encoded(messages))


# What the original promises ---------------------------------------------------------------------


@ALL
@BOTH_LOOPS
async def test_a_wrong_graph_and_then_the_right_one(
    transport: str, own_loop: bool, folder: Path
) -> None:
    with trio.fail_after(10):
        async with serving(transport, folder, own_loop) as app, raw(app.uri) as client:
            record = Record()
            await send(client, message("cmd", 1, dest=ten.Loc("", "nowhere", "rec")))
            assert (await client.until("1")).detail == "Graph not found."
            await send(client, message("data", 2, dest=ten.Loc("", "nowhere", "rec")))
            await send(client, start(), message("cmd", 3))
            await client.until("3")
            assert record.of("") == [3]


@ALL
@BOTH_LOOPS
async def test_many_messages_in_one_write_with_the_first(
    transport: str, own_loop: bool, folder: Path
) -> None:
    with trio.fail_after(10):
        async with serving(transport, folder, own_loop) as app, raw(app.uri) as client:
            record = Record()
            kinds = [KINDS[number % 3] for number in range(600)]
            messages = [message(kind, number) for number, kind in enumerate(kinds)]
            await send(client, start(), *messages, message("cmd", 600))
            await client.until("600")
            assert record.of("") == list(range(601))


@ALL
@BOTH_LOOPS
async def test_once_in_a_graph_it_stays_there(transport: str, own_loop: bool, folder: Path) -> None:
    with trio.fail_after(10):
        async with serving(transport, folder, own_loop) as app, raw(app.uri) as client:
            record = Record()
            await send(client, start())
            await client.until("start")
            await send(client, message("cmd", 1, dest=ten.Loc("", "nowhere", "rec")))
            assert (await client.until("1")).detail == "Graph not found."
            await send(client, message("cmd", 2), start(seq_id="again"))
            await client.until("2")
            assert "after graph is built" in (await client.until("again")).detail
            assert record.of("") == [2]
            assert len(app.engines) == 1


@ALL
@BOTH_LOOPS
async def test_a_graph_that_can_not_be_started(
    transport: str, own_loop: bool, folder: Path
) -> None:
    with trio.fail_after(10):
        async with serving(transport, folder, own_loop) as app, raw(app.uri) as client:
            await send(client, start("bad"), message("cmd", 1))
            assert "streams_nobody" in (await client.until("start")).detail
            await client.until_closed()
            await nobody_left(app)


# Ends in the middle of it -----------------------------------------------------------------------


@ALL
@BOTH_LOOPS
@pytest.mark.parametrize("number", [0, 1, 40])
async def test_gone_right_after_start_graph(
    transport: str, own_loop: bool, number: int, folder: Path
) -> None:
    with trio.fail_after(10):
        async with serving(transport, folder, own_loop) as app:
            Record()
            for turns in range(12):
                async with raw(app.uri) as client:
                    await send(client, start(), *[message("cmd", i) for i in range(number)])
                    for _ in range(turns):
                        await trio.lowlevel.checkpoint()
                await nobody_left(app)


@BOTH_LOOPS
async def test_lost_while_the_refusal_of_an_earlier_message_is_written(
    own_loop: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is there any more for the graph that was just started: it doesn't stay for ever."""

    async def send_pieces(self: SocketPipe, pieces: object) -> None:
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError("the other end has gone")

    with trio.fail_after(10):
        async with serving("tcp", folder, own_loop) as app, raw(app.uri) as client:
            monkeypatch.setattr(SocketPipe, "send_pieces", send_pieces)
            wrong = message("cmd", 1, dest=ten.Loc("", "nowhere", "rec"))
            await send(client, wrong, start())
            await client.until_closed()
            await nobody_left(app)
            assert [report.reason for report in app.reports] == [
                "connection lost: connection lost: the other end has gone"
            ] or "lost" in app.reports[0].reason


@ALL
@BOTH_LOOPS
@pytest.mark.parametrize("first", ["start", "single"])
async def test_the_app_closes_meanwhile(
    transport: str, own_loop: bool, first: str, folder: Path
) -> None:
    clients: list[Raw] = []
    begin = start() if first == "start" else message("cmd", 99, dest=DATA)

    async def be_client(uri: str, *, task_status: trio.TaskStatus[None]) -> None:
        async with raw(uri) as client:
            clients.append(client)
            await send(client, begin, *[message("cmd", i) for i in range(20)])
            task_status.started()
            await client.until_closed()

    for turns in range(0, 30, 3):
        Record()
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                async with serving(transport, folder, own_loop) as app:
                    await nursery.start(be_client, app.uri)
                    for _ in range(turns):
                        await trio.lowlevel.checkpoint()
        seq_ids = [seq_id for seq_id, _, _ in clients[-1].answers]
        assert len(seq_ids) == len(set(seq_ids))


@ALL
async def test_the_app_is_cancelled_meanwhile(transport: str, folder: Path) -> None:
    for own_loop in (False, True):
        for turns in range(0, 30, 3):
            Record()
            with trio.fail_after(5), trio.CancelScope() as scope:
                async with serving(transport, folder, own_loop) as app, raw(app.uri) as client:
                    await send(client, start(), *[message("cmd", i) for i in range(20)])
                    for _ in range(turns):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()
                    await trio.lowlevel.checkpoint()


Move = Callable[..., Any]


def closing_before(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Let the first graph that a connection moves to close just before that."""
    move: Move = app_network.move
    seen = []

    async def closing(connection: Any, target: Any, *args: Any) -> Any:
        if not seen:
            seen.append(1)
            target.core.request_close("of a test")
            if how == "closed":
                await target.core.closed.wait()
        return await move(connection, target, *args)

    monkeypatch.setattr(app_network, "move", closing)


@ALL
@BOTH_LOOPS
@pytest.mark.parametrize("how", ["closing", "closed"])
async def test_the_graph_closes_meanwhile(
    transport: str, own_loop: bool, how: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is as if the graph hadn't been found, and the connection can try another one."""
    closing_before(monkeypatch, how)
    with trio.fail_after(10):
        async with serving(transport, folder, own_loop) as app, raw(app.uri) as client:
            record = Record()
            await send(client, message("cmd", 1, dest=DATA), message("data", 2, dest=DATA))
            result = await client.until("1")
            assert result.status is ten.StatusCode.ERROR
            assert "of a test" in result.detail
            await send(client, start(), message("cmd", 3))
            # The message in between may have found the singleton, started again.
            await client.until("start")
            await client.until("3")
            assert record.of("", "cmd") == [3]


@ALL
@BOTH_LOOPS
@pytest.mark.parametrize("how", ["closing", "closed"])
async def test_the_started_graph_closes_meanwhile(
    transport: str, own_loop: bool, how: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing_before(monkeypatch, how)
    with trio.fail_after(10):
        async with serving(transport, folder, own_loop) as app, raw(app.uri) as client:
            await send(client, start(), message("cmd", 3))
            assert (await client.until("start")).status is ten.StatusCode.ERROR
            await client.until_closed()
            await nobody_left(app)


# What crosses a move ----------------------------------------------------------------------------

gates: list[Callable[[], bool]] = []


@ten.addon("migration_slow")
class Slow(ten.Extension):
    """Takes its time to stop."""

    async def on_stop(self, env: ten.TenEnv) -> None:
        while not gates[0]():  # noqa: ASYNC110 - from another thread
            await trio.sleep(0.001)

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        while not gates[0]():  # noqa: ASYNC110 - from another thread
            await trio.sleep(0.001)
        await env.return_result(cmd.ok())


SLOW = {
    "nodes": [{"type": "extension", "name": "s", "addon": "migration_slow"}],
    "exposed_messages": [{"type": "cmd_in", "name": "one", "extension": "s"}],
}


@ALL
@BOTH_LOOPS
async def test_an_answer_of_the_app_finds_a_connection_that_has_moved(
    transport: str, own_loop: bool, folder: Path
) -> None:
    gate: list[int] = []
    gates[:] = [lambda: bool(gate)]
    with trio.fail_after(10):
        async with serving(transport, folder, own_loop) as app:
            slow = await app.start_graph(SLOW)
            async with raw(app.uri) as client:
                record = Record()
                stop = StopGraph(graph_id=slow.graph_id, dest=ten.Loc(""))
                stop.seq_id = "stop"
                await send(client, WireMsg(stop), start(), message("cmd", 1))
                await client.until("1")
                gate.append(1)
                result = await client.until("stop")
                assert result.detail == "close engine done"
                await send(client, message("cmd", 2))
                await client.until("2")
                assert record.of("") == [1, 2]


@ALL
async def test_an_answer_that_is_ready_during_the_move_comes_after_it(
    transport: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(ten.App, "take_cmd", lambda self, cmd, path, engine: kept.append(path))
    post = CoreLink.post

    def answer_then_post(self: CoreLink, *args: Any) -> None:
        # The graph's loop is being asked: whether the connection is still here isn't known.
        if kept:
            kept.pop().answer(ten.StatusCode.OK, "late")
        post(self, *args)

    monkeypatch.setattr(CoreLink, "post", answer_then_post)
    with trio.fail_after(10):
        async with serving(transport, folder, own_loop=True) as app, raw(app.uri) as client:
            record = Record()
            stop = StopGraph(graph_id="another", dest=ten.Loc(""))
            stop.seq_id = "stop"
            await send(client, WireMsg(stop), start(), message("cmd", 1))
            assert (await client.until("stop")).detail == "late"
            await client.until("1")
            assert record.of("") == [1]
            assert not kept


@ALL
@BOTH_LOOPS
async def test_a_client_that_waits_for_an_answer_is_not_idle(
    transport: str, own_loop: bool, folder: Path
) -> None:
    gate: list[int] = []
    gates[:] = [lambda: bool(gate)]
    with trio.fail_after(10):
        settings = NetworkSettings(idle_timeout=0.05)
        async with serving(transport, folder, own_loop, network=settings) as app:
            slow = await app.start_graph(SLOW)
            async with raw(app.uri) as client:
                await send(client, message("cmd", 1, dest=ten.Loc("", slow.graph_id, "s")))
                await trio.sleep(0.3)  # the clock of another thread can't be a virtual one
                gate.append(1)
                await client.until("1")
                await client.until_closed()


# Many, and those that hold up ---------------------------------------------------------------------


@ALL
@BOTH_LOOPS
async def test_fifty_at_once(transport: str, own_loop: bool, folder: Path) -> None:
    async def be_one(uri: str, tag: str, record: Record, graph: str) -> None:
        async with raw(uri) as client:
            first = start() if graph == "plain" else message("cmd", 900, tag, dest=DATA)
            middle = [message(KINDS[number % 3], number, tag) for number in range(30)]
            await send(client, first, *middle, message("cmd", 999, tag))
            await client.until("999")
            firsts = [] if graph == "plain" else [900]
            assert record.of(tag) == [*firsts, *range(30), 999]
            assert {said for seq_id, _, said in client.answers if seq_id != "start"} == {
                f"{tag}{number}" for number in [*firsts, *range(0, 30, 3), 999]
            }

    with trio.fail_after(20):
        async with serving(transport, folder, own_loop) as app:
            record = Record()
            async with trio.open_nursery() as nursery:
                for number in range(50):
                    graph = "plain" if number % 2 else "single"
                    nursery.start_soon(be_one, app.uri, f"c{number}-", record, graph)
            await app.stop_graph("single")
            await nobody_left(app)


@pytest.mark.parametrize("transport", ["tcp", "ws"])
async def test_whoever_says_nothing_does_not_hold_up_the_close(
    transport: str, folder: Path
) -> None:
    with trio.fail_after(4):  # less than all the timeouts
        async with serving(transport, folder, False) as app:
            host, port = app.uri.partition("//")[2].rstrip("/").split(":")
            stream = await trio.open_tcp_stream(host, int(port))
            await trio.testing.wait_all_tasks_blocked()
    await stream.aclose()


@BOTH_LOOPS
async def test_whoever_does_not_read_does_not_hold_up_the_close(
    own_loop: bool, folder: Path
) -> None:
    """Answers to it are waiting to be written when the app closes."""
    long = "x" * 500_000
    with trio.fail_after(6):
        async with serving("tcp", folder, own_loop, grace=0.2) as app:
            async with raw(app.uri) as client:
                nowhere = ten.Loc("", "nowhere", "rec")
                for number in range(30):
                    wrong = message("cmd", number, dest=nowhere)
                    wrong.msg.seq_id = f"{number}{long}"  # type: ignore[attr-defined]
                    await send(client, wrong)
                await trio.testing.wait_all_tasks_blocked()
                with trio.CancelScope() as scope:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(app.wait_closed)
                        app.request_close("test")
                    scope.cancel()
                app_closed = trio.current_time()
            assert trio.current_time() - app_closed < 5
