"""`check_extension` and `check_graph_closes`: good ones pass, bad ones are found, with a short trial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio

import ten_trio as ten
from ten_trio.testing import Transcript, check_extension, check_graph_closes

EXAMPLES = 60


class Forecast(ten.Extension):
    """Looks the weather up, and says so."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        weather = await env.send_cmd(ten.Cmd("get_weather", {"city": cmd.get("city", "")}))
        if not weather.ok:
            await env.return_result(cmd.error("nobody knows"))
            return
        await env.send_data(ten.Data("text", {"text": "fine"}))
        await env.return_result(cmd.ok())


class Hopeful(Forecast):
    """Doesn't think of an ERROR."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        weather = await env.send_cmd(ten.Cmd("get_weather"))
        weather.unwrap()
        await env.return_result(cmd.ok())


class Interrupted(ten.Extension):
    """Forgets to answer a command that another one cancels."""

    scope: trio.CancelScope | None = None

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd.name == "stop":
            if self.scope is not None:
                self.scope.cancel()
            await env.return_result(cmd.ok())
            return
        with trio.CancelScope() as self.scope:
            await trio.sleep(5)
            await env.return_result(cmd.ok())


class Stubborn(ten.Extension):
    """Doesn't let itself be ended, once it was told something."""

    told = False

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        self.told = True

    async def on_stop(self, env: ten.TenEnv) -> None:
        if self.told:
            with trio.CancelScope(shield=True):
                await trio.sleep(60)


async def test_a_good_extension() -> None:
    def answered(told: Transcript) -> None:
        if told.is_undisturbed:
            assert len(told.results) + len(told.given_up) == sum(
                say.kind == "cmd" for say in told.trial.says
            )

    await check_extension(
        Forecast,
        messages=[ten.Cmd("ask", {"city": "Rome"}), ten.Data("chat")],
        check=answered,
        examples=EXAMPLES,
    )
    await check_extension(Forecast, examples=EXAMPLES)


async def test_an_error_that_an_extension_does_not_think_of() -> None:
    with pytest.raises(AssertionError, match="no extension raises") as caught:
        await check_extension(Hopeful, messages=[ten.Cmd("ask")], examples=300)
    text = str(caught.value)
    assert text.startswith("extension Hopeful: ")
    assert text.endswith("Trial(says=(Say('cmd', 'ask', to='Hopeful'),), replies=('error',))")
    mocks: Any = {"get_weather": {"temp": 1}}
    with pytest.raises(AssertionError):
        await check_extension(Hopeful, mocks=mocks, examples=300)


async def test_an_answer_that_is_forgotten() -> None:
    messages = [ten.Cmd("work"), ten.Cmd("stop")]
    with pytest.raises(AssertionError, match="every command is answered") as caught:
        await check_extension(Interrupted, messages=messages, examples=400)
    assert (
        str(caught.value).count("Say('cmd'") == 3
    )  # the one that isn't answered, and the two of the trial


async def test_the_manifest_says_what_is_legal(tmp_path: Path) -> None:
    api = {
        "cmd_in": [
            {"name": "add", "property": {"properties": {"n": {"type": "uint8"}}, "required": ["n"]}}
        ]
    }
    manifest = {"type": "extension", "name": "adder", "version": "0.1.0", "api": api}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))

    class Adder(ten.Extension):
        base_dir = tmp_path
        least = 0

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            assert cmd.name == "add"
            assert self.least <= cmd["n"] < 256
            await env.return_result(cmd.ok())

    await check_extension(Adder, examples=EXAMPLES)

    class Fussy(Adder):
        least = 1

    with pytest.raises(AssertionError, match=r"properties=\{'n': 0\}"):
        await check_extension(Fussy, examples=EXAMPLES)


def graph_of(**made: Any) -> ten.Graph:
    graph = ten.Graph()
    for name, make in made.items():
        graph.node(name, make)
    return graph


async def test_a_good_graph() -> None:
    graph = graph_of(one=Forecast, other=Forecast)
    graph.connect("one", "other", cmd="get_weather", data="text")
    graph.connect("other", "one", data="text")
    with pytest.raises(AssertionError, match="NotConnected"):  # it has been forgotten here
        await check_graph_closes(graph, messages=[ten.Cmd("ask", dest="one")], examples=EXAMPLES)

    class Meteorologist(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await trio.sleep(2)
            await env.return_result(cmd.ok(temp=21))

    graph = graph_of(one=Forecast, other=Meteorologist)
    graph.connect("one", "other", cmd="get_weather", data="text")
    await check_graph_closes(graph, messages=[ten.Cmd("ask", dest="one")], examples=EXAMPLES)


async def test_a_graph_that_does_not_close() -> None:
    graph = graph_of(it=Stubborn)
    await check_graph_closes(graph, messages=[ten.Cmd("x", dest="it")], examples=EXAMPLES)
    graph.expose("data_in", "text", "it")
    with pytest.raises(AssertionError, match=r"(?s)closes within the grace.*on_stop"):
        await check_graph_closes(graph, examples=EXAMPLES)


async def test_what_hangs_is_told() -> None:
    released = False

    class Loops(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            while not released:
                pass

    try:
        with pytest.raises(AssertionError, match="extension Loops: it hangs"):
            await check_extension(Loops, examples=1, patience=0.2)
    finally:
        released = True


async def test_it_needs_the_usual_clock(autojump_clock: object) -> None:
    with pytest.raises(RuntimeError, match="without autojump_clock"):
        await check_extension(Forecast)
