"""`TenEnv`: what an extension can do, in the graph it is part of."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from math import inf
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from ..errors import EnvClosed, TenError, WrongThread
from ..messages import Msg, StopGraph
from .budgets import open_turn
from .calls import DISCARD, Call, HandlerSink, ResultHandler
from .current import Background, current
from .deadlines import deadline_here
from .endpoint import UNROUTED, RelaySink
from .log import Logging
from .nursery import ExtensionNursery
from .paths import InPath, Sink
from .policies import ResultReturnPolicy
from .properties import PropertyStore
from .turns import INHERIT, Inherit, Turn, TurnReport, assign, turn_of

if TYPE_CHECKING:
    from ..messages import AudioFrame, Cmd, CmdResult, VideoFrame
    from .instance import Instance
    from .proxy import TenEnvProxy

T = TypeVar("T")

SentHandler = Callable[[Any, "TenError | None"], object]
"""`on_sent(env, error)` of the data sends."""


class TenEnv(PropertyStore, Logging):
    """An extension's view of its graph. Only for use in the loop of its graph.

    `send_*` from a message handler doesn't let other tasks run unless it has to wait; from a
    background task it is an ordinary Trio checkpoint.  Used from another thread, everything here
    raises `WrongThread`: see `proxy`.
    """

    __slots__ = ("_logger", "_nursery", "_proxies", "_stopped", "_thread")

    def __init__(self, instance: Instance) -> None:
        super().__init__(instance)
        self._logger = None
        self._thread = get_ident()
        self._nursery: ExtensionNursery | None = None
        self._stopped = False
        self._proxies: tuple[TenEnvProxy, ...] = ()

    def __repr__(self) -> str:
        return f"<TenEnv of {self.name!r} in graph {self.graph_id}>"

    @property
    def name(self) -> str:
        """The extension's name in the graph."""
        return self._instance.name

    @property
    def graph_id(self) -> str:
        """The id of the running graph."""
        return self._instance.engine.graph_id

    @property
    def app_uri(self) -> str:
        """The app's URI, "" if it has none."""
        return self._instance.loc.app_uri or ""

    # Commands ---------------------------------------------------------------------------------

    async def send_cmd(
        self,
        cmd: Cmd,
        *,
        policy: ResultReturnPolicy | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a path's time to live, also across remotes
        turn: Turn | Inherit | None = INHERIT,
    ) -> CmdResult:
        """Send a command and wait for its result: the first ERROR, else the last OK.

        Being cancelled here ends the command (`cmd.abandoned` at the executor).  A deadline of Trio's
        (`trio.fail_after`) around this goes along: see `cmd.time_left`.  `timeout`: seconds until the
        runtime answers with ERROR `Path timeout.`  Raises `NotConnected`, `EnvClosed`, `SchemaError`
        if it can't be sent.
        """
        return await self._start(cmd, policy, timeout, turn, waits=True).result()

    @asynccontextmanager
    async def send_cmd_ex(
        self,
        cmd: Cmd,
        *,
        policy: ResultReturnPolicy = ResultReturnPolicy.EACH_OK_AND_ERROR,
        timeout: float | None = None,  # noqa: ASYNC109
        turn: Turn | Inherit | None = INHERIT,
    ) -> AsyncGenerator[Call, None]:
        """`async with env.send_cmd_ex(cmd) as results: async for result in results: …`

        Every result of every destination.  Leaving the block early abandons the rest.
        """
        call = self._start(cmd, policy, timeout, turn, waits=True)
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
        return self._start(cmd, policy, timeout, turn)

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

        `result_handler(env, result, error)`, plain or async, is called with the completed result, or
        with every result if `is_streaming_result`.  Without a handler results are discarded, except
        those of a received command that is sent on: they go to whoever had sent it.
        """
        self._check_thread()
        assign(cmd, turn)
        now = current.get().msg
        sink: Sink
        relay = False
        if result_handler is not None:
            sink = HandlerSink(self, result_handler, every=is_streaming_result)
            if is_streaming_result and policy is None:
                policy = ResultReturnPolicy.EACH_OK_AND_ERROR
        else:
            parent = cmd._path
            relay = isinstance(parent, InPath) and parent.owner is self._instance
            sink = RelaySink(self._instance, parent) if relay else DISCARD
        self._instance.start(cmd, sink, now, policy=policy, timeout=timeout, relay=relay)

    def _start(
        self,
        cmd: Cmd,
        policy: ResultReturnPolicy | None,
        timeout: float | None,
        turn: Turn | Inherit | None,
        *,
        waits: bool = False,
    ) -> Call:
        if get_ident() != self._thread:
            self._check_thread()
        if turn is not INHERIT:
            assign(cmd, turn)
        call = Call(self._instance.expiry.now)
        until = deadline_here() if waits else inf
        sending = self._instance.start(
            cmd, call, current.get().msg, policy=policy, timeout=timeout, until=until
        )
        call._abandon = sending.abandon
        return call

    async def return_result(self, result: CmdResult) -> bool:
        """Answer a received command; with `is_final=False` (`cmd.partial()`) more results follow.

        False if the caller is gone.  Raises `AlreadyAnswered` after the final result,
        `UnknownCommand`, `SchemaError` (the command stays open), `EnvClosed`.
        """
        if get_ident() != self._thread:
            self._check_thread()
        given = self._instance.give_back(result)
        if current.get().msg.__class__ is Background:
            await trio.lowlevel.checkpoint()
        return given

    # Data and frames --------------------------------------------------------------------------

    async def send_data(
        self,
        data: Msg,
        on_sent: SentHandler | None = None,
        *,
        turn: Turn | Inherit | None = INHERIT,
    ) -> bool:
        """Send data to every destination; waits for room at the fullest.

        `on_sent(env, error)` is called when the message is accepted here or refused.  `turn`: the one
        that it belongs to, by default that of the message being handled.  False if no edge of the
        graph takes it anywhere, or its turn is cancelled.  Raises `EnvClosed`, `MessageLocked`, `SchemaError`,
        `QueueFull`.  Cancelled while it waits for room, the message is on its way all the same.
        """
        if get_ident() != self._thread:
            self._check_thread()
        if turn is not INHERIT:
            assign(data, turn)
        now = current.get().msg
        try:
            full = self._instance.post(data, now)
        except TenError as error:
            if on_sent is not None:
                on_sent(self, error)
            raise
        if on_sent is not None:
            on_sent(self, None)
        if full is None:
            if now.__class__ is Background:
                await trio.lowlevel.checkpoint()
            return True
        if full is UNROUTED:
            if now.__class__ is Background:
                await trio.lowlevel.checkpoint()
            return False
        line = now._line
        await full.wait_for_room(  # type: ignore[attr-defined]
            line if line is not None and line.serial else None
        )
        return True

    async def send_audio_frame(
        self,
        frame: AudioFrame,
        on_sent: SentHandler | None = None,
        *,
        turn: Turn | Inherit | None = INHERIT,
    ) -> bool:
        """`send_data` for an audio frame."""
        return await self.send_data(frame, on_sent, turn=turn)

    async def send_video_frame(
        self,
        frame: VideoFrame,
        on_sent: SentHandler | None = None,
        *,
        turn: Turn | Inherit | None = INHERIT,
    ) -> bool:
        """`send_data` for a video frame."""
        return await self.send_data(frame, on_sent, turn=turn)

    def discard_queued(self, *, sent_before: Cmd | None = None) -> int:
        """Drop the data and frames that wait for this extension; how many there were.

        For graphs with a `flush` command: `sent_before` names a received command, and only what was
        sent before it is dropped.
        """
        self._check_thread()
        return self._instance.discard_queued(sent_before)

    # Turns ------------------------------------------------------------------------------------

    def new_turn(self, *, budget: float | None = None) -> Turn:
        """Open a turn, for messages to be sent with `turn=`.

        What is sent while one of them is handled belongs to it as well, also in other graphs and apps.
        `budget`: seconds, after which every extension is told that has an `on_turn_budget`, or, if
        none has, the turn is cancelled; unless nothing of it is at work any more.
        """
        self._check_thread()
        return open_turn(self._instance.engine, budget)

    @property
    def turn(self) -> Turn | None:
        """The turn of the message being handled; None if it has none."""
        return turn_of(current.get().msg)

    async def cancel_turn(self, turn: Turn | str, reason: str = "") -> TurnReport | None:
        """Cancel a turn, or that of an id: what is queued of it is dropped, handlers at work on it are
        cancelled, its commands end with ERROR `turn cancelled`; no other turn loses anything.

        The step itself is taken at once; this returns when nothing of the turn is at work any more,
        here and wherever else it had got to, and each `on_turn_cancelled` is back.  Called by a
        handler of that turn, it ends that handler.  None if nothing belongs to a turn of that id;
        a turn that is cancelled already is waited for.
        """
        self._check_thread()
        return await self._instance.engine.cancel_turn(turn, reason)

    def turn_scope(
        self, turn: Turn | Inherit | None = INHERIT, *, shield: bool = False
    ) -> AbstractContextManager[trio.CancelScope]:
        """`with env.turn_scope(turn): …`: this block belongs to `turn`.

        It is cancelled with the turn, and what is sent in it inherits the turn: for background
        tasks, which otherwise belong to none.  With `shield=True`, in contrast, the block goes on
        though the turn of the handler it is in is cancelled; what it sends belongs to no turn.
        """
        self._check_thread()
        return self._instance.engine.turns.scope(turn, shield)

    # Lifetimes --------------------------------------------------------------------------------

    @property
    def nursery(self) -> ExtensionNursery:
        """For background tasks of this extension; opened at its first use, cancelled after on_stop.

        Opened anew after a failure that hasn't ended the extension.
        """
        self._check_thread()
        if self._nursery is None or (self._nursery.is_closed and not self._stopped):
            self._check_open()
            if self._stopped:
                raise EnvClosed(f"{self.name}: env.nursery can't be opened after on_stop")
            self._nursery = ExtensionNursery(self._instance)
        return self._nursery

    async def to_thread(
        self, sync_fn: Callable[..., T], *args: Any, abandon_on_cancel: bool = False
    ) -> T:
        """Run blocking code in a worker thread (`trio.to_thread.run_sync`) and wait for it."""
        self._check_thread()
        engine = self._instance.engine
        return await trio.to_thread.run_sync(
            engine.as_thread(self.name, sync_fn, args),
            abandon_on_cancel=abandon_on_cancel,
            limiter=engine.thread_limiter,
        )

    def proxy(self) -> TenEnvProxy:
        """A handle through which any OS thread may send in order; closed with the extension."""
        from .proxy import TenEnvProxy  # noqa: PLC0415 - only where foreign threads are used

        self._check_thread()
        self._check_open()
        proxy = TenEnvProxy(self)
        self._proxies += (proxy,)
        return proxy

    def stop_graph(self) -> None:
        """Begin the orderly close of this graph, and return at once."""
        self._check_thread()
        self.post_cmd(StopGraph())

    @property
    def _tasks(self) -> frozenset[trio.lowlevel.Task]:
        return frozenset() if self._nursery is None else self._nursery.child_tasks

    def _stop_tasks(self) -> Callable[[], Awaitable[None]] | None:
        # No more of them from now on; returns what cancels those there are, if there may be any.
        self._stopped = True
        return None if self._nursery is None else self._nursery.aclose

    def _cancel(self, reason: str) -> None:
        if self._nursery is not None:
            self._nursery.cancel(reason)

    def _close(self) -> None:
        for proxy in self._proxies:
            proxy.close()

    # Checks -----------------------------------------------------------------------------------

    def _check_thread(self) -> None:
        if get_ident() != self._thread:
            raise WrongThread(
                f"the env of {self.name!r} was used from another thread; "
                f"get a handle for other threads with env.proxy()"
            )

    def _check_open(self) -> None:
        if self._instance.closed:
            raise EnvClosed(f"{self.name}: its env is closed")


__all__ = ["SentHandler", "TenEnv"]
