"""Endpoints: whatever sends into a graph. One synchronous step takes a message to its receivers.

This is the one place where messages enter an engine: the order in which `post` and `start` are
called is the engine's order, for commands, data, frames and results alike.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..errors import EnvClosed, MessageLocked, NotConnected, QueueFull, SendRefused, TenError
from ..messages import Loc, StatusCode
from .paths import Expiry, InPath, OutPath, Sending, Sink, State, in_path_of
from .policies import ResultReturnPolicy

if TYPE_CHECKING:
    from ..graphs import Conversion
    from ..messages import Cmd, CmdResult, Msg
    from .current import Background
    from .engine import EngineCore
    from .lines import Line

logger = logging.getLogger("ten_trio.runtime")

UNROUTED: Final = object()
"""What `post` returns for data that no edge takes anywhere."""


class Receiver(Protocol):
    """Whatever messages can be sent to."""

    data_line: Any

    def take_cmd(self, cmd: Cmd, path: Any, result_conversion: Conversion | None) -> None:
        """A command of its own for this receiver, to be answered through `path`."""


class Hop:
    """One compiled edge: from a sender, for one kind and name, to one receiver."""

    __slots__ = ("conversion", "line", "receiver", "result_conversion")

    def __init__(self, receiver: Receiver, conversion: Conversion | None = None) -> None:
        self.receiver = receiver
        self.line = receiver.data_line
        self.conversion = conversion
        self.result_conversion = None if conversion is None else conversion.result


Routes = dict[str, tuple[Hop, ...]]


class Endpoint:
    """Sends messages, and gets the results of its commands. Lives in the loop of its engine."""

    def __init__(self, engine: EngineCore, name: str, loc: Loc) -> None:
        self.engine = engine
        self.name = name
        self.loc = loc
        self.closed = False
        self.expiry: Expiry = engine.expiry
        self.out_paths: dict[int, OutPath] = {}
        self.in_paths: dict[int, InPath] = {}
        self.cmd_routes: Routes = {}
        self.flow_routes: dict[str, Routes] = {"data": {}, "audio_frame": {}, "video_frame": {}}
        self.unconnected: Counter[tuple[str, str]] = Counter()
        self.late_results = 0

    # Data and frames --------------------------------------------------------------------------

    def post(self, msg: Any, now: Msg | Background) -> Line | None | object:
        """Send data or a frame to every destination, without waiting.

        Returns the fullest destination's line if the sender ought to wait for room in it, `UNROUTED`
        if the message goes nowhere, else None.  Raises a `TenError` if nothing was sent.
        """
        if self.closed:
            raise self._closed_error(msg)
        try:
            routes = self.flow_routes[msg.kind]
        except KeyError:
            raise SendRefused(f"{msg!r} is not data, an audio frame or a video frame") from None
        if msg._locks:
            raise MessageLocked(f"{msg!r} has a locked buffer: unlock it before sending")
        msg = self.check_out(msg)
        if msg._dests:
            hops: Sequence[Hop] = self.engine.resolve(self, msg, routes)
        else:
            found = routes.get(msg.name)
            if found is None:
                self._note_unconnected(msg)
                return UNROUTED
            hops = found
        loc = self.loc
        turn = now._turn
        full: Line | None = None
        level = 0
        refused = False
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
            if shell._turn is None:
                shell._turn = turn
            shell._line = line = hop.line
            count = line.count + 1
            if count > line.cap:
                if count > line.hard and not line.owner.make_room(line):
                    refused = True
                    continue
                if count > level:
                    level = count
                    full = line
            line.count = count
            line.put(shell)
        if refused and self.engine.limits.overflow == "error":
            raise QueueFull(f"{msg!r}: a receiver already holds {self.engine.limits.hard_queue}")
        return full

    def check_out(self, msg: Any) -> Any:
        """Hook: the out-schema of this sender. Raises `SchemaError`."""
        return msg

    def _note_unconnected(self, msg: Msg) -> None:
        key = (msg.kind, msg.name)
        self.unconnected[key] += 1
        times = self.unconnected[key]
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
    ) -> Sending:
        """Send a command to every destination; its results go to `sink`.

        Raises a `TenError` if the command goes nowhere; from then on it ends in a result.
        """
        if self.closed:
            raise self._closed_error(cmd)
        if cmd.kind != "cmd":
            raise SendRefused(f"{cmd!r} is not a command")
        cmd = self.check_out(cmd)
        hops: Sequence[Hop] | None
        if cmd._dests or cmd.type in self.engine.own_commands:
            hops = self.engine.resolve(self, cmd, self.cmd_routes)
        else:
            hops = self.cmd_routes.get(cmd.name)
        if not hops:
            self._note_unconnected(cmd)
            raise NotConnected(
                f"{self.name}: command {cmd.name!r} has no destination: "
                f"no edge of the graph takes it anywhere and it names none"
            )
        parent = cmd._path
        if not isinstance(parent, InPath) or parent.owner is not self:
            parent = None
        if policy is None:
            policy = (
                ResultReturnPolicy.EACH_OK_AND_ERROR
                if relay and len(hops) == 1
                else ResultReturnPolicy.FIRST_ERROR_OR_LAST_OK
            )
        if timeout is None:
            timeout = self.path_timeout
        sending = Sending(self, sink, len(hops), policy, parent)
        if parent is not None:
            if parent.relays is None:
                parent.relays = []
            parent.relays.append(sending)
        origin = now._turn
        cause = cmd._id or getattr(now, "_id", 0)
        batch = []
        for index, hop in enumerate(hops):
            shell = cmd._shell()
            path = OutPath(sending, index, cmd, timeout)
            if hop.conversion is not None and cmd.is_plain:
                try:
                    shell = hop.conversion.apply(shell)
                except TenError as error:
                    path.answer(StatusCode.ERROR, str(error))
                    continue
            shell._id = path.id
            shell._parent_id = cause
            shell._path = None
            shell._src = self.loc
            if shell._turn is None:
                shell._turn = origin
            batch.append((hop, shell, path))
        for hop, shell, path in batch:
            hop.receiver.take_cmd(shell, path, hop.result_conversion)
        return sending

    @property
    def path_timeout(self) -> float:
        """Seconds after which a command of this endpoint expires."""
        return self.engine.limits.path_timeout

    def give_back(self, result: CmdResult) -> bool:
        """Return a result of a command that was received here.

        False if it comes too late: the caller is gone.  Raises `UnknownCommand`, `AlreadyAnswered`,
        `SchemaError`, `EnvClosed`.
        """
        if self.closed:
            raise self._closed_error(result)
        if result.kind != "result":
            raise SendRefused(f"{result!r} is not a command's result")
        path = in_path_of(result, self)
        if not path.check():
            if path.state is not State.UNASKED:
                self.late_results += 1
                logger.info("%s: %r comes too late: its caller is gone", self.loc, result)
            return False
        self.give_through(path, self.check_result_out(path, result), final=result.is_final)
        return True

    def check_result_out(self, path: InPath, result: CmdResult) -> CmdResult:
        """Hook: the result schema of this executor. Raises `SchemaError`."""
        return result

    def give_through(self, path: InPath, result: CmdResult, *, final: bool) -> None:
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
            path.close(State.ANSWERED)
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
            if path.in_path is not None:
                path.in_path.abandon()


class RelaySink:
    """Passes the results of a received command that was sent on to whoever had sent it."""

    __slots__ = ("_endpoint", "_path")

    def __init__(self, endpoint: Endpoint, path: InPath) -> None:
        self._endpoint = endpoint
        self._path = path

    def deliver(self, result: CmdResult, completed: bool) -> None:
        """Send it on; the last one is final whatever its executor said."""
        if self._path.check():
            self._endpoint.give_through(self._path, result, final=completed)
