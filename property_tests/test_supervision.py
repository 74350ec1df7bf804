"""What leaves user code is parted cleanly: `Cancelled` and what ends programs goes on, the rest is the
extension's failure, and nothing of either is lost, however groups are nested."""

from __future__ import annotations

from collections.abc import Iterator

import trio
from hypothesis import given, strategies as st

from ten_trio.errors import EnvClosed
from ten_trio.runtime.supervision import split

BASE = (trio.Cancelled, KeyboardInterrupt, SystemExit, GeneratorExit)


def cancelled() -> BaseException:
    """One of Trio's own, which nobody else can make."""
    found: list[BaseException] = []

    async def catch() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.lowlevel.checkpoint()
            except trio.Cancelled as error:
                found.append(error)
                raise

    trio.run(catch)
    return found[0]


leaves = st.sampled_from(
    [cancelled, KeyboardInterrupt, SystemExit, KeyError, ValueError, lambda: EnvClosed("closed")]
).map(lambda make: make())
errors = st.recursive(
    leaves,
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(
        lambda some: BaseExceptionGroup("some", some)
    ),
    max_leaves=6,
)


def leaves_of(error: BaseException | None) -> Iterator[BaseException]:
    """What it consists of."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves_of(inner)
    elif error is not None:
        yield error


@given(errors, st.booleans())
def test_nothing_is_swallowed_and_nothing_is_blamed_that_must_go_on(
    error: BaseException, closing: bool
) -> None:
    rising, failure = split(error, closing=closing)
    all_of_them = list(leaves_of(error))
    assert list(leaves_of(rising)) == [each for each in all_of_them if isinstance(each, BASE)]
    assert list(leaves_of(failure)) == [
        each
        for each in all_of_them
        if not isinstance(each, BASE) and not (closing and isinstance(each, EnvClosed))
    ]
    if rising is not None and failure is None and list(leaves_of(rising)) == all_of_them:
        assert rising is error or isinstance(error, BaseExceptionGroup)
