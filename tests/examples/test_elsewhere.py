"""What goes wrong elsewhere doesn't here: the seven scripts of examples/elsewhere, ours."""

from __future__ import annotations

import sys

import pytest

from examples.elsewhere import flood
from tests.examples.running import ROOT, run

FOLDER = ROOT / "examples" / "elsewhere"
HELPERS = {"__main__", "telling", "pipecat_session"}

SHOWN = {
    "blocked_end": [
        "Blocked: ended after 0.0 s, in order\n",
        "Worse: ended after 0.3 s, grace ran out, stage was on_stop: ",
    ],
    "blocked_cancel": ["on_stop has said good-bye\n", "ended after 0.1 s, in order: True\n"],
    "swallowed": ["swallowed a cancellation\n", "ended after 0.0 s, in order: True\n"],
    "raises": [
        "stop_graph: can't read number 3 - while 'stage' handled Data('frame', {'number': 3}",
        "isolate: [1, 2, 4, 5] came through, 1 failure counted\n",
    ],
    "flood": ["bounded: True\n"],
    "stray_task": ["the task has ended\nthe session has ended, tasks left: 0\n"],
    "caller_cancelled": [
        "on_stop: good-bye\nthe caller knows that it was cancelled: True\n",
    ],
}


def test_all_are_here() -> None:
    assert set(SHOWN) == {path.stem for path in FOLDER.glob("*.py")} - HELPERS
    page = (ROOT / "docs" / "elsewhere.md").read_text(encoding="utf-8")
    assert [name for name in SHOWN if f"examples/elsewhere/{name}.py" not in page] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWN)
def test_script(name: str) -> None:
    printed = run("-m", f"examples.elsewhere.{name}").stdout
    for text in SHOWN[name]:
        assert text in printed


def test_a_peer_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["flood", "--peer"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match="pipecat isn't installed: pip install pipecat-ai"):
        flood.tell(flood.ours, flood.theirs)
