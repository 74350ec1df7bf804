"""A line: one of the two FIFOs of a receiver, its bounds, and who waits for room in it.

The messages themselves sit in the memory channel of a lane (`lanes.py`), which many lines may
share; a line counts its own share of them.  {commands, results} of a receiver are one line, {data,
frames} the other.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from ..messages import Loc, Msg

if TYPE_CHECKING:
    from .current import Hand
    from .flow import Passage
    from .lanes import Lane, Worker

Starter = Callable[[Any, Any, Any], Coroutine[Any, Any, object] | None]
"""Called with the line's target, its env and a message; returns what there is to run, if anything."""


class Owner(Protocol):
    """Whom a line belongs to: the receiver whose handlers it starts."""

    name: str
    loc: Loc
    workers: dict[Worker, Msg]
    context: Context
    """Handlers run in copies of it."""
    hand: Hand
    """The current one in there."""

    def part_with_hand(self) -> None:
        """A handler waits, and keeps the hand that it has."""

    def handler_failed(self, msg: Msg, error: BaseException) -> BaseException | None:
        """Deal with what left the handler of `msg`; return what has to go on rising, if any."""

    def handler_cancelled(self) -> None:
        """A handler has ended that was cancelled."""

    def is_over(self, turn: Any) -> bool:
        """Whether the step that cancels this turn has been taken here."""

    def handler_leaked(self, msg: Msg) -> None:
        """The handler of `msg` returned inside a nursery that it had opened."""


class Entry(Protocol):
    """Whatever takes messages: `entry.put(msg)`, which never waits.

    Ask for `put` each time: it is another one while the worker of a lane sleeps.
    """

    @property
    def put(self) -> Callable[[Any], object]:
        """Take a message."""


class Diverted:
    """Takes messages while a line isn't open."""

    __slots__ = ("put",)

    def __init__(self, put: Callable[[Any], object]) -> None:
        self.put = put


def _refuse(msg: object) -> None:
    raise RuntimeError(f"{msg!r} came to a line that has never been open")


_NOT_OPEN: Final = Diverted(_refuse)

NOTHING_DROPPED: Mapping[str, int] = {}
_NO_WAITS: dict[Line, int] = {}
"""Shared by every line of which nobody waits for room elsewhere; never added to."""


class Line:
    """One FIFO half of a receiver. Only ever used in the loop of its engine."""

    __slots__ = (
        "cap",
        "companions",
        "count",
        "dropped",
        "entry",
        "env",
        "hard",
        "inline",
        "lane",
        "low",
        "name",
        "overshoots",
        "owner",
        "passage",
        "popped",
        "quiet",
        "result_waits",
        "room_waits",
        "serial",
        "strict",
        "table",
        "target",
        "waiters",
        "waiting",
    )

    def __init__(
        self,
        name: str,
        owner: Owner,
        env: object,
        *,
        serial: bool,
        inline: bool,
        cap: int,
        hard: int,
    ) -> None:
        self.name = name
        self.owner = owner
        self.env = env
        self.serial = serial
        self.inline = inline
        self.cap = cap
        self.hard = hard
        # Whether what goes beyond `hard` is an error to its sender; None: `Limits.overflow` says so.
        self.strict: bool | None = None
        # What some of the messages come through: edges that have a flow policy.
        self.passage: Passage | None = None
        self.low = cap // 2
        self.count = 0
        self.popped = 0
        self.quiet = 0
        self.overshoots = 0
        self.dropped: Mapping[str, int] = NOTHING_DROPPED
        self.lane: Lane | None = None
        # The other lines of the receiver: in the same lane unless a handler waits.
        self.companions: tuple[Line, ...] = ()
        # Whether a handler holds this (serial) line up now.
        self.waiting = False
        # What to do with a message, by its class. Plain functions, so that the table can be shared.
        self.table: dict[type[Msg], Starter] = {}
        self.target: object = None
        # Takes what is sent here: its lane, unless it is held or closed.
        self.entry: Entry = _NOT_OPEN
        # Who waits for room here, and since when.
        self.waiters: dict[trio.lowlevel.Task, float] | None = None
        # What the handler that holds this (serial) line up is waiting for.
        self.room_waits: dict[Line, int] = _NO_WAITS
        self.result_waits = 0

    def open(self, lane: Lane) -> None:
        """From now on messages go to `lane`."""
        self.entry = self.lane = lane

    # Room -----------------------------------------------------------------------------------

    def drop(self, cause: str, number: int = 1) -> None:
        """Count messages that nobody will see."""
        self.dropped = {**self.dropped, cause: self.dropped.get(cause, 0) + number}

    def release(self) -> None:
        """Let everyone go on who waits for room here."""
        waiters, self.waiters = self.waiters, None
        for task in waiters or ():
            trio.lowlevel.reschedule(task)

    def held_up_by(self, other: Line) -> bool:
        """Whether this line can only go on after `other` has: a wait for it would close a cycle."""
        seen: set[Line] = set()
        todo = [self]
        while todo:
            line = todo.pop()
            if line is other or line.result_waits:
                return True
            if line not in seen:
                seen.add(line)
                todo.extend(line.room_waits)
        return False

    @property
    def waited_for(self) -> Line:
        """The line whose handlers make room here."""
        return self

    # Ctrl-C must not come between: a task would be woken that doesn't wait.
    @trio.lowlevel.enable_ki_protection
    async def wait_for_room(self, sender: Line | None) -> None:
        """Wait until this line has drained to half its capacity.

        `sender` is the line which the waiting handler holds up, if it holds one up.  A wait that
        would close a cycle, or for a receiver that itself waits for a command's result, is not
        begun: the message is over the bound then, which `hard` limits.
        """
        line = self.waited_for
        if line.result_waits or (sender is not None and line.held_up_by(sender)):
            line.overshoots += 1
            return
        if self.waiters is None:
            self.waiters = {}
        task = trio.lowlevel.current_task()
        self.waiters[task] = trio.current_time()

        def abort(_: object) -> trio.lowlevel.Abort:
            if self.waiters is not None:
                self.waiters.pop(task, None)
            return trio.lowlevel.Abort.SUCCEEDED

        if sender is not None:
            if not sender.room_waits:
                sender.room_waits = {}
            sender.room_waits[line] = sender.room_waits.get(line, 0) + 1
        try:
            await trio.lowlevel.wait_task_rescheduled(abort)
        finally:
            if sender is not None:
                if sender.room_waits[line] == 1:
                    del sender.room_waits[line]
                else:
                    sender.room_waits[line] -= 1

    def begin_result_wait(self) -> None:
        """The handler that holds this line up awaits a result: nobody may wait for room here."""
        self.result_waits += 1
        if self.waiters is not None:
            self.overshoots += len(self.waiters)
            self.release()
        if self.passage is not None:
            self.passage.begin_result_wait()

    def end_result_wait(self) -> None:
        """The result is there, or nobody wants it any more."""
        self.result_waits -= 1
