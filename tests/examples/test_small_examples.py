"""The small examples run by themselves, and show what they say they show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SHOWN = {
    "streaming": [
        "once upon a time there was a graph that always closed in order",
        "[model] nobody listens any more: stopped after 3 words\n",
        "once upon a\n",
    ],
    "flow_control": ["[player] flush: ", "[player] the last chunk was -1", "{'discarded': "],
    "flow_policy": [
        "[recorder] has seen 60 of 60 frames",
        "preview video_frame frame: {'drop_oldest': ",
        "detector video_frame frame: {'coalesce': ",
    ],
    "dynamic_graph": [
        "[ada] one",
        "[ada] two",
        "[blaise] two",
        "[blaise] three",
        "[blaise] good-bye",
        'unknown extension "balise"',
        "left: speaker ada",
        "[ada] good-bye",
    ],
    "supervision": [
        "4; instance 1, its answer 2",
        "4; instance 2, its answer 1",
        "the graph failed: ZeroDivisionError",
        "while 'divider' handled Cmd('divide'",
    ],
}


def test_all_are_here() -> None:
    assert set(SHOWN) == {path.stem for path in (ROOT / "examples").glob("*.py")}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWN)
def test_example(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", f"examples.{name}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    for text in SHOWN[name]:
        assert text in done.stdout
