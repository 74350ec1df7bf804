"""Property values: what a message may carry, and how Python values become and stay that.

A value is None, a bool, a number of a definite width, a str, bytes, or a container of values. Plain
ints and floats are the 64-bit types; the classes here stand for the other widths. Containers inside
a message are `Object` and `Array`: a dict and a list that can't be changed, so that any number of
messages can share one.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from enum import IntEnum
from math import isfinite
from typing import Any, ClassVar, Final, NoReturn, Self, SupportsIndex

from ..errors import InvalidJson, InvalidType, PropertyRangeError, PropertyTypeError

MAX_DEPTH: Final = 64
"""How many containers may be nested in each other."""

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1


class ValueType(IntEnum):
    """The type of a value, numbered as on the wire."""

    INVALID = 0
    NULL = 1
    BOOL = 2
    INT8 = 3
    INT16 = 4
    INT32 = 5
    INT64 = 6
    UINT8 = 7
    UINT16 = 8
    UINT32 = 9
    UINT64 = 10
    FLOAT32 = 11
    FLOAT64 = 12
    STRING = 13
    BUF = 14
    ARRAY = 15
    OBJECT = 16
    PTR = 17


# Numbers --------------------------------------------------------------------------------------------


class SizedInt(int):
    """The base of the integers of a definite width. Arithmetic gives a plain int."""

    __slots__ = ()

    kind: ClassVar[ValueType] = ValueType.INT64
    low: ClassVar[int] = -(2**63)
    high: ClassVar[int] = INT64_MAX

    def __new__(cls, value: SupportsIndex = 0) -> Self:
        """Raise `InvalidType` if `value` is no integer, `PropertyRangeError` if it doesn't fit."""
        return super().__new__(cls, cls.checked(value))

    @classmethod
    def checked(cls, value: object) -> int:
        """Return `value` as a plain int if it fits; raises as the constructor does."""
        if not isinstance(value, int) or isinstance(value, bool):
            raise InvalidType(f"{shown(value)} is no integer")
        if not cls.low <= value <= cls.high:
            raise PropertyRangeError(
                f"{shown(value)} is out of range for {cls.kind.name.lower()}: "
                f"{cls.low} to {cls.high}"
            )
        return int(value)


class Int8(SizedInt):
    """An integer from -128 to 127."""

    __slots__ = ()
    kind, low, high = ValueType.INT8, -(2**7), 2**7 - 1


class Int16(SizedInt):
    """An integer from -32,768 to 32,767."""

    __slots__ = ()
    kind, low, high = ValueType.INT16, -(2**15), 2**15 - 1


class Int32(SizedInt):
    """An integer from -2**31 to 2**31 - 1."""

    __slots__ = ()
    kind, low, high = ValueType.INT32, -(2**31), 2**31 - 1


class UInt8(SizedInt):
    """An integer from 0 to 255."""

    __slots__ = ()
    kind, low, high = ValueType.UINT8, 0, 2**8 - 1


class UInt16(SizedInt):
    """An integer from 0 to 65,535."""

    __slots__ = ()
    kind, low, high = ValueType.UINT16, 0, 2**16 - 1


class UInt32(SizedInt):
    """An integer from 0 to 2**32 - 1."""

    __slots__ = ()
    kind, low, high = ValueType.UINT32, 0, 2**32 - 1


class UInt64(SizedInt):
    """An integer from 0 to 2**64 - 1."""

    __slots__ = ()
    kind, low, high = ValueType.UINT64, 0, 2**64 - 1


_FLOAT32 = struct.Struct("<f")


class Float32(float):
    """A float that has been rounded to 32 bits. Arithmetic gives a plain float."""

    __slots__ = ()

    def __new__(cls, value: float = 0.0) -> Self:
        """Raise `InvalidType` if `value` is no number, `PropertyRangeError` if it is too big."""
        try:
            return super().__new__(cls, *_FLOAT32.unpack(_FLOAT32.pack(as_float(value))))
        except OverflowError:
            raise PropertyRangeError(f"{shown(value)} is out of range for float32") from None


def as_float(value: object) -> float:
    """Return a number as a plain float; raises `InvalidType`, or `PropertyRangeError` for huge ints."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        raise InvalidType(f"{shown(value)} is no number")
    try:
        return float(value)
    except OverflowError:
        raise PropertyRangeError(f"{shown(value)} is out of range for float64") from None


# Containers -----------------------------------------------------------------------------------------


def _read_only(self: object, *args: object, **kwargs: object) -> NoReturn:
    raise TypeError(
        "what a message holds is read-only: use set_property(path, value) on the message, "
        "or take a copy with .copy()"
    )


class Object(dict[str, Any]):
    """A read-only dict of values, as found inside messages. `.copy()` is a plain dict."""

    __slots__ = ()

    def __init__(self, items: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), /) -> None:
        super().__init__(freeze_items(dict(items)))

    @classmethod
    def trusted(cls, items: dict[str, Any]) -> Object:
        """Make one from what is already known to be values, without looking at each."""
        made = cls.__new__(cls)
        dict.update(made, items)
        return made

    def copy(self) -> dict[str, Any]:
        """Return a plain dict of the same values."""
        return dict(self)

    def __copy__(self) -> Object:
        return self

    def __deepcopy__(self, memo: object) -> Object:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Object, (dict(self),)

    __setitem__ = __delitem__ = __ior__ = _read_only
    clear = pop = popitem = setdefault = update = _read_only


class Array(list[Any]):
    """A read-only list of values, as found inside messages. `.copy()` is a plain list."""

    __slots__ = ()

    def __init__(self, items: Iterable[Any] = (), /) -> None:
        super().__init__([freeze(item, f"[{index}]") for index, item in enumerate(items)])

    @classmethod
    def trusted(cls, items: list[Any]) -> Array:
        """Make one from what is already known to be values, without looking at each."""
        made = cls.__new__(cls)
        list.extend(made, items)
        return made

    def copy(self) -> list[Any]:
        """Return a plain list of the same values."""
        return list(self)

    def __copy__(self) -> Array:
        return self

    def __deepcopy__(self, memo: object) -> Array:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Array, (list(self),)

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _read_only
    append = extend = insert = remove = pop = _read_only
    clear = reverse = sort = _read_only


class Invalid:
    """The type of `INVALID`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "INVALID"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "INVALID"


INVALID: Final = Invalid()
"""Stands at the indices of an array that nobody has set yet."""

Value = bool | int | float | str | bytes | Object | Array | Invalid | None

ATOMS: Final = frozenset(
    {
        *(type(None), bool, float, str, bytes, Object, Array, Invalid),
        *(Int8, Int16, Int32, UInt8, UInt16, UInt32, UInt64, Float32),
    }
)
"""The classes whose every instance is a value as it is. (An int might be too big.)"""

_TYPES: Final[Mapping[type, ValueType]] = {
    type(None): ValueType.NULL,
    bool: ValueType.BOOL,
    float: ValueType.FLOAT64,
    Float32: ValueType.FLOAT32,
    str: ValueType.STRING,
    bytes: ValueType.BUF,
    Array: ValueType.ARRAY,
    Object: ValueType.OBJECT,
    Invalid: ValueType.INVALID,
    **{each: each.kind for each in (Int8, Int16, Int32, UInt8, UInt16, UInt32, UInt64)},
}


# Functions ------------------------------------------------------------------------------------------


def type_of(value: object) -> ValueType:
    """Return the type of a value. Plain dicts, lists and the like count as what they would become.

    Raises `InvalidType` for what can't be a value.
    """
    kind = _TYPES.get(value.__class__)
    if kind is not None:
        return kind
    if value.__class__ is int:
        return ValueType.INT64 if value <= INT64_MAX else ValueType.UINT64
    if isinstance(value, Mapping):
        return ValueType.OBJECT
    if isinstance(value, (list, tuple)):
        return ValueType.ARRAY
    return type_of(freeze(value))


def freeze(value: Any, where: str = "", /) -> Value:
    """Return `value` as something a message can hold, sharing nothing that could still change.

    Containers are copied, except those that came out of a message; bytes are kept by reference,
    other buffers copied. `where` is the property path, for the error. Raises `InvalidType`, or
    `PropertyRangeError` for an int of more than 64 bits.
    """
    return _freeze(value, where, 0)


def freeze_items(items: Mapping[Any, Any], where: str = "", depth: int = 0) -> dict[str, Any]:
    """Freeze every item of a mapping, into a plain dict. Raises as `freeze` does."""
    made = {}
    for key, item in items.items():
        if key.__class__ is not str:
            if not isinstance(key, str):
                raise InvalidType(f"{_at(where)}{shown(key)} can't be a key: keys are strings")
            key = str.__str__(key)
        cls = item.__class__
        if cls not in ATOMS and not (cls is int and INT64_MIN <= item <= INT64_MAX):
            item = _freeze(item, f"{where}.{key}" if where else key, depth + 1)
        made[key] = item
    return made


def _freeze(value: Any, where: str, depth: int) -> Value:
    cls = value.__class__
    if cls in ATOMS:
        return value  # type: ignore[no-any-return]
    if isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise PropertyRangeError(f"{_at(where)}{shown(value)} doesn't fit into 64 bits")
        return int(value)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if depth >= MAX_DEPTH:
        raise InvalidType(f"{_at(where)}nested more than {MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        return Object.trusted(freeze_items(value, where, depth))
    if isinstance(value, (list, tuple)):
        return Array.trusted(
            [_freeze(item, f"{where}[{index}]", depth + 1) for index, item in enumerate(value)]
        )
    raise InvalidType(f"{_at(where)}{cls.__name__} {shown(value)} can't be a property")


def _at(where: str) -> str:
    return f"{where}: " if where else ""


def shown(value: object, most: int = 40) -> str:
    """Return a short repr, for error messages."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return f"{len(value)} bytes"
    try:
        text = repr(value)
    except ValueError:  # an int of thousands of digits
        return "a huge integer"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def merge(old: Value, new: Value) -> Value:
    """Return `new` laid over `old`: objects are merged key by key, anything else is replaced."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return new
    merged = dict(old)
    for key, value in new.items():
        merged[key] = merge(merged[key], value) if key in merged else value
    return Object.trusted(merged)


# JSON -----------------------------------------------------------------------------------------------


def to_jsonable(value: Value, where: str = "") -> Any:
    """Return what `json.dumps` may be given for `value`; buffers become None.

    Raises `PropertyTypeError` at an index that nobody has set, `PropertyRangeError` for a float that
    JSON can't express.
    """
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        if not isfinite(value):
            raise PropertyRangeError(f"{_at(where)}JSON has no {value}")
        return value
    if isinstance(value, bytes):
        return None
    if isinstance(value, dict):
        prefix = f"{where}." if where else ""
        return {key: to_jsonable(item, f"{prefix}{key}") for key, item in value.items()}
    if isinstance(value, list):
        return [to_jsonable(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise PropertyTypeError(f"{_at(where)}nothing has been set at this index")


def to_json(value: Value) -> str:
    """Return the JSON text of `value`. Raises as `to_jsonable` does."""
    return json.dumps(to_jsonable(value), ensure_ascii=False)


def from_json(text: str | bytes | bytearray) -> Value:
    """Return the value that a JSON text stands for.

    Raises `InvalidJson`, saying where in the text; `PropertyRangeError` for an integer of more than
    64 bits.
    """
    try:
        return freeze(json.loads(text, parse_constant=_no_constant))
    except json.JSONDecodeError as error:
        raise InvalidJson(f"line {error.lineno}, column {error.colno}: {error.msg}") from None
    except (PropertyRangeError, InvalidJson):
        raise
    except InvalidType as error:
        raise InvalidJson(str(error)) from None
    except (ValueError, TypeError) as error:
        raise InvalidJson(f"not JSON: {error}") from None
    except RecursionError:
        raise InvalidJson(f"nested more than {MAX_DEPTH} deep") from None


def _no_constant(name: str) -> NoReturn:
    raise InvalidJson(f"JSON has no {name}")
