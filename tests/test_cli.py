"""The command line: what it prints, its exit codes, and how it takes signals."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ten_trio.cli import main
from ten_trio.cli.screens import PersonScreen, reason_of
from ten_trio.runtime import ShutdownReport

ROOT = Path(__file__).parents[1]

# In the form of the TEN framework's own voice assistant: reversed connections, names, placeholders.
VOICE_ASSISTANT: dict[str, Any] = {
    "ten": {
        "predefined_graphs": [
            {
                "name": "voice_assistant",
                "auto_start": True,
                "graph": {
                    "nodes": [
                        {
                            "type": "extension",
                            "name": name,
                            "addon": addon,
                            "extension_group": group,
                            "property": {"key": "${env:TEN_TRIO_TEST_UNSET}", "size": 10},
                        }
                        for name, addon, group in (
                            ("rtc", "some_rtc", "default"),
                            ("stt", "some_asr_python", "stt"),
                            ("llm", "some_llm_python", "chatgpt"),
                            ("tts", "some_tts_python", "tts"),
                            ("main_control", "main_python", "control"),
                        )
                    ],
                    "connections": [
                        {
                            "extension": "main_control",
                            "cmd": [
                                {
                                    "names": ["on_user_joined", "on_user_left"],
                                    "source": [{"extension": "rtc"}],
                                }
                            ],
                            "data": [{"name": "asr_result", "source": [{"extension": "stt"}]}],
                        },
                        {
                            "extension": "rtc",
                            "audio_frame": [
                                {"name": "pcm_frame", "dest": [{"extension": "stt"}]},
                                {"name": "pcm_frame", "source": [{"extension": "tts"}]},
                            ],
                        },
                    ],
                },
            }
        ],
        "log": {
            "handlers": [
                {
                    "matchers": [{"level": "info"}],
                    "formatter": {"type": "plain", "colored": True},
                    "emitter": {"type": "console", "config": {"stream": "stdout"}},
                }
            ]
        },
    }
}

EXTENSION = """
import sys, time
import trio
import ten_trio as ten

@ten.addon("{name}")
class Tested(ten.Extension):
    async def on_start(self, env):
        env.log_info("it starts")
        {on_start}

    async def on_stop(self, env):
        env.log_info("it stops")
        {on_stop}
"""

QUIET: dict[str, Any] = {"handlers": []}


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def graph_of(*addons: str) -> dict[str, Any]:
    nodes = [{"type": "extension", "name": f"n{i}", "addon": a} for i, a in enumerate(addons)]
    return {"nodes": nodes}


def make_app(
    folder: Path, *, on_start: str = "pass", on_stop: str = "pass", **settings: Any
) -> Path:
    """An app folder with one auto-started graph, `main`, of one extension."""
    write(
        folder / "extensions" / "tested.py",
        EXTENSION.format(name="tested", on_start=on_start, on_stop=on_stop),
    )
    graph = {"name": "main", "auto_start": True, "graph": graph_of("tested")}
    section = {"log": QUIET, "predefined_graphs": [graph], **settings}
    write(folder / "property.json", {"ten": section, "mine": 1})
    return folder


def invoke(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


# check ------------------------------------------------------------------------------------------


def test_check_takes_the_originals_voice_assistant(tmp_path: Path) -> None:
    file = write(tmp_path / "property.json", VOICE_ASSISTANT)
    result = invoke("check", file)
    assert result.exit_code == 0, result.output
    assert result.output.count("warning") == 8
    assert 'unknown addon "some_rtc"' in result.output
    assert "can build up delay" in " ".join(result.output.split())
    assert "no errors, 7 warnings. voice_assistant (5 nodes, 2 connections)." in result.output


def test_unknown_addons_are_errors_in_an_app_folder(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    assert invoke("check", app).exit_code == 0
    write(app / "graph.json", graph_of("tested", "testes"))
    result = invoke("check", app / "graph.json")
    assert result.exit_code == 1
    assert 'unknown addon "testes"' in result.output
    assert 'did you mean "tested"?' in result.output
    assert "1 error." in result.output


def test_addons_on_the_command_line(tmp_path: Path) -> None:
    file = write(tmp_path / "graph.json", graph_of("a", "b", "c"))
    assert invoke("check", file).exit_code == 0
    assert invoke("check", "--addons", "a", file).exit_code == 1
    assert invoke("check", "--addons", "a,b", "--addons", " c", file).exit_code == 0


BAD_GRAPH = {
    "nodes": [
        {"type": "extension", "name": "a", "addon": "x"},
        {"type": "extension", "name": "a", "addon": 3},
        {"type": "extensoin", "name": "b", "addon": "x"},
    ],
    "connections": [{"extension": "a", "data": [{"dest": [{"extension": "b"}]}]}],
}


def test_check_lists_everything_at_once(tmp_path: Path) -> None:
    graph = write(tmp_path / "graph.json", BAD_GRAPH)
    result = invoke("check", "--json", "--addons", "y", graph)
    assert result.exit_code == 1
    told = json.loads(result.output)
    assert told["ok"] is False
    assert told["graphs"] == ["graph"]
    hints = {problem["path"]: problem["hint"] for problem in told["problems"]}
    assert set(hints) == {
        "nodes[1].addon",
        "nodes[2].type",
        "nodes[1].name",
        "connections[0].data[0]",
        "nodes[0].addon",
    }
    assert hints["nodes[2].type"] == 'did you mean "extension"?'
    table = invoke("check", graph).output
    assert "nodes[2].type" in table
    assert "5 errors" not in table  # no --addons: that is a warning
    assert "4 errors, 1 warning" in table


def test_check_folds_no_path_on_a_narrow_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ten_trio.cli.screens.WIDE", 40)
    graph = write(tmp_path / "graph.json", {"nodes": [{"type": "extension", "name": "a"}]})
    result = invoke("check", graph)
    assert "error nodes[0].addon\n  is missing\n" in result.output


def test_check_a_property_json_with_all_kinds_of_problems(tmp_path: Path) -> None:
    content = {
        "ten": {
            "uri": "nonsense",
            "predefined_graphs": [{"name": "g", "graph": BAD_GRAPH}, {"name": "h", "graph": {}}],
            "log": {"handlers": [{"matchers": [{"level": "loud"}]}]},
        }
    }
    result = invoke("check", "--json", write(tmp_path / "property.json", content))
    assert result.exit_code == 1
    paths = {problem["path"] for problem in json.loads(result.output)["problems"]}
    assert {
        "ten.uri",
        "ten.predefined_graphs[0].graph.nodes[1].addon",
        "ten.predefined_graphs[0].graph.nodes[0].addon",
        "ten.log.handlers[0].matchers[0].level",
    } <= paths


def test_check_what_is_imported(tmp_path: Path) -> None:
    inner = {"type": "subgraph", "name": "s", "graph": {"import_uri": "inner.json"}}
    file = write(tmp_path / "graph.json", {"nodes": [inner]})
    missing = invoke("check", "--json", file)
    assert missing.exit_code == 1
    assert json.loads(missing.output)["problems"][0]["path"].startswith("nodes[0].graph")
    write(tmp_path / "inner.json", graph_of("known", "unknown"))
    result = invoke("check", "--json", "--addons", "known", file)
    assert result.exit_code == 1
    (problem,) = json.loads(result.output)["problems"]
    assert problem["path"] == "nodes[0].graph.nodes[1].addon"
    assert "inner.json" in problem["message"]


def test_an_entry_of_predefined_graphs_is_as_good_as_its_graph(tmp_path: Path) -> None:
    file = write(tmp_path / "one.json", {"name": "g", "graph": {"nodes": [{"type": "extension"}]}})
    told = json.loads(invoke("check", "--json", file).output)
    assert {p["path"] for p in told["problems"]} == {
        "graph.nodes[0].name",
        "graph.nodes[0].addon",
    }


@pytest.mark.parametrize("content", ["{", "[1, NaN]", b"\xff"], ids=["cut", "nan", "bytes"])
def test_what_is_not_json_can_not_be_read(tmp_path: Path, content: str | bytes) -> None:
    file = tmp_path / "graph.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = invoke("check", "--json", file)
    assert result.exit_code == 2
    told = json.loads(result.output)
    assert told["file"] == str(file)
    assert str(file) in told["error"]
    for command in ("check", "draw", "run"):
        assert invoke(command, file).exit_code == 2
    assert invoke("check", tmp_path / "none.json").exit_code == 2


@pytest.mark.parametrize("content", [[], 3, None, {"ten": 3}, {"ten": None}])
def test_json_that_is_no_graph(tmp_path: Path, content: Any) -> None:
    for name in ("graph.json", "property.json"):
        result = invoke("check", write(tmp_path / name, content))
        assert result.exit_code == 1, result.output
        assert "must be an object" in result.output


# draw -------------------------------------------------------------------------------------------


def test_draw_mermaid(tmp_path: Path) -> None:
    file = write(tmp_path / "property.json", VOICE_ASSISTANT)
    result = invoke("draw", file)
    assert result.exit_code == 0
    assert result.output.startswith("flowchart LR\n")
    assert "on_user_joined<br/>on_user_left" in result.output
    output = tmp_path / "graph.mmd"
    assert invoke("draw", tmp_path, "-o", output, "--graph", "voice_assistant").exit_code == 0
    assert output.read_text() == result.output


def test_draw_svg(tmp_path: Path) -> None:
    pytest.importorskip("pygraphviz")
    file = write(tmp_path / "property.json", VOICE_ASSISTANT)
    output = tmp_path / "graph.svg"
    result = invoke("draw", file, "-o", output)
    assert result.exit_code == 0
    assert output.read_text().startswith("<svg")
    assert ">voice_assistant<" in output.read_text()
    assert "<svg" in invoke("draw", file, "--format", "svg").output
    assert invoke("draw", file, "-o", tmp_path / "no" / "folder.svg").exit_code == 1


def test_draw_png(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pygraphviz")
    pytest.importorskip("resvg_py")
    file = write(tmp_path / "property.json", VOICE_ASSISTANT)
    output = tmp_path / "graph.png"
    assert invoke("draw", file, "-o", output).exit_code == 0
    assert output.read_bytes().startswith(b"\x89PNG")
    result = invoke("draw", file, "--format", "png")
    assert result.stdout_bytes == output.read_bytes()
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    result = invoke("draw", file, "--format", "png")
    assert result.exit_code == 2
    assert "ten-trio[draw]" in result.output


def test_draw_without_the_layout_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygraphviz", None)
    file = write(tmp_path / "graph.json", graph_of("a"))
    result = invoke("draw", file, "--format", "svg")
    assert result.exit_code == 2
    assert "ten-trio[draw]" in result.output


def test_draw_one_of_several(tmp_path: Path) -> None:
    graphs = [{"name": name, "graph": graph_of(f"addon_{name}")} for name in ("one", "two")]
    file = write(tmp_path / "property.json", {"ten": {"predefined_graphs": graphs}})
    assert "addon_two" in invoke("draw", file, "--graph", "two").output
    for arguments in ((), ("--graph", "three")):
        result = invoke("draw", file, *arguments)
        assert result.exit_code == 2
        assert "one, two" in result.output


def test_draw_what_is_wrong_or_nested(tmp_path: Path) -> None:
    file = write(tmp_path / "graph.json", BAD_GRAPH)
    result = invoke("draw", file)
    assert result.exit_code == 0
    assert 'n0("a<br/><small>x</small>")' in result.output
    assert "has problems: see ten-trio check" in result.stderr
    assert invoke("draw", "--flat", file).exit_code == 1
    inner = {"type": "subgraph", "name": "s", "graph": graph_of("deep")}
    file = write(tmp_path / "nested.json", {"nodes": [inner]})
    assert "deep" not in invoke("draw", file).output
    assert "s_n0" in invoke("draw", "--flat", file).output
    assert invoke("draw", write(tmp_path / "list.json", [])).exit_code == 1


# version and help -------------------------------------------------------------------------------


def test_version_and_help() -> None:
    assert invoke("version").output.startswith("ten-trio 0.")
    assert set(json.loads(invoke("version", "--json").output)) == {"ten_trio", "trio", "python"}
    assert "128+N" in invoke("--help").output
    assert invoke("nonsense").exit_code == 2
    module = subprocess.run(
        [sys.executable, "-m", "ten_trio", "version"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    assert module.stdout == invoke("version").output


# run --------------------------------------------------------------------------------------------


def events(output: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in output.splitlines()]
    return [each for each in found if "event" in each]


STOP = "env.stop_graph()"


def test_run_an_app_until_its_graph_ends(tmp_path: Path) -> None:
    result = invoke("run", "--json", make_app(tmp_path, on_start=STOP))
    assert result.exit_code == 0, result.output
    told = events(result.output)
    assert [each["event"] for each in told if each["event"] != "started"] == [
        "starting",
        "closed",
        "ended",
    ]
    assert {each["graph"] for each in told[:-1]} == {"main"}
    closed = told[-2]
    assert closed["reason"] == "stop_graph"
    assert closed["grace_exhausted"] is False
    assert list(closed["extensions"]) == ["n0"]
    assert closed["failures"] == []


def test_run_with_a_loop_per_engine(tmp_path: Path) -> None:
    app = make_app(tmp_path, on_start=STOP, one_event_loop_per_engine=True)
    result = invoke("run", "--json", app)
    assert result.exit_code == 0, result.output
    assert events(result.output)[-2]["reason"] == "stop_graph"


def test_run_a_bare_graph(tmp_path: Path) -> None:
    app = make_app(tmp_path, on_start="print('hello from it'); " + STOP)
    result = invoke("run", write(app / "alone.json", graph_of("tested")))
    assert result.exit_code == 0, result.output
    assert "hello from it\n" in result.stdout
    assert "starting alone\n" in result.stderr
    assert "alone is closed: stop_graph" in result.stderr
    assert "How the graphs closed" in result.stderr


def test_run_a_graph_by_name(tmp_path: Path) -> None:
    app = make_app(tmp_path, on_start=STOP)
    content = json.loads((app / "property.json").read_text())
    content["ten"]["predefined_graphs"][0]["auto_start"] = False
    write(app / "property.json", content)
    result = invoke("run", app)
    assert result.exit_code == 2
    assert "name one with --graph: main" in result.output
    assert invoke("run", app, "--graph", "other").exit_code == 2
    assert invoke("run", app, "--graph", "main").exit_code == 0
    graph = write(app / "graph.json", graph_of("tested"))
    assert invoke("run", graph, "--graph", "main").exit_code == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no predefined graphs" in invoke("run", empty).output


def test_run_a_graph_that_fails(tmp_path: Path) -> None:
    app = make_app(tmp_path, on_start="raise ValueError('out of order')")
    result = invoke("run", app)
    assert result.exit_code == 1
    assert result.stderr.count("ValueError: out of order | in on_start of 'n0'") == 1
    assert events(invoke("run", "--json", app).output)[-1]["exit_code"] == 1


def test_run_a_graph_that_can_not_start(tmp_path: Path) -> None:
    app = make_app(tmp_path)
    graph = write(app / "graph.json", graph_of("tested", "testes"))
    result = invoke("run", graph)
    assert result.exit_code == 1
    assert "graph could not be started" in result.stderr
    assert 'did you mean "tested"?' in result.stderr
    (failed,) = [e for e in events(invoke("run", "--json", graph).stdout) if e["event"] == "failed"]
    assert failed["graph"] == "graph"


def test_run_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = invoke("run", write(tmp_path / "graph.json", BAD_GRAPH))
    assert result.exit_code == 1
    assert "nodes[2].type" in result.output
    monkeypatch.delenv("TEN_TRIO_TEST_UNSET", raising=False)
    app = make_app(tmp_path / "app", uri="${env:TEN_TRIO_TEST_UNSET}", on_start=STOP)
    result = invoke("run", app)
    assert result.exit_code == 1
    assert "TEN_TRIO_TEST_UNSET" in result.output
    monkeypatch.setenv("TEN_TRIO_TEST_UNSET", "client:here")
    result = invoke("run", app)
    assert result.exit_code == 0, result.output


def test_run_with_a_grace_that_runs_out(tmp_path: Path) -> None:
    app = make_app(tmp_path, on_start=STOP, on_stop="await trio.sleep_forever()")
    result = invoke("run", app, "--grace", "0.01")
    assert result.exit_code == 3
    assert "main: n0 was slow: on_stop" in result.stderr
    assert invoke("run", app, "--grace", "0").exit_code == 2


def test_logs_go_where_the_app_says(tmp_path: Path) -> None:
    handler = {
        "matchers": [{"level": "info"}],
        "formatter": {"type": "json"},
        "emitter": {"type": "file", "config": {"path": str(tmp_path / "logs" / "app.log")}},
    }
    app = make_app(tmp_path / "app", on_start=STOP, log={"handlers": [handler]})
    assert invoke("run", app).exit_code == 0
    lines = [json.loads(line) for line in (tmp_path / "logs" / "app.log").read_text().splitlines()]
    (start,) = [line for line in lines if line["message"] == "[n0] it starts"]
    assert (start["function"], start["file"], start["level"]) == ("on_start", "tested.py", "INFO")


def test_the_first_graph_that_can_not_start_is_the_last_that_is_tried(tmp_path: Path) -> None:
    bad = {"name": "bad", "auto_start": True, "graph": graph_of("unheard_of")}
    good = {"name": "good", "auto_start": True, "graph": graph_of("tested")}
    app = make_app(tmp_path, predefined_graphs=[bad, good])
    result = invoke("run", "--json", app)
    assert result.exit_code == 1
    assert [each["graph"] for each in events(result.stdout) if each["event"] == "starting"] == [
        "bad"
    ]


def test_an_app_that_listens_tells_the_id_of_its_graph(tmp_path: Path) -> None:
    stop_when_at_rest = """
        import trio.testing
        async def later():
            await trio.testing.wait_all_tasks_blocked()
            env.stop_graph()
        env.nursery.start_soon(later)
"""
    app = make_app(tmp_path, on_start=stop_when_at_rest, uri="msgpack://127.0.0.1:0")
    result = invoke("run", app)
    assert result.exit_code == 0, result.output
    (line,) = [each for each in result.stderr.splitlines() if "main is running" in each]
    assert re.search(r"; its id is [-0-9a-f]{36}$", line)


def test_a_terminal_shows_by_a_spinner_what_is_still_starting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    screen = PersonScreen()
    screen.starting("one")
    screen.starting("two")
    screen.signalled("SIGHUP", "reopen")
    screen.failed("one", OSError("no such file"))
    screen.failed("two", OSError(errno.ENOENT, "no such file"))
    screen.ended({}, [], 1)
    told = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err)
    assert "starting one, two" in told
    assert "starting one\n" not in told
    assert "How the graphs closed" not in told
    assert "one could not be started:" in told


def test_a_thread_that_still_runs_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    report = ShutdownReport(
        graph_id="g",
        reason="enough",
        duration=1.0,
        grace_exhausted=False,
        extensions={},
        threads=("worker of a",),
    )
    PersonScreen().ended({"g": "main"}, [report], 0)
    assert "main: a thread still runs: worker of a" in capsys.readouterr().err
    assert reason_of(OSError("it is broken")) == "OSError: it is broken"
    assert reason_of(OSError(errno.ENOENT, "x", "/file")) == "No such file or directory"


# Signals ----------------------------------------------------------------------------------------


@contextmanager
def running(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "ten_trio", "run", "--json", *arguments, str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen[str], event: str) -> dict[str, Any]:
    assert process.stdout is not None
    for line in process.stdout:
        told: dict[str, Any] = json.loads(line)
        if told["event"] == event:
            return told
    raise AssertionError(f"no {event}: {process.communicate()[1]}")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_closes_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with running(make_app(tmp_path)) as process:
        wait_for(process, "started")
        process.send_signal(number)
        assert wait_for(process, "signal") | {"time": ""} == {
            "event": "signal",
            "time": "",
            "signal": number.name,
            "meaning": "close",
        }
        closed = wait_for(process, "closed")
        assert closed["grace_exhausted"] is False
        assert closed["reason"] == f"the app closes: {number.name}"
        assert wait_for(process, "ended")["exit_code"] == 0
        assert process.wait() == 0


TELL = 'print(\'{"event": "stopping"}\', flush=True); '


@pytest.mark.slow
def test_a_second_signal_cancels_at_once(tmp_path: Path) -> None:
    app = make_app(tmp_path, on_stop=TELL + "await trio.sleep_forever()")
    with running(app, "--grace", "1000") as process:
        wait_for(process, "started")
        process.send_signal(signal.SIGTERM)
        wait_for(process, "stopping")
        process.send_signal(signal.SIGINT)
        assert wait_for(process, "signal")["meaning"] == "cancel"
        assert wait_for(process, "closed")["extensions"]["n0"]["slow"].startswith("on_stop")
        assert process.wait() == 128 + signal.SIGINT


@pytest.mark.slow
def test_a_third_signal_ends_a_process_that_is_stuck(tmp_path: Path) -> None:
    app = make_app(tmp_path, on_stop=TELL + "\n        while True: pass")
    with running(app) as process:
        wait_for(process, "started")
        process.send_signal(signal.SIGTERM)
        wait_for(process, "stopping")
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
        assert "without cleaning up" in process.communicate()[1]


@pytest.mark.slow
def test_hangup_reopens_the_log_files(tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    handler = {
        "matchers": [{"level": "info"}],
        "formatter": {"type": "plain"},
        "emitter": {"type": "file", "config": {"path": str(file)}},
    }
    app = make_app(tmp_path / "app", log={"handlers": [handler]}, long_running_mode=True)
    with running(app) as process:
        wait_for(process, "started")
        os.replace(file, tmp_path / "old.log")
        process.send_signal(signal.SIGHUP)
        assert wait_for(process, "signal")["meaning"] == "reopen"
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    assert "[n0] it starts" in (tmp_path / "old.log").read_text()
    assert "[n0] it starts" not in file.read_text()
    assert "[n0] it stops" in file.read_text()
