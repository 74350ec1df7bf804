"""What all wires share: whether they are closed, or broken and by what, and how they end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import trio

from ..transport import Credentials, NotMovable, Parked, Piece


class OpenWire(ABC):
    """The part of a `Wire` that doesn't depend on what carries it."""

    is_framed = False
    movable = False

    def __init__(
        self,
        peer: str,
        *,
        is_local: bool,
        close_timeout: float,
        credentials: Credentials | None = None,
        subprotocol: str = "",
    ) -> None:
        self.peer = peer
        self.is_local = is_local
        self.credentials = credentials or Credentials()
        self.subprotocol = subprotocol
        self._close_timeout = close_timeout
        self._closed = False
        self._broken = ""
        self._receiving = False
        self._sending = False

    @abstractmethod
    async def _receive(self) -> bytes | str:
        """The next piece, or `b""`. Raises Trio's errors about resources."""

    @abstractmethod
    async def _send(self, pieces: Sequence[Piece]) -> None:
        """Send `pieces`. Raises Trio's errors about resources."""

    @abstractmethod
    async def _close(self) -> None:
        """Close together with the other end; bounded and followed up by the caller."""

    @abstractmethod
    def _abort(self) -> None:
        """Close at once; idempotent."""

    async def receive(self) -> bytes | str:
        """The next piece; see `Wire.receive`."""
        self._check()
        if self._receiving:
            raise trio.BusyResourceError(f"{self.peer}: another task is receiving")
        self._receiving = True
        try:
            return await self._receive()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self._ended(error) from error.__cause__
        finally:
            self._receiving = False

    async def send(self, pieces: Sequence[Piece]) -> None:
        """Send `pieces` in order; see `Wire.send`."""
        self._check()
        if self._sending:
            raise trio.BusyResourceError(f"{self.peer}: another task is sending")
        self._sending = True
        sent = False
        try:
            await self._send(pieces)
            sent = True
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise self._ended(error) from error.__cause__
        finally:
            self._sending = False
            if not sent and not self._closed and not self._broken:
                # Half a message may be out: the other end can't be told what follows.
                self._broken = "sending was cancelled in the middle"
                self._abort()

    async def aclose(self) -> None:
        """Close it; see `Wire.aclose`."""
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        self._closed = True
        try:
            if self._broken:
                await trio.lowlevel.checkpoint()
            else:
                with trio.move_on_after(self._close_timeout):
                    await self._close()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the other end was faster
        finally:
            self._abort()

    def detach(self) -> Parked:
        """Raise `NotMovable`."""
        self._check()
        raise NotMovable(f"{self.peer}: this connection has to stay in its Trio run")

    def _check(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError(f"{self.peer}: closed here")
        if self._broken:
            raise trio.BrokenResourceError(f"{self.peer}: {self._broken}")

    def _ended(self, error: Exception) -> Exception:
        if self._closed:
            return trio.ClosedResourceError(f"{self.peer}: closed here")
        if not self._broken:
            self._broken = str(error.__cause__ or error) or "the connection was lost"
        return trio.BrokenResourceError(f"{self.peer}: {self._broken}")
