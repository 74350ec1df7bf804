"""Both result policies, end to end, against a model that says what the caller should see."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs
import trio
from hypothesis import example, strategies as st

import ten_trio as ten
from property_tests.traffic import dawdle, waits
from ten_trio.testing import trio_given

EACH = ten.ResultReturnPolicy.EACH_OK_AND_ERROR
FIRST = ten.ResultReturnPolicy.FIRST_ERROR_OR_LAST_OK


@attrs.frozen
class Answer:
    """One result: how long its executor hesitates, what it says, whether that is its last word."""

    before: float
    ok: bool
    final: bool


@st.composite
def streams(draw: st.DrawFn) -> tuple[Answer, ...]:
    """What one executor answers: some partial results and a final one."""
    partial = st.builds(Answer, waits, st.booleans(), st.just(False))
    final = st.builds(Answer, waits, st.booleans(), st.just(True))
    return (*draw(st.lists(partial, max_size=3)), draw(final))


Seen = tuple[int, int, bool]
"""Destination, number of its result, is_completed."""


def visible(
    arrived: Sequence[tuple[int, int, Answer]], policy: object, dests: int
) -> Iterator[Seen]:
    """What the caller sees of results that arrive in this order."""
    unfinished = set(range(dests))
    newest_of_last: tuple[int, int] | None = None
    for dest, number, answer in arrived:
        unfinished -= {dest} if answer.final else set()
        if policy is EACH:
            yield dest, number, not unfinished
            continue
        if not answer.ok:
            yield dest, number, True
            return
        if dest == dests - 1:
            newest_of_last = dest, number
        if not unfinished:
            assert newest_of_last is not None
            yield *newest_of_last, True


class Executor(ten.Extension):
    """Answers as planned and writes down in which order all of them do."""

    def __init__(
        self, dest: int, stream: tuple[Answer, ...], log: list[tuple[int, int, Answer]]
    ) -> None:
        self.dest = dest
        self.stream = stream
        self.log = log

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        for number, answer in enumerate(self.stream):
            await dawdle(answer.before)
            result = cmd.ok() if answer.ok else cmd.error("no")
            result.set_final(answer.final)
            result["dest"], result["number"] = self.dest, number
            self.log.append((self.dest, number, answer))
            if not await env.return_result(result):
                self.log.pop()
                return


class Caller(ten.Extension):
    """Collects what `send_cmd_ex` or `post_cmd` gives it."""

    def __init__(self, policy: object, posts: bool) -> None:
        self.policy = policy
        self.posts = posts
        self.seen: list[Seen] = []
        self.done = trio.Event()

    async def on_start(self, env: ten.TenEnv) -> None:
        if self.posts:
            env.post_cmd(ten.Cmd("go"), self.on_result, True, policy=self.policy)
            return
        env.nursery.start_soon(self.iterate, env)

    async def iterate(self, env: ten.TenEnv) -> None:
        async with env.send_cmd_ex(ten.Cmd("go"), policy=self.policy) as results:
            async for result in results:
                await self.on_result(env, result, None)

    async def on_result(self, env: ten.TenEnv, result: ten.CmdResult, error: None) -> None:
        self.seen.append((result["dest"], result["number"], result.is_completed))
        if result.is_completed:
            self.done.set()


plans = st.lists(streams(), min_size=1, max_size=4)


@trio_given(plans, st.sampled_from([EACH, FIRST]), st.booleans(), st.booleans())
@example([(Answer(0, True, True),)] * 2, FIRST, True, True)
async def test_the_caller_sees_what_the_policy_says(
    plan: list[tuple[Answer, ...]],
    policy: ten.ResultReturnPolicy,
    posts: bool,
    inline: bool,
) -> None:
    log: list[tuple[int, int, Answer]] = []
    caller = Caller(policy, posts)
    graph = ten.Graph()
    graph.node("caller", lambda: caller, inline=inline)
    for dest, stream in enumerate(plan):
        graph.node(
            f"e{dest}",
            lambda dest=dest, stream=stream: Executor(dest, stream, log),
            group=f"g{dest % 2}",
            inline=inline,
        )
    graph.connect("caller", [f"e{dest}" for dest in range(len(plan))], cmd="go")
    async with ten.open_app() as app, app.open_graph(graph):
        await caller.done.wait()
    assert caller.seen == list(visible(log, policy, len(plan)))
