"""Values: widths, ranges, freezing, read-only containers, merging and JSON."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections import OrderedDict
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any

import msgpack
import pytest

from ten_trio.errors import InvalidJson, InvalidType, PropertyRangeError, PropertyTypeError
from ten_trio.messages import (
    INVALID,
    Array,
    Float32,
    Int8,
    Int16,
    Int32,
    Object,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    ValueType,
)
from ten_trio.messages.values import freeze, from_json, merge, to_json, to_jsonable, type_of

SIZED = {
    Int8: (-(2**7), 2**7 - 1),
    Int16: (-(2**15), 2**15 - 1),
    Int32: (-(2**31), 2**31 - 1),
    UInt8: (0, 2**8 - 1),
    UInt16: (0, 2**16 - 1),
    UInt32: (0, 2**32 - 1),
    UInt64: (0, 2**64 - 1),
}


class Color(StrEnum):
    RED = "red"


class Level(IntEnum):
    LOW = 3


@pytest.mark.parametrize("kind", SIZED)
def test_ranges(kind: Any) -> None:
    low, high = SIZED[kind]
    for number in (low, 0, high):
        assert kind(number) == number
        assert type(kind(number)) is kind
        assert freeze(kind(number)) == number
        assert type(freeze(kind(number))) is kind
        assert pickle.loads(pickle.dumps(kind(number))) == number
    for number in (low - 1, high + 1):
        with pytest.raises(PropertyRangeError, match=kind.__name__.lower()):
            kind(number)
    for other in ("1", 1.0, None, True, b"1"):
        with pytest.raises(InvalidType):
            kind(other)
    assert type(kind(1) + 1) is int


def test_float32() -> None:
    assert Float32(0.5) == 0.5
    assert Float32(0.1) != 0.1
    assert Float32(Float32(0.1)) == Float32(0.1)
    assert Float32(3) == 3.0
    assert math.isnan(Float32(math.nan))
    assert Float32(-math.inf) == -math.inf
    for number in (1e39, -1e39, 10**400):
        with pytest.raises(PropertyRangeError):
            Float32(number)
    for other in ("1", None, True):
        with pytest.raises(InvalidType):
            Float32(other)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, ValueType.NULL),
        (True, ValueType.BOOL),
        (Int8(1), ValueType.INT8),
        (Int16(1), ValueType.INT16),
        (Int32(1), ValueType.INT32),
        (1, ValueType.INT64),
        (-(2**63), ValueType.INT64),
        (2**63 - 1, ValueType.INT64),
        (2**63, ValueType.UINT64),
        (2**64 - 1, ValueType.UINT64),
        (UInt8(1), ValueType.UINT8),
        (UInt16(1), ValueType.UINT16),
        (UInt32(1), ValueType.UINT32),
        (UInt64(1), ValueType.UINT64),
        (Float32(1), ValueType.FLOAT32),
        (1.0, ValueType.FLOAT64),
        ("", ValueType.STRING),
        (b"", ValueType.BUF),
        (bytearray(), ValueType.BUF),
        ([], ValueType.ARRAY),
        ((), ValueType.ARRAY),
        ({}, ValueType.OBJECT),
        (INVALID, ValueType.INVALID),
        (Color.RED, ValueType.STRING),
        (Level.LOW, ValueType.INT64),
    ],
)
def test_types(value: object, kind: ValueType) -> None:
    assert type_of(value) is kind
    assert type_of(freeze(value)) is kind


def test_numbers_of_the_types() -> None:
    names = "invalid null bool int8 int16 int32 int64 uint8 uint16 uint32 uint64"
    names += " float32 float64 string buf array object ptr"
    assert {kind.name.lower(): kind.value for kind in ValueType} == {
        name: number for number, name in enumerate(names.split())
    }


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 10**5000], ids=["high", "low", "huge"])
def test_integers_beyond_64_bits(value: int) -> None:
    with pytest.raises(PropertyRangeError, match=r"a\[1\]: "):
        freeze({"a": [0, value]})


@pytest.mark.parametrize("value", [object(), {1, 2}, 1j, range(3), iter([])])
def test_what_is_no_value(value: object) -> None:
    with pytest.raises(InvalidType, match=r"^a\.b\[1\]: "):
        freeze({"b": [None, value]}, "a")
    with pytest.raises(InvalidType):
        type_of(value)


def test_keys_are_strings() -> None:
    with pytest.raises(InvalidType, match="a: 1 can't be a key"):
        freeze({"a": {1: 2}})
    made = freeze({Color.RED: 1})
    assert made == {"red": 1}
    assert isinstance(made, Object)
    assert [type(key) for key in made] == [str]


def test_subclasses_become_plain() -> None:
    for value, plain in ((Color.RED, str), (Level.LOW, int)):
        assert type(freeze(value)) is plain


def test_containers_are_copied() -> None:
    inner = [1, (2, 3)]
    outer = OrderedDict(a=inner, b=MappingProxyType({"c": b"x"}))
    made = freeze(outer)
    assert made == {"a": [1, [2, 3]], "b": {"c": b"x"}}
    inner.append(4)
    assert made == {"a": [1, [2, 3]], "b": {"c": b"x"}}
    assert freeze(made) is made
    assert isinstance(made, Object)
    assert type(made["a"]) is Array
    assert type(made["a"][1]) is Array
    assert type(made["b"]) is Object


def test_buffers() -> None:
    content = bytes(range(10))
    assert freeze(content) is content
    for changing in (bytearray(content), memoryview(bytearray(content))):
        made = freeze(changing)
        assert type(made) is bytes
        changing[0] = 99
        assert made == content


def test_depth_is_bounded() -> None:
    value: Any = 1
    for _ in range(64):
        value = [value]
    assert freeze(value) == value
    with pytest.raises(InvalidType, match="nested more than 64 deep"):
        freeze([value])
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InvalidType):
        freeze(loop)


@pytest.mark.parametrize(
    "change",
    [
        lambda o: o.__setitem__("a", 1),
        lambda o: o.__delitem__("a"),
        lambda o: o.clear(),
        lambda o: o.pop("a"),
        lambda o: o.popitem(),
        lambda o: o.setdefault("b", 1),
        lambda o: o.update(b=1),
        lambda o: o.__ior__({"b": 1}),
    ],
)
def test_objects_are_read_only(change: Any) -> None:
    made = Object({"a": 1})
    with pytest.raises(TypeError, match="set_property"):
        change(made)
    assert made == {"a": 1}


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.__setitem__(0, 1),
        lambda a: a.__delitem__(0),
        lambda a: a.append(1),
        lambda a: a.extend([1]),
        lambda a: a.insert(0, 1),
        lambda a: a.remove(1),
        lambda a: a.pop(),
        lambda a: a.clear(),
        lambda a: a.reverse(),
        lambda a: a.sort(),
        lambda a: a.__iadd__([1]),
        lambda a: a.__imul__(2),
    ],
)
def test_arrays_are_read_only(change: Any) -> None:
    made = Array([1, 2])
    with pytest.raises(TypeError, match="set_property"):
        change(made)
    assert made == [1, 2]


def test_containers_are_otherwise_ordinary() -> None:
    made = freeze({"a": [1, {"b": 2.5}]})
    plain = {"a": [1, {"b": 2.5}]}
    assert isinstance(made, Object)
    assert made == plain
    assert json.loads(json.dumps(made)) == plain
    assert msgpack.unpackb(msgpack.packb(made)) == plain
    assert copy.copy(made) is made
    assert copy.deepcopy(made) is made
    assert type(made.copy()) is dict
    assert type(made["a"].copy()) is list
    again = pickle.loads(pickle.dumps(made))
    assert again == made
    assert type(again) is Object
    assert type(again["a"]) is Array
    assert type(made | {"b": 1}) is dict
    assert type(made["a"] + [1]) is list


def test_constructors_freeze() -> None:
    inner = [1]
    made = Object({"a": inner})
    also = Array([inner])
    inner.append(2)
    assert made == {"a": [1]}
    assert also == [[1]]
    with pytest.raises(InvalidType):
        Object({"a": object()})
    with pytest.raises(InvalidType, match=r"\[0\]"):
        Array([object()])


def test_invalid() -> None:
    assert not INVALID
    assert repr(INVALID) == "INVALID"
    assert pickle.loads(pickle.dumps(INVALID)) is INVALID
    assert copy.deepcopy(INVALID) is INVALID


@pytest.mark.parametrize(
    ("old", "new", "merged"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({"a": {"x": 1}}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        (1, {"a": 1}, {"a": 1}),
        ({"a": 1}, None, None),
    ],
)
def test_merge(old: Any, new: Any, merged: Any) -> None:
    old, new = freeze(old), freeze(new)
    before = to_json(old), to_json(new)
    assert merge(old, new) == merged
    assert (to_json(old), to_json(new)) == before


def test_json() -> None:
    text = '{"a": [1, 2.5, null, true, "x"], "big": 18446744073709551615}'
    made = from_json(text)
    assert made == json.loads(text)
    assert isinstance(made, Object)
    assert type_of(made["a"][0]) is ValueType.INT64
    assert type_of(made["a"][1]) is ValueType.FLOAT64
    assert type_of(made["big"]) is ValueType.UINT64
    assert to_json(made) == text
    assert to_json("é") == '"é"'
    assert to_jsonable(freeze({"b": b"x"})) == {"b": None}
    assert type(to_jsonable(made)) is dict


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{"a": }', "line 1, column 7"),
        ('{\n"a" 1}', "line 2, column 5"),
        ("", "line 1, column 1"),
        ("NaN", "NaN"),
        ("[-Infinity]", "-Infinity"),
        ("[" * 65 + "]" * 65, "nested"),
        ("[" * 100_000 + "]" * 100_000, "nested"),
        ("1" * 10_000, "not JSON"),
        (b"\xff\xff", "not JSON"),
    ],
)
def test_bad_json(text: str | bytes, where: str) -> None:
    with pytest.raises(InvalidJson, match=where):
        from_json(text)


def test_what_json_cannot_say() -> None:
    with pytest.raises(PropertyRangeError):
        from_json("[18446744073709551616]")
    with pytest.raises(PropertyTypeError, match=r"a\[0\]"):
        to_jsonable(freeze({"a": [INVALID]}))
    with pytest.raises(PropertyRangeError, match="a: JSON has no nan"):
        to_jsonable(freeze({"a": math.nan}))
