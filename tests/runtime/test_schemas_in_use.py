"""Manifests in a running graph: what is checked on its way in and out, and what a misfit means."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

import ten_trio as ten
from tests.runtime.acting import Callback, acting, opened

# An integer is as good as a float where one is wanted, and becomes one.
NUMBER = {
    "property": {
        "properties": {"n": {"type": "int8"}, "f": {"type": "float64"}},
        "required": ["n"],
    }
}
API = {
    "cmd_in": [{"name": "go", **NUMBER, "result": NUMBER}],
    "cmd_out": [{"name": "go", **NUMBER, "result": NUMBER}],
    **{
        f"{kind}_{way}": [{"name": "d", **NUMBER}]
        for kind in ("data", "audio_frame", "video_frame")
        for way in ("in", "out")
    },
}
KINDS = {"data": ten.Data, "audio_frame": ten.AudioFrame, "video_frame": ten.VideoFrame}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of an addon with this api."""
    manifest = {"type": "extension", "name": "checked", "version": "1.0.0", "api": API}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return tmp_path


def checked(folder: Path, **callbacks: Callback) -> type[ten.Extension]:
    """An extension with the api of `folder`."""
    extension = acting(**callbacks)
    extension.base_dir = folder  # type: ignore[attr-defined]
    return extension


def keeping(log: list[Any]) -> Callback:
    async def handle(env: ten.TenEnv, msg: Any) -> None:
        log.append((msg.kind, msg.get("f", msg.get("n"))))
        if msg.kind == "cmd":
            await env.return_result(cmd_ok(msg))

    def cmd_ok(cmd: ten.Cmd) -> ten.CmdResult:
        return cmd.ok(n=cmd.get("n", 0))

    return handle


def graph_of(sender: type[ten.Extension], receiver: type[ten.Extension]) -> ten.Graph:
    graph = ten.Graph()
    graph.node("s", sender)
    graph.node("r", receiver)
    graph.connect("s", "r", cmd="go", data="d", audio_frame="d", video_frame="d")
    return graph


def env_of(engine: ten.Engine) -> ten.TenEnv:
    return engine._core.instances["s"].env


# In --------------------------------------------------------------------------------------------


async def test_what_comes_in_is_adjusted(folder: Path) -> None:
    log: list[Any] = []
    handle = keeping(log)
    receiver = checked(
        folder, on_cmd=handle, on_data=handle, on_audio_frame=handle, on_video_frame=handle
    )
    async with opened(graph_of(ten.Extension, receiver)) as engine:
        await env_of(engine).send_cmd(ten.Cmd("go", {"n": 5, "f": 6}))
        for kind in KINDS.values():
            await env_of(engine).send_data(kind("d", {"n": 5, "f": 7}))
        await wait_all_tasks_blocked()
    assert log == [("cmd", 6), ("data", 7), ("audio_frame", 7), ("video_frame", 7)]
    assert all(isinstance(f, float) for _, f in log)


async def test_a_command_that_does_not_fit_is_answered_with_why(folder: Path) -> None:
    log: list[Any] = []
    async with opened(graph_of(ten.Extension, checked(folder, on_cmd=keeping(log)))) as engine:
        for properties in ({"n": 1_000}, {"n": "one"}, {}):
            result = await env_of(engine).send_cmd(ten.Cmd("go", properties))
            assert result.status is ten.StatusCode.ERROR
            assert result.detail.startswith("cmd 'go': ")
            assert "n" in result.detail
        assert not engine._core.instances["r"].in_paths
    assert log == []


@pytest.mark.parametrize("kind", KINDS)
async def test_data_that_does_not_fit_is_dropped_logged_and_counted(
    folder: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    log: list[Any] = []
    receiver = checked(folder, **{f"on_{kind}": keeping(log)})
    async with opened(graph_of(ten.Extension, receiver)) as engine:
        for n in (1, 1_000, 2):
            assert await env_of(engine).send_data(KINDS[kind]("d", {"n": n}))
        await wait_all_tasks_blocked()
    assert log == [(kind, 1), (kind, 2)]
    assert engine.report is not None
    assert engine.report.extensions["r"].dropped == {"schema": 1}
    (message,) = [r.getMessage() for r in caplog.records if "dropped" in r.getMessage()]
    assert "extension: r" in message
    assert "n" in message


async def test_a_destination_that_does_not_fit_does_not_stop_the_others(folder: Path) -> None:
    log: list[Any] = []
    graph = ten.Graph()
    graph.node("s", ten.Extension)
    graph.node("picky", checked(folder, on_cmd=keeping([])))
    graph.node("r", acting(on_cmd=keeping(log)))
    graph.connect("s", ["picky", "r"], cmd="go")
    async with opened(graph) as engine:
        async with env_of(engine).send_cmd_ex(ten.Cmd("go", {"n": 1_000})) as results:
            assert [r.ok async for r in results] == [False, True]
    assert log == [("cmd", 1_000)]


async def test_what_has_no_schema_passes(folder: Path) -> None:
    log: list[Any] = []
    receiver = checked(folder, on_cmd=keeping(log), on_data=keeping(log))
    async with opened(graph_of(ten.Extension, receiver)) as engine:
        await engine.send_cmd(ten.Cmd("other", {"n": "anything"}, dest="r"))
        await engine.send_data(ten.Data("other", dest="r"))
        await wait_all_tasks_blocked()
    assert log == [("cmd", "anything"), ("data", None)]


# Out -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["send_cmd", "start_cmd", "post_cmd"])
async def test_a_command_that_does_not_fit_is_not_sent(folder: Path, how: str) -> None:
    log: list[Any] = []
    async with opened(graph_of(checked(folder), acting(on_cmd=keeping(log)))) as engine:
        with pytest.raises(ten.SchemaError, match="cmd 'go'"):
            sent = getattr(env_of(engine), how)(ten.Cmd("go", {"n": 1_000}))
            if sent is not None:
                await sent
        assert not env_of(engine)._instance.out_paths
        assert (await env_of(engine).send_cmd(ten.Cmd("go", {"n": 5, "f": 6}))).ok
    assert log == [("cmd", 6)]
    assert isinstance(log[0][1], float)


@pytest.mark.parametrize("kind", KINDS)
async def test_data_that_does_not_fit_is_not_sent(folder: Path, kind: str) -> None:
    log: list[Any] = []
    refusals: list[object] = []
    receiver = acting(**{f"on_{kind}": keeping(log)})
    async with opened(graph_of(checked(folder), receiver)) as engine:
        env = env_of(engine)
        with pytest.raises(ten.SchemaError) as caught:
            await env.send_data(KINDS[kind]("d", {"n": 1_000}), lambda _, e: refusals.append(e))
        assert refusals == [caught.value]
        message = KINDS[kind]("d", {"n": 5, "f": 6})
        await env.send_data(message)
        await wait_all_tasks_blocked()
        # It is a copy that has been adjusted.
        assert isinstance(message["f"], int)
    assert log == [(kind, 6)]
    assert isinstance(log[0][1], float)


# Results ---------------------------------------------------------------------------------------


async def test_a_result_that_does_not_fit_leaves_the_command_open(folder: Path) -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        with pytest.raises(ten.SchemaError):
            await env.return_result(cmd.ok(n="one"))
        await env.return_result(cmd.ok(n=1, f=2))

    async with opened(graph_of(ten.Extension, checked(folder, on_cmd=on_cmd))) as engine:
        result = await env_of(engine).send_cmd(ten.Cmd("go", {"n": 1}))
    assert result.ok
    assert result["f"] == 2
    assert isinstance(result["f"], float)


async def test_a_result_that_the_sender_cannot_use_becomes_an_error(folder: Path) -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok(n=1_000))

    async with opened(graph_of(checked(folder), acting(on_cmd=on_cmd))) as engine:
        result = await env_of(engine).send_cmd(ten.Cmd("go", {"n": 1}))
    assert result.status is ten.StatusCode.ERROR
    assert result["n"] == 1_000
    assert result.is_completed


async def test_an_error_of_the_runtime_needs_no_properties(
    folder: Path, autojump_clock: MockClock
) -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd["n"]:
            raise RuntimeError("on purpose")

    both = checked(folder, on_cmd=on_cmd)
    both.on_error = "isolate"
    async with opened(graph_of(both, both)) as engine:
        details = [(await env_of(engine).send_cmd(ten.Cmd("go", {"n": n}))).detail for n in (0, 1)]
    assert details == ["Path timeout.", "r: RuntimeError: on purpose"]


async def test_an_error_of_the_executor_needs_no_properties_either(folder: Path) -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.error("no such place"))

    both = checked(folder, on_cmd=on_cmd)
    async with opened(graph_of(both, both)) as engine:
        result = await env_of(engine).send_cmd(ten.Cmd("go", {"n": 1}))
    assert (result.ok, result.detail) == (False, "no such place")
