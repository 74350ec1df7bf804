"""Random traffic: what a few extensions send each other, how their handlers dawdle, and a record of
what was sent and what started where. `test_order` and `test_deadlock` run it and look at the record.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import trio
from hypothesis import strategies as st

import ten_trio as ten

KINDS = ("cmd", "data", "audio_frame", "video_frame")

SETTINGS = ("inline", "cmd_handlers", "data_handlers", "on_error")
"""What a node may say of its extension."""

# How long a handler waits: not at all (most often), for some turns of the scheduler, for some time.
waits = st.one_of(st.just(0), st.just(0), st.integers(1, 3), st.sampled_from([0.01, 0.5]))
either = st.booleans()
never = st.just(False)
handlers = st.sampled_from(["serial", "concurrent"])
limits = st.builds(
    ten.Limits,
    queue=st.sampled_from([1, 3, 10, 256]),
    slice=st.integers(1, 64),
    demote_after=st.integers(1, 9),
    idle_workers=st.integers(1, 3),
)


async def dawdle(how: float) -> None:
    """Wait for so many turns of the scheduler, or (a fraction) so many seconds."""
    if isinstance(how, float):
        await trio.sleep(how)
    else:
        for _ in range(how):
            await trio.lowlevel.checkpoint()


def graph_of(nodes: Sequence[Any], extension: Callable[[Any], ten.Extension]) -> ten.Graph:
    """A graph without edges: an extension n0, n1, ... for every node, in its group and with its settings."""
    graph = ten.Graph()
    for index, node in enumerate(nodes):
        graph.node(
            f"n{index}",
            lambda node=node: extension(node),
            group=f"g{node.group}",
            **{name: getattr(node, name) for name in SETTINGS if hasattr(node, name)},
        )
    return graph


@attrs.frozen
class Send:
    """One message to some of the nodes, by index, each of which passes it on to one of them, `hops` times."""

    kind: str
    dests: tuple[int, ...]
    hops: int = 0
    before: float = 0


@attrs.frozen
class Node:
    """One extension: what it sends by itself, and how long its handlers wait in turn."""

    sends: tuple[Send, ...]
    waits: tuple[float, ...] = (0,)
    group: int = 0
    inline: bool = True
    cmd_handlers: str = "concurrent"
    data_handlers: str = "serial"
    ask: bool = False
    """Its data handlers also send a command on, and wait for the answer."""


@st.composite
def plans(
    draw: st.DrawFn,
    *,
    kinds: Sequence[str] = KINDS,
    waits: st.SearchStrategy[float] = waits,
    inline: st.SearchStrategy[bool] = either,
    ask: st.SearchStrategy[bool] = never,
    hops: int = 2,
) -> tuple[Node, ...]:
    """A few nodes, connected as the destinations of their messages say: mostly in circles."""
    size = draw(st.integers(2, 4))
    ends = st.lists(st.integers(0, size - 1), min_size=1, max_size=size, unique=True).map(tuple)
    sends = st.builds(Send, st.sampled_from(kinds), ends, st.integers(0, hops), waits)
    node = st.builds(
        Node,
        st.lists(sends, max_size=6).map(tuple),
        st.lists(waits, min_size=1, max_size=4).map(tuple),
        st.integers(0, 1),
        inline,
        handlers,
        handlers,
        ask,
    )
    return tuple(draw(node) for _ in range(size))


class Traffic:
    """Runs a plan to its end. `sent` and `started` tell, per (sender, receiver, line), what and when."""

    def __init__(self, plan: tuple[Node, ...]) -> None:
        self.plan = plan
        self.sent: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
        self.started: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)
        self.received: defaultdict[str, list[int]] = defaultdict(list)
        self.expected: defaultdict[str, list[int]] = defaultdict(list)
        self.answers: Counter[bool] = Counter()
        self._number = 0
        self._pending = 0
        self._done = trio.Event()

    def graph(self) -> ten.Graph:
        """The plan as a graph: every message names its destinations."""
        return graph_of(self.plan, lambda node: Chatterbox(node, self))

    async def run(self, limits: ten.Limits) -> ten.Engine:
        """Until every message has been handled, every command been answered, and the graph closed."""
        self.begin(len(self.plan))
        async with ten.open_app(limits=limits) as app, app.open_graph(self.graph()) as engine:
            await self._done.wait()
        return engine

    def begin(self, count: int = 1) -> None:
        """So many things more have to end."""
        self._pending += count

    def end(self) -> None:
        """One thing has ended."""
        self._pending -= 1
        if not self._pending:
            self._done.set()

    def note_sent(self, sender: str, dests: Sequence[str], line: str) -> int:
        """A message is about to be sent; the number that it has to carry."""
        self._number += 1
        for dest in dests:
            self.sent[sender, dest, line].append(self._number)
            self.expected[dest].append(self._number)
        self.begin(len(dests))
        return self._number

    def note_started(self, receiver: str, sender: str, line: str, number: int) -> None:
        """The handler of a message starts."""
        self.started[sender, receiver, line].append(number)
        self.received[receiver].append(number)


class Chatterbox(ten.Extension):
    """Does what a node of the plan says."""

    def __init__(self, node: Node, traffic: Traffic) -> None:
        self.node = node
        self.traffic = traffic
        self.handled = 0

    async def on_start(self, env: ten.TenEnv) -> None:
        env.nursery.start_soon(self.talk, env)

    async def talk(self, env: ten.TenEnv) -> None:
        for send in self.node.sends:
            await dawdle(send.before)
            await self.send(env, send.kind, [f"n{i}" for i in send.dests], send.hops)
        self.traffic.end()

    async def send(self, env: ten.TenEnv, kind: str, dests: list[str], hops: int) -> None:
        line = "commands" if kind == "cmd" else "data"
        number = self.traffic.note_sent(self.name, dests, line)
        content = {"number": number, "from": self.name, "hops": hops, "dests": dests}
        if kind == "cmd":
            self.traffic.begin(len(dests))
            cmd = ten.Cmd("m", content, dest=dests)
            env.post_cmd(cmd, self.on_answer, is_streaming_result=True)
        else:
            message = {
                "data": ten.Data,
                "audio_frame": ten.AudioFrame,
                "video_frame": ten.VideoFrame,
            }
            await env.send_data(message[kind]("m", content, dest=dests))

    async def handle(self, env: ten.TenEnv, kind: str, msg: Any) -> None:
        line = "commands" if kind == "cmd" else "data"
        self.traffic.note_started(self.name, msg["from"], line, msg["number"])
        wait = self.node.waits[self.handled % len(self.node.waits)]
        self.handled += 1
        await dawdle(wait)
        if self.node.ask and kind != "cmd":
            self.traffic.begin()
            result = await env.send_cmd(ten.Cmd("ask", dest=list(msg["dests"])))
            self.traffic.answers[result.ok] += 1
            self.traffic.end()
        if hops := msg["hops"]:
            dests = list(msg["dests"])
            await self.send(env, kind, [dests[hops % len(dests)]], hops - 1)
        await dawdle(wait)

    def result_line(self, receiver: str) -> str:
        """Results share the line of the commands, unless those wait for each other."""
        serial = self.traffic.plan[int(receiver[1:])].cmd_handlers == "serial"
        return "results" if serial else "commands"

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd.name == "ask":
            await dawdle(self.node.waits[0])
            await env.return_result(cmd.ok())
            return
        await self.handle(env, "cmd", cmd)
        number = self.traffic.note_sent(self.name, [cmd["from"]], self.result_line(cmd["from"]))
        await env.return_result(cmd.ok({"number": number, "from": self.name}))
        self.traffic.end()

    async def on_answer(self, env: ten.TenEnv, result: ten.CmdResult, error: None) -> None:
        line = self.result_line(self.name)
        self.traffic.note_started(self.name, result["from"], line, result["number"])
        self.traffic.end()
        await dawdle(self.node.waits[0])
        self.traffic.end()

    async def on_data(self, env: ten.TenEnv, data: Any) -> None:
        await self.handle(env, data.kind, data)
        self.traffic.end()

    on_audio_frame = on_data
    on_video_frame = on_data
