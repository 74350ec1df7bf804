"""Flow policies: how much of what goes along one edge may wait, and what happens beyond that.

Of data and frames only: commands and their results are never dropped, and don't wait for room.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

import attrs

from ten_trio.errors import InvalidPath, Problem
from ten_trio.graphs.reading import did_you_mean
from ten_trio.messages.paths import parse

if TYPE_CHECKING:
    from ten_trio.graphs.flatten import Edge
    from ten_trio.graphs.wiring import WrittenEdge

WAIT: Final = "wait"
DROP_OLDEST: Final = "drop_oldest"
DROP_NEWEST: Final = "drop_newest"
COALESCE: Final = "coalesce"
ERROR: Final = "error"
ON_FULL: Final = (WAIT, DROP_OLDEST, DROP_NEWEST, COALESCE, ERROR)


@attrs.frozen
class FlowPolicy:
    """What may wait at the receiver of what comes along one edge. Every message name has its own room.

    `capacity` is how many messages; without one, as many as `Limits.queue`. `on_full` says what
    happens beyond: the sender waits (`wait`, also if nothing is said), the oldest is dropped
    (`drop_oldest`) or the new one (`drop_newest`), the sending raises `QueueFull` (`error`), or,
    at any time, a new message takes the place of one with the same `key` (`coalesce`). `key` is
    the path of a property; without it all messages have the same. What has waited for longer than
    `max_age_ms` milliseconds is dropped when its turn comes.
    """

    capacity: int | None = None
    on_full: str | None = None
    max_age_ms: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        """In a few words, for pictures and logs."""
        parts = [] if self.capacity is None else [str(self.capacity)]
        by = "" if self.key is None else f" by {self.key}"
        parts.append(f"{self.on_full or WAIT}{by}")
        if self.max_age_ms is not None:
            parts.append(f"{self.max_age_ms} ms")
        return ", ".join(parts)

    @property
    def bounds_delay(self) -> bool:
        """Whether it keeps what arrives from getting older and older on the way."""
        if self.max_age_ms is not None or self.on_full == COALESCE:
            return True
        # A sender that waits hands the delay on to where its messages come from.
        return self.on_full not in (None, WAIT) and self.capacity is not None

    def problems(self, kind: str = "data") -> Iterator[Problem]:
        """Yield what is wrong with this policy for messages of `kind` ("cmd", "data", ...)."""
        if kind == "cmd":
            hint = "Limits.pending_cmds bounds them"
            yield Problem("", "commands have no flow policy: they are never dropped", hint)
            return
        if self == FlowPolicy():
            yield Problem("", "says nothing", "give capacity, on_full or max_age_ms")
        for name, what in (("capacity", "a message"), ("max_age_ms", "a millisecond")):
            value = getattr(self, name)
            if value is not None and value < 1:
                yield Problem(name, f"must be 1 or more, not {value}", f"{what} at the least")
        if self.on_full is not None and self.on_full not in ON_FULL:
            hint = did_you_mean(self.on_full, ON_FULL)
            yield Problem("on_full", f'unknown policy "{self.on_full}"', hint)
        if self.key is not None:
            yield from self._key_problems(self.key)

    def _key_problems(self, key: str) -> Iterator[Problem]:
        if self.on_full != COALESCE:
            hint = 'leave it out, or write "on_full": "coalesce"'
            yield Problem("key", f"has no meaning unless on_full is {COALESCE}", hint)
        if not key:
            yield Problem("key", "is empty", "leave it out if all messages have the same")
            return
        try:
            parse(key)
        except InvalidPath as error:
            yield Problem("key", str(error), "the path of a property, such as user.id")


def says_wait(edge: Edge) -> bool:
    """Whether `edge` says in so many words that its sender waits for room."""
    return edge.flow is not None and edge.flow.on_full == WAIT


def waiting_circles(edges: Iterable[Edge]) -> Iterator[tuple[Edge, ...]]:
    """Yield circles of edges which all say `wait`: full, none of them could ever go on.

    Not every one there is: one at least of those that share an extension.
    """
    out: dict[tuple[str, str], list[Edge]] = {}
    for edge in edges:
        if says_wait(edge):
            out.setdefault((edge.source_app, edge.source), []).append(edge)
    done: set[tuple[str, str]] = set()
    for start in list(out):
        if start not in done:
            circle = _circle_from(start, out, done)
            if circle:
                yield circle


def _circle_from(
    start: tuple[str, str],
    out: Mapping[tuple[str, str], list[Edge]],
    done: set[tuple[str, str]],
) -> tuple[Edge, ...]:
    """The first circle that is met on the way from `start`. All that was seen on it is `done`."""
    found: tuple[Edge, ...] = ()
    way: list[Edge] = []
    at = [start]
    todo = [iter(out.get(start, ()))]
    done.add(start)
    while todo:
        edge = next(todo[-1], None)
        if edge is None:
            todo.pop()
            at.pop()
            if way:
                way.pop()
            continue
        dest = (edge.dest_app, edge.dest)
        if dest in at:
            found = found or (*way[at.index(dest) :], edge)
        elif dest not in done:
            done.add(dest)
            at.append(dest)
            way.append(edge)
            todo.append(iter(out.get(dest, ())))
    return found


def can_lag(edge: Edge | WrittenEdge) -> bool:
    """Whether `edge` carries audio that may be heard later and later, since it may wait."""
    return edge.kind == "audio_frame" and not (edge.flow and edge.flow.bounds_delay)


def lag_problem(edge: Edge | WrittenEdge, path: str = "") -> Problem:
    """Return the warning for an edge that `can_lag`."""
    dest = edge.dest if isinstance(edge.dest, str) else edge.dest.name
    message = f'{edge.kind} "{edge.name}" to "{dest}" can build up delay: its frames may wait'
    return Problem(path, message, "give its flow max_age_ms, or a capacity and drop_oldest")


def told(circle: tuple[Edge, ...]) -> str:
    """Return the extensions of a circle in words: `a → b → a`."""
    return " → ".join([*(edge.source for edge in circle), circle[0].source])


def circle_problem(circle: tuple[Edge, ...], path: str = "") -> Problem:
    """Return what is wrong with a circle of edges that wait for each other."""
    message = f"a circle in which everyone may wait for room at the next: {told(circle)}"
    return Problem(path, message, "let one of these edges drop something: on_full")
