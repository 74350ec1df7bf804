"""Messages as JSON in netstrings: `LENGTH:TEXT,`, where LENGTH is in decimal and counts bytes.

A whole protocol in one file: how messages become bytes, and which bytes are none. Who listens,
connects and reads is not its business.
"""

from __future__ import annotations

from collections.abc import Iterable

from ten_trio.network import (
    Buffer,
    CodecError,
    CodecLimits,
    JsonCodec,
    Malformed,
    TooLong,
    WireMsg,
    protocol,
)


@protocol("netstring")
class NetstringCodec:
    """One connection's codec; the JSON is that of docs/protocol.md."""

    def __init__(self, limits: CodecLimits) -> None:
        self._json = JsonCodec(limits, framed=True)
        self._most = limits.max_message
        self._received = bytearray()
        self._error: CodecError | None = None

    @property
    def dropped(self) -> int:
        """How many values JSON had no way to write."""
        return self._json.dropped

    @property
    def trailing_data(self) -> bytes:
        """What has been received and isn't part of a message returned so far."""
        return bytes(self._received)

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Store what has been read."""
        self._received += data

    def next_message(self) -> WireMsg | None:
        """The next message, or None if the rest of it has yet to come. Raises `CodecError`."""
        if self._error is not None:
            raise self._error
        try:
            while (text := self._next_text()) is not None:
                self._json.receive_data(text)
                found = self._json.next_message()
                if found is not None:  # an empty text is no message
                    return found
        except CodecError as error:
            self._error = error
            raise
        return None

    def _next_text(self) -> bytes | None:
        received = self._received
        digits = len(str(self._most))
        colon = received.find(b":", 0, digits + 1)
        length = received[: colon if colon >= 0 else digits + 1]
        if length and not length.isdigit():
            raise Malformed(f"a netstring begins with its length, not with {bytes(length)!r}")
        if colon < 0 and len(length) <= digits:
            return None
        if colon < 0 or int(length or b"0") > self._most:
            raise TooLong(f"a message of more than {self._most} bytes")
        if not length:
            raise Malformed("a netstring begins with its length, not with ':'")
        end = colon + 1 + int(length)
        if len(received) <= end:
            return None
        if received[end : end + 1] != b",":
            raise Malformed(f"a netstring ends with a comma, not with {received[end]:#04x}")
        text = bytes(received[colon + 1 : end])
        del received[: end + 1]
        return text

    def encode(self, messages: Iterable[WireMsg]) -> list[Buffer]:
        """What to write. Raises `CodecError`, `GraphError`."""
        return [b"%d:%b," % (len(text), text) for text in self._json.encode(messages)]
