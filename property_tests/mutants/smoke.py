"""What every fault must leave whole: a graph that starts, answers one command, takes one message, stops.

Run by `trial` in a process with the fault: `python -m property_tests.mutants.smoke NAME`.
"""

from __future__ import annotations

import sys

import trio

import ten_trio as ten

from .faults import FAULTS


class Echo(ten.Extension):
    """Answers with what it was told."""

    async def on_cmd(self, env: ten.TenEnv, cmd: ten.Cmd) -> None:
        await env.return_result(cmd.ok(said=cmd["say"]))


async def smoke() -> None:
    """Raises if even that doesn't go well."""
    graph = ten.Graph()
    graph.node("echo", Echo)
    with trio.fail_after(10):
        async with ten.open_app() as app, app.open_graph(graph) as engine:
            result = await engine.send_cmd(ten.Cmd("echo", {"say": "hello"}, dest="echo"))
            assert result.ok
            assert result["said"] == "hello"
            assert await engine.send_data(ten.Data("d", dest="echo"))


def main(name: str) -> None:
    """Put the fault in, and see."""
    FAULTS[name].put_in()
    trio.run(smoke)


if __name__ == "__main__":
    main(sys.argv[1])
