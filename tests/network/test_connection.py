"""One connection by itself, on a wire that is a pair of memory channels: reading, writing, its ends."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import ten_trio as ten
from ten_trio.errors import TenError
from ten_trio.network import (
    CodecLimits,
    Credentials,
    MsgpackCodec,
    NetworkSettings,
    NotMovable,
    Parked,
    Piece,
    WireMsg,
    connection as module,
)
from ten_trio.network.connection import Connection, Migration, Role, State
from ten_trio.network.dialects import StreamDialect


class FakeWire:
    """What is sent is kept in `writes`, one for each call; what comes is what `feed` is given."""

    peer = "somebody"
    is_local = True
    is_framed = False
    movable = False
    credentials = Credentials()
    subprotocol = ""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.closed = False
        self.broken = False
        self.reads = trio.Event()
        """Whether the other end takes anything."""
        self.reads.set()
        self.feed, self._pieces = trio.open_memory_channel[bytes](inf)

    async def receive(self) -> bytes | str:
        try:
            return await self._pieces.receive()
        except trio.EndOfChannel:
            return b""

    async def send(self, pieces: Sequence[Piece]) -> None:
        await trio.lowlevel.checkpoint()
        await self.reads.wait()
        if self.broken:
            raise trio.BrokenResourceError("the other end has gone")
        self.writes.append(b"".join(p.encode() if isinstance(p, str) else p for p in pieces))

    async def aclose(self) -> None:
        self.closed = True
        await trio.lowlevel.checkpoint()

    def detach(self) -> Parked:
        raise NotMovable("a fake")


SETTINGS = NetworkSettings(send_timeout=3)


def made(
    settings: NetworkSettings = SETTINGS, role: Role = Role.IN_INTERNAL
) -> tuple[Connection, FakeWire]:
    wire = FakeWire()
    dialect = StreamDialect(MsgpackCodec(settings.codec))
    return Connection(wire, dialect, settings, role), wire


def data(number: int, size: int = 0) -> WireMsg:
    return WireMsg(ten.Data("d", {"i": number}, buf=bytes(size)))


def encoded(*numbers: int) -> bytes:
    return b"".join(MsgpackCodec().encode([data(number) for number in numbers]))


def numbers(messages: Sequence[WireMsg]) -> list[int]:
    return [wire.msg.get_property_int("i") for wire in messages]


def decoded(raw: bytes) -> list[int]:
    codec = MsgpackCodec()
    codec.receive_data(raw)
    found = []
    while (wire := codec.next_message()) is not None:
        found.append(wire)
    assert not codec.trailing_data
    return numbers(found)


@asynccontextmanager
async def running(connection: Connection, got: list[WireMsg]) -> AsyncGenerator[None, None]:
    """Run it beside the block, and wait for its end."""
    with trio.fail_after(1_000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run, got.append)
            yield


# Writing ----------------------------------------------------------------------------------------


async def test_what_waits_is_joined_into_one_write() -> None:
    connection, wire = made()
    for number in range(100):
        assert connection.send(data(number))
    async with running(connection, []):
        await wait_all_tasks_blocked()
        assert [decoded(write) for write in wire.writes] == [list(range(100))]
        connection.send(data(100))
        await wait_all_tasks_blocked()
        assert [len(decoded(write)) for write in wire.writes] == [100, 1]
        connection.close("done")
    assert connection.sent == 101


@pytest.mark.parametrize(("count", "size"), [(1_000, 0), (20, 100_000)])
async def test_one_write_is_bounded_by_messages_and_by_bytes(count: int, size: int) -> None:
    connection, wire = made()
    for number in range(count):
        connection.send(data(number, size))
    assert connection.queued_bytes == count * size
    async with running(connection, []):
        await wait_all_tasks_blocked()
        connection.close("done")
    assert len(wire.writes) > 3
    assert decoded(b"".join(wire.writes)) == list(range(count))
    assert connection.queued_bytes == 0


async def test_what_comes_while_a_write_is_held_up_goes_with_the_next() -> None:
    connection, wire = made()
    async with running(connection, []):
        wire.reads = trio.Event()
        connection.send(data(0))
        await wait_all_tasks_blocked()
        for number in range(1, 10):
            connection.send(data(number))
        wire.reads.set()
        await wait_all_tasks_blocked()
        connection.close("done")
    assert [decoded(write) for write in wire.writes] == [[0], list(range(1, 10))]


async def test_written_is_told_of_each_batch() -> None:
    connection, _ = made()
    told: list[list[int]] = []
    connection.on_written = lambda batch: told.append(numbers(batch))
    connection.send(data(0))
    connection.send(data(1))
    async with running(connection, []):
        await wait_all_tasks_blocked()
        connection.close("done")
    assert told == [[0, 1]]


async def test_a_peer_that_does_not_read_is_cut(autojump_clock: MockClock) -> None:
    connection, wire = made()
    wire.reads = trio.Event()
    began = trio.current_time()
    async with running(connection, []):
        connection.send(data(0))
    assert 1 <= (trio.current_time() - began) / SETTINGS.send_timeout <= 1.25
    assert connection.state is State.CLOSED
    assert wire.closed
    assert connection.reason == "somebody doesn't read"


async def test_too_many_messages_waiting_are_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OVERDUE", 10)
    connection, wire = made()
    wire.reads = trio.Event()
    async with running(connection, []):
        connection.send(data(0))
        await wait_all_tasks_blocked()
        sent = [connection.send(data(number)) for number in range(12)]
    assert sent == [True] * 10 + [False] * 2
    assert connection.state is State.CLOSED
    assert "doesn't read: 10 messages wait" in connection.reason
    assert wire.closed


@pytest.mark.parametrize("too_long", [0, 2, 4])
async def test_what_can_not_be_sent_leaves_out_only_itself(
    too_long: int, caplog: pytest.LogCaptureFixture
) -> None:
    settings = attrs.evolve(SETTINGS, codec=CodecLimits(max_message=1_000))
    connection, wire = made(settings)
    told: list[tuple[int, TenError]] = []
    connection.on_unsendable = lambda wire, error: told.append((*numbers([wire]), error))
    for number in range(5):
        connection.send(data(number, 2_000 if number == too_long else 0))
    with caplog.at_level(logging.WARNING, "ten_trio.network"):
        async with running(connection, []):
            await wait_all_tasks_blocked()
            assert connection.is_open
            connection.close("done")
    assert decoded(b"".join(wire.writes)) == [n for n in range(5) if n != too_long]
    assert [number for number, _ in told] == [too_long]
    assert len(caplog.records) == 1


async def test_who_is_not_told_what_could_not_be_sent_does_not_mind() -> None:
    connection, wire = made(attrs.evolve(SETTINGS, codec=CodecLimits(max_message=1_000)))
    for number in range(3):
        connection.send(data(number, 2_000 if number == 1 else 0))
    async with running(connection, []):
        await wait_all_tasks_blocked()
        connection.close("done")
    assert decoded(b"".join(wire.writes)) == [0, 2]


@pytest.mark.parametrize("told", [True, False])
async def test_data_of_a_turn_that_waits_to_be_written_can_be_left_out(told: bool) -> None:
    connection, wire = made()
    gone: list[int] = []
    if told:
        connection.on_written = lambda batch: gone.extend(numbers(batch))
    old, new = ten.Turn(), ten.Turn()
    async with running(connection, []):
        await wait_all_tasks_blocked()
        for number, turn in enumerate((old, new, old, None)):
            message = data(number, 100)
            message.msg._turn = turn
            connection.send(message)
        waiting = connection.queued_bytes
        assert connection.drop(old) == 2
        assert connection.queued_bytes == waiting / 2
        assert gone == [0, 2] * told
        assert connection.drop(old) == 0
        connection.close("done")
    assert decoded(b"".join(wire.writes)) == [1, 3]


async def test_a_lost_wire_ends_it() -> None:
    connection, wire = made()
    async with running(connection, []):
        await wait_all_tasks_blocked()
        wire.broken = True
        connection.send(data(0))
    assert connection.reason == "connection lost: the other end has gone"
    assert not connection.send(data(1))


async def test_a_wire_lost_with_the_last_write_before_a_stop_is_no_place_to_go_on() -> None:
    # Whoever stops it to go on elsewhere would move a connection that there isn't.
    connection, wire = made()
    wire.broken = True
    connection.send(data(0))
    wire.feed.send_nowait(encoded(1))
    with trio.fail_after(5):
        stopped = await connection.run(lambda _: True)
    assert not stopped
    assert not connection.is_open
    assert wire.closed


# Ends -------------------------------------------------------------------------------------------


async def test_close_writes_what_is_queued() -> None:
    connection, wire = made()
    ends: list[str] = []
    connection.on_end = lambda: ends.append(connection.reason)
    async with running(connection, []):
        await wait_all_tasks_blocked()
        wire.reads = trio.Event()
        for number in range(600):
            connection.send(data(number))
        connection.close("enough")
        connection.close("again")
        assert connection.state is State.CLOSING
        assert not connection.send(data(600))
        await wait_all_tasks_blocked()
        wire.reads.set()
    assert decoded(b"".join(wire.writes)) == list(range(600))
    assert ends == ["enough"]
    assert connection.state is State.CLOSED
    assert wire.closed


async def test_closed_before_it_runs_it_still_writes() -> None:
    connection, wire = made()
    connection.send(data(0))
    connection.close("refused")
    with trio.fail_after(5):
        assert not await connection.run(lambda _: None)
    assert [decoded(write) for write in wire.writes] == [[0]]
    assert wire.closed


async def test_end_loses_what_is_queued() -> None:
    connection, wire = made()
    async with running(connection, []):
        await wait_all_tasks_blocked()
        connection.send(data(0))
        connection.end("away")
        connection.end("again")
    assert wire.writes == []
    assert connection.reason == "away"
    assert wire.closed


async def test_end_also_cuts_a_close_short() -> None:
    connection, wire = made()
    wire.reads = trio.Event()
    with trio.fail_after(1):  # less than the send_timeout
        async with running(connection, []):
            connection.send(data(0))
            await wait_all_tasks_blocked()
            connection.close("in order")
            await wait_all_tasks_blocked()
            assert not wire.closed
            connection.end("now")
    assert wire.closed
    assert connection.reason == "in order"


async def test_end_before_it_runs() -> None:
    connection, wire = made()
    connection.send(data(0))
    connection.end("away")
    with trio.fail_after(5):
        assert not await connection.run(lambda _: None)
    assert wire.writes == []
    assert wire.closed


async def test_cancelled_it_closes_its_wire() -> None:
    connection, wire = made()
    ends: list[int] = []
    connection.on_end = lambda: ends.append(1)
    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run, lambda _: None)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
    assert wire.closed
    assert connection.state is State.CLOSED
    assert ends == [1]


# Reading ----------------------------------------------------------------------------------------


async def test_messages_come_in_order_whatever_the_pieces() -> None:
    connection, wire = made()
    got: list[WireMsg] = []
    raw = encoded(*range(200))
    async with running(connection, got):
        for begin in range(0, len(raw), 7):
            wire.feed.send_nowait(raw[begin : begin + 7])
        wire.feed.close()
    assert numbers(got) == list(range(200))
    assert connection.received == 200
    assert connection.reason == "closed by the peer"


async def test_others_get_a_turn_during_a_big_read() -> None:
    connection, wire = made()
    got: list[WireMsg] = []
    turns = []
    async with running(connection, got):
        wire.feed.send_nowait(encoded(*range(1_000)))
        while len(got) < 1_000:
            turns.append(len(got))
            await trio.lowlevel.checkpoint()
        wire.feed.close()
    assert len(turns) > 10


async def test_pace_is_awaited_after_what_was_read_in_one_go() -> None:
    connection, wire = made()
    got: list[WireMsg] = []
    paces: list[int] = []

    async def pace() -> None:
        paces.append(len(got))
        await trio.lowlevel.checkpoint()

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.run, got.append, pace)
            wire.feed.send_nowait(encoded(0, 1, 2))
            await wait_all_tasks_blocked()
            wire.feed.send_nowait(encoded(3)[:5])
            await wait_all_tasks_blocked()
            wire.feed.send_nowait(encoded(3)[5:])
            wire.feed.close()
    assert paces == [3, 4]


async def test_the_end_in_the_middle_of_a_message_is_told() -> None:
    connection, wire = made()
    got: list[WireMsg] = []
    async with running(connection, got):
        wire.feed.send_nowait(encoded(0, 1)[:-1])
        wire.feed.close()
    assert numbers(got) == [0]
    assert connection.reason == "connection lost: it ended in the middle of a message"


async def test_bad_bytes_close_that_one_and_are_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad, bad_wire = made()
    good, good_wire = made()
    got: list[WireMsg] = []
    with caplog.at_level(logging.INFO, "ten_trio.network"):
        async with running(good, got):
            async with running(bad, got):
                bad_wire.feed.send_nowait(encoded(0) + b"\xff\xff" + encoded(1))
            good_wire.feed.send_nowait(encoded(2))
            good_wire.feed.close()
    assert numbers(got) == [0, 2]
    assert bad_wire.closed
    assert bad.reason.startswith("Malformed: 0xff")
    assert [r.levelname for r in caplog.records if "somebody: Malformed" in r.getMessage()] == [
        "WARNING"
    ]
    assert len(caplog.records) == 2  # and one for the end of the other


@pytest.mark.parametrize("role", list(Role))
async def test_only_clients_may_not_be_silent_for_long(
    role: Role, autojump_clock: MockClock
) -> None:
    connection, wire = made(attrs.evolve(SETTINGS, idle_timeout=10), role)
    with trio.move_on_after(100) as patience:
        await connection.run(lambda _: None)
    assert patience.cancelled_caught == (role is not Role.IN_EXTERNAL)
    assert wire.closed
    if role is Role.IN_EXTERNAL:
        assert trio.current_time() == 10
        assert connection.reason == "silent for 10 s"


async def test_a_client_that_waits_for_something_may_be_silent(autojump_clock: MockClock) -> None:
    connection, _ = made(attrs.evolve(SETTINGS, idle_timeout=10), Role.IN_EXTERNAL)
    connection.is_busy = lambda: trio.current_time() < 35
    with trio.fail_after(100):
        await connection.run(lambda _: None)
    # It is looked after every 10 s; from 35 on it had at least as long to say something else.
    assert trio.current_time() == 50


async def test_an_answer_that_comes_just_then_is_written(autojump_clock: MockClock) -> None:
    connection, wire = made(attrs.evolve(SETTINGS, idle_timeout=10), Role.IN_EXTERNAL)

    def is_busy() -> bool:
        if trio.current_time() == 10:
            connection.send(data(1))
        return False

    connection.is_busy = is_busy
    with trio.fail_after(100):
        await connection.run(lambda _: None)
    assert wire.writes == [encoded(1)]
    assert trio.current_time() == 30  # whoever is told something has time to say something


async def test_every_piece_is_a_sign_of_life(autojump_clock: MockClock) -> None:
    connection, wire = made(attrs.evolve(SETTINGS, idle_timeout=10), Role.IN_EXTERNAL)
    async with running(connection, []):
        for _ in range(5):
            await trio.sleep(9)
            wire.feed.send_nowait(encoded(0)[:1])
            wire.feed.send_nowait(encoded(0)[1:])
    assert trio.current_time() == 55


# Going on elsewhere -----------------------------------------------------------------------------


@pytest.mark.parametrize("at", range(1, len(encoded(0, 1, 2, 3)), 3))
async def test_it_goes_on_where_it_has_stopped(at: int) -> None:
    connection, wire = made()
    got: list[WireMsg] = []
    raw = encoded(0, 1, 2, 3)

    def first(wire: WireMsg) -> bool:
        got.append(wire)
        return True

    wire.feed.send_nowait(raw[:at])
    wire.feed.send_nowait(raw[at:])
    wire.feed.close()
    with trio.fail_after(5):
        assert await connection.run(first)
        assert numbers(got) == [0]
        assert connection.is_open
        assert not wire.closed
        assert await connection.run(first)
        assert not await connection.run(got.append)
    assert numbers(got) == [0, 1, 2, 3]
    assert wire.closed


async def test_what_is_queued_is_written_before_it_stops() -> None:
    connection, wire = made()

    def answer(wire: WireMsg) -> bool:
        for number in range(400):
            connection.send(data(number))
        return True

    wire.feed.send_nowait(encoded(0))
    with trio.fail_after(5):
        assert await connection.run(answer)
    assert decoded(b"".join(wire.writes)) == list(range(400))
    # Between two runs it takes messages, which the next one writes.
    assert connection.send(data(400))
    wire.feed.close()
    async with running(connection, []):
        await wait_all_tasks_blocked()


async def test_it_can_go_on_in_another_trio_run() -> None:
    connection, wire = made()
    got: list[WireMsg] = []
    wire.feed.send_nowait(encoded(0, 1) + encoded(2)[:9])
    with trio.fail_after(5):
        assert await connection.run(lambda wire: got.append(wire) or True)

    async def there() -> bool:
        new = FakeWire()
        connection.wire = new
        new.feed.send_nowait(encoded(2)[9:] + encoded(3))
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                connection.send(data(9))
                nursery.start_soon(connection.run, got.append)
                await wait_all_tasks_blocked()
                connection.close("done")
        return [decoded(write) for write in new.writes] == [[9]]

    with trio.fail_after(10):
        assert await trio.to_thread.run_sync(trio.run, there)
    assert numbers(got) == [0, 1, 2, 3]


async def test_a_receiver_may_close_it() -> None:
    connection, wire = made()
    got: list[WireMsg] = []

    def close(wire: WireMsg) -> Any:
        got.append(wire)
        connection.send(data(7))
        connection.close("not wanted")

    wire.feed.send_nowait(encoded(0))
    with trio.fail_after(5):
        assert not await connection.run(close)
    assert [decoded(write) for write in wire.writes] == [[7]]
    assert connection.migration is Migration.INIT
