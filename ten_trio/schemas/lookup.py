"""Which schema a message meets: by direction, kind and name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

import attrs

from .schema import ObjectSchema

Direction: TypeAlias = Literal["in", "out"]
"""Seen from the addon: `in` is what it receives, `out` is what it sends."""

MESSAGE_KINDS = ("cmd", "data", "audio_frame", "video_frame")
MESSAGE_KEYS: tuple[str, ...] = tuple(
    f"{kind}_{direction}" for kind in MESSAGE_KINDS for direction in get_args(Direction)
)
"""The lists of messages that an api may have: `cmd_in`, `cmd_out`, `data_in` …"""


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


@attrs.frozen
class ApiSchemas:
    """The compiled schemas of one addon. Immutable: made once, shared by all its extensions.

    A lookup that finds None means: no check. Messages declared without properties have no schema.
    """

    property: ObjectSchema | None = None
    _messages: Mapping[tuple[str, str, str], ObjectSchema] = attrs.field(factory=dict)
    _results: Mapping[tuple[str, str], ObjectSchema] = attrs.field(factory=dict)

    @classmethod
    def of(cls, api: Api) -> ApiSchemas:
        """Arrange the schemas of `api` for lookup."""
        messages: dict[tuple[str, str, str], ObjectSchema] = {}
        results: dict[tuple[str, str], ObjectSchema] = {}
        for key, by_name in api.messages.items():
            kind, _, direction = key.rpartition("_")
            for name, message in by_name.items():
                if schema := _useful(message.property):
                    messages[direction, kind, name] = schema
                if schema := _useful(message.result):
                    results[direction, name] = schema
        return cls(_useful(api.property), messages, results)

    def message(self, direction: Direction, kind: str, name: str) -> ObjectSchema | None:
        """Return the schema of the properties of a message, or None if there is none.

        `kind` is `cmd`, `data`, `audio_frame` or `video_frame`.
        """
        return self._messages.get((direction, kind, name))

    def result(self, direction: Direction, cmd_name: str) -> ObjectSchema | None:
        """Return the schema of the results of a command, or None if there is none.

        `in`: of a command that the addon receives, hence of the results it returns. `out`: of one
        that it sends, hence of the results that come home.
        """
        return self._results.get((direction, cmd_name))


def _useful(schema: ObjectSchema | None) -> ObjectSchema | None:
    """Return None for a schema that every object fits."""
    return None if schema is None or schema.is_empty else schema
