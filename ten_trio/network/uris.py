"""The URIs of apps and listeners: what is in them, and how they are compared."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import unquote, urlsplit

import attrs

from ..errors import InvalidArgument


@attrs.frozen
class Address:
    """Where to listen or to connect: a URI, taken apart.

    `host` and `port` of a network address, `path` of a Unix socket or of a WebSocket; `query` as it
    is written. A port that isn't given is None, and 0 lets the system choose one.
    """

    scheme: str
    host: str = ""
    port: int | None = None
    path: str = ""
    query: str = ""

    @classmethod
    def parse(cls, uri: str) -> Address:
        """Take a URI apart. Raises `InvalidArgument`."""
        try:
            parts = urlsplit(uri)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise InvalidArgument(f"{uri!r} is no URI: {error}") from None
        if not parts.scheme or not (parts.netloc or parts.path):
            raise InvalidArgument(f"{uri!r} is no URI, such as msgpack://127.0.0.1:8001")
        if parts.username is not None or parts.password is not None:
            raise InvalidArgument(f"{parts.scheme}://…@{host}: a URI here holds no password")
        return cls(parts.scheme.lower(), host, port, unquote(parts.path), parts.query)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can get there: a loopback address or a Unix socket."""
        if not self.host:
            return True
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{host}{port}{self.path}{query}"
