"""Engines with a loop of their own: a thread and a Trio run for one graph.

`CoreLink` is such an engine as the app's loop sees it, `AppLink` is the app as the engine sees it.
Everything that crosses goes through `Loop.post`: in order, and in batches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from ..messages import StatusCode
from .dissolving import Held
from .engine import EngineCore
from .host import Outside
from .loops import Loop
from .paths import State
from .watchdog import watching

if TYPE_CHECKING:
    from pathlib import Path

    from ..graphs import FlatGraph
    from ..messages import Cmd, CmdResult, Loc, Msg, Properties
    from .addons import AppAddons
    from .app import App
    from .metadata import MetadataStore
    from .report import ShutdownReport


class CrossPath:
    """An out path of one loop in the hands of another: results and abandonment cross over.

    Made where the path belongs, used where the command is answered.
    """

    def __init__(self, path: Any, home: Loop, there: Loop) -> None:
        self._path = path
        self._home = home
        self._there = there
        self.id: int = path.id
        self.cmd_name: str = path.cmd_name
        self._in_path: Any = None
        self._gone: State | None = None
        self._left: float = path.until - trio.current_time()
        self._until: float | None = None
        path.in_path = self

    # There: what an executor does with a path.

    @property
    def until(self) -> float:
        """When the caller's time is up, by the clock there; inf if it has given none."""
        if self._until is None:
            self._until = trio.current_time() + self._left
        return self._until

    @property
    def in_path(self) -> Any:
        """The executor's side, once it is known."""
        return self._in_path

    @in_path.setter
    def in_path(self, in_path: Any) -> None:
        self._in_path = in_path
        if self._gone is not None and in_path is not None:
            in_path.abandon(self._gone)

    @property
    def closed(self) -> bool:
        """Whether the caller is gone, as far as is known here."""
        return self._gone is not None

    def give(self, result: CmdResult) -> None:
        """Send a result home."""
        self._home.post(self._path.give, result)

    def answer(self, status: StatusCode, detail: str, **properties: object) -> None:
        """Send the runtime's own final result home."""

        def answer() -> None:
            self._path.answer(status, detail, **properties)

        self._home.post(answer)

    # At home: what the path's owner does with the executor's side.

    def abandon(self, state: State = State.ABANDONED) -> None:
        """The caller is gone."""
        self._there.post(self._abandon, state)

    def _abandon(self, state: State) -> None:
        self._gone = state
        if self._in_path is not None:
            self._in_path.abandon(state)


class AppLink:
    """The app, as an engine with its own loop uses it."""

    def __init__(self, app: App, link: CoreLink, here: Loop) -> None:
        self._app = app
        self._link = link
        self._here = here
        self.uri: str = app.uri
        self.is_here = app.is_here
        self.network = app.network
        self.base_dir: Path | None = app.base_dir
        self.addons: AppAddons = app.addons
        self.metadata: MetadataStore = app.metadata
        self.properties: Properties = app.properties

    def graph_id_of(self, name: str) -> str:
        """The id that a destination's graph part means."""
        return self._app.graph_id_of(name)

    def take_cmd(self, cmd: Cmd, path: Any, engine: object) -> None:
        """A command for the app."""
        app = self._app
        crossing = CrossPath(path, self._here, app.loop)
        app.loop.post(app.take_cmd, cmd, crossing, self._link)

    def forward_cmd(self, dest: Loc, cmd: Cmd, path: Any, sender: object) -> None:
        """A command for another graph."""
        app = self._app
        crossing = CrossPath(path, self._here, app.loop)
        app.loop.post(app.forward_cmd, dest, cmd, crossing, self._link)

    def forward_data(self, dest: Loc, msg: Msg, sender: object) -> str | None:
        """Data for another graph; whether it arrives can't be known here."""
        self._app.loop.put(self._app.forward_data, dest, msg, self._link)
        return None

    def engine_closed(self, core: object) -> None:
        """The app hears of it when the thread has ended; nothing is sent from here any more."""
        del self._link


class CoreLink(Held):
    """An engine in its own thread, with the face that `EngineCore` has for the app and the host."""

    def __init__(
        self,
        app: App,
        graph: FlatGraph,
        *,
        graph_id: str,
        name: str,
        on_failure: Callable[[], object] | None,
        starter: Loc | None = None,
        long_running: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self._app = app
        self._graph = graph
        self.starter = starter
        self.long_running = long_running
        self._options = options
        self._on_failure = on_failure
        self.graph_id = graph_id
        self.graph_name = name
        self.title = name or graph_id
        self.limits = app.limits
        self.failures: list[BaseException] = []
        self.created = trio.Event()
        self.started = trio.Event()
        self.closed = trio.Event()
        self.is_unattended = False
        self.closing = False
        self.close_reason = ""
        self.loop: Loop
        self.core: EngineCore
        self.silent_since: float | None = None
        """Since when a question (`explain`) waits for its loop, by the clock of the app's."""
        self._early: list[Callable[[], object]] = []
        self._ready = False

    def _take_apart(self) -> None:
        if self._ready:
            self.core.let_go(self)

    @property
    def report(self) -> ShutdownReport | None:
        """How it ended; None while it runs."""
        return self.core.report if self._ready and self.closed.is_set() else None

    @property
    def core_or_none(self) -> EngineCore | None:
        """The engine itself, once there is one in its thread."""
        return self.core if self._ready else None

    @property
    def late_starters(self) -> dict[str, str]:
        """The extensions that haven't started, and where each is."""
        return self.core.late_starters if self._ready else {}

    @property
    def is_created(self) -> bool:
        """Whether all its extensions could be made."""
        return self._ready and self.core.is_created

    async def run(self) -> None:
        """The engine's thread, from the app's side."""
        try:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(
                    trio.run, self._main, limiter=trio.CapacityLimiter(1), abandon_on_cancel=False
                )
        finally:
            self.closing = True
            for event in (self.created, self.started, self.closed):
                event.set()
            early, self._early = self._early, []
            for action in early:
                action()
            self._app.engine_closed(self)
            self.over()

    async def _main(self) -> None:
        """The engine's own Trio run."""
        here, app_loop = Loop(), self._app.loop
        app: Any = AppLink(self._app, self, here)
        core = EngineCore(
            app,
            self._graph,
            loop=here,
            limits=self.limits,
            graph_id=self.graph_id,
            name=self.graph_name,
            starter=self.starter,
            long_running=self.long_running,
            on_failure=lambda: app_loop.post(self._failed, list(core.failures)),
            **self._options,
        )
        core.hold(self)
        core.host = Outside(core)
        core.on_closing = lambda: app_loop.post(self._note_closing, core.close_reason)
        with watching(here, self.limits.watchdog):
            await self._serve(core, here)

    async def _serve(self, core: EngineCore, here: Loop) -> None:
        app_loop = self._app.loop
        async with trio.open_nursery() as nursery:
            nursery.start_soon(core.run)
            # What comes from elsewhere may need a task: there have to be some first.
            await core.opened.wait()
            app_loop.post(self._begin, here, core)
            await core.created.wait()
            app_loop.post(self.created.set)
            await core.wait_started()
            app_loop.post(self.started.set)

    def _begin(self, loop: Loop, core: EngineCore) -> None:
        self.loop, self.core = loop, core
        self._ready = True
        early, self._early = self._early, []
        for action in early:
            action()

    def _failed(self, failures: list[BaseException]) -> None:
        self.failures = failures
        if self._on_failure is not None:
            self._on_failure()

    def _note_closing(self, reason: str) -> None:
        self.closing = True
        self.close_reason = reason

    def post(
        self, action: Callable[[], object], missed: Callable[[], object] | None = None
    ) -> None:
        """Do it in the engine's loop, as soon as there is one, or `missed` here if that is over."""
        if not self._ready and not self.closed.is_set():
            self._early.append(lambda: self.post(action, missed))
        elif (not self._ready or not self.loop.post(action)) and missed is not None:
            missed()

    # What the app and the host ask of an engine.

    async def wait_started(self) -> None:
        """Until every extension without a manual trigger has started, or the graph closes."""
        await self.started.wait()

    def request_close(self, reason: str, within: float | None = None) -> None:
        """Begin to close; returns at once."""
        if not self.closing:
            self._note_closing(reason)
        self.post(lambda: self.core.request_close(reason, within))

    def hasten(self) -> None:
        """Let the grace run out now."""
        self.post(lambda: self.core.hasten())

    def closed_detail(self) -> str:
        """What commands are answered with that the close has cut off."""
        return f"closing: graph {self.title} ({self.close_reason})"

    def when_created(self, action: Callable[[], object]) -> None:
        """The engine itself keeps what comes too early."""
        action()

    def admit_cmd(self, extension: str | None, cmd: Cmd, path: Any) -> None:
        """A command from another graph."""

        def cross() -> None:
            if not self._ready:  # its thread has ended before there was anything in it
                path.answer(StatusCode.ERROR, self.closed_detail())
                return
            crossing = CrossPath(path, self._app.loop, self.loop)
            if not self.loop.post(
                self.core.when_created, lambda: self.core.admit_cmd(extension, cmd, crossing)
            ):
                path.answer(StatusCode.ERROR, self.closed_detail())

        if self._ready:
            cross()
        else:
            self._early.append(cross)

    def await_data(self, extension: str | None, msg: Msg) -> None:
        """Data or a frame from another graph; whether there is room can't be known here."""
        if self._ready:
            self.loop.put(self.core.await_data, extension, msg)
        else:
            self.post(lambda: self.core.await_data(extension, msg))
