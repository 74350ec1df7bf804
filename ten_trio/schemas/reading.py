"""Strict reading of JSON documents that collects every problem instead of stopping at the first.

Nothing is coerced: `true` is no integer and `"3"` no number. A `Reader` stands at one place of one
document and knows its JSON path; all the readers of a document share one list of problems.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import attrs

from ten_trio.errors import ConfigError, Problem

T = TypeVar("T")

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_PLAIN_KEY = re.compile(r"[^.\[\]\"\s]+")

# What JSON calls the Python types it is read into.
_JSON_NAMES: Mapping[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    type(None): "null",
}


class DocumentError(ConfigError):
    """A document that people write is wrong. `problems` lists everything that is.

    `file` names the document, `path` is the JSON path of the first problem.
    """

    problems: tuple[Problem, ...]

    def __init__(self, problems: Iterable[Problem], file: str = "") -> None:
        self.problems = tuple(problems)
        texts = [str(problem) for problem in self.problems]
        if len(texts) == 1:
            message = f"{file}: {texts[0]}" if file else texts[0]
        else:
            count = f"{len(texts)} problems"
            message = "\n  ".join([f"{file}: {count}" if file else count, *texts])
        first = self.problems[0].path if self.problems else ""
        super().__init__(message, file=file, path=first)


def join_path(path: str, key: str | int) -> str:
    """Return the JSON path of `key` below `path`: `a.b`, `a[0]`, `a["odd key"]`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not _PLAIN_KEY.fullmatch(key):
        return f'{path}["{key}"]'
    return f"{path}.{key}" if path and not path.endswith("#") else f"{path}{key}"


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Return a hint that names the closest of `known`, or all of them if none is close."""
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f'did you mean "{close[0]}"?'
    return "known: " + ", ".join(sorted(known)) if known else ""


def json_name(value: object) -> str:
    """Return how a message calls the JSON type of `value`, with its article."""
    for base, name in _JSON_NAMES.items():
        if type(value) is base:
            return name
    for base, name in _JSON_NAMES.items():
        if isinstance(value, base):
            return name
    return f"a {type(value).__name__}"


@attrs.frozen
class Reader:
    """One value of a JSON document, where it stands, and the list that problems are added to."""

    value: object
    path: str
    problems: list[Problem]

    def problem(self, message: str, hint: str = "") -> None:
        """Note that something is wrong with this value."""
        self.problems.append(Problem(self.path, message, hint))

    def at(self, key: str | int, value: object) -> Reader:
        """Return the reader of `value`, found below this one under `key`."""
        return Reader(value, join_path(self.path, key), self.problems)

    def has(self, key: str) -> bool:
        """Say whether this value is an object with this key."""
        return isinstance(self.value, Mapping) and key in self.value

    def get(self, key: str) -> Reader | None:
        """Return the member `key` of this object, or None if it is absent."""
        if isinstance(self.value, Mapping) and key in self.value:
            return self.at(key, self.value[key])
        return None

    def require(self, key: str) -> Reader | None:
        """Return the member `key` of this object; if it is absent, note that and return None."""
        found = self.get(key)
        if found is None:
            self.problem(f'"{key}" is required')
        return found

    def expect(self, kind: type[T]) -> T | None:
        """Return the value if it is exactly of this JSON type, else note the problem."""
        # bool is a subclass of int, and JSON tells them apart.
        if isinstance(self.value, kind) and (kind is bool or not isinstance(self.value, bool)):
            return self.value
        self.problem(f"expected {_JSON_NAMES[kind]}, found {json_name(self.value)}")
        return None

    def is_object(self, allowed: Collection[str] | None = None) -> bool:
        """Say whether this is an object; note it if not, and every key that is not `allowed`."""
        if not isinstance(self.value, Mapping):
            self.problem(f"expected an object, found {json_name(self.value)}")
            return False
        for key in self.value:
            if not isinstance(key, str):
                self.problem(f"keys must be strings, found {key!r}")
            elif allowed is not None and key not in allowed:
                self.at(key, None).problem(f'unknown key "{key}"', did_you_mean(key, allowed))
        return True

    def members(self) -> Iterator[tuple[str, Reader]]:
        """Iterate over an object's members; noted and empty if this is no object."""
        if self.is_object() and isinstance(self.value, Mapping):
            for key, value in self.value.items():
                if isinstance(key, str):
                    yield key, self.at(key, value)

    def items(self) -> Iterator[Reader]:
        """Iterate over an array's items; noted and empty if this is no array."""
        if isinstance(self.value, Sequence) and not isinstance(self.value, (str, bytes)):
            for index, item in enumerate(self.value):
                yield self.at(index, item)
        else:
            self.problem(f"expected an array, found {json_name(self.value)}")

    def strings(self) -> tuple[str, ...]:
        """Read an array of strings; what is no string is noted and left out."""
        texts = [item.expect(str) for item in self.items()]
        return tuple(text for text in texts if text is not None)

    def text(self) -> str | None:
        """Read a string that is not empty."""
        text = self.expect(str)
        if text == "":
            self.problem("must not be empty")
            return None
        return text

    def identifier(self) -> str | None:
        """Read a name made of ASCII letters, digits and underscores, not starting with a digit."""
        text = self.expect(str)
        if text is not None and not IDENTIFIER.fullmatch(text):
            self.problem(
                f'"{text}" is no identifier',
                "letters, digits and underscores only, and no digit first",
            )
            return None
        return text

    def choice(self, options: Collection[str]) -> str | None:
        """Read a string that is one of `options`."""
        text = self.expect(str)
        if text is not None and text not in options:
            self.problem(f'unknown value "{text}"', did_you_mean(text, options))
            return None
        return text
