"""What an exception in an extension means: the node's `on_error` decides.

    python -m examples.supervision

The same faulty extension three times: isolated, restarted, and stopping its graph. Each time the
caller gets an error result, and at the end the graph tells how it closed.
"""

from __future__ import annotations

import logging

import trio

import ten_trio as ten


class Divider(ten.Extension):
    made = 0

    def __init__(self) -> None:
        Divider.made += 1
        self.answered = 0

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        quotient = cmd["left"] // cmd["right"]
        self.answered += 1
        await env.return_result(
            cmd.ok(quotient=quotient, made=Divider.made, answered=self.answered)
        )


async def conversation(on_error: str) -> None:
    print(f"on_error={on_error!r}")
    Divider.made = 0
    graph = ten.Graph()
    graph.node("divider", Divider, on_error=on_error)
    async with ten.open_app() as app, app.open_graph(graph) as engine:
        for left, right in ((6, 3), (1, 0), (8, 2)):
            result = await engine.send_cmd(
                ten.Cmd("divide", {"left": left, "right": right}, dest="divider")
            )
            if result.ok:
                print("  {quotient}; instance {made}, its answer {answered}".format(**dict(result)))
            else:
                print(f"  error result: {result.detail}")


async def main() -> None:
    logging.getLogger("ten_trio").setLevel(logging.CRITICAL)  # failures are logged too
    await conversation("isolate")
    await conversation("restart")
    try:
        await conversation("stop_graph")
    except* ZeroDivisionError as group:
        (error,) = group.exceptions
        print(f"  the graph failed: {error!r}")
        print(f"    {error.__notes__[0].partition(' (graph')[0]}")


if __name__ == "__main__":
    trio.run(main)
