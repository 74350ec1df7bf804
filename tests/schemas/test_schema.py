"""Adjusting and validating values, and the paths that errors name."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ten_trio.errors import SchemaError
from ten_trio.messages import values
from ten_trio.messages.values import ValueType, freeze, type_of
from ten_trio.schemas import ArraySchema, ObjectSchema, Scalar, Schema, compile_type

INTEGERS: dict[str, tuple[int, int]] = {
    "int8": (-128, 127),
    "int16": (-(2**15), 2**15 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint8": (0, 255),
    "uint16": (0, 2**16 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}


def schema(kind: str) -> Schema:
    return compile_type({"type": kind})


def message(**types: Any) -> ObjectSchema:
    compiled = compile_type({"type": "object", "properties": types})
    assert isinstance(compiled, ObjectSchema)
    return compiled


@pytest.mark.parametrize("kind", INTEGERS)
def test_integer_takes_the_declared_width_at_both_ends_of_its_range(kind: str) -> None:
    for value in INTEGERS[kind]:
        adjusted = schema(kind).adjust(value)
        assert adjusted == value
        assert type_of(adjusted) is ValueType[kind.upper()]


@pytest.mark.parametrize("kind", INTEGERS)
def test_integer_out_of_range_is_refused_with_the_range(kind: str) -> None:
    low, high = INTEGERS[kind]
    for value in (low - 1, high + 1):
        if -(2**63) <= value < 2**64:
            with pytest.raises(SchemaError, match=rf"out of range {low}\.\.{high}"):
                schema(kind).adjust(value)


@given(
    st.sampled_from(sorted(INTEGERS)), st.sampled_from(sorted(INTEGERS)), st.integers(-300, 2**64)
)
def test_adjusting_between_widths_keeps_the_number_or_fails(
    first: str, second: str, number: int
) -> None:
    low, high = INTEGERS[first]
    if not low <= number <= high:
        return
    value = schema(first).adjust(min(number, 2**64 - 1))
    low, high = INTEGERS[second]
    if low <= number <= high:
        adjusted = schema(second).adjust(value)
        assert adjusted == value
        schema(second).validate(adjusted)
    else:
        with pytest.raises(SchemaError):
            schema(second).adjust(value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int8", values.Int8(3)),
        ("int64", 3),
        ("uint64", 2**63),
        ("float32", values.Float32(0.5)),
        ("float64", 0.1),
        ("string", "x"),
        ("bool", True),
        ("buf", b"x"),
    ],
)
def test_a_value_of_the_right_type_comes_back_as_the_same_object(kind: str, value: Any) -> None:
    assert schema(kind).adjust(value) is value
    schema(kind).validate(value)


def test_integer_becomes_a_float_only_if_it_is_the_same_number() -> None:
    assert type_of(schema("float64").adjust(2**53)) is ValueType.FLOAT64
    assert type_of(schema("float32").adjust(2**24)) is ValueType.FLOAT32
    assert schema("float32").adjust(2**24) == 2**24
    with pytest.raises(SchemaError, match="not exactly representable"):
        schema("float64").adjust(2**53 + 1)
    with pytest.raises(SchemaError, match="not exactly representable"):
        schema("float32").adjust(2**24 + 1)


@given(st.integers(-(2**63), 2**64 - 1))
def test_integer_to_float64_agrees_with_exact_comparison(number: int) -> None:
    if int(float(number)) == number:
        assert schema("float64").adjust(number) == number
    else:
        with pytest.raises(SchemaError):
            schema("float64").adjust(number)


def test_float64_is_rounded_to_float32_and_refused_out_of_range() -> None:
    adjusted = schema("float32").adjust(0.1)
    assert type_of(adjusted) is ValueType.FLOAT32
    assert math.isclose(adjusted, 0.1, rel_tol=1e-6)
    with pytest.raises(SchemaError, match="expected float32, found float64 1e\\+300"):
        schema("float32").adjust(1e300)


def test_float32_widens_to_a_plain_float() -> None:
    widened = schema("float64").adjust(values.Float32(0.5))
    assert type_of(widened) is ValueType.FLOAT64
    assert widened == 0.5


@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        ("int32", "x", 'string "x"'),
        ("int32", 1.0, "float64 1.0"),
        ("int32", True, "bool true"),
        ("float64", True, "bool true"),
        ("float64", "1", 'string "1"'),
        ("string", 1, "int64 1"),
        ("string", b"abc", "buf of 3 B"),
        ("bool", 1, "int64 1"),
        ("buf", "x", 'string "x"'),
        ("ptr", 1, "int64 1"),
        ("string", None, "null"),
        ("string", {}, "object"),
        ("string", [], "array"),
    ],
)
def test_other_types_are_never_converted(kind: str, value: Any, found: str) -> None:
    for step in (schema(kind).adjust, schema(kind).validate):
        with pytest.raises(SchemaError) as caught:
            step(freeze(value))
        assert str(caught.value) == f"expected {kind}, found {found}"


def test_long_strings_are_cut_in_error_texts() -> None:
    with pytest.raises(SchemaError) as caught:
        schema("bool").adjust("x" * 5000)
    assert len(str(caught.value)) < 100


def test_error_names_the_path_of_the_value() -> None:
    deep = message(
        a={"type": "array", "items": {"type": "int32"}},
        b={"type": "object", "properties": {"c": {"type": "array", "items": {"type": "bool"}}}},
    )
    with pytest.raises(SchemaError) as caught:
        deep.check({"a": freeze(["x"])})
    assert str(caught.value) == '.a[0]: expected int32, found string "x"'
    assert caught.value.path == ".a[0]"
    with pytest.raises(SchemaError, match=r"^\.b\.c\[1\]: expected bool, found int64 0$"):
        deep.check({"a": freeze([1]), "b": freeze({"c": [True, 0]})})
    with pytest.raises(SchemaError, match=r"^\.b\.c\[1\]: expected bool, found int64 0$"):
        deep.validate(freeze({"b": {"c": [True, 0]}}))


def test_validate_wants_the_exact_width() -> None:
    with pytest.raises(SchemaError, match="expected int8, found int64 1"):
        schema("int8").validate(1)
    with pytest.raises(SchemaError, match=r"^\[0\]: expected int8, found int64 1"):
        compile_type({"type": "array", "items": {"type": "int8"}}).validate(freeze([1]))


def test_containers_must_be_containers() -> None:
    with pytest.raises(SchemaError, match='expected array, found string "x"'):
        compile_type({"type": "array", "items": {"type": "int8"}}).adjust("x")
    with pytest.raises(SchemaError, match="expected object, found array"):
        compile_type({"type": "object", "properties": {}}).adjust(freeze([]))


def test_check_returns_the_same_mapping_when_nothing_changes() -> None:
    properties = {"a": freeze([1, 2]), "text": "hi", "other": {"x": 1}}
    fitting = message(a={"type": "array", "items": {"type": "int64"}}, text={"type": "string"})
    assert fitting.check(properties) is properties


def test_check_converts_into_a_new_dict_and_leaves_the_old_one_alone() -> None:
    properties = {"n": 1, "a": freeze([1, 2]), "deep": freeze({"f": 2, "rest": "r"}), "same": "x"}
    fitting = message(
        n={"type": "int8"},
        a={"type": "array", "items": {"type": "uint16"}},
        deep={"type": "object", "properties": {"f": {"type": "float64"}}},
        same={"type": "string"},
    )
    fitted = fitting.check(properties)
    assert type(fitted) is dict
    assert fitted == properties
    assert type_of(fitted["n"]) is ValueType.INT8
    assert [type_of(item) for item in fitted["a"]] == [ValueType.UINT16] * 2
    assert type_of(fitted["deep"]["f"]) is ValueType.FLOAT64
    assert isinstance(fitted["a"], values.Array)
    assert isinstance(fitted["deep"], values.Object)
    assert type_of(properties["n"]) is ValueType.INT64
    assert [type_of(item) for item in properties["a"]] == [ValueType.INT64] * 2
    fitting.validate(freeze(dict(fitted)))


def test_what_is_absent_or_undeclared_is_not_checked() -> None:
    assert message(a={"type": "int8"}).check({"b": "anything"}) == {"b": "anything"}


def test_required_properties_must_be_there() -> None:
    inner = {"type": "object", "properties": {"x": {"type": "int8"}}, "required": ["x"]}
    outer = ObjectSchema({"inner": compile_type(inner)}, ["name"])
    with pytest.raises(SchemaError) as caught:
        outer.check({"inner": freeze({"x": 1})})
    assert str(caught.value) == ".name: required, but absent"
    with pytest.raises(SchemaError, match=r"^\.inner\.x: required, but absent"):
        outer.check({"name": "n", "inner": freeze({})})
    with pytest.raises(SchemaError, match=r"^\.inner\.x: required, but absent"):
        outer.validate(freeze({"name": "n", "inner": {}}))


def test_adjust_does_not_ask_for_required_properties() -> None:
    lenient = ObjectSchema({"n": Scalar(ValueType.INT8)}, ["absent"])
    assert lenient.adjust(freeze({"n": 1})) == {"n": 1}


def test_schemas_are_equal_by_what_they_allow_and_immutable() -> None:
    one = {"type": "array", "items": {"type": "int8"}, "description": "one"}
    same = {"type": "array", "items": {"type": "int8"}, "description": "other words"}
    assert compile_type(one) == compile_type(same)
    assert compile_type(one) != compile_type({"type": "array", "items": {"type": "int16"}})
    fixed = message(a={"type": "int8"})
    with pytest.raises(AttributeError):
        fixed.required = frozenset()  # type: ignore[misc]
    with pytest.raises(TypeError):
        fixed.properties["b"] = Scalar(ValueType.BOOL)  # type: ignore[index]


def test_compiled_shapes() -> None:
    compiled = compile_type(
        {"type": "object", "properties": {"l": {"type": "array", "items": {"type": "bool"}}}}
    )
    assert compiled == ObjectSchema({"l": ArraySchema(Scalar(ValueType.BOOL))})
    assert compiled.type is ValueType.OBJECT


@pytest.mark.parametrize("kind", ["array", "object"])
def test_what_is_no_container_does_not_validate_as_one_at_any_depth(kind: str) -> None:
    more: dict[str, Any] = {"array": {"items": {"type": "int8"}}, "object": {"properties": {}}}
    one = {"type": kind, **more[kind]}
    whole = message(a={"type": "array", "items": one})
    with pytest.raises(SchemaError) as caught:
        whole.validate(freeze({"a": ["text"]}))
    assert caught.value.path == ".a[0]"
    with pytest.raises(SchemaError):
        compile_type(one).validate("text")
