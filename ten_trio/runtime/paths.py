"""Paths: what a command in flight leaves behind, so that its results find their way home.

An out path belongs to the endpoint that sent the command, an in path to the one that has to answer
it.  Within a process the two know each other; ids are plain integers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import Enum, auto
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from ..messages import CmdResult, MsgType, StatusCode
from .deadlines import EXCEEDED, Deadlines
from .policies import Collector, ResultReturnPolicy

if TYPE_CHECKING:
    from ..graphs import Conversion
    from ..messages import Cmd, Loc

_OK = StatusCode.OK

ORPHANED = "The caller of the command that was sent on is gone."

new_id: Callable[[], int] = count(1).__next__
"""The one source of command ids in this process."""


class Sink(Protocol):
    """Where the results of one command go that the policy lets through."""

    def deliver(self, result: CmdResult, completed: bool) -> object:
        """Take one result. `completed`: none comes after it."""


class Endpoint(Protocol):
    """Whatever sends commands and receives results: an extension, the host, another graph."""

    loc: Loc
    out_paths: dict[int, OutPath]
    expiry: Expiry

    def take_result(self, result: CmdResult) -> None:
        """A result has come home (`result._path` is its out path): put it into the line."""


class State(Enum):
    """Of an in path."""

    OPEN = auto()
    ANSWERED = auto()
    ABANDONED = auto()
    EXPIRED = auto()


# Looking up a member of an enum is slow in Python 3.11.
_OPEN: Final = State.OPEN
_ANSWERED: Final = State.ANSWERED


class Sending(Protocol):
    """A command on its way: an out path, or the fan of them that goes to several destinations."""

    def abandon(self) -> None:
        """Nobody wants the results any more: forget the paths and tell the executors."""

    def orphan(self) -> None:
        """Nobody waits for what this was sent on: end it with ERROR and tell the executors."""


class OutPath:
    """At the sender: one command to one destination, until its final result.

    `each`: whether the sink gets every result, or, as `ResultReturnPolicy.FIRST_ERROR_OR_LAST_OK` has
    it for one destination, only the one that completes the command.
    """

    __slots__ = (
        "closed",
        "cmd_name",
        "cmd_type",
        "deadline",
        "each",
        "id",
        "in_path",
        "owner",
        "parent",
        "put_off",
        "queue",
        "seq_id",
        "sink",
        "timeout",
        "turn",
        "until",
    )

    def __init__(
        self,
        owner: Endpoint,
        cmd: Cmd,
        sink: Sink,
        timeout: float,
        parent: InPath | None,
        each: bool,
    ) -> None:
        self.id = new_id()
        self.owner = owner
        self.sink = sink
        self.each = each
        # The received command that was sent on, if this is one.
        self.parent = parent
        self.cmd_name = cmd.name
        self.cmd_type: MsgType = cmd.type
        self.seq_id = cmd.seq_id
        # The next four are for the expiry.
        self.timeout = timeout
        self.deadline = inf
        self.put_off = False
        self.queue: dict[int, Any] | None = None
        self.in_path: InPath | Remote | None = None
        self.closed = False
        self.turn: Any = None
        # When what the sender itself waits with is over; see `deadlines`.
        self.until = inf
        owner.out_paths[self.id] = self
        if timeout != inf:
            owner.expiry.add(self)

    def close(self) -> None:
        """Forget this path; idempotent."""
        if not self.closed:
            self.closed = True
            self.owner.out_paths.pop(self.id, None)
            if self.queue is not None:
                self.queue.pop(self.id, None)
                self.queue = None

    def abandon(self) -> None:
        """Nobody wants the results any more: close, and tell the executor; idempotent."""
        if not self.closed:
            if self.until != inf:
                self._tell_overrun()
            self.close()
            self.forsake()

    def orphan(self) -> None:
        """The command that was sent on has lost its caller; whoever sent it on still waits."""
        self.answer(StatusCode.ERROR, ORPHANED)
        self.forsake()

    def forsake(self, state: State = State.ABANDONED) -> None:
        """Tell the executor that nobody waits for it."""
        in_path, self.in_path = self.in_path, None
        if in_path is not None:
            in_path.abandon(state)

    def expire(self) -> None:
        """The time is up: an ERROR result ends this path."""
        self.answer(StatusCode.ERROR, "Path timeout.")
        self.forsake(State.EXPIRED)

    def overrun(self) -> None:
        """The deadline that the command was sent with has passed: an ERROR result ends this path."""
        self._tell_overrun()
        self.answer(StatusCode.ERROR, EXCEEDED)
        self.forsake(State.EXPIRED)

    def _tell_overrun(self) -> None:
        # Whoever waits under a deadline of Trio's is cancelled by it, and abandons this path.
        expiry = self.owner.expiry
        if expiry.on_overrun is not None and self.until <= expiry.now():
            expiry.on_overrun(self)

    def answer(self, status: StatusCode, detail: str, **properties: object) -> None:
        """The runtime's own final result, through the same line as any other."""
        if not self.closed:
            self.give(made_result(status, detail, **properties))

    def give(self, result: CmdResult) -> None:
        """Send `result` home."""
        result._path = self
        self.owner.take_result(result)

    def arrive(self, result: CmdResult) -> Any:
        """`result` is at the sender: let it say which command it answers, as its sender knows it,
        and hand it to the sink. Returns a coroutine if there is one to run."""
        if self.closed:
            return None
        parent = self.parent
        result._id = self.id if parent is None else parent.id
        result._path = parent
        result.original_cmd_name = self.cmd_name
        result.original_cmd_type = self.cmd_type
        result.seq_id = self.seq_id
        completed = result.is_final
        if completed:
            self.close()
        elif self.each or result.status is _OK:
            if self.queue is not None:
                # A sign of life: the clock starts again.
                self.put_off = True
                self.deadline = self.owner.expiry.now() + self.timeout
            if not self.each:
                return None
        else:
            self.abandon()
            completed = True
        result.is_completed = completed
        return self.sink.deliver(result, completed)


class Fan:
    """A command on its way to several destinations, by a path each: what their results come to."""

    __slots__ = ("_collector", "_sink", "paths")

    def __init__(self, sink: Sink, destinations: int, policy: ResultReturnPolicy) -> None:
        self._sink = sink
        self._collector: Collector[CmdResult] = Collector(destinations, policy)
        self.paths: list[OutPath] = []

    def abandon(self) -> None:
        """Nobody wants the results any more: forget the paths and tell the executors."""
        # Without paths it is part of no reference cycle, and needs no garbage collector.
        paths, self.paths = self.paths, []
        for path in paths:
            path.abandon()

    def orphan(self) -> None:
        """The command that was sent on has lost its caller; whoever sent it on still waits."""
        for path in tuple(self.paths):
            path.orphan()

    def take(self, index: int, result: CmdResult, final: bool) -> object:
        """A result of one of the destinations: the policy decides who hears of it."""
        verdict = self._collector.feed(index, result, is_ok=result.status is _OK, is_final=final)
        if verdict is None:
            return None
        result, completed = verdict
        result.is_completed = completed
        if completed:
            self.abandon()
        return self._sink.deliver(result, completed)


class Branch:
    """The sink of one path of a fan."""

    __slots__ = ("_fan", "_index")

    def __init__(self, fan: Fan, index: int) -> None:
        self._fan = fan
        self._index = index

    def deliver(self, result: CmdResult, completed: bool) -> object:
        """Take one result; `completed` says that this destination gives no other."""
        return self._fan.take(self._index, result, completed)


def made_result(status: StatusCode, detail: str, **properties: object) -> CmdResult:
    """A result of the runtime's own."""
    return CmdResult(status, {"detail": detail, **properties} if detail else properties)


class Remote(Protocol):
    """The executor's side of a path, seen from another loop."""

    def abandon(self, state: State = State.ABANDONED) -> None:
        """The caller is gone."""


class InPath:
    """At the executor: one received command, until its final answer."""

    __slots__ = (
        "_gone",
        "behind",
        "id",
        "mark",
        "on_abandon",
        "out",
        "owner",
        "relays",
        "result_conversion",
        "started",
        "state",
        "until",
    )

    def __init__(
        self, owner: Executor, out: OutPath | Reply, conversion: Conversion | None = None
    ) -> None:
        self.id = out.id
        self.owner = owner
        self.out = out
        self.result_conversion = conversion
        self.state = _OPEN
        self.started = False
        # When the caller's time is up; what is sent while it is handled has no more.
        self.until: float = out.until
        # How many data messages the executor had been sent before this command.
        self.mark = 0
        # How many that came after it were taken out of the middle of the queue since.
        self.behind = 0
        self.relays: list[Sending] | None = None
        self.on_abandon: Callable[[], object] | None = None
        self._gone: trio.Event | None = None
        owner.in_paths[self.id] = self

    @property
    def is_abandoned(self) -> bool:
        """Whether the caller is gone."""
        return self.state is State.ABANDONED or self.state is State.EXPIRED

    @property
    def abandoned(self) -> trio.Event:
        """Set once the caller is gone: it was cancelled, closed, timed out or left its block."""
        if self._gone is None:
            self._gone = trio.Event()
            if self.is_abandoned:
                self._gone.set()
        return self._gone

    @property
    def time_left(self) -> float:
        """Seconds until the caller's time is up; inf if it has given none, or has its answer."""
        return max(0.0, self.until - self.owner.engine.loop.now()) if self.until != inf else inf

    def relay(self, sending: Sending) -> None:
        """This command has been sent on: `sending` ends with it."""
        if self.relays is None:
            self.relays = []
        self.relays.append(sending)

    def close(self, state: State) -> None:
        """No answer comes after this."""
        self.state = state
        if state is _ANSWERED:
            self.until = inf
        self.out.in_path = None
        self.owner.in_paths.pop(self.id, None)

    def abandon(self, state: State = State.ABANDONED) -> None:
        """The caller is gone: tell whoever awaits that, and whoever this command was sent on to."""
        if self.state is not _OPEN:
            return
        self.close(state)
        if self._gone is not None:
            self._gone.set()
        if self.on_abandon is not None:
            self.on_abandon()
        for sending in self.relays or ():
            sending.orphan()

    def answer(self, status: StatusCode, detail: str, **properties: object) -> None:
        """The runtime answers in the executor's place, if nobody has yet."""
        if self.state is _OPEN:
            self.close(State.ANSWERED)
            self.out.answer(status, detail, **properties)


class Reply(Protocol):
    """The caller's side of a path, seen from its executor."""

    id: int
    cmd_name: str
    in_path: Any

    @property
    def until(self) -> float:
        """When the caller's time is up, by the clock of this loop; inf if it has given none."""

    def give(self, result: CmdResult) -> None:
        """Send a result home."""

    def answer(self, status: StatusCode, detail: str, **properties: object) -> None:
        """Send the runtime's own final result home."""


class Executor(Protocol):
    """Whatever answers commands."""

    engine: Any
    in_paths: dict[int, InPath]


class Unasked:
    """The path of a command that wants no answer, such as a timeout: a result is quietly ignored."""

    __slots__ = ()
    is_abandoned = False
    until = time_left = inf

    def answer(self, *_: object, **__: object) -> None:
        """Nobody asked."""


class Expiry:
    """Ends the paths of one loop whose time is up.

    For each timeout there is one map in order of creation, so its head is always the next to
    expire: no heap, no task per command.  A single task sleeps until the earliest head was due when
    it last looked, and ends when it finds nothing to wait for.
    """

    def __init__(self, start_soon: Callable[[Callable[[], Any]], object]) -> None:
        self._start_soon = start_soon
        self._queues: dict[float, dict[int, Any]] = {}
        self._put_off: dict[int, Any] = {}
        self._wake_at = inf
        self._scope: trio.CancelScope | None = None
        self._running = False
        self._closed = False
        self._deadlines: Deadlines | None = None
        self.now: Callable[[], float] = trio.current_time
        """Trio's clock."""
        self.expired = 0
        self.on_overrun: Callable[[OutPath], object] | None = None
        """Told of every path that is still open when its deadline passes."""

    def add(self, path: Any) -> None:
        """Watch `path`: its `expire()` is called once `path.deadline` has passed.

        The deadline is `path.timeout` seconds from now; it may be put off later on.
        """
        timeout: float = path.timeout
        queue = self._queues.get(timeout)
        if queue is None:
            queue = self._queues[timeout] = {}
            # Read for every command: without the detour through the current run.
            self.now = trio.lowlevel.current_clock().current_time
        path.queue = queue
        path.deadline = self.now() + timeout
        queue[path.id] = path
        if not self._running:
            if not self._closed:
                self._running = True
                self._start_soon(self._run)
        elif self._scope is not None and path.deadline < self._wake_at:
            self._wake_at = self._scope.deadline = path.deadline

    def limit(self, path: OutPath, until: float) -> None:
        """Let `path` end with ERROR once that time, by Trio's clock, has come.

        If it has come already, whoever sends the command answers it instead of sending it.
        """
        path.until = until
        if until <= self.now():
            return
        if self._deadlines is None:
            self._deadlines = Deadlines(self._start_soon)
        if not self._closed:
            self._deadlines.watch(path)

    def close(self) -> None:
        """Watch nothing any more."""
        self._closed = True
        if self._deadlines is not None:
            self._deadlines.close()
        self._queues.clear()
        self._put_off.clear()
        if self._scope is not None:
            self._scope.cancel("closed")

    async def _run(self) -> None:
        try:
            while not self._closed:
                deadlines = [path.deadline for path in (*self._heads(), *self._put_off.values())]
                if not deadlines:
                    return
                self._wake_at = min(deadlines)
                with trio.CancelScope(deadline=self._wake_at, shield=True) as self._scope:
                    await trio.sleep_forever()
                self._scope = None
                self._expire(trio.current_time())
        finally:
            self._running = False

    def _heads(self) -> Iterator[Any]:
        """The oldest path of each timeout; those that were put off are watched one by one."""
        for queue in self._queues.values():
            while queue:
                path = next(iter(queue.values()))
                if not path.put_off:
                    yield path
                    break
                del queue[path.id]
                path.queue = self._put_off
                self._put_off[path.id] = path

    def _expire(self, now: float) -> None:
        while due := [
            path for path in (*self._heads(), *self._put_off.values()) if path.deadline <= now
        ]:
            for path in due:
                if path.queue is None:
                    continue  # the end of an earlier one of them has ended this one too
                del path.queue[path.id]
                path.queue = None
                self.expired += 1
                path.expire()
