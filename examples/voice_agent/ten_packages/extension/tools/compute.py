"""The tools: each takes the arguments of a call and gives its answer sentence by sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from math import isqrt, sqrt
from typing import Any

Tool = Callable[..., Iterator[str]]

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

_SIZES: dict[str, tuple[str, Fraction]] = {
    name: (dimension, Fraction(size))
    for dimension, units in {
        "time": {"second": "1", "minute": "60", "hour": "3600", "day": "86400", "week": "604800"},
        "length": {
            "inch": "0.0254", "foot": "0.3048", "yard": "0.9144", "mile": "1609.344",
            "centimeter": "0.01", "meter": "1", "kilometer": "1000",
        },
        "mass": {
            "pound": "453.59237", "gram": "1", "kilogram": "1000",
        },
    }.items()
    for name, size in units.items()
}  # fmt: skip
"""Each unit's dimension and size; the sizes are exact."""

_PLURALS = {"inch": "inches", "foot": "feet"}

_SKIES = ("sunny", "cloudy", "rainy", "windy", "bright and dry")

CLIMATE: dict[str, int] = {
    "athens": 23, "berlin": 14, "boston": 12, "cairo": 29, "chicago": 11, "dublin": 10,
    "helsinki": 6, "lisbon": 20, "london": 13, "madrid": 19, "moscow": 5, "oslo": 7,
    "paris": 16, "rome": 21, "sydney": 22, "tokyo": 18, "toronto": 9, "vienna": 15,
}  # fmt: skip
"""Degrees Celsius on a Monday, and on the day without a name; made up."""


def arithmetic(left: int, operator: str, right: int) -> Iterator[str]:
    """One operation with two numbers."""
    if operator == "divided by":
        if right == 0:
            yield "Nothing can be divided by zero."
            return
        quotient = Fraction(left, right)
        yield f"{left} divided by {right} is {_number(quotient)}."
        return
    value = {"plus": left + right, "minus": left - right, "times": left * right}[operator]
    yield f"{left} {operator} {right} is {_number(Fraction(value))}."


def percent(percent: int, of: int) -> Iterator[str]:
    """A part of a number."""
    yield f"{percent} percent of {of} is {_number(Fraction(percent * of, 100))}."


def square(of: int) -> Iterator[str]:
    """A number times itself."""
    yield f"The square of {of} is {of * of}."


def root(of: int) -> Iterator[str]:
    """A square root, to two decimals."""
    if isqrt(of) ** 2 == of:
        yield f"The square root of {of} is {isqrt(of)}."
    else:
        yield f"The square root of {of} is about {sqrt(of):.2f}."


def prime(number: int) -> Iterator[str]:
    """Whether a number is a prime, and if not, why."""
    if number < 2:
        yield f"No, {number} is not a prime."
        yield "The smallest prime is 2."
        return
    divisor = next((d for d in range(2, isqrt(number) + 1) if number % d == 0), None)
    if divisor is None:
        yield f"Yes, {number} is a prime."
    else:
        yield f"No, {number} is not a prime."
        yield f"It is {divisor} times {number // divisor}."


def convert(to: str, amount: int, unit: str) -> Iterator[str]:
    """How many of one unit are in some of another."""
    dimension, size = _SIZES[unit]
    wanted_dimension, wanted = _SIZES[to]
    if dimension != wanted_dimension:
        yield f"A {unit} can't be measured in {_plural(to)}."
        return
    value = amount * size / wanted
    verb = "is" if amount == 1 else "are"
    answer = _counted(value, to)
    if 0 < value < Fraction(1, 100):
        answer = f"less than 0.01 {_plural(to)}"
    elif round(value, 2) != value:
        answer = f"about {answer}"
    yield f"{_counted(Fraction(amount), unit)} {verb} {answer}."


def weather(city: str, day: str = "") -> Iterator[str]:
    """The weather in a city, in three sentences."""
    degrees, sky = _weather(city, WEEKDAYS.index(day) if day else 0)
    yield f"In {city.title()} it is {sky} {f'on {day.title()}' if day else 'today'}."
    yield f"The temperature is {degrees} degrees."
    yield _advice(degrees, sky)


def forecast(city: str) -> Iterator[str]:
    """Every day of the week in a city: a long answer."""
    yield f"This is the week in {city.title()}."
    for number, day in enumerate(WEEKDAYS):
        degrees, sky = _weather(city, number)
        yield f"On {day.title()} it is {sky}, with {degrees} degrees."


def compare(which: str, cities: list[str]) -> Iterator[str]:
    """Which of two cities is warmer or colder."""
    one, other = sorted(cities, key=CLIMATE.__getitem__, reverse=which == "warmer")
    difference = abs(CLIMATE[one] - CLIMATE[other])
    if difference == 0:
        yield "It is the same in both."
        return
    yield f"It is {which} in {one.title()}."
    yield f"The difference is {_counted(Fraction(difference), 'degree')}."


def day(count: int, unit: str, start: str) -> Iterator[str]:
    """The day of the week some days or weeks after or before another one."""
    days = count * (7 if unit == "week" else 1)
    found = WEEKDAYS[(WEEKDAYS.index(start) + days) % 7]
    yield f"{_shift(count, unit)} {start.title()} it is {found.title()}."


def time(count: int, unit: str, start: int) -> Iterator[str]:
    """The time of day some minutes or hours after or before another one."""
    found = start + count * (60 if unit == "hour" else 1)
    yield f"{_shift(count, unit)} {_clock(start)} it is {_clock(found)}."


TOOLS: Mapping[str, Tool] = {
    tool.__name__: tool
    for tool in (
        *(arithmetic, percent, square, root, prime, convert),
        *(weather, forecast, compare, day, time),
    )
}


def run(name: str, arguments: Mapping[str, Any]) -> Iterator[str]:
    """The sentences of a tool's answer. Raises `LookupError` for an unknown tool, city or day."""
    return TOOLS[name](**arguments)


def _weather(city: str, weekday: int) -> tuple[int, str]:
    monday = CLIMATE[city]
    return monday + (weekday * 2 + monday) % 5 - monday % 5, _SKIES[(monday + weekday) % 5]


def _advice(degrees: int, sky: str) -> str:
    if sky == "rainy":
        return "Take an umbrella with you."
    return "Take a warm coat with you." if degrees < 15 else "You won't need a coat."


def _number(value: Fraction) -> str:
    """At most two decimals, as a person would say it."""
    text = f"{float(round(value, 2)):.2f}".rstrip("0").rstrip(".")
    return f"minus {text[1:]}" if text.startswith("-") else text


def _plural(unit: str) -> str:
    return _PLURALS.get(unit, f"{unit}s")


def _counted(value: Fraction, unit: str) -> str:
    return f"{_number(value)} {unit if value == 1 else _plural(unit)}"


def _shift(count: int, unit: str) -> str:
    return f"{_counted(Fraction(abs(count)), unit)} {'after' if count > 0 else 'before'}"


def _clock(minutes: int) -> str:
    minutes %= 24 * 60
    if minutes in (0, 720):
        return "noon" if minutes else "midnight"
    hour = (minutes // 60 - 1) % 12 + 1
    half = "in the morning" if minutes < 720 else "in the afternoon"
    return f"{hour}:{minutes % 60:02} {half}" if minutes % 60 else f"{hour} o'clock {half}"
