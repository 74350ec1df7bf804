"""Everything that ten_trio raises: `TenError` and its family, each with a code of the original.

Where Python has an exception for the same thing (`KeyError`, `TypeError`, `ValueError`), ours is one
of those as well, so that ordinary Python code around messages just works.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import TYPE_CHECKING, Any

import attrs

from .display import Displayed

if TYPE_CHECKING:
    from .messages import CmdResult


__all__ = [
    "ErrorCode",
    "TenError",
    "InvalidJson",
    "InvalidArgument",
    "InvalidLocation",
    "InvalidPath",
    "InvalidType",
    "PropertyTypeError",
    "PropertyRangeError",
    "PropertyNotFound",
    "SchemaError",
    "Problem",
    "GraphError",
    "ConfigError",
    "MissingVariable",
    "AddonNotFound",
    "MissingExtra",
    "EnvClosed",
    "EngineClosed",
    "NotConnected",
    "ConnectFailed",
    "StartTimeout",
    "CmdTimeout",
    "MessageLocked",
    "WrongThread",
    "WrongTiming",
    "UnknownCommand",
    "AlreadyAnswered",
    "HandlerLeak",
    "QueueFull",
    "SendRefused",
    "CmdFailed",
]


class ErrorCode(IntEnum):
    """What kind of error it is, in numbers that the original runtime understands too."""

    OK = 0
    GENERIC = 1
    INVALID_JSON = 2
    INVALID_ARGUMENT = 3
    INVALID_TYPE = 4
    INVALID_GRAPH = 5
    TEN_IS_CLOSED = 6
    MSG_NOT_CONNECTED = 7
    TIMEOUT = 8
    VALUE_NOT_FOUND = 100_000


class TenError(Exception, Displayed):
    """The base of all errors of this package. `str()` is the message, `code` says what kind it is.

    A class has a code of its own; `code=` overrides it for one error.
    """

    code: ErrorCode = ErrorCode.GENERIC

    def __init__(self, message: str = "", *, code: ErrorCode | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = ErrorCode(code)

    def __str__(self) -> str:
        # KeyError would show the repr of its argument.
        return str(self.args[0]) if self.args else ""

    def __reduce__(self) -> tuple[Any, ...]:
        # The default calls the class with `args`, which fits no signature but the plain one.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(cls: type[TenError], args: tuple[Any, ...], state: dict[str, Any]) -> TenError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


# Arguments and values ------------------------------------------------------------------------------


class InvalidJson(TenError):
    """A text isn't JSON, or not the JSON that is wanted here."""

    code = ErrorCode.INVALID_JSON


class InvalidArgument(TenError, ValueError):
    """A call with an argument that makes no sense."""

    code = ErrorCode.INVALID_ARGUMENT


class InvalidLocation(InvalidArgument):
    """A destination that can't be one: its app is missing, or the graph of its extension."""


class InvalidPath(InvalidArgument):
    """A property path that isn't `name.name[index]...`, or that leads to nothing one can set."""


class InvalidType(TenError, TypeError):
    """A value that can't be a property, or an object that can't do what was asked of it."""

    code = ErrorCode.INVALID_TYPE


class PropertyTypeError(TenError, TypeError):
    """A property exists but is of another type than was asked for."""


class PropertyRangeError(TenError, ValueError):
    """A number doesn't fit into the type that it is read or written as."""


class PropertyNotFound(TenError, KeyError):
    """There is nothing at this property path."""

    code = ErrorCode.VALUE_NOT_FOUND


class SchemaError(TenError):
    """A message or property doesn't fit its schema. `path` is the property path of the misfit."""

    def __init__(self, message: str = "", *, path: str = "", code: ErrorCode | None = None) -> None:
        super().__init__(message, code=code)
        self.path = path


# Graphs and configuration ---------------------------------------------------------------------------


@attrs.frozen
class Problem:
    """One mistake in a graph: where (a JSON path), what, and perhaps what to do about it."""

    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"{where}{self.message}{f'; {self.hint}' if self.hint else ''}"


class GraphError(TenError):
    """A graph that can't be run. `problems` has every mistake that was found, not just the first."""

    code = ErrorCode.INVALID_GRAPH

    def __init__(self, problems: Iterable[Problem] | Problem | str = ()) -> None:
        if isinstance(problems, str):
            problems = (Problem("", problems),)
        elif isinstance(problems, Problem):
            problems = (problems,)
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)) or "invalid graph")


class ConfigError(TenError):
    """A configuration file is wrong: `file` names it, `path` is the JSON path inside."""

    def __init__(
        self, message: str = "", *, file: str = "", path: str = "", code: ErrorCode | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.file = file
        self.path = path


class MissingVariable(ConfigError):
    """A placeholder names an environment variable that isn't set, and gives no default."""


class AddonNotFound(TenError):
    """No addon of this name is known."""


class MissingExtra(TenError):
    """A feature needs an optional dependency; the message names the extra to install."""


# Running --------------------------------------------------------------------------------------------


class EnvClosed(TenError):
    """The extension, or what it belongs to, has been closed: nothing can be sent from it."""

    code = ErrorCode.TEN_IS_CLOSED


class EngineClosed(EnvClosed):
    """The graph has been closed."""


class NotConnected(TenError):
    """The message has no destination: no edge takes it anywhere and it names none."""

    code = ErrorCode.MSG_NOT_CONNECTED


class ConnectFailed(TenError):
    """Another app, or the one that a client asked for, can't be reached or doesn't take part."""


class StartTimeout(TenError):
    """A graph or an extension didn't start in time."""

    code = ErrorCode.TIMEOUT


class CmdTimeout(TenError):
    """A command wasn't answered in time."""

    code = ErrorCode.TIMEOUT


class MessageLocked(TenError):
    """The buffer of the message is locked: unlock it first."""


class WrongThread(TenError):
    """A call from a thread or a loop other than the one it belongs to."""


class WrongTiming(TenError):
    """A call that isn't possible at this stage of a life cycle."""


class UnknownCommand(TenError):
    """A result for a command that wasn't received here."""


class AlreadyAnswered(TenError):
    """A result for a command that has already had its final one."""


class HandlerLeak(TenError):
    """A handler ended and left a nursery or a cancel scope of its own open."""


class QueueFull(TenError):
    """A receiver has no room, and the overflow policy is to raise."""


class SendRefused(TenError):
    """The message can't be sent this way."""


class CmdFailed(TenError):
    """A command was answered with ERROR; raised by `CmdResult.unwrap()`. `result` is the answer."""

    def __init__(self, result: CmdResult) -> None:
        name, detail = result.original_cmd_name, result.detail
        super().__init__(
            f"command {name!r} failed: {detail}" if detail else f"command {name!r} failed"
        )
        self.result = result
