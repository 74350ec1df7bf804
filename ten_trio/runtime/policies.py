"""Result policies: which of the results of one command reach the caller. Pure, one small machine."""

from __future__ import annotations

from enum import Enum
from typing import Generic, TypeVar

ResultT = TypeVar("ResultT")


class ResultReturnPolicy(Enum):
    """What the sender of a command gets to see of the results of all its destinations."""

    FIRST_ERROR_OR_LAST_OK = "first_error_or_last_ok"
    """One result: the first ERROR, final or not; else the last OK of the last destination."""
    EACH_OK_AND_ERROR = "each_ok_and_error"
    """Every result, as it comes."""


_EACH = ResultReturnPolicy.EACH_OK_AND_ERROR


class Collector(Generic[ResultT]):
    """Decides for each result of a command with `destinations` destinations what the caller gets.

    `done` once no result can reach the caller any more.
    """

    __slots__ = ("_each", "_kept", "_last", "_open", "done")

    def __init__(self, destinations: int, policy: ResultReturnPolicy) -> None:
        self._each = policy is _EACH
        self._last = destinations - 1
        self._open = destinations
        self._kept: ResultT | None = None
        self.done = False

    def feed(
        self, destination: int, result: ResultT, *, is_ok: bool, is_final: bool
    ) -> tuple[ResultT, bool] | None:
        """Take one result of the destination with this index.

        Returns what to hand to the caller and whether that completes the command, or None.  The
        caller of `feed` gives at most one final result per destination and none after it.
        """
        if self.done:
            return None
        if is_final:
            self._open -= 1
        if self._each:
            self.done = not self._open
            return result, self.done
        if not is_ok:
            self.done = True
            return result, True
        if destination == self._last:
            self._kept = result
        if self._open:
            return None
        self.done = True
        assert self._kept is not None
        return self._kept, True
