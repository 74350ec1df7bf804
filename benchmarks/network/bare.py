"""What the network is compared with: Trio's streams and trio-websocket as they come.

Both ends send each message with a call of its own, as one does who has nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import trio
import trio_websocket

from ten_trio.network.transport import RECEIVE_SIZE

Serve = Callable[[trio.abc.Stream], Awaitable[None]]

_COUNT: Final = "count"


@asynccontextmanager
async def _dialed(address: str) -> AsyncGenerator[trio.SocketStream, None]:
    """A stream to `HOST:PORT` or to the path of a Unix socket."""
    if address.startswith("/"):
        stream = await trio.open_unix_socket(address)
    else:
        host, _, port = address.rpartition(":")
        stream = await trio.open_tcp_stream(host, int(port))
    async with stream:
        yield stream


async def listen(nursery: trio.Nursery, serve: Serve, path: str = "") -> str:
    """Serve in `nursery`, at a port of its own or at `path`; returns the address."""
    if path:
        sock = trio.socket.socket(trio.socket.AF_UNIX)
        await sock.bind(path)
        sock.listen(1_024)
        listeners = [trio.SocketListener(sock)]
    else:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1_024)
    nursery.start_soon(trio.serve_listeners, serve, listeners)
    return path or f"127.0.0.1:{listeners[0].socket.getsockname()[1]}"


# Ping-pong ------------------------------------------------------------------------------------


async def echo(stream: trio.abc.Stream) -> None:
    """Answer each message with another one; the first 8 bytes say how long both are."""
    received = bytearray()
    while len(received) < 8:
        chunk = await stream.receive_some()
        if not chunk:
            return
        received += chunk
    size, answer = int.from_bytes(received[:4]), bytes(int.from_bytes(received[4:8]))
    waiting = len(received) - 8
    while True:
        while waiting >= size:
            waiting -= size
            await stream.send_all(answer)
        try:
            chunk = await stream.receive_some(RECEIVE_SIZE)
        except trio.BrokenResourceError:
            return
        if not chunk:
            return
        waiting += len(chunk)


async def _ping(stream: trio.abc.Stream, sizes: tuple[int, int], in_flight: int, n: int) -> None:
    size, answer = sizes
    message = bytes(size)
    for _ in range(n // in_flight):
        for _ in range(in_flight):
            await stream.send_all(message)
        missing = answer * in_flight
        while missing:
            chunk = await stream.receive_some(RECEIVE_SIZE)
            if not chunk:
                raise AssertionError("the echo has gone")
            missing -= len(chunk)


async def ping_pong(
    address: str,
    clock: Callable[[], float],
    sizes: tuple[int, int],
    in_flight: int,
    n: int,
    connections: int = 1,
) -> float:
    """Seconds per round trip: so many bytes there, so many back, so many at a time on each connection."""
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(_dialed(address)) for _ in range(connections)]
        for stream in streams:
            await stream.send_all(sizes[0].to_bytes(4) + sizes[1].to_bytes(4))
            await _ping(stream, sizes, in_flight, in_flight)
        began = clock()
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(_ping, stream, sizes, in_flight, n // connections)
        done = n // connections // in_flight * in_flight * connections
        return (clock() - began) / done


# One way --------------------------------------------------------------------------------------


async def sink(stream: trio.abc.Stream) -> None:
    """Take messages with their length in front; answer an empty one with how many there were."""
    received = b""
    messages: list[bytes] = []
    count = 0
    while True:
        try:
            chunk = await stream.receive_some(RECEIVE_SIZE)
        except trio.BrokenResourceError:
            return
        if not chunk:
            return
        received += chunk
        at = 0
        while at + 4 <= len(received):
            end = at + 4 + int.from_bytes(received[at : at + 4])
            if end > len(received):
                break
            messages.append(received[at + 4 : end])
            at = end
        received = received[at:]
        if messages and not messages[-1]:
            count += len(messages) - 1
            await stream.send_all(count.to_bytes(4))
            count = 0
        else:
            count += len(messages)
        messages.clear()


async def _stream(stream: trio.abc.Stream, size: int, n: int) -> None:
    payload = bytes(size)
    for _ in range(n):
        await stream.send_all(len(payload).to_bytes(4) + payload)
    await stream.send_all(bytes(4))
    if int.from_bytes(await stream.receive_some(4)) != n:
        raise AssertionError("messages are missing")


async def one_way(
    address: str, clock: Callable[[], float], size: int, n: int, connections: int = 1
) -> float:
    """Seconds per message of `size` bytes, until the other end has said that it has them all."""
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(_dialed(address)) for _ in range(connections)]
        for stream in streams:
            await _stream(stream, size, 10)
        began = clock()
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(_stream, stream, size, n // connections)
        return (clock() - began) / (n // connections * connections)


# WebSocket ------------------------------------------------------------------------------------


async def serve_websockets(nursery: trio.Nursery) -> str:
    """Serve in `nursery`: `/echo` sends back what it gets, `/sink` counts it. Returns the address."""
    serve = partial(trio_websocket.serve_websocket, _answer, "127.0.0.1", 0, None)
    server: trio_websocket.WebSocketServer = await nursery.start(serve)
    return f"127.0.0.1:{server.port}"


async def _answer(request: trio_websocket.WebSocketRequest) -> None:
    connection = await request.accept()
    count = 0
    try:
        while True:
            message = await connection.get_message()
            if request.path == "/echo":
                await connection.send_message(message)
            elif message == _COUNT:
                await connection.send_message(str(count))
                count = 0
            else:
                count += 1
    except trio_websocket.ConnectionClosed:
        pass


async def _websockets(
    address: str,
    path: str,
    clock: Callable[[], float],
    talk: Callable[[trio_websocket.WebSocketConnection, int], Awaitable[None]],
    n: int,
    connections: int,
) -> float:
    host, _, port = address.rpartition(":")
    async with AsyncExitStack() as stack:
        opened = [
            await stack.enter_async_context(
                trio_websocket.open_websocket(host, int(port), path, use_ssl=False)
            )
            for _ in range(connections)
        ]
        for connection in opened:
            await talk(connection, 10)
        began = clock()
        async with trio.open_nursery() as nursery:
            for connection in opened:
                nursery.start_soon(talk, connection, n // connections)
        return (clock() - began) / (n // connections * connections)


async def websocket_ping_pong(
    address: str,
    clock: Callable[[], float],
    size: int,
    in_flight: int,
    n: int,
    connections: int = 1,
) -> float:
    """Seconds per round trip of a message of `size` bytes."""
    payload = bytes(size)

    async def talk(connection: trio_websocket.WebSocketConnection, n: int) -> None:
        at_once = min(in_flight, n)
        for _ in range(n // at_once):
            for _ in range(at_once):
                await connection.send_message(payload)
            for _ in range(at_once):
                await connection.get_message()

    return await _websockets(address, "/echo", clock, talk, n, connections)


async def websocket_one_way(
    address: str, clock: Callable[[], float], size: int, n: int, connections: int = 1
) -> float:
    """Seconds per message of `size` bytes, until the other end has said that it has them all."""
    payload = bytes(size)

    async def talk(connection: trio_websocket.WebSocketConnection, n: int) -> None:
        for _ in range(n):
            await connection.send_message(payload)
        await connection.send_message(_COUNT)
        if await connection.get_message() != str(n):
            raise AssertionError("messages are missing")

    return await _websockets(address, "/sink", clock, talk, n, connections)
