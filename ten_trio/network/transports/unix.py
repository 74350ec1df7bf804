"""Unix sockets: the bytes as they are, within one machine. Whoever may open the file may connect."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress

import trio

from ...errors import InvalidArgument
from ..transport import Knock, Listener, Parked, Transport, TransportOptions, Wire
from ..uris import Address
from .sockets import Accepted, SocketKnock, SocketListener, SocketPipe, SocketWire, in_use, named

MODE = 0o600
"""The permissions of a socket's file: its owner's only."""


class UnixWire(SocketWire):
    """A connection over a Unix socket."""


class UnixTransport:
    """Listens and connects by Unix sockets."""

    name = "unix"

    async def listen(self, address: Address, options: TransportOptions) -> list[Listener]:
        """Listen at the path; see `Transport.listen`.

        A socket that nobody listens at any more is replaced; any other file is an `OSError`.
        """
        await trio.lowlevel.checkpoint()
        path = _path(address)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            # The file gets the permissions that the socket has when it is bound: there is no moment
            # at which others could connect.
            os.fchmod(sock.fileno(), MODE)
            _remove_stale(path, address)
            sock.bind(path)
            sock.listen(options.backlog)
            identity = _identity(path)
        except OSError as error:
            sock.close()
            if str(address) in str(error):
                raise
            raise named(error, f"can't listen at {address}") from error
        bound = trio.socket.from_stdlib_socket(sock)
        return [UnixListener(bound, address, options, path, identity)]

    async def connect(
        self, address: Address, options: TransportOptions, nursery: trio.Nursery
    ) -> UnixWire:
        """Connect to whoever listens at the path; see `Transport.connect`."""
        path = _path(address)
        try:
            stream = await trio.open_unix_socket(path)
        except OSError as error:
            raise named(error, f"can't connect to {address}") from error
        pipe = SocketPipe(stream.socket, options.close_timeout)
        return UnixWire.of(Accepted(pipe, str(address), True), options)

    def adopt(self, parked: Parked) -> Wire:
        """Go on with a wire that was detached; see `Transport.adopt`."""
        return UnixWire.adopt(parked)


def make(name: str, options: TransportOptions) -> Transport:
    """Return the transport."""
    return UnixTransport()


class UnixListener(SocketListener):
    """A listening Unix socket, and its file."""

    def __init__(
        self,
        sock: trio.socket.SocketType,
        address: Address,
        options: TransportOptions,
        path: str,
        identity: tuple[int, int] | None,
    ) -> None:
        super().__init__(sock, address, options)
        self._path = path
        self._identity = identity

    async def accept(self) -> Knock:
        """Wait for the next connection; see `Listener.accept`."""
        return SocketKnock(await self.accept_socket(), UnixWire, self._options)

    def _stop(self) -> None:
        # Somebody may have replaced the file: theirs stays.
        if not self._closed and self._identity and _identity(self._path) == self._identity:
            with suppress(OSError):  # its folder is gone, or nobody may write there any more
                os.unlink(self._path)
        super()._stop()


def _path(address: Address) -> str:
    if not address.path or address.host:
        raise InvalidArgument(f"{address} names no path, as {address.scheme}:///run/ten.sock does")
    return address.path


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _remove_stale(path: str, address: Address) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    what = f"can't listen at {address}"
    if not stat.S_ISSOCK(found.st_mode):
        raise OSError(errno.EEXIST, f"{what}: there is a file, and it is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            pass
        except FileNotFoundError:
            return
        except BlockingIOError:
            raise in_use(f"{what}: somebody else listens there") from None
        else:
            raise in_use(f"{what}: somebody else listens there")
    if _identity(path) == (found.st_dev, found.st_ino):
        os.unlink(path)
