"""The buffer that data and frames carry: by reference where that is safe, else copied on write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Self, cast

from ..errors import InvalidArgument, InvalidType, MessageLocked
from .base import Msg
from .fields import Field
from .location import Dest
from .values import shown

Buffer = bytes | bytearray | memoryview


def own_bytes(buf: Any) -> bytes:
    """Return the content as bytes: the same object if it is bytes, else a copy."""
    if isinstance(buf, (bytes, bytearray, memoryview)):
        return bytes(buf)
    raise InvalidType(f"{shown(buf)} isn't bytes, bytearray or memoryview")


BUF_FIELD = Field("buf", own_bytes, has_path=False, is_buffer=True)


class Buffered(Msg):
    """The base of messages with a buffer.

    Bytes are carried by reference, a bytearray or memoryview is copied when it is set. `lock_buf`
    gives access for writing; while it is open, the message can't be sent.
    """

    # `_locks` are the views that are out. None: `_buf` isn't ours alone and may not be written to;
    # else it is a bytearray. (One slot for both, since each costs time per hop.)
    __slots__ = ("_buf", "_locks")

    _buf: Buffer
    _locks: tuple[memoryview, ...] | None

    def __init__(
        self,
        name: str = "",
        properties: Mapping[str, Any] | None = None,
        /,
        *,
        buf: Buffer = b"",
        dest: Dest | Iterable[Dest] | None = None,
    ) -> None:
        Msg.__init__(self, name, properties, dest=dest)
        self._buf = buf if buf.__class__ is bytes else own_bytes(buf)
        self._locks = None

    @classmethod
    def create(cls, name: str) -> Self:
        """Return a message of this name."""
        return cls(name)

    # Reading ----------------------------------------------------------------------------------

    @property
    def buf(self) -> bytes:
        """The content. Setting it raises `MessageLocked` while the buffer is locked."""
        buf = self._buf
        if buf.__class__ is bytes:
            return buf
        copy = bytes(buf)
        if not self._locks:
            # So that the next look costs nothing.
            self._buf = copy
            self._locks = None
        return copy

    @buf.setter
    def buf(self, buf: Buffer) -> None:
        self._check_unlocked()
        self._buf = own_bytes(buf)
        self._locks = None

    def get_buf(self) -> bytes:
        """Return the content."""
        return self.buf

    def view_buf(self) -> memoryview:
        """Return a read-only view of the content; nothing is copied."""
        return memoryview(self._buf).toreadonly().cast("B")

    # Writing ----------------------------------------------------------------------------------

    def alloc_buf(self, size: int) -> None:
        """Make a buffer of `size` zero bytes. Raises `InvalidArgument` if there is a buffer already."""
        if len(self._buf):
            raise InvalidArgument(f"{self!r} has a buffer already")
        self._alloc(size)

    def _alloc(self, size: int) -> None:
        if size.__class__ is not int or size <= 0:
            raise InvalidArgument(f"{shown(size)} is no size of a buffer")
        self._check_unlocked()
        self._buf = bytearray(size)
        self._locks = ()

    def lend_buf(self, view: Buffer) -> None:
        """Carry `view` itself, without a copy: it must not change as long as a receiver may read it."""
        self._check_unlocked()
        if isinstance(view, memoryview):
            if not view.c_contiguous:
                raise InvalidArgument("only contiguous memory can be lent")
            view = view.toreadonly()
        elif not isinstance(view, (bytes, bytearray)):
            raise InvalidType(f"{shown(view)} isn't bytes, bytearray or memoryview")
        self._buf = view
        self._locks = None

    def lock_buf(self) -> memoryview:
        """Return a view to write through, until `unlock_buf`; it may be locked more than once.

        Raises `InvalidArgument` if there is no buffer.
        """
        if not len(self._buf):
            raise InvalidArgument(f"{self!r} has no buffer to lock")
        if self._locks is None:
            self._buf = bytearray(self._buf)
            self._locks = ()
        view = memoryview(self._buf)
        self._locks = (*self._locks, view)
        return view

    def unlock_buf(self, view: memoryview) -> None:
        """End the access through `view`, which can't be used afterwards.

        Arrays and slices made from it can, but the message doesn't notice: it goes on with a copy.
        Raises `InvalidArgument` if `view` isn't from `lock_buf` of this message or is back already.
        """
        locks = self._locks or ()
        left = tuple(each for each in locks if each is not view)
        if len(left) == len(locks):
            raise InvalidArgument(f"{self!r} isn't locked by this view")
        with suppress(BufferError):
            view.release()
        self._locks = left
        if not left and _is_in_use(cast(bytearray, self._buf)):
            self._buf = bytes(self._buf)
            self._locks = None

    def _check_unlocked(self) -> None:
        if self._locks:
            raise MessageLocked(f"{self!r} has a locked buffer: unlock it first")

    def clone(self) -> Self:
        """Return an independent copy. Content and properties are copied when one of the two writes.

        If the buffer is locked, the clone gets the content of this moment, and isn't locked.
        """
        locks = self._locks
        copy = super().clone()
        if locks:
            copy._buf = bytes(self._buf)
            self._locks = locks
        return copy

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        _, state = super().__getstate__()
        return None, state | {"_buf": bytes(self._buf)}

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        self._locks = None
        super().__setstate__(state)

    def _more(self) -> str:
        # Not len(): a memoryview counts items of any size.
        return f", buf={memoryview(self._buf).nbytes} B"


def _is_in_use(memory: bytearray) -> bool:
    # A bytearray that anything has access to refuses to change its size.
    try:
        memory.append(memory.pop())
    except BufferError:
        return True
    return False
