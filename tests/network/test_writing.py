"""The writing half of a connection: batches, and a peer that doesn't read, over a wire in memory."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import trio
import trio.testing

import ten_trio as ten
from ten_trio.network import MsgpackCodec, NetworkSettings, WireMsg
from ten_trio.network.connection import Connection, Role
from ten_trio.network.dialects import StreamDialect
from ten_trio.network.transport import Credentials, Parked, Piece


class MemoryWire:
    """Keeps what is sent; takes `seconds` for each write."""

    peer = "memory"
    is_local = True
    is_framed = False
    movable = False
    credentials = Credentials()
    subprotocol = ""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.seconds = 0.0
        self._closed = trio.Event()

    async def receive(self) -> bytes | str:
        await self._closed.wait()
        return b""

    async def send(self, pieces: Sequence[Piece]) -> None:
        await trio.sleep(self.seconds)
        self.writes.append(b"".join(p.encode() if isinstance(p, str) else p for p in pieces))

    async def aclose(self) -> None:
        self._closed.set()
        await trio.lowlevel.checkpoint()

    def detach(self) -> Parked:
        raise NotImplementedError

    def texts(self) -> list[list[str]]:
        """What each write carried."""
        codec = MsgpackCodec()
        found = []
        for write in self.writes:
            codec.receive_data(write)
            batch = []
            while (wire := codec.next_message()) is not None:
                batch.append(wire.msg.name)
            found.append(batch)
        return found


def _connection(wire: MemoryWire, **settings: float) -> Connection:
    made = NetworkSettings(**settings)  # type: ignore[arg-type]
    return Connection(wire, StreamDialect(MsgpackCodec()), made, Role.OUT_INTERNAL)


def _message(name: str) -> WireMsg:
    return WireMsg(ten.Data(name, buf=b"1234"))


def _ignore(wire: WireMsg) -> None:
    pass


async def test_what_is_queued_at_once_is_one_write() -> None:
    wire = MemoryWire()
    connection = _connection(wire)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run, _ignore)
        await trio.testing.wait_all_tasks_blocked()
        for name in "abc":
            assert connection.send(_message(name))
        assert connection.queued_bytes == 12
        await trio.testing.wait_all_tasks_blocked()
        assert connection.queued_bytes == 0
        assert connection.send(_message("d"))
        connection.close("done")
        assert not connection.send(_message("e"))
    assert wire.texts() == [["a", "b", "c"], ["d"]]
    assert connection.sent == 4


async def test_what_was_queued_before_it_runs_is_written() -> None:
    wire = MemoryWire()
    connection = _connection(wire)
    connection.send(_message("a"))
    connection.close("done")
    await connection.run(_ignore)
    assert wire.texts() == [["a"]]


async def test_a_peer_that_does_not_read_is_given_up_in_time(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wire = MemoryWire()
    connection = _connection(wire, send_timeout=8.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run, _ignore)
        for _ in range(20):  # also in the middle of much traffic
            connection.send(_message("x"))
            await trio.sleep(0.9)
        wire.seconds = inf
        connection.send(_message("y"))
        began = trio.current_time()
    assert 8.0 <= trio.current_time() - began <= 10.0 + 0.1
    assert connection.reason == "memory doesn't read"
    assert len(wire.writes) == 20


async def test_a_slow_peer_that_reads_is_not_given_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wire = MemoryWire()
    wire.seconds = 7.9
    connection = _connection(wire, send_timeout=8.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run, _ignore)
        for i in range(10):
            connection.send(_message(str(i)))
            await trio.sleep(8.0)
        connection.close("done")
    assert wire.texts() == [[str(i)] for i in range(10)]
    assert connection.reason == "done"


async def test_silence_beyond_the_timeout_costs_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    wire = MemoryWire()
    connection = _connection(wire, send_timeout=8.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.run, _ignore)
        for pause in (0.0, 7.9, 8.0, 9.9, 10.0, 10.1, 30.0, 1_000.0):
            await trio.sleep(pause)
            assert connection.send(_message(str(pause)))
        await trio.sleep(100)
        assert connection.is_open
        connection.close("done")
    assert len(wire.writes) == 8


async def test_reading_stops_and_both_halves_go_on_elsewhere() -> None:
    class Talkative(MemoryWire):
        async def receive(self) -> bytes | str:
            await trio.lowlevel.checkpoint()
            return b"".join(MsgpackCodec().encode([_message("in")]))

    wire = Talkative()
    connection = _connection(wire)

    def stop(_: WireMsg) -> bool:
        return connection.send(_message("answer"))

    assert await connection.run(stop)
    assert wire.texts() == [["answer"]]  # nothing is left behind
    connection.send(_message("between"))
    assert await connection.run(stop)
    assert [text for texts in wire.texts() for text in texts] == ["answer", "between", "answer"]
    connection.end("enough")
    assert not await connection.run(stop)
