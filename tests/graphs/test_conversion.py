"""Conversions at work on messages."""

from __future__ import annotations

import pytest

from ten_trio.errors import InvalidType
from ten_trio.graphs import Conversion, Rule
from ten_trio.messages import AudioFrame, Cmd, CmdResult, Data, Loc, StatusCode
from ten_trio.messages.values import INVALID


def test_properties_start_empty() -> None:
    data = Data("d", {"a": 1, "b": {"c": [1, 2]}})
    converted = Conversion((Rule.fixed("x", "y"), Rule.copied("z[1].q", "b.c[1]"))).apply(data)
    assert converted.properties == {"x": "y", "z": [INVALID, {"q": 2}]}
    assert data.properties == {"a": 1, "b": {"c": [1, 2]}}
    assert (converted.name, type(converted)) == ("d", Data)


def test_keep_original_and_order() -> None:
    data = Data("d", {"a": 1})
    rules = (Rule.fixed("a", 2), Rule.copied("b", "a"), Rule.fixed("c", True), Rule.fixed("c", 0.5))
    converted = Conversion(rules, keep_original=True).apply(data)
    # What is copied is the message as it arrived.
    assert converted.properties == {"a": 2, "b": 1, "c": 0.5}


def test_a_missing_original_leaves_an_invalid_value() -> None:
    converted = Conversion((Rule.copied("a", "b.c"),)).apply(Data("d"))
    assert converted["a"] is INVALID


def test_the_name() -> None:
    conversion = Conversion((Rule.fixed("ten.name", "n"), Rule.copied("was", "ten.name")))
    converted = conversion.apply(Data("d"))
    assert converted.name == "n"
    assert converted.properties == {"was": "d"}
    assert conversion.new_name == "n"
    assert Conversion((Rule.copied("ten.name", "a"),)).new_name is None
    assert Conversion.rename("n").apply(Data("d", {"a": 1})).properties == {"a": 1}
    with pytest.raises(InvalidType):
        Conversion((Rule.fixed("ten.name", 3),)).apply(Data("d"))


def test_what_isnt_a_property_is_kept() -> None:
    frame = AudioFrame("pcm", {"a": 1})
    frame.sample_rate = 16_000
    frame.alloc_buf(4)
    converted = Conversion((Rule.fixed("b", 1),)).apply(frame)
    assert converted.sample_rate == 16_000
    assert bytes(converted.get_buf()) == bytes(frame.get_buf())


def test_a_command_becomes_a_new_one() -> None:
    cmd = Cmd("c", {"a": 1}, dest="ext")
    cmd._id, cmd._src = 7, Loc("", "g", "sender")
    converted = Conversion.rename("n").apply(cmd)
    assert (converted._id, converted._parent_id) == (0, 7)
    assert converted.get_source() == cmd.get_source()
    assert converted.get_dests() == cmd.get_dests()


def test_a_result_still_answers_its_command() -> None:
    cmd = Cmd("c")
    cmd._id = 7
    result = cmd.ok(a=1)
    result.set_final(False)
    converted = Conversion((Rule.copied("b", "a"),)).apply(result)
    assert isinstance(converted, CmdResult)
    assert (converted._id, converted._path) == (result._id, result._path)
    assert (converted.status, converted.is_final) == (StatusCode.OK, False)
    assert converted.original_cmd_name == result.original_cmd_name
    assert converted.properties == {"b": 1}
    assert result.properties == {"a": 1}
