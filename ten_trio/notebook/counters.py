"""What a running graph has come to: per extension, per edge, once or live."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import attrs

from . import hooks, html

if TYPE_CHECKING:
    from ..runtime.stats import Stats
    from .recording import Recording

ALWAYS: Final = 3
"""The columns that are there whatever they say."""


@attrs.frozen(kw_only=True)
class EdgeCounters:
    """The messages of one kind and name that one has sent to another."""

    source: str
    dest: str
    kind: str
    name: str
    sent: int
    rate: float | None = None
    """Per second since the counters before, if there were any."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What identifies it."""
        return self.source, self.dest, self.kind, self.name


@attrs.frozen(kw_only=True)
class Counters:
    """All of a graph. `str()` has it as text."""

    stats: Stats | None
    """Of its extensions, as `Engine.stats` tells them; None once it is closed."""
    edges: tuple[EdgeCounters, ...]
    """What was sent, as it was recorded."""
    at: float
    """When, by the system's monotonic clock."""

    def since(self, before: Counters) -> Counters:
        """The same with rates per second since `before`."""
        seconds = max(self.at - before.at, 1e-9)
        old = {edge.key: edge.sent for edge in before.edges}
        edges = (
            attrs.evolve(edge, rate=(edge.sent - old.get(edge.key, 0)) / seconds)
            for edge in self.edges
        )
        stats = self.stats
        if stats is not None and before.stats is not None:
            stats = stats.since(before.stats)
        return attrs.evolve(self, stats=stats, edges=tuple(edges))

    def __str__(self) -> str:
        head, rows = self._extensions()
        lines = []
        for name, *cells in rows:
            said = zip(head[1:], cells, strict=True)
            lines.append(f"{name}: " + ", ".join(f"{title} {cell}" for title, cell in said if cell))
        for edge in self.edges:
            rate = "" if edge.rate is None else f", {edge.rate:.0f}/s"
            lines.append(f"{edge.source} → {edge.dest}  {edge.kind} {edge.name}: {edge.sent}{rate}")
        return "\n".join(lines)

    def _extensions(self) -> tuple[list[str], list[list[str]]]:
        """A table of texts; what nobody has anything to say about is no column of it."""
        head = ["extension", "state", "handled", "queued", "oldest", "to answer", "waits for"]
        head += ["dropped", "errors", "last error"]
        rows = []
        for each in self.stats.extensions if self.stats is not None else ():
            queues = (each.data, each.commands, each.results)
            rates = [queue.rate for queue in queues if queue.rate is not None]
            handled = str(sum(queue.handled for queue in queues))
            oldest = max(queue.oldest for queue in queues)
            rows.append(
                [
                    each.name,
                    each.state,
                    f"{handled} ({sum(rates):.0f}/s)" if rates else handled,
                    str(each.queued or ""),
                    f"{oldest:.1f} s" if oldest else "",
                    str(each.pending or ""),
                    str(each.calls or ""),
                    ", ".join(f"{number} {cause}" for cause, number in each.dropped.items()),
                    str(each.errors or ""),
                    each.last_error,
                ]
            )
        kept = [i for i in range(len(head)) if i < ALWAYS or any(row[i] for row in rows)]
        return [head[i] for i in kept], [[row[i] for i in kept] for row in rows]

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        head, rows = self._extensions()
        edges = [
            (
                html.text(f"{edge.source} → {edge.dest}"),
                html.coloured(edge.name, html.COLOURS.get(edge.kind, html.MUTED)),
                html.muted(edge.kind),
                str(edge.sent),
                "" if edge.rate is None else f"{edge.rate:.0f}/s",
            )
            for edge in self.edges
        ]
        tables = (
            [html.table(head, [[html.text(cell) for cell in row] for row in rows])] if rows else []
        )
        if edges:
            heads = ("from → to", "message", "kind", "sent", "rate")
            tables.append(html.table(heads, edges, numbers=(3, 4)))
        return {"text/plain": str(self), "text/html": "".join(tables) or html.muted("nothing yet")}


def count(stats: Stats | None, recording: Recording) -> Counters:
    """The counters now; without stats of a graph that is closed."""
    edges = (
        EdgeCounters(source=source, dest=dest, kind=kind, name=name, sent=number)
        for (source, dest, kind, name), number in recording.counts.copy().items()
    )
    return Counters(stats=stats, edges=tuple(edges), at=time.monotonic())


def watch(
    look: Callable[[], Counters],
    ended: threading.Event,
    seconds: float | None,
    every: float,
) -> None:
    """Show counters in the cell, again and again, until `ended` or an interrupt."""
    until = None if seconds is None else time.monotonic() + seconds
    display_id = uuid4().hex
    try:
        before = look()
        _show(before, display_id, update=False)
        while True:
            left = every if until is None else min(every, until - time.monotonic())
            over = left <= 0 or ended.wait(left)
            after = look()
            _show(after.since(before), display_id, update=True)
            if over or (until is not None and time.monotonic() >= until):
                return
            before = after
    except KeyboardInterrupt:
        return  # that is how one ends it


def _show(counters: Counters, display_id: str, *, update: bool) -> None:
    if hooks.current_shell() is None:
        print(counters, flush=True)
    else:
        hooks.publish(counters._repr_mimebundle_(), display_id, update=update)


__all__ = ["Counters", "EdgeCounters", "count", "watch"]
