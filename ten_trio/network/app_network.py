"""The network of an app: its listeners, and the connections that belong to no graph yet.

A connection is the app's until its first message that needs a graph: then it moves to the engine of
that graph, with everything that it has read and not delivered, and is never the app's again.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Sequence
from math import inf
from secrets import randbits
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from ..errors import TenError
from ..graphs import Graph
from ..graphs.loading import read_graph, write_graph
from ..messages import CloseApp, Cmd, CmdResult, Loc, StartGraph, StatusCode, StopGraph
from ..runtime.engine import EngineCore
from ..runtime.paths import made_result, new_id
from .admission import Admission
from .codec import WireMsg
from .codecs.graph_form import add_policies
from .connecting import Connector, options_of
from .connection import Connection, Migration, Role
from .dialects import SUBPROTOCOLS
from .migration import Target, move
from .peer import TOKEN, back_to
from .protocols import Front, Protocols, WireProtocol
from .remotes import BUILT, OURS, Remotes
from .settings import NetworkSettings
from .transport import HandshakeError, Knock, Listener, Transport, Wire
from .watching import COMMANDS, answer

if TYPE_CHECKING:
    from ..runtime.app import App

logger = logging.getLogger("ten_trio.network")

NOT_FOUND: Final = "Graph not found."
_BUSY: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class AppNetwork:
    """The boundary of one app. Lives in the app's loop."""

    def __init__(
        self,
        app: App,
        nursery: trio.Nursery,
        settings: NetworkSettings,
        protocols: Protocols,
        listen: Sequence[str],
    ) -> None:
        self.settings = settings
        self.protocols = protocols
        self.admission = Admission(app, settings)
        self._fronts: dict[str, Front] = {}
        self.connections = 0
        """How many are open, orphans and others."""
        self.refused = 0
        self.uris: tuple[str, ...] = ()
        """Where it listens, with the ports that the system has chosen."""
        self._app = app
        self._nursery = nursery
        self._listen = listen
        self._listeners: list[Listener] = []
        self._accepting = trio.CancelScope()
        self._orphans: dict[Connection, None] = {}
        self._no_orphans = trio.Event()
        self._knocking: dict[trio.CancelScope, None] = {}
        self._closing = False
        self._closed = False

    # For the app ------------------------------------------------------------------------------

    @property
    def is_listening(self) -> bool:
        """Whether anybody can come in."""
        return bool(self._listeners)

    def for_engine(self, core: EngineCore) -> Remotes:
        """The boundary of a graph, made in its own loop."""
        return Remotes(core, self.settings, Connector(self.settings, self.protocols), core.app.uri)

    async def open(self) -> None:
        """Begin to listen. Raises `OSError`, `ConfigError`."""
        options = options_of(self.settings, SUBPROTOCOLS)
        opened: list[tuple[Listener, WireProtocol, Transport]] = []
        uris = []
        try:
            for uri in self._listen:
                if uri.startswith("client:"):
                    uris.append(uri)  # the name of an app that nobody connects to
                    continue
                protocol, address = self.protocols.find(uri)
                transport = protocol.transport(address, options)
                listeners = await transport.listen(address, options)
                opened += [(listener, protocol, transport) for listener in listeners]
                if address.port == 0:
                    chosen = attrs.evolve(address, port=listeners[0].address.port)
                    uri = str(chosen)
                uris.append(uri)
                self.uris = (*self.uris, uri)
        except BaseException:
            with trio.CancelScope(shield=True):  # closing a listener waits for nothing
                for listener, _, _ in opened:
                    await listener.aclose()
            raise
        if not uris:
            return
        self._app.listens_at(uris)
        if not opened:
            return
        for _, protocol, _ in opened:
            if protocol.front is not None and protocol.name not in self._fronts:
                self._fronts[protocol.name] = protocol.front(self._app, self.admission)
        self._nursery.start_soon(self._accept_all, opened)
        self._listeners = [listener for listener, _, _ in opened]
        logger.info("listening at %s", ", ".join(uris))

    async def _accept_all(self, opened: list[tuple[Listener, WireProtocol, Transport]]) -> None:
        try:
            with self._accepting:
                async with trio.open_nursery() as nursery:
                    for listener, protocol, transport in opened:
                        nursery.start_soon(self._accept, listener, protocol, transport)
        finally:
            self._listeners = []
            with trio.move_on_after(self.settings.close_timeout, shield=True):
                for listener, _, _ in opened:
                    await listener.aclose()

    async def _accept(
        self, listener: Listener, protocol: WireProtocol, transport: Transport
    ) -> None:
        while True:
            try:
                knock = await listener.accept()
            except OSError as error:
                # Out of file descriptors or memory: others have to go first. Anything else is the
                # fault of one who has connected, and is gone again.
                logger.error("%s: %s", listener.address, error)
                await trio.sleep(0.1 if error.errno in _BUSY else 0)
                continue
            if self.connections >= self.settings.connections:
                self.refused += 1
                if self.refused % 1_000 == 1:
                    logger.warning(
                        "%s: refused %s: %d connections are open (%d times)",
                        listener.address, knock.peer, self.connections, self.refused,
                    )  # fmt: skip
                self._nursery.start_soon(knock.refuse)
            else:
                self.connections += 1
                self._nursery.start_soon(self._serve, knock, protocol, transport)

    def begin_close(self) -> None:
        """Let nobody in any more."""
        self._closing = True
        self._accepting.cancel("the app closes")
        for front in self._fronts.values():
            front.begin_close()
        for scope in self._knocking:
            scope.cancel("the app closes")
        # They stay for the answers that they wait for.

    async def close(self) -> None:
        """Close what is left."""
        self.begin_close()
        self._closed = True
        for connection in tuple(self._orphans):
            connection.close("the app closes")
        try:
            for front in self._fronts.values():
                await front.close()
            if self._orphans:
                await self._no_orphans.wait()
        finally:
            for connection in self._orphans:
                connection.end("the app is closed")

    # Connections ------------------------------------------------------------------------------

    async def _serve(self, knock: Knock, protocol: WireProtocol, transport: Transport) -> None:
        """One connection, from its first byte to where it belongs."""
        moved = False
        try:
            async with trio.open_nursery() as own:
                wire = await self._open(knock, own)
                front = self._fronts.get(protocol.name)
                if wire is not None and front is not None:
                    await front.serve(wire)
                elif wire is not None:
                    moved = await self._attach(self._connection(wire, protocol), transport)
                own.cancel_scope.cancel("the connection is closed")
        except Exception:
            # A fault of ours, or of a transport: it costs this connection and no other.
            logger.exception("connection with %s", knock.peer)
        finally:
            if not moved:
                self.connections -= 1

    async def _open(self, knock: Knock, nursery: trio.Nursery) -> Wire | None:
        with trio.CancelScope() as scope:
            self._knocking[scope] = None
            if self._closing:
                scope.cancel("the app closes")
            try:
                with trio.fail_after(self.settings.handshake_timeout):
                    return await self._let_in(await knock.open(nursery))
            except (HandshakeError, trio.TooSlowError) as error:
                why = error if isinstance(error, HandshakeError) else "too slow a handshake"
                logger.info("connection with %s: %s", knock.peer, why)
            finally:
                del self._knocking[scope]
        return None

    async def _let_in(self, wire: Wire) -> Wire:
        """Keep web pages out that the settings don't let in."""
        shown = wire.credentials
        if self.admission.admits_page(shown.origin) or self.admission.knows(shown.token):
            return wire
        await wire.aclose()
        raise HandshakeError(f"not allowed: pages of {shown.origin}")

    def _connection(self, wire: Wire, protocol: WireProtocol) -> Connection:
        dialect = protocol.dialect(self.settings.codec, wire)
        return Connection(wire, dialect, self.settings, Role.IN_INTERNAL)

    async def _attach(self, connection: Connection, transport: Transport) -> bool:
        """Let it find its graph, and have it there; whether nothing of it is left here."""
        orphan = _Orphan(self, self._app, connection)
        while (target := await self._orphan(orphan)) is not None:
            moved = await move(connection, target, transport, self._app.loop, self._gone)
            if moved.refused is None:
                return moved.away
            orphan.turned_away(target, moved.refused)
        return False

    async def _orphan(self, orphan: _Orphan) -> Target | None:
        """Read until the connection has found its graph, or is closed."""
        connection = orphan.connection
        self._orphans[connection] = None
        if self._closed:
            connection.close("the app closes")
        try:
            async with trio.open_nursery() as nursery:
                orphan.nursery = nursery
                with orphan.patience:
                    await connection.run(orphan.receive)
                nursery.cancel_scope.cancel("the connection is closed, or has found its graph")
            if orphan.patience.cancelled_caught:
                logger.info("connection with %s: no message in time", connection.wire.peer)
        finally:
            target = orphan.target
            if target is not None and not connection.is_open:
                orphan.forsake(target)
            del self._orphans[connection]
            if not self._orphans:
                self._no_orphans.set()
                self._no_orphans = trio.Event()
        return target if connection.is_open else None

    def _gone(self) -> None:
        self.connections -= 1


class _Orphan:
    """A connection that belongs to the app: takes its messages one by one, until it knows the graph."""

    def __init__(self, network: AppNetwork, app: App, connection: Connection) -> None:
        self._network = network
        self._settings = network.settings
        self._admission = network.admission
        self._app = app
        self.connection = connection
        self._authorized = False
        self._dropped = 0
        self._watched = False
        self._written = trio.Event()
        self.nursery: trio.Nursery
        """Of what goes on as long as the connection is an orphan."""
        self.target: Target | None = None
        self.patience = self._new_patience()

    def _new_patience(self) -> trio.CancelScope:
        return trio.CancelScope(deadline=trio.current_time() + self._settings.first_message_timeout)

    def turned_away(self, target: Target, why: str) -> None:
        """The graph hasn't taken it: as if it had not been found."""
        self.target = None
        self.patience = self._new_patience()
        self._refuse(target.first, why)
        if target.starts:
            self.connection.close(why)

    def forsake(self, target: Target) -> None:
        """The connection is lost before the graph could have it."""
        if target.starts and not target.core.long_running:
            target.core.request_close(f"connection lost: {self.connection.reason or 'closed'}")

    def receive(self, wire: WireMsg) -> bool:
        """One message; True if the connection has to move because of it."""
        connection = self.connection
        self._put_off()
        connection.migration = Migration.FIRST_MSG
        if not self._may_speak(wire):
            self._refuse(wire, "not authorized: a token has to be shown")
            connection.close("not authorized")
            return False
        self._identify(wire)
        if self._network._closing:
            self._refuse(wire, "closing: the app")
        elif isinstance(wire.msg, StartGraph):
            self._start(wire, wire.msg)
        elif isinstance(wire.msg, Cmd):
            self._command(wire, wire.msg)
        else:
            self._go_to(wire)
        if self.target is None:
            # On to the next: perhaps that finds its graph.
            connection.migration = Migration.INIT
        return self.target is not None

    def _put_off(self) -> None:
        # Whoever looks at the app needs no graph, and isn't hurried to find one.
        timeout = inf if self._watched else self._settings.first_message_timeout
        self.patience.deadline = trio.current_time() + timeout

    def _may_speak(self, wire: WireMsg) -> bool:
        if not self._authorized:
            shown, known = wire.msg._props.get(TOKEN), self.connection.wire.credentials.token
            self._authorized = self._admission.knows(shown, known)
        return self._authorized or not self._settings.token

    def _identify(self, wire: WireMsg) -> None:
        connection = self.connection
        connection.trusted = self._authorized or self._admission.trusts(connection.wire)
        if TOKEN in wire.msg._props:
            props = wire.msg._props
            wire.msg._props = {key: value for key, value in props.items() if key != TOKEN}
        src = wire.msg._src.app_uri or ""
        # Who isn't trusted can't be another app, whatever it says: it would get what is for that one.
        may_be_app = connection.trusted or self._settings.start_graphs == "any"
        if wire.cmd_id and src and may_be_app and not self._app.is_here(src):
            connection.role, connection.uri = Role.IN_INTERNAL, src
        elif connection.role is not Role.IN_EXTERNAL:
            connection.role, connection.uri = Role.IN_EXTERNAL, f"{randbits(128):032x}"

    def _reply(self, wire: WireMsg) -> OrphanReply:
        return OrphanReply(self.connection, wire)

    def _refuse(self, wire: WireMsg, detail: str) -> None:
        if isinstance(wire.msg, Cmd):
            self._reply(wire).answer(StatusCode.ERROR, detail)
        else:
            self._dropped += 1
            if self._dropped % 1_000 == 1:
                logger.warning(
                    "%s from %s dropped: %s (%d times)",
                    wire.msg, self.connection.wire.peer, detail, self._dropped,
                )  # fmt: skip

    def _command(self, wire: WireMsg, cmd: Cmd) -> None:
        """Looking, stop_graph and close_app are the app's; everything else is for a graph."""
        looks = cmd.name in COMMANDS
        if not looks and not isinstance(cmd, StopGraph | CloseApp):
            self._go_to(wire)
        elif not self._admission.may_control(cmd, self.connection.trusted):
            self._refuse(wire, f"not allowed: {cmd.name} from outside")
        elif looks:
            self._look(wire, cmd)
        else:
            self._app.take_cmd(cmd, self._reply(wire), None)

    def _look(self, wire: WireMsg, cmd: Cmd) -> None:
        """The app answers these, however stuck its graphs are."""
        self._watched = True
        self._put_off()
        self.connection.on_written = self._note_written
        self.nursery.start_soon(answer, self._app, cmd, self._reply(wire), self._room)

    def _note_written(self, _: list[WireMsg]) -> None:
        written, self._written = self._written, trio.Event()
        written.set()

    async def _room(self) -> None:
        """Until everything is on its way that was to be sent."""
        while self.connection.backlog:
            await self._written.wait()

    def _go_to(self, wire: WireMsg) -> None:
        """To the graph that the message names."""
        name = next((dest.graph_id for dest in wire.msg._dests if dest.graph_id), "")
        core = self._app._graph_for(name) if name else None
        if core is None:
            self._refuse(wire, NOT_FOUND)
        elif core.closing:
            self._refuse(wire, core.closed_detail())
        else:
            self.target = Target(core, wire, False)

    def _start(self, wire: WireMsg, cmd: StartGraph) -> None:
        app = self._app
        graph_id = next((dest.graph_id for dest in cmd._dests if dest.graph_id), None)
        core = app.engines.get(graph_id) if graph_id else None
        if core is not None:
            if self.connection.role is Role.IN_INTERNAL:
                # Another app's part of this graph has come in.
                self.target = Target(core, wire, False)
            else:
                self._refuse(wire, BUILT)
            return
        try:
            _add_ours(cmd)
            self._admission.check_start(cmd, self.connection.trusted)
            origin, cmd._src = (
                cmd._src,
                Loc(self.connection.uri, cmd._src.graph_id, cmd._src.extension_name),
            )
            core = app.graph_for(cmd, graph_id)
            self._admission.started(core)
            cmd._src = origin
        except (TenError, ExceptionGroup, OSError) as error:
            self._refuse(wire, str(error))
            return
        app.run_in_background(core)
        self.target = Target(core, wire, True)


def _add_ours(cmd: StartGraph) -> None:
    """Take what else belongs to another app's graph from where that app has said it; see `Remotes`."""
    ours = cmd._props.get(OURS)
    if not isinstance(ours, dict) or not isinstance(cmd.graph, Graph):
        return
    exposed, said = ours.get("exposed_messages"), ours.get("flow")
    if exposed or said:
        written = write_graph(cmd.graph)
        if exposed:
            written["exposed_messages"] = exposed
        add_policies(written, said)
        cmd.graph = read_graph(written)


class OrphanReply:
    """The caller's side of a command that the app itself answers; see `runtime.paths.Reply`."""

    def __init__(self, connection: Connection, wire: WireMsg) -> None:
        self.id = new_id()
        cmd: Any = wire.msg
        self.cmd_name: str = cmd.name
        self.in_path: Any = None
        self.closed = False
        self._connection = connection
        self._wire = wire
        self._cmd = cmd

    def give(self, result: CmdResult) -> None:
        """Send a result home."""
        result.seq_id = self._cmd.seq_id
        result.original_cmd_name = self._cmd.name
        result.original_cmd_type = self._cmd.type
        result.is_completed = result.is_final
        result._dests = back_to(self._cmd._src)
        connection, wire = self._connection, WireMsg(result, self._wire.cmd_id)
        connection.reach(lambda: connection.send(wire))

    def answer(self, status: StatusCode, detail: str, **properties: object) -> None:
        """Send the runtime's own final result home."""
        self.give(made_result(status, detail, **properties))


__all__ = ["AppNetwork"]
