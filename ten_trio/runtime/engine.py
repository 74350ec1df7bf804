"""The engine: one running graph. Its tasks, its routes, its failures and its close."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import attrs
import trio

from ..errors import EngineClosed, GraphError, Problem
from ..graphs import Edge, FlatGraph, FlatNode, RouteManager
from ..messages import Loc, StatusCode
from .directory import GRAPH_PROXY, NOT_FOUND, Directory
from .endpoint import Endpoint, Hop, Routes
from .instance import Instance, Settings
from .lanes import Group
from .lifecycle import Life, slow_line
from .metadata import Metadata
from .paths import Expiry
from .report import ExtensionReport, ShutdownReport
from .supervision import blame

if TYPE_CHECKING:
    from ..messages import Cmd, Msg, TriggerLifeCycle
    from .app import App
    from .extension import Extension
    from .host import Outside
    from .limits import Limits
    from .loops import Loop

logger = logging.getLogger("ten_trio.runtime")

UNSPECIFIED_GROUP = "ten:unspecified_group"


class EngineCore:
    """Runs one graph in the current Trio run. `run` is its task; everything else is called by it,
    by its extensions, or by whoever opened it, always in the same loop."""

    def __init__(
        self,
        app: App,
        graph: FlatGraph,
        *,
        loop: Loop,
        limits: Limits,
        graph_id: str | None = None,
        name: str = "",
        grace: float | None = None,
        sync_stop_before_deinit: bool = False,
        on_failure: Callable[[], object] | None = None,
        redirects: Mapping[str, str] | None = None,
    ) -> None:
        self.app = app
        self.graph = graph
        self.limits = limits
        self.graph_id = graph_id or str(uuid4())
        self.graph_name = name
        self.grace = limits.grace if grace is None else grace
        self.loc = Loc(app.uri, self.graph_id, None)
        self.loop = loop
        self.routes = RouteManager(graph.edges, app=app.uri)
        self.instances: dict[str, Instance] = {}
        self.lives: dict[str, Life] = {}
        self.groups: dict[str, Group] = {}
        self.removed: set[str] = set()
        self._context = copy_context()
        self.expiry = Expiry(self.start_soon)
        self.thread_limiter = trio.CapacityLimiter(40)
        self.threads: dict[object, str] = {}
        self.failures: list[BaseException] = []
        self.isolated = 0
        self.closing = False
        self.close_reason = ""
        self.close_deadline = float("inf")
        self.created = trio.Event()
        self.closed = trio.Event()
        self.report: ShutdownReport | None = None
        self.nursery: trio.Nursery
        self.directory = Directory(self)
        self.outsides: list[Outside] = []
        self.host: Outside
        self._redirects = redirects or {}
        self._sync_stop = sync_stop_before_deinit
        self._on_failure = on_failure
        self.on_closing: Callable[[], object] | None = None
        self._close_wanted = trio.Event()
        self._close_began = 0.0
        self._close_scope = trio.CancelScope()
        self._all_started = trio.Event()
        self._all_stopped = trio.Event()
        self._all_ended = trio.Event()
        self._early: list[Callable[[], object]] = []
        self._stopped = 0
        self._exhausted = False
        self._slow: dict[str, str] = {}

    @property
    def title(self) -> str:
        """Its name if it has one, else its id."""
        return self.graph_name or self.graph_id

    def start_soon(self, async_fn: Callable[..., Any], *args: Any) -> None:
        """A task of the runtime: in a clean context, and until the engine is closed."""
        self._context.copy().run(partial(self.nursery.start_soon, async_fn, *args))

    # The task ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Create the extensions, run until asked to close, close."""
        try:
            with trio.CancelScope(shield=True):
                async with trio.open_nursery() as nursery:
                    self.nursery = nursery
                    await self._create()
                    self.created.set()
                    early, self._early = self._early, []
                    for action in early:
                        action()
                    await self._close_wanted.wait()
                    await self._close()
                    nursery.cancel_scope.cancel("the graph is closed")
        finally:
            self.created.set()
            self._all_started.set()
            self.closed.set()
            self.app.engine_closed(self)

    async def _create(self) -> None:
        """Every extension of the graph, also after one has failed; then all begin to live."""
        for node in self.graph.nodes:
            try:
                await self._build(node)
            except Exception as error:  # noqa: BLE001 - addons are user code; Cancelled isn't an Exception
                blame(error, f"while {node.name!r} was created", self)
                self.fail(error)
        self.compile_routes()
        for life in self.lives.values():
            self.start_soon(life.run)
        self.started_one()

    async def _build(self, node: FlatNode) -> Life:
        extension, settings, metadata = await self._make(node)
        group_name = node.group or UNSPECIFIED_GROUP
        group = self.groups.get(group_name)
        if group is None:
            group = self.groups[group_name] = Group(group_name, self.nursery, self.limits)
        instance = Instance(self, node.name, group, extension, settings)
        self.instances[node.name] = instance
        self.removed.discard(node.name)
        life = Life(instance, partial(metadata.load_into, instance, node))
        self.lives[node.name] = life
        return life

    async def _make(self, node: FlatNode) -> tuple[Extension, Settings, Metadata]:
        addon = self.app.addons.find(node.addon, self.app.base_dir)
        extension = await addon.create(node.name)
        try:
            settings = Settings.of(extension, node.settings)
        except (TypeError, ValueError) as error:
            raise GraphError([Problem(f"nodes[{node.name}].settings", str(error))]) from error
        return extension, settings, Metadata(addon.base_dir, self.app)

    async def rebuild(self, instance: Instance) -> tuple[Extension, Settings]:
        """A new extension for a restart."""
        node = next(node for node in self.graph.nodes if node.name == instance.name)
        extension, settings, _ = await self._make(node)
        return extension, settings

    # Starting ---------------------------------------------------------------------------------

    def started_one(self) -> None:
        """An extension has come back from `on_start`, or waits to be triggered."""
        if all(life.started.is_set() or life.awaits_trigger for life in self.lives.values()):
            self._all_started.set()

    async def wait_started(self) -> None:
        """Until every extension without a manual trigger has started, or the graph closes."""
        await self.created.wait()
        await self._all_started.wait()

    @property
    def late_starters(self) -> dict[str, str]:
        """The extensions that haven't started, and the stage that each is in."""
        return {n: life.stage for n, life in self.lives.items() if not life.started.is_set()}

    # Failures ---------------------------------------------------------------------------------

    def fail(self, error: BaseException) -> None:
        """The graph can't go on: keep the error, begin to close."""
        self.failures.append(error)
        logger.error("graph %s fails: %s", self.title, error, exc_info=error)
        self.request_close(f"failed: {type(error).__name__}")
        if self._on_failure is not None:
            self._on_failure()

    def extension_failed(self, instance: Instance, failure: Exception) -> None:
        """Apply the extension's error policy."""
        policy = instance.settings.on_error
        if policy == "isolate" or (policy == "restart" and self.closing):
            self.isolated += 1
            logger.error("%s: %s", instance.loc, failure, exc_info=failure)
        elif policy == "restart":
            logger.error("%s: %s", instance.loc, failure, exc_info=failure)
            if not self.lives[instance.name].restart():
                failure.add_note(f"restarted {self.limits.restarts} times already: the graph stops")
                self.fail(failure)
        else:
            self.fail(failure)

    # Routes -----------------------------------------------------------------------------------

    def compile_routes(self) -> None:
        """Bring every sender's tables up to date with the graph's edges, in place."""
        self.directory.forget()
        for name, endpoint in [*self.instances.items(), ("", self.host)]:
            endpoint.converts = False
            self._compile(name, "cmd", endpoint, endpoint.cmd_routes)
            for kind, routes in endpoint.flow_routes.items():
                self._compile(name, kind, endpoint, routes)
        for name, dest in self._redirects.items():
            if name in self.instances:
                self.instances[name].redirect = (Hop(self.directory.extension(dest)),)

    def _compile(self, source: str, kind: str, endpoint: Endpoint, routes: Routes) -> None:
        hops: dict[str, list[Hop]] = {}
        if source:
            for name, edges in self.routes.table(source, kind).items():
                hops[name] = [self._hop(edge) for edge in edges]
                endpoint.converts |= any(edge.conversion for edge in edges)
        for exposure in self.graph.exposed:
            exposed_kind, _, direction = exposure.type.rpartition("_")
            if exposed_kind != kind:
                continue
            if direction == "out" and exposure.extension == source:
                hops.setdefault(exposure.name, []).append(Hop(self.host))
            elif direction == "in" and endpoint is self.host:
                receiver = self.directory.extension(exposure.extension)
                hops.setdefault(exposure.name, []).append(Hop(receiver))
        routes.clear()
        routes.update({name: tuple(found) for name, found in hops.items()})

    def _hop(self, edge: Edge) -> Hop:
        if edge.dest_app and edge.dest_app != self.app.uri:
            return Hop(self.directory.app(edge.dest_app, edge.dest), edge.conversion)
        return Hop(self.directory.extension(edge.dest), edge.conversion)

    def when_created(self, action: Callable[[], object]) -> None:
        """Do it now, or as soon as the extensions exist; in the order of the calls."""
        if self.created.is_set() and not self._early:
            action()
        else:
            self._early.append(action)

    def admit_cmd(self, extension: str | None, cmd: Cmd, path: Any) -> None:
        """A command from another graph, for one of the extensions or along the exposed messages."""
        if self.closing:
            path.answer(StatusCode.ERROR, self.closed_detail())
            return
        for hop in self._admitted(extension, cmd, self.host.cmd_routes):
            hop.receiver.take_cmd(cmd, path, hop.result_conversion)
            break
        else:
            path.answer(StatusCode.ERROR, NOT_FOUND)

    def admit_data(self, extension: str | None, msg: Msg) -> None:
        """Data or a frame from another graph."""
        for hop in self._admitted(extension, msg, self.host.flow_routes[msg.kind]):
            shell = msg._shell()
            shell._line = line = hop.line
            if line.count >= line.hard and not line.owner.make_room(line):
                continue
            line.count += 1
            line.put(shell)

    def _admitted(self, extension: str | None, msg: Msg, exposed: Routes) -> Sequence[Hop]:
        if extension and extension != GRAPH_PROXY:
            return (Hop(self.directory.extension(extension)),)
        return exposed.get(msg.name, ())

    # Changing a running graph -----------------------------------------------------------------

    async def add_extension(self, node: FlatNode) -> None:
        """Create and start one more extension; all of it or nothing."""
        self.check_open()
        if node.name in self.instances:
            raise GraphError([Problem("nodes", f"the graph already has a node {node.name!r}")])
        life = await self._build(node)
        self.graph = attrs.evolve(self.graph, nodes=(*self.graph.nodes, node))
        self.compile_routes()
        before = len(self.failures)
        self.start_soon(life.run)
        await life.started.wait()
        if life.failed or len(self.failures) > before:
            await self._forget(node.name)
            raise self.failures[-1] if len(self.failures) > before else GraphError(
                [Problem(f"nodes[{node.name}]", "the extension could not be started")]
            )

    async def remove_extension(self, name: str) -> None:
        """Stop one extension in order and take it and its edges out of the graph."""
        self.check_open()
        if name not in self.instances:
            raise GraphError([Problem("nodes", f"the graph has no node {name!r}")])
        await self._forget(name)

    async def _forget(self, name: str) -> None:
        self.routes.remove_extension(name)
        instance, life = self.instances.pop(name), self.lives.pop(name)
        self.removed.add(name)
        nodes = tuple(node for node in self.graph.nodes if node.name != name)
        self.graph = attrs.evolve(self.graph, nodes=nodes)
        self.compile_routes()
        life.stop()
        with trio.move_on_after(self.grace):
            await life.done.wait()
        if not life.done.is_set():
            self._cancel(instance, life, "the grace of its removal ran out")
            await life.done.wait()
        if not self.closing and not any(i.group is instance.group for i in self.instances.values()):
            instance.group.close()
            del self.groups[instance.group.name]

    def change_edges(self, change: Callable[[], object]) -> None:
        """Apply a change to the route manager and compile. All or nothing."""
        self.check_open()
        change()
        self.compile_routes()

    def trigger(self, instance: Instance, cmd: TriggerLifeCycle) -> None:
        """A `trigger_life_cycle` command for one extension."""
        self.lives[instance.name].trigger(cmd)

    # Closing ----------------------------------------------------------------------------------

    def check_open(self) -> None:
        """Raises `EngineClosed` once the close has begun."""
        if self.closing:
            raise EngineClosed(f"graph {self.title} is closed or closing: {self.close_reason}")

    def closed_detail(self) -> str:
        """What commands are answered with that the close has cut off."""
        return f"closing: graph {self.title} ({self.close_reason or 'extension removed'})"

    def request_close(self, reason: str, within: float | None = None) -> None:
        """Begin to close; returns at once. `within`: seconds, if that is less than its own grace."""
        now = trio.current_time()
        if not self.closing:
            self.closing = True
            self.close_reason = reason
            self._close_began = now
            self.close_deadline = now + self.grace
            self._close_wanted.set()
            logger.debug("graph %s closes: %s", self.title, reason)
            if self.on_closing is not None:
                self.on_closing()
        if within is not None:
            self.close_deadline = min(self.close_deadline, now + within)

    def hasten(self) -> None:
        """Let the grace run out now."""
        self.close_deadline = trio.current_time()
        self._close_scope.deadline = self.close_deadline

    async def stopped_one(self) -> None:
        """An extension is back from `on_stop`; waits for all the others if that was asked for."""
        self._stopped += 1
        if self._stopped >= len(self.lives):
            self._all_stopped.set()
        if self._sync_stop and self.closing:
            await self._all_stopped.wait()

    def life_ended(self, life: Life) -> None:
        """An extension's lifecycle task is at its end."""
        self.started_one()
        self._stopped += 1
        if self._stopped >= len(self.lives):
            self._all_stopped.set()
        if all(life.done.is_set() for life in self.lives.values()):
            self._all_ended.set()

    async def _close(self) -> None:
        for life in self.lives.values():
            life.stop()
        if not self.lives:
            self._all_ended.set()
        self.directory.close_timers()
        with trio.CancelScope(deadline=self.close_deadline) as self._close_scope:
            await self._all_ended.wait()
        if not self._all_ended.is_set():
            self._exhausted = True
            self._note_slow()
            for name, life in self.lives.items():
                self._cancel(self.instances[name], life, "the grace of the close ran out")
        for group in self.groups.values():
            group.close()
        with trio.CancelScope(deadline=self.close_deadline):
            await self._workers_gone()
        if self._workers_left() or self._exhausted:
            self._exhausted = True
            self._note_slow()
            for group in self.groups.values():
                group.cancel("the grace of the close ran out")
            with trio.move_on_after(self.limits.cleanup):
                await self._all_ended.wait()
                await self._workers_gone()
            if self._workers_left() or not self._all_ended.is_set():
                self._note_slow()
                logger.error("graph %s can't be ended: %s", self.title, self._slow)
            await self._all_ended.wait()
            await self._workers_gone()
        for outside in self.outsides:
            outside.end(self.closed_detail())
        self.expiry.close()
        self.report = self._make_report()
        level = logging.WARNING if self._exhausted else logging.DEBUG
        logger.log(level, "%s", self.report)

    def _workers_left(self) -> bool:
        return any(group.workers for group in self.groups.values())

    async def _workers_gone(self) -> None:
        for group in self.groups.values():
            await group.gone.wait()

    def _cancel(self, instance: Instance, life: Life, reason: str) -> None:
        life.scope.cancel(reason)
        instance.cancel_handlers(reason)
        instance.env._cancel(reason)

    def _note_slow(self) -> None:
        for name, life in self.lives.items():
            if not life.done.is_set():
                at = "" if life.task is None else slow_line(life.task.iter_await_frames())
                self._slow[name] = f"{life.stage}: {at}"
        for group in self.groups.values():
            for instance in self.instances.values():
                if instance.group is group:
                    for worker, msg in instance.workers.items():
                        at = slow_line(worker.task.iter_await_frames())
                        self._slow[instance.name] = f"handler of {msg!r}: {at}"

    @contextmanager
    def thread_of(self, name: str, sync_fn: object) -> Iterator[None]:
        """Remember that a worker thread runs for an extension."""
        key = object()
        self.threads[key] = f"{name}: {getattr(sync_fn, '__qualname__', sync_fn)}"
        try:
            yield
        finally:
            del self.threads[key]

    def _make_report(self) -> ShutdownReport:
        extensions = {}
        for name, instance in self.instances.items():
            durations = self.lives[name].durations
            dropped = instance.data_line.dropped + instance.cmd_line.dropped
            extensions[name] = ExtensionReport(
                name=name,
                on_stop=durations.get("on_stop"),
                on_deinit=durations.get("on_deinit"),
                answered_with_error=instance.answered_with_error,
                dropped=dict(dropped),
                late_results=instance.late_results,
                overshoots=instance.data_line.overshoots,
                slow=self._slow.get(name, ""),
            )
        return ShutdownReport(
            graph_id=self.graph_id,
            reason=self.close_reason,
            duration=trio.current_time() - self._close_began,
            grace_exhausted=self._exhausted,
            extensions=extensions,
            failures=tuple(self.failures),
            threads=tuple(self.threads.values()),
        )


__all__ = ["UNSPECIFIED_GROUP", "EngineCore"]
