"""Turns across apps and clients."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import ten_trio as ten
from ten_trio import Cmd, Data
from tests.network.apps import scripted_app

pytestmark = pytest.mark.trio


class Far(ten.Extension):
    """Takes for ever over everything, and notes how it ends."""

    log: list[str]
    begun: trio.Event

    async def on_data(self, env: ten.TenEnv, data: Data) -> None:
        type(self).log.append(f"{data.name} begins")
        type(self).begun.set()
        if data.name == "long":
            try:
                await trio.sleep_forever()
            finally:
                type(self).log.append(f"{data.name} ends")

    async def on_cmd(self, env: ten.TenEnv, cmd: Cmd) -> None:
        await trio.sleep_forever()


class Near(ten.Extension):
    """Sends everything on, to the same name over there."""

    async def on_data(self, env: ten.TenEnv, data: Data) -> None:
        await env.send_data(Data(data.name))

    async def on_cmd(self, env: ten.TenEnv, cmd: Cmd) -> None:
        result = await env.send_cmd(Cmd(cmd.name))
        await env.return_result(cmd.error(result.detail))


def far_addon() -> type[Far]:
    class Fresh(Far):
        log: list[str] = []  # noqa: RUF012 - of this test alone
        begun = trio.Event()

    return Fresh


def graph_over(here: str, there: str) -> ten.Graph:
    return ten.Graph.from_json(
        {
            "nodes": [
                {"type": "extension", "name": "near", "addon": "near", "app": here},
                {"type": "extension", "name": "far", "addon": "far", "app": there},
            ],
            "connections": [
                {
                    "app": here,
                    "extension": "near",
                    "data": [
                        {"name": name, "dest": [{"app": there, "extension": "far"}]}
                        for name in ("long", "short")
                    ],
                    "cmd": [{"name": "ask", "dest": [{"app": there, "extension": "far"}]}],
                }
            ],
            "exposed_messages": [
                {"type": "data_in", "name": "long", "extension": "near"},
                {"type": "data_in", "name": "short", "extension": "near"},
                {"type": "cmd_in", "name": "ask", "extension": "near"},
            ],
        }
    )


@pytest.mark.parametrize("scheme", ["msgpack", "ws"])
async def test_a_turn_is_cancelled_in_the_other_app(scheme: str) -> None:
    far = far_addon()
    uri = f"{scheme}://127.0.0.1:0"
    async with ten.open_app(uri=uri) as there, ten.open_app(uri=uri) as here:
        there.addons.register("far", far)
        here.addons.register("near", Near)
        with trio.fail_after(10):
            async with here.open_graph(graph_over(here.uri, there.uri)) as engine:
                old, new = engine.new_turn(), engine.new_turn()
                call = engine.start_cmd(Cmd("ask"), turn=old)
                await engine.send_data(Data("long"), turn=old)
                await far.begun.wait()
                await engine.send_data(Data("short"), turn=old)
                await engine.send_data(Data("short"), turn=new)
                await wait_all_tasks_blocked(0.02)
                await engine.cancel_turn(old)
                assert far.log[:2] == ["long begins", "long ends"]
                assert (await call.result()).detail == "turn cancelled"
                while len(far.log) < 3:
                    await trio.lowlevel.checkpoint()
                assert far.log == ["long begins", "long ends", "short begins"]


async def test_what_still_waits_to_be_sent_is_dropped_and_counted() -> None:
    far, reports = far_addon(), []

    class Hasty(Near):
        async def on_cmd(self, env: ten.TenEnv, cmd: Cmd) -> None:
            turn = env.new_turn()
            for _ in range(3):
                await env.send_data(Data("short"), turn=turn)
            reports.append(await env.cancel_turn(turn))
            await env.send_data(Data("short"))
            await env.return_result(cmd.ok())

    uri = "msgpack://127.0.0.1:0"
    async with ten.open_app(uri=uri) as there, ten.open_app(uri=uri) as here:
        there.addons.register("far", far)
        here.addons.register("near", Hasty)
        with trio.fail_after(10):
            async with here.open_graph(graph_over(here.uri, there.uri)) as engine:
                assert (await engine.send_cmd(Cmd("ask"))).ok
                await far.begun.wait()
    assert [report.dropped for report in reports] == [3]
    assert far.log == ["short begins"]


@pytest.mark.parametrize("scheme", ["msgpack", "ws"])
async def test_a_client_opens_and_cancels_turns(scheme: str) -> None:
    far = far_addon()
    graph = ten.Graph()
    graph.node("far", "far")
    for kind, name in (("data_in", "long"), ("data_in", "short"), ("cmd_in", "ask")):
        graph.expose(kind, name, "far")
    async with ten.open_app(uri=f"{scheme}://127.0.0.1:0") as app:
        app.addons.register("far", far)
        with trio.fail_after(10):
            async with ten.connect(app.uri) as client:
                await client.start_graph(graph)
                turn = client.new_turn()
                await client.send_data(Data("long"), turn=turn)
                call = client.start_cmd(Cmd("ask"), turn=turn)
                await far.begun.wait()
                await client.cancel_turn(turn)
                assert (await call.result()).detail == "turn cancelled"
                assert far.log == ["long begins", "long ends"]
                assert not await client.send_data(Data("short"), turn=turn)


async def test_an_app_that_knows_of_no_turns_is_not_told_of_one() -> None:
    async with scripted_app() as far, ten.connect(far.uri) as client:
        with trio.fail_after(10):
            peer = await far.accept()
            turn = client.new_turn()
            call = client.start_cmd(Cmd("before"), turn=turn)
            names = [(await peer.receive()).msg.name]
            await client.cancel_turn(turn)
            assert (await call.result()).detail == "turn cancelled"
            client.post_cmd(Cmd("after"))
            while names[-1] != "after":
                names.append((await peer.receive()).msg.name)
            assert names == ["before", "after"]
