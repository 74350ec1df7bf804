"""A connection moves from the app to the graph that its first message is for.

Its reading stands still meanwhile, at the boundary of a message. The graph may be about to close, and
may run in another thread: so it is asked in its own loop, and takes the connection in that very step
or not at all. If it doesn't, the connection is the app's again, as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple

import trio

from ..runtime.engine import EngineCore
from ..runtime.loops import Loop
from ..runtime.own_loop import CoreLink
from .bridge import Bridge
from .codec import WireMsg
from .connection import Connection, Migration, Role
from .remotes import remotes_of
from .transport import Parked, Transport

logger = logging.getLogger("ten_trio.network")

Core = EngineCore | CoreLink


class Target(NamedTuple):
    """Where a connection moves, and the message that made it."""

    core: Core
    first: WireMsg
    starts: bool


class Moved(NamedTuple):
    """How a move went."""

    refused: str | None = None
    """Why the graph hasn't taken the connection; None if it has."""
    away: bool = False
    """Whether nothing of it is left here. Else it has ended."""


async def move(
    connection: Connection,
    target: Target,
    transport: Transport,
    home: Loop,
    gone: Callable[[], object],
) -> Moved:
    """Let the graph have the connection.

    If its wire can't be moved, or has tasks here, this returns when the connection has ended.  `gone`
    is called here in the app's loop, `home`, when a connection ends that is away.
    """
    connection.migration = Migration.DONE
    # Bounded by the graph, which begins or ends; and half-way is no place to be cancelled.
    with trio.CancelScope(shield=True):
        if isinstance(target.core, EngineCore):
            moved = await _within(connection, target, target.core, gone)
        elif connection.wire.movable:
            moved = await _to_thread(connection, target, target.core, transport, home, gone)
        else:
            moved = await _by_bridge(connection, target, target.core, home)
    if moved.refused is not None:
        connection.migration = Migration.INIT
        connection.on_end = None
    return moved


async def _within(
    connection: Connection, target: Target, core: EngineCore, gone: Callable[[], object]
) -> Moved:
    """To a graph in the app's own loop."""
    await core.opened.wait()
    refused = _refusal(core)
    if refused is not None:
        return Moved(refused)
    ended = trio.Event()
    away = connection.wire.movable
    connection.on_end = gone if away else ended.set
    _enter(connection, target, core)
    if not away:
        # What reads the wire lives in a nursery of this task: it stays for as long as the wire.
        await ended.wait()
    return Moved(away=away)


async def _to_thread(
    connection: Connection,
    target: Target,
    core: CoreLink,
    transport: Transport,
    home: Loop,
    gone: Callable[[], object],
) -> Moved:
    """To a graph in a loop of its own, with its wire."""
    parked: Parked = connection.wire.detach()
    connection.on_end = lambda: home.post(gone)

    def enter() -> None:
        connection.wire = transport.adopt(parked)
        _enter(connection, target, core.core)

    refused = await _ask(connection, core, home, enter)
    if refused is None:
        return Moved(away=True)
    connection.wire = transport.adopt(parked)
    return Moved(refused)


async def _by_bridge(connection: Connection, target: Target, core: CoreLink, home: Loop) -> Moved:
    """To a graph in a loop of its own, without its wire."""
    bridge = Bridge(connection, home, core)
    is_app = connection.role is Role.IN_INTERNAL
    refused = await _ask(
        connection, core, home, lambda: bridge.enter(is_app, target.starts, target.first)
    )
    if refused is None:
        await bridge.run()
    return Moved(refused)


async def _ask(
    connection: Connection, core: CoreLink, home: Loop, enter: Callable[[], object]
) -> str | None:
    """Call `enter` in the graph's loop, unless that closes; then return why."""
    answered = trio.Event()
    answers: list[str | None] = []
    held: list[Callable[[], object]] = []
    reach = connection.reach

    def there() -> None:
        refused = _refusal(core.core)
        if refused is None:
            try:
                enter()
            except Exception as error:
                # It may cost this connection, but not the loop of the graph, which calls this.
                logger.exception("%r can't be taken over by graph %s", connection, core.title)
                refused = f"{type(error).__name__}: {error}"
        home.post(back, refused)

    def back(refused: str | None) -> None:
        if refused is None and connection.wire.movable:
            connection.reach = core.post
        else:
            connection.reach = reach
        for action in held:
            connection.reach(action)
        answers.append(refused)
        answered.set()

    # What the app still owes it meanwhile waits until it is known where the connection is.
    connection.reach = held.append
    core.post(there, lambda: back(_refusal(core) or core.closed_detail()))
    await answered.wait()
    return answers[0]


def _refusal(core: Core) -> str | None:
    """Why a graph takes nobody in any more, if it doesn't."""
    if not core.closing:
        return None
    return "; ".join(str(failure) for failure in core.failures) or core.closed_detail()


def _enter(connection: Connection, target: Target, core: EngineCore) -> None:
    """In the graph's loop, in one step."""
    remotes = remotes_of(core)
    remote = remotes.accept(connection, connection.role is Role.IN_INTERNAL, target.starts)
    remote.receive(target.first)
    core.start_soon(remotes.serve, remote, connection)
