"""`python -m examples.custom_protocol`: an app with a protocol of its own, and a client of few lines.

The client knows nothing of ten_trio: it writes netstrings to a socket, and reads some.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import trio

import ten_trio as ten

APP_FOLDER = Path(__file__).parent


async def main() -> None:
    os.environ["CUSTOM_PROTOCOL_URI"] = "netstring://127.0.0.1:0"  # any port that is free
    async with ten.open_app(APP_FOLDER) as app:
        port = int(app.uri.rpartition(":")[2])
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with stream:
            for name in ("Ada", "Blaise"):
                dest = [{"app": "", "graph": "greeter"}]
                text = json.dumps({"ten": {"name": "greet", "dest": dest}, "name": name})
                request = f"{len(text)}:{text},"
                print(">", request)
                await stream.send_all(request.encode())
                print("<", await receive(stream))


async def receive(stream: trio.SocketStream) -> str:
    """One netstring, as it is written."""
    data = b""
    while b":" not in data:
        data += await stream.receive_some(1)
    length = int(data[:-1])
    while len(data) < len(str(length)) + length + 2:
        data += await stream.receive_some()
    return data.decode()


if __name__ == "__main__":
    trio.run(main)
