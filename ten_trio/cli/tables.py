"""The tables of `ten-trio top`: the extensions of a graph, and those of its edges where something waits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..runtime import EdgeStats, ExtensionStats, PlaceStats, Stats

_LATE: Final = 1.0
"""Seconds from which on something that waits is marked."""
_BRIEF: Final = 60
"""Characters of an error that are shown."""


def tables_of(stats: Stats) -> Iterator[RenderableType]:
    """What there is to show of one graph."""
    title = Text.assemble("graph ", (stats.title, "bold"), f", {stats.state}")
    if stats.undelivered:
        messages = f"{stats.undelivered} message{'s' * (stats.undelivered != 1)}"
        title.append(f"; {messages} went nowhere")
    yield title
    if stats.extensions:
        yield _extensions(stats)
        for each in stats.extensions:
            yield from _notes(each)
    shown = [each for each in stats.edges if _says_something(each)]
    if shown:
        yield _edges(shown)
    quiet = len(stats.edges) - len(shown)
    if quiet:
        yield Text(f"{quiet} edge{'s' * (quiet != 1)} where nothing waits", "dim")
    for place in stats.places:
        if (text := _place(place)) is not None:
            yield text
    yield Text()


def _table(*columns: str, left: int) -> Table:
    table = Table(show_edge=False, pad_edge=False, box=None, header_style="bold dim")
    for number, column in enumerate(columns):
        justify = "left" if number < left else "right"
        table.add_column(column, justify=justify, no_wrap=number >= left)  # type: ignore[arg-type]
    return table


def _extensions(stats: Stats) -> Table:
    columns = ("data/s", "cmd/s", "queued", "oldest", "at work", "to answer", "asks", "dropped")
    table = _table("extension", *columns, left=1)
    for each in stats.extensions:
        table.add_row(*_extension(each))
    return table


def _extension(each: ExtensionStats) -> tuple[Text, ...]:
    name = Text(each.name)
    if each.state != "running":
        name.append(f" {each.state}", "yellow")
    oldest = max(each.data.oldest, each.commands.oldest, each.results.oldest)
    return (
        name,
        _rate(each.data.rate),
        _rate(each.commands.rate),
        _number(each.queued),
        _time(oldest if each.queued else None),
        _with_time(each.handlers, each.longest),
        _with_time(each.pending, each.pending_oldest),
        _number(each.calls),
        _drops(each.dropped),
    )


def _notes(each: ExtensionStats) -> Iterator[Text]:
    """What a table has no room for."""
    if each.data.waiting:
        senders = f"{each.data.waiting} sender{'s' * (each.data.waiting != 1)}"
        yield Text(f"{each.name}: {senders} wait for room", "yellow")
    if each.dropped:
        yield Text(f"{each.name}: dropped {_causes(each.dropped)}", "red")
    if each.errors:
        text = each.last_error.partition("\n")[0]
        text = text if len(text) <= _BRIEF else f"{text[: _BRIEF - 3]}..."
        number = f", {each.errors} in all" if each.errors > 1 else ""
        yield Text(f"{each.name}: {text} ({_time(each.last_error_age).plain} ago{number})", "red")


def _edges(edges: list[EdgeStats]) -> Table:
    table = _table("edge", "message", "/s", "queued", "oldest", "to answer", "dropped", left=2)
    table.add_column("policy")
    for each in sorted(edges, key=lambda each: -(each.queued or 0) - (each.pending or 0)):
        table.add_row(
            Text(f"{each.source} → {each.dest}"),
            Text(f"{each.kind} {each.name}"),
            _rate(each.rate),
            _number(each.queued),
            _time(each.oldest),
            _number(each.pending),
            _drops(each.dropped) if each.policy else Text(""),
            Text(each.policy, "dim"),
        )
    return table


def _says_something(edge: EdgeStats) -> bool:
    return bool(edge.queued or edge.pending or edge.policy or edge.dropped)


def _place(place: PlaceStats) -> Text | None:
    parts = [
        f"{number} {what}"
        for number, what in (
            (place.queued, "messages wait for it"),
            (place.pending, "commands to answer"),
            (place.calls, "commands of its own"),
        )
        if number
    ]
    if place.dropped:
        parts.append(f"dropped: {_causes(place.dropped)}")
    return Text(f"{place.name}: {', '.join(parts)}") if parts else None


# Cells ----------------------------------------------------------------------------------------------


def _number(number: int | None) -> Text:
    return Text("") if number is None else Text(str(number), "" if number else "dim")


def _rate(rate: float | None) -> Text:
    if rate is None:
        return Text("")
    return Text(f"{rate:,.0f}" if rate >= 100 else f"{rate:.1f}", "" if rate else "dim")


def _time(seconds: float | None) -> Text:
    if seconds is None:
        return Text("")
    style = "yellow" if seconds >= _LATE else ""
    return Text(f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.0f} min", style)


def _with_time(number: int, seconds: float | None) -> Text:
    if not number or seconds is None:
        return _number(number)
    return Text.assemble(str(number), ", ", _time(seconds))


def _causes(dropped: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {cause}" for cause, number in dropped.items())


def _drops(dropped: Mapping[str, int]) -> Text:
    number = sum(dropped.values())
    return Text(str(number), "red") if number else Text("0", "dim")


__all__ = ["tables_of"]
