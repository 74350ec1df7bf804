"""The command line and the network: `run` listens, `call` and `stop` talk to what runs."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ten_trio.cli import main

ROOT = Path(__file__).parents[1]

EXTENSION = """
import ten_trio as ten

@ten.addon("tested")
class Tested(ten.Extension):
    async def on_cmd(self, env, cmd):
        if cmd.name == "refuse":
            await env.return_result(cmd.error("not today", why="rain"))
        elif cmd.name == "stop":
            env.stop_graph()
        elif cmd.name != "wait":
            if cmd.name == "count":
                for n in range(2):
                    await env.return_result(cmd.partial(n=n))
            await env.return_result(cmd.ok(cmd.properties, buf=b"x", by=env.name, inf=float("inf")))
"""

GRAPH = {
    "nodes": [{"type": "extension", "name": "e", "addon": "tested"}],
    "exposed_messages": [
        {"type": "cmd_in", "name": name, "extension": "e"} for name in ("hello", "refuse", "count")
    ],
}


def make_app(folder: Path, **settings: Any) -> Path:
    """An app with one singleton that isn't started by itself."""
    (folder / "extensions").mkdir(parents=True)
    (folder / "extensions" / "tested.py").write_text(EXTENSION)
    graph = {"name": "main", "singleton": True, "graph": GRAPH}
    section = {"log": {"handlers": []}, "predefined_graphs": [graph], **settings}
    (folder / "property.json").write_text(json.dumps({"ten": section}))
    return folder


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


class Running:
    """`ten-trio run --json`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.told: list[dict[str, Any]] = []

    def until(self, event: str) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.append(json.loads(line))
            if self.told[-1]["event"] == event:
                return self.told[-1]
        raise AssertionError(f"no {event}: {self.process.communicate()[1]}")


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Running]:
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "ten_trio", "run", "--json", *arguments, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    patience = threading.Timer(60, process.kill)  # only a hang gets there
    patience.start()
    try:
        yield Running(process)
    finally:
        patience.cancel()
        process.kill()
        process.communicate()


ANY = "msgpack://127.0.0.1:0"


@pytest.mark.slow
def test_run_listens_and_waits_for_its_first_graph(tmp_path: Path) -> None:
    app = make_app(tmp_path / "app", uri=ANY, listen=[f"unix://{tmp_path}/ten.sock"])
    with running(app, "--listen", "ws://127.0.0.1:0") as run:
        uris = run.until("listening")["uris"]
        assert [uri.partition(":")[0] for uri in uris] == ["msgpack", "unix", "ws"]
        for uri in uris:  # all of them are the same graph
            result = invoke("call", uri, "hello", "--graph", "main", "--set", "n=1")
            assert result.exit_code == 0, result.output
            assert json.loads(result.stdout)["n"] == 1
        started = run.until("started")
        assert (started["graph"], started["extensions"]) == ("main", ["e"])
        assert [each["event"] for each in run.told] == ["listening", "started"]
        stopped = invoke("stop", uris[0], started["graph_id"])
        assert stopped.exit_code == 0, stopped.output
        # It ends with its last graph.
        assert run.until("ended")["graphs"] == 1
        assert run.process.wait() == 0


@pytest.mark.slow
def test_a_long_running_app_stays_until_it_is_stopped(tmp_path: Path) -> None:
    with running(make_app(tmp_path, uri=ANY, long_running_mode=True)) as run:
        (uri,) = run.until("listening")["uris"]
        assert invoke("call", uri, "hello", "--start", "main").exit_code == 0
        run.until("closed")  # with the one who started it
        assert invoke("stop", uri, "main").exit_code == 1
        result = invoke("stop", uri)
        assert result.exit_code == 0, result.output
        assert run.until("ended")["exit_code"] == 0
        assert run.process.wait() == 0
        refused = invoke("call", uri, "hello", "--graph", "main")
        assert refused.exit_code == 2
        assert f"Failed to connect to {uri}: {os.strerror(111)}" in refused.stderr


@pytest.mark.slow
def test_a_signal_ends_one_that_waits(tmp_path: Path) -> None:
    with running(make_app(tmp_path, uri=ANY)) as run:
        run.until("listening")
        run.process.send_signal(signal.SIGTERM)
        assert run.until("ended")["exit_code"] == 0


def test_an_address_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        uri = f"msgpack://127.0.0.1:{taken.getsockname()[1]}"
        app = make_app(tmp_path, uri=uri)
        result = invoke("run", app)
        assert result.exit_code == 1
        assert f"can't listen at {uri}: Address already in use\n" in result.stderr
        told = json.loads(invoke("run", "--json", app).stdout)
        assert uri in told["error"]


def test_where_nobody_can_listen(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    assert invoke("run", app, "--listen", "nonsense").exit_code == 2
    result = invoke("run", app, "--listen", "nonsense://127.0.0.1:0")
    assert result.exit_code == 1
    assert "no protocol for nonsense://127.0.0.1:0" in result.stderr
    assert "nothing to run" in invoke("run", app).stderr
    named = make_app(tmp_path / "named", uri="client:here")
    assert "nothing to run" in invoke("run", named).stderr


@pytest.mark.slow
def test_call(tmp_path: Path) -> None:
    with running(make_app(tmp_path, uri=ANY, long_running_mode=True)) as run:
        (uri,) = run.until("listening")["uris"]

        def call(*arguments: str, graph: str = "main") -> Result:
            return invoke("call", uri, "--graph", graph, *arguments)

        told = call("hello", "--set", 'a.b=[1, "x"]', "--set", "t=plain text", "--set", "e=")
        assert json.loads(told.stdout) == {
            "a": {"b": [1, "x"]},
            "t": "plain text",
            "e": "",
            "buf": None,
            "by": "e",
            "inf": None,
        }
        many = call("count", "--stream", "--json").stdout.splitlines()
        assert [json.loads(line)["is_final"] for line in many] == [False, False, True]
        assert [json.loads(line)["properties"].get("n") for line in many] == [0, 1, None]
        assert len(call("count").stdout.splitlines()) == 1
        assert call("anything", "--to", "e").exit_code == 0
        assert call("anything").exit_code == 1
        assert call("anything", "--to", "nobody").exit_code == 1

        refused = call("refuse")
        assert refused.exit_code == 1
        assert json.loads(refused.stdout) == {"detail": "not today", "why": "rain"}
        assert refused.stderr == "ten-trio: ERROR: not today\n"
        assert json.loads(call("refuse", "--json").stdout)["status"] == "error"

        unknown = call("hello", graph="nobody")
        assert (unknown.exit_code, unknown.stderr) == (1, "ten-trio: ERROR: Graph not found.\n")
        assert call("hello", graph=run.until("started")["graph_id"]).exit_code == 0
        assert call("stop", "--to", "e").exit_code == 1  # its sender is answered all the same


@pytest.mark.slow
def test_call_a_graph_of_ones_own(tmp_path: Path) -> None:
    own = tmp_path / "own.json"
    own.write_text(json.dumps(GRAPH))
    app = make_app(tmp_path / "app", uri=ANY, long_running_mode=True)
    with running(app) as run:
        (uri,) = run.until("listening")["uris"]
        assert invoke("call", uri, "hello", "--start", own).exit_code == 0
        assert run.until("closed")["failures"] == []
        unknown = invoke("call", uri, "hello", "--start", "nobody")
        assert unknown.exit_code == 1
        assert 'no predefined graph "nobody"' in unknown.stderr
        own.write_text(json.dumps({"nodes": [{"type": "extension", "name": "e"}]}))
        faulty = invoke("call", uri, "hello", "--start", own)
        assert faulty.exit_code == 2
        assert "nodes[0].addon" in faulty.output
        own.write_text("{")
        assert invoke("call", uri, "hello", "--start", own, "--json").exit_code == 2


@pytest.mark.slow
def test_an_impatient_caller(tmp_path: Path) -> None:
    with running(make_app(tmp_path, uri=ANY, long_running_mode=True)) as run:
        (uri,) = run.until("listening")["uris"]
        command = [sys.executable, "-m", "ten_trio", "call", uri, "wait", "--start", "main"]
        with subprocess.Popen([*command, "--to", "e"], cwd=ROOT) as caller:
            run.until("started")
            caller.send_signal(signal.SIGINT)
            assert caller.wait(30) == 130
        run.until("closed")


@pytest.mark.slow
def test_a_token(tmp_path: Path) -> None:
    app = make_app(tmp_path, uri=ANY, long_running_mode=True, network={"token": "secret"})
    with running(app) as run:
        (uri,) = run.until("listening")["uris"]
        call = ("call", uri, "hello", "--graph", "main")
        refused = invoke(*call)
        assert refused.exit_code == 1
        assert "not authorized" in refused.stderr
        assert invoke(*call, "--token", "secret").exit_code == 0
        shown = CliRunner().invoke(main, call, env={"TEN_TRIO_TOKEN": "secret"})
        assert shown.exit_code == 0


def test_wrong_usage() -> None:
    uri = "msgpack://127.0.0.1:1"
    assert "say which graph" in invoke("call", uri, "hello").stderr
    assert invoke("call", uri, "hello", "--graph", "a", "--start", "b").exit_code == 2
    for wrong in ("novalue", "=1", "a..b=1"):
        result = invoke("call", uri, "hello", "--graph", "a", "--set", wrong)
        assert result.exit_code == 2
        assert "--set" in result.stderr
    assert invoke("call", "nonsense", "hello", "--graph", "a").exit_code == 2
    assert invoke("stop", "nonsense").exit_code == 2
    told = invoke("stop", "nonsense://127.0.0.1:1", "--json")
    assert told.exit_code == 2
    assert "no protocol" in json.loads(told.stdout)["error"]
