"""Locations: where a message comes from and where it goes, as (app, graph, extension)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import attrs

from ..errors import InvalidLocation
from .values import shown


@attrs.frozen(cache_hash=True)
class Loc:
    """A place in a running system. A part that is absent (None) differs from an empty one.

    In a destination an empty part means the sender's own: `Loc("", "", "ext")` is an extension of
    the same graph, `Loc("", "g")` a graph of the same app, `Loc("")` the app.
    """

    app_uri: str | None = None
    graph_id: str | None = None
    extension_name: str | None = None

    def same_as(self, other: Loc) -> bool:
        """Whether both name one place; never if a part is absent, as in the original runtime.

        `==` in contrast compares part by part.
        """
        return None not in attrs.astuple(self) and self == other

    def __str__(self) -> str:
        app, graph, extension = (part or "<empty>" for part in attrs.astuple(self))
        return f"app: {app}, graph: {graph}, extension: {extension}"

    def to_dict(self) -> dict[str, str]:
        """Return the parts that are present, under the keys `app`, `graph` and `extension`."""
        parts = zip(_KEYS, attrs.astuple(self), strict=True)
        return {key: part for key, part in parts if part is not None}

    @classmethod
    def from_dict(cls, parts: Mapping[str, Any]) -> Loc:
        """Read what `to_dict` wrote; empty parts count as absent. Raises `InvalidLocation`."""
        loc = cls(*(parts.get(key) or None for key in _KEYS))
        if unknown := set(parts) - set(_KEYS):
            raise InvalidLocation(f"a location has no {shown(min(map(str, unknown)))}")
        _check_parts(loc)
        return loc


_KEYS: Final = ("app", "graph", "extension")

EMPTY_LOC: Final = Loc()
"""Where a message comes from that nobody has sent yet."""

Dest = str | Loc
"""A destination: an extension of the same graph by its name, or any place."""


def check_dest(loc: Loc) -> Loc:
    """Return `loc` if a message can be sent there, else raise `InvalidLocation`."""
    if not isinstance(loc, Loc):
        raise InvalidLocation(f"{shown(loc)} is no location: a name or a Loc is")
    _check_parts(loc)
    if loc.app_uri is None:
        raise InvalidLocation(f"destination without an app ({loc}): use '' for one's own")
    if loc.extension_name is not None and loc.graph_id is None:
        raise InvalidLocation(f"destination without a graph ({loc}): use '' for one's own")
    return loc


def _check_parts(loc: Loc) -> None:
    for part in attrs.astuple(loc):
        if part is not None and not isinstance(part, str):
            raise InvalidLocation(f"part of a location is {shown(part)}, not a string")


def as_dest(dest: Dest) -> Loc:
    """Return the place that `dest` means. Raises `InvalidLocation`."""
    if isinstance(dest, str):
        return _near(dest)[0]
    return check_dest(dest)


@lru_cache(maxsize=4096)
def _near(name: str) -> tuple[Loc]:
    if not name:
        raise InvalidLocation("the name of a destination is empty")
    return (Loc("", "", name),)


def as_dests(dests: Dest | Iterable[Dest] | None) -> tuple[Loc, ...]:
    """Return all places that `dests` means. Raises `InvalidLocation`."""
    if dests is None:
        return ()
    if isinstance(dests, str):
        return _near(dests)
    if isinstance(dests, Loc):
        return (check_dest(dests),)
    if not isinstance(dests, Iterable):
        raise InvalidLocation(f"{shown(dests)} is no location: a name or a Loc is")
    return tuple(as_dest(each) for each in dests)
