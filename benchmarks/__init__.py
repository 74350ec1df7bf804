"""How fast ten_trio is, as ratios to a raw Trio memory channel: `python -m benchmarks`.

A ratio means the same on a fast machine and on a slow one; microseconds don't.  `harness.py` says how
it is measured, docs/benchmarks.md how to read it.
"""

from __future__ import annotations

from typing import Final

BUDGETS: Final[dict[str, float]] = {
    # x H: one raw hop through a Trio memory channel.
    "hop/1": 0.35,
    "hop/64": 0.35,
    "cmd-host/1": 2.0,
    "cmd-host/100": 2.0,
    "cmd-handler/1": 3.5,
    "cmd-handler/100": 3.5,
    "stream": 0.35,
    # x the same without.
    "waited/1": 1.2,
    "waited/64": 1.2,
    # x the same without a turn, and x H.
    "turn/hop": 1.1,
    "turn/cancel": 100,
    # x the same without a flow policy.
    "flow/wait": 1.5,
    "flow/drop": 1.75,
    # x a bare nursery with as many tasks and channels.
    "start-stop": 4.5,
    "start-stop/callbacks": 7.0,
    # x msgpack alone, on a list of the same values.
    "codec-cmd": 5.0,
    "codec-audio": 5.0,
    # x one copy of the buffer.
    "codec-video/out": 2.0,
    "codec-video/in": 2.0,
    # x the same bytes by bare Trio, plus two commands in one process.
    "network-cmd-tcp/1": 2.0,
    "network-cmd-tcp/100": 2.0,
    "network-cmd-here/1": 2.0,
    "network-cmd-here/100": 2.0,
    # x a bare stream of Trio's, with a call for each message.
    "network-stream-tcp/320": 2.0,
    "network-stream-tcp/640": 2.0,
    # x trio-websocket by itself.
    "network-ws-echo/1": 1.25,
    "network-ws-stream/1": 1 / 3,
    # KiB.
    "idle-rss": 36.0,
    "idle-rss/callbacks": 56.0,
    # x the same with a hundredth of it, or less.
    "scale-engines/100": 2.0,
    "scale-nodes/50": 2.0,
}
"""The most that the median of a case may be, in the case's unit. What isn't here is for information."""

TARGETS: Final[dict[str, float]] = {
    # x H.
    "hop/1": 0.28,
    "hop/64": 0.28,
    "groups/1": 1.3,
    "groups/64": 0.35,
    "fan-out/100": 0.22,
    "cmd-host/1": 1.8,
    "cmd-host/100": 1.0,
    "cmd-handler/1": 3.0,
    "cmd-nested/3": 8.0,
    "stream": 0.22,
    "own-loop/batch": 0.1,
    "own-loop/list": 0.1,
    # x the same without.
    "waited/1": 1.15,
    "waited/64": 1.15,
    "waits/1": 2.0,
    "waits/64": 0.6,
    # x the same with less of it.
    "scale-engines/100": 1.5,
    "scale-engines/1000": 1.5,
    "scale-cmds/10000": 1.5,
    "scale-nodes/50": 1.5,
    "scale-nodes/500": 1.5,
    # x a bare nursery; KiB; tasks.
    "start-stop": 2.5,
    "idle-rss": 32.0,
    "idle-tasks": 8.0,
    # ms.
    "sessions/p99": 1.0,
    "flood/p99": 2.5,
    "churn/pause": 20.0,
    # Objects.
    "closed/left": 0.0,
    # x json.loads and cattrs, x msgpack alone, x import trio.
    "load/1000": 3.0,
    "codec-cmd": 3.0,
    "import": 1.5,
}
"""Where it is to get to, in the case's unit. A budget is what holds today; this is not for `--check`."""
