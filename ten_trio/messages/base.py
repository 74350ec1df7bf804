"""`Msg`: what all messages have in common, and how one is handed on.

Sending doesn't use a message up. Each receiver gets a shell of its own (`_shell`) around content that
is shared until somebody writes. That is the hot path of the whole runtime: slots, no indirection.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any, ClassVar, Self

from ..display import Displayed
from ..errors import InvalidType
from . import json_form
from .fields import Field, string
from .location import EMPTY_LOC, Dest, Loc, as_dest, as_dests
from .paths import MISSING
from .properties import NO_PROPERTIES, Properties, property_dict
from .values import INT64_MAX, shown


class MsgType(IntEnum):
    """The type of a message, numbered as on the wire."""

    INVALID = 0
    CMD = 1
    CMD_RESULT = 2
    CLOSE_APP = 3
    START_GRAPH = 4
    STOP_GRAPH = 5
    TRIGGER_LIFE_CYCLE = 6
    TIMER = 7
    TIMEOUT = 8
    DATA = 9
    VIDEO_FRAME = 10
    AUDIO_FRAME = 11

    @property
    def text(self) -> str:
        """The type as the original writes it, e.g. `close_app`."""
        return "result" if self is MsgType.CMD_RESULT else self.name.lower()


NAME_FIELD = Field("name", string)


class Msg(Properties, Displayed):
    """A message: a name, properties, and where it comes from and goes to.

    It is a mapping of its properties (see `Properties`). Two messages are equal only if they are the
    same object. Messages aren't locked against each other: a message belongs to one task at a time.
    """

    # `_line` and `_turn` belong to the runtime.
    __slots__ = ("_dests", "_line", "_src", "_turn", "name")

    type: ClassVar[MsgType] = MsgType.INVALID
    kind: ClassVar[str] = ""
    """Which of the five flows it belongs to: cmd, result, data, audio_frame or video_frame."""
    is_plain: ClassVar[bool] = True
    """Whether users define what it means, as opposed to the runtime."""
    can_clone: ClassVar[bool] = True

    name: str
    _id: int = 0
    """That of a command, which its results have too. Other messages have none."""
    _path: Any = None
    _src: Loc
    _dests: tuple[Loc, ...]
    _line: Any
    _turn: Any
    _locks: tuple[memoryview, ...] | None = None

    _transient: ClassVar[frozenset[str]] = frozenset({"_left", "_line", "_turn", "_path", "_locks"})
    """What a copy in another process can't have."""

    def __init_subclass__(cls) -> None:
        if "type" in vars(cls):
            json_form.CLASSES.setdefault(cls.type.text, cls)

    def __init__(
        self,
        name: str = "",
        properties: Mapping[str, Any] | None = None,
        /,
        *,
        dest: Dest | Iterable[Dest] | None = None,
    ) -> None:
        if name.__class__ is not str:
            name = string(name)
        self.name = name
        # As in Properties, without the call.
        if properties:
            self._props = property_dict(properties)
            self._shared = False
        else:
            self._props = NO_PROPERTIES
            self._shared = True
        self._src = EMPTY_LOC
        self._dests = () if dest is None else as_dests(dest)
        self._line = None
        self._turn = None

    # Name, source and destinations ------------------------------------------------------------

    def get_name(self) -> str:
        """Return the name."""
        return self.name

    def set_name(self, name: str) -> None:
        """Set the name; any string will do."""
        self.name = string(name)

    @property
    def turn(self) -> Any:
        """The turn it belongs to (a `Turn`, see docs/turns.md), None if to none."""
        return self._turn or None

    def get_source(self) -> Loc:
        """Return who sent it; all parts are absent if nobody has."""
        return self._src

    def get_dests(self) -> list[Loc]:
        """Return where it is to go; nothing if that is left to the graph."""
        return list(self._dests)

    def set_dests(self, dests: Iterable[Dest]) -> None:
        """Set where it is to go, bypassing the graph; nothing leaves that to the graph again.

        Raises `InvalidLocation`, and then changes nothing.
        """
        self._dests = as_dests(dests)

    def set_dest(self, dest: Dest) -> None:
        """Set the only place where it is to go. Raises `InvalidLocation`."""
        self._dests = (as_dest(dest),)

    # The most frequent getters, without the detours of those in Properties ------------------

    def __getitem__(self, path: str) -> Any:
        found = self._props.get(path, MISSING)
        return self.get_property(path) if found is MISSING else found

    def get_property_int64(self, path: str, default: int = MISSING) -> int:
        """Return an integer from -2**63 to 2**63 - 1."""
        value = self._props.get(path)
        if value.__class__ is int and value <= INT64_MAX:
            return value
        return super().get_property_int64(path, default)

    def get_property_string(self, path: str, default: str = MISSING) -> str:
        """Return a string. The `PropertyTypeError` has the code INVALID_ARGUMENT."""
        value = self._props.get(path)
        if value.__class__ is str:
            return value
        return super().get_property_string(path, default)

    get_property_int = get_property_int64

    # Copies -----------------------------------------------------------------------------------

    def _shell(self) -> Self:
        """Return another message around the same content, for one receiver.

        It has no destination and no line yet. The content is shared until either side writes.
        """
        raise NotImplementedError

    def clone(self) -> Self:
        """Return an independent copy. Takes the same time whatever the size: it is made on write.

        Raises `InvalidType` if messages of this type can't be cloned.
        """
        if not self.can_clone:
            raise InvalidType(f"{self!r} cannot be cloned")
        copy = self._shell()
        copy._dests = self._dests
        return copy

    def __copy__(self) -> Self:
        return self.clone()

    def __deepcopy__(self, memo: object) -> Self:
        return self.clone()

    def __getstate__(self) -> tuple[None, dict[str, Any]]:
        slots = (slot for cls in type(self).__mro__ for slot in getattr(cls, "__slots__", ()))
        state = {slot: getattr(self, slot) for slot in slots if slot not in self._transient}
        return None, state | {"_props": dict(self._props), "_shared": False}

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        self._line = self._turn = None
        for slot, value in state[1].items():
            setattr(self, slot, value)

    # As text ----------------------------------------------------------------------------------

    def to_json(self) -> str:
        """Return the whole message as JSON: its properties, and under `ten` everything else.

        Buffers among the properties become null, that of the message itself base64. Raises as
        `get_property_to_json` does.
        """
        return json_form.dump(self)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the message that `to_json` wrote.

        Raises `InvalidJson`, also if it is a message of another class, and what setting a wrong
        property or field raises.
        """
        return json_form.load(cls, text)

    def __repr__(self) -> str:
        text = f"{type(self).__name__}({self.name!r}"
        if self._props:
            text += f", {shown(self._props, 60)}"
        return f"{text}{self._more()})"

    def _more(self) -> str:
        """What a repr shows besides name and properties, each starting with a comma."""
        return ""

    def _owner(self) -> str:
        return f"{type(self).__name__} {self.name!r}"
