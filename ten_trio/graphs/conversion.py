"""Message conversions: what a graph does to a message on its way into an extension.

A conversion belongs to one destination of one flow. The receiver gets a converted copy: its
properties start empty (or as they were, with `keep_original`) and the rules fill them in order.
The path `ten.name` stands for the message's name, so a rule on it renames the message.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, cast

import attrs

from ten_trio.errors import InvalidPath, Problem, PropertyNotFound
from ten_trio.graphs.reading import JSON_NAME, REQUIRED, did_you_mean, json_name
from ten_trio.messages import CmdResult, Msg
from ten_trio.messages.paths import parse
from ten_trio.messages.values import INVALID

M = TypeVar("M", bound=Msg)

FIXED_VALUE = "fixed_value"
FROM_ORIGINAL = "from_original"
PER_PROPERTY = "per_property"


@attrs.frozen
class Rule:
    """One step of a conversion: put a value at `path`.

    Write `Rule.fixed(path, value)` or `Rule.copied(path, original_path)`. `mode` is "fixed_value"
    (then `value`, a string, boolean or number, counts) or "from_original" (then `original_path`, a
    path in the message as it arrived, does).
    """

    path: str
    mode: str = attrs.field(metadata={JSON_NAME: "conversion_mode"})
    value: Any = None
    original_path: str | None = None

    @classmethod
    def fixed(cls, path: str, value: str | bool | int | float) -> Rule:
        """Return a rule that sets `path` to `value`, whatever the message says."""
        return cls(path, FIXED_VALUE, value=value)

    @classmethod
    def copied(cls, path: str, original_path: str) -> Rule:
        """Return a rule that copies what the original has at `original_path`."""
        return cls(path, FROM_ORIGINAL, original_path=original_path)

    def apply(self, original: Msg, converted: Msg) -> None:
        """Carry the rule out. A missing original leaves an invalid value at `path`."""
        value = self.value
        if self.mode == FROM_ORIGINAL:
            try:
                value = original.get_property(self.original_path or "")
            except PropertyNotFound:
                value = INVALID
        converted.set_property(self.path, value)

    def path_problems(self) -> Iterator[Problem]:
        """Yield what is wrong with `path` by itself."""
        yield from _path_problems("path", self.path)

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with this rule, with paths that start at it."""
        yield from self.path_problems()
        if self.mode == FIXED_VALUE:
            if self.value is None:
                yield Problem("value", "is missing, though conversion_mode is fixed_value")
            elif not isinstance(self.value, str | bool | int | float):
                found = json_name(self.value)
                yield Problem("value", f"must be a string, a boolean or a number, not {found}")
            if self.original_path is not None:
                yield Problem("original_path", "has no meaning with fixed_value")
        elif self.mode == FROM_ORIGINAL:
            if self.original_path is None:
                message = "is missing, though conversion_mode is from_original"
                yield Problem("original_path", message)
            else:
                yield from _path_problems("original_path", self.original_path)
            if self.value is not None:
                yield Problem("value", "has no meaning with from_original")
        else:
            hint = did_you_mean(self.mode, (FIXED_VALUE, FROM_ORIGINAL))
            yield Problem("conversion_mode", f'unknown mode "{self.mode}"', hint)


def _path_problems(key: str, path: str) -> Iterator[Problem]:
    if not path:
        yield Problem(key, "is empty")
        return
    try:
        parse(path)
    except InvalidPath as error:
        yield Problem(key, str(error))


@attrs.frozen
class Conversion:
    """How one destination wants to see a message, and (`result`) its sender the results.

    `rules` run in order; `keep_original` keeps the properties the message came with.
    """

    rules: tuple[Rule, ...] = attrs.field(converter=tuple[Rule, ...], metadata={REQUIRED: True})
    keep_original: bool = False
    result: Conversion | None = None
    type: str = attrs.field(default=PER_PROPERTY, metadata={REQUIRED: True})

    @classmethod
    def rename(cls, name: str, *rules: Rule) -> Conversion:
        """Return a conversion that renames the message, keeps its properties, adds `rules`."""
        return cls((Rule.fixed("ten.name", name), *rules), keep_original=True)

    @property
    def new_name(self) -> str | None:
        """The name this conversion gives to a message, if it renames it to a fixed one."""
        names = [r.value for r in self.rules if r.path == "ten.name" and r.mode == FIXED_VALUE]
        return str(names[-1]) if names else None

    def apply(self, msg: M) -> M:
        """Return a converted copy of `msg`, which stays as it is.

        Source and destinations are kept. The copy of a command is a new command whose parent is
        `msg`; that of a result still answers the same command.

        Raises:
            InvalidPath, InvalidType, PropertyRangeError: A rule can't be carried out.
        """
        # A result has no clone of its own on the way home: it must keep the ids it is filed under.
        converted = cast(M, msg._shell() if isinstance(msg, CmdResult) else msg.clone())
        converted._dests = msg._dests
        if not self.keep_original:
            converted.set_property("", {})
        for rule in self.rules:
            rule.apply(msg, converted)
        return converted

    def problems(self, kind: str = "cmd") -> Iterator[Problem]:
        """Yield what is wrong with this conversion of a message of `kind` ("cmd", "data", ...)."""
        if self.type != PER_PROPERTY:
            yield Problem("type", f'unknown type "{self.type}"', f'there is "{PER_PROPERTY}"')
        if not self.rules:
            yield Problem("rules", "is empty: a conversion needs at least one rule")
        for index, rule in enumerate(self.rules):
            yield from _inside(f"rules[{index}]", rule.problems())
        if self.result is None:
            return
        if kind != "cmd":
            yield Problem("result", f"only a cmd has a result to convert, not {_article(kind)}")
        if self.result.result is not None:
            yield Problem("result.result", "a result has no result of its own")
        yield from _inside("result", attrs.evolve(self.result, result=None).problems())


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def _inside(path: str, problems: Iterable[Problem]) -> Iterator[Problem]:
    for problem in problems:
        yield attrs.evolve(problem, path=f"{path}.{problem.path}")
