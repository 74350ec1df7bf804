"""`ten-trio fuzz`: planted bugs are found, shrunk and printed as tests that fail; healthy graphs pass."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ten_trio.cli import main

ROOT = Path(__file__).parents[1]

HEAD = """
from __future__ import annotations

import trio

import ten_trio as ten
"""

# Answers a command that another one interrupts only if `answers`.
INTERRUPTED = """
@ten.addon("interrupted")
class Interrupted(ten.Extension):
    scope = None

    async def on_cmd(self, env, cmd):
        if cmd.name == "stop":
            if self.scope is not None:
                self.scope.cancel()
            await env.return_result(cmd.ok())
            return
        with trio.CancelScope() as self.scope:
            await trio.sleep(5)
        if not self.scope.cancelled_caught or {answers}:
            await env.return_result(cmd.ok())
"""

# Whoever of the five is first takes the job, and one of them is no good.
RACE = """
@ten.addon("race")
class Race(ten.Extension):
    async def on_cmd(self, env, cmd):
        jobs = [cmd]

        async def work(number):
            if jobs:
                job = jobs.pop()
                if number != 1:
                    await env.return_result(job.ok())

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(work, number)
"""

COUNTS = """
@ten.addon("counts")
class Counts(ten.Extension):
    async def on_data(self, env, data):
        if data["n"] != 7:
            await env.send_data(ten.Data("out", {"n": data["n"]}))
"""


def folder(tmp_path: Path, name: str, source: str, *exposed: str) -> Path:
    (tmp_path / "extensions").mkdir()
    (tmp_path / "extensions" / f"{name}.py").write_text(HEAD + dedent(source))
    node = {"type": "extension", "name": "it", "addon": name, "extension_group": "g"}
    messages: list[dict[str, Any]] = []
    for each in exposed:
        kind, _, message = each.partition(":")
        messages.append({"type": kind, "name": message, "extension": "it"})
    graph = tmp_path / "graph.json"
    graph.write_text(json.dumps({"nodes": [node], "exposed_messages": messages}))
    return graph


def fuzz(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["fuzz", *map(str, arguments)])


def run_pytest(file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(file)],
        cwd=file.parent,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{file.parent}"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_an_answer_that_is_forgotten_when_cancelled(tmp_path: Path) -> None:
    source = INTERRUPTED.format(answers=False)
    graph = folder(tmp_path, "interrupted", source, "cmd_in:work", "cmd_in:stop")
    found = fuzz(graph, "--seeds", 400, "--seed", 1, "-o", tmp_path / "test_found.py")
    assert found.exit_code == 1, found.output
    assert "its handler has returned, and hasn't answered" in found.output
    test = (tmp_path / "test_found.py").read_text()
    assert test.count("Say('cmd'") == 3  # the two that it takes, and which of them isn't answered

    failed = run_pytest(tmp_path / "test_found.py")
    assert failed.returncode == 1, failed.stdout
    assert "every command is answered" in failed.stdout

    # Once it is repaired, the test passes, and nothing is found any more.
    (tmp_path / "extensions" / "interrupted.py").write_text(
        HEAD + dedent(INTERRUPTED.format(answers=True))
    )
    passed = run_pytest(tmp_path / "test_found.py")
    assert passed.returncode == 0, passed.stdout
    healthy = fuzz(graph, "--seeds", 40)
    assert healthy.exit_code == 0, healthy.output
    assert "40 trials, and nothing found" in healthy.stderr
    assert healthy.stdout == ""


@pytest.mark.slow
def test_a_race_is_found_with_its_order(tmp_path: Path) -> None:
    graph = folder(tmp_path, "race", RACE, "cmd_in:go")
    found = fuzz(graph, "--seeds", 300, "--seed", 3, "--json")
    assert found.exit_code == 1, found.output
    told = json.loads(found.stdout)
    assert told["rule"].startswith("every command is answered")
    assert told["repeats"]
    assert not told["ok"]
    file = tmp_path / "test_race.py"
    file.write_text(told["test"])
    assert run_pytest(file).returncode == 1
    assert "cancel_at" not in told["test"]


@pytest.mark.slow
def test_what_only_a_check_can_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = folder(tmp_path, "counts", COUNTS, "data_out:out")
    (tmp_path / "my_check.py").write_text(
        dedent("""
        from __future__ import annotations


        def nothing_is_lost(told):
            if told.is_undisturbed:
                assert len(told.received) == len(told.trial.says)
        """)
    )
    monkeypatch.chdir(tmp_path)
    how = ("--check", "my_check:nothing_is_lost", "--no-cancels", "--clients", 0, "--seeds", 100)
    healthy = fuzz(graph, "--message", 'data:in@it={"n": 1}', *how)
    assert healthy.exit_code == 0, healthy.output
    found = fuzz(graph, "--message", 'data:in@it={"n": 7}', *how)
    assert found.exit_code == 1, found.output
    assert "from my_check import nothing_is_lost" in found.stdout
    (tmp_path / "test_lost.py").write_text(found.stdout)
    failed = run_pytest(tmp_path / "test_lost.py")
    assert failed.returncode == 1, failed.stdout
    assert "its own check holds" in failed.stdout


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--message", "cmd"], "is no KIND:NAME"),
        (["--message", "sound:x"], "is no KIND:NAME"),
        (["--message", "cmd:x={"], "no JSON"),
        (["--message", "cmd:x=1"], "no JSON object"),
        (["--check", "json:nothing"], "no MODULE:FUNCTION"),
        (["--check", "json:__name__"], "it can't be called"),
        (["--seeds", "0"], "--seeds"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: list[str], text: str) -> None:
    graph = folder(tmp_path, "counts", COUNTS)
    refused = fuzz(graph, *arguments)
    assert refused.exit_code == 2
    assert text in refused.output


def test_graphs_that_cannot_be_run(tmp_path: Path) -> None:
    graph = folder(tmp_path, "counts", COUNTS)
    graph.write_text(graph.read_text().replace('"counts"', '"cuonts"'))
    refused = fuzz(graph, "--json")
    assert refused.exit_code == 2
    assert 'did you mean "counts"' in json.loads(refused.stdout)["error"]
    graph.write_text('{"nodes": 1}')
    assert fuzz(graph).exit_code == 2
    two = [{"type": "extension", "name": n, "addon": "counts", "app": n} for n in ("a:1", "b:1")]
    graph.write_text(
        json.dumps({"nodes": two})
        .replace('"name": "a:1"', '"name": "a"')
        .replace('"name": "b:1"', '"name": "b"')
    )
    refused = fuzz(graph)
    assert refused.exit_code == 2
    assert "it spans several apps" in refused.output


def test_what_to_say_may_leave_the_properties_open_and_nothing_found_is_told(
    tmp_path: Path,
) -> None:
    graph = folder(tmp_path, "interrupted", INTERRUPTED.format(answers=True), "cmd_in:work")
    result = fuzz(graph, "--seeds", 2, "--seed", 3, "--json", "--message", "cmd:work@it")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert (told["ok"], told["seed"], "problem" in told) == (True, 3, False)


def test_a_predefined_graph(tmp_path: Path) -> None:
    graph = folder(
        tmp_path, "interrupted", INTERRUPTED.format(answers=False), "cmd_in:work", "cmd_in:stop"
    )
    predefined = [
        {"name": name, "auto_start": True, "graph": json.loads(graph.read_text())} for name in "ab"
    ]
    section = {"uri": "msgpack://127.0.0.1:1", "predefined_graphs": predefined}
    (tmp_path / "property.json").write_text(json.dumps({"ten": section}))
    refused = fuzz(tmp_path)
    assert refused.exit_code == 2
    assert "there is: ['a', 'b']" in refused.output
    found = fuzz(tmp_path, "--graph", "b", "--seeds", 200)
    assert found.exit_code == 1
    assert "graph='b'," in found.stdout


def test_without_hypothesis(tmp_path: Path) -> None:
    graph = folder(tmp_path, "counts", COUNTS)
    code = "import sys; sys.modules['hypothesis'] = None; from ten_trio.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "fuzz", str(graph)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "pip install 'ten-trio[test]'" in done.stderr
    assert "Traceback" not in done.stderr
