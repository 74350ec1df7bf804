"""Looking at a running app from outside: explanations, stats and what passes, as results of commands.

The app itself answers these, whatever its graphs do.  A tap has as many results as it takes, each
with some messages; the next is sent when there is room on the wire, and what passes meanwhile waits
in the tap, which is bounded.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from ..errors import InvalidArgument, TenError
from ..messages import Cmd, CmdResult, StatusCode
from ..runtime.paths import made_result

if TYPE_CHECKING:
    from ..runtime import Explanation, Stats
    from ..runtime.app import App
    from ..runtime.tap import Tap

EXPLAIN: Final = "ten:explain"
"""The command that an app itself answers with what `App.explain` says, for those that may control it."""
STATS: Final = "ten:stats"
"""Likewise with what `App.stats` says."""
TAP: Final = "ten:tap"
"""Likewise with what `App.tap` sees, in results that aren't final, until the graphs are closed."""

_CHUNK: Final = 256 * 1024
"""Characters of one string on the wire."""
_ALL: Final = 12 * 2**20
_BATCH: Final = 64
"""Messages in one result at most."""
_BATCH_SIZE: Final = 256 * 1024


class Reply(Protocol):
    """The caller's side of a command that the app answers."""

    def give(self, result: CmdResult) -> None:
        """Send a result home."""

    def answer(self, status: StatusCode, detail: str, **properties: object) -> None:
        """Send a final one home."""


Room = Callable[[], Awaitable[object]]
"""Waits until the caller can take more."""


async def answer(app: App, cmd: Cmd, reply: Reply, room: Room) -> None:
    """Answer one of these commands, of its `graph_id` or of all; a tap as long as the caller is there."""
    status, told = StatusCode.ERROR, {"detail": "the connection is needed for something else"}
    try:
        told = {"detail": "", **await _ANSWERS[cmd.name](app, cmd, reply, room)}
        status = StatusCode.OK
    except TenError as error:
        told = {"detail": str(error)}
    finally:
        # Also if it was cancelled: every command ends.
        reply.answer(status, **told)


async def _explain(app: App, cmd: Cmd, reply: Reply, room: Room) -> dict[str, Any]:
    return {"explanation": _written(await app.explain(_text(cmd, "graph_id")))}


async def _look(app: App, cmd: Cmd, reply: Reply, room: Room) -> dict[str, Any]:
    content = _written(await app.stats(_text(cmd, "graph_id")))
    if len(content) > _ALL:
        raise TenError("too much to tell: ask for one of the graphs")
    return {"stats": [content[at : at + _CHUNK] for at in range(0, len(content), _CHUNK)]}


async def _tap(app: App, cmd: Cmd, reply: Reply, room: Room) -> dict[str, Any]:
    kinds, names, extensions = (_texts(cmd, key) for key in ("kind", "name", "extension"))
    graph = _text(cmd, "graph_id")
    async with app.tap(graph, kind=kinds, name=names, extension=extensions) as tap:
        if not app.engines:
            raise TenError("no graph runs there")
        await _stream(tap, reply, room)
    return {"detail": "closed: nothing more will pass"}


_ANSWERS: Final = {EXPLAIN: _explain, STATS: _look, TAP: _tap}
COMMANDS: Final = frozenset(_ANSWERS)


async def _stream(tap: Tap, reply: Reply, room: Room) -> None:
    # An empty one says that it has begun.
    batch: list[str] = []
    while True:
        result = made_result(StatusCode.OK, "", seen=batch, dropped=tap.dropped)
        result.is_final = False
        reply.give(result)
        await room()
        try:
            batch = [json.dumps((await tap.receive()).to_dict(), ensure_ascii=False)]
        except trio.EndOfChannel:
            return
        size = len(batch[0])
        while len(batch) < _BATCH and size < _BATCH_SIZE:
            try:
                batch.append(json.dumps(tap.receive_nowait().to_dict(), ensure_ascii=False))
            except trio.WouldBlock:
                break
            size += len(batch[-1])


def _written(found: Iterable[Explanation | Stats]) -> str:
    return json.dumps([each.to_dict() for each in found], ensure_ascii=False)


def _text(cmd: Cmd, key: str) -> str:
    value = cmd._props.get(key, "")
    if not isinstance(value, str):
        raise InvalidArgument(f"{cmd.name}: {key} is a text, not {value!r}")
    return value


def _texts(cmd: Cmd, key: str) -> tuple[str, ...]:
    value: Any = cmd._props.get(key, [])
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InvalidArgument(f"{cmd.name}: {key} is an array of texts, not {value!r}")
    return tuple(value)


__all__ = ["COMMANDS", "EXPLAIN", "STATS", "TAP", "answer"]
