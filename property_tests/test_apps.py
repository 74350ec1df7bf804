"""One graph over two or three apps: what docs/concepts.md promises holds as if there were one.

Real sockets on loopback, so in real time; every example has apps, graph and traffic of its own.
"""

from __future__ import annotations

from collections import defaultdict
from threading import Lock
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, note, strategies as st

import ten_trio as ten
from tests.network.apps import Spread, opened_apps

KINDS = ("cmd", "data", "audio_frame", "video_frame")
MESSAGES = {"data": ten.Data, "audio_frame": ten.AudioFrame, "video_frame": ten.VideoFrame}


@attrs.frozen
class Send:
    """One message along an edge, or to a node by its place; so much in its buffer."""

    kind: str
    dest: int
    size: int = 0
    explicit: bool = False
    answers: int = 1


@attrs.frozen
class Node:
    """One extension: in which app it is, what it sends, and whether its handlers dawdle."""

    app: int
    sends: tuple[Send, ...]
    slow: bool = False


@st.composite
def plans(draw: st.DrawFn) -> tuple[int, tuple[Node, ...]]:
    apps = draw(st.integers(2, 3))
    size = draw(st.integers(2, 5))
    send = st.builds(
        Send,
        st.sampled_from(KINDS),
        st.integers(0, size - 1),
        st.sampled_from([0, 1, 320, 5_000, 200_000]),
        st.booleans(),
        st.integers(1, 4),
    )
    node = st.builds(
        Node, st.integers(0, apps - 1), st.lists(send, max_size=15).map(tuple), st.booleans()
    )
    return apps, tuple(draw(node) for _ in range(size))


class Record:
    """What was sent, and what came, per (sender, receiver, line)."""

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        self.nodes = nodes
        self.sent: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
        self.started: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
        self.problems: list[str] = []
        self._pending = 0
        self._number = 0
        self.done = trio.Event()
        self._lock = Lock()  # one of the parts of the graph may be in a thread of its own
        self._token = trio.lowlevel.current_trio_token()

    def begin(self, count: int = 1) -> int:
        """So many things more have to end; a number for one of them."""
        with self._lock:
            self._pending += count
            self._number += 1
            return self._number

    def end(self) -> None:
        """One thing has ended."""
        with self._lock:
            self._pending -= 1
            if not self._pending:
                self._token.run_sync_soon(self.done.set)


def talker(record: Record) -> type[ten.Extension]:
    """An extension that does what its node of the plan says."""

    class Talker(ten.Extension):
        async def on_start(self, env: ten.TenEnv) -> None:
            # From here on: the other apps may not be there yet.
            env.nursery.start_soon(self.talk, env)

        async def talk(self, env: ten.TenEnv) -> None:
            for send in record.nodes[int(env.name[1:])].sends:
                dest = f"n{send.dest}"
                line = "commands" if send.kind == "cmd" else "data"
                number = record.begin()
                record.sent[env.name, dest, line].append(number)
                content = {"n": number, "from": env.name, "answers": send.answers}
                place: Any = None
                if send.explicit:
                    place = ten.Loc(env.get_property_string(dest), "", dest)
                name = f"to {dest}"
                if send.kind == "cmd":
                    record.begin()
                    cmd = ten.Cmd(name, content, dest=place)
                    call = env.start_cmd(cmd, policy=ten.ResultReturnPolicy.EACH_OK_AND_ERROR)
                    env.nursery.start_soon(self.read, number, send.answers, call)
                else:
                    msg = MESSAGES[send.kind](name, content, buf=b"x" * send.size, dest=place)
                    await env.send_data(msg)
            record.end()

        async def read(self, number: int, answers: int, call: ten.Call) -> None:
            got = [(r.ok, r.get("n", 0), r.get("part", 0), r.is_final) async for r in call]
            if got != [(True, number, part, part == answers) for part in range(1, answers + 1)]:
                record.problems.append(f"command {number}: {got}")
            record.end()

        def started(self, env: ten.TenEnv, msg: Any, line: str) -> None:
            record.started[msg["from"], env.name, line].append(msg["n"])
            if msg.get_source().extension_name != msg["from"]:
                record.problems.append(f"{msg!r} says it is from {msg.get_source()}")

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            self.started(env, cmd, "commands")
            for part in range(1, cmd["answers"] + 1):
                if record.nodes[int(env.name[1:])].slow:
                    await trio.lowlevel.checkpoint()
                last = part == cmd["answers"]
                result = cmd.ok if last else cmd.partial
                await env.return_result(result(n=cmd["n"], part=part))
            record.end()

        async def on_data(self, env: ten.TenEnv, data: Any) -> None:
            self.started(env, data, "data")
            if record.nodes[int(env.name[1:])].slow:
                await trio.lowlevel.checkpoint()
            record.end()

        on_audio_frame = on_data
        on_video_frame = on_data

    return Talker


async def run(
    count: int, nodes: tuple[Node, ...], starter: int, own_loop: bool, long_running: bool
) -> None:
    record = Record(nodes)
    async with opened_apps(count, {"talker": talker(record)}, own_loop=False) as apps:
        spread = Spread()
        places = {f"n{index}": apps[node.app].uri for index, node in enumerate(nodes)}
        for index, node in enumerate(nodes):
            record.begin()
            spread.node(f"n{index}", apps[node.app], "talker", **places)
        # Every app that talks to another shares an edge with it: by name, and thereby by place.
        for index, node in enumerate(nodes):
            for dest in sorted({send.dest for send in node.sends}):
                spread.connect(f"n{index}", f"n{dest}", kinds=KINDS, name=f"to n{dest}")
        app = apps[nodes[starter % len(nodes)].app]
        graph = spread.graph
        connected = reachable(nodes, nodes[starter % len(nodes)].app)
        if connected != {node.app for node in nodes}:
            return  # nobody would start the rest
        async with app.open_graph(graph, own_loop=own_loop, long_running=long_running):
            await record.done.wait()
        for each in apps:
            while each.engines or each.network.connections:  # noqa: ASYNC110
                await trio.sleep(0.001)
    assert not record.problems
    assert record.started == record.sent  # all of it, once, and in its order


def reachable(nodes: tuple[Node, ...], start: int) -> set[int]:
    """The apps that get to know of the graph, from neighbour to neighbour."""
    found, todo = {start}, [start]
    edges = {(node.app, nodes[send.dest].app) for node in nodes for send in node.sends}
    while todo:
        app = todo.pop()
        for pair in edges:
            if app in pair:
                new = set(pair) - found
                found |= new
                todo += new
    return found


@pytest.mark.slow
@given(plans(), st.integers(0, 4), st.booleans(), st.booleans())
def test_everything_arrives_once_and_in_order(
    plan: tuple[int, tuple[Node, ...]], starter: int, own_loop: bool, long_running: bool
) -> None:
    note(f"{plan}")
    trio.run(run, *plan, starter, own_loop, long_running)
