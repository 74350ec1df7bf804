"""Locations and what may be a destination."""

from __future__ import annotations

from typing import Any

import pytest

from ten_trio.errors import InvalidLocation
from ten_trio.messages import EMPTY_LOC, Cmd, Data, Loc
from ten_trio.messages.location import as_dest, as_dests, check_dest

ACCEPTED = [
    Loc(""),
    Loc("msgpack://x/"),
    Loc("", ""),
    Loc("", "g"),
    Loc("msgpack://x/", "g"),
    Loc("", "", None),
    Loc("", "", "ext"),
    Loc("", "a name", "ext"),
    Loc("app", "g", "ext"),
]
REFUSED = [
    Loc(),
    Loc(None, "g"),
    Loc(None, None, "ext"),
    Loc(None, "g", "ext"),
    Loc("", None, "ext"),
    Loc("app", None, "ext"),
    Loc(5),  # type: ignore[arg-type]
    Loc("", "", b"ext"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("loc", ACCEPTED)
def test_accepted_destinations(loc: Loc) -> None:
    assert check_dest(loc) is loc
    msg = Data("x")
    msg.set_dests([loc])
    assert msg.get_dests() == [loc]
    msg.set_dest("other")
    msg.set_dest(loc)
    assert msg.get_dests() == [loc]


@pytest.mark.parametrize("loc", REFUSED)
def test_refused_destinations(loc: Loc) -> None:
    msg = Data("x", dest="before")
    with pytest.raises(InvalidLocation):
        msg.set_dests(["good", loc])
    with pytest.raises(InvalidLocation):
        msg.set_dest(loc)
    assert msg.get_dests() == [Loc("", "", "before")]


def test_forms_of_destinations() -> None:
    ext = Loc("", "", "ext")
    assert as_dest("ext") == ext
    assert Cmd("x", dest="ext").get_dests() == [ext]
    assert Cmd("x", dest=ext).get_dests() == [ext]
    assert Cmd("x", dest=["ext", Loc("")]).get_dests() == [ext, Loc("")]
    assert Cmd("x").get_dests() == []
    assert as_dests(None) == ()
    for wrong in (5, "", [None], ["a", ""]):
        bad: Any = wrong
        with pytest.raises(InvalidLocation):
            as_dests(bad)


def test_clearing_and_independence() -> None:
    msg = Cmd("x", dest=["a", "b"])
    msg.get_dests().clear()
    assert len(msg.get_dests()) == 2
    msg.set_dests([])
    assert msg.get_dests() == []


def test_text() -> None:
    assert str(Loc("u", "g", "e")) == "app: u, graph: g, extension: e"
    assert str(Loc("u")) == "app: u, graph: <empty>, extension: <empty>"
    assert str(EMPTY_LOC) == "app: <empty>, graph: <empty>, extension: <empty>"


def test_equality() -> None:
    full = Loc("u", "g", "e")
    assert full == Loc("u", "g", "e")
    assert len({full, Loc("u", "g", "e")}) == 1
    assert full.same_as(Loc("u", "g", "e"))
    assert not full.same_as(Loc("u", "g", "f"))
    assert Loc("u") == Loc("u")
    assert not Loc("u").same_as(Loc("u"))
    assert not full.same_as(Loc("u", "g"))
    assert not Loc("u", "g").same_as(full)
    assert Loc("", "", "").same_as(Loc("", "", ""))
    assert Loc("") != Loc()


def test_dict_form() -> None:
    assert Loc("u", "g", "e").to_dict() == {"app": "u", "graph": "g", "extension": "e"}
    assert Loc("u").to_dict() == {"app": "u"}
    assert EMPTY_LOC.to_dict() == {}
    assert Loc.from_dict({"app": "u", "extension": "e"}) == Loc("u", None, "e")
    assert Loc.from_dict({"app": "", "graph": "g"}) == Loc(None, "g")
    for wrong in ({"app": 5}, {"host": "x"}):
        with pytest.raises(InvalidLocation):
            Loc.from_dict(wrong)


def test_frozen() -> None:
    with pytest.raises(AttributeError):
        EMPTY_LOC.app_uri = "x"  # type: ignore[misc]
