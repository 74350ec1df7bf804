"""Conversions in a running graph: of messages on their way in, of results on their way home."""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import wait_all_tasks_blocked

import ten_trio as ten
from ten_trio.graphs import Conversion, Dest, Rule
from tests.runtime.acting import acting, opened


def keeping(into: list[tuple[str, str, dict[str, Any]]]) -> type[ten.Extension]:
    """Keeps what it gets: who, which message, what was in it. Answers with what it got."""

    async def handle(env: ten.TenEnv, msg: Any) -> None:
        into.append((env.name, msg.name, dict(msg)))
        if msg.kind == "cmd":
            await env.return_result(cmd_result(msg))

    def cmd_result(cmd: ten.Cmd) -> ten.CmdResult:
        return cmd.error("no") if cmd.get("fail") else cmd.ok(answer=42, secret="s")

    return acting(on_cmd=handle, on_data=handle, on_audio_frame=handle, on_video_frame=handle)


def graph_of(log: list[Any], *dests: Dest, kind: str = "cmd") -> ten.Graph:
    graph = ten.Graph()
    graph.node("s", ten.Extension)
    for dest in dests:
        assert dest.extension is not None
        graph.node(dest.extension, keeping(log))
    graph.connect("s", list(dests), **{kind: "go"})
    return graph


def env_of(engine: ten.Engine) -> ten.TenEnv:
    return engine._core.instances["s"].env


RENAME = Conversion.rename("ran", Rule.copied("to", "from"), Rule.fixed("new", 1))


@pytest.mark.parametrize("kind", ["data", "audio_frame", "video_frame"])
async def test_a_flow_is_converted_for_its_receiver(kind: str) -> None:
    log: list[Any] = []
    classes = {"data": ten.Data, "audio_frame": ten.AudioFrame, "video_frame": ten.VideoFrame}
    async with opened(graph_of(log, Dest("r", conversion=RENAME), kind=kind)) as engine:
        msg = classes[kind]("go", {"from": "here"})
        assert await env_of(engine).send_data(msg)
        await wait_all_tasks_blocked()
        # The sender's own message stays as it was.
        assert (msg.name, dict(msg)) == ("go", {"from": "here"})
    assert log == [("r", "ran", {"from": "here", "to": "here", "new": 1})]


async def test_without_keep_original_only_the_rules_count() -> None:
    log: list[Any] = []
    only = Conversion((Rule.copied("a", "x.y"), Rule.fixed("b", True)))
    async with opened(graph_of(log, Dest("r", conversion=only))) as engine:
        await env_of(engine).send_cmd(ten.Cmd("go", {"x": {"y": 3}, "z": 4}))
    assert log == [("r", "go", {"a": 3, "b": True})]


async def test_each_destination_of_a_fan_out_has_its_own() -> None:
    log: list[Any] = []
    dests = (
        Dest("a", conversion=Conversion.rename("one", Rule.fixed("n", 1))),
        Dest("b"),
        Dest("c", conversion=Conversion((Rule.fixed("n", 3),))),
    )
    async with opened(graph_of(log, *dests, kind="data")) as engine:
        await env_of(engine).send_data(ten.Data("go", {"p": [1]}))
        await wait_all_tasks_blocked()
    assert log == [
        ("a", "one", {"p": [1], "n": 1}),
        ("b", "go", {"p": [1]}),
        ("c", "go", {"n": 3}),
    ]


async def test_the_sender_sees_converted_results_under_the_name_it_used() -> None:
    log: list[Any] = []
    result = Conversion((Rule.copied("value", "answer"), Rule.fixed("ok", True)))
    convert = Conversion((Rule.fixed("ten.name", "ran"),), keep_original=True, result=result)
    async with opened(graph_of(log, Dest("r", conversion=convert))) as engine:
        answer = await env_of(engine).send_cmd(ten.Cmd("go", seq_id="7"))
    assert log == [("r", "ran", {})]
    assert dict(answer) == {"value": 42, "ok": True}
    assert (answer.original_cmd_name, answer.seq_id, answer.is_final) == ("go", "7", True)


async def test_every_result_of_a_stream_is_converted() -> None:
    async def on_cmd(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        for number in range(3):
            result = cmd.ok(number=number)
            result.set_final(number == 2)
            await env.return_result(result)

    graph = ten.Graph()
    graph.node("s", ten.Extension)
    graph.node("r", acting(on_cmd=on_cmd))
    result = Conversion((Rule.copied("n", "number"),))
    convert = Conversion((Rule.fixed("x", 1),), result=result)
    graph.connect("s", Dest("r", conversion=convert), cmd="go")
    async with opened(graph) as engine:
        async with env_of(engine).send_cmd_ex(ten.Cmd("go")) as results:
            seen = [(dict(r), r.is_final) async for r in results]
    assert seen == [({"n": 0}, False), ({"n": 1}, False), ({"n": 2}, True)]


async def test_an_error_is_converted_too_and_stays_an_error() -> None:
    log: list[Any] = []
    result = Conversion((Rule.copied("why", "detail"),))
    convert = Conversion((Rule.fixed("fail", True),), result=result)
    async with opened(graph_of(log, Dest("r", conversion=convert))) as engine:
        answer = await env_of(engine).send_cmd(ten.Cmd("go"))
    assert answer.status is ten.StatusCode.ERROR
    assert dict(answer) == {"why": "no"}


async def test_a_command_that_cannot_be_converted_is_answered_with_an_error() -> None:
    log: list[Any] = []
    dests = (Dest("bad", conversion=BROKEN), Dest("good"))
    async with opened(graph_of(log, *dests)) as engine:
        async with env_of(engine).send_cmd_ex(ten.Cmd("go", {"list": [1]})) as results:
            seen = [(r.ok, r.is_completed) async for r in results]
    assert seen == [(False, False), (True, True)]
    assert [who for who, *_ in log] == ["good"]


async def test_data_that_cannot_be_converted_is_dropped_and_counted() -> None:
    log: list[Any] = []
    dests = (Dest("bad", conversion=BROKEN), Dest("good"))
    async with opened(graph_of(log, *dests, kind="data")) as engine:
        assert await env_of(engine).send_data(ten.Data("go", {"list": [1]}))
        await wait_all_tasks_blocked()
    assert [who for who, *_ in log] == ["good"]
    assert engine.report is not None
    assert engine.report.extensions["bad"].dropped == {"conversion": 1}


async def test_a_result_that_cannot_be_converted_becomes_an_error() -> None:
    log: list[Any] = []
    convert = Conversion((Rule.fixed("x", 1),), result=BROKEN)
    async with opened(graph_of(log, Dest("r", conversion=convert))) as engine:
        answer = await env_of(engine).send_cmd(ten.Cmd("go"))
    assert answer.status is ten.StatusCode.ERROR
    assert answer["answer"] == 42


async def test_a_destination_that_is_named_gets_the_conversion_of_its_edge() -> None:
    log: list[Any] = []
    async with opened(graph_of(log, Dest("r", conversion=RENAME))) as engine:
        await env_of(engine).send_cmd(ten.Cmd("go", {"from": 1}, dest="r"))
    assert [name for _, name, _ in log] == ["ran"]


async def test_a_relayed_command_is_converted_on_each_leg() -> None:
    log: list[Any] = []

    async def relay(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        env.post_cmd(cmd)

    graph = ten.Graph()
    graph.node("s", ten.Extension)
    graph.node("m", acting(on_cmd=relay))
    graph.node("r", keeping(log))
    first = Conversion((Rule.copied("b", "a"),), result=Conversion((Rule.copied("d", "c"),)))
    second = Conversion(
        (Rule.copied("answered", "b"),), result=Conversion((Rule.copied("c", "answer"),))
    )
    graph.connect("s", Dest("m", conversion=first), cmd="go")
    graph.connect("m", Dest("r", conversion=second), cmd="go")
    async with opened(graph) as engine:
        answer = await env_of(engine).send_cmd(ten.Cmd("go", {"a": 5}))
    assert log == [("r", "go", {"answered": 5})]
    assert dict(answer) == {"d": 42}


BROKEN = Conversion((Rule.fixed("ten.no_such_field", 1),))


async def test_a_conversion_is_only_for_the_sender_and_name_it_belongs_to() -> None:
    got = []

    class Receives(ten.Extension):
        async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
            got.append((data.get_source().extension_name, data.name))

    class Sends(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await env.send_data(ten.Data(cmd["name"], dest="receives"))
            await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("receives", Receives)
    for name in ("converts", "plain"):
        graph.node(name, Sends)
    graph.connect("converts", "receives", data="x", convert=Conversion.rename("y"))
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        # By name each time, so that what is known of the destination is used again.
        for sender, name in (("converts", "x"), ("plain", "x"), ("plain", "z"), ("converts", "z")):
            await engine.send_cmd(ten.Cmd("go", {"name": name}, dest=sender))
    assert got == [("converts", "y"), ("plain", "x"), ("plain", "z"), ("converts", "z")]
