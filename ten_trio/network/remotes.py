"""The remotes of one engine: the apps that run other parts of its graph, and its clients.

A remote is known by the URI of its app, or by the id that a client was given. It is weak as long as
the start_graph that it was connected with hasn't been answered: then nothing is routed to it yet.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import trio

from ..errors import ConnectFailed, TenError
from ..graphs.loading import write_graph
from ..messages import CloseApp, Cmd, Loc, Msg, StartGraph, StatusCode, StopGraph
from ..runtime.app import failure_data
from ..runtime.calls import DISCARD, Call
from ..runtime.flag import Flag
from ..runtime.paths import OutPath
from .connecting import Connector
from .connection import Connection, Role
from .peer import Door, Link, Peer
from .settings import NetworkSettings

if TYPE_CHECKING:
    from ..runtime.engine import EngineCore
    from ..runtime.lines import Line

logger = logging.getLogger("ten_trio.network")

OURS: Final = "ten_trio"
"""The property by which an app says, on start_graph and its result, that it is one of us."""
VERSION: Final = 1
DUPLICATE: Final = "==duplicate=="
BUILT: Final = "Receive a start_graph cmd after graph is built."


def remotes_of(core: EngineCore) -> Remotes:
    """The boundary of a graph, as the network has made it."""
    boundary = core.boundary
    assert isinstance(boundary, Remotes)
    return boundary


class Answer:
    """How an attempt to connect went, for the task that waits for it."""

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self._done = trio.Event()
        self._error: TenError | None = None

    def succeed(self) -> None:
        """The other app takes part."""
        self._done.set()

    def fail(self, error: TenError) -> None:
        """It doesn't; the first word counts."""
        if not self._done.is_set():
            self._error = error
            self._done.set()

    async def wait(self) -> None:
        """Until it is known. Raises what it failed with."""
        await self._done.wait()
        if self._error is not None:
            raise self._error


class Remote(Peer):
    """An app or a client that takes part in one graph."""

    __slots__ = ("_remotes", "is_app", "is_weak")

    def __init__(
        self, remotes: Remotes, uri: str, link: Link, *, is_app: bool, is_weak: bool = False
    ) -> None:
        super().__init__(remotes.core, uri, link, remotes.settings)
        self._remotes = remotes
        self.is_app = is_app
        self.is_weak = is_weak

    def is_busy(self) -> bool:
        """Whether a command is in flight, in whichever direction."""
        return bool(self.in_paths or self.out_paths)

    def route_cmd(self, cmd: Cmd, dest: Loc, path: OutPath) -> None:
        """To an extension, along the exposed messages, to another graph, or to the app."""
        engine = self.engine
        if not cmd.is_plain and isinstance(cmd, StartGraph):
            self._remotes.start_graph(self, cmd, path)
        elif not cmd.is_plain and not dest.extension_name:
            self._remotes.control(self, cmd, path)
        elif dest.app_uri and not engine.app.is_here(dest.app_uri):
            detail = f"Could not find suitable remote based on uri: {dest.app_uri}"
            path.answer(StatusCode.ERROR, detail)
        elif (graph_id := self._graph_id(dest)) == engine.graph_id:
            engine.when_created(lambda: engine.admit_cmd(dest.extension_name, cmd, path))
        else:
            there = Loc(engine.app.uri, graph_id, dest.extension_name)
            engine.app.forward_cmd(there, cmd, path, engine)

    def route_data(self, msg: Msg, dest: Loc) -> None:
        """Likewise."""
        engine = self.engine
        if dest.app_uri and not engine.app.is_here(dest.app_uri):
            return
        graph_id = self._graph_id(dest)
        if graph_id == engine.graph_id:
            engine.when_created(lambda: self._admit(msg, dest))
        else:
            there = Loc(engine.app.uri, graph_id, dest.extension_name)
            engine.app.forward_data(there, msg, engine)

    def _admit(self, msg: Msg, dest: Loc) -> None:
        full: Line | None = self.engine.admit_data(dest.extension_name, msg)
        if full is not None:
            self.fullest = full

    def _graph_id(self, dest: Loc) -> str:
        if not dest.graph_id:
            return self.engine.graph_id
        return self.engine.app.graph_id_of(dest.graph_id)


class Remotes:
    """The boundary of one engine. Lives in the loop of the engine."""

    def __init__(
        self,
        core: EngineCore,
        settings: NetworkSettings,
        connector: Connector,
        own_uri: str,
    ) -> None:
        self.core = core
        self.settings = settings
        self.own_uri = own_uri
        self._connector = connector
        self._remotes: dict[str, Remote] = {}
        self._weak: dict[str, Remote] = {}
        self._all: dict[Remote, None] = {}
        """Every one whose connection is open, also those that turned out to be duplicates."""
        self._doors: dict[Loc, Door] = {}
        self._starting: Remote | None = None
        self._ended = Flag()
        self._closed = False

    # For the engine ---------------------------------------------------------------------------

    def receiver(self, dest: Loc) -> Door:
        """What takes messages for a place in another app, or for a client."""
        door = self._doors.get(dest)
        if door is None:
            uri = dest.app_uri or ""
            there = (Loc(uri, dest.graph_id or "", dest.extension_name),)
            missing = f"Could not find suitable remote based on uri: {uri}"
            cap = self.settings.out_queue
            hard = max(self.core.limits.hard_queue, cap)
            door = Door(str(dest), there, lambda: self._remotes.get(uri), missing, cap, hard)
            self._doors[dest] = door
        return door

    async def join(self) -> None:
        """Start the graph in the apps that its extensions here talk to.

        Raises `ConnectFailed`, also if one of them refuses, and `GraphError` if the graph can't be sent.
        """
        neighbours = self._neighbours()
        failures: list[TenError] = []
        if not neighbours:
            return
        async with trio.open_nursery() as nursery:
            for uri in neighbours:
                nursery.start_soon(self._join, uri, failures, nursery.cancel_scope)
        if failures:
            raise failures[0]

    def _neighbours(self) -> list[str]:
        """The apps that share an edge with this one."""
        core = self.core
        here = core.app.is_here
        found: dict[str, None] = {}
        for edge in core.graph.edges:
            source, dest = edge.source_app, edge.dest_app
            if here(source) != here(dest):
                found[dest if here(source) else source] = None
        for exposure in core.graph.exposed:
            if exposure.app and not here(exposure.app):
                found[exposure.app] = None
        return [uri for uri in found if uri and not uri.startswith("client:")]

    async def _join(self, uri: str, failures: list[TenError], scope: trio.CancelScope) -> None:
        try:
            await self._open(uri)
        except TenError as error:
            failures.append(error)
            scope.cancel(f"{uri} can't take part")

    async def _open(self, uri: str) -> None:
        """Connect to an app and start the graph there, unless that app has done the same."""
        if (uri in self._remotes or uri in self._weak) and uri <= self.own_uri:
            return  # of two connections, that of the app with the larger URI stays
        core = self.core
        # In the engine's nursery, since it lives on.
        answer = Answer()
        core.start_soon(self._serve_outgoing, uri, answer)
        try:
            await answer.wait()
        except trio.Cancelled:
            answer.scope.cancel("nobody waits for the connection any more")
            raise

    async def _serve_outgoing(self, uri: str, answer: Answer) -> None:
        remote: Remote | None = None
        with answer.scope:
            async with trio.open_nursery() as nursery:
                # Everything of this connection, until it is closed.
                try:
                    connection = await self._connector.connect(uri, nursery)
                except TenError as error:
                    answer.fail(error)
                    return
                connection.role, connection.uri = Role.OUT_INTERNAL, uri
                remote = Remote(self, uri, connection, is_app=True, is_weak=True)
                self._weak[uri] = remote
                self._open_link(remote, connection)
                nursery.start_soon(self._introduce, remote, connection, answer)
                await connection.run(remote.receive, remote.pace)
                nursery.cancel_scope.cancel("the connection is closed")
        answer.fail(ConnectFailed(f"Failed to connect to {uri}"))
        if remote is not None:
            self.lost(remote)

    async def _introduce(self, remote: Remote, connection: Connection, answer: Answer) -> None:
        uri = remote.uri
        core = self.core
        graph = core.graph.to_graph()
        # Said in this way since nobody minds a property; the other app may be no one of us.
        ours: dict[str, Any] = {"version": VERSION}
        if exposed := write_graph(graph).get("exposed_messages"):
            ours["exposed_messages"] = exposed
        cmd = StartGraph(
            {OURS: ours},
            graph=graph,
            long_running_mode=core.long_running,
            dest=Loc(uri, core.graph_id, None),
        )
        remote.token = self.settings.token
        cmd._src = core.loc
        call = Call()
        path = OutPath(core.host, cmd, call, core.limits.path_timeout, None, False)
        cmd._id = path.id
        remote.ask(cmd, path, None, cmd._dests)
        result = await call.result()
        props = result._props
        remote.is_weak = False
        if self._weak.get(uri) is remote:
            del self._weak[uri]
        if result.status is not StatusCode.OK:
            answer.fail(ConnectFailed(f"{uri} refuses: {result.detail}"))
            connection.close("it was refused")
        elif props.get("graph_id") == DUPLICATE:
            answer.succeed()
            connection.close("there is another connection with this app")
        else:
            if OURS in props:
                connection.dialect.extended = True
            self._remotes[uri] = remote
            answer.succeed()

    # Connections that come from outside ---------------------------------------------------------

    def accept(self, link: Link, is_app: bool, starts: bool) -> Remote:
        """A connection that was accepted is this graph's now; `starts`: it has made it."""
        remote = Remote(self, link.uri, link, is_app=is_app)
        self._all[remote] = None
        if starts:
            self._starting = remote
        if starts or not self._is_known(link.uri):
            self._remotes[link.uri] = remote
        if self._closed:
            remote.finish(self.core.closed_detail())
        return remote

    def _is_known(self, uri: str) -> bool:
        return uri in self._remotes or uri in self._weak

    def start_graph(self, remote: Remote, cmd: StartGraph, path: Any) -> None:
        """A start_graph that has come by a connection of this graph's: its own, or another app's."""
        core = self.core
        ours: dict[str, Any] = {}
        if OURS in cmd._props:
            remote.link.extended = True
            ours = {OURS: {"version": VERSION}}
        if self._starting is remote:
            self._starting = None
            core.when_created(lambda: self._answer_start(path, ours))
            return
        first = remote.received == 1
        known = self._weak.get(remote.uri) or self._remotes.get(remote.uri)
        if first and remote.is_app and known is not None and known is not remote:
            if remote.uri <= self.own_uri and known.link.is_open:
                path.answer(StatusCode.OK, "", graph_id=DUPLICATE)
                return
        elif not first or (not ours and core.created.is_set()):
            path.answer(StatusCode.ERROR, BUILT)
            return
        # One more part of the same graph comes in, or one comes back. That this part is still
        # being made is no reason to let it wait: it would be a circle, if that is waited for here.
        self._remotes[remote.uri] = remote
        path.answer(StatusCode.OK, "", graph_id=core.graph_id, **ours)

    def _answer_start(self, path: Any, ours: dict[str, Any]) -> None:
        core = self.core
        if core.is_created and not core.closing:
            path.answer(StatusCode.OK, "", graph_id=core.graph_id, **ours)
        else:
            detail = "; ".join(str(failure) for failure in core.failures)
            path.answer(StatusCode.ERROR, detail or core.closed_detail())

    def control(self, remote: Remote, cmd: Cmd, path: Any) -> None:
        """stop_graph, close_app and their like, from outside."""
        core = self.core
        if isinstance(cmd, StopGraph) and not cmd.graph_id:
            cmd.set_graph_id(core.graph_id)
        if not self._may_control(remote, cmd):
            path.answer(StatusCode.ERROR, f"not allowed: {cmd.name} from outside")
        else:
            core.app.take_cmd(cmd, path, core)

    def _may_control(self, remote: Remote, cmd: Cmd) -> bool:
        core, link = self.core, remote.link
        if isinstance(cmd, StopGraph) and cmd.graph_id == core.graph_id:
            starter = core.starter is not None and core.starter.app_uri == remote.uri
            return link.trusted or starter or remote.is_app
        if isinstance(cmd, CloseApp) and self.settings.close_app is not None:
            return self.settings.close_app
        return link.trusted

    # Ends ---------------------------------------------------------------------------------------

    def _open_link(self, remote: Remote, connection: Connection) -> None:
        connection.on_written = remote.written
        connection.on_unsendable = remote.unsendable
        connection.is_busy = remote.is_busy
        self._all[remote] = None
        if self._closed:
            remote.finish(self.core.closed_detail())

    async def serve(self, remote: Remote, connection: Connection) -> None:
        """The life of a connection that was accepted, from here on."""
        self._open_link(remote, connection)
        await connection.run(remote.receive, remote.pace)
        self.lost(remote)

    def lost(self, remote: Remote) -> None:
        """The connection of a remote has ended, for whatever reason."""
        remote.lose()
        self._all.pop(remote, None)
        if self._closed and not self._all:
            self._ended.set()
        if self._weak.get(remote.uri) is remote:
            del self._weak[remote.uri]
        if self._remotes.get(remote.uri) is not remote:
            return  # a duplicate
        del self._remotes[remote.uri]
        for dest, door in tuple(self._doors.items()):
            if dest.app_uri == remote.uri:
                door.lost()
                if not remote.is_app:
                    del self._doors[dest]  # a client never comes back under the same name
        core = self.core
        if core.closing:
            return
        starter = core.starter is not None and core.starter.app_uri == remote.uri
        if core.long_running:
            if remote.is_app and remote.link.opened_here:
                core.start_soon(self._reconnect, remote.uri)
        elif remote.is_app or starter:
            core.request_close(remote.lost_detail())

    async def _reconnect(self, uri: str) -> None:
        delay = self.settings.reconnect_delay
        while not self.core.closing and uri not in self._remotes:
            await trio.sleep(delay)
            try:
                await self._open(uri)
            except TenError as error:
                logger.info("graph %s: %s is not back yet: %s", self.core.title, uri, error)
            delay = min(delay * 2, self.settings.reconnect_delay_max)

    def begin_close(self) -> None:
        """Let the other parts of the graph begin to close as well."""
        for remote in tuple(self._remotes.values()):
            if remote.is_app and remote.link.extended and remote.link.is_open:
                self._tell_stop(remote)

    def _tell_stop(self, remote: Remote) -> None:
        cmd = StopGraph(graph_id=self.core.graph_id, dest=Loc(remote.uri))
        cmd._src = self.core.loc
        path = OutPath(self.core.host, cmd, DISCARD, self.core.limits.path_timeout, None, False)
        cmd._id = path.id
        remote.ask(cmd, path, None, cmd._dests)

    def end(self, detail: str) -> None:
        """Close every connection, after what is still to be sent."""
        core = self.core
        self._closed = True
        if core.failures and core.starter is not None:
            starter = self._remotes.get(core.starter.app_uri or "")
            if starter is not None:
                told = failure_data(core.graph_id, core.failures)
                told._src = core.loc
                starter.tell(told, (core.starter,))
        for remote in tuple(self._all):
            remote.finish(detail)
        if not self._all:
            self._ended.set()

    async def ended(self) -> None:
        """Until every connection is closed."""
        await self._ended.wait()
