"""Mocks: what a tester answers a command with, and how that becomes results."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Final, TypeAlias

from ..messages import Cmd, CmdResult
from ..runtime import TenEnv

Answer: TypeAlias = CmdResult | Mapping[str, Any]
"""One result, or the properties of one that says OK."""

Answers: TypeAlias = Answer | Iterable[Answer] | AsyncIterator[Answer] | None
"""One result, several, or none: then it is an OK without properties."""

Mock: TypeAlias = Answers | Callable[[Cmd], Answers | Awaitable[Answers]]

HELD: Final = object()
"""Stands for a mock: the test itself answers."""


async def answer(env: TenEnv, cmd: Cmd, mock: Mock) -> None:
    """Answer `cmd` with what `mock` is, or with what it returns when it is called with `cmd`.

    Of several results in a list (or any other iterable) the last is final, and no other.  An
    asynchronous generator says itself which one is (`cmd.ok`, `cmd.error`); what it yields as mere
    properties isn't, and if it ends without a final one, an empty OK follows.

    Raises `TypeError` for anything else, and what the mock raises.
    """
    given: Any = mock(cmd) if callable(mock) else mock
    if inspect.isawaitable(given):
        given = await given
    if isinstance(given, AsyncIterator):
        await _stream(env, cmd, given)
        return
    if given is None or isinstance(given, CmdResult | Mapping):
        await env.return_result(_result(cmd, given))
        return
    if not isinstance(given, Iterable) or isinstance(given, str | bytes):
        raise TypeError(f"the mock of {cmd.name!r} gave {given!r}: neither a result nor several")
    results = [_result(cmd, each) for each in given] or [cmd.ok()]
    for index, result in enumerate(results, 1):
        result.set_final(index == len(results))
        if not await env.return_result(result):
            return


async def _stream(env: TenEnv, cmd: Cmd, given: AsyncIterator[Answer]) -> None:
    async with AsyncExitStack() as stack:
        close = getattr(given, "aclose", None)
        if close is not None:
            stack.push_async_callback(close)
        async for each in given:
            result = _result(cmd, each)
            if not isinstance(each, CmdResult):
                result.set_final(False)
            if not await env.return_result(result) or result.is_final:
                return
        await env.return_result(cmd.ok())


def _result(cmd: Cmd, given: Any) -> CmdResult:
    if isinstance(given, CmdResult):
        return given
    if given is None or isinstance(given, Mapping):
        return cmd.ok(given)
    raise TypeError(f"the mock of {cmd.name!r} gave {given!r}: neither a result nor properties")
