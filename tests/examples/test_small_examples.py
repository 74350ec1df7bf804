"""The small examples run by themselves, and show what they say they show."""

from __future__ import annotations

import pytest

from tests.examples.running import ROOT, run

SHOWN = {
    "hello": ["Hello Ada\n", "flowchart ", "greeter"],
    "fan_out": [
        "tea, first error or last OK: last 5\n",
        "tea, each OK and error: quick 4, last 5, slow 3\n",
        "milk, first error or last OK: quick sold out\n",
        "milk, each OK and error: quick sold out, last 2, slow 1\n",
    ],
    "interruption": [
        "3.8 s  rain 2a\ninterrupted: 2 handlers cancelled, 7 messages dropped, player silent\n",
        "5.8 s  sun 1a\n",
    ],
    "virtual_time": [
        "5 s  You said 'hello'.\n",
        "2400 s  Are you still there?\n",
        "4800 s  Good-bye.\n",
        "two hours and twenty minutes, in ",
    ],
    "sessions": [
        "session 42 failed: no such word\n",
        "99 sessions had all their answers\n",
        "995 answers over 5 stages each",
        "\n0 tasks left\n",
    ],
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


ELSEWHERE = {"naive_runtime"}  # its test is test_naive_runtime.py


def test_all_are_here() -> None:
    assert set(SHOWN) | ELSEWHERE == {path.stem for path in (ROOT / "examples").glob("*.py")}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWN)
def test_example(name: str) -> None:
    printed = run("-m", f"examples.{name}").stdout
    for text in SHOWN[name]:
        assert text in printed
