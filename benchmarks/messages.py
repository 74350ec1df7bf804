"""Messages: making one, handing it on, copying it, reading it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat

import ten_trio as ten

from .harness import Case, Measure, Run

PROPERTIES = {"n": 1, "text": "two", "level": 3.0}


def _data() -> ten.Data:
    return ten.Data("x", PROPERTIES)


def _often(make: Callable[[], Callable[[], object]]) -> Measure:
    async def measure(run: Run) -> float:
        n = run.times(5_000)
        action = make()
        began = run.clock()
        for _ in repeat(None, n):
            action()
        return (run.clock() - began) / n

    return measure


def _construct() -> Callable[[], object]:
    return _data


def _shell() -> Callable[[], object]:
    return _data()._shell


def _clone() -> Callable[[], object]:
    return _data().clone


def _write() -> Callable[[], object]:
    data = _data()

    def write() -> None:
        data.clone()["n"] = 2

    return write


def _read() -> Callable[[], object]:
    data = _data()
    return lambda: data["text"]


def _read_path() -> Callable[[], object]:
    data = ten.Data("x", {"words": [{"text": "one"}]})
    return lambda: data["words[0].text"]


CASES = [
    Case("construct", "make Data with 3 properties", _often(_construct)),
    Case("shell", "a receiver's own message", _often(_shell)),
    Case("clone", "clone", _often(_clone)),
    Case("clone-set", "clone, and set one of 3 properties", _often(_write)),
    Case("get", "read a property", _often(_read)),
    Case("get-path", "read words[0].text", _often(_read_path)),
]
