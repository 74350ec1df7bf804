"""Whatever comes at whatever moment, an extension lives by the rules.

Its callbacks run one after another, none is skipped that must be called, no message is handled before
`on_init` is back or from `on_deinit` on, and nothing that was sent to it in between is lost. What fails
is answered at once, and only what its policy says comes to an end with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import attrs
import trio
import trio.testing
from hypothesis import strategies as st

import ten_trio as ten
from property_tests.traffic import graph_of
from ten_trio.testing import trio_given

STAGES = ("on_configure", "on_init", "lifespan", "on_start", "on_stop", "on_deinit")
moments = st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.3])
LIMITS = ten.Limits(restarts=2, grace=20)


@attrs.frozen
class Plan:
    """How one extension lives: how long each stage takes, which one fails, what it sends when it starts,
    and which of the messages it gets are too much for it."""

    takes: dict[str, float]
    fails: str
    on_error: str
    bad: frozenset[int]
    inline: bool
    group: int
    has_lifespan: bool


plan = st.builds(
    Plan,
    st.fixed_dictionaries(dict.fromkeys(STAGES, moments)),
    st.sampled_from(["", "", "", "", *STAGES[:-1]]),
    st.sampled_from(["stop_graph", "isolate", "restart"]),
    st.frozensets(st.integers(0, 11), max_size=2),
    st.booleans(),
    st.integers(0, 1),
    st.booleans(),
)


@attrs.frozen
class Story:
    """Some extensions, each of which sends commands and data to all while it initialises and starts."""

    plans: tuple[Plan, ...]
    open_for: float
    cancelled_at: float


stories = st.builds(
    Story,
    st.lists(plan, min_size=1, max_size=3).map(tuple),
    moments,
    st.sampled_from([inf, inf, 0.05, 0.3, 0.9]),
)


class Book:
    """What has happened, and what mustn't have."""

    def __init__(self, story: Story) -> None:
        self.story = story
        self.stages: dict[str, list[str]] = {}
        self.at: dict[str, str] = {}
        self.tasks: Counter[str] = Counter()
        self.handled: Counter[tuple[str, int]] = Counter()
        self.answered: dict[tuple[str, str, int], str] = {}
        self.sent: dict[tuple[str, str, int], float] = {}
        self.latest: dict[tuple[str, str], int] = {}
        self.number = 0
        self.wrong: list[str] = []
        self.lives: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def begins(self, name: str, stage: str) -> None:
        past = self.stages.setdefault(name, [])
        if stage == "on_configure":
            self.lives[name] += 1
            if past and past[-1] != "on_deinit":
                self.wrong.append(f"{name} is built anew after {past}")
            past = self.stages[name] = []
        if self.at.get(name):
            self.wrong.append(f"{name}: {stage} begins in {self.at[name]}")
        if past and STAGES.index(stage) <= STAGES.index(past[-1]):
            self.wrong.append(f"{name}: {stage} after {past}")
        if stage == "on_deinit" and "on_stop" not in past:
            self.wrong.append(f"{name}: {stage} without on_stop: {past}")
        if stage == "on_start" and "on_init" not in past:
            self.wrong.append(f"{name}: {stage} without on_init")
        if stage == "on_deinit" and self.tasks[name]:
            self.wrong.append(f"{name}: {self.tasks[name]} tasks are still there in {stage}")
        past.append(stage)
        self.at[name] = stage

    def handles(self, name: str, number: int) -> None:
        past = self.stages.get(name, [])
        if self.at.get(name) in ("on_configure", "on_init", "on_deinit") or "on_deinit" in past:
            self.wrong.append(f"{name} handles {number} in {self.at.get(name) or past}")
        self.handled[name, number] += 1
        sender = next(sender for sender, _, sent in self.sent if sent == number)
        if number < self.latest.get((sender, name), 0):
            self.wrong.append(f"{name} handles {number} too late")
        self.latest[sender, name] = number


class Actor(ten.Extension):
    """Lives as planned."""

    def __init__(self, plan: Plan, book: Book) -> None:
        self.plan = plan
        self.book = book
        self.has_failed = False

    async def stage(self, env: ten.TenEnv, name: str) -> None:
        book, plan = self.book, self.plan
        book.begins(self.name, name)
        core = env._instance.engine
        is_end = name in ("on_stop", "on_deinit")
        if not is_end and core.closing and core._closing.began < trio.current_time():
            book.wrong.append(f"{self.name}: {name} begins in a graph that closes")
        if not is_end and self.has_failed:
            book.wrong.append(f"{self.name}: {name} though a stage has failed")
        try:
            await trio.sleep(plan.takes[name])
            if plan.fails == name and book.lives[self.name] == 1:
                book.failed[self.name] += 1
                self.has_failed = True
                raise RuntimeError("on purpose")
        finally:
            book.at[self.name] = ""

    async def on_configure(self, env: ten.TenEnv) -> None:
        await self.stage(env, "on_configure")

    async def on_init(self, env: ten.TenEnv) -> None:
        self.send_to_all(env)
        await self.stage(env, "on_init")

    @asynccontextmanager
    async def lifespan(self, env: ten.TenEnv) -> AsyncGenerator[None, None]:
        if self.plan.has_lifespan:
            await self.stage(env, "lifespan")
        yield

    async def on_start(self, env: ten.TenEnv) -> None:
        env.nursery.start_soon(self.work)
        self.send_to_all(env)
        await self.stage(env, "on_start")

    async def on_stop(self, env: ten.TenEnv) -> None:
        await self.stage(env, "on_stop")

    async def on_deinit(self, env: ten.TenEnv) -> None:
        await self.stage(env, "on_deinit")

    async def work(self) -> None:
        self.book.tasks[self.name] += 1
        try:
            await trio.sleep_forever()
        finally:
            self.book.tasks[self.name] -= 1

    def send_to_all(self, env: ten.TenEnv) -> None:
        book = self.book
        for at in range(len(book.story.plans)):
            book.number += 1
            key = (self.name, f"n{at}", book.number)
            content = {"number": book.number}
            book.sent[key] = trio.current_time()

            async def on_result(
                env: ten.TenEnv,
                result: ten.CmdResult,
                error: None,
                key: tuple[str, str, int] = key,
            ) -> None:
                if key in book.answered:
                    book.wrong.append(f"{key} is answered again: {result.detail}")
                book.answered[key] = result.detail or "OK"

            env.post_cmd(ten.Cmd("c", content, dest=f"n{at}"), on_result)

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        number = cmd["number"]
        self.book.handles(self.name, number)
        if number in self.plan.bad:
            self.book.failed[self.name] += 1
            raise RuntimeError("on purpose")
        if number % 3:
            await trio.sleep(0.1)
        await env.return_result(cmd.ok())


async def live(story: Story, book: Book) -> None:
    """Open the graph, leave it open for a while, close it."""
    graph = graph_of(story.plans, lambda plan: Actor(plan, book))
    with trio.CancelScope() as scope:
        scope.deadline = trio.current_time() + story.cancelled_at
        try:
            async with ten.open_app(limits=LIMITS) as app:
                async with app.open_graph(graph):
                    for at in range(len(story.plans)):
                        # Everyone has started, or has failed and is isolated.
                        if "on_start" not in book.stages[f"n{at}"] and not book.failed[f"n{at}"]:
                            book.wrong.append(f"open before n{at} has started")
                        if book.at[f"n{at}"] == "on_start" and book.lives[f"n{at}"] == 1:
                            book.wrong.append(f"open while n{at} starts")
                    await trio.sleep(story.open_for)
        except* RuntimeError:
            pass


@trio_given(stories)
async def test_extensions_live_by_the_rules(story: Story) -> None:
    book = Book(story)
    await live(story, book)
    assert not book.wrong
    assert not any(book.tasks.values())
    for name, stages in book.stages.items():
        # Whatever has begun ends in order, also if a stage has failed.
        assert stages[-2:] == ["on_stop", "on_deinit"], (name, stages)
    assert all(number == 1 for number in book.handled.values())
    # Nobody waits for ever, and what an isolated extension fails at is answered like all else.
    # (The result handlers of an extension that is already gone aren't called any more.)
    for sender, dest, number in book.sent:
        if (sender, dest, number) not in book.answered:
            assert "on_deinit" in book.stages[sender], (sender, dest, number)
    if is_quiet(story):
        assert set(book.answered.values()) <= {"OK"}
        assert len(book.answered) == len(book.sent)


def is_quiet(story: Story) -> bool:
    """Whether nothing is to go wrong, and there is time for everything."""
    goes_well = not any(plan.fails or plan.bad for plan in story.plans)
    return goes_well and story.cancelled_at == inf and story.open_for >= 0.5


@trio_given(st.lists(st.tuples(moments, moments, st.booleans()), min_size=1, max_size=4))
async def test_nobody_deinitialises_before_all_have_stopped(
    nodes: list[tuple[float, float, bool]],
) -> None:
    stopped: list[float] = []
    begun: list[float] = []

    class Slow(ten.Extension):
        def __init__(self, on_stop: float, on_deinit: float, fails: bool) -> None:
            self.takes = on_stop, on_deinit
            self.fails = fails

        async def on_stop(self, env: ten.TenEnv) -> None:
            try:
                await trio.sleep(self.takes[0])
                if self.fails:
                    raise RuntimeError("on purpose")
            finally:
                stopped.append(trio.current_time())

        async def on_deinit(self, env: ten.TenEnv) -> None:
            begun.append(trio.current_time())
            assert len(stopped) == len(nodes)
            await trio.sleep(self.takes[1])

    graph = ten.Graph()
    for at, node in enumerate(nodes):
        graph.node(f"n{at}", lambda node=node: Slow(*node), group=f"g{at % 2}", on_error="isolate")
    async with ten.open_app() as app:
        engine = await app.start_graph(graph, sync_stop_before_deinit=True)
        engine.stop()
    assert len(begun) == len(nodes)
    assert min(begun) == max(stopped)
    assert engine.report is not None
    assert not engine.report.failures


@trio_given(
    st.sampled_from(["stop_graph", "isolate", "restart"]),
    st.lists(st.sampled_from(["ok", "raise", "hang"]), min_size=1, max_size=8),
    st.booleans(),
    st.booleans(),
)
async def test_a_failure_is_answered_at_once_and_goes_as_far_as_the_policy_says(
    policy: str, orders: list[str], inline: bool, together: bool
) -> None:
    lives: list[int] = []
    ended: list[tuple[int, str, float]] = []

    class Worker(ten.Extension):
        async def on_init(self, env: ten.TenEnv) -> None:
            lives.append(0)
            await trio.sleep(0.5)

        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            if cmd["order"] == "raise":
                raise KeyError("on purpose")
            if cmd["order"] == "hang":
                await trio.sleep_forever()
            await env.return_result(cmd.ok())

    class Neighbour(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await env.return_result(cmd.ok())

    graph = ten.Graph()
    graph.node("worker", Worker, on_error=policy, inline=inline, group="a")
    graph.node("neighbour", Neighbour, group="a" if together else "b")
    began = trio.current_time() + 0.5

    async def ask(engine: ten.Engine, at: int, order: str) -> None:
        await trio.sleep_until(began + at)
        cmd = ten.Cmd("c", {"order": order}, dest="worker")
        try:
            detail = (await engine.send_cmd(cmd)).detail
        except ten.EngineClosed:
            detail = "closed"
        if not engine._core.closing:
            assert (await engine.send_cmd(ten.Cmd("c", dest="neighbour"))).ok
        ended.append((at, detail, trio.current_time() - began - at))

    failures = orders.count("raise")
    raised = 0
    try:
        async with ten.open_app(limits=LIMITS) as app, app.open_graph(graph) as engine:
            async with trio.open_nursery() as nursery:
                for at, order in enumerate(orders):
                    nursery.start_soon(ask, engine, at, order)
                await trio.sleep(len(orders) + 5)
                engine.stop()
    except* KeyError:
        raised = 1
    most = {"stop_graph": 0, "isolate": inf, "restart": LIMITS.restarts}[policy]
    assert raised == (failures > most)
    assert engine.report is not None
    # A handler that hangs ends with its extension, not only when the grace runs out.
    assert not engine.report.grace_exhausted
    assert engine.report.duration <= 0.5
    assert len(lives) == 1 + (min(failures, most) if policy == "restart" else 0)
    # What the orders come to: up to the failure that was too much, if there was one.
    fatal = (
        [at for at, order in enumerate(orders) if order == "raise"][int(most) :]
        if most != inf
        else []
    )
    end = fatal[0] if fatal else len(orders) + 5
    failing = [at for at, order in enumerate(orders) if order == "raise" and at <= end]
    for at, detail, took in ended:
        order = orders[at]
        if at > end:
            assert detail == "closed"
        elif order == "ok":
            # Held while the extension is built anew.
            assert not detail
            assert took <= 0.5
        elif order == "raise":
            assert "KeyError" in detail
            assert took == 0
        else:
            later = [moment for moment in failing if moment > at]
            over = later[0] if later and policy != "isolate" else end
            assert took == over - at
            assert detail.startswith("restarting") == (
                policy == "restart" and bool(later) and over not in fatal
            )


@trio_given(
    st.lists(st.tuples(moments, st.sampled_from(["hang", "ask"])), min_size=1, max_size=6),
    st.sampled_from([0.05, 0.2, 0.7, 2.0]),
    moments,
    st.booleans(),
)
async def test_what_is_removed_leaves_nobody_waiting(
    orders: list[tuple[float, str]], remove_at: float, on_stop: float, inline: bool
) -> None:
    """Neither who has asked it, nor whom it has asked: from the end of its on_stop on."""
    ended: list[float] = []
    abandoned: list[float] = []
    began = trio.current_time()

    class Leaving(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            if cmd["order"] == "ask":
                env.post_cmd(ten.Cmd("c", dest="other"))
            await trio.sleep_forever()

        async def on_stop(self, env: ten.TenEnv) -> None:
            await trio.sleep(on_stop)

    class Other(ten.Extension):
        async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
            await cmd.abandoned.wait()
            abandoned.append(trio.current_time() - began)

    async def order(engine: ten.Engine, at: float, order: str) -> None:
        await trio.sleep(at)
        cmd = ten.Cmd("c", {"order": order}, dest="leaving")
        assert not (await engine.send_cmd(cmd, timeout=inf)).ok
        ended.append(trio.current_time() - began)

    graph = ten.Graph()
    graph.node("leaving", Leaving, inline=inline)
    graph.node("other", Other)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        async with trio.open_nursery() as nursery:
            for each in orders:
                nursery.start_soon(order, engine, *each)
            await trio.sleep(remove_at)
            await engine.remove_extension("leaving")
            gone = trio.current_time() - began
            with trio.move_on_after(10):
                while len(ended) < len(orders):  # noqa: ASYNC110 - nobody tells
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        in_time = [at for at, _ in orders if at < remove_at]
        assert len(ended) == len(orders)
        assert all(moment <= gone for moment in sorted(ended)[: len(in_time)])
        asked = [at for at, what in orders if what == "ask" and at < gone]
        assert len(abandoned) == len(asked)
        assert all(moment <= gone + 0.01 for moment in abandoned)


@attrs.frozen
class Part:
    """One extension: the callbacks that it has, how long each takes, and what it opens in its nursery."""

    stages: frozenset[str]
    takes: float
    tasks: int
    inline: bool


parts = st.builds(
    Part, st.frozensets(st.sampled_from(STAGES)), moments, st.integers(0, 2), st.booleans()
)


class Partial(ten.Extension):
    """Notes its stages, and the task of each."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.stages: list[str] = []
        self.tasks: set[trio.lowlevel.Task] = set()
        self.handled: list[int] = []
        self.at_work = 0

    async def stage(self, name: str) -> None:
        self.stages.append(name)
        self.tasks.add(trio.lowlevel.current_task())
        assert name != "on_deinit" or not self.at_work
        await trio.sleep(self.part.takes)

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        self.handled.append(cmd["number"])
        if len(self.handled) <= self.part.tasks:
            env.nursery.start_soon(self.work)
        await env.return_result(cmd.ok())

    async def work(self) -> None:
        self.at_work += 1
        try:
            await trio.sleep_forever()
        finally:
            self.at_work -= 1


def with_stages(part: Part) -> Partial:
    """An extension that has these callbacks, and no others."""

    def callback(name: str) -> Any:
        async def run(self: Partial, env: ten.TenEnv) -> None:
            await self.stage(name)

        @asynccontextmanager
        async def lifespan(self: Partial, env: ten.TenEnv) -> AsyncGenerator[None, None]:
            await self.stage(name)
            yield
            self.tasks.add(trio.lowlevel.current_task())

        return lifespan if name == "lifespan" else run

    kind = type("Some", (Partial,), {name: callback(name) for name in part.stages})
    return kind(part)  # type: ignore[no-any-return]


@trio_given(
    st.lists(parts, min_size=1, max_size=4),
    st.lists(st.tuples(moments, st.integers(0, 3)), max_size=6),
    moments,
    st.booleans(),
)
async def test_whichever_callbacks_there_are_they_have_one_task(
    plan: list[Part], sends: list[tuple[float, int]], open_for: float, sync: bool
) -> None:
    """As long as one is still to come; what has none lives by the same rules without a task."""
    extensions = [with_stages(part) for part in plan]
    graph = ten.Graph()
    for at, extension in enumerate(extensions):
        graph.node(f"n{at}", lambda it=extension: it, inline=plan[at].inline)
    calls = []
    async with ten.open_app(limits=LIMITS) as app:
        engine = await app.start_graph(graph, sync_stop_before_deinit=sync)
        began = trio.current_time()
        for number, (moment, dest) in enumerate(sorted(sends)):
            await trio.sleep_until(began + moment)
            dest %= len(plan)
            call = engine.start_cmd(ten.Cmd("c", {"number": number}, dest=f"n{dest}"))
            calls.append((number, dest, call))
        await engine.wait_started()
        await trio.sleep(open_for)
        await trio.testing.wait_all_tasks_blocked()
        for at, part in enumerate(plan):
            lasts = part.stages & {"lifespan", "on_stop", "on_deinit"}
            assert (engine._core.lives[f"n{at}"].task is not None) == bool(lasts)
        engine.stop()
        report = await engine.wait_closed()
    assert not report.grace_exhausted
    assert not report.failures
    for part, extension in zip(plan, extensions, strict=True):
        assert extension.stages == [name for name in STAGES if name in part.stages]
        assert len(extension.tasks) <= 1
        assert not extension.at_work
        assert extension.handled == sorted(extension.handled)
    for number, dest, call in calls:
        assert number in extensions[dest].handled
        assert (await call.result()).ok
