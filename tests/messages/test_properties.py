"""Properties of messages: typed getters and setters, paths, JSON, and the mapping on top."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from ten_trio.errors import (
    ErrorCode,
    InvalidArgument,
    InvalidJson,
    InvalidPath,
    InvalidType,
    PropertyNotFound,
    PropertyRangeError,
    PropertyTypeError,
)
from ten_trio.messages import (
    INVALID,
    Array,
    Cmd,
    Data,
    Float32,
    Int8,
    Int16,
    Int32,
    Object,
    Properties,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    ValueType,
)
from ten_trio.messages.values import type_of

RANGES = {
    "int8": (-(2**7), 2**7 - 1),
    "int16": (-(2**15), 2**15 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "int": (-(2**63), 2**63 - 1),
    "uint8": (0, 2**8 - 1),
    "uint16": (0, 2**16 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}
OTHERS = ["float32", "float64", "float", "bool", "string", "buf"]
VALUES: dict[str, Any] = {
    "null": None,
    "bool": True,
    "int8": Int8(5),
    "int16": Int16(5),
    "int32": Int32(5),
    "int64": 5,
    "uint8": UInt8(5),
    "uint16": UInt16(5),
    "uint32": UInt32(5),
    "uint64": UInt64(5),
    "float32": Float32(1.5),
    "float64": 1.5,
    "string": "5",
    "buf": b"5",
    "array": [5],
    "object": {"a": 5},
    "invalid": INVALID,
}
INTEGERS = {name for name in VALUES if "int" in name}
FLOATS = {"float32", "float64"}


def getter(msg: Properties, name: str) -> Callable[..., Any]:
    return getattr(msg, f"get_property_{name}")  # type: ignore[no-any-return]


def setter(msg: Properties, name: str) -> Callable[[str, Any], None]:
    return getattr(msg, f"set_property_{name}")  # type: ignore[no-any-return]


@pytest.fixture(params=[Properties, lambda: Data("d"), lambda: Cmd("c")])
def msg(request: pytest.FixtureRequest) -> Properties:
    return request.param()  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", [*RANGES, *OTHERS])
@pytest.mark.parametrize("stored", VALUES)
def test_every_getter_on_every_type(msg: Properties, name: str, stored: str) -> None:
    accepted = INTEGERS if name in RANGES else FLOATS if "float" in name else {name}
    msg.set_property("deep.p[0]", VALUES[stored])
    msg.set_property("p", VALUES[stored])
    assert type_of(msg.get_property("p")).name.lower() == stored
    for path in ("p", "deep.p[0]"):
        if stored in accepted:
            found = getter(msg, name)(path)
            assert found == VALUES[stored]
            assert type(found) in (int, float, bool, str, bytes)
        else:
            with pytest.raises(PropertyTypeError) as caught:
                getter(msg, name)(path)
            string = name == "string"
            assert caught.value.code == (
                ErrorCode.INVALID_ARGUMENT if string else ErrorCode.GENERIC
            )
            assert path in str(caught.value)
            assert stored in str(caught.value)
            # A default isn't for a value of another type.
            with pytest.raises(PropertyTypeError):
                getter(msg, name)(path, default=object())


@pytest.mark.parametrize("name", [*RANGES, *OTHERS])
def test_absent(msg: Properties, name: str) -> None:
    for path in ("p", "p.q", "p[3]", "ten.p"):
        with pytest.raises(PropertyNotFound) as caught:
            getter(msg, name)(path)
        assert caught.value.code == ErrorCode.VALUE_NOT_FOUND
        assert repr(path) in str(caught.value)
        assert getter(msg, name)(path, default="d") == "d"
        assert getter(msg, name)(path, None) is None
    with pytest.raises(InvalidPath):
        getter(msg, name)("a..b", default=1)


@pytest.mark.parametrize("name", RANGES)
def test_integer_ranges(msg: Properties, name: str) -> None:
    low, high = RANGES[name]
    for number in (low, high):
        setter(msg, name)("p", number)
        assert getter(msg, name)("p") == number
        msg.set_property("p", number)
        assert getter(msg, name)("p") == number
    for number in (low - 1, high + 1):
        with pytest.raises(PropertyRangeError):
            setter(msg, name)("p", number)
        assert msg["p"] == high
        if -(2**63) <= number < 2**64:
            msg.set_property("q", number)
            with pytest.raises(PropertyRangeError, match=str(number)):
                getter(msg, name)("q")
            with pytest.raises(PropertyRangeError):
                getter(msg, name)("q", default=0)


def test_lowest_of_int8_is_readable(msg: Properties) -> None:
    msg["p"] = -128
    assert msg.get_property_int8("p") == -128


@pytest.mark.parametrize("name", RANGES)
def test_integer_setters(msg: Properties, name: str) -> None:
    setter(msg, name)("a.p", 7)
    wanted = {"int": ValueType.INT64}.get(name) or ValueType[name.upper()]
    assert type_of(msg.get_property("a.p")) is wanted
    for wrong in ("7", 7.0, None, True, [7]):
        with pytest.raises(InvalidType):
            setter(msg, name)("a.p", wrong)
    assert msg["a.p"] == 7


def test_other_setters(msg: Properties) -> None:
    for name, good, bad in (
        ("float32", 0.5, "x"),
        ("float64", 0.5, True),
        ("float", 2, None),
        ("bool", False, 1),
        ("string", "", 5),
        ("buf", b"x", "x"),
    ):
        setter(msg, name)("p", good)
        assert getter(msg, name)("p") == good
        with pytest.raises(InvalidType):
            setter(msg, name)("p", bad)
        assert getter(msg, name)("p") == good
    assert type(msg["p"]) is bytes


def test_buffers(msg: Properties) -> None:
    for empty in (b"", bytearray(), memoryview(b"")):
        with pytest.raises(InvalidArgument):
            msg.set_property_buf("p", empty)
    content = b"abc"
    msg.set_property_buf("p", content)
    assert msg.get_property_buf("p") is content
    changing = bytearray(content)
    msg.set_property_buf("p", changing)
    changing[0] = 0
    assert msg.get_property_buf("p") == content


def test_floats(msg: Properties) -> None:
    msg.set_property_float32("p", 0.1)
    assert type_of(msg["p"]) is ValueType.FLOAT32
    assert msg.get_property_float32("p") == msg.get_property_float64("p") == Float32(0.1)
    msg["p"] = 0.1
    assert msg.get_property_float32("p") == Float32(0.1)
    msg["p"] = 1e300
    with pytest.raises(PropertyRangeError):
        msg.get_property_float32("p")
    with pytest.raises(PropertyRangeError):
        msg.set_property_float32("p", 1e300)
    with pytest.raises(PropertyRangeError):
        msg.set_property_float("p", 10**400)
    msg["p"] = math.nan
    assert math.isnan(msg.get_property_float("p"))


# Paths ----------------------------------------------------------------------------------------------


def test_the_empty_path(msg: Properties) -> None:
    msg["a"] = 1
    everything = msg.get_property()
    assert everything == {"a": 1}
    assert type(everything) is Object
    msg.set_property("", {"b": [1]})
    assert everything == {"a": 1}
    assert msg.get_property("") == {"b": [1]}
    for wrong in (1, [1], None):
        with pytest.raises(InvalidArgument):
            msg.set_property("", wrong)
    with pytest.raises(InvalidArgument):
        msg.is_property_exist("")
    assert "" not in msg
    msg.set_property("", {})
    assert len(msg) == 0
    msg["c"] = 1
    assert Properties().get_property("") == {}


def test_nested_containers_are_copied_and_read_only(msg: Properties) -> None:
    mine = {"b": [1, 2]}
    msg["a"] = mine
    mine["b"].append(3)
    assert msg["a"] == {"b": [1, 2]}
    assert type(msg["a"]) is Object
    assert type(msg["a.b"]) is Array
    before = msg["a"]
    with pytest.raises(TypeError, match="set_property"):
        before["b"].append(3)
    msg["a.b[0]"] = 9
    assert before == {"b": [1, 2]}
    assert msg["a"] == {"b": [9, 2]}


@pytest.mark.parametrize("path", ["a..b", "a[", "[0]", ".", "a[x]", "a[65536]"])
def test_garbage(msg: Properties, path: str) -> None:
    for use in (
        lambda: msg.get_property(path),
        lambda: msg.get_property(path, None),
        lambda: msg.set_property(path, 1),
        lambda: msg.is_property_exist(path),
        lambda: msg.del_property(path),
        lambda: msg[path],
        lambda: msg.get_property_to_json(path),
    ):
        with pytest.raises(InvalidPath) as caught:
            use()
        assert caught.value.code == ErrorCode.INVALID_ARGUMENT
    assert len(msg) == 0


def test_names_that_look_like_paths(msg: Properties) -> None:
    msg.set_property("", {"a.b": 1, "a": {"b": 2}})
    assert msg["a.b"] == 1
    msg["a.b"] = 3
    assert msg.properties == {"a.b": 3, "a": {"b": 2}}
    assert {name: msg[name] for name in msg} == msg.properties
    del msg["a.b"]
    assert msg["a.b"] == 2
    del msg["a.b"]
    assert msg.properties == {"a": {}}


@pytest.mark.parametrize("name", ["ten", "ten[0]"])
def test_the_reserved_name(msg: Properties, name: str) -> None:
    with pytest.raises(InvalidArgument):
        msg.set_property(name, 1)
    with pytest.raises(InvalidArgument):
        msg.set_property("", {name: 1})
    with pytest.raises(InvalidArgument):
        Data("x", {name: 1})
    assert not msg.is_property_exist(name)
    for fine in ("tent", "tenor.x", "a.ten"):
        msg.set_property(fine, 1)


def test_refused_names_in_constructors() -> None:
    for name in ("", "ten.name"):
        with pytest.raises(InvalidArgument):
            Data("x", {name: 1})
    with pytest.raises(InvalidArgument):
        Data("x", [("a", 1)])  # type: ignore[arg-type]
    with pytest.raises(InvalidType):
        Data("x", {5: 1})  # type: ignore[dict-item]
    with pytest.raises(InvalidType, match=r"^a: "):
        Data("x", {"a": object()})


def test_deleting(msg: Properties) -> None:
    msg.set_property("", {"a": {"b": [1, 2]}, "c": 3})
    kept = msg.properties
    msg.del_property("a.b[0]")
    assert msg["a"] == {"b": [2]}
    del msg["c"]
    assert not msg.is_property_exist("c")
    for path in ("c", "a.x", "a.b[5]"):
        with pytest.raises(PropertyNotFound, match="no property"):
            msg.del_property(path)
    with pytest.raises(InvalidPath):
        msg.del_property("")
    assert kept == {"a": {"b": [1, 2]}, "c": 3}


def test_padding(msg: Properties) -> None:
    msg.set_property("a[2]", 5)
    assert msg["a"] == [INVALID, INVALID, 5]
    assert msg["a[0]"] is INVALID
    with pytest.raises(PropertyTypeError):
        msg.get_property_int("a[0]")
    with pytest.raises(PropertyTypeError, match=r"\[0\]"):
        msg.get_property_to_json("a")


# JSON -----------------------------------------------------------------------------------------------


def test_json(msg: Properties) -> None:
    msg.set_property_from_json("", '{"s": "x", "n": 18446744073709551615, "f": 2.0, "z": null}')
    assert type_of(msg["n"]) is ValueType.UINT64
    assert type_of(msg["f"]) is ValueType.FLOAT64
    assert msg["z"] is None
    assert msg.get_property_to_json("s") == '"x"'
    assert msg.get_property_to_json("n") == "18446744073709551615"
    assert msg.get_property_to_json("f") == "2.0"
    assert msg.get_property_to_json("z") == "null"
    msg.set_property_from_json("a.b", "[1, {}]")
    assert msg.get_property_to_json("a") == '{"b": [1, {}]}'
    msg["raw"] = b"123"
    assert msg.get_property_to_json("raw") == "null"
    with pytest.raises(InvalidJson, match="line 1, column 1"):
        msg.set_property_from_json("s", "nonsense")
    with pytest.raises(InvalidArgument):
        msg.set_property_from_json("", "[1]")
    with pytest.raises(PropertyNotFound):
        msg.get_property_to_json("nothing")
    assert msg["s"] == "x"


# As a mapping ---------------------------------------------------------------------------------------


def test_mapping(msg: Properties) -> None:
    msg.update({"a": 1, "b.c": 2}, d=3)
    msg.update([("e", 4)])
    msg.update()
    assert list(msg) == ["a", "b", "d", "e"]
    assert len(msg) == 4
    assert dict(msg) == dict(msg.items()) == {"a": 1, "b": {"c": 2}, "d": 3, "e": 4}
    assert list(msg.keys()) == list(msg)
    assert list(msg.values()) == [1, {"c": 2}, 3, 4]
    assert "a" in msg
    assert "b.c" in msg
    assert "x" not in msg
    assert 5 not in msg
    assert msg.get("a") == 1
    assert msg.get("x") is None
    assert msg.get("x", 7) == 7
    with pytest.raises(KeyError):
        msg["x"]
    with pytest.raises(KeyError):
        del msg["x"]
    for name in msg.keys():  # noqa: SIM118 - a snapshot, unlike the message itself
        msg[name + "2"] = 1
    assert len(msg) == 8


def test_properties_is_a_snapshot(msg: Properties) -> None:
    msg["a"] = 1
    before = msg.properties
    msg["a"] = 2
    assert before == {"a": 1}
    with pytest.raises(TypeError):
        before["a"] = 3


def test_never_false(msg: Properties) -> None:
    assert len(msg) == 0
    assert msg


def test_defaults_are_not_shared() -> None:
    Data("a")["x"] = 1
    assert len(Data("b")) == 0
    given = {"a": 1}
    msg = Data("c", given)
    msg["a"] = 2
    assert given == {"a": 1}


def test_errors_name_the_message() -> None:
    msg = Data("text", {"a": "hi"})
    with pytest.raises(
        PropertyTypeError, match=r"^Data 'text': property 'a' is string 'hi', not int8"
    ):
        msg.get_property_int8("a")
    with pytest.raises(PropertyNotFound, match=r"^Data 'text': no property 'b'"):
        msg.get_property("b")
