"""Trio runs in virtual time, in which sleeping costs nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import trio

T = TypeVar("T")

VIRTUAL_YEAR: Final = 365 * 24 * 3600.0
"""Virtual seconds after which a run counts as stuck: the clock only jumps that far when every
task waits for another."""


def run_in_virtual_time(async_fn: Callable[..., Awaitable[T]], *args: Any) -> T:
    """Run `async_fn(*args)` with a clock that jumps to the next deadline as soon as all tasks wait.

    Where nothing can ever go on, it raises `trio.TooSlowError` instead of hanging. Threads and sockets
    work in real time all the while, so what waits for them should run in real time too.
    """
    from trio.testing import MockClock  # noqa: PLC0415 - it imports pytest, if that is installed

    return trio.run(_until_stuck, async_fn, args, clock=MockClock(autojump_threshold=0))


async def _until_stuck(async_fn: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> T:
    with trio.fail_after(VIRTUAL_YEAR):
        return await async_fn(*args)
