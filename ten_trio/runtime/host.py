"""The host: the code that opened a graph is itself an endpoint of it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from math import inf
from threading import get_ident
from typing import TYPE_CHECKING, Any

import trio

from ..errors import EngineClosed, SendRefused, TenError, WrongThread
from ..graphs import GRAPH_PROXY
from ..messages import Cmd, Loc, Msg, StatusCode
from .budgets import open_turn
from .calls import DISCARD, Call, HandlerSink, ResultHandler
from .current import NOTHING
from .deadlines import deadline_here
from .endpoint import UNROUTED, Endpoint, RelaySink, locked, not_data
from .flag import Flag
from .outlet import HostOutlet
from .paths import InPath
from .policies import ResultReturnPolicy
from .turns import INHERIT, Inherit, Turn, TurnReport, assign

if TYPE_CHECKING:
    from ..graphs import Conversion
    from ..messages import AudioFrame, CmdResult, Timeout, VideoFrame
    from .engine import EngineCore
    from .paths import Sink

logger = logging.getLogger("ten_trio.runtime")

UNREAD = "not handled: the host reads no more"


class Outside(Endpoint):
    """What the extensions of a graph see of the code that opened it: their `ten:graph_proxy`."""

    __slots__ = (
        "_handled",
        "_handlers",
        "_handling",
        "data_line",
        "subscriptions",
    )

    _no_edge = "no exposed message of the graph (cmd_in)"

    def __init__(self, engine: EngineCore) -> None:
        super().__init__(engine, GRAPH_PROXY, Loc(engine.loc.app_uri, engine.graph_id, GRAPH_PROXY))
        self.data_line = HostOutlet(self.take_data)
        self.subscriptions: dict[Subscription, None] = {}
        self._handlers: trio.MemorySendChannel[Any] | None = None
        self._handling = trio.CancelScope(shield=True)
        self._handled = Flag()
        engine.outsides.append(self)

    def _closed_error(self, msg: Msg) -> TenError:
        return EngineClosed(
            f"cannot send {msg!r} to graph {self.engine.title}: {self.engine.close_reason or 'closed'}"
        )

    # Receiving --------------------------------------------------------------------------------

    def take_data(self, msg: Msg) -> str | None:
        """Data that the graph exposes; why it was dropped, if it was."""
        if self.engine.starter is not None:
            return self.engine.tell_starter(msg)
        if self.engine.taps is not None:
            self.engine.taps.see(msg, self.loc)
        wanted = [sub for sub in self.subscriptions if sub.wants(msg)]
        if not wanted:
            return "host: not subscribed"
        taken = [sub.offer(msg if sub is wanted[0] else msg._shell()) for sub in wanted]
        return None if all(taken) else "host: full"

    def take_cmd(self, cmd: Cmd, path: Any, result_conversion: Conversion | None) -> None:
        """A command that the graph exposes, or that names the proxy."""
        if self.engine.starter is not None:
            self.engine.ask_starter(cmd, path)
            return
        if self.engine.taps is not None:
            self.engine.taps.see(cmd, self.loc)
        wanted = next((sub for sub in self.subscriptions if sub.wants(cmd)), None)
        if wanted is None:
            path.answer(StatusCode.ERROR, f"not handled: the host doesn't read {cmd.name!r}")
            return
        cmd._path = path.in_path = in_path = InPath(self, path, result_conversion)
        in_path.started = True
        if not wanted.offer(cmd):
            in_path.answer(StatusCode.ERROR, "busy: the host doesn't keep up")

    def take_timeout(self, timeout: Timeout, path: Any) -> None:
        """A timer that the host has set."""
        timeout._path = path
        self.take_data(timeout)

    def take_result(self, result: CmdResult) -> None:
        """Nothing is queued here: the caller goes on at once."""
        if self.engine.taps is not None:
            self.engine.taps.see(result, self.loc)
        coro = result._path.arrive(result)
        if coro is not None:
            self.handle(coro)

    def handle(self, coro: Any) -> None:
        """Run a result handler of the host, after those that came before it."""
        if self._handlers is None:
            self._handlers, receive = trio.open_memory_channel[Any](float("inf"))
            self.engine.start_soon(self._run_handlers, receive)
        self._handlers.send_nowait(coro)

    def sink_without_handler(self, cmd: Cmd) -> tuple[Sink, bool]:
        """Where the results of a posted command go that has no handler, and whether that is a relay."""
        parent = cmd._path
        if isinstance(parent, InPath) and parent.owner is self:
            return RelaySink(self, parent), True
        return DISCARD, False

    async def _run_handlers(self, receive: trio.MemoryReceiveChannel[Any]) -> None:
        try:
            # Shielded: they also hear how the graph has ended. It is `ended` that bounds this.
            with self._handling, receive:
                try:
                    async for coro in receive:
                        await self._handle(coro)
                finally:
                    with suppress(trio.WouldBlock, trio.EndOfChannel):
                        while True:  # those that are never called, if it was cut short
                            receive.receive_nowait().close()
        finally:
            self._handled.set()

    async def _handle(self, coro: Any) -> None:
        try:
            await coro
        except Exception as error:  # noqa: BLE001 - the host's own code; Cancelled goes on
            error.add_note(f"in a result_handler of the host of graph {self.engine.title}")
            self.engine.fail(error)

    def end(self, detail: str) -> None:
        """The graph is closed: nothing stays unanswered, and the streams end."""
        self.closed = True
        self.answer_all(detail)
        self.end_calls(detail)
        for subscription in self.subscriptions:
            subscription.close()
        if self._handlers is not None:
            self._handlers.close()

    @property
    def has_ended(self) -> bool:
        """After `end`: whether no result handler is still to be called."""
        return self._handlers is None or self._handled.is_set()

    async def ended(self) -> None:
        """After `end`: until the result handlers have run that were still to be called."""
        if self._handlers is not None:
            try:
                await self._handled.wait()
            finally:
                self._handling.cancel("the graph is closed")


class Subscription:
    """The messages that a graph sends to its host, in the order in which they were sent."""

    def __init__(self, outside: Outside, names: Iterable[str], capacity: int) -> None:
        self._outside = outside
        self._names = frozenset(names)
        self._send, self._receive = trio.open_memory_channel[Msg](capacity)
        self.dropped = 0
        """Messages that came while `capacity` were waiting."""

    def wants(self, msg: Msg) -> bool:
        """Whether this subscription is for messages of that name."""
        return not self._names or msg.name in self._names

    def offer(self, msg: Msg) -> bool:
        """Keep `msg` for the reader; False if there is no room."""
        try:
            self._send.send_nowait(msg)
        except (trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self.dropped += 1
            return False
        return True

    def drop(self, turn: Turn) -> int:
        """Drop what has come of a turn that is cancelled, but for commands; how many it was."""
        if self._outside.closed:
            return 0  # nothing could be put back any more, and what is left is the reader's
        kept: list[Msg] = []
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                kept.append(self._receive.receive_nowait())
        number = len(kept)
        for msg in kept:
            if msg._turn is not turn or isinstance(msg, Cmd):
                self._send.send_nowait(msg)
                number -= 1
        self.dropped += number
        return number

    @property
    def queued(self) -> int:
        """Messages that wait to be read."""
        return self._receive.statistics().current_buffer_used

    def close(self) -> None:
        """The reader gets what is left, then the end."""
        self._send.close()

    def end(self) -> list[InPath]:
        """Nobody reads any more; the commands that were never read are still to be answered."""
        self.close()
        unread = []
        with suppress(trio.WouldBlock, trio.EndOfChannel):
            while True:
                msg = self.receive_nowait()
                if isinstance(msg, Cmd) and isinstance(msg._path, InPath):
                    unread.append(msg._path)
        return unread

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def receive(self) -> Any:
        """The next message. Raises `trio.EndOfChannel` once the graph is closed."""
        return await self._receive.receive()

    def receive_nowait(self) -> Any:
        """The next message if there is one, else `trio.WouldBlock`."""
        return self._receive.receive_nowait()


class HostSender:
    """The sending half of `Engine`: the host's commands and data."""

    def __init__(self, core: EngineCore) -> None:
        self._core = core
        self._outside = core.host
        self._thread = core.loop.thread

    async def send_cmd(
        self,
        cmd: Cmd,
        *,
        policy: ResultReturnPolicy | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a path's time to live, also across remotes
        turn: Turn | Inherit | None = INHERIT,
    ) -> CmdResult:
        """Send a command into the graph and wait for its result: the first ERROR, else the last OK.

        Without a destination it goes where the graph's exposed messages say.  A deadline of Trio's
        around this goes along, as that of `TenEnv.send_cmd` does.  Raises `NotConnected` or
        `EngineClosed` if it can't be sent.
        """
        call = self._call(cmd, policy, timeout, turn, waits=True)
        if call._completed:  # nobody there to wait for; a checkpoint all the same
            await trio.lowlevel.checkpoint()
        return await call.result()

    @asynccontextmanager
    async def send_cmd_ex(
        self,
        cmd: Cmd,
        *,
        policy: ResultReturnPolicy = ResultReturnPolicy.EACH_OK_AND_ERROR,
        timeout: float | None = None,  # noqa: ASYNC109
        turn: Turn | Inherit | None = INHERIT,
    ) -> AsyncGenerator[Call, None]:
        """Every result of every destination, inside a block; leaving it abandons the rest."""
        call = self._call(cmd, policy, timeout, turn, waits=True)
        try:
            yield call
        finally:
            call.cancel()

    def start_cmd(
        self,
        cmd: Cmd,
        *,
        policy: ResultReturnPolicy | None = None,
        timeout: float | None = None,
        turn: Turn | Inherit | None = INHERIT,
    ) -> Call:
        """Send a command and return at once with a promise of its results."""
        return self._call(cmd, policy, timeout, turn, waits=False)

    def _call(
        self,
        cmd: Cmd,
        policy: ResultReturnPolicy | None,
        timeout: float | None,
        turn: Turn | Inherit | None,
        *,
        waits: bool,
    ) -> Call:
        if get_ident() != self._thread or self._core.closing:
            self._check_open(cmd)
        if turn is not INHERIT:
            assign(cmd, turn)
        call = Call(self._outside.expiry.now)
        until = deadline_here() if waits else inf
        sending = self._outside.start(
            cmd, call, NOTHING, policy=policy, timeout=timeout, until=until
        )
        call._abandon = sending.abandon
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
        """Send a command and return at once; `result_handler(engine, result, error)` gets the result.

        Without a handler results are discarded, except those of a received command that is sent on.
        """
        self._check_open(cmd)
        assign(cmd, turn)
        if result_handler is None:
            given, relay = self._outside.sink_without_handler(cmd)
            self._outside.start(cmd, given, NOTHING, policy=policy, timeout=timeout, relay=relay)
            return
        if is_streaming_result and policy is None:
            policy = ResultReturnPolicy.EACH_OK_AND_ERROR
        sink = HandlerSink(self, result_handler, every=is_streaming_result)
        self._outside.start(cmd, sink, NOTHING, policy=policy, timeout=timeout)

    async def return_result(self, result: CmdResult) -> bool:
        """Answer a command that the graph has sent to its host."""
        self._check_thread()
        given = self._outside.give_back(result)
        await trio.lowlevel.checkpoint()
        return given

    async def send_data(self, data: Msg, *, turn: Turn | Inherit | None = INHERIT) -> bool:
        """Send data into the graph; waits for room. False if nothing there takes it."""
        self._check_open(data)
        assign(data, turn)
        return await self._send_data(data)

    async def _send_data(self, data: Msg) -> bool:
        full = self._outside.post(data, NOTHING)
        if full is None or full is UNROUTED:
            await trio.lowlevel.checkpoint()
            return full is None
        await full.wait_for_room(None)  # type: ignore[attr-defined]
        return True

    async def send_all(
        self, messages: Iterable[Msg], *, turn: Turn | Inherit | None = INHERIT
    ) -> int:
        """Send data and frames, in this order, as `send_data` would each; how many of them it takes.

        The cheapest way for many at once: other tasks run when it waits for room, and now and then,
        not after each message.  Nothing is sent if `messages` raises, something in it is no message
        (`SendRefused`), or a buffer is locked (`MessageLocked`).  What else `send_data` raises ends it
        there, as being cancelled does: what came before has been sent, what comes after has not.
        """
        self._check_thread()
        return await self._send_all(fit_to_send(messages, turn))

    async def _send_all(self, batch: list[Msg]) -> int:
        taken = len(batch)
        for number, msg in enumerate(batch, 1):
            if self._core.closing:
                raise self._outside._closed_error(msg)
            full = self._outside.post(msg, NOTHING)
            if full is UNROUTED:
                taken -= 1
            elif full is not None:
                await full.wait_for_room(None)  # type: ignore[attr-defined]
            if number % self._core.limits.slice == 0:
                await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        return taken

    async def send_audio_frame(
        self, frame: AudioFrame, *, turn: Turn | Inherit | None = INHERIT
    ) -> bool:
        """`send_data` for an audio frame."""
        return await self.send_data(frame, turn=turn)

    async def send_video_frame(
        self, frame: VideoFrame, *, turn: Turn | Inherit | None = INHERIT
    ) -> bool:
        """`send_data` for a video frame."""
        return await self.send_data(frame, turn=turn)

    def new_turn(self, *, budget: float | None = None) -> Turn:
        """Open a turn, for messages to be sent with `turn=`; see `TenEnv.new_turn`."""
        self._check_thread()
        return open_turn(self._core, budget)

    async def cancel_turn(self, turn: Turn | str, reason: str = "") -> TurnReport | None:
        """Cancel a turn, or that of an id; see `TenEnv.cancel_turn`."""
        self._check_thread()
        return await self._core.cancel_turn(turn, reason)

    @asynccontextmanager
    async def messages(
        self, *names: str, capacity: int | None = None
    ) -> AsyncGenerator[Subscription, None]:
        """What the graph exposes to its host (`*_out`), of these names or of any, in order.

        Kept from the beginning of the block on, at most `capacity` messages; more are dropped and
        counted, so that a host that doesn't read never stalls the graph.  Of several open
        subscriptions that want a command, the first answers it.
        """
        limit = self._core.limits.host_queue if capacity is None else capacity
        subscription = Subscription(self._outside, names, limit)
        self._outside.subscriptions[subscription] = None
        if self._outside.closed:
            subscription.close()
        try:
            yield subscription
        finally:
            del self._outside.subscriptions[subscription]
            for path in subscription.end():
                path.answer(StatusCode.ERROR, UNREAD)

    def _check_thread(self) -> None:
        if get_ident() != self._thread:
            raise WrongThread(f"graph {self._core.title} was used from another thread")

    def _check_open(self, msg: Msg) -> None:
        self._check_thread()
        if self._core.closing:
            raise self._outside._closed_error(msg)


def fit_to_send(messages: Iterable[Msg], turn: Turn | Inherit | None) -> list[Msg]:
    """All of `messages`, in that turn. Raises `MessageLocked` and `SendRefused`, and changes none then."""
    several: object = messages
    if isinstance(several, Msg):
        # It could be iterated over, too, and would give the names of its properties.
        raise SendRefused(f"{several!r} is one message: send_all takes several")
    batch = list(messages)
    for msg in batch:
        if not isinstance(msg, Msg):
            raise not_data(msg)
        if msg._locks:
            raise locked(msg)
    for msg in batch:
        assign(msg, turn)
    return batch
