"""What trio-websocket is known to get wrong doesn't reach whoever uses a wire, with either driver.

D1 to D12 are the numbers of what was found in trio-websocket 0.12.2.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    RejectConnection,
    Request,
)

from ten_trio.network.transport import HandshakeError, TransportOptions, Wire
from ten_trio.network.transports import transport
from ten_trio.network.uris import Address

pytestmark = pytest.mark.slow


@pytest.fixture(params=["trio-websocket", "websockets"])
def given(request: pytest.FixtureRequest) -> TransportOptions:
    return TransportOptions(websocket_driver=request.param, close_timeout=0.3)


class Peer:
    """The other end, which does exactly what a test says."""

    def __init__(self, stream: trio.SocketStream, kind: ConnectionType) -> None:
        self.stream = stream
        self.ws = WSConnection(kind)

    async def send(self, event: Event) -> None:
        await self.stream.send_all(self.ws.send(event))

    async def next(self) -> Event | None:
        """The next event, or None at the end."""
        while True:
            for event in self.ws.events():
                return event
            try:
                data = await self.stream.receive_some()
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self.ws.receive_data(data)


@asynccontextmanager
async def served(
    given: TransportOptions, subprotocols: tuple[str, ...] = (), target: str = "/"
) -> AsyncGenerator[tuple[Wire, Peer, trio.Nursery]]:
    """A wire that has accepted a connection, its peer, and the nursery of the wire."""
    carrier = transport("ws", given)
    (listener,) = await carrier.listen(Address.parse("ws://127.0.0.1:0"), given)
    stream = await trio.open_tcp_stream("127.0.0.1", listener.address.port or 0)
    peer = Peer(stream, ConnectionType.CLIENT)
    await peer.send(Request(host="here", target=target, subprotocols=list(subprotocols)))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            wire = await (await listener.accept()).open(nursery)
            await listener.aclose()
            accepted = await peer.next()
            assert isinstance(accepted, AcceptConnection)
            try:
                yield wire, peer, nursery
            finally:
                stream.socket.close()
                await wire.aclose()


@asynccontextmanager
async def connected(given: TransportOptions) -> AsyncGenerator[tuple[Wire, Peer]]:
    """A wire that has connected, and its peer."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    peers: list[Peer] = []

    async def serve() -> None:
        peer = Peer(await listener.accept(), ConnectionType.SERVER)
        assert isinstance(await peer.next(), Request)
        await peer.send(AcceptConnection())
        peers.append(peer)

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            async with trio.open_nursery() as meeting:
                meeting.start_soon(serve)
                address = Address.parse(f"ws://127.0.0.1:{port}")
                wire = await transport("ws", given).connect(address, given, nursery)
            await listener.aclose()
            try:
                yield wire, peers[0]
            finally:
                peers[0].stream.socket.close()
                await wire.aclose()


async def test_d1_ping_ends_with_the_connection(given: TransportOptions) -> None:
    async with served(given) as (wire, peer, _):
        async with trio.open_nursery() as nursery:

            async def ping() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await wire.ping()  # type: ignore[attr-defined]

            nursery.start_soon(ping)
            assert isinstance(await peer.next(), Ping)
            await peer.stream.aclose()


async def test_d1_ping_is_answered(given: TransportOptions) -> None:
    async with served(given) as (wire, peer, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.ping)  # type: ignore[attr-defined]
            ping = await peer.next()
            assert isinstance(ping, Ping)
            await peer.send(ping.response())


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: x\r\n"])
async def test_d2_client_that_leaves_before_its_request(
    given: TransportOptions, said: bytes
) -> None:
    carrier = transport("ws", given)
    (listener,) = await carrier.listen(Address.parse("ws://127.0.0.1:0"), given)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            stream = await trio.open_tcp_stream("127.0.0.1", listener.address.port or 0)
            if said:
                await stream.send_all(said)
            await stream.aclose()
            with pytest.raises(HandshakeError):
                await (await listener.accept()).open(nursery)
    await listener.aclose()


async def test_d2_client_that_never_sends_its_request(given: TransportOptions) -> None:
    carrier = transport("ws", given)
    (listener,) = await carrier.listen(Address.parse("ws://127.0.0.1:0"), given)
    async with trio.open_nursery() as nursery:
        stream = await trio.open_tcp_stream("127.0.0.1", listener.address.port or 0)
        knock = await listener.accept()
        with trio.CancelScope() as deadline:
            async with trio.open_nursery() as opening:
                opening.start_soon(knock.open, nursery)
                await wait_all_tasks_blocked()
                deadline.cancel("too slow")
        with trio.fail_after(5):
            assert await stream.receive_some() == b""
        await stream.aclose()
    await listener.aclose()


async def test_d2_requests_are_bounded(given: TransportOptions) -> None:
    carrier = transport("ws", given)
    (listener,) = await carrier.listen(Address.parse("ws://127.0.0.1:0"), given)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            stream = await trio.open_tcp_stream("127.0.0.1", listener.address.port or 0)

            async def flood() -> None:
                with pytest.raises(trio.BrokenResourceError):
                    await stream.send_all(b"GET / HTTP/1.1\r\n")
                    while True:
                        await stream.send_all(b"x: " + b"y" * 4000 + b"\r\n")

            nursery.start_soon(flood)
            with pytest.raises(HandshakeError):
                await (await listener.accept()).open(nursery)
        await stream.aclose()
    await listener.aclose()


async def test_d2_what_is_no_upgrade_is_rejected(given: TransportOptions) -> None:
    carrier = transport("ws", given)
    (listener,) = await carrier.listen(Address.parse("ws://127.0.0.1:0"), given)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            stream = await trio.open_tcp_stream("127.0.0.1", listener.address.port or 0)
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

            async def read() -> None:
                answer = b""
                while data := await stream.receive_some():
                    answer += data
                assert answer.startswith(b"HTTP/1.1 4")
                await stream.aclose()

            nursery.start_soon(read)
            with pytest.raises(HandshakeError):
                await (await listener.accept()).open(nursery)
    await listener.aclose()


async def test_d3_one_failure_ends_one_connection(given: TransportOptions) -> None:
    async with served(given) as (one, _, __), served(given) as (_, peer, nursery):
        await peer.stream.send_all(b"\xff\xff\xff nonsense")
        with pytest.raises(trio.BrokenResourceError):
            await _.receive()
        assert not nursery.cancel_scope.cancel_called
        await one.send([b"still here"])


async def test_d4_cancelling_the_nursery_says_1001(given: TransportOptions) -> None:
    async with served(given) as (wire, peer, nursery):
        nursery.cancel_scope.cancel("the app is closing")

        async def closed() -> None:
            # The body of the nursery is cancelled; its peer isn't.
            with trio.CancelScope(shield=True):
                event = await peer.next()
                assert isinstance(event, CloseConnection)
                assert event.code == 1001
                await peer.send(event.response())
                assert await peer.next() is None

        await closed()
        with trio.CancelScope(shield=True), pytest.raises(trio.BrokenResourceError, match="left"):
            await wire.receive()


async def test_d4_closing_says_1000(given: TransportOptions) -> None:
    async with connected(given) as (wire, peer):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wire.aclose)
            event = await peer.next()
            assert isinstance(event, CloseConnection)
            assert event.code == 1000
            await peer.send(event.response())
            await peer.stream.aclose()


async def test_d5_cancelled_send_breaks_the_wire(given: TransportOptions) -> None:
    async with connected(given) as (wire, _):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wire.send, [bytes(2**20)] * 64)
                await wait_all_tasks_blocked(0.05)
                scope.cancel("enough")
        for _again in range(2):
            with pytest.raises(trio.BrokenResourceError, match="cancelled"):
                await wire.send([b"x"])


async def test_d6_pings_are_answered_while_nobody_receives(given: TransportOptions) -> None:
    async with served(given) as (wire, peer, _):
        for _n in range(200):
            await peer.send(BytesMessage(b"unread"))
        await peer.send(Ping(b"there?"))
        answer = await peer.next()
        assert isinstance(answer, Pong)
        assert bytes(answer.payload) == b"there?"
        await peer.send(CloseConnection(1000))
        assert isinstance(await peer.next(), CloseConnection)
        for _n in range(200):
            assert await wire.receive() == b"unread"
        assert await wire.receive() == b""


async def test_d7_ping_while_closing(given: TransportOptions) -> None:
    reached = False
    async with trio.open_nursery() as around:
        async with served(given) as (wire, peer, _):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wire.aclose)
                # Our answer to the closing is late, and pings are under way.
                assert isinstance(await peer.next(), CloseConnection)
                frame = bytes([0x89, 0x80, 0, 0, 0, 0])
                await peer.stream.send_all(frame * 3)
        reached = True
        assert not around.cancel_scope.cancelled_caught
    assert reached


async def test_d8_rejection_is_an_ordinary_error(given: TransportOptions) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]

    async def reject() -> None:
        stream = await listener.accept()
        peer = Peer(stream, ConnectionType.SERVER)
        assert isinstance(await peer.next(), Request)
        await peer.send(RejectConnection(status_code=403, headers=[(b"content-length", b"0")]))
        await stream.aclose()

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reject)
            with pytest.raises(HandshakeError, match="403"):
                address = Address.parse(f"ws://127.0.0.1:{port}")
                await transport("ws", given).connect(address, given, nursery)
            await listener.aclose()


async def test_d9_what_has_come_before_the_end_is_received(given: TransportOptions) -> None:
    async with connected(given) as (wire, peer):
        for index in range(300):
            await peer.send(BytesMessage(index.to_bytes(2, "big")))
        await peer.send(CloseConnection(1001))
        assert isinstance(await peer.next(), CloseConnection)
        await peer.stream.aclose()
        for index in range(300):
            assert await wire.receive() == index.to_bytes(2, "big")
        assert await wire.receive() == b""


async def test_d10_sizes_are_ours(given: TransportOptions) -> None:
    async with served(given) as (wire, peer, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.send, BytesMessage(bytes(5 * 2**20)))
            piece = await wire.receive()
            assert len(piece) == 5 * 2**20

        async def too_big() -> None:
            with pytest.raises(trio.BrokenResourceError, match="1009"):
                await wire.receive()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(too_big)
            nursery.start_soon(peer.send, BytesMessage(bytes(given.max_message + 1)))
            event = await peer.next()
            assert isinstance(event, CloseConnection)
            assert event.code == 1009


async def test_d11_the_reader_stays(given: TransportOptions) -> None:
    async with served(given) as (wire, _, __):
        assert not wire.movable


async def test_d12_nothing_is_compressed(given: TransportOptions) -> None:
    carrier = transport("ws", given)
    (listener,) = await carrier.listen(Address.parse("ws://127.0.0.1:0"), given)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            stream = await trio.open_tcp_stream("127.0.0.1", listener.address.port or 0)
            request = (
                "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
            )
            await stream.send_all(request.encode())
            wire = await (await listener.accept()).open(nursery)
            answer = await stream.receive_some()
            assert answer.startswith(b"HTTP/1.1 101")
            assert b"extensions" not in answer.lower()
            await stream.aclose()
            await wire.aclose()
    await listener.aclose()


@pytest.mark.parametrize(
    ("liked", "offered", "chosen"),
    [(("a", "b"), ("b", "a"), "a"), (("a",), ("b",), ""), ((), ("b",), ""), (("a",), (), "")],
)
async def test_subprotocols(
    given: TransportOptions, liked: tuple[str, ...], offered: tuple[str, ...], chosen: str
) -> None:
    given = TransportOptions(websocket_driver=given.websocket_driver, subprotocols=liked)
    async with served(given, offered) as (wire, _, __):
        assert wire.subprotocol == chosen


async def test_token_in_the_query(given: TransportOptions) -> None:
    async with served(given, target="/path?a=b&token=se%20cret") as (wire, _, __):
        assert wire.credentials.token == "se cret"
        assert "se cret" not in repr(wire.credentials)
