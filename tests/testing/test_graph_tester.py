"""Testing a whole graph: what it exposes goes to the test, and from it; some extensions are replaced."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ten_trio as ten
from ten_trio.testing import TESTER, NotReceived, open_graph_tester


class Listener(ten.Extension):
    """Asks the model about every text, and says what it says."""

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        answer = await env.send_cmd(ten.Cmd("complete", {"text": data["text"]}))
        await env.send_data(ten.Data("speech", {"text": answer["text"]}))


class Model(ten.Extension):
    """Would cost money."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        raise RuntimeError("not in a test")


class FakeModel(ten.Extension):
    """Shouts."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok(text=cmd["text"].upper()))


def agent() -> ten.Graph:
    graph = ten.Graph()
    graph.node("listener", Listener)
    graph.node("model", Model)
    graph.connect("listener", "model", cmd="complete")
    graph.expose("data_in", "heard", "listener")
    graph.expose("data_out", "speech", "listener")
    return graph


async def test_what_is_exposed_goes_to_the_test_and_from_it(autojump_clock: object) -> None:
    async with open_graph_tester(agent(), replace={"model": FakeModel}) as tester:
        await tester.send_data(ten.Data("heard", {"text": "hi"}))
        assert (await tester.expect_data("speech"))["text"] == "HI"
        # A destination of its own is as good.
        result = await tester.send_cmd(ten.Cmd("complete", {"text": "x"}, dest="model"))
        assert result["text"] == "X"
        assert isinstance(tester.extension_of("model"), FakeModel)
        await tester.assert_no_data()
        with pytest.raises(NotReceived):
            await tester.expect_data(within=5)
        report = await tester.stop()
    assert not report.grace_exhausted


async def test_commands_of_the_graph_are_answered_by_mocks() -> None:
    graph = ten.Graph()
    graph.node("listener", Listener)
    graph.expose("data_in", "heard", "listener")
    graph.expose("data_out", "speech", "listener")
    graph.expose("cmd_out", "complete", "listener")
    async with open_graph_tester(graph, mocks={"complete": {"text": "mocked"}}) as tester:
        await tester.send_data(ten.Data("heard", {"text": "hi"}))
        assert (await tester.expect_data("speech"))["text"] == "mocked"
        assert (await tester.expect_cmd("complete"))["text"] == "hi"


async def test_a_graph_that_has_the_test_in_it() -> None:
    graph = ten.Graph()
    graph.node("listener", Listener)
    graph.node("me", TESTER)
    graph.connect("me", "listener", data="anything")
    graph.connect("listener", "me", cmd="complete", data="speech")
    async with open_graph_tester(graph, mocks={"complete": {"text": "ok"}}) as tester:
        await tester.send_data(ten.Data("anything", {"text": "hi"}))
        assert (await tester.expect_data("speech"))["text"] == "ok"
        assert TESTER not in tester.engine.extensions
    graph.node("you", TESTER)
    with pytest.raises(ten.GraphError, match="several nodes are the test: me, you"):
        async with open_graph_tester(graph):
            pass


async def test_from_files(tmp_path: Path) -> None:
    node = {"type": "extension", "name": "a", "addon": "any", "extension_group": "g"}
    exposed = [{"type": "cmd_in", "name": "complete", "extension": "a"}]
    content = {"nodes": [node], "exposed_messages": exposed}
    file = tmp_path / "graph.json"
    file.write_text(json.dumps(content))
    section = {"predefined_graphs": [{"name": "mine", "graph": content, "auto_start": True}]}
    (tmp_path / "property.json").write_text(json.dumps({"ten": section}))
    for graph, app in ((file, None), (content, None), ("mine", tmp_path)):
        async with open_graph_tester(graph, app=app, replace={"a": FakeModel}) as tester:
            assert (await tester.send_cmd(ten.Cmd("complete", {"text": "x"})))["text"] == "X"


async def test_who_is_not_there_cannot_be_replaced() -> None:
    with pytest.raises(ten.GraphError, match="no extension 'nobody' to be replaced"):
        async with open_graph_tester(agent(), replace={"nobody": FakeModel}):
            pass
