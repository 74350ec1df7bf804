"""The two ends of a case, opened when the first case needs them and kept for all others."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import trio

import ten_trio as ten
from ten_trio.network import NetworkSettings

from ..harness import Run
from . import far
from .far import Addresses


@attrs.frozen
class Way:
    """How the two apps of a case are connected."""

    name: str
    """`tcp`, `unix`, or a WebSocket driver."""
    here: bool = False
    """Whether both are in this process."""

    @property
    def is_websocket(self) -> bool:
        """Whether it has frames."""
        return self.name in far.DRIVERS


async def far_end(run: Run, way: Way) -> Addresses:
    """The other end, which is there from the first call on."""
    start = far.in_task if way.here else far.in_process
    found: Addresses = await _shared(run, f"far {way.here}", start)
    return found


async def _near_app(settings: NetworkSettings, *, task_status: trio.TaskStatus[ten.App]) -> None:
    async with ten.open_app(uri=f"msgpack://{far.LOCAL}", network=settings) as app:
        task_status.started(app)
        await trio.sleep_forever()


async def near_end(run: Run, way: Way) -> ten.App:
    """The app of this process, likewise."""
    driver = way.name if way.is_websocket else far.DRIVERS[0]
    settings = settings_for(driver)
    app: ten.App = await _shared(run, f"near {driver}", _near_app, settings)
    return app


async def _shared(run: Run, key: str, start: Any, *args: Any) -> Any:
    if key not in run.shared:
        if run.nursery is None:
            raise RuntimeError("nowhere to start the other end")
        run.shared[key] = await run.nursery.start(start, *args)
    return run.shared[key]


def settings_for(driver: str) -> NetworkSettings:
    """Settings with a WebSocket driver."""
    options: Any = {"websocket_driver": driver}
    return NetworkSettings(**options)


def _graph(app: str | None) -> ten.Graph:
    graph = ten.Graph()
    graph.node("echo", "network_echo", app=app)
    graph.expose("cmd_in", "echo", "echo")
    graph.expose("cmd_in", "count", "echo")
    graph.expose("audio_frame_in", "pcm", "echo")
    return graph


@asynccontextmanager
async def two_apps(
    run: Run, way: Way, graph: ten.Graph | None = None
) -> AsyncGenerator[ten.Engine]:
    """A graph over two apps: its host is in this process, by default its only extension in the other."""
    uri = (await far_end(run, way)).app[way.name]
    near = await near_end(run, way)
    async with near.open_graph(graph or _graph(uri)) as engine:
        yield engine


@asynccontextmanager
async def clients(run: Run, way: Way, count: int) -> AsyncGenerator[list[ten.Client]]:
    """So many plain clients of one graph in the other app."""
    uri = (await far_end(run, way)).app[way.name]
    settings = settings_for(way.name) if way.is_websocket else NetworkSettings()
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(ten.connect(uri, network=settings))
        graph = await first.start_graph(_graph(None))
        opened = [first]
        for _ in range(count - 1):
            more = ten.connect(uri, graph=graph, network=settings)
            opened.append(await stack.enter_async_context(more))
        yield opened
