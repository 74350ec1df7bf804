"""The other end of a connection as an endpoint: its commands here, and ours there.

What a peer sends enters an engine like what an extension sends; what is sent to it leaves by its
connection. Ids of commands are numbers inside and text on the wire: here is where the two meet.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from math import inf
from secrets import randbits
from typing import TYPE_CHECKING, Any, Final, Protocol

import trio

from ..errors import TenError
from ..graphs import Conversion
from ..messages import Cmd, CmdResult, Loc, Msg, StatusCode
from ..runtime.calls import Call
from ..runtime.endpoint import Endpoint
from ..runtime.lines import Line
from ..runtime.paths import Branch, Fan, InPath, OutPath, Sending, State, made_result
from ..runtime.policies import ResultReturnPolicy
from .codec import WireMsg
from .settings import NetworkSettings

if TYPE_CHECKING:
    from ..runtime.engine import EngineCore
    from ..runtime.turns import Turn

logger = logging.getLogger("ten_trio.network")

_PROCESS: Final = f"{randbits(64):016x}"
TOKEN: Final = "ten_trio_token"
"""The property of a connection's first message that holds the token, where there is no header for it."""
CANCEL_TURN: Final = "ten:cancel_turn"
"""Between two of us: nothing of the turn of this id is wanted any more."""
ABANDON: Final = "ten:abandon"
"""Between two of us: nobody waits any more for the command of this id."""
HERE: Final = (Loc("", "", None),)
_KNOWN_SOURCES: Final = 256


class Link(Protocol):
    """A connection, as the peer at its end uses it."""

    uri: str
    trusted: bool
    """Whether the other end may do whatever an app may."""
    extended: bool
    """Whether the other end is known to be one of us."""

    @property
    def reason(self) -> str:
        """Why it has ended."""

    @property
    def queued_bytes(self) -> int:
        """Of the buffers that wait to be sent."""

    @property
    def is_open(self) -> bool:
        """Whether anything can still be sent."""

    @property
    def opened_here(self) -> bool:
        """Whether this end has connected to the other."""

    def send(self, wire: WireMsg) -> bool:
        """Queue one message; False if it can't be sent any more."""

    def drop(self, turn: Turn) -> int:
        """Drop the data of a cancelled turn that is still to be sent; how many messages it was."""

    def close(self, reason: str) -> None:
        """Close in order, after what is queued."""


def wire_id(number: int) -> str:
    """The id of a command of this process as others know it: unique among all senders."""
    return f"{_PROCESS}{number:016x}"


def number_of(text: str) -> int | None:
    """The command of this process that an id from the wire names, if it does."""
    if not text.startswith(_PROCESS):
        return None
    try:
        return int(text[len(_PROCESS) :], 16)
    except ValueError:
        return None


class Peer(Endpoint):
    """One peer: an app, or a plain client (`external`), or the app that a client talks to.

    `asks_as_client`: commands go out with an empty id, and results come back by their `seq_id`.
    """

    __slots__ = (
        "_commands",
        "_out_bytes",
        "_sources",
        "asks_as_client",
        "dropped_results",
        "fullest",
        "link",
        "received",
        "settings",
        "token",
        "uri",
    )

    def __init__(
        self,
        engine: EngineCore,
        uri: str,
        link: Link,
        settings: NetworkSettings,
        *,
        asks_as_client: bool = False,
    ) -> None:
        super().__init__(engine, uri, Loc(uri, engine.graph_id, None))
        self.uri = uri
        self.link = link
        self.settings = settings
        self.asks_as_client = asks_as_client
        self.dropped_results = 0
        self.received = 0
        self.token = ""
        """To be shown with the first message."""
        self.fullest: Line | None = None
        """Of the lines that what it has sent went to, one that is over its bound."""
        self._commands: dict[str, Sending] = {}
        self._out_bytes = settings.out_bytes
        self._sources: dict[Loc, Loc] = {}

    # To the peer ------------------------------------------------------------------------------

    def ask(self, cmd: Cmd, path: Any, conversion: Conversion | None, dests: Sequence[Loc]) -> None:
        """Send a command of its own there; it is answered through `path`."""
        if self.closed or not self.link.is_open:
            path.answer(StatusCode.ERROR, self.lost_detail())
            return
        if len(self.in_paths) >= self.settings.pending_cmds:
            path.answer(StatusCode.ERROR, f"busy: {self.uri} owes {len(self.in_paths)} answers")
            return
        if self.engine.taps is not None:
            self.engine.taps.see(cmd, dests[0])
        in_path = InPath(self, path, conversion)
        path.in_path = in_path
        in_path.started = True
        text = wire_id(path.id)
        if self.link.extended:
            in_path.on_abandon = partial(self._tell_abandoned, text)
        cmd._dests = tuple(dests)
        cmd._path = None
        if path.until != inf:
            # How far it is to there isn't known: this end sees to it that it ends in time.
            cmd._left = max(0.0, path.until - trio.current_time())
        if cmd._turn:
            cmd._turn.places.setdefault(self, self)
        self._show_token(cmd)
        if self.asks_as_client:
            cmd.seq_id = text
            text = ""
        self.link.send(WireMsg(cmd, text))

    def _tell_abandoned(self, text: str) -> None:
        told = Cmd(ABANDON)
        if self.asks_as_client:
            told.seq_id = text
            text = ""
        self.link.send(WireMsg(told, text))

    def tell(self, msg: Msg, dests: Sequence[Loc]) -> str | None:
        """Send data or a frame there; why it was dropped, if it was."""
        link = self.link
        if self.closed:
            return "not connected"
        if link.queued_bytes > self._out_bytes:
            return "slow peer"
        if self.engine.taps is not None:
            self.engine.taps.see(msg, dests[0])
        msg._dests = dests if dests.__class__ is tuple else tuple(dests)
        if msg._turn:
            msg._turn.places.setdefault(self, self)
        if self.token:
            self._show_token(msg)
        return None if link.send(WireMsg(msg)) else "not connected"

    def _show_token(self, msg: Msg) -> None:
        # Not every transport has a place for it: the first message has, over any.
        if self.token:
            msg._props = {**msg._props, TOKEN: self.token}
            self.token = ""

    def written(self, batch: list[WireMsg]) -> None:
        """These have been handed to the system: there is room again for the data among them."""
        for wire in batch:
            line = wire.msg._line
            if line is not None:
                line.count -= 1
                if line.waiters is not None and line.count <= line.low:
                    line.release()

    def unsendable(self, wire: WireMsg, error: TenError) -> None:
        """This one can't be sent: whoever waits for it hears why."""
        msg = wire.msg
        if isinstance(msg, CmdResult):
            refused = made_result(StatusCode.ERROR, f"the result can't be sent: {error}")
            refused.seq_id, refused._dests = msg.seq_id, msg._dests
            refused.is_final = msg.is_final
            self.link.send(WireMsg(refused, wire.cmd_id))
        elif isinstance(msg, Cmd):
            path = self.in_paths.get(number_of(wire.cmd_id or msg.seq_id) or 0)
            if path is not None:
                path.answer(StatusCode.ERROR, str(error))
        elif msg._line is not None:
            msg._line.drop("not sendable")

    # From the peer ----------------------------------------------------------------------------

    def receive(self, wire: WireMsg) -> None:
        """One message has come. Never raises: what is wrong with it is answered or counted."""
        if self.closed:
            return  # it was on its way when this end closed; the connection ends now
        self.received += 1
        msg = wire.msg
        if msg._turn is not None:
            # On the wire it is only the id; a turn may be opened by the first message that names it.
            msg._turn = self.engine.turns.known_as(msg._turn)
        if isinstance(msg, CmdResult):
            self._take_answer(msg, wire.cmd_id)
        elif isinstance(msg, Cmd):
            self._take_command(msg, wire.cmd_id)
        else:
            msg._src = self.source(msg._src)
            dests = msg._dests or HERE
            if len(dests) == 1:
                msg._dests = ()
                self.route_data(msg, dests[0])
            else:
                for dest in dests:
                    self.route_data(msg._shell(), dest)

    def _take_answer(self, result: CmdResult, text: str) -> None:
        number = number_of(text or (result.seq_id if self.asks_as_client else ""))
        path = None if number is None else self.in_paths.get(number)
        if path is None:
            self.dropped_results += 1
            logger.debug("from %s: %r answers nothing that waits for it", self.uri, result)
            return
        result._src = self.source(result._src)
        result._dests = ()
        if path.result_conversion is not None:
            try:
                result = path.result_conversion.apply(result)
            except TenError as error:
                logger.warning("result from %s not converted: %s", self.uri, error)
                result.status = StatusCode.ERROR
        if result.is_final:
            path.close(_ANSWERED)
        path.out.give(result)

    def _take_command(self, cmd: Cmd, text: str) -> None:
        origin = cmd._src
        key = text or cmd.seq_id
        if cmd.name == ABANDON:
            sending = self._commands.pop(key, None)
            if sending is not None:
                sending.abandon()
            return
        if cmd.name == CANCEL_TURN:
            self.engine.start_soon(self._obey_cancel, cmd, Back(self, text, key, origin))
            return
        back = Back(self, text, key, origin)
        if len(self.out_paths) >= self.settings.pending_cmds:
            refused = made_result(
                StatusCode.ERROR, f"busy: {len(self.out_paths)} unanswered commands"
            )
            refused.seq_id = cmd.seq_id
            back.deliver(refused, True)
            return
        cmd._src = self.source(origin)
        dests = cmd._dests or HERE
        cmd._dests = ()
        if len(dests) == 1:
            path = OutPath(self, cmd, back, self.timeout, None, True)
            path.turn = cmd._turn
            self._limit(cmd, path)
            self._commands[key] = path
            self._start(cmd, dests[0], path)
            return
        fan = Fan(back, len(dests), ResultReturnPolicy.FIRST_ERROR_OR_LAST_OK)
        self._commands[key] = fan
        fan.paths = paths = [
            OutPath(self, cmd, Branch(fan, index), self.timeout, None, True)
            for index in range(len(dests))
        ]
        for path in paths:
            path.turn = cmd._turn
            self._limit(cmd, path)
        for dest, path in zip(dests, paths, strict=True):
            self._start(cmd._shell(), dest, path)
            if path.closed:
                path.forsake()

    def _limit(self, cmd: Cmd, path: OutPath) -> None:
        """On the wire a deadline is the time that is left, since each process has its own clock."""
        if cmd._left is not None:
            self.expiry.limit(path, trio.current_time() + cmd._left)

    def _start(self, cmd: Cmd, dest: Loc, path: OutPath) -> None:
        cmd._id = path.id
        self.route_cmd(cmd, dest, path)

    def source(self, src: Loc) -> Loc:
        """Where a message comes from, as this process names it."""
        known = self._sources.get(src)
        if known is None:
            if len(self._sources) >= _KNOWN_SOURCES:
                self._sources.clear()
            known = Loc(self.uri, src.graph_id or self.engine.graph_id, src.extension_name)
            self._sources[src] = known
        return known

    @abstractmethod
    def route_cmd(self, cmd: Cmd, dest: Loc, path: OutPath) -> None:
        """A command of the peer's for `dest`, to be answered through `path`."""

    @abstractmethod
    def route_data(self, msg: Msg, dest: Loc) -> None:
        """Data or a frame of the peer's for `dest`."""

    def take_result(self, result: CmdResult) -> None:
        """A result for the peer: it goes out at once, in the order of the calls."""
        if self.engine.taps is not None:
            self.engine.taps.see(result, self.loc)
        result._path.arrive(result)

    async def pace(self) -> None:
        """Wait a little if what the peer sends doesn't get handled as fast."""
        line, self.fullest = self.fullest, None
        if line is not None and line.count > line.cap:
            with trio.move_on_after(self.settings.patience):
                await line.wait_for_room(None)

    # Turns ------------------------------------------------------------------------------------

    async def cancel_turn(self, turn: Turn) -> None:
        """Cancel it there; returns when nothing of it is at work there any more."""
        if self.closed or not self.link.extended:
            return
        cmd = Cmd(CANCEL_TURN, {"turn": turn.id, "reason": turn.reason})
        cmd._src = self.engine.loc
        call = Call()
        path = OutPath(self.engine.host, cmd, call, self.timeout, None, False)
        cmd._id = path.id
        self.ask(cmd, path, None, HERE)
        await call.result()

    async def _obey_cancel(self, cmd: Cmd, back: Back) -> None:
        turn, reason = cmd._props.get("turn"), cmd._props.get("reason")
        if isinstance(turn, str) and isinstance(reason, str):
            await self.engine.cancel_turn(turn, reason)
        answer = made_result(StatusCode.OK, "")
        answer.seq_id = cmd.seq_id
        back.deliver(answer, True)

    # Ends -------------------------------------------------------------------------------------

    def lost_detail(self) -> str:
        """What commands are answered with that can't get there any more."""
        return f"connection to {self.uri} lost: {self.link.reason or 'closed'}"

    def lose(self) -> None:
        """The connection is gone: its commands are abandoned, and ours end with ERROR."""
        if not self.closed:
            self.closed = True
            self._commands.clear()
            for path in list(self.out_paths.values()):
                path.abandon()
            self.answer_all(self.lost_detail())

    def finish(self, detail: str) -> None:
        """This side closes: nothing stays unanswered, on either side; then the connection closes."""
        if not self.closed:
            self.end_calls(detail)
            self.answer_all(detail)
            self.closed = True
            self.link.close(detail)


def back_to(origin: Loc) -> tuple[Loc, ...]:
    """The destination of an answer to whoever says that it is `origin`.

    Whoever gives only part of that means what its side of the connection is: a destination says so.
    """
    if origin == _NOBODY:
        return ()
    if origin.app_uri is None:
        return (Loc("", origin.graph_id or "", origin.extension_name),)
    return (origin,)


class Back:
    """Sends the results of a peer's command back to it."""

    __slots__ = ("_id", "_key", "_origin", "_peer")

    def __init__(self, peer: Peer, text: str, key: str, origin: Loc) -> None:
        self._peer = peer
        self._id = text
        self._key = key
        self._origin = origin

    def deliver(self, result: CmdResult, completed: bool) -> None:
        """Send it; the last one is final whatever its executor said."""
        peer = self._peer
        if completed:
            peer._commands.pop(self._key, None)
        result.is_final = completed
        result._dests = back_to(self._origin)
        result._line = None
        peer.link.send(WireMsg(result, self._id))


class Door:
    """A receiver in another process: whatever is sent to it leaves by the connection there is then."""

    is_near = False

    def __init__(
        self,
        name: str,
        dests: Sequence[Loc],
        find: Callable[[], Peer | None],
        missing: str,
        capacity: int,
        hard: int,
    ) -> None:
        self.name = name
        self.loc = dests[0] if dests else Loc()
        self.workers: dict[Any, Msg] = {}
        self._dests = dests
        self._find = find
        self._missing = missing
        line = Line(name, self, None, serial=False, inline=False, cap=capacity, hard=hard)  # type: ignore[arg-type]
        line.entry = self
        self.data_line = line

    def take_cmd(self, cmd: Cmd, path: Any, result_conversion: Conversion | None) -> None:
        """Send it there, or answer at once."""
        peer = self._find()
        if peer is None:
            path.answer(StatusCode.ERROR, self._missing)
        else:
            peer.ask(cmd, path, result_conversion, self._dests)

    def put(self, msg: Msg) -> None:
        """Send it there, or drop it."""
        peer = self._find()
        cause = "not connected" if peer is None else peer.tell(msg, self._dests)
        if cause is not None:
            line = self.data_line
            line.count -= 1
            msg._line = None
            if sum(line.dropped.values()) % 1_000 == 0:
                logger.warning("%s: %r dropped: %s", self.name, msg, cause)
            line.drop(cause)

    def make_room(self, line: Line) -> bool:
        """Beyond the hard bound: the newest are dropped, whatever the policy."""
        line.drop("overflow")
        return False

    def lost(self) -> None:
        """What was queued for it is gone with its connection."""
        line = self.data_line
        if line.count:
            line.drop("connection lost", line.count)
            line.count = 0
        line.release()


_NOBODY: Final = Loc()
_ANSWERED: Final = State.ANSWERED
