"""What every command to an app elsewhere shares: connecting, asking about graphs, and what keeps from it."""

from __future__ import annotations

import json
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import trio

from ..errors import ConnectFailed, EngineClosed, InvalidType, TenError
from ..messages import Cmd, CmdResult, Loc, StatusCode
from ..network import Client, connect
from .screens import lines_of, reason_of, tell_error

OK: Final = 0
ERROR: Final = 1
UNREACHABLE: Final = 2
INTERRUPTED: Final = 128 + signal.SIGINT

PATIENCE: Final = 10.0
"""Seconds for an app to say how its graphs are. One that doesn't has a loop that something blocks."""

T = TypeVar("T")


class Failed(Exception):
    """There is nothing to show; it has been told why. Its argument is the exit code."""


def talk_to(
    talk: Callable[[Client], Awaitable[int]], uri: str, graph: str, token: str, as_json: bool
) -> int:
    """Connect with an app, and let `talk` say what there is to say; returns the exit code."""

    async def main() -> int:
        async with connect(uri, graph=graph, token=token) as client:
            try:
                return await talk(client)
            except Failed as failed:
                code: int = failed.args[0]
                return code
            except EngineClosed as error:
                tell_error(str(error), as_json=as_json, uri=uri)
                return ERROR

    try:
        return trio.run(main)
    except ConnectFailed as error:
        why = error.__cause__
        text = f"{error}: {reason_of(why)}" if why is not None else str(error)
        tell_error(text, as_json=as_json, uri=uri)
    except TenError as error:
        tell_error("; ".join(lines_of(error)), as_json=as_json, uri=uri)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BaseExceptionGroup as group:
        # It may have hit the task that reads just then.
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        return INTERRUPTED
    return UNREACHABLE


async def ask(
    client: Client,
    cmd: str,
    answer: str,
    read: Callable[[Mapping[str, Any]], T],
    *,
    uri: str,
    graph: str,
    as_json: bool,
) -> list[T]:
    """What the app says of all its graphs or of one, in the property `answer`. Raises `Failed`."""
    about = {"graph_id": graph} if graph else {}
    with trio.move_on_after(PATIENCE) as patience:
        result = await client.send_cmd(Cmd(cmd, about, dest=Loc("")))
    if patience.cancelled_caught:
        what = f"{uri} doesn't answer for {PATIENCE:g} s: its own loop may be blocked"
        tell_error(what, as_json=as_json, uri=uri)
        raise Failed(UNREACHABLE)
    if not is_ok(result, as_json):
        raise Failed(ERROR)
    try:
        return [read(each) for each in _graphs(result.get(answer, ""))]
    except TenError as error:
        tell_error(f"the answer can't be understood: {error}", as_json=as_json)
        raise Failed(ERROR) from None


def is_ok(result: CmdResult, as_json: bool) -> bool:
    """Whether a result is OK; else it is told what it says."""
    if result.status is not StatusCode.OK:
        tell_error(result.detail or "ERROR without a detail", as_json=as_json)
    return result.status is StatusCode.OK


def _graphs(told: Any) -> list[Mapping[str, Any]]:
    try:
        # Perhaps in pieces.
        content = json.loads("".join(told))
    except (TypeError, ValueError) as error:
        raise InvalidType(f"no JSON: {error}") from None
    if not isinstance(content, list):
        raise InvalidType("no list of graphs")
    return content


__all__ = [
    "ERROR",
    "INTERRUPTED",
    "OK",
    "PATIENCE",
    "UNREACHABLE",
    "Failed",
    "ask",
    "is_ok",
    "talk_to",
]
