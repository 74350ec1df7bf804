"""Connections in memory, which do what networks do when a test says so. For virtual time.

network = MemoryNetwork()
async with open_app(uri="memory://app", protocols=[network.protocol]) as app:
    async with connect("memory://app", protocols=[network.protocol]) as client:
        ...
        network.links[0].cut()
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final

import trio

from ..network import MsgpackCodec, WireProtocol
from ..network.transport import (
    Knock,
    Listener,
    NotMovable,
    Parked,
    Piece,
    TransportOptions,
    Wire,
)
from ..network.transports.wires import OpenWire
from ..network.uris import Address
from .trials import Fault

SCHEME: Final = "memory"
_ROOM: Final = 64 * 1024  # bytes in one direction that nobody has read yet


class _Way:
    """One direction of a connection: some bytes, and how it ends."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended = False
        """The sender has closed: what is there can still be read."""
        self.broken = False
        """Both ends find it lost."""
        self.stalled = False
        """What is sent doesn't arrive, and neither does that an end is gone."""
        self.sender_gone = False
        self.receiver_gone = False
        self._changed = trio.Event()

    def change(self) -> None:
        """Something is different: those who wait look again."""
        event, self._changed = self._changed, trio.Event()
        event.set()

    def fail(self) -> None:
        """Both ends find the connection lost."""
        self.broken = True
        self.change()

    async def put(self, data: bytes) -> None:
        """Send all of it; waits for room."""
        await trio.lowlevel.checkpoint()
        while data:
            told = self.receiver_gone and not self.stalled
            if self.broken or self.sender_gone or told:
                raise trio.BrokenResourceError("the connection was cut")
            room = _ROOM - len(self.data)
            if room <= 0:
                await self._changed.wait()
                continue
            self.data += data[:room]
            data = data[room:]
            self.change()

    async def get(self) -> bytes:
        """What is there; `b""` at the end."""
        await trio.lowlevel.checkpoint()
        while True:
            if self.broken or self.receiver_gone:
                raise trio.BrokenResourceError("the connection was cut")
            if not self.stalled:
                if self.data:
                    data = bytes(self.data)
                    self.data.clear()
                    self.change()
                    return data
                if self.ended:
                    return b""
                if self.sender_gone:
                    raise trio.BrokenResourceError("the other end has vanished")
            await self._changed.wait()


class MemoryLink:
    """One connection, and what a test can do to it."""

    def __init__(self, fault: Fault = "none", after: float = inf) -> None:
        self.there = _Way()
        """From whoever has connected to whoever listens."""
        self.back = _Way()
        self.fault = fault
        self._left = after
        if after <= 0:
            self._strike()

    def cut(self) -> None:
        """Both ends lose it, with what is on its way."""
        self.there.fail()
        self.back.fail()

    def stall(self) -> None:
        """Nothing gets through from now on, and nobody is told."""
        self.there.stalled = self.back.stalled = True

    def half_open(self) -> None:
        """The listening end loses it, the other one isn't told."""
        self.stall()
        self.there.receiver_gone = self.back.sender_gone = True
        self.there.change()
        self.back.change()

    def passed(self, size: int) -> None:
        """So many bytes were sent; the fault that was planned may be due."""
        before, self._left = self._left, self._left - size
        if before > 0 >= self._left:
            self._strike()

    def _strike(self) -> None:
        if self.fault == "cut":
            self.cut()
        elif self.fault == "stall":
            self.stall()
        elif self.fault == "half-open":
            self.half_open()


class _Wire(OpenWire):
    def __init__(
        self, link: MemoryLink, out: _Way, into: _Way, peer: str, options: TransportOptions
    ) -> None:
        super().__init__(peer, is_local=True, close_timeout=options.close_timeout)
        self._link = link
        self._out = out
        self._into = into

    async def _receive(self) -> bytes:
        return await self._into.get()

    async def _send(self, pieces: Sequence[Piece]) -> None:
        data = b"".join(p.encode() if isinstance(p, str) else bytes(p) for p in pieces)
        await self._out.put(data)
        self._link.passed(len(data))

    async def _close(self) -> None:
        self._out.ended = True
        self._out.change()
        await trio.lowlevel.checkpoint()

    def _abort(self) -> None:
        self._out.sender_gone = True
        self._into.receiver_gone = True
        self._out.change()
        self._into.change()


class _Knock:
    def __init__(self, wire: _Wire) -> None:
        self._wire = wire
        self.peer = wire.peer

    async def open(self, nursery: trio.Nursery) -> Wire:
        """Nothing is to be agreed upon."""
        await trio.lowlevel.checkpoint()
        return self._wire

    async def refuse(self) -> None:
        """Close the connection at once."""
        await trio.lowlevel.checkpoint()
        self._wire._abort()


class _Listener:
    def __init__(self, network: MemoryNetwork, address: Address, options: TransportOptions) -> None:
        self.address = address
        self.options = options
        self._network = network
        self.send, self._receive = trio.open_memory_channel[_Knock](inf)

    async def accept(self) -> Knock:
        """Wait for the next connection; see `Listener.accept`."""
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise trio.ClosedResourceError(f"{self.address}: closed here") from None

    async def aclose(self) -> None:
        """Stop listening; idempotent."""
        self._network._listeners.pop(self.address.host, None)
        self.send.close()
        await trio.lowlevel.checkpoint()


class MemoryNetwork:
    """A transport without a network: those who share this object reach each other, in one Trio run.

    `links` are the connections so far, in the order in which they were made. `plan` says of the next
    ones what becomes of them, and after how many bytes.
    """

    name = SCHEME

    def __init__(self) -> None:
        self.links: list[MemoryLink] = []
        self.plan: list[tuple[Fault, float]] = []
        self._listeners: dict[str, _Listener] = {}

    @property
    def protocol(self) -> WireProtocol:
        """`memory://NAME`, for the `protocols` of `open_app` and `connect`."""
        return WireProtocol(SCHEME, {SCHEME: self}, MsgpackCodec)

    async def listen(self, address: Address, options: TransportOptions) -> list[Listener]:
        """Listen at a name. Raises `OSError` if somebody does already."""
        await trio.lowlevel.checkpoint()
        if address.host in self._listeners:
            raise OSError(f"{address}: there is a listener of that name")
        listener = self._listeners[address.host] = _Listener(self, address, options)
        return [listener]

    async def connect(
        self, address: Address, options: TransportOptions, nursery: trio.Nursery
    ) -> Wire:
        """Connect to a name. Raises `OSError` if nobody listens there."""
        await trio.lowlevel.checkpoint()
        listener = self._listeners.get(address.host)
        if listener is None:
            raise OSError(f"{address}: nobody listens there")
        link = MemoryLink(*(self.plan.pop(0) if self.plan else ("none", inf)))
        self.links.append(link)
        number = len(self.links)
        there, back = link.there, link.back
        far = _Wire(link, back, there, f"{SCHEME} client {number}", listener.options)
        listener.send.send_nowait(_Knock(far))
        return _Wire(link, there, back, str(address), options)

    def adopt(self, parked: Parked) -> Wire:
        """Raises `NotMovable`: everything is in one Trio run."""
        raise NotMovable(f"{SCHEME}: connections in memory have to stay in their Trio run")


__all__ = ["MemoryLink", "MemoryNetwork"]
