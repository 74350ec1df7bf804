"""What a tester has received: all of it, and what no test has asked for yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import trio

from ..errors import ErrorCode, TenError
from ..messages import Msg

MsgT = TypeVar("MsgT", bound=Msg)


class NotReceived(TenError, AssertionError):
    """A message that a test expected did not come in time."""

    code = ErrorCode.TIMEOUT


class NotExpected(TenError, AssertionError):
    """A message came where a test expected none."""


class Inbox(Generic[MsgT]):
    """The messages of one kind. `everything` only grows, `unread` is what `take` takes from."""

    def __init__(self, what: str) -> None:
        self._what = what
        self.everything: list[MsgT] = []
        self.unread: list[MsgT] = []
        self._arrived = trio.Event()

    def put(self, msg: MsgT) -> None:
        """Keep `msg`."""
        self.everything.append(msg)
        self.unread.append(msg)
        arrived, self._arrived = self._arrived, trio.Event()
        arrived.set()

    def find(self, name: str | None, matching: Callable[[MsgT], object] | None) -> MsgT | None:
        """The first unread message of that name (None: of any) for which `matching` is true."""
        for msg in self.unread:
            if name in (None, msg.name) and (matching is None or matching(msg)):
                return msg
        return None

    async def take(
        self, name: str | None, matching: Callable[[MsgT], object] | None, within: float
    ) -> MsgT:
        """Wait for such a message, at most `within` seconds, and mark it read.

        Raises `NotReceived`.
        """
        with trio.move_on_after(within):
            await trio.lowlevel.checkpoint()
            while (msg := self.find(name, matching)) is None:
                await self._arrived.wait()
            self.unread.remove(msg)
            return msg
        raise NotReceived(
            f"{self._called(name)} did not come within {within:g} s; unread: {self._listed()}"
        )

    def check_none(self, name: str | None) -> None:
        """Raise `NotExpected` if there is an unread message of that name."""
        if (msg := self.find(name, None)) is not None:
            raise NotExpected(f"{msg!r} came, and {self._called(name, 'no ')} was expected")

    def _called(self, name: str | None, article: str = "") -> str:
        return f"{article}{self._what}" + ("" if name is None else f" {name!r}")

    def _listed(self, most: int = 10) -> str:
        more = len(self.unread) - most
        shown = ", ".join(map(repr, self.unread[:most])) or "nothing"
        return f"{shown} and {more} more" if more > 0 else shown
