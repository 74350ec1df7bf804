"""Commands, which are answered, and the results that answer them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from enum import IntEnum
from functools import partial
from math import inf
from typing import Any, ClassVar, Final, Self, final

from ..errors import CmdFailed, InvalidArgument, TenError
from .base import NAME_FIELD, Msg, MsgType
from .fields import Field, boolean, lower_name, member_of, string
from .location import EMPTY_LOC, Dest
from .properties import NO_PROPERTIES, property_dict
from .values import shown

RESULT_NAME: Final = "ten:result"


class StatusCode(IntEnum):
    """How a command ended, as far as this result says."""

    INVALID = -1
    OK = 0
    ERROR = 1


# Looking up a member of an enum is slow in Python 3.11.
_OK: Final = StatusCode.OK
_ERROR: Final = StatusCode.ERROR

_HEX = re.compile(r"[0-9a-f]{1,32}")


def id_text(number: int) -> str:
    """Write the id of a command; that of one that has never been sent is empty."""
    return f"{number:x}" if number else ""


def _id_number(text: Any) -> int:
    if text == "":
        return 0
    if not isinstance(text, str) or not _HEX.fullmatch(text):
        raise InvalidArgument(f"{shown(text)} is no id of a command")
    return int(text, 16)


ID_FIELDS: Final[Mapping[str, Field]] = {
    "cmd_id": Field("_id", _id_number, id_text, has_path=False),
    "seq_id": Field("seq_id", string, has_path=False),
}


CREATED: Final[dict[str, type[Cmd]]] = {}
"""The commands to the runtime, by name; each enters itself."""


class Cmd(Msg):
    """A command: it is answered with one result or several.

    `seq_id` is the sender's to use, and comes back with the results.
    """

    # These belong to the runtime: `_path` is what a received command has to be answered through,
    # `_left` are the seconds until its deadline, on the way between two processes.
    __slots__ = ("_id", "_left", "_parent_id", "_path", "seq_id")

    type = MsgType.CMD
    kind = "cmd"

    _fields: ClassVar[Mapping[str, Field]] = {"name": NAME_FIELD, **ID_FIELDS}

    _id: int
    _parent_id: int
    _path: Any
    _left: float | None
    seq_id: str

    def __init__(
        self,
        name: str = "",
        properties: Mapping[str, Any] | None = None,
        /,
        *,
        dest: Dest | Iterable[Dest] | None = None,
        seq_id: str = "",
    ) -> None:
        Msg.__init__(self, name, properties, dest=dest)
        if (name in CREATED or name in _NOT_CREATED) and self.is_plain:
            raise InvalidArgument(f"{name!r} is a command of the runtime: it has its own class")
        self._id = 0
        self._parent_id = 0
        self._path = None
        self._left = None
        self.seq_id = seq_id

    @staticmethod
    def create(name: str) -> Cmd:
        """Return a command by its name: for one to the runtime, such as `ten:timer`, of its class.

        Raises `InvalidArgument` for `ten:result` and `ten:timeout`, which only the runtime makes, and
        a generic `TenError` if there is no name.
        """
        if not isinstance(name, str):
            raise TenError(f"a command needs a name, not {shown(name)}")
        if name in _NOT_CREATED:
            raise InvalidArgument(f"{name!r} can only be made by the runtime")
        special = CREATED.get(name)
        return Cmd(name) if special is None else special()

    def _shell(self) -> Self:
        shell = _blank_cmd()
        self._shared = shell._shared = True
        shell._props = self._props
        shell.name = self.name
        shell._src = self._src
        shell._turn = self._turn
        shell._dests = ()
        shell._line = None
        shell._id = self._id
        shell._parent_id = self._parent_id
        shell._path = self._path
        shell._left = None
        shell.seq_id = self.seq_id
        return shell  # type: ignore[return-value]

    def clone(self) -> Self:
        """Return an independent command: one of its own, that has this one as its parent.

        Raises `InvalidType` if commands of this type can't be cloned.
        """
        copy = super().clone()
        copy._parent_id = self._id
        copy._id = 0
        copy._path = None
        return copy

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        self._path = self._left = None
        super().__setstate__(state)

    # Ids --------------------------------------------------------------------------------------

    @property
    def cmd_id(self) -> str:
        """Its id as text; empty if it has never been sent."""
        return id_text(self._id)

    @property
    def parent_cmd_id(self) -> str:
        """The id of the command that it was sent because of, or cloned from; empty if there is none."""
        return id_text(self._parent_id)

    # Whether anybody still waits --------------------------------------------------------------

    @property
    def abandoned(self) -> Any:
        """An event that is set once nobody waits for an answer any more: `await cmd.abandoned.wait()`.

        Raises `InvalidArgument` for a command that wasn't received.
        """
        if self._path is None:
            raise InvalidArgument(f"{self!r} wasn't received, so nobody waits for it")
        return self._path.abandoned

    @property
    def is_abandoned(self) -> bool:
        """Whether it was received and nobody waits for an answer any more."""
        return self._path is not None and bool(self._path.is_abandoned)

    # How long they wait -----------------------------------------------------------------------

    @property
    def deadline(self) -> float:
        """When its sender's time is up, by Trio's clock where it was received; inf if it has no
        deadline, wasn't received, or has had its answer."""
        return inf if self._path is None else float(self._path.until)

    @property
    def time_left(self) -> float:
        """Seconds until `deadline`, and 0 after it."""
        return inf if self._path is None else float(self._path.time_left)

    # Answers ----------------------------------------------------------------------------------

    def ok(self, properties: Mapping[str, Any] | None = None, /, **more: Any) -> CmdResult:
        """Return a final result that says OK, with these properties."""
        return _answer(self, _OK, properties, more)

    def partial(self, properties: Mapping[str, Any] | None = None, /, **more: Any) -> CmdResult:
        """Return a result that says OK and that others will follow."""
        result = _answer(self, _OK, properties, more)
        result.is_final = False
        return result

    def error(self, detail: str = "", /, **more: Any) -> CmdResult:
        """Return a final result that says ERROR, and why: a text for people."""
        return _answer(self, _ERROR, {"detail": detail} if detail else None, more)

    def _more(self) -> str:
        return f", id={self.cmd_id}" if self._id else ""


_NOT_CREATED: Final = frozenset({RESULT_NAME, "ten:timeout"})

_blank_cmd: Final[Callable[[], Cmd]] = partial(object.__new__, Cmd)


@final
class CmdResult(Msg):
    """One answer to a command.

    `status` says how it went and `is_final` whether this is the executor's last word; `is_completed`
    is for the caller: no other result will reach it. By convention an ERROR has a text in `detail`.
    """

    __slots__ = (
        *("_id", "_parent_id", "_path", "is_completed", "is_final"),
        *("original_cmd_name", "original_cmd_type", "seq_id", "status"),
    )

    type = MsgType.CMD_RESULT
    kind = "result"

    _fields: ClassVar[Mapping[str, Field]] = {
        **ID_FIELDS,
        "original_cmd_type": Field(
            "original_cmd_type", member_of(MsgType), lower_name, has_path=False
        ),
        "original_cmd_name": Field("original_cmd_name", string, has_path=False),
        "status_code": Field("status", member_of(StatusCode), lower_name, has_path=False),
        "is_final": Field("is_final", boolean, has_path=False),
        "is_completed": Field("is_completed", boolean, has_path=False),
    }

    _id: int
    _parent_id: int
    _path: Any
    seq_id: str
    status: StatusCode
    is_final: bool
    is_completed: bool
    original_cmd_name: str
    original_cmd_type: MsgType

    def __init__(
        self,
        status: StatusCode = StatusCode.INVALID,
        properties: Mapping[str, Any] | None = None,
        /,
        *,
        dest: Dest | Iterable[Dest] | None = None,
        is_final: bool = True,
        seq_id: str = "",
    ) -> None:
        super().__init__(RESULT_NAME, properties, dest=dest)
        self._id = 0
        self._parent_id = 0
        self._path = None
        self.seq_id = seq_id
        self.status = StatusCode(status)
        self.is_final = is_final
        self.is_completed = False
        self.original_cmd_name = ""
        self.original_cmd_type = MsgType.INVALID

    @staticmethod
    def create(status: StatusCode, cmd: Cmd) -> CmdResult:
        """Return a result for `cmd`; any number of them may be made."""
        if not isinstance(cmd, Cmd):
            raise InvalidArgument(f"a result is for a command, not for {shown(cmd)}")
        return _answer(cmd, StatusCode(status), None, {})

    def _shell(self) -> Self:
        shell = _blank_result()
        self._shared = shell._shared = True
        shell._props = self._props
        shell.name = self.name
        shell._src = self._src
        shell._turn = self._turn
        shell._dests = ()
        shell._line = None
        shell._id = self._id
        shell._parent_id = self._parent_id
        shell._path = self._path
        shell.seq_id = self.seq_id
        shell.status = self.status
        shell.is_final = self.is_final
        shell.is_completed = self.is_completed
        shell.original_cmd_name = self.original_cmd_name
        shell.original_cmd_type = self.original_cmd_type
        return shell

    def clone(self) -> Self:
        """Return an independent result, which answers no command: only the one it is cloned from does.

        What the runtime had noted about its way, `is_completed` and `original_cmd_name`, isn't copied.
        """
        copy = super().clone()
        copy._parent_id = self._id
        copy._id = 0
        copy._path = None
        copy.is_completed = False
        copy.original_cmd_name = ""
        return copy

    def __setstate__(self, state: tuple[None, dict[str, Any]]) -> None:
        self._path = None
        super().__setstate__(state)

    @property
    def cmd_id(self) -> str:
        """The id of the command that it answers, as text."""
        return id_text(self._id)

    @property
    def parent_cmd_id(self) -> str:
        """The id of the result's original, if it is a clone."""
        return id_text(self._parent_id)

    def get_status_code(self) -> StatusCode:
        """Return the status."""
        return self.status

    def set_final(self, is_final: bool) -> None:
        """Say whether this is the executor's last result for the command."""
        self.is_final = boolean(is_final)

    def _owner(self) -> str:
        # Reading the answer out of an ERROR is what an exception from here mostly is.
        owner = super()._owner()
        return owner if self.ok else f"{owner} (an ERROR: {self.detail or 'no detail'})"

    @property
    def ok(self) -> bool:
        """Whether the status is OK."""
        return self.status is _OK

    @property
    def detail(self) -> str:
        """The text that says why, or an empty one."""
        detail = self._props.get("detail")
        return detail if isinstance(detail, str) else ""

    def unwrap(self) -> Self:
        """Return this result if it is OK, else raise `CmdFailed`."""
        if self.status is _OK:
            return self
        raise CmdFailed(self)

    def _more(self) -> str:
        text = f", {self.status.name}"
        if self.original_cmd_name:
            text += f" for {self.original_cmd_name!r}"
        return text if self.is_final else f"{text}, not final"


_blank_result: Final[Callable[[], CmdResult]] = partial(object.__new__, CmdResult)


def _answer(
    cmd: Cmd, status: StatusCode, properties: Mapping[str, Any] | None, more: dict[str, Any]
) -> CmdResult:
    # By hand: every command that is answered comes through here.
    result = _blank_result()
    if properties or more:
        result._props = property_dict({**properties, **more} if properties else more, True)
        result._shared = False
    else:
        result._props = NO_PROPERTIES
        result._shared = True
    result.name = RESULT_NAME
    dests = cmd._dests
    result._src = dests[0] if len(dests) == 1 else EMPTY_LOC
    source = cmd._src
    result._dests = () if source is EMPTY_LOC else (source,)
    result._line = None
    result._turn = cmd._turn
    result._id = cmd._id
    result._parent_id = 0
    result._path = cmd._path
    result.seq_id = cmd.seq_id
    result.status = status
    result.is_final = True
    result.is_completed = False
    result.original_cmd_name = cmd.name
    result.original_cmd_type = cmd.type
    return result
