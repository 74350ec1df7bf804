"""The stream that a WebSocket library gets to work on: it can be held up, and tells when it has ended."""

from __future__ import annotations

from collections.abc import Callable

import trio

from ..transport import RECEIVE_SIZE
from .sockets import SocketPipe
from .tls import TlsStream


class Carrier(trio.abc.HalfCloseableStream):
    """The stream that a library gets: it can be made to wait, and it tells when it has ended."""

    def __init__(
        self,
        stream: SocketPipe | TlsStream,
        pipe: SocketPipe,
        limit: int,
        close_timeout: float,
    ) -> None:
        self.ended = trio.Event()
        self.is_closing: Callable[[], bool] = lambda: False
        """Whether the end is all that is waited for, which then comes within the `close_timeout`."""
        self._close_timeout = close_timeout
        self._stream = stream
        self._pipe = pipe
        self._limit: int | None = limit
        self._go_on: trio.Event | None = None

    def opened(self) -> None:
        """From here on frames come, and as many bytes as the other end likes."""
        self._limit = None

    def hold(self) -> None:
        """Read no more until `release`."""
        if self._go_on is None and not self.ended.is_set():
            self._go_on = trio.Event()

    def release(self) -> None:
        """Read on."""
        if self._go_on is not None:
            self._go_on.set()
            self._go_on = None

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Up to RECEIVE_SIZE bytes; `b""` at the end."""
        size = RECEIVE_SIZE
        if self._limit is not None:
            size = min(size, self._limit)
            if not size:
                self.abort()
                raise trio.BrokenResourceError("the HTTP header is too long")
        try:
            while self._go_on is not None:
                await self._go_on.wait()
            if self.is_closing():
                data = b""
                with trio.move_on_after(self._close_timeout):
                    data = bytes(await self._stream.receive_some(size))
            else:
                data = bytes(await self._stream.receive_some(size))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.ended.set()
            raise
        if not data:
            self.ended.set()
        elif self._limit is not None:
            self._limit = max(0, self._limit - len(data))
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until more can be sent."""
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        """Tell the other end that nothing else comes; with TLS that is to close."""
        if isinstance(self._stream, SocketPipe):
            await self._stream.send_eof()
        else:
            await self.aclose()

    async def aclose(self) -> None:
        """Close it in order; bounded."""
        try:
            await self._stream.aclose()
        except trio.BrokenResourceError:
            pass  # it was gone already
        finally:
            self.abort()

    def abort(self) -> None:
        """Close it at once; idempotent."""
        self._pipe.abort()
        self.ended.set()
        self.release()
