"""The comparison with others: what is stored of them has all that is printed."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.console import Console

from benchmarks.peers import __main__ as peers


def stored() -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(peers.STORED.read_text(encoding="utf-8"))
    return figures


def shown(measured: dict[str, Any]) -> str:
    text = io.StringIO()
    Console(width=200, file=text).print(peers.table(measured))
    return text.getvalue()


def test_what_is_stored_is_printed_with_its_date() -> None:
    then = stored()
    now = {"date": "2030-01-01", "ten_trio": then["ten_trio"]}
    text = shown({"now": now, "then": then})
    assert f"pipecat {then['pipecat']['version']} (stored {then['date']})" in text
    assert text.count(" us") == 4
    assert text.count("sessions: p50 / p99") == len(peers.COUNTS) == text.count(" %\n")


def test_what_is_measured_goes_before_what_is_stored() -> None:
    then = stored()
    pipecat = {**then["pipecat"], "version": "9.9"}
    now = {"date": "2030-01-01", "ten_trio": then["ten_trio"], "pipecat": pipecat}
    assert "pipecat 9.9 (2030-01-01)" in shown({"now": now, "then": then})


def test_no_frame_was_lost_where_it_was_measured() -> None:
    then = stored()
    for name in ("ten_trio", "pipecat"):
        assert [each["frames"] for each in then[name]["sessions"]] == [1.0] * len(peers.COUNTS)


@pytest.mark.slow
def test_without_the_others_there_is_what_is_stored(capsys: pytest.CaptureFixture[str]) -> None:
    assert peers.main(["--quick", "--python", "/bin/false"]) == 0
    out = capsys.readouterr().out
    assert "(stored " in out
    assert "livekit-agents" in out
    assert peers.main(["--quick", "--python", "/bin/false", "--write"]) == 1
