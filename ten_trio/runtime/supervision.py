"""What becomes of an exception that leaves user code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..errors import EnvClosed

if TYPE_CHECKING:
    from .engine import EngineCore


def split(error: BaseException, *, closing: bool) -> tuple[BaseException | None, Exception | None]:
    """Part `error` into what has to go on rising and what is the extension's failure.

    `Cancelled`, `KeyboardInterrupt`, `SystemExit` and the like go on, also out of a group.  While the
    graph closes, `EnvClosed` is neither.
    """
    if isinstance(error, BaseExceptionGroup):
        rising, rest = error.split(_goes_on)
        if rest is not None and closing:
            rest = rest.split(EnvClosed)[1]
        assert rest is None or isinstance(rest, Exception)
        return rising, rest
    if _goes_on(error):
        return error, None
    assert isinstance(error, Exception)
    if closing and isinstance(error, EnvClosed):
        return None, None
    return None, error


def _goes_on(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return False
    return isinstance(error, trio.Cancelled) or not isinstance(error, Exception)


def blame(error: BaseException, where: str, engine: EngineCore) -> None:
    """Note on `error` where it happened."""
    error.add_note(f"{where} (graph {engine.title})")
