"""What the black-box suite is made of: targets, the model of results, the report, and its page."""

from __future__ import annotations

import re
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import ten_trio as ten
from ten_trio.testing.conformance import (
    ADDONS,
    PROBE,
    RULES,
    Answer,
    Blueprint,
    Client,
    Talk,
    Violation,
    check,
    each_of,
    ended,
    exactly,
    first_error_or_last_ok,
    load_target,
    refused,
    typed,
)

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")

OK = Answer({"a": 1})
PART = Answer({"a": 0}, final=False)
ERROR = Answer({"detail": "no"}, ok=False)


# The page ---------------------------------------------------------------------------------------


def test_the_page_lists_every_rule_as_it_is() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \| (.+) \| \[([\w.]+)\]\(\3\), (.+) \|$", PAGE, re.MULTILINE)
    listed = {name: (text, f"{page}, {section}") for name, text, page, section in rows}
    assert listed == {rule.name: (rule.text, rule.reference) for rule in RULES.values()}


def test_every_rule_has_its_test() -> None:
    sources = [
        path.read_text(encoding="utf-8")
        for path in (ROOT / "property_tests" / "conformance").glob("test_*.py")
    ]
    checked = re.findall(r'check\(target, "([\w-]+)", example\)', "\n".join(sources))
    assert sorted(checked) == sorted(RULES)
    for name in RULES:
        assert f"def test_{name.replace('-', '_')}(" in "\n".join(sources)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_reference_of_a_rule_is_there(rule: Any) -> None:
    page, _, section = rule.reference.partition(", ")
    headings = re.findall(
        r"^(?:#+|\*\*) *(.+?)\.?(?:\*\*.*)?$",
        (ROOT / "docs" / page).read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert any(section.startswith(heading) for heading in headings), rule


def test_the_page_has_the_contract_of_every_addon() -> None:
    assert re.findall(r"^### (conformance_\w+)$", PAGE, re.MULTILINE) == list(ADDONS)


# Targets ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("somewhere", "neither a URI nor package.module:factory"),
        ("json:loads_not", "has no 'loads_not'"),
        ("collections:OrderedDict", "lacks some of name"),
        ("http://127.0.0.1:1", "speaks msgpack"),
        ("json://127.0.0.1:1", "speaks msgpack"),
        ("gopher://127.0.0.1:1", "no protocol for"),
    ],
)
def test_a_target_that_cant_be(text: str, error: str) -> None:
    with pytest.raises(ten.ConfigError, match=error):
        load_target(text)


def test_patience_overrides_that_of_the_target() -> None:
    assert load_target("").virtual_time
    assert load_target("ws://127.0.0.1:1", 7).patience == 7


def test_nobody_listens() -> None:
    async def example(talk: Talk) -> None:
        await talk.client()

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and doesn't listen
        target = load_target(f"msgpack://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(Violation, match="client 1 isn't let in: can't connect to"):
            check(target, "time-passes", example)


# The model --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("got", "right"),
    [
        ([PART, OK], True),
        ([OK, PART], False),
        ([OK], False),
        ([PART, OK, OK], False),
        ([PART, Answer({"a": ten.Int8(1)})], False),
        ([PART, Answer({"a": 1.0})], False),
    ],
)
def test_exactly(got: list[Answer], right: bool) -> None:
    assert exactly(PART, OK).holds(got) is right


def test_each_of_takes_any_merge_and_nothing_else() -> None:
    other = Answer({"b": 2})
    expected = each_of([[PART, OK], [other]])
    part = {id(answer): Answer(answer.properties, answer.ok, False) for answer in (OK, other)}
    ok, late = part[id(OK)], part[id(other)]
    assert expected.holds([PART, ok, other])
    assert expected.holds([late, PART, OK])
    assert not expected.holds([ok, PART, other])  # one branch out of order
    assert not expected.holds([PART, OK, other])  # final in the middle
    assert not expected.holds([PART, ok, late])  # no final one
    assert not expected.holds([PART, other])  # one is missing


def test_first_error_or_last_ok() -> None:
    last = Answer({"b": 2})
    all_ok = first_error_or_last_ok([[PART, OK], [last]])
    assert all_ok.holds([last])
    assert not all_ok.holds([OK])
    assert not all_ok.holds([last, last])
    failing = first_error_or_last_ok([[OK], [PART, ERROR], [last]])
    assert failing.holds([ERROR])
    assert not failing.holds([last])


def test_refused_wants_a_reason() -> None:
    assert refused().holds([ERROR])
    assert not refused().holds([OK])
    assert not refused().holds([Answer({}, ok=False)])


def test_typed_tells_widths_and_zeros_apart() -> None:
    assert typed([5]) != typed([ten.Int8(5)])
    assert typed(0.0) != typed(-0.0)


# What is seen -----------------------------------------------------------------------------------


class Scripted:
    """A target whose only client answers every command with what a function makes of it."""

    name, patience, virtual_time = "scripted", 1.0, True

    def __init__(self, results: Any) -> None:
        self._results = results
        self._put, self._come = trio.open_memory_channel[Any](100)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Scripted]:
        yield self

    async def connect(self) -> Client:
        return self

    async def advance(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def start_graph(self, graph: str) -> ten.CmdResult:
        return ten.CmdResult(ten.StatusCode.OK, {"graph_id": "g"})

    async def send(self, msg: Any) -> None:
        for result in self._results(msg):
            if result is None:
                self._put.close()
            else:
                self._put.send_nowait(result)

    async def receive(self) -> Any:
        return await self._come.receive()

    async def stop(self) -> None:
        pass


def stray(cmd: ten.Cmd) -> ten.CmdResult:
    result = cmd.ok(cmd.properties)
    result.seq_id = "77"
    return result


@pytest.mark.parametrize(
    ("results", "wrong"),
    [
        (lambda cmd: [], "got nothing for command 1 'm' {} to probe, and no final result"),
        (lambda cmd: [cmd.partial()], "got OK {}, not final for command 1"),
        (lambda cmd: [cmd.ok(cmd.properties)] * 2, "another result after the final one of"),
        (lambda cmd: [cmd.ok(cmd.properties), cmd.partial()], "another result after the final"),
        (lambda cmd: [stray(cmd), cmd.ok()], "a result for '77', which it has never sent"),
        (lambda cmd: [cmd.ok(x=1)], "wanted: OK {}"),
        (lambda cmd: [None], "client 1 was cut off: client 1 got nothing"),
    ],
)
def test_what_is_wrong_is_said(results: Any, wrong: str) -> None:
    async def example(talk: Talk) -> None:
        client = await talk.client()
        await client.start(Blueprint())
        await client.ask(PROBE, exactly(Answer({})))

    with pytest.raises(Violation, match=re.escape(wrong)) as caught:
        check(Scripted(results), "every-command-ends-once", example)
    assert caught.value.rule is RULES["every-command-ends-once"]
    assert caught.value.steps == [
        "client 1 starts a graph: just the probe",
        "client 1 sends command 1 'm' {} to probe",
    ]


def test_what_is_right_passes() -> None:
    async def example(talk: Talk) -> None:
        client = await talk.client()
        await client.start(Blueprint())
        await client.ask(PROBE, ended())

    check(Scripted(lambda cmd: [cmd.ok(cmd.properties)]), "every-command-ends-once", example)


def test_an_error_of_the_target_itself_is_no_violation() -> None:
    async def example(talk: Talk) -> None:
        raise ValueError("of the example")

    with pytest.raises(ValueError, match="of the example"):
        check(Scripted(list), "time-passes", example)


class Odd(Scripted):
    """One that answers well, but for what a test replaces."""

    def __init__(self) -> None:
        super().__init__(lambda cmd: [cmd.ok(cmd.properties)])


def wrong_of(target: Odd, example: Any) -> str:
    with pytest.raises(Violation) as caught:
        check(target, "every-command-ends-once", example)
    return str(caught.value).rpartition("=> ")[2] + "".join(getattr(caught.value, "__notes__", ()))


async def begins(talk: Talk) -> None:
    client = await talk.client()
    await client.start(Blueprint())


async def asks(talk: Talk) -> None:
    client = await talk.client()
    await client.start(Blueprint())
    await client.ask(PROBE, ended())


def partial_start() -> ten.CmdResult:
    result = ten.CmdResult(ten.StatusCode.OK, {"graph_id": "g"})
    result.set_final(False)
    return result


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        (ten.CmdResult(ten.StatusCode.ERROR, {"detail": "no"}), "without a graph_id"),
        (ten.CmdResult(ten.StatusCode.OK, {"graph_id": 7}), "without a graph_id"),
        (partial_start(), "start_graph was answered by OK"),
        (trio.EndOfChannel(), "was cut off instead of an answer to start_graph"),
        (None, "no answer to start_graph within 1 s"),
    ],
)
def test_what_is_wrong_with_the_start_of_a_graph_is_said(answer: Any, wrong: str) -> None:
    class Starts(Odd):
        async def start_graph(self, graph: str) -> ten.CmdResult:
            if answer is None:
                await trio.sleep_forever()
            if isinstance(answer, Exception):
                raise answer
            return answer

    assert wrong in wrong_of(Starts(), begins)


def test_a_target_that_does_not_read_or_hangs_up_is_found_out() -> None:
    class Deaf(Odd):
        async def send(self, msg: Any) -> None:
            await trio.sleep_forever()

    class Gone(Odd):
        async def send(self, msg: Any) -> None:
            self._put.close()
            raise trio.BrokenResourceError

    assert "the runtime doesn't read what client 1 sends" in wrong_of(Deaf(), asks)
    assert "client 1 was cut off" in wrong_of(Gone(), asks)


def test_data_that_does_not_come_and_a_report_without_an_array_are_found_out() -> None:
    async def hears(talk: Talk) -> None:
        client = await talk.client()
        await client.start(Blueprint())
        await client.hear(2)

    async def reports(talk: Talk) -> None:
        client = await talk.client()
        await client.start(Blueprint())
        await client.report("recorder", 1)

    assert "client 1 heard 0 of 2 data and frames" in wrong_of(Odd(), hears)
    assert "which has no array `seen`" in wrong_of(Odd(), reports)


def test_an_example_that_does_not_end_is_broken_off() -> None:
    async def hangs(talk: Talk) -> None:
        await begins(talk)
        await trio.sleep_forever()

    assert "it isn't over after 100000 s" in wrong_of(Odd(), hangs)


def test_what_the_target_raises_at_its_end_is_told_besides_the_violation() -> None:
    class Crashes(Odd):
        @asynccontextmanager
        async def open(self) -> AsyncGenerator[Scripted]:
            yield self
            raise ValueError("while it closed")

        async def start_graph(self, graph: str) -> ten.CmdResult:
            return ten.CmdResult(ten.StatusCode.ERROR)

    assert "and the target raised ValueError('while it closed')" in wrong_of(Crashes(), begins)


def test_who_has_left_is_gone() -> None:
    steps: list[str] = []

    async def example(talk: Talk) -> None:
        client = await talk.client()
        await client.leave()
        await client.leave()
        steps.extend(talk.steps)

    check(Odd(), "every-command-ends-once", example)
    assert steps == ["client 1 leaves without a word"]
