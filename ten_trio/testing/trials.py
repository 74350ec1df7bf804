"""A trial: all that happens to a graph in one run, written down, so that it can be had again.

It is plain data: whoever draws it (`ten_trio.testing.fuzzing`, a test of yours) and whoever runs it
(`run_trial`) share nothing else, and a trial that has found something is a line of Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs

from ..graphs.definition import Kind

Reply = Literal["ok", "error", "late"]
"""What the rest of a graph says to a command of an extension that is tried by itself."""

Fault = Literal["none", "cut", "stall", "half-open"]
"""What becomes of a connection: it is lost and both ends see it; nothing gets through any more; the
app's end is gone and the client doesn't know."""


def _no_less_than_0(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and value < 0:
        raise ValueError(f"{attribute.name} must be 0 or more, not {value!r}")


@attrs.frozen
class Say:
    """One message to the graph.

    Without `to` it goes where the exposed messages say. A client sends it if `client` isn't 0.
    """

    kind: Kind
    name: str
    to: str = ""
    properties: Mapping[str, Any] = attrs.field(factory=dict)
    size: int = attrs.field(default=0, validator=_no_less_than_0)
    """Bytes in its buffer, of data and frames."""
    wait: float = attrs.field(default=0, validator=_no_less_than_0)
    """Seconds after the one before it."""
    patience: float | None = attrs.field(default=None, validator=_no_less_than_0)
    """Seconds after which whoever asks gives up; None: never."""
    client: int = 0
    """Which of the trial's `links` it goes through, counted from 1; 0: none, the host says it. (If there are
    fewer, it is counted round.)"""


@attrs.frozen
class Delay:
    """The n-th handler of an extension (from 0) starts so many seconds late; 0: some task turns."""

    extension: str
    nth: int = 0
    seconds: float = attrs.field(default=0, validator=_no_less_than_0)


@attrs.frozen
class Crash:
    """The n-th handler of an extension (from 0) raises instead of doing anything."""

    extension: str
    nth: int = 0


@attrs.frozen
class Link:
    """A client's connection, and what becomes of it after so many bytes, both ways together."""

    fault: Fault = "none"
    after: int = attrs.field(default=0, validator=_no_less_than_0)


@attrs.frozen(kw_only=True)
class Trial:
    """What is said to a graph, and what goes wrong meanwhile.

    Times are in seconds, and virtual. The same trial of the same graph goes the same way every time,
    as far as nothing in the graph depends on threads, real time or the order of a set.
    """

    order: int = 0
    """The order in which Trio runs the tasks that are ready: the seed of its shuffling."""
    says: tuple[Say, ...] = ()
    replies: tuple[Reply, ...] = ()
    """What the commands are answered that an extension asks which is tried by itself, in turn; then OK."""
    delays: tuple[Delay, ...] = ()
    crashes: tuple[Crash, ...] = ()
    links: tuple[Link, ...] = ()
    """The connections of the clients 1, 2, …"""
    linger: float = attrs.field(default=10, validator=_no_less_than_0)
    """Seconds from the last answer to the close of the graph: time to end what isn't answered."""
    cancel_at: int | None = None
    """Everything is cancelled before that step of any task, counted from the opening of the app."""

    def __str__(self) -> str:
        return source_of(self)


_WIDTH: Final = 96


def source_of(value: Any, indent: int = 0) -> str:
    """`value`, a trial or a part of one, as Python. What has its default value is left out."""
    flat = _flat(value)
    if indent + len(flat) <= _WIDTH or not isinstance(value, tuple | Trial | Say):
        return flat
    inner = " " * (indent + 4)
    if isinstance(value, tuple):
        parts = [source_of(each, indent + 4) for each in value]
        opening, closing = "(", ")"
    else:
        parts = [
            f"{name}={source_of(each, indent + 4 + len(name) + 1)}" for name, each in _given(value)
        ]
        opening, closing = f"{type(value).__name__}(", ")"
    lines = "".join(f"{inner}{part},\n" for part in parts)
    return f"{opening}\n{lines}{' ' * indent}{closing}"


def _given(value: Any) -> list[tuple[str, Any]]:
    """The fields of an attrs object that haven't got their default value."""
    found = []
    for field in attrs.fields(type(value)):
        content = getattr(value, field.name)
        default: Any = field.default
        if default is not attrs.NOTHING and hasattr(default, "factory"):
            default = default.factory()
        if default is attrs.NOTHING or content != default:
            found.append((field.name, content))
    return found


def _flat(value: Any) -> str:
    if attrs.has(type(value)):
        positional = [
            field.name
            for field in attrs.fields(type(value))
            if not field.kw_only and field.default is attrs.NOTHING
        ]
        parts = [
            _flat(each) if name in positional else f"{name}={_flat(each)}"
            for name, each in _given(value)
        ]
        return f"{type(value).__name__}({', '.join(parts)})"
    if isinstance(value, tuple):
        inner = ", ".join(map(_flat, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return repr(value)


__all__ = ["Crash", "Delay", "Fault", "Link", "Reply", "Say", "Trial", "source_of"]
