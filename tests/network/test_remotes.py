"""One graph over several apps: what crosses, duplicates, starts that fail, and losses."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing

import ten_trio as ten
from ten_trio.messages import CloseApp, StartGraph, StopGraph, Timer
from ten_trio.network.codec import WireMsg
from ten_trio.network.codecs.msgpack import MsgpackCodec
from ten_trio.network.peer import ABANDON
from ten_trio.network.remotes import BUILT, DUPLICATE, OURS
from ten_trio.runtime.addons import addons as registry
from ten_trio.runtime.app import App
from tests.network.apps import (
    QUICK,
    Scripted,
    Spread,
    opened_apps,
    scripted_app,
    until,
)
from tests.runtime.acting import acting, answer, stream

ERROR = ten.StatusCode.ERROR
OK = ten.StatusCode.OK


async def relay(env: ten.TenEnv, cmd: ten.Cmd) -> None:
    """Send it on as it is: its results go to whoever sent it."""
    env.post_cmd(cmd)


async def ask_on(env: ten.TenEnv, cmd: ten.Cmd) -> None:
    """Ask the next one, and add one's own name to what that says."""
    if cmd["left"] == 0:
        await env.return_result(cmd.ok(path=env.name))
        return
    asked = ten.Cmd(cmd.name, {"left": cmd["left"] - 1})
    result = await env.send_cmd(asked)
    if result.ok:
        await env.return_result(cmd.ok(path=f"{env.name} {result['path']}"))
    else:
        await env.return_result(cmd.error(result.detail))


async def forward(env: ten.TenEnv, data: Any) -> None:
    await {"data": env.send_data, "audio_frame": env.send_audio_frame}.get(
        data.kind, env.send_video_frame
    )(data)


async def hang(env: ten.TenEnv, cmd: ten.Cmd) -> None:
    """Never answer."""
    await trio.sleep_forever()


ADDONS = {
    "answer": acting(on_cmd=answer),
    "ask": acting(on_cmd=ask_on),
    "forward": acting(
        on_cmd=relay, on_data=forward, on_audio_frame=forward, on_video_frame=forward
    ),
    "hang": acting(on_cmd=hang),
    "relay": acting(on_cmd=relay),
    "silent": ten.Extension,
    "stream": acting(on_cmd=stream),
}


def pair(near: App | str, far: App | str, addon: str = "answer", *names: str) -> Spread:
    """`near` relays, or forwards, what is exposed by it, to `far`."""
    spread = Spread()
    spread.node("near", near, "forward")
    spread.node("far", far, addon)
    for name in names or ("hello",):
        spread.connect("near", "far", name=name)
        spread.expose("cmd_in", name, "near")
    return spread


def alone() -> ten.Graph:
    """One extension, which answers."""
    graph = ten.Graph()
    graph.node("a", "answer")
    return graph


@asynccontextmanager
async def alone_with_a_peer() -> AsyncGenerator[tuple[App, ten.Engine, Scripted], None]:
    """An app that runs that, and a peer that has connected with it and said nothing yet."""
    async with opened_apps(1, ADDONS) as (app,), app.open_graph(alone()) as engine:
        yield app, engine, await Scripted.connect(app.uri)


async def assert_all_closed(*apps: App) -> None:
    """No graph is left anywhere, and no connection."""
    for app in apps:
        await until(lambda app=app: not app.engines and not app.network.connections)


# Shapes, and who starts it --------------------------------------------------------------------------

SHAPES = {
    "chain": [(0, 1), (1, 2)],
    "back": [(2, 1), (1, 0)],
    "both": [(0, 1), (1, 0)],
    "ring": [(0, 1), (1, 2), (2, 0)],
    "triangle": [(0, 1), (1, 2), (0, 2)],
    "star": [(1, 0), (1, 2), (0, 1), (2, 1)],
}


def shaped(shape: str, apps: list[App]) -> tuple[Spread, int]:
    """A node `nI` in app I, with the edges of a shape; and where to begin."""
    edges = SHAPES[shape]
    spread = Spread()
    for index in sorted({end for edge in edges for end in edge}):
        spread.node(f"n{index}", apps[index], "ask")
    seen = set()
    for source, dest in edges:
        if source not in seen:  # the others are just edges: one way is asked along
            spread.connect(f"n{source}", f"n{dest}", name="go")
        else:
            spread.connect(f"n{source}", f"n{dest}", name="other")
        seen.add(source)
    first = edges[0][0]
    spread.expose("cmd_in", "go", f"n{first}")
    return spread, first


@asynccontextmanager
async def started(
    way: str, app: App, graph: ten.Graph
) -> AsyncGenerator[ten.Engine | ten.Client, None]:
    if way == "client":
        async with ten.connect(app.uri, network=QUICK) as client:
            await client.start_graph(graph)
            yield client
    else:
        async with app.open_graph(graph, own_loop=way == "own loop") as engine:
            yield engine


@pytest.mark.parametrize("way", ["host", "client", "own loop"])
@pytest.mark.parametrize("shape", SHAPES)
async def test_shapes(shape: str, way: str) -> None:
    async with opened_apps(3, ADDONS, own_loop=way == "own loop") as apps:
        spread, first = shaped(shape, apps)
        for start in range(3):
            if not any(node["app"] == apps[start].uri for node in spread.nodes):
                continue
            async with started(way, apps[start], spread.graph) as engine:
                hops = 3 if shape in ("ring", "both", "star") else len(SHAPES[shape])
                hops = 1 if shape == "triangle" else hops
                result = await engine.send_cmd(ten.Cmd("go", {"left": hops}))
                assert result.ok, result.detail
                named = result["path"].split()
                assert len(named) == hops + 1
                assert named[0] == f"n{first}"
            await assert_all_closed(*apps)


@pytest.mark.parametrize("larger_starts", [False, True])
async def test_predefined_with_auto_start(larger_starts: bool) -> None:
    for name, factory in ADDONS.items():
        registry.register(name, factory)
    try:
        async with opened_apps(2, {}) as apps:
            far = apps[0]
            host = "localhost" if larger_starts else "127.0.0.1"
            own = f"msgpack://{host}:{await free_port()}"
            spread = pair(own, far)
            graph = {"name": "main", "auto_start": True, "singleton": True, "graph": spread.json}
            source = {"ten": {"predefined_graphs": [graph]}}
            async with ten.open_app(source, uri=own, network=QUICK) as app:
                assert len(app.engines) == len(far.engines) == 1
                assert set(app.engines) == set(far.engines)  # one graph has one id
                async with ten.connect(own, graph="main", network=QUICK) as client:
                    assert (await client.send_cmd(ten.Cmd("hello")))["by"] == "far"
            await assert_all_closed(*apps)
    finally:
        for name in ADDONS:
            registry.unregister(name)


async def free_port() -> int:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        return int(listener.socket.getsockname()[1])


# What crosses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("own_loop", [False, True])
@pytest.mark.parametrize("near", [0, 1])
async def test_commands_and_their_results(near: int, own_loop: bool) -> None:
    async with opened_apps(2, ADDONS, own_loop=own_loop) as apps:
        graph = pair(apps[near], apps[1 - near], "answer").graph
        async with apps[near].open_graph(graph) as engine:
            cmd = ten.Cmd("hello", seq_id="mine")
            result = await engine.send_cmd(cmd)
            assert result["by"] == "far"
            assert result.is_final
            assert result.is_completed
            assert result.seq_id == "mine"
            assert result.original_cmd_name == "hello"
            assert result.get_source().extension_name == "near"
            missing = await engine.send_cmd(ten.Cmd("x", dest=ten.Loc(apps[1 - near].uri, "", "y")))
            assert missing.detail == "Failed to find destination."


async def test_where_results_and_messages_come_from() -> None:
    seen: list[tuple[str, ten.Loc]] = []

    async def ask(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        result = await env.send_cmd(ten.Cmd("question"))
        seen.append(("result", result.get_source()))
        await env.return_result(cmd.ok())

    async def note(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        seen.append(("cmd", cmd.get_source()))
        await env.return_result(cmd.ok())

    addons = {"ask": acting(on_cmd=ask), "note": acting(on_cmd=note)}
    async with opened_apps(2, addons) as (one, two):
        spread = Spread()
        spread.node("near", one, "ask")
        spread.node("far", two, "note")
        spread.connect("near", "far", name="question")
        spread.expose("cmd_in", "go", "near")
        async with one.open_graph(spread.graph) as engine:
            assert (await engine.send_cmd(ten.Cmd("go"))).ok
            assert seen == [
                ("cmd", ten.Loc(one.uri, engine.graph_id, "near")),
                ("result", ten.Loc(two.uri, engine.graph_id, "far")),
            ]


@pytest.mark.parametrize("own_loop", [False, True])
async def test_streams_and_relays(own_loop: bool) -> None:
    async with opened_apps(3, ADDONS, own_loop=own_loop) as apps:
        spread = Spread()
        for name, app, addon in zip("abc", apps, ("relay", "relay", "stream"), strict=True):
            spread.node(name, app, addon)
        spread.connect("a", "b", name="count")
        spread.connect("b", "c", name="count")
        spread.expose("cmd_in", "count", "a")
        async with apps[0].open_graph(spread.graph) as engine:
            async with engine.send_cmd_ex(ten.Cmd("count", {"count": 20})) as results:
                got = [(r["number"], r.is_final, r.is_completed) async for r in results]
            assert got == [(n, n == 20, n == 20) for n in range(1, 21)]
            assert (await engine.send_cmd(ten.Cmd("count")))["number"] == 3


@pytest.mark.parametrize("policy", ten.ResultReturnPolicy)
async def test_fan_out_over_here_and_there(policy: ten.ResultReturnPolicy) -> None:
    async def refuse(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.error("no") if cmd["refuse"] else cmd.ok(by=env.name))

    async def ask(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        async with env.send_cmd_ex(
            ten.Cmd("all", {"refuse": cmd["refuse"]}), policy=policy
        ) as results:
            got = [f"{r.status.name} {r.get('by', '')}" async for r in results]
        await env.return_result(cmd.ok(got="; ".join(sorted(got))))

    addons = {**ADDONS, "ask": acting(on_cmd=ask), "refuse": acting(on_cmd=refuse)}
    async with opened_apps(3, addons) as apps:
        spread = Spread()
        spread.node("a", apps[1], "ask")
        spread.node("here", apps[1], "answer")
        spread.node("there", apps[0], "refuse")
        spread.node("yonder", apps[2], "answer")
        spread.connect("a", "here", "there", "yonder", name="all")
        spread.expose("cmd_in", "go", "a")
        async with apps[1].open_graph(spread.graph) as engine:
            every = policy is ten.ResultReturnPolicy.EACH_OK_AND_ERROR
            fine = await engine.send_cmd(ten.Cmd("go", {"refuse": False}))
            assert fine["got"] == ("OK here; OK there; OK yonder" if every else "OK yonder")
            bad = await engine.send_cmd(ten.Cmd("go", {"refuse": True}))
            assert bad["got"] == ("ERROR ; OK here; OK yonder" if every else "ERROR ")


@pytest.mark.parametrize("own_loop", [False, True])
async def test_data_and_frames_with_all_that_they_have(own_loop: bool) -> None:
    sent = [
        ten.Data("d", {"n": 1, "list": [1, 2.5, "x"], "none": None}, buf=b"\0\1\2"),
        ten.AudioFrame(
            "d", {"n": 2}, buf=b"\7" * 320, sample_rate=16_000, samples_per_channel=160,
            bytes_per_sample=2, number_of_channels=1, timestamp=-5, is_eof=True, channel_layout=4,
        ),
        ten.VideoFrame("d", {"n": 3}, buf=b"\x09" * 3_000_000, width=1000, height=1000, is_eof=True),
    ]  # fmt: skip
    async with opened_apps(2, ADDONS, own_loop=own_loop) as apps:
        spread = Spread()
        kinds = ("data", "audio_frame", "video_frame")
        spread.node("near", apps[0], "forward")
        spread.node("far", apps[1], "forward")
        spread.connect("near", "far", kinds=kinds, name="d")
        for kind in kinds:
            spread.expose(f"{kind}_in", "d", "near")
            spread.expose(f"{kind}_out", "d", "far")
        async with apps[0].open_graph(spread.graph) as engine, engine.messages() as messages:
            for msg in sent:
                assert await engine.send_data(msg)
            for msg in sent:
                got = await messages.receive()
                assert type(got) is type(msg)
                assert dict(got._props) == dict(msg._props)
                for field in type(msg)._fields.values():
                    if field.attribute not in ("_dests", "_src"):
                        wanted = getattr(msg, field.attribute)
                        assert getattr(got, field.attribute) == wanted, field.attribute
                assert got.get_source().app_uri == apps[1].uri


async def test_conversions_are_made_where_the_message_arrives() -> None:
    async def say(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok(name=cmd.name, **dict(cmd._props)))

    async with opened_apps(2, {**ADDONS, "say": acting(on_cmd=say)}) as (one, two):
        spread = Spread()
        spread.node("near", one, "relay")
        spread.node("other", one, "relay")
        spread.node("far", two, "say")
        rename = {"path": "ten.name", "conversion_mode": "fixed_value", "value": "renamed"}
        add = {"path": "added", "conversion_mode": "fixed_value", "value": 1}
        back = {"path": "was", "conversion_mode": "from_original", "original_path": "name"}
        spread.connect("near", "far", name="hello", convert=[rename, add], result=[back])
        spread.connect("other", "far", name="bare")
        spread.expose("cmd_in", "hello", "near")
        spread.expose("cmd_in", "bare", "other")
        for app in (one, two):
            async with app.open_graph(spread.graph) as engine:
                got = await engine.send_cmd(ten.Cmd("hello", {"x": 2}))
                assert (got["name"], got["added"], got["x"], got["was"]) == (
                    "renamed",
                    1,
                    2,
                    "renamed",
                )
                bare = await engine.send_cmd(ten.Cmd("bare", {"x": 2}))
                assert bare["name"] == "bare"
                assert "was" not in bare
            await assert_all_closed(one, two)


async def test_destinations_that_name_their_app() -> None:
    heard = trio.Event()

    async def ask(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        dest = ten.Loc(cmd["app"], cmd["graph"], cmd["extension"])
        result = await env.send_cmd(ten.Cmd("x", dest=dest))
        got = result.get("by", result.get("detail", ""))
        await env.return_result(cmd.ok(got=got))

    async def back(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.send_data(ten.Data("to you", dest=cmd.get_source()))
        await env.return_result(cmd.ok(by=env.name))

    async def hear(env: ten.TenEnv, data: ten.Data) -> None:
        heard.set()

    addons = {"ask": acting(on_cmd=ask, on_data=hear), "back": acting(on_cmd=back)}
    async with opened_apps(2, addons) as (one, two):
        spread = Spread()
        spread.node("near", one, "ask")
        spread.node("far", two, "back")
        spread.connect("near", "far", name="unused")
        spread.expose("cmd_in", "go", "near")
        alone = ten.Graph()
        alone.node("far", "back")
        async with one.open_graph(spread.graph) as engine, two.open_graph(alone) as other:

            async def asked(app: str, graph: str, extension: str) -> str:
                place = {"app": app, "graph": graph, "extension": extension}
                return str((await engine.send_cmd(ten.Cmd("go", place)))["got"])

            assert await asked(two.uri, "", "far") == "far"
            await heard.wait()
            assert await asked(two.uri, engine.graph_id, "far") == "far"
            assert await asked(two.uri, other.graph_id, "far") == "far"
            assert await asked(two.uri, "none", "far") == "Graph not found."
            assert await asked(two.uri, "", "none") == "Failed to find destination."
            nowhere = "msgpack://127.0.0.1:1"
            missing = f"Could not find suitable remote based on uri: {nowhere}"
            assert await asked(nowhere, "", "far") == missing


@pytest.mark.parametrize("starter", [0, 1, 2])
@pytest.mark.parametrize("way", ["host", "client", "own loop"])
async def test_what_other_apps_expose(starter: int, way: str) -> None:
    async def both(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.send_data(ten.Data("told", {"by": env.name}))
        result = await env.send_cmd(ten.Cmd("asked"))
        await env.return_result(cmd.ok(by=env.name, heard=result["heard"]))

    async with opened_apps(3, {**ADDONS, "both": acting(on_cmd=both)}) as apps:
        spread = Spread()
        for index, app in enumerate(apps):
            spread.node(f"n{index}", app, "both")
        spread.connect("n0", "n1", name="x")
        spread.connect("n1", "n2", name="x")
        for index in range(3):
            spread.expose("cmd_in", f"go{index}", f"n{index}")
            spread.expose("data_out", "told", f"n{index}")
            spread.expose("cmd_out", "asked", f"n{index}")
        async with started(way, apps[starter], spread.graph) as engine, engine.messages() as got:
            for index in range(3):
                call = engine.start_cmd(ten.Cmd(f"go{index}"))
                told = await got.receive()
                assert (told.name, told["by"]) == ("told", f"n{index}")
                asked = await got.receive()
                await engine.return_result(asked.ok(heard=index))
                result = await call.result()
                assert result.ok, result.detail
                assert (result["by"], result["heard"]) == (f"n{index}", index)


@pytest.mark.parametrize("own_loop", [False, True])
@pytest.mark.parametrize("near", [0, 1])
async def test_order_of_everything_between_two_apps(near: int, own_loop: bool) -> None:
    got: list[int] = []
    done = trio.Event()
    total = 2_000

    class Tell(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            env.nursery.start_soon(self.talk, env)

        async def talk(self, env: ten.TenEnv) -> None:
            for n in range(total):
                kind = n % 4
                if kind == 0:
                    env.post_cmd(ten.Cmd("m", {"n": n}))
                elif kind == 1:
                    await env.send_data(ten.Data("m", {"n": n}, buf=b"x" * (n % 5_000)))
                elif kind == 2:
                    await env.send_audio_frame(ten.AudioFrame("m", {"n": n}))
                else:
                    await env.send_video_frame(ten.VideoFrame("m", {"n": n}))

    async def hear(env: ten.TenEnv, msg: Any) -> None:
        got.append(msg["n"])
        if msg.kind == "cmd":
            await env.return_result(msg.ok())
        if len(got) == total:
            done.set()

    hearing = acting(on_cmd=hear, on_data=hear, on_audio_frame=hear, on_video_frame=hear)
    async with opened_apps(2, {"tell": Tell, "hear": hearing}, own_loop=False) as apps:
        spread = Spread()
        spread.node("a", apps[near], "tell")
        spread.node("b", apps[1 - near], "hear")
        kinds = ("cmd", "data", "audio_frame", "video_frame")
        spread.connect("a", "b", kinds=kinds, name="m")
        async with apps[near].open_graph(spread.graph, own_loop=own_loop):
            await done.wait()
    assert got == list(range(total))


@pytest.mark.parametrize("repeat", range(10))
async def test_the_far_app_speaks_from_its_on_start(repeat: int) -> None:
    heard: list[str] = []
    all_heard = trio.Event()

    async def speak(env: ten.TenEnv) -> None:
        await env.send_data(ten.Data("early"))
        result = await env.send_cmd(ten.Cmd("early"))
        assert result.ok, result.detail
        await env.send_data(ten.Data("late"))

    async def hear(env: ten.TenEnv, msg: Any) -> None:
        heard.append(f"{msg.kind} {msg.name}")
        if msg.kind == "cmd":
            await env.return_result(msg.ok())
        if len(heard) == 3:
            all_heard.set()

    async def slow_create() -> ten.Extension:
        await trio.lowlevel.checkpoint()
        for _ in range(repeat * 5):
            await trio.lowlevel.checkpoint()
        return acting(on_cmd=hear, on_data=hear)()

    addons = {"hear": slow_create, "speak": acting(on_start=speak)}
    async with opened_apps(2, addons) as apps:
        spread = Spread()
        spread.node("near", apps[repeat % 2], "hear")
        spread.node("far", apps[1 - repeat % 2], "speak")
        spread.connect("far", "near", kinds=("cmd", "data"), name="early")
        spread.connect("far", "near", kinds=("data",), name="late")
        async with apps[repeat % 2].open_graph(spread.graph):
            await all_heard.wait()
    assert heard == ["data early", "cmd early", "data late"]


# Duplicates -----------------------------------------------------------------------------------------


def claims(uri: str, graph_id: str) -> ten.Loc:
    return ten.Loc(uri, graph_id, None)


async def start_of(
    peer: Scripted, uri: str, near: App, graph: ten.Graph, graph_id: str, **properties: Any
) -> None:
    """Say what an app says that lets its graph be started in another one."""
    cmd = StartGraph(properties, graph=graph, dest=ten.Loc(near.uri, graph_id, None))
    await peer.send(cmd, f"start {uri}", claims(uri, graph_id))


@pytest.mark.parametrize("extended", [False, True])
@pytest.mark.parametrize("larger", [False, True])
async def test_both_sides_connect_at_once(larger: bool, extended: bool) -> None:
    """The connection stays that the app with the larger URI has opened."""
    async with (
        scripted_app("localhost" if larger else "127.0.0.1") as far,
        opened_apps(1, ADDONS, uris=["msgpack://localhost:0" if not larger else "msgpack://127.0.0.1:0"]) as (near,),
    ):  # fmt: skip
        assert (far.uri > near.uri) is larger
        spread = pair(near, far.uri)
        ours = {OURS: {"version": 1}} if extended else {}

        async with trio.open_nursery() as nursery:
            outcome: list[object] = []

            async def play() -> None:
                theirs = await far.accept()
                said = await theirs.receive()  # ours waits for an answer
                graph_id = said.msg._dests[0].graph_id or ""
                here = claims(far.uri, graph_id)
                mine = await Scripted.connect(near.uri)
                await start_of(mine, far.uri, near, spread.graph, graph_id, **ours)
                told = (await mine.receive()).msg
                assert told.status is OK
                if larger:
                    assert told["graph_id"] == graph_id
                    assert (OURS in told._props) is extended
                    dup = ten.CmdResult(OK, {"graph_id": DUPLICATE})
                    await theirs.answer(said, dup, here)
                    used, closed = mine, theirs
                else:
                    assert told["graph_id"] == DUPLICATE
                    await mine.stream.aclose()
                    await theirs.answer(said, ten.CmdResult(OK, {"graph_id": graph_id}), here)
                    used, closed = theirs, None
                if closed is not None:
                    await closed.drain()  # the graph closes what isn't used
                cmd = await used.receive_cmd("hello")
                assert cmd.msg._dests == (ten.Loc(far.uri, graph_id, "far"),)
                await used.answer(cmd, ten.CmdResult(OK, {"by": "script"}), here)
                await used.drain()
                outcome.append("played")

            nursery.start_soon(play)
            async with near.open_graph(spread.graph) as engine:
                assert (await engine.send_cmd(ten.Cmd("hello")))["by"] == "script"
            assert not engine.report.failures
        assert outcome == ["played"]


async def test_a_duplicate_that_arrives_before_the_connection_it_stands_for() -> None:
    async with (
        scripted_app("localhost") as far,
        opened_apps(1, ADDONS) as (near,),
        trio.open_nursery() as nursery,
    ):

        async def play() -> None:
            theirs = await far.accept()
            said = await theirs.receive()
            graph_id = said.msg._dests[0].graph_id or ""
            here = claims(far.uri, graph_id)
            await theirs.answer(said, ten.CmdResult(OK, {"graph_id": DUPLICATE}), here)
            await theirs.drain()
            assert not engines_created(near)  # it waits for the other one
            mine = await Scripted.connect(near.uri)
            await start_of(mine, far.uri, near, spread.graph, graph_id)
            await mine.receive()
            cmd = await mine.receive_cmd("hello")
            await mine.answer(cmd, ten.CmdResult(OK), here)
            await mine.drain()

        spread = pair(near, far.uri)
        nursery.start_soon(play)
        async with near.open_graph(spread.graph) as engine:
            assert (await engine.send_cmd(ten.Cmd("hello"))).ok


def engines_created(app: App) -> bool:
    return any(core.created.is_set() for core in app.engines.values())


async def test_a_duplicate_of_nothing() -> None:
    network = attrs.evolve(QUICK, connect_timeout=0.1)
    async with (
        scripted_app("localhost") as far,
        opened_apps(1, ADDONS, network=network) as (near,),
        trio.open_nursery() as nursery,
    ):

        async def play() -> None:
            theirs = await far.accept()
            said = await theirs.receive()
            dup = ten.CmdResult(OK, {"graph_id": DUPLICATE})
            await theirs.answer(said, dup, claims(far.uri, "g"))
            await theirs.drain()

        nursery.start_soon(play)
        with pytest.RaisesGroup(pytest.RaisesExc(ten.ConnectFailed, match="wants to do that")):
            async with near.open_graph(pair(near, far.uri).graph):
                raise AssertionError("entered")


async def test_closing_a_duplicate_closes_nothing_else() -> None:
    async with opened_apps(1, ADDONS, uris=["msgpack://localhost:0"]) as (near,):
        async with scripted_app() as far, trio.open_nursery() as nursery:

            async def play() -> None:
                theirs, graph_id = await far.joins()
                for _ in range(3):
                    second = await Scripted.connect(near.uri)
                    await start_of(second, far.uri, near, spread.graph, graph_id)
                    assert (await second.receive()).msg["graph_id"] == DUPLICATE
                    second.cut()
                cmd = await theirs.receive_cmd("hello")
                await theirs.answer(cmd, ten.CmdResult(OK), claims(far.uri, graph_id))
                await theirs.drain()

            spread = pair(near, far.uri)
            nursery.start_soon(play)
            async with near.open_graph(spread.graph) as engine:
                assert (await engine.send_cmd(ten.Cmd("hello"))).ok


@pytest.mark.parametrize("from_app", [False, True])
async def test_a_second_start_graph(from_app: bool) -> None:
    async with opened_apps(1, ADDONS) as (app,):
        graph = alone()
        graph.expose("cmd_in", "hello", "a")
        peer = await Scripted.connect(app.uri)
        src = claims("msgpack://zz:1", "g") if from_app else ten.Loc()
        for number in (1, 2):
            cmd = StartGraph(graph_json=graph.to_json(), dest=ten.Loc(""), seq_id=str(number))
            await peer.send(cmd, f"id {number}" if from_app else "", src)
            result = (await peer.receive()).msg
            assert result.seq_id == str(number)
            assert (result.status is OK) == (number == 1)
        assert result.detail == BUILT
        await peer.send(ten.Cmd("hello"), "id 3" if from_app else "", src)
        assert (await peer.receive()).msg["by"] == "a"
        peer.cut()
        if from_app:  # not one that the graph runs in, but the one that has started it
            await until(lambda: not app.engines)


async def test_an_id_of_a_running_graph_cannot_be_taken() -> None:
    async with alone_with_a_peer() as (app, engine, peer):
        dest = ten.Loc("", engine.graph_id, None)
        await peer.send(StartGraph(graph_json=alone().to_json(), dest=dest))
        assert (await peer.receive()).msg.detail == BUILT
        assert [*app.engines] == [engine.graph_id]
        peer.cut()


async def test_an_app_that_is_this_one_by_another_name() -> None:
    async with opened_apps(1, ADDONS) as (app,):
        alias = app.uri.replace("127.0.0.1", "localhost")
        with pytest.RaisesGroup(pytest.RaisesExc(ten.ConnectFailed, match=BUILT)):
            async with app.open_graph(pair(app, alias).graph):
                raise AssertionError("entered")
        assert not app.engines


async def test_a_peer_that_claims_our_own_uri() -> None:
    async with alone_with_a_peer() as (app, engine, peer):
        cmd = ten.Cmd("x", dest=ten.Loc("", engine.graph_id, "a"))
        await peer.send(cmd, "1", ten.Loc(app.uri, engine.graph_id, "a"))
        assert (await peer.receive()).msg["by"] == "a"
        peer.cut()
        await until(lambda: not app.network.connections)
        assert not engine.is_closing


# Starts that fail -----------------------------------------------------------------------------------


async def unreachable() -> str:
    return f"msgpack://127.0.0.1:{await free_port()}"


@pytest.mark.parametrize("own_loop", [False, True])
async def test_an_app_that_cannot_be_reached(own_loop: bool) -> None:
    uri = await unreachable()
    network = attrs.evolve(QUICK, connect_retries=2)
    async with opened_apps(1, ADDONS, network=network) as (app,):
        graph = pair(app, uri).graph
        with pytest.RaisesGroup(
            pytest.RaisesExc(ten.ConnectFailed, match=f"Failed to connect to {uri}")
        ) as caught:
            async with app.open_graph(graph, own_loop=own_loop):
                raise AssertionError("entered")
        assert "after 3 attempts" in caught.value.exceptions[0].__notes__[0]
        async with ten.connect(app.uri, network=QUICK) as client:
            with pytest.raises(ten.CmdFailed, match=f"Failed to connect to {uri}"):
                await client.start_graph(graph)
        await assert_all_closed(app)


async def test_an_app_that_comes_while_it_is_retried() -> None:
    port = await free_port()
    uri = f"msgpack://127.0.0.1:{port}"
    network = attrs.evolve(QUICK, connect_retries=1_000)
    async with opened_apps(1, ADDONS, network=network) as (app,), trio.open_nursery() as nursery:

        async def come() -> None:
            await until(lambda: app.engines)
            async with ten.open_app(uri=uri, network=QUICK) as late:
                late.addons.register("answer", ADDONS["answer"])
                await done.wait()

        done = trio.Event()
        nursery.start_soon(come)
        async with app.open_graph(pair(app, uri).graph) as engine:
            assert (await engine.send_cmd(ten.Cmd("hello"))).ok
        done.set()


@pytest.mark.parametrize("way", ["host", "client", "own loop"])
async def test_an_addon_that_is_missing_there(way: str) -> None:
    async with opened_apps(3, ADDONS) as apps:
        spread = Spread()
        spread.node("a", apps[0], "relay")
        spread.node("b", apps[1], "relay")
        spread.node("c", apps[2], "missing")
        spread.connect("a", "b", name="hello")
        spread.connect("b", "c", name="hello")
        told = 'unknown addon "missing"'
        if way == "client":
            async with ten.connect(apps[0].uri, network=QUICK) as client:
                with pytest.raises(ten.CmdFailed, match=told):
                    await client.start_graph(spread.graph)
        else:
            with pytest.RaisesGroup(pytest.RaisesExc(ten.ConnectFailed, match=told)):
                async with apps[0].open_graph(spread.graph, own_loop=way == "own loop"):
                    raise AssertionError("entered")
        await assert_all_closed(*apps)


@pytest.mark.parametrize("ring", [False, True])
async def test_whoever_fails_all_of_it_ends(ring: bool) -> None:
    """A host hears of it, whichever way the news takes: every app of three may be the one that fails."""
    for failing in range(3):
        async with opened_apps(3, ADDONS) as apps:
            spread = Spread()
            for index, app in enumerate(apps):
                spread.node(f"n{index}", app, "missing" if index == failing else "relay")
            spread.connect("n0", "n1", name="x")
            spread.connect("n1", "n2", name="x")
            if ring:
                spread.connect("n2", "n0", name="x")
            for app in apps:
                with pytest.RaisesGroup(ten.TenError, allow_unwrapped=False):
                    async with app.open_graph(spread.graph):
                        raise AssertionError("entered")
                await assert_all_closed(*apps)


async def test_an_addon_that_is_no_name() -> None:
    async with opened_apps(2, ADDONS) as (one, two):
        graph = ten.Graph()
        graph.node("a", ten.Extension, app=one.uri)
        graph.node("b", "answer", app=two.uri)
        graph.connect("a", "b", cmd="x")
        with pytest.RaisesGroup(pytest.RaisesExc(ten.GraphError, match="Python object")):
            async with one.open_graph(graph):
                raise AssertionError("entered")
        assert not two.engines


@pytest.mark.parametrize("refusal", ["error", "closes", "garbage", "cut"])
async def test_an_app_that_refuses(refusal: str) -> None:
    async with (
        scripted_app() as far,
        opened_apps(1, ADDONS) as (near,),
        trio.open_nursery() as nursery,
    ):

        async def play() -> None:
            peer = await far.accept()
            said = await peer.receive()
            if refusal == "error":
                no = ten.CmdResult(ERROR, {"detail": "I don't want to"})
                await peer.answer(said, no, claims(far.uri, "g"))
                await peer.drain()
            elif refusal == "closes":
                await peer.stream.aclose()
            elif refusal == "cut":
                peer.cut()
            else:
                await peer.stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                await peer.drain()

        nursery.start_soon(play)
        match = "I don't want to" if refusal == "error" else "Failed to connect"
        with pytest.RaisesGroup(pytest.RaisesExc(ten.ConnectFailed, match=match)):
            async with near.open_graph(pair(near, far.uri).graph):
                raise AssertionError("entered")


@pytest.mark.parametrize("end", ["path timeout", "start_timeout", "closed", "cancelled"])
async def test_an_app_that_never_answers(end: str) -> None:
    bound = {"path_timeout": 0.1} if end == "path timeout" else {}
    async with (
        scripted_app() as far,
        opened_apps(1, ADDONS, **bound) as (near,),
        trio.open_nursery() as nursery,
    ):
        told: list[ten.Msg] = []
        asked = trio.Event()

        async def play() -> None:
            peer = await far.accept()
            try:
                while True:
                    told.append((await peer.receive()).msg)
                    asked.set()
            except trio.EndOfChannel:
                pass

        nursery.start_soon(play)
        graph = pair(near, far.uri).graph
        if end == "closed":
            nursery.start_soon(call_after, asked, near.request_close)
            async with ten.connect(near.uri, network=QUICK) as client:
                with pytest.raises(ten.TenError):
                    await client.start_graph(graph)
        elif end == "cancelled":
            with trio.CancelScope() as scope:
                nursery.start_soon(call_after, asked, scope.cancel)
                async with near.open_graph(graph):
                    raise AssertionError("entered")
        elif end == "start_timeout":
            with pytest.raises(ten.StartTimeout):
                async with near.open_graph(graph, start_timeout=0.1):
                    raise AssertionError("entered")
        else:
            with pytest.RaisesGroup(pytest.RaisesExc(ten.ConnectFailed, match="Path timeout")):
                async with near.open_graph(graph):
                    raise AssertionError("entered")
        await until(lambda: not near.engines)
        # It may have begun in the meantime: the other app is told.
        await until(lambda: len(told) > 1 or end == "path timeout")
        assert isinstance(told[0], StartGraph)
        assert all(isinstance(msg, StopGraph) for msg in told[1:])


async def call_after(event: trio.Event, action: Any) -> None:
    await event.wait()
    action()


async def test_a_long_running_graph_does_not_stay_where_nobody_needs_it() -> None:
    """Closed while it was still being started, also in an app that has it running by then."""

    async def stuck() -> ten.Extension:
        creating.set()
        await trio.sleep_forever()
        raise AssertionError

    creating = trio.Event()
    async with opened_apps(3, {**ADDONS, "stuck": stuck}) as apps:
        spread = Spread()
        spread.node("a", apps[0], "relay")
        spread.node("b", apps[1], "answer")
        spread.node("c", apps[2], "stuck")
        spread.connect("a", "b", "c", name="hello")
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(call_after, creating, scope.cancel)
                async with apps[0].open_graph(spread.graph, long_running=True):
                    raise AssertionError("entered")
        await assert_all_closed(*apps)


@pytest.mark.parametrize("way", ["host", "client"])
async def test_sync_stop_works_in_one_app_only(way: str) -> None:
    async with opened_apps(2, ADDONS) as (one, two):
        graph = pair(one, two).graph
        if way == "host":
            with pytest.raises(ten.GraphError, match="one app only"):
                await one.start_graph(graph, sync_stop_before_deinit=True)
        else:
            async with ten.connect(one.uri, network=QUICK) as client:
                with pytest.raises(ten.CmdFailed, match="one app only"):
                    await client.start_graph(graph, sync_stop_before_deinit=True)
        assert not one.engines
        assert not two.engines


# Control --------------------------------------------------------------------------------------------


async def test_what_only_extensions_may_ask_of_an_engine() -> None:
    """A timer from outside must not be taken for something else."""
    async with alone_with_a_peer() as (app, engine, peer):
        dest = ten.Loc("", engine.graph_id, None)
        await peer.send(Timer(timer_id=1, timeout_us=1, dest=dest))
        assert (await peer.receive()).msg.status is ERROR
        await peer.send(ten.Cmd("x", dest=ten.Loc("", engine.graph_id, "a")))
        assert (await peer.receive()).msg.status is OK
        assert not engine.is_closing
        assert not app.close_reason
        peer.cut()


async def test_stopping_it_in_one_app_stops_it_in_all() -> None:
    for stopping in range(3):
        async with opened_apps(3, ADDONS) as apps:
            spread, _ = shaped("chain", apps)
            async with apps[0].open_graph(spread.graph, long_running=True) as engine:
                await apps[stopping].stop_graph(engine.graph_id)
                report = await engine.wait_closed()
                assert not report.failures
                assert "stop_graph" in report.reason
            await assert_all_closed(*apps)


async def test_closing_one_app_closes_the_graph_everywhere() -> None:
    async with opened_apps(3, ADDONS) as apps:
        spread, _ = shaped("chain", apps)
        async with apps[0].open_graph(spread.graph) as engine:
            apps[2].request_close("enough")
            assert "enough" in (await engine.wait_closed()).reason
        await assert_all_closed(*apps)


async def test_close_app_from_another_app() -> None:
    async def close(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        result = await env.send_cmd(CloseApp(dest=ten.Loc(cmd["app"])))
        await env.return_result(cmd.ok(got=result.status.name))

    async with opened_apps(2, {**ADDONS, "close": acting(on_cmd=close)}) as (one, two):
        spread = Spread()
        spread.node("a", one, "close")
        spread.node("b", two, "answer")
        spread.connect("a", "b", name="x")
        spread.expose("cmd_in", "go", "a")
        async with one.open_graph(spread.graph) as engine:
            await engine.send_cmd(ten.Cmd("go", {"app": two.uri}))
            await until(lambda: two.close_reason)
            await engine.wait_closed()
        assert not one.close_reason


# Loss -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("long_running", [False, True])
@pytest.mark.parametrize("how", ["closes", "is cut"])
async def test_a_peer_is_lost_with_commands_in_flight(how: str, long_running: bool) -> None:
    abandoned = trio.Event()

    async def wait(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await cmd.abandoned.wait()
        abandoned.set()

    addons = {**ADDONS, "wait": acting(on_cmd=wait)}
    async with (
        scripted_app() as far,
        opened_apps(1, addons) as (near,),
        trio.open_nursery() as nursery,
    ):
        lose = trio.Event()

        async def play() -> None:
            peer, graph_id = await far.joins()
            asked = ten.Cmd("x", dest=ten.Loc(near.uri, graph_id, "waits"))
            await peer.send(asked, "theirs", claims(far.uri, graph_id))
            for _ in range(3):
                await peer.receive_cmd("hello")
            big = ten.VideoFrame("v", buf=b"x" * 1_000_000, dest=ten.Loc("", graph_id, "waits"))
            data = b"".join(MsgpackCodec().encode([WireMsg(big)]))
            await peer.stream.send_all(data[: len(data) // 2])  # in the middle of a large frame
            await lose.wait()
            if how == "closes":
                await peer.stream.aclose()
            else:
                peer.cut()

        spread = pair(near, far.uri)
        spread.node("waits", near, "wait")
        nursery.start_soon(play)
        async with near.open_graph(spread.graph, long_running=long_running) as engine:
            calls = [engine.start_cmd(ten.Cmd("hello")) for _ in range(3)]
            await until(
                lambda: any(core.instances["waits"].workers for core in near.engines.values())
            )
            lose.set()
            for call in calls:
                result = await call.result()
                assert result.status is ERROR
                assert far.uri in result.detail
            await abandoned.wait()
            if long_running:
                result = await engine.send_cmd(ten.Cmd("hello"))
                missing = f"Could not find suitable remote based on uri: {far.uri}"
                assert result.detail in (missing, f"connection to {far.uri} lost")
                assert not engine.is_closing
            else:
                report = await engine.wait_closed()
                assert far.uri in report.reason


async def test_a_stream_of_results_that_is_cut() -> None:
    async with (
        scripted_app() as far,
        opened_apps(1, ADDONS) as (near,),
        trio.open_nursery() as nursery,
    ):

        async def play() -> None:
            peer, graph_id = await far.joins()
            wire = await peer.receive_cmd("hello")
            for number in range(3):
                part = ten.CmdResult(OK, {"n": number})
                part.is_final = False
                await peer.answer(wire, part, claims(far.uri, graph_id))
            await peer.stream.aclose()

        nursery.start_soon(play)
        async with near.open_graph(pair(near, far.uri).graph) as engine:
            async with engine.send_cmd_ex(ten.Cmd("hello")) as results:
                got = [(r.status, r.get("n", None)) async for r in results]
            assert got == [(OK, 0), (OK, 1), (OK, 2), (ERROR, None)]


async def test_the_third_app_hears_of_the_loss_of_the_second() -> None:
    async with opened_apps(2, ADDONS) as (one, two):
        async with scripted_app() as far, trio.open_nursery() as nursery:
            lose = trio.Event()

            async def play() -> None:
                peer, _ = await far.joins()
                await lose.wait()
                peer.cut()

            spread = Spread()
            spread.node("a", one, "relay")
            spread.node("b", two, "answer")
            spread.node("c", far.uri, "x")
            spread.connect("a", "b", "c", name="hello")
            nursery.start_soon(play)
            async with one.open_graph(spread.graph) as engine:
                lose.set()
                assert far.uri in (await engine.wait_closed()).reason
            await until(lambda: two.reports)
            assert far.uri in two.reports[0].reason


@pytest.mark.parametrize("larger", [False, True])
async def test_a_long_running_graph_gets_a_lost_peer_back(larger: bool) -> None:
    near_uri = "msgpack://127.0.0.1:0" if larger else "msgpack://localhost:0"
    async with (
        scripted_app("localhost" if larger else "127.0.0.1") as far,
        opened_apps(1, ADDONS, uris=[near_uri]) as (near,),
        trio.open_nursery() as nursery,
    ):
        seen: Counter[int] = Counter()

        async def play() -> None:
            for attempt in range(3):
                peer, graph_id = await far.joins(**{OURS: {"version": 1}})
                wire = await peer.receive_cmd("hello")
                seen[wire.msg["n"]] += 1
                if attempt == 2:
                    await peer.answer(wire, ten.CmdResult(OK), claims(far.uri, graph_id))
                    await peer.drain()
                else:
                    peer.cut()

        nursery.start_soon(play)
        async with near.open_graph(pair(near, far.uri).graph, long_running=True) as engine:
            number = 0
            while not (await engine.send_cmd(ten.Cmd("hello", {"n": number}))).ok:
                number += 1
                await trio.sleep(0.002)
        assert set(seen.values()) == {1}  # at most once
        assert len(seen) == 3


async def test_the_old_connection_is_given_up_when_its_app_comes_again() -> None:
    """It has noticed a loss that this side hasn't."""
    far_uri = "msgpack://127.0.0.1:1"
    async with opened_apps(1, ADDONS, uris=["msgpack://localhost:0"]) as (near,):
        old = await Scripted.connect(near.uri)
        spread = pair(near, far_uri)
        graph_id = "0-0-0-0"
        start = StartGraph(
            {OURS: {"version": 1}}, graph=spread.graph, long_running_mode=True,
            dest=ten.Loc(near.uri, graph_id, None),
        )  # fmt: skip
        async with trio.open_nursery() as nursery:
            await old.send(start, "1", claims(far_uri, graph_id))
            assert (await old.receive()).msg.status is OK
            async with ten.connect(near.uri, graph=graph_id, network=QUICK) as client:
                results: list[ten.CmdResult] = []

                async def ask() -> None:
                    dest = ten.Loc("", graph_id, "near")
                    results.append(await client.send_cmd(ten.Cmd("hello", dest=dest)))

                nursery.start_soon(ask)
                await old.receive_cmd("hello")
                new = await Scripted.connect(near.uri)
                ours = {OURS: {"version": 1, "again": True}}
                await start_of(new, far_uri, near, spread.graph, graph_id, **ours)
                assert (await new.receive()).msg["graph_id"] == graph_id
                await until(lambda: results)
                assert results[0].status is ERROR
                await old.drain()
                nursery.start_soon(ask)
                wire = await new.receive_cmd("hello")
                await new.answer(wire, ten.CmdResult(OK), claims(far_uri, graph_id))
                await until(lambda: len(results) == 2)
                assert results[1].ok
                await client.stop_graph()
        await until(lambda: not near.engines)


# Abandoning -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("own_loop", [False, True])
async def test_whoever_waits_no_more_is_heard_of_in_the_other_app(own_loop: bool) -> None:
    asked, gone = trio.Event(), trio.Event()

    async def wait(env: ten.TenEnv, cmd: ten.Cmd) -> None:
        asked.set()
        await cmd.abandoned.wait()
        gone.set()
        assert not await env.return_result(cmd.ok())

    async with opened_apps(3, {**ADDONS, "wait": acting(on_cmd=wait)}) as apps:
        spread = Spread()
        spread.node("a", apps[0], "relay")
        spread.node("b", apps[1], "relay")
        spread.node("c", apps[2], "wait")
        spread.connect("a", "b", name="hello")
        spread.connect("b", "c", name="hello")
        spread.expose("cmd_in", "hello", "a")
        async with apps[0].open_graph(spread.graph, own_loop=own_loop) as engine:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(call_after, asked, scope.cancel)
                    await engine.send_cmd(ten.Cmd("hello"))
            await gone.wait()


async def test_the_original_is_not_told_of_what_it_does_not_know() -> None:
    async with (
        scripted_app() as far,
        opened_apps(1, ADDONS) as (near,),
        trio.open_nursery() as nursery,
    ):
        names: list[str] = []

        async def play() -> None:
            peer, _ = await far.joins()
            asked.set()
            try:
                while True:
                    names.append((await peer.receive()).msg.name)
            except trio.EndOfChannel:
                pass

        asked = trio.Event()
        nursery.start_soon(play)
        async with near.open_graph(pair(near, far.uri).graph) as engine:
            call = engine.start_cmd(ten.Cmd("hello"))
            await until(lambda: "hello" in names)
            call.cancel()
        assert ABANDON not in names
        assert "ten:stop_graph" not in names


# What makes the original hang or abort ----------------------------------------------------------------


async def test_one_stray_byte_costs_one_connection() -> None:
    async with opened_apps(2, ADDONS) as (one, two):
        async with one.open_graph(pair(one, two).graph, long_running=True) as engine:
            peer = await Scripted.connect(two.uri)
            await peer.stream.send_all(b"\xc1")
            await peer.drain()
            assert (await engine.send_cmd(ten.Cmd("hello"))).ok


async def test_a_first_message_in_two_segments() -> None:
    async with opened_apps(1, ADDONS) as (app,):
        cmd = StartGraph(graph_json=alone().to_json(), dest=ten.Loc(""))
        data = b"".join(MsgpackCodec().encode([WireMsg(cmd)]))
        for at in range(1, len(data), 7):
            peer = await Scripted.connect(app.uri)
            await peer.stream.send_all(data[:at])
            await trio.testing.wait_all_tasks_blocked()
            await peer.stream.send_all(data[at:])
            assert (await peer.receive()).msg.status is OK
            peer.cut()
        await assert_all_closed(app)


async def test_data_without_a_buffer_and_a_null_property() -> None:
    got: list[Any] = []

    async def hear(env: ten.TenEnv, data: ten.Data) -> None:
        got.append((data.get("x", "absent"), bytes(data._buf)))

    async with opened_apps(2, {**ADDONS, "hear": acting(on_data=hear)}) as (one, two):
        spread = Spread()
        spread.node("a", one, "forward")
        spread.node("b", two, "hear")
        spread.connect("a", "b", kinds=("data",), name="d")
        spread.expose("data_in", "d", "a")
        async with one.open_graph(spread.graph) as engine:
            await engine.send_data(ten.Data("d", {"x": None}))
            await until(lambda: got)
    assert got == [(None, b"")]
