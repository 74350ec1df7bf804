"""The Python in README.md and docs/ runs, and prints what the page says it prints.

Every ```python block is a program of its own, run from an empty folder with warnings as errors. A
```text block right after it is its output, in which `...` stands for anything. HTML comments, which
a reader doesn't see, change that for the block that follows them:

    <!-- continue -->   goes on where the block before it stopped, with the same names
    <!-- no-run -->     is only shown
    <!-- in PATH -->    is a literal part of that file, which is run by tests of its own
"""

from __future__ import annotations

import doctest
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

import pytest

ROOT = Path(__file__).parents[2]

BLOCK = re.compile(
    r"(?:^[ \t]*<!--[ \t]*(?P<mark>no-run|continue|in (?P<file>[\w./-]+))[ \t]*-->[ \t]*\n\s*)?"
    r"^(?P<indent>[ \t]*)```python[^\n]*\n(?P<source>.*?)^(?P=indent)```[ \t]*$"
    r"(?:\s*^(?P=indent)```text[ \t]*\n(?P<output>.*?)^(?P=indent)```[ \t]*$)?",
    re.DOTALL | re.MULTILINE,
)

# Runs the blocks one after another as the module __main__, each compiled under the name and line
# number it has on the page, so that a traceback points there. What each printed goes back by a pipe.
DRIVER = """
import contextlib, io, json, sys
blocks, outputs = json.load(sys.stdin), []
if any("hypothesis" in source for _, _, source in blocks):
    # A slow machine isn't a failure (see conftest.py, which isn't there).
    from hypothesis import HealthCheck, settings
    settings.register_profile("page", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("page")
try:
    for page, line, source in blocks:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            exec(compile("\\n" * (line - 1) + source, page, "exec"), globals())
        outputs.append(printed.getvalue())
finally:
    json.dump(outputs, sys.stdout)
"""


@dataclass(frozen=True)
class Snippet:
    line: int
    source: str
    output: str | None


@dataclass
class Program:
    page: str
    snippets: list[Snippet] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.page}:{self.snippets[0].line}"


def programs(page: str, text: str) -> Iterator[Program]:
    """The programs on a page: each block, with those that continue it."""
    program: Program | None = None
    for block in BLOCK.finditer(text):
        mark, output = block["mark"], block["output"]
        if mark == "no-run" or block["file"]:
            continue
        snippet = Snippet(
            line=text.count("\n", 0, block.start("source")) + 1,
            source=dedent(block["source"]),
            output=None if output is None else dedent(output),
        )
        if mark == "continue":
            assert program, f"{page}:{snippet.line} continues nothing"
            program.snippets.append(snippet)
            continue
        if program:
            yield program
        program = Program(page, [snippet])
    if program:
        yield program


def pages() -> Iterator[Path]:
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))


def all_programs() -> Iterator[object]:
    for path in pages():
        page = str(path.relative_to(ROOT))
        marks = [pytest.mark.smoke] if page == "README.md" else []
        for program in programs(page, path.read_text(encoding="utf-8")):
            yield pytest.param(program, id=str(program), marks=marks)


def run(program: Program, folder: Path) -> list[str]:
    blocks = [(program.page, each.line, each.source) for each in program.snippets]
    search_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", DRIVER],
        input=json.dumps(blocks),
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": search_path},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outputs = json.loads(done.stdout)
    assert isinstance(outputs, list)
    return outputs


@pytest.mark.parametrize("program", list(all_programs()))
def test_snippet(program: Program, tmp_path: Path) -> None:
    same = doctest.OutputChecker().check_output
    for snippet, printed in zip(program.snippets, run(program, tmp_path), strict=True):
        if snippet.output is not None and not same(snippet.output, printed, doctest.ELLIPSIS):
            assert printed == snippet.output, f"{program.page}:{snippet.line} prints otherwise"


def quotes(text: str) -> Iterator[tuple[str, str]]:
    """What a page quotes of files: their paths and the quoted parts."""
    for block in BLOCK.finditer(text):
        if block["file"]:
            yield block["file"], dedent(block["source"])


@pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in pages()])
def test_what_a_page_quotes_is_in_the_file(path: Path) -> None:
    for file, quoted in quotes(path.read_text(encoding="utf-8")):
        assert quoted in (ROOT / file).read_text(encoding="utf-8"), f"{file} reads otherwise"


def test_quotes_are_found() -> None:
    text = "<!-- in a/b_1.py -->\n```python\nx = 1\n```\n"
    assert list(quotes(text)) == [("a/b_1.py", "x = 1\n")]
    assert list(programs("page.md", text)) == []


PAGE = """
# A page
```python
x = 1
print(x)
```

```text
1
```
<!-- continue -->
```python
print(x + 1, __name__)
```
<!-- no-run -->

```python
1 / 0
```
- in a list:

  ```python
  if True:
      print("a" * 3)
  ```
  ```text
  a...
  ```
"""


def test_blocks_are_found(tmp_path: Path) -> None:
    first, second = programs("page.md", PAGE)
    assert str(first) == "page.md:4"
    assert [each.output for each in first.snippets] == ["1\n", None]
    assert run(first, tmp_path) == ["1\n", "2 __main__\n"]
    test_snippet(second, tmp_path)


def test_a_wrong_output_is_noticed(tmp_path: Path) -> None:
    (program,) = programs("page.md", "```python\nprint(1)\n```\n```text\n2\n```\n")
    with pytest.raises(AssertionError, match=r"page.md:2 prints otherwise"):
        test_snippet(program, tmp_path)


def test_a_crash_points_at_the_page(tmp_path: Path) -> None:
    (program,) = programs("page.md", "Text\n\n```python\nprint(1)\n1 / 0\n```\n")
    with pytest.raises(AssertionError, match=r'File "page.md", line 5'):
        test_snippet(program, tmp_path)
