"""What each guarantee costs: the data hop with one of them taken out of a private copy at a time."""

from __future__ import annotations

import random
import statistics
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from time import thread_time
from typing import Any

import trio

from ten_trio.runtime import endpoint, env, lanes

from . import checks
from .harness import Run
from .hop import ring
from .private_copy import DoesNotFit, Edit, StandIn, changed, check_fit

_drain = lanes.Worker._drain
_post = endpoint.Endpoint.post
_send = env.TenEnv.send_data


class _Queue(lanes.Lane):
    """A lane whose messages go through a deque instead of a memory channel."""

    __slots__ = ()

    def __init__(self, owner: Any = None) -> None:
        super().__init__(owner)  # with a channel that nothing goes through
        self.queued = queue = deque[Any]()
        self._append = self.put = queue.append
        self.receive_nowait = queue.popleft


@dataclass(frozen=True)
class Guarantee:
    """Something the runtime promises: what asserts it, and what to leave out to do without it."""

    name: str
    check: Callable[[], Awaitable[None]] | None
    changes: tuple[Edit | StandIn, ...] = ()
    alone: bool = False
    """Not among those that are left out all at once: it is in the way of another one."""


GUARANTEES = (
    # This one first: the others change lines that lie inside.
    Guarantee(
        "an exception in a handler is reported",
        checks.errors_are_reported,
        (Edit(_drain, "try:\n    ...\nexcept BaseException as error:\n    ...", "..."),),
    ),
    Guarantee(
        "each handler has its own context",
        checks.own_context,
        (Edit(_drain, "context = owner.context.copy()", "context = owner.context"),),
    ),
    Guarantee(
        "a handler that waits holds up nobody else",
        checks.waiting_holds_up_nobody,
        (
            Edit(
                _drain,
                "trap = context.run(next, coro.__await__(), None)",
                "context.run(iter, ())\nawait coro\ntrap = None",
            ),
            # What is sent in the drain's own context is taken for that of a background task.
            Edit(_send, "if full is None:\n    ...", "if full is None:\n    return True"),
        ),
        alone=True,
    ),
    Guarantee(
        "a send knows the message in hand",
        checks.message_in_hand,
        (
            Edit(_drain, "owner.hand.msg = msg"),
            Edit(_drain, "owner.hand.msg = NOTHING\nmsg._line = None", "msg._line = None"),
            Edit(_send, "now = current.get().msg", "now = data"),
        ),
    ),
    Guarantee(
        "each receiver has its own message",
        checks.own_shell,
        (
            Edit(_post, "shell = msg._shell()", "shell = msg"),
            # It is in the next line already when the handler that has sent it on is done.
            Edit(_drain, "msg._line = None"),
        ),
    ),
    Guarantee(
        "queues are bounded and counted",
        checks.bounds,
        (
            Edit(
                _post,
                """
                count = line.count + 1
                if count > line.cap:
                    ...
                line.count = count
                """,
            ),
            Edit(
                _drain,
                """
                line.count -= 1
                line.popped += 1
                if line.waiters is not None and line.count <= line.low:
                    ...
                """,
            ),
        ),
    ),
    Guarantee(
        "a nursery left open is reported",
        checks.open_nurseries_are_reported,
        (Edit(_drain, "if open_nurseries:\n    ..."),),
    ),
    Guarantee(
        "an env of another thread is refused",
        checks.threads_are_refused,
        (Edit(_send, "if get_ident() != self._thread:\n    ..."),),
    ),
    Guarantee(
        "a closed env is refused",
        checks.closed_is_closed,
        (Edit(_post, "if self.closed:\n    ..."),),
    ),
    Guarantee(
        "a locked buffer is refused",
        checks.locked_buffers_stay,
        (Edit(_post, "if msg._locks:\n    ..."),),
    ),
    Guarantee(
        "other tasks run after a slice",
        checks.others_run,
        (
            Edit(
                _drain,
                """
                left -= 1
                if not left & 7 and (not left or perf_counter() >= until):
                    ...
                """,
            ),
        ),
    ),
    Guarantee(
        "an own lane is given up after a while",
        None,
        (Edit(_drain, "if own is not None:\n    own.quiet += 1"),),
    ),
    Guarantee(
        "schemas, destinations, conversions (unused here)",
        None,
        (
            Edit(_post, "if self.schemas is not None:\n    ..."),
            Edit(_post, "if msg._dests:\n    ...\nelse:\n    ...", "hops = routes[msg.name]"),
            Edit(_post, "if hop.conversion is not None:\n    ..."),
        ),
    ),
    Guarantee(
        "inline=False (unused here)",
        None,
        (Edit(_drain, "if not line.inline:\n    ..."),),
    ),
    Guarantee(
        "queues are Trio memory channels",
        None,
        (StandIn(lanes, "Lane", _Queue),),
    ),
    Guarantee("what one sends to another arrives in order", checks.order),  # nothing to leave out
)


@dataclass
class Cost:
    """What was measured without some guarantees."""

    name: str
    unfit: str = ""
    """Why nothing was."""
    seconds: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)

    @property
    def share(self) -> float:
        """How much of a hop it is."""
        return statistics.median(self.shares)

    @property
    def spread(self) -> float:
        """Half the distance between the quartiles of the share: how far to trust it."""
        if len(self.shares) < 3:
            return max(self.shares) - min(self.shares)
        quartiles = statistics.quantiles(self.shares, n=4)
        return (quartiles[2] - quartiles[0]) / 2


WITH_ALL = "the hop, with everything"
WITHOUT_ALL = "everything above at once"


async def check_all() -> dict[str, str]:
    """Assert each guarantee in this process: its name, and what is wrong ("" if nothing is)."""
    found = {}
    for guarantee in GUARANTEES:
        if guarantee.check is not None:
            found[guarantee.name] = ""
            try:
                with trio.fail_after(10):
                    await guarantee.check()
            except checks.NotHeld as error:
                found[guarantee.name] = str(error)
    return found


async def measure_costs(
    run: Run, rounds: int, done: Callable[[], object] = lambda: None
) -> tuple[Cost, list[Cost]]:
    """The whole hop, and what is saved without each guarantee that can still be left out.

    In CPU time of the thread: the differences are small, and other processes would hide them.
    """
    run = replace(run, clock=thread_time)
    together = [g for g in GUARANTEES if g.changes and not g.alone]
    variants: dict[str, Sequence[Edit | StandIn]] = {
        g.name: g.changes for g in GUARANTEES if g.changes
    }
    variants[WITHOUT_ALL] = [change for g in together for change in g.changes]
    whole = Cost(WITH_ALL)
    costs = {name: Cost(name) for name in variants}
    for name, changes in list(variants.items()):
        try:
            check_fit(changes)
        except DoesNotFit as error:
            costs[name].unfit = str(error)
            del variants[name]
    for _ in range(rounds):
        for name in random.sample(list(variants), len(variants)):
            before = await ring(run, in_flight=8)
            with changed(variants[name]):
                seconds = await ring(run, in_flight=8)
            after = await ring(run, in_flight=8)
            full = (before + after) / 2
            whole.seconds += [before, after]
            costs[name].seconds.append(seconds)
            costs[name].shares.append(1 - seconds / full)
            done()
    return whole, list(costs.values())
