"""The two result policies, as the pure machine that they are."""

from __future__ import annotations

import pytest

from ten_trio import ResultReturnPolicy
from ten_trio.runtime.policies import Collector

EACH = ResultReturnPolicy.EACH_OK_AND_ERROR
FIRST = ResultReturnPolicy.FIRST_ERROR_OR_LAST_OK


def feed(policy: ResultReturnPolicy, destinations: int, *results: str) -> list[tuple[str, bool]]:
    """What the caller gets of results written as `0ok` or `1error…`, `…` for a partial one."""
    collector: Collector[str] = Collector(destinations, policy)
    verdicts = [
        collector.feed(
            int(result[0]), result, is_ok="ok" in result, is_final=not result.endswith("…")
        )
        for result in results
    ]
    assert collector.done == any(verdict and verdict[1] for verdict in verdicts)
    return [verdict for verdict in verdicts if verdict is not None]


@pytest.mark.parametrize(
    ("results", "seen"),
    [
        (["0ok"], [("0ok", True)]),
        (["0error"], [("0error", True)]),
        (["0ok…", "0ok"], [("0ok…", False), ("0ok", True)]),
        (["0error…", "0ok"], [("0error…", False), ("0ok", True)]),
        (["0ok…"], [("0ok…", False)]),
    ],
)
def test_each_for_one_destination(results: list[str], seen: list[tuple[str, bool]]) -> None:
    assert feed(EACH, 1, *results) == seen


def test_each_is_completed_by_the_last_final_result_of_all() -> None:
    assert feed(EACH, 2, "1ok", "0ok…", "0error", "0ok") == [
        ("1ok", False),
        ("0ok…", False),
        ("0error", True),
    ]


@pytest.mark.parametrize(
    ("results", "seen"),
    [
        (["0ok"], [("0ok", True)]),
        (["0ok…", "0ok…", "0ok"], [("0ok", True)]),
        (["0ok…", "0error…", "0ok"], [("0error…", True)]),
        (["0ok…"], []),
    ],
)
def test_first_error_or_last_ok_for_one_destination(
    results: list[str], seen: list[tuple[str, bool]]
) -> None:
    assert feed(FIRST, 1, *results) == seen


@pytest.mark.parametrize(
    ("results", "seen"),
    [
        (["0ok", "1ok", "2ok"], "2ok"),
        (["2ok", "1ok", "0ok"], "2ok"),
        (["2ok…", "1ok", "0ok"], None),
        (["2ok…", "1ok", "0ok", "2ok"], "2ok"),
        (["0ok", "1error", "2error"], "1error"),
        (["0ok", "1error…", "2ok"], "1error…"),
        (["2error"], "2error"),
    ],
)
def test_first_error_or_last_ok_for_three_destinations(
    results: list[str], seen: str | None
) -> None:
    assert feed(FIRST, 3, *results) == ([] if seen is None else [(seen, True)])
