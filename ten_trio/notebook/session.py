"""`open_app` for cells: the app lives in a thread, until it is closed or the kernel is."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import trio

from ..errors import EngineClosed, GraphError, InvalidArgument, Problem, WrongTiming
from ..graphs import Graph
from ..network import open_app as open_ordinary_app
from ..runtime.app import _handle as engine_of
from ..runtime.engine import EngineCore
from . import hooks
from .displays import Reports
from .graph import NotebookGraph
from .recording import Recording
from .steps import Step
from .thread import IDLE, TrioThread, open_thread

if TYPE_CHECKING:
    from ..runtime import App
    from ..runtime.app import GraphSource

logger = logging.getLogger("ten_trio.notebook")

T = TypeVar("T")

EXIT_GRACE: Final = 2.0
"""Seconds that graphs get to close in when the kernel ends: it is killed after a few."""

CLEANUP: Final = 1.0
"""Seconds more for what is cancelled then."""


class NotebookApp:
    """A running app in the hands of cells. Every method blocks until it is done, and can be
    interrupted: that cancels what it waits for, and leaves the app and its graphs running."""

    def __init__(self, thread: TrioThread) -> None:
        self._thread = thread
        self._app: App
        self._graphs: list[NotebookGraph] = []
        self._close_wanted: trio.Event
        self._closed: trio.Event
        self._over = False
        self._told = False

    def __repr__(self) -> str:
        state = "closed" if self._over else "running"
        return f"<ten_trio.notebook.NotebookApp {state}, {len(self.graphs)} graphs>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def app(self) -> App:
        """The ordinary app; for `call`, since it may only be used in its own thread."""
        return self._app

    @property
    def graphs(self) -> tuple[NotebookGraph, ...]:
        """The graphs that are running."""
        return tuple(graph for graph in self._graphs if graph.is_running)

    @property
    def is_closed(self) -> bool:
        """Whether it has ended."""
        return self._over or self._thread.ended.is_set()

    @property
    def error(self) -> BaseException | None:
        """What has ended it, if it wasn't `close`."""
        return self._thread.error

    def call(self, async_fn: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Await `async_fn(*args)` in the app's Trio run: for whatever has no method here.

        Raises what it raises, and `EngineClosed` if the app is closed.
        """
        return self._thread.call(async_fn, *args)

    # Graphs -----------------------------------------------------------------------------------

    def open_graph(
        self,
        graph: GraphSource,
        *,
        own_loop: bool | None = None,
        long_running: bool = False,
        start_timeout: float | None = None,
        grace: float | None = None,
    ) -> NotebookGraph:
        """Run a graph until it is stopped, with the arguments of `App.open_graph`.

        Returns when every extension without a manual trigger has started.  Raises what that raises;
        if the graph fails later, the next cell shows it, and using the graph raises `EngineClosed`.
        """
        opened = NotebookGraph(self._thread, Recording())
        options: dict[str, Any] = {
            "own_loop": own_loop,
            "long_running": long_running,
            "start_timeout": start_timeout,
            "grace": grace,
        }
        self.call(self._open, opened, graph, options)
        return opened

    async def _open(self, opened: NotebookGraph, graph: GraphSource, options: Any) -> None:
        if self._over:
            raise EngineClosed("the notebook's app is closed")
        # Kept by a task of its own: the block has to outlive the cell.
        await self._thread.keep(partial(self._keep, opened, graph, options))

    async def _keep(
        self,
        opened: NotebookGraph,
        graph: GraphSource,
        options: Any,
        *,
        task_status: trio.TaskStatus[None],
    ) -> None:
        # Making the engine is the first thing that entering the block does, in the same step.
        self._app.on_engine = partial(self._watch, opened)
        self._graphs.append(opened)
        try:
            async with self._app.open_graph(graph, **options) as engine:
                opened.begin(engine, _definition(self._app, graph))
                task_status.started()
                await engine.wait_closed()
        except Exception as failure:
            opened.fail(failure)
            if not opened.has_begun:
                raise  # to the cell that wanted it
            logger.debug("graph %s has failed", opened.graph_id, exc_info=failure)
        finally:
            opened.end()
            if not opened.failures:
                self._graphs.remove(opened)

    def graph(self, name: str) -> NotebookGraph:
        """A running graph that something else has started, such as `auto_start`, by name or id.

        What it does is recorded from now on.  Raises `GraphError` if there is none.
        """
        return self.call(self._find, name)

    async def _find(self, name: str) -> NotebookGraph:
        cores = self._app.engines
        core = cores.get(self._app.graph_id_of(name)) or next(
            (each for each in cores.values() if each.graph_name == name), None
        )
        for graph in self.graphs:
            if core is not None and graph.graph_id == core.graph_id:
                return graph
        if core is None:
            known = [each.graph_name or each.graph_id for each in self._app.engines.values()]
            raise GraphError(
                [Problem("graph", f"no graph {name!r} is running; there are: {known}")]
            )
        found = NotebookGraph(self._thread, Recording())
        core.hold(found)  # it may end before it has its handle
        try:
            await core.wait_started()
            await self._thread.keep(partial(self._follow, found, core))
        finally:
            core.let_go(found)
        return found

    async def _follow(
        self, found: NotebookGraph, core: Any, *, task_status: trio.TaskStatus[None]
    ) -> None:
        self._watch(found, core)
        found.begin(engine_of(core), core.core_or_none.graph)
        self._graphs.append(found)
        try:
            task_status.started()
            await found.engine.wait_closed()
            if core.failures:
                found.fail(BaseExceptionGroup(f"graph {core.title} failed", list(core.failures)))
        finally:
            found.end()
            if not found.failures:
                self._graphs.remove(found)

    def _watch(self, opened: NotebookGraph, core: Any) -> None:
        self._app.on_engine = None
        recording = opened.recording
        if isinstance(core, EngineCore):
            core.when_created(lambda: recording.tap(core))
        else:
            core.post(lambda: core.core.when_created(lambda: recording.tap(core.core)))

    # Virtual time -----------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """The time by the app's clock, in seconds; a virtual one begins at 0."""
        return self.call(_now)

    def step(self, seconds: float) -> Step:
        """Let that much virtual time pass, deadline by deadline; returns what happened.

        Of `open_app(virtual_time=True)` only: raises `WrongTiming` for an app with a real clock.
        """
        if self._thread.clock is None:
            raise WrongTiming("this app has a real clock: open_app(virtual_time=True) has another")
        if not 0 <= seconds < inf:
            raise InvalidArgument(f"a step is a number of seconds from 0 on, not {seconds!r}")
        return self.call(self._step, seconds)

    async def _step(self, seconds: float) -> Step:
        begin = trio.current_time()
        seen = [(graph, sum(graph.recording.counts.values())) for graph in self._graphs]
        await trio.sleep_until(begin + seconds)
        await trio.testing.wait_all_tasks_blocked(IDLE)
        events = []
        for graph, before in seen:
            new = sum(graph.recording.counts.values()) - before
            events += graph.recording.events()[-new:] if new else []
        return Step(begin=begin, end=trio.current_time(), events=tuple(events))

    # The end ----------------------------------------------------------------------------------

    def take_failures(self) -> list[tuple[str, BaseException]]:
        """What has failed in the background and wasn't shown yet, with what it was."""
        failures = [
            (f"graph {graph.graph_id}", failure)
            for graph in self._graphs
            for failure in graph.take_failures()
        ]
        if self.error is not None and not self._told:
            self._told = True
            failures.append(("the app", self.error))
        return failures

    def close(self) -> Reports:
        """Close all graphs in order, then the app; their reports. Idempotent."""
        hooks.forget(self)
        if self.is_closed:
            return Reports()
        graphs = self.graphs
        try:
            self._thread.call(self._close_all, None)
        except EngineClosed:
            if self.error is not None:
                raise  # it has ended by itself, and not well
        finally:
            self._over = True
            self._thread.end()
        return Reports(graph.report for graph in graphs if graph.report is not None)

    def close_quickly(self) -> bool:
        """The same when the kernel ends, within `EXIT_GRACE`; whether it has ended in time."""
        hooks.forget(self)
        if self._thread.ended.is_set():
            return True
        self._thread.try_call(EXIT_GRACE + CLEANUP, self._close_all, EXIT_GRACE)
        self._over = True
        return self._thread.end(CLEANUP)

    async def _close_all(self, within: float | None) -> None:
        self._over = True
        # Finished although the cell is interrupted; bounded by the graphs' grace.
        with trio.CancelScope(shield=True):
            for graph in self.graphs:
                graph.request_close("the notebook's app is closed", within)
            self._close_wanted.set()
            await self._closed.wait()

    async def begin(self, options: dict[str, Any], *, task_status: trio.TaskStatus[None]) -> None:
        """The task that holds the app open."""
        self._close_wanted, self._closed = trio.Event(), trio.Event()
        try:
            async with open_ordinary_app(**options) as self._app:
                task_status.started()
                await self._close_wanted.wait()
                with trio.CancelScope(shield=True):  # each is bounded by its own grace
                    for graph in self.graphs:
                        await graph.wait_ended()
        finally:
            self._closed.set()


def open_app(source: Any = None, *, virtual_time: bool = False, **options: Any) -> NotebookApp:
    """Run an app in a thread of its own until `close()`, the end of a `with` block, or the kernel's.

    Takes what `ten_trio.open_app` takes, and raises what that raises.  With `virtual_time` its clock
    stands still between cells: `NotebookApp.step` lets time pass, and a cell that waits lets it jump
    to the next deadline.  Threads and sockets know nothing of that clock.
    """
    clock = None
    if virtual_time:
        from trio.testing import MockClock  # noqa: PLC0415 - it imports pytest, if that is installed

        clock = MockClock()
    app = NotebookApp(open_thread("ten_trio notebook", clock))
    try:
        app.call(app._thread.keep, app.begin, {"source": source, **options})
    except BaseException:
        app._over = True
        app._thread.end()
        raise
    hooks.remember(app)
    return app


async def _now() -> float:
    return trio.current_time()


def _definition(app: App, graph: GraphSource) -> Graph:
    definition, _ = app._definition(graph)
    return definition


__all__ = ["NotebookApp", "open_app"]
