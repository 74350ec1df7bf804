"""Endpoints: whatever sends into a graph. One synchronous step takes a message to its receivers.

This is the one place where messages enter an engine: the order in which `post` and `start` are
called is the engine's order, for commands, data, frames and results alike.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..errors import (
    AlreadyAnswered,
    EnvClosed,
    MessageLocked,
    NotConnected,
    QueueFull,
    SendRefused,
    TenError,
    UnknownCommand,
)
from ..messages import Loc, StatusCode
from .deadlines import EXCEEDED
from .paths import Branch, Expiry, Fan, InPath, OutPath, Sending, Sink, State, Unasked
from .policies import ResultReturnPolicy

CANCELLED: Final = "turn cancelled"
"""The detail of the ERROR results of a cancelled turn's commands, and the cause its data is dropped for."""

if TYPE_CHECKING:
    from ..graphs import Conversion
    from ..messages import Cmd, CmdResult, Msg
    from ..schemas import ApiSchemas
    from .current import Background
    from .engine import EngineCore
    from .lines import Line

logger = logging.getLogger("ten_trio.runtime")

Routes = Mapping[str, "tuple[Hop, ...]"]
"""Where the messages of one kind go, by name."""

_FIRST_ERROR: Final = ResultReturnPolicy.FIRST_ERROR_OR_LAST_OK
_EACH: Final = ResultReturnPolicy.EACH_OK_AND_ERROR
# Looking up a member of an enum is slow in Python 3.11.
_OPEN: Final = State.OPEN
_ANSWERED: Final = State.ANSWERED

_NOTHING: Final[Mapping[Any, Any]] = {}
"""For the many mappings that stay empty; shared, and replaced rather than changed."""

NO_FLOW: Final[Mapping[str, Routes]] = {"data": {}, "audio_frame": {}, "video_frame": {}}
"""The tables of an endpoint whose data goes nowhere; shared."""

UNROUTED: Final = object()
"""What `post` returns for data that no edge takes anywhere."""


class Receiver(Protocol):
    """Whatever messages can be sent to."""

    is_near: bool
    """Whether it is an extension of this graph, in this loop."""

    @property
    def data_line(self) -> Any:
        """Where data for it is put."""

    def take_cmd(self, cmd: Cmd, path: Any, result_conversion: Conversion | None) -> None:
        """A command of its own for this receiver, to be answered through `path`."""


class Hop:
    """One compiled edge: from a sender, for one kind and name, to one receiver."""

    __slots__ = ("conversion", "line", "receiver", "result_conversion")

    def __init__(
        self, receiver: Receiver, conversion: Conversion | None = None, line: Any = None
    ) -> None:
        self.receiver = receiver
        self.line = receiver.data_line if line is None else line
        self.conversion = conversion
        self.result_conversion = None if conversion is None else conversion.result

    @property
    def is_plain(self) -> bool:
        """Whether it neither converts nor has a flow policy."""
        return self.conversion is None and self.line is self.receiver.data_line


class Endpoint:
    """Sends messages, and gets the results of its commands. Lives in the loop of its engine."""

    __slots__ = (
        "closed",
        "cmd_routes",
        "converts",
        "engine",
        "expiry",
        "flow_routes",
        "in_paths",
        "late_results",
        "loc",
        "name",
        "out_paths",
        "redirect",
        "schemas",
        "timeout",
        "unconnected",
    )

    is_near = False
    _no_edge = "no edge of the graph"

    def __init__(self, engine: EngineCore, name: str, loc: Loc) -> None:
        self.engine = engine
        self.name = name
        self.loc = loc
        self.closed = False
        self.expiry: Expiry = engine.expiry
        self.out_paths: dict[int, OutPath] = {}
        self.in_paths: dict[int, InPath] = {}
        self.converts = False
        """Whether any edge from here has a conversion or a flow policy."""
        self.cmd_routes: Routes = {}
        self.flow_routes: Mapping[str, Routes] = NO_FLOW
        self.redirect: tuple[Hop, ...] = ()
        """Where everything goes that is sent from here, whatever its name and destinations; for tests."""
        self.unconnected: Mapping[tuple[str, str], int] = _NOTHING
        self.late_results = 0
        self.timeout: float = engine.limits.path_timeout
        """Seconds after which a command sent from here expires."""
        self.schemas: ApiSchemas | None = None

    # Data and frames --------------------------------------------------------------------------

    def post(self, msg: Any, now: Msg | Background) -> Line | object | None:
        """Send data or a frame to every destination, without waiting.

        Returns the fullest destination's line if the sender ought to wait for room in it, `UNROUTED`
        if the message goes nowhere, else None.  Raises a `TenError` if nothing was sent.
        """
        if self.closed:
            raise self._closed_error(msg)
        try:
            routes = self.flow_routes[msg.kind]
        except (KeyError, AttributeError):
            raise not_data(msg) from None
        if msg._locks:
            raise locked(msg)
        if self.schemas is not None:
            msg = self.check_out(msg)
        if msg._dests:
            hops: Sequence[Hop] = self.engine.directory.resolve(self, msg, routes)
        else:
            found = routes.get(msg.name)
            if found is None:
                found = self.redirect
                if not found:
                    self._note_unconnected(msg)
                    return UNROUTED
            hops = found
        loc = self.loc
        turn = msg._turn
        if turn is None:
            turn = now._turn
        if turn is not None and turn.is_cancelled:
            self.engine.turns.dropped += 1
            return UNROUTED
        full: Line | None = None
        level = 0
        refused: Line | None = None
        for hop in hops:
            shell = msg._shell()
            if hop.conversion is not None:
                try:
                    shell = hop.conversion.apply(shell)
                except TenError as error:
                    hop.line.drop("conversion")
                    logger.warning("%s: %r to %s dropped: %s", self.loc, msg, hop.line.name, error)
                    continue
            shell._src = loc
            shell._turn = turn
            shell._line = line = hop.line
            count = line.count + 1
            if count > line.cap:
                if count > line.hard:
                    if not line.owner.make_room(line):
                        if line.strict or (
                            line.strict is None and self.engine.limits.overflow == "error"
                        ):
                            refused = line
                        continue
                    count = line.count + 1
                if count > level and count > line.cap:
                    level = count
                    full = line
            line.count = count
            line.entry.put(shell)
        if refused is not None:
            raise QueueFull(f"{msg!r}: {refused.owner.name} already holds {refused.hard}")
        return full

    def check_out(self, msg: Any) -> Any:
        """Hook: the out-schema of this sender. Raises `SchemaError`."""
        return msg

    def _note_unconnected(self, msg: Msg) -> None:
        key = (msg.kind, msg.name)
        times = self.unconnected.get(key, 0) + 1
        self.unconnected = {**self.unconnected, key: times}
        if times % 1_000 == 1:
            logger.warning("%s: no edge for %s %r (%d times)", self.loc, msg.kind, msg.name, times)

    def _closed_error(self, msg: Msg) -> TenError:
        return EnvClosed(f"{self.name}: cannot send {msg!r} any more: it is closed")

    # Commands ---------------------------------------------------------------------------------

    def start(
        self,
        cmd: Cmd,
        sink: Sink,
        now: Msg | Background,
        *,
        policy: ResultReturnPolicy | None = None,
        timeout: float | None = None,
        relay: bool = False,
        until: float = inf,
    ) -> Sending:
        """Send a command to every destination; its results go to `sink`.

        `until`: when its sender's time is up; that of the command in hand counts if it is sooner.
        Raises a `TenError` if the command goes nowhere; from then on it ends in a result.
        """
        if self.closed:
            raise self._closed_error(cmd)
        if getattr(cmd, "kind", "") != "cmd":
            raise SendRefused(f"{cmd!r} is not a command")
        if self.schemas is not None:
            cmd = self.check_out(cmd)
        hops: Sequence[Hop] | None
        if cmd._dests or not cmd.is_plain:
            hops = self.engine.directory.resolve(self, cmd, self.cmd_routes)
        else:
            hops = self.cmd_routes.get(cmd.name) or self.redirect
        if not hops:
            self._note_unconnected(cmd)
            raise NotConnected(
                f"{self.name}: command {cmd.name!r} has no destination: "
                f"{self._no_edge} takes it anywhere and it names none"
            )
        parent = cmd._path
        if parent is not None and (parent.__class__ is not InPath or parent.owner is not self):
            parent = None
        in_hand = now._path
        if in_hand is not None and in_hand.until < until:
            until = in_hand.until
        if parent is not None and parent.until < until:
            until = parent.until
        if policy is None:
            policy = _EACH if relay and len(hops) == 1 else _FIRST_ERROR
        if timeout is None:
            timeout = self.timeout
        if len(hops) == 1:
            path = OutPath(self, cmd, sink, timeout, parent, policy is _EACH)
            if parent is not None:
                parent.relay(path)
            if until != inf:
                self.expiry.limit(path, until)
            self._dispatch(hops[0], cmd, path, now)
            return path
        fan = Fan(sink, len(hops), policy)
        if parent is not None:
            parent.relay(fan)
        # All paths before the first dispatch: no result may find its fan half made.
        fan.paths = paths = [
            OutPath(self, cmd, Branch(fan, index), timeout, parent, True)
            for index in range(len(hops))
        ]
        if until != inf:
            for path in paths:
                self.expiry.limit(path, until)
        for hop, path in zip(hops, paths, strict=True):
            self._dispatch(hop, cmd, path, now)
            if path.closed:
                path.forsake()  # one before it has failed at once, and that was the result
        return fan

    def _dispatch(self, hop: Hop, cmd: Cmd, path: OutPath, now: Msg | Background) -> None:
        shell = cmd._shell()
        if hop.conversion is not None and cmd.is_plain:
            try:
                shell = hop.conversion.apply(shell)
            except TenError as error:
                path.answer(StatusCode.ERROR, str(error))
                return
        shell._parent_id = cmd._id or now._id
        shell._id = path.id
        shell._path = None
        shell._src = self.loc
        turn = shell._turn
        if turn is None:
            shell._turn = turn = now._turn
        if turn is not None:
            path.turn = turn
            if turn.is_cancelled:
                path.answer(StatusCode.ERROR, CANCELLED)
                return
        if path.until != inf and path.until <= self.expiry.now():
            path.answer(StatusCode.ERROR, EXCEEDED)
            return
        hop.receiver.take_cmd(shell, path, hop.result_conversion)

    def give_back(self, result: CmdResult) -> bool:
        """Return a result of a command that was received here.

        False if it comes too late: the caller is gone.  Raises `UnknownCommand`, `AlreadyAnswered`,
        `SchemaError`, `EnvClosed`.
        """
        if self.closed:
            raise self._closed_error(result)
        if result.kind != "result":
            raise SendRefused(f"{result!r} is not a command's result")
        path = result._path
        if path.__class__ is not InPath or path.owner is not self:
            if path.__class__ is Unasked:
                return False
            raise UnknownCommand(
                f"{self.name}: {result!r} answers no command that was received here"
            )
        if path.state is not _OPEN:
            if path.state is _ANSWERED:
                raise AlreadyAnswered(
                    f"{self.name}: command {path.out.cmd_name!r} has had its final result already"
                )
            self.late_results += 1
            logger.info("%s: %r comes too late: its caller is gone", self.loc, result)
            return False
        if self.schemas is not None:
            result = self.check_result_out(path, result)
        self.give_through(path, result, result.is_final)
        return True

    def check_result_out(self, path: InPath, result: CmdResult) -> CmdResult:
        """Hook: the result schema of this executor. Raises `SchemaError`."""
        return result

    def give_through(self, path: InPath, result: CmdResult, final: bool) -> None:
        """Send `result` home on `path`, which must be open."""
        shell = result._shell()
        if path.result_conversion is not None:
            try:
                shell = path.result_conversion.apply(shell)
            except TenError as error:
                logger.warning("%s: result of %r not converted: %s", self.loc, result, error)
                shell.status = StatusCode.ERROR
        shell._src = self.loc
        shell._turn = result._turn
        shell.is_final = final
        shell.is_completed = False
        if final:
            path.close(_ANSWERED)
        path.out.give(shell)

    def take_result(self, result: CmdResult) -> None:
        """A result has come home (`result._path` is its out path)."""
        raise NotImplementedError

    # Ends -------------------------------------------------------------------------------------

    def answer_all(self, detail: str) -> int:
        """Answer every command that is still open here with ERROR; how many there were."""
        paths = list(self.in_paths.values())
        for path in paths:
            path.answer(StatusCode.ERROR, detail)
        return len(paths)

    def end_calls(self, detail: str) -> None:
        """End every command that was sent from here with an ERROR result, and tell the executors."""
        for path in list(self.out_paths.values()):
            path.answer(StatusCode.ERROR, detail)
            path.forsake()


def locked(msg: Msg) -> MessageLocked:
    """Why `msg` can't be sent: its receiver would share the buffer with whoever writes into it."""
    return MessageLocked(f"{msg!r} has a locked buffer: unlock it before sending")


def not_data(msg: object) -> SendRefused:
    """Why `msg` can't be sent as data."""
    return SendRefused(f"{msg!r} is not data, an audio frame or a video frame")


class RelaySink:
    """Passes the results of a received command that was sent on to whoever had sent it."""

    __slots__ = ("_endpoint", "_path")

    def __init__(self, endpoint: Endpoint, path: InPath) -> None:
        self._endpoint = endpoint
        self._path = path

    def deliver(self, result: CmdResult, completed: bool) -> None:
        """Send it on; the last one is final whatever its executor said."""
        if self._path.state is _OPEN:
            self._endpoint.give_through(self._path, result, completed)
