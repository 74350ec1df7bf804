"""An app for the command line to talk to: it runs in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Self

import trio

import ten_trio as ten


async def no_graphs(_: ten.App) -> dict[str, str]:
    return {}


class Elsewhere:
    """The app runs for the length of a block. `start` starts its graphs, and returns their ids by name."""

    def __init__(self, start: Callable[[ten.App], Awaitable[dict[str, str]]] = no_graphs) -> None:
        self.uri = ""
        self.ids: dict[str, str] = {}
        self.token: trio.lowlevel.TrioToken
        self.app: ten.App
        self._start = start
        self._ready = threading.Event()
        self._over: trio.Event
        self._thread = threading.Thread(target=trio.run, args=(self._run,))

    async def _run(self) -> None:
        self.token, self._over = trio.lowlevel.current_trio_token(), trio.Event()
        source = {"ten": {"long_running_mode": True}}
        limits = ten.Limits(grace=0.2, cleanup=0.2)
        async with ten.open_app(source, uri="msgpack://127.0.0.1:0", limits=limits) as self.app:
            self.ids = await self._start(self.app)
            self.uri = self.app.uri
            self._ready.set()
            await self._over.wait()

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Nothing goes on in its loop as long as the block is open."""
        go_on = threading.Event()
        self.token.run_sync_soon(go_on.wait, 10)
        try:
            yield
        finally:
            go_on.set()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.token.run_sync_soon(self._over.set)
        self._thread.join(10)
        assert not self._thread.is_alive()
