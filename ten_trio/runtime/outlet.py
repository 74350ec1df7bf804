"""Where data is dealt with as it arrives: the host, another graph, or nobody at all."""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, Any

from ..messages import StatusCode
from .lines import NOTHING_DROPPED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..graphs import Conversion
    from ..messages import Cmd, Msg

logger = logging.getLogger("ten_trio.runtime")


class Outlet:
    """A line without a queue: data is dealt with where it arrives, so nobody waits for room."""

    __slots__ = ("_take", "cap", "count", "dropped", "hard", "name", "owner")

    def __init__(self, name: str, take: Callable[[Any], str | None]) -> None:
        self.name = name
        self._take = take
        self.count = 0
        self.cap = self.hard = inf
        self.dropped: Mapping[str, int] = NOTHING_DROPPED
        self.owner: Any = None

    def put(self, msg: Msg) -> None:
        """Deal with `msg`; a text that comes back is why it had to be dropped."""
        self.count = 0
        cause = self._take(msg)
        if cause is not None:
            self.drop(cause)

    def drop(self, cause: str) -> None:
        """Count one message that nobody will see."""
        self.dropped = {**self.dropped, cause: self.dropped.get(cause, 0) + 1}


def nobody(msg: Msg) -> str:
    """For an outlet that leads nowhere."""
    return "no destination"


class Nowhere:
    """Stands where no receiver is: commands are answered with ERROR, data is dropped and counted."""

    is_near = False

    def __init__(self, detail: str) -> None:
        self._detail = detail
        self.data_line = Outlet("nowhere", self._take)

    def _take(self, msg: Msg) -> str:
        before = sum(self.data_line.dropped.values())
        if before % 1_000 == 0:
            place = "%s: %s %r goes nowhere: %s (%d times)"
            logger.warning(place, msg._src, msg.kind, msg.name, self._detail, before + 1)
        return nobody(msg)

    def take_cmd(self, cmd: Cmd, path: Any, result_conversion: Conversion | None) -> None:
        """Answer at once."""
        path.answer(StatusCode.ERROR, self._detail)
