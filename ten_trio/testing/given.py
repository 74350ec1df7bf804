"""Hypothesis for `async def` tests: one Trio run per example, in virtual time, on a drawn schedule.

Once Hypothesis is imported, Trio's scheduler takes its order of ready tasks from a random generator
that Hypothesis seeds, and seeds alike for every example. Left at that, hundreds of examples all
see one and the same interleaving. `trio_given` therefore draws the seed together with the arguments:
each example has a schedule of its own, and a failing one is found again with its schedule.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from types import EllipsisType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from ten_trio.errors import MissingExtra
from ten_trio.testing.virtual_time import run_in_virtual_time

try:
    from hypothesis import given, note, strategies as st
except ModuleNotFoundError as problem:  # pragma: no cover
    raise MissingExtra("trio_given needs Hypothesis: pip install 'ten-trio[test]'") from problem

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

T = TypeVar("T")
Given: TypeAlias = "SearchStrategy[Any] | EllipsisType"

_SCHEDULE: Final = "_schedule"


def trio_given(
    *args: Given, **kwargs: Given
) -> Callable[[Callable[..., Awaitable[object]]], Callable[..., None]]:
    """Like `hypothesis.given`, for an `async def` test.

    Each example runs in a `trio.run` of its own with a `trio.testing.MockClock` that jumps to the next
    deadline as soon as all tasks wait, so sleeping costs nothing and times are exact. An example in
    which every task waits for ever fails with `trio.TooSlowError` instead of hanging. Strategies are
    given as for `given`: all by position, for the last parameters, or all by name. Without
    any, only the schedule varies. `@settings` and `@example` work as usual, and
    `trio.lowlevel.current_clock()` gives the clock.

    Tests that use real sockets or threads can't run in virtual time: it would jump while those work.

    Raises:
        TypeError: the test isn't an `async def`, strategies are given both ways, or there are more
            of them than parameters.
        MissingExtra: Hypothesis isn't installed.
    """
    if args and kwargs:
        raise TypeError("trio_given takes strategies by position or by name, not both")

    def decorate(test: Callable[..., Awaitable[object]]) -> Callable[..., None]:
        if not inspect.iscoroutinefunction(test):
            raise TypeError(f"trio_given is for `async def` tests, {test!r} isn't one")
        signature = inspect.signature(test)
        chosen = _by_name(signature, args) if args else dict(kwargs)

        @functools.wraps(test)
        def one_example(*values: Any, **named: Any) -> None:
            named.pop(_SCHEDULE, None)
            run_in_virtual_time(functools.partial(test, *values, **named))

        # The seed is drawn as part of an argument rather than as one more argument, which
        # every @example() would have to name.
        for name, strategy in chosen.items():
            if not isinstance(strategy, EllipsisType):
                chosen[name] = _on_drawn_schedule(strategy)
                break
        else:
            chosen[_SCHEDULE] = st.random_module()
            extra = inspect.Parameter(_SCHEDULE, inspect.Parameter.KEYWORD_ONLY)
            signature = signature.replace(parameters=[*signature.parameters.values(), extra])
            one_example.__signature__ = signature  # type: ignore[attr-defined]
        return given(**chosen)(one_example)

    return decorate


def _by_name(signature: inspect.Signature, strategies: tuple[Given, ...]) -> dict[str, Given]:
    names = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    ]
    if len(strategies) > len(names):
        raise TypeError(f"{len(strategies)} strategies for {len(names)} parameters")
    return dict(zip(names[-len(strategies) :], strategies, strict=True))


@st.composite
def _on_drawn_schedule(draw: DrawFn, strategy: SearchStrategy[T]) -> T:
    """Draws from `strategy` after having seeded Trio's scheduler for this example."""
    note(f"task schedule: {draw(st.random_module())!r}")
    return draw(strategy)
