"""The parts of docs/conformance.md that are generated: each between two comments that name it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"


def part_of(name: str) -> str:
    """What is between the comments of that name now. Raises `ValueError` if they aren't there."""
    text = PAGE.read_text()
    return text[slice(*_ends(text, name))]


def write(name: str, content: str) -> None:
    """Replace what is between them. Raises `ValueError` if they aren't there."""
    text = PAGE.read_text()
    begin, end = _ends(text, name)
    PAGE.write_text(text[:begin] + content + text[end:])


def _ends(text: str, name: str) -> tuple[int, int]:
    opening, closing = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    try:
        return text.index(opening) + len(opening), text.index(closing)
    except ValueError:
        raise ValueError(f"{PAGE}: there is no part {opening.strip()} … {closing}") from None


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(_cell(cell) for cell in line)} |\n" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
