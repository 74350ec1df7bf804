"""Property paths: what is one, and what reading, writing and deleting by path does."""

from __future__ import annotations

from typing import Any

import pytest

from ten_trio.errors import InvalidPath, PropertyNotFound
from ten_trio.messages import INVALID
from ten_trio.messages.paths import MAX_INDEX, delete_at, get_at, parse, set_at, to_text
from ten_trio.messages.values import freeze, freeze_items


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("a", ("a",)),
        ("a.b", ("a", "b")),
        ("a[0]", ("a", 0)),
        ("a.b[0][2].c", ("a", "b", 0, 2, "c")),
        ("first name.é-1", ("first name", "é-1")),
        ("a[007]", ("a", 7)),
        ("0.1", ("0", "1")),
        (f"a[{MAX_INDEX}]", ("a", MAX_INDEX)),
    ],
)
def test_parse(text: str, parts: tuple[str | int, ...]) -> None:
    assert parse(text) == parts
    assert parse(to_text(parts)) == parts


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (".", 0),
        (".a", 0),
        ("a.", 2),
        ("a..b", 2),
        ("[0]", 0),
        ("a.[0]", 2),
        ("a[", 1),
        ("a[]", 1),
        ("a[x]", 1),
        ("a[-1]", 1),
        ("a[ 1]", 1),
        ("a[1.5]", 1),
        ("a[1", 1),
        ("a[0]b", 4),
        ("a]", 1),
        ("a[0]]", 4),
        ("a[٣]", 1),
        (f"a[{MAX_INDEX + 1}]", 1),
        (f"a[{'9' * 5000}]", 1),
    ],
)
def test_garbage(text: str, at: int) -> None:
    with pytest.raises(InvalidPath, match=f"at character {at}"):
        parse(text)


def test_depth_and_type() -> None:
    assert len(parse(".".join("a" * 64))) == 64
    with pytest.raises(InvalidPath, match="more than 64 deep"):
        parse(".".join("a" * 65))
    with pytest.raises(InvalidPath, match="is a string"):
        parse(5)  # type: ignore[arg-type]


TREE = freeze_items({"a": {"b": [1, {"c": None}]}, "s": "text", "n": 5})


@pytest.mark.parametrize(
    ("path", "value"),
    [("", TREE), ("n", 5), ("a.b", [1, {"c": None}]), ("a.b[0]", 1), ("a.b[1].c", None)],
)
def test_get(path: str, value: Any) -> None:
    assert get_at(TREE, path) == value
    assert get_at(TREE, parse(path)) == value


@pytest.mark.parametrize(
    "path", ["x", "a.x", "a[0]", "a.b[2]", "a.b.c", "a.b[0].c", "s[0]", "s.x", "n.x", "a.b[1].c.d"]
)
def test_get_nothing(path: str) -> None:
    with pytest.raises(PropertyNotFound, match="no property"):
        get_at(TREE, path)


@pytest.mark.parametrize(
    ("before", "path", "after"),
    [
        ({}, "a", {"a": 9}),
        ({"a": 1}, "a", {"a": 9}),
        ({}, "a.b.c", {"a": {"b": {"c": 9}}}),
        ({"a": {"x": 1}}, "a.b", {"a": {"x": 1, "b": 9}}),
        ({"a": 5}, "a.b", {"a": {"b": 9}}),
        ({"a": [1]}, "a.b", {"a": {"b": 9}}),
        ({"a": {"b": 1}}, "a[0]", {"a": [9]}),
        ({"a": [1, 2]}, "a[0]", {"a": [9, 2]}),
        ({"a": [1]}, "a[1]", {"a": [1, 9]}),
        ({}, "a[3]", {"a": [INVALID, INVALID, INVALID, 9]}),
        ({}, "a[1][2]", {"a": [INVALID, [INVALID, INVALID, 9]]}),
        ({"a": [1]}, "a[2].b", {"a": [1, INVALID, {"b": 9}]}),
    ],
)
def test_set(before: dict[str, Any], path: str, after: dict[str, Any]) -> None:
    frozen = freeze_items(before)
    assert set_at(frozen, path, 9) == after
    assert get_at(set_at(frozen, path, 9), path) == 9
    assert frozen == before


def test_set_shares_what_is_not_on_the_way() -> None:
    after = set_at(TREE, "a.x", 1)
    assert after["a"]["b"] is TREE["a"]["b"]
    assert after["a"] is not TREE["a"]


def test_set_far_away() -> None:
    after = set_at({}, "a[40]", 1)
    assert after["a"] == [INVALID] * 40 + [1]
    assert len(set_at({}, f"a[{MAX_INDEX}]", 1)["a"]) == MAX_INDEX + 1


def test_set_needs_a_name() -> None:
    for path in ("", (0,), (0, "a")):
        with pytest.raises(InvalidPath):
            set_at({}, path, 1)


@pytest.mark.parametrize(
    ("path", "after"),
    [
        ("n", {"a": {"b": [1, {"c": None}]}, "s": "text"}),
        ("a.b", {"a": {}, "s": "text", "n": 5}),
        ("a.b[0]", {"a": {"b": [{"c": None}]}, "s": "text", "n": 5}),
        ("a.b[1].c", {"a": {"b": [1, {}]}, "s": "text", "n": 5}),
    ],
)
def test_delete(path: str, after: dict[str, Any]) -> None:
    before = freeze(TREE)
    assert delete_at(TREE, path) == after
    assert before == TREE


@pytest.mark.parametrize("path", ["x", "a.x", "a.b[2]", "s.x", "n[0]"])
def test_delete_nothing(path: str) -> None:
    with pytest.raises(PropertyNotFound):
        delete_at(TREE, path)
    with pytest.raises(InvalidPath):
        delete_at(TREE, "")
