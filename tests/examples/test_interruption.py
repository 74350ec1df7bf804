"""The voice agent's graph in virtual time, with ears that follow a script and a voice without sound."""

from __future__ import annotations

import wave
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import trio

import ten_trio as ten

APP = Path(__file__).parents[2] / "examples" / "voice_agent"
FRAME = 640
SENTENCE_FRAMES = 100
FORECAST = "what is the forecast for rome"
TIMES = "what is six times seven"

Script = Iterable[tuple[float, str]]


class Events(ten.Extension):
    """In place of the transcript: what comes, and when."""

    def __init__(self) -> None:
        self.log: list[tuple[float, str, dict[str, Any]]] = []

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        self.log.append((trio.current_time(), data.name, dict(data.items())))
        if data.name == "finished":
            env.stop_graph()

    def all(self, name: str) -> list[dict[str, Any]]:
        return [values for _, event, values in self.log if event == name]


def ears(script: Script) -> type[ten.Extension]:
    """In place of the VAD: at each time, one second of speech begins, with these words."""

    class Ears(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            env.nursery.start_soon(self.hear, env)

        async def hear(self, env: ten.TenEnv) -> None:
            began = trio.current_time()
            for at, text in script:
                await trio.sleep_until(began + at)
                await env.send_data(ten.Data("speech_start", {"detected_at": trio.current_time()}))
                await trio.sleep(1)
                await env.send_data(ten.Data("speech_end", {"text": text}))
            await env.send_data(ten.Data("end_of_input"))

    return Ears


class Words(ten.Extension):
    """In place of the recogniser."""

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        if data.name == "speech_end":
            await env.send_data(ten.Data("text", {"text": data["text"]}))
        elif data.name == "end_of_input":
            await env.send_data(data)


class Nothing(ten.Extension):
    """In place of the source."""


BOTH = pytest.mark.parametrize("name", ["voice_agent", "voice_agent_by_flush"])


async def converse(
    tmp_path: Path, script: Script, name: str
) -> tuple[Events, list[tuple[int, int]]]:
    """What happened, and what was played: (answer, frames) in order."""
    events = Events()
    async with ten.open_app(APP, auto_start=False) as app:
        graph = app.predefined(name).graph.copy()
        voice: Any = app.addons.find("tts", app.base_dir).factory

        class Voice(voice):  # type: ignore[misc]
            async def synthesise(self, env: ten.TenEnv, text: str) -> bytes:
                await trio.sleep(0.25)
                first = text.startswith(("This", "On"))
                return bytes([1 if first else 2, 0]) * (FRAME // 2 * SENTENCE_FRAMES)

        replaced: dict[str, Any] = {
            "source": Nothing,
            "vad": ears(script),
            "asr": Words,
            "tts": Voice,
            "transcript": lambda: events,
        }
        wav = tmp_path / "answer.wav"
        for node in graph.nodes:
            node.addon = replaced.get(node.name, node.addon)  # type: ignore[union-attr]
            if node.name == "sink":
                node.property["wav"] = str(wav)  # type: ignore[union-attr]
        async with app.open_graph(graph) as engine:
            await engine.wait_closed()
    with wave.open(str(wav)) as file:
        samples = file.readframes(file.getnframes())
    frames = [samples[start] for start in range(0, len(samples), FRAME)]
    return events, [(answer, len(list(group))) for answer, group in groupby(frames)]


@BOTH
async def test_a_whole_conversation(tmp_path: Path, autojump_clock: object, name: str) -> None:
    script = [(0, FORECAST), (30, TIMES), (60, "gibberish")]
    events, played = await converse(tmp_path, script, name)
    assert played == [(1, 8 * SENTENCE_FRAMES), (2, 2 * SENTENCE_FRAMES)]
    sentences = [sentence["text"] for sentence in events.all("sentence")]
    assert sentences[-2:] == ["6 times 7 is 42.", "Sorry, I did not understand that."]
    assert not events.all("interrupted")
    times = [at for at, name, _ in events.log if name == "sentence"]
    assert times[7] - times[0] == pytest.approx(7 * SENTENCE_FRAMES * 0.02)


@BOTH
@pytest.mark.parametrize("later", [0.0005, 0.001, 0.01, 0.0199, 0.02, 0.5, 1.99, 2.0, 3.333, 15.9])
async def test_at_most_two_frames_leave_after_an_interruption(
    tmp_path: Path, autojump_clock: object, later: float, name: str
) -> None:
    """`later`: seconds after the first frame of the answer."""
    speaks_at = 1.25
    events, played = await converse(tmp_path, [(0, FORECAST), (speaks_at + later, TIMES)], name)

    (first, frames), second = played
    assert (first, second) == (1, (2, SENTENCE_FRAMES))
    assert frames <= int(later / 0.02 + 1e-6) + 1 + 2
    assert frames >= int(later / 0.02)
    (interrupted,) = events.all("interrupted")
    assert interrupted["frames_after"] <= (0 if name == "voice_agent" else 2)
    assert interrupted["ms"] <= (20.001 if name == "voice_agent" else 60)
    assert events.all("sentence")[-1]["text"] == "6 times 7 is 42."
    assert events.log[-1][1] == "finished"


@BOTH
@pytest.mark.parametrize("early", [0.01, 0.2, 0.2499])
async def test_an_answer_that_has_no_sound_yet_is_never_heard(
    tmp_path: Path, autojump_clock: object, early: float, name: str
) -> None:
    events, played = await converse(tmp_path, [(0, FORECAST), (1.25 - early, TIMES)], name)
    assert played == [(2, SENTENCE_FRAMES)]
    assert not events.all("interrupted")


@BOTH
async def test_ten_interruptions_in_a_row(
    tmp_path: Path, autojump_clock: object, name: str
) -> None:
    script = [(2.5 * number, FORECAST) for number in range(10)]
    events, played = await converse(tmp_path, [*script, (27, TIMES)], name)
    interrupted = events.all("interrupted")
    assert len(interrupted) == 10
    if name == "voice_agent":
        assert not any(each["frames_after"] for each in interrupted)
    assert played[-1] == (2, SENTENCE_FRAMES)
