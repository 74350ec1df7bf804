"""A TCP proxy that does to the bytes what networks do: delays, pieces, stalls, half-closes, cuts, flips.

Each connection follows a plan of its own, drawn or written down, one for each direction. Nothing is timed:
a delay is some turns of the scheduler, and a stall lasts until the proxy closes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Literal

import attrs
import trio
from hypothesis import strategies as st

from ten_trio.network.codecs.msgpack import MsgpackCodec
from ten_trio.network.protocols import WireProtocol
from ten_trio.network.transport import Listener, Parked, TransportOptions, Wire
from ten_trio.network.transports.tcp import TcpTransport
from ten_trio.network.uris import Address

Kind = Literal["pass", "split", "delay", "stall", "half-close", "cut", "flip"]
LAST: tuple[Kind, ...] = ("stall", "half-close", "cut")


@attrs.frozen
class Step:
    """One thing to do to the bytes of one direction.

    `pass` so many bytes on, `split` so many into single bytes, `delay` by so many turns, `flip` a bit
    of the next byte; `stall`, `half-close` and `cut` are the end of it.
    """

    kind: Kind
    amount: int = 1


@attrs.frozen
class Plan:
    """What happens to one connection: to what the one who connects sends, and to what comes back."""

    there: tuple[Step, ...] = ()
    back: tuple[Step, ...] = ()

    @property
    def flips(self) -> bool:
        """Whether what arrives may differ from what was sent."""
        return any(step.kind == "flip" for step in (*self.there, *self.back))

    @property
    def ends(self) -> bool:
        """Whether not everything arrives."""
        return any(step.kind in LAST for step in (*self.there, *self.back))


@st.composite
def plans(draw: st.DrawFn, *, flips: bool = True) -> Plan:
    """A plan in which mostly something goes wrong, at some byte of the first 20,000."""
    lengths = st.one_of(st.integers(1, 50), st.integers(50, 3_000), st.integers(3_000, 20_000))
    harmless = st.one_of(
        st.builds(Step, st.just("pass"), lengths),
        st.builds(Step, st.just("split"), st.integers(1, 200)),
        st.builds(Step, st.just("delay"), st.integers(1, 20)),
    )
    endings: list[Kind] = [*LAST, *(["flip"] if flips else [])]  # type: ignore[list-item]
    ending = st.lists(st.builds(Step, st.sampled_from(endings)), max_size=1)
    way = st.builds(lambda steps, end: (*steps, *end), st.lists(harmless, max_size=5), ending)
    return draw(st.builds(Plan, way, way))


class Proxy:
    """Stands between those who connect through it and where they want to go."""

    def __init__(self, nursery: trio.Nursery, plans: Iterable[Plan]) -> None:
        self.connections = 0
        self._nursery = nursery
        self._plans = deque(plans)
        self.ports: dict[int, int] = {}
        """Where to connect in order to get to a port."""
        self._open: set[trio.SocketStream] = set()

    async def stand_before(self, *uris: str) -> None:
        """Be what one connects to in order to get to these apps."""
        for uri in uris:
            port = Address.parse(uri).port or 0
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            self.ports[port] = listener.socket.getsockname()[1]
            self._nursery.start_soon(self._serve, listener, port)

    def cut_all(self) -> None:
        """Cut every connection that there is."""
        for stream in tuple(self._open):
            _reset(stream)

    async def _serve(self, listener: trio.SocketListener, port: int) -> None:
        async with listener:
            while True:
                self._nursery.start_soon(self._connection, await listener.accept(), port)

    async def _connection(self, near: trio.SocketStream, port: int) -> None:
        plan = self._plans.popleft() if self._plans else Plan()
        self.connections += 1
        async with near:
            try:
                far = await trio.open_tcp_stream("127.0.0.1", port)
            except OSError:
                return
            self._open |= {near, far}
            try:
                async with far, trio.open_nursery() as nursery:
                    nursery.start_soon(_carry, plan.there, near, far, nursery.cancel_scope)
                    nursery.start_soon(_carry, plan.back, far, near, nursery.cancel_scope)
            finally:
                self._open -= {near, far}


async def _carry(
    steps: Iterable[Step],
    source: trio.SocketStream,
    dest: trio.SocketStream,
    both: trio.CancelScope,
) -> None:
    todo = deque(steps)
    data = b""
    try:
        while True:
            step = todo.popleft() if todo else Step("pass", 1 << 60)
            if step.kind == "delay":
                for _ in range(step.amount):
                    await trio.lowlevel.checkpoint()
                continue
            if step.kind == "stall":
                await trio.sleep_forever()
            if step.kind == "half-close":
                await dest.send_eof()
                await trio.sleep_forever()
            if step.kind == "cut":
                _reset(source)
                _reset(dest)
                both.cancel("cut")
                return
            left = step.amount
            while left:
                data = data or await source.receive_some(65_536)
                if not data:
                    await dest.send_eof()
                    return
                if step.kind == "flip":
                    data = bytes([data[0] ^ 0x10]) + data[1:]
                    break
                size = 1 if step.kind == "split" else min(left, len(data))
                await dest.send_all(data[:size])
                data = data[size:]
                left -= size
    except (trio.BrokenResourceError, trio.ClosedResourceError, OSError):
        both.cancel("one of the ends is gone")


def _reset(stream: trio.SocketStream) -> None:
    with suppress(OSError):
        stream.setsockopt(1, 13, b"\x01\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER: no goodbye
    stream.socket.close()


@asynccontextmanager
async def faulty_network(*plans: Plan) -> AsyncGenerator[Proxy, None]:
    """A proxy whose connections follow `plans`, in the order in which they come; then nothing happens."""
    async with trio.open_nursery() as nursery:
        yield Proxy(nursery, plans)
        nursery.cancel_scope.cancel("the test is over")


@attrs.frozen
class Through:
    """TCP through a proxy: who connects doesn't see it, URIs are those of the apps themselves."""

    proxy: Proxy
    name: str = "proxied"
    _tcp: TcpTransport = attrs.field(factory=TcpTransport)

    async def listen(self, address: Address, options: TransportOptions) -> list[Listener]:
        """As usual."""
        return await self._tcp.listen(address, options)

    async def connect(
        self, address: Address, options: TransportOptions, nursery: trio.Nursery
    ) -> Wire:
        """By the proxy."""
        port = self.proxy.ports[address.port or 0]  # also from the loop of an engine of its own
        return await self._tcp.connect(attrs.evolve(address, port=port), options, nursery)

    def adopt(self, parked: Parked) -> Wire:
        """As usual."""
        return self._tcp.adopt(parked)


def proxied(proxy: Proxy) -> WireProtocol:
    """`msgpack://` through `proxy`, for `open_app`."""
    return WireProtocol("msgpack", {"msgpack": Through(proxy)}, MsgpackCodec)
