"""Taps: copies of a graph's messages for somebody who looks on, at the moment they pass.

A message passes when its receiver's handler starts, when the host gets it, or when it leaves for
another process.  Handlers start through a tap only as long as one is open: the tables of their
starters are exchanged, and nothing is paid otherwise.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from ..errors import InvalidArgument
from ..messages import CmdResult, Loc, Msg
from ..messages.json_form import plain
from .loops import Loop

if TYPE_CHECKING:
    from .engine import EngineCore
    from .lines import Starter
    from .own_loop import CoreLink
    from .turns import Turn

KINDS: Final = ("cmd", "result", "data", "audio_frame", "video_frame")

_WITH_PATH: Final = ("cmd", "result")
_WITH_FIELDS: Final = ("data", "audio_frame", "video_frame")
_MOST: Final = 65_536


@attrs.frozen(kw_only=True, eq=False)
class Seen:
    """One message that has passed."""

    time: float
    """When, by the clock of its graph (`trio.current_time()` there)."""
    unix_time: float
    """When, in seconds since 1970."""
    graph_id: str
    source: Loc
    dest: Loc
    message: Msg
    """A copy: what the receiver does with its own doesn't show here, nor the other way round."""
    cmd_id: int = 0
    """Of a command and its results: the same number, at this receiver."""
    missed: int = 0
    """How many were dropped just before this one, because the reader was too slow."""

    @property
    def kind(self) -> str:
        """cmd, result, data, audio_frame or video_frame."""
        return self.message.kind

    @property
    def name(self) -> str:
        """The message's name; of a result that of its command."""
        msg = self.message
        return msg.original_cmd_name if isinstance(msg, CmdResult) else msg.name

    @property
    def turn(self) -> Turn | None:
        """The turn it belongs to."""
        turn: Turn | None = self.message.turn
        return turn

    def to_dict(self) -> dict[str, Any]:
        """What `json.dumps` takes: everything but the content of a buffer, of which it has the `size`.

        Null stands for bytes, and for numbers that JSON doesn't have. Properties that would be more
        than 64 Ki characters are left out, and `left_out` says how many it were.
        """
        msg = self.message
        told: dict[str, Any] = {
            "time": self.unix_time,
            "graph_id": self.graph_id,
            "kind": self.kind,
            "name": self.name,
            "source": self.source.to_dict(),
            "dest": self.dest.to_dict(),
            "turn": None if self.turn is None else self.turn.id,
        }
        if self.cmd_id:
            told["cmd_id"] = self.cmd_id
        for name, field in msg._fields.items() if self.kind in _WITH_FIELDS else ():
            value = getattr(msg, field.attribute)
            if field.is_buffer:
                told["size"] = len(value)
            elif name != "name":
                told[name] = plain(field.show(value))
        if isinstance(msg, CmdResult):
            told["status"] = msg.status.name.lower()
            told["is_final"] = msg.is_final
        properties = plain(msg.properties)
        size = len(json.dumps(properties, ensure_ascii=False))
        told["properties"] = {} if size > _MOST else properties
        if size > _MOST:
            told["left_out"] = size
        if self.missed:
            told["missed"] = self.missed
        return told


@attrs.frozen
class Wanted:
    """Which messages somebody wants to see; of what is left empty, all.

    Raises `InvalidArgument` for a kind that there isn't.
    """

    kinds: frozenset[str]
    names: frozenset[str]
    extensions: frozenset[str]

    @staticmethod
    def of(
        kind: str | Iterable[str], name: str | Iterable[str], extension: str | Iterable[str]
    ) -> Wanted:
        """What `Engine.tap` takes."""
        kinds, names, extensions = map(_texts, (kind, name, extension))
        for unknown in sorted(kinds.difference(KINDS)):
            raise InvalidArgument(f"no kind of message: {unknown!r}; there are {', '.join(KINDS)}")
        return Wanted(kinds, names, extensions)

    def takes(self, kind: str, name: str, source: Loc, dest: Loc) -> bool:
        """Whether a message is one of these."""
        if self.kinds and kind not in self.kinds:
            return False
        if self.names and name not in self.names:
            return False
        ends = {source.extension_name, dest.extension_name}
        return not self.extensions or not self.extensions.isdisjoint(ends)


def _texts(given: str | Iterable[str]) -> frozenset[str]:
    return frozenset((given,) if isinstance(given, str) else given)


class Tap:
    """What passes, in order, as `Engine.tap` gives it: `async for seen in tap`.

    At most `capacity` messages wait here; what passes beyond that is dropped and counted.  It ends
    when the graph is closed and what has come is read.
    """

    def __init__(self, wanted: Wanted, capacity: int) -> None:
        self.wanted = wanted
        self.dropped = 0
        """Messages that passed while `capacity` were waiting."""
        self._capacity = capacity
        self._missed = 0
        self._queue: deque[Seen] = deque()
        self._home = Loop()
        # Graphs with loops of their own may offer at the same time.
        self._lock = Lock()
        self._sources = 0
        self._rung = False
        self._more = trio.Event()

    def __repr__(self) -> str:
        return f"<ten_trio.Tap, {len(self._queue)} messages waiting, {self.dropped} dropped>"

    # In the loop of a graph.

    def offer(self, seen: Seen) -> None:
        """Keep it for the reader, if there is room."""
        with self._lock:
            if len(self._queue) >= self._capacity:
                self.dropped += 1
                self._missed += 1
                return
            if self._missed:
                seen = attrs.evolve(seen, missed=self._missed)
                self._missed = 0
            self._queue.append(seen)
            ring, self._rung = not self._rung, True
        if ring:
            self._home.post(self._wake)

    # In the loop of the reader.

    def begun(self) -> None:
        """One more graph is tapped."""
        self._sources += 1

    def ended(self) -> None:
        """One of them is closed."""
        self._sources -= 1
        self._wake()

    def _wake(self) -> None:
        self._rung = False
        more, self._more = self._more, trio.Event()
        more.set()

    def __aiter__(self) -> Tap:
        return self

    async def __anext__(self) -> Seen:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def receive(self) -> Seen:
        """The next message that has passed. Raises `trio.EndOfChannel` once the graph is closed."""
        await trio.lowlevel.checkpoint()
        while not self._queue:
            if self._sources <= 0:
                raise trio.EndOfChannel
            await self._more.wait()
        return self._queue.popleft()

    def receive_nowait(self) -> Seen:
        """The next if there is one, else `trio.WouldBlock`."""
        try:
            return self._queue.popleft()
        except IndexError:
            raise trio.WouldBlock from None

    def report_end(self) -> None:
        """From whichever loop: one of the graphs is closed."""
        self._home.post(self.ended)


class Taps:
    """The open taps of one graph: there as long as there are any. Lives in the graph's loop."""

    def __init__(self, engine: EngineCore) -> None:
        self._engine = engine
        self._open: tuple[Tap, ...] = ()

    def add(self, tap: Tap) -> None:
        """Show it what passes from now on."""
        self._open = (*self._open, tap)
        self._engine.taps = self
        self._refit()

    def remove(self, tap: Tap) -> None:
        """Show it no more."""
        self._open = tuple(each for each in self._open if each is not tap)
        if not self._open:
            self._engine.taps = None
        self._refit()

    def end(self) -> None:
        """The graph is closed."""
        taps, self._open = self._open, ()
        self._engine.taps = None
        for tap in taps:
            tap.report_end()

    def _refit(self) -> None:
        for instance in self._engine.instances.values():
            instance.fit()

    def table(self, table: Mapping[type[Msg], Starter]) -> dict[type[Msg], Starter]:
        """The same starters of handlers, which show the messages first that somebody wants to see."""
        every = any(not tap.wanted.kinds for tap in self._open)
        kinds = {kind for tap in self._open for kind in tap.wanted.kinds}
        return {
            cls: partial(self._start, starter) if every or cls.kind in kinds else starter
            for cls, starter in table.items()
        }

    def _start(self, starter: Starter, target: Any, env: Any, msg: Any) -> Any:
        self.see(msg, env._instance.loc)
        return starter(target, env, msg)

    def see(self, msg: Msg, dest: Loc) -> None:
        """`msg` gets to `dest` now."""
        kind, name, cmd_id = msg.kind, msg.name, msg._id
        if kind == "result":
            # Not before it has arrived does it say itself which command it answers.
            path = msg._path
            name, cmd_id = getattr(path, "cmd_name", ""), getattr(path, "id", 0)
        source = msg._src
        for tap in self._open:
            if tap.wanted.takes(kind, name, source, dest):
                tap.offer(self._seen(msg, kind, name, cmd_id, source, dest))

    def _seen(self, msg: Msg, kind: str, name: str, cmd_id: int, source: Loc, dest: Loc) -> Seen:
        copy: Any = msg._shell()
        if kind in _WITH_PATH:
            # Nobody can answer a copy.
            copy._path = None
        copy._src, copy._dests, copy._turn = source, (dest,), msg._turn
        if kind == "result":
            copy.original_cmd_name = name
        return Seen(
            time=trio.current_time(),
            unix_time=time.time(),
            graph_id=self._engine.graph_id,
            source=source,
            dest=dest,
            message=copy,
            cmd_id=cmd_id,
        )


# Opening and closing --------------------------------------------------------------------------------


@asynccontextmanager
async def tapping(
    links: Iterable[EngineCore | CoreLink], wanted: Wanted, capacity: int
) -> AsyncGenerator[Tap, None]:
    """A tap on graphs of any loop, for the length of a block."""
    if capacity < 1:
        raise InvalidArgument(f"a tap's capacity is a number from 1 on, not {capacity!r}")
    tap = Tap(wanted, capacity)
    tapped = tuple(links)
    for link in tapped:
        tap.begun()
        _reach(link, _open, tap)
    try:
        yield tap
    finally:
        for link in tapped:
            _reach(link, _close, tap)


def _reach(link: Any, action: Any, tap: Tap) -> None:
    """Do it in the loop of a graph; what is sent there afterwards comes afterwards."""
    if link.core_or_none is link:
        action(link, tap)
    else:
        link.post(lambda: action(link.core, tap), tap.ended)


def _open(core: EngineCore, tap: Tap) -> None:
    if core.closed.is_set():
        tap.report_end()
    else:
        (core.taps or Taps(core)).add(tap)


def _close(core: EngineCore, tap: Tap) -> None:
    if core.taps is not None:
        core.taps.remove(tap)


__all__ = ["KINDS", "Seen", "Tap", "Taps", "Wanted", "tapping"]
