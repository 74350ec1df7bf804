"""The other app: in a process of its own (`python -m benchmarks.network`) or in a task of this one.

Beside it stands what ten_trio is compared with, in the same process, since two processes are not
always equally fast.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import attrs
import trio

import ten_trio as ten
from ten_trio.network import NetworkSettings

from . import bare

ROOT = Path(__file__).parents[2]
DRIVERS = ("trio-websocket", "websockets")
LOCAL = "127.0.0.1:0"


@attrs.frozen
class Addresses:
    """Where everything listens."""

    app: dict[str, str]
    """By the name of a transport: `tcp`, `unix`, and the WebSocket drivers."""
    echo: dict[str, str]
    """Bare Trio; `tcp` and `unix`."""
    sink: dict[str, str]
    websocket: str


class Echo(ten.Extension):
    """Answers commands at once; counts frames, and tells with the next result how many there were."""

    frames = 0

    async def on_audio_frame(self, env: ten.TenEnv, frame: ten.AudioFrame) -> None:
        self.frames += 1

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd.name == "count":
            await env.return_result(cmd.ok(frames=self.frames))
            self.frames = 0
        else:
            await env.return_result(cmd.ok())


class Relay(ten.Extension):
    """Sends frames on."""

    async def on_audio_frame(self, env: ten.TenEnv, frame: ten.AudioFrame) -> None:
        await env.send_audio_frame(frame)


ten.addon("network_echo")(Echo)
ten.addon("network_relay")(Relay)


@asynccontextmanager
async def far_end(nursery: trio.Nursery) -> AsyncGenerator[Addresses, None]:
    """All that can be talked to, for the length of a block; bare Trio's part lives in `nursery`."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        app = {
            "tcp": f"msgpack://{LOCAL}",
            "unix": f"unix://{folder}/app",
        }
        for driver in DRIVERS:
            app[driver] = f"ws://{LOCAL}"
        opened = {}
        for name, uri in app.items():
            settings = NetworkSettings(**({"websocket_driver": name} if name in DRIVERS else {}))
            try:
                found = await stack.enter_async_context(ten.open_app(uri=uri, network=settings))
            except ten.MissingExtra:
                continue
            opened[name] = found.uri
        yield Addresses(
            opened,
            {
                "tcp": await bare.listen(nursery, bare.echo),
                "unix": await bare.listen(nursery, bare.echo, f"{folder}/echo"),
            },
            {
                "tcp": await bare.listen(nursery, bare.sink),
                "unix": await bare.listen(nursery, bare.sink, f"{folder}/sink"),
            },
            await bare.serve_websockets(nursery),
        )


async def in_task(*, task_status: trio.TaskStatus[Addresses]) -> None:
    """The far end in this process, until it is cancelled."""
    async with trio.open_nursery() as nursery, far_end(nursery) as addresses:
        task_status.started(addresses)
        await trio.sleep_forever()


async def in_process(*, task_status: trio.TaskStatus[Addresses]) -> None:
    """The far end in a process of its own, until it is cancelled."""
    async with started("talk") as process:
        task_status.started(Addresses(**json.loads(await process.line())))
        await trio.sleep_forever()


class Process:
    """A process like this one; it ends when its standard input does."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._read = b""

    @property
    def returncode(self) -> int | None:
        """None as long as it runs."""
        return self._process.returncode

    async def line(self) -> str:
        """What it says next."""
        assert self._process.stdout is not None
        while b"\n" not in self._read:
            chunk = await self._process.stdout.receive_some()
            if not chunk:
                raise AssertionError("the other process has ended")
            self._read += chunk
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()

    async def ask(self, question: str) -> float:
        """Ask for a figure."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(f"{question}\n".encode())
        return float(await self.line())

    async def end(self) -> None:
        """Let it end, and wait."""
        assert self._process.stdin is not None
        await self._process.stdin.aclose()
        await self._process.wait()


@asynccontextmanager
async def started(*arguments: str) -> AsyncGenerator[Process, None]:
    """`main` in a process, for the length of a block."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "benchmarks.network", *arguments],
        stdin=-1,
        stdout=-1,
        cwd=ROOT,
    )
    handle = Process(process)
    try:
        yield handle
    finally:
        with trio.move_on_after(10, shield=True):
            await handle.end()
        if process.returncode is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


# In the process -------------------------------------------------------------------------------


async def _talk() -> None:
    async with trio.open_nursery() as nursery:
        async with far_end(nursery) as addresses:
            print(json.dumps(attrs.asdict(addresses)), flush=True)
            await _questions(False)
        nursery.cancel_scope.cancel("the benchmark is done")


async def _questions(closes: bool) -> None:
    """Answer how much memory there is, until there are no more questions or one is `close`."""
    stdin = trio.lowlevel.FdStream(os.dup(0))
    async with stdin:
        async for chunk in stdin:
            for question in chunk.decode().split():
                if question == "close" and closes:
                    return
                print(_memory(), flush=True)


def _memory() -> int:
    gc.collect()
    resident = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(resident) * os.sysconf("SC_PAGE_SIZE")


async def _idle(what: str) -> None:
    """Serve `what`, and say how long it takes to close it with all its connections."""
    began = 0.0
    if what in ("tcp", *DRIVERS):
        uri = f"msgpack://{LOCAL}" if what == "tcp" else f"ws://{LOCAL}"
        driver: Any = {"websocket_driver": what} if what in DRIVERS else {}
        settings = NetworkSettings(connections=20_000, **driver)
        graph = ten.Graph()
        graph.node("echo", "network_echo")
        async with ten.open_app(uri=uri, network=settings) as app:
            engine = await app.start_graph(graph)
            print(app.uri, engine.graph_id, flush=True)
            await _questions(True)
            began = perf_counter()
    else:
        async with trio.open_nursery() as nursery:
            if what == "bare":
                print(await bare.listen(nursery, bare.echo), flush=True)
            else:
                print(await bare.serve_websockets(nursery), flush=True)
            await _questions(True)
            began = perf_counter()
            nursery.cancel_scope.cancel("close them all")
    print(perf_counter() - began, flush=True)


def main(argv: list[str]) -> None:
    """`talk`: everything; `idle WHAT`: one server, to be filled with idle connections."""
    if argv[0] == "talk":
        trio.run(_talk)
    else:
        trio.run(_idle, argv[1])
