"""Whom an app trusts, from where, by what they show; and who only pretends."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

import ten_trio as ten
from ten_trio import Cmd, Loc, NetworkSettings
from ten_trio.messages import CloseApp, StartGraph, StopGraph
from ten_trio.network.remotes import remotes_of
from ten_trio.network.transports import sockets
from tests.network.limited import (
    CLIENT,
    GRAPH,
    OTHER,
    SOON,
    TCP,
    TLS,
    WS,
    WSS,
    client_ssl,
    is_fine,
    network_of,
    raw,
    server_ssl,
    serving,
    talking,
)

pytestmark = pytest.mark.slow


# Whom it trusts ---------------------------------------------------------------------------------


async def refused_start(client: ten.Client, graph: ten.Graph | str = "g") -> str:
    with pytest.raises(ten.CmdFailed) as caught:
        await client.start_graph(graph)
    return str(caught.value)


@pytest.fixture
def from_afar(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if all connections came from other machines."""
    monkeypatch.setattr(sockets, "is_loopback", lambda remote: False)


@pytest.mark.parametrize("uri", [TCP, WS, TLS, WSS])
async def test_a_token(uri: str) -> None:
    async with serving(uri, token="open sesame") as app:
        async with ten.connect(app.uri, network=CLIENT) as nobody:
            assert "not authorized" in await refused_start(nobody)
            with trio.fail_after(SOON):
                await nobody.wait_closed()
        async with ten.connect(app.uri, network=CLIENT, token="open barley") as liar:
            assert "not authorized" in await refused_start(liar)
        assert not app.engines
        async with talking(app, token="open sesame") as friend:
            await is_fine(friend)


async def test_a_token_in_the_query_and_in_the_header() -> None:
    trio_websocket = pytest.importorskip("trio_websocket")
    start = '{"ten": {"type": "start_graph", "predefined_graph_name": "g"}}'
    header = [("Authorization", "Bearer open sesame")]
    async with serving(WS, token="open sesame") as app:
        for query, headers, status in (
            ("?token=open%20sesame", None, "ok"),
            ("", header, "ok"),
            ("?token=wrong", header, "ok"),  # the header goes first
            ("?token=open", None, "error"),
            ("", None, "error"),
        ):
            async with trio_websocket.open_websocket_url(
                f"{app.uri}/{query}", extra_headers=headers
            ) as socket_:
                await socket_.send_message(start)
                answer = await socket_.get_message()
                assert f'"status_code":"{status}"' in answer.replace(" ", ""), query


async def test_a_token_is_part_of_the_uri_that_a_client_connects_to() -> None:
    async with serving(WS, token="open sesame") as app:
        async with ten.connect(f"{app.uri}/?token=open%20sesame", network=CLIENT) as friend:
            await friend.start_graph("g")
        async with ten.connect(f"{app.uri}/?token=wrong", network=CLIENT) as liar:
            assert "not authorized" in await refused_start(liar)


START = '{"ten": {"type": "start_graph", "predefined_graph_name": "g"}}'
WHOLE = json.dumps({"ten": {"type": "start_graph", "nodes": GRAPH["nodes"]}})


@pytest.mark.parametrize(
    ("origin", "settings", "predefined", "any_graph"),
    [
        ("https://elsewhere.example", {}, False, False),
        ("null", {}, False, False),  # a file, or a frame without an origin
        ("http://localhost.example", {}, False, False),
        ("http://localhost:3000", {}, True, True),
        ("http://127.0.0.1:8000", {}, True, True),
        ("https://named.example", {"origins": ("https://named.example",)}, True, True),
        ("https://other.example", {"origins": ("https://named.example",)}, False, False),
        ("https://elsewhere.example", {"origins": ("*",)}, True, False),
        ("https://elsewhere.example", {"token": "open sesame"}, True, True),
    ],
)
async def test_pages_from_elsewhere(
    origin: str, settings: dict[str, Any], predefined: bool, any_graph: bool
) -> None:
    """A page that somebody looks at is on their machine, and comes from who knows where."""
    trio_websocket = pytest.importorskip("trio_websocket")

    async def starts(app: ten.App, what: str) -> bool:
        token = "?token=open%20sesame" if settings.get("token") else ""
        host, _, port = app.uri.removeprefix("ws://").partition(":")
        async with (
            await trio.open_tcp_stream(host, int(port)) as stream,
            trio.open_nursery() as nursery,
        ):
            page = await trio_websocket.wrap_client_stream(
                nursery, stream, host, f"/{token}", extra_headers=[("Origin", origin)]
            )
            try:
                await page.send_message(what)
                answer = await page.get_message()
            except trio_websocket.ConnectionClosed:
                return False
            await page.aclose()
            return '"status_code":"ok"' in answer.replace(" ", "")

    async with serving(WS, **settings) as app:
        assert await starts(app, START) is predefined
        assert await starts(app, WHOLE) is any_graph


async def test_a_token_is_not_shown_to_the_graph() -> None:
    async with serving(token="open sesame") as app, raw(app) as client:
        cmd = StartGraph(predefined_graph_name="g", dest=Loc(""))
        cmd.set_property("ten_trio_token", "open sesame")
        assert (await client.call(cmd)).ok
    # Nothing that a peer may show makes trouble, whatever its type.
    for shown in (5, ["open sesame"], {"open": "sesame"}, b"open sesame"):
        async with serving(token="open sesame") as app, raw(app) as client:
            cmd = StartGraph({"ten_trio_token": shown}, predefined_graph_name="g", dest=Loc(""))
            assert "not authorized" in (await client.call(cmd)).detail
            await client.ended()


async def test_without_the_token_nothing_counts() -> None:
    """Also not what comes in the same packet, nor right after the token has been shown too late."""
    async with serving(token="open sesame") as app, raw(app) as client:
        late = StartGraph({"ten_trio_token": "open sesame"}, predefined_graph_name="g")
        await client.send(CloseApp(dest=Loc("")), late, CloseApp(dest=Loc("")))
        await client.ended()
        assert not app.engines
        assert not app.close_reason


@pytest.mark.parametrize(
    ("settings", "predefined", "own"),
    [
        ({}, True, True),
        ({"start_graphs": "any"}, True, True),
        ({"start_graphs": "predefined"}, True, False),
        ({"start_graphs": "none"}, False, False),
    ],
)
async def test_which_graphs_may_be_started(
    settings: dict[str, Any], predefined: bool, own: bool
) -> None:
    async with serving(**settings) as app:
        for graph, allowed in (("g", predefined), (OTHER, own)):
            async with ten.connect(app.uri, network=CLIENT) as client:
                if allowed:
                    await client.start_graph(graph)
                else:
                    assert "not allowed: " in await refused_start(client, graph)
                    assert not client.is_closed


@pytest.mark.usefixtures("from_afar")
@pytest.mark.parametrize(
    ("settings", "own"), [({}, False), ({"start_graphs": "any"}, True), ({"token": "t"}, True)]
)
async def test_which_graphs_may_be_started_from_afar(settings: dict[str, Any], own: bool) -> None:
    token = settings.get("token", "")
    async with serving(**settings) as app:
        async with talking(app, token=token) as client:
            await is_fine(client)
        async with ten.connect(app.uri, network=CLIENT, token=token) as client:
            if own:
                await client.start_graph(OTHER)
            else:
                assert "only predefined graphs" in await refused_start(client, OTHER)


async def test_which_addons_may_be_used() -> None:
    async with serving(outside_addons=("limited",)) as app:
        async with ten.connect(app.uri, network=CLIENT) as client:
            text = await refused_start(client, OTHER)
            assert "not allowed: addon 'limited_other' in a graph from outside" in text
            await client.start_graph(ten.Graph.from_json(GRAPH))
            await is_fine(client)
        nested_ = ten.Graph.from_json(
            {"nodes": [{"type": "subgraph", "name": "s", "graph": OTHER.to_dict()}]}
        )
        async with ten.connect(app.uri, network=CLIENT) as client:
            assert "limited_other" in await refused_start(client, nested_)
    async with serving(outside_addons=()) as app, talking(app) as client:
        await is_fine(client)  # what is predefined is the app's own


@pytest.mark.parametrize(
    ("close_app", "afar", "allowed"),
    [(None, False, True), (None, True, False), (False, False, False), (True, True, True)],
)
@pytest.mark.parametrize("attached", [False, True])
async def test_who_may_close_the_app(
    close_app: bool | None,
    afar: bool,
    allowed: bool,
    attached: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if afar:
        monkeypatch.setattr(sockets, "is_loopback", lambda remote: False)
    async with serving(close_app=close_app) as app, raw(app) as client:
        if attached:
            assert (await client.start()).ok
        result = await client.call(CloseApp(dest=Loc("")))
        assert result.ok is allowed
        if allowed:
            await app.wait_closed()
        else:
            assert result.detail == "not allowed: ten:close_app from outside"
            assert not app.close_reason


@pytest.mark.parametrize("afar", [False, True])
@pytest.mark.parametrize("attached", [False, True])
async def test_who_may_stop_graphs(
    afar: bool, attached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if afar:
        monkeypatch.setattr(sockets, "is_loopback", lambda remote: False)
    async with serving() as app, talking(app) as owner, raw(app) as other:
        if attached:
            assert (await other.start()).ok
        result = await other.call(StopGraph(graph_id=owner.graph_id, dest=Loc("")))
        assert result.ok is not afar
        if not afar:
            with trio.fail_after(SOON):
                await owner.wait_closed()
            return
        assert result.detail == "not allowed: ten:stop_graph from outside"
        await is_fine(owner)
        # One's own graph is another matter.
        await owner.stop_graph()


@pytest.mark.usefixtures("from_afar")
async def test_a_guest_may_not_stop_the_graph() -> None:
    async with serving() as app, talking(app) as owner, raw(app) as guest:
        there = Loc("", owner.graph_id, None)
        assert (await guest.call(Cmd("hello", dest=there))).ok
        result = await guest.call(StopGraph(dest=Loc("")))
        assert "not allowed" in result.detail
        await is_fine(owner)


# Certificates -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("from_afar")
@pytest.mark.parametrize("uri", [TLS, WSS])
async def test_a_certificate_is_as_good_as_a_token(uri: str) -> None:
    async with serving(uri, server_ssl=server_ssl(ask=True)) as app:
        known = NetworkSettings(close_timeout=0.2, client_ssl=client_ssl(certificate=True))
        async with ten.connect(app.uri, network=known) as client:
            await client.start_graph(OTHER)
        with pytest.raises((ten.TenError, ExceptionGroup)):
            async with ten.connect(app.uri, network=CLIENT) as client:
                await client.start_graph(OTHER)
        assert network_of(app).connections <= 1


@pytest.mark.usefixtures("from_afar")
@pytest.mark.parametrize("certificate", [True, False])
async def test_apps_with_certificates(certificate: bool) -> None:
    """One graph in two apps that aren't on one machine: by their certificates, and by nothing less."""
    section = {"ten": {"long_running_mode": True}}
    near = NetworkSettings(
        close_timeout=0.2,
        connect_retries=0,
        server_ssl=server_ssl(ask=True),
        client_ssl=client_ssl(certificate=certificate),
    )
    async with serving(TLS, server_ssl=server_ssl(ask=True)) as far:
        async with ten.open_app(section, uri=TLS, network=near) as app:
            graph = ten.Graph.from_json(
                {
                    "nodes": [
                        {"type": "extension", "name": "e", "addon": "limited", "app": far.uri},
                        {
                            "type": "extension",
                            "name": "o",
                            "addon": "limited_other",
                            "app": app.uri,
                        },
                    ],
                    "exposed_messages": [{"type": "cmd_in", "name": "hello", "extension": "e"}],
                }
            )
            if certificate:
                async with app.open_graph(graph) as engine:
                    assert (await engine.send_cmd(Cmd("hello"))).ok
            else:
                with pytest.raises(ExceptionGroup) as caught:
                    async with app.open_graph(graph):
                        pass
                assert caught.group_contains(ten.ConnectFailed)
                assert not far.engines


# Pretenders -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("from_afar")
async def test_who_is_not_known_can_not_pass_for_another_app() -> None:
    """Whoever knows the id of a graph and the name of an app gets nothing that is for that app."""
    async with serving() as far:
        near_settings = NetworkSettings(close_timeout=0.2)
        section = {"ten": {"long_running_mode": True}}
        async with ten.open_app(section, uri="msgpack://localhost:0", network=near_settings) as app:
            async with app.open_graph(ten.Graph.from_json(GRAPH)) as engine:
                async with raw(app) as liar:
                    start = StartGraph(dest=Loc(app.uri, engine.graph_id, None))
                    start._src = Loc(far.uri, engine.graph_id, None)
                    result = await liar.call(start, "some id")
                    assert not result.ok
                async with raw(app) as liar:
                    cmd = Cmd("hello", dest=Loc(app.uri, engine.graph_id, None))
                    cmd._src = Loc(far.uri, engine.graph_id, "e")
                    assert (await liar.call(cmd, "some id")).ok  # as anybody may
                    stop = StopGraph(dest=Loc(app.uri, engine.graph_id, None))
                    stop._src = cmd._src
                    assert "not allowed" in (await liar.call(stop, "another id")).detail
                assert (await engine.send_cmd(Cmd("hello"))).ok


@pytest.mark.usefixtures("from_afar")
async def test_apps_that_trust_everybody() -> None:
    """Where anybody may start any graph, anybody may be an app."""
    async with serving(start_graphs="any") as far, serving() as app:
        graph = ten.Graph.from_json(
            {**GRAPH, "nodes": [{**GRAPH["nodes"][0], "app": far.uri}]},
        )
        async with app.open_graph(graph) as engine:
            assert (await engine.send_cmd(Cmd("hello"))).ok
            remotes: Any = remotes_of(far.engines[engine.graph_id])  # type: ignore[arg-type]
            assert [*remotes._remotes] == [app.uri]


async def test_nobody_passes_for_the_app_itself() -> None:
    async with serving() as app, talking(app) as owner, raw(app) as liar:
        cmd = Cmd("hello", dest=Loc(app.uri, owner.graph_id, None))
        cmd._src = Loc(app.uri, owner.graph_id, "e")
        assert (await liar.call(cmd, "some id")).ok
        remotes = remotes_of(app.engines[owner.graph_id])  # type: ignore[arg-type]
        assert app.uri not in remotes._remotes
        await is_fine(owner)


async def test_a_client_can_not_start_a_running_graph_again() -> None:
    async with serving() as app, talking(app) as owner, raw(app) as other:
        cmd = StartGraph(predefined_graph_name="g", dest=Loc("", owner.graph_id, None))
        assert not (await other.call(cmd)).ok
        assert len(app.engines) == 1
        await is_fine(owner)


async def test_the_other_websocket_driver() -> None:
    pytest.importorskip("websockets")
    async with serving(WS, websocket_driver="websockets") as app:
        settings = NetworkSettings(websocket_driver="websockets")
        async with ten.connect(app.uri, network=settings) as client:
            await client.start_graph("g")
            await is_fine(client)
