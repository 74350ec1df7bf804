"""The benchmarks work. Nothing here looks at how long anything takes."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from benchmarks import BUDGETS, TARGETS, __main__ as command, checks, guarantees
from benchmarks.private_copy import DoesNotFit, Edit, changed

ROOT = Path(__file__).parents[2]

# An exception that nobody catches takes the task away that would end the graph: that never ends.
REMOVABLE = [
    g
    for g in guarantees.GUARANTEES
    if g.check not in (None, checks.errors_are_reported) and g.changes
]


@pytest.mark.slow
def test_every_case_gives_a_figure(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick", "--rounds", "1", "--json", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(path.read_text())
    expected = [case for case in command.CASES if not case.is_long]
    assert [case["name"] for case in figures["cases"]] == [case.name for case in expected]
    for case, known in zip(figures["cases"], expected, strict=True):
        assert 0 <= case["min"] <= case["median"] <= case["max"] < math.inf, case
        assert case["min"] > 0 or not known.is_ratio, case
    assert figures["held"]
    assert all(figures["held"].values()), figures["held"]
    assert len(figures["costs"]) == 2 + sum(bool(g.changes) for g in guarantees.GUARANTEES)
    assert not any(cost["unfit"] for cost in figures["costs"]), figures["costs"]
    assert figures["load"]


def test_every_budget_is_that_of_a_case() -> None:
    assert set(BUDGETS) <= {case.name for case in command.CASES}


def test_every_target_is_that_of_a_case_and_no_looser_than_its_budget() -> None:
    assert set(TARGETS) <= {case.name for case in command.CASES}
    for name in set(TARGETS) & set(BUDGETS):
        assert TARGETS[name] <= BUDGETS[name], name


def test_no_two_cases_are_called_the_same() -> None:
    names = [case.name for case in command.CASES]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("guarantee", REMOVABLE, ids=lambda g: g.name)
def test_a_guarantee_that_is_left_out_is_missed(guarantee: guarantees.Guarantee) -> None:
    async def check() -> None:
        assert guarantee.check is not None
        with trio.fail_after(10):
            await guarantee.check()

    with changed(guarantee.changes), pytest.raises(checks.NotHeld):
        trio.run(check)
    trio.run(check)


def test_an_edit_that_does_not_fit_is_an_error() -> None:
    edit = Edit(checks._hold, "return 'something else'")
    with pytest.raises(DoesNotFit, match="something else"), changed([edit]):
        pass


def test_check_fails_beyond_the_budget(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--quick", "--rounds", "1", "--check", "construct"]
    assert command.main(arguments) == 0
    monkeypatch.setitem(BUDGETS, "construct", 1e-9)
    assert command.main(arguments) == 1
    assert "construct is beyond" in capsys.readouterr().out


def test_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["no-such-case"]) == 2
    assert command.main(["--list", "hop/"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["hop/1", "hop/64"]
    assert (
        command.main(["--list", "stream", "get"]) == 0
    )  # whole names: not network-stream, not get-path
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["stream", "get"]


def test_what_takes_minutes_is_only_run_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list", "churn-long"]) == 0
    assert "(only by its name)" in capsys.readouterr().out
    assert command.main(["churn-lon"]) == 2
