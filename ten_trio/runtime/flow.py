"""Flow policies at work: for each edge that has one a gate, which stands before the receiver's line.

A message that comes through a gate waits in the receiver's own line, at the place that the order of
sending gives it; the gate counts it as long as it waits.  A policy never moves a message: what is to
be dropped stays where it is, and is handed to a line without handlers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from ..graphs.flow import COALESCE, DROP_NEWEST, DROP_OLDEST, ERROR, can_lag, lag_problem
from ..graphs.routes import edge_key
from ..messages import AudioFrame, Data, VideoFrame
from .lines import NOTHING_DROPPED, Diverted, Line

if TYPE_CHECKING:
    from ..graphs import Edge, FlowPolicy
    from ..messages import Msg
    from .endpoint import Receiver
    from .engine import EngineCore
    from .instance import Instance
    from .limits import Limits
    from .lines import Starter

logger = logging.getLogger("ten_trio.runtime")

TOO_OLD: Final = "too old"
OVERFLOW: Final = "overflow"
SCHEMA: Final = "schema"

_SWEEP_AFTER: Final = 64
"""How many dropped messages may lie about in a lane, besides as many as wait in it."""


@attrs.frozen(kw_only=True)
class FlowReport:
    """What has gone along one edge that has a flow policy: `sent` is the sum of all the others."""

    sent: int
    handled: int
    """Those whose handlers have started."""
    queued: int
    dropped: Mapping[str, int]
    """By cause: what `on_full` says, "too old", and what else drops data (see `ExtensionReport`)."""


class Flows:
    """The gates of one graph. They outlive the edges, so that what was counted isn't forgotten."""

    def __init__(self, engine: EngineCore) -> None:
        self._engine = engine
        self._gates: dict[tuple[str, ...], Gate] = {}
        self._open: dict[Gate, None] = {}

    def begin(self) -> None:
        """The edges are about to be compiled."""
        self._open = {}

    def line_for(self, edge: Edge, receiver: Receiver) -> Line | Any:
        """Where the messages of `edge` have to go: its gate if it has a policy."""
        line = receiver.data_line
        # Without a queue of its own, nothing waits there.
        if edge.flow is None or edge.kind == "cmd" or not receiver.is_near:
            return line
        key = edge_key(edge)
        gate = self._gates.get(key)
        if can_lag(edge) and (gate is None or edge.flow != gate.policy):
            logger.warning("%s: %s", self._engine.loc, lag_problem(edge))
        if gate is None or gate.line is not line:
            if line.passage is None:
                line.passage = Passage(line)
            gate = self._gates[key] = Gate(self._title(edge), line.passage, gate)
        gate.use(edge.flow, self._engine.limits)
        self._open[gate] = None
        return gate

    def settle(self) -> None:
        """The edges have been compiled: every receiver gets the room that they bring along."""
        limits = self._engine.limits
        room = {gate.line: 0 for gate in self._gates.values()}
        for gate in self._open:
            room[gate.line] += gate.capacity
        for line, more in room.items():
            line.cap = limits.queue + more
            line.low = limits.queue // 2 + more
            line.hard = limits.hard_queue + more

    def reports(self) -> dict[str, FlowReport]:
        """What each edge with a policy has come to, in the order in which they were made."""
        return {gate.name: gate.report() for gate in tuple(self._gates.values())}

    def gate(self, edge: Edge) -> Gate | None:
        """That of an edge, if it has one."""
        return self._gates.get(edge_key(edge))

    def _title(self, edge: Edge) -> str:
        is_here = self._engine.app.is_here
        far = edge.source_app and not is_here(edge.source_app)
        source = f"{edge.source_app} {edge.source}" if far else edge.source
        return f"{source} → {edge.dest} {edge.kind} {edge.name}"


class Passage:
    """The gates before one receiver, and what of its queue has come through them."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.gates: list[Gate] = []
        self.through: dict[Msg, Gate] = {}
        # Where messages end that are dropped while they wait: whoever drains the lane finds nothing
        # to start for them.  They aren't looked for in the lane one by one, which would take a
        # walk through all of it for each.
        self.dead = dead = Line(
            "dropped", line.owner, None, serial=False, inline=True, cap=0, hard=0
        )
        dead.table = dict.fromkeys((Data, AudioFrame, VideoFrame), _nothing)
        dead.entry = Diverted(self._bury)
        self._sweep_at = _SWEEP_AFTER
        line.table = self.table(line.table)

    def _bury(self, _: object) -> None:
        self.dead.count -= 1

    def table(self, table: Mapping[type[Msg], Starter]) -> dict[type[Msg], Starter]:
        """The same starters of handlers, which ask the gates first."""
        return {kind: partial(self._start, starter) for kind, starter in table.items()}

    def _start(self, starter: Starter, target: Any, env: Any, msg: Any) -> Any:
        gate = self.through.pop(msg, None)
        if gate is None:
            return starter(target, env, msg)
        if gate.leave(msg) > gate.max_age:
            gate.count_drop(TOO_OLD)
            self.line.drop(TOO_OLD)
            return None
        # Before it is called: what it raises is the failure of a handler that has started.
        gate.handled += 1
        dropped = self.line.dropped
        coro = starter(target, env, msg)
        if coro is None and self.line.dropped.get(SCHEMA) != dropped.get(SCHEMA):
            gate.handled -= 1
            gate.count_drop(SCHEMA)
        return coro

    @property
    def _instance(self) -> Instance:
        owner: Any = self.line.owner
        return owner  # type: ignore[no-any-return]

    def lost(self, msg: Msg, cause: str) -> None:
        """A message that waited was dropped by somebody else, who has counted it for the receiver."""
        gate = self.through.pop(msg, None)
        if gate is not None:
            gate.leave(msg)
            gate.count_drop(cause)

    def kill(self, msg: Any, cause: str) -> None:
        """Drop a message that waits."""
        line = self.line
        gate = self.through.pop(msg)
        _, ordinal, _ = gate.queued[msg]
        gate.leave(msg)
        gate.count_drop(cause)
        line.drop(cause)
        self._renumber(ordinal)
        line.count -= 1
        line.popped += 1
        if line.waiters is not None and line.count <= line.low:
            line.release()
        msg._line, msg._turn = self.dead, None
        self.dead.count += 1
        if self.dead.count >= self._sweep_at:
            self._sweep()

    def _renumber(self, ordinal: int) -> None:
        """Let the commands that came before a message not count it as one that was sent before them.

        What `discard_queued(sent_before=cmd)` may drop is told by numbers, which hold as long as a
        queue only loses what is in front.
        """
        for path in self._instance.in_paths.values():
            if path.mark < ordinal:
                path.behind += 1

    def _sweep(self) -> None:
        """Clear away what was dropped: before a handler that waits, nothing drains the lane."""
        lane, instance, dead = self.line.lane, self._instance, self.dead
        if lane is not None and not instance.closed and not instance.group.closed:
            dead.count -= len(lane.take(dead))
        if instance.held:
            kept = [msg for msg in instance.held if msg._line is not dead]
            dead.count -= len(instance.held) - len(kept)
            instance.held[:] = kept
        self._sweep_at = dead.count + self.line.count + _SWEEP_AFTER

    def release(self) -> None:
        """Nobody may wait for room here now."""
        for gate in self.gates:
            gate.release()

    def begin_result_wait(self) -> None:
        """The handler that holds the receiver up awaits a result."""
        for gate in self.gates:
            if gate.waiters is not None:
                self.line.overshoots += len(gate.waiters)
                gate.release()


_Entry = tuple[float, int, Any]
"""What a gate knows of a message that waits: when it was sent (if anybody asks for its age), which
it was of all that the receiver's line has had, its key."""


class Gate(Line):
    """One edge with a flow policy, to its sender what the line of the receiver is otherwise."""

    __slots__ = (
        "_key",
        "_latest",
        "_limits",
        "_on_full",
        "_passage",
        "capacity",
        "handled",
        "line",
        "max_age",
        "policy",
        "queued",
        "sent",
    )

    def __init__(self, name: str, passage: Passage, before: Gate | None) -> None:
        owner: Any = self
        super().__init__(name, owner, None, serial=False, inline=True, cap=0, hard=0)
        self._passage = passage
        self.policy: FlowPolicy | None = None
        self._key: str | None = None
        self.line = passage.line
        self.entry = self
        self.queued: dict[Msg, _Entry] = {}
        self._latest: dict[Any, Msg] = {}
        # What the edge has come to with a receiver of the same name that was there before.
        self.sent: int = 0 if before is None else before.sent - before.count
        self.handled: int = 0 if before is None else before.handled
        self.dropped = NOTHING_DROPPED if before is None else before.dropped
        passage.gates.append(self)

    def use(self, policy: FlowPolicy, limits: Limits) -> None:
        """Let `policy` hold from now on."""
        if policy == self.policy:
            return
        self.policy = policy
        self._on_full = on_full = policy.on_full
        self.capacity = capacity = policy.capacity or limits.queue
        self.max_age = inf if policy.max_age_ms is None else policy.max_age_ms / 1_000
        key = policy.key if on_full == COALESCE else None
        if key != self._key:
            # What waits was told apart by another one.
            self._latest.clear()
            self._key = key
        self._limits = limits
        self.low = capacity // 2
        if on_full in (DROP_OLDEST, COALESCE):
            # Nobody waits, and nothing new is refused: `put` sees to it.
            self.cap = self.hard = inf  # type: ignore[assignment]
        elif on_full in (DROP_NEWEST, ERROR):
            self.cap = self.hard = capacity
        else:
            self.cap, self.hard = capacity, max(capacity, limits.hard_queue)
            # As everywhere else where senders wait.
            on_full = limits.overflow
        self.strict = on_full == ERROR
        self.release()

    def report(self) -> FlowReport:
        """What it has come to so far."""
        return FlowReport(
            sent=self.sent,
            handled=self.handled,
            queued=len(self.queued),
            dropped=dict(self.dropped),
        )

    # What comes -------------------------------------------------------------------------------

    @property
    def first(self) -> tuple[float, int] | None:
        """Of the first of those that wait: when it was sent (inf if that isn't kept), and its number
        among all that the receiver's line has had."""
        return next(iter(self.queued.values()))[:2] if self.queued else None

    def make_room(self, _: Line) -> bool:
        """Beyond the bound: whether one more message may come in."""
        if self._drop_old():
            return True
        if self._on_full in (DROP_NEWEST, ERROR):
            self.drop(self._on_full)
            return False
        if self._limits.overflow == "drop_oldest" and self.queued:
            self._passage.kill(next(iter(self.queued)), OVERFLOW)
            return True
        self.drop(OVERFLOW)
        return False

    def _drop_old(self) -> bool:
        """Drop what nobody would see anyway; whether there was anything."""
        if self.max_age == inf:
            return False
        latest = trio.current_time() - self.max_age
        found = list(self._while_sent_before(latest))
        for msg in found:
            self._passage.kill(msg, TOO_OLD)
        return bool(found)

    def _while_sent_before(self, moment: float) -> Iterator[Msg]:
        for msg, (sent, _, _) in self.queued.items():
            if sent >= moment:
                return
            yield msg

    def put(self, msg: Any) -> None:
        """Send a message on, to the line of the receiver."""
        passage, line = self._passage, self.line
        key = None
        if self._on_full == COALESCE:
            key = self._key_of(msg)
            older = self._latest.get(key)
            if older is not None:
                passage.kill(older, COALESCE)
            self._latest[key] = msg
        msg._line = line
        self.sent += 1
        line.count = count = line.count + 1
        now = inf if self.max_age == inf else trio.current_time()
        self.queued[msg] = (now, line.popped + count, key)
        passage.through[msg] = self
        line.entry.put(msg)
        if self.hard == inf and self.count > self.capacity:
            self._drop_old()
            while self.count > self.capacity:
                passage.kill(next(iter(self.queued)), DROP_OLDEST)

    def _key_of(self, msg: Any) -> Any:
        if self._key is None:
            return None
        value = msg.get(self._key)
        try:
            hash(value)
        except TypeError:
            return _Unhashable, repr(value)
        return value

    def drop(self, cause: str, number: int = 1) -> None:
        """Count messages that were sent and don't even come in."""
        self.sent += number
        self.count_drop(cause, number)
        self.line.drop(cause, number)

    def count_drop(self, cause: str, number: int = 1) -> None:
        """Count messages of this edge that nobody will see."""
        super().drop(cause, number)

    # What goes --------------------------------------------------------------------------------

    def leave(self, msg: Msg) -> float:
        """A message waits no more; for how many seconds it has, if they are counted."""
        sent, _, key = self.queued.pop(msg)
        if self._latest and self._latest.get(key) is msg:
            del self._latest[key]
        self.count -= 1
        if self.waiters is not None and self.count <= self.low:
            self.release()
        return 0.0 if sent == inf else trio.current_time() - sent

    @property
    def waited_for(self) -> Line:
        """The receiver's: it is its handlers that make room."""
        return self.line


class _Unhashable:
    """Keeps apart from plain texts what has to be written out to be compared."""


def _nothing(target: object, env: object, msg: object) -> None:
    """For a message that was dropped while it waited."""
