"""WebSocket as the library trio-websocket speaks it. Its public functions only, and none of its timeouts."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import trio
import trio_websocket
from wsproto.utilities import LocalProtocolError

from ..transport import RECEIVE_SIZE, HandshakeError, Piece, TransportOptions
from .carrier import Carrier
from .websocket_session import QUEUE_SIZE, Driver, Gone, Request, Session, choose


class TrioWebSocketSession:
    """A connection of trio-websocket."""

    def __init__(self, connection: trio_websocket.WebSocketConnection) -> None:
        self._connection = connection
        self.subprotocol = connection.subprotocol or ""

    async def next(self) -> bytes | str:
        """The next message. Raises `Gone`."""
        try:
            return await self._connection.get_message()
        except trio_websocket.ConnectionClosed:
            raise self._gone() from None

    async def send(self, piece: Piece) -> None:
        """Send one message. Raises `Gone`."""
        message = bytes(piece) if isinstance(piece, memoryview) else piece
        try:
            await self._connection.send_message(message)
        except (trio_websocket.ConnectionClosed, LocalProtocolError):
            # The latter where the closing handshake has begun and nobody has noticed yet.
            raise self._gone() from None

    async def ping(self) -> None:
        """Send a ping and wait for the answer, for ever if the connection ends. Raises `Gone`."""
        try:
            await self._connection.ping()
        except (trio_websocket.ConnectionClosed, LocalProtocolError):
            raise self._gone() from None

    async def close(self, code: int) -> None:
        """Do the closing handshake, perhaps for ever."""
        with suppress(trio_websocket.ConnectionClosed, LocalProtocolError):  # the other was faster
            await self._connection.aclose(code)

    def _gone(self) -> Gone:
        reason = self._connection.closed
        return Gone(None) if reason is None else Gone(reason.code, reason.reason)


class TrioWebSocketDriver:
    """Speaks WebSocket by trio-websocket."""

    notices_end = False

    async def accept(
        self, nursery: trio.Nursery, carrier: Carrier, options: TransportOptions
    ) -> tuple[Session, Request]:
        """Answer a client; see `Driver.accept`."""
        request = await trio_websocket.wrap_server_stream(
            nursery,
            carrier,
            message_queue_size=QUEUE_SIZE,
            max_message_size=options.max_message,
            receive_buffer_size=RECEIVE_SIZE,
        )
        subprotocol = choose(request.proposed_subprotocols, options)
        connection = await request.accept(subprotocol=subprotocol)
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1")
            for name, value in request.headers
        }
        return TrioWebSocketSession(connection), Request(request.path, headers)

    async def connect(
        self,
        nursery: trio.Nursery,
        carrier: Carrier,
        host: str,
        target: str,
        headers: Mapping[str, str],
        options: TransportOptions,
    ) -> Session:
        """Ask a server; see `Driver.connect`."""
        connection = await trio_websocket.wrap_client_stream(
            nursery,
            carrier,  # type: ignore[arg-type]  # it takes any stream
            host,
            target,
            subprotocols=options.subprotocols,
            extra_headers=[(name.encode(), value.encode()) for name, value in headers.items()],
            message_queue_size=QUEUE_SIZE,
            max_message_size=options.max_message,
            receive_buffer_size=RECEIVE_SIZE,
        )
        if connection.closed is not None:
            raise HandshakeError(f"{host}: no WebSocket connection: {connection.closed}")
        return TrioWebSocketSession(connection)


def load() -> Driver:
    """Return the driver."""
    return TrioWebSocketDriver()
