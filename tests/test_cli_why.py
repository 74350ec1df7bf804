"""`ten-trio why`: an app that runs somewhere says who waits for what."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.testing
from click.testing import CliRunner, Result

import ten_trio as ten
from ten_trio.cli import main, talking
from ten_trio.network.transports import sockets
from tests.elsewhere import Elsewhere
from tests.runtime.acting import acting, answer

pytestmark = pytest.mark.slow


def asks(dest: str) -> Any:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.send_cmd(ten.Cmd("ask", dest=dest))

    return on_cmd


async def start(app: ten.App) -> dict[str, str]:
    """The graphs `stuck` and `quiet`."""
    stuck, quiet = ten.Graph(), ten.Graph()
    one = acting(on_cmd=asks("b"))
    one.cmd_handlers = "serial"
    stuck.node("a", one)
    stuck.node("b", acting(on_cmd=asks("a")))
    quiet.node("c", acting(on_cmd=answer))
    engine = await app.start_graph(stuck)
    ids = {"stuck": engine.graph_id, "quiet": (await app.start_graph(quiet)).graph_id}
    engine.post_cmd(ten.Cmd("ask", dest="a"))
    await trio.testing.wait_all_tasks_blocked()
    return ids


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere(start) as app:
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


def answering(monkeypatch: pytest.MonkeyPatch, given: object) -> None:
    async def send_cmd(*_: object) -> ten.CmdResult:
        return ten.CmdResult(ten.StatusCode.OK, {"explanation": given})

    monkeypatch.setattr(ten.Client, "send_cmd", send_cmd)


@pytest.mark.parametrize(
    "given", ["no JSON", "{}", "[{}]", 7], ids=["text", "no list", "no graph", "number"]
)
def test_an_answer_that_makes_no_sense(
    given: object, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, given)
    result = why(elsewhere.uri)
    assert result.exit_code == 1
    assert "the answer can't be understood" in result.stderr


def test_an_app_without_graphs(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, "[]")
    result = why(elsewhere.uri)
    assert (result.exit_code, result.stdout) == (0, "no graph runs there\n")


def test_an_app_that_is_blocked(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talking, "PATIENCE", 0.001)
    with elsewhere.blocked():
        result = why(elsewhere.uri)
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

    monkeypatch.setattr(talking.trio, "run", interrupted)
    assert why("msgpack://127.0.0.1:1").exit_code == 130
