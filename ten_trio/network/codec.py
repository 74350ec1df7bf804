"""What a codec is: bytes in, messages out, and back. It does no I/O and knows no connection.

The bytes of a peer are stored by `receive_data` and read by `next_message`, one message per call: so
whoever has to stop in the middle (because a receiver is full, or because the connection moves) stops
calling, and takes what hasn't been read along as `trailing_data`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol, TypeAlias

import attrs

from ..errors import TenError
from ..messages import Msg
from ..messages.command import Cmd, CmdResult
from ..messages.values import MAX_DEPTH

Buffer: TypeAlias = bytes | memoryview
"""What `encode` returns pieces of. A memoryview is read-only, contiguous and counts bytes."""


class WireMsg(NamedTuple):
    """A message with what it has only on the wire: the id of the command, as text.

    An id is the text of whoever sent the command, and results have to come back with exactly this
    text; within a process ids are numbers, which say nothing to others. Whoever keeps track of
    commands in flight translates. It is empty for data and frames, and for a command from a plain
    client, which is answered on the connection that it came by.
    """

    msg: Msg
    cmd_id: str = ""

    @classmethod
    def of(cls, msg: Msg) -> WireMsg:
        """Return `msg` with the id that it has in this process, for where no other id is known."""
        return cls(msg, msg.cmd_id if isinstance(msg, (Cmd, CmdResult)) else "")


def _positive(instance: object, attribute: attrs.Attribute[int], value: int) -> None:
    if value.__class__ is not int or value <= 0:
        raise ValueError(f"{attribute.name} is a positive integer, not {value!r}")


@attrs.frozen(kw_only=True)
class CodecLimits:
    """How big a message may be, in either direction."""

    max_message: int = attrs.field(default=16 * 2**20, validator=_positive)
    """Bytes of one message, everything included."""
    max_depth: int = attrs.field(default=MAX_DEPTH, validator=_positive)
    """How many containers may be nested in each other; a property by itself is none."""
    max_properties: int = attrs.field(default=65_536, validator=_positive)
    """How many properties are let through for certain, counting also those inside others and the
    elements of arrays. Twice as many never are."""
    max_string: int = attrs.field(default=2**20, validator=_positive)
    """Characters of one string."""


class CodecError(TenError):
    """Bytes that aren't a message, or a message that can't be sent as bytes.

    From `next_message`: `offset` is where in all the bytes received it went wrong, and nothing that
    follows can be read any more. From `encode`: `index` is which of the messages it is; all others
    can still be encoded.
    """

    offset: int | None = None
    index: int | None = None

    def __str__(self) -> str:
        text = super().__str__()
        if self.offset is not None:
            return f"{text} (at byte {self.offset})"
        return text if self.index is None else f"{text} (message {self.index})"


class TooLong(CodecError):
    """A message of too many bytes, or a string of too many characters."""


class TooDeep(CodecError):
    """Too many containers nested in each other."""


class TooManyProperties(CodecError):
    """Too many values in one message."""


class UnknownType(CodecError):
    """A type of message or of value that there isn't."""


class Malformed(CodecError):
    """Anything else that isn't as it has to be."""


class Codec(Protocol):
    """Turns the bytes of one connection into messages, and messages into bytes."""

    @property
    def dropped(self) -> int:
        """How many values were left out so far, because there is no way to write or to hold them."""

    def receive_data(self, data: bytes | bytearray | memoryview) -> None:
        """Store what has been read. Takes constant time, but for the copy of what isn't `bytes`."""

    def next_message(self) -> WireMsg | None:
        """Return the next message, or None if the rest of it has yet to come.

        Raises `CodecError`, and then again at every further call.
        """

    def encode(self, messages: Iterable[WireMsg]) -> list[Buffer]:
        """Return what to write, in order. Small pieces have been joined; big buffers are not copied.

        Raises `CodecError`, also for what is beyond the limits: the peer would close the connection.
        A graph with Python objects as addons raises `GraphError`.
        """

    @property
    def trailing_data(self) -> bytes:
        """What has been received and isn't part of a message returned so far."""
