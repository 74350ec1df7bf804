"""What happens in a running graph: who sends what to whom, when, in which turn.

Messages are noted when they are sent. (`Engine.tap` shows them when their handlers start, which in a
stuck graph they don't, and which leaves the time in the queue out of a round trip.)

A tap is a subclass without slots of its own, put in the place of an endpoint's class: what isn't
recorded pays nothing for the possibility.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

import attrs

from ..graphs import GRAPH_PROXY
from ..messages import StatusCode
from ..messages.values import shown
from ..runtime.endpoint import UNROUTED

if TYPE_CHECKING:
    from ..runtime.engine import EngineCore

HOST: Final = "host"
RUNTIME: Final = "runtime"
LIMIT: Final = 20_000
"""Events that are kept; older ones are forgotten, but stay counted."""


@attrs.frozen(kw_only=True)
class Event:
    """One message on its way to one receiver."""

    at: float
    """Seconds since the graph was opened."""
    kind: str
    """`cmd`, `result`, `data`, `audio_frame` or `video_frame`."""
    name: str
    """Of a result, that of the command."""
    source: str
    """An extension, `host` for the code that opened the graph, or `runtime` for a result of its own."""
    dest: str
    turn: str = ""
    cmd_id: int = 0
    """Of commands and results: which belong together."""
    ok: bool = True
    final: bool = False
    size: int = 0
    """Bytes of its buffer."""
    properties: Mapping[str, Any] = attrs.field(factory=dict, repr=False)

    @property
    def label(self) -> str:
        """What it is, in a few words."""
        if self.kind == "result":
            return f"{'OK' if self.ok else 'ERROR'} {self.name}{'' if self.final else ' …'}"
        return self.name

    @property
    def detail(self) -> str:
        """What is in it, in a few more."""
        text = ", ".join(f"{key}={_short(value)}" for key, value in self.properties.items())
        size = f"{self.size} bytes" if self.size else ""
        return ", ".join(part for part in (text, size) if part)

    def __str__(self) -> str:
        line = f"{self.at:9.3f}  {self.source} → {self.dest}  {self.kind} {self.label}"
        return f"{line}  {self.detail}" if self.detail else line


class Recording:
    """The last messages of one graph. Written by the graph's loop, read by any thread."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=LIMIT)
        self.counts: Counter[tuple[str, str, str, str]] = Counter()
        """All of them, by source, destination, kind and name."""
        self._began: float | None = None

    def events(
        self, *, kinds: Iterable[str] = (), names: Iterable[str] = (), turn: str = ""
    ) -> list[Event]:
        """What was recorded, the latest last; of these kinds and names, and of this turn, if any."""
        kinds, names = frozenset(kinds), frozenset(names)
        return [
            event
            for event in self._events.copy()
            if (not kinds or event.kind in kinds)
            and (not names or event.name in names)
            and (not turn or event.turn == turn)
        ]

    def tap(self, core: EngineCore) -> None:
        """Record what the extensions of `core` and its host send from now on; in its loop."""
        if self._began is None:
            self._began = core.loop.now()
        _recordings[core] = self
        for endpoint in (*core.instances.values(), *core.outsides):
            if not isinstance(endpoint, _Tap):
                swapped: Any = endpoint
                swapped.__class__ = _tapped(swapped.__class__)

    def note(self, core: EngineCore, **fields: Any) -> None:
        """Keep one more."""
        assert self._began is not None
        event = Event(at=core.loop.now() - self._began, **fields)
        self._events.append(event)
        self.counts[event.source, event.dest, event.kind, event.name] += 1


_recordings: WeakKeyDictionary[EngineCore, Recording] = WeakKeyDictionary()


class _Tap:
    """What an endpoint does besides, while it is recorded: see `Endpoint` for what these are."""

    __slots__ = ()

    engine: EngineCore
    name: str
    flow_routes: Any
    redirect: Any

    def post(self, msg: Any, now: Any) -> object:
        full = super().post(msg, now)  # type: ignore[misc]
        if full is not UNROUTED:
            routes = self.flow_routes[msg.kind]
            hops = (
                self.engine.directory.resolve(self, msg, routes)  # type: ignore[arg-type]
                if msg._dests
                else routes.get(msg.name) or self.redirect
            )
            size = len(msg.buf)
            turn = _turn(msg, now)
            for hop in hops:
                _recordings[self.engine].note(
                    self.engine,
                    kind=msg.kind,
                    name=msg.name,
                    source=_person(self.name),
                    dest=_receiver(hop),
                    turn=turn,
                    size=size,
                    properties=msg._props,
                )
        return full

    def _dispatch(self, hop: Any, cmd: Any, path: Any, now: Any) -> None:
        _recordings[self.engine].note(
            self.engine,
            kind="cmd",
            name=cmd.name,
            source=_person(self.name),
            dest=_receiver(hop),
            turn=_turn(cmd, now),
            cmd_id=path.id,
            properties=cmd._props,
        )
        cmd._shared = True  # who writes into it from now on takes a copy
        super()._dispatch(hop, cmd, path, now)  # type: ignore[misc]

    def take_result(self, result: Any) -> None:
        path = result._path
        source = result._src.extension_name
        _recordings[self.engine].note(
            self.engine,
            kind="result",
            name=path.cmd_name,
            source=_person(source) if source else RUNTIME,
            dest=_person(self.name),
            turn=path.turn.id if path.turn else "",
            cmd_id=path.id,
            ok=result.status is StatusCode.OK,
            final=result.is_final,
            properties=result._props,
        )
        super().take_result(result)  # type: ignore[misc]


@cache
def _tapped(kind: Any) -> type:
    return type(f"Recorded{kind.__name__}", (_Tap, kind), {"__slots__": ()})


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else shown(value, 60)


def _turn(msg: Any, now: Any) -> str:
    turn = now._turn if msg._turn is None else msg._turn
    return str(turn.id) if turn else ""


def _person(name: str) -> str:
    return HOST if name == GRAPH_PROXY else name


def _receiver(hop: Any) -> str:
    name = getattr(hop.receiver, "name", None)
    if isinstance(name, str):
        return _person(name)
    return str(getattr(hop.line, "name", None) or RUNTIME)


__all__ = ["HOST", "RUNTIME", "Event", "Recording"]
