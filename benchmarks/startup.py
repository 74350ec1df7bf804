"""What comes before the first message: importing the package, reading and checking a big graph."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from functools import cache, partial
from itertools import repeat
from pathlib import Path
from typing import Any

import attrs
import cattrs
import trio

import ten_trio as ten
from ten_trio.graphs import check

from .harness import Case, Run

NODES = 1_000

_IMPORT = """
from time import perf_counter
began = perf_counter()
import {}
print(perf_counter() - began)
"""


async def _import(run: Run, *, module: str) -> float:
    """Seconds in a fresh interpreter: the median of a few."""
    took = []
    for _ in repeat(None, 1 if run.quick else 3):
        process = await trio.run_process(
            [sys.executable, "-c", _IMPORT.format(module)],
            capture_stdout=True,
            cwd=Path(__file__).parents[1],
        )
        took.append(float(process.stdout))
    return statistics.median(took)


@attrs.define
class _Dest:
    extension: str


@attrs.define
class _Flow:
    name: str
    dest: list[_Dest]


@attrs.define
class _Section:
    extension: str
    cmd: list[_Flow]
    data: list[_Flow]


@attrs.define
class _Node:
    type: str
    name: str
    addon: str
    extension_group: str
    property: dict[str, Any]


@attrs.define
class _Plain:
    """A graph as classes, and nothing that one might want to know about it."""

    nodes: list[_Node]
    connections: list[_Section]


@cache
def _document() -> str:
    nodes = [_Node("extension", f"n{i}", "relay", "g", {"n": i}) for i in range(NODES)]
    sections = []
    for i in range(NODES):
        dest = [_Dest(f"n{(i + 1) % NODES}")]
        sections.append(_Section(f"n{i}", [_Flow("ask", dest)], [_Flow("x", dest)]))
    return json.dumps(attrs.asdict(_Plain(nodes, sections)))


def _load(text: str) -> None:
    graph = ten.Graph.from_json(text)
    problems = check(graph)
    if problems or len(graph.nodes) != NODES:
        raise AssertionError(f"{len(graph.nodes)} nodes, {problems}")


def _load_plain(text: str, converter: cattrs.Converter = cattrs.Converter()) -> None:  # noqa: B008
    converter.structure(json.loads(text), _Plain)


async def _often(run: Run, *, load: Callable[[str], None]) -> float:
    text = _document()
    load(text)
    n = 1 if run.quick else 3
    began = run.clock()
    for _ in repeat(None, n):
        load(text)
    return (run.clock() - began) / n


def _import_case(name: str, title: str, module: str) -> Case:
    return Case(
        name,
        title,
        partial(_import, module=module),
        unit="import trio",
        base=partial(_import, module="trio"),
        most_rounds=2,
    )


CASES = [
    _import_case("import", "import ten_trio", "ten_trio"),
    _import_case("import/all", "import all that runs a graph", "ten_trio.network"),
    Case(
        f"load/{NODES}",
        "read and check a graph of 1,000 nodes",
        partial(_often, load=_load),
        unit="json + cattrs",
        base=partial(_often, load=_load_plain),
        most_rounds=5,
    ),
]
