"""A few files over HTTP, to this machine: h11 on Trio, within a block."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus

import h11
import trio

IDLE_SECONDS = 30.0
"""How long a browser may keep a connection without asking for anything."""
MAX_CONNECTIONS = 100
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src data:; connect-src 'self' ws: wss:",
    "X-Content-Type-Options": "nosniff",
}

Files = Mapping[str, tuple[str, bytes]]
"""By their paths: the content type, and what is in them."""


@asynccontextmanager
async def serve(files: Files, *, port: int) -> AsyncGenerator[str, None]:
    """Serve `files` at 127.0.0.1 for the length of a block, which gets the URL. Port 0: any free one.

    Raises `OSError` if the port is taken.
    """
    limit = trio.CapacityLimiter(MAX_CONNECTIONS)

    async def talk(stream: trio.SocketStream) -> None:
        try:
            async with limit:
                await _talk(stream, files)
        except trio.BrokenResourceError:
            pass  # the browser has gone

    try:
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
    except OSError as error:
        raise OSError(
            error.errno, f"can't serve the page at 127.0.0.1:{port}: {error.strerror}"
        ) from None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, talk, listeners)
        yield f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        nursery.cancel_scope.cancel("the block is left")


async def _talk(stream: trio.SocketStream, files: Files) -> None:
    """Answer one connection's requests, one after another."""
    connection = h11.Connection(h11.SERVER)
    with trio.move_on_after(IDLE_SECONDS) as idle:
        while connection.our_state is h11.IDLE:
            try:
                request = await _next(connection, stream)
                if not isinstance(request, h11.Request):
                    return
                while not isinstance(await _next(connection, stream), h11.EndOfMessage):
                    pass
                status, kind, content = _answer(request, files)
            except h11.RemoteProtocolError:
                if connection.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
                    return
                request, status, kind, content = None, HTTPStatus.BAD_REQUEST, "text/plain", b"?"
            headers = {**HEADERS, "Content-Type": kind, "Content-Length": str(len(content))}
            response = h11.Response(status_code=status, headers=list(headers.items()))
            pieces = [connection.send(response)]
            if request is None or request.method != b"HEAD":
                pieces.append(connection.send(h11.Data(content)))
            pieces.append(connection.send(h11.EndOfMessage()))
            await stream.send_all(b"".join(piece for piece in pieces if piece))
            if connection.our_state is h11.DONE and connection.their_state is h11.DONE:
                connection.start_next_cycle()
                idle.deadline = trio.current_time() + IDLE_SECONDS


async def _next(connection: h11.Connection, stream: trio.SocketStream) -> h11.Event:
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(await stream.receive_some())
    assert not isinstance(event, type)
    return event


def _answer(request: h11.Request, files: Files) -> tuple[HTTPStatus, str, bytes]:
    host = next((value for name, value in request.headers if name == b"host"), b"")
    # Another name for 127.0.0.1 is another site's, which must not see what this one has.
    if host.rsplit(b":", 1)[0] not in (b"127.0.0.1", b"localhost"):
        return HTTPStatus.MISDIRECTED_REQUEST, "text/plain", b"ask for 127.0.0.1 or localhost\n"
    if request.method not in (b"GET", b"HEAD"):
        return HTTPStatus.METHOD_NOT_ALLOWED, "text/plain", b"only GET\n"
    path = request.target.split(b"?")[0].decode("ascii", "replace")
    if path not in files:
        return HTTPStatus.NOT_FOUND, "text/plain", b"there is nothing here\n"
    kind, content = files[path]
    return HTTPStatus.OK, kind, content
