"""The properties of an extension while it lives: when they are there, and the `ten` settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

import ten_trio as ten


def alone(extension: ten.Extension, property_: Any = None) -> ten.Graph:
    graph = ten.Graph()
    graph.node("it", lambda: extension, property=property_ or {})
    return graph


async def run(extension: ten.Extension, property_: Any = None) -> None:
    async with ten.open_app() as app, app.open_graph(alone(extension, property_)):
        pass


async def test_they_are_there_after_on_configure() -> None:
    seen = []

    class Looks(ten.Extension):
        async def on_configure(self, env: ten.TenEnv) -> None:
            seen.append(env.is_property_exist("x"))

        async def on_init(self, env: ten.TenEnv) -> None:
            seen.append(env.is_property_exist("x"))

    await run(Looks(), {"x": 1})
    assert seen == [False, True]


async def test_every_way_to_read_and_write() -> None:
    class Uses(ten.Extension):
        async def on_init(self, env: ten.TenEnv) -> None:
            assert env.get_property_int32("a.b[1]") == 2
            assert env["a.b[1]"] == 2
            assert env.get("missing") is None
            assert "a.b" in env
            assert "a.c" not in env
            assert env.get_property_to_json("a") == '{"b": [1, 2]}'
            env.set_property_from_json("new", '{"x": [true]}')
            assert env["new.x[0]"] is True
            env.set_property_string("text", "hi")
            del env["text"]
            assert "text" not in env
            with pytest.raises(ten.PropertyNotFound, match="extension 'it': no property 'text'"):
                env.get_property_string("text")
            with pytest.raises(ten.PropertyTypeError):
                env.get_property_string("a.b[0]")
            with pytest.raises(ten.InvalidPath):
                env.get_property("a..b")

    await run(Uses(), {"a": {"b": [1, 2]}})


# init_property_from_json ---------------------------------------------------------------------------


async def test_it_takes_the_place_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "property.json").write_text('{"file": 1, "x": 0}')
    seen: dict[str, Any] = {}

    class Inits(ten.Extension):
        base_dir = tmp_path

        async def on_configure(self, env: ten.TenEnv) -> None:
            env.init_property_from_json('{"x": 1, "y": 1}')

        async def on_init(self, env: ten.TenEnv) -> None:
            seen.update(env.items())

    graph = ten.Graph()
    graph.node("it", Inits, property={"y": 2})
    async with ten.open_app() as app, app.open_graph(graph):
        pass
    assert seen == {"x": 1, "y": 2}


@pytest.mark.parametrize("stage", ["on_init", "on_start", "on_stop", "on_deinit"])
async def test_it_belongs_into_on_configure(stage: str) -> None:
    async def late(self: ten.Extension, env: ten.TenEnv) -> None:
        with pytest.raises(ten.WrongTiming, match=r"Invalid timing to init property\."):
            env.init_property_from_json("{}")

    await run(type("Late", (ten.Extension,), {stage: late})())


@pytest.mark.parametrize(("text", "error"), [("{", ten.InvalidJson), ("[]", ten.InvalidArgument)])
async def test_it_takes_an_object(text: str, error: type[Exception]) -> None:
    class Wrong(ten.Extension):
        async def on_configure(self, env: ten.TenEnv) -> None:
            with pytest.raises(error):
                env.init_property_from_json(text)

    await run(Wrong())


# ten.path_timeout ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "seconds"),
    [
        (3_000_000, 3),
        ({"out_path": 4_000_000}, 4),
        ({"in_path": 4_000_000, "out_path": 2_000_000}, 2),
        ({"in_path": 4_000_000}, 180),
        (0, 180),
        (-1, 180),
    ],
)
async def test_the_path_timeout_of_an_extension(
    setting: Any, seconds: float, autojump_clock: object
) -> None:
    class Asks(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            start = trio.current_time()
            result = await env.send_cmd(ten.Cmd("hold", dest="holds"))
            assert result.detail == "Path timeout."
            took.append(trio.current_time() - start)

    class Holds(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await cmd.abandoned.wait()

    took: list[float] = []
    graph = alone(Asks(), {"ten": {"path_timeout": setting}})
    graph.node("holds", Holds)
    async with ten.open_app() as app, app.open_graph(graph, start_timeout=1_000):
        pass
    assert took == [seconds]


# A restart -----------------------------------------------------------------------------------------


async def test_a_restart_starts_with_the_properties_as_they_were_given() -> None:
    seen = []

    class Changes(ten.Extension):
        on_error = "restart"

        async def on_start(self, env: ten.TenEnv) -> None:
            seen.append(env["x"])
            env["x"] = 5

        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            raise KeyError("on purpose")

    graph = ten.Graph()
    graph.node("it", Changes, property={"x": 1})
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        await engine.send_data(ten.Data("x", dest="it"))
        await trio.testing.wait_all_tasks_blocked()
    assert seen == [1, 1]
