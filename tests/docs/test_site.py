"""The site: all pages are in its menu and in llms.txt, its reference is complete, and it builds without a warning."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ten_trio
import ten_trio.graphs
import ten_trio.network
import ten_trio.notebook
import ten_trio.testing

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def test_llms_txt_lists_every_page_once() -> None:
    text = (DOCS / "llms.txt").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^- \[[^]]+\]\(([^)]+)\): \S", text, re.MULTILINE)) == PAGES


def test_the_program_in_llms_txt_runs() -> None:
    text = (DOCS / "llms.txt").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("Hello Ada\n", "")


def test_the_overview_lists_every_example() -> None:
    page = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"\[(\w+)\]\(", page.partition("## Examples")[2]))
    folders = {path.parent.name for path in (ROOT / "examples").glob("*/__main__.py")}
    files = {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert files | folders | {"notebooks"} == listed


def public(module: object) -> set[str]:
    names = getattr(module, "__all__", None) or vars(module)
    return {
        name
        for name in names
        if not name.startswith("_")
        and name != "annotations"
        and not inspect.ismodule(getattr(module, name))
    }


@pytest.mark.parametrize("name", ["", ".graphs", ".network", ".testing", ".notebook"])
def test_the_reference_has_every_public_name(name: str) -> None:
    module = sys.modules[f"ten_trio{name}"]
    pages = "".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md"))
    listed = re.findall(r"^::: (ten_trio[\w.]*)\.(\w+)$", pages, re.MULTILINE)
    assert len(listed) == len(set(listed))
    of_this = {each for package, each in listed if package == module.__name__}
    assert of_this <= public(module), "it lists what isn't there"
    elsewhere = {each for _, each in listed if hasattr(ten_trio, each)}
    assert public(module) - of_this <= elsewhere, "it misses something"


@pytest.mark.slow
def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    """Among other things: no link and no anchor leads nowhere, and no page is missing in the menu."""
    pytest.importorskip("material", reason="needs the extra ten-trio[docs]")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    reference = (tmp_path / "site/reference/extensions.html").read_text(encoding="utf-8")
    assert 'id="ten_trio.TenEnv.send_cmd"' in reference
    # What pages link outside of docs/ has become a page.
    assert (tmp_path / "site/source/examples/streaming.py.html").exists()
