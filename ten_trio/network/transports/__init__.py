"""The ways to carry bytes that come with ten_trio, a module each."""

from __future__ import annotations

from importlib import import_module

from ...errors import ConfigError
from ..transport import Transport, TransportOptions

_MODULES = {
    "tcp": "tcp",
    "unix": "unix",
    "tls": "tls",
    "ws": "websocket",
    "wss": "websocket",
}

TRANSPORTS = tuple(_MODULES)
"""The names that `transport` knows."""


def transport(name: str, options: TransportOptions) -> Transport:
    """Return the transport called `name`, and load what it needs.

    `options` are those that it will be used with: what they choose is loaded as well.  Raises
    `ConfigError` if there is no such transport, `MissingExtra` if an optional package isn't there.
    """
    if name not in _MODULES:
        raise ConfigError(f"no transport is called {name!r}; there are {', '.join(_MODULES)}")
    made: Transport = import_module(f".{_MODULES[name]}", __name__).make(name, options)
    return made
