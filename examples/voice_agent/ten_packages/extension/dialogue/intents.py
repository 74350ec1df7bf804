"""From the words of a question to the tool call that answers it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

_UNITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]

NUMBERS: dict[str, int] = {
    **{word: number for number, word in enumerate(_UNITS)},
    **{ten: 10 * number for number, ten in enumerate(_TENS, 2)},
    **{
        f"{ten} {_UNITS[digit]}": 10 * number + digit
        for number, ten in enumerate(_TENS, 2)
        for digit in range(1, 10)
    },
    "one hundred": 100,
}
"""The numbers that can be said, by their words."""

_WORDS = {number: words for words, number in NUMBERS.items()}

SINGULAR = {
    plural: singular
    for singular, plural in (
        pair.split(":")
        for pair in [
            "second:seconds",
            "minute:minutes",
            "hour:hours",
            "day:days",
            "week:weeks",
            "inch:inches",
            "foot:feet",
            "yard:yards",
            "mile:miles",
            "centimeter:centimeters",
            "meter:meters",
            "kilometer:kilometers",
            "ounce:ounces",
            "pound:pounds",
            "gram:grams",
            "kilogram:kilograms",
        ]
    )
}
"""The units by their plurals."""


@dataclass(frozen=True)
class ToolCall:
    """Which tool is to be called, and with what."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        values = ", ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.name}({values})"


def parse(text: str) -> ToolCall | None:
    """The call that answers the question `text`; None if it isn't one of those understood."""
    for pattern, make in _INTENTS:
        match = pattern.fullmatch(text)
        if match:
            try:
                return make(match)
            except KeyError:  # a word where a number, a unit or a time should be
                return None
    return None


def normalise(text: str) -> str:
    """`text` as the recogniser would write it: lower case, no punctuation, numbers up to 100 in words."""
    text = re.sub(r"[^\w' ]", " ", text.lower().replace("%", " percent"))
    text = re.sub(r"\d+", lambda match: _WORDS.get(int(match[0]), match[0]), text)
    return " ".join(text.split())


def _unit(word: str) -> str:
    return word if word in SINGULAR.values() else SINGULAR[word]


def _clock(words: str) -> int:
    """A time of day in minutes since midnight; o'clock times are those of the morning."""
    if words in ("noon", "midnight"):
        return 720 if words == "noon" else 0
    if words.endswith(" o'clock"):
        return NUMBERS[words.removesuffix(" o'clock")] % 12 * 60
    offsets = {"half past ": 30, "quarter past ": 15, "quarter to ": -15}
    start = next((start for start in offsets if words.startswith(start)), "")
    return (NUMBERS[words.removeprefix(start)] % 12 * 60 + offsets[start]) % 720


def _arithmetic(match: re.Match[str]) -> ToolCall:
    return ToolCall(
        "arithmetic",
        {"left": NUMBERS[match[1]], "operator": match[2], "right": NUMBERS[match[3]]},
    )


def _percent(match: re.Match[str]) -> ToolCall:
    return ToolCall("percent", {"percent": NUMBERS[match[1]], "of": NUMBERS[match[2]]})


def _convert(match: re.Match[str]) -> ToolCall:
    wanted, amount, unit = match.groups()
    return ToolCall(
        "convert", {"to": _unit(wanted), "amount": NUMBERS[amount], "unit": _unit(unit)}
    )


def _weather(match: re.Match[str]) -> ToolCall:
    city, day = match.groups()
    return ToolCall("weather", {"city": city, **({"day": day} if day else {})})


def _compare(match: re.Match[str]) -> ToolCall:
    return ToolCall("compare", {"which": match[1], "cities": [match[2], match[3]]})


def _signed(match: re.Match[str]) -> int:
    return NUMBERS[match["count"]] * (1 if match["direction"] == "after" else -1)


def _day(match: re.Match[str]) -> ToolCall:
    return ToolCall(
        "day", {"count": _signed(match), "unit": _unit(match["unit"]), "start": match["start"]}
    )


def _time(match: re.Match[str]) -> ToolCall:
    return ToolCall(
        "time",
        {"count": _signed(match), "unit": _unit(match["unit"]), "start": _clock(match["start"])},
    )


_SHIFT = r"(?P<count>.+) (?P<unit>\w+) (?P<direction>after|before) (?P<start>.+)"


def _intents() -> Iterator[tuple[str, Callable[[re.Match[str]], ToolCall]]]:
    yield r"what is (.+) (plus|minus|times|divided by) (.+)", _arithmetic
    yield r"what is (.+) percent of (.+)", _percent
    yield r"what is the square root of (.+)", lambda m: ToolCall("root", {"of": NUMBERS[m[1]]})
    yield r"what is the square of (.+)", lambda m: ToolCall("square", {"of": NUMBERS[m[1]]})
    yield r"is (.+) a prime", lambda m: ToolCall("prime", {"number": NUMBERS[m[1]]})
    yield r"how many (\w+) are in (.+) (\w+)", _convert
    yield r"what is the weather in (\w+)(?: on (\w+))?", _weather
    yield r"what is the forecast for (\w+)", lambda m: ToolCall("forecast", {"city": m[1]})
    yield r"is it (warmer|colder) in (\w+) or in (\w+)", _compare
    yield rf"what day is it {_SHIFT}", _day
    yield rf"what time is it {_SHIFT}", _time


_INTENTS = [(re.compile(pattern), make) for pattern, make in _intents()]
