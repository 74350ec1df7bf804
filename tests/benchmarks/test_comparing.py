"""Comparing with an earlier run, and the picture of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import TARGETS, __main__ as command, comparing, picture
from benchmarks.harness import Case, Row, Run, Several

ROOT = Path(__file__).parents[2]
QUICK = ["--quick", "--rounds", "1"]


async def _never(run: Run) -> float:
    raise AssertionError


def row(name: str, *ratios: float, unit: str = "H") -> Row:
    return Row(Case(name, name, _never, unit), list(ratios))


def old(**medians: float) -> comparing.Figures:
    return {name: {"name": name, "unit": "H", "median": each} for name, each in medians.items()}


def test_what_has_grown_beyond_the_margin_is_worse() -> None:
    rows = [row("a", 1.0, 2.0, 9.0), row("b", 2.0), row("c", 3.1)]
    compared = comparing.compare(rows, old(a=1.0, b=1.0, c=1.0), 2.0)
    assert [(each.name, each.growth, each.is_worse) for each in compared] == [
        ("a", 2.0, False),
        ("b", 2.0, False),
        ("c", 3.1, True),
    ]


def test_what_was_not_measured_before_is_not_worse() -> None:
    rows = [row("a", 5.0), row("b", 5.0, unit="ms"), row("c", 5.0)]
    compared = comparing.compare(rows, old(b=1.0, c=0.0), 2.0)
    assert [(each.growth, each.is_worse) for each in compared] == [(None, False)] * 3


def test_a_run_is_compared_with_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "old.json"
    assert command.main([*QUICK, "construct", "--json", str(path)]) == 0
    compare = [*QUICK, "construct", "--compare", str(path), "--margin", "1000"]
    assert command.main(compare) == 0
    assert "compared with old.json" in capsys.readouterr().out
    document = json.loads(path.read_text())
    document["cases"][0]["median"] /= 1e6
    path.write_text(json.dumps(document))
    assert command.main(compare) == 1
    assert "beyond 1000 times" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "{}", '{"cases": [{"name": "a"}]}', "[]"])
def test_a_file_that_is_none_is_refused(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "old.json"
    path.write_text(text)
    with pytest.raises(SystemExit):
        command.main(["construct", "--compare", str(path)])
    assert str(path) in capsys.readouterr().err


def test_the_baseline_is_of_cases_that_there_are() -> None:
    figures = comparing.read(ROOT / "benchmarks" / "baseline.json")
    units = {case.name: case.unit for case in command.CASES}
    assert {name: each["unit"] for name, each in figures.items()} == {
        name: units[name] for name in figures
    }
    ratios = (ROOT / ".ci" / "run").read_text()
    assert all(name in ratios for name in figures)


def test_a_row_says_whether_its_target_is_met(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TARGETS, "a", 2.0)
    assert row("a", 2.0).is_met is True
    assert row("a", 2.1).is_met is False
    assert row("b", 2.0).is_met is None


async def test_one_measurement_gives_several_figures() -> None:
    measured = 0

    async def measure(run: Run) -> dict[str, float]:
        nonlocal measured
        measured += 1
        return {"p50": measured, "p99": 10.0 * measured}

    cases = Several("x", measure).cases("ms", {"p50": ("half", ""), "p99": ("most", "us")})
    assert [(case.name, case.unit, case.is_ratio) for case in cases] == [
        ("x/p50", "ms", False),
        ("x/p99", "us", False),
    ]
    run: Any = Run(app=None)  # type: ignore[arg-type]
    half, most = (case.measure for case in cases)
    assert [await half(run), await most(run), await most(run), await half(run)] == [1, 10, 20, 2]
    assert measured == 2


# The picture ------------------------------------------------------------------------------------


def document(**changes: Any) -> dict[str, Any]:
    case = {"name": "a<b", "title": "x" * 90, "unit": "H", "target": 0.5}
    case |= {"median": 1.0, "min": 0.3, "max": 40.0}
    facts = {"date": "2026-01-31", "python": "3.11", "trio": "0.34", "machine": "m", "clock": "cpu"}
    cases = [case, {**case, "name": "zero", "unit": "ms", "target": None, "min": 0.0, **changes}]
    return {**facts, "load": "0.1 before", "rounds": 3, "h_seconds": 4e-6, "cases": cases}


def test_a_picture_says_when_and_under_which_load_it_was_measured() -> None:
    drawn = picture.draw(document())
    texts = [each.text or "" for each in ET.fromstring(drawn).iter() if each.text]
    facts = next(text for text in texts if "2026-01-31" in text)
    assert "load average 0.1 before" in facts
    assert "a<b" in texts
    assert "1 (target 0.5)" in texts


def test_a_figure_of_nothing_is_left_out_of_a_logarithmic_picture() -> None:
    assert ">zero<" in picture.draw(document())
    assert ">zero<" not in picture.draw(document(median=0.0, max=0.0))


def test_the_picture_in_the_docs_is_one() -> None:
    drawn = (ROOT / "docs" / "benchmarks.svg").read_text(encoding="utf-8")
    texts = [each.text or "" for each in ET.fromstring(drawn).iter() if each.text]
    assert "hop/1" in texts
    assert any("load average" in text for text in texts)
