"""What lies beyond the process, as the runtime sees it: other apps, and clients.

The runtime knows only these few questions; `ten_trio.network` answers them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from ..errors import ConnectFailed
from ..messages import Loc
from .outlet import Nowhere

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .app import App
    from .endpoint import Endpoint, Receiver
    from .engine import EngineCore
    from .lines import Line
    from .turns import Turn


class EngineBoundary(Protocol):
    """The other apps and the clients of one graph. Lives in the loop of its engine."""

    def receiver(self, dest: Loc) -> Receiver:
        """Whatever takes messages for a place in another app, or for a client."""

    async def join(self) -> None:
        """Start the graph in the other apps that its extensions here talk to. Raises `TenError`."""

    def peers(self) -> Iterable[Endpoint]:
        """The apps and clients that have a part in it."""

    def lines(self) -> Iterable[Line]:
        """Where data waits that is to be sent out."""

    def drop(self, turn: Turn) -> int:
        """Drop the data of a cancelled turn that is still to be sent; how many messages it was."""

    def begin_close(self) -> None:
        """The close of the graph begins; the connections go on until `end`."""

    def end(self, detail: str) -> None:
        """Nothing is sent or received any more; what is open is answered with ERROR and `detail`."""

    @property
    def has_ended(self) -> bool:
        """After `end`: whether every connection is closed."""

    async def ended(self) -> None:
        """After `end`: until every connection is closed."""


class AppBoundary(Protocol):
    """The listeners of an app, and the connections that belong to no graph yet."""

    @property
    def is_listening(self) -> bool:
        """Whether anybody can come in."""

    @property
    def uris(self) -> tuple[str, ...]:
        """Where it listens, with the ports that the system has chosen."""

    async def open(self) -> None:
        """Begin to listen. Raises `OSError`, `ConfigError`."""

    def for_engine(self, core: EngineCore) -> EngineBoundary:
        """The boundary of a graph, made in its own loop."""

    def begin_close(self) -> None:
        """Let nobody in any more."""

    async def close(self) -> None:
        """Close what is left. Bounded by the caller."""


class NoNetwork:
    """The boundary of a graph in an app that has none."""

    def __init__(self, core: EngineCore | None) -> None:
        self._core = core

    def receiver(self, dest: Loc) -> Receiver:
        """Nobody: commands are answered with ERROR."""
        return Nowhere(f"Could not find suitable remote based on uri: {dest.app_uri}")

    async def join(self) -> None:
        """Raise `ConnectFailed` if the graph has extensions in another app."""
        core = self._core
        assert core is not None
        for app in core.graph.apps:
            if not core.app.is_here(app):
                raise ConnectFailed(f"Failed to connect to {app}")

    def peers(self) -> Iterable[Endpoint]:
        """Nobody."""
        return ()

    def lines(self) -> Iterable[Line]:
        """Nothing is to be sent."""
        return ()

    def drop(self, turn: Turn) -> int:
        """Nothing is to be sent."""
        return 0

    def begin_close(self) -> None:
        """Nothing to close."""

    def end(self, detail: str) -> None:
        """Nothing to close."""

    @property
    def has_ended(self) -> bool:
        """Nothing to close."""
        return True

    async def ended(self) -> None:
        """Nothing to close."""


def boundary_of(app: App, core: EngineCore) -> EngineBoundary:
    """The boundary of a graph of `app`."""
    return NoNetwork(core) if app.network is None else app.network.for_engine(core)
