"""What an HTTP client has to do with a graph: commands in flight, data on its way, and what it reads.

Everything here lives in the app's loop; a graph with a loop of its own is reached through its `CoreLink`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import trio

from ...errors import TenError
from ...messages import Cmd, CmdResult, Loc, Msg, StatusCode
from ...runtime.engine import EngineCore
from ...runtime.loops import Loop, ask
from ...runtime.own_loop import CoreLink
from ...runtime.paths import Expiry, OutPath, made_result
from .bodies import Bodies

if TYPE_CHECKING:
    from ...runtime.app import App

logger = logging.getLogger("ten_trio.network")

Core = EngineCore | CoreLink
WAITING: Final = 10_000
"""Results that wait for one client at most."""
_TOGETHER: Final = 64 * 1024
"""Bytes of lines that are written in one go, roughly."""


class Callers:
    """Owns the commands that HTTP clients have sent and that haven't been answered yet."""

    def __init__(self, app: App) -> None:
        self.loc = Loc()
        self.out_paths: dict[int, OutPath] = {}
        self.expiry = Expiry(app._spawn)
        self._app = app

    def send(self, core: Core, extension: str | None, cmd: Cmd, sink: Any, each: bool) -> OutPath:
        """Send a command into a graph; every result goes to `sink`, or just the one that completes it."""
        path = OutPath(self, cmd, sink, self._app.limits.path_timeout, None, each)
        cmd._id = path.id
        core.when_created(lambda: core.admit_cmd(extension, cmd, path))
        return path

    def take_result(self, result: CmdResult) -> None:
        """A result has come home: nobody else is in line here."""
        result._path.arrive(result)


class Lines:
    """Lines on their way to one client: put in without waiting, taken out as fast as it reads."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._send, self._receive = trio.open_memory_channel[bytes](most)
        self._most_bytes = most_bytes
        self._bytes = 0
        self._last: list[bytes] = []
        self.dropped = 0

    @property
    def queued(self) -> int:
        """Lines that wait."""
        return self._send.statistics().current_buffer_used

    def put(self, line: bytes) -> bool:
        """Queue a line; False if there is no room."""
        if self._bytes + len(line) > self._most_bytes and self._bytes:
            self.dropped += 1
            return False
        try:
            self._send.send_nowait(line)
        except (trio.WouldBlock, trio.ClosedResourceError):
            self.dropped += 1
            return False
        self._bytes += len(line)
        return True

    def end(self, *last: bytes) -> None:
        """No line comes after those that wait and `last`; idempotent."""
        self._last += last
        self._send.close()

    async def take(self) -> bytes:
        """Some lines, as many as make sense in one write; none at the end."""
        try:
            taken = [await self._receive.receive()]
        except trio.EndOfChannel:
            last, self._last = self._last, []
            return b"".join(last)
        size = len(taken[0])
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            while size < _TOGETHER:
                taken.append(self._receive.receive_nowait())
                size += len(taken[-1])
        self._bytes -= size
        return b"".join(taken)


class OneResult:
    """The sink of a command whose client waits for one result."""

    def __init__(self) -> None:
        self.result: CmdResult | None = None
        self.completed = trio.Event()

    def deliver(self, result: CmdResult, completed: bool) -> None:
        """Keep the one that completes it."""
        if completed:
            result.is_final = True
            result._dests = ()
            self.result = result
            self.completed.set()


class EachResult:
    """The sink of a command whose client reads result by result."""

    def __init__(self, bodies: Bodies, most_bytes: int) -> None:
        self.lines = Lines(WAITING, most_bytes)
        self.abandon: Callable[[], object] = _nothing
        self._bodies = bodies

    def deliver(self, result: CmdResult, completed: bool) -> None:
        """Queue it; the last one is final whatever its executor said."""
        result.is_final = completed
        result._dests = ()
        line = self._bodies.result(result)
        if completed:
            self.lines.end(line)
        elif not self.lines.put(line):
            # Results are never left out: the whole command ends.
            refused = made_result(StatusCode.ERROR, "busy: the client doesn't keep up")
            refused.is_completed, refused.seq_id = True, result.seq_id
            self.lines.end(self._bodies.result(refused))
            self.abandon()


class Exposed:
    """Reads what a graph exposes, in the place of its host, as long as it is open.

    Commands aren't read: nobody could answer them.
    """

    def __init__(
        self, core: Core, home: Loop, bodies: Bodies, names: Iterable[str], most: int, size: int
    ) -> None:
        self.lines = Lines(most, size)
        self._core = core
        self._home = home
        self._bodies = bodies
        self._names = frozenset(names)
        # Kept, since the graph may be gone when this ends.
        self._host: Any = None

    # In the app's loop.

    def begin(self) -> None:
        """Read from now on, or as soon as the graph has a loop."""
        if isinstance(self._core, CoreLink):
            self._core.post(self._subscribe, self.lines.end)
        else:
            self._subscribe()

    def stop(self) -> None:
        """Read no more; idempotent."""
        if isinstance(self._core, CoreLink):
            self._core.post(self._unsubscribe)
        else:
            self._unsubscribe()

    # In the graph's loop.

    def _subscribe(self) -> None:
        core = self._core.core if isinstance(self._core, CoreLink) else self._core
        if not core.is_whole:
            self.close()
            return
        self._host = core.host
        self._host.subscriptions[self] = None
        if self._host.closed:
            self.close()

    def _unsubscribe(self) -> None:
        if self._host is not None:
            self._host.subscriptions.pop(self, None)

    @property
    def queued(self) -> int:
        """Lines that wait for the client to read."""
        return self.lines.queued

    def wants(self, msg: Msg) -> bool:
        """Whether it is data or a frame, and of a name that is read."""
        return msg.kind != "cmd" and (not self._names or msg.name in self._names)

    def offer(self, msg: Msg) -> bool:
        """Queue it as a line; False if there is no room, or it can't be written."""
        try:
            line = self._bodies.line(msg)
        except TenError as error:
            logger.warning("%s for an HTTP client dropped: %s", msg, error)
            return False
        if self._home.is_here:
            return self.lines.put(line)
        self._home.post(self.lines.put, line)
        return True

    def close(self) -> None:
        """The graph is closed."""
        self._home.post(self.lines.end)


async def send_data(core: Core, extension: str | None, msg: Msg, patience: float) -> bool:
    """Send data or a frame into a graph; waits a while for room. False if the graph is closing."""
    await core.created.wait()
    if core.closing:
        return False
    if isinstance(core, EngineCore):
        return await _admit(core, extension, msg, patience)
    try:
        return await ask(
            core.loop, core.core.start_soon, _admit, core.core, extension, msg, patience
        )
    except trio.RunFinishedError:
        return False


async def _admit(core: EngineCore, extension: str | None, msg: Msg, patience: float) -> bool:
    if core.closing:
        return False
    full = core.admit_data(extension, msg)
    if full is not None and full.count > full.cap:
        # Accepted it is in any case: this only slows down a client that sends one after another.
        with trio.move_on_after(patience):
            await full.wait_for_room(None)
    return True


def _nothing() -> None:
    pass
