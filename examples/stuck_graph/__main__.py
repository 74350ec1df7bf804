"""`python -m examples.stuck_graph`: a graph that gets stuck, and says why by itself.

A question that has to be answered within a second; it isn't, and the log says why.  Then the same
question to the same graph, mended.
"""

from __future__ import annotations

from pathlib import Path

import trio

import ten_trio as ten

APP_FOLDER = Path(__file__).parent


async def main() -> None:
    async with ten.open_app(APP_FOLDER, uri="", auto_start=False) as app:
        for name in ("stuck", "mended"):
            async with app.open_graph(name) as engine:
                print(f"{name}: when was Ada here?", flush=True)
                with trio.move_on_after(1):
                    result = await engine.send_cmd(ten.Cmd("question", {"who": "Ada"}))
                    print(f"{name}: {result['text']}", flush=True)


if __name__ == "__main__":
    trio.run(main)
