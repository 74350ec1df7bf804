"""Plain messages, read quickly: without containers among the properties, and with nothing wrong.

That is what nearly all messages are. Whatever is different in any way is left to `Unpacking`, which
goes through it value by value and says what is wrong and where.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from ...errors import TenError
from ...messages import ValueType
from ...messages.properties import FIELDS
from ..codec import WireMsg
from .known import Head
from .layout import Layout

_STR: Final = ValueType.STRING.value
_INT64: Final = ValueType.INT64.value
_FLOAT64: Final = ValueType.FLOAT64.value
_BOOL: Final = ValueType.BOOL.value
_OBJECT: Final = ValueType.OBJECT.value

_MOST_NAMES: Final = 512
_LONGEST_NAME: Final = 64
_NAMES: Final[set[str]] = set()
"""Names that properties had lately and may have; of all connections."""

_new: Final = tuple.__new__
"""The quickest way to a `WireMsg`."""


def plain_message(layout: Layout, head: Head, run: tuple[Any, ...]) -> WireMsg | None:
    """Return the message with this head, of which `run` is the rest; None if it isn't plain."""
    count = run[1]
    if run[0] != _OBJECT or count.__class__ is not int or count < 0 or not layout.is_flat:
        return None
    end = 2 + 3 * count
    if len(run) != end + layout.length:
        return None
    msg = layout.blank()
    msg.name, msg._src, msg._dests = head
    if count:
        values = islice(run, 2, end)
        props: dict[str, Any] = {}
        for key, tag, value in zip(values, values, values):  # noqa: B905 (it takes time)
            if key not in _NAMES and not _is_name(key):
                return None
            cls = value.__class__
            if tag == _STR:
                if cls is not str:
                    return None
            elif tag == _INT64:
                if cls is not int or value >= 2**63:
                    return None
            elif tag == _FLOAT64:
                if cls is not float:
                    return None
            elif tag == _BOOL and cls is int and 0 <= value <= 1:
                value = value == 1
            else:
                return None
            props[key] = value
        msg._props = props
        msg._shared = False
    cmd_id = set_fields(msg, layout, run, end)
    return None if cmd_id is None else _new(WireMsg, (msg, cmd_id))


def set_fields(msg: Any, layout: Layout, run: tuple[Any, ...], begin: int) -> str | None:
    """Set the fields of `msg`, which begin there in the run and take the rest of it.

    Returns the id of the command, None if something is wrong.
    """
    if run[begin::2] != layout.tags:
        return None
    cmd_id = ""
    if layout.has_id:
        cmd_id, msg.seq_id = run[begin + 1], run[begin + 3]
        if cmd_id.__class__ is not str or msg.seq_id.__class__ is not str:
            return None
        begin += 4
    if layout.sets:
        try:
            for (attribute, make), value in zip(layout.sets, run[begin + 1 :: 2]):  # noqa: B905
                setattr(msg, attribute, make(value))
        except TenError:
            return None
    return cmd_id


def _is_name(key: Any) -> bool:
    if key.__class__ is not str or not key or key.startswith(FIELDS):
        return False
    if len(key) <= _LONGEST_NAME:
        if len(_NAMES) >= _MOST_NAMES:
            _NAMES.clear()
        _NAMES.add(key)
    return True
