"""The apps of examples/two_apps, in processes of their own, form one graph."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
import trio

from tests.examples.running import ROOT, run

FOLDER = ROOT / "examples" / "two_apps"
TEN_TRIO = (sys.executable, "-W", "error", "-m", "ten_trio")

pytestmark = pytest.mark.slow


def variables() -> dict[str, str]:
    """With URIs of ports that nobody listens at right now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    uris = [f"msgpack://127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    return {**os.environ, "TWO_APPS_A": uris[0], "TWO_APPS_B": uris[1]}


class Process:
    """`ten-trio run --json` of one app."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._rest = b""

    async def until(self, event: str) -> dict[str, Any]:
        """What it tells about this event, after all before it."""
        assert self.process.stdout is not None
        while True:
            line, found, rest = self._rest.partition(b"\n")
            if not found:
                more = await self.process.stdout.receive_some()
                assert more, f"it has ended, without {event}"
                self._rest += more
                continue
            self._rest = rest
            told: dict[str, Any] = json.loads(line)
            if told.get("event") == event:
                return told

    async def end(self) -> int:
        """As a signal ends it; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        assert (await self.until("ended"))["exit_code"] == 0
        return await self.process.wait()


async def start(nursery: trio.Nursery, name: str, env: Mapping[str, str]) -> Process:
    command = [*TEN_TRIO, "run", "--json", str(FOLDER / name)]
    run = partial(trio.run_process, command, env=env, stdout=subprocess.PIPE, cwd=ROOT, check=False)
    app = Process(await nursery.start(run))
    told = await app.until("listening")
    assert told["uris"] == [env[f"TWO_APPS_{name.upper()}"]]
    return app


async def call(env: Mapping[str, str], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    command = [*TEN_TRIO, "call", env["TWO_APPS_A"], *arguments, "--graph", "factors", "--json"]
    done = await trio.run_process(command, capture_stdout=True, check=False, cwd=ROOT)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("order", ["ab", "ba"])
async def test_in_either_order(order: str) -> None:
    env = variables()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            apps = {name: await start(nursery, name, env) for name in order}
            graph = await apps["a"].until("started")
            assert graph["extensions"] == ["front", "ledger"]
            there = await apps["b"].until("started")
            assert there["extensions"] == ["worker"]
            assert there["graph_id"] == graph["graph_id"]

            code, results = await call(env, "factorise", "--set", "numbers=[12, 49]", "--stream")
            assert code == 0
            found = [result["properties"] for result in results]
            assert [each["factor"] for each in found[:-1] if each["number"] == 12] == [2, 2, 3]
            assert [each["factor"] for each in found[:-1] if each["number"] == 49] == [7, 7]
            assert found[-1] == {"12": "2 * 2 * 3", "49": "7 * 7"}

            code, (result,) = await call(env, "factorise", "--set", "numbers=[1]")
            assert (code, result["status"]) == (1, "error")
            code, (result,) = await call(env, "totals")
            assert (code, result["properties"]) == (0, {"numbers": 2, "factors": 5})

            assert await apps["a"].end() == 0
            closed = await apps["b"].until("closed")
            assert closed["grace_exhausted"] is False
            assert await apps["b"].end() == 0


async def test_a_lost_worker_comes_back() -> None:
    env = variables()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            lost = await start(nursery, "b", env)
            app = await start(nursery, "a", env)
            await app.until("started")
            lost.process.kill()
            await lost.process.wait()
            code, (result,) = await call(env, "factorise", "--set", "numbers=[12]")
            assert (code, result["status"]) == (1, "error")
            back = await start(nursery, "b", env)
            await back.until("started")
            code, (result,) = await call(env, "factorise", "--set", "numbers=[12]")
            assert (code, result["properties"]) == (0, {"12": "2 * 2 * 3"})
            for each in (app, back):
                assert await each.end() == 0


def test_the_example_shows_it() -> None:
    done = run("-m", "examples.two_apps")
    assert '"1000036000099": "1000003 * 1000033"' in done.stdout
    assert done.stdout.count("] ended") == 2
    assert not done.stderr
