"""From a location to whatever receives there: an extension, the engine, the host, another graph."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ..graphs import GRAPH_PROXY
from ..messages import Loc, MsgType
from .endpoint import Endpoint, Hop, Receiver
from .outlet import Nowhere, Outlet
from .timers import Timers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..graphs import Conversion
    from ..messages import Cmd, Msg
    from .endpoint import Routes
    from .engine import EngineCore

logger = logging.getLogger("ten_trio.runtime")

HOST = "ten:host"
"""Names the host itself where `GRAPH_PROXY`, in what comes from another graph, names the way in."""
NOT_FOUND = "Failed to find destination."
_MOST = 1_024
"""Destinations that are remembered."""
TERMINATED = "The destination extension has been terminated."


class Directory:
    """Knows the receivers that a message of one graph can name."""

    def __init__(self, engine: EngineCore) -> None:
        self._engine = engine
        self._timers = Timers(engine)
        self._missing = Nowhere(NOT_FOUND)
        self._removed = Nowhere(TERMINATED)
        # What a single destination of a plain message means, as long as the graph stays as it is.
        self._near: dict[Loc, Sequence[Hop]] = {}

    @property
    def undelivered(self) -> int:
        """How many data messages named nobody, or the host, which didn't read them."""
        lines = (self._missing, self._removed, self._engine.host.data_line)
        return sum(sum(line.dropped.values()) for line in lines)

    def close_timers(self) -> None:
        """The graph closes: no timeouts any more."""
        self._timers.close()

    def extension(self, name: str) -> Receiver:
        """The extension of that name in this graph."""
        engine = self._engine
        instance = engine.instances.get(name)
        if instance is not None:
            return instance
        if name == GRAPH_PROXY:
            return engine.host
        if name in engine.removed:
            return self._removed
        if any(node.name == name for node in engine.graph.nodes):
            return Nowhere(f"The extension[{name}] is invalid.")
        return self._missing

    def resolve(self, sender: Endpoint, msg: Msg, routes: Routes) -> Sequence[Hop]:
        """The destinations that `msg` names, corrected as the original corrects them, as hops."""
        if sender.redirect and msg.is_plain:
            return sender.redirect
        dests = msg._dests
        if len(dests) == 1 and msg.is_plain and not sender.converts:
            found = self._near.get(dests[0])
            if found is not None:
                return found
        if not dests:
            if msg.type is MsgType.TIMER:
                return (Hop(self._timers),)
            if msg.type is MsgType.TRIGGER_LIFE_CYCLE or msg.type is MsgType.TIMEOUT:
                return routes.get(msg.name, ())
            return (Hop(_OfApp(self._engine)),)
        hops = [self._hop(sender, msg, dest, routes) for dest in dests]
        hop = hops[0]
        if len(hops) == 1 and msg.is_plain and hop.is_plain and _stays(hop.receiver, dests[0]):
            # What isn't plain belongs to one sender and one name, and this is asked by all.
            if len(self._near) >= _MOST:
                self._near.clear()
            self._near[dests[0]] = hops
        return hops

    def forget(self) -> None:
        """The graph has changed."""
        self._near.clear()

    def _hop(self, sender: Endpoint, msg: Msg, dest: Loc, routes: Routes) -> Hop:
        engine = self._engine
        if dest.app_uri and not engine.app.is_here(dest.app_uri):
            return Hop(engine.boundary.receiver(dest))
        if msg.type in (MsgType.START_GRAPH, MsgType.STOP_GRAPH, MsgType.CLOSE_APP):
            return Hop(_OfApp(engine))
        if dest.graph_id is None and dest.extension_name is None:
            return Hop(Nowhere(NOT_FOUND))
        graph_id = engine.app.graph_id_of(dest.graph_id) if dest.graph_id else engine.graph_id
        if graph_id != engine.graph_id:
            return Hop(_OfGraph(engine, Loc(dest.app_uri, graph_id, dest.extension_name)))
        if not dest.extension_name:
            if msg.type is MsgType.TIMER:
                return Hop(self._timers)
            return Hop(engine.host)
        receiver = self.extension(dest.extension_name)
        # A conversion and a flow policy are the receiver's, by sender and name: they apply however the
        # message got here.
        for hop in routes.get(msg.name, ()):
            if hop.receiver is receiver and not hop.is_plain:
                return hop
        return Hop(receiver)


def _stays(receiver: Receiver, dest: Loc) -> bool:
    """Whether `dest` means this one until the graph is changed; another graph's name may not."""
    return receiver.is_near or (
        isinstance(receiver, _OfGraph) and receiver.graph_id == dest.graph_id
    )


class _OfApp(Outlet):
    """The app itself, asked from inside a graph."""

    __slots__ = ("_engine",)

    def __init__(self, engine: EngineCore) -> None:
        super().__init__("app")
        self._engine = engine

    def take_cmd(self, cmd: Cmd, path: Any, result_conversion: Conversion | None) -> None:
        """Start or stop a graph, or close the app."""
        self._engine.app.take_cmd(cmd, path, self._engine)


class _OfGraph(Outlet):
    """An extension, or the proxy, of another graph of this app."""

    __slots__ = ("_dest", "_engine")

    def __init__(self, engine: EngineCore, dest: Loc) -> None:
        super().__init__(f"graph {dest.graph_id}")
        self._engine = engine
        self._dest = dest

    @property
    def graph_id(self) -> str | None:
        """The other graph's id."""
        return self._dest.graph_id

    def take_cmd(self, cmd: Cmd, path: Any, result_conversion: Conversion | None) -> None:
        """Send it there."""
        self._engine.app.forward_cmd(self._dest, cmd, path, self._engine)

    def take(self, msg: Msg) -> str | None:
        """Send it there."""
        return self._engine.app.forward_data(self._dest, msg, self._engine)
