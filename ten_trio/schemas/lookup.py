"""Which schema a message meets: by direction, kind and name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

import attrs

from .schema import ObjectSchema

Direction: TypeAlias = Literal["in", "out"]
"""Seen from the addon: `in` is what it receives, `out` is what it sends."""

MessageKind: TypeAlias = Literal["cmd", "data", "audio_frame", "video_frame"]

MESSAGE_KEYS: tuple[str, ...] = tuple(
    f"{kind}_{direction}" for kind in get_args(MessageKind) for direction in get_args(Direction)
)
"""The lists of messages that an api may have: `cmd_in`, `cmd_out`, `data_in` …"""

_NO_TABLE: Mapping[str, ObjectSchema] = MappingProxyType({})


@attrs.frozen
class MessageApi:
    """What an api says about one message; None means that anything goes."""

    name: str
    property: ObjectSchema | None = None
    result: ObjectSchema | None = None


def _freeze_messages(
    messages: Mapping[str, Mapping[str, MessageApi]],
) -> Mapping[str, Mapping[str, MessageApi]]:
    return MappingProxyType({key: MappingProxyType(dict(by)) for key, by in messages.items()})


@attrs.frozen
class Api:
    """The api of an addon as declared, imported interfaces included.

    `messages` maps a key such as `cmd_in` to the messages of that list, by name.
    """

    property: ObjectSchema | None = None
    messages: Mapping[str, Mapping[str, MessageApi]] = attrs.field(
        factory=dict, converter=_freeze_messages
    )


Tables: TypeAlias = Mapping[str, Mapping[str, ObjectSchema]]


@attrs.frozen
class ApiSchemas:
    """The compiled schemas of one addon. Immutable: made once, shared by all its extensions.

    A lookup that finds None means: no check. Messages declared without properties have no schema.
    """

    property: ObjectSchema | None = None
    _messages: Tables = attrs.field(factory=dict, alias="messages")
    _results: Tables = attrs.field(factory=dict, alias="results")

    @classmethod
    def of(cls, api: Api) -> ApiSchemas:
        """Arrange the schemas of `api` for lookup."""
        messages: dict[str, Mapping[str, ObjectSchema]] = {}
        results: dict[str, Mapping[str, ObjectSchema]] = {}
        for key, by_name in api.messages.items():
            messages[key] = _table({name: each.property for name, each in by_name.items()})
            results[key] = _table({name: each.result for name, each in by_name.items()})
        return cls(_useful(api.property), messages, results)

    def message(self, direction: Direction, kind: MessageKind, name: str) -> ObjectSchema | None:
        """Return the schema of the properties of a message, or None if there is none."""
        return self.table(direction, kind).get(name)

    def result(self, direction: Direction, cmd_name: str) -> ObjectSchema | None:
        """Return the schema of the results of a command, or None if there is none.

        `in`: of a command that the addon receives, hence of the results it returns. `out`: of one
        that it sends, hence of the results that come home.
        """
        return self._results.get(f"cmd_{direction}", _NO_TABLE).get(cmd_name)

    def table(self, direction: Direction, kind: MessageKind) -> Mapping[str, ObjectSchema]:
        """Return all schemas of one direction and kind by message name, to look up often."""
        return self._messages.get(f"{kind}_{direction}", _NO_TABLE)


def _useful(schema: ObjectSchema | None) -> ObjectSchema | None:
    return None if schema is None or schema.is_empty else schema


def _table(schemas: Mapping[str, ObjectSchema | None]) -> Mapping[str, ObjectSchema]:
    kept = {name: each for name, each in schemas.items() if each is not None and not each.is_empty}
    return MappingProxyType(kept)
