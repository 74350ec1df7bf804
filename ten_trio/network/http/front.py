"""The HTTP front door: who gets in, and which path leads to what; see docs/http.md."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import attrs
import trio

from ..admission import Admission
from ..transport import Wire
from . import places
from .bodies import KINDS, Bodies
from .calls import Callers, Core
from .places import KEY, STATUS
from .server import Exchange, HttpConnection, Refusal, Request, choices

if TYPE_CHECKING:
    from ...runtime.app import App

Do = Callable[["Visit"], Awaitable[None]]


@attrs.frozen(eq=False)
class Visit:
    """A request on its way through the house."""

    front: HttpFront
    request: Request
    exchange: Exchange
    trusted: bool
    """Whether the client may do whatever an app may."""

    @property
    def graph(self) -> str:
        """The graph in the path."""
        return self.request.path[1]


class HttpFront:
    """The front door of one app. Lives in the app's loop."""

    def __init__(self, app: App, admission: Admission) -> None:
        self.app = app
        self.admission = admission
        self.settings = admission.settings
        self.bodies = Bodies(self.settings.codec)
        self.callers = Callers(app)
        self.keys: WeakKeyDictionary[Core, str] = WeakKeyDictionary()
        self._open: dict[HttpConnection, trio.CancelScope] = {}
        self._all_closed = trio.Event()
        self._closing = False

    async def serve(self, wire: Wire) -> None:
        """One connection, from its first request to its end."""

        def check(request: Request, exchange: Exchange) -> None:
            self._visit(wire, request, exchange)

        async def handle(request: Request, exchange: Exchange) -> None:
            await self._handle(self._visit(wire, request, exchange))

        connection = HttpConnection(wire, self.settings, check, handle)
        # Shielded, so that streams end in order also when the app's block is cancelled: `close`,
        # which comes in any case, bounds this.
        with trio.CancelScope(shield=True) as scope:
            self._open[connection] = scope
            if self._closing:
                connection.finish()
            try:
                await connection.run()
            finally:
                with trio.CancelScope(shield=True):  # bounded by the wire itself
                    await wire.aclose()
                del self._open[connection]
                if not self._open:
                    self._all_closed.set()
                    self._all_closed = trio.Event()

    def begin_close(self) -> None:
        """Connections close that wait for their next request, and the others after the one they have."""
        self._closing = True
        for connection in self._open:
            connection.finish()

    async def close(self) -> None:
        """Close what is left: soon, or else at once."""
        self.begin_close()
        with trio.move_on_after(self.settings.close_timeout):
            await self._none_open()
        for scope in self._open.values():
            scope.cancel("the app closes")
        await self._none_open()
        self.callers.expiry.close()

    async def _none_open(self) -> None:
        if self._open:
            await self._all_closed.wait()

    # Who comes in -----------------------------------------------------------------------------

    def _visit(self, wire: Wire, request: Request, exchange: Exchange) -> Visit:
        """Let somebody in, or raise `Refusal`."""
        settings, headers = self.settings, request.headers
        if self._closing:
            raise Refusal(503, "closing: the app")
        origin = headers.get("origin", "")
        self._check_origin(origin, exchange)
        kind, _, shown = headers.get("authorization", "").partition(" ")
        authorized = kind.lower() == "bearer" and self.admission.knows(shown.strip())
        if settings.token and not authorized and request.method != "OPTIONS":
            raise Refusal(
                401, "not authorized: a token has to be shown",
                headers={"www-authenticate": 'Bearer realm="ten_trio"'},
            )  # fmt: skip
        trusted = authorized or self.admission.trusts(wire, origin)
        if trusted and not authorized and not wire.credentials.certificate:
            # Nothing speaks for it but that it is on this machine. So is any browser, whose pages
            # can have names of their own point here, or go out from a name that anybody has.
            host = headers.get("host", "")
            if not _is_of_this_machine(host):
                raise Refusal(421, f"{host!r} is no name of this machine; with a token it would do")
        return Visit(self, request, exchange, trusted)

    def _check_origin(self, origin: str, exchange: Exchange) -> None:
        """Keep web pages out, unless the settings let them in (CORS)."""
        if not origin:
            return
        if not self.admission.admits_page(origin):
            raise Refusal(403, f"not allowed: pages of {origin}")
        exchange.headers |= {
            "access-control-allow-origin": origin,
            "access-control-expose-headers": choices((STATUS, "location")),
            "vary": "origin",
        }

    async def _handle(self, visit: Visit) -> None:
        path = visit.request.path
        what = _find(path)
        if what is None:
            raise Refusal(404, f"there is no /{'/'.join(path)}")
        method = visit.request.method
        allowed = (*what, "OPTIONS")
        if method == "OPTIONS":
            await _options(visit, allowed)
        elif method not in what:
            raise Refusal(
                405, f"{method} isn't done here, but {choices(allowed)}",
                headers={"allow": choices(allowed)},
            )  # fmt: skip
        else:
            await what[method](visit)


async def _options(visit: Visit, allowed: Sequence[str]) -> None:
    """What a browser asks before a page sends something; also who else wants to know."""
    headers: dict[str, str] = {"allow": choices(allowed)}
    if "access-control-allow-origin" in visit.exchange.headers:
        headers |= {
            "access_control_allow_methods": choices(allowed),
            "access_control_allow_headers": f"authorization, content-type, {KEY}",
            "access_control_max_age": "600",
        }
    await visit.exchange.respond(204, b"", "", **headers)


def _is_of_this_machine(host: str) -> bool:
    """Whether a Host header has an address, or the one name that can't lead anywhere else."""
    try:
        name = urlsplit(f"//{host}").hostname or "" if host else "localhost"
        if name == "localhost" or name.endswith(".localhost"):
            return True
        ip_address(name)
    except ValueError:
        return False
    return True


def _find(path: tuple[str, ...]) -> Mapping[str, Do] | None:
    """What can be done at a path, by method."""
    match path:
        case ():
            return {"GET": places.about}
        case ("close",):
            return {"POST": places.close_app}
        case ("graphs",):
            return {"GET": places.graphs, "POST": places.start}
        case ("graphs", _):
            return {"GET": places.graph, "DELETE": places.stop}
        case ("graphs", _, "messages"):
            return {"GET": places.messages}
        case ("graphs", _, kind) | ("graphs", _, kind, _) if kind in KINDS:
            return {"POST": places.cmd if kind == "cmd" else places.data}
    return None
