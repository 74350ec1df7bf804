"""What the voice agent understands, and what it answers."""

from __future__ import annotations

import random

import pytest

from examples.voice_agent.ten_packages.extension.asr.grammar import Grammar
from examples.voice_agent.ten_packages.extension.dialogue.intents import normalise, parse
from examples.voice_agent.ten_packages.extension.tools.compute import CLIMATE, TOOLS, run

grammar = Grammar()


def answer(question: str) -> str:
    call = parse(question)
    assert call is not None
    return " ".join(run(call.name, call.arguments))


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("what is forty two plus nine", "42 plus 9 is 51."),
        ("what is three minus eleven", "3 minus 11 is minus 8."),
        ("what is one hundred times ninety nine", "100 times 99 is 9900."),
        ("what is ten divided by four", "10 divided by 4 is 2.5."),
        ("what is two divided by three", "2 divided by 3 is 0.67."),
        ("what is two divided by zero", "Nothing can be divided by zero."),
        ("what is five percent of thirty", "5 percent of 30 is 1.5."),
        ("what is the square of twelve", "The square of 12 is 144."),
        ("what is the square root of eighty one", "The square root of 81 is 9."),
        ("what is the square root of two", "The square root of 2 is about 1.41."),
        ("is twenty three a prime", "Yes, 23 is a prime."),
        ("is ninety one a prime", "No, 91 is not a prime. It is 7 times 13."),
        ("is one a prime", "No, 1 is not a prime. The smallest prime is 2."),
        ("how many minutes are in two days", "2 days are 2880 minutes."),
        ("how many inches are in one foot", "1 foot is 12 inches."),
        ("how many kilometers are in ten miles", "10 miles are about 16.09 kilometers."),
        ("how many pounds are in ten kilograms", "10 kilograms are about 22.05 pounds."),
        ("how many days are in one second", "1 second is less than 0.01 days."),
        ("how many feet are in one kilogram", "A kilogram can't be measured in feet."),
        (
            "is it warmer in oslo or in cairo",
            "It is warmer in Cairo. The difference is 22 degrees.",
        ),
        (
            "is it colder in rome or in vienna",
            "It is colder in Vienna. The difference is 6 degrees.",
        ),
        ("is it colder in rome or in rome", "It is the same in both."),
        ("what day is it one day after sunday", "1 day after Sunday it is Monday."),
        ("what day is it ten days before friday", "10 days before Friday it is Tuesday."),
        ("what day is it three weeks after monday", "3 weeks after Monday it is Monday."),
        (
            "what time is it two hours after noon",
            "2 hours after noon it is 2 o'clock in the afternoon.",
        ),
        (
            "what time is it one minute before midnight",
            "1 minute before midnight it is 11:59 in the afternoon.",
        ),
        (
            "what time is it six hours before quarter to ten",
            "6 hours before 9:45 in the morning it is 3:45 in the morning.",
        ),
        (
            "what time is it ten minutes after quarter to one",
            "10 minutes after 12:45 in the morning it is 12:55 in the morning.",
        ),
        (
            "what time is it thirty minutes after half past eleven",
            "30 minutes after 11:30 in the morning it is noon.",
        ),
    ],
)
def test_answers(question: str, expected: str) -> None:
    assert grammar.accepts(question) or "kilogram" in question
    assert answer(question) == expected


def test_the_weather_has_three_sentences_and_the_forecast_a_week() -> None:
    assert answer("what is the weather in paris") == (
        "In Paris it is cloudy today. The temperature is 16 degrees. You won't need a coat."
    )
    assert answer("what is the weather in paris on monday").startswith("In Paris it is cloudy on")
    assert answer("what is the forecast for oslo").count("day it is") == 7


def test_every_sentence_of_the_grammar_has_an_answer() -> None:
    rng = random.Random(2)
    calls = set()
    for _ in range(5_000):
        sentence = grammar.sample(rng)
        assert grammar.accepts(sentence)
        assert normalise(sentence) == sentence
        call = parse(sentence)
        assert call is not None, sentence
        assert all(run(call.name, call.arguments))
        calls.add(call.name)
    assert calls == set(TOOLS)
    assert grammar.words >= set(CLIMATE)


@pytest.mark.parametrize("text", ["", "hello", "what is the plus two", "is paris a prime"])
def test_other_sentences_are_not_understood(text: str) -> None:
    assert parse(text) is None
    assert not grammar.accepts(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is 42 plus 9?", "what is forty two plus nine"),
        ("What's 5% of 200", "what's five percent of 200"),
        ("is  ONE hundred a prime?!", "is one hundred a prime"),
        (
            "what time is it two hours after 3 o'clock",
            "what time is it two hours after three o'clock",
        ),
    ],
)
def test_normalise(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_check_names_the_unknown_word_or_the_closest_sentence() -> None:
    grammar.check("what is the weather in paris")
    with pytest.raises(ValueError, match=r'the word "wether" is not .*; did you mean "weather"'):
        grammar.check("what is the wether in paris")
    with pytest.raises(ValueError, match='the closest is "what is the weather in rome"'):
        grammar.check("what is weather in rome")


def test_unknown_tool_or_city() -> None:
    with pytest.raises(LookupError, match="sing"):
        run("sing", {})
    with pytest.raises(LookupError, match="atlantis"):
        list(run("weather", {"city": "atlantis"}))
