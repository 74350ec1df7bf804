"""A small runtime that looks right, and isn't: what the conformance suite is good for.

    pytest property_tests/conformance --target examples.naive_runtime:Naive
    python -m examples.naive_runtime --listen 8001       # then --target msgpack://127.0.0.1:8001
    python -m examples.naive_runtime                     # the suite finds two of its faults

It starts a task for each message, so nothing is in order. All branches of a fan-out share one message, and all
their results go straight back. Results go to whoever has used that seq_id last. A command for nobody is
dropped, and stop_graph forgets what is in flight.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

import ten_trio as ten
from ten_trio.network import MsgpackCodec, WireMsg


class Naive:
    """The adapter: what `--target` is given. It makes itself anew for each example."""

    name, patience, virtual_time = "the naive runtime", 100.0, True

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Runtime, None]:
        async with trio.open_nursery() as nursery:
            yield Runtime(nursery)
            nursery.cancel_scope.cancel()


class Runtime:
    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.graphs: dict[str, dict[str, Any]] = {}
        self.asked: dict[str, Client] = {}
        self.ids = map("graph {}".format, itertools.count(1))

    async def connect(self) -> Client:
        return Client(self)

    async def advance(self, seconds: float) -> None:
        await trio.sleep(seconds)

    def answer(self, result: Any) -> None:
        self.asked[result.seq_id].put.send_nowait(result)

    async def deliver(
        self, graph_id: str, name: str, msg: Any, sender: str, client: Client
    ) -> None:
        graph = self.graphs.get(graph_id, {})
        node: Any = next((node for node in graph.get("nodes", ()) if node["name"] == name), {})
        told = {**node.get("property", {}), **msg.properties}
        is_cmd, seen = isinstance(msg, ten.Cmd), node.setdefault("seen", [])
        match node.get("addon"):
            case "conformance_echo":
                if is_cmd:
                    self.answer(msg.ok(msg.properties))
                else:
                    client.put.send_nowait(msg)
            case "conformance_relay" | "conformance_fan_out":
                if "trace" in msg:
                    msg["trace.via"] += f"{name}/"
                for edge in graph["connections"]:
                    for flow in edge[msg.kind] if edge["extension"] == name else ():
                        for dest in flow["dest"]:
                            self.deliver_soon(graph_id, dest["extension"], msg, name, client)
            case "conformance_streamer":
                for n in range(1, told["count"]):
                    self.answer(msg.partial({"n": n, "from": name}))
                last = {"n": told["count"], "from": name}
                self.answer(msg.error("failed", **last) if told["fail"] else msg.ok(last))
            case "conformance_failer":
                self.answer(msg.error("failed", **{"from": name}))
            case "conformance_sleeper":
                await trio.sleep(told["seconds"])
                self.answer(msg.ok({"from": name}))
            case "conformance_recorder" if msg.name == "report":
                while len(seen) < told["count"]:  # noqa: ASYNC110 - naive here as well
                    await trio.sleep(0.05)
                self.answer(msg.ok({"seen": seen}))
            case "conformance_recorder":
                seen.append({"kind": msg.kind, "source": sender, "properties": msg.properties})
                if is_cmd:
                    self.answer(msg.ok({"place": len(seen)}))

    def deliver_soon(self, *args: Any) -> None:
        self.nursery.start_soon(self.deliver, *args)


class Client:
    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.put, self.get = trio.open_memory_channel[Any](math.inf)

    async def start_graph(self, graph: str) -> ten.CmdResult:
        graph_id = next(self.runtime.ids)
        self.runtime.graphs[graph_id] = json.loads(graph)
        return ten.CmdResult(ten.StatusCode.OK, {"graph_id": graph_id})

    async def send(self, msg: Any) -> None:
        if isinstance(msg, ten.Cmd):
            self.runtime.asked[msg.seq_id] = self
        if isinstance(msg, ten.StopGraph):
            self.runtime.graphs.pop(msg.graph_id, None)
            self.runtime.answer(msg.ok())
        for dest in msg.get_dests():
            self.runtime.deliver_soon(dest.graph_id, dest.extension_name, msg, "", self)

    async def receive(self) -> ten.Msg:
        return await self.get.receive()

    async def stop(self) -> None:
        pass


async def serve(runtime: Runtime, stream: trio.SocketStream) -> None:
    """The same for those who connect to it."""
    codec, client = MsgpackCodec(), Client(runtime)

    async def write() -> None:
        async for msg in client.get:
            await stream.send_all(b"".join(codec.encode([WireMsg(msg)])))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        async for data in stream:
            codec.receive_data(data)
            while (wire := codec.next_message()) is not None:
                msg = wire.msg
                if isinstance(msg, ten.StartGraph):
                    result = await client.start_graph(msg.graph_json)
                    result.seq_id = msg.seq_id
                    client.put.send_nowait(result)
                else:
                    await client.send(msg)
        nursery.cancel_scope.cancel()


async def listen(port: int) -> None:
    async with Naive().open() as runtime:
        listeners = await trio.open_tcp_listeners(port, host="127.0.0.1")
        print(
            f"listening at msgpack://127.0.0.1:{listeners[0].socket.getsockname()[1]}", flush=True
        )
        await trio.serve_listeners(partial(serve, runtime), listeners)


def main() -> None:
    if sys.argv[1:2] == ["--listen"]:
        trio.run(listen, int(sys.argv[2]))
        return
    import pytest  # noqa: PLC0415 - whoever only serves doesn't need it

    some = "copies_are_independent or each_ok_and_error"
    options = ["-q", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-W", "ignore"]
    target = ["--target", "examples.naive_runtime:Naive"]
    suite = Path(__file__).parents[1] / "property_tests" / "conformance"
    code = pytest.main([str(suite), "-k", some, *options, *target])
    sys.exit(0 if code == pytest.ExitCode.TESTS_FAILED else f"the suite finds no fault: {code!r}")


if __name__ == "__main__":
    main()
