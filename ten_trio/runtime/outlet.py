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
    """A receiver without a queue: data is dealt with where it arrives, so nobody waits for room.

    It is its own line.  This one leads nowhere.
    """

    __slots__ = ("cap", "count", "dropped", "hard", "name", "owner")

    is_near = False

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0
        self.cap = self.hard = inf
        self.dropped: Mapping[str, int] = NOTHING_DROPPED
        self.owner: Any = None

    @property
    def data_line(self) -> Any:
        """Itself."""
        return self

    @property
    def entry(self) -> Any:
        """Itself."""
        return self

    def put(self, msg: Msg) -> None:
        """Deal with `msg`, and count it if it had to be dropped."""
        self.count = 0
        cause = self.take(msg)
        if cause is not None:
            self.drop(cause)

    def take(self, msg: Msg) -> str | None:
        """Deal with `msg`; a text that comes back is why it had to be dropped."""
        return "no destination"

    def take_cmd(self, cmd: Cmd, path: Any, result_conversion: Conversion | None) -> None:
        """Deal with a command."""
        raise NotImplementedError

    def drop(self, cause: str) -> None:
        """Count one message that nobody will see."""
        self.dropped = {**self.dropped, cause: self.dropped.get(cause, 0) + 1}


class Nowhere(Outlet):
    """Stands where no receiver is: commands are answered with ERROR, data is dropped and counted."""

    __slots__ = ("_detail",)

    def __init__(self, detail: str) -> None:
        super().__init__("nowhere")
        self._detail = detail

    def take(self, msg: Msg) -> str | None:
        """Nobody sees it, and the log says so, at first and then now and again."""
        before = sum(self.dropped.values())
        if before % 1_000 == 0:
            place = "%s: %s %r goes nowhere: %s (%d times)"
            logger.warning(place, msg._src, msg.kind, msg.name, self._detail, before + 1)
        return super().take(msg)

    def take_cmd(self, cmd: Cmd, path: Any, result_conversion: Conversion | None) -> None:
        """Answer at once."""
        path.answer(StatusCode.ERROR, self._detail)


class HostOutlet(Outlet):
    """Data for the host of a graph."""

    __slots__ = ("_take",)

    def __init__(self, take: Callable[[Any], str | None]) -> None:
        super().__init__("host")
        self._take: Callable[[Any], str | None] | None = take

    def take(self, msg: Msg) -> str | None:
        """Give it to the host."""
        return super().take(msg) if self._take is None else self._take(msg)

    def end(self) -> None:
        """There is no host any more."""
        self._take = None
