"""docs/start.md, followed to the letter: its files in an empty folder, its commands, and what they print."""

from __future__ import annotations

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pygraphviz")

ROOT = Path(__file__).parents[2]
FILES = ROOT / "examples" / "start"
CONSOLE = re.compile(r"```console\n(.*?)```", re.DOTALL)
RUNS = {"python": [], "pytest": ["-m", "pytest"], "ten-trio": ["-m", "ten_trio"]}


def commands(page: str) -> list[tuple[str, str]]:
    """The commands on the page and what they print, but for those that install."""
    found = []
    for block in CONSOLE.findall(page):
        for command in block.removeprefix("$ ").split("\n$ "):
            line, _, output = command.partition("\n")
            if line.partition(" ")[0] in RUNS:
                found.append((line, output))
    return found


@pytest.mark.slow
def test_the_first_five_minutes(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "start.md").read_text(encoding="utf-8")
    for path in FILES.glob("*.py"):
        assert f"<!-- in {path.relative_to(ROOT)} -->" in page
        assert f"`{path.name}`" in page, "the page says where to put it"
        shutil.copy(path, tmp_path)
    lines = commands(page)
    assert len(lines) == 3
    for line, output in lines:
        program, *arguments = shlex.split(line)
        done = subprocess.run(
            [sys.executable, *RUNS[program], *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        same = doctest.OutputChecker().check_output(output, done.stdout, doctest.ELLIPSIS)
        assert same, f"{line} prints otherwise: {done.stdout}"
    drawn = (tmp_path / "valley.svg").read_text(encoding="utf-8")
    assert drawn.startswith("<svg")
    for text in ("echo", "ear", "sound", "how_many"):
        assert text in drawn
