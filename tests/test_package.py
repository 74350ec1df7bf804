"""What `import ten_trio` loads, and what it leaves for later."""

from __future__ import annotations

import ast
import subprocess
import sys
from inspect import getsource

import pytest

import ten_trio as ten


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_what_runs_graphs_is_loaded_when_it_is_asked_for() -> None:
    loaded = "print(*sorted(name for name in sys.modules if name.startswith('ten_trio.')))"
    early = run(f"import sys, ten_trio as ten; ten.Cmd('x'); {loaded}").split()
    assert "ten_trio.messages" in early
    assert not {"ten_trio.graphs", "ten_trio.runtime", "ten_trio.network"} & {*early}
    graphs = run(f"import sys, ten_trio as ten; ten.Graph(); {loaded}").split()
    assert "ten_trio.graphs" in graphs
    assert "ten_trio.runtime" not in graphs
    assert "ten_trio.network" in run(f"import sys; from ten_trio import open_app; {loaded}").split()


def test_its_names_are_those_that_a_type_checker_sees() -> None:
    (block,) = [
        node
        for node in ast.parse(getsource(ten)).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    seen = {
        node.module: tuple(sorted(each.name for each in node.names))
        for node in block.body
        if isinstance(node, ast.ImportFrom)
    }
    assert {package: tuple(sorted(names)) for package, names in ten._LATER.items() if names} == seen


def test_every_name_is_there() -> None:
    names = [name for names in ten._LATER.values() for name in names]
    assert {*names} <= {*dir(ten)}
    for name in (*names, *ten._LATER):
        assert getattr(ten, name) is getattr(ten, name)
    assert run("from ten_trio import *; print(Cmd, App, TenError)").count("ten_trio") == 3
    assert run("import ten_trio as ten; print(ten.runtime.App is ten.App)") == "True"
    with pytest.raises(AttributeError, match="no attribute 'Extensoin'"):
        ten.Extensoin  # noqa: B018
