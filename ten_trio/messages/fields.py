"""Fields: what a message has besides its properties, such as the sample rate of an audio frame.

Each class of messages has a table of its fields. From it come the property paths `ten.<name>`, which
is how a message conversion gets at them, and the JSON form of a whole message.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Any, TypeVar

import attrs

from ..errors import InvalidType, PropertyRangeError
from .values import shown

E = TypeVar("E", bound=IntEnum)


def _as_it_is(value: Any) -> Any:
    return value


@attrs.frozen
class Field:
    """One field: the attribute that holds it, and how its values go in and come out.

    `check` returns what to store, or raises; `show` makes a property value of that. Without
    `has_path` the field isn't reachable as `ten.<name>`, only part of the JSON form.
    """

    attribute: str
    check: Callable[[Any], Any]
    show: Callable[[Any], Any] = _as_it_is
    is_buffer: bool = False
    has_path: bool = True
    settable: bool = True


def integer_between(low: int, high: int) -> Callable[[Any], int]:
    """Return a check for integers of this range."""

    def check(value: Any) -> int:
        if value.__class__ is not int:
            if not isinstance(value, int) or isinstance(value, bool):
                raise InvalidType(f"{shown(value)} is no integer")
            value = int(value)
        if not low <= value <= high:
            raise PropertyRangeError(f"{shown(value)} is out of range: {low} to {high}")
        return value  # type: ignore[no-any-return]

    return check


int32 = integer_between(-(2**31), 2**31 - 1)
int64 = integer_between(-(2**63), 2**63 - 1)
uint32 = integer_between(0, 2**32 - 1)
uint64 = integer_between(0, 2**64 - 1)


def boolean(value: Any) -> bool:
    """Check a bool."""
    if value is True or value is False:
        return value
    raise InvalidType(f"{shown(value)} is no bool")


def string(value: Any) -> str:
    """Check a string."""
    if isinstance(value, str):
        return value
    raise InvalidType(f"{shown(value)} is no string")


def member_of(kind: type[E]) -> Callable[[Any], E]:
    """Return a check for members of an enum, which also takes their numbers and lower-case names."""
    by_name = {member.name.lower(): member for member in kind}

    def check(value: Any) -> E:
        if isinstance(value, str):
            if value in by_name:
                return by_name[value]
        elif isinstance(value, int) and not isinstance(value, bool):
            try:
                return kind(value)
            except ValueError:
                pass
        else:
            raise InvalidType(f"{shown(value)} is no {kind.__name__}")
        raise PropertyRangeError(f"{shown(value)} is no {kind.__name__}: {', '.join(by_name)}")

    return check


def lower_name(member: IntEnum) -> str:
    """Show a member of an enum as its name in lower case."""
    return member.name.lower()
