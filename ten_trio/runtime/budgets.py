"""Budgets: a turn may have so much time. When it is spent, whoever asked for it is told, or it ends.

Where the time goes is measured for such turns only: opening the first one lets the handlers of its
graph start through a clock.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final
from weakref import ref

import trio

from ..errors import InvalidArgument
from .current import Background, current
from .extension import Extension
from .turns import Within, ask_one

if TYPE_CHECKING:
    from .engine import EngineCore
    from .instance import Instance
    from .lines import Starter
    from .turns import Turn

logger = logging.getLogger("ten_trio.runtime")

SPENT: Final = "budget spent"
"""The reason for which a turn is cancelled that has spent its budget."""


class Budget:
    """The time that one turn may take, and where it has gone so far."""

    __slots__ = ("_at_work", "_home", "_spent", "_until", "is_settled", "is_spent", "seconds")

    def __init__(self, seconds: float, home: EngineCore) -> None:
        self.seconds = seconds
        # The graph whose clock counts, and whose handlers are timed.
        self._home = home
        self.is_spent = False
        """Whether it has run out while something of the turn was still at work."""
        self.is_settled = False
        self._until = home.loop.now() + seconds
        self._spent: dict[str, float] = {}
        # How many handlers of an extension are at work on it, and since when there are any.
        self._at_work: dict[str, tuple[int, float]] = {}

    @property
    def left(self) -> float:
        """Seconds until it is spent; never less than 0."""
        return max(0.0, self._until - self._now())

    def spent(self) -> dict[str, float]:
        """By extension, the seconds in which any handler of the turn was at work; the most first.

        Of the graph in which the turn was opened.  What a handler waits for counts as well, so
        somebody that waits for a slow one is in it, too.
        """
        now = self._now()
        found = dict(self._spent)
        for name, (_, since) in tuple(self._at_work.items()):
            found[name] = found.get(name, 0.0) + now - since
        return dict(sorted(found.items(), key=lambda each: -each[1]))

    def settle(self) -> None:
        """The turn has reached its end in time: nobody will be told, and it won't be cancelled.

        Where all of a turn is in one graph that is noticed; what it does in other apps isn't.
        """
        self.is_settled = True

    def is_of(self, engine: EngineCore) -> bool:
        """Whether it was opened there."""
        return self._home is engine

    def _now(self) -> float:
        # May be asked from another loop, which has another clock.
        return self._home.loop.now()

    async def clocked(self, handler: Awaitable[object], name: str) -> None:
        """Run a handler of the extension `name`, and count its time."""
        number, since = self._at_work.get(name, (0, 0.0))
        self._at_work[name] = (number + 1, since if number else self._now())
        try:
            await handler
        finally:
            number, since = self._at_work.pop(name)
            if number > 1:
                self._at_work[name] = (number - 1, since)
            else:
                took = self._now() - since
                self._spent[name] = self._spent.get(name, 0.0) + took


def told(spent: Mapping[str, float]) -> str:
    """Who has spent how much, for a line of the log."""
    return ", ".join(f"{name} {seconds:.3f} s" for name, seconds in spent.items()) or "no handler"


# Opening ------------------------------------------------------------------------------------------


def open_turn(engine: EngineCore, seconds: float | None) -> Turn:
    """A new turn, with a budget if `seconds` says so. Raises `InvalidArgument`."""
    turn = engine.turns.new()
    if seconds is not None:
        watch_budget(engine, turn, budget_for(engine, turn, seconds))
    return turn


def budget_for(engine: EngineCore, turn: Turn, seconds: float) -> Budget:
    """Give `turn` a budget, which runs from now on. Raises `InvalidArgument`."""
    if not 0 < seconds < inf:
        raise InvalidArgument(f"a turn's budget is a number of seconds above 0, not {seconds!r}")
    turn.budget = budget = Budget(seconds, engine)
    return budget


def watch_budget(engine: EngineCore, turn: Turn, budget: Budget) -> None:
    """Notice when it is spent, and who spends it. Called in the loop of the graph."""
    if engine.closing:
        return
    if not engine.measures:
        engine.measures = True
        for instance in engine.instances.values():
            instance.measure()
    # Not the turn itself: it lives for as long as something belongs to it.
    engine.start_soon(_watch, engine, ref(turn), budget)


def clocked_table(table: Mapping[type[Any], Starter]) -> dict[type[Any], Starter]:
    """The same starters of handlers, which look at the clock for turns that have a budget."""
    return {kind: partial(_start_clocked, starter) for kind, starter in table.items()}


def _start_clocked(starter: Starter, target: Any, env: Any, msg: Any) -> Any:
    coro = starter(target, env, msg)
    turn = msg._turn
    if coro is None or not turn or turn.budget is None:
        return coro
    if not turn.budget.is_of(env._instance.engine):
        return coro  # two graphs may have extensions of the same name, and other clocks
    return turn.budget.clocked(coro, target.name)


# When it is spent ---------------------------------------------------------------------------------


async def _watch(engine: EngineCore, known: Callable[[], Turn | None], budget: Budget) -> None:
    await trio.sleep(budget.left)
    turn = known()
    if turn is None or turn.is_cancelled or budget.is_settled or engine.closing:
        return
    if not engine.turns.is_at_work(turn):
        return
    budget.is_spent = True
    where = f"graph {engine.title}: turn {turn.id} has spent its budget of {budget.seconds:g} s"
    wants = [instance for instance in engine.instances.values() if _wants_to_know(instance)]
    what = f"{', '.join(instance.name for instance in wants)} told" if wants else "it is cancelled"
    logger.warning("%s (%s): %s", where, told(budget.spent()), what)
    if not wants:
        await engine.turns.cancel(turn, SPENT)
        return
    async with trio.open_nursery() as nursery:
        for instance in wants:
            nursery.start_soon(_tell, engine, instance, turn)


def _wants_to_know(instance: Instance) -> bool:
    asked = type(instance.extension).on_turn_budget is not Extension.on_turn_budget
    return asked and not instance.closed


async def _tell(engine: EngineCore, instance: Instance, turn: Turn) -> None:
    # What it sends instead is still of this turn.
    current.set(Within(Background(), turn))
    hook = instance.extension.on_turn_budget
    await ask_one(engine, instance, "on_turn_budget", partial(hook, instance.env, turn))


__all__ = ["SPENT", "Budget", "budget_for", "clocked_table", "open_turn", "watch_budget"]
