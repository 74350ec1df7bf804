"""Looks at a running graph: what `stats` tells is read off what the runtime counts and keeps anyway.

Nothing is counted for this while messages pass. How fast they do is the difference between two looks;
and since a queue remembers no times, how long its head has waited is what earlier looks tell: what was
the last in it then, and hasn't left it yet.
"""

from __future__ import annotations

import logging
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final

import trio

from ..graphs import GRAPH_PROXY
from ..graphs.flow import DROP_NEWEST, ERROR
from .flow import OVERFLOW
from .loops import hear
from .paths import InPath
from .stats import EdgeStats, ExtensionStats, PlaceStats, QueueStats, Stats, total

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..graphs import Edge
    from ..messages import Msg
    from .engine import EngineCore
    from .flow import Gate
    from .instance import Instance
    from .lines import Line
    from .own_loop import CoreLink

logger = logging.getLogger("ten_trio.runtime")

HOST: Final = "the host"
_MARKS: Final = 64
"""How many earlier looks one queue remembers; of more, every second is forgotten."""

_NEVER_IN: Final = ("conversion", DROP_NEWEST, ERROR)
"""Causes for which messages are dropped before they get into a queue."""

_Key = tuple[str, str, str, str]
"""Of an edge: source, dest, kind, name."""


class Looks:
    """What earlier looks at one graph have seen. Lives in the graph's loop."""

    def __init__(self, core: EngineCore) -> None:
        self._core = core
        self._now = 0.0
        # By queue: how many messages had come to it at some moments, the earliest first, and when.
        self._marks: dict[Line, list[tuple[int, float]]] = {}

    def look(self) -> Stats:
        """What there is to see now."""
        core, self._now = self._core, trio.current_time()
        instances = tuple(core.instances.values())
        self._mark(instances)
        return Stats(
            graph_id=core.graph_id,
            name=core.graph_name,
            state=core.state,
            time=self._now,
            extensions=tuple(self._extension(each) for each in instances),
            edges=tuple(self._edges()),
            places=tuple(_places(core)),
            undelivered=core.directory.undelivered,
        )

    # How long something waits -----------------------------------------------------------------

    def _mark(self, instances: Iterable[Instance]) -> None:
        """Remember how much has come by now, as long as anything of it is still there."""
        lines = [
            line for each in instances for line in (each.data_line, each.cmd_line, each.result_line)
        ]
        for line in self._marks.keys() - set(lines):
            del self._marks[line]
        for line in lines:
            marks = self._marks.setdefault(line, [])
            come = line.popped + line.count
            del marks[: sum(number <= line.popped for number, _ in marks)]
            if line.count and (not marks or marks[-1][0] < come):
                if len(marks) >= _MARKS:
                    del marks[1::2]
                marks.append((come, self._now))

    def _waited(self, line: Line, number: int) -> float:
        """How long at least the message of that number has waited, of all that a line has had."""
        then = (when for come, when in self._marks[line] if number <= come)
        return self._now - next(then, self._now)

    def _head(self, gate: Gate) -> float:
        """Likewise, of the first that waits behind a gate."""
        if gate.first is None:
            return 0.0
        sent, number = gate.first
        return self._waited(gate.line, number) if sent == inf else self._now - sent

    # Extensions -------------------------------------------------------------------------------

    def _extension(self, instance: Instance) -> ExtensionStats:
        now = self._now
        errors, last, when = self._core.failed.get(instance.name, (0, "", now))
        handlers = [worker.since for worker in tuple(instance.workers)]
        paths = tuple(instance.in_paths.values())
        not_begun = next((path for path in paths if not path.started), None)
        known = 0.0 if not_begun is None else _age(not_begun, now)
        return ExtensionStats(
            name=instance.name,
            group=instance.group.name,
            state=instance.life.stage,
            data=self._queue(instance.data_line, max(map(self._head, _gates(instance)), default=0)),
            commands=self._queue(instance.cmd_line, known or 0.0),
            results=self._queue(instance.result_line, 0.0),
            handlers=len(handlers),
            longest=now - min(handlers) if handlers else None,
            pending=len(paths),
            pending_oldest=_age(paths[0], now) if paths else None,
            calls=len(instance.out_paths),
            errors=errors,
            last_error=last,
            last_error_age=now - when if errors else None,
        )

    def _queue(self, line: Line, known: float) -> QueueStats:
        """`known`: how long one of those in it has waited."""
        gates = line.passage.gates if line.passage is not None else ()
        return QueueStats(
            handled=line.popped - self._lost(line),
            queued=line.count,
            oldest=max(self._waited(line, line.popped + 1), known) if line.count else 0.0,
            waiting=sum(len(each.waiters or ()) for each in (line, *gates)),
            dropped=dict(line.dropped),
        )

    def _lost(self, line: Line) -> int:
        """How many were dropped that had been in a queue: those have left it, and weren't handled."""
        before: tuple[str, ...] = _NEVER_IN
        if self._core.limits.overflow != "drop_oldest":
            before = (*before, OVERFLOW)
        return sum(number for cause, number in line.dropped.items() if cause not in before)

    # Edges ------------------------------------------------------------------------------------

    def _edges(self) -> Iterator[EdgeStats]:
        """Those that end in this app, and those that leave it."""
        core = self._core
        is_here = core.app.is_here
        queued, pending = self._queued(), _pending(core)
        for edge in core.edges:
            from_here = not edge.source_app or is_here(edge.source_app)
            to_here = not edge.dest_app or is_here(edge.dest_app)
            if not from_here and not to_here:
                continue
            source = edge.source if from_here else f"{edge.source_app} {edge.source}"
            dest = edge.dest if to_here else f"{edge.dest_app} {edge.dest}"
            ends = (source, dest, edge.kind, edge.name)
            gate = core.flows.gate(edge) if edge.flow is not None else None
            if gate is not None:
                yield self._with_policy(edge, ends, gate)
            elif edge.conversion is not None or not (from_here and to_here):
                # What waits no longer has the name that it had along the edge, or waits elsewhere.
                yield _stats(ends)
            else:
                yield self._plain(ends, queued, pending)
        for exposure in core.graph.exposed:
            kind, _, direction = exposure.type.rpartition("_")
            if direction == "in" and (not exposure.app or is_here(exposure.app)):
                inward = (GRAPH_PROXY, exposure.extension, kind, exposure.name)
                yield self._plain(inward, queued, pending)

    def _queued(self) -> dict[_Key, tuple[int, float]]:
        """What waits in the queues of the extensions, by the edge that it has come along: how much,
        and how long the first of it has waited at least."""
        found: dict[_Key, tuple[int, float]] = {}
        for line, waiting in _waiting(self._core).items():
            number = line.popped
            for msg in waiting:
                number += 1
                key = (msg._src.extension_name or "", line.owner.name, msg.kind, msg.name)
                count, waited = found.get(key, (0, -1.0))
                found[key] = (count + 1, waited if count else self._waited(line, number))
        return found

    def _plain(
        self,
        ends: _Key,
        queued: Mapping[_Key, tuple[int, float]],
        pending: Mapping[_Key, list[InPath]],
    ) -> EdgeStats:
        number, waited = queued.get(ends, (0, 0.0))
        if ends[2] != "cmd":
            return _stats(ends, queued=number, oldest=waited if number else None)
        paths = pending.get(ends, [])
        oldest = _age(paths[0], self._now) if paths else None
        return _stats(ends, queued=number, pending=len(paths), oldest=oldest)

    def _with_policy(self, edge: Edge, ends: _Key, gate: Gate) -> EdgeStats:
        return _stats(
            ends,
            policy=str(edge.flow),
            queued=len(gate.queued),
            oldest=self._head(gate) if gate.queued else None,
            handled=gate.handled,
            dropped=dict(gate.dropped),
        )


def _gates(instance: Instance) -> Iterable[Gate]:
    passage = instance.data_line.passage
    return () if passage is None else passage.gates


def _stats(ends: _Key, **more: Any) -> EdgeStats:
    source, dest, kind, name = ends
    return EdgeStats(source=source, dest=dest, kind=kind, name=name, **more)


def _waiting(core: EngineCore) -> dict[Line, list[Msg]]:
    """The messages in the queues of the extensions, in order."""
    found: dict[Line, list[Msg]] = {}
    for instance in core.instances.values():
        found[instance.data_line] = []
        found[instance.cmd_line] = []
    if not any(line.count for line in found):
        return found
    for group in core.groups.values():
        for lane in () if group.closed else (group.shared, *group.own.values()):
            for msg in lane.queued:
                if msg._line in found:
                    found[msg._line].append(msg)
    for instance in core.instances.values():
        for msg in instance.held:
            if msg._line in found:
                found[msg._line].append(msg)
    return found


def _pending(core: EngineCore) -> dict[_Key, list[InPath]]:
    """The commands that the extensions haven't answered, by edge, the oldest first."""
    found: dict[_Key, list[InPath]] = {}
    for instance in core.instances.values():
        for path in instance.in_paths.values():
            out: Any = path.out
            source = getattr(getattr(out, "owner", None), "name", "")
            found.setdefault((source, instance.name, "cmd", out.cmd_name), []).append(path)
    return found


def _age(path: InPath, now: float) -> float | None:
    """Since when a command is on its way, or how long ago its last sign of life was."""
    out: Any = path.out
    deadline = getattr(out, "deadline", inf)
    # One of another loop has another clock, and one without a timeout isn't watched.
    return None if deadline == inf else max(0.0, now - (deadline - out.timeout))


# Whoever else takes part ----------------------------------------------------------------------------


def _places(core: EngineCore) -> Iterator[PlaceStats]:
    for outside in core.outsides:
        # One that is read in another loop says so itself.
        read = [getattr(each, "_real", each) for each in outside.subscriptions]
        yield PlaceStats(
            name=HOST,
            queued=sum(each.queued for each in read),
            pending=len(outside.in_paths),
            calls=len(outside.out_paths),
            dropped=dict(outside.data_line.dropped),
        )
    lines: dict[str, list[Line]] = {}
    for line in core.boundary.lines():
        owner: Any = line.owner
        lines.setdefault(owner.loc.app_uri or line.name, []).append(line)
    peers = {peer.name: peer for peer in core.boundary.peers()}
    for name in dict.fromkeys((*peers, *lines)):
        peer, doors = peers.get(name), lines.get(name, [])
        yield PlaceStats(
            name=name,
            queued=sum(line.count for line in doors),
            waiting=sum(len(line.waiters or ()) for line in doors),
            pending=0 if peer is None else len(peer.in_paths),
            calls=0 if peer is None else len(peer.out_paths),
            dropped=total(line.dropped for line in doors),
        )


# From outside ---------------------------------------------------------------------------------------


def look(core: EngineCore) -> Stats:
    """One look at a graph, in its loop."""
    if not core.is_whole:
        return Stats(graph_id=core.graph_id, name=core.graph_name, state="closed")
    if core.looks is None:
        core.looks = Looks(core)
    return core.looks.look()


async def look_from_outside(link: EngineCore | CoreLink) -> Stats:
    """One look at a graph of any loop, if that answers within `Limits.loop_patience`."""
    core: EngineCore | None = link.core_or_none
    await trio.lowlevel.checkpoint()
    if core is None:
        return Stats(graph_id=link.graph_id, name=link.graph_name, state="starting")
    if core is link:
        return look(core)
    state = "its loop doesn't answer: see ten-trio why"
    try:
        seen = await hear(core.loop, partial(look, core), core.limits.loop_patience)
    except trio.RunFinishedError:
        seen, state = None, "closed"
    return seen or Stats(graph_id=core.graph_id, name=core.graph_name, state=state)


__all__ = ["HOST", "Looks", "look", "look_from_outside"]
