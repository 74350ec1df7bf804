"""Turns: what one utterance has caused, so that it can be cancelled as a whole.

A turn is handed on from message to message: what is sent while a message is handled belongs to the
same turn.  Cancelling it is one step of the engine: what is queued of it is dropped, the handlers
at work on it are cancelled, its commands end with ERROR, and nothing of any other turn is touched.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from secrets import randbits
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakSet, WeakValueDictionary

import attrs
import trio

from ..messages import Msg, StatusCode
from .current import Background, current
from .endpoint import CANCELLED
from .extension import Extension
from .loops import ask
from .supervision import blame, split

if TYPE_CHECKING:
    from .budgets import Budget
    from .engine import EngineCore
    from .instance import Instance
    from .lanes import Worker
    from .lines import Line
    from .own_loop import CoreLink

logger = logging.getLogger("ten_trio.runtime")

_ANSWERED: Final = ("commands", "results")
"""The lines whose messages aren't dropped but answered."""
_PROCESS: Final = f"{randbits(64):016x}"
_number: Callable[[], int] = count(1).__next__
_NO_ANSWER: Final = object()


class Place(Protocol):
    """Where a turn has got to besides the engine that opened it: another graph, or another app."""

    async def cancel_turn(self, turn: Turn) -> None:
        """Cancel it there; returns when nothing of it is at work there any more."""


class Turn:
    """One turn of a conversation, as `env.new_turn()` gives it. Compared by identity.

    Lives for as long as something belongs to it.
    """

    __slots__ = ("__weakref__", "budget", "id", "is_cancelled", "places", "reason", "scopes")

    def __init__(self, id: str = "") -> None:
        self.id = id or f"{_PROCESS}{_number():x}"
        self.is_cancelled = False
        self.reason = ""
        self.budget: Budget | None = None
        """How much time it may take, if that was said."""
        # Where else it has to be cancelled, and the blocks that end with it.
        self.places: dict[object, Place] = {}
        self.scopes: dict[trio.CancelScope, EngineCore] = {}

    def __repr__(self) -> str:
        return f"<ten_trio.Turn {self.id}{' cancelled' if self.is_cancelled else ''}>"


class _NoTurn(Turn):
    """Of messages that were told to belong to no turn: it is never cancelled."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "<no turn>"


NO_TURN: Final = _NoTurn("none")


class Inherit:
    """The default of `turn=`: that of the message being handled."""


INHERIT: Final = Inherit()


def assign(msg: Any, turn: Turn | Inherit | None) -> None:
    """Let `msg` belong to `turn` (None: to none). What inherits is left as it is."""
    if turn is not INHERIT:
        msg._turn = NO_TURN if turn is None else turn


def turn_of(msg: Any) -> Turn | None:
    """The turn of a message, if it has one."""
    turn: Turn | None = msg._turn
    return turn or None


class Within(Background):
    """Stands for the message in hand inside `env.turn_scope`."""

    __slots__ = ("_path",)

    def __init__(self, origin: Msg | Background, turn: Turn | None) -> None:
        super().__init__(origin)
        self._line = origin._line
        self._path = origin._path
        self._turn = turn


@attrs.frozen(kw_only=True)
class TurnReport:
    """What a cancelled turn has come to in one graph."""

    turn: Turn
    dropped: int = 0
    """Data and frames that were queued."""
    commands: int = 0
    """Commands in flight that were ended with ERROR."""
    handlers: int = 0
    """Handlers, and blocks of `turn_scope`, that were cancelled."""
    acknowledged: Mapping[str, Any] = attrs.field(factory=dict)
    """What each extension's `on_turn_cancelled` has returned, such as how far it had played."""
    budget: float | None = None
    """Seconds that it was to take, if that was said."""
    spent: Mapping[str, float] = attrs.field(factory=dict)
    """Of a turn with a budget: the seconds that handlers of each extension were at work on it."""


class Turns:
    """The turns of one engine. Made when the first is opened, or comes in."""

    def __init__(self, engine: EngineCore) -> None:
        self._engine = engine
        self._known: WeakValueDictionary[str, Turn] = WeakValueDictionary()
        self._shielded: dict[Msg | Background, int] = {}
        self._changed = trio.Event()
        self.over: WeakSet[Turn] = WeakSet()
        """Those that were cancelled, and whose step has been taken here."""
        self.dropped = 0
        """Messages of a cancelled turn that were to be sent after it."""

    def new(self) -> Turn:
        """Open a turn."""
        turn = Turn()
        self._known[turn.id] = turn
        turn.places[self._engine] = GraphPlace(self._engine)
        return turn

    def known_as(self, id: str) -> Turn:
        """The turn of that id: one known here, or one that another app has opened."""
        turn = self._known.get(id)
        if turn is None:
            turn = self._known[id] = Turn(id)
        return turn

    def find(self, id: str) -> Turn | None:
        """The turn of that id, if anything here still belongs to it."""
        return self._known.get(id)

    # Cancelling -------------------------------------------------------------------------------

    def begin_cancel(self, turn: Turn, reason: str) -> _Cancelling:
        """The step: when this returns, nothing of the turn will be started here any more."""
        turn.reason = turn.reason or reason
        turn.is_cancelled = True
        self.over.add(turn)
        return _Cancelling(self._engine, turn)

    async def cancel(self, turn: Turn, reason: str = "") -> TurnReport:
        """Cancel `turn` here and wherever it has got to; returns when nothing of it is at work.

        A handler that shields itself is waited for, one inside `turn_scope(shield=True)` isn't.
        """
        again = turn.is_cancelled
        here = self.begin_cancel(turn, reason)
        places, turn.places = turn.places, {}
        async with trio.open_nursery() as nursery:
            for place in places.values():
                if isinstance(place, GraphPlace) and place.core is self._engine:
                    continue
                nursery.start_soon(place.cancel_turn, turn)
            acknowledged = {} if again else await self._tell(turn)
            await self._settled(here)
        # One that cancels the turn it belongs to goes no further than this.
        await trio.lowlevel.checkpoint_if_cancelled()
        return attrs.evolve(here.report, acknowledged=acknowledged)

    async def _tell(self, turn: Turn) -> dict[str, Any]:
        """Let every extension that wants to know clear what it holds itself."""
        answers: dict[str, Any] = {}
        told = [
            instance
            for instance in self._engine.instances.values()
            if type(instance.extension).on_turn_cancelled is not Extension.on_turn_cancelled
            and not instance.closed
        ]
        if told:
            done = trio.Event()
            left = [len(told)]
            for instance in told:
                self._engine.start_soon(self._ask, instance, turn, answers, left, done)
            await done.wait()
        return answers

    async def _ask(
        self,
        instance: Instance,
        turn: Turn,
        answers: dict[str, Any],
        left: list[int],
        done: trio.Event,
    ) -> None:
        current.set(Background())
        hook = partial(instance.extension.on_turn_cancelled, instance.env, turn)
        try:
            answer = await ask_one(self._engine, instance, "on_turn_cancelled", hook)
            if answer is not _NO_ANSWER:
                answers[instance.name] = answer
        finally:
            left[0] -= 1
            if not left[0]:
                done.set()

    async def _settled(self, here: _Cancelling) -> None:
        """Until no handler of the turn is at work any more, but those that are shielded."""
        own = trio.lowlevel.current_task()
        while True:
            busy = [
                worker
                for worker, instance, msg in here.workers
                if instance.workers.get(worker) is msg
                and msg not in self._shielded
                and worker.task is not own
            ]
            if not busy and not _scopes_in(self._engine, here.turn):
                return
            await self._changed.wait()

    def is_at_work(self, turn: Turn) -> bool:
        """Whether anything belongs to it here that isn't done, or may elsewhere."""
        engine = self._engine
        if turn.scopes or any(place is not engine for place in turn.places):
            return True
        sent = (path for each in engine.endpoints() for path in each.out_paths.values())
        if any(path.turn is turn for path in sent):
            return True
        return any(msg._turn is turn for msg in _held_by(engine))

    def changed(self) -> None:
        """A handler that was cancelled has ended, or a block that is shielded has begun or ended."""
        event, self._changed = self._changed, trio.Event()
        event.set()

    # Blocks -----------------------------------------------------------------------------------

    @contextmanager
    def scope(self, turn: Turn | Inherit | None, shield: bool) -> Generator[trio.CancelScope]:
        """See `TenEnv.turn_scope`."""
        now = current.get().msg
        belongs = turn_of(now) if isinstance(turn, Inherit) else turn
        if shield:
            # What must finish must be heard, too: what is sent belongs to no turn.
            token = current.set(Within(now, NO_TURN))
            self._shielded[now] = self._shielded.get(now, 0) + 1
            self.changed()
            try:
                with trio.CancelScope(shield=True) as scope:
                    yield scope
            finally:
                current.reset(token)
                self._shielded[now] -= 1
                if not self._shielded[now]:
                    del self._shielded[now]
            return
        token = current.set(Within(now, NO_TURN if belongs is None else belongs))
        try:
            with trio.CancelScope() as scope:
                if belongs is not None:
                    if belongs.is_cancelled:
                        scope.cancel(CANCELLED)
                    belongs.scopes[scope] = self._engine
                try:
                    yield scope
                finally:
                    if belongs is not None:
                        belongs.scopes.pop(scope, None)
                        if belongs.is_cancelled:
                            self.changed()
        finally:
            current.reset(token)


async def ask_one(
    engine: EngineCore, instance: Instance, name: str, hook: Callable[[], Awaitable[object]]
) -> object:
    """Let an extension do what a turn wants of it, within `Limits.turn_grace`; what `hook` returns.

    What it raises is the extension's failure.
    """
    limit = engine.limits.turn_grace
    try:
        with trio.move_on_after(limit):
            return await hook()
        logger.warning("%s: %s took more than %g s", instance.loc, name, limit)
    except BaseException as error:
        rising, failure = split(error, closing=engine.closing)
        if failure is not None:
            blame(failure, f"in {name} of {instance.name!r}", engine)
            engine.extension_failed(instance, failure)
        if rising is error:
            raise
        if rising is not None:
            raise rising from None
    return _NO_ANSWER


class _Cancelling:
    """What is done to one graph in the step that cancels a turn."""

    def __init__(self, engine: EngineCore, turn: Turn) -> None:
        self.turn = turn
        self.workers: list[tuple[Worker, Instance, Msg]] = []
        dropped = self._purge(engine)
        commands = self._end_commands(engine)
        handlers = self._cancel_handlers(engine)
        budget = turn.budget
        self.report = TurnReport(
            turn=turn,
            dropped=dropped,
            commands=commands,
            handlers=handlers,
            budget=None if budget is None else budget.seconds,
            spent={} if budget is None else budget.spent(),
        )

    def _purge(self, engine: EngineCore) -> int:
        turn = self.turn
        dropped = 0
        for group in engine.all_groups():
            for lane in (group.shared, *group.own.values()):
                dropped += _drop(turn, lane.take_all(), lane.put)
        for instance in engine.instances.values():
            if instance.held:
                kept: list[Msg] = []
                dropped += _drop(turn, instance.held, kept.append)
                instance.held[:] = kept
        for outside in engine.outsides:
            for subscription in outside.subscriptions:
                dropped += subscription.drop(turn)
        return dropped + engine.boundary.drop(turn)

    def _cancel_handlers(self, engine: EngineCore) -> int:
        turn = self.turn
        for instance in engine.instances.values():
            for worker, msg in instance.workers.items():
                if msg._turn is turn:
                    self.workers.append((worker, instance, msg))
                    worker.cancel(CANCELLED)
        scopes = _scopes_in(engine, turn)
        for scope in scopes:
            scope.cancel(CANCELLED)
        return len(self.workers) + len(scopes)

    def _end_commands(self, engine: EngineCore) -> int:
        ended = 0
        for endpoint in engine.endpoints():
            for path in [path for path in endpoint.out_paths.values() if path.turn is self.turn]:
                ended += 1
                path.answer(StatusCode.ERROR, CANCELLED)
                path.forsake()
        return ended


def _held_by(engine: EngineCore) -> Iterator[Msg]:
    """The messages that are queued in a graph, and those that are being handled."""
    for instance in engine.instances.values():
        yield from instance.workers.values()
        yield from instance.held
    for group in engine.all_groups():
        for lane in (group.shared, *group.own.values()):
            yield from lane.queued


class GraphPlace:
    """Another graph of this app, in whichever loop."""

    def __init__(self, core: EngineCore | CoreLink) -> None:
        self._core: Any = core

    @property
    def core(self) -> EngineCore:
        """The engine itself."""
        core: EngineCore = getattr(self._core, "core", self._core)
        return core

    async def cancel_turn(self, turn: Turn) -> None:
        """Cancel it there; returns when nothing of it is at work there any more."""
        if self._core.closed.is_set():
            return
        core = self.core
        if core.loop.is_here:
            await core.turns.cancel(turn)
        else:
            with suppress(trio.RunFinishedError):
                await ask(core.loop, core.start_soon, core.turns.cancel, turn)


def reach(turn: Turn, core: EngineCore | CoreLink) -> None:
    """Something of `turn` gets to that graph, which has to hear if it is cancelled."""
    if core not in turn.places:
        turn.places[core] = GraphPlace(core)


def _scopes_in(engine: EngineCore, turn: Turn) -> list[trio.CancelScope]:
    # Those of other engines may be in other threads, and are theirs to cancel.
    return [scope for scope, owner in tuple(turn.scopes.items()) if owner is engine]


def _drop(turn: Turn, queued: list[Msg], keep: Callable[[Any], object]) -> int:
    """Leave out of `queued` what belongs to `turn`; how many data messages and frames that were."""
    dropped = Counter([msg._line for msg in queued if msg._turn is turn])
    if dropped.total() < len(queued):
        for msg in queued:
            if msg._turn is not turn:
                keep(msg)
    data = 0
    for line, number in dropped.items():
        if line.name not in _ANSWERED:
            _renumber(line, [msg for msg in queued if msg._line is line], turn)
        line.count -= number
        line.popped += number
        if line.waiters is not None and line.count <= line.low:
            line.release()
        if line.name not in _ANSWERED:
            line.drop(CANCELLED, number)
            data += number
        if line.passage is not None:
            for msg in queued:
                if msg._line is line and msg._turn is turn:
                    line.passage.lost(msg, CANCELLED)
    return data


def _renumber(line: Line, queued: list[Msg], turn: Turn) -> None:
    """Let no command take what is dropped behind it for something that was sent before it."""
    owner: Any = line.owner
    first = line.popped + 1
    ordinals = [first + index for index, msg in enumerate(queued) if msg._turn is turn]
    for path in owner.in_paths.values():
        path.behind += sum(ordinal > path.mark + path.behind for ordinal in ordinals)


__all__ = ["CANCELLED", "INHERIT", "NO_TURN", "Inherit", "Turn", "TurnReport", "Turns"]
