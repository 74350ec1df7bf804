"""Commands: there and back from the host and from a handler, streams of results, another loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from time import perf_counter

import ten_trio as ten

from .harness import Case, Run


class Echo(ten.Extension):
    """Answers at once."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok())


class Asks(ten.Extension):
    """Asks the next one before it answers."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        result = await env.send_cmd(ten.Cmd("echo"))
        await env.return_result(cmd.ok() if result.ok else cmd.error())


class Stream(ten.Extension):
    """Answers with as many results as it is asked for."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        last = cmd["n"] - 1
        for i in range(last):
            await env.return_result(cmd.partial(i=i))
        await env.return_result(cmd.ok(i=last))


class Caller(ten.Extension):
    """Sends commands from a handler, and takes the time."""

    def __init__(self, run: Run) -> None:
        self.run = run

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        seconds = await _round_trips(env, self.run.clock, cmd["n"], cmd["in_flight"])
        await env.return_result(cmd.ok(seconds=seconds))


async def _round_trips(
    sender: ten.TenEnv | ten.Engine, clock: Callable[[], float], n: int, in_flight: int
) -> float:
    answered = 0
    began = clock()
    if in_flight == 1:
        for _ in range(n):
            answered += (await sender.send_cmd(ten.Cmd("echo", dest="echo"))).ok
    else:
        for _ in range(n // in_flight):
            calls = [sender.start_cmd(ten.Cmd("echo", dest="echo")) for _ in range(in_flight)]
            for call in calls:
                answered += (await call.result()).ok
    seconds = clock() - began
    sent = n if in_flight == 1 else n // in_flight * in_flight
    if answered != sent:
        raise AssertionError(f"{answered} of {sent} commands were answered with OK")
    return seconds / sent


async def _from_host(run: Run, *, in_flight: int, own_loop: bool = False, n: int = 1_500) -> float:
    graph = ten.Graph()
    graph.node("echo", Echo)
    clock = perf_counter if own_loop else run.clock
    async with run.app.open_graph(graph, own_loop=own_loop) as engine:
        await _round_trips(engine, clock, in_flight, in_flight)
        return await _round_trips(engine, clock, max(run.times(n), in_flight), in_flight)


async def _from_handler(run: Run, *, in_flight: int) -> float:
    graph = ten.Graph()
    graph.node("echo", Echo)
    graph.node("caller", lambda name: Caller(run))
    n = max(run.times(1_500), in_flight)
    async with run.app.open_graph(graph) as engine:
        cmd = ten.Cmd("go", {"n": n, "in_flight": in_flight}, dest="caller")
        return float((await engine.send_cmd(cmd)).unwrap()["seconds"])


async def _nested(run: Run, *, depth: int) -> float:
    """A handler asks an extension, which asks the next, and so on; the whole way there and back."""
    graph = ten.Graph()
    graph.node("caller", lambda name: Caller(run))
    names = ["echo", *(f"n{i}" for i in range(1, depth))]
    for name in names[:-1]:
        graph.node(name, Asks)
    graph.node(names[-1], Echo)
    for name, following in pairwise(names):
        graph.connect(name, following, cmd="echo")
    async with run.app.open_graph(graph) as engine:
        cmd = ten.Cmd("go", {"n": run.times(600), "in_flight": 1}, dest="caller")
        return float((await engine.send_cmd(cmd)).unwrap()["seconds"])


async def _stream(run: Run) -> float:
    graph = ten.Graph()
    graph.node("stream", Stream)
    n = run.times(1_000)
    repeats = 1 if run.quick else 3
    got: list[int] = []
    async with run.app.open_graph(graph) as engine:
        began = run.clock()
        for _ in range(repeats):
            async with engine.send_cmd_ex(ten.Cmd("go", {"n": n}, dest="stream")) as results:
                got += [result["i"] async for result in results]
        seconds = run.clock() - began
    if got != [*range(n)] * repeats:
        raise AssertionError("results are missing, or not in order")
    return seconds / len(got)


CASES = [
    Case("cmd-host/1", "command, host, 1 in flight", partial(_from_host, in_flight=1)),
    Case(
        "cmd-host/100",
        "command, host, 100 in flight",
        partial(_from_host, in_flight=100),
    ),
    Case(
        "cmd-handler/1",
        "command, handler, 1 in flight",
        partial(_from_handler, in_flight=1),
    ),
    Case(
        "cmd-handler/100",
        "command, handler, 100 in flight",
        partial(_from_handler, in_flight=100),
    ),
    Case("cmd-nested/3", "command, handler, nested three deep", partial(_nested, depth=3)),
    Case("stream", "one result of a stream of 1,000", _stream),
    Case(
        "own-loop/1",
        "command, own_loop, 1 in flight",
        partial(_from_host, in_flight=1, own_loop=True, n=400),
    ),
    Case(
        "own-loop/100",
        "command, own_loop, 100 in flight",
        partial(_from_host, in_flight=100, own_loop=True),
    ),
]
