"""Why is it stuck? Who waits for what in a running graph, and whether they wait in a circle.

Nothing is written down for this while the graph runs, but for when a wait began: the paths of
commands, the lines and the tasks say the rest. Looking changes nothing, and takes no task's time.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import trio

from .calls import Call
from .explanation import Block, Explanation, Wait
from .frames import slow_line
from .host import Outside
from .instance import Instance
from .lines import Line
from .loops import hear
from .passing import PassedOn
from .paths import Fan, InPath, OutPath
from .watchdog import culprit

if TYPE_CHECKING:
    from ..messages import Msg
    from .engine import EngineCore
    from .own_loop import CoreLink

logger = logging.getLogger("ten_trio.runtime")

_AT_REST = ("created", "running", "closed")
_HOST = "the host"
_MOST = 1_000
"""Waits that are told of."""
_DEPTH = 50
"""Of commands that were sent on: more than any graph has."""


@attrs.define(eq=False)
class _Activity:
    """Something with a task that may wait: a handler, a stage of a life, a task of the extension's."""

    who: str
    doing: str
    kind: Any
    task: trio.lowlevel.Task
    since: float | None
    engine: EngineCore | None


@attrs.frozen
class _Toward:
    """The other side of a command: who has it, how far it is, and what that depends on."""

    on: str = ""
    why: str = ""
    by: tuple[_Activity, ...] = ()


class _Look:
    """One look at a graph, and at what its commands depend on in others of the same loop."""

    def __init__(self, core: EngineCore, now: float) -> None:
        self._core = core
        self._now = now
        self._of: dict[trio.lowlevel.Task, _Activity] = {}
        self._engines: dict[EngineCore, None] = {}
        self._handling: dict[InPath, _Activity] = {}
        # What each activity waits for: the wait, and whom that in turn depends on.
        self._edges: dict[_Activity, list[tuple[Wait, tuple[_Activity, ...]]]] = {}
        self._held: list[Wait] = []

    def explanation(self) -> Explanation:
        """What there is to say."""
        core = self._core
        self._enter(core)
        done: set[EngineCore] = set()
        while left := [engine for engine in self._engines if engine not in done]:
            for engine in left:
                done.add(engine)
                self._commands(engine)
                self._rooms(engine)
                self._queues(engine)
        for activity in self._of.values():
            if activity.kind is not None and activity not in self._edges:
                self._note(activity, (), kind=activity.kind, since=activity.since)
        waits = [
            wait
            for activity, edges in self._edges.items()
            for wait, _ in edges
            if activity.engine is core or activity.engine is None
        ]
        waits = sorted((*waits, *self._held), key=lambda wait: -(wait.seconds or 0.0))
        circles = tuple(self._circles())
        told, rest = waits[:_MOST], waits[_MOST:]
        in_circles = {id(wait): wait for circle in circles for wait in circle}
        for wait in told:
            in_circles.pop(id(wait), None)
        left_out = sum(id(wait) not in in_circles for wait in rest)
        dog = core.loop.watchdog
        return Explanation(
            graph_id=core.graph_id,
            name=core.graph_name,
            state=core.state,
            waits=(*told, *in_circles.values()),
            more=left_out,
            deadlocks=circles,
            blocks=() if dog is None else tuple(dog.blocks.values()),
        )

    # Who there is -----------------------------------------------------------------------------

    def _enter(self, engine: EngineCore) -> None:
        """Take in what an engine runs, if that hasn't been done."""
        if engine in self._engines:
            return
        self._engines[engine] = None
        for instance in tuple(engine.instances.values()):
            name, life = self._name(instance), instance.life
            if life.task is not None and not life.done.is_set():
                stage = "waiting for the others' on_stop" if life.waits_for_others else life.stage
                kind = None if stage in _AT_REST else "stage"
                self._add(_Activity(name, stage, kind, life.task, life.since, engine))
            for task in instance.env._tasks:
                # Those that wait for something of their own are no reason why anything is stuck.
                self._add(_Activity(name, f"task {task.name}", None, task, None, engine))
            for worker, msg in tuple(instance.workers.items()):
                doing = f"handler of {_title(msg)}"
                handler = _Activity(name, doing, "handler", worker.task, worker.since, engine)
                self._add(handler)
                if isinstance(msg._path, InPath):
                    self._handling[msg._path] = handler

    def _add(self, activity: _Activity) -> None:
        self._of[activity.task] = activity

    def _name(self, instance: Any) -> str:
        engine = instance.engine
        name: str = instance.name
        return name if engine is self._core else f"{name} of graph {engine.title}"

    def _activity(self, task: trio.lowlevel.Task, who: str, engine: EngineCore | None) -> _Activity:
        """What a task belongs to, which may be one that was started inside of a handler."""
        inner: trio.lowlevel.Task | None = task
        while inner is not None:
            if inner in self._of:
                return self._of[inner]
            nursery = inner.parent_nursery
            inner = None if nursery is None else nursery.parent_task
        found = self._of[task] = _Activity(who, f"task {task.name}", None, task, None, engine)
        return found

    # What they wait for -----------------------------------------------------------------------

    def _note(
        self,
        activity: _Activity,
        by: Sequence[_Activity],
        *,
        kind: Any,
        since: float | None,
        task: trio.lowlevel.Task | None = None,
        now: float | None = None,
        **more: str,
    ) -> None:
        at = self._now if now is None else now
        wait = Wait(
            who=activity.who,
            doing=activity.doing,
            kind=kind,
            seconds=None if since is None else max(0.0, at - since),
            at=slow_line((task or activity.task).iter_await_frames(), anywhere=False),
            **more,
        )
        self._edges.setdefault(activity, []).append((wait, tuple(by)))

    def _commands(self, engine: EngineCore) -> None:
        """The calls that somebody waits for."""
        for endpoint in tuple(engine.endpoints()):
            who = _HOST if isinstance(endpoint, Outside) else self._name(endpoint)
            for path in tuple(endpoint.out_paths.values()):
                call, now = _call_of(path.sink)
                task = None if call is None else call._waiter
                if call is None or task is None:
                    continue
                activity = self._activity(task, who, engine)
                toward = self._toward(path)
                self._note(
                    activity,
                    toward.by,
                    kind="result",
                    since=call._since,
                    task=task,
                    now=now,
                    what=repr(path.cmd_name),
                    on=toward.on,
                    why=toward.why,
                )

    def _toward(self, path: Any, depth: int = 0) -> _Toward:
        """The other side of a command that was sent."""
        there = path.in_path
        if isinstance(there, PassedOn):
            return self._sent_on((there._sending,), "", depth)
        inner = there
        while not isinstance(inner, InPath):
            # Of another loop: who has it is all that can be told from here.
            inner = getattr(inner, "_in_path", None)
            if inner is None:
                return _Toward("", "" if there is None else "it is in another loop")
        owner: Any = inner.owner
        if isinstance(owner, Outside):
            return _Toward(_HOST)
        if not isinstance(owner, Instance):
            return _Toward(owner.name)  # another app, or a client
        name = self._name(owner)
        if there is not inner or owner.engine.loop is not self._core.loop:
            return _Toward(name, "it is in another loop")
        self._enter(owner.engine)
        return self._executor(owner, inner, name, depth)

    def _executor(self, owner: Instance, path: InPath, name: str, depth: int) -> _Toward:
        handler = self._handling.get(path)
        if handler is not None:
            return _Toward(name, "", (handler,))
        if path.relays:
            return self._sent_on(path.relays, name, depth)
        if path.started:
            return _Toward(name, "its handler has returned, and hasn't answered")
        holder = self._holder(owner.cmd_line)
        if holder is None:
            return _Toward(name, f"it hasn't begun: it is queued at {name}")
        because = f"it hasn't begun: held up by {holder.doing}, which {name} has to finish first"
        return _Toward(name, because, (holder,))

    def _sent_on(self, sendings: Iterable[Any], name: str, depth: int) -> _Toward:
        """A command that was sent on depends on those that it was sent to."""
        paths = [path for sending in sendings for path in _paths(sending) if not path.closed]
        if not paths or depth > _DEPTH:
            return _Toward(name, "its answer is on its way")
        found = [self._toward(path, depth + 1) for path in paths]
        by = tuple(activity for each in found for activity in each.by)
        first = next((each for each in found if each.by), found[0])
        sent_on = f"sent on by {name}" if name else ""
        why = "; ".join(part for part in (sent_on, first.why) if part)
        return _Toward(first.on or name, why, by)

    def _holder(self, line: Line) -> _Activity | None:
        """What keeps the messages of a line from being handled."""
        owner: Any = line.owner
        if not isinstance(owner, Instance):
            return None
        self._enter(owner.engine)
        if line.serial and line.waiting:
            for worker, msg in owner.workers.items():
                if msg._line is line:
                    return self._of[worker.task]
        task = owner.life.task
        if task is not None and line.lane is not None and line.entry.put == owner.held.append:
            return self._of.get(task)
        return None

    def _rooms(self, engine: EngineCore) -> None:
        """Those who wait for room."""
        for line in _waited_at(engine):
            for task, since in tuple((line.waiters or {}).items()):
                activity = self._activity(task, "outside", engine)
                receiver = line.waited_for
                holder = self._holder(receiver)
                why = f"{line.count} are queued there"
                if line is not receiver:
                    why += f" of {line.name}"
                if holder is not None:
                    why += f", held up by {holder.doing}"
                by = () if holder is None else (holder,)
                owner = receiver.owner
                name = self._name(owner) if isinstance(owner, Instance) else line.name
                self._note(activity, by, kind="room", since=since, task=task, on=name, why=why)

    def _queues(self, engine: EngineCore) -> None:
        """Messages that something holds up."""
        for instance in engine.instances.values() if engine is self._core else ():
            for line in (instance.cmd_line, instance.data_line):
                holder = self._holder(line) if line.count else None
                if holder is None:
                    continue
                kind = "command" if line is instance.cmd_line else "data message"
                since = holder.since
                self._held.append(
                    Wait(
                        who=self._name(instance),
                        doing="queue",
                        kind="held",
                        what=f"{line.count} {kind}{'s' if line.count > 1 else ''}",
                        on=holder.who,
                        seconds=None if since is None else max(0.0, self._now - since),
                        why=f"held up by {holder.doing}",
                    )
                )

    # Circles ----------------------------------------------------------------------------------

    def _circles(self) -> Iterator[tuple[Wait, ...]]:
        """The waits that go round, each circle once."""
        done: set[_Activity] = set()
        for start in tuple(self._edges):
            if start in done:
                continue
            # Depth first, without recursion: a chain may be longer than the stack.
            trail: list[_Activity] = [start]
            steps: list[Wait] = []
            todo = [self._onward(start)]
            while trail:
                step = next(todo[-1], None)
                if step is None:
                    done.add(trail.pop())
                    todo.pop()
                    if steps:
                        steps.pop()
                    continue
                wait, after = step
                if after in trail:
                    begin = trail.index(after)
                    yield (*steps[begin:], wait)
                elif after not in done:
                    trail.append(after)
                    steps.append(wait)
                    todo.append(self._onward(after))

    def _onward(self, activity: _Activity) -> Iterator[tuple[Wait, _Activity]]:
        for wait, by in self._edges.get(activity, ()):
            for after in by:
                yield wait, after


def _waited_at(engine: EngineCore) -> Iterator[Line]:
    """Wherever somebody may wait for room in a graph."""
    for instance in engine.instances.values():
        yield instance.data_line
        if instance.data_line.passage is not None:
            yield from instance.data_line.passage.gates
    yield from engine.boundary.lines()


def _title(msg: Msg) -> str:
    return f"{msg.kind} {msg.name!r}"


def _call_of(sink: Any) -> tuple[Call | None, float | None]:
    """The call that gets the results of a path, and the time where it is, if that is elsewhere."""
    fan = getattr(sink, "_fan", None)
    if fan is not None:
        sink = fan._sink
    if isinstance(sink, Call):
        return sink, None
    call = getattr(sink, "_call", None)
    return (call, sink._home.now()) if isinstance(call, Call) else (None, None)


def _paths(sending: Any) -> Sequence[OutPath]:
    return sending.paths if isinstance(sending, Fan) else (sending,)


def explain(core: EngineCore, now: float | None = None) -> Explanation:
    """Who waits for what in a graph. Called in its loop, or while that is blocked (with its time)."""
    return _Look(core, trio.current_time() if now is None else now).explanation()


def log_explanation(core: EngineCore, why: str) -> None:
    """Say in the log why a graph doesn't get on. Never raises."""
    try:
        logger.warning("%s: %s", why, explain(core))
    except Exception:
        logger.exception("graph %s can't be explained", core.title)


async def explain_from_outside(link: EngineCore | CoreLink) -> Explanation:
    """Who waits for what in a graph of any loop. If that loop is blocked: by whom, and what is known."""
    core: EngineCore | None = link.core_or_none
    if core is None:
        await trio.lowlevel.checkpoint()
        return Explanation(graph_id=link.graph_id, name=link.graph_name, state="starting")
    if core.loop.is_here:
        await trio.lowlevel.checkpoint()
        return explain(core)
    return await _ask(core, link)


async def _ask(core: EngineCore, link: Any) -> Explanation:
    home = link._app.loop

    def look() -> Explanation:
        # Also if it comes too late for this question.
        home.post(setattr, link, "silent_since", None)
        try:
            return explain(core)
        except Exception as error:
            logger.exception("graph %s can't be explained", core.title)
            return _ignorant(core, f"can't be explained: {error!r}")

    since = home.now() if link.silent_since is None else link.silent_since
    link.silent_since = since
    try:
        answer = await hear(core.loop, look, core.limits.loop_patience)
    except trio.RunFinishedError:
        return _ignorant(core, "closed")
    return answer or _blocked(core, home.now() - since)


def _ignorant(core: EngineCore, state: str) -> Explanation:
    return Explanation(graph_id=core.graph_id, name=core.graph_name, state=state)


def _blocked(core: EngineCore, silent: float) -> Explanation:
    """Of a loop that doesn't answer: its thread stands still, so that it can be looked at from here."""
    seen = culprit(core.loop.thread)
    try:
        known = explain(core, core.loop.now())
    except Exception as error:  # noqa: BLE001 - it has gone on in this very moment
        known = _ignorant(core, f"running, and changing: {error!r}")
    block = Block(who=seen.who, doing=seen.doing, at=seen.at, seconds=silent)
    return attrs.evolve(known, silent=silent, blocked_by=block, stack=seen.stack)


__all__ = ["explain", "explain_from_outside", "log_explanation"]
