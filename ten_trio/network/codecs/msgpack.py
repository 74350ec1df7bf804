"""The protocol of the original runtime, byte for byte: ext objects of msgpack, one per message.

docs/protocol.md describes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from ...errors import GraphError
from ..codec import (
    Buffer,
    CodecError,
    CodecLimits,
    Malformed,
    TooLong,
    UnknownType,
    WireMsg,
)
from .packing import EXT_TYPE, HEADER, Packing, joined
from .received import Received
from .unpacking import Unpacking

_FIXED: Final = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
"""Of these sizes a body can be; first comes the byte that says so, then the ext type."""

_SIZED: Final = {0xC7: 3, 0xC8: 4, 0xC9: 6}
"""How long the header is that begins with this byte; between this and the ext type is the size."""


class MsgpackCodec:
    """One connection's codec. `extended` may be set at any time, and counts for what is sent then.

    Towards the original (not `extended`) some things can't be said. `is_eof` and `channel_layout`
    of frames, and the exposed messages of a graph, are left out. Null and what nobody has set are left
    out of objects, and become an empty object in arrays, where the others must keep their indices;
    each is counted in `dropped`. A peer that is one of us gets them all. What such a peer sends is
    understood in any case, so there is nothing to agree on for the other direction.
    """

    def __init__(self, limits: CodecLimits | None = None, *, extended: bool = False) -> None:
        self.limits = limits or CodecLimits()
        self._most = self.limits.max_message
        self._received = Received()
        self._packing = Packing(self.limits, extended=extended)
        self._unpacking = Unpacking(self.limits)
        self._error: CodecError | None = None

    @property
    def extended(self) -> bool:
        """Whether the peer is known to be one of us."""
        return self._packing.extended

    @extended.setter
    def extended(self, extended: bool) -> None:
        self._packing.extended = extended

    @property
    def dropped(self) -> int:
        """How many values were left out so far, because there is no way to write or to hold them."""
        return self._packing.dropped + self._unpacking.dropped

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Store what has been read. Takes constant time, but for the copy of what isn't `bytes`."""
        self._received.put(data)

    def next_message(self) -> WireMsg | None:
        """Return the next message, or None if the rest of it has yet to come.

        Raises `CodecError`, and then again at every further call. The buffer of a big message is a
        view of the bytes received.
        """
        if self._error is not None:
            raise self._error
        received = self._received
        begin = received.offset
        try:
            header, whole = _sizes(received.peek(HEADER))
            if whole > self._most:
                raise TooLong(f"a message of {whole} bytes; at most {self._most} may be")
            if received.size < whole:
                return None
            begin += header
            return self._unpacking.message(received.take(whole)[header:])
        except CodecError as error:
            error.offset = begin + (error.offset or 0)
            self._error = error
            raise

    def encode(self, messages: Iterable[WireMsg]) -> list[Buffer]:
        """Return what to write, in order. Small pieces have been joined; big buffers are not copied.

        Raises `CodecError`, also for what is beyond the limits: the peer would close the connection.
        A graph with Python objects as addons raises `GraphError`.
        """
        pieces: list[Buffer] = []
        for index, wire in enumerate(messages):
            try:
                pieces += self._packing.pieces(wire)
            except CodecError as error:
                error.index = index
                raise
            except GraphError:
                raise
            except (TypeError, ValueError, OverflowError) as error:
                wrong = Malformed(f"{wire.msg!r} can't be written: {error}")
                wrong.index = index
                raise wrong from error
        return pieces if len(pieces) == 1 else joined(pieces)

    @property
    def trailing_data(self) -> bytes:
        """What has been received and isn't part of a message returned so far."""
        return self._received.all()


@lru_cache(maxsize=1_024)
def _sizes(head: bytes) -> tuple[int, int]:
    """Return the sizes of the header and of the whole message, of which this is the beginning.

    As long as they can't be told, they are none and more than there is.
    """
    if not head:
        return 0, 1
    first = head[0]
    header = 2 if first in _FIXED else _SIZED.get(first, 0)
    if not header:
        raise Malformed(f"0x{first:02x} doesn't begin a message")
    if len(head) < header:
        return 0, header
    if head[header - 1] != EXT_TYPE:
        wrong = UnknownType(f"there is no ext type {head[header - 1]}")
        wrong.offset = header - 1
        raise wrong
    return header, header + (_FIXED.get(first) or int.from_bytes(head[1 : header - 1]))
