"""The pytest plugin: its fixtures, and that to load it costs nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]

TESTS = """
from __future__ import annotations

import pytest
import trio

import ten_trio as ten


class Echo(ten.Extension):
    async def on_cmd(self, env, cmd):
        await trio.sleep(100)
        await env.return_result(cmd.ok(said=cmd["text"]))


async def test_an_extension(extension_tester, ten_clock):
    async with extension_tester(Echo) as tester:
        result = await tester.send_cmd(ten.Cmd("say", {"text": "x"}), within=150)
        assert result["said"] == "x"
    assert 100 <= trio.current_time() < 110


async def test_an_app(ten_app, ten_connect, memory_network, ten_clock):
    graph = ten.Graph()
    graph.node("echo", Echo)
    async with ten_app(uri="memory://here") as app, app.open_graph(graph) as engine:
        async with ten_connect("memory://here", graph=engine.graph_id) as client:
            call = client.start_cmd(ten.Cmd("say", {"text": "y"}, dest="echo"))
            await trio.sleep(1)
            memory_network.links[0].cut()
            assert not (await call.result()).ok
"""


def run_pytest(folder: Path, source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_it.py").write_text(dedent(source))
    (folder / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n")
    # By its module, whether it is installed or not.
    plugin = ("-p", "no:ten_trio", "-p", "pytest_ten_trio", "-p", "no:cacheprovider")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin, *arguments, "test_it.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_its_fixtures(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, TESTS)
    assert "2 passed" in done.stdout, done.stdout


def test_without_pytest_trio(tmp_path: Path) -> None:
    (source, ini) = ("def test_it(ten_clock): pass", ["-c", "/dev/null"])
    done = run_pytest(tmp_path, source, *ini, "-p", "no:trio")
    assert "ten_clock needs pytest-trio" in done.stdout, done.stdout


def test_loading_it_loads_no_trio() -> None:
    code = "import sys, pytest_ten_trio; print('trio' in sys.modules, 'ten_trio' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False"]


def test_it_is_where_pytest_looks_for_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    points = project["project"]["entry-points"]["pytest11"]
    assert points == {"ten_trio": "pytest_ten_trio"}
    assert import_module(points["ten_trio"]).ten_clock
    assert "pytest_ten_trio.py" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
