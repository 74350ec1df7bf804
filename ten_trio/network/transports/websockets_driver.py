"""WebSocket as the library websockets speaks it, with its Trio classes: the extra `websockets`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import trio

from ...errors import MissingExtra
from ..transport import HandshakeError, Piece, TransportOptions
from .carrier import Carrier
from .websocket_session import QUEUE_SIZE, Driver, Gone, Request, Session, choose

try:
    from websockets.client import ClientProtocol
    from websockets.exceptions import ConnectionClosed
    from websockets.protocol import State
    from websockets.server import ServerProtocol
    from websockets.trio.client import ClientConnection
    from websockets.trio.connection import Connection
    from websockets.trio.server import Server, ServerConnection
    from websockets.typing import Subprotocol
    from websockets.uri import parse_uri
except ImportError as error:
    raise MissingExtra(
        "the WebSocket driver 'websockets' needs `pip install 'ten-trio[websockets]'`"
    ) from error


class WebSocketsSession:
    """A connection of websockets."""

    def __init__(self, connection: Connection, carrier: Carrier) -> None:
        # Once it is closing, the library waits for the end of the stream, however long that takes.
        carrier.is_closing = lambda: connection.state in (State.CLOSING, State.CLOSED)
        self._connection = connection
        self.subprotocol = connection.subprotocol or ""

    async def next(self) -> bytes | str:
        """The next message. Raises `Gone`."""
        try:
            return await self._connection.recv()
        except ConnectionClosed as error:
            raise self._gone(error) from None

    async def send(self, piece: Piece) -> None:
        """Send one message. Raises `Gone`."""
        try:
            await self._connection.send(piece)
        except ConnectionClosed as error:
            raise self._gone(error) from None

    async def ping(self) -> None:
        """Send a ping and wait for the answer, for ever if the connection ends. Raises `Gone`."""
        try:
            answered = await self._connection.ping()
        except ConnectionClosed as error:
            raise self._gone(error) from None
        await answered.wait()

    async def close(self, code: int) -> None:
        """Do the closing handshake."""
        await self._connection.aclose(code)

    def _gone(self, error: ConnectionClosed) -> Gone:
        reason = str(error.__cause__ or error)
        if error.rcvd is None and error.sent is not None and error.sent.code not in (1000, 1001):
            return Gone(error.sent.code, reason)  # it has broken the rules, and didn't answer
        return Gone(self._connection.close_code, reason)


class WebSocketsDriver:
    """Speaks WebSocket by websockets."""

    notices_end = True

    async def accept(
        self, nursery: trio.Nursery, carrier: Carrier, options: TransportOptions
    ) -> tuple[Session, Request]:
        """Answer a client; see `Driver.accept`."""

        def select(protocol: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
            chosen = choose(offered, options)
            return None if chosen is None else Subprotocol(chosen)

        protocol = ServerProtocol(
            subprotocols=[Subprotocol(name) for name in options.subprotocols],
            select_subprotocol=select,
            max_size=options.max_message,
        )
        connection = ServerConnection(
            nursery,
            carrier,
            protocol,
            Server([], _serve_nothing),  # it is only asked whether it is closing
            ping_interval=None,
            close_timeout=options.close_timeout,
            max_queue=QUEUE_SIZE,
        )
        await connection.handshake(server_header=None)
        if connection.request is None or protocol.state is not State.OPEN:
            reason = protocol.handshake_exc or "the other end has gone"
            raise HandshakeError(f"no WebSocket connection: {reason}") from protocol.handshake_exc
        request = connection.request
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        return WebSocketsSession(connection, carrier), Request(request.path, headers)

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
        protocol = ClientProtocol(
            parse_uri(
                f"ws://{host}{target}"
            ),  # for the request's first lines: TLS isn't its business
            subprotocols=[Subprotocol(name) for name in options.subprotocols] or None,
            max_size=options.max_message,
        )
        connection = ClientConnection(
            nursery,
            carrier,
            protocol,
            ping_interval=None,
            close_timeout=options.close_timeout,
            max_queue=QUEUE_SIZE,
        )
        await connection.handshake(dict(headers))
        return WebSocketsSession(connection, carrier)


async def _serve_nothing(stream: trio.abc.Stream) -> None:
    raise AssertionError("no listener was given")


def load() -> Driver:
    """Return the driver."""
    return WebSocketsDriver()
