"""The watchdog: it names the handler that blocks a loop, once per block, and ends with its app."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import trio

import ten_trio as ten
from ten_trio import Cmd
from ten_trio.runtime import watchdog
from tests.runtime.acting import acting, answer

pytestmark = pytest.mark.slow


def dogs() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "ten_trio watchdog"]


def event_after(monkeypatch: pytest.MonkeyPatch, name: str) -> threading.Event:
    """Set each time that a watchdog has done that: no test has to guess when."""
    event = threading.Event()
    done: Callable[..., None] = getattr(watchdog.Watchdog, name)

    def do_and_set(self: watchdog.Watchdog, *args: Any) -> None:
        done(self, *args)
        event.set()

    monkeypatch.setattr(watchdog.Watchdog, name, do_and_set)
    return event


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """It is in the log."""
    return event_after(monkeypatch, "_tell")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """It is over, and among the blocks that `explain` tells of."""
    return event_after(monkeypatch, "_count")


@pytest.mark.trio
@pytest.mark.parametrize("own_loop", [False, True])
async def test_the_handler_that_blocks_the_loop_is_named(
    own_loop: bool,
    told: threading.Event,
    counted: threading.Event,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def block(env: ten.TenEnv, cmd: Cmd) -> None:
        assert told.wait(10)
        await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("asr", acting(on_cmd=block))
    graph.node("quick", acting(on_cmd=answer))
    limits = ten.Limits(watchdog=0.05)
    async with ten.open_app(limits=limits) as app:
        async with app.open_graph(graph, own_loop=own_loop) as engine:
            assert len(dogs()) == 1 + own_loop
            await engine.send_cmd(Cmd("quick", dest="quick"))
            await engine.send_cmd(Cmd("go", dest="asr"))
            assert await trio.to_thread.run_sync(counted.wait, 10)
            blocks = (await engine.explain()).blocks
        assert len(dogs()) == 1
    assert not dogs()
    (block_,) = blocks
    assert (block_.who, block_.doing, block_.times) == ("asr", "handler of cmd 'go'", 1)
    assert block_.seconds >= 0.05
    assert str(block_).startswith("loop blocked ")
    (record,) = [r.getMessage() for r in caplog.records if "the loop is blocked" in r.message]
    assert "by asr (handler of cmd 'go')" in record
    assert "test_watchdog.py" in record


@pytest.mark.trio
async def test_a_stage_that_blocks_while_the_app_closes_is_named(
    told: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    async def stop(env: ten.TenEnv) -> None:
        assert told.wait(10)

    graph = ten.Graph()
    graph.node("rtc", acting(on_stop=stop))
    async with ten.open_app(limits=ten.Limits(watchdog=0.05)) as app:
        await app.start_graph(graph)
    assert not dogs()
    assert "by rtc (on_stop)" in caplog.text


@pytest.mark.trio
async def test_who_blocks_the_loop_while_a_turn_is_cancelled_is_named(
    told: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    class Blocks(ten.Extension):
        async def on_turn_cancelled(self, env: ten.TenEnv, turn: ten.Turn) -> object:
            return told.wait(10)

    graph = ten.Graph()
    graph.node("rtc", Blocks)
    async with (
        ten.open_app(limits=ten.Limits(watchdog=0.05)) as app,
        app.open_graph(graph) as engine,
    ):
        report = await engine.cancel_turn(engine.new_turn())
        assert report is not None
        assert report.acknowledged == {"rtc": True}
    assert "by rtc (on_turn_cancelled)" in caplog.text


@pytest.mark.trio
@pytest.mark.parametrize("in_task", [True, False])
async def test_what_blocks_the_loop_and_is_no_handler_is_said_too(
    in_task: bool, told: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    async def in_a_task_of_the_host() -> None:
        assert told.wait(10)

    async with ten.open_app(limits=ten.Limits(watchdog=0.05)), trio.open_nursery() as nursery:
        if in_task:
            nursery.start_soon(in_a_task_of_the_host)
        else:
            done = trio.Event()

            def block() -> None:
                assert told.wait(10)
                done.set()

            trio.lowlevel.current_trio_token().run_sync_soon(block)
            await done.wait()
    (record,) = [r.getMessage() for r in caplog.records if "the loop is blocked" in r.message]
    assert ("in_a_task_of_the_host" in record.splitlines()[0]) is in_task
    assert "test_watchdog.py" in record


@pytest.mark.trio
async def test_without_one_there_is_no_thread() -> None:
    async with ten.open_app():
        assert not dogs()


@pytest.mark.trio
async def test_it_ends_though_the_block_fails() -> None:
    with pytest.raises(KeyError):
        async with ten.open_app(limits=ten.Limits(watchdog=0.05)):
            raise KeyError("x")
    assert not dogs()


def test_it_must_be_positive() -> None:
    with pytest.raises(ValueError, match="watchdog"):
        ten.Limits(watchdog=0)
