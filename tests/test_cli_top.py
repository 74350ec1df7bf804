"""`ten-trio top` and `ten-trio tap`: what goes on in an app that runs somewhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from io import StringIO
from typing import Any

import pytest
import trio
from click.testing import CliRunner, Result
from rich.console import Console

import ten_trio as ten
from ten_trio.cli import main, tables, talking, watching
from ten_trio.network.transports import sockets
from ten_trio.network.watching import STATS, TAP
from tests.elsewhere import Elsewhere
from tests.runtime.acting import acting, answer, hang

pytestmark = pytest.mark.slow


class Ticker(ten.Extension):
    """Sends a number every few milliseconds, and asks about every tenth."""

    async def on_start(self, env: ten.TenEnv) -> None:
        env.nursery.start_soon(self.tick, env)

    async def tick(self, env: ten.TenEnv) -> None:
        number = 0
        while True:
            number += 1
            await env.send_data(ten.Data("tick", {"n": number}))
            if not number % 10:
                await env.send_cmd(ten.Cmd("ask", {"n": number}))
            await trio.sleep(0.002)


async def nothing(*_: Any) -> None:
    pass


async def start(app: ten.App) -> dict[str, str]:
    """The graphs `stuck` and `busy`."""
    busy, stuck = ten.Graph(), ten.Graph()
    busy.node("ticker", Ticker)
    busy.node("sink", acting(on_data=nothing, on_cmd=answer))
    busy.connect("ticker", "sink", data="tick", cmd="ask")
    stuck.node("c", acting(on_data=hang))
    engine = await app.start_graph(stuck)
    for number in range(3):
        await engine.send_data(ten.Data("d", {"n": number}, dest="c"))
    return {"stuck": engine.graph_id, "busy": (await app.start_graph(busy)).graph_id}


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    with Elsewhere(start) as app:
        yield app


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def of(elsewhere: Elsewhere, command: str, graph: str, *more: str) -> Result:
    return run(command, elsewhere.uri, "--graph", elsewhere.ids[graph], *more)


# top ---------------------------------------------------------------------------------------------


def test_one_table_with_rates(elsewhere: Elsewhere) -> None:
    result = of(elsewhere, "top", "busy", "--once", "--interval", "0.2")
    assert result.exit_code == 0, result.output
    title, header, ticker, sink, *rest = result.stdout.splitlines()
    assert title == f"graph {elsewhere.ids['busy']}, running"
    assert header.split()[:3] == ["extension", "data/s", "cmd/s"]
    assert (ticker.split()[0], sink.split()[0]) == ("ticker", "sink")
    assert float(sink.split()[1].replace(",", "")) > 10
    assert float(ticker.split()[1]) == 0
    assert any("where nothing waits" in line for line in rest)


def test_what_waits_where(elsewhere: Elsewhere) -> None:
    result = of(elsewhere, "top", "stuck", "--once", "--interval", "0.1")
    assert result.exit_code == 0, result.output
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("c ")]
    assert row.split()[:4] == ["c", "0.0", "0.0", "2"]


def test_every_graph_as_json(elsewhere: Elsewhere) -> None:
    result = run("top", elsewhere.uri, "--once", "--interval", "0.1", "--json")
    assert result.exit_code == 0, result.output
    found = [ten.Stats.from_dict(json.loads(line)) for line in result.stdout.splitlines()]
    assert [each.graph_id for each in found] == [elsewhere.ids["stuck"], elsewhere.ids["busy"]]
    assert found[1].extensions[1].data.rate > 0  # type: ignore[operator]
    assert found[0].extensions[0].data.queued == 2


def test_again_and_again_until_nobody_reads(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[list[ten.Stats]] = []

    def show(out: object, watch: object, found: list[ten.Stats]) -> None:
        shown.append(found)
        if len(shown) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(watching, "_print", show)
    result = of(elsewhere, "top", "busy", "--interval", "0.1")
    assert result.exit_code == 130
    rates = [found[0].extensions[1].data.rate for found in shown]
    assert rates[0] is None
    assert rates[1] > 0
    assert rates[2] > 0


def test_in_place_on_a_terminal(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Console(file=StringIO(), force_terminal=True, width=120)
    looks = []

    async def look(*_: object) -> list[ten.Stats]:
        looks.append(1)
        if len(looks) == 3:
            raise KeyboardInterrupt
        return [ten.Stats(graph_id="g", name=f"look {len(looks)}")]

    monkeypatch.setattr(watching, "console", lambda stderr: out)
    monkeypatch.setattr(watching, "_look", look)
    assert run("top", elsewhere.uri, "--interval", "0.1").exit_code == 130
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert "look 1" in text
    assert "look 2" in text
    assert "\x1b[?1049h" in text  # the other screen,
    assert text.rindex("\x1b[?1049l") > text.rindex("look 2")  # and back


def test_an_app_without_graphs() -> None:
    with Elsewhere() as empty:
        result = run("top", empty.uri, "--once", "--interval", "0.1")
        assert (result.exit_code, result.stdout) == (0, f"no graph runs at {empty.uri}\n")
        result = run("tap", empty.uri)
        assert result.exit_code == 1
        assert "no graph runs there" in result.stderr


def test_an_app_that_is_blocked(elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(talking, "PATIENCE", 0.001)
    with elsewhere.blocked():
        result = run("top", elsewhere.uri)
    assert result.exit_code == 2
    assert "doesn't answer" in result.stderr


@pytest.mark.parametrize(
    "given", [[], ["no JSON"], ["{}"], ["[{}]"], [7], 7], ids=["none", "text", "no list", "no graph", "number", "no array"]
)  # fmt: skip
def test_an_answer_that_makes_no_sense(
    given: object, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def send_cmd(*_: object) -> ten.CmdResult:
        return ten.CmdResult(ten.StatusCode.OK, {"stats": given})

    monkeypatch.setattr(ten.Client, "send_cmd", send_cmd)
    result = run("top", elsewhere.uri, "--once")
    assert result.exit_code == 1
    assert "the answer can't be understood" in result.stderr


# tap ---------------------------------------------------------------------------------------------


def test_messages_as_text(elsewhere: Elsewhere) -> None:
    result = of(elsewhere, "tap", "busy", "-n", "30", "--ext", "sink")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == 30
    assert any(line.split("  ")[1:3] == ["ticker → sink", "data tick"] for line in lines)
    (asked, *_) = [line for line in lines if "cmd ask #" in line]
    assert asked.endswith("0}")
    number = asked.split("#")[1].split()[0]
    assert any(f"sink → ticker  result ask #{number} OK" in line for line in lines)


@pytest.mark.parametrize(
    ("wanted", "kinds"),
    [
        (["--kind", "cmd"], {"cmd"}),
        (["--kind", "cmd", "--kind", "result"], {"cmd", "result"}),
        (["--name", "ask"], {"cmd", "result"}),
        (["--name", "tick", "--ext", "ticker"], {"data"}),
    ],
)
def test_only_some_as_json(elsewhere: Elsewhere, wanted: list[str], kinds: set[str]) -> None:
    result = of(elsewhere, "tap", "busy", "-n", "6", "--json", *wanted)
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert {each["kind"] for each in found} == kinds
    assert len(found) == 6
    for each in found:
        assert each["graph_id"] == elsewhere.ids["busy"]
        assert each["source"]["graph"] == elsewhere.ids["busy"]
        assert each["turn"] is None
    if kinds == {"data"}:
        numbers = [each["properties"]["n"] for each in found]
        assert numbers == list(range(numbers[0], numbers[0] + 6))


def test_it_ends_with_the_graph(elsewhere: Elsewhere) -> None:
    made: list[ten.Engine] = []

    async def start() -> None:
        graph = ten.Graph()
        graph.node("s", Ticker)
        graph.node("sink", acting(on_data=nothing, on_cmd=answer))
        graph.connect("s", "sink", data="tick", cmd="ask")
        made.append(await elsewhere.app.start_graph(graph))

    trio.from_thread.run(start, trio_token=elsewhere.token)
    (engine,) = made

    async def stop_it() -> None:
        engine.stop()

    later = partial(trio.from_thread.run, stop_it, trio_token=elsewhere.token)
    stop = threading.Timer(0.3, later)
    stop.start()
    try:
        result = run("tap", elsewhere.uri, "--graph", engine.graph_id, "--json")
    finally:
        stop.join()
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) > 5


def test_when_nobody_taps_any_more_nothing_is_left(elsewhere: Elsewhere) -> None:
    def taps() -> list[object]:
        return [core.core_or_none.taps for core in elsewhere.app.engines.values()]  # type: ignore[union-attr]

    assert of(elsewhere, "tap", "busy", "-n", "2").exit_code == 0

    async def gone() -> list[object]:
        with trio.fail_after(5):
            while any(taps()):
                await trio.lowlevel.checkpoint()
        return taps()

    assert set(trio.from_thread.run(gone, trio_token=elsewhere.token)) == {None}


def test_who_reads_slowly_is_told_what_was_missed(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_AHEAD", 1)
    wrote: list[str] = []

    def write(text: str) -> None:
        wrote.append(text)
        if len(wrote) == 1:
            threading.Event().wait(0.3)

    monkeypatch.setattr(watching, "_write", write)
    result = of(elsewhere, "tap", "busy", "-n", "20", "--json", "--kind", "data")
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in "".join(wrote).splitlines()]
    missed = sum(each["missed"] for each in found if each.keys() == {"missed"})
    numbers = [each["properties"]["n"] for each in found if "properties" in each]
    assert len(numbers) == 20
    assert 0 < numbers[-1] - numbers[0] + 1 - len(numbers) <= missed


def test_the_line_of_a_message() -> None:
    seen = {
        "time": 0.25,
        "kind": "audio_frame",
        "name": "pcm",
        "source": {"app": "a", "graph": "g", "extension": "ten:graph_proxy"},
        "dest": {"app": "msgpack://there"},
        "turn": "0123456789",
        "size": 320,
        "properties": {"text": "x" * 300},
    }
    when, ends, what, size, properties, turn = watching.line_of(seen).split("  ")
    assert when.endswith(":00.250")
    assert (ends, what, size) == ("the host → msgpack://there", "audio_frame pcm", "320 bytes")
    assert len(properties) == 160
    assert properties.endswith("xxx...")
    assert turn == "turn 456789"
    partly = {**seen, "kind": "result", "status": "error", "is_final": False, "cmd_id": 7}
    assert "  result pcm #7 ERROR, more to come  " in watching.line_of(partly)
    assert "(99 characters of properties)" in watching.line_of({**seen, "left_out": 99})


def test_the_line_of_a_message_without_properties_is_short() -> None:
    empty = {
        "time": 0.0,
        "kind": "data",
        "name": "d",
        "source": {"extension": "a"},
        "dest": {"extension": "b"},
        "turn": None,
        "properties": {},
    }
    assert watching.line_of(empty).split("  ")[1:] == ["a → b", "data d"]


# Both --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["", "--json"])
@pytest.mark.parametrize("command", ["top", "tap"])
def test_a_graph_that_is_not_there(command: str, form: str, elsewhere: Elsewhere) -> None:
    result = run(command, elsewhere.uri, "--graph", "nobody", *([form] if form else []))
    assert result.exit_code == 1
    assert "Graph not found" in result.output
    assert not result.stdout or "Graph not found" in json.loads(result.stdout)["error"]


@pytest.mark.parametrize("command", ["top", "tap"])
def test_nobody_is_there_or_that_is_no_uri(command: str) -> None:
    nowhere = "msgpack://127.0.0.1:1"
    result = run(command, nowhere)
    assert result.exit_code == 2
    assert f"Failed to connect to {nowhere}" in result.stderr
    assert run(command, "elsewhere").exit_code == 2


@pytest.mark.parametrize(("command", "name"), [("top", STATS), ("tap", TAP)])
def test_only_for_those_whom_the_app_trusts(
    command: str, name: str, elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if from another machine.
    monkeypatch.setattr(sockets, "is_loopback", lambda remote: False)
    result = run(command, elsewhere.uri)
    assert result.exit_code == 1
    assert f"not allowed: {name} from outside" in result.stderr


@pytest.mark.parametrize(
    ("command", "properties", "detail"),
    [
        (STATS, {"graph_id": 7}, "graph_id is a text"),
        (TAP, {"graph_id": [1]}, "graph_id is a text"),
        (TAP, {"kind": "cmd"}, "kind is an array of texts"),
        (TAP, {"kind": ["sound"]}, "no kind of message: 'sound'"),
        (TAP, {"name": [1]}, "name is an array of texts"),
    ],
)
def test_what_no_client_of_ours_asks(
    command: str, properties: dict[str, Any], detail: str, elsewhere: Elsewhere
) -> None:
    async def ask() -> ten.CmdResult:
        async with ten.connect(elsewhere.uri) as client:
            with trio.fail_after(5):
                return await client.send_cmd(ten.Cmd(command, properties, dest=ten.Loc("")))

    result = trio.run(ask)
    assert result.status is ten.StatusCode.ERROR
    assert detail in result.detail


def test_a_connection_that_looks_and_then_wants_a_graph(elsewhere: Elsewhere) -> None:
    async def look_and_ask() -> tuple[str, str]:
        async with ten.connect(elsewhere.uri, graph=elsewhere.ids["busy"]) as client:
            with trio.fail_after(5):
                cmd = ten.Cmd(TAP, {"graph_id": elsewhere.ids["stuck"]}, dest=ten.Loc(""))
                async with client.send_cmd_ex(cmd) as results:
                    assert not (await anext(results)).is_final
                    dest = ten.Loc("", elsewhere.ids["busy"], "sink")
                    answered = await client.send_cmd(ten.Cmd("ask", dest=dest))
                    *_, last = [result async for result in results]
                    return answered["by"], last.detail

    assert trio.run(look_and_ask) == ("sink", "the connection is needed for something else")


def test_the_tables_of_a_graph_with_all_there_can_be() -> None:
    busy = ten.QueueStats(
        handled=10, queued=4, oldest=2.5, waiting=2, dropped={"overflow": 3}, rate=1234.5
    )
    stats = ten.Stats(
        graph_id="g",
        name="voice",
        extensions=(
            ten.ExtensionStats(
                name="tts", state="on_start", data=busy, handlers=1, longest=0.25, pending=2,
                pending_oldest=61.0, errors=2, last_error=f"ValueError: {'x' * 80}\nmore",
                last_error_age=3.0,
            ),
        ),
        edges=(
            ten.EdgeStats(source="a", dest="tts", kind="data", name="d", queued=1),
            ten.EdgeStats(
                source="b", dest="tts", kind="data", name="e", policy="2, drop_oldest", queued=3,
                oldest=2.5, handled=9, dropped={"drop_oldest": 8}, rate=5.0,
            ),
            ten.EdgeStats(source="c", dest="tts", kind="cmd", name="f", queued=0, pending=0),
        ),
        places=(ten.PlaceStats(name="the host", queued=7, dropped={"host: full": 1}),),
        undelivered=1,
    )  # fmt: skip
    out = Console(file=StringIO(), width=100)
    for part in tables.tables_of(stats):
        out.print(part)
    lines = out.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[0] == "graph voice (g), running; 1 message went nowhere"
    row = " ".join(lines[2].split())
    assert row == "tts on_start 1,234 4 2.5 s 1, 0.2 s 2, 61.0 s 0 3"
    assert lines[3:5] == ["tts: 2 senders wait for room", "tts: dropped 3 overflow"]
    assert lines[5].startswith("tts: ValueError: xxx")
    assert lines[5].endswith("... (3.0 s ago, 2 in all)")
    edges = [" ".join(line.split()) for line in lines[7:9]]
    assert edges == ["b → tts data e 5.0 3 2.5 s 8 2, drop_oldest", "a → tts data d 1"]
    assert lines[9] == "1 edge where nothing waits"
    assert lines[10] == "the host: 7 messages wait for it, dropped: 1 host: full"
