"""One HTTP/1.1 connection: requests in, responses out, each step bounded in size and time.

h11 reads and writes the protocol, sans I/O; what is here is the reading, the writing and the ending. A
whole server from a library would be less code of ours. But the one that runs on Trio, Hypercorn,
sends in a shielded scope without a timeout: a single client that doesn't read holds up its shutdown for
ever, whatever its `graceful_timeout`. Nor does it bound connections and the sizes of bodies,
or show who has connected by TLS. The transports of this package have all of that already.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import attrs
import h11
import trio

from ..settings import NetworkSettings
from ..transport import Wire

logger = logging.getLogger("ten_trio.network")

MAX_HEAD: Final = 32 * 1024
"""Bytes of a request's line and headers, and how much may come before the last one is answered."""
SLOWEST: Final = 16 * 1024
"""Bytes per second that a body has to come with, once the first patience is over."""

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"

Headers = Mapping[str, str]


class Refusal(Exception):
    """A request that isn't carried out, and the status that says why."""

    def __init__(
        self, status: int, detail: str, *, headers: Headers | None = None, **more: object
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}
        self.more = more

    @property
    def content(self) -> dict[str, Any]:
        """What the client is told."""
        return {"status": self.status, "error": self.detail, **self.more}


@attrs.frozen
class Request:
    """One request, body included."""

    method: str
    path: tuple[str, ...]
    """The parts between slashes, decoded."""
    query: Mapping[str, list[str]]
    headers: Headers
    """By lower-case name."""
    body: bytes

    @property
    def wants_lines(self) -> bool:
        """Whether the answer is to come in lines, as it arises."""
        accepted = self.headers.get("accept", "").split(",")
        return any(each.partition(";")[0].strip().lower() == NDJSON for each in accepted)


class Lost(Exception):
    """The connection is over, in the middle of something."""


class Exchange:
    """The response to one request: sent in one go (`respond`), or in pieces (`begin`, `write`)."""

    def __init__(self, connection: HttpConnection, headers: dict[str, str]) -> None:
        self.headers = headers
        """Of the response, whatever becomes of the request."""
        self._connection = connection
        self.begun = False

    async def respond(
        self, status: int, content: bytes = b"", kind: str = JSON, **headers: str
    ) -> None:
        """The whole response. Header names are written with `_` for `-`."""
        length = {} if status == HTTPStatus.NO_CONTENT else {"content-length": str(len(content))}
        await self.begin(status, kind if content else "", **length, **headers)
        await self.write(content)

    async def begin(self, status: int = 200, kind: str = NDJSON, **headers: str) -> None:
        """The beginning of a response; the rest is up to `write`."""
        self.begun = True
        told = {"date": formatdate(usegmt=True), **self.headers}
        if kind:
            told |= {"content-type": kind, "x-content-type-options": "nosniff"}
        told |= {name.replace("_", "-"): value for name, value in headers.items()}
        if self._connection.last:
            told["connection"] = "close"
        reason = HTTPStatus(status).phrase
        event = h11.Response(status_code=status, reason=reason, headers=list(told.items()))
        await self._connection.send(event)

    async def write(self, content: bytes) -> None:
        """A piece of the body."""
        if content:
            await self._connection.send(h11.Data(data=content))

    async def end(self) -> None:
        """The end of the body."""
        await self._connection.send(h11.EndOfMessage())

    async def refuse(self, refusal: Refusal) -> None:
        """Say why not."""
        content = json.dumps(refusal.content, ensure_ascii=False).encode("utf-8", "replace")
        self.headers |= refusal.headers
        await self.respond(refusal.status, content + b"\n")


Handle = Callable[[Request, Exchange], Awaitable[None]]
"""Carries a request out; raises `Refusal`."""
Check = Callable[[Request, Exchange], object]
"""Looks at a request whose body hasn't been read yet; raises `Refusal`."""


class HttpConnection:
    """Serves one connection, request after request, until either side has had enough.

    A client that goes away while its request is carried out cancels that. So does one that only stops
    sending: HTTP doesn't tell the two apart.
    """

    def __init__(self, wire: Wire, settings: NetworkSettings, check: Check, handle: Handle) -> None:
        self.wire = wire
        self.last = False
        """Whether no request comes after this one."""
        self._settings = settings
        self._check = check
        self._handle = handle
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._waiting = trio.CancelScope()
        self._ahead = 0

    def finish(self) -> None:
        """Close it as soon as no request is being carried out; returns at once."""
        self.last = True
        self._waiting.cancel("the app closes")

    async def run(self) -> None:
        """All of its requests. Doesn't close the wire."""
        settings = self._settings
        patience = settings.first_message_timeout
        try:
            while await self._next(patience):
                patience = min(settings.idle_timeout, settings.first_message_timeout)
        except (Lost, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            logger.info("connection with %s: %s", self.wire.peer, error)

    async def _next(self, patience: float) -> bool:
        """One request and its response; whether another may follow."""
        request, exchange = None, Exchange(self, {})
        try:
            head = await self._head(patience)
            if head is None:
                return False
            request = _request(head)
            self._check(request, exchange)
            request = attrs.evolve(request, body=await self._body(request))
        except h11.RemoteProtocolError as error:
            await self._refuse_last(exchange, Refusal(error.error_status_hint, str(error)))
            return False
        except Refusal as refusal:
            # Its body isn't read: whatever comes next on this connection may be part of it.
            await self._discard_empty()
            if self._h11.their_state is not h11.DONE:
                await self._refuse_last(exchange, refusal)
                return False
            await exchange.refuse(refusal)
            await exchange.end()
        else:
            await self._carry_out(request, exchange)
        if self.last or {self._h11.our_state, self._h11.their_state} != {h11.DONE}:
            return False
        self._h11.start_next_cycle()
        return True

    async def _discard_empty(self) -> None:
        """Take the end of a body that has none, which h11 gives as an event of its own."""
        try:
            self._h11.next_event()
        except h11.RemoteProtocolError as error:
            raise Lost(str(error)) from None

    # Reading ----------------------------------------------------------------------------------

    async def _head(self, patience: float) -> h11.Request | None:
        event: Any = None
        with trio.CancelScope(deadline=trio.current_time() + patience) as self._waiting:
            if self.last:
                return None
            event = await self._event()
        if self._waiting.cancelled_caught and not self.last:
            logger.debug("connection with %s: no request in time", self.wire.peer)
        return event if isinstance(event, h11.Request) else None

    async def _body(self, request: Request) -> bytes:
        limit = self._settings.codec.max_message
        too_long = Refusal(413, f"a body of more than {limit} bytes")
        declared = request.headers.get("content-length", "0")
        if int(declared) > limit:
            raise too_long
        pieces: list[bytes] = []
        size = 0
        began = trio.current_time() + self._settings.first_message_timeout
        with trio.CancelScope(deadline=began) as scope:
            while isinstance(event := await self._event(), h11.Data):
                piece = bytes(event.data)
                size += len(piece)
                if size > limit:
                    raise too_long
                # Many tiny pieces cost more than their bytes.
                if pieces and len(pieces[-1]) < 1_024:
                    pieces[-1] += piece
                else:
                    pieces.append(piece)
                scope.deadline = began + size / SLOWEST
        if scope.cancelled_caught:
            raise Refusal(408, "the body comes too slowly")
        return b"".join(pieces)

    async def _event(self) -> Any:
        while True:
            event = self._h11.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._h11.they_are_waiting_for_100_continue:
                await self.send(h11.InformationalResponse(status_code=100, headers=[]))
            self._h11.receive_data(_bytes(await self.wire.receive()))

    async def _watch(self, scope: trio.CancelScope) -> None:
        """Notice while a request is carried out that its client is gone."""
        try:
            while piece := _bytes(await self.wire.receive()):
                self._ahead += len(piece)
                if self._ahead > MAX_HEAD:
                    raise trio.BrokenResourceError("too many requests at once")
                self._h11.receive_data(piece)
            reason = "closed by the peer"
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            reason = str(error)
        logger.debug("connection with %s: %s", self.wire.peer, reason)
        scope.cancel(reason)

    # Carrying out -----------------------------------------------------------------------------

    async def _carry_out(self, request: Request, exchange: Exchange) -> None:
        self._ahead = 0
        answered = False
        failed: Exception | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, nursery.cancel_scope)
            try:
                await self._answer(request, exchange)
                await exchange.end()
                answered = True
            except (Lost, trio.BrokenResourceError, trio.ClosedResourceError) as error:
                failed = error
            nursery.cancel_scope.cancel("it is answered")
        if failed is not None:
            raise failed
        if not answered:
            raise Lost("closed by the peer before it was answered")

    async def _answer(self, request: Request, exchange: Exchange) -> None:
        try:
            await self._handle(request, exchange)
        except Refusal as refusal:
            if exchange.begun:
                raise Lost(refusal.detail) from None
            await exchange.refuse(refusal)
        except (Lost, trio.BrokenResourceError, trio.ClosedResourceError):
            raise
        except Exception as error:
            # A fault of ours costs this request, and no other.
            logger.exception("%s /%s", request.method, "/".join(request.path))
            if exchange.begun:
                raise Lost("it failed in the middle") from None
            await exchange.refuse(Refusal(500, f"{type(error).__name__}: {error}"))

    async def _refuse_last(self, exchange: Exchange, refusal: Refusal) -> None:
        self.last = True
        if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await exchange.refuse(refusal)
            await exchange.end()

    async def send(self, event: Any) -> None:
        """Write one event. Raises `Lost` if the client doesn't read."""
        data = self._h11.send(event)
        if not data:
            return
        with trio.move_on_after(self._settings.send_timeout) as scope:
            await self.wire.send([data])
        if scope.cancelled_caught:
            raise Lost(f"{self.wire.peer} doesn't read")


def _request(head: h11.Request) -> Request:
    target = head.target.decode("ascii", "replace")
    if target.startswith(("http://", "https://")):  # as for a proxy
        target = "/" + target.split("/", 3)[3] if target.count("/") >= 3 else "/"
    path, _, query = target.partition("?")
    try:
        parsed = parse_qs(query, keep_blank_values=True, max_num_fields=100, errors="strict")
        parts = tuple(unquote(part, errors="strict") for part in path.split("/") if part)
    except ValueError as error:
        raise Refusal(400, f"the target of the request can't be read: {error}") from None
    headers: dict[str, str] = {}
    for name, value in head.headers:
        text = value.decode("latin-1")
        key = name.decode("ascii")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return Request(head.method.decode("ascii"), parts, parsed, headers, b"")


def _bytes(piece: bytes | str) -> bytes:
    return piece.encode() if isinstance(piece, str) else piece


def choices(methods: Sequence[str]) -> str:
    """The value of a header that lists `methods`."""
    return ", ".join(methods)
