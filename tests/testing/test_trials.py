"""Trials: what they do to a graph, which rules they find broken, and that they can be written down."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, strategies as st

import ten_trio as ten
from ten_trio.schemas import compile_type
from ten_trio.testing import (
    Bounds,
    Crash,
    Delay,
    Link,
    RuleBroken,
    Say,
    Transcript,
    Trial,
    fuzz,
    run_trial,
)
from ten_trio.testing.strategies import conversations, fitting, messages, trials
from ten_trio.testing.subjects import Phrase, Subject
from ten_trio.testing.trials import source_of


class Worker(ten.Extension):
    """Works for a second, and says so."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await trio.sleep(1)
        await env.send_data(ten.Data("done", {"n": cmd.get("n", 0)}))
        await env.return_result(cmd.ok())


def graph_of(make: Callable[..., Any], **settings: Any) -> ten.Graph:
    graph = ten.Graph()
    graph.node("w", make, **settings)
    graph.expose("cmd_in", "work", "w")
    graph.expose("data_in", "note", "w")
    graph.expose("data_out", "done", "w")
    return graph


def ask(n: int = 0, **how: Any) -> Say:
    return Say("cmd", "work", properties={"n": n}, **how)


def test_a_graph_that_is_all_right() -> None:
    says = (ask(1), ask(2, wait=0.1), Say("data", "note", size=3))
    told = run_trial(graph_of(Worker), Trial(says=says))
    assert [say for say, result in told.results if result.ok] == [says[0], says[1]]
    assert [data["n"] for data in told.received] == [1, 2]
    assert told.report is not None
    assert told.is_undisturbed
    assert run_trial(graph_of(Worker)).results == []


def test_delays_and_lost_patience() -> None:
    says = (ask(1), ask(2, patience=0.5), ask(3, wait=0.1))
    told = run_trial(graph_of(Worker), Trial(says=says, delays=(Delay("w", 0, 5.0),)))
    assert [data["n"] for data in told.received] == [2, 3, 1]
    assert told.given_up == [says[1]]


def test_crashes_are_no_failures_of_the_graph() -> None:
    trial = Trial(says=(ask(1), ask(2, wait=2), ask(3, wait=2)), crashes=(Crash("w", 1),))
    told = run_trial(graph_of(Worker, on_error="isolate"), trial)
    assert [(say, result.ok) for say, result in told.results] == [
        (trial.says[0], True),
        (trial.says[1], False),
        (trial.says[2], True),
    ]
    assert not told.is_undisturbed
    told = run_trial(graph_of(Worker), trial)
    assert told.report is not None
    assert told.report.reason.startswith("failed")


@pytest.mark.parametrize("fault", ["none", "cut", "stall", "half-open"])
def test_connections_that_fail(fault: Any) -> None:
    trial = Trial(says=(ask(1, client=1), ask(2), ask(3, client=1)), links=(Link(fault, 100),))
    told = run_trial(graph_of(Worker), trial)
    answered = [say for say, result in told.results if result.ok]
    assert trial.says[1] in answered
    assert (trial.says[2] in answered) == (fault == "none")


def test_cancelled_at_every_step() -> None:
    for step in range(500):
        trial = Trial(says=(ask(1), ask(2, client=1)), links=(Link(),), cancel_at=step)
        told = run_trial(graph_of(Worker), trial)
        if not told.was_cancelled:
            break
    else:
        raise AssertionError("it never ends before that")
    assert step > 20
    assert len(told.results) == 2


# Rules that are broken ------------------------------------------------------------------------------


class Forgets(ten.Extension):
    """Never answers the second command."""

    asked = 0

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        self.asked += 1
        if self.asked != 2:
            await env.return_result(cmd.ok())


class Raises(ten.Extension):
    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        raise KeyError(cmd.name)


class Blocks(ten.Extension):
    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        time.sleep(0.1)  # noqa: ASYNC251 - that's what it is for
        await env.return_result(cmd.ok())


class Slow(ten.Extension):
    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok())

    async def on_stop(self, env: ten.TenEnv) -> None:
        await trio.sleep(3600)


class Litters(ten.Extension):
    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok())
        trio.lowlevel.spawn_system_task(trio.sleep, 60)


@pytest.mark.parametrize(
    ("make", "rule", "why"),
    [
        (Forgets, "answered", r"(?s)Say\('cmd', 'work'.*its handler has returned"),
        (Raises, "no extension raises", "KeyError.*while 'w' handled Cmd"),
        (Blocks, "holds up the loop", "of real time"),
        (Slow, "closes within the grace", r"(?s)grace ran out.*on_stop"),
        (Litters, "left behind", "1 tasks"),
    ],
)
def test_rules_that_are_broken(make: Any, rule: str, why: str) -> None:
    trial = Trial(says=(ask(1), ask(2)) if make is Forgets else (ask(1),))
    with pytest.raises(RuleBroken, match=why) as caught:
        run_trial(graph_of(make), trial, bounds=Bounds(step=0.05))
    assert rule in caught.value.rule


def test_what_is_allowed() -> None:
    told = run_trial(graph_of(Raises), Trial(says=(ask(1),)), bounds=Bounds(allow=(KeyError,)))
    assert [type(error) for error in told.raised] == [KeyError]
    patient = Bounds(grace=4_000)
    run_trial(graph_of(Slow), Trial(says=(ask(1),)), bounds=patient)


def test_a_check_of_ones_own() -> None:
    def everything_is_done(told: Transcript) -> None:
        assert len(told.received) == len(told.results), "one is missing"

    run_trial(graph_of(Worker), Trial(says=(ask(1),)), check=everything_is_done)
    with pytest.raises(RuleBroken, match="its own check holds: one is missing"):
        run_trial(graph_of(Forgets), Trial(says=(ask(1),)), check=everything_is_done)


# The order of tasks ---------------------------------------------------------------------------------


class Racing(ten.Extension):
    """Tells in which order Trio has run some tasks that were all ready."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        ran: list[int] = []

        async def note(number: int) -> None:
            ran.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(note, number)
        await env.return_result(cmd.ok(ran=ran))


def test_the_order_of_tasks_is_that_of_the_trial() -> None:
    def ran(order: int) -> Any:
        told = run_trial(graph_of(Racing), Trial(says=(ask(),), order=order))
        return list(told.results[0][1]["ran"])

    orders = [ran(order) for order in range(20)]
    assert len({tuple(each) for each in orders}) > 10
    assert orders == [ran(order) for order in range(20)]


class Careless(ten.Extension):
    """Whoever of the five is first takes the job, and one of them is no good."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        jobs = [cmd]

        async def work(number: int) -> None:
            if jobs:
                job = jobs.pop()
                if number != 1:
                    await env.return_result(job.ok())

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(work, number)


def test_a_race_is_found_in_the_order_of_tasks() -> None:
    found = fuzz(lambda: graph_of(Careless), seeds=300, crashes=False, clients=0, cancels=False)
    assert found is not None
    assert found.repeats
    with pytest.raises(RuleBroken, match="every command is answered"):
        run_trial(graph_of(Careless), found.trial)
    fails = 0
    for order in range(40):
        with suppress(RuleBroken):
            run_trial(graph_of(Careless), attrs.evolve(found.trial, order=order))
            continue
        fails += 1
    assert 0 < fails < 30


def test_a_healthy_graph() -> None:
    assert fuzz(graph_of(Worker, on_error="isolate"), seeds=40) is None


# Drawing and writing down ---------------------------------------------------------------------------

NAMES = {each.__name__: each for each in (Trial, Say, Delay, Crash, Link)}


@given(trials(Subject(graph_of(Worker)), [Phrase("cmd", "x", "w", {"a": [1, {"b": "'"}]})]))
def test_a_trial_is_a_line_of_python(trial: Trial) -> None:
    assert eval(source_of(trial), dict(NAMES)) == trial
    assert max(map(len, str(trial).splitlines())) < 160


@given(st.data())
def test_conversations_say_what_the_graph_takes(data: Any) -> None:
    graph = graph_of(Worker)
    graph.node("v", Worker)
    graph.connect("w", "v", video_frame="image", cmd="work")
    places = {("cmd", "work", ""), ("data", "note", "")}
    places |= {("cmd", "work", "v"), ("video_frame", "image", "v")}
    says = data.draw(conversations(graph, max_size=4))
    assert {(say.kind, say.name, say.to) for say in says} <= places
    (say,) = data.draw(conversations([ten.Cmd("go", {"n": 1}, dest="w")]).filter(bool))[:1]
    assert (say.kind, say.name, say.to, say.properties) == ("cmd", "go", "w", {"n": 1})


@pytest.mark.parametrize("part", [partial(Say, wait=-1), partial(Say, size=-1)])
def test_what_cannot_be(part: Any) -> None:
    with pytest.raises(ValueError, match="must be 0 or more"):
        part("cmd", "x")


@pytest.mark.parametrize(
    "kind", ["int8", "uint64", "float32", "float64", "bool", "buf", "string", "array", "object"]
)
@given(data=st.data())
def test_properties_are_drawn_as_their_schema_wants_them(kind: str, data: Any) -> None:
    more = {"array": {"items": {"type": "int8"}}, "object": {"properties": {}}}
    schema = compile_type(
        {"type": "object", "properties": {"x": {"type": kind, **more.get(kind, {})}}}
    )
    drawn = data.draw(fitting(schema))
    assert drawn.keys() <= {"x"}
    assert schema.check(drawn) == drawn


@given(messages(kinds=["cmd", "data"]))
def test_messages_are_drawn_of_the_kinds_that_are_wanted(msg: ten.Msg) -> None:
    assert msg.kind in ("cmd", "data")
    assert type(msg) is {"cmd": ten.Cmd, "data": ten.Data}[msg.kind]
