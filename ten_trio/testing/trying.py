"""Running a trial: a graph, what is said to it, what goes wrong, and the rules that hold all the same.

The rules are those of `RULES`; who breaks one is told by a `RuleBroken`, which is an `AssertionError`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from math import inf
from typing import Any, Final

import attrs
import trio

from ..errors import (
    AddonNotFound,
    ConfigError,
    EngineClosed,
    GraphError,
    MissingExtra,
    TenError,
)
from ..messages import Cmd, CmdResult, Loc, Msg
from ..network import Client, NetworkSettings, connect, open_app
from ..runtime import App, Call, Engine, Extension, Limits, ShutdownReport, TenEnv
from .memory import SCHEME, MemoryNetwork
from .others import Others
from .subjects import Source, Subject, message_of, subject_of
from .trials import Say, Trial, source_of
from .virtual_time import run_in_virtual_time
from .watch import Watch

ANSWERS: Final = "every command is answered, or it is said why not"
CLOSES: Final = "it closes within the grace"
NOTHING_LEFT: Final = "nothing of it is left behind"
SURVIVES: Final = "no extension raises, whatever comes"
LOOP_RUNS: Final = "nothing holds up the loop"
CHECK: Final = "its own check holds"
RULES: Final = (ANSWERS, CLOSES, NOTHING_LEFT, SURVIVES, LOOP_RUNS, CHECK)

_URI: Final = f"{SCHEME}://app"
_TIMED_OUT: Final = "Path timeout."
_UNUSABLE: Final = (AddonNotFound, ConfigError, GraphError)
_TURNS: Final = 5  # of the scheduler, that a delay of no seconds takes


class RuleBroken(AssertionError):
    """A trial has shown that a rule isn't kept. `rule` says which."""

    def __init__(self, rule: str, what: str) -> None:
        super().__init__(f"{rule}: {what}")
        self.rule = rule


class HeldUp(BaseException):
    """Somebody has kept the loop to himself: no `Exception`, so that nobody tries that again and again."""


class _Crashed(Exception):
    """What a `Crash` raises in an extension."""


@attrs.define
class Transcript:
    """What has happened in a trial: for the check of whoever knows what ought to."""

    trial: Trial
    results: list[tuple[Say, CmdResult]] = attrs.field(factory=list)
    """What the commands were answered, in the order in which the answers came."""
    given_up: list[Say] = attrs.field(factory=list)
    """The commands whose sender has lost patience, or the connection, or was told that it can't be sent."""
    received: list[Msg] = attrs.field(factory=list)
    """What the graph has sent to its host."""
    raised: list[BaseException] = attrs.field(factory=list)
    was_cancelled: bool = False
    """Whether the trial's `cancel_at` has come before the end."""
    report: ShutdownReport | None = None
    """How it closed; None if it was cancelled before it was there."""

    @property
    def is_undisturbed(self) -> bool:
        """Whether nothing has gone wrong on purpose, nor was cut short: then nothing may be missing."""
        trial = self.trial
        faulty = any(link.fault != "none" for link in trial.links)
        cut_short = trial.cancel_at is not None or not trial.linger
        return not (trial.crashes or faulty or cut_short)


Check = Callable[[Transcript], object]


@attrs.frozen(kw_only=True)
class Bounds:
    """What a trial allows. Times are in virtual seconds, but for `step`."""

    grace: float = 5.0
    patience: float = 120.0
    """How long a command may stay unanswered once nothing more is said."""
    step: float = 1.0
    """Real seconds that one step of a task may take: longer, and it holds up the loop."""
    allow: tuple[type[Exception], ...] = ()
    """What an extension may raise."""


def run_trial(
    source: Source | Subject,
    trial: Trial | None = None,
    *,
    graph: str | None = None,
    check: Check | None = None,
    bounds: Bounds | None = None,
) -> Transcript:
    """Try a graph once, in a Trio run and virtual time of its own; returns what has happened.

    `source`: a `Graph`, a function that makes one, or the file of a graph or an app, of which `graph`
    then names one.  `check` is called with the transcript, and raises `AssertionError` if something
    is amiss.

    Raises `RuleBroken` for the rule that isn't kept, `MissingExtra` without Hypothesis, by which Trio
    gets a repeatable order of its tasks, and what opening the graph raises.
    """
    subject = subject_of(source, graph)
    given = trial or Trial()
    _seed(given.order)
    trying = _Trying(subject, given, bounds or Bounds())
    try:
        run_in_virtual_time(trying.run)
    except HeldUp as error:
        raise RuleBroken(LOOP_RUNS, str(error)) from None
    if check is not None:
        _apply(check, trying.transcript)
    return trying.transcript


def _seed(order: int) -> None:
    try:
        import hypothesis  # noqa: F401, PLC0415 - tells Trio to take its order from a seed
    except ModuleNotFoundError as problem:  # pragma: no cover
        raise MissingExtra("trials need Hypothesis: pip install 'ten-trio[test]'") from problem
    trio._core._run._r.seed(order)


def _apply(check: Check, transcript: Transcript) -> None:
    try:
        check(transcript)
    except AssertionError as error:
        raise RuleBroken(CHECK, str(error) or "AssertionError") from error


class _Trying:
    """One trial."""

    def __init__(self, subject: Subject, trial: Trial, bounds: Bounds) -> None:
        self.subject = subject
        self.trial = trial
        self.bounds = bounds
        self.transcript = Transcript(trial)
        self.network = MemoryNetwork()
        self.network.plan = [
            (link.fault, inf if link.fault == "none" else link.after) for link in trial.links
        ]
        self._unanswered: list[str] = []
        self._answered = trio.Event()
        self._handled: dict[str, int] = {}
        self._engine: Engine | None = None

    async def run(self) -> None:
        """From opening the app to the last rule."""
        before = trio.lowlevel.current_statistics().tasks_living
        with trio.CancelScope() as scope:
            watch = Watch(scope, self.trial.cancel_at, self.bounds.step)
            trio.lowlevel.add_instrument(watch)
            try:
                await self._open()
            except* _Crashed:
                pass
            except* Exception as group:  # noqa: BLE001 - reported, whatever it is
                self.transcript.raised += leaves(group)
        trio.lowlevel.remove_instrument(watch)
        self.transcript.was_cancelled = scope.cancel_called
        if self._engine is not None:
            self.transcript.report = self._engine.report
        elif unusable := [e for e in self.transcript.raised if isinstance(e, _UNUSABLE)]:
            raise unusable[0]
        left = trio.lowlevel.current_statistics().tasks_living - before
        self._judge(watch.longest, left)

    async def _open(self) -> None:
        limits = Limits(slice_seconds=inf, grace=self.bounds.grace)
        networked = bool(self.trial.links)
        async with open_app(
            self.subject.app,
            uri=_URI if networked else "",
            auto_start=False,
            limits=limits,
            network=NetworkSettings(),
            protocols=[self.network.protocol],
        ) as app:
            self._meddle(app)
            async with app.open_graph(
                self.subject.graph, own_loop=False, redirects=self.subject.redirects
            ) as engine:
                self._engine = engine
                await self._talk(engine)

    # What is said -----------------------------------------------------------------------------

    async def _talk(self, engine: Engine) -> None:
        async with (
            engine.messages(capacity=100_000) as messages,
            trio.open_nursery() as listening,
            AsyncExitStack() as stack,
        ):
            listening.start_soon(self._listen, engine, messages)
            clients = [await self._client(stack, engine) for _ in self.trial.links]
            await self._say_all(engine, [engine, *clients])
            await trio.sleep(self.trial.linger)
            listening.cancel_scope.cancel("all is said")

    async def _client(self, stack: AsyncExitStack, engine: Engine) -> Client | None:
        with suppress(TenError, BaseExceptionGroup):
            return await stack.enter_async_context(_connected(self.network, engine.graph_id))
        return None

    async def _listen(self, engine: Engine, messages: Any) -> None:
        async for msg in messages:
            self.transcript.received.append(msg)
            if isinstance(msg, Cmd):
                with suppress(TenError):
                    await engine.return_result(msg.ok())

    async def _say_all(self, engine: Engine, senders: list[Engine | Client | None]) -> None:
        asked: dict[int, Say] = {}
        async with trio.open_nursery() as nursery:
            for number, say in enumerate(self.trial.says):
                await trio.sleep(say.wait)
                sender = senders[say.client % len(senders)]
                try:
                    # In this task, so that everything is sent in the order in which it is written.
                    call = await self._send(sender, say)
                except TenError:
                    # It can't be sent: the graph is closing, the connection is lost, there is no way.
                    self.transcript.given_up.append(say)
                    continue
                if call is not None:
                    asked[number] = say
                    nursery.start_soon(self._wait, call, say, number, asked)
            deadline = trio.current_time() + self.bounds.patience
            while asked and trio.current_time() < deadline:
                with trio.move_on_at(deadline):
                    await self._answered.wait()
                self._answered = trio.Event()
            late = [say for say in asked.values() if self._must_answer(say)]
            if late and not engine.is_closing:
                what = f"{source_of(late[0])} within {self.bounds.patience:g} s"
                self._unanswered.append(f"{what}\n{await engine.explain()}")
            nursery.cancel_scope.cancel("all is said")

    def _must_answer(self, say: Say) -> bool:
        """Whether nothing is between whoever asks and the graph."""
        links = self.trial.links
        via = say.client % (len(links) + 1)
        return via == 0 or links[via - 1].fault == "none"

    async def _send(self, sender: Engine | Client | None, say: Say) -> Call | None:
        if sender is None:
            raise EngineClosed("it could not connect")
        dest: Any = say.to or None
        if isinstance(sender, Client):
            dest = Loc("", sender.graph_id, say.to or None)
        msg = message_of(say, dest=dest)
        if isinstance(msg, Cmd):
            return sender.start_cmd(msg)
        with trio.move_on_after(self.bounds.patience):  # it waits for room
            await sender.send_data(msg)
        return None

    async def _wait(self, call: Call, say: Say, number: int, asked: dict[int, Say]) -> None:
        try:
            with trio.move_on_after(inf if say.patience is None else say.patience) as scope:
                result = await call.result()
                self.transcript.results.append((say, result))
                if result.detail == _TIMED_OUT and self._must_answer(say):
                    self._unanswered.append(f"{source_of(say)}: the time of its path has run out")
            if scope.cancelled_caught:
                call.cancel()
                self.transcript.given_up.append(say)
        except TenError:
            self.transcript.given_up.append(say)
        finally:
            del asked[number]
            self._answered.set()

    # What goes wrong --------------------------------------------------------------------------

    def _meddle(self, app: App) -> None:
        """Put the delays and the crashes into the extensions, as they are made."""
        planned: dict[str, dict[int, float | None]] = {}
        for delay in self.trial.delays:
            planned.setdefault(delay.extension, {})[delay.nth] = delay.seconds
        for crash in self.trial.crashes:
            planned.setdefault(crash.extension, {})[crash.nth] = None
        find = app.addons.find

        def found(name: Any, base_dir: Any) -> Any:
            addon = find(name, base_dir)

            async def make(node: str) -> Extension:
                extension = await addon.create(node)
                if isinstance(extension, Others):
                    extension.replies = list(self.trial.replies)
                if node in planned:
                    self._disturb(extension, node, planned[node])
                return extension

            return attrs.evolve(addon, factory=make)

        app.addons.find = found  # type: ignore[method-assign]

    def _disturb(self, extension: Extension, node: str, plan: Mapping[int, float | None]) -> None:
        kind = type(extension)
        inner: Any = kind

        async def before() -> None:
            number = self._handled.get(node, 0)
            self._handled[node] = number + 1
            if number not in plan:
                return
            seconds = plan[number]
            if seconds is None:
                raise _Crashed(f"on purpose, in handler {number} of {node}")
            if seconds:
                await trio.sleep(seconds)
            for _ in range(0 if seconds else _TURNS):
                await trio.lowlevel.checkpoint()

        def disturbed(callback: Any) -> Any:
            async def handler(self: Any, env: TenEnv, msg: Any) -> None:
                await before()
                await callback(self, env, msg)

            return handler

        names = ("on_cmd", "on_data", "on_audio_frame", "on_video_frame")
        body: dict[str, Any] = {name: disturbed(getattr(inner, name)) for name in names}
        body["__module__"], body["__qualname__"] = kind.__module__, kind.__qualname__
        extension.__class__ = type(kind.__name__, (kind,), body)

    # The rules --------------------------------------------------------------------------------

    def _judge(self, longest: tuple[float, str], left: int) -> None:
        transcript = self.transcript
        report = transcript.report
        unexpected = [e for e in transcript.raised if not isinstance(e, self.bounds.allow)]
        if unexpected:
            error = unexpected[0]
            told = "; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())])
            raise RuleBroken(SURVIVES, told) from error
        seconds, task = longest
        if seconds > self.bounds.step:
            raise HeldUp(f"one step of task {task} took {seconds:.1f} s of real time")
        if self._unanswered:
            raise RuleBroken(ANSWERS, f"not answered: {self._unanswered[0]}")
        if report is not None and report.grace_exhausted:
            raise RuleBroken(CLOSES, str(report))
        if report is not None and report.threads:
            raise RuleBroken(NOTHING_LEFT, f"threads still run: {', '.join(report.threads)}")
        if left:
            raise RuleBroken(NOTHING_LEFT, f"{left} tasks that it has started are still there")


@asynccontextmanager
async def _connected(network: MemoryNetwork, graph_id: str) -> AsyncGenerator[Client]:
    async with connect(_URI, graph=graph_id, protocols=[network.protocol]) as client:
        yield client


def leaves(error: BaseException) -> Iterable[BaseException]:
    """The exceptions in a group, however deep."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error


__all__ = ["RULES", "Bounds", "Check", "RuleBroken", "Transcript", "run_trial"]
