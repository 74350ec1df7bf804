"""What an HTTP client has to do with a graph: commands in flight, data on its way, and what it reads.

Everything here lives in the app's loop; a graph with a loop of its own is reached through its `CoreLink`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

import trio

from ...errors import TenError
from ...messages import Cmd, CmdResult, Loc, Msg, StatusCode
from ...runtime.engine import EngineCore
from ...runtime.loops import Loop, ask
from ...runtime.own_loop import CoreLink
from ...runtime.paths import Expiry, OutPath, made_result
from ..settings import NetworkSettings
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
        self._urgent: list[bytes] = []
        self.dropped = 0

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
        self._urgent += last
        self._send.close()

    async def take(self) -> bytes:
        """Some lines, as many as make sense in one write; none at the end."""
        try:
            taken = [await self._receive.receive()]
            while sum(map(len, taken)) < _TOGETHER:
                taken.append(self._receive.receive_nowait())
        except trio.WouldBlock:
            pass
        except trio.EndOfChannel:
            taken, self._urgent = self._urgent, []
            return b"".join(taken)
        written = b"".join(taken)
        self._bytes -= len(written)
        return written
