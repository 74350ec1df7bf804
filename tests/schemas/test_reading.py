"""The reader under manifests and configurations: paths, strict types, hints."""

from __future__ import annotations

import pytest

from ten_trio.errors import Problem
from ten_trio.schemas.reading import DocumentError, Reader, did_you_mean, join_path


@pytest.mark.parametrize(
    ("path", "key", "joined"),
    [
        ("", "a", "a"),
        ("a", "b", "a.b"),
        ("a", 0, "a[0]"),
        ("", 3, "[3]"),
        ("a", "b.c", 'a["b.c"]'),
        ("a", "", 'a[""]'),
        ("file.json#", "a", "file.json#a"),
    ],
)
def test_paths(path: str, key: str | int, joined: str) -> None:
    assert join_path(path, key) == joined


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (True, int, "expected an integer, found a boolean"),
        (1, bool, "expected a boolean, found an integer"),
        (1.0, int, "expected an integer, found a number"),
        ("1", int, "expected an integer, found a string"),
        (None, str, "expected a string, found null"),
        (b"x", str, "expected a string, found a bytes"),
    ],
)
def test_nothing_is_coerced(value: object, kind: type, text: str) -> None:
    reader = Reader(value, "here", [])
    assert reader.expect(kind) is None
    assert reader.problems == [Problem("here", text)]


def test_what_fits_is_returned() -> None:
    problems: list[Problem] = []
    assert Reader(3, "", problems).expect(int) == 3
    assert Reader(True, "", problems).expect(bool) is True
    assert Reader(["a", "b"], "", problems).strings() == ("a", "b")
    assert not problems


def test_keys_that_are_no_strings() -> None:
    reader = Reader({1: "x", "a": "y"}, "", [])
    assert [key for key, _ in reader.members()] == ["a"]
    assert [problem.message for problem in reader.problems] == ["keys must be strings, found 1"]


def test_hints() -> None:
    assert did_you_mean("vresion", ["version", "name"]) == 'did you mean "version"?'
    assert did_you_mean("zzz", ["b", "a"]) == "known: a, b"
    assert did_you_mean("zzz", []) == ""


def test_error_text_of_one_and_of_several_problems() -> None:
    first, second = Problem("a", "is wrong", "try b"), Problem("c", "too")
    assert str(DocumentError([first])) == str(first)
    assert str(DocumentError([first], "f.json")) == f"f.json: {first}"
    assert str(DocumentError([first, second], "f.json")).splitlines() == [
        "f.json: 2 problems",
        f"  {first}",
        f"  {second}",
    ]
