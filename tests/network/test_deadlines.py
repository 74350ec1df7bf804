"""Deadlines across apps: what is left of the time crosses with the command, and only towards one of us."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
import trio

import ten_trio as ten
from ten_trio import Cmd, InvalidType
from ten_trio.network.codec import WireMsg
from ten_trio.network.codecs.json import JsonCodec
from ten_trio.network.codecs.layout import seconds
from ten_trio.network.codecs.msgpack import MsgpackCodec
from ten_trio.network.remotes import OURS
from tests.network.apps import LOOPBACK, Spread, opened_apps, scripted_app
from tests.runtime.acting import acting

pytestmark = pytest.mark.trio

LONG = 8.0
"""Sooner than the bound of every test here, which is a deadline as well."""


async def pass_on(env: ten.TenEnv, cmd: Cmd) -> None:
    """Ask the other one, and say how much time there was here, too."""
    here = cmd.time_left
    result = await env.send_cmd(Cmd(cmd.name))
    if not result.ok:
        await env.return_result(cmd.error(result.detail))
        return
    await env.return_result(cmd.ok(result.properties, near=here if here < inf else -1.0))


async def tell_time(env: ten.TenEnv, cmd: Cmd) -> None:
    left = cmd.time_left
    await env.return_result(cmd.ok(far=left if left < inf else -1.0))


class Far:
    """An extension that takes for ever over `hang`, until nobody waits any more."""

    def __init__(self) -> None:
        self.left: list[float] = []
        self.ended = trio.Event()

    async def on_cmd(self, env: ten.TenEnv, cmd: Cmd) -> None:
        if cmd.name != "hang":
            await tell_time(env, cmd)
            return
        await cmd.abandoned.wait()
        self.left.append(cmd.time_left)
        self.ended.set()


def spread(near: Any, far: Any) -> Spread:
    graph = Spread()
    graph.node("near", near)
    graph.node("far", far)
    for name in ("ask", "hang"):
        graph.connect("near", "far", name=name)
        graph.expose("cmd_in", name, "near")
    return graph


@pytest.mark.parametrize("own_loop", [False, True], ids=["one loop", "own loops"])
@pytest.mark.parametrize("uri", [LOOPBACK, "ws://127.0.0.1:0"])
async def test_from_a_client_over_two_apps(uri: str, own_loop: bool) -> None:
    addons = {"near": acting(on_cmd=pass_on), "far": acting(on_cmd=tell_time)}
    async with opened_apps(2, addons, uris=[uri, uri], own_loop=own_loop) as (near, far):
        async with ten.connect(near.uri) as client:
            await client.start_graph(spread(near, far).graph)
            with trio.fail_after(LONG):
                result = await client.send_cmd(Cmd("ask"))
                assert LONG / 2 < result["far"] <= result["near"] <= LONG
            # A promise has none of its own: nobody knows who will wait for it, and how long.
            result = await client.start_cmd(Cmd("ask")).result()
            assert (result["near"], result["far"]) == (-1, -1)


async def test_when_it_has_passed_the_other_app_hears_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    remote = Far()
    addons = {"near": acting(on_cmd=pass_on), "far": acting(on_cmd=remote.on_cmd)}
    async with opened_apps(2, addons) as (near, far):
        async with near.open_graph(spread(near, far).graph) as engine:
            with pytest.raises(trio.TooSlowError), trio.fail_after(0.2):
                await engine.send_cmd(Cmd("hang"))
            await remote.ended.wait()
            # The connection is as good as before.
            assert (await engine.send_cmd(Cmd("ask"))).ok
    assert remote.left[0] < 0.2
    told = [r.getMessage() for r in caplog.records if "has passed" in r.getMessage()]
    assert "command 'hang' from the host has passed" in told[0]
    assert f"waits for the result of 'hang' from {far.uri}" in told[0]


async def test_the_other_app_keeps_time_by_itself() -> None:
    remote = Far()
    async with opened_apps(1, {"far": acting(on_cmd=remote.on_cmd)}) as (app,):
        graph = ten.Graph()
        graph.node("far", "far")
        graph.expose("cmd_in", "hang", "far")
        async with ten.connect(app.uri) as client:
            await client.start_graph(graph)
            # As from a peer that says how long it waits, and then nothing any more.
            cmd = Cmd("hang", dest=ten.Loc("", client.graph_id, None))
            cmd._left = 0.05
            cmd.seq_id = "1"
            client._core.connection.send(WireMsg(cmd, ""))
            await remote.ended.wait()
    assert remote.left == [0]


@pytest.mark.parametrize("ours", [False, True])
async def test_only_towards_one_of_us(ours: bool) -> None:
    async with (
        scripted_app() as far,
        opened_apps(1, {"near": acting(on_cmd=pass_on)}) as (near,),
        trio.open_nursery() as nursery,
    ):
        left: list[float | None] = []

        async def play() -> None:
            theirs, graph_id = await far.joins(**({OURS: {"version": 1}} if ours else {}))
            wire = await theirs.receive_cmd("ask")
            assert isinstance(wire.msg, Cmd)
            left.append(wire.msg._left)
            assert "time_left" not in wire.msg
            there = ten.Loc(far.uri, graph_id, "far")
            await theirs.answer(wire, ten.CmdResult(ten.StatusCode.OK, {"far": 1.0}), there)
            await theirs.drain()

        nursery.start_soon(play)
        async with near.open_graph(spread(near, far.uri).graph) as engine:
            with trio.fail_after(LONG):
                assert (await engine.send_cmd(Cmd("ask"))).ok
    (found,) = left
    if ours:
        assert found is not None
        assert LONG / 2 < found <= LONG
    else:
        assert found is None


# On the wire -------------------------------------------------------------------------------------


def over_the_wire(codec: MsgpackCodec | JsonCodec, left: float | None) -> float | None:
    cmd = Cmd("ask")
    cmd._left = left
    codec.receive_data(b"".join(codec.encode([WireMsg(cmd, "1")])))
    wire = codec.next_message()
    assert wire is not None
    assert isinstance(wire.msg, Cmd)
    return wire.msg._left


@pytest.mark.parametrize("left", [None, 0.0, 1.25])
async def test_both_codecs_carry_it(left: float | None) -> None:
    assert over_the_wire(MsgpackCodec(extended=True), left) == left
    assert over_the_wire(MsgpackCodec(), left) is None
    assert over_the_wire(JsonCodec(), left) == left


@pytest.mark.parametrize(("value", "read"), [(2, 2.0), (0.5, 0.5), (-3, 0.0), (-inf, 0.0)])
async def test_what_is_read(value: float, read: float) -> None:
    assert seconds(value) == read


@pytest.mark.parametrize("value", [inf, float("nan"), True, "1", None, 10**400])
async def test_what_is_no_time(value: object) -> None:
    with pytest.raises(InvalidType, match="number of seconds"):
        seconds(value)
