"""What a running graph has come to: per extension, per edge, once or live."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import attrs

from . import hooks, html

if TYPE_CHECKING:
    from ..runtime.engine import EngineCore
    from .recording import Recording


@attrs.frozen(kw_only=True)
class ExtensionCounters:
    """One extension at one moment."""

    name: str
    received: int
    """Messages sent to it, results included."""
    sent: int
    queued: int
    """Data and frames that wait for it."""
    answering: int
    """Commands that it has still to answer."""
    waiting: int
    """Commands that it waits for itself."""
    dropped: int


@attrs.frozen(kw_only=True)
class EdgeCounters:
    """The messages of one name from one extension to another."""

    source: str
    dest: str
    kind: str
    name: str
    sent: int
    rate: float | None = None
    """Per second since the counters before, if there were any."""


@attrs.frozen(kw_only=True)
class Counters:
    """All of a graph. `str()` has it as text."""

    extensions: tuple[ExtensionCounters, ...]
    edges: tuple[EdgeCounters, ...]
    at: float
    """When, by the system's monotonic clock."""

    def since(self, before: Counters) -> Counters:
        """The same with rates per second since `before`."""
        seconds = max(self.at - before.at, 1e-9)
        old = {_key(edge): edge.sent for edge in before.edges}
        edges = (
            attrs.evolve(edge, rate=(edge.sent - old.get(_key(edge), 0)) / seconds)
            for edge in self.edges
        )
        return attrs.evolve(self, edges=tuple(edges))

    def __str__(self) -> str:
        width = max((len(each.name) for each in self.extensions), default=0)
        lines = [
            f"{each.name:{width}}  received {each.received}, sent {each.sent}, queued {each.queued}, "
            f"answering {each.answering}, waiting {each.waiting}, dropped {each.dropped}"
            for each in self.extensions
        ]
        for edge in self.edges:
            rate = "" if edge.rate is None else f", {edge.rate:.0f}/s"
            lines.append(f"{edge.source} → {edge.dest}  {edge.kind} {edge.name}: {edge.sent}{rate}")
        return "\n".join(lines)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        head = ("extension", "received", "sent", "queued", "answering", "waiting", "dropped")
        rows = [
            (html.text(each.name), *(_number(value) for value in attrs.astuple(each)[1:]))
            for each in self.extensions
        ]
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
        tables = [html.table(head, rows, numbers=range(1, 7))] if rows else []
        if edges:
            heads = ("from → to", "message", "kind", "sent", "rate")
            tables.append(html.table(heads, edges, numbers=(3, 4)))
        return {"text/plain": str(self), "text/html": "".join(tables) or html.muted("nothing yet")}


def _key(edge: EdgeCounters) -> tuple[str, str, str, str]:
    return edge.source, edge.dest, edge.kind, edge.name


def _number(value: int) -> str:
    return str(value) if value else html.muted("0")


def count(core: EngineCore | None, recording: Recording) -> Counters:
    """The counters now; in the graph's loop, or of a graph that is closed (None)."""
    counts = dict(recording.counts)
    received: dict[str, int] = {}
    sent: dict[str, int] = {}
    for (source, dest, _, _), number in counts.items():
        sent[source] = sent.get(source, 0) + number
        received[dest] = received.get(dest, 0) + number
    extensions = []
    for name, instance in core.instances.items() if core is not None else ():
        extensions.append(
            ExtensionCounters(
                name=name,
                received=received.get(name, 0),
                sent=sent.get(name, 0),
                queued=instance.data_line.count,
                answering=len(instance.in_paths),
                waiting=len(instance.out_paths),
                dropped=sum(instance.data_line.dropped.values()),
            )
        )
    edges = (
        EdgeCounters(source=source, dest=dest, kind=kind, name=name, sent=number)
        for (source, dest, kind, name), number in counts.items()
    )
    return Counters(extensions=tuple(extensions), edges=tuple(edges), at=time.monotonic())


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


__all__ = ["Counters", "EdgeCounters", "ExtensionCounters", "count", "watch"]
