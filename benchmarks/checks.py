"""Assertions that the runtime which is measured gives the guarantees it is measured with.

Each runs a small graph in this very process and raises `NotHeld` if the guarantee isn't there.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

import trio
import trio.testing

import ten_trio as ten


class NotHeld(AssertionError):
    """The runtime doesn't do what it promises."""


def _hold(is_so: bool, what: str) -> None:
    # Not `assert`, which `python -O` leaves out.
    if not is_so:
        raise NotHeld(what)


class _Sends(ten.Extension):
    """Calls `handle(env, data)` for each message."""

    def __init__(self, handle: Any) -> None:
        self.handle = handle

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        await self.handle(env, data)

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await self.handle(env, cmd)


def _node(graph: ten.Graph, name: str, handle: Any, **options: Any) -> None:
    graph.node(name, partial(_made, handle), **options)


def _made(handle: Any, name: str) -> _Sends:
    return _Sends(handle)


@contextmanager
def _log() -> Iterator[list[logging.LogRecord]]:
    """Take what the runtime logs instead of showing it."""
    records: list[logging.LogRecord] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logger = logging.getLogger("ten_trio")
    keeper, propagate = Keeper(), logger.propagate
    logger.addHandler(keeper)
    logger.propagate = False
    try:
        yield records
    finally:
        logger.propagate = propagate
        logger.removeHandler(keeper)


_mark: ContextVar[str] = ContextVar("mark", default="")


async def own_context() -> None:
    """A handler runs in a copy of its extension's context, as `on_start` left it."""
    seen: list[str] = []
    done = trio.Event()

    class Marks(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            _mark.set("started")

        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            seen.append(_mark.get())
            _mark.set("handled")
            if len(seen) == 2:
                done.set()

    graph = ten.Graph()
    graph.node("marks", Marks)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        for _ in range(2):
            await engine.send_data(ten.Data("x", dest="marks"))
        await done.wait()
    _hold(seen == ["started", "started"], f"a context variable leaks between handlers: {seen}")


async def message_in_hand() -> None:
    """What a handler sends knows the message that it was sent because of."""
    parents: list[str] = []
    received: list[str] = []

    async def answer(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        parents.append(cmd.parent_cmd_id)
        await env.return_result(cmd.ok())

    async def ask(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        received.append(cmd.cmd_id)
        result = await env.send_cmd(ten.Cmd("sub", dest="answer"))
        await env.return_result(cmd.ok() if result.ok else cmd.error())

    graph = ten.Graph()
    _node(graph, "ask", ask)
    _node(graph, "answer", answer)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.send_cmd(ten.Cmd("main", dest="ask"))
    _hold(parents == received, f"a command's parent is {parents}, not {received}")


async def own_shell() -> None:
    """The receiver gets a message of its own around the same content, until one of them writes."""
    got: list[ten.Data] = []
    done = trio.Event()

    async def take(env: ten.TenEnv, data: ten.Data) -> None:
        got.append(data)
        done.set()

    graph = ten.Graph()
    _node(graph, "take", take)
    sent = ten.Data("x", {"n": 1}, dest="take")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.send_data(sent)
        await done.wait()
    _hold(got[0] is not sent, "the receiver got the sender's own message")
    _hold(got[0]._props is sent._props, "the content was copied, not shared")
    got[0]["n"] = 2
    _hold(sent["n"] == 1, "the sender sees what the receiver writes")


async def bounds() -> None:
    """A sender waits while a receiver holds more than it may; nothing is lost."""
    got: list[int] = []
    sent: list[int] = []
    go_on, done = trio.Event(), trio.Event()

    async def take(env: ten.TenEnv, data: ten.Data) -> None:
        await go_on.wait()
        got.append(data["n"])
        if len(got) == 50:
            done.set()

    async def flood(engine: ten.Engine) -> None:
        for n in range(50):
            await engine.send_data(ten.Data("x", {"n": n}, dest="take"))
            sent.append(n)

    graph = ten.Graph()
    _node(graph, "take", take)
    limits = ten.Limits(queue=8)
    async with ten.open_app(limits=limits) as app, app.open_graph(graph) as engine:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood, engine)
            await trio.testing.wait_all_tasks_blocked()
            before = len(sent)
            go_on.set()
            await done.wait()
    _hold(0 < before < 12, f"the sender got rid of {before} messages, and there is room for 8")
    _hold(got == [*range(50)], f"received: {got}")


async def errors_are_reported() -> None:
    """What a handler raises comes out of the graph's block and names the extension."""

    async def fail(env: ten.TenEnv, data: ten.Data) -> None:
        raise KeyError("on purpose")

    graph = ten.Graph()
    _node(graph, "fails", fail)
    notes: list[str] = []
    with _log() as records:
        try:
            async with ten.open_app() as app, app.open_graph(graph) as engine:
                await engine.send_data(ten.Data("x", dest="fails"))
                await trio.sleep_forever()
        except* KeyError as group:
            for error in _leaves(group):
                notes += getattr(error, "__notes__", [])
    _hold(any("'fails' handled Data('x'" in note for note in notes), f"notes: {notes}")
    told = [record.getMessage() for record in records]
    _hold(any("KeyError" in line and "'fails'" in line for line in told), f"logged: {told}")


async def open_nurseries_are_reported() -> None:
    """A handler that returns inside a nursery which it has opened is named."""

    async def leak(env: ten.TenEnv, data: ten.Data) -> None:
        await trio.open_nursery().__aenter__()

    graph = ten.Graph()
    _node(graph, "leaks", leak)
    found: list[BaseException] = []
    with _log():
        try:
            async with ten.open_app() as app, app.open_graph(graph) as engine:
                await engine.send_data(ten.Data("x", dest="leaks"))
                with trio.move_on_after(0.2):
                    await trio.sleep_forever()
        except BaseExceptionGroup as group:
            found = _leaves(group)
    _hold(any(isinstance(error, ten.HandlerLeak) for error in found), f"raised: {found}")


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


async def threads_are_refused() -> None:
    """An env that is used from another thread raises `WrongThread`."""
    raised: list[BaseException] = []

    def send(env: ten.TenEnv) -> None:
        try:
            env.send_data(ten.Data("nowhere")).send(None)
        except BaseException as error:  # noqa: BLE001 - whatever it is, is looked at below
            raised.append(error)

    async def use(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await trio.to_thread.run_sync(send, env)
        await env.return_result(cmd.ok())

    graph = ten.Graph()
    _node(graph, "threaded", use)
    with _log():
        async with ten.open_app() as app, app.open_graph(graph) as engine:
            await engine.send_cmd(ten.Cmd("go", dest="threaded"))
    _hold([type(error) for error in raised] == [ten.WrongThread], f"raised: {raised}")


async def closed_is_closed() -> None:
    """Nobody sends through the env of an extension that is closed."""
    envs: list[ten.TenEnv] = []

    class Keeps(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            envs.append(env)

    graph = ten.Graph()
    graph.node("keeps", Keeps)
    with _log():
        async with ten.open_app() as app:
            async with app.open_graph(graph):
                pass
            try:
                await envs[0].send_data(ten.Data("x"))
            except ten.EnvClosed:
                return
    raise NotHeld("the env of a closed extension still sends")


async def locked_buffers_stay() -> None:
    """A message isn't sent while somebody may still write to its buffer."""
    data = ten.Data("x", buf=b"abc", dest="take")
    view = data.lock_buf()

    async def take(env: ten.TenEnv, data: ten.Data) -> None:
        pass

    graph = ten.Graph()
    _node(graph, "take", take)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        try:
            await engine.send_data(data)
        except ten.MessageLocked:
            data.unlock_buf(view)
        else:
            raise NotHeld("a message with a locked buffer was sent")


async def others_run() -> None:
    """However busy a graph is, the other tasks of the loop run too."""
    handled = 0
    done = trio.Event()

    async def play(env: ten.TenEnv, data: ten.Data) -> None:
        nonlocal handled
        handled += 1
        if handled < 5_000:
            await env.send_data(data)
        else:
            done.set()

    graph = ten.Graph()
    for name, other in ("ping", "pong"), ("pong", "ping"):
        _node(graph, name, play)
        graph.connect(name, other, data="x")
    turns = 0
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.send_data(ten.Data("x", dest="ping"))
        while not done.is_set():
            await trio.lowlevel.checkpoint()
            turns += 1
    _hold(turns > 20, f"another task ran {turns} times during 5,000 messages")


async def waiting_holds_up_nobody() -> None:
    """While the handler of one extension waits, the others of its group go on."""
    go_on, heard = trio.Event(), trio.Event()

    async def wait(env: ten.TenEnv, data: ten.Data) -> None:
        await go_on.wait()

    async def hear(env: ten.TenEnv, data: ten.Data) -> None:
        heard.set()

    graph = ten.Graph()
    _node(graph, "waits", wait)
    _node(graph, "hears", hear)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.send_data(ten.Data("x", dest="waits"))
        await engine.send_data(ten.Data("x", dest="hears"))
        await trio.testing.wait_all_tasks_blocked()
        went_on = heard.is_set()
        go_on.set()
    _hold(went_on, "an extension waits for the handler of another one")


async def order() -> None:
    """From one sender to one receiver, data and frames arrive as sent, whether handlers wait or not."""
    got: list[int] = []
    done = trio.Event()

    async def go(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        for n in range(300):
            if n % 3:
                await env.send_data(ten.Data("x", {"n": n}))
            else:
                await env.send_audio_frame(ten.AudioFrame("x", {"n": n}))
        await env.return_result(cmd.ok())

    class Takes(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            if data["n"] % 7 == 1:
                await trio.lowlevel.checkpoint()
            self._take(data["n"])

        async def on_audio_frame(self, env: ten.TenEnv, frame: ten.AudioFrame) -> None:
            self._take(frame["n"])

        def _take(self, n: int) -> None:
            got.append(n)
            if len(got) == 300:
                done.set()

    graph = ten.Graph()
    _node(graph, "go", go)
    graph.node("takes", Takes)
    graph.connect("go", "takes", data="x", audio_frame="x")
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.send_cmd(ten.Cmd("go", dest="go"))
        await done.wait()
    _hold(got == [*range(300)], "messages arrive in another order than they were sent in")
