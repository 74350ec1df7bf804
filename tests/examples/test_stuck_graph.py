"""examples/stuck_graph says why it is stuck, by itself and when it is asked."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial

import pytest
import trio

import ten_trio as ten
from tests.examples.running import ROOT, run

FOLDER = ROOT / "examples" / "stuck_graph"
TEN_TRIO = (sys.executable, "-W", "error", "-m", "ten_trio")

pytestmark = pytest.mark.slow


def test_by_itself() -> None:
    done = run("-m", "examples.stuck_graph")
    assert done.stdout.splitlines() == [
        "stuck: when was Ada here?",
        "mended: when was Ada here?",
        "mended: Ada was here on Tuesday.",
    ]
    first, second, *_ = lines = done.stderr.splitlines()
    assert "the deadline of command 'question' from the host has passed" in first
    assert second == "DEADLOCK: agent -> memory -> agent"
    assert len(lines) < 24
    assert done.stderr.count("DEADLOCK") == 1


async def test_when_it_is_asked() -> None:
    env = {**os.environ, "STUCK_GRAPH_URI": "msgpack://127.0.0.1:0"}
    command = [*TEN_TRIO, "run", "--json", "--grace", "0.2", str(FOLDER)]
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            app: trio.Process = await nursery.start(
                partial(
                    trio.run_process,
                    command,
                    env=env,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    cwd=ROOT,
                    check=False,
                )
            )
            uri = await listening(app)
            async with ten.connect(uri, graph="stuck") as client:
                question = client.start_cmd(ten.Cmd("question", {"who": "Ada"}))
                # Whoever says who it is gets an answer; and what was sent before has its effect by then.
                recall = ten.Cmd("recall", {"who": "Ada"}, dest=ten.Loc("", "stuck", "memory"))
                assert (await client.send_cmd(recall))["text"] == "Ada was here on Tuesday."
                told = await why(uri, "--graph", "stuck", "--json")
                explanation = ten.Explanation.from_dict(json.loads(told))
                (circle,) = explanation.deadlocks
                assert {(wait.who, wait.on) for wait in circle} == {
                    ("agent", "memory"),
                    ("memory", "agent"),
                }
                assert "DEADLOCK: agent -> memory -> agent" in await why(uri)
                question.cancel()
            app.send_signal(signal.SIGTERM)


async def listening(app: trio.Process) -> str:
    """Where it does, which is the first thing that it tells."""
    assert app.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        line += await app.stdout.receive_some(1)
    (uri,) = json.loads(line)["uris"]
    assert isinstance(uri, str)
    return uri


async def why(uri: str, *options: str) -> str:
    done = await trio.run_process([*TEN_TRIO, "why", uri, *options], capture_stdout=True, cwd=ROOT)
    assert done.stdout is not None
    return bytes(done.stdout).decode()
