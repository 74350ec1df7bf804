"""`Engine`: a running graph in the hands of whoever opened it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from ..graphs import Graph, flatten
from .changing import add_extension, remove_extension
from .explain import explain_from_outside
from .host import HostSender
from .looks import look_from_outside
from .tap import Wanted, tapping

if TYPE_CHECKING:
    from .engine import EngineCore
    from .explanation import Explanation
    from .flow import FlowReport
    from .own_loop import CoreLink
    from .report import ShutdownReport
    from .stats import Stats
    from .tap import Tap


class Engine(HostSender):
    """A running graph: send into it, read what it exposes, change it, stop it.

    Its opener is an endpoint of the graph, the one that the extensions know as `ten:graph_proxy`.
    """

    def __init__(self, core: EngineCore) -> None:
        super().__init__(core)
        self._watched.hold(self)

    def __del__(self) -> None:
        # It knows best that nobody will ask any more.
        with suppress(AttributeError):  # it has never come to be one
            self._watched.let_go(self)

    def __repr__(self) -> str:
        state = "closed" if self.report else "closing" if self.is_closing else "running"
        return f"<ten_trio.Engine {self._core.title} {state}>"

    @property
    def graph_id(self) -> str:
        """The id by which other graphs and clients address this one."""
        return self._core.graph_id

    @property
    def name(self) -> str:
        """The name of the predefined graph that it is, if it is one; else empty."""
        return self._core.graph_name

    @property
    def extensions(self) -> tuple[str, ...]:
        """The names of the extensions, in the graph's order."""
        return tuple(self._core.instances)

    @property
    def report(self) -> ShutdownReport | None:
        """How it ended; None while it runs."""
        return self._core.report

    @property
    def is_closing(self) -> bool:
        """Whether it has begun to close, or is closed."""
        return self._core.closing

    @property
    def flows(self) -> dict[str, FlowReport]:
        """What the edges with a flow policy have come to so far: by "source → dest kind name".

        In a loop of its own the graph goes on meanwhile, so that the sums may be off by a few.
        """
        return self._core.flows.reports()

    def stop(self) -> None:
        """Begin the orderly close, and return at once."""
        self._check_thread()
        self._core.request_close("stopped by its host")

    async def wait_started(self) -> None:
        """Until every extension without a manual trigger is back from `on_start`, or the graph closes."""
        await self._core.wait_started()

    async def wait_closed(self) -> ShutdownReport:
        """Until the graph is closed, for whatever reason; how it ended."""
        await self._core.closed.wait()
        assert self._core.report is not None
        return self._core.report

    async def explain(self) -> Explanation:
        """Who waits for what in it at this moment, since when; a circle is named as a deadlock.

        Looking changes nothing, and works although the graph is stuck.
        """
        self._check_thread()
        return await explain_from_outside(self._core)

    async def stats(self) -> Stats:
        """How much has gone through it, what waits where, what was dropped, who has failed.

        Costs nothing but the look itself. Rates are what two of them tell: `now.since(earlier)`.
        """
        self._check_thread()
        return await look_from_outside(self._watched)

    @asynccontextmanager
    async def tap(
        self,
        *,
        kind: str | Iterable[str] = (),
        name: str | Iterable[str] = (),
        extension: str | Iterable[str] = (),
        capacity: int | None = None,
    ) -> AsyncGenerator[Tap, None]:
        """Copies of its messages as they pass, from the beginning of the block on.

        `kind`: cmd, result, data, audio_frame or video_frame.  `name`: of the message, or of a result's
        command.  `extension`: whoever has sent it or gets it.  Each may be several, and what isn't
        said is all.  At most `capacity` messages wait to be read (`Limits.host_queue` by default);
        beyond that they are dropped and counted.

        A message passes when its receiver's handler starts, when the host gets it, or when it leaves
        for another app or client.  Raises `InvalidArgument` for a kind that there isn't.
        """
        self._check_thread()
        most = self._core.limits.host_queue if capacity is None else capacity
        async with tapping((self._watched,), Wanted.of(kind, name, extension), most) as tap:
            yield tap

    @property
    def _watched(self) -> EngineCore | CoreLink:
        return self._core

    # Changing it while it runs ----------------------------------------------------------------

    async def add_extension(
        self,
        name: str,
        addon: Any,
        *,
        group: str = "",
        property: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> None:
        """Create one more extension and wait for its `on_start`. All of it or nothing.

        Takes what `Graph.node` takes.  Raises `GraphError` and what creating and starting raises.
        """
        graph = Graph()
        graph.node(name, addon, group=group, property=dict(property or {}), **settings)
        core = self._core
        node = flatten(graph, base_dir=core.app.base_dir, app_uri=core.app.uri or None).nodes[0]
        await add_extension(core, node)

    async def remove_extension(self, name: str) -> None:
        """Stop one extension in order and take it out, with its edges. Raises `GraphError`."""
        await remove_extension(self._core, name)

    async def connect(self, source: str, dest: str | Iterable[str], **kinds: Any) -> None:
        """Add edges, as `Graph.connect` describes them. All or nothing: raises `GraphError`."""
        edges = self._edges(source, dest, kinds)
        self._core.change_edges(partial(self._core.routes.connect, edges))
        await trio.lowlevel.checkpoint()

    async def disconnect(self, source: str, dest: str | Iterable[str], **kinds: Any) -> None:
        """Take edges away. All or nothing: raises `GraphError`."""
        edges = self._edges(source, dest, kinds)
        self._core.change_edges(partial(self._core.routes.disconnect, edges))
        await trio.lowlevel.checkpoint()

    def _edges(self, source: str, dest: str | Iterable[str], kinds: Mapping[str, Any]) -> Any:
        core = self._core
        graph = Graph()
        for node in core.graph.nodes:
            graph.node(node.name, node.addon, group=node.group)
        graph.connect(source, dest if isinstance(dest, str) else list(dest), **kinds)
        return flatten(graph, app_uri=core.app.uri or None).edges
