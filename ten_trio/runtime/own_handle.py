"""`Engine` for a graph that runs in a loop of its own: the same face, every call crosses over."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar, cast

import trio

from ..errors import EngineClosed, TenError, WrongThread
from ..messages import Cmd, Msg, StatusCode
from .budgets import budget_for, watch_budget
from .calls import Call, HandlerSink, ResultHandler
from .current import NOTHING
from .deadlines import deadline_here
from .explain import explain_from_outside
from .handle import Engine
from .host import UNREAD, Subscription, fit_to_send
from .loops import Loop, ask
from .paths import InPath, Sending, Sink
from .policies import ResultReturnPolicy
from .turns import INHERIT, Inherit, Turn, TurnReport, assign

if TYPE_CHECKING:
    from ..messages import CmdResult
    from .explanation import Explanation
    from .own_loop import CoreLink

logger = logging.getLogger("ten_trio.runtime")

T = TypeVar("T")


class _CrossSink:
    """Gives results to a call of another loop."""

    __slots__ = ("_call", "_home")

    def __init__(self, call: Call, home: Loop) -> None:
        self._call = call
        self._home = home

    def deliver(self, result: CmdResult, completed: bool) -> None:
        self._home.post(self._call.deliver, result, completed)


class _CrossEvent:
    """`cmd.abandoned` for the host: set by the graph's loop, awaited in another."""

    def __init__(self, home: Loop) -> None:
        self._event = trio.Event()
        self._home = home
        self.is_set = self._event.is_set
        self.wait = self._event.wait
        self.statistics = self._event.statistics

    def set(self) -> None:
        self._home.post(self._event.set)


class _CrossSubscription(Subscription):
    """Offers messages to a subscription of another loop."""

    def __init__(self, real: Subscription, home: Loop, there: Loop) -> None:
        self._real = real
        self._home = home
        self._there = there

    def wants(self, msg: Msg) -> bool:
        return self._real.wants(msg)

    def offer(self, msg: Msg) -> bool:
        if isinstance(msg, Cmd) and isinstance(msg._path, InPath):
            msg._path._gone = cast(trio.Event, _CrossEvent(self._home))
        self._home.post(self._offer, msg)
        return True

    def _offer(self, msg: Msg) -> None:
        if not self._real.offer(msg) and isinstance(msg, Cmd) and isinstance(msg._path, InPath):
            path = msg._path
            self._there.post(
                lambda: path.answer(StatusCode.ERROR, "busy: the host doesn't keep up")
            )

    def drop(self, turn: Turn) -> int:
        self._home.post(self._real.drop, turn)
        return 0

    def close(self) -> None:
        self._home.post(self._real.close)


class OwnLoopEngine(Engine):
    """A running graph that has its own thread and Trio run."""

    def __init__(self, link: CoreLink) -> None:
        self._link = link
        self._home = link._app.loop
        super().__init__(link.core)

    async def _ask(self, async_fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        self._check_thread()
        if not self._link.closing:
            try:
                return await ask(self._link.loop, self._core.start_soon, async_fn, *args)
            except trio.RunFinishedError:
                pass  # it has been closed, and this loop hasn't been told yet
        raise EngineClosed(f"graph {self._link.title} is closed: {self._core.close_reason}")

    def _begin(
        self,
        cmd: Cmd,
        sink: Sink,
        fail: Callable[[TenError], object],
        policy: ResultReturnPolicy | None,
        timeout: float | None,
        relay: bool = False,
        waits: bool = False,
    ) -> Callable[[], object]:
        """Send a command from over there; returns what abandons it."""
        self._check_open(cmd)
        shell = _own(cmd)
        sendings: list[Sending] = []
        # Its clock is another one.
        left = deadline_here() - trio.current_time() if waits else inf

        def start() -> None:
            try:
                sending = self._core.host.start(
                    shell,
                    sink,
                    NOTHING,
                    policy=policy,
                    timeout=timeout,
                    relay=relay,
                    until=trio.current_time() + left,
                )
            except TenError as error:
                fail(error)
            else:
                sendings.append(sending)

        def abandon() -> None:
            for sending in sendings:
                sending.abandon()

        if not self._link.loop.post(start):
            raise self._outside._closed_error(cmd)
        return lambda: self._link.loop.post(abandon)

    def _call(
        self,
        cmd: Cmd,
        policy: ResultReturnPolicy | None,
        timeout: float | None,
        turn: Turn | Inherit | None,
        *,
        waits: bool,
    ) -> Call:
        # What keeps it from being sent is raised by the call.
        assign(cmd, turn)
        call = Call()
        call._abandon = self._begin(
            cmd,
            _CrossSink(call, self._home),
            lambda error: self._home.post(call.fail, error),
            policy,
            timeout,
            waits=waits,
        )
        return call

    def post_cmd(
        self,
        cmd: Cmd,
        result_handler: ResultHandler | None = None,
        is_streaming_result: bool = False,
        *,
        policy: ResultReturnPolicy | None = None,
        timeout: float | None = None,
        turn: Turn | Inherit | None = INHERIT,
    ) -> None:
        """Send a command and return at once.

        A `result_handler` runs in the graph's loop: the engine it is given is for use there.  It also
        hears what keeps the command from being sent.
        """
        assign(cmd, turn)
        outside = self._outside
        if result_handler is None:
            given, relay = outside.sink_without_handler(cmd)
            self._begin(cmd, given, _not_sent, policy, timeout, relay)
            return
        if is_streaming_result and policy is None:
            policy = ResultReturnPolicy.EACH_OK_AND_ERROR
        sink = HandlerSink(Engine(self._core), result_handler, every=is_streaming_result)

        def fail(error: TenError) -> None:
            if outside.closed:
                _not_sent(error)
            else:
                outside.handle(sink.fail(error))

        self._begin(cmd, sink, fail, policy, timeout)

    async def return_result(self, result: CmdResult) -> bool:
        """Answer a command that the graph has sent to its host."""

        async def give_back() -> bool:
            return self._outside.give_back(result)

        return await self._ask(give_back)

    async def send_data(self, data: Msg, *, turn: Turn | Inherit | None = INHERIT) -> bool:
        """Send data into the graph; waits for room. False if nothing there takes it."""
        self._check_open(data)
        (data,) = fit_to_send((data,), turn)
        return await self._ask(self._send_data, _own(data))

    async def send_all(
        self, messages: Iterable[Msg], *, turn: Turn | Inherit | None = INHERIT
    ) -> int:
        """As `Engine.send_all`: all of them cross over at once."""
        self._check_thread()
        batch = fit_to_send(messages, turn)
        return await self._ask(self._send_all, [_own(msg) for msg in batch])

    def new_turn(self, *, budget: float | None = None) -> Turn:
        """As `Engine.new_turn`."""
        self._check_thread()
        turn = self._core.turns.new()
        if budget is not None:
            allotted = budget_for(self._core, turn, budget)
            self._link.loop.post(watch_budget, self._core, turn, allotted)
        return turn

    async def explain(self) -> Explanation:
        """As `Engine.explain`; if its loop is blocked, it says by whom, with the stack of its thread."""
        self._check_thread()
        return await explain_from_outside(self._link)

    @property
    def _watched(self) -> CoreLink:
        return self._link

    async def cancel_turn(self, turn: Turn | str, reason: str = "") -> TurnReport | None:
        """As `Engine.cancel_turn`."""
        return await self._ask(self._core.cancel_turn, turn, reason)

    @asynccontextmanager
    async def messages(
        self, *names: str, capacity: int | None = None
    ) -> AsyncGenerator[Subscription, None]:
        """What the graph exposes to its host, as `Engine.messages`."""
        limit = self._core.limits.host_queue if capacity is None else capacity
        outside = self._core.host
        real = Subscription(outside, names, limit)
        crossing = _CrossSubscription(real, self._home, self._link.loop)

        async def subscribe() -> None:
            outside.subscriptions[crossing] = None
            if outside.closed:
                crossing.close()

        await self._ask(subscribe)
        try:
            yield real
        finally:
            self._link.loop.post(lambda: outside.subscriptions.pop(crossing, None))
            for path in real.end():
                self._link.loop.post(path.answer, StatusCode.ERROR, UNREAD)

    async def add_extension(
        self,
        name: str,
        addon: Any,
        *,
        group: str = "",
        property: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        """As `Engine.add_extension`."""

        async def add() -> None:
            await Engine.add_extension(
                self, name, addon, group=group, property=property, **settings
            )

        await self._ask(add)

    async def remove_extension(self, name: str) -> None:
        """As `Engine.remove_extension`."""
        await self._ask(super().remove_extension, name)

    async def connect(self, source: str, dest: str | Iterable[str], **kinds: Any) -> None:
        """As `Engine.connect`."""

        async def connect() -> None:
            await Engine.connect(self, source, dest, **kinds)

        await self._ask(connect)

    async def disconnect(self, source: str, dest: str | Iterable[str], **kinds: Any) -> None:
        """As `Engine.disconnect`."""

        async def disconnect() -> None:
            await Engine.disconnect(self, source, dest, **kinds)

        await self._ask(disconnect)

    def stop(self) -> None:
        """Begin the orderly close, and return at once."""
        self._link.request_close("stopped by its host")

    @property
    def is_closing(self) -> bool:
        """Whether it has begun to close, or is closed."""
        return self._link.closing

    async def wait_started(self) -> None:
        """Until every extension without a manual trigger is back from `on_start`, or the graph closes."""
        await self._link.wait_started()

    async def wait_closed(self) -> Any:
        """Until the graph is closed, for whatever reason; how it ended."""
        await self._link.closed.wait()
        return self._core.report

    def _check_thread(self) -> None:
        if not self._home.is_here:
            raise WrongThread(f"graph {self._link.title} was used from another thread")

    def _check_open(self, msg: Msg) -> None:
        self._check_thread()
        if self._link.closing:
            raise self._outside._closed_error(msg)


def _not_sent(error: TenError) -> None:
    logger.warning("a command of the host was not sent: %s", error)


def _own(msg: Any) -> Any:
    """A shell that keeps its destinations: the sender may go on writing into its own message."""
    shell = msg._shell()
    shell._dests = msg._dests
    return shell
