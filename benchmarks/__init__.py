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
    "start-stop": 6.0,
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
    "idle-rss": 48.0,
}
"""The most that the median of a case may be, in the case's unit. What isn't here is for information."""
