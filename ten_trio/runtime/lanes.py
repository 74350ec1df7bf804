"""Lanes: how the messages of many receivers are handled in order without a task switch each.

A lane is one FIFO (a Trio memory channel) and the worker (a task) that drains it.  The worker starts
each handler itself, as `coro.send(None)` would; a handler that doesn't wait costs no more than a call.  When a
handler really waits, the worker stays with it, and

* for a serial line (data and frames) becomes the drain of that line's own lane, to which the line's
  queued messages move; another worker takes over the shared lane;
* for a concurrent line (commands and results) keeps only the handler; another worker takes over.

An own lane that is empty, and whose last handlers haven't waited, is given up again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Generator, Iterator
from contextvars import Context, copy_context
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Any

import trio

from ..messages import Msg
from .current import NOTHING, watch_spawning
from .flag import Flag

if TYPE_CHECKING:
    from .limits import Limits
    from .lines import Line


class Lane:
    """A FIFO. `owner` is the line it belongs to, or None for the lane a group shares.

    A message is in it until its worker takes it: one that waits is woken, not handed a message that
    would be in no queue then.
    """

    __slots__ = (
        "_append",
        "_receive_channel",
        "_send_channel",
        "_sleeper",
        "closed",
        "owner",
        "put",
        "queued",
        "receive_nowait",
    )

    def __init__(self, owner: Line | None = None) -> None:
        # Unbounded as a channel: the bounds differ by kind and are counted by the lines.
        self._send_channel, self._receive_channel = trio.open_memory_channel[Msg](inf)
        self._append: Callable[[Msg], None] = self._send_channel.send_nowait
        self._sleeper: trio.lowlevel.Task | None = None
        # Another one while its worker waits: whoever puts something in needn't look whether it does.
        self.put: Callable[[Msg], None] = self._append
        self.receive_nowait = self._receive_channel.receive_nowait
        # What is in it; only to look at. Trio has no public way to see that, and to find out whether
        # there is anything only an exception, as dear as a sixth of a hop, or statistics, which are dearer.
        self.queued: Collection[Msg] = self._receive_channel._state.data
        self.closed = False
        self.owner = owner

    # Ctrl-C must come before or after, or a task would be woken that doesn't wait, or one would wait
    # that nobody wakes.

    @trio.lowlevel.enable_ki_protection
    async def arrival(self) -> None:
        """Wait until something may be in it, or it is closed. Only for its worker."""
        self._sleeper = trio.lowlevel.current_task()
        self.put = self._put_and_wake
        await trio.lowlevel.wait_task_rescheduled(self._abort)

    @trio.lowlevel.enable_ki_protection
    def _put_and_wake(self, msg: Msg) -> None:
        self._append(msg)
        self.put = self._append
        sleeper, self._sleeper = self._sleeper, None
        assert sleeper is not None
        trio.lowlevel.reschedule(sleeper)

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._sleeper = None
        self.put = self._append
        return trio.lowlevel.Abort.SUCCEEDED

    def take_all(self) -> list[Msg]:
        """Empty the lane; what was in it, in order."""
        return [self.receive_nowait() for _ in range(len(self.queued))]

    def take(self, *lines: Line) -> list[Msg]:
        """Take out what is queued for `lines`, in order; the rest stays."""
        taken = []
        for msg in self.take_all():
            if msg._line in lines:
                taken.append(msg)
            else:
                self.put(msg)
        return taken

    @trio.lowlevel.enable_ki_protection
    def close(self) -> None:
        """Its worker finishes what is left, then ends."""
        self.closed = True
        self._send_channel.close()
        if self._sleeper is not None:
            self.put = self._append
            sleeper, self._sleeper = self._sleeper, None
            trio.lowlevel.reschedule(sleeper)


class Group:
    """An extension group: one shared lane, and the workers that drain it and its lines' own lanes."""

    def __init__(self, name: str, nursery: trio.Nursery, limits: Limits) -> None:
        self.name = name
        self.nursery = nursery
        self.limits = limits
        self.shared = Lane()
        self.own: dict[Line, Lane] = {}
        self.workers: dict[Worker, None] = {}
        self.idle: list[Worker] = []
        self.closed = False
        self.cancelled = False
        self.promotions = 0
        self.gone = Flag()
        # Trio's clock, without the detour through the current run.
        self.now = trio.lowlevel.current_clock().current_time
        watch_spawning()
        # What workers start in: nothing of whoever happened to be running then.
        self._context = copy_context()
        self._spawn(self.shared)

    def _spawn(self, lane: Lane) -> None:
        worker = Worker(self, lane)
        self.workers[worker] = None
        if self.cancelled:
            worker.cancel("the group is cancelled")
        self._context.run(self.nursery.start_soon, worker.run)

    def hand_over(self, lane: Lane) -> None:
        """Give `lane` to a worker that has nothing else to do."""
        if self.idle:
            worker = self.idle.pop()
            worker.lane = lane
            trio.lowlevel.reschedule(worker.task)
        else:
            self._spawn(lane)

    def promote(self, line: Line, *, waits: bool) -> Lane:
        """Make a lane for `line` and move its queued messages there.

        What else its receiver is sent goes along, in the order it has, unless a handler `waits`.
        """
        self.promotions += 1
        own = Lane(line)
        self.own[line] = own
        assert line.lane is not None
        lane = line.lane
        along = [line]
        if not waits:
            along += [each for each in line.companions if each.lane is lane]
        for msg in lane.take(*along):
            own.put(msg)
        for each in along:
            _move(each, own)
            if each is not line and self.own.get(each) is lane:
                self.own.pop(each).close()
        line.quiet = 0
        return own

    def demote(self, line: Line) -> None:
        """Send the messages of `line` to the shared lane again. Its own lane must be empty."""
        own = self.own.pop(line)
        for each in (line, *line.companions):
            if each.lane is own:
                _move(each, self.shared)
        own.close()

    def gather(self, line: Line) -> None:
        """No handler holds `line` up any more: what else its receiver is sent comes in one order
        with it again, in its own lane, those first that were waiting already."""
        own = self.own.get(line)
        if own is None or self.closed:
            return
        for each in line.companions:
            if each.lane is not own and (each.count or each.serial):
                self._gather_queued(line, own)
                return
        # Nothing is queued elsewhere: after nearly every handler that has waited.
        for each in line.companions:
            if each.entry is each.lane:
                each.entry = own
            each.lane = own

    def _gather_queued(self, line: Line, own: Lane) -> None:
        away = [each for each in line.companions if each.lane is not own and not each.waiting]
        if any(each.count for each in away):
            lanes = dict.fromkeys(each.lane for each in away if each.lane is not None)
            waiting = [msg for lane in lanes for msg in lane.take(*away)]
            for msg in (*waiting, *own.take_all()):
                own.put(msg)
        for each in away:
            _move(each, own)
            if each in self.own:
                # Its worker finds no more there, and rests.
                self.own.pop(each).close()

    def scatter(self, line: Line) -> None:
        """A handler holds `line` up: what else its receiver is sent must not wait behind it."""
        own = self.own.get(line)
        if own is None or self.closed:
            return
        queued = 0
        for each in line.companions:
            if each.lane is own:
                queued += each.count
                if each.entry is own:
                    each.entry = self.shared
                each.lane = self.shared
        if queued:
            # All at once: among themselves they keep their order.
            for msg in own.take(*line.companions):
                self.shared.put(msg)

    def close(self) -> None:
        """The workers finish what is in their lanes, then end."""
        self.closed = True
        self.shared.close()
        for lane in self.own.values():
            lane.close()
        idle, self.idle = self.idle, []
        for worker in idle:
            trio.lowlevel.reschedule(worker.task)
        if not self.workers:
            self.gone.set()

    def take_all(self) -> list[Msg]:
        """What is left in the lanes once all workers are gone."""
        return [msg for lane in (self.shared, *self.own.values()) for msg in lane.take_all()]

    def cancel(self, reason: str) -> None:
        """The workers end now, wherever their handlers are."""
        self.cancelled = True
        for worker in self.workers:
            worker.cancel(reason)


def _move(line: Line, lane: Lane) -> None:
    """Let the messages of `line` go to `lane` from now on, unless it is held or closed."""
    if line.entry is line.lane:
        line.entry = lane
    line.lane = lane


class Worker:
    """A task that drains one lane at a time, and stays with a handler that waits."""

    __slots__ = ("group", "is_cancelled", "lane", "scope", "since", "task")

    def __init__(self, group: Group, lane: Lane) -> None:
        self.group = group
        self.lane: Lane | None = lane
        # Until `run` is entered; cancelling it then still counts.
        self.scope = trio.CancelScope(shield=True)
        # What the scope knows too, but tells at the price of looking at the clock.
        self.is_cancelled = False
        self.task: trio.lowlevel.Task
        # When the handler that it stays with began to wait.
        self.since = 0.0

    def cancel(self, reason: str) -> None:
        """Cancel the handler that it stays with, or, as the whole group is, what it does next."""
        self.is_cancelled = True
        self.scope.cancel(reason)

    async def run(self) -> None:
        """Drain until the group closes or the pool of idle workers is full."""
        group = self.group
        self.task = trio.lowlevel.current_task()
        try:
            while True:
                # Entered before the first handler, so that the handlers' own scopes lie inside it.
                with self.scope:
                    while True:
                        if self.lane is None and not await self._rest():
                            return
                        assert self.lane is not None
                        await self._drain(self.lane)
                if group.cancelled:
                    return
                # One handler was cancelled, not the worker: go on in a fresh scope.
                self.scope = trio.CancelScope(shield=True)
                self.is_cancelled = False
        finally:
            del group.workers[self]
            if group.closed and not group.workers:
                group.gone.set()

    @trio.lowlevel.enable_ki_protection
    async def _rest(self) -> bool:
        """Wait for the next lane; False if there is none to come."""
        group = self.group
        if group.closed or len(group.idle) >= group.limits.idle_workers:
            return False
        group.idle.append(self)

        def abort(_: object) -> trio.lowlevel.Abort:
            if self in group.idle:
                group.idle.remove(self)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        return self.lane is not None

    async def _drain(self, lane: Lane) -> None:
        """Handle what comes through `lane` until the lane ends or goes to another worker."""
        receive_nowait, queued = lane.receive_nowait, lane.queued
        # The public property makes a list each time, as dear as a twentieth of a whole hop.
        open_nurseries = self.task._child_nurseries
        own = lane.owner
        limits = self.group.limits
        left = limits.slice
        until = perf_counter() + limits.slice_seconds
        while True:
            if not queued:
                if lane.closed:
                    self.lane = None
                    return
                if own is not None and own.quiet >= limits.demote_after:
                    self.lane = None
                    self.group.demote(own)
                    return
                await lane.arrival()
                left = limits.slice
                until = perf_counter() + limits.slice_seconds
                continue
            msg = receive_nowait()
            line: Line = msg._line
            owner = line.owner
            line.count -= 1
            line.popped += 1
            if line.waiters is not None and line.count <= line.low:
                line.release()
            if not line.inline:
                await self._start_apart(lane, line, msg)
                if self.lane is not lane:
                    return
                continue
            try:
                coro = line.table[msg.__class__](line.target, line.env, msg)
                if coro is None:
                    continue
                owner.hand.msg = msg
                context = owner.context.copy()
                # As `coro.send(None)`, but without a StopIteration, which would cost more than a call.
                trap = context.run(next, coro.__await__(), None)
            except BaseException as error:
                owner.hand.msg = NOTHING
                rising = owner.handler_failed(msg, error)
                if rising is error:
                    raise
                if rising is not None:
                    raise rising from None
                trap = None
            if trap is None:
                owner.hand.msg = NOTHING
                # A message that has been handled has no line: tasks that outlive its handler hold up nothing.
                msg._line = None
                if open_nurseries:
                    await self._close_leaks(line, msg)
                if own is not None:
                    own.quiet += 1
            else:
                assert coro is not None
                if own is not line or self.group.own.get(line) is not lane:
                    self._leave(lane, line, waits=True)
                await self._finish(line, msg, coro, trap, context)
                if self.lane is not lane:
                    return
                left = limits.slice + 1
                until = perf_counter() + limits.slice_seconds
            left -= 1
            # The clock is looked at every eighth time only.
            if not left & 7 and (not left or perf_counter() >= until):
                await trio.lowlevel.checkpoint()
                left = limits.slice
                until = perf_counter() + limits.slice_seconds

    def _leave(self, lane: Lane, line: Line, *, waits: bool) -> None:
        """A handler of `line` occupies this worker: others get on with `lane`."""
        self.lane = self.group.promote(line, waits=waits) if line.serial else None
        self.group.hand_over(lane)

    async def _start_apart(self, lane: Lane, line: Line, msg: Msg) -> None:
        """Start a handler in a task that drains nothing else (`inline=False`)."""
        if lane.owner is not line or self.group.own.get(line) is not lane:
            self._leave(lane, line, waits=False)
        owner = line.owner
        try:
            coro = line.table[msg.__class__](line.target, line.env, msg)
            if coro is None:
                return
            owner.hand.msg = msg
            context = owner.context.copy()
            trap = context.run(next, coro.__await__(), None)
        except BaseException as error:
            owner.hand.msg = NOTHING
            rising = owner.handler_failed(msg, error)
            if rising is error:
                raise
            if rising is not None:
                raise rising from None
            return
        if trap is not None:
            await self._finish(line, msg, coro, trap, context)
            return
        owner.hand.msg = NOTHING
        msg._line = None
        if line.serial:
            self.group.gather(line)
        if self.task._child_nurseries:
            await self._close_leaks(line, msg)
        await trio.lowlevel.checkpoint()

    async def _close_leaks(self, line: Line, msg: Msg) -> None:
        """Close the nurseries that a handler has left open.

        Whoever opened them can't any more, and this task, which has them on its stack of scopes,
        could neither go on nor end with them.  Trio has no public way to do it.
        """
        line.owner.handler_leaked(msg)
        while nurseries := self.task.child_nurseries:
            nursery = nurseries[-1]
            nursery.cancel_scope.cancel("its handler has left it open")
            error = await nursery._nested_child_finished(None)
            try:
                nursery.cancel_scope.__exit__(None if error is None else type(error), error, None)
            except Exception as error:  # noqa: BLE001 - of its tasks; Cancelled isn't an Exception
                line.owner.handler_failed(msg, error)

    async def _finish(
        self,
        line: Line,
        msg: Msg,
        coro: Coroutine[Any, Any, object],
        trap: object,
        context: Context,
    ) -> None:
        """Stay with a handler that waits until it has finished."""
        line.quiet = 0
        line.owner.part_with_hand()
        line.owner.workers[self] = msg
        self.since = self.group.now()
        if msg._turn is not None and line.owner.is_over(msg._turn):
            self.cancel("it has cancelled its own turn")
        if line.serial:
            line.waiting = True
            self.group.scatter(line)
        task = self.task
        base, task.context = task.context, context
        try:
            await _Started(coro, trap)
        except BaseException as error:
            rising = line.owner.handler_failed(msg, error)
            if rising is error:
                raise
            if rising is not None:
                raise rising from None
        else:
            if task._child_nurseries:
                await self._close_leaks(line, msg)
        finally:
            task.context = base
            msg._line = None
            del line.owner.workers[self]
            if self.is_cancelled:
                line.owner.handler_cancelled()
            line.waiting = False
            if line.serial:
                self.group.gather(line)
        if self.is_cancelled:
            # That was meant for this handler: none of the next may be hit by it.
            await trio.lowlevel.checkpoint_if_cancelled()


class _Started:
    """Awaits a coroutine that has already run up to its first trap.

    Looks like the coroutine to whoever walks the stack, so that tracebacks and dumps of a waiting
    task reach the handler's own frames.
    """

    __slots__ = ("_coro", "_trap")

    def __init__(self, coro: Coroutine[Any, Any, object], trap: object) -> None:
        self._coro = coro
        self._trap: object = trap

    def __await__(self) -> Generator[Any, Any, Any]:
        # It has what `await` uses of a generator.
        return self  # type: ignore[return-value]

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> object:
        # How `await` begins: what the coroutine waits for is known already.
        return self._trap

    def send(self, value: object) -> object:
        return self._coro.send(value)

    def throw(self, *error: Any) -> object:
        return self._coro.throw(*error)

    def close(self) -> None:
        self._coro.close()

    @property
    def cr_frame(self) -> Any:
        return self._coro.cr_frame  # type: ignore[attr-defined]

    @property
    def cr_await(self) -> Any:
        return self._coro.cr_await  # type: ignore[attr-defined]
