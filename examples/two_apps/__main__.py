"""`python -m examples.two_apps`: both apps, each in a process of its own, and somebody who talks to them.

It types, so to speak, what examples/two_apps/README.md tells you to type in three terminals; only the
ports are others, that are free.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import trio

FOLDER = Path(__file__).parent
TEN_TRIO = (sys.executable, "-m", "ten_trio")
PATIENCE = 30.0  # seconds, for everything


async def main() -> None:
    uri_a, uri_b = (f"msgpack://127.0.0.1:{port}" for port in free_ports(2))
    variables = {**os.environ, "TWO_APPS_A": uri_a, "TWO_APPS_B": uri_b}
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            # In this order the first one has to wait for the second.
            app_a = await start("a", nursery, variables)
            app_b = await start("b", nursery, variables)
            await until("started", app_a)

            numbers = "numbers=[360, 1001, 1000036000099]"
            await call(uri_a, "factorise", "--graph", "factors", "--set", numbers, "--stream")
            await call(uri_a, "totals", "--graph", "factors")

            app_a.terminate()
            await until("ended", app_a)
            await until("closed", app_b)  # the graph there ends with the graph here
            app_b.terminate()
            await until("ended", app_b)


async def start(name: str, nursery: trio.Nursery, variables: Mapping[str, str]) -> trio.Process:
    """Run one of the apps, and wait until it listens."""
    print(f"$ ten-trio run examples/two_apps/{name}")
    app: trio.Process = await nursery.start(
        partial(
            trio.run_process,
            [*TEN_TRIO, "run", "--json", str(FOLDER / name)],
            env=variables,
            stdout=subprocess.PIPE,
        )
    )
    await until("listening", app)
    return app


async def until(event: str, app: trio.Process) -> None:
    """Read what an app tells, up to this event, and show it in short."""
    name = Path(str(app.args[-1])).name
    assert app.stdout is not None
    line = b""
    while True:
        byte = await app.stdout.receive_some(1)  # no more than this line
        if not byte:
            raise EOFError(f"{name} has ended before it was {event}")
        line += byte
        if byte != b"\n":
            continue
        told, line = json.loads(line), b""
        if "event" not in told:
            raise RuntimeError(f"{name}: {told}")
        shown = told.get("uris") or told.get("reason") or told.get("graph") or ""
        print(f"  [{name}] {told['event']} {shown}")
        if told["event"] == event:
            return


async def call(uri: str, name: str, *options: str) -> None:
    """One command from the command line."""
    print("$ ten-trio call", uri, name, *(f"'{each}'" if " " in each else each for each in options))
    sys.stdout.flush()
    await trio.run_process([*TEN_TRIO, "call", uri, name, *options])


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens at right now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


if __name__ == "__main__":
    trio.run(main)
