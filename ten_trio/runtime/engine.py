"""The engine: one running graph. Its tasks, its routes, its failures and its close."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import attrs
import trio

from ..errors import (
    AddonNotFound,
    ConfigError,
    ConnectFailed,
    EngineClosed,
    GraphError,
    Problem,
    TenError,
)
from ..graphs import Edge, FlatGraph, FlatNode, RouteManager
from ..messages import Loc
from . import arrivals
from .boundary import boundary_of
from .closing import Closing
from .current import NOTHING, current
from .directory import HOST, Directory
from .dissolving import Held, dissolve
from .endpoint import Endpoint, Hop
from .flag import Flag
from .flow import Flows
from .instance import Instance
from .lanes import Group
from .lifecycle import Life
from .metadata import Metadata
from .overruns import Overruns
from .paths import Expiry
from .report import ShutdownReport, report_of
from .routing import compile_routes
from .settings import Settings
from .supervision import blame
from .turns import Turn, TurnReport, Turns

if TYPE_CHECKING:
    from ..messages import Cmd, Msg, TriggerLifeCycle
    from .app import App
    from .boundary import EngineBoundary
    from .extension import Extension
    from .host import Outside
    from .limits import Limits
    from .looks import Looks
    from .loops import Loop
    from .tap import Taps

logger = logging.getLogger("ten_trio.runtime")

T = TypeVar("T")


class EngineCore(Held):
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
        starter: Loc | None = None,
        long_running: bool = False,
        redirects: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        self.app = app
        self.graph = graph
        self.limits = limits
        self.graph_id = graph_id or str(uuid4())
        self.graph_name = name
        self.grace = limits.grace if grace is None else grace
        self.loc = Loc(app.uri, self.graph_id, None)
        self.loop = loop
        self._routes: RouteManager | None = None
        self.instances: dict[str, Instance] = {}
        self.lives: dict[str, Life] = {}
        self.groups: dict[str, Group] = {}
        self.removed: set[str] = set()
        self._context = copy_context()
        # Whoever opens it may be handling a message: that is nothing that its tasks inherit.
        self._context.run(current.set, NOTHING)
        self.expiry = Expiry(self.start_soon)
        self.expiry.on_overrun = Overruns(self).tell
        self._thread_limiter: trio.CapacityLimiter | None = None
        self.threads: dict[object, str] = {}
        self.failures: list[BaseException] = []
        self.is_unattended = False
        """Whether no block waits for it, so that somebody else has to tell how it ended."""
        self.closing = False
        self.close_reason = ""
        self.opened = Flag()
        """Whether it has tasks: set as soon as `run` has begun."""
        self.created = Flag()
        self.is_created = False
        """Whether all its extensions could be made."""
        self.closed = Flag()
        self._report: ShutdownReport | None = None
        self._turns: Turns | None = None
        self.measures = False
        """Whether some turn has a budget, so that handlers start through a clock."""
        self.taps: Taps | None = None
        """Who looks on, if anybody does."""
        self.looks: Looks | None = None
        """What was seen so far by whoever has asked how it is."""
        self.failed: dict[str, tuple[int, str, float]] = {}
        """By extension: how often it has failed, how last, and when."""
        self.nursery: trio.Nursery
        self.directory = Directory(self)
        self.outsides: list[Outside] = []
        self.host: Outside
        self.redirects = redirects or {}
        self._sync_stop = sync_stop_before_deinit
        self._on_failure = on_failure
        self.starter = starter
        """Who started this graph, if not the host: an extension of another graph, an app, or a client.
        What is exposed goes there."""
        self.long_running = long_running
        """Whether it goes on without the app or the client that it has lost."""
        self.flows = Flows(self)
        """The edges that have a flow policy."""
        self.inward: dict[tuple[str, str, str, str, str], Hop] = {}
        """The edges of other apps' extensions that convert or have a flow policy: by app, extension,
        kind, name, dest."""
        self.boundary: EngineBoundary = boundary_of(app, self)
        self.on_closing: Callable[[], object] | None = None
        self.close_duration: float | None = None
        self._closing = Closing(self)
        self._creation = trio.CancelScope()
        self._retired: list[Group] = []
        self._all_started = Flag()
        self._all_stopped = Flag()
        self._early: list[Callable[[], object]] = []

    @property
    def core_or_none(self) -> EngineCore:
        """Itself: there is no other side to it."""
        return self

    @property
    def state(self) -> str:
        """How far it is, for whoever looks on: starting, running, or closing and why."""
        if self.closing:
            return f"closing ({self.close_reason})"
        return "running" if self.created.is_set() and not self.late_starters else "starting"

    @property
    def turns(self) -> Turns:
        """The turns of this graph; made when the first is needed."""
        if self._turns is None:
            self._turns = Turns(self)
        return self._turns

    async def cancel_turn(self, turn: Turn | str, reason: str) -> TurnReport | None:
        """See `TenEnv.cancel_turn`."""
        if isinstance(turn, str):
            found = self.turns.find(turn)
            if found is None:
                await trio.lowlevel.checkpoint()
                return None
            turn = found
        return await self.turns.cancel(turn, reason)

    @property
    def thread_limiter(self) -> trio.CapacityLimiter:
        """How many threads its extensions may use; made when the first is needed."""
        if self._thread_limiter is None:
            self._thread_limiter = trio.CapacityLimiter(40)
        return self._thread_limiter

    def endpoints(self) -> Iterable[Endpoint]:
        """Everything that sends commands here."""
        return (*self.instances.values(), *self.outsides, *self.boundary.peers())

    @property
    def title(self) -> str:
        """Its name if it has one, else its id."""
        return self.graph_name or self.graph_id

    def start_soon(self, async_fn: Callable[..., Any], *args: Any) -> None:
        """A task of the runtime: in a clean context, and until the engine is closed."""
        self._context.run(self.nursery.start_soon, async_fn, *args)

    # The task ---------------------------------------------------------------------------------

    async def run(self) -> None:
        """Create the extensions, run until asked to close, close."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.cancel_scope.shield = True
                self.nursery = nursery
                self.opened.set()
                try:
                    await self._create()
                    await self._closing.wanted.wait()
                finally:
                    # Also when what must go on rising (KeyboardInterrupt) has left a task here: the
                    # others are shielded, and somebody has to end them.
                    await self._close()
                if nursery.child_tasks:
                    nursery.cancel_scope.cancel("the graph is closed")
        finally:
            self.opened.set()
            self.created.set()
            self._all_started.set()
            self.closed.set()
            if self.taps is not None:
                self.taps.end()
            self.app.engine_closed(self)
            self.over()

    async def _create(self) -> None:
        """Every extension of the graph, also after one has failed; then all begin to live."""
        failures: list[Exception] = []
        with self._creation:
            try:
                await self.boundary.join()
            except TenError as error:
                self.fail(error)
                self._creation.cancel("the graph can't be started in all of its apps")
                await trio.lowlevel.checkpoint()
            for node in self.local_nodes:
                try:
                    self.place(node, *await self.make(node))
                except Exception as error:  # noqa: BLE001 - addons are user code; Cancelled isn't one
                    blame(error, f"while {node.name!r} was created", self)
                    failures.append(error)
        for failure in failures:
            self.fail(failure)
        compile_routes(self)
        for life in self.lives.values():
            life.go_on()
        self.is_created = len(self.instances) == len(self.local_nodes)
        self.created.set()
        self.life_ready()
        early, self._early = self._early, []
        for action in early:
            action()

    @property
    def local_nodes(self) -> tuple[FlatNode, ...]:
        """The extensions of this app."""
        is_here = self.app.is_here
        return tuple(node for node in self.graph.nodes if not node.app or is_here(node.app))

    def place(
        self, node: FlatNode, extension: Extension, settings: Settings, metadata: Metadata
    ) -> Life:
        group = self.groups.get(node.group)
        if group is None:
            group = self.groups[node.group] = Group(node.group, self.nursery, self.limits)
        instance = self._context.run(Instance, self, node.name, group, extension, settings)
        self.instances[node.name] = instance
        self.removed.discard(node.name)
        life = self.lives[node.name] = Life(instance, node, metadata)
        return life

    async def make(self, node: FlatNode) -> tuple[Extension, Settings, Metadata]:
        addon = self.app.addons.find(node.addon, self.app.base_dir)
        extension = await addon.create(node.name)
        try:
            settings = Settings.of(extension, node.settings)
        except (TypeError, ValueError) as error:
            raise GraphError([Problem(f"nodes[{node.name}].settings", str(error))]) from error
        return extension, settings, self.app.metadata.of(addon.base_dir)

    async def rebuild(self, instance: Instance) -> tuple[Extension, Settings]:
        """A new extension for a restart."""
        node = next(node for node in self.graph.nodes if node.name == instance.name)
        extension, settings, _ = await self.make(node)
        return extension, settings

    @property
    def routes(self) -> RouteManager:
        """The edges, to be changed; made when they first are, since most graphs stay as they are."""
        if self._routes is None:
            self._routes = RouteManager(self.graph.edges, app=self.app.uri)
        return self._routes

    @property
    def edges(self) -> tuple[Edge, ...]:
        """The edges as they are now."""
        return self.graph.edges if self._routes is None else self._routes.edges

    # Starting ---------------------------------------------------------------------------------

    def tell_starter(self, msg: Msg) -> str | None:
        """Data for whoever started this graph; why it was dropped, if it was."""
        dest = self._starter_place()
        if self.app.is_here(dest.app_uri or ""):
            return self.app.forward_data(dest, msg, self)
        msg._line = line = self.boundary.receiver(dest).data_line
        if line.count >= line.hard and not line.owner.make_room(line):
            return "overflow"
        line.count += 1
        line.entry.put(msg)
        return None

    def ask_starter(self, cmd: Cmd, path: Any) -> None:
        """A command for whoever started this graph."""
        dest = self._starter_place()
        if self.app.is_here(dest.app_uri or ""):
            self.app.forward_cmd(dest, cmd, path, self)
        else:
            self.boundary.receiver(dest).take_cmd(cmd, path, None)

    def _starter_place(self) -> Loc:
        starter = self.starter
        assert starter is not None
        if starter.graph_id == self.graph_id and starter.extension_name is None:
            # Another app's part of this very graph: its host, or whoever started that.
            return Loc(starter.app_uri, starter.graph_id, HOST)
        return starter

    def life_ready(self) -> None:
        """An extension has come back from `on_start`, or waits to be triggered, or is over."""
        if self._all_started.is_set() or not self.created.is_set():
            return
        if all(life.ready.is_set() for life in self.lives.values()):
            self._all_started.set()

    async def wait_started(self) -> None:
        """Until every extension without a manual trigger has started, or the graph closes."""
        await self._all_started.wait()

    @property
    def late_starters(self) -> dict[str, str]:
        """The extensions that haven't started, and the stage that each is in."""
        return {n: life.stage for n, life in self.lives.items() if not life.ready.is_set()}

    # Failures ---------------------------------------------------------------------------------

    def fail(self, error: BaseException) -> None:
        """The graph can't go on: keep the error, begin to close."""
        self.failures.append(error)
        # What ten_trio itself finds wrong with a graph is told by its message: no line of its own
        # code would help.  And where a block is open, the error itself comes out of it.
        ours = AddonNotFound | ConfigError | ConnectFailed | GraphError
        if isinstance(error, ours) or not self.is_unattended:
            what = f"{type(error).__name__}: {error}"
            told = "; ".join([what, *getattr(error, "__notes__", ())])
            logger.error("graph %s fails: %s", self.title, told)
        else:
            logger.error("graph %s fails: %s", self.title, error, exc_info=error)
        self.request_close(f"failed: {type(error).__name__}")
        if self._on_failure is not None:
            self._on_failure()

    def extension_failed(self, instance: Instance, failure: Exception) -> None:
        """Apply the extension's error policy."""
        times = self.failed.get(instance.name, (0, "", 0.0))[0] + 1
        self.failed[instance.name] = (
            times, f"{type(failure).__name__}: {failure}", self.loop.now()
        )  # fmt: skip
        policy = instance.settings.on_error
        if policy == "isolate" or (policy == "restart" and self.closing):
            logger.error("%s: %s", instance.loc, failure, exc_info=failure)
        elif policy == "restart":
            logger.error("%s: %s", instance.loc, failure, exc_info=failure)
            if not instance.life.restart():
                failure.add_note(f"restarted {self.limits.restarts} times already: the graph stops")
                self.fail(failure)
        else:
            self.fail(failure)

    # Messages from other graphs ---------------------------------------------------------------

    @property
    def takes_now(self) -> bool:
        """Whether `when_created` would do it at once: for those to whom that is called too often."""
        return self.created.is_set() and not self._early

    def when_created(self, action: Callable[[], object]) -> None:
        """Do it now, or as soon as the extensions exist; in the order of the calls."""
        if self.takes_now:
            action()
        else:
            self._early.append(action)

    admit_cmd = arrivals.admit_cmd
    admit_data = arrivals.admit_data
    await_data = arrivals.await_data

    # Changing a running graph -----------------------------------------------------------------

    def forget(self, life: Life) -> None:
        """An extension that was taken away has ended."""
        instance = life.instance
        self.routes.remove_extension(instance.name)
        del self.instances[instance.name], self.lives[instance.name]
        nodes = tuple(node for node in self.graph.nodes if node.name != instance.name)
        self.graph = attrs.evolve(self.graph, nodes=nodes)
        compile_routes(self)
        if not any(other.group is instance.group for other in self.instances.values()):
            instance.group.close()
            del self.groups[instance.group.name]
            self._retired = [group for group in self._retired if not group.gone.is_set()]
            self._retired.append(instance.group)

    def change_edges(self, change: Callable[[], object]) -> None:
        """Apply a change to the route manager and compile. All or nothing."""
        self.check_open()
        change()
        compile_routes(self)

    def trigger(self, instance: Instance, cmd: TriggerLifeCycle) -> None:
        """A `trigger_life_cycle` command for one extension."""
        instance.life.trigger(cmd)

    def _take_apart(self) -> None:
        dissolve(self)

    @property
    def report(self) -> ShutdownReport | None:
        """How it ended; None while it runs. Made when somebody asks."""
        self.keep_report()
        return self._report

    def keep_report(self) -> None:
        """Make the report now: what it is made of won't be there any more."""
        if self._report is None and self.close_duration is not None:
            self._report = report_of(self)

    def forget_all(self) -> None:
        """The last step of its end: let go of the parts that refer back to it."""
        del self.directory, self.flows, self.host, self.expiry
        self._routes = self._turns = self._on_failure = self.on_closing = None
        self._retired, self._early = [], []
        self._closing.forget()

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
        if not self.closing:
            self.closing = True
            self.close_reason = reason
            self._closing.begin(self.grace)
            if not self.created.is_set():
                self._creation.cancel("the graph closes")
            self.boundary.begin_close()
            logger.debug("graph %s closes: %s", self.title, reason)
            if self.on_closing is not None:
                self.on_closing()
        if within is not None:
            self._closing.hurry(within)

    def hasten(self) -> None:
        """Let the grace run out now."""
        self._closing.hurry(0)

    @property
    def exhausted(self) -> bool:
        """Whether the grace has run out."""
        return self._closing.exhausted

    @property
    def slow(self) -> dict[str, str]:
        """The extensions that weren't closed within the grace, and where each was."""
        return self._closing.slow

    def all_groups(self) -> tuple[Group, ...]:
        """The groups that have tasks."""
        return (*self.groups.values(), *self._retired)

    def life_stopped(self) -> Flag | None:
        """An extension is back from `on_stop`; what it has to wait for now, if anything."""
        if not (self.closing and self._sync_stop):
            return None
        if all(life.stopped for life in self.lives.values()):
            self._all_stopped.set()
        return self._all_stopped

    def open_barrier(self) -> None:
        """Nobody waits for the others' `on_stop` any more."""
        self._all_stopped.set()

    def life_ended(self, life: Life) -> None:
        """An extension is at its end."""
        self.life_ready()
        if self.closing:
            self.life_stopped()
        elif life.instance.name in self.removed:
            self.forget(life)

    async def _close(self) -> None:
        self.request_close("cancelled from inside")
        await self._closing.run()
        self.close_duration = trio.current_time() - self._closing.began
        level = logging.WARNING if self.exhausted else logging.DEBUG
        if logger.isEnabledFor(level):
            logger.log(level, "%s", self.report)

    def as_thread(
        self, name: str, sync_fn: Callable[..., T], args: tuple[Any, ...]
    ) -> Callable[[], T]:
        """`sync_fn(*args)` for a worker thread, which is listed in `threads` as long as it runs."""

        def run() -> T:
            key = object()
            self.threads[key] = f"{name}: {getattr(sync_fn, '__qualname__', sync_fn)}"
            try:
                return sync_fn(*args)
            finally:
                del self.threads[key]

        return run
