"""Properties: the values that a message carries, read and written by path, by type and by `[]`.

The dict inside may be shared between any number of owners; whoever writes while `_shared` is set
takes a copy of the top level first. Everything below the top level can't change anyway.
"""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from typing import Any, ClassVar, Final

from ..errors import (
    ErrorCode,
    InvalidArgument,
    InvalidPath,
    InvalidType,
    PropertyNotFound,
    PropertyRangeError,
    PropertyTypeError,
)
from .fields import Field
from .paths import MISSING, delete_at, find_at, parse, put
from .values import (
    ATOMS,
    INT64_MAX,
    INT64_MIN,
    Float32,
    Int8,
    Int16,
    Int32,
    Object,
    SizedInt,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Value,
    as_float,
    freeze,
    freeze_items,
    from_json,
    shown,
    to_json,
    type_of,
)

NO_PROPERTIES: Final[dict[str, Any]] = {}
"""Shared by everything that has no properties; never written to."""

FIELDS: Final = "ten"
"""The name that no property may have: paths below it mean the fields of a message."""


def property_dict(items: Mapping[str, Any], own: bool = False) -> dict[str, Any]:
    """Return frozen properties; `own` says that this may be `items` itself.

    Raises `InvalidType`, `PropertyRangeError`, `InvalidArgument`.
    """
    if items.__class__ is dict:
        # Nearly always: names that are no paths, and values that are what they are.
        for key, item in items.items():
            cls = item.__class__
            if cls not in ATOMS and not (cls is int and INT64_MIN <= item <= INT64_MAX):
                break
            if key.__class__ is not str or not key.isidentifier() or key == FIELDS:
                break
        else:
            return items if own else dict(items)
    elif not isinstance(items, Mapping):
        raise InvalidArgument(f"properties are a mapping, not {shown(items)}")
    made = freeze_items(items)
    for key in made:
        if not key or (key[:3] == FIELDS and key[3:4] in ("", ".", "[")):
            raise InvalidArgument(f"{key!r} can't be the name of a property")
    return made


class Properties:
    """A mapping of property names to values, with the getters and setters of the original.

    A path is `name`, `name.name` or `name[index]`, combined at will; a name of the top level that
    contains these characters itself is found before the path that it looks like. The empty path
    means everything. Paths `ten.<name>` mean the fields of a message instead.

    Getters raise `PropertyNotFound`, `PropertyTypeError`, `PropertyRangeError` and, for garbage,
    `InvalidPath`. A default is returned if there is nothing, but not in place of another type.
    Setters raise `InvalidType`, `PropertyRangeError`, `InvalidArgument` and `InvalidPath`.

    All other getters and setters go through `get_property` and `set_property`, which a subclass may
    therefore override alone.
    """

    __slots__ = ("_props", "_shared")

    _fields: ClassVar[Mapping[str, Field]] = {}

    _props: dict[str, Any]
    _shared: bool

    def __init__(self, properties: Mapping[str, Any] | None = None, /) -> None:
        if properties:
            self._props = property_dict(properties)
            self._shared = False
        else:
            self._props = NO_PROPERTIES
            self._shared = True

    # Anything at a path -----------------------------------------------------------------------

    def get_property(self, path: str = "", default: Any = MISSING) -> Any:
        """Return the value at `path`; containers come as read-only `Object` and `Array`."""
        found = self._props.get(path, MISSING)
        if found is not MISSING:
            return found
        found = self._find(path)
        if found is not MISSING:
            return found
        if default is MISSING:
            raise PropertyNotFound(f"{self._owner()}: no property {path!r}")
        return default

    def set_property(self, path: str, value: Any) -> None:
        """Set what is at `path` to a copy of `value` (bytes are kept by reference).

        Containers missing on the way are made, what is of another kind there is replaced, and arrays
        are filled up to the index. The empty path replaces everything.
        """
        cls = value.__class__
        if cls not in ATOMS and not (cls is int and INT64_MIN <= value <= INT64_MAX):
            value = freeze(value, path)
        if path.__class__ is str and path.isidentifier() and path != FIELDS:
            # By far the most frequent case: a plain name.
            if self._shared:
                self._props = dict(self._props)
                self._shared = False
            self._props[path] = value
        else:
            self._set_at(path, value)

    def is_property_exist(self, path: str) -> bool:
        """Whether there is something at `path`. Raises `InvalidArgument` for the empty path."""
        if path == "":
            raise InvalidArgument(f"{self._owner()}: the empty path is no property")
        return self._find(path) is not MISSING

    def del_property(self, path: str) -> None:
        """Remove what is at `path`. Raises `PropertyNotFound`, or `InvalidPath` for a field."""
        if path in self._props:
            props = dict(self._props)
            del props[path]
        elif _is_field(path):
            raise InvalidPath(f"{self._owner()}: the field {path!r} can't be removed")
        else:
            try:
                props = delete_at(self._props, path)
            except PropertyNotFound:
                raise PropertyNotFound(f"{self._owner()}: no property {path!r}") from None
        self._props = props
        self._shared = False

    def get_property_to_json(self, path: str = "") -> str:
        """Return the JSON text of what is at `path`; buffers become null.

        Raises also `PropertyTypeError` at an index that nobody has set.
        """
        return to_json(self.get_property(path))

    def set_property_from_json(self, path: str, text: str | bytes) -> None:
        """Set what is at `path` to what a JSON text says. Raises also `InvalidJson`."""
        self.set_property(path, from_json(text))

    # One getter per type ----------------------------------------------------------------------

    def get_property_int8(self, path: str, default: int = MISSING) -> int:
        """Return an integer from -128 to 127."""
        return self._get_int(path, Int8, default)

    def get_property_int16(self, path: str, default: int = MISSING) -> int:
        """Return an integer from -2**15 to 2**15 - 1."""
        return self._get_int(path, Int16, default)

    def get_property_int32(self, path: str, default: int = MISSING) -> int:
        """Return an integer from -2**31 to 2**31 - 1."""
        return self._get_int(path, Int32, default)

    def get_property_int64(self, path: str, default: int = MISSING) -> int:
        """Return an integer from -2**63 to 2**63 - 1."""
        return self._get_int(path, SizedInt, default)

    def get_property_uint8(self, path: str, default: int = MISSING) -> int:
        """Return an integer from 0 to 255."""
        return self._get_int(path, UInt8, default)

    def get_property_uint16(self, path: str, default: int = MISSING) -> int:
        """Return an integer from 0 to 2**16 - 1."""
        return self._get_int(path, UInt16, default)

    def get_property_uint32(self, path: str, default: int = MISSING) -> int:
        """Return an integer from 0 to 2**32 - 1."""
        return self._get_int(path, UInt32, default)

    def get_property_uint64(self, path: str, default: int = MISSING) -> int:
        """Return an integer from 0 to 2**64 - 1."""
        return self._get_int(path, UInt64, default)

    def get_property_float32(self, path: str, default: float = MISSING) -> float:
        """Return a float, rounded to 32 bits; an integer isn't one."""
        value = self._get_float(path, "float32", default)
        if value is default:
            return value
        try:
            return float(Float32(value))
        except PropertyRangeError as error:
            raise PropertyRangeError(f"{self._owner()}: property {path!r}: {error}") from None

    def get_property_float64(self, path: str, default: float = MISSING) -> float:
        """Return a float; an integer isn't one."""
        return self._get_float(path, "float64", default)

    def get_property_bool(self, path: str, default: bool = MISSING) -> bool:
        """Return a bool."""
        value = self.get_property(path, default)
        if value is True or value is False or value is default:
            return value
        raise self._wrong_type(path, value, "bool")

    def get_property_string(self, path: str, default: str = MISSING) -> str:
        """Return a string. The `PropertyTypeError` has the code INVALID_ARGUMENT."""
        value = self.get_property(path, default)
        if value.__class__ is str or value is default:
            return value
        raise self._wrong_type(path, value, "string", ErrorCode.INVALID_ARGUMENT)

    def get_property_buf(self, path: str, default: bytes = MISSING) -> bytes:
        """Return bytes."""
        value = self.get_property(path, default)
        if value.__class__ is bytes or value is default:
            return value
        raise self._wrong_type(path, value, "buf")

    get_property_int = get_property_int64
    get_property_float = get_property_float64

    # One setter per type ----------------------------------------------------------------------

    def set_property_int8(self, path: str, value: int) -> None:
        """Set an integer of 8 bits."""
        self.set_property(path, Int8(value))

    def set_property_int16(self, path: str, value: int) -> None:
        """Set an integer of 16 bits."""
        self.set_property(path, Int16(value))

    def set_property_int32(self, path: str, value: int) -> None:
        """Set an integer of 32 bits."""
        self.set_property(path, Int32(value))

    def set_property_int64(self, path: str, value: int) -> None:
        """Set an integer of 64 bits."""
        self.set_property(path, SizedInt.checked(value))

    def set_property_uint8(self, path: str, value: int) -> None:
        """Set an unsigned integer of 8 bits."""
        self.set_property(path, UInt8(value))

    def set_property_uint16(self, path: str, value: int) -> None:
        """Set an unsigned integer of 16 bits."""
        self.set_property(path, UInt16(value))

    def set_property_uint32(self, path: str, value: int) -> None:
        """Set an unsigned integer of 32 bits."""
        self.set_property(path, UInt32(value))

    def set_property_uint64(self, path: str, value: int) -> None:
        """Set an unsigned integer of 64 bits."""
        self.set_property(path, UInt64(value))

    def set_property_float32(self, path: str, value: float) -> None:
        """Set a float of 32 bits; `value` is rounded."""
        self.set_property(path, Float32(value))

    def set_property_float64(self, path: str, value: float) -> None:
        """Set a float of 64 bits."""
        self.set_property(path, as_float(value))

    def set_property_bool(self, path: str, value: bool) -> None:
        """Set a bool."""
        self.set_property(path, _checked(value, bool))

    def set_property_string(self, path: str, value: str) -> None:
        """Set a string."""
        self.set_property(path, _checked(value, str))

    def set_property_buf(self, path: str, value: bytes | bytearray | memoryview) -> None:
        """Set a buffer, which must not be empty."""
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise InvalidType(f"{shown(value)} isn't bytes, bytearray or memoryview")
        if not len(value):
            raise InvalidArgument(f"{self._owner()}: the buffer for {path!r} is empty")
        self.set_property(path, value)

    set_property_int = set_property_int64
    set_property_float = set_property_float64

    # As a mapping -----------------------------------------------------------------------------

    @property
    def properties(self) -> Object:
        """All properties as they are now, read-only."""
        return Object.trusted(self._props)

    def __getitem__(self, path: str) -> Any:
        return self.get_property(path)

    def __setitem__(self, path: str, value: Any) -> None:
        self.set_property(path, value)

    def __delitem__(self, path: str) -> None:
        self.del_property(path)

    def __contains__(self, path: object) -> bool:
        return path in self._props or (
            isinstance(path, str) and path != "" and self._find(path) is not MISSING
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._props)

    def __len__(self) -> int:
        return len(self._props)

    def __bool__(self) -> bool:
        # Else one without properties would be false, and `result or default` a trap.
        return True

    def keys(self) -> KeysView[str]:
        """Return the names of the properties as they are now."""
        return self.properties.keys()

    def items(self) -> ItemsView[str, Any]:
        """Return the names and values of the properties as they are now."""
        return self.properties.items()

    def values(self) -> ValuesView[Any]:
        """Return the values of the properties as they are now."""
        return self.properties.values()

    def get(self, path: str, default: Any = None) -> Any:
        """Return the value at `path`, or `default` if there is none."""
        return self.get_property(path, default)

    def update(
        self, items: Mapping[str, Any] | Iterable[tuple[str, Any]] = (), /, **more: Any
    ) -> None:
        """Set several properties, one after another; the keys are paths."""
        for path, value in {**dict(items), **more}.items():
            self.set_property(path, value)

    # Inside -----------------------------------------------------------------------------------

    def _owner(self) -> str:
        """Whose properties these are, for error messages."""
        return "properties"

    def _find(self, path: str) -> Any:
        """Return the value at `path`, or `MISSING`. Raises `InvalidPath`."""
        if path == "":
            return self.properties
        if path in self._props:  # get_property has looked, others haven't
            return self._props[path]
        if _is_field(path):
            field = self._fields.get(path[4:])
            if field is None or not field.has_path:
                return MISSING
            return field.show(getattr(self, field.attribute))
        return find_at(self._props, parse(path))

    def _set_at(self, path: str, value: Value) -> None:
        if path == "":
            if not isinstance(value, Object):
                raise InvalidArgument(f"{self._owner()}: all properties together are an object")
            self._props = property_dict(value)
            self._shared = False
        elif _is_field(path):
            self._set_field(path, value)
        else:
            parts = (path,) if path in self._props else parse(path)
            name = parts[0]
            if name == FIELDS or not isinstance(name, str):
                raise InvalidArgument(f"{self._owner()}: {path!r} can't be a property")
            new = put(self._props.get(name), parts, value, 1)
            if self._shared:
                self._props = dict(self._props)
                self._shared = False
            self._props[name] = new

    def _set_field(self, path: str, value: Value) -> None:
        field = self._fields.get(path[4:])
        if field is None or not field.has_path or not field.settable:
            raise InvalidPath(f"{self._owner()}: there is no field {path!r} to set")
        setattr(self, field.attribute, field.check(value))

    def _get_int(self, path: str, kind: type[SizedInt], default: Any) -> int:
        value = self.get_property(path, default)
        if value is default:
            return value  # type: ignore[no-any-return]
        if not isinstance(value, int) or value is True or value is False:
            raise self._wrong_type(path, value, kind.kind.name.lower())
        if kind.low <= value <= kind.high:
            return int(value)
        raise PropertyRangeError(
            f"{self._owner()}: property {path!r} is {value}, which is out of range for "
            f"{kind.kind.name.lower()}"
        )

    def _get_float(self, path: str, kind: str, default: Any) -> float:
        value = self.get_property(path, default)
        if value is default:
            return value  # type: ignore[no-any-return]
        if isinstance(value, float):
            return float(value)
        raise self._wrong_type(path, value, kind)

    def _wrong_type(
        self, path: str, value: Value, wanted: str, code: ErrorCode | None = None
    ) -> PropertyTypeError:
        return PropertyTypeError(
            f"{self._owner()}: property {path!r} is {type_of(value).name.lower()} "
            f"{shown(value)}, not {wanted}",
            code=code,
        )


def _is_field(path: object) -> bool:
    return path.__class__ is str and path[:4] == "ten."


def _checked(value: Any, kind: type) -> Any:
    if isinstance(value, kind):
        return value
    raise InvalidType(f"{shown(value)} is no {kind.__name__}")
