"""What the results of a command have to be: the model, in plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from ...messages import CmdResult
from ...messages.values import type_of


def typed(value: Any) -> Any:
    """The value together with the types of all that is in it: 5 as int8 isn't 5 as int64."""
    if isinstance(value, Mapping):
        return {key: typed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [typed(item) for item in value]
    # repr: 0.0 isn't -0.0
    return type_of(value).name.lower(), repr(value) if isinstance(value, float) else value


@attrs.frozen
class Answer:
    """One result."""

    properties: Mapping[str, Any] = attrs.field(factory=dict)
    ok: bool = True
    final: bool = True

    @classmethod
    def of(cls, result: CmdResult) -> Answer:
        """What a result says."""
        return cls(dict(result.properties), result.ok, result.is_final)

    def same_as(self, other: Answer, *, final: bool | None = None) -> bool:
        """Whether it says the same, types included; `final` takes the place of what this one says."""
        wanted = self.final if final is None else final
        return (wanted, self.ok) == (other.final, other.ok) and (
            typed(self.properties) == typed(other.properties)
        )

    def __str__(self) -> str:
        more = "" if self.final else ", not final"
        return f"{'OK' if self.ok else 'ERROR'} {shown(self.properties)}{more}"


@attrs.frozen
class Expected:
    """What has to come, in words, and whether what has come is that."""

    words: str
    holds: Callable[[Sequence[Answer]], bool]
    strict: bool = True
    """Whether it matters at all how often and when something comes."""


def exactly(*answers: Answer) -> Expected:
    """These, in this order."""

    def holds(got: Sequence[Answer]) -> bool:
        return len(got) == len(answers) and all(
            wanted.same_as(each) for wanted, each in zip(answers, got, strict=True)
        )

    return Expected("; ".join(map(str, answers)), holds)


def refused() -> Expected:
    """One ERROR of the runtime's own, which says why."""

    def holds(got: Sequence[Answer]) -> bool:
        if len(got) != 1 or got[0].ok:
            return False
        detail = got[0].properties.get("detail")
        return isinstance(detail, str) and bool(detail)

    return Expected("one ERROR with the reason as detail", holds)


def ended() -> Expected:
    """Whatever it is; it has to end."""
    return Expected("a final result, OK or ERROR", lambda got: bool(got))


def ignored() -> Expected:
    """Nothing: this rule isn't about results."""
    return Expected("whatever comes", lambda _: True, strict=False)


def each_of(branches: Sequence[Sequence[Answer]]) -> Expected:
    """All results of all branches: in order within each, in any order otherwise, the last one final."""

    def holds(got: Sequence[Answer]) -> bool:
        if [each.final for each in got] != [False] * (len(got) - 1) + [True]:
            return False
        return _merges([attrs.evolve(each, final=False) for each in got], branches)

    lists = " and of ".join("; ".join(map(_plain, branch)) for branch in branches)
    return Expected(f"every result of {lists}; the last one final", holds)


def first_error_or_last_ok(branches: Sequence[Sequence[Answer]]) -> Expected:
    """The first ERROR of any branch, else the last branch's last OK; final in any case."""
    # Which branch is faster isn't laid down; within one branch it is the first.
    errors = [next((each for each in branch if not each.ok), None) for branch in branches]
    allowed = [each for each in errors if each is not None] or [branches[-1][-1]]

    def holds(got: Sequence[Answer]) -> bool:
        return len(got) == 1 and any(each.same_as(got[0], final=True) for each in allowed)

    return Expected(" or ".join(_plain(each) for each in allowed) + ", and nothing else", holds)


def _merges(got: Sequence[Answer], branches: Sequence[Sequence[Answer]]) -> bool:
    """Whether `got` is what comes out when the branches are shuffled into each other."""
    if len(got) != sum(map(len, branches)):
        return False
    places = {tuple([0] * len(branches))}  # how far each branch may have come
    for each in got:
        further = set()
        for place in places:
            for index, branch in enumerate(branches):
                at = place[index]
                if at < len(branch) and branch[at].same_as(each, final=False):
                    further.add((*place[:index], at + 1, *place[index + 1 :]))
        places = further
    return bool(places)


def _plain(answer: Answer) -> str:
    return f"{'OK' if answer.ok else 'ERROR'} {shown(answer.properties)}"


_MOST = 300


def shown(value: Any) -> str:
    """A value for the report; a long one is cut."""
    text = repr(_bare(value))
    return text if len(text) <= _MOST else f"{text[:_MOST]}…"


def _bare(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _bare(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_bare(item) for item in value]
    return bytes(value) if isinstance(value, memoryview) else value


__all__ = [
    "Answer",
    "Expected",
    "each_of",
    "ended",
    "exactly",
    "first_error_or_last_ok",
    "ignored",
    "refused",
    "shown",
    "typed",
]
