"""What messages of a connection began with lately. Most begin like one shortly before.

The beginning, from the type to the destinations, is then recognised as bytes, and only the rest of
the message has to be read.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from msgpack import UnpackException, unpackb

from ...messages import Loc
from .layout import Layout

MOST_COUNTED: Final = 255

END: Final = b"\xc0"
"""A nil after the body: if it doesn't come out last, and as such, the body ended within a value."""

Head: TypeAlias = tuple[str, Loc, tuple[Loc, ...]]
"""Name, source and destinations."""


class Known:
    """How messages began lately: `prefix`, which means `head`; `array` is the header that makes one
    array of as many values as the last such message went on with."""

    __slots__ = ("array", "head", "layout", "prefix")

    def __init__(self, prefix: bytes, layout: Layout, head: Head) -> None:
        self.prefix = prefix
        self.layout = layout
        self.head = head
        self.count(1)

    def count(self, length: int) -> None:
        """Note that a message went on with `length` values, the end included."""
        self.array = b"\xdc" + min(length, MOST_COUNTED).to_bytes(2)

    def run(self, body: bytes) -> tuple[Any, ...] | None:
        """Return what comes after the prefix, up to the end, if there are as many values as last time."""
        try:
            run: tuple[Any, ...] = unpackb(
                self.array + body[len(self.prefix) :] + END,
                use_list=False,
                object_pairs_hook=tuple,
                max_array_len=MOST_COUNTED,
                max_map_len=0,
                max_ext_len=0,
            )
        except (ValueError, UnpackException):
            return None
        return run if run[-1] is None else None
