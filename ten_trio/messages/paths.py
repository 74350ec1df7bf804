"""Property paths: `name.name[index].name` says where inside the properties of a message.

Nothing here changes what it is given: `set_at` and `delete_at` copy the containers along the path
and share all others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from ..errors import InvalidPath, PropertyNotFound
from .values import INVALID, MAX_DEPTH, Array, Object, Value, shown

Path = tuple[str | int, ...]

MAX_INDEX: Final = 65_535
"""The highest index of an array that a path may have; setting it fills everything below."""

MISSING: Any = object()
"""Stands for no value at all where None would be one."""

_NAME = re.compile(r"[^.\[\]]+")
_INDEX = re.compile(r"\[([0-9]+)\]")


@lru_cache(maxsize=4096)
def parse(path: str) -> Path:
    """Split a path into names and indices: `"a.b[0]"` into `("a", "b", 0)`, `""` into `()`.

    Raises `InvalidPath`, saying where in the text.
    """
    if not isinstance(path, str):
        raise InvalidPath(f"a property path is a string, not {shown(path)}")
    if not path:
        return ()
    parts: list[str | int] = []
    at = 0
    while True:
        name = _NAME.match(path, at)
        if name is None:
            raise _garbage(path, at, "a name")
        parts.append(name[0])
        at = name.end()
        while at < len(path) and path[at] == "[":
            index = _INDEX.match(path, at)
            if index is None:
                raise _garbage(path, at, "an index such as [0]")
            # By its length first: the text may have any number of digits.
            digits = index[1].lstrip("0") or "0"
            if len(digits) > 5 or int(digits) > MAX_INDEX:
                raise InvalidPath(
                    f"property path {shown(path)}: the index at character {at} is above {MAX_INDEX}"
                )
            parts.append(int(digits))
            at = index.end()
        if len(parts) > MAX_DEPTH:
            raise InvalidPath(f"property path {shown(path)} is more than {MAX_DEPTH} deep")
        if at == len(path):
            return tuple(parts)
        if path[at] != ".":
            raise _garbage(path, at, "'.' or '['")
        at += 1


def _garbage(path: str, at: int, wanted: str) -> InvalidPath:
    found = repr(path[at]) if at < len(path) else "the end"
    return InvalidPath(
        f"property path {shown(path)}: {wanted} expected at character {at}, not {found}"
    )


def find_at(props: Mapping[str, Any], path: Path) -> Any:
    """Return what is at `path`, or `MISSING`. The empty path means everything."""
    found: Any = props
    for part in path:
        cls = found.__class__  # much faster than isinstance, and these are all there can be
        if cls is Object or cls is dict or found is props:
            found = found.get(part, MISSING)  # all keys are strings: an index finds nothing
        elif (cls is Array or cls is list) and part.__class__ is int and part < len(found):
            found = found[part]
        else:
            return MISSING
    return found


def get_at(props: Mapping[str, Any], path: str | Path) -> Any:
    """Return what is at `path`; the empty path means everything.

    Raises `PropertyNotFound`, or `InvalidPath` for a text that is none.
    """
    parts = parse(path) if isinstance(path, str) else path
    found = find_at(props, parts)
    if found is MISSING:
        raise PropertyNotFound(f"no property {to_text(parts)!r}")
    return found


def set_at(props: Mapping[str, Any], path: str | Path, value: Value) -> dict[str, Any]:
    """Return a copy of `props` with `value` (a frozen one) at `path`.

    Containers that are missing on the way are made, what is of another kind is replaced, and arrays
    are filled up with `INVALID`. Raises `InvalidPath`, also for an empty path.
    """
    parts = parse(path) if isinstance(path, str) else path
    if not parts or not isinstance(parts[0], str):
        raise InvalidPath("a property to set needs a name")
    copy = dict(props)
    copy[parts[0]] = put(copy.get(parts[0]), parts, value, 1)
    return copy


def put(base: Value, path: Path, value: Value, at: int) -> Value:
    """Return `base` with `value` at `path[at:]`."""
    if at == len(path):
        return value
    part = path[at]
    if isinstance(part, int):
        items = list(base) if isinstance(base, Array) else []
        if part >= len(items):
            items += [INVALID] * (part + 1 - len(items))
        items[part] = put(items[part], path, value, at + 1)
        return Array.trusted(items)
    fields = dict(base) if isinstance(base, Object) else {}
    fields[part] = put(fields.get(part), path, value, at + 1)
    return Object.trusted(fields)


def delete_at(props: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """Return a copy of `props` without what is at `path`; later items of an array move up.

    Raises `PropertyNotFound` if there is nothing, `InvalidPath` for the empty path.
    """
    parts = parse(path) if isinstance(path, str) else path
    if not parts:
        raise InvalidPath("a property to delete needs a name")
    get_at(props, parts)
    if len(parts) == 1:
        return {key: value for key, value in props.items() if key != parts[0]}
    inner = get_at(props, parts[:-1])
    if isinstance(parts[-1], int):
        items = list(inner)
        del items[parts[-1]]
        return set_at(props, parts[:-1], Array.trusted(items))
    fields = dict(inner)
    del fields[parts[-1]]
    return set_at(props, parts[:-1], Object.trusted(fields))


def to_text(path: Path) -> str:
    """Write a parsed path as text again."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text
