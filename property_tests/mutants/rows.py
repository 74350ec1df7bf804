"""The table of the original's own cases: which tests here show the same, as property_tests/rows.toml has it.

`python -m property_tests.mutants.rows` writes it into docs/conformance.md.
"""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from pathlib import Path

import attrs

from .page import table, write

ROOT = Path(__file__).parents[2]
DATA = ROOT / "property_tests" / "rows.toml"
CASES = {"smoke": 118, "unit": 3, "python": 38, "cpp": 11, "other languages": 2}
"""The suites of the original, and how many cases each has: numbered from 1 on."""


@attrs.frozen
class Row:
    """One case, or a few that show the same: the tests here, and what is different or why there are none."""

    suite: str
    number: int
    directory: str
    cases: str = ""
    tests: tuple[str, ...] = attrs.field(default=(), converter=tuple[str, ...])
    why: str = ""


def rows() -> list[Row]:
    """All of them, in order."""
    return [Row(**row) for row in tomllib.loads(DATA.read_text())["row"]]


def is_there(test: str) -> bool:
    """Whether there is a test of that id, `path::name`."""
    path, _, name = test.partition("::")
    return (ROOT / path).is_file() and name in _names(path)


@cache
def _names(path: str) -> set[str]:
    found = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):  # the test case of a state machine
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def content() -> str:
    """What belongs onto the page."""
    text = ""
    for suite in CASES:
        lines = []
        for row in rows():
            if row.suite == suite:
                name = f"{row.directory}: {row.cases}" if row.cases else row.directory
                tests = " ".join(f"`{test.removeprefix('tests/')}`" for test in row.tests)
                lines.append((str(row.number), name, f"{tests} {_sentence(row.why)}".strip()))
        text += f"\n**{suite.capitalize()}**\n\n{table(('No.', 'Case', 'Here'), lines)}"
    return f"{text}\n"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


if __name__ == "__main__":
    write("rows", content())
