"""What the generic checks share: a rule by its name, kept or broken, within a bound of time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio


async def check_rule(rule: str, check: Callable[[], Awaitable[object]], patience: float) -> None:
    """Run one check. Raises `AssertionError`, which names the rule, also if it takes `patience` seconds."""
    problem: Exception | None = None
    with trio.move_on_after(patience) as scope:
        try:
            await check()
        except* Exception as group:  # noqa: BLE001 - reported, whatever it is
            problem = _first(group)
    if scope.cancelled_caught and problem is None:
        raise AssertionError(f"{rule}: it hangs")
    if isinstance(problem, AssertionError):
        raise AssertionError(f"{rule}: {problem}") from problem
    if problem is not None:
        raise AssertionError(f"{rule}: {type(problem).__name__}: {problem}") from problem


def _first(group: BaseExceptionGroup[Exception]) -> Exception:
    leaves: list[Exception] = []
    rest: list[BaseException] = [group]
    while rest:
        error = rest.pop(0)
        if isinstance(error, BaseExceptionGroup):
            rest.extend(error.exceptions)
        elif isinstance(error, Exception):
            leaves.append(error)
    return next((leaf for leaf in leaves if isinstance(leaf, AssertionError)), leaves[0])
