"""Compiled schemas: fit a value to its declared type, and say exactly where it does not fit.

A schema is built once per addon from the `type` descriptions of a manifest and then only read.
Fitting has two steps. `adjust` converts numbers of another width to the declared one; `validate`
compares the types exactly and looks for required properties. `ObjectSchema.check` does both in one
pass and is what messages meet on their way in and out: if nothing had to be converted, it returns
the very mapping it was given.

Only what is present is checked and undeclared properties are allowed. A conversion never loses
information: an integer becomes a float only if that float is the same number. The one exception is
float64 to float32, which rounds (JSON has no float32) and fails only out of range.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import attrs

from ten_trio.errors import PropertyRangeError, SchemaError
from ten_trio.messages import values
from ten_trio.messages.values import Value, ValueType, type_of

SHOWN_TEXT = 40
"""How many characters of an offending string an error message shows."""

# Inside Scalar, `type` is the declared type.
_Class: TypeAlias = type[object]

# SizedInt itself stands for int64: it has that range, but its values are plain integers.
_INTEGERS: Mapping[ValueType, type[values.SizedInt]] = {
    each.kind: each
    for each in (
        values.SizedInt,
        values.Int8,
        values.Int16,
        values.Int32,
        values.UInt8,
        values.UInt16,
        values.UInt32,
        values.UInt64,
    )
}

_FLOATS: Mapping[ValueType, type[float]] = {
    ValueType.FLOAT32: values.Float32,
    ValueType.FLOAT64: float,
}

# The class whose every instance is of that type. None for int64: a large plain int is a uint64.
_CLASSES: Mapping[ValueType, _Class] = {
    **{kind: each for kind, each in _INTEGERS.items() if each is not values.SizedInt},
    **_FLOATS,
    ValueType.BOOL: bool,
    ValueType.STRING: str,
    ValueType.BUF: bytes,
}

TYPE_NAMES: Mapping[str, ValueType] = MappingProxyType(
    {
        kind.name.lower(): kind
        for kind in ValueType
        if kind not in (ValueType.INVALID, ValueType.NULL)
    }
)
"""The type names a manifest may use, e.g. `"int32"`."""


class _MismatchError(Exception):
    """A value that does not fit; its path grows from the inside out while this travels up."""

    def __init__(self, text: str, path: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.path = path

    def as_schema_error(self) -> SchemaError:
        text = f"{self.path}: {self.text}" if self.path else self.text
        return SchemaError(text, path=self.path)


class Schema(ABC):
    """What every compiled schema can do with a value."""

    __slots__ = ()

    @property
    @abstractmethod
    def type(self) -> ValueType:
        """The declared type."""

    def adjust(self, value: Value, /) -> Value:
        """Return `value` converted to the declared type, or `value` itself if nothing changed.

        Required properties don't matter here.

        Raises:
            SchemaError: it can't be converted without loss; the text begins with the path.
        """
        try:
            return self._fit(value, False)
        except _MismatchError as mismatch:
            raise mismatch.as_schema_error() from None

    def validate(self, value: Value, /) -> None:
        """Check that `value` is exactly of the declared type and has all required properties.

        Raises:
            SchemaError: it is not; the text begins with the path, for example
                `.a[0]: expected int32, found string "x"`.
        """
        try:
            self._compare(value)
        except _MismatchError as mismatch:
            raise mismatch.as_schema_error() from None

    @abstractmethod
    def _fit(self, value: Value, full: bool, /) -> Value:
        """Adjust, and with `full` look for required properties too; raises _MismatchError."""

    @abstractmethod
    def _compare(self, value: Value, /) -> None:
        """Compare the types exactly; raises _MismatchError."""


def _found(value: object) -> str:
    """Describe an offending value: its type, and as much of it as helps."""
    kind = type_of(value)
    name = kind.name.lower()
    if isinstance(value, str):
        shown = value if len(value) <= SHOWN_TEXT else value[:SHOWN_TEXT] + "…"
        return f'{name} "{shown}"'
    if isinstance(value, bool):
        return f"{name} {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f"{name} {value}"
    if isinstance(value, bytes):
        return f"{name} of {len(value)} B"
    return name


def _mismatch(expected: ValueType, value: object, why: str = "") -> _MismatchError:
    reason = f" ({why})" if why else ""
    return _MismatchError(f"expected {expected.name.lower()}, found {_found(value)}{reason}")


@attrs.frozen
class Scalar(Schema):
    """The schema of a value without parts: number, bool, string, buf or ptr."""

    type: ValueType
    _same: _Class | None = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_same", _CLASSES.get(self.type))

    def _fit(self, value: Value, full: bool, /) -> Value:
        if type(value) is self._same or type_of(value) is self.type:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            if self.type in _INTEGERS:
                return self._fit_integer(value)
            if self.type in _FLOATS:
                return self._fit_float(value)
        elif isinstance(value, float) and self.type in _FLOATS:
            return self._fit_float(value)
        raise _mismatch(self.type, value)

    def _fit_integer(self, value: int) -> int:
        target = _INTEGERS[self.type]
        if not target.low <= value <= target.high:
            raise _mismatch(self.type, value, f"out of range {target.low}..{target.high}")
        return int(value) if target is values.SizedInt else target(value)

    def _fit_float(self, value: int | float) -> float:
        try:
            number = _FLOATS[self.type](value)
        except PropertyRangeError:
            raise _mismatch(self.type, value, "out of range") from None
        # Comparing an int with a float is exact in Python.
        if isinstance(value, int) and number != value:
            raise _mismatch(self.type, value, "not exactly representable")
        return number

    def _compare(self, value: Value, /) -> None:
        if type_of(value) is not self.type:
            raise _mismatch(self.type, value)


@attrs.frozen
class ArraySchema(Schema):
    """The schema of an array: every item is of the same type."""

    item: Schema

    @property
    def type(self) -> ValueType:
        """Always `ValueType.ARRAY`."""
        return ValueType.ARRAY

    def _fit(self, value: Value, full: bool, /) -> Value:
        if not isinstance(value, list):
            raise _mismatch(self.type, value)
        changed: list[Value] | None = None
        fit = self.item._fit
        index = 0
        try:
            for index, old in enumerate(value):
                new = fit(old, full)
                if new is not old:
                    if changed is None:
                        changed = list(value)
                    changed[index] = new
        except _MismatchError as mismatch:
            mismatch.path = f"[{index}]{mismatch.path}"
            raise
        return value if changed is None else values.freeze(changed)

    def _compare(self, value: Value, /) -> None:
        if not isinstance(value, list):
            raise _mismatch(self.type, value)
        for index, item in enumerate(value):
            try:
                self.item._compare(item)
            except _MismatchError as mismatch:
                mismatch.path = f"[{index}]{mismatch.path}"
                raise


def _immutable(members: Mapping[str, Schema]) -> Mapping[str, Schema]:
    return MappingProxyType(dict(members))


def _frozen_names(names: Iterable[str]) -> frozenset[str]:
    return frozenset(names)


@attrs.frozen
class ObjectSchema(Schema):
    """The schema of an object, of a message's properties, or of an addon's own properties."""

    properties: Mapping[str, Schema] = attrs.field(converter=_immutable)
    required: frozenset[str] = attrs.field(default=frozenset(), converter=_frozen_names)
    _pairs: tuple[tuple[str, Schema], ...] = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_pairs", tuple(self.properties.items()))

    @property
    def type(self) -> ValueType:
        """Always `ValueType.OBJECT`."""
        return ValueType.OBJECT

    @property
    def is_empty(self) -> bool:
        """Whether every object fits."""
        return not self.properties and not self.required

    def check(self, properties: Mapping[str, Value], /) -> Mapping[str, Value]:
        """Adjust and validate the properties of a message.

        Returns `properties` itself if nothing had to be converted, else a new plain dict that
        shares what has not changed.

        Raises:
            SchemaError: something does not fit; the text begins with the path.
        """
        try:
            changed = self._changes(properties, True)
        except _MismatchError as mismatch:
            raise mismatch.as_schema_error() from None
        return properties if changed is None else changed

    def _fit(self, value: Value, full: bool, /) -> Value:
        if not isinstance(value, dict):
            raise _mismatch(self.type, value)
        changed = self._changes(value, full)
        return value if changed is None else values.freeze(changed)

    def _changes(self, value: Mapping[str, Value], full: bool) -> dict[str, Value] | None:
        changed: dict[str, Value] | None = None
        name = ""
        try:
            for name, schema in self._pairs:
                if name in value:
                    old = value[name]
                    new = schema._fit(old, full)
                    if new is not old:
                        if changed is None:
                            changed = dict(value)
                        changed[name] = new
        except _MismatchError as mismatch:
            mismatch.path = f".{name}{mismatch.path}"
            raise
        if full:
            self._look_for_required(value)
        return changed

    def _compare(self, value: Value, /) -> None:
        if not isinstance(value, dict):
            raise _mismatch(self.type, value)
        for name, schema in self._pairs:
            if name in value:
                try:
                    schema._compare(value[name])
                except _MismatchError as mismatch:
                    mismatch.path = f".{name}{mismatch.path}"
                    raise
        self._look_for_required(value)

    def _look_for_required(self, value: Mapping[str, Value]) -> None:
        if not self.required <= value.keys():
            name = min(self.required - value.keys())
            raise _MismatchError("required, but absent", f".{name}")
