"""Whoever has only docs/protocol.md, sockets and msgpack can talk to us, as a client and as an app."""

from __future__ import annotations

import ast
import importlib.util
import json
import sys
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio

import ten_trio as ten
from ten_trio import AudioFrame, Cmd, Data

HERE = Path(__file__).parent
T = TypeVar("T")

# By its path: with nothing of this project around it, it can't use any of it.
_spec = importlib.util.spec_from_file_location("foreign_client", HERE / "foreign_client.py")
assert _spec is not None
assert _spec.loader is not None
foreign = importlib.util.module_from_spec(_spec)
sys.modules["foreign_client"] = foreign
_spec.loader.exec_module(foreign)

VECTORS = json.loads((HERE / "vectors.json").read_text())

pytestmark = pytest.mark.slow


async def elsewhere(function: Callable[..., T], *args: Any) -> T:
    """Run it in a thread: what it does blocks."""
    with trio.fail_after(30):
        return await trio.to_thread.run_sync(function, *args, abandon_on_cancel=True)


def test_it_uses_nothing_of_ours() -> None:
    tree = ast.parse((HERE / "foreign_client.py").read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {name.name for name in node.names}
    assert {str(name).partition(".")[0] for name in imported} <= sys.stdlib_module_names | {
        "msgpack"
    }


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_it_reads_and_writes_what_the_original_has_sent(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["bytes"])
    decoder = foreign.Decoder()
    found = [message for byte in data for message in decoder.feed(bytes([byte]))]
    (message,) = found
    assert message["type"] == vector["type"]
    exact = foreign.Message(message.number, dict(message.types))
    assert foreign.encode(exact) == data
    assert not foreign.is_extended(message)


# A client ---------------------------------------------------------------------------------------


@ten.addon("foreign_echo")
class Echo(ten.Extension):
    """Answers, streams, sends back, and asks the client when it is told to."""

    async def on_cmd(self, env: ten.Env, cmd: Cmd) -> None:
        if cmd.name == "count":
            for number in range(3):
                await env.return_result(cmd.partial(number=number))
            await env.return_result(cmd.ok(number=3))
        elif cmd.name == "fail":
            await env.return_result(cmd.error("as you wish"))
        elif cmd.name == "ask me":
            result = await env.send_cmd(Cmd("question", {"what": "name"}))
            await env.return_result(cmd.ok(said=result.get_property_string("said")))
        elif cmd.name == "break":
            raise RuntimeError("as you wish")
        else:
            await env.return_result(cmd.ok(detail=f"got {cmd.name}", n=cmd.get_property("n")))

    async def on_data(self, env: ten.Env, data: Data) -> None:
        await env.send_data(data)

    async def on_audio_frame(self, env: ten.Env, frame: AudioFrame) -> None:
        frame.is_eof = True  # what the original's protocol has no place for
        await env.send_audio_frame(frame)


ECHO = {"type": "extension", "name": "echo", "addon": "foreign_echo"}
EXPOSED = [
    *(
        {"type": "cmd_in", "name": name, "extension": "echo"}
        for name in ("hello", "count", "fail", "ask me", "break")
    ),
    {"type": "cmd_out", "name": "question", "extension": "echo"},
    *(
        {"type": f"{kind}_{way}", "name": kind, "extension": "echo"}
        for kind in ("data", "audio_frame")
        for way in ("in", "out")
    ),
]
GRAPH = {"nodes": [ECHO], "exposed_messages": EXPOSED}


def use_as_client(uri: str) -> str:
    with foreign.Client(uri) as client:
        refused = client.call(foreign.make(foreign.CMD, "hello", dest=[{"graph": "nowhere"}]))
        assert refused["status_code"] == 1
        assert refused.properties["detail"] == "Graph not found."
        # The same connection may try again.
        started = client.start_graph(graph_json=json.dumps(GRAPH))
        assert started["status_code"] == 0
        assert started["original_cmd_type"] == foreign.START_GRAPH
        assert client.graph_id
        # To the graph of the connection, along what it exposes.
        result = client.call(foreign.make(foreign.CMD, "hello", properties={"n": 7}))
        assert (result["status_code"], result["is_final"]) == (0, True)
        assert result.properties == {"detail": "got hello", "n": 7}
        # By name; with all of the destination.
        there = {"app": uri, "graph": client.graph_id, "extension": "echo"}
        result = client.call(
            foreign.make(foreign.CMD, "other", dest=[there], properties={"n": 1.5})
        )
        assert result.properties == {"detail": "got other", "n": 1.5}
        assert result["src"] == there
        elsewhere_ = client.call(
            foreign.make(foreign.CMD, "hello", dest=[{"app": "msgpack://x:1"}])
        )
        assert elsewhere_["status_code"] == 1
        # Several in flight, told apart by seq_id; streamed results.
        count = client.send(foreign.make(foreign.CMD, "count"))
        hello = client.send(
            foreign.make(foreign.CMD, "hello", seq_id="my own", properties={"n": 1})
        )
        fail = client.send(foreign.make(foreign.CMD, "fail"))
        assert client.results(fail)[-1].properties["detail"] == "as you wish"
        assert hello == "my own"
        assert len(client.results(hello)) == 1
        counted = client.results(count)
        assert [each.properties["number"] for each in counted] == [0, 1, 2, 3]
        assert [each["is_final"] for each in counted] == [False, False, False, True]
        # Data and frames.
        for number in range(3):
            client.send(
                foreign.make(foreign.DATA, "data", properties={"n": number}, buf=b"\0\1" * number)
            )
        for number in range(3):
            data = client.receive()
            assert data.number == foreign.DATA
            assert (data.properties, data["buf"]) == ({"n": number}, b"\0\1" * number)
        audio = {
            "sample_rate": 16_000,
            "bytes_per_sample": 2,
            "samples_per_channel": 160,
            "number_of_channel": 1,
            "data_fmt": 1,
            "timestamp": 5,
            "buf": bytes(320),
        }
        client.send(foreign.make(foreign.AUDIO, "audio_frame", **audio))
        frame = client.receive()
        assert {key: frame[key] for key in audio} == audio
        # A command of the graph's, answered.
        asked = client.send(foreign.make(foreign.CMD, "ask me"))
        question = client.receive()
        assert (question["name"], question.properties) == ("question", {"what": "name"})
        assert question["cmd_id"]
        client.answer(question, said="I am foreign")
        assert client.results(asked)[-1].properties == {"said": "I am foreign"}
        again = client.call(foreign.make(foreign.START_GRAPH, dest=[{"app": ""}]))
        assert again["status_code"] == 1
        # The end of the graph is the end of the connection.
        stopped = client.call(foreign.make(foreign.STOP_GRAPH))
        assert stopped["status_code"] == 0
        assert client.receive() is None
        # Never has this client said what it is: nothing has come that isn't for everybody.
        assert not any(map(foreign.is_extended, client.connection.seen))
        return str(client.graph_id)


@pytest.mark.parametrize("own_loop", [False, True])
async def test_a_client(own_loop: bool) -> None:
    source = {"ten": {"one_event_loop_per_engine": own_loop}}
    async with ten.open_app(source, uri="msgpack://127.0.0.1:0") as app:
        graph_id = await elsewhere(use_as_client, app.uri)
        await gone(app, graph_id)


async def gone(app: ten.App, graph_id: str) -> None:
    """Until a graph is closed, which its peers hear a little earlier."""
    if graph_id in app.engines:
        await app.engines[graph_id].closed.wait()


def use_failing_graph(uri: str) -> list[Any]:
    with foreign.Client(uri) as client:
        client.start_graph(graph_json=json.dumps(GRAPH))
        (result,) = client.results(client.send(foreign.make(foreign.CMD, "break")))
        assert result["status_code"] == 1
        told = client.receive()
        assert client.receive() is None
        return [client.graph_id, told["name"], told.properties]


async def test_the_starter_is_told_why_its_graph_has_failed() -> None:
    async with ten.open_app(uri="msgpack://127.0.0.1:0") as app:
        graph_id, name, properties = await elsewhere(use_failing_graph, app.uri)
        assert name == "ten:graph_failed"
        assert properties["graph_id"] == graph_id
        assert "as you wish" in properties["detail"]


def use_close_app(uri: str) -> None:
    with foreign.Client(uri) as first, foreign.Client(uri) as second:
        first.start_graph(graph_json=json.dumps(GRAPH))
        unknown = foreign.make(foreign.STOP_GRAPH, dest=[{"app": ""}], graph_id="nonsense")
        result = second.call(unknown)
        assert result.properties["detail"] == "Failed to find the engine to be shut down."
        stop = foreign.make(foreign.STOP_GRAPH, dest=[{"app": ""}], graph_id=first.graph_id)
        assert second.call(stop)["status_code"] == 0
        assert first.receive() is None
        assert second.call(foreign.make(foreign.CLOSE_APP, dest=[{"app": ""}]))["status_code"] == 0
        assert second.receive() is None


async def test_stop_another_graph_and_the_app() -> None:
    settings = {"ten": {"long_running_mode": True}}
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            async with ten.open_app(settings, uri="msgpack://127.0.0.1:0") as app:
                nursery.start_soon(elsewhere, use_close_app, app.uri)
                await app.wait_closed()


def use_token(uri: str) -> None:
    with foreign.Client(uri) as client:
        refused = client.call(foreign.make(foreign.START_GRAPH, dest=[{"app": ""}]))
        assert refused["status_code"] == 1
        assert client.receive() is None
    with foreign.Client(uri, token="open sesame") as client:
        assert client.start_graph(graph_json=json.dumps(GRAPH))["status_code"] == 0
        result = client.call(foreign.make(foreign.CMD, "hello", properties={"n": 1}))
        assert result["status_code"] == 0


async def test_a_token() -> None:
    settings = ten.NetworkSettings(token="open sesame")
    async with ten.open_app(uri="msgpack://127.0.0.1:0", network=settings) as app:
        await elsewhere(use_token, app.uri)


# An app -----------------------------------------------------------------------------------------


@ten.addon("foreign_relay")
class Relay(ten.Extension):
    """Sends on whatever comes, and more of it than the original could read."""

    async def on_cmd(self, env: ten.Env, cmd: Cmd) -> None:
        if cmd.name == "local":
            await env.return_result(cmd.ok(answer=cmd.get_property("n")))
        else:
            sent = Cmd("work", {"n": 1, "nothing": None, "list": [1, None]})
            result = await env.send_cmd(sent)
            await env.return_result(cmd.ok(detail=result.detail))

    async def on_data(self, env: ten.Env, data: Data) -> None:
        frame = AudioFrame("sound", buf=data.get_buf())
        frame.is_eof = True
        await env.send_audio_frame(frame)


def two_part_graph(ours: str, theirs: str) -> dict[str, Any]:
    def node(name: str, addon: str, app: str) -> dict[str, Any]:
        group = "group of " + name
        return {
            "type": "extension",
            "name": name,
            "addon": addon,
            "extension_group": group,
            "app": app,
        }

    to_them = [{"app": theirs, "extension": "worker"}]
    return {
        "nodes": [node("relay", "foreign_relay", ours), node("worker", "made_there", theirs)],
        "connections": [
            {
                "app": ours,
                "extension": "relay",
                "cmd": [{"name": "work", "dest": to_them}],
                "audio_frame": [{"name": "sound", "dest": to_them}],
            }
        ],
        "exposed_messages": [
            {"type": "cmd_in", "name": "go", "extension": "relay"},
            {"type": "data_in", "name": "d", "extension": "relay"},
        ],
    }


def serve_part(app: Any, ours: str, one_of_us: bool, done: Callable[[], object]) -> list[Any]:
    """Take part in a graph that the other app has started; everything that came."""
    with app.accept() as connection:
        start = connection.receive()
        assert start.number == foreign.START_GRAPH
        assert start["cmd_id"]
        assert start["src"]["app"] == ours
        graph_id = start["src"]["graph"]
        assert start["dest"] == [{"app": app.uri, "graph": graph_id}]
        assert (start["graph_json"], start["predefined_graph_name"]) == ("", "")
        nodes = {node["name"]: node for node in start["nodes"]}
        assert nodes["worker"] == {
            "type": "extension",
            "name": "worker",
            "addon": "made_there",
            "extension_group": "group of worker",
            "graph": graph_id,
            "app": app.uri,
        } | ({"property": nodes["worker"]["property"]} if "property" in nodes["worker"] else {})
        (edges,) = [each for each in start["connections"] if each["extension"] == "relay"]
        (flow,) = edges["cmd"]
        assert flow["name"] == "work"
        assert flow["dest"][0]["app"] == app.uri
        said = {"ten_trio": {"version": 1}} if one_of_us else {}
        connection.send(app.answer(start, graph_id=graph_id, **said))
        # A command, answered; whose connection this is needn't be said in the seq_id.
        work = connection.receive()
        assert (work["name"], work["cmd_id"] != "") == ("work", True)
        assert work["src"] == {"app": ours, "graph": graph_id, "extension": "relay"}
        assert work["dest"] == [app.place(graph_id, "worker")]
        connection.send(app.answer(work, detail="worked"))
        sound = connection.receive()
        assert (sound.number, sound["buf"]) == (foreign.AUDIO, b"abc")
        # And one the other way.
        there = {"app": ours, "graph": graph_id, "extension": "relay"}
        asked = app.cmd("local", graph_id, "worker", there, n=5)
        connection.send(asked)
        result = connection.receive()
        assert (result["cmd_id"], result["is_final"]) == (asked["cmd_id"], True)
        assert result["dest"] == [app.place(graph_id, "worker")]
        assert result.properties == {"answer": 5}
        done()
        while connection.receive() is not None:
            pass
        return list(connection.seen)


@pytest.mark.parametrize("one_of_us", [False, True])
async def test_a_part_of_our_graph_is_in_a_foreign_app(one_of_us: bool) -> None:
    seen: list[Any] = []
    done = trio.Event()

    async def serve() -> None:
        tell = partial(trio.from_thread.run_sync, done.set)
        seen.extend(await elsewhere(serve_part, app, ours.uri, one_of_us, tell))

    with foreign.App() as app, trio.fail_after(10):
        async with (
            ten.open_app(uri="msgpack://127.0.0.1:0") as ours,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(serve)
            async with ours.open_graph(two_part_graph(ours.uri, app.uri)) as engine:
                result = await engine.send_cmd(Cmd("go"))
                assert result.detail == "worked"
                await engine.send_data(Data("d", buf=b"abc"))
                await done.wait()
    extended = [message["name"] for message in seen if foreign.is_extended(message)]
    work = next(message for message in seen if message["name"] == "work")
    if one_of_us:
        assert extended == ["work", "sound"]
        work.properties.pop("ten", None)  # if there is something that isn't the default
        assert work.properties == {"n": 1, "nothing": None, "list": [1, None]}
        assert "ten:stop_graph" in [message["name"] for message in seen]
    else:
        assert extended == []
        assert work.properties == {"n": 1, "list": [1, {}]}
        assert [message["name"] for message in seen][-1] == "ten:result"


def start_part(app: Any, uri: str) -> str:
    """Start, as an app, the part of a graph that is in the other one."""
    graph_id = str(uuid.uuid4())
    graph = two_part_graph(uri, app.uri)
    for node in graph["nodes"]:
        node["graph"] = graph_id
    for edge in graph["connections"]:
        edge |= {"graph": graph_id, "extension_group": "group of relay"}
        for kind in ("cmd", "audio_frame"):
            for dest in edge[kind][0]["dest"]:
                dest |= {"graph": graph_id, "extension_group": "group of worker"}
    # The edge the other way is what makes this app the one that connects.
    graph["connections"].append(
        {
            "app": app.uri,
            "graph": graph_id,
            "extension_group": "group of worker",
            "extension": "worker",
            "cmd": [
                {"name": "local", "dest": [{"app": uri, "graph": graph_id, "extension": "relay"}]}
            ],
        }
    )
    with foreign.connect(uri) as connection:
        start = app.start_of(uri, graph_id, graph["nodes"], graph["connections"])
        # Right after it, without waiting for the answer.
        there = {"app": uri, "graph": graph_id, "extension": "relay"}
        first = app.cmd("local", graph_id, "worker", there, n=1)
        connection.send(start, first)
        if app.uri > uri:
            # Then it has to connect, too; and hears that this isn't needed.
            with app.accept() as back:
                same = back.receive()
                assert same["src"] == {"app": uri, "graph": graph_id}
                back.send(app.answer(same, graph_id="==duplicate=="))
                assert back.receive() is None
        started = connection.receive()
        assert (started["cmd_id"], started["status_code"]) == (start["cmd_id"], 0)
        assert started.properties == {"graph_id": graph_id}
        result = connection.receive()
        assert (result["cmd_id"], result.properties) == (first["cmd_id"], {"answer": 1})
        # What it asks for comes by this connection: there is no other.
        go = app.cmd("go", graph_id, "worker", there)
        connection.send(go)
        work = connection.receive()
        assert (work["name"], work["dest"]) == ("work", [app.place(graph_id, "worker")])
        connection.send(app.answer(work, status=1, detail="worked badly"))
        result = connection.receive()
        assert (result["cmd_id"], result.properties["detail"]) == (go["cmd_id"], "worked badly")
        unknown = app.cmd("local", graph_id, "worker", {"app": "msgpack://nobody:1"})
        connection.send(unknown)
        result = connection.receive()
        assert (result["cmd_id"], result["status_code"]) == (unknown["cmd_id"], 1)
        assert not any(map(foreign.is_extended, connection.seen))
        connection.finish()
    return graph_id


@pytest.mark.parametrize(
    ("our_host", "their_host"), [("localhost", "127.0.0.1"), ("127.0.0.1", "localhost")]
)
async def test_a_foreign_app_starts_its_graph_in_ours(our_host: str, their_host: str) -> None:
    with foreign.App(their_host) as app:
        async with ten.open_app(
            {"ten": {"long_running_mode": True}}, uri=f"msgpack://{our_host}:0"
        ) as ours:
            graph_id = await elsewhere(start_part, app, ours.uri)
            with trio.fail_after(5):
                # Without its other part it doesn't go on.
                await gone(ours, graph_id)


def both_connect(app: Any, ours: str) -> list[str]:
    """Be started by the other app, and start the same graph there before answering."""
    told = []
    with app.accept() as theirs, foreign.connect(ours) as own:
        start = theirs.receive()
        graph_id = start["src"]["graph"]
        mine = app.start_of(ours, graph_id, start["nodes"], start["connections"])
        own.send(mine)
        answer = own.receive()
        told.append(answer.properties["graph_id"].replace(graph_id, "the graph"))
        if answer.properties["graph_id"] == "==duplicate==":
            own.finish()
            theirs.send(app.answer(start, graph_id=graph_id))
            stays = theirs
        else:
            theirs.send(app.answer(start, graph_id="==duplicate=="))
            told.append(str(theirs.receive()))  # whoever has opened it closes it
            stays = own
        work = stays.receive()
        stays.send(app.answer(work, detail="worked"))
        while stays.receive() is not None:
            pass
    return told


@pytest.mark.parametrize(
    ("our_host", "their_host", "told"),
    [
        ("localhost", "127.0.0.1", ["==duplicate=="]),
        ("127.0.0.1", "localhost", ["the graph", "None"]),
    ],
)
async def test_of_two_connections_that_of_the_larger_uri_stays(
    our_host: str, their_host: str, told: list[str]
) -> None:
    found: list[str] = []

    async def serve() -> None:
        found.extend(await elsewhere(both_connect, app, ours.uri))

    with foreign.App(their_host) as app, trio.fail_after(10):
        uri = f"msgpack://{our_host}:0"
        async with ten.open_app(uri=uri) as ours, trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            async with ours.open_graph(two_part_graph(ours.uri, app.uri)) as engine:
                result = await engine.send_cmd(Cmd("go"))
                assert result.detail == "worked"
    assert found == told
