"""The HTTP front door, asked by a client that knows nothing but HTTP."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import h11
import pytest
import trio
import trio.lowlevel
import trustme

import ten_trio as ten
from ten_trio.errors import ConfigError
from ten_trio.network import CodecLimits, NetworkSettings
from ten_trio.network.app_network import AppNetwork
from ten_trio.network.transports import sockets
from ten_trio.runtime.app import App

pytestmark = pytest.mark.slow

CA = trustme.CA()
LINES = {"accept": "application/x-ndjson"}


class Bot(ten.Extension):
    """Answers in the ways that a test asks for."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd.name == "count":
            for n in range(3):
                await env.return_result(cmd.partial(n=n))
            await env.return_result(cmd.ok(detail="counted"))
        elif cmd.name == "fail":
            await env.return_result(cmd.error("it can't be done"))
        elif cmd.name == "wait":
            await env.return_result(cmd.partial(detail="waiting"))
            await env.send_data(ten.Data("note", {"text": "waiting"}))
            await cmd.abandoned.wait()
            Notes.of_process.append("abandoned")
        elif cmd.name == "flood":
            while not cmd.is_abandoned:
                await env.return_result(cmd.partial(text="x" * 50_000))
                await trio.lowlevel.checkpoint()
        elif cmd.name == "outwards":
            result = await env.send_cmd(ten.Cmd("asked"))
            await env.return_result(cmd.ok(detail=result.detail))
        else:
            await env.return_result(cmd.ok(got=cmd.get_property_to_json()))

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        if data.name == "break":
            raise RuntimeError("broken")
        await env.send_data(data)


class Notes:
    """What extensions have noticed, in whichever thread."""

    of_process: list[str] = []  # noqa: RUF012 - emptied by every test


CMDS = ("hello", "count", "fail", "wait", "flood", "outwards")
GRAPH: dict[str, Any] = {
    "nodes": [{"type": "extension", "name": "bot", "addon": "http_bot", "extension_group": "x"}],
    "exposed_messages": [
        *({"type": "cmd_in", "name": name, "extension": "bot"} for name in CMDS),
        {"type": "cmd_out", "name": "asked", "extension": "bot"},
        {"type": "data_in", "name": "note", "extension": "bot"},
        {"type": "data_in", "name": "break", "extension": "bot"},
        {"type": "data_out", "name": "note", "extension": "bot"},
    ],
}
ten.addon("http_bot")(Bot)


class Answer:
    """A response, as far as it has come."""

    def __init__(self, head: h11.Response, client: Client) -> None:
        self.status = head.status_code
        self.headers = {name.decode(): value.decode() for name, value in head.headers}
        self._client = client
        self._text = b""
        self.ended = False

    async def _more(self) -> bool:
        event = await self._client.event()
        if isinstance(event, h11.Data):
            self._text += bytes(event.data)
            return True
        self.ended = True
        return False

    async def whole(self) -> Any:
        """The body, which is JSON."""
        while await self._more():
            pass
        return json.loads(self._text) if self._text.strip() else None

    async def line(self) -> Any:
        """The next line; None at the end."""
        while b"\n" not in self._text:
            if not await self._more():
                return None
        line, self._text = self._text.split(b"\n", 1)
        return json.loads(line)


class Client:
    """One connection."""

    def __init__(self, stream: trio.abc.HalfCloseableStream | trio.SSLStream[Any]) -> None:
        self.stream = stream
        self.h11 = h11.Connection(h11.CLIENT)

    async def event(self) -> Any:
        while (event := self.h11.next_event()) is h11.NEED_DATA:
            self.h11.receive_data(bytes(await self.stream.receive_some(65_536)))
        return event

    async def ask(
        self, method: str, path: str, body: Any = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        if self.h11.our_state is h11.DONE:
            self.h11.start_next_cycle()
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        told = {"host": "127.0.0.1", "content-length": str(len(body)), **(headers or {})}
        data = self.h11.send(h11.Request(method=method, target=path, headers=list(told.items())))
        data += self.h11.send(h11.Data(data=body)) or b""
        data += self.h11.send(h11.EndOfMessage()) or b""
        await self.stream.send_all(data)
        return await self.answer()

    async def answer(self) -> Answer:
        while isinstance(event := await self.event(), h11.InformationalResponse):
            pass
        assert isinstance(event, h11.Response), event
        return Answer(event, self)


def port_of(app: App) -> int:
    return int(app.uri.rpartition(":")[2])


@asynccontextmanager
async def opened(app: App) -> AsyncGenerator[Client, None]:
    stream = await trio.open_tcp_stream("127.0.0.1", port_of(app))
    try:
        yield Client(stream)
    finally:
        with trio.CancelScope(shield=True):
            await stream.aclose()


async def ask(
    app: App, method: str, path: str, body: Any = b"", headers: Mapping[str, str] | None = None
) -> tuple[int, Any]:
    async with opened(app) as client:
        answer = await client.ask(method, path, body, headers)
        return answer.status, await answer.whole()


@asynccontextmanager
async def front(
    own_loop: bool = False, uri: str = "http://127.0.0.1:0", **settings: Any
) -> AsyncGenerator[App, None]:
    """An app with a front door; everything is closed afterwards, and quickly."""
    Notes.of_process.clear()
    settings.setdefault("close_timeout", 0.2)
    predefined = {"name": "g", "auto_start": False, "graph": GRAPH}
    config = {
        "ten": {
            "one_event_loop_per_engine": own_loop,
            "long_running_mode": True,
            "predefined_graphs": [
                predefined,
                {**predefined, "name": "one", "singleton": True},
            ],
        }
    }
    with trio.fail_after(20):
        async with ten.open_app(
            config, uri=uri, network=NetworkSettings(**settings), grace=2
        ) as app:
            yield app
        assert isinstance(app.network, AppNetwork)
        assert app.network.connections == 0


@pytest.fixture(params=[False, True], ids=["app's loop", "own loop"])
def own_loop(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


async def started(app: App, body: Any = b"", query: str = "?predefined=g") -> str:
    status, told = await ask(app, "POST", f"/graphs{query}", body)
    assert status == 201, told
    return str(told["graph_id"])


# What can be done ---------------------------------------------------------------------------------


async def test_a_graph_is_started_listed_asked_and_stopped(own_loop: bool) -> None:
    async with front(own_loop) as app, opened(app) as client:
        answer = await client.ask("POST", "/graphs?predefined=g")
        told = await answer.whole()
        graph_id = told["graph_id"]
        assert answer.status == 201
        assert answer.headers["location"] == f"/graphs/{graph_id}"
        listed = await (await client.ask("GET", "/graphs")).whole()
        [graph] = listed["graphs"]
        assert (graph["id"], graph["name"], graph["extensions"]) == (graph_id, "g", ["bot"])
        answer = await client.ask("POST", f"/graphs/{graph_id}/cmd/hello", {"n": 7})
        result = await answer.whole()
        assert (answer.status, answer.headers["ten-status"]) == (200, "ok")
        assert result["got"] == '{"n": 7}' or json.loads(result["got"]) == {"n": 7}
        assert result["ten"]["status_code"] == "ok"
        answer = await client.ask("DELETE", f"/graphs/{graph_id}")
        assert (answer.status, (await answer.whole())["detail"]) == (200, "close engine done")
        assert app.engines == {}
        answer = await client.ask("GET", f"/graphs/{graph_id}")
        assert (answer.status, (await answer.whole())["error"]) == (404, "Graph not found.")


@pytest.mark.parametrize(
    "body",
    [
        GRAPH,
        {"ten": {"type": "start_graph", **GRAPH}},
        {"ten": {"graph_json": json.dumps(GRAPH)}},
        {"ten": {"predefined_graph_name": "g"}},
    ],
    ids=["graph", "message", "text", "name"],
)
async def test_a_graph_can_be_sent_in_several_ways(body: object) -> None:
    async with front() as app:
        graph_id = await started(app, body, "")
        status, result = await ask(app, "POST", f"/graphs/{graph_id}/cmd/hello")
        assert (status, result["ten"]["status_code"]) == (200, "ok")


async def test_a_singleton_answers_to_its_name_and_starts_when_asked() -> None:
    async with front() as app:
        assert (await ask(app, "GET", "/graphs/one"))[0] == 404
        status, result = await ask(app, "POST", "/graphs/one/cmd/hello")
        assert (status, result["ten"]["status_code"]) == (200, "ok")
        assert (await ask(app, "GET", "/graphs/one"))[1]["name"] == "one"


async def test_an_extension_can_be_named_as_the_destination(own_loop: bool) -> None:
    async with front(own_loop) as app:
        path = f"/graphs/{await started(app)}/cmd/unexposed"
        status, result = await ask(app, "POST", path, {"ten": {"dest": [{"extension": "bot"}]}})
        assert (status, result["ten"]["status_code"]) == (200, "ok")
        status, result = await ask(app, "POST", path)
        assert (status, result["ten"]["status_code"]) == (200, "error")
        body = {"ten": {"dest": [{"graph": "other", "extension": "bot"}]}}
        assert (await ask(app, "POST", path, body))[0] == 400


async def test_an_executors_error_is_a_result() -> None:
    async with front() as app, opened(app) as client:
        answer = await client.ask("POST", f"/graphs/{await started(app)}/cmd/fail")
        result = await answer.whole()
        assert (answer.status, answer.headers["ten-status"]) == (200, "error")
        assert result["detail"] == "it can't be done"
        assert result["ten"]["status_code"] == "error"


async def test_results_come_as_lines_when_they_arise(own_loop: bool) -> None:
    async with front(own_loop) as app, opened(app) as client:
        path = f"/graphs/{await started(app)}/cmd"
        answer = await client.ask("POST", f"{path}/count", headers=LINES)
        assert answer.headers["content-type"] == "application/x-ndjson"
        lines = [await answer.line() for _ in range(4)]
        assert await answer.line() is None
        assert [line.get("n") for line in lines] == [0, 1, 2, None]
        assert [line["ten"]["is_final"] for line in lines] == [False, False, False, True]
        answer = await client.ask("POST", f"{path}/count")  # the same connection goes on
        assert (await answer.whole())["detail"] == "counted"
        # The executor of this one goes on only when its client is gone.
        answer = await client.ask("POST", f"{path}/wait", headers=LINES)
        assert (await answer.line())["detail"] == "waiting"


async def test_data_goes_in_and_what_the_graph_exposes_comes_out(own_loop: bool) -> None:
    async with front(own_loop) as app, opened(app) as reader:
        path = f"/graphs/{await started(app)}"
        stream = await reader.ask("GET", f"{path}/messages?name=note")
        assert stream.status == 200
        for n in range(3):
            body = {"n": n, "ten": {"buf": "AAEC"}}
            assert await ask(app, "POST", f"{path}/data/note", body) == (202, None)
            line = await stream.line()
            assert (line["n"], line["ten"]["buf"], line["ten"]["name"]) == (n, "AAEC", "note")
        assert (await ask(app, "DELETE", path))[0] == 200
        assert await stream.line() is None


async def test_a_reader_is_seen_in_the_stats(own_loop: bool) -> None:
    async with front(own_loop) as app, opened(app) as reader:
        path = f"/graphs/{await started(app)}"
        await reader.ask("GET", f"{path}/messages")
        (stats,) = await app.stats()
        assert (stats.state, [place.queued for place in stats.places]) == ("running", [0])


async def test_a_command_outwards_is_refused_as_nobody_could_answer() -> None:
    async with front() as app, opened(app) as reader:
        path = f"/graphs/{await started(app)}"
        await reader.ask("GET", f"{path}/messages")
        _, result = await ask(app, "POST", f"{path}/cmd/outwards")
        assert "not handled" in result["detail"]


async def test_a_graph_ends_with_the_stream_that_has_started_it(own_loop: bool) -> None:
    async with front(own_loop) as app:
        async with opened(app) as client:
            stream = await client.ask("POST", "/graphs?predefined=g", headers=LINES)
            graph_id = (await stream.line())["graph_id"]
            await ask(app, "POST", f"/graphs/{graph_id}/data/note", {"n": 1})
            assert (await stream.line())["n"] == 1
            closed = app.engines[graph_id].closed
        await closed.wait()
        async with opened(app) as client:
            stream = await client.ask("POST", "/graphs?predefined=g&long_running", headers=LINES)
            graph_id = (await stream.line())["graph_id"]
        assert (await ask(app, "POST", f"/graphs/{graph_id}/cmd/hello"))[0] == 200


async def test_a_stream_tells_how_its_graph_has_failed(own_loop: bool) -> None:
    async with front(own_loop) as app, opened(app) as client:
        stream = await client.ask("POST", "/graphs?predefined=g", headers=LINES)
        graph_id = (await stream.line())["graph_id"]
        await ask(app, "POST", f"/graphs/{graph_id}/data/break")
        line = await stream.line()
        assert line["ten"]["name"] == "ten:graph_failed"
        assert "broken" in line["detail"]
        assert await stream.line() is None


async def test_a_client_that_goes_away_abandons_its_command(own_loop: bool) -> None:
    async with front(own_loop) as app, opened(app) as reader:
        path = f"/graphs/{await started(app)}"
        notes = await reader.ask("GET", f"{path}/messages")
        for headers in ({}, LINES):
            Notes.of_process.clear()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_ask_in_vain, app, f"{path}/cmd/wait", headers)
                assert (await notes.line())["text"] == "waiting"
                nursery.cancel_scope.cancel()
            while not Notes.of_process:  # noqa: ASYNC110 - the graph may have a thread of its own
                await trio.sleep(0.001)


async def _ask_in_vain(app: App, path: str, headers: Mapping[str, str]) -> None:
    async with opened(app) as client:
        answer = await client.ask("POST", path, headers=headers)
        await answer.whole()


async def test_requests_of_one_connection_are_answered_in_their_order() -> None:
    async with front() as app, opened(app) as client:
        path = f"/graphs/{await started(app)}/cmd"
        request = b"POST %s HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n"
        names = ["hello", "fail", "count"]
        await client.stream.send_all(b"".join(request % f"{path}/{n}".encode() for n in names))
        answered = []
        for _ in names:
            client.h11.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
            client.h11.send(h11.EndOfMessage())
            answered.append((await (await client.answer()).whole())["ten"]["original_cmd_name"])
            client.h11.start_next_cycle()
        assert answered == names


async def test_a_body_may_come_in_many_tiny_pieces() -> None:
    async with front() as app, opened(app) as client:
        path = f"/graphs/{await started(app)}/cmd/hello"
        client.h11.send(h11.Request(method="POST", target=path, headers=[("host", "x")]))
        client.h11.send(h11.EndOfMessage())
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
        body = json.dumps({"text": "x" * 3_000})
        chunks = "".join(f"64\r\n{body[at : at + 100]:100}\r\n" for at in range(0, len(body), 100))
        await client.stream.send_all(f"{head}{chunks}0\r\n\r\n".encode())
        result = await (await client.answer()).whole()
        assert json.loads(result["got"]) == {"text": "x" * 3_000}


async def test_a_client_may_ask_first_whether_its_body_is_wanted() -> None:
    async with front() as app, opened(app) as client:
        path = f"/graphs/{await started(app)}/cmd/hello"
        headers = [("host", "localhost"), ("content-length", "8"), ("expect", "100-continue")]
        request = h11.Request(method="POST", target=path, headers=headers)
        await client.stream.send_all(client.h11.send(request) or b"")
        assert (await client.event()).status_code == 100
        await client.stream.send_all(client.h11.send(h11.Data(data=b'{"n": 7}')) or b"")
        client.h11.send(h11.EndOfMessage())
        result = await (await client.answer()).whole()
        assert json.loads(result["got"]) == {"n": 7}


async def test_a_target_may_be_a_whole_address_as_for_a_proxy() -> None:
    async with front() as app:
        for target, status in [("/graphs", 200), ("/nowhere", 404), ("", 200)]:
            assert (await ask(app, "GET", f"http://{app.uri[7:]}{target}"))[0] == status


async def test_options_says_to_anybody_what_may_be_done() -> None:
    async with front() as app, opened(app) as client:
        answer = await client.ask("OPTIONS", "/graphs")
        assert (answer.status, answer.headers["allow"]) == (204, "GET, POST, OPTIONS")
        assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_the_stream_of_a_graph_that_is_stopped_tells_of_no_failure(own_loop: bool) -> None:
    async with front(own_loop) as app, opened(app) as client:
        stream = await client.ask("POST", "/graphs?predefined=g", headers=LINES)
        graph_id = (await stream.line())["graph_id"]
        app.engines[graph_id].request_close("enough")
        assert await stream.line() is None


# What can't ---------------------------------------------------------------------------------------


async def test_what_is_wrong_has_a_status_and_says_where() -> None:
    async with front(codec=CodecLimits(max_message=10_000, max_depth=4)) as app:
        path = f"/graphs/{await started(app)}"
        for method, place, body, status, said in [
            ("POST", f"{path}/cmd/hello", b'{"n": 7, ', 400, "at byte 9"),
            ("POST", f"{path}/cmd/hello", b"[]", 400, "has to be a JSON object"),
            ("POST", f"{path}/cmd/hello", {"ten": 1}, 400, "has to be an object"),
            ("POST", f"{path}/cmd/hello", {"ten": {"name": "other"}}, 400, "the path says"),
            ("POST", f"{path}/cmd/hello", {"ten": {"type": "data"}}, 400, "the path says"),
            ("POST", f"{path}/cmd", b"", 400, "needs a name"),
            ("POST", f"{path}/cmd/ten:close_app", b"", 400, "isn't sent as a command here"),
            ("POST", f"{path}/cmd/hello", {"a": [[[[[[[[[]]]]]]]]]}, 400, "nested"),
            ("POST", f"{path}/data/note", {"ten": {"buf": "?"}}, 400, "base64"),
            ("POST", f"{path}/data/note", {"text": "x" * 10_000}, 413, "10000 bytes"),
            ("POST", "/graphs/nope/cmd/hello", b"", 404, "Graph not found"),
            ("DELETE", "/graphs/nope", b"", 404, "Graph not found"),
            ("POST", "/graphs?predefined=nope", b"", 404, "known: "),
            ("GET", "/nowhere", b"", 404, "/nowhere"),
            ("GET", "/graphs/%ff", b"", 400, "target"),
            ("PUT", "/graphs", b"", 405, "GET, POST"),
            ("POST", "/graphs", b"", 400, "which graph"),
            ("POST", "/graphs", {"nodes": [{"type": "extension"}]}, 400, "nodes[0].name"),
            ("POST", "/graphs", {"ten": {"type": "cmd"}}, 400, "start_graph"),
        ]:
            found, told = await ask(app, method, place, body)
            assert (found, said in told["error"]) == (status, True), (method, place, body, told)
        unknown = {"nodes": [{**GRAPH["nodes"][0], "addon": "nope"}]}
        found, told = await ask(app, "POST", "/graphs", unknown)
        assert (found, "unknown addon" in told["error"]) == (422, True)
        assert list(app.engines) == [path.rpartition("/")[2]]


async def test_a_stage_is_ended_of_one_extension() -> None:
    async with front() as app:
        path = f"/graphs/{await started(app)}/cmd/ten:trigger_life_cycle"
        status, told = await ask(app, "POST", path)
        assert (status, "ten.dest has to name it" in told["error"]) == (400, True)


async def test_an_extension_that_can_not_be_made_is_a_fault_of_the_app() -> None:
    class Broken(ten.Extension):
        def __init__(self) -> None:
            raise RuntimeError("no such model")

    async with front() as app:
        app.addons.register("broken_one", Broken)
        graph = {"nodes": [{"type": "extension", "name": "x", "addon": "broken_one"}]}
        status, told = await ask(app, "POST", "/graphs", graph)
        assert (status, "no such model" in told["error"]) == (500, True)
        assert app.engines == {}


async def test_a_graph_that_closes_takes_nothing_more() -> None:
    stopping, go_on = trio.Event(), trio.Event()

    class Slow(ten.Extension):
        async def on_stop(self, env: ten.TenEnv) -> None:
            stopping.set()
            await go_on.wait()

    async with front() as app:
        app.addons.register("slow_one", Slow)
        graph = {"nodes": [{"type": "extension", "name": "x", "addon": "slow_one"}]}
        path = f"/graphs/{await started(app, graph, '')}"
        app.engines[path[8:]].request_close("enough")
        await stopping.wait()
        for what in ("cmd/hello", "data/note"):
            status, told = await ask(app, "POST", f"{path}/{what}")
            assert (status, "enough" in told["error"]) == (409, True)
        go_on.set()


@pytest.mark.parametrize("headers", [{}, LINES], ids=["one result", "each result"])
async def test_a_fault_of_the_app_costs_one_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, headers: dict[str, str]
) -> None:
    async with front() as app, opened(app) as client:
        path = f"/graphs/{await started(app)}/cmd/hello"
        with monkeypatch.context() as patched:

            async def fail(*_: Any) -> None:
                raise RuntimeError("a fault")

            where = "_write_all" if headers else "_return"
            patched.setattr(f"ten_trio.network.http.places.{where}", fail)
            answer = await client.ask("POST", path, headers=headers)
            if headers:  # it has begun: that it's cut off is all that can be told
                with pytest.raises(h11.RemoteProtocolError):
                    await answer.whole()
            else:
                told = await answer.whole()
                assert (answer.status, told["error"]) == (500, "RuntimeError: a fault")
        assert [record.message for record in caplog.records if record.exc_info] == [f"POST {path}"]
        assert (await ask(app, "POST", path))[0] == 200


async def test_a_client_that_asks_on_and_on_without_waiting_is_cut_off() -> None:
    async with front() as app, opened(app) as client:
        path = f"/graphs/{await started(app)}/cmd/wait"
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\n"
        await client.stream.send_all(f"{head}content-length: 0\r\n\r\n".encode())
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await client.stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n" * 1_000)
        while not Notes.of_process:  # noqa: ASYNC110 - nobody tells
            await trio.sleep(0.001)


async def test_a_neighbour_that_is_not_there_is_a_bad_gateway() -> None:
    there = "msgpack://127.0.0.1:1"
    async with front(connect_retries=0) as app:
        graph = {
            "nodes": [
                {**GRAPH["nodes"][0], "app": app.uri},
                {**GRAPH["nodes"][0], "name": "far", "app": there},
            ],
            "connections": [
                {
                    "app": app.uri,
                    "extension": "bot",
                    "cmd": [{"name": "x", "dest": [{"app": there, "extension": "far"}]}],
                }
            ],
        }
        status, told = await ask(app, "POST", "/graphs", graph)
        assert (status, "Failed to connect" in told["error"]) == (502, True)


async def test_a_body_is_bounded_also_if_nobody_knows_its_length() -> None:
    async with front(codec=CodecLimits(max_message=10_000)) as app, opened(app) as client:
        path = f"/graphs/{await started(app)}/data/note"
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
        chunk = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"
        client.h11.send(h11.Request(method="POST", target=path, headers=[("host", "x")]))
        await client.stream.send_all(head.encode() + chunk * 3)
        answer = await client.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert "10000" in (await answer.whole())["error"]


@pytest.mark.parametrize("path", ["/nowhere", "/graphs"])
async def test_a_body_that_makes_no_sense_or_breaks_off_costs_its_connection(path: str) -> None:
    async with front() as app:
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\n"
        for rest in (
            "transfer-encoding: chunked\r\n\r\nnonsense\r\n",
            "content-length: 9\r\n\r\n{",
        ):
            async with opened(app) as client:
                await client.stream.send_all((head + rest).encode())
                await client.stream.send_eof()  # type: ignore[union-attr]
                told = b""
                while piece := await client.stream.receive_some(65_536):
                    told += bytes(piece)
                assert told.startswith(b"HTTP/1.1 4") or not told
        assert (await ask(app, "GET", "/"))[0] == 200


async def test_a_target_may_name_the_whole_address_as_for_a_proxy() -> None:
    async with front() as app:
        graph_id = await started(app)
        status, plain = await ask(app, "GET", "/graphs")
        assert (status, [each["id"] for each in plain["graphs"]]) == (200, [graph_id])
        assert await ask(app, "GET", "http://localhost/graphs") == (200, plain)
        assert await ask(app, "GET", "http://localhost/") == await ask(app, "GET", "/")
        assert await ask(app, "GET", "http://localhost") == await ask(app, "GET", "/")
        where = f"http://localhost/graphs/{graph_id}/cmd/hello"
        assert (await ask(app, "POST", where))[0] == 200


async def test_where_the_json_is_wrong() -> None:
    async with front() as app:
        path = f"/graphs/{await started(app)}/cmd/hello"
        _, told = await ask(app, "POST", path, b'{"n": 7, ')
        assert told["offset"] == 9
        _, told = await ask(app, "POST", path, {"ten": {"name": 1}})
        assert "offset" not in told


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 9_000])
async def test_what_is_no_http_closes_that_connection_alone(sent: bytes) -> None:
    async with front() as app, opened(app) as other, opened(app) as client:
        assert (await other.ask("GET", "/")).status == 200
        client.h11.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
        client.h11.send(h11.EndOfMessage())
        await client.stream.send_all(sent)
        answer = await client.answer()
        assert answer.status in (400, 431)
        await answer.whole()
        assert await client.stream.receive_some(1) == b""
        assert (await ask(app, "GET", "/"))[0] == 200


async def test_as_many_graphs_as_may_be_are_there() -> None:
    async with front(graphs=1) as app:
        graph_id = await started(app)
        assert (await ask(app, "POST", "/graphs?predefined=g"))[0] == 429
        await ask(app, "DELETE", f"/graphs/{graph_id}")
        await started(app)


async def test_as_many_connections_as_may_be_are_there() -> None:
    async with front(connections=1) as app, opened(app) as first, opened(app) as second:
        assert (await first.ask("GET", "/")).status == 200
        assert await second.stream.receive_some(1) == b""


# Who may ------------------------------------------------------------------------------------------


async def test_the_token_has_to_be_shown() -> None:
    async with front(token="sesame") as app:
        for headers in ({}, {"authorization": "Bearer nonsense"}, {"authorization": "sesame"}):
            async with opened(app) as client:
                answer = await client.ask("GET", "/graphs", headers=headers)
                assert answer.status == 401
                assert answer.headers["www-authenticate"].startswith("Bearer")
        shown = {"authorization": "Bearer sesame", "host": "any.example"}
        assert (await ask(app, "GET", "/graphs", headers=shown))[0] == 200


async def test_others_than_this_machine_may_do_less(monkeypatch: pytest.MonkeyPatch) -> None:
    async with front() as app:
        of_others = await started(app)
        monkeypatch.setattr(sockets, "is_loopback", lambda remote: False)
        assert (await ask(app, "POST", "/graphs", GRAPH))[0] == 403
        assert (await ask(app, "GET", "/graphs"))[0] == 403
        assert (await ask(app, "POST", "/close"))[0] == 403
        assert "predefined" not in (await ask(app, "GET", "/"))[1]
        status, told = await ask(app, "POST", "/graphs?predefined=g")
        assert status == 201
        own, key = f"/graphs/{told['graph_id']}", {"ten-graph-key": told["key"]}
        assert (await ask(app, "POST", f"{own}/cmd/hello"))[0] == 200
        assert (await ask(app, "GET", own))[0] == 403
        assert (await ask(app, "GET", own, headers=key))[0] == 200
        for path in (f"/graphs/{of_others}", "/graphs/nope"):
            assert (await ask(app, "DELETE", path, headers=key))[0] == 403
        assert (await ask(app, "GET", f"{own}/messages"))[0] == 403
        async with opened(app) as client:
            assert (await client.ask("GET", f"{own}/messages", headers=key)).status == 200
        assert (await ask(app, "DELETE", own, headers=key))[0] == 200


@pytest.mark.parametrize(
    ("settings", "status"),
    [
        ({"start_graphs": "none"}, 403),
        ({"start_graphs": "predefined"}, 403),
        ({"outside_addons": ("other",)}, 403),
        ({"outside_addons": ("http_bot",)}, 201),
    ],
)
async def test_the_settings_say_what_may_be_started(settings: Any, status: int) -> None:
    async with front(**settings) as app:
        assert (await ask(app, "POST", "/graphs", GRAPH))[0] == status


async def test_close_app_closes_the_app() -> None:
    async with front(close_app=False) as app:
        assert (await ask(app, "POST", "/close"))[0] == 403
    async with front() as app:
        status, told = await ask(app, "POST", "/close")
        assert (status, told["detail"]) == (202, "close app begins")
        await app.wait_closed()
        assert app.close_reason == "close_app"


async def test_web_pages_get_in_only_if_the_settings_say_so() -> None:
    page = {"origin": "https://page.example"}
    async with front() as app:
        assert (await ask(app, "POST", "/graphs?predefined=g", headers=page))[0] == 403
        for host in ("rebound.example", "localhost.example:80", "[::", "127.0.0.1.example"):
            assert (await ask(app, "GET", "/graphs", headers={"host": host}))[0] == 421
        for host in ("localhost:80", "[::1]:80", "127.0.0.1", "192.0.2.7:80"):
            assert (await ask(app, "GET", "/graphs", headers={"host": host}))[0] == 200
        assert app.engines == {}
        own = {"origin": "http://localhost:3000"}  # no page from elsewhere
        assert (await ask(app, "POST", "/graphs", GRAPH, own))[0] == 201
    async with front(origins=("https://page.example",), token="sesame") as app:
        async with opened(app) as client:
            answer = await client.ask("OPTIONS", "/graphs", headers=page)
            assert answer.status == 204
            assert answer.headers["access-control-allow-origin"] == page["origin"]
            assert "POST" in answer.headers["access-control-allow-methods"]
            assert "authorization" in answer.headers["access-control-allow-headers"]
            await answer.whole()
            shown = {**page, "authorization": "Bearer sesame"}
            answer = await client.ask("GET", "/graphs", headers=shown)
            assert answer.status == 200
            assert answer.headers["access-control-allow-origin"] == page["origin"]
        other = {**shown, "origin": "https://other.example"}
        assert (await ask(app, "GET", "/graphs", headers=other))[0] == 403
    async with front(origins=("*",)) as app:
        # Any page is let in, but none is trusted for being in a browser of this machine.
        assert (await ask(app, "POST", "/graphs", GRAPH, page))[0] == 403
        assert (await ask(app, "POST", "/graphs?predefined=g", headers=page))[0] == 201


async def test_tls_carries_it() -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    CA.configure_trust(trusting)
    async with front(uri="https://localhost:0", server_ssl=context) as app:
        stream = await trio.open_ssl_over_tcp_stream(
            "localhost", port_of(app), ssl_context=trusting, https_compatible=True
        )
        client = Client(stream)
        answer = await client.ask("POST", "/graphs?predefined=g", headers={"host": "localhost"})
        graph_id = (await answer.whole())["graph_id"]
        path = f"/graphs/{graph_id}/cmd/count"
        answer = await client.ask("POST", path, headers={"host": "localhost", **LINES})
        assert [await answer.line() for _ in range(5)][-1] is None
        await stream.aclose()


async def test_it_is_no_address_for_apps_and_clients() -> None:
    async with front() as app:
        with pytest.raises(ConfigError, match="msgpack://"):
            async with ten.connect(app.uri):
                raise AssertionError


# Times and ends -----------------------------------------------------------------------------------


async def test_a_silent_or_slow_client_is_cut_off() -> None:
    async with front(first_message_timeout=0.1) as app:
        async with opened(app) as client:
            await client.stream.send_all(b"GET / HTTP/1.1\r\n")
            assert await client.stream.receive_some(1) == b""
        async with opened(app) as client:
            assert await (await client.ask("GET", "/")).whole()
            assert await client.stream.receive_some(1) == b""  # nor does a second one come
        async with opened(app) as client:
            client.h11.send(h11.Request(method="POST", target="/graphs", headers=[("host", "x")]))
            await client.stream.send_all(
                b"POST /graphs HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n{"
            )
            assert (await client.answer()).status == 408


async def test_a_client_that_does_not_read_is_cut_off(own_loop: bool) -> None:
    # What has been sent may be all that ever comes: then no further request does.
    times = {"send_timeout": 0.3, "first_message_timeout": 0.5}
    async with front(own_loop, out_bytes=1_000_000, **times) as app:
        path = f"/graphs/{await started(app)}/cmd/flood"
        network = app.network
        assert isinstance(network, AppNetwork)
        async with opened(app) as client:
            while network.connections != 1:  # noqa: ASYNC110 - nobody tells
                await trio.sleep(0.001)
            await client.stream.send_all(
                f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n"
                "accept: application/x-ndjson\r\n\r\n".encode()
            )
            while network.connections:  # noqa: ASYNC110 - likewise
                await trio.sleep(0.001)


async def test_closing_the_app_ends_streams_in_order(own_loop: bool) -> None:
    async with trio.open_nursery() as nursery:
        async with front(own_loop) as app:
            path = f"/graphs/{await started(app)}"
            idle = await nursery.start(_hold, app)
            await (await idle.ask("GET", "/")).whole()
            client = await nursery.start(_hold, app)
            messages = await client.ask("GET", f"{path}/messages")
            client = await nursery.start(_hold, app)
            results = await client.ask("POST", f"{path}/cmd/wait", headers=LINES)
            assert (await results.line())["detail"] == "waiting"
            assert (await messages.line())["text"] == "waiting"
            began = trio.current_time()
        assert trio.current_time() - began < 1.5
        with trio.fail_after(2):
            last = await results.line()
            assert last["ten"]["is_completed"]
            assert last["ten"]["status_code"] == "error"
            assert await results.line() is None
            assert await messages.line() is None
            assert results.ended
            assert messages.ended
            assert await idle.stream.receive_some(1) == b""
        nursery.cancel_scope.cancel()


async def _hold(app: App, *, task_status: trio.TaskStatus[Client]) -> None:
    async with opened(app) as client:
        task_status.started(client)
        await trio.sleep_forever()


@pytest.mark.parametrize("way", ["cancelled", "not read"])
async def test_no_client_holds_up_the_close(way: str) -> None:
    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as block:
            async with front() as app:
                path = f"/graphs/{await started(app)}"
                reader: Client = await nursery.start(_hold, app)
                messages = await reader.ask("GET", f"{path}/messages")
                if way == "not read":
                    client = await nursery.start(_hold, app)
                    await client.stream.send_all(
                        f"POST {path}/cmd/flood HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n"
                        "accept: application/x-ndjson\r\n\r\n".encode()
                    )
                    await trio.sleep(0.2)  # until nothing fits into the sockets any more
                else:
                    block.cancel()
                began = trio.current_time()
        assert trio.current_time() - began < 1.5
        assert await messages.line() is None
        assert messages.ended
        nursery.cancel_scope.cancel()
