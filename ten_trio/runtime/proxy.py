"""`TenEnvProxy`: through it, code in any OS thread sends into a graph, in order."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from threading import Lock
from typing import TYPE_CHECKING, Any, Self

import trio

from ..errors import EnvClosed, TenError
from ..messages import Msg
from .current import Background, current
from .endpoint import locked
from .supervision import blame

if TYPE_CHECKING:
    from ..messages import AudioFrame, Cmd, CmdResult, VideoFrame
    from .env import TenEnv


class _FutureSink:
    """Resolves a future with the completed result."""

    __slots__ = ("future",)

    def __init__(self, future: Future[CmdResult]) -> None:
        self.future = future

    def deliver(self, result: CmdResult, completed: bool) -> None:
        if completed and not self.future.cancelled():
            self.future.set_result(result)


class TenEnvProxy:
    """For callbacks of libraries that have threads of their own: every method may be called from
    any thread, and never blocks.

    What one thread sends arrives in that order.  Closed with its extension, or earlier by `close`
    or at the end of its `with` block.
    """

    def __init__(self, env: TenEnv) -> None:
        self._env = env
        self._instance = env._instance
        self._capacity = self._instance.engine.limits.queue
        self._token = trio.lowlevel.current_trio_token()
        self._lock = Lock()
        self._queue: deque[tuple[Msg, Future[CmdResult] | None]] = deque()
        self._waiting_data = 0
        self._closed = False
        self._rung = False
        self._bell = trio.Event()
        self._scope = trio.CancelScope(shield=True)
        self.dropped = 0
        """Data refused because too much was waiting, or lost because the graph had closed."""
        self._instance.engine.start_soon(self._run)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send_data(self, data: Msg) -> bool:
        """Send data or a frame. False, and not sent, if too much is waiting already.

        Raises `EnvClosed`, `MessageLocked`.
        """
        return self._put(data, None)

    def send_audio_frame(self, frame: AudioFrame) -> bool:
        """`send_data` for an audio frame."""
        return self._put(frame, None)

    def send_video_frame(self, frame: VideoFrame) -> bool:
        """`send_data` for a video frame."""
        return self._put(frame, None)

    def send_cmd(self, cmd: Cmd) -> Future[CmdResult]:
        """Send a command; the future gets its completed result, or the error why it wasn't sent.

        A future that is cancelled before its command was sent keeps it from being sent.  Raises
        `EnvClosed`.
        """
        future: Future[CmdResult] = Future()
        self._put(cmd, future)
        return future

    def close(self) -> None:
        """Take nothing more; what is waiting is still sent while the extension lives."""
        with self._lock:
            self._closed = True
        self._ring()

    def _put(self, msg: Msg, future: Future[CmdResult] | None) -> bool:
        if msg._locks:
            raise locked(msg)
        with self._lock:
            if self._closed:
                raise EnvClosed(f"{self._env.name}: this proxy is closed, {msg!r} can't be sent")
            if future is None:
                if self._waiting_data >= self._capacity:
                    self.dropped += 1
                    return False
                self._waiting_data += 1
            # A shell of its own: the sender may go on writing into its message.
            shell = msg._shell()
            shell._dests = msg._dests
            self._queue.append((shell, future))
        self._ring()
        return True

    def _ring(self) -> None:
        with self._lock:
            if self._rung:
                return
            self._rung = True
        try:
            self._token.run_sync_soon(self._wake)
        except trio.RunFinishedError:
            self._lose()

    def _wake(self) -> None:
        with self._lock:
            self._rung = False
        self._bell.set()

    async def _run(self) -> None:
        current.set(Background())
        try:
            with self._scope:
                while True:
                    with self._lock:
                        done = self._closed and not self._queue
                    if done:
                        return
                    if self._queue:
                        await self._send(*self._queue.popleft())
                    else:
                        self._bell = trio.Event()
                        if not self._queue:
                            await self._bell.wait()
        finally:
            self._lose()

    async def _send(self, msg: Msg, future: Future[CmdResult] | None) -> None:
        if future is None:
            with self._lock:
                self._waiting_data -= 1
        elif not future.set_running_or_notify_cancel():
            return
        try:
            if future is None:
                await self._env.send_data(msg)
                return
            cmd: Any = msg
            self._instance.start(cmd, _FutureSink(future), current.get().msg)
            # However fast others send, the rest of the loop has its turn.
            await trio.lowlevel.checkpoint()
        except EnvClosed as error:
            self.dropped += future is None
            if future is not None:
                future.set_exception(error)
        except TenError as error:
            if future is not None:
                future.set_exception(error)
            else:
                blame(error, f"in a proxy of {self._env.name!r}", self._instance.engine)
                self._instance.engine.extension_failed(self._instance, error)

    def _lose(self) -> None:
        with self._lock:
            self._closed = True
            lost, self._queue = list(self._queue), deque()
        for msg, future in lost:
            if future is None:
                self.dropped += 1
            elif future.set_running_or_notify_cancel():
                future.set_exception(EnvClosed(f"{msg!r} was not sent: the graph has closed"))
