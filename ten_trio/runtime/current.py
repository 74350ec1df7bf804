"""Which message is being handled: one context variable, inherited by what the handler starts."""

from __future__ import annotations

from contextvars import Context, ContextVar
from typing import Any, Final, Self

import trio

from ..messages import Msg


class Background:
    """Stands for "no message": lifecycle callbacks, the host, and tasks in `env.nursery`.

    A background task remembers the message that was being handled when it was started as the parent
    of the commands it sends, but it isn't the handler: nobody waits for it, and it outlives the turn.
    (What belongs to a turn says so: `env.turn_scope`.)
    """

    __slots__ = ("_id", "_line", "_turn")

    _path: Any = None
    """Of a command in hand: what it has to be answered through."""

    def __init__(self, origin: Msg | Background | None = None) -> None:
        self._line: Any = None
        self._turn: Any = None
        self._id: int = 0 if origin is None else origin._id

    @property
    def msg(self) -> Self:
        """As `Hand.msg`: what stands for the message that is being handled."""
        return self


NOTHING: Final = Background()


class Hand:
    """Holds the message that is being handled.

    Setting a context variable for each message would cost as much as half of all else that starts a
    handler.  So the contexts of a receiver's handlers share one hand, for as long as they don't wait:
    one after the other uses it.  Whatever may still look at it afterwards, because it waits or goes on
    in a task, gets a hand of its own.

    Only a copy of the context that a handler makes itself (`contextvars.copy_context`) and uses when it
    has finished can't be told from those of the handlers after it: it finds what one of them has in
    hand, or nothing.  What is sent there says to which turn it belongs (`turn=`).
    """

    __slots__ = ("msg",)

    def __init__(self, msg: Msg | Background = NOTHING) -> None:
        self.msg = msg


current: ContextVar[Hand | Background] = ContextVar("ten_trio_current", default=NOTHING)
"""What has the message whose handler is running here."""


class _Spawning(trio.abc.Instrument):
    """Gives every task that a handler starts, in whatever nursery, a hand of its own."""

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        hand = task.context.get(current)
        if hand.__class__ is Hand:
            task.context.run(current.set, Hand(hand.msg))


_spawning: Final = _Spawning()


def watch_spawning() -> None:
    """Needed once in each Trio run in which handlers start. Idempotent."""
    trio.lowlevel.add_instrument(_spawning)


def with_hand(context: Context, hand: Hand) -> Context:
    """A copy of `context` in which that hand is the current one."""
    context = context.copy()
    context.run(current.set, hand)
    return context
