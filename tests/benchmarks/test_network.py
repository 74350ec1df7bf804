"""The network's benchmark: what it compares with does count, and its processes end."""

from __future__ import annotations

import json
from time import perf_counter

import pytest
import trio

from benchmarks.network import CASES, bare, far


async def test_bare_messages_are_counted() -> None:
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            address = await bare.listen(nursery, bare.sink)
            assert await bare.one_way(address, perf_counter, 320, 50, 2) > 0
            address = await bare.listen(nursery, bare.echo)
            assert await bare.ping_pong(address, perf_counter, (180, 230), 10, 40) > 0
            nursery.cancel_scope.cancel()


async def test_bare_messages_that_are_missing_are_noticed() -> None:
    async def forget(stream: trio.abc.Stream) -> None:
        while await stream.receive_some():
            await stream.send_all(bytes(4))

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            address = await bare.listen(nursery, forget)
            with pytest.raises(AssertionError, match="missing"):
                await bare.one_way(address, perf_counter, 320, 10)
            nursery.cancel_scope.cancel()


@pytest.mark.slow
async def test_the_other_process_ends_with_its_input() -> None:
    with trio.fail_after(30):
        async with far.started("talk") as process:
            addresses = far.Addresses(**json.loads(await process.line()))
            assert addresses.app["tcp"].startswith("msgpack://127.0.0.1:")
            assert await process.ask("memory") > 2**20
        assert process.returncode == 0


@pytest.mark.slow
async def test_a_server_says_how_long_it_took_to_close() -> None:
    with trio.fail_after(30):
        async with far.started("idle", "tcp") as process:
            _, graph_id = (await process.line()).split()
            assert graph_id
            assert 0 < await process.ask("close") < 10


def test_every_way_is_measured() -> None:
    names = {case.name for case in CASES}
    assert len(names) == len(CASES)
    assert all(name.startswith("network-") for name in names)
    assert {"network-cmd-tcp/1", "network-cmd-unix/100", "network-ws-stream/100"} <= names
