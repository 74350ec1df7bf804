"""Read the type descriptions of a manifest into compiled schemas."""

from __future__ import annotations

from ten_trio.messages.values import ValueType

from .reading import DocumentError, Reader, did_you_mean
from .schema import TYPE_NAMES, ArraySchema, ObjectSchema, Scalar, Schema

MAX_DEPTH = 64
"""How deeply types may be nested; values can't be deeper either."""

_TYPE_KEYS = frozenset({"type", "description", "items", "properties", "required"})
_PROPERTY_KEYS = frozenset({"properties", "required"})

# Keys that only one type has.
_ONLY_FOR = {"items": "array", "properties": "object", "required": "object"}


def compile_type(description: object, where: str = "") -> Schema:
    """Compile one type description, for example `{"type": "array", "items": {"type": "int8"}}`.

    Raises:
        DocumentError: the description is wrong; all its problems, with JSON paths.
    """
    root = Reader(description, where, [])
    schema = read_type(root)
    if schema is None or root.problems:
        raise DocumentError(root.problems)
    return schema


def read_type(reader: Reader, depth: int = 0) -> Schema | None:
    """Read a type description; None if it has a problem, which is then noted."""
    if depth > MAX_DEPTH:
        reader.problem(f"types may be nested {MAX_DEPTH} deep at most")
        return None
    if not reader.is_object(_TYPE_KEYS):
        return None
    if description := reader.get("description"):
        description.expect(str)
    kind_reader = reader.require("type")
    kind = _read_kind(kind_reader) if kind_reader else None
    if kind is None:
        return None
    for key, owner in _ONLY_FOR.items():
        found = reader.get(key)
        if found is not None and TYPE_NAMES[owner] is not kind:
            found.problem(f'"{key}" is for type "{owner}" only')
    if kind is ValueType.ARRAY:
        items = reader.require("items")
        item = read_type(items, depth + 1) if items else None
        return ArraySchema(item) if item else None
    if kind is ValueType.OBJECT:
        return _read_object(reader, depth)
    return Scalar(kind)


def read_property(reader: Reader) -> ObjectSchema | None:
    """Read what describes the properties of a message: `{"properties": {…}, "required": […]}`."""
    if not isinstance(reader.value, dict) or reader.has("properties"):
        return _read_object(reader, 0) if reader.is_object(_PROPERTY_KEYS) else None
    if reader.value:
        reader.problem('"properties" is required', 'write {"properties": {"name": {"type": …}, …}}')
    return ObjectSchema({})


def _read_kind(reader: Reader) -> ValueType | None:
    name = reader.expect(str)
    if name is None:
        return None
    if name not in TYPE_NAMES:
        reader.problem(f'unknown type "{name}"', did_you_mean(name, TYPE_NAMES.keys()))
    return TYPE_NAMES.get(name)


def _read_object(reader: Reader, depth: int) -> ObjectSchema | None:
    """Read `properties` and `required` of an object whose keys have been looked at already."""
    properties = reader.require("properties")
    required = reader.get("required")
    names = required.strings() if required else ()
    if properties is None:
        return None
    members = {name: read_type(member, depth + 1) for name, member in properties.members()}
    return ObjectSchema({name: each for name, each in members.items() if each is not None}, names)
