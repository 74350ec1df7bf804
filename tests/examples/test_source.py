"""What the voice agent hears: the WAV files' frames, and the microphone's."""

from __future__ import annotations

import sys
import threading
import wave
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio

import ten_trio as ten

APP = Path(__file__).parents[2] / "examples" / "voice_agent"


class Hearer(ten.Extension):
    """Keeps the frames; stops the graph after `enough`, or when there are no more."""

    def __init__(self, enough: int = 1_000_000) -> None:
        self.enough = enough
        self.frames: list[tuple[float, ten.AudioFrame]] = []

    async def on_audio_frame(self, env: ten.TenEnv, frame: ten.AudioFrame) -> None:
        self.frames.append((trio.current_time(), frame))
        if len(self.frames) == self.enough:
            env.stop_graph()

    async def on_data(self, env: ten.TenEnv, data: ten.Data) -> None:
        env.stop_graph()


async def hear(hearer: Hearer, **properties: Any) -> None:
    graph = ten.Graph()
    graph.node("source", "source", property=properties)
    graph.node("hearer", lambda: hearer)
    graph.connect("source", "hearer", audio_frame="pcm_frame", data="end_of_input")
    async with ten.open_app(APP, auto_start=False) as app, app.open_graph(graph) as engine:
        await engine.wait_closed()


async def test_frames_of_20_ms_in_real_time(tmp_path: Path, autojump_clock: object) -> None:
    path = tmp_path / "question.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(b"\1\0" * 800)
    hearer = Hearer()
    await hear(hearer, questions=[str(path)], patience_s=1.0)

    times = [at - hearer.frames[0][0] for at, _ in hearer.frames]
    assert times == pytest.approx([0.02 * number for number in range(len(times))])
    frames = [frame for _, frame in hearer.frames]
    assert {(frame.sample_rate, frame.samples_per_channel) for frame in frames} == {(16_000, 320)}
    assert [frame.timestamp for frame in frames] == [20 * number for number in range(len(frames))]
    spoken = [frame.buf for frame in frames if any(frame.buf)]
    assert b"".join(spoken) == b"\1\0" * 800 + bytes(320)
    assert times[-1] == pytest.approx(0.34 + 1.0, abs=0.03)


async def test_a_wav_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "question.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((2, 2, 44_100, 0, "NONE", ""))
    with pytest.RaisesGroup(
        pytest.RaisesExc(ValueError, match="must be 16 kHz mono"), flatten_subgroups=True
    ):
        await hear(Hearer(), questions=[str(path)])


async def test_the_microphone_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.RaisesGroup(
        pytest.RaisesExc(ten.MissingExtra, match=r"ten-trio\[microphone\]"), flatten_subgroups=True
    ):
        await hear(Hearer(), microphone=True)


@pytest.mark.slow
async def test_the_microphone_sends_from_its_own_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    class RawInputStream:
        def __init__(self, blocksize: int, callback: Callable[..., None], **_: Any) -> None:
            self.args = [bytes([number, 0]) * blocksize for number in range(5)], callback

        def __enter__(self) -> None:
            self.thread = threading.Thread(target=self.run)
            self.thread.start()

        def __exit__(self, *_: object) -> None:
            self.thread.join()

        def run(self) -> None:
            blocks, callback = self.args
            for block in blocks:
                callback(block, len(block) // 2, None, None)

    fake = SimpleNamespace(RawInputStream=RawInputStream)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)  # type: ignore[arg-type]
    hearer = Hearer(enough=5)
    await hear(hearer, microphone=True)
    assert [frame.buf[0] for _, frame in hearer.frames] == [0, 1, 2, 3, 4]
    assert {len(frame.buf) for _, frame in hearer.frames} == {640}
