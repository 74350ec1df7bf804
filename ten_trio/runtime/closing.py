"""The close of one graph: in order if that can be done within the grace, and never for ever."""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING

import trio

from ..messages import CmdResult
from .explain import log_explanation
from .flag import Flag
from .frames import slow_line

if TYPE_CHECKING:
    from .boundary import EngineBoundary
    from .engine import EngineCore
    from .host import Outside
    from .instance import Instance

logger = logging.getLogger("ten_trio.runtime")

RAN_OUT = "the grace of the close ran out"


class Closing:
    """Ends what runs in one graph: first by asking, after the grace by cancelling.

    There is one deadline for all of it.  What can't be cancelled is waited for even longer, and
    `slow` says where it is.
    """

    def __init__(self, engine: EngineCore) -> None:
        self._engine = engine
        self.wanted = Flag()
        self.exhausted = False
        """Whether the grace has run out."""
        self.slow: dict[str, str] = {}
        """The extensions that weren't in time, and where each was."""
        self.began = 0.0
        self._deadline = inf
        self._scope: trio.CancelScope | None = None

    def begin(self, grace: float) -> None:
        """The close is wanted, and may take that many seconds."""
        self.began = trio.current_time()
        self._deadline = self.began + grace
        self.wanted.set()

    def hurry(self, seconds: float) -> None:
        """Let the grace run out in that many seconds, if that is sooner."""
        self._deadline = min(self._deadline, trio.current_time() + seconds)
        if self._scope is not None:
            self._scope.deadline = self._deadline

    def forget(self) -> None:
        """It is closed: refer to it no more."""
        del self._engine

    # Ctrl-C must not cut it short either: what isn't told to end would be waited for, for ever.
    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Close everything. Shielded: only the deadline cuts it short."""
        engine = self._engine
        for life in engine.lives.values():
            life.stop()
        engine.directory.close_timers()
        # As where there is an on_stop, the workers take one more step with what is queued already.
        await trio.lowlevel.cancel_shielded_checkpoint()
        for life in engine.lives.values():
            life.go_on()
        with trio.CancelScope(deadline=self._deadline, shield=True) as scope:
            self._scope = scope
            await self._end()
        if scope.cancelled_caught:
            with trio.CancelScope(shield=True):
                await self._cancel()
        for group in engine.all_groups():
            for msg in group.take_all():
                # Its worker was cancelled; whoever waits for a result gets it all the same.
                if isinstance(msg, CmdResult) and (handler := msg._path.arrive(msg)) is not None:
                    handler.close()
        for outside in engine.outsides:
            outside.end(engine.closed_detail())
        engine.boundary.end(engine.closed_detail())
        ending: list[Outside | EngineBoundary] = [*engine.outsides, engine.boundary]
        if not all(each.has_ended for each in ending):
            with trio.CancelScope(deadline=self._deadline + engine.limits.cleanup, shield=True):
                for each in ending:
                    await each.ended()
        engine.expiry.close()

    async def _end(self) -> None:
        """Until every extension is de-initialised, and its group has handled what was queued."""
        engine = self._engine
        while alive := [life for life in engine.lives.values() if not life.done.is_set()]:
            await alive[0].done.wait()
        for group in engine.all_groups():
            group.close()
        for group in engine.all_groups():
            await group.gone.wait()

    async def _cancel(self) -> None:
        engine = self._engine
        self.exhausted = True
        self._note_slow()
        log_explanation(engine, f"graph {engine.title}: {RAN_OUT}")
        engine.open_barrier()
        for life in engine.lives.values():
            life.cancel(RAN_OUT)
        with trio.move_on_after(engine.limits.cleanup) as scope:
            await self._end()
        if scope.cancelled_caught:
            self._note_slow()
            logger.error("graph %s can't be ended: %s", engine.title, self.slow)
            for group in engine.all_groups():
                group.cancel(RAN_OUT)
            await self._end()

    def _note_slow(self) -> None:
        for name, instance in self._engine.instances.items():
            if places := _places(instance):
                self.slow[name] = "; ".join(places)


def _places(instance: Instance) -> list[str]:
    """Where the tasks of an extension are that don't end."""
    life = instance.life
    tasks = []
    if life.task is not None and not life.done.is_set() and not life.waits_for_others:
        tasks.append((life.stage, life.task))
    tasks += [(f"handler of {msg!r}", worker.task) for worker, msg in instance.workers.items()]
    tasks += [(f"task {task.name}", task) for task in instance.env._tasks]
    return [f"{what}: {slow_line(task.iter_await_frames())}" for what, task in tasks]
