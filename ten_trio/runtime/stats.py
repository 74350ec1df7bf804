"""What `stats` tells: how much goes through a graph, what waits where, what was dropped; also as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs
import cattrs

from ..errors import InvalidType


@attrs.frozen(kw_only=True)
class QueueStats:
    """One of the queues of an extension."""

    handled: int = 0
    """Messages whose handlers have started, since it was made."""
    queued: int = 0
    oldest: float = 0.0
    """Seconds that the oldest in it has waited, at least: messages carry no time, so it is how long ago
    it was seen there first. Exact for commands, and along edges whose flow policy has a `max_age_ms`."""
    waiting: int = 0
    """Senders that wait for room."""
    dropped: Mapping[str, int] = attrs.field(factory=dict)
    """Messages that nobody has handled, by cause; see `ExtensionReport.dropped`."""
    rate: float | None = None
    """Of `handled`, per second; None in what wasn't compared with an earlier look (`Stats.since`)."""


@attrs.frozen(kw_only=True)
class ExtensionStats:
    """One extension."""

    name: str
    group: str = ""
    state: str = ""
    """`running`, or the callback of its life that it is in."""
    data: QueueStats = attrs.field(factory=QueueStats)
    """Data and frames."""
    commands: QueueStats = attrs.field(factory=QueueStats)
    results: QueueStats = attrs.field(factory=QueueStats)
    handlers: int = 0
    """Handlers that wait for something now."""
    longest: float | None = None
    """Seconds since which the first of these waits; None without any."""
    pending: int = 0
    """Commands that it hasn't answered."""
    pending_oldest: float | None = None
    """Seconds since the first of these was sent, or last had a partial result; None if that isn't known."""
    calls: int = 0
    """Commands of its own that aren't answered."""
    errors: int = 0
    """Exceptions that have left its callbacks."""
    last_error: str = ""
    last_error_age: float | None = None
    """Seconds since the last of them."""

    @property
    def queued(self) -> int:
        """Everything that waits for it."""
        return self.data.queued + self.commands.queued + self.results.queued

    @property
    def dropped(self) -> Mapping[str, int]:
        """Messages that it was sent and nobody has handled, by cause."""
        return self.data.dropped


@attrs.frozen(kw_only=True)
class EdgeStats:
    """One edge. What isn't counted for it, and can't be told from what waits now, is None."""

    source: str
    dest: str
    kind: str
    name: str
    policy: str = ""
    """Its flow policy, in a few words; empty without one."""
    queued: int | None = None
    oldest: float | None = None
    """Seconds that the oldest in it has waited, as in `QueueStats`; of commands, since the first that isn't
    answered was sent."""
    pending: int | None = None
    """Of commands: those that aren't answered."""
    handled: int | None = None
    """With a flow policy: messages whose handlers have started."""
    dropped: Mapping[str, int] = attrs.field(factory=dict)
    """With a flow policy: by cause. Else the receiver counts it."""
    rate: float | None = None
    """Of `handled`, per second."""

    @property
    def title(self) -> str:
        """As in `ShutdownReport.flows`."""
        return f"{self.source} → {self.dest} {self.kind} {self.name}"


@attrs.frozen(kw_only=True)
class PlaceStats:
    """Whoever else takes part: the host, another app, a client."""

    name: str
    queued: int = 0
    """Data and frames that it hasn't read yet, or that wait to be sent there."""
    waiting: int = 0
    """Senders that wait for room."""
    pending: int = 0
    """Commands that it hasn't answered."""
    calls: int = 0
    """Commands of its own that aren't answered."""
    dropped: Mapping[str, int] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Stats:
    """One look at a running graph."""

    graph_id: str
    name: str = ""
    state: str = "running"
    """Or `starting`, `closing` and why, or that its loop doesn't answer: then nothing else is known."""
    time: float = 0.0
    """When, by the clock of the graph."""
    extensions: tuple[ExtensionStats, ...] = ()
    edges: tuple[EdgeStats, ...] = ()
    """Those that end in this app, and those that leave it."""
    places: tuple[PlaceStats, ...] = ()
    undelivered: int = 0
    """Data and frames that named nobody, or the host, which didn't read them."""

    @property
    def title(self) -> str:
        """Its name, if it has one, and its id."""
        return f"{self.name} ({self.graph_id})" if self.name else self.graph_id

    def since(self, earlier: Stats) -> Stats:
        """The same, with the rates between an earlier look and this one."""
        seconds = self.time - earlier.time
        if seconds <= 0:
            return self
        before = {each.name: each for each in earlier.extensions}
        edges = {each.title: each for each in earlier.edges}
        extensions = (
            each if each.name not in before else _compared(each, before[each.name], seconds)
            for each in self.extensions
        )
        return attrs.evolve(
            self,
            extensions=tuple(extensions),
            edges=tuple(
                attrs.evolve(each, rate=_rate(each, edges.get(each.title), seconds))
                for each in self.edges
            ),
        )

    # JSON -------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """What `json.dumps` takes; times are in seconds, rates per second."""
        content: dict[str, Any] = _converter.unstructure(self)
        return content

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> Stats:
        """What `to_dict` was called on. Raises `InvalidType` for anything else."""
        try:
            return _converter.structure(content, Stats)
        except Exception as error:
            raise InvalidType(f"these are no stats: {error}") from error


def _compared(now: ExtensionStats, before: ExtensionStats, seconds: float) -> ExtensionStats:
    def compared(now: QueueStats, before: QueueStats) -> QueueStats:
        return attrs.evolve(now, rate=_rate(now, before, seconds))

    return attrs.evolve(
        now,
        data=compared(now.data, before.data),
        commands=compared(now.commands, before.commands),
        results=compared(now.results, before.results),
    )


_Counted = QueueStats | EdgeStats


def _rate(now: _Counted, before: _Counted | None, seconds: float) -> float | None:
    if (
        before is None
        or now.handled is None
        or before.handled is None
        or now.handled < before.handled
    ):
        return None  # it is another one of the same name, perhaps
    return (now.handled - before.handled) / seconds


def total(dropped: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """By cause, over several places."""
    found: dict[str, int] = {}
    for each in dropped:
        for cause, number in each.items():
            found[cause] = found.get(cause, 0) + number
    return found


_converter = cattrs.Converter(unstruct_collection_overrides={tuple: list})

__all__ = ["EdgeStats", "ExtensionStats", "PlaceStats", "QueueStats", "Stats", "total"]
