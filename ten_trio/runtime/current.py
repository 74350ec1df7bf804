"""Which message is being handled: one context variable, inherited by what the handler starts."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any, Final

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


NOTHING: Final = Background()

current: ContextVar[Msg | Background] = ContextVar("ten_trio_current", default=NOTHING)
"""The message whose handler is running here."""
