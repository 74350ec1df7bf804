"""Connecting to an app: by the protocol of its URI, and more than once if need be."""

from __future__ import annotations

import attrs
import trio

from ..errors import ConfigError, ConnectFailed
from .connection import Connection, Role
from .dialects import OURS
from .protocols import Protocols
from .settings import NetworkSettings
from .transport import HandshakeError, TransportOptions


def options_of(settings: NetworkSettings, subprotocols: tuple[str, ...]) -> TransportOptions:
    """What the transports have to know of `settings`."""
    return TransportOptions(
        server_ssl=settings.server_ssl,
        client_ssl=settings.client_ssl,
        max_message=settings.codec.max_message,
        token=settings.token,
        subprotocols=subprotocols,
        close_timeout=settings.close_timeout,
        websocket_driver=settings.websocket_driver,
    )


@attrs.frozen
class Connector:
    """Opens connections to apps."""

    settings: NetworkSettings
    protocols: Protocols

    async def connect(self, uri: str, nursery: trio.Nursery) -> Connection:
        """Connect to `uri`, with as many attempts as the settings say.

        `nursery` is for this connection alone, and ends with it.  Raises `ConnectFailed`, whose cause is
        what went wrong at the last attempt; `ConfigError` and `InvalidArgument` for a URI that
        can't work.
        """
        settings = self.settings
        protocol, address = self.protocols.find(uri)
        if protocol.front is not None:
            raise ConfigError(
                f"{uri} is not for apps and clients of ten_trio: use msgpack:// or ws://"
            )
        options = options_of(settings, (OURS,))
        transport = protocol.transport(address, options)
        attempt = 0
        while True:
            why: Exception
            with trio.move_on_after(settings.connect_timeout) as scope:
                try:
                    wire = await transport.connect(address, options, nursery)
                except (OSError, HandshakeError) as error:
                    why = error
                else:
                    dialect = protocol.dialect(settings.codec, wire)
                    connection = Connection(wire, dialect, settings, Role.OUT_EXTERNAL, uri)
                    connection.trusted = True
                    return connection
            if scope.cancelled_caught:
                why = TimeoutError(f"no answer within {settings.connect_timeout:g} s")
            attempt += 1
            if attempt > settings.connect_retries:
                failed = ConnectFailed(f"Failed to connect to {uri}")
                failed.add_note(f"after {attempt} attempts: {why}")
                raise failed from why
            await trio.sleep(settings.retry_delay)


def with_retries(settings: NetworkSettings, retries: int) -> NetworkSettings:
    """The same, with another number of attempts."""
    return attrs.evolve(settings, connect_retries=retries)
