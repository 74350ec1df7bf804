"""Everything that is wrong with a file, as a table, as lines where that is too wide, or as JSON."""

from __future__ import annotations

import json

import click
from rich.table import Table
from rich.text import Text

from ..errors import Problem
from ..graphs import Graph
from .documents import Document
from .screens import console


def tell_problems(
    document: Document, problems: list[Problem], warnings: list[Problem], as_json: bool
) -> None:
    """Print them all, and the verdict."""
    found = [("error", each) for each in problems] + [("warning", each) for each in warnings]
    if as_json:
        told = [
            {"severity": severity, "path": p.path, "message": p.message, "hint": p.hint}
            for severity, p in found
        ]
        content = {
            "file": str(document.file or document.given),
            "ok": not problems,
            "graphs": [graph.name for graph in document.graphs],
            "problems": told,
        }
        click.echo(json.dumps(content, ensure_ascii=False))
        return
    out = console(stderr=False)
    if found and _width(found) > out.width:  # a folded path can't be copied
        for severity, each in found:
            style = "red" if severity == "error" else "yellow"
            out.print(Text.assemble((severity, style), " ", each.path), soft_wrap=True)
            hint = (f" ({each.hint})" if each.hint else "", "dim")
            out.print(Text.assemble("  ", each.message, hint), soft_wrap=True)
        out.print()
    elif found:
        table = Table(show_edge=False, pad_edge=False)
        for column in ("", "where", "problem", "hint"):
            table.add_column(column, overflow="fold")
        for severity, each in found:
            style = "red" if severity == "error" else "yellow"
            texts = (Text(each.path), Text(each.message), Text(each.hint, "dim"))
            table.add_row(Text(severity, style), *texts)
        out.print(table)
        out.print()
    out.print(Text(_verdict(document, len(problems), len(warnings))))


def _width(found: list[tuple[str, Problem]]) -> int:
    """How wide the table of problems would have to be."""
    rows = [(severity, p.path, p.message, p.hint) for severity, p in found]
    return sum(max(map(len, column)) + 3 for column in zip(*rows, strict=True))


def _verdict(document: Document, errors: int, warnings: int) -> str:
    graphs = ", ".join(_size(each.name, each.graph) for each in document.graphs)
    counts = [_count(errors, "error")] if errors else ["no errors"]
    if warnings:
        counts.append(_count(warnings, "warning"))
    return f"{document.given}: {', '.join(counts)}. {graphs or 'No graphs'}."


def _size(name: str, graph: Graph) -> str:
    nodes, connections = len(graph.nodes), len(graph.connections)
    return f"{name} ({_count(nodes, 'node')}, {_count(connections, 'connection')})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


__all__ = ["tell_problems"]
