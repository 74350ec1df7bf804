"""What every transport has to keep to, as a check that its author runs: `check_transport`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from random import Random
from typing import NoReturn

import trio
from trio.testing import wait_all_tasks_blocked

from ..errors import TenError
from ..network.transport import (
    HandshakeError,
    Listener,
    NotMovable,
    Parked,
    Piece,
    Transport,
    TransportOptions,
    Wire,
)
from ..network.uris import Address
from .rules import check_rule

_PATIENCE = 15.0  # seconds for one check; only a hang gets there
_QUIET = 0.05  # for so long nothing happens: whoever sends is stuck
_MIB = 2**20

MakeTransport = Callable[[], tuple[Transport, Address, TransportOptions]]
"""Returns a transport, where to listen (port 0, or a path that is free again after closing), and how."""

_Check = Callable[[Transport, Address, TransportOptions], Awaitable[None]]


async def check_transport(make: MakeTransport) -> None:
    """Check everything that `Transport`, `Listener`, `Knock` and `Wire` promise, over real connections.

    It takes some seconds, of real time. Raises `AssertionError`, which says which rule is broken.
    """
    for rule, check in _RULES.items():
        await check_rule(rule, partial(check, *make()), _PATIENCE)


# Connections ----------------------------------------------------------------------------------------


@asynccontextmanager
async def _listening(
    transport: Transport, address: Address, options: TransportOptions
) -> AsyncGenerator[Listener]:
    listeners = await transport.listen(address, options)
    try:
        yield listeners[0]
    finally:
        with trio.move_on_after(1, shield=True):
            for listener in listeners:
                await listener.aclose()


async def _meet(
    transport: Transport, listener: Listener, options: TransportOptions, nursery: trio.Nursery
) -> tuple[Wire, Wire]:
    met: list[Wire] = []

    async def serve() -> None:
        knock = await listener.accept()
        met.append(await knock.open(nursery))

    async with trio.open_nursery() as meeting:
        meeting.start_soon(serve)
        client = await transport.connect(listener.address, options, nursery)
    return client, met[0]


@asynccontextmanager
async def _pair(
    transport: Transport, address: Address, options: TransportOptions
) -> AsyncGenerator[tuple[Wire, Wire]]:
    async with trio.open_nursery() as nursery:
        async with _listening(transport, address, options) as listener:
            client, server = await _meet(transport, listener, options, nursery)
        try:
            yield client, server
        finally:
            with trio.move_on_after(2 * options.close_timeout + 1, shield=True):
                async with trio.open_nursery() as closing:
                    closing.start_soon(client.aclose)
                    closing.start_soon(server.aclose)


async def _receive_all(wire: Wire) -> list[Piece]:
    pieces: list[Piece] = []
    while True:
        piece = await wire.receive()
        if piece == b"":
            return pieces
        pieces.append(piece)


def _compare(wire: Wire, sent: list[Piece], received: list[Piece]) -> None:
    if wire.is_framed:
        for index, (one, other) in enumerate(zip(sent, received, strict=False)):
            assert one == other, f"frame {index} of {len(sent)} came as something else"
        assert len(sent) == len(received), f"{len(sent)} frames sent, {len(received)} received"
        return
    one_stream, other_stream = _joined(sent), _joined(received)
    assert len(one_stream) == len(other_stream), (
        f"{len(one_stream)} bytes sent, {len(other_stream)} received"
    )
    assert one_stream == other_stream, "other bytes have come than were sent"


def _joined(pieces: list[Piece]) -> bytes:
    return b"".join(piece.encode() if isinstance(piece, str) else piece for piece in pieces)


def _pieces(wire: Wire, seed: int, count: int) -> list[Piece]:
    random = Random(seed)
    pieces: list[Piece] = []
    for index in range(count):
        size = random.choice((1, 7, 125, 126, 640, 5_000, 70_000))
        if wire.is_framed and index % 5 == 4:
            pieces.append(f"{index}: " + "Grüße, " * (size // 7))
        else:
            pieces.append(random.randbytes(size))
    return pieces


async def _expect(
    kinds: tuple[type[Exception], ...], do: Callable[[], Awaitable[object]], what: str
) -> None:
    try:
        got = await do()
    except kinds:
        return
    wanted = " or ".join(kind.__name__ for kind in kinds)
    raise AssertionError(f"{what} must raise {wanted}, and returned {got!r}")


async def _send_until_stuck(wire: Wire, sent: list[Piece]) -> NoReturn:
    # The first bytes tell the pieces apart.
    while True:
        piece = len(sent).to_bytes(4, "big") + bytes(256 * 1024)
        sent.append(piece)
        await wire.send([piece])
        assert len(sent) < 1024, "256 MiB were sent, and nobody has received anything"


# The rules ------------------------------------------------------------------------------------------


async def _order(transport: Transport, address: Address, options: TransportOptions) -> None:
    async with _pair(transport, address, options) as pair:

        async def send(wire: Wire, pieces: list[Piece]) -> None:
            random = Random(len(pieces))
            index = 0
            while index < len(pieces):
                count = random.choice((0, 1, 1, 2, 30))
                await wire.send(pieces[index : index + count])
                index += count

        async def receive(wire: Wire, received: list[Piece]) -> None:
            while True:
                piece = await wire.receive()
                assert piece != b"", "an end has come before everything that was sent"
                received.append(piece)

        results: list[tuple[Wire, list[Piece], list[Piece]]] = []
        async with trio.open_nursery() as receiving:
            async with trio.open_nursery() as sending:
                for wire, other, seed in ((pair[0], pair[1], 1), (pair[1], pair[0], 2)):
                    pieces = _pieces(wire, seed, 300)
                    results.append((wire, pieces, []))
                    sending.start_soon(send, wire, pieces)
                    receiving.start_soon(receive, other, results[-1][2])
            await wait_all_tasks_blocked(_QUIET)
            receiving.cancel_scope.cancel("what hasn't come by now is lost")
        for result in results:
            _compare(*result)


async def _big(transport: Transport, address: Address, options: TransportOptions) -> None:
    size = min(8 * _MIB, options.max_message)
    async with _pair(transport, address, options) as (client, server):
        for sender, receiver in ((client, server), (server, client)):
            piece = Random(size).randbytes(size)
            parts: list[Piece] = [piece]
            if not sender.is_framed:
                parts = [memoryview(piece)[:100], piece[100:]]
            received = bytearray()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sender.send, parts)
                while len(received) < size:
                    got = await receiver.receive()
                    assert isinstance(got, bytes), "bytes have come as text"
                    assert got, "an end has come before everything that was sent"
                    received += got
            assert received == piece, "other bytes have come than were sent"


async def _end(transport: Transport, address: Address, options: TransportOptions) -> None:
    for closer in (0, 1):
        async with _pair(transport, address, options) as pair:
            sender, receiver = pair[closer], pair[1 - closer]
            pieces = _pieces(sender, 3, 40)
            received: list[Piece] = []

            async def close(sender: Wire = sender, pieces: list[Piece] = pieces) -> None:
                await sender.send(pieces)
                await sender.aclose()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(close)
                received = await _receive_all(receiver)
                for _ in range(2):
                    assert await receiver.receive() == b"", "after the end something has come"
                await receiver.aclose()
            _compare(receiver, pieces, received)


async def _closed(transport: Transport, address: Address, options: TransportOptions) -> None:
    async with _pair(transport, address, options) as (client, server):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.aclose)
            await client.aclose()
        for wire in (client, server):
            await wire.aclose()
            closed = (trio.ClosedResourceError,)
            await _expect(closed, wire.receive, "receive after aclose")
            await _expect(closed, lambda wire=wire: wire.send([b"x"]), "send after aclose")  # type: ignore[misc]


async def _close_receiving(
    transport: Transport, address: Address, options: TransportOptions
) -> None:
    for closer in (0, 1):
        async with _pair(transport, address, options) as pair:
            ended: list[str] = []

            async def here(wire: Wire) -> None:
                await _expect((trio.ClosedResourceError,), wire.receive, "receive during aclose")

            async def there(wire: Wire, ended: list[str] = ended) -> None:
                piece = await wire.receive()
                assert piece == b"", f"instead of the end {piece!r} has come"
                ended.append("there")
                await wire.aclose()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(here, pair[closer])
                nursery.start_soon(there, pair[1 - closer])
                await wait_all_tasks_blocked(_QUIET)
                await pair[closer].aclose()
            assert ended, "the other end wasn't told"


async def _close_sending(transport: Transport, address: Address, options: TransportOptions) -> None:
    for closing_sender in (True, False):
        async with _pair(transport, address, options) as (client, server):

            async def send(wire: Wire, kind: type[Exception]) -> None:
                with suppress(kind):
                    await _send_until_stuck(wire, [])

            async with trio.open_nursery() as nursery:
                if closing_sender:
                    nursery.start_soon(send, client, trio.ClosedResourceError)
                    await wait_all_tasks_blocked(_QUIET)
                    await client.aclose()
                else:
                    nursery.start_soon(send, client, trio.BrokenResourceError)
                    await wait_all_tasks_blocked(_QUIET)
                    await server.aclose()


async def _cancelled_receive(
    transport: Transport, address: Address, options: TransportOptions
) -> None:
    async with _pair(transport, address, options) as (client, server):
        pieces = _pieces(client, 4, 300)

        async def send() -> None:
            random = Random(4)
            for piece in pieces:
                await client.send([piece])
                for _ in range(random.randrange(3)):
                    await trio.lowlevel.checkpoint()
            await client.aclose()

        async def cancel(scope: trio.CancelScope, steps: int) -> None:
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            scope.cancel("to see whether something is lost")

        received: list[Piece] = []
        random = Random(5)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            at_end = False
            while not at_end:
                with trio.CancelScope() as scope:
                    steps = random.randrange(6)
                    if steps:
                        nursery.start_soon(cancel, scope, steps)
                    elif random.randrange(2):
                        scope.cancel("to see whether something is lost")
                    piece = await server.receive()
                    if piece == b"":
                        at_end = True
                    else:
                        received.append(piece)
            await server.aclose()
        _compare(server, pieces, received)


async def _cancelled_send(
    transport: Transport, address: Address, options: TransportOptions
) -> None:
    async with _pair(transport, address, options) as (client, _):
        scope = trio.CancelScope()

        async def send() -> None:
            with scope:
                await _send_until_stuck(client, [])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked(_QUIET)
            scope.cancel("to see whether the wire is broken")
        broken = (trio.BrokenResourceError,)
        await _expect(broken, lambda: client.send([b"x"]), "send after a cancelled send")
        await _expect(broken, client.receive, "receive after a cancelled send")


async def _slow_reader(transport: Transport, address: Address, options: TransportOptions) -> None:
    for reader in (0, 1):
        async with _pair(transport, address, options) as pair:
            receiver, sender = pair[reader], pair[1 - reader]
            sent: list[Piece] = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_send_until_stuck, sender, sent)
                await wait_all_tasks_blocked(_QUIET)
                stuck = len(sent)
                size = len(sent[0])
                got = 0
                # What comes beyond what was sent by now shows that the sender goes on.
                while got < (stuck + 4) * size:
                    piece = await receiver.receive()
                    assert piece != b"", "an end has come, and nobody has closed"
                    if receiver.is_framed:
                        assert piece == sent[got // size], "another frame has come than was sent"
                    got += len(piece)
                nursery.cancel_scope.cancel("the sender has gone on")


async def _cancelled_close(
    transport: Transport, address: Address, options: TransportOptions
) -> None:
    async with _pair(transport, address, options) as (client, server):
        with trio.CancelScope() as scope:
            scope.cancel("to see whether it is closed nevertheless")
            await client.aclose()
        await _expect((trio.ClosedResourceError,), client.receive, "receive after aclose")
        with suppress(trio.BrokenResourceError):
            assert await server.receive() == b"", "instead of the end something has come"


async def _refuse(transport: Transport, address: Address, options: TransportOptions) -> None:
    async with trio.open_nursery() as nursery:
        async with _listening(transport, address, options) as listener:

            async def refuse() -> None:
                knock = await listener.accept()
                await knock.refuse()

            nursery.start_soon(refuse)
            try:
                wire = await transport.connect(listener.address, options, nursery)
            except (OSError, HandshakeError):
                return
            try:
                with suppress(trio.BrokenResourceError):
                    assert await wire.receive() == b"", "instead of the end something has come"
            finally:
                with trio.move_on_after(options.close_timeout, shield=True):
                    await wire.aclose()


async def _listener(transport: Transport, address: Address, options: TransportOptions) -> None:
    closed = (trio.ClosedResourceError,)
    async with trio.open_nursery() as nursery:
        async with _listening(transport, address, options) as listener:
            client, server = await _meet(transport, listener, options, nursery)
            async with trio.open_nursery() as waiting:
                waiting.start_soon(_expect, closed, listener.accept, "accept during aclose")
                await wait_all_tasks_blocked(_QUIET)
                await listener.aclose()
            await listener.aclose()
            await _expect(closed, listener.accept, "accept after aclose")
            refused = (OSError, HandshakeError)
            target = listener.address
            await _expect(
                refused,
                lambda: transport.connect(target, options, nursery),
                "connecting where nobody listens any more",
            )
        await client.send([b"still here"])
        assert await server.receive() == b"still here", "closing a listener has closed its wires"
        async with trio.open_nursery() as closing:
            closing.start_soon(server.aclose)
            await client.aclose()


async def _move(transport: Transport, address: Address, options: TransportOptions) -> None:
    async with _pair(transport, address, options) as (client, server):
        if not (client.movable or server.movable):
            for wire in (client, server):
                try:
                    wire.detach()
                except NotMovable:
                    continue
                raise AssertionError("detach must raise NotMovable")
            return
        for wire in (client, server):
            assert wire.movable, "one end can be moved, and the other can't"
    for across_threads in (False, True):
        async with _pair(transport, address, options) as (client, server):
            await _move_one(transport, client, server, across_threads=across_threads)


async def _move_one(
    transport: Transport, client: Wire, server: Wire, *, across_threads: bool
) -> None:
    data = Random(6).randbytes(6 * _MIB)

    async def send() -> None:
        for start in range(0, len(data), 30_000):
            await client.send([data[start : start + 30_000]])

    async def read_some(parked: Parked, missing: int) -> tuple[Parked, bytes]:
        """In whatever run this is: go on with the wire, for a while."""
        wire = transport.adopt(parked)
        read = bytearray()
        while len(read) < min(missing, 200_000):
            piece = await wire.receive()
            assert isinstance(piece, bytes), "bytes have come as text"
            assert piece, "an end has come, and nobody has closed"
            read += piece
        await wire.send([len(read).to_bytes(4, "big")])
        return wire.detach(), bytes(read)

    async def count_answers() -> None:
        answers = b""
        told = 0
        while told < len(data):
            while len(answers) < 4:
                piece = await client.receive()
                assert isinstance(piece, bytes), "bytes have come as text"
                assert piece, "an end has come, and nobody has closed"
                answers += piece
            told += int.from_bytes(answers[:4], "big")
            answers = answers[4:]
        assert told == len(data), "answers have been lost or changed on the way back"

    received = bytearray()
    parked = server.detach()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            nursery.start_soon(count_answers)
            await _expect(
                (trio.ClosedResourceError,), server.receive, "receive on what was moved away"
            )
            while len(received) < len(data):
                missing = len(data) - len(received)
                if across_threads:
                    parked, read = await trio.to_thread.run_sync(
                        trio.run, read_some, parked, missing
                    )
                else:
                    parked, read = await read_some(parked, missing)
                received += read
        wire = transport.adopt(parked)
        with suppress(trio.ClosedResourceError, TenError):
            transport.adopt(parked)
            raise AssertionError("the same wire was adopted twice")
        parked = wire.detach()
    finally:
        parked.discard()
    assert received == data, "something was lost, repeated or reordered by moving"


_RULES: dict[str, _Check] = {
    "everything arrives in order, in both directions at once": _order,
    "something big arrives": _big,
    "what was sent before closing arrives, and then the end": _end,
    "what is closed says so": _closed,
    "closing ends receiving, at both ends": _close_receiving,
    "closing ends sending, at both ends": _close_sending,
    "cancelling receive loses nothing": _cancelled_receive,
    "cancelling send breaks the wire": _cancelled_send,
    "who doesn't receive holds up the sender, who goes on later": _slow_reader,
    "aclose closes also if it is cancelled": _cancelled_close,
    "refuse closes the connection": _refuse,
    "a closed listener accepts nothing, and its wires live on": _listener,
    "a wire moves without loss, or says that it can't": _move,
}
