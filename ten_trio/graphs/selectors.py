"""Selectors: nodes that stand for all the nodes which a filter matches."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import attrs

from ten_trio.errors import Problem
from ten_trio.graphs.reading import JSON_NAME, did_you_mean

FIELDS = ("type", "name", "app", "addon")

# An exact comparison, or a search for a regular expression anywhere in the text.
OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "exact": lambda value, text: value == text,
    "regex": lambda value, text: re.search(value, text) is not None,
}


@attrs.define
class Filter:
    """A condition on nodes: either one comparison, or `all_of` / `any_of` other conditions.

    `field` is one of `FIELDS`, `operator` is "exact" or "regex" (found anywhere in the field). A
    node that doesn't have the field (a subgraph has no addon) doesn't match.
    """

    field: str | None = None
    operator: str | None = None
    value: str | None = None
    all_of: list[Filter] | None = attrs.field(default=None, metadata={JSON_NAME: "and"})
    any_of: list[Filter] | None = attrs.field(default=None, metadata={JSON_NAME: "or"})

    def matches(self, fields: Mapping[str, Any]) -> bool:
        """Tell whether a node with these `fields` (None: it doesn't have it) is meant."""
        if self.all_of is not None:
            return all(part.matches(fields) for part in self.all_of)
        if self.any_of is not None:
            return any(part.matches(fields) for part in self.any_of)
        text = fields.get(self.field or "")
        compare = OPERATORS.get(self.operator or "")
        if compare is None or self.value is None or not isinstance(text, str):
            return False
        try:
            return compare(self.value, text)
        except re.error:
            return False

    def problems(self) -> Iterator[Problem]:
        """Yield what is wrong with this filter, with paths that start at it."""
        comparison = {"field": self.field, "operator": self.operator, "value": self.value}
        given = [name for name, value in comparison.items() if value is not None]
        groups = {"and": self.all_of, "or": self.any_of}
        used = [key for key, parts in groups.items() if parts is not None]
        if len(used) + bool(given) != 1:
            yield Problem("", 'needs exactly one of: field with operator and value, "and", "or"')
            return
        for key in used:
            parts = groups[key] or []
            if not parts:
                yield Problem(key, "is empty")
            for index, part in enumerate(parts):
                for found in part.problems():
                    dot = f".{found.path}" if found.path else ""
                    yield attrs.evolve(found, path=f"{key}[{index}]{dot}")
        if given:
            yield from self._comparison_problems(comparison)

    def _comparison_problems(self, comparison: Mapping[str, str | None]) -> Iterator[Problem]:
        for name, text in comparison.items():
            if text is None:
                yield Problem(name, "is missing")
        allowed: Mapping[str, Collection[str]] = {"field": FIELDS, "operator": OPERATORS}
        for name, known in allowed.items():
            text = comparison[name]
            if text is not None and text not in known:
                yield Problem(name, f'unknown {name} "{text}"', did_you_mean(text, known))
        if self.operator == "regex" and self.value is not None:
            try:
                re.compile(self.value)
            except re.error as error:
                yield Problem("value", f"not a regular expression: {error}")
