"""The app: the outermost block. It owns the engines, the addons and the predefined graphs."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import copy_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from uuid import uuid4

import attrs
import trio

from ..errors import EngineClosed, GraphError, Problem, StartTimeout
from ..graphs import (
    GRAPH_PROXY,
    AppProperty,
    Graph,
    PredefinedGraph,
    load_app_property,
    load_graph_file,
)
from ..messages import Data, Loc, Msg, Properties, StartGraph, StatusCode
from .addons import AppAddons
from .app_commands import carry_out
from .compiled import CompiledGraphs
from .directory import HOST
from .engine import EngineCore
from .explain import explain_from_outside
from .explanation import Explanation
from .handle import Engine
from .host import Outside
from .limits import Limits
from .looks import look_from_outside
from .loops import Loop
from .metadata import MetadataStore
from .own_handle import OwnLoopEngine
from .own_loop import CoreLink
from .report import ShutdownReport
from .stats import Stats
from .tap import Tap, Wanted, tapping
from .turns import reach
from .watchdog import watching

if TYPE_CHECKING:
    from ..messages import Cmd
    from .boundary import AppBoundary

logger = logging.getLogger("ten_trio.runtime")

GraphSource = Graph | str | Path | Mapping[str, Any]
T = TypeVar("T")


class App:
    """A running app, as `open_app` gives it; valid inside that block only."""

    def __init__(
        self, nursery: trio.Nursery, settings: AppProperty, base_dir: Path | None, limits: Limits
    ) -> None:
        self._nursery = nursery
        self.property = settings
        self.base_dir = base_dir
        self.limits = limits
        self.properties = Properties(settings.property)
        self.addons = AppAddons()
        self.metadata = MetadataStore(base_dir)
        self.uri = settings.uri or ""
        self.network: AppBoundary | None = None
        self._uris = frozenset({self.uri})
        self.loop = Loop()
        self.engines: dict[str, EngineCore | CoreLink] = {}
        self.reports: list[ShutdownReport] = []
        """How the graphs ended that no block was open for, the latest last (at most 100)."""
        self.close_reason = ""
        self._compiled = CompiledGraphs(base_dir, self.uri)
        self._singletons: dict[str, EngineCore | CoreLink] = {}
        self.on_graph: Callable[[Engine], object] | None = None
        """Called with every graph that was started from outside, or because somebody sends to it."""
        self.on_engine: Callable[[EngineCore | CoreLink], object] | None = None
        """Called with every graph before anything of it exists; for whoever watches all of it."""
        self._close_wanted = trio.Event()
        self._graph_ended = trio.Event()
        self._had_graphs = False
        self._close_deadline = float("inf")
        self._context = copy_context()

    def is_here(self, uri: str) -> bool:
        """Whether `uri` is one of this app's own."""
        return uri in self._uris

    def listens_at(self, uris: Sequence[str]) -> None:
        """These are its URIs, the first above all; told before any graph is started."""
        self.uri = uris[0]
        self._uris = frozenset({*uris, self.property.uri or ""})
        self._compiled = CompiledGraphs(self.base_dir, self.uri)

    def _spawn(self, async_fn: Callable[..., Any], *args: Any) -> None:
        """A task of the app's: in its own context, not that of a handler which has caused it."""
        self._context.run(self._nursery.start_soon, async_fn, *args)

    # Graphs -----------------------------------------------------------------------------------

    def predefined(self, name: str) -> PredefinedGraph:
        """The predefined graph of that name. Raises `GraphError`."""
        for graph in self.property.predefined_graphs:
            if graph.name == name:
                return graph
        known = [graph.name for graph in self.property.predefined_graphs]
        raise GraphError(
            [Problem("predefined_graphs", f'no predefined graph "{name}"; known: {known}')]
        )

    @asynccontextmanager
    async def open_graph(
        self,
        graph: GraphSource,
        *,
        own_loop: bool | None = None,
        long_running: bool = False,
        start_timeout: float | None = None,
        grace: float | None = None,
        redirects: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[Engine, None]:
        """Run a graph for the length of a block.

        `graph`: a `Graph`, the name of a predefined one, the path of a JSON file, or its parsed JSON.
        Enters when every extension without a manual trigger has come back from `on_start`.  Leaving
        the block closes the graph in order, within `grace` seconds.  If the graph fails, the block is
        cancelled and the failures come out of it in one `ExceptionGroup`.

        With `own_loop` the graph gets a thread and a Trio run of its own, for extensions that would
        hold up others; the default is the app's `one_event_loop_per_engine`.

        With `long_running` the graph goes on if an app is lost that some of its extensions run in,
        and tries to get it back; else that closes the graph.

        `redirects` is for tests: everything that an extension named there sends goes to the other
        one, whatever its name and destinations.

        Raises `GraphError` for a graph that can't be run, `StartTimeout`, `EngineClosed` if the app
        is closing.
        """
        own: BaseException | None = None
        with trio.CancelScope() as body:
            core = self._new_engine(
                graph,
                grace=grace,
                on_failure=lambda: body.cancel("the graph has failed"),
                redirects=redirects,
                own_loop=own_loop,
                long_running=long_running,
            )
            core.hold(body)
            self._nursery.start_soon(core.run)
            try:
                await self._wait_started(core, start_timeout)
                yield _handle(core)
            except BaseException as error:
                own = error
                raise
            finally:
                core.request_close("its block is left", self._time_left())
                # Bounded by the engine's own deadline; what can't be ended then is named in the log.
                with trio.CancelScope(shield=True):
                    await core.closed.wait()
                core.let_go(body)
                if core.failures:
                    self._raise_failures(core, own)

    def _raise_failures(self, core: EngineCore | CoreLink, own: BaseException | None) -> NoReturn:
        failures = list(core.failures)
        # That the graph is closed is what its failures explain. A Cancelled goes along: if it is
        # that of the block's own scope, this takes it out again.
        if own is not None and not isinstance(own, EngineClosed):
            failures.append(own)
        raise BaseExceptionGroup(f"graph {core.title} failed", failures) from None

    async def _wait_started(self, core: EngineCore | CoreLink, start_timeout: float | None) -> None:
        seconds = self.limits.start_timeout if start_timeout is None else start_timeout
        with trio.move_on_after(seconds) as scope:
            await core.wait_started()
        if scope.cancelled_caught:
            late = core.late_starters
            logger.warning("%s", await explain_from_outside(core))
            raise StartTimeout(f"graph {core.title} did not start in {seconds:g} s: {late}")
        if core.failures:
            # The failures come out of the block; this only keeps it from being entered.
            await trio.sleep_forever()

    def _new_engine(
        self,
        graph: GraphSource,
        *,
        grace: float | None = None,
        graph_id: str | None = None,
        sync_stop: bool = False,
        on_failure: Any = None,
        starter: Loc | None = None,
        redirects: Mapping[str, str] | None = None,
        own_loop: bool | None = None,
        long_running: bool | None = None,
    ) -> EngineCore | CoreLink:
        if self._close_wanted.is_set():
            raise EngineClosed(f"the app is closing: {self.close_reason}")
        definition, name = self._definition(graph)
        if isinstance(graph, str):
            sync_stop = sync_stop or self.predefined(graph).sync_stop_before_deinit
        flat = self._compiled.flat(definition)
        if sync_stop and len(flat.apps) > 1:
            message = "works in one app only, and this graph spans several"
            raise GraphError([Problem("sync_stop_before_deinit", message)])
        options: Any = {
            "grace": grace,
            "graph_id": graph_id or str(uuid4()),
            "name": name,
            "sync_stop_before_deinit": sync_stop,
            "on_failure": on_failure,
            "redirects": redirects,
            "starter": starter,
            "long_running": (
                self.property.long_running_mode if long_running is None else long_running
            ),
        }
        core: EngineCore | CoreLink
        if self.property.one_event_loop_per_engine if own_loop is None else own_loop:
            core = CoreLink(self, flat, **options)
        else:
            core = EngineCore(self, flat, loop=self.loop, limits=self.limits, **options)
            core.host = Outside(core)
        self.engines[core.graph_id] = core
        self._had_graphs = True
        if self.on_engine is not None:
            self.on_engine(core)
        return core

    def _definition(self, graph: GraphSource) -> tuple[Graph, str]:
        if isinstance(graph, Graph):
            return graph, ""
        if isinstance(graph, str):
            predefined = self.predefined(graph)
            return predefined.graph, predefined.name
        if isinstance(graph, Path):
            return load_graph_file(graph, strict_names=False), graph.stem
        return Graph.from_json(graph), ""

    async def start_graph(
        self, graph: GraphSource, *, sync_stop_before_deinit: bool = False
    ) -> Engine:
        """Start a graph that lives until it is stopped or the app closes.

        Returns when its extensions exist.  If it fails later it is closed, logged and reported
        (`reports`); the app lives on.  Raises `GraphError`, or the failure in an `ExceptionGroup`.
        """
        core = self._new_engine(graph, sync_stop=sync_stop_before_deinit)
        return await self._handed_over(core)

    async def start_predefined(self, name: str) -> Engine:
        """Start a predefined graph as `auto_start` does: a singleton answers to its name from then on.

        Returns and raises as `start_graph` does.
        """
        core = self._new_engine(name)
        if self.predefined(name).singleton:
            self._singletons.setdefault(name, core)
        return await self._handed_over(core)

    async def _handed_over(self, core: EngineCore | CoreLink) -> Engine:
        core.hold(self)  # it may have ended before anybody has it
        try:
            await self._run_unattended(core)
            return _handle(core)
        finally:
            core.let_go(self)

    async def _run_unattended(self, core: EngineCore | CoreLink) -> None:
        core.is_unattended = True
        self._nursery.start_soon(core.run)
        await core.created.wait()
        if not core.is_created:
            await core.closed.wait()
            if core.failures:
                raise BaseExceptionGroup(f"graph {core.title} failed", list(core.failures))
            raise EngineClosed(f"graph {core.title} was closed before it was created")

    async def explain(self, graph: str = "") -> tuple[Explanation, ...]:
        """Who waits for what, in every running graph, or in those of this id or name.

        Raises `GraphError` if there is none of that name.
        """
        return await self._of_each(explain_from_outside, graph)

    def _running(self, graph: str) -> list[EngineCore | CoreLink]:
        """Every running graph, or those of this id or name. Raises `GraphError` if there is none."""
        graph_id = self.graph_id_of(graph)
        wanted = [
            core
            for core in self.engines.values()
            if not graph or core.graph_id == graph_id or core.graph_name == graph
        ]
        if graph and not wanted:
            raise GraphError([Problem("graph_id", "Graph not found.", graph)])
        return wanted

    async def stats(self, graph: str = "") -> tuple[Stats, ...]:
        """One look at every running graph, or at those of this id or name; see `Engine.stats`.

        Raises `GraphError` if there is none of that name.
        """
        return await self._of_each(look_from_outside, graph)

    async def _of_each(
        self, look: Callable[[EngineCore | CoreLink], Awaitable[T]], graph: str
    ) -> tuple[T, ...]:
        """What `look` sees of each running graph that is meant, in order."""
        wanted = self._running(graph)
        found: dict[str, T] = {}

        async def look_at(core: EngineCore | CoreLink) -> None:
            found[core.graph_id] = await look(core)

        # Each that doesn't answer takes its time.
        async with trio.open_nursery() as nursery:
            for core in wanted:
                nursery.start_soon(look_at, core)
        return tuple(found[core.graph_id] for core in wanted)

    @asynccontextmanager
    async def tap(
        self,
        graph: str = "",
        *,
        kind: str | Iterable[str] = (),
        name: str | Iterable[str] = (),
        extension: str | Iterable[str] = (),
        capacity: int | None = None,
    ) -> AsyncGenerator[Tap, None]:
        """`Engine.tap` on every graph that runs now, or on those of this id or name.

        It ends with the last of them.  Raises `GraphError` if there is none of that name.
        """
        most = self.limits.host_queue if capacity is None else capacity
        wanted = Wanted.of(kind, name, extension)
        async with tapping(self._running(graph), wanted, most) as tap:
            yield tap

    async def stop_graph(self, graph_id: str) -> ShutdownReport:
        """Close a running graph in order; its report. Raises `GraphError` for an unknown id."""
        core = self.engines.get(self.graph_id_of(graph_id))
        if core is None:
            raise GraphError(
                [Problem("graph_id", "Failed to find the engine to be shut down.", graph_id)]
            )
        core.request_close("stop_graph")
        await core.closed.wait()
        assert core.report is not None
        return core.report

    def engine_closed(self, core: EngineCore | CoreLink) -> None:
        """One of the engines is at its end."""
        self.engines.pop(core.graph_id, None)
        if self._singletons.get(core.graph_name) is core:
            del self._singletons[core.graph_name]
        if core.is_unattended and core.report is not None:
            self.reports = [*self.reports[-99:], core.report]
        if core.failures and core.starter is not None and self.is_here(core.starter.app_uri or ""):
            self.forward_data(core.starter, failure_data(core.graph_id, core.failures), core)
        ended, self._graph_ended = self._graph_ended, trio.Event()
        ended.set()

    # Commands from inside ---------------------------------------------------------------------

    def take_cmd(self, cmd: Cmd, path: Any, engine: EngineCore | CoreLink | None) -> None:
        """start_graph, stop_graph or close_app from one of the graphs, or (None) from outside."""
        carry_out(self, cmd, path, engine)

    def graph_for(self, cmd: StartGraph, graph_id: str | None = None) -> EngineCore | CoreLink:
        """The engine that a start_graph command asks for, not running yet. Raises what is wrong."""
        source: GraphSource
        if cmd.predefined_graph_name:
            source = cmd.predefined_graph_name
        elif cmd.graph is not None:
            source = cmd.graph
        else:
            source = Graph.from_json(cmd.graph_json or "{}")
        starter = cmd._src
        if starter.extension_name == GRAPH_PROXY:
            starter = Loc(starter.app_uri, starter.graph_id, HOST)
        return self._new_engine(
            source,
            sync_stop=cmd.sync_stop_before_deinit,
            starter=starter,
            graph_id=graph_id,
            long_running=cmd.long_running_mode,
        )

    def run_in_background(self, core: EngineCore | CoreLink) -> None:
        """Run an engine that `graph_for` has made; nobody waits for it."""
        core.is_unattended = True
        self._spawn(core.run)
        self._tell_of(core)

    def _tell_of(self, core: EngineCore | CoreLink) -> None:
        if self.on_graph is not None:
            core.hold(core)  # it may end before anybody has been told
            self._spawn(self._tell_when_created, core)

    async def _tell_when_created(self, core: EngineCore | CoreLink) -> None:
        try:
            await core.created.wait()
            if core.is_created and self.on_graph is not None:
                self.on_graph(_handle(core))
        finally:
            core.let_go(core)

    # Between graphs ---------------------------------------------------------------------------

    def graph_id_of(self, name: str) -> str:
        """The id that a destination's graph part means: a singleton's name stands for its graph."""
        if name in self.engines:
            return name
        core = self._singletons.get(name)
        return name if core is None else core.graph_id

    def _graph_for(self, name: str) -> EngineCore | CoreLink | None:
        core = self.engines.get(name) or self.engines.get(self.graph_id_of(name))
        if core is not None:
            return core
        singleton = next(
            (g for g in self.property.predefined_graphs if g.name == name and g.singleton), None
        )
        if singleton is None or self._close_wanted.is_set():
            return None
        try:
            core = self._context.copy().run(self._new_engine, name)
        except Exception as error:  # noqa: BLE001 - whatever it is, the command has to end
            logger.error("singleton graph %r can't be started: %s", name, error)
            return None
        core.is_unattended = True
        self._singletons[name] = core
        self._spawn(core.run)
        self._tell_of(core)
        return core

    def forward_cmd(self, dest: Loc, cmd: Cmd, path: Any, sender: EngineCore | CoreLink) -> None:
        """A command from one graph for another one of this app."""
        core = self._graph_for(dest.graph_id or "")
        if core is None:
            path.answer(StatusCode.ERROR, "Graph not found.")
        elif core.closing:
            path.answer(StatusCode.ERROR, core.closed_detail())
        else:
            if cmd._turn is not None:
                reach(cmd._turn, core)
            core.when_created(lambda: core.admit_cmd(dest.extension_name, cmd, path))

    def forward_data(self, dest: Loc, msg: Msg, sender: EngineCore | CoreLink) -> str | None:
        """Data from one graph for another one; why it was dropped, if it was."""
        core = self._graph_for(dest.graph_id or "")
        if core is None or core.closing:
            return "graph not found"
        if msg._turn is not None:
            reach(msg._turn, core)
        core.await_data(dest.extension_name, msg)
        return None

    # Closing ----------------------------------------------------------------------------------

    def request_close(self, reason: str = "asked to") -> None:
        """Begin the orderly close of every graph; returns at once. Idempotent."""
        if self._close_wanted.is_set():
            return
        self.close_reason = reason
        self._close_deadline = trio.current_time() + self.limits.grace
        self._close_wanted.set()
        if self.network is not None:
            self.network.begin_close()
        for core in tuple(self.engines.values()):
            core.request_close(f"the app closes: {reason}", self.limits.grace)

    def _time_left(self) -> float | None:
        """Seconds until the app's own deadline; None before its close."""
        if not self._close_wanted.is_set():
            return None
        return self._close_deadline - trio.current_time()

    def cancel(self, reason: str) -> None:
        """Let no grace run any longer: cancel what is still there."""
        self.request_close(reason)
        for core in tuple(self.engines.values()):
            core.hasten()

    async def wait_closed(self) -> None:
        """Until the app was asked to close, or, unless it is long-running, its last graph ended.

        An app that listens waits for its first graph.
        """
        while not self._close_wanted.is_set():
            listening = self.network is not None and self.network.is_listening
            waits = self.property.long_running_mode or (listening and not self._had_graphs)
            if not self.engines and not waits:
                return
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_cancel_when, self._close_wanted, scope)
                    nursery.start_soon(_cancel_when, self._graph_ended, scope)

    async def _start(self, auto_start: bool) -> None:
        if self.property.addon.preload_all:
            self.addons.load_all(self.base_dir)
        for predefined in self.property.predefined_graphs:
            if predefined.auto_start and auto_start:
                await self.start_predefined(predefined.name)

    async def _close(self) -> None:
        self.request_close("its block is left")
        for core in tuple(self.engines.values()):
            await core.closed.wait()
        if self.network is not None:
            with trio.CancelScope(deadline=self._close_deadline + self.limits.cleanup):
                await self.network.close()
        self.addons.close()


def _handle(core: EngineCore | CoreLink) -> Engine:
    return OwnLoopEngine(core) if isinstance(core, CoreLink) else Engine(core)


def failure_data(graph_id: str, failures: Sequence[BaseException]) -> Data:
    """What whoever started a graph is told when it fails."""
    detail = "; ".join(str(failure) for failure in failures)
    return Data("ten:graph_failed", {"graph_id": graph_id, "detail": detail})


async def _cancel_when(event: trio.Event, scope: trio.CancelScope) -> None:
    await event.wait()
    scope.cancel("one of two events")


@asynccontextmanager
async def open_app(
    source: str | Path | Mapping[str, Any] | AppProperty | None = None,
    *,
    uri: str | None = None,
    auto_start: bool = True,
    limits: Limits | None = None,
    grace: float | None = None,
    network: Callable[[App, trio.Nursery], AppBoundary] | None = None,
) -> AsyncGenerator[App, None]:
    """Run an app for the length of a block; leaving the block closes every graph in order.

    `source`: an app folder, a property.json, its parsed content or what was made of that; None for an
    app without properties.  Its `${env:...}` are replaced.  Graphs with `auto_start` are running when
    the block is entered (`auto_start=False` leaves that to `App.start_predefined`).  All graphs have
    `grace` seconds together to close; a sole exception of the block's own body comes out as it is.

    `network` makes what connects it with the outside, if anything is to.

    Raises `GraphError`, `ConfigError`, and what starting the graphs raises.
    """
    settings = settings_of(source)
    if uri is not None:
        settings = attrs.evolve(settings, uri=uri)
    limits = limits or Limits()
    if grace is not None:
        limits = attrs.evolve(limits, grace=grace)
    own: BaseException | None = None
    try:
        async with trio.open_nursery() as nursery:
            app = App(nursery, settings, settings.base_dir, limits)
            with watching(app.loop, limits.watchdog):
                try:
                    if network is not None:
                        app.network = network(app, nursery)
                        await app.network.open()
                    await app._start(auto_start)
                    yield app
                except (Exception, KeyboardInterrupt, SystemExit) as error:  # noqa: BLE001 - raised below
                    # Kept from the nursery, which would wrap it. Nothing else may be: not a Cancelled.
                    own = error
                finally:
                    # Bounded: every engine ends by the app's one deadline.
                    with trio.CancelScope(shield=True):
                        await app._close()
    except BaseExceptionGroup as group:
        if own is None:
            raise
        raise BaseExceptionGroup("the app and its block", [own, *group.exceptions]) from None
    if own is not None:
        raise own


def settings_of(source: str | Path | Mapping[str, Any] | AppProperty | None) -> AppProperty:
    """The settings that `open_app` takes from its `source`."""
    if source is None:
        return AppProperty()
    if isinstance(source, AppProperty):
        return source
    if isinstance(source, Mapping):
        return AppProperty.from_json(source, environ=os.environ)
    return load_app_property(source, environ=os.environ)
