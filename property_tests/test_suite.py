"""The suite itself: every case of the original has its row, and ten faults are noticed."""

from __future__ import annotations

from collections import Counter

import pytest

from property_tests.mutants import rows
from property_tests.mutants.fault import Fault, Outdated
from property_tests.mutants.faults import FAULTS
from property_tests.mutants.page import part_of
from property_tests.mutants.trial import try_all

TEN = (
    "what is queued is turned around when a line gets a lane of its own",
    "a queue without a bound",
    "a command is complete with its first result",
    "a result handler is called for what comes in between",
    "what was held comes in the wrong order",
    "Cancelled is swallowed",
    "a command doesn't inherit its turn",
    "what is thrown away isn't counted",
    "a gate counts wrong: what has gone still waits",
    "a codec is off by one where the header grows",
)
"""Some of each area, of those that are noticed soon."""


def test_every_case_of_the_original_has_its_row() -> None:
    found = rows.rows()
    wanted = [
        (suite, number) for suite, most in rows.CASES.items() for number in range(1, most + 1)
    ]
    assert Counter((row.suite, row.number) for row in found) == Counter(wanted)
    for row in found:
        assert row.tests or row.why, f"{row.suite} {row.number} has neither a test nor a reason"


def test_every_test_that_a_row_names_is_there() -> None:
    named = {test for row in rows.rows() for test in row.tests}
    assert not [test for test in sorted(named) if not rows.is_there(test)]


def test_the_table_on_the_page_is_that_of_the_rows() -> None:
    assert part_of("rows") == rows.content(), "python -m property_tests.mutants.rows writes it"


def test_every_fault_fits_the_source() -> None:
    assert len(FAULTS) >= 60
    for fault in FAULTS.values():
        fault.changed()
        for file in fault.files:
            assert (rows.ROOT / file).is_file(), f"{fault.name}: there is no {file}"


def test_a_fault_that_does_not_fit_is_an_error() -> None:
    place = "runtime.paths:OutPath.close"
    with pytest.raises(Outdated, match="0 times 'not there', not once"):
        Fault("x", place, "not there", "", "order").changed()
    with pytest.raises(Outdated, match=r"there is no runtime.paths:OutPath.nothing"):
        Fault("x", "runtime.paths:OutPath.nothing", "a", "b", "order").changed()


def test_the_table_of_faults_on_the_page_has_all_of_them() -> None:
    page = part_of("mutants")
    assert not [name for name in FAULTS if name.replace("|", "\\|") not in page]


@pytest.mark.slow
def test_ten_faults_are_noticed() -> None:
    # Of all of them by `python -m property_tests.mutants`, as .ci/full does.
    verdicts = list(try_all([FAULTS[name] for name in TEN], everything=False))
    assert len(verdicts) == 10
    assert not [verdict for verdict in verdicts if not verdict.is_caught]
