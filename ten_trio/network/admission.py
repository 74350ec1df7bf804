"""Who may do what from outside, whichever way it came in: the rules of `NetworkSettings`, in one place."""

from __future__ import annotations

from hmac import compare_digest
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import InvalidArgument, TenError
from ..graphs import Graph
from ..messages import CloseApp, Cmd, StartGraph
from .settings import NetworkSettings
from .transport import Wire
from .uris import Address

if TYPE_CHECKING:
    from ..runtime.app import App
    from ..runtime.engine import EngineCore
    from ..runtime.own_loop import CoreLink


class NotAllowed(TenError):
    """Whoever asks is known, or needn't be, but may not do this."""


class Busy(TenError):
    """As many as may be are there already."""


class Admission:
    """The rules of one app, for everything that comes in by its network."""

    def __init__(self, app: App, settings: NetworkSettings) -> None:
        self._app = app
        self.settings = settings
        self._started: dict[EngineCore | CoreLink, None] = {}

    def knows(self, *shown: object) -> bool:
        """Whether one of these is the token; never if there is none."""
        token = self.settings.token.encode()
        return bool(token) and any(
            isinstance(given, str) and compare_digest(given.encode("utf-8", "replace"), token)
            for given in shown
        )

    def admits_page(self, origin: str) -> bool:
        """Whether a web page from there may connect, though it shows no token; no origin: no page.

        Any page that somebody looks at could otherwise use what listens on their own machine.
        """
        return not origin or "*" in self.settings.origins or self._is_known_page(origin)

    def trusts(self, wire: Wire, origin: str = "") -> bool:
        """Whether whoever is at the other end, or a page from `origin`, may do what an app may.

        Being on this machine says nothing for a page that comes from elsewhere and isn't named.
        """
        origin = origin or wire.credentials.origin
        is_local = wire.is_local and (not origin or self._is_known_page(origin))
        return is_local or bool(wire.credentials.certificate)

    def _is_known_page(self, origin: str) -> bool:
        """Whether it is named by the settings, or of this machine."""
        if origin in self.settings.origins:
            return True
        try:
            return bool(urlsplit(origin).hostname) and Address.parse(origin).is_local
        except (InvalidArgument, ValueError):
            return False

    def may_control(self, cmd: Cmd, trusted: bool) -> bool:
        """Whether stop_graph or close_app may come from there."""
        if isinstance(cmd, CloseApp) and self.settings.close_app is not None:
            return self.settings.close_app
        return trusted

    def check_start(self, cmd: StartGraph, trusted: bool) -> None:
        """Raise `NotAllowed` or `Busy` if this graph may not be started, `GraphError` if it is none."""
        settings = self.settings
        allowed = settings.start_graphs or ("any" if trusted else "predefined")
        if allowed == "none":
            raise NotAllowed("not allowed: start_graph from outside")
        if allowed == "predefined" and not cmd.predefined_graph_name:
            raise NotAllowed("not allowed: only predefined graphs may be started from outside")
        self._started = dict.fromkeys(core for core in self._started if not core.closed.is_set())
        if len(self._started) >= settings.graphs:
            raise Busy(f"busy: {len(self._started)} graphs have been started from outside")
        if settings.outside_addons is not None and not cmd.predefined_graph_name:
            self._check_addons(cmd, settings.outside_addons)

    def _check_addons(self, cmd: StartGraph, allowed: tuple[str, ...]) -> None:
        if cmd.graph is None:
            cmd.graph = Graph.from_json(cmd.graph_json or "{}")
        flat = self._app._compiled.flat(cmd.graph)
        for node in flat.nodes:
            if node.app and not self._app.is_here(node.app):
                continue
            if node.addon not in allowed:
                raise NotAllowed(f"not allowed: addon {node.addon!r} in a graph from outside")

    def started(self, core: EngineCore | CoreLink) -> None:
        """Count a graph that was started from outside, until it is closed."""
        self._started[core] = None
