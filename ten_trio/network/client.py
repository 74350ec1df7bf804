"""A client: the host of a graph that runs in another process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import trio

from ..errors import TenError
from ..graphs import Graph
from ..messages import Cmd, Loc, Msg, StartGraph, StopGraph
from ..runtime.endpoint import Hop, Routes
from ..runtime.host import HostSender, Outside
from ..runtime.limits import Limits
from ..runtime.loops import Loop
from ..runtime.paths import Expiry, OutPath
from ..runtime.turns import Turn, TurnReport, Turns
from .connecting import Connector
from .connection import Connection, Role
from .peer import HERE, Door, Link, Peer
from .protocols import Protocols, WireProtocol
from .remotes import OURS, VERSION
from .settings import NetworkSettings

if TYPE_CHECKING:
    from ..messages import CmdResult
    from ..runtime.endpoint import Endpoint


class _Server(Peer):
    """The app at the other end."""

    __slots__ = ("_host",)

    def __init__(self, core: ClientCore, uri: str, link: Link, host: Outside) -> None:
        core_: Any = core
        super().__init__(core_, uri, link, core.settings, asks_as_client=True)
        self.token = core.settings.token
        self._host = host

    def source(self, src: Loc) -> Loc:
        """Where it comes from, as the app itself says."""
        return src

    def route_cmd(self, cmd: Cmd, dest: Loc, path: OutPath) -> None:
        """To whoever reads the messages of the graph."""
        self._host.take_cmd(cmd, path, None)

    def route_data(self, msg: Msg, dest: Loc) -> None:
        """Likewise."""
        self._host.take_data(msg)


class _Directory:
    """Everything is at the other end."""

    def __init__(self, core: ClientCore) -> None:
        self._core = core
        self._doors: dict[tuple[Loc, ...], Door] = {}

    def door(self, dests: tuple[Loc, ...]) -> Door:
        """What takes messages for these places."""
        door = self._doors.get(dests)
        if door is None:
            core = self._core
            cap, hard = (
                core.settings.out_queue,
                max(core.limits.hard_queue, core.settings.out_queue),
            )
            door = Door(core.title, dests, lambda: core.server, "", cap, hard)
            self._doors[dests] = door
        return door

    def resolve(self, sender: Endpoint, msg: Msg, routes: Routes) -> Sequence[Hop]:
        """One way for all destinations: the other end tells them apart."""
        return (Hop(self.door(msg._dests or self._core.here)),)

    def lost(self) -> None:
        """The connection is gone."""
        for door in self._doors.values():
            door.lost()


class ClientCore:
    """What `HostSender` and the endpoints want of an engine, without one."""

    def __init__(self, uri: str, settings: NetworkSettings, limits: Limits, graph: str) -> None:
        self.settings = settings
        self.limits = limits
        self.title = uri
        self.graph_id = graph
        self.loc = Loc()
        self.loop = Loop()
        self.starter: Loc | None = None
        self.closing = False
        self.close_reason = ""
        self.outsides: list[Outside] = []
        self.failures: list[BaseException] = []
        self.nursery: trio.Nursery
        self.expiry = Expiry(self.start_soon)
        self.directory = _Directory(self)
        self.server: _Server
        self._here = self
        self.connection: Connection
        self.closed = trio.Event()
        core: Any = self
        self.boundary = self
        self.instances: dict[str, Any] = {}
        self.turns = Turns(core)
        self.measures = False
        self.taps = None
        self.host = Outside(core)
        self.redirect()

    @property
    def here(self) -> tuple[Loc, ...]:
        """Where messages go that name no destination."""
        return (Loc("", self.graph_id, None),) if self.graph_id else HERE

    def redirect(self) -> None:
        """Take the current graph for the destination of messages that name none."""
        self.host.redirect = (Hop(self.directory.door(self.here)),)

    # What turns ask of an engine.

    def all_groups(self) -> tuple[Any, ...]:
        """No extensions here."""
        return ()

    def peers(self) -> tuple[_Server, ...]:
        """The app."""
        return (self.server,)

    def drop(self, turn: Turn) -> int:
        """Drop the data of a cancelled turn that is still to be sent; how many messages it was."""
        return self.connection.drop(turn)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Everything that sends commands here."""
        return (*self.outsides, self.server)

    async def cancel_turn(self, turn: Turn | str, reason: str) -> TurnReport | None:
        """See `TenEnv.cancel_turn`."""
        found = self.turns.find(turn) if isinstance(turn, str) else turn
        return None if found is None else await self.turns.cancel(found, reason)

    def start_soon(self, async_fn: Callable[..., Any], *args: Any) -> None:
        """A task that ends with the client."""
        self.nursery.start_soon(async_fn, *args)

    def fail(self, error: BaseException) -> None:
        """A result handler of the client's has raised `error`."""
        self.failures.append(error)
        self.nursery.cancel_scope.cancel("a result handler has failed")

    def begin(self, connection: Connection, uri: str) -> None:
        """There is a connection."""
        self.connection = connection
        connection.role = Role.OUT_EXTERNAL
        self.server = _Server(self, uri, connection, self.host)
        connection.on_written = self.server.written
        connection.on_unsendable = self.server.unsendable

    async def run(self) -> None:
        """The connection's life."""
        try:
            await self.connection.run(self.server.receive, self.server.pace)
        finally:
            self.closing = True
            self.close_reason = self.connection.reason or "closed"
            self.server.lose()
            self.directory.lost()
            self.host.end(f"connection to {self.title} closed: {self.close_reason}")
            self.expiry.close()
            self.closed.set()

    async def finish(self) -> None:
        """Close in order, within the time that a peer has for it."""
        if not self.closing:
            self.closing = True
            self.close_reason = "the client has left its block"
            self.host.end(self.close_reason)
            self.connection.close(self.close_reason)
        await self.closed.wait()


class Client(HostSender):
    """One connection to an app, and the graph at its other end, as if this were its host.

    What is sent without a destination goes where the graph's exposed messages say; `messages` has what
    it exposes to the client that has started it.  When the graph ends, the app closes the connection.
    """

    _core: Any

    def __init__(self, core: ClientCore) -> None:
        core_: Any = core
        super().__init__(core_)

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else "connected"
        return f"<ten_trio.Client {self._core.title} {state}>"

    @property
    def graph_id(self) -> str:
        """The graph that messages without a destination go to; empty as long as there is none."""
        graph_id: str = self._core.graph_id
        return graph_id

    @property
    def is_closed(self) -> bool:
        """Whether the connection is closed or closing."""
        closing: bool = self._core.closing
        return closing

    @property
    def close_reason(self) -> str:
        """Why it was closed; empty as long as it isn't."""
        reason: str = self._core.close_reason
        return reason

    async def wait_closed(self) -> None:
        """Until the connection is closed, by whichever side."""
        await self._core.closed.wait()

    async def start_graph(
        self,
        graph: Graph | str,
        *,
        long_running: bool = False,
        sync_stop_before_deinit: bool = False,
    ) -> str:
        """Start a graph in the app, and talk to it from now on; returns its id.

        `graph`: a `Graph` whose addons the app knows by name, or the name of a graph that is
        predefined there.  Returns when its extensions exist.  Unless it is `long_running`, it ends with this
        connection.  A connection starts one graph; for another one, connect again.

        Raises `CmdFailed` if the app answers with ERROR, `EngineClosed` if the connection is closed.
        """
        cmd = StartGraph(
            {OURS: {"version": VERSION}},
            long_running_mode=long_running,
            sync_stop_before_deinit=sync_stop_before_deinit,
            dest=Loc(""),
        )
        if isinstance(graph, str):
            cmd.set_predefined_graph_name(graph)
        else:
            cmd.set_graph_from_json(graph.to_json())
        result = await self.send_cmd(cmd)
        result.unwrap()
        core = self._core
        if OURS in result:
            core.connection.extended = True
        core.graph_id = result.get_property_string("graph_id")
        core.redirect()
        return self.graph_id

    async def stop_graph(self, graph_id: str = "") -> None:
        """Stop a graph of the app, by default the one at this connection, which is closed then.

        Returns when the graph is closed.  Raises `CmdFailed`, `EngineClosed`.
        """
        own = not graph_id or graph_id == self.graph_id
        cmd = StopGraph(graph_id=graph_id or self.graph_id, dest=Loc(""))
        result: CmdResult = await self.send_cmd(cmd)
        result.unwrap()
        if own:
            await self.wait_closed()


@asynccontextmanager
async def connect(
    uri: str,
    *,
    graph: str = "",
    retries: int = 0,
    network: NetworkSettings | None = None,
    limits: Limits | None = None,
    token: str = "",
    protocols: Iterable[WireProtocol] = (),
) -> AsyncGenerator[Client, None]:
    """Talk to an app in another process, for the length of a block.

    `uri`: where the app listens.  `graph`: the id of a graph that runs there, or the name of a
    predefined singleton, to talk to that one.  `retries`: how often to try again if nobody answers.
    `token`: what the app wants to see, if it wants one.  Leaving the block closes the connection, after
    what is still to be sent; commands that are still open end with ERROR.

    Raises `ConnectFailed`, `ConfigError`, `InvalidArgument`.
    """
    settings = attrs.evolve(network or NetworkSettings(), connect_retries=retries)
    if token:
        settings = attrs.evolve(settings, token=token)
    known = Protocols()
    for protocol in protocols:
        known.register(protocol)
    core = ClientCore(uri, settings, limits or Limits(), graph)
    own: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            core.nursery = nursery
            connection = await Connector(settings, known).connect(uri, nursery)
            core.begin(connection, uri)
            nursery.start_soon(core.run)
            try:
                yield Client(core)
            except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001 - raised below
                own = error
            finally:
                with trio.move_on_after(settings.close_timeout * 2, shield=True):
                    await core.finish()
                nursery.cancel_scope.cancel("the client has left its block")
    except BaseExceptionGroup as group:
        errors = [*group.exceptions, *core.failures, *([own] if own is not None else [])]
        if len(errors) == 1 and isinstance(errors[0], TenError):
            raise errors[0] from errors[0].__cause__
        raise BaseExceptionGroup("the client and its block", errors) from None
    if core.failures:
        raise BaseExceptionGroup(
            "the client and its block", [*core.failures, *([own] if own else [])]
        )
    if own is not None:
        raise own


__all__ = ["Client", "connect"]
