"""What one connection speaks: from the pieces of its wire to messages, and back. Sans I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from .codec import Codec, CodecError, CodecLimits, Malformed, WireMsg
from .codecs.json import JsonCodec
from .codecs.msgpack import MsgpackCodec
from .transport import Piece

OURS = "ten-trio.v1"
"""The WebSocket subprotocol by which two of us know each other: msgpack with its extensions."""
JSON_ONLY = "ten-trio.json.v1"
"""Text frames only, a message of JSON each."""
MIXED = "ten-trio.mixed.v1"
"""Data and frames with a buffer travel as msgpack in binary frames, everything else as JSON."""

SUBPROTOCOLS = (OURS, MIXED, JSON_ONLY)


class Dialect(Protocol):
    """Turns what one wire carries into messages, and messages into what it carries."""

    extended: bool
    """Whether the peer is known to be one of us, which understands more; may be set at any time."""

    def receive(self, piece: bytes | str) -> None:
        """Store what the wire has received."""

    def next_message(self) -> WireMsg | None:
        """Return the next message, or None if the rest of it has yet to come. Raises `CodecError`."""

    def encode(self, messages: Sequence[WireMsg]) -> list[Piece]:
        """Return what to send. Raises `CodecError`, `GraphError`: see `Codec.encode`."""

    @property
    def trailing(self) -> bool:
        """Whether part of a message has come whose rest hasn't."""


class StreamDialect:
    """One codec on a stream of bytes."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._extensible = isinstance(codec, MsgpackCodec)

    @property
    def extended(self) -> bool:
        """Whether the peer is known to be one of us."""
        return isinstance(self._codec, MsgpackCodec) and self._codec.extended

    @extended.setter
    def extended(self, extended: bool) -> None:
        if isinstance(self._codec, MsgpackCodec):
            self._codec.extended = extended

    def receive(self, piece: bytes | str) -> None:
        """Store what the wire has received."""
        if isinstance(piece, str):
            raise Malformed("text on a connection that carries bytes")
        self._codec.receive_data(piece)

    def next_message(self) -> WireMsg | None:
        """Return the next message, or None if the rest of it has yet to come. Raises `CodecError`."""
        return self._codec.next_message()

    def encode(self, messages: Sequence[WireMsg]) -> list[Piece]:
        """Return what to send."""
        return list(self._codec.encode(messages))

    @property
    def trailing(self) -> bool:
        """Whether part of a message has come whose rest hasn't."""
        return bool(self._codec.trailing_data)


class FrameDialect:
    """Frames: msgpack in those of bytes, JSON in those of text.

    What is sent is in the form that the subprotocol says, or without one in that of the latest frame that
    has come.
    """

    def __init__(self, limits: CodecLimits, subprotocol: str = "") -> None:
        # Whoever knows the names of our subprotocols knows what else we say in msgpack.
        self._binary = MsgpackCodec(limits, extended=subprotocol in (OURS, MIXED))
        self._ours = subprotocol == OURS
        self._text = JsonCodec(limits, framed=True)
        self._subprotocol = subprotocol
        self._as_text = subprotocol in (JSON_ONLY, MIXED)
        # Frames are fed one by one, since what is in them has to come out in their order.
        self._frames: deque[bytes | str] = deque()
        self._reading: Codec | None = None
        self._bytes_left = False

    @property
    def extended(self) -> bool:
        """Whether the peer is known to be one of us."""
        return self._ours

    @extended.setter
    def extended(self, extended: bool) -> None:
        self._ours = self._binary.extended = extended

    def receive(self, piece: bytes | str) -> None:
        """Store what the wire has received."""
        self._frames.append(piece)

    def next_message(self) -> WireMsg | None:
        """Return the next message, or None if the rest of it has yet to come. Raises `CodecError`."""
        while True:
            if self._reading is not None:
                found = self._reading.next_message()
                if found is not None:
                    return found
                self._reading = None
            if not self._frames:
                return None
            frame = self._frames.popleft()
            is_text = isinstance(frame, str)
            if not self._subprotocol:
                self._as_text = is_text
            if isinstance(frame, str):
                self._text.receive_data(frame.encode("utf-8", "replace"))
                self._reading = self._text
            elif self._subprotocol == JSON_ONLY:
                raise Malformed(f"a frame of bytes; {JSON_ONLY} was agreed upon")
            else:
                self._binary.receive_data(frame)
                self._reading = self._binary

    def encode(self, messages: Sequence[WireMsg]) -> list[Piece]:
        """Return what to send, a frame each."""
        if self._subprotocol == OURS or (not self._as_text and self._ours):
            # Whoever is one of us finds the messages by themselves: one frame for all.
            pieces = self._binary.encode(messages)
            return [pieces[0] if len(pieces) == 1 else b"".join(pieces)]
        frames: list[Piece] = []
        for index, message in enumerate(messages):
            try:
                frames.append(self._frame(message))
            except CodecError as error:
                error.index = index
                raise
        return frames

    def _frame(self, message: WireMsg) -> Piece:
        if self._as_text and not (self._subprotocol == MIXED and _has_bytes(message)):
            (text,) = self._text.encode((message,))
            return str(text, "utf-8")
        pieces = self._binary.encode((message,))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    @property
    def trailing(self) -> bool:
        """Whether part of a message has come whose rest hasn't."""
        return bool(self._frames) or bool(self._binary.trailing_data)


def _has_bytes(message: WireMsg) -> bool:
    return any(
        field.is_buffer and getattr(message.msg, field.attribute)
        for field in message.msg._fields.values()
    )
