"""What may overtake what between one sender and one receiver: commands and results data that is held
up by a handler, and nothing else anything.

The sender numbers everything that it sends, of all kinds. A command or result may start before data
that was sent earlier only if a data handler was at work at some time while it waited; data never
starts before anything that was sent earlier.
"""

from __future__ import annotations

import attrs
import trio
from hypothesis import strategies as st

import ten_trio as ten
from property_tests.traffic import dawdle, limits, waits
from ten_trio.testing import trio_given

KINDS = ("cmd", "result", "data", "audio_frame")


@attrs.frozen
class Send:
    """One message, and how long its sender hesitates before it."""

    kind: str
    before: float


sends = st.lists(st.builds(Send, st.sampled_from(KINDS), waits), min_size=1, max_size=25)


class Watch:
    """What the receiver has started, what it is at, and what has overtaken what."""

    def __init__(self, sends: list[Send]) -> None:
        self.sends = sends
        self.left = set(range(len(sends)))
        self.at_work = 0
        self.sent: dict[int, int] = {}
        self.step = 0
        self.held_up_at = -1
        """The last step at which a data handler was at work."""
        self.wrong: list[str] = []
        self.over = trio.Event()

    def tick(self) -> int:
        """One more step."""
        self.step += 1
        if self.at_work:
            self.held_up_at = self.step
        return self.step

    def is_sent(self, number: int) -> None:
        self.sent[number] = self.tick()

    def starts(self, number: int) -> None:
        self.tick()
        self.left.discard(number)
        for earlier in [other for other in self.left if other < number]:
            kinds = self.sends[earlier].kind, self.sends[number].kind
            is_data = [kind not in ("cmd", "result") for kind in kinds]
            may = is_data == [True, False] and self.held_up_at >= self.sent[number]
            if not may:
                self.wrong.append(f"{kinds[1]} {number} starts before {kinds[0]} {earlier}")
        if not self.left:
            self.over.set()

    def data_begins(self) -> None:
        self.at_work += 1
        self.tick()

    def data_ends(self) -> None:
        self.tick()
        self.at_work -= 1


class Receiver(ten.Extension):
    """Asks for the results that it will get, then takes what comes."""

    def __init__(self, watch: Watch, waits: list[float]) -> None:
        self.watch = watch
        self.waits = waits
        self.handled = 0

    async def on_start(self, env: ten.TenEnv) -> None:
        for send in self.watch.sends:
            if send.kind == "result":
                env.post_cmd(ten.Cmd("ask", dest="sender"), self.on_answer)
        env.post_cmd(ten.Cmd("go", dest="sender"))

    async def pause(self) -> None:
        self.handled += 1
        await dawdle(self.waits[self.handled % len(self.waits)])

    async def on_answer(self, env: ten.TenEnv, result: ten.CmdResult, error: None) -> None:
        self.watch.starts(result["number"])
        await self.pause()

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        self.watch.starts(cmd["number"])
        await self.pause()
        await env.return_result(cmd.ok())

    async def on_data(self, env: ten.TenEnv, data: ten.Data | ten.AudioFrame) -> None:
        self.watch.starts(data["number"])
        self.watch.data_begins()
        try:
            await self.pause()
        finally:
            self.watch.data_ends()

    on_audio_frame = on_data  # type: ignore[assignment]


class Sender(ten.Extension):
    """Sends it all, once the receiver has asked."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.asked: list[ten.Cmd] = []

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        if cmd.name == "ask":
            self.asked.append(cmd)
        else:
            await env.return_result(cmd.ok())
            env.nursery.start_soon(self.send_all, env)

    async def send_all(self, env: ten.TenEnv) -> None:
        for number, send in enumerate(self.watch.sends):
            await dawdle(send.before)
            content = {"number": number}
            self.watch.is_sent(number)
            if send.kind == "cmd":
                env.post_cmd(ten.Cmd("c", content, dest="receiver"))
            elif send.kind == "result":
                await env.return_result(self.asked.pop().ok(content))
            elif send.kind == "data":
                await env.send_data(ten.Data("d", content, dest="receiver"))
            else:
                await env.send_audio_frame(ten.AudioFrame("a", content, dest="receiver"))


@trio_given(
    sends,
    st.lists(waits, min_size=1, max_size=4),
    st.booleans(),
    st.booleans(),
    limits,
)
async def test_only_commands_and_results_overtake_and_only_data_that_is_held_up(
    sends: list[Send], waits: list[float], inline: bool, together: bool, limits: ten.Limits
) -> None:
    watch = Watch(sends)
    graph = ten.Graph()
    # The sender hands over one after the other: a handler of its own that waits would be no order.
    graph.node("sender", lambda: Sender(watch), group="a")
    graph.node(
        "receiver", lambda: Receiver(watch, waits), group="a" if together else "b", inline=inline
    )
    # Room enough, so that what is sent is under way when the step is noted.
    limits = attrs.evolve(limits, queue=1_000)
    async with ten.open_app(limits=limits) as app, app.open_graph(graph):
        await watch.over.wait()
    assert not watch.wrong
