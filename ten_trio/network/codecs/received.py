"""What has been received and not yet read: a queue of bytes that copies as little as it can.

A message that lies within one chunk is a view of it; one that spans several is put together once,
when it is complete. Tiny chunks are gathered first, so that a peer which sends single bytes can't
make us keep an object for each.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import Final

BIG: Final = 16_384
"""From this size on, buffers aren't copied."""

_TINY: Final = 2_048
_GATHERED: Final = 65_536


class Received:
    """Bytes in their order. `offset` is how many have been taken since the beginning."""

    __slots__ = ("_at", "_chunks", "_tail", "offset", "size")

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._at = 0  # of the first chunk, so many have been taken
        self._tail = bytearray()  # tiny chunks, after all others
        self.size = 0
        self.offset = 0

    def put(self, data: bytes | bytearray | memoryview) -> None:
        """Append `data`; `bytes` are kept by reference."""
        chunk = data if data.__class__ is bytes else bytes(data)
        if not chunk:
            return
        if self.size and len(chunk) < _TINY:
            self._tail += chunk
            if len(self._tail) >= _GATHERED:
                self._flush()
        else:
            if self._tail:
                self._flush()
            self._chunks.append(chunk)
        self.size += len(chunk)

    def peek(self, count: int) -> bytes:
        """Return up to `count` bytes from the front, and leave them there."""
        chunks, at = self._chunks, self._at
        if chunks and at + count <= len(chunks[0]):
            return chunks[0][at : at + count]
        return bytes(self._front(min(count, self.size)))

    def take(self, count: int) -> bytes | memoryview:
        """Remove and return exactly `count` bytes, of which there have to be as many.

        From `BIG` on, they are a view.
        """
        self.size -= count
        self.offset += count
        chunks, at = self._chunks, self._at
        end = at + count
        if count < BIG and chunks and end <= len(chunks[0]):
            # Nearly always.
            first = chunks[0]
            if end < len(first):
                self._at = end
            else:
                self._at = 0
                chunks.popleft()
            return first[at:end]
        taken = self._front(count)
        while chunks and end >= len(chunks[0]):
            end -= len(chunks.popleft())
        self._at = end
        return taken

    def find(self, byte: bytes, start: int) -> int:
        """Return where `byte` comes first, not before `start`, or -1 if it doesn't."""
        self._flush()
        first = -1
        end = self.size
        for chunk in reversed(self._chunks):
            if end <= start:
                break
            begin = end - len(chunk)
            # Of the first chunk, a part has been taken.
            found = chunk.find(byte, max(start - begin, 0))
            if found >= 0:
                first = begin + found
            end = begin
        return first

    def all(self) -> bytes:
        """Return everything, and leave it there."""
        return self.peek(self.size)

    def _front(self, count: int) -> bytes | memoryview:
        chunks, at = self._chunks, self._at
        end = at + count
        if not chunks or len(chunks[0]) < end:
            self._flush()
            if not count:
                return b""
        first = chunks[0]
        if end <= len(first):
            return first[at:end] if count < BIG else memoryview(first)[at:end]
        pieces: list[bytes | memoryview] = [memoryview(first)[at:]]
        missing = count - len(pieces[0])
        for chunk in islice(chunks, 1, None):
            pieces.append(chunk if len(chunk) <= missing else memoryview(chunk)[:missing])
            missing -= len(pieces[-1])
            if not missing:
                break
        joined = b"".join(pieces)
        return joined if count < BIG else memoryview(joined)

    def _flush(self) -> None:
        tail, chunks = self._tail, self._chunks
        if not tail:
            return
        if chunks and len(chunks[-1]) < _TINY:
            chunks[-1] += tail
        else:
            chunks.append(bytes(tail))
        tail.clear()
