"""`ten-trio run`: an app or a graph in this process, until it ends or a signal ends it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import inf
from types import FrameType

import attrs
import trio

from ..errors import EngineClosed, TenError
from ..graphs import AppProperty, Graph
from ..network import open_app
from ..observe import LogSession, configure_logs
from ..runtime import App, Engine, ShutdownReport
from .screens import Screen

OK = 0
FAILED = 1
UNUSABLE = 2
SLOW = 3
SIGNALLED = 128
"""And the number of the signal on top."""

_ENDINGS = (signal.SIGINT, signal.SIGTERM)


@attrs.frozen
class Plan:
    """What is to be run: an app, and which of its graphs, or a graph that isn't the app's own."""

    app: AppProperty
    predefined: tuple[str, ...] = ()
    listen: tuple[str, ...] = ()
    graphs: Mapping[str, Graph] = attrs.field(factory=dict)
    grace: float | None = None


def run(plan: Plan, screen: Screen) -> int:
    """Run it; returns the exit code. Raises `LogConfigError`, and what `open_app` raises."""
    with configure_logs(plan.app.log) as logs:
        return trio.run(_Run(plan, screen, logs).run)


class _Run:
    def __init__(self, plan: Plan, screen: Screen, logs: LogSession) -> None:
        self._plan = plan
        self._screen = screen
        self._logs = logs
        self._app: App | None = None
        self._names: dict[str, str] = {}
        self._failed = False
        self._signals: list[signal.Signals] = []

    async def run(self) -> int:
        unopened: TenError | OSError | None = None
        with _signals() as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._obey, signals)
                try:
                    reports = await self._run_app()
                except (TenError, OSError) as error:
                    if self._app is not None:
                        raise
                    reports, unopened = [], error
                nursery.cancel_scope.cancel("the app is closed")
        if unopened is not None:
            raise unopened
        code = self._exit_code(reports)
        self._screen.ended(self._names, reports, code)
        return code

    async def _run_app(self) -> list[ShutdownReport]:
        plan = self._plan
        async with open_app(
            plan.app, listen=plan.listen, auto_start=False, grace=plan.grace
        ) as app:
            self._app = app
            if self._signals:  # while it wasn't there yet
                app.request_close(self._signals[0].name)
            if app.network is not None and app.network.uris:
                self._screen.listening(app.network.uris)
            async with trio.open_nursery() as nursery:
                app.on_graph = lambda engine: self._take(nursery, engine)
                await self._start_all(app, nursery)
                await app.wait_closed()
                app.request_close("its last graph has ended")
        return app.reports

    async def _start_all(self, app: App, nursery: trio.Nursery) -> None:
        for name in self._plan.predefined:
            if not await self._start(app, nursery, name, None):
                return
        for name, graph in self._plan.graphs.items():
            if not await self._start(app, nursery, name, graph):
                return

    async def _start(self, app: App, nursery: trio.Nursery, name: str, graph: Graph | None) -> bool:
        if self._signals:
            return False
        self._screen.starting(name)
        began = trio.current_time()
        try:
            if graph is None:
                engine = await app.start_predefined(name)
            else:
                engine = await app.start_graph(graph)
        except EngineClosed:
            return False  # asked to close in the meantime
        except (TenError, BaseExceptionGroup) as error:
            if isinstance(error, BaseExceptionGroup) and not isinstance(error, ExceptionGroup):
                raise
            self._failed = True
            self._screen.failed(name, error)
            app.request_close(f"{name} could not be started")
            return False
        self._names[engine.graph_id] = name
        nursery.start_soon(self._watch, name, engine, began)
        return True

    def _take(self, nursery: trio.Nursery, engine: Engine) -> None:
        """A graph that somebody else has started."""
        name = engine.name or engine.graph_id
        self._names[engine.graph_id] = name
        nursery.start_soon(self._watch, name, engine, trio.current_time())

    async def _watch(self, name: str, engine: Engine, began: float) -> None:
        await engine.wait_started()
        if not engine.is_closing:
            self._screen.started(name, engine, trio.current_time() - began)
        self._screen.closed(name, await engine.wait_closed())

    async def _obey(self, signals: trio.MemoryReceiveChannel[signal.Signals]) -> None:
        async for number in signals:
            if number not in _ENDINGS:
                self._logs.reopen()
                self._screen.signalled(number.name, "reopen")
                continue
            self._signals.append(number)
            self._screen.signalled(number.name, "close" if len(self._signals) == 1 else "cancel")
            if self._app is not None and len(self._signals) == 1:
                self._app.request_close(number.name)
            elif self._app is not None:
                self._app.cancel(number.name)

    def _exit_code(self, reports: list[ShutdownReport]) -> int:
        if len(self._signals) > 1:
            return SIGNALLED + self._signals[1]
        if self._failed or any(report.failures for report in reports):
            return FAILED
        return SLOW if any(report.grace_exhausted for report in reports) else OK


@contextmanager
def _signals() -> Iterator[trio.MemoryReceiveChannel[signal.Signals]]:
    """The SIGINTs, SIGTERMs and SIGHUPs that come inside the block.

    A third SIGINT or SIGTERM ends the process from where it stands: the loop may be stuck in code
    that never lets go of it.
    """
    token = trio.lowlevel.current_trio_token()
    endings = 0

    def caught(number: int, _: FrameType | None) -> None:
        nonlocal endings
        which = signal.Signals(number)
        endings += which in _ENDINGS
        if endings > 2:
            os.write(2, b"ten-trio: ended without cleaning up\n")
            os._exit(SIGNALLED + number)
        token.run_sync_soon(send.send_nowait, which)

    send, receive = trio.open_memory_channel[signal.Signals](inf)
    before = {number: signal.signal(number, caught) for number in (*_ENDINGS, signal.SIGHUP)}
    try:
        with receive:
            yield receive
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


__all__ = ["FAILED", "OK", "SLOW", "UNUSABLE", "Plan", "run"]
