"""The remotes of one engine: the apps that run other parts of its graph, and its clients.

A remote is known by the URI of its app, or by the id that a client was given. It is weak as long as
the start_graph that it was connected with hasn't been answered: then nothing is routed to it yet.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import trio

from ..errors import ConnectFailed, TenError
from ..graphs.loading import write_graph
from ..messages import CloseApp, Cmd, Loc, StartGraph, StatusCode, StopGraph
from ..runtime.app import failure_data
from ..runtime.calls import Call
from ..runtime.directory import NOT_FOUND
from ..runtime.flag import Flag
from ..runtime.paths import OutPath
from .codec import WireMsg
from .codecs.graph_form import policies
from .connecting import Connector
from .connection import Connection, Role
from .peer import Door, Link
from .remote import Remote
from .settings import NetworkSettings

if TYPE_CHECKING:
    from ..runtime.engine import EngineCore
    from ..runtime.lines import Line
    from ..runtime.turns import Turn

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
        self.remote: Remote | None = None
        """The other app, once there is a connection with it."""
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
        self._joined = trio.Event()
        """Set, and replaced, whenever another app takes part."""
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
        write_graph(self.core.graph.to_graph())  # raises what would fail for each of them
        starter = self.core.starter
        if starter is not None and not self.core.app.is_here(starter.app_uri or ""):
            # Its connection comes over from the app's loop: seen too late, it would look like one
            # of two.
            await self._wait_for(starter.app_uri or "")
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

    async def _open(self, uri: str, *, again: bool = False) -> None:
        """Connect to an app and start the graph there, unless that app has done the same."""
        if self._is_settled(uri):
            return
        # In the engine's nursery, since it lives on.
        answer = Answer()
        self.core.start_soon(self._serve_outgoing, uri, answer, again)
        try:
            await answer.wait()
        except trio.Cancelled:
            self._withdraw(answer)
            raise
        # A duplicate of what the other app has opened, which may be still on its way.
        if not await self._wait_for(uri):
            why = "it wants to do that itself, and doesn't"
            raise ConnectFailed(f"Failed to connect to {uri}: {why}")

    async def _wait_for(self, uri: str) -> bool:
        """Until there is a connection with it, but not for ever."""
        with trio.move_on_after(self.settings.connect_timeout):
            while uri not in self._remotes:
                await self._joined.wait()
        return uri in self._remotes

    def _is_settled(self, uri: str) -> bool:
        """Whether to leave it at the connection that there is: of two, that stays which the app with
        the larger URI has opened."""
        return uri <= self.own_uri and self._is_known(uri)

    def _withdraw(self, answer: Answer) -> None:
        """Nobody waits for this connection any more."""
        remote = answer.remote
        if remote is None:
            answer.scope.cancel("the graph closes")
        else:
            # It may have begun there, and being long-running it wouldn't end with the connection.
            if not self.core.closing:
                self._tell_stop(remote)
            remote.finish(self.core.closed_detail())

    async def _serve_outgoing(self, uri: str, answer: Answer, again: bool) -> None:
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
                if self._is_settled(uri) or self.core.closing:
                    # That app has come in, or nobody is needed any more, while this was connecting.
                    answer.succeed()
                    connection.close("not needed")
                    await connection.run(_ignore)
                else:
                    remote = Remote(self, uri, connection, is_app=True, is_weak=True)
                    self._weak[uri] = answer.remote = remote
                    self._open_link(remote, connection)
                    nursery.start_soon(self._introduce, remote, connection, answer, again)
                    await connection.run(remote.receive, remote.pace)
                nursery.cancel_scope.cancel("the connection is closed")
        if self._remotes.get(uri) not in (None, remote):
            answer.succeed()  # that app has settled for the one which it has opened itself
        answer.fail(ConnectFailed(f"Failed to connect to {uri}"))
        if remote is not None:
            self.lost(remote)

    async def _introduce(
        self, remote: Remote, connection: Connection, answer: Answer, again: bool
    ) -> None:
        uri = remote.uri
        core = self.core
        graph = core.graph.to_graph()
        # Said in this way since nobody minds a property; the other app may be no one of us.
        ours: dict[str, Any] = {"version": VERSION, **({"again": True} if again else {})}
        written = write_graph(graph)
        if exposed := written.get("exposed_messages"):
            ours["exposed_messages"] = exposed
        if said := policies(written):
            ours["flow"] = said
        cmd = StartGraph(
            {OURS: ours},
            graph=graph,
            long_running_mode=core.long_running,
            dest=Loc(uri, core.graph_id, None),
        )
        remote.token = self.settings.token
        result = await self._ask(remote, cmd).result()
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
            self._take_in(remote)
            answer.succeed()

    def _ask(self, remote: Remote, cmd: Cmd) -> Call:
        """Send a command of the engine's own."""
        call = Call()
        core = self.core
        cmd._src = core.loc
        path = OutPath(core.host, cmd, call, core.limits.path_timeout, None, False)
        cmd._id = path.id
        remote.ask(cmd, path, None, cmd._dests)
        return call

    def _take_in(self, remote: Remote) -> None:
        """From now on this is the connection with that app."""
        known = self._remotes.get(remote.uri)
        if known is not None and known is not remote:
            # Its app has given up the old one, of whose end nothing was heard here.
            self._leave_out(known)
            known.lose()
            known.link.close("there is another connection with this app")
        self._remotes[remote.uri] = remote
        joined, self._joined = self._joined, trio.Event()
        joined.set()

    def _leave_out(self, remote: Remote) -> None:
        """Nothing is routed to it any more, and what was queued for it is gone."""
        del self._remotes[remote.uri]
        for dest, door in tuple(self._doors.items()):
            if dest.app_uri == remote.uri:
                door.lost()
                if not remote.is_app:
                    del self._doors[dest]  # a client never comes back under the same name

    # Connections that come from outside ---------------------------------------------------------

    def accept(self, link: Link, is_app: bool, starts: bool) -> Remote:
        """A connection that was accepted is this graph's now; `starts`: it has made it."""
        remote = Remote(self, link.uri, link, is_app=is_app)
        self._all[remote] = None
        if starts:
            self._starting = remote
        if starts or not self._is_known(link.uri):
            self._take_in(remote)
        if self._closed:
            remote.finish(self.core.closed_detail())
        return remote

    def is_current(self, remote: Remote) -> bool:
        """Whether what is sent to that app or client goes out by this connection."""
        return self._remotes.get(remote.uri) is remote

    def _is_known(self, uri: str) -> bool:
        return uri in self._remotes or uri in self._weak

    def start_graph(self, remote: Remote, cmd: StartGraph, path: Any) -> None:
        """A start_graph that has come by a connection of this graph's: its own, or another app's."""
        core = self.core
        ours: dict[str, Any] = {}
        said = cmd._props.get(OURS)
        if said is not None:
            remote.link.extended = True
            ours = {OURS: {"version": VERSION}}
        if self._starting is remote:
            self._starting = None
            core.when_created(lambda: self._answer_start(path, ours))
        elif remote.received > 1 or not remote.is_app:
            path.answer(StatusCode.ERROR, BUILT)
        elif self._is_duplicate(remote, isinstance(said, Mapping) and bool(said.get("again"))):
            path.answer(StatusCode.OK, "", graph_id=DUPLICATE)
        elif core.closing:
            path.answer(StatusCode.ERROR, core.closed_detail())
        elif not ours and core.created.is_set() and self.is_current(remote):
            path.answer(StatusCode.ERROR, BUILT)
        else:
            # One more part of the same graph comes in, or one comes back. That this part is still
            # being made is no reason to let it wait: it would be a circle, if that is waited for here.
            self._take_in(remote)
            path.answer(StatusCode.OK, "", graph_id=core.graph_id, **ours)

    def _is_duplicate(self, remote: Remote, again: bool) -> bool:
        """Whether there is a connection with that app that goes before this one."""
        if remote.uri > self.own_uri:
            return False
        known = self._weak.get(remote.uri)
        if known is None and not again:
            known = self._remotes.get(remote.uri)
        return known is not None and known is not remote and known.link.is_open

    def _answer_start(self, path: Any, ours: dict[str, Any]) -> None:
        core = self.core
        if core.is_created and not core.closing:
            path.answer(StatusCode.OK, "", graph_id=core.graph_id, **ours)
        else:
            path.answer(StatusCode.ERROR, self._failures() or core.closed_detail())

    def control(self, remote: Remote, cmd: Cmd, path: Any) -> None:
        """stop_graph and close_app, from outside."""
        core = self.core
        if isinstance(cmd, StopGraph) and not cmd.graph_id:
            cmd.set_graph_id(core.graph_id)
        if not isinstance(cmd, StopGraph | CloseApp):
            path.answer(StatusCode.ERROR, NOT_FOUND)
        elif not self._may_control(remote, cmd):
            path.answer(StatusCode.ERROR, f"not allowed: {cmd.name} from outside")
        elif isinstance(ours := cmd._props.get(OURS), Mapping) and self._is_part(remote):
            path.answer(StatusCode.OK, "close engine begins")
            self._break_off(remote, f"{remote.uri} closes: {ours.get('reason')}")
        else:
            core.app.take_cmd(cmd, path, core)

    def _is_starter(self, remote: Remote) -> bool:
        starter = self.core.starter
        return starter is not None and starter.app_uri == remote.uri

    def _is_part(self, remote: Remote) -> bool:
        """Whether it is an app that the graph runs in: not any that has something to say to it."""
        return remote.is_app and remote.uri in self.core.graph.apps

    def _break_off(self, remote: Remote, reason: str) -> None:
        """The graph can't go on without `remote`."""
        core = self.core
        if core.created.is_set() or self._is_starter(remote):
            core.request_close(reason)
        elif not core.closing:
            core.fail(ConnectFailed(reason))  # whoever opens it has to hear of it

    def _may_control(self, remote: Remote, cmd: Cmd) -> bool:
        core, link = self.core, remote.link
        if isinstance(cmd, StopGraph) and cmd.graph_id == core.graph_id:
            return link.trusted or self._is_starter(remote) or self._is_part(remote)
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
        if not self.is_current(remote):
            return  # a duplicate
        self._leave_out(remote)
        core = self.core
        if core.closing:
            return
        if not core.long_running:
            if self._is_part(remote) or self._is_starter(remote):
                self._break_off(remote, remote.lost_detail())
        elif remote.is_app and remote.link.opened_here:
            core.start_soon(self._reconnect, remote.uri)

    async def _reconnect(self, uri: str) -> None:
        delay = self.settings.reconnect_delay
        while True:
            await trio.sleep(delay)
            if self.core.closing or uri in self._remotes:
                return
            try:
                await self._open(uri, again=True)
            except TenError as error:
                logger.info("graph %s: %s is not back yet: %s", self.core.title, uri, error)
            delay = min(delay * 2, self.settings.reconnect_delay_max)

    def peers(self) -> Iterable[Remote]:
        """The apps and clients that have a part in the graph."""
        return tuple(self._all)

    def lines(self) -> Iterable[Line]:
        """Where data waits that is to be sent to other apps and clients."""
        return tuple(door.data_line for door in self._doors.values())

    def drop(self, turn: Turn) -> int:
        """Drop the data of a cancelled turn that is still to be sent; how many messages it was."""
        return sum(remote.link.drop(turn) for remote in self._all)

    def begin_close(self) -> None:
        """Let the other parts of the graph begin to close as well."""
        # Of the weak ones isn't known yet what they are, and that they stop does no harm to any.
        told = [remote for remote in self._remotes.values() if remote.link.extended]
        for remote in (*told, *self._weak.values()):
            if remote.is_app and remote.link.is_open:
                self._tell_stop(remote)

    def _tell_stop(self, remote: Remote) -> None:
        core = self.core
        reason = self._failures() or core.close_reason or "it can't be started everywhere"
        stop = StopGraph({OURS: {"reason": reason}}, graph_id=core.graph_id, dest=Loc(remote.uri))
        self._ask(remote, stop)

    def _failures(self) -> str:
        return "; ".join(str(failure) for failure in self.core.failures)

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

    @property
    def has_ended(self) -> bool:
        """Whether every connection is closed."""
        return self._ended.is_set()

    async def ended(self) -> None:
        """Until every connection is closed."""
        await self._ended.wait()


def _ignore(wire: WireMsg) -> None:
    """Nobody is interested any more."""


__all__ = ["BUILT", "DUPLICATE", "OURS", "Remote", "Remotes", "remotes_of"]
