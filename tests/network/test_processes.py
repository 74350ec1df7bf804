"""Apps in processes of their own, which are killed, or asked to end, while they have a graph together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import trio

import ten_trio as ten
from ten_trio.messages import CmdResult
from tests.network.apps import QUICK, Spread, until

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BOUND = 60

ADDONS = '''
import os
import trio
import ten_trio as ten


@ten.addon("work")
class Work(ten.Extension):
    """Answers `pid`, streams for ever on `stream`, never answers `hang`; notes what it is told."""

    async def on_cmd(self, env, cmd):
        if cmd.name == "pid":
            await env.return_result(cmd.ok(pid=os.getpid()))
        elif cmd.name == "hang":
            await env.send_data(ten.Data("hanging"))
            await cmd.abandoned.wait()
            await env.send_data(ten.Data("abandoned"))
        elif cmd.name == "stream":
            n = 0
            while not cmd.is_abandoned:
                n += 1
                await env.return_result(cmd.partial(n=n))
                await trio.sleep(0.001)

    async def on_data(self, env, data):
        await env.send_data(data)

    async def on_stop(self, env):
        print("stopped in order", flush=True)


@ten.addon("relay")
class Relay(ten.Extension):
    async def on_cmd(self, env, cmd):
        env.post_cmd(cmd)

    async def on_data(self, env, data):
        await env.send_data(data)
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An app that knows the addons, and never ends by itself."""
    addons = tmp_path / "extensions"
    addons.mkdir()
    for name in ("work", "relay"):
        (addons / f"{name}.py").write_text(ADDONS)
    (tmp_path / "manifest.json").write_text(
        json.dumps({"type": "app", "name": "worker", "version": "0.1.0"})
    )
    (tmp_path / "property.json").write_text(json.dumps({"ten": {"long_running_mode": True}}))
    return tmp_path


class Process:
    """One app in a process of its own."""

    def __init__(self, process: trio.Process, uri: str, output: bytearray) -> None:
        self.process = process
        self.uri = uri
        self.output = output

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)

    async def wait_printed(self, text: str) -> None:
        await until(lambda: text.encode() in self.output)


RUN = """
import sys, trio, ten_trio as ten
from tests.network.apps import QUICK

async def main(folder, uri):
    async with ten.open_app(folder, uri=uri, network=QUICK) as app:
        print("listening", app.uri, flush=True)
        with trio.open_signal_receiver(15) as signals:
            async for _ in signals:
                app.request_close("SIGTERM")
                break
        while app.engines:
            await trio.sleep(0.01)

trio.run(main, sys.argv[1], sys.argv[2])
"""


@asynccontextmanager
async def running(
    folder: Path, uri: str = "msgpack://127.0.0.1:0", *, by_command_line: bool = False
) -> AsyncGenerator[Process, None]:
    """An app in a process of its own, which is killed at the end if it is still there."""
    if by_command_line:
        command = [sys.executable, "-m", "ten_trio", "run", str(folder), "--listen", uri]
    else:
        command = [sys.executable, "-c", RUN, str(folder), uri]
    output = bytearray()
    async with trio.open_nursery() as nursery:
        process = await nursery.start(
            partial(
                trio.run_process,
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
            )
        )

        async def read() -> None:
            assert process.stdout is not None
            async for chunk in process.stdout:
                output.extend(chunk)

        nursery.start_soon(read)
        await until(lambda: b"msgpack://" in output and output.endswith(b"\n"))
        found = next(word for word in output.decode().split() if word.startswith("msgpack://"))
        try:
            yield Process(process, found.rstrip(",."), output)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.wait()


def spread_over(*uris: str) -> ten.Graph:
    """Relays in all but the last app, where the work is done."""
    spread = Spread()
    names = [f"n{index}" for index in range(len(uris))]
    for name, uri in zip(names, uris, strict=True):
        spread.node(name, uri, "work" if name == names[-1] else "relay")
    for source, dest in pairwise(names):
        for name in ("pid", "hang", "stream"):
            spread.connect(source, dest, name=name)
        spread.connect(source, dest, kinds=("data",), name="echo")
    for name in ("pid", "hang", "stream"):
        spread.expose("cmd_in", name, "n0")
    spread.expose("data_in", "echo", "n0")
    for name in ("echo", "hanging", "abandoned"):
        spread.expose("data_out", name, names[-1])
    return spread.graph


@asynccontextmanager
async def survivor(folder: Path) -> AsyncGenerator[ten.runtime.app.App, None]:
    """This process's own app."""
    async with ten.open_app(folder, uri="msgpack://127.0.0.1:0", network=QUICK) as app:
        yield app


@pytest.mark.parametrize("long_running", [False, True])
async def test_the_far_app_is_killed_in_the_middle(folder: Path, long_running: bool) -> None:
    with trio.fail_after(BOUND):
        async with survivor(folder) as near, running(folder) as far:
            graph = spread_over(near.uri, far.uri)
            async with (
                near.open_graph(graph, long_running=long_running) as engine,
                engine.messages() as messages,
            ):
                assert (await engine.send_cmd(ten.Cmd("pid")))["pid"] == far.process.pid
                hanging = [engine.start_cmd(ten.Cmd("hang")) for _ in range(5)]
                for _ in hanging:
                    assert (await messages.receive()).name == "hanging"
                got: list[CmdResult] = []
                async with engine.send_cmd_ex(ten.Cmd("stream")) as results:
                    async for result in results:
                        got.append(result)
                        if len(got) == 20:
                            await engine.send_data(ten.Data("echo", buf=b"x" * 5_000_000))
                            far.kill()
                assert got[-1].status is ten.StatusCode.ERROR
                assert [r["n"] for r in got[:-1]] == [*range(1, len(got))]
                for call in hanging:
                    assert (await call.result()).status is ten.StatusCode.ERROR
                if not long_running:
                    assert far.uri in (await engine.wait_closed()).reason
                else:
                    async with running(folder, far.uri) as again:
                        while not (answered := await engine.send_cmd(ten.Cmd("pid"))).ok:  # noqa: ASYNC110
                            await trio.sleep(0.01)
                        assert answered["pid"] == again.process.pid
            assert not near.engines
            assert not near.network.connections


async def test_the_app_that_has_started_the_graph_is_killed(folder: Path) -> None:
    with trio.fail_after(BOUND):
        async with survivor(folder) as near, running(folder) as far:
            async with ten.connect(far.uri, network=QUICK) as client:
                graph = spread_over(far.uri, near.uri)
                graph_id = await client.start_graph(graph)
                assert (await client.send_cmd(ten.Cmd("pid")))["pid"] == os.getpid()
                call = client.start_cmd(ten.Cmd("hang"))
                (core,) = near.engines.values()
                await until(lambda: core.instances["n1"].workers)
                far.kill()
                assert (await call.result()).status is ten.StatusCode.ERROR
            await until(lambda: near.reports)
            assert near.reports[0].graph_id == graph_id
            assert far.uri in near.reports[0].reason


async def test_the_one_in_the_middle_is_killed(folder: Path) -> None:
    with trio.fail_after(BOUND):
        async with survivor(folder) as near, running(folder) as middle, running(folder) as last:
            graph = spread_over(near.uri, middle.uri, last.uri)
            async with near.open_graph(graph) as engine:
                assert (await engine.send_cmd(ten.Cmd("pid")))["pid"] == last.process.pid
                call = engine.start_cmd(ten.Cmd("hang"))
                middle.kill()
                assert (await call.result()).status is ten.StatusCode.ERROR
                await engine.wait_closed()
            await last.wait_printed("stopped in order")
            assert last.process.returncode is None


@pytest.mark.parametrize("by_command_line", [False, True])
async def test_the_far_app_is_asked_to_end(folder: Path, by_command_line: bool) -> None:
    with trio.fail_after(BOUND):
        async with (
            survivor(folder) as near,
            running(folder, by_command_line=by_command_line) as far,
        ):
            async with near.open_graph(spread_over(near.uri, far.uri)) as engine:
                assert (await engine.send_cmd(ten.Cmd("pid")))["pid"] == far.process.pid
                call = engine.start_cmd(ten.Cmd("hang"))
                far.process.send_signal(signal.SIGTERM)
                assert (await call.result()).status is ten.StatusCode.ERROR
                assert "SIGTERM" in (await engine.wait_closed()).reason
            await far.process.wait()
            assert b"stopped in order" in far.output
            assert far.process.returncode == 0
