"""What becomes of an exception that leaves user code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..errors import CmdFailed, EnvClosed
from .deadlines import EXCEEDED

if TYPE_CHECKING:
    from .engine import EngineCore


def split(
    error: BaseException, *, closing: bool, overdue: bool = False
) -> tuple[BaseException | None, Exception | None]:
    """Part `error` into what has to go on rising and what is the extension's failure.

    `Cancelled`, `KeyboardInterrupt`, `SystemExit` and the like go on, also out of a group.  While the
    graph closes, `EnvClosed` is neither; nor is, in a handler whose caller's time is up (`overdue`),
    the end of a command that was sent for it.
    """

    def is_excused(error: BaseException) -> bool:
        if isinstance(error, CmdFailed):
            return overdue and error.result.detail == EXCEEDED
        return closing and isinstance(error, EnvClosed)

    if isinstance(error, BaseExceptionGroup):
        rising, rest = error.split(_goes_on)
        if rest is not None:
            rest = rest.split(is_excused)[1]
        assert rest is None or isinstance(rest, Exception)
        return rising, rest
    if _goes_on(error):
        return error, None
    assert isinstance(error, Exception)
    return None, None if is_excused(error) else error


def _goes_on(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return False
    return isinstance(error, trio.Cancelled) or not isinstance(error, Exception)


def blame(error: BaseException, where: str, engine: EngineCore) -> None:
    """Note on `error` where it happened."""
    error.add_note(f"{where} (graph {engine.title})")
