"""The JSON form of a whole message: its properties, and under the key `ten` all the rest.

It is for logs, files and people; what travels between processes are the bytes of a codec.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import InvalidJson
from .location import Loc, as_dests
from .properties import FIELDS, property_dict
from .values import from_json, shown, to_jsonable

if TYPE_CHECKING:
    from .base import Msg

M = TypeVar("M", bound="Msg")

CLASSES: dict[str, type[Any]] = {}
"""The classes of messages by their type as text; each enters itself."""


def dump(msg: Msg) -> str:
    """Write a message. Raises as `to_jsonable` does."""
    ten: dict[str, Any] = {
        "type": msg.type.text,
        "name": msg.name,
        "src": msg._src.to_dict(),
        "dest": [dest.to_dict() for dest in msg._dests],
    }
    for name, field in msg._fields.items():
        value = field.show(getattr(msg, field.attribute))
        ten[name] = base64.b64encode(value).decode() if isinstance(value, bytes) else value
    return json.dumps({FIELDS: ten, **to_jsonable(msg.properties)}, ensure_ascii=False)


def load(cls: type[M], text: str | bytes) -> M:
    """Read a message of this class. Raises `InvalidJson`, or whatever setting its parts raises."""
    read = from_json(text)
    ten = read.get(FIELDS) if isinstance(read, dict) else None
    if not isinstance(read, dict) or not isinstance(ten, dict):
        raise InvalidJson(f"a message is a JSON object with an object {FIELDS!r}")
    known = CLASSES.get(str(ten.get("type")))
    if known is None or not issubclass(known, cls):
        raise InvalidJson(f"{shown(ten.get('type'))} is no type of {cls.__name__}")
    msg: M = known()
    properties = {key: value for key, value in read.items() if key != FIELDS}
    msg._props = property_dict(properties)
    msg._shared = False
    for name, value in ten.items():
        if name == "name":
            msg.set_name(value)
        elif name == "src":
            msg._src = _location(value)
        elif name == "dest":
            if not isinstance(value, list):
                raise InvalidJson(f"ten.dest is a list, not {shown(value)}")
            msg._dests = as_dests(map(_location, value))
        elif name in msg._fields:
            field = msg._fields[name]
            if field.is_buffer:
                value = _bytes(name, value)
            setattr(msg, field.attribute, field.check(value))
        elif name != "type":
            raise InvalidJson(f"{cls.__name__} has no field {name!r}")
    return msg


def plain(value: Any) -> Any:
    """What `json.dumps` takes for a value: null stands for whatever JSON can't express."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value if isinstance(value, str | int) else None


def _location(parts: object) -> Loc:
    if not isinstance(parts, Mapping):
        raise InvalidJson(f"a location is an object, not {shown(parts)}")
    # Unlike in a graph, an empty part is one: it means the sender's own.
    return Loc(*(parts.get(key) for key in ("app", "graph", "extension")))


def _bytes(name: str, text: object) -> bytes:
    try:
        return base64.b64decode(text, validate=True)  # type: ignore[arg-type]
    except (binascii.Error, ValueError, TypeError):
        raise InvalidJson(f"ten.{name} is no base64") from None
