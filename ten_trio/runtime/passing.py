"""A command from another graph that several extensions take: it fans out here, and comes home as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .paths import State

if TYPE_CHECKING:
    from ..messages import CmdResult
    from .paths import Sending


class Home:
    """Gives the results of a command that was passed on to whoever had sent it."""

    __slots__ = ("_path",)

    def __init__(self, path: Any) -> None:
        self._path = path

    def deliver(self, result: CmdResult, completed: bool) -> None:
        """Send it home; the last one is final whatever its executor said."""
        result.is_final = completed
        self._path.give(result)


class PassedOn:
    """The executor's side of a command that was passed on: its executors are told with it."""

    __slots__ = ("_sending",)

    def __init__(self, sending: Sending) -> None:
        self._sending = sending

    def abandon(self, state: State = State.ABANDONED) -> None:
        """The caller is gone."""
        self._sending.abandon()
