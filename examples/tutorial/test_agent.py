"""Tests of the agent, in virtual time: pytest examples/tutorial/test_agent.py"""

from __future__ import annotations

import ten_trio as ten
from ten_trio.testing import open_graph_tester, open_tester, run_extension_test

from . import step_5, step_6
from .sound import frames, hear, speak
from .step_3 import Tts, audio_frame
from .step_4 import SILENCE, Vad


def test_what_is_spoken_can_be_heard() -> None:
    assert hear(speak("the quick brown fox")) == "the quick brown fox"


def test_the_voice_says_each_sentence() -> None:
    async def scenario() -> None:
        async with open_tester(Tts) as tester:
            await tester.send_data(ten.Data("sentence", {"text": "hello"}))
            await tester.expect_data("sentence")
            await tester.assert_no_data()
            assert hear(b"".join(frame.buf for frame in tester.audio_frames)) == "hello"

    run_extension_test(scenario)


def test_a_short_pause_does_not_end_speech() -> None:
    async def scenario() -> None:
        async with open_tester(Vad) as tester:
            word = frames(speak("so"))
            for samples in [*word, *[SILENCE] * 9, *word, *[SILENCE] * 10]:
                await tester.send_audio_frame(audio_frame(samples))
            await tester.expect_data("speech_end")
            assert [data.name for data in tester.data] == ["speech_start", "speech_end"]

    run_extension_test(scenario)


def test_nothing_of_an_interrupted_answer_is_heard() -> None:
    async def scenario() -> None:
        async with open_graph_tester(step_5.agent()) as tester:
            await tester.send_cmd(ten.Cmd("say", {"text": "weather in rome"}))
            assert (await tester.expect_data("sentence"))["text"] == "monday sun"
            await tester.send_cmd(ten.Cmd("say", {"text": "in atlantis"}))
            await tester.expect_data("interrupted")
            assert (await tester.expect_data("sentence"))["text"] == "i cannot tell"
            await tester.assert_no_data("sentence", during=60)

    run_extension_test(scenario)


def test_the_file_is_the_graph() -> None:
    assert step_6.FILE.read_text(encoding="utf-8") == step_6.to_file(step_5.agent())
