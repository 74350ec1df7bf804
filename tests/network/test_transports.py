"""All transports keep to the rules of `check_transport`, and each to its own."""

from __future__ import annotations

import os
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trustme

from ten_trio.errors import ConfigError, InvalidArgument, MissingExtra
from ten_trio.network.transport import (
    HandshakeError,
    Knock,
    Listener,
    NotMovable,
    TransportOptions,
    Wire,
)
from ten_trio.network.transports import transport
from ten_trio.network.uris import Address
from ten_trio.testing import check_transport

pytestmark = pytest.mark.slow

CA = trustme.CA()
DRIVERS = ("trio-websocket", "websockets")
QUICK = 0.2  # for the tests in which the other end doesn't answer a close


def options(**changes: object) -> TransportOptions:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    CA.issue_cert("localhost", "127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    CA.configure_trust(client)
    made = TransportOptions(server_ssl=server, client_ssl=client, close_timeout=QUICK)
    return attrs.evolve(made, **changes)


CASES = {
    "tcp": ("tcp://127.0.0.1:0", options()),
    "unix": ("unix://{folder}/ten.sock", options()),
    "tls": ("tls://127.0.0.1:0", options()),
    **{
        f"{scheme} by {driver}": (f"{scheme}://127.0.0.1:0/", options(websocket_driver=driver))
        for scheme in ("ws", "wss")
        for driver in DRIVERS
    },
}


@asynccontextmanager
async def pair(
    uri: str, given: TransportOptions, server_options: TransportOptions | None = None
) -> AsyncGenerator[tuple[Wire, Wire]]:
    address = Address.parse(uri)
    carrier = transport(address.scheme, given)
    served: list[Wire] = []
    async with trio.open_nursery() as nursery:
        (listener, *rest) = await carrier.listen(address, server_options or given)

        async def serve() -> None:
            served.append(await (await listener.accept()).open(nursery))

        async with trio.open_nursery() as meeting:
            meeting.start_soon(serve)
            client = await carrier.connect(listener.address, given, nursery)
        for one in (listener, *rest):
            await one.aclose()
        yield client, served[0]
        async with trio.open_nursery() as closing:
            closing.start_soon(client.aclose)
            closing.start_soon(served[0].aclose)


@pytest.mark.parametrize("case", CASES)
async def test_rules(case: str, tmp_path: Path) -> None:
    uri, given = CASES[case]
    address = Address.parse(uri.format(folder=tmp_path))
    await check_transport(lambda: (transport(address.scheme, given), address, given))


# The checks find what is broken ---------------------------------------------------------------------


class Worse:
    """A TCP transport whose wires are made by `worsen` from good ones."""

    def __init__(self, worsen: type[Twisted]) -> None:
        self._good = transport("tcp", TransportOptions())
        self._worsen = worsen
        self.name = "worse"

    async def listen(self, address: Address, options: TransportOptions) -> list[Listener]:
        return [
            TwistedListener(listener, self._worsen)
            for listener in await self._good.listen(address, options)
        ]

    async def connect(
        self, address: Address, options: TransportOptions, nursery: trio.Nursery
    ) -> Wire:
        return self._worsen(await self._good.connect(address, options, nursery))

    def adopt(self, parked: object) -> Wire:
        return self._worsen(self._good.adopt(parked))  # type: ignore[arg-type]


class TwistedListener:
    def __init__(self, listener: Listener, worsen: type[Twisted]) -> None:
        self._good = listener
        self._worsen = worsen
        self.address = listener.address

    async def accept(self) -> Knock:
        return self._worsen.knock(await self._good.accept(), self._worsen)

    async def aclose(self) -> None:
        await self._good.aclose()


class TwistedKnock:
    def __init__(self, knock: Knock, worsen: type[Twisted]) -> None:
        self._good = knock
        self._worsen = worsen
        self.peer = knock.peer

    async def open(self, nursery: trio.Nursery) -> Wire:
        return self._worsen(await self._good.open(nursery))

    async def refuse(self) -> None:
        await self._good.refuse()


class Twisted:
    knock = TwistedKnock

    def __init__(self, wire: Wire) -> None:
        self._good = wire

    def __getattr__(self, name: str) -> object:
        return getattr(self._good, name)


class DropsAByte(Twisted):
    received = 0

    async def receive(self) -> bytes | str:
        piece = await self._good.receive()
        self.received += 1
        return piece[:-1] if self.received == 3 and len(piece) > 1 else piece


class LosesOnCancel(Twisted):
    async def receive(self) -> bytes | str:
        piece = await self._good.receive()
        await trio.lowlevel.checkpoint()  # cancelled here, the piece is gone
        return piece


class Reorders(Twisted):
    async def send(self, pieces: list[bytes]) -> None:
        await self._good.send(pieces[::-1])


class SurvivesCancelledSend(Twisted):
    async def send(self, pieces: list[bytes]) -> None:
        try:
            await self._good.send(pieces)
        except trio.BrokenResourceError as error:
            if "cancelled" not in str(error):
                raise


class DeafToClose(Twisted):
    closed = False

    async def receive(self) -> bytes | str:
        return b"" if self.closed else await self._good.receive()

    async def aclose(self) -> None:
        await self._good.aclose()
        self.closed = True


class LosesItsRest(Twisted):
    def detach(self) -> object:
        self._good._pipe.socket._sock.recv(1)  # type: ignore[attr-defined]
        return self._good.detach()


class OpensWhatIsRefused(TwistedKnock):
    async def refuse(self) -> None:
        wire = await self._good.open(None)  # type: ignore[arg-type]
        await wire.send([b"welcome"])
        await wire.aclose()


class Welcoming(Twisted):
    knock = OpensWhatIsRefused


@pytest.mark.parametrize(
    ("worsen", "rule"),
    [
        (DropsAByte, "in order"),
        (LosesOnCancel, "cancelling receive"),
        (Reorders, "in order"),
        (SurvivesCancelledSend, "cancelling send"),
        (DeafToClose, "closed says so"),
        (LosesItsRest, "moves without loss"),
        (Welcoming, "refuse"),
    ],
)
async def test_broken_transports_are_found(worsen: type[Twisted], rule: str) -> None:
    with pytest.raises(AssertionError, match=rule):
        await check_transport(
            lambda: (Worse(worsen), Address.parse("tcp://127.0.0.1:0"), options())
        )


# What is particular to one --------------------------------------------------------------------------


async def test_all_addresses_of_a_host_get_one_port() -> None:
    carrier = transport("tcp", TransportOptions())
    address = Address.parse("tcp://localhost:0")
    listeners = await carrier.listen(address, TransportOptions())
    assert len({listener.address.port for listener in listeners}) == 1
    assert listeners[0].address.port
    for listener in listeners:
        await listener.aclose()


@pytest.mark.parametrize("scheme", ["tcp", "tls", "ws", "wss"])
async def test_errors_name_the_uri(scheme: str, nursery: trio.Nursery) -> None:
    carrier = transport(scheme, options())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"{scheme}://127.0.0.1:{port}"):
            await carrier.listen(Address.parse(f"{scheme}://127.0.0.1:{port}"), options())
    with pytest.raises(ConnectionRefusedError, match=f"{scheme}://127.0.0.1:{port}"):
        await carrier.connect(Address.parse(f"{scheme}://127.0.0.1:{port}"), options(), nursery)
    with pytest.raises(InvalidArgument, match="no host"):
        await carrier.listen(Address.parse(f"{scheme}://:1"), options())


class Resolver(trio.abc.HostnameResolver):
    """Knows nobody."""

    async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
        await trio.lowlevel.checkpoint()
        raise socket.gaierror(socket.EAI_NONAME, "nobody knows it")

    async def getnameinfo(self, *_: Any) -> Any:
        raise AssertionError


async def test_a_host_that_nobody_knows_is_named(nursery: trio.Nursery) -> None:
    before = trio.socket.set_custom_hostname_resolver(Resolver())
    try:
        for use in (
            partial(transport("tcp", options()).connect, nursery=nursery),
            transport("tcp", options()).listen,
        ):
            with pytest.raises(socket.gaierror, match=r"tcp://somewhere:1: nobody knows it"):
                await use(Address.parse("tcp://somewhere:1"), options())
    finally:
        trio.socket.set_custom_hostname_resolver(before)


@pytest.mark.parametrize(
    ("uri", "local"),
    [
        ("unix:///run/app.sock", True),
        ("tcp://localhost:1", True),
        ("tcp://127.0.0.2:1", True),
        ("tcp://[::1]:1", True),
        ("tcp://10.0.0.1:1", False),
        ("tcp://localhost.example:1", False),
    ],
)
def test_what_is_only_for_this_machine(uri: str, local: bool) -> None:
    assert Address.parse(uri).is_local is local


def test_unknown_transports() -> None:
    with pytest.raises(ConfigError, match=r"'udp'.*tcp"):
        transport("udp", TransportOptions())


async def test_small_pieces_and_big_ones_stay_in_order() -> None:
    pieces = [os.urandom(size) for size in (3, 200_000, 0, 1, 70_000, 5)] * 4
    async with pair("tcp://127.0.0.1:0", options()) as (client, server):
        received = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, [*pieces, "Grüße"])
            wanted = b"".join(pieces) + "Grüße".encode()
            while len(received) < len(wanted):
                received += await server.receive()  # type: ignore[arg-type]
        assert received == wanted


async def test_closing_with_unread_bytes_loses_nothing_of_what_was_sent() -> None:
    async with pair("tcp://127.0.0.1:0", options(close_timeout=2)) as (client, server):
        await client.send([b"never read"])
        sent = bytes(3 * 2**20)
        received = 0
        async with trio.open_nursery() as nursery:

            async def send_and_close() -> None:
                await server.send([sent])
                await server.aclose()

            nursery.start_soon(send_and_close)
            while piece := await client.receive():
                received += len(piece)
            await client.aclose()
        assert received == len(sent)


async def test_a_wire_in_use_cannot_be_moved() -> None:
    async with pair("tcp://127.0.0.1:0", options()) as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.receive)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                client.detach()
            await server.send([b"x"])
        parked = client.detach()
        with pytest.raises(NotMovable, match="UnixWire"):
            transport("unix", options()).adopt(parked)
        parked.discard()
        parked.discard()
        with pytest.raises(trio.ClosedResourceError, match="discarded"):
            transport("tcp", options()).adopt(parked)


async def test_unix_file(tmp_path: Path) -> None:
    path = tmp_path / "ten.sock"
    address = Address.parse(f"unix://{path}")
    carrier = transport("unix", options())
    (listener,) = await carrier.listen(address, options())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(OSError, match=r"unix://.*somebody else listens"):
        await carrier.listen(address, options())
    await listener.aclose()
    assert not path.exists()
    # A process that was killed leaves its file.
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    assert path.exists()
    (listener,) = await carrier.listen(address, options())
    # Somebody else's file at the same place isn't ours to remove.
    path.unlink()
    path.write_text("precious")
    await listener.aclose()
    assert path.read_text() == "precious"
    with pytest.raises(OSError, match=r"unix://.*no socket"):
        await carrier.listen(address, options())
    with pytest.raises(InvalidArgument, match="no path"):
        await carrier.listen(Address.parse("unix://name"), options())


@pytest.mark.parametrize("scheme", ["tls", "wss"])
async def test_listening_with_tls_needs_a_certificate(scheme: str) -> None:
    with pytest.raises(ConfigError, match="server_ssl"):
        await transport(scheme, options()).listen(
            Address.parse(f"{scheme}://127.0.0.1:0"), TransportOptions()
        )


@pytest.mark.parametrize("scheme", ["tls", "wss"])
async def test_client_certificates(scheme: str) -> None:
    given = options()
    assert given.server_ssl is not None
    assert given.client_ssl is not None
    given.server_ssl.verify_mode = ssl.CERT_REQUIRED
    CA.configure_trust(given.server_ssl)
    CA.issue_cert("alice@example.org", common_name="alice").configure_cert(given.client_ssl)
    async with pair(f"{scheme}://localhost:0", given) as (client, server):
        assert server.credentials.certificate.startswith("CN=alice,")
        assert client.credentials.certificate == ""


@pytest.mark.parametrize("scheme", ["tls", "wss"])
async def test_untrusted_servers(scheme: str) -> None:
    address = Address.parse(f"{scheme}://127.0.0.1:0")
    carrier = transport(scheme, options())
    (listener,) = await carrier.listen(address, options())
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            knock = await listener.accept()
            with pytest.raises(HandshakeError, match=r"127\.0\.0\.1.*TLS"):
                await knock.open(nursery)

        nursery.start_soon(serve)
        with pytest.raises(HandshakeError, match=r"://127\.0\.0\.1.*CERTIFICATE_VERIFY_FAILED"):
            await carrier.connect(listener.address, TransportOptions(), nursery)
    await listener.aclose()


@pytest.mark.parametrize("scheme", ["tls", "wss"])
async def test_plain_bytes_where_tls_is_spoken(scheme: str) -> None:
    carrier = transport(scheme, options())
    (listener,) = await carrier.listen(Address.parse(f"{scheme}://127.0.0.1:0"), options())
    async with trio.open_nursery() as nursery:
        stream = await trio.open_tcp_stream("127.0.0.1", listener.address.port or 0)
        await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
        knock = await listener.accept()
        with pytest.raises(HandshakeError):
            await knock.open(nursery)
        await stream.aclose()
    await listener.aclose()


def test_libraries_are_loaded_when_they_are_used() -> None:
    code = (
        "import sys, ten_trio, ten_trio.network.transports, ten_trio.testing\n"
        "assert not {'trio_websocket', 'websockets', 'wsproto'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.trio.client", None)
    monkeypatch.delitem(sys.modules, "ten_trio.network.transports.websockets_driver", raising=False)
    with pytest.raises(MissingExtra, match=r"ten-trio\[websockets\]"):
        transport("ws", TransportOptions(websocket_driver="websockets"))
