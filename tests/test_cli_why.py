"""`ten-trio why`: an app that runs somewhere says who waits for what."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any, Self

import pytest
import trio
import trio.testing
from click.testing import CliRunner, Result

import ten_trio as ten
from ten_trio.cli import calling, explaining, main
from ten_trio.network.transports import sockets
from tests.runtime.acting import acting, answer

pytestmark = pytest.mark.slow


async def hang(*_: Any) -> None:
    await trio.sleep_forever()


def asks(dest: str) -> Any:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.send_cmd(ten.Cmd("ask", dest=dest))

    return on_cmd


class Elsewhere:
    """An app in a thread of its own, with the graphs `stuck` and `quiet`."""

    def __init__(self) -> None:
        self.uri = ""
        self.ids: dict[str, str] = {}
        self._ready = threading.Event()
        self._over: trio.Event
        self._token: trio.lowlevel.TrioToken
        self._thread = threading.Thread(target=trio.run, args=(self._run,))

    async def _run(self) -> None:
        self._token, self._over = trio.lowlevel.current_trio_token(), trio.Event()
        stuck, quiet = ten.Graph(), ten.Graph()
        one = acting(on_cmd=asks("b"))
        one.cmd_handlers = "serial"
        stuck.node("a", one)
        stuck.node("b", acting(on_cmd=asks("a")))
        quiet.node("c", acting(on_cmd=answer))
        limits = ten.Limits(grace=0.2, cleanup=0.2)
        async with ten.open_app(uri="msgpack://127.0.0.1:0", limits=limits) as app:
            engine = await app.start_graph(stuck)
            self.ids = {"stuck": engine.graph_id, "quiet": (await app.start_graph(quiet)).graph_id}
            engine.post_cmd(ten.Cmd("ask", dest="a"))
            await trio.testing.wait_all_tasks_blocked()
            self.uri = app.uri
            self._ready.set()
            await self._over.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._token.run_sync_soon(self._over.set)
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere() as app:
        yield app


def why(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["why", *arguments])


def test_as_text_in_one_screen(elsewhere: Elsewhere) -> None:
    result = why(elsewhere.uri, "--graph", elsewhere.ids["stuck"])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"graph {elsewhere.ids['stuck']}, running: 3 waits"
    assert "DEADLOCK: a -> b -> a" in lines
    assert any("handler of cmd 'ask' waits for the result of 'ask' from b" in at for at in lines)
    assert any(f"at {__file__}:" in at and at.endswith("in on_cmd") for at in lines)
    assert len(lines) < 24


def test_every_graph_if_none_is_named(elsewhere: Elsewhere) -> None:
    result = why(elsewhere.uri)
    assert result.exit_code == 0, result.output
    stuck, quiet = result.stdout.split("\n\n")
    assert elsewhere.ids["stuck"] in stuck
    assert quiet == f"graph {elsewhere.ids['quiet']}, running: nothing waits\n"


def test_as_json(elsewhere: Elsewhere) -> None:
    result = why(elsewhere.uri, "--json")
    assert result.exit_code == 0, result.output
    found = [ten.Explanation.from_dict(json.loads(line)) for line in result.stdout.splitlines()]
    assert {each.graph_id: each.is_deadlocked for each in found} == {
        elsewhere.ids["stuck"]: True,
        elsewhere.ids["quiet"]: False,
    }


def test_as_a_picture(elsewhere: Elsewhere) -> None:
    result = why(elsewhere.uri, "--graph", elsewhere.ids["stuck"], "--mermaid")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("flowchart LR\n")
    assert result.stdout.count("-->") == 2


@pytest.mark.parametrize("form", ["", "--json"])
def test_a_graph_that_is_not_there(form: str, elsewhere: Elsewhere) -> None:
    result = why(elsewhere.uri, "--graph", "nobody", *([form] if form else []))
    assert result.exit_code == 1
    assert "Graph not found" in result.output
    assert not result.stdout or "Graph not found" in json.loads(result.stdout)["error"]


def test_nobody_is_there_or_that_is_no_uri() -> None:
    nowhere = "msgpack://127.0.0.1:1"
    result = why(nowhere)
    assert result.exit_code == 2
    assert f"Failed to connect to {nowhere}" in result.stderr
    assert why("elsewhere").exit_code == 2


# What else may be at the other end ---------------------------------------------------------------


@pytest.mark.parametrize(
    "given", ["no JSON", "{}", "[{}]", 7], ids=["text", "no list", "no graph", "number"]
)
def test_an_answer_that_makes_no_sense(given: object, capsys: pytest.CaptureFixture[str]) -> None:
    result = ten.CmdResult(ten.StatusCode.OK, {"explanation": given})
    assert explaining._tell(result, "text") == 1
    assert "the answer can't be understood" in capsys.readouterr().err


def test_an_app_without_graphs(capsys: pytest.CaptureFixture[str]) -> None:
    result = ten.CmdResult(ten.StatusCode.OK, {"explanation": "[]"})
    assert explaining._tell(result, "text") == 0
    assert capsys.readouterr().out == "no graph runs there\n"


def test_an_app_that_is_blocked(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explaining, "_PATIENCE", 0.001)
    go_on = threading.Event()
    elsewhere._token.run_sync_soon(go_on.wait, 10)
    try:
        result = why(elsewhere.uri)
    finally:
        go_on.set()
    assert result.exit_code == 2
    assert "doesn't answer" in result.stderr


def test_only_for_those_whom_the_app_trusts(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if from another machine.
    monkeypatch.setattr(sockets, "is_loopback", lambda remote: False)
    result = why(elsewhere.uri)
    assert result.exit_code == 1
    assert "not allowed: ten:explain from outside" in result.stderr


def test_ctrl_c_ends_it_quietly_whichever_task_it_hits(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(main: object) -> None:
        raise BaseExceptionGroup("of a reading task", [KeyboardInterrupt()])

    monkeypatch.setattr(calling.trio, "run", interrupted)
    assert why("msgpack://127.0.0.1:1").exit_code == 130
