"""A runtime somewhere else, as a plain client meets it: what docs/protocol.md says, and no more.

This isn't `ten_trio.connect`, which hides what a runtime must not do: a second final result, or one for
somebody else's command, never gets past its tables. Here everything that comes is seen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from ...errors import ConfigError, TenError
from ...messages import CmdResult, Loc, Msg, StartGraph
from ...network import NetworkSettings, Protocols, Wire, WireProtocol
from ...network.codec import CodecError, WireMsg
from ...network.connecting import options_of
from ...network.dialects import Dialect

PATIENCE = 2.0
_JSON = ("json", "jsons")


class WireClient:
    """One connection."""

    def __init__(self, wire: Wire, dialect: Dialect) -> None:
        self._wire = wire
        self._dialect = dialect
        self._starts = 0
        self._kept: deque[Msg] = deque()
        # Unbounded: whether the suite reads must never hold up the runtime.
        self._put, self._come = trio.open_memory_channel[Msg](float("inf"))

    async def read(self) -> None:
        """Read until the connection ends, for whatever reason."""
        with self._put:
            try:
                while piece := await self._wire.receive():
                    self._dialect.receive(piece)
                    while (wire := self._dialect.next_message()) is not None:
                        self._put.send_nowait(wire.msg)
            except (trio.BrokenResourceError, trio.ClosedResourceError, CodecError):
                pass  # whoever waits for something notices that nothing comes

    async def start_graph(self, graph: str) -> CmdResult:
        """See `Client.start_graph`."""
        self._starts += 1
        seq_id = f"start {self._starts}"
        await self.send(StartGraph(graph_json=graph, dest=Loc(""), seq_id=seq_id))
        kept: list[Msg] = []
        try:
            while True:
                msg = await self.receive()
                if isinstance(msg, CmdResult) and msg.seq_id == seq_id and msg.is_final:
                    return msg
                kept.append(msg)
        finally:
            self._kept.extend(kept)

    async def send(self, msg: Msg) -> None:
        """See `Client.send`."""
        # An empty cmd_id is what says that this is a plain client.
        await self._wire.send(self._dialect.encode((WireMsg(msg),)))

    async def send_bytes(self, data: bytes) -> None:
        """See `BadBytes.send_bytes`."""
        await self._wire.send((data,))

    async def receive(self) -> Msg:
        """See `Client.receive`."""
        if self._kept:
            await trio.lowlevel.checkpoint()
            return self._kept.popleft()
        return await self._come.receive()

    async def stop(self) -> None:
        """See `Client.stop`."""
        await self._wire.aclose()


class WireRuntime:
    """Connections to one URI."""

    def __init__(self, uri: str, protocols: Protocols, nursery: trio.Nursery) -> None:
        self._uri = uri
        self._protocols = protocols
        self._nursery = nursery
        self._settings = NetworkSettings()

    async def connect(self) -> WireClient:
        """See `Runtime.connect`."""
        client: WireClient = await self._nursery.start(self._serve)
        return client

    async def advance(self, seconds: float) -> None:
        """See `Runtime.advance`."""
        await trio.sleep(seconds)

    async def _serve(self, task_status: trio.TaskStatus[WireClient]) -> None:
        """One connection, with what it needs."""
        protocol, address = self._protocols.find(self._uri)
        # No subprotocol: it would let the other end know that we are ten_trio, and could do more.
        options = options_of(self._settings, ())
        transport = protocol.transport(address, options)
        unreachable: Exception | None = None
        async with trio.open_nursery() as own:
            try:
                with trio.fail_after(self._settings.connect_timeout):
                    wire = await transport.connect(address, options, own)
            except (OSError, TenError, trio.TooSlowError) as error:
                unreachable = error  # raised outside, where it isn't part of a group
            else:
                try:
                    client = WireClient(wire, protocol.dialect(self._settings.codec, wire))
                    task_status.started(client)
                    await client.read()
                finally:
                    with trio.move_on_after(self._settings.close_timeout, shield=True):
                        await wire.aclose()
            own.cancel_scope.cancel("the connection is closed")
        if unreachable is not None:
            raise OSError(f"can't connect to {self._uri}: {unreachable}") from unreachable


@asynccontextmanager
async def opened_wire(uri: str, *protocols: WireProtocol) -> AsyncGenerator[WireRuntime, None]:
    """A runtime that is reached at `uri`. Leaving the block cuts every connection."""
    known = Protocols()
    for protocol in protocols:
        known.register(protocol)
    async with trio.open_nursery() as nursery:
        try:
            yield WireRuntime(uri, known, nursery)
        finally:
            nursery.cancel_scope.cancel("the example is over")


class WireTarget:
    """A runtime that listens at `uri` (msgpack://, unix://, ws:// and their like). Real time."""

    virtual_time = False

    def __init__(self, uri: str) -> None:
        protocol, address = Protocols().find(uri)
        if protocol.front is not None or address.scheme in _JSON:
            raise ConfigError(
                f"--target {uri}: the suite speaks msgpack, at msgpack:// or ws:// for instance"
            )
        self.name = uri
        self.patience = PATIENCE
        self._uri = uri

    def open(self) -> AbstractAsyncContextManager[WireRuntime]:
        """See `Target.open`."""
        return opened_wire(self._uri)


__all__ = ["WireClient", "WireRuntime", "WireTarget", "opened_wire"]
